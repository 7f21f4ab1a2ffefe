"""VLLMEngine against a stand-in of vLLM: what it asks for, what it makes of the answers."""

import json
import sys
from itertools import chain
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
from peft import LoHaConfig, LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from diversify.decoding import ArithmeticSampling, SamplingChain, SiblingRepulsion
from diversify.decoding.vllm import CHAIN, CODE, HOST, written_chain
from diversify.engines import Engine, Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.engines.vllm import VLLMEngine
from diversify.models import load_model

PROMPTS = ["name a red animal", [{"role": "user", "content": "the"}]]


class FakeLLM:
    """Answers a request with the number in its seed, spelt in tokens, and an end or none."""

    reason = "stop"

    def __init__(self, **arguments):
        self.arguments = arguments
        self.asked = []
        longest = arguments.get("max_model_len", 1024)
        config = SimpleNamespace(model_config=SimpleNamespace(max_model_len=longest))
        self.llm_engine = SimpleNamespace(vllm_config=config)

    def generate(self, prompts, params, *, use_tqdm, lora_request):
        assert use_tqdm is False
        self.lora = lora_request
        ids = [prompt["prompt_token_ids"] for prompt in prompts]
        self.asked = list(zip(ids, params, strict=True))
        return [self._answer(*one) for one in self.asked]

    def _answer(self, ids, params):
        tokens = [4 + params["seed"] % 90, *range(4, 3 + params["max_tokens"])]
        reason = self.reason if params["seed"] % 2 else "length"
        if reason == "stop":
            tokens[-1] = params["stop_token_ids"][0]
        completion = SimpleNamespace(token_ids=tokens, finish_reason=reason)
        return SimpleNamespace(outputs=[completion], num_cached_tokens=len(ids) - 1)


@pytest.fixture(autouse=True)
def fake_vllm(monkeypatch):
    module, lora, request = (
        ModuleType(name) for name in ("vllm", "vllm.lora", "vllm.lora.request")
    )
    module.LLM, module.SamplingParams = FakeLLM, dict
    request.LoRARequest = lambda *given: given
    for each in (module, lora, request):
        monkeypatch.setitem(sys.modules, each.__name__, each)


@pytest.fixture
def engine(tiny_model_path):
    return VLLMEngine(tiny_model_path, dtype="float32")


def asked(engine):
    return [params for _, params in engine._llm.asked]


def test_what_sampling_says_is_what_is_asked_and_nothing_is_inherited(engine, tiny_model_path):
    assert isinstance(engine, Engine)
    assert engine._llm.arguments == {
        "model": str(tiny_model_path),
        "revision": None,
        "dtype": "float32",
        "generation_config": "vllm",
        "seed": 0,
        "logits_processors": None,
    }
    sampling = Sampling(temperature=0.7, top_p=0.9, top_k=5, min_p=0.1, max_tokens=6)
    engine.generate(PROMPTS, 3, sampling)
    end = engine.tokenizer.eos_token_id
    for params in asked(engine):
        assert {k: v for k, v in params.items() if k != "seed"} == {
            "temperature": 0.7,
            "top_p": 0.9,
            "top_k": 5,
            "min_p": 0.1,
            "max_tokens": 6,
            "stop_token_ids": [end],
            "detokenize": False,
        }
    engine.generate(PROMPTS, 1, Sampling())
    plain = asked(engine)[0]
    assert [plain[k] for k in ("temperature", "top_p", "top_k", "min_p")] == [1.0, 1.0, 0, 0.0]


def test_prompts_and_record_are_those_of_transformers(engine, tiny_model_path):
    other = TransformersEngine(load_model(tiny_model_path, dtype="float32", device="cpu"))
    engine.generate(PROMPTS, 2, Sampling(max_tokens=4))
    ids = [row for row, _ in engine._llm.asked]
    assert ids == [other.token_ids(prompt) for prompt in PROMPTS for _ in range(2)]
    assert engine.identity == other.identity | {"engine": "vllm"}
    assert json.loads(json.dumps(engine.identity)) == engine.identity


