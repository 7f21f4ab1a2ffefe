"""The interface of vLLM's second model runner: its own loader and classes, without a model."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from diversify.decoding import SamplingChain
from diversify.decoding.siblings import arithmetic_codes, arithmetic_step
from diversify.decoding.vllm import CHAIN, PROCESSOR, vllm_arguments

pytestmark = pytest.mark.vllm

SLOTS, LONGEST, VOCABULARY = 8, 32, 50


@pytest.fixture(scope="module")
def second():
    return pytest.importorskip("vllm.v1.worker.gpu.sample.logits_processor", exc_type=ImportError)


@pytest.fixture
def states():
    def numbers(*size):
        return SimpleNamespace(
            gpu=torch.zeros(size, dtype=torch.int32), np=np.zeros(size, dtype=np.int32)
        )

    return SimpleNamespace(
        device=torch.device("cpu"),
        max_num_reqs=SLOTS,
        vocab_size=VOCABULARY,
        all_token_ids=numbers(SLOTS, LONGEST),
        prompt_len=numbers(SLOTS),
        prefill_len=numbers(SLOTS),
        total_len=numbers(SLOTS),
    )


@pytest.fixture
def processor(second, states):
    config = SimpleNamespace(speculative_config=None)
    (made,) = second.build_custom_logits_processors(config, states, False, [PROCESSOR])
    assert isinstance(made, second.LogitsProcessor)
    return made


def context(second, slots, lengths):
    mapping = np.array(slots)
    rows = torch.arange(len(slots))
    return second.LogitsContext(
        expanded_idx_mapping=torch.from_numpy(mapping),
        idx_mapping=torch.from_numpy(mapping),
        idx_mapping_np=mapping,
        expanded_local_pos=torch.zeros_like(rows),
        input_ids=rows,
        pos=torch.tensor(lengths) - 1,
        seq_lens_upper_bound_np=np.array(lengths),
    )


def test_its_loader_takes_the_class_and_its_door_refuses_bad_requests(second):
    from vllm import SamplingParams
    from vllm.exceptions import VLLMValidationError

    validate = second.build_custom_logits_processors_params_validator([PROCESSOR])
    chain = SamplingChain.parse("temperature=1.5,top_n_sigma")
    validate(SamplingParams(**vllm_arguments(chain, code=0.5)))
    with pytest.raises(VLLMValidationError, match="must be what written_chain returns"):
        validate(SamplingParams(extra_args={CHAIN: "top_k=3"}))


def test_its_rows_go_through_their_chains(second, states, processor):
    """A code, a chain with a memory and a plain request, in slots that are used again."""
    from vllm import SamplingParams

    generator = torch.Generator().manual_seed(0)
    coded, looking = (
        SamplingChain.parse("top_k=20"),
        SamplingChain.parse("temperature=2,mirostat2=2"),
    )
    (code,) = arithmetic_codes(1, offset=0.37).tolist()
    for round_ in range(2):
        prompt = torch.tensor([3, 4, 5], dtype=torch.int32)
        for slot, given in (
            (6, vllm_arguments(coded, code=code)),
            (2, vllm_arguments(looking)),
            (4, {}),
        ):
            states.all_token_ids.gpu[slot, :3] = prompt
            states.prompt_len.np[slot] = states.prefill_len.np[slot] = 3
            assert processor.add_request(slot, SamplingParams(**given, seed=1)) is bool(given)
        processor.apply_staged_writes()
        alone, here = looking.logits_processors(), torch.tensor([code], dtype=torch.float64)
        for step in range(4):
            slots = [2, 6, 4] if step % 2 else [4, 2, 6]  # rows are lined up anew at each step
            z = torch.randn(3, VOCABULARY, generator=generator)
            found = processor.apply(z.clone(), context(second, slots, [3 + step] * 3))
            row = {slot: found[i] for i, slot in enumerate(slots)}
            given = {slot: z[i : i + 1] for i, slot in enumerate(slots)}
            tokens, here, _ = arithmetic_step(
                coded.logits_processors()(torch.zeros(1, 0), given[6].clone()), here
            )
            assert (row[6] == 0).nonzero().flatten().tolist() == tokens.tolist(), round_
            text = states.all_token_ids.gpu[2:3, : 3 + step].long()
            assert torch.equal(row[2], alone(text, given[2].clone())[0])
            assert torch.equal(row[4], given[4][0])
            for slot in slots:
                states.all_token_ids.gpu[slot, 3 + step] = int(row[slot].argmax())
