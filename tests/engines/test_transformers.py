import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoHaConfig, LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LogitsProcessor,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

from diversify.decoding import ArithmeticSampling
from diversify.engines import Engine, Sampling, Streaming
from diversify.engines.transformers import SHARE_FROM, TransformersEngine
from diversify.models import LoadedModel, chat_token_ids, load_model

PROMPTS = [
    "name a red animal",
    "the",
    "tell a long story of the people who look for water in Paris",
]
GREEDY = Sampling(temperature=0, max_tokens=12)
SHORT = Sampling(max_tokens=8)


class Recorder(LogitsProcessor):
    """Sees the token ids of every step; may force the end of some rows at some step."""

    def __init__(self, *, end: int | None = None, ends: Mapping[int, int] | None = None) -> None:
        self.end, self.ends = end, dict(ends or {})
        self.calls: list[tuple[int, int]] = []
        self.ids: list[torch.Tensor] = []

    def decoder(self, siblings: int, length: int) -> dict[str, Any]:
        self.calls.append((siblings, length))
        self.steps = 0
        return {"logits_processor": [self]}

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.ids.append(input_ids.clone())
        for row, step in self.ends.items():
            if step == self.steps:
                scores[row] = -torch.inf
                scores[row, self.end] = 0.0
        self.steps += 1
        return scores


@pytest.fixture
def loaded(tiny_model_path: Path) -> LoadedModel:
    return load_model(tiny_model_path, dtype="float32", device="cpu")


@pytest.fixture
def engine(loaded: LoadedModel) -> TransformersEngine:
    return TransformersEngine(loaded)


def by_hand(loaded: LoadedModel, prompt: str, tokens: int) -> torch.Tensor:
    """Plain greedy `generate` on one prompt."""
    chat = [{"role": "user", "content": prompt}]
    ids = torch.tensor([chat_token_ids(loaded.tokenizer, chat)])
    out: torch.Tensor = loaded.model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=tokens
    )
    return out


def save_adapter(base: Path, folder: Path, seed: int) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LoraConfig(
            r=2,
            task_type="CAUSAL_LM",
            init_lora_weights=False,
            target_modules=["q_proj", "v_proj", "down_proj"],
        )
        get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder


def sliding_window_model(tiny_model_path: Path) -> LoadedModel:
    """Its window is shorter than every prompt."""
    tokenizer = load_model(tiny_model_path).tokenizer
    config = MistralConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=8,
        initializer_range=0.3,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return LoadedModel(MistralForCausalLM(config).eval(), tokenizer, {"model": "sliding"})


