"""OpenAIEngine against vLLM's own server: choices, likelihoods, streams, and a server of ours before it."""

import openai
import pytest

from diversify.decoding import Stratified
from diversify.engines import Sampling
from diversify.engines.openai import OpenAIEngine
from real.vllm_server import SERVED

pytestmark = pytest.mark.vllm

PROMPTS = ["Name a colour.", "Tell me a very short story."]
WARM = Sampling(temperature=0.9, max_tokens=12, seed=3)


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def engine_at(base_url, **options):
    options = {"flavour": "extended", "cache": False, "retries": 0} | options
    return OpenAIEngine(SERVED, base_url=base_url, api_key_env="NO_KEY", **options)


def test_several_choices_of_one_request_differ_and_can_be_repeated(base_url):
    engine = engine_at(base_url, per_request=4)
    drawn = engine.generate(PROMPTS, 6, WARM)
    assert all(len(set(row)) > 3 for row in drawn)
    assert engine.generate(PROMPTS, 6, WARM).texts == drawn.texts
    assert all(row["tokens"]["written"] > 6 for row in drawn.details)


def test_options_that_only_some_servers_have_reach_it(base_url):
    """One token is left, by either of the two: every sample is the greedy text."""
    engine = engine_at(base_url)
    greedy = engine.generate(PROMPTS, 1, WARM.at(temperature=0))
    for narrow in (WARM.at(top_k=1), WARM.at(min_p=0.9999)):
        found = engine.generate(PROMPTS, 3, narrow)
        assert found.texts == [row * 3 for row in greedy]


def test_likelihoods_are_given(base_url):
    rows = engine_at(base_url, logprobs=True).generate(PROMPTS, 3, WARM).details
    for row in rows:
        assert len(row["logprobs"]) == 3
        assert all(each["sum"] <= each["mean"] < 0 for each in row["logprobs"])


def test_a_stream_is_the_text_that_generate_gives(base_url):
    engine = engine_at(base_url)
    pieces = list(engine.stream(PROMPTS[1], WARM))
    assert len(pieces) > 5
    assert "".join(pieces).strip() == engine.generate(PROMPTS[1:], 1, WARM)[0][0]


def test_a_strategy_works(base_url):
    drawn = Stratified()(engine_at(base_url), PROMPTS, 3, WARM)
    assert [len(row) for row in drawn] == [3, 3]
    assert all(row["missing"] == 0 and row["tokens"]["written"] > 0 for row in drawn.details)


def test_a_server_of_ours_before_it_gives_answers_that_differ(base_url):
    from running import running

    from diversify.kernels import NgramKernel
    from diversify.serving import build_app

    app = build_app(engine_at(base_url), kernel=NgramKernel, at_once=4)
    chat = [{"role": "user", "content": PROMPTS[1]}]
    with running(app) as url, openai.OpenAI(base_url=url, api_key="none") as client:
        create = client.chat.completions.create
        found = create(model=SERVED, messages=chat, n=4, max_tokens=12, seed=3)
        assert len({choice.message.content for choice in found.choices}) == 4
        assert found.model_extra["diversify"]["completions"] == 16
        chunks = create(model=SERVED, messages=chat, max_tokens=12, seed=3, stream=True)
        assert len([c for c in chunks if c.choices[0].delta.content]) > 5
