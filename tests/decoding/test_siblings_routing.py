from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from diversify.decoding.siblings import BaseAlignedRouting, base_speaks, punctuation_ids
from diversify.decoding.siblings.words import word_starts
from diversify.engines import Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.models import LoadedModel, attach_adapter, load_model

PROMPTS = ["name a red animal", "the"]
GREEDY = Sampling(temperature=0, max_tokens=8)
SEEDED = Sampling(temperature=1.2, max_tokens=8, seed=3)


@pytest.fixture(scope="module")
def aligned(tiny_model_path: Path) -> LoadedModel:
    return load_model(tiny_model_path, dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def base(aligned: LoadedModel) -> LoadedModel:
    """The same architecture with other weights."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        model = LlamaForCausalLM(LlamaConfig(**aligned.model.config.to_dict())).eval()
    return LoadedModel(model, aligned.tokenizer, aligned.identity | {"model": "other"})


@pytest.fixture
def tuned(tiny_model_path: Path, tmp_path: Path) -> LoadedModel:
    """One set of weights with an adapter on it."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LoraConfig(
            r=4,
            lora_alpha=16,
            task_type="CAUSAL_LM",
            init_lora_weights=False,
            target_modules=["q_proj", "v_proj", "down_proj"],
        )
        model = AutoModelForCausalLM.from_pretrained(tiny_model_path)
        get_peft_model(model, config).save_pretrained(tmp_path)
    return attach_adapter(load_model(tiny_model_path, dtype="float32", device="cpu"), tmp_path)


def alone(router: str, who: str) -> dict[str, Any]:
    """Options under which one model has the say throughout."""
    if who == "base":
        return {"threshold": 1.5 if router == "probability" else 0.0, "style_tokens": ()}
    return {"threshold": 0.0 if router == "probability" else 99.0}


class TestBaseSpeaks:
    """Best tokens 0 (0.7), 1 (0.5), 2 (0.4); entropies .8018, 1.0297, 1.0889 nats."""

    logits = torch.tensor([[0.7, 0.2, 0.1], [0.3, 0.5, 0.2], [0.3, 0.3, 0.4]]).log()

    def test_by_probability(self) -> None:
        assert base_speaks(self.logits, threshold=0.6).tolist() == [False, True, True]
        assert base_speaks(self.logits, threshold=0.45).tolist() == [False, False, True]
        assert not base_speaks(self.logits, threshold=0.0).any()
        assert base_speaks(self.logits, threshold=1.1).all()

    def test_by_entropy_the_threshold_works_the_other_way(self) -> None:
        found = base_speaks(self.logits, router="entropy", threshold=1.0)
        assert found.tolist() == [False, True, True]
        found = base_speaks(self.logits, router="entropy", threshold=1.05)
        assert found.tolist() == [False, False, True]
        assert base_speaks(self.logits, router="entropy", threshold=0.0).all()

    def test_style_stays_with_the_aligned_model(self) -> None:
        found = base_speaks(self.logits, threshold=0.9, style_tokens=[1, 77])
        assert found.tolist() == [True, False, True]

    def test_removed_tokens_play_no_part(self) -> None:
        wider = torch.cat([self.logits, torch.full((3, 2), -torch.inf)], 1)
        for router, threshold in (("probability", 0.6), ("entropy", 1.05)):
            options: dict[str, Any] = {"router": router, "threshold": threshold}
            assert torch.equal(base_speaks(wider, **options), base_speaks(self.logits, **options))

    @pytest.mark.parametrize(
        "options",
        [
            {"threshold": -0.1},
            {"threshold": float("nan")},
            {"threshold": 1, "router": "margin"},
            {"threshold": 1, "style_tokens": [-1]},
        ],
    )
    def test_impossible_options(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="got"):
            base_speaks(self.logits, **options)


class TestWords:
    def test_what_starts_a_word(self, aligned: LoadedModel) -> None:
        starts = word_starts(aligned.tokenizer)
        ids = {t: aligned.tokenizer.convert_tokens_to_ids(t) for t in ("Ġred", "a", "Z", ".", "Ċ")}
        assert [starts[ids[t]] for t in ("Ġred", ".", "Ċ")] == [True] * 3
        assert [starts[ids[t]] for t in ("a", "Z")] == [False] * 2
        assert starts[aligned.tokenizer.eos_token_id]
        broken = aligned.tokenizer.convert_tokens_to_ids("Ã")  # the byte C3 alone is no character
        assert not starts[broken]

    def test_what_is_punctuation(self, aligned: LoadedModel) -> None:
        found = set(punctuation_ids(aligned.tokenizer))
        ids = {
            t: aligned.tokenizer.convert_tokens_to_ids(t)
            for t in (".", "*", "Ċ", "Ġ", "Ġred", "a", "7", "Ã")
        }
        assert {t for t, i in ids.items() if i in found} == {".", "*", "Ċ", "Ġ"}
        assert set(aligned.tokenizer.all_special_ids) <= found