class TestSharedPrefix:
    @pytest.mark.parametrize("share", [True, False])
    @pytest.mark.parametrize("make", [None, sliding_window_model], ids=["llama", "sliding"])
    def test_greedy_tokens_are_those_of_plain_generate(
        self,
        loaded: LoadedModel,
        tiny_model_path: Path,
        share: bool,
        make: Callable[[Path], LoadedModel] | None,
    ) -> None:
        loaded = make(tiny_model_path) if make else loaded
        for prompt in PROMPTS:
            recorder = Recorder()
            engine = TransformersEngine(loaded, share_prefix=share, decoder=recorder.decoder)
            engine.generate([prompt], 5, GREEDY)
            last = recorder.ids[-1]
            expected = by_hand(loaded, prompt, 11)
            assert last.shape == (5, expected.shape[1])
            assert torch.equal(last, expected.expand(5, -1)), prompt

    def test_the_prompt_is_read_once(self, loaded: LoadedModel) -> None:
        length = by_hand(loaded, PROMPTS[0], 1).shape[1] - 1
        read: list[tuple[int, ...]] = []

        def spy(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            read.append(tuple((args[0] if args else kwargs["input_ids"]).shape))

        loaded.model.register_forward_pre_hook(spy, with_kwargs=True)
        for share, expected in (
            (True, [(1, length - 1), (9, 1), (9, 1)]),
            (False, [(9, length), (9, 1)]),
        ):
            read.clear()
            engine = TransformersEngine(loaded, share_prefix=share)
            engine.generate(PROMPTS[:1], 9, Sampling(max_tokens=2))
            assert read == expected

    def test_sharing_is_for_many_samples(self, loaded: LoadedModel) -> None:
        recorder = Recorder()
        engine = TransformersEngine(loaded, decoder=recorder.decoder)
        engine.generate(PROMPTS, SHARE_FROM - 1, SHORT)
        assert len(recorder.calls) == 1
        engine.generate(PROMPTS, SHARE_FROM, SHORT)
        assert len(recorder.calls) == 4

    def test_a_model_without_a_repeatable_cache_works_unshared(self, tiny_model_path: Path) -> None:
        tokenizer = AutoTokenizer.from_pretrained(tiny_model_path)
        config = MambaConfig(
            vocab_size=len(tokenizer), hidden_size=8, num_hidden_layers=1, state_size=4
        )
        loaded = LoadedModel(MambaForCausalLM(config).eval(), tokenizer, {"model": "mamba"})
        texts = TransformersEngine(loaded).generate(PROMPTS[:1], SHARE_FROM, SHORT)[0]
        assert len(set(texts)) > 1
        with pytest.raises(ValueError, match="share_prefix: the cache of mamba"):
            TransformersEngine(loaded, share_prefix=True)


class TestSeeds:
    def test_the_same_seed_gives_the_same_texts_and_another_one_others(
        self, engine: TransformersEngine
    ) -> None:
        for n in (1, 3, SHARE_FROM):
            first = engine.generate(PROMPTS, n, SHORT)
            torch.rand(1)  # the global stream does not matter
            assert engine.generate(PROMPTS, n, SHORT).texts == first.texts
            assert engine.generate(PROMPTS, n, SHORT.at(seed=1)).texts != first.texts

    def test_a_prompt_does_not_depend_on_its_neighbours(self, engine: TransformersEngine) -> None:
        together = engine.generate(PROMPTS, SHARE_FROM, SHORT)
        for prompt, texts in zip(PROMPTS, together, strict=True):
            assert engine.generate([prompt], SHARE_FROM, SHORT)[0] == texts
        assert engine.generate(PROMPTS[::-1], SHARE_FROM, SHORT).texts == together.texts[::-1]

    @pytest.mark.parametrize("n", [1, SHARE_FROM])
    def test_the_same_prompt_twice_gives_new_texts(
        self, engine: TransformersEngine, n: int
    ) -> None:
        first, second, third = engine.generate([PROMPTS[0]] * 3, n, SHORT)
        assert first != second != third != first

    def test_texts_of_a_group_differ_also_across_batches(self, loaded: LoadedModel) -> None:
        engine = TransformersEngine(loaded, batch_size=5)
        texts = engine.generate(PROMPTS[:1], 12, SHORT)[0]
        assert len(texts) == len(set(texts)) == 12

    @pytest.mark.parametrize("n", [1, SHARE_FROM])
    def test_the_global_random_state_is_left_alone(
        self, engine: TransformersEngine, n: int
    ) -> None:
        before = torch.random.get_rng_state()
        engine.generate(PROMPTS, n, SHORT)
        assert torch.equal(torch.random.get_rng_state(), before)


class TestSampling:
    def first_tokens(self, engine: TransformersEngine, **options: Any) -> set[str]:
        sampling = Sampling(max_tokens=1, temperature=100.0).at(**options)
        return set(engine.generate(PROMPTS[:1], 600, sampling)[0])

    def test_no_hidden_top_k(self, engine: TransformersEngine) -> None:
        assert len(self.first_tokens(engine)) > 60

    @pytest.mark.parametrize(
        ("option", "most"),
        [
            ({"top_k": 3}, 3),
            ({"top_p": 0.01}, 20),
            ({"min_p": 0.97}, 60),
            ({"temperature": 1e-3}, 1),
            ({"temperature": 0.0}, 1),
        ],
    )
    def test_every_option_has_its_effect(
        self, engine: TransformersEngine, option: dict[str, float], most: int
    ) -> None:
        assert 1 <= len(self.first_tokens(engine, **option)) <= most

    def test_nothing_is_inherited_from_the_generation_config(
        self, engine: TransformersEngine, tiny_model_path: Path, tmp_path: Path
    ) -> None:
        hostile = shutil.copytree(tiny_model_path, tmp_path / "hostile")
        settings = {
            "do_sample": True,
            "temperature": 0.01,
            "top_k": 1,
            "top_p": 0.1,
            "min_p": 0.9,
            "typical_p": 0.1,
            "repetition_penalty": 5.0,
            "no_repeat_ngram_size": 1,
            "max_length": 3,
            "min_new_tokens": 20,
            "num_beams": 2,
            "suppress_tokens": list(range(50, 300)),
        }
        file = hostile / "generation_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | settings))
        other = load_model(hostile, dtype="float32", device="cpu")
        for n, sampling in ((SHARE_FROM, SHORT), (2, SHORT), (2, GREEDY)):
            expected = engine.generate(PROMPTS, n, sampling)
            assert TransformersEngine(other).generate(PROMPTS, n, sampling) == expected
        assert other.model.generation_config.top_k == 1, "the model's own settings are put back"

    def test_greedy_completions_are_copies(self, engine: TransformersEngine) -> None:
        generations = engine.generate(PROMPTS, 3, GREEDY)
        for texts, truncated in zip(generations.texts, generations.truncated, strict=True):
            assert len(texts) == len(truncated) == 3
            assert len(set(texts)) == 1

    @pytest.mark.parametrize("n", [0, -1])
    def test_refuses_no_samples(self, engine: TransformersEngine, n: int) -> None:
        with pytest.raises(ValueError, match="n must be >= 1"):
            engine.generate(PROMPTS, n, SHORT)

    def test_no_prompts_give_no_rows(self, engine: TransformersEngine) -> None:
        assert engine.generate([], 3, SHORT).texts == []


class TestBatches:
    def test_padding_does_not_change_greedy_texts(self, loaded: LoadedModel) -> None:
        engine = TransformersEngine(loaded, batch_size=8)
        together = engine.generate(PROMPTS, 2, GREEDY)
        for prompt, texts in zip(PROMPTS, together, strict=True):
            assert engine.generate([prompt], 2, GREEDY)[0] == texts

    @pytest.mark.parametrize(("batch_size", "n"), [(1, 1), (1, 3), (2, 3), (4, 2), (64, 2)])
    def test_no_call_is_larger_than_the_batch_size(
        self, loaded: LoadedModel, batch_size: int, n: int
    ) -> None:
        recorder = Recorder()
        engine = TransformersEngine(
            loaded, batch_size=batch_size, share_prefix=False, decoder=recorder.decoder
        )
        generations = engine.generate(PROMPTS, n, SHORT)
        assert max(ids.shape[0] for ids in recorder.ids) <= batch_size
        assert [len(texts) for texts in generations] == [n] * 3
        # Rows come back to the prompt they belong to: greedily each prompt has a text of its own.
        greedy = engine.generate(PROMPTS, n, GREEDY)
        alone = [engine.generate([prompt], 1, GREEDY)[0] * n for prompt in PROMPTS]
        assert greedy.texts == alone


class TestTexts:
    def test_end_where_the_model_ends_and_say_so(self, loaded: LoadedModel) -> None:
        end = loaded.tokenizer.eos_token_id
        free = Recorder()
        TransformersEngine(loaded, decoder=free.decoder).generate(PROMPTS[:1], 8, SHORT)
        ending = Recorder(end=end, ends={0: 0, 2: 3, 5: 7})
        engine = TransformersEngine(loaded, decoder=ending.decoder)
        generations = engine.generate(PROMPTS[:1], 8, SHORT)
        texts, truncated = generations[0], generations.truncated[0]
        assert [i for i, cut in enumerate(truncated) if not cut] == [0, 2, 5]
        assert texts[0] == ""
        length = ending.calls[0][1]
        kept = free.ids[3][2, length:]
        assert texts[2] == loaded.tokenizer.decode(kept).strip()

    def test_every_end_token_of_the_model_counts(self, loaded: LoadedModel) -> None:
        other = loaded.tokenizer.convert_tokens_to_ids("a")
        loaded.model.generation_config.eos_token_id = [other]
        for end in (other, loaded.tokenizer.eos_token_id):
            recorder = Recorder(end=end, ends={0: 2})
            engine = TransformersEngine(loaded, decoder=recorder.decoder)
            generations = engine.generate(PROMPTS[:1], 2, SHORT)
            assert generations.truncated == [[False, True]]
            before = recorder.ids[2][0, recorder.calls[0][1] :]
            assert generations[0][0] == loaded.tokenizer.decode(before).strip()

    def test_hold_no_special_tokens_and_no_space_around(self, engine: TransformersEngine) -> None:
        sampling = Sampling(temperature=3.0, max_tokens=40)
        texts = [text for row in engine.generate(PROMPTS, 32, sampling) for text in row]
        assert not any("<|" in text and "|>" in text for text in texts)
        assert all(text == text.strip() for text in texts)
        assert any(" " in text for text in texts)


class TestPrompts:
    def lengths(self, loaded: LoadedModel, prompt: Any, **options: Any) -> tuple[int, str]:
        recorder = Recorder()
        engine = TransformersEngine(loaded, decoder=recorder.decoder, **options)
        engine.generate([prompt], 1, Sampling(max_tokens=1))
        return recorder.calls[0][1], loaded.tokenizer.decode(recorder.ids[0][0])

    def test_a_text_is_one_user_turn(self, loaded: LoadedModel) -> None:
        chat = [{"role": "user", "content": "the"}]
        assert self.lengths(loaded, "the") == self.lengths(loaded, chat)
        assert (
            "<|im_start|>user\nthe<|im_end|>\n<|im_start|>assistant"
            in (self.lengths(loaded, "the")[1])
        )

    def test_a_system_message_comes_first_unless_there_is_one(self, loaded: LoadedModel) -> None:
        own = [{"role": "system", "content": "red"}, {"role": "user", "content": "the"}]
        given = self.lengths(loaded, "the", system="blue")[1]
        assert given.startswith("<|im_start|>system\nblue<|im_end|>\n<|im_start|>user\nthe")
        assert self.lengths(loaded, own, system="blue") == self.lengths(loaded, own)

    def test_template_options_reach_the_template(self, loaded: LoadedModel) -> None:
        loaded.tokenizer.chat_template = "{{ messages[0]['content'] }}{{ mood }}"
        assert self.lengths(loaded, "the", template_options={"mood": "!"})[1] == "the!"


class TestAdapters:
    @pytest.fixture
    def adapters(self, tiny_model_path: Path, tmp_path: Path) -> list[Path]:
        return [save_adapter(tiny_model_path, tmp_path / str(seed), seed) for seed in (1, 2)]

    def test_switch_on_one_copy_of_the_base(
        self, engine: TransformersEngine, loaded: LoadedModel, adapters: list[Path]
    ) -> None:
        weights = {p.data_ptr() for p in loaded.model.parameters()}
        plain = engine.generate(PROMPTS, SHARE_FROM, SHORT)
        one, two = (engine.with_adapter(path) for path in adapters)
        first = one.generate(PROMPTS, SHARE_FROM, SHORT)
        second = two.generate(PROMPTS, SHARE_FROM, SHORT)
        assert first != second
        assert plain not in (first, second)
        assert engine.generate(PROMPTS, SHARE_FROM, SHORT) == plain
        assert one.generate(PROMPTS, SHARE_FROM, SHORT) == first
        assert two.with_adapter(None).generate(PROMPTS, SHARE_FROM, SHORT) == plain
        small = {p.numel() for n, p in loaded.model.named_parameters() if "lora" in n}
        assert max(small) < 200, "only adapters were added"
        assert weights <= {p.data_ptr() for p in loaded.model.parameters()}

    def test_the_disabled_adapter_leaves_the_logits_of_the_base_exactly(
        self, engine: TransformersEngine, loaded: LoadedModel, adapters: list[Path]
    ) -> None:
        ids = torch.tensor([[5, 6, 7]])
        plain = loaded.model(ids).logits
        adapted = engine.with_adapter(adapters[0])
        with adapted.with_adapter(None)._weights.active(None) as model:
            assert torch.equal(model(ids).logits, plain)
        with adapted._weights.active(adapted._label) as model:
            assert not torch.allclose(model(ids).logits, plain)

    def test_equals_an_engine_that_loads_the_adapter(
        self, engine: TransformersEngine, tiny_model_path: Path, adapters: list[Path]
    ) -> None:
        options = {"dtype": "float32", "device": "cpu"}
        expected = engine.with_adapter(adapters[0])
        for other in (
            TransformersEngine(tiny_model_path, adapter=adapters[0], **options),
            TransformersEngine(adapters[0], **options),
        ):
            assert other.identity == expected.identity
            assert other.generate(PROMPTS, 8, SHORT) == expected.generate(PROMPTS, 8, SHORT)
            bare = other.with_adapter(None)
            assert bare.identity == engine.identity
            assert bare.generate(PROMPTS, 8, SHORT) == engine.generate(PROMPTS, 8, SHORT)

    def test_a_scaled_adapter_is_the_one_with_that_update_of_the_weights(
        self, tiny_model_path: Path, adapters: list[Path], tmp_path: Path
    ) -> None:
        """Half the scale is half of lora_alpha; 0 is the base; both are exact in every text."""
        half = tmp_path / "half"
        shutil.copytree(adapters[0], half)
        config = json.loads((half / "adapter_config.json").read_text())
        config["lora_alpha"] /= 2
        (half / "adapter_config.json").write_text(json.dumps(config))

        def engine(adapter: Path, **scale: float) -> TransformersEngine:
            loaded = load_model(tiny_model_path, dtype="float32", device="cpu")
            return TransformersEngine(loaded, adapter=adapter, **scale)

        scaled, expected = engine(adapters[0], adapter_scale=0.5), engine(half)
        layer = next(m for m in scaled._weights.loaded.model.modules() if isinstance(m, LoraLayer))
        trained = dict(layer.scaling)
        found = scaled.generate(PROMPTS, 8, SHORT)
        assert found.texts == expected.generate(PROMPTS, 8, SHORT).texts
        assert found.texts != engine(adapters[0]).generate(PROMPTS, 8, SHORT).texts
        assert layer.scaling == trained, "the scale was not put back"
        none = engine(adapters[0], adapter_scale=0)
        bare = none.with_adapter(None)
        assert none.generate(PROMPTS, 8, SHORT) == bare.generate(PROMPTS, 8, SHORT)
        assert scaled.identity["adapter_scale"] == 0.5
        assert "adapter_scale" not in expected.identity
        assert "adapter_scale" not in bare.identity

    def test_a_scale_needs_a_lora_and_a_number(
        self, loaded: LoadedModel, tiny_model_path: Path, tmp_path: Path, adapters: list[Path]
    ) -> None:
        with pytest.raises(ValueError, match="needs an adapter on the model, got none"):
            TransformersEngine(loaded, adapter_scale=0.5)
        with pytest.raises(ValueError, match="adapter_scale must be a finite number"):
            TransformersEngine(loaded, adapter=adapters[0], adapter_scale=float("nan"))
        config = LoHaConfig(r=2, task_type="CAUSAL_LM", target_modules=["q_proj"])
        get_peft_model(
            AutoModelForCausalLM.from_pretrained(tiny_model_path), config
        ).save_pretrained(tmp_path / "loha")
        with pytest.raises(ValueError, match="is for LoRA, got an adapter of type LOHA"):
            TransformersEngine(loaded, adapter=tmp_path / "loha", adapter_scale=0.5)

    def test_one_that_does_not_fit_is_refused_and_the_engine_works_on(
        self, engine: TransformersEngine, tiny_model_path: Path, tmp_path: Path
    ) -> None:
        plain = engine.generate(PROMPTS, 2, SHORT)
        config = AutoModelForCausalLM.from_pretrained(tiny_model_path).config
        config.num_hidden_layers = 3
        AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "deeper")
        misfit = save_adapter(tmp_path / "deeper", tmp_path / "misfit", 1)
        with pytest.raises(ValueError, match="does not fit the model"):
            engine.with_adapter(misfit)
        assert engine.generate(PROMPTS, 2, SHORT) == plain
        assert engine.identity["adapter"] is None

    def test_identity_follows_adapter_and_system(
        self, engine: TransformersEngine, loaded: LoadedModel, adapters: list[Path]
    ) -> None:
        assert engine.identity == loaded.identity | {"system": None}
        one, two = (engine.with_adapter(path).identity for path in adapters)
        assert one["adapter"] == str(adapters[0])
        assert one["adapter_hash"] != two["adapter_hash"]
        assert engine.identity["adapter"] is None
        rich = TransformersEngine(
            loaded, system="be red", template_options={"mood": "!"}, decoder=Recorder().decoder
        )
        assert rich.identity["system"] == "be red"
        assert rich.identity["template_options"] == {"mood": "!"}
        assert rich.identity["decoder"] == "decoder"
        json.dumps(rich.identity)