def test_texts_end_before_the_end_and_are_counted(engine):
    drawn = engine.generate(PROMPTS, 8, Sampling(max_tokens=4))
    seeds = [params["seed"] for params in asked(engine)]
    assert {seed % 2 for seed in seeds} == {0, 1}
    assert list(chain.from_iterable(drawn.truncated)) == [seed % 2 == 0 for seed in seeds]
    for i, text in enumerate(chain.from_iterable(drawn.texts)):
        tokens = [4 + seeds[i] % 90, 4, 5, 6]
        kept = tokens if seeds[i] % 2 == 0 else tokens[:-1]
        assert text == engine.tokenizer.decode(kept, skip_special_tokens=True).strip()
    lengths = [len(engine.token_ids(prompt)) for prompt in PROMPTS]
    assert drawn.details == [
        {"tokens": {"read": length, "written": 32, "cached": 8 * (length - 1)}}
        for length in lengths
    ]


def test_every_sample_has_a_seed_of_its_own_whatever_else_is_asked(engine):
    def seeds(prompts, n, seed=0):
        engine.generate(prompts, n, Sampling(max_tokens=2, seed=seed))
        return [params["seed"] for params in asked(engine)]

    first = seeds(PROMPTS, 4)
    assert len(set(first)) == 8
    assert all(0 <= seed < 2**63 for seed in first)
    assert seeds(PROMPTS[1:], 2) == first[4:6]
    assert not set(seeds(PROMPTS, 4, seed=1)) & set(first)
    twice = seeds([PROMPTS[0]] * 2, 4)
    assert twice[:4] == first[:4]
    assert not set(twice[4:]) & set(first)


def test_greedy_is_drawn_once_and_copied(engine):
    drawn = engine.generate(PROMPTS, 3, Sampling(temperature=0, max_tokens=4))
    assert len(engine._llm.asked) == 2
    assert [len(set(row)) for row in drawn] == [1, 1]
    assert [len(row) for row in drawn.truncated] == [3, 3]
    assert drawn.details[0]["tokens"]["written"] == 4


def test_a_chain_is_loaded_by_name_and_travels_with_every_request(tiny_model_path):
    sampler = SamplingChain.parse("temperature=1.5,xtc=0.1:0.5")
    engine = VLLMEngine(tiny_model_path, sampler=sampler)
    assert engine._llm.arguments["logits_processors"] == ["diversify.decoding.vllm:ChainProcessor"]
    assert engine.identity["sampler"] == repr(sampler)
    engine.generate(PROMPTS, 2, Sampling(max_tokens=2))
    whole = sampler.for_tokenizer(engine.tokenizer)
    assert whole != sampler  # XTC's protected tokens
    for params in asked(engine):
        assert params["extra_args"] == {CHAIN: written_chain(whole)}
        assert HOST.items() <= params.items()
    assert len({params["seed"] for params in asked(engine)}) == 4
    with pytest.raises(ValueError, match=r"make temperature=0\.5 a step of the chain"):
        engine.generate(PROMPTS, 2, Sampling(temperature=0.5))


def test_codes_of_a_prompt_are_spaced_evenly_and_differ_between_prompts(tiny_model_path):
    engine = VLLMEngine(tiny_model_path, sampler=ArithmeticSampling())

    def codes(seed=0):
        engine.generate([PROMPTS[0]] * 2, 4, Sampling(temperature=0.5, max_tokens=2, seed=seed))
        return [params["extra_args"][CODE] for params in asked(engine)]

    first = codes()
    for group in (sorted(first[:4]), sorted(first[4:])):
        assert [code - group[0] for code in group] == pytest.approx([0, 0.25, 0.5, 0.75])
    assert len({round(code % 0.25, 9) for code in first}) == 2
    assert codes() == first != codes(seed=1)
    with pytest.raises(ValueError, match="greedy"):
        engine.generate(PROMPTS, 2, Sampling(temperature=0))


