"""OpenAIEngine against vLLM's own server on loopback, a chain over `vllm_xargs` included."""

import pytest
import torch

from diversify.decoding import SamplingChain
from diversify.engines import Sampling
from diversify.engines.openai import OpenAIEngine
from real.vllm_server import SERVED

pytestmark = pytest.mark.vllm

PROMPTS = ["Name a colour.", "Tell me a very short story."]


def engine_at(base_url, **options):
    return OpenAIEngine(
        SERVED, base_url=base_url, flavour="extended", cache=False, retries=0, **options
    )


def chained(base_url, chain):
    from diversify.decoding.vllm import CHAIN, written_chain

    return engine_at(base_url, extra_body={"vllm_xargs": {CHAIN: written_chain(chain)}})


def test_greedy_texts_are_those_of_transformers(base_url, reference):
    greedy = Sampling(temperature=0, max_tokens=16)
    found, expected = (e.generate(PROMPTS, 2, greedy) for e in (engine_at(base_url), reference))
    assert found.texts == expected.texts
    assert found.truncated == expected.truncated
    assert [row["tokens"]["read"] for row in found.details] == [
        row["tokens"]["read"] for row in expected.details
    ]


def test_seeds_decide_the_texts(base_url):
    engine, hot = engine_at(base_url), Sampling(max_tokens=8, seed=4)
    drawn = engine.generate(PROMPTS, 5, hot)
    assert engine.generate(PROMPTS, 5, hot).texts == drawn.texts
    assert engine.generate(PROMPTS, 5, hot.at(seed=5)).texts != drawn.texts
    assert all(len(set(row)) > 1 for row in drawn)


def test_a_chain_travels_in_the_request(base_url, reference):
    """Of a chain that keeps the three best, only those three come first."""
    chain = SamplingChain.parse("temperature=3,top_k=3")
    drawn = chained(base_url, chain).generate(PROMPTS[:1], 60, Sampling(max_tokens=1))
    model, tokenizer = reference._weights.loaded[:2]
    with torch.inference_mode():
        logits = model(torch.tensor([reference.token_ids(PROMPTS[0])])).logits[0, -1]
    best = {tokenizer.decode([i]).strip() for i in logits.topk(3).indices}
    assert set(drawn[0]) == best


def test_a_bad_chain_is_refused_with_a_sentence(base_url):
    engine = engine_at(base_url, extra_body={"vllm_xargs": {"sampling_chain": "top_k=3"}})
    with pytest.raises(ValueError, match="takes no such request"):
        engine.generate(PROMPTS[:1], 1, Sampling(max_tokens=1))
    # A chain and a temperature beside it.
    with pytest.raises(ValueError, match="takes no such request"):
        chained(base_url, SamplingChain([])).generate(
            PROMPTS[:1], 1, Sampling(temperature=0.5, max_tokens=1)
        )