class TestDecoders:
    def test_another_decoder_shares_the_weights(self, engine: TransformersEngine) -> None:
        recorder = Recorder()
        other = engine.with_decoder(recorder.decoder)
        assert engine.decoder is None
        assert other.generate(PROMPTS, 2, SHORT).texts == engine.generate(PROMPTS, 2, SHORT).texts
        assert len(recorder.calls) == 1
        assert other.with_decoder(None).identity == engine.identity != other.identity

    def test_token_ids_are_what_the_model_reads(self, loaded: LoadedModel) -> None:
        recorder = Recorder()
        engine = TransformersEngine(loaded, decoder=recorder.decoder, system="Be brief.")
        engine.generate(PROMPTS[:1], 1, SHORT)
        assert recorder.ids[0][0].tolist() == engine.token_ids(PROMPTS[0])


def streamed(engine: TransformersEngine, prompt: str, sampling: Sampling) -> tuple[list[str], bool]:
    pieces, found = engine.stream(prompt, sampling), []
    while True:
        try:
            found.append(next(pieces))
        except StopIteration as end:
            return found, end.value


class TestStreaming:
    @pytest.mark.parametrize("seed", range(6))
    def test_pieces_are_the_text_that_generate_gives(
        self, engine: TransformersEngine, seed: int
    ) -> None:
        sampling = Sampling(max_tokens=40, seed=seed)
        drawn = engine.generate(PROMPTS[:1], 1, sampling)
        state = torch.random.get_rng_state()
        found, cut = streamed(engine, PROMPTS[0], sampling)
        assert torch.equal(torch.random.get_rng_state(), state)
        assert "".join(found).strip() == drawn[0][0]
        assert cut == drawn.truncated[0][0]
        assert len(found) > 1 and "" not in found

    def test_a_short_one_ends_by_itself(self, loaded: LoadedModel) -> None:
        recorder = Recorder(end=loaded.tokenizer.eos_token_id, ends={0: 3})
        engine = TransformersEngine(loaded, decoder=recorder.decoder, share_prefix=True)
        found, cut = streamed(engine, PROMPTS[1], SHORT)
        assert not cut and recorder.calls == [(1, len(engine.token_ids(PROMPTS[1])))]
        assert "".join(found).strip() == engine.generate(PROMPTS[1:2], 1, SHORT)[0][0]

    def test_end_tokens_that_are_words_are_not_shown(self, loaded: LoadedModel) -> None:
        loaded.model.generation_config.eos_token_id = 300
        recorder = Recorder(end=300, ends={0: 2})
        engine = TransformersEngine(loaded, decoder=recorder.decoder)
        found, cut = streamed(engine, PROMPTS[1], SHORT)
        assert not cut
        assert "".join(found).strip() == engine.generate(PROMPTS[1:2], 1, SHORT)[0][0]

    def test_one_that_is_left_stops_at_the_next_token(self, loaded: LoadedModel) -> None:
        recorder = Recorder()
        engine = TransformersEngine(loaded, decoder=recorder.decoder)
        pieces = engine.stream(PROMPTS[0], Sampling(max_tokens=900))
        next(pieces)
        pieces.close()
        assert recorder.steps < 900
        assert engine.generate(PROMPTS[:1], 1, SHORT) == engine.generate(PROMPTS[:1], 1, SHORT)

    def test_an_adapter_takes_part(
        self, loaded: LoadedModel, tiny_model_path: Path, tmp_path: Path
    ) -> None:
        engine = TransformersEngine(loaded)
        adapted = engine.with_adapter(save_adapter(tiny_model_path, tmp_path / "a", 1))
        texts = []
        for each in (engine, adapted, engine):
            texts.append("".join(streamed(each, PROMPTS[0], GREEDY)[0]).strip())
            assert texts[-1] == each.generate(PROMPTS[:1], 1, GREEDY)[0][0]
        assert texts[0] == texts[2] != texts[1]

    def test_a_decoder_with_a_loop_of_its_own_is_refused(self, loaded: LoadedModel) -> None:
        engine = TransformersEngine(loaded, decoder=ArithmeticSampling())
        with pytest.raises(ValueError, match="a loop of its own has no stream"):
            next(engine.stream("the", SHORT))

    def test_what_goes_wrong_is_raised_and_does_not_hang(self, loaded: LoadedModel) -> None:
        def broken(siblings: int, length: int) -> dict[str, Any]:
            return {"logits_processor": [lambda ids, scores: 1 / 0]}

        with pytest.raises(ZeroDivisionError):
            next(TransformersEngine(loaded, decoder=broken).stream("the", SHORT))
        with pytest.raises(ValueError, match="at least one message"):
            next(TransformersEngine(loaded).stream([], SHORT))


