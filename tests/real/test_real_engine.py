"""The engine on a real vLLM: texts of transformers, seeds, shared prefixes, adapters, refusals."""

import gc

import pytest
import torch

from diversify.engines import Engine, Sampling
from real.vllm_server import SMALL

pytestmark = pytest.mark.vllm

PROMPTS = [
    "Name a colour.",
    "Tell me a very short story.",
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a fruit."}],
    [{"role": "user", "content": "Two colours?"}, {"role": "assistant", "content": "Red and"}],
]


@pytest.fixture(scope="module")
def plain(engine):
    assert isinstance(engine, Engine)
    return engine.with_sampler(None)


def test_greedy_texts_are_those_of_transformers(plain, reference):
    greedy = Sampling(temperature=0, max_tokens=24)
    found, expected = (e.generate(PROMPTS, 2, greedy) for e in (plain, reference))
    assert found.texts == expected.texts
    assert found.truncated == expected.truncated
    assert any(found.truncated[0] + found.truncated[1])
    for mine, theirs in zip(found.details, expected.details, strict=True):
        counted = {name: mine["tokens"][name] for name in ("read", "written")}
        assert counted == theirs["tokens"]


def test_it_is_the_same_model_to_the_record(plain, reference):
    shared = plain.identity.keys() & reference.identity.keys()
    assert {"model", "revision", "adapter", "chat_template_sha", "dtype"} <= shared
    assert {k: plain.identity[k] for k in shared} == {k: reference.identity[k] for k in shared}


def test_seeds_decide_the_texts_whatever_runs_beside_them(plain):
    hot = Sampling(max_tokens=8, seed=5)
    first = plain.generate(PROMPTS[:2], 6, hot)
    assert plain.generate(PROMPTS[:2], 6, hot).texts == first.texts
    assert plain.generate(PROMPTS[1:2], 3, hot).texts == [first.texts[1][:3]]
    assert plain.generate(PROMPTS[:1], 6, hot.at(seed=6)).texts[0] != first.texts[0]
    twice = plain.generate(PROMPTS[:1] * 2, 6, hot)
    assert twice.texts[0] == first.texts[0] != twice.texts[1]
    assert len(set(first.texts[0])) > 1


@pytest.mark.parametrize(
    "options", [{"top_p": 0.9}, {"top_k": 20}, {"min_p": 0.05}, {"temperature": 1.7, "top_p": 0.5}]
)
def test_seeded_requests_go_with_every_truncation(plain, options):
    drawn = plain.generate(PROMPTS[:1], 9, Sampling(max_tokens=4, seed=2**62).at(**options))
    assert (
        drawn.texts
        == plain.generate(PROMPTS[:1], 9, Sampling(max_tokens=4, seed=2**62).at(**options)).texts
    )


def test_siblings_read_the_prompt_once(plain):
    """All but the first find every whole block of the prompt in the prefix cache."""
    prompt = "Tell me a story that nobody has told yet. " * 8
    drawn = plain.generate([prompt], 20, Sampling(max_tokens=1))
    tokens = drawn.details[0]["tokens"]
    blocks = tokens["read"] // SMALL["block_size"] * SMALL["block_size"]
    assert blocks >= 64
    assert 19 * blocks <= tokens["cached"] <= 20 * blocks


def test_what_it_cannot_do_is_said_before_anything_runs(engine, plain):
    from diversify.decoding import SamplingChain, SiblingRepulsion
    from diversify.engines.vllm import VLLMEngine
    from diversify.models import EMBEDDED_MODEL

    with pytest.raises(ValueError, match="cannot run inside vLLM"):
        VLLMEngine(EMBEDDED_MODEL, sampler=SiblingRepulsion(special=[0]))
    with pytest.raises(ValueError, match=r"options must not have \['seed'\]"):
        VLLMEngine(EMBEDDED_MODEL, options={"seed": 3})
    with pytest.raises(ValueError, match="does not go with speculative_config"):
        VLLMEngine(EMBEDDED_MODEL, sampler=SamplingChain([]), options={"speculative_config": {}})
    with pytest.raises(ValueError, match="that vLLM holds"):
        plain.generate(["a"], 1, Sampling(max_tokens=500))
    with pytest.raises(ValueError, match=r"would draw at 0\.01"):
        plain.generate(["a"], 1, Sampling(temperature=0.001))
    with pytest.raises(ValueError, match=r"make temperature=0\.3 a step of the chain"):
        engine.generate(["a"], 1, Sampling(temperature=0.3))


def test_an_adapter_changes_the_texts_as_it_does_in_transformers(
    tmp_path, random_path, random_reference
):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    from diversify.engines.vllm import VLLMEngine

    base = AutoModelForCausalLM.from_pretrained(random_path, dtype="float32")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
        get_peft_model(base, config).save_pretrained(tmp_path)
    greedy = Sampling(temperature=0, max_tokens=12)
    expected = random_reference.with_adapter(tmp_path).generate(PROMPTS, 1, greedy)
    adapted = VLLMEngine(random_path, adapter=tmp_path, dtype="float32", options=SMALL)
    found = adapted.generate(PROMPTS, 1, greedy)
    assert adapted.identity["adapter_hash"] is not None
    del adapted
    gc.collect()
    assert found.texts == expected.texts != random_reference.generate(PROMPTS, 1, greedy).texts
