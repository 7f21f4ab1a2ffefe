"""A tiny random model and a model-free embedder that every test may use; nothing is downloaded."""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

# Before torch or huggingface_hub is imported anywhere: one thread (two cores are shared), no network.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

WORDS = """
the a an of to and in is it that you he she was for on are as with his they at be this have from or
one had by not but what all were we when your can said there use each which how their if will up
other about out many then them these so some her would make like him into time has look two more
write go see number no way could people my than first water been call who its now find long down day
did get come made may part red blue green name colour tell story animal fruit country city Paris
""".split()

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@dataclass(frozen=True)
class HashingEmbedder:
    """Bag of words hashed into signed buckets: texts that share words are alike. Unit rows."""

    name: str = "hashing"
    revision: str = "1"
    dimension: int = 64

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in text.lower().split() or [""]:
                digest = hashlib.sha256(word.encode()).digest()
                row[digest[0] % self.dimension] += 1.0 if digest[1] % 2 else -1.0
            if not row.any():  # opposite words met in one bucket
                row[0] = 1.0
            row /= np.linalg.norm(row)
        return rows


@pytest.fixture(scope="session")
def tiny_embedder() -> HashingEmbedder:
    """A deterministic embedder with `.name` and `.revision` that needs no model."""
    return HashingEmbedder()


@pytest.fixture(scope="session")
def tiny_tokenizer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a byte-level BPE tokenizer: all bytes, 100 whole words, ChatML, left padding."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=700,
        min_frequency=2,
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([f" {word} {word} {word}" for word in WORDS], trainer)
    folder = tmp_path_factory.mktemp("tiny_tokenizer")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<|pad|>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        padding_side="left",
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_model_path(tiny_tokenizer_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random two-layer Llama (float32 safetensors) and the tiny tokenizer.

    The weights are wide (0.3), so that its distributions are peaked and mistakes change outputs.
    """
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_path)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.3,
        tie_word_embeddings=False,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    folder = tmp_path_factory.mktemp("tiny_model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def loaded(tiny_model_path: Path):
    """The tiny model in memory, in float32 on the CPU, for the tests of one file."""
    from diversify.models import load_model

    return load_model(tiny_model_path, dtype="float32", device="cpu")


@pytest.fixture
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers on loopback are asked directly, whatever proxy is set where the tests run."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


PROMPTS = ["Name a colour.", "Name a fruit.", "Tell a story.", "Name a city."]


@pytest.fixture
def no_cache_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data sets are cached where the test ends, and not in the home of who runs it."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")


@pytest.fixture
def prompt_file(tmp_path: Path) -> Path:
    """Four prompts with a list of one answer each."""
    path = tmp_path / "prompts.jsonl"
    rows = [{"id": f"p{i}", "prompt": p, "answers": [["red"]]} for i, p in enumerate(PROMPTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def pair_file(tmp_path: Path) -> Path:
    """One pair for each prompt, with weights of mean 1."""
    path = tmp_path / "pairs.jsonl"
    rows = [
        {
            "prompt": [{"role": "user", "content": prompt}],
            "chosen": [{"role": "assistant", "content": "one wild fig"}],
            "rejected": [{"role": "assistant", "content": "the apple"}],
            "weight": weight,
        }
        for prompt, weight in zip(PROMPTS, [0.0, 0.5, 1.5, 2.0], strict=True)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