def test_samplers_take_turns_on_one_model_if_it_was_started_for_them(engine, tiny_model_path):
    chained = VLLMEngine(tiny_model_path, sampler=SamplingChain([]))
    plain = chained.with_sampler(None)
    assert plain._llm is chained._llm
    plain.generate(PROMPTS, 1, Sampling(temperature=0.5, max_tokens=2))
    assert "extra_args" not in asked(plain)[0]
    assert "sampler" in chained.identity and "sampler" not in plain.identity
    with pytest.raises(ValueError, match="was started with None"):
        engine.with_sampler(SamplingChain([]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": SiblingRepulsion(special=[0])}, "cannot run inside vLLM, where samples share"),
        ({"options": {"seed": 1, "dtype": "half"}}, r"must not have \['dtype', 'seed'\]"),
        (
            {"sampler": SamplingChain([]), "options": {"speculative_config": {"method": "ngram"}}},
            "does not go with speculative_config",
        ),
        ({"dtype": "int8"}, "dtype must be one of"),
    ],
)
def test_what_it_cannot_do_fails_at_construction(tiny_model_path, options, message):
    with pytest.raises(ValueError, match=message):
        VLLMEngine(tiny_model_path, **options)


def test_what_it_cannot_draw_is_refused(engine):
    with pytest.raises(ValueError, match="n must be >= 1, got 0"):
        engine.generate(PROMPTS, 0, Sampling())
    with pytest.raises(ValueError, match=r"would draw at 0\.01, got temperature=0\.005"):
        engine.generate(PROMPTS, 1, Sampling(temperature=0.005))
    with pytest.raises(ValueError, match="are more than the 1024 that vLLM holds"):
        engine.generate(PROMPTS, 1, Sampling(max_tokens=1020))
    assert engine.generate([], 2, Sampling()).texts == []


def test_a_request_that_vllm_gives_up_is_no_text(engine):
    engine._llm.reason = "abort"
    with pytest.raises(RuntimeError, match="ended a text with 'abort'"):
        engine.generate(PROMPTS, 8, Sampling(max_tokens=4))


def test_system_and_template_options_reach_the_prompt_and_the_record(tiny_model_path):
    engine = VLLMEngine(tiny_model_path, system="story", template_options={"x": 1})
    assert "story" in engine.tokenizer.decode(engine.token_ids("the"))
    assert engine.identity["system"] == "story"
    assert engine.identity["template_options"] == {"x": 1}
    options = VLLMEngine(tiny_model_path, options={"max_model_len": 64})
    assert options.identity["options"] == {"max_model_len": 64}


def saved_adapter(base: Path, folder: Path, config) -> Path:
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder


def test_an_adapter_becomes_a_lora_request(tiny_model_path, tmp_path):
    config = LoraConfig(r=9, target_modules=["q_proj"])
    adapter = saved_adapter(tiny_model_path, tmp_path, config)
    engine = VLLMEngine(tiny_model_path, adapter=adapter, dtype="float32")
    assert engine._llm.arguments["enable_lora"] is True
    assert engine._llm.arguments["max_lora_rank"] == 16  # room comes in sizes
    engine.generate(PROMPTS, 1, Sampling(max_tokens=2))
    assert engine._llm.lora == ("adapter", 1, str(adapter))
    loaded = load_model(tiny_model_path, adapter=adapter, dtype="float32", device="cpu")
    assert engine.identity == loaded.identity | {"engine": "vllm", "system": None}
    assert VLLMEngine(adapter).identity["model"] == str(tiny_model_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (LoHaConfig(target_modules=["q_proj"]), "takes LoRA adapters, .* is of type LOHA"),
        (LoraConfig(target_modules=["q_proj"], use_dora=True), "plain LoRA, .* sets use_dora"),
        (LoraConfig(target_modules=["q_proj"], r=513), "up to rank 512, .* has 513"),
    ],
)
def test_other_adapters_are_refused(tiny_model_path, tmp_path, config, message):
    adapter = saved_adapter(tiny_model_path, tmp_path, config)
    with pytest.raises(ValueError, match=message):
        VLLMEngine(tiny_model_path, adapter=adapter)


def test_without_vllm_it_says_what_to_install(tiny_model_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ImportError, match="pip install vllm"):
        VLLMEngine(tiny_model_path)