class TestOptions:
    def test_is_an_engine_that_streams(self, engine: TransformersEngine) -> None:
        assert isinstance(engine, Engine) and isinstance(engine, Streaming)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
            ({"share_prefix": "yes"}, "share_prefix must be True, False or 'auto'"),
            ({"dtype": "float32"}, "settled already"),
            ({"device": "cpu"}, "settled already"),
            ({"revision": "main"}, "settled already"),
        ],
    )
    def test_impossible_ones_are_refused(
        self, loaded: LoadedModel, options: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            TransformersEngine(loaded, **options)


@pytest.mark.slow
def test_the_embedded_model_answers() -> None:
    engine = TransformersEngine("smollm2-135m-instruct")
    question = ["What is the capital of France?"]
    assert "Paris" in engine.generate(question, 1, Sampling(temperature=0, max_tokens=16))[0][0]
    texts = engine.generate(question, 8, Sampling(max_tokens=16))[0]
    assert len(set(texts)) > 4


def test_tokens_that_are_read_and_written_are_counted(loaded: LoadedModel) -> None:
    """Three siblings end at steps 0, 2 and never, of five: 1 + 3 + 5 tokens, ends included."""
    end = loaded.tokenizer.eos_token_id
    recorder = Recorder(end=end, ends={0: 0, 1: 2})
    engine = TransformersEngine(loaded, decoder=recorder.decoder)
    drawn = engine.generate(PROMPTS[:1], 3, Sampling(max_tokens=5))
    assert drawn.truncated == [[False, False, True]]
    chat = [{"role": "user", "content": PROMPTS[0]}]
    read = len(chat_token_ids(loaded.tokenizer, chat))
    assert drawn.details == [{"tokens": {"read": read, "written": 9}}]


def test_greedy_copies_are_written_once(engine: TransformersEngine) -> None:
    one, three = (engine.generate(PROMPTS, n, GREEDY).details for n in (1, 3))
    assert one == three and all(1 <= row["tokens"]["written"] <= 12 for row in one)
