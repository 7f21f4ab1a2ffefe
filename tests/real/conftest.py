"""Models inside a real vLLM; `make test-vllm` runs these in an environment of its own."""

import gc
import os

import pytest

from real.vllm_server import SERVED, SMALL, serving

# Before vLLM is imported: one gigabyte for keys and values, and its errors only.
os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

SEEN = {"logprobs_mode": "processed_logits", "max_logprobs": -1}
"""Log-probabilities on demand are the logits that a token was drawn from, all of them."""


@pytest.fixture(scope="session", autouse=True)
def installed():
    pytest.importorskip("vllm", reason="runs in the environment of `make test-vllm`")


@pytest.fixture(scope="session")
def engine():
    """The embedded model in float32, with the chain's processor."""
    from diversify.decoding import SamplingChain
    from diversify.engines.vllm import VLLMEngine
    from diversify.models import EMBEDDED_MODEL

    engine = VLLMEngine(EMBEDDED_MODEL, dtype="float32", sampler=SamplingChain([]), options=SMALL)
    yield engine
    del engine
    gc.collect()


@pytest.fixture(scope="session")
def reference():
    """The embedded model in transformers."""
    from diversify.engines.transformers import TransformersEngine
    from diversify.models import EMBEDDED_MODEL

    return TransformersEngine(EMBEDDED_MODEL, dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def random_path(tiny_tokenizer_path, tmp_path_factory):
    """A random model of two layers with heads as wide as vLLM needs them, and 459 tokens."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_path)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.08,
        tie_word_embeddings=False,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
    folder = tmp_path_factory.mktemp("random")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def random_engine(random_path):
    """The random model in vLLM, with the chain's processor."""
    from diversify.decoding import SamplingChain
    from diversify.engines.vllm import VLLMEngine

    engine = VLLMEngine(
        random_path, dtype="float32", sampler=SamplingChain([]), options=SMALL | SEEN
    )
    yield engine
    del engine
    gc.collect()


@pytest.fixture(scope="session")
def random_reference(random_path):
    """The random model in transformers."""
    from diversify.engines.transformers import TransformersEngine

    return TransformersEngine(random_path, dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def base_url(tmp_path_factory):
    """vLLM's own server with the embedded model, under the name `SERVED`, and the chain's processor."""
    from diversify.models import embedded_model_path

    log = tmp_path_factory.mktemp("vllm") / "server.log"
    with serving(embedded_model_path(), name=SERVED, log=log) as url:
        yield url