class TestRouting:
    @pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
    @pytest.mark.parametrize("router", ["probability", "entropy"])
    @pytest.mark.parametrize("n", [3, 9], ids=["padded batch", "shared prefix"])
    def test_one_model_alone_is_exactly_that_model(
        self, aligned: LoadedModel, base: LoadedModel, router: Any, n: int, sampling: Sampling
    ) -> None:
        plain = {
            "aligned": TransformersEngine(aligned).generate(PROMPTS, n, sampling),
            "base": TransformersEngine(base).generate(PROMPTS, n, sampling),
        }
        assert plain["aligned"].texts != plain["base"].texts
        for who, expected in plain.items():
            routing = BaseAlignedRouting(base, router=router, **alone(router, who))
            found = TransformersEngine(aligned, decoder=routing).generate(PROMPTS, n, sampling)
            assert found.texts == expected.texts, who

    @pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
    def test_one_set_of_weights_with_and_without_its_adapter(
        self, tuned: LoadedModel, sampling: Sampling
    ) -> None:
        engine = TransformersEngine(tuned)
        plain = {"aligned": engine, "base": engine.with_adapter(None)}
        texts = {who: each.generate(PROMPTS, 9, sampling).texts for who, each in plain.items()}
        assert texts["aligned"] != texts["base"]
        for who, expected in texts.items():
            routing = BaseAlignedRouting(tuned, **alone("probability", who))
            found = TransformersEngine(tuned, decoder=routing).generate(PROMPTS, 9, sampling)
            assert found.texts == expected, who
        mixed = BaseAlignedRouting(tuned, threshold=0.5)
        both = TransformersEngine(tuned, decoder=mixed).generate(PROMPTS, 9, sampling)
        assert both.texts not in texts.values()
        assert engine.generate(PROMPTS, 9, sampling).texts == texts["aligned"]  # it is on again

    def test_the_base_of_an_engine_that_carries_an_adapter(
        self, tuned: LoadedModel, tiny_model_path: Path
    ) -> None:
        """The engine puts the adapter on the very layers of the base; and may switch it off."""
        loaded = load_model(tiny_model_path, dtype="float32", device="cpu")
        plain = TransformersEngine(loaded).generate(PROMPTS, 9, GREEDY)
        routing = BaseAlignedRouting(loaded, **alone("probability", "base"))
        engine = TransformersEngine(loaded, adapter=tuned.identity["adapter"], decoder=routing)
        assert engine.generate(PROMPTS, 9, GREEDY).texts == plain.texts
        assert engine.with_decoder(None).generate(PROMPTS, 9, GREEDY).texts != plain.texts
        half = BaseAlignedRouting(loaded, threshold=0.5)
        bare = engine.with_adapter(None).with_decoder(half)
        assert bare.generate(PROMPTS, 9, GREEDY).texts == plain.texts

    @pytest.mark.parametrize("threshold", [0.35, 0.6])
    def test_each_token_comes_from_the_model_that_the_rule_names(
        self, aligned: LoadedModel, base: LoadedModel, threshold: float
    ) -> None:
        """Greedy texts of two prompts in one padded batch, recomputed without a cache."""
        routing = BaseAlignedRouting(base, threshold=threshold)
        engine = TransformersEngine(aligned, decoder=routing)
        starts = word_starts(aligned.tokenizer)
        spoke, held = set(), 0
        for prompt, texts in zip(PROMPTS, engine.generate(PROMPTS, 2, GREEDY), strict=True):
            ids, base_says = list(engine.token_ids(prompt)), False
            length = len(ids)
            for step in range(GREEDY.max_tokens):
                both = {True: read(base, ids), False: read(aligned, ids)}
                wanted = bool(
                    base_speaks(
                        both[True][None], threshold=threshold, style_tokens=routing.style_tokens
                    )
                )
                if step == 0 or starts[int(both[base_says].argmax())]:
                    base_says = wanted
                held += base_says != wanted
                spoke.add(base_says)
                ids.append(int(both[base_says].argmax()))
            text = aligned.tokenizer.decode(ids[length:], skip_special_tokens=True)
            assert texts == [text.strip()] * 2
        assert spoke == {True, False}
        assert held > 0  # within words the rule was overruled

    def test_a_base_of_another_vocabulary_is_refused(self, aligned: LoadedModel) -> None:
        config = LlamaConfig(**(aligned.model.config.to_dict() | {"vocab_size": 500}))
        other = LoadedModel(LlamaForCausalLM(config).eval(), aligned.tokenizer, {"model": "wide"})
        engine = TransformersEngine(aligned, decoder=BaseAlignedRouting(other, threshold=0.5))
        with pytest.raises(ValueError, match="share their vocabulary, got 500"):
            engine.generate(PROMPTS, 2, GREEDY)

    def test_bad_options_fail_at_construction(self, base: LoadedModel) -> None:
        with pytest.raises(ValueError, match="router must be one of"):
            BaseAlignedRouting(base, threshold=0.5, router="judge")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="threshold must be a number"):
            BaseAlignedRouting(base, threshold=-1)
        with pytest.raises(ValueError, match="base must be a LoadedModel"):
            BaseAlignedRouting(base.model, threshold=0.5)

    def test_it_is_on_record(self, aligned: LoadedModel, tuned: LoadedModel) -> None:
        record = repr(BaseAlignedRouting(tuned, threshold=0.5))
        assert tuned.identity["adapter"] not in record
        assert "'adapter': None" in record and "threshold=0.5" in record
        assert "style_tokens=punctuation" in record
        ids = repr(BaseAlignedRouting(aligned, threshold=0.5, style_tokens=[5, 4]))
        assert "style_tokens=[4, 5]" in ids
        engine = TransformersEngine(tuned, decoder=BaseAlignedRouting(tuned, threshold=0.5))
        assert engine.identity["decoder"] == record


def read(loaded: LoadedModel, ids: list[int]) -> Tensor:
    with torch.inference_mode():
        return loaded.model(torch.tensor([ids])).logits[0, -1]
