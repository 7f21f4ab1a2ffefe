"""Bodies of requests: what is read, what is ignored, what is refused with which sentence."""

import json
from typing import Any

import pytest

from diversify.engines import Sampling
from diversify.serving.asked import Asked, read_body, read_request
from diversify.serving.metered import Limits
from diversify.serving.problems import Problem

CHAT = [{"role": "user", "content": "A fruit?"}]


def read(**fields: Any) -> Asked:
    defaults = Sampling(temperature=0.7, max_tokens=99, top_k=5)
    return read_request({"messages": CHAT, **fields}, model="m", defaults=defaults, limits=Limits())


def test_what_is_said_holds_and_the_rest_is_the_servers() -> None:
    asked = read(
        n=3, top_p=0.5, max_tokens=7, seed=11, diversify={"strategy": "personas", "count": 2}
    )
    assert asked.sampling == Sampling(temperature=0.7, top_p=0.5, max_tokens=7, top_k=5, seed=11)
    assert (asked.n, asked.strategy, asked.options) == (3, "personas", {"count": 2})
    assert asked.messages == CHAT and not asked.stream
    plain = read(max_completion_tokens=8, temperature=1, top_k=-1, min_p=0.1)
    assert (plain.n, plain.strategy, plain.options) == (1, None, {})
    assert plain.sampling.at(seed=0) == Sampling(temperature=1, max_tokens=8, top_k=0, min_p=0.1)


def test_without_a_seed_each_request_has_another() -> None:
    assert len({read().sampling.seed for _ in range(5)}) == 5


def test_null_is_as_good_as_nothing() -> None:
    names = ("n", "temperature", "seed", "stream", "tools", "stop", "diversify", "model", "new")
    asked = read(**dict.fromkeys(names))
    assert asked.n == 1 and asked.sampling.temperature == 0.7


def test_what_changes_no_answer_is_ignored() -> None:
    assert read(user="me", metadata={"a": "b"}, store=True, stream_options={"x": 1}).n == 1
    assert read(tools=[], tool_choice="auto", logprobs=False, presence_penalty=0.0, stop=[]).n == 1
    assert read(response_format={"type": "text"}, modalities=["text"], repetition_penalty=1).n == 1


def test_messages_may_have_parts_and_what_clients_echo() -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hi!", "refusal": None, "tool_calls": None, "audio": None},
        {
            "role": "user",
            "content": [{"type": "text", "text": "A "}, {"type": "text", "text": "b"}],
        },
    ]
    found = read(messages=messages).messages
    assert [m["role"] for m in found] == ["system", "user", "assistant", "user"]
    assert found[-1] == {"role": "user", "content": "A b"}


@pytest.mark.parametrize(
    ("fields", "param", "said"),
    [
        ({"n": 0}, "n", "n must be a whole number between 1 and 16, got 0"),
        ({"n": 17}, "n", "between 1 and 16, got 17"),
        ({"n": True}, "n", "got True"),
        ({"n": 2.0}, "n", "got 2.0"),
        ({"n": "2"}, "n", "got '2'"),
        ({"temperature": -1}, "temperature", "temperature must be a number >= 0, got -1"),
        ({"temperature": "hot"}, "temperature", "must be a number, got 'hot'"),
        ({"temperature": 10**400}, "temperature", "must be a number"),
        ({"top_p": 0}, "top_p", "top_p must be in (0, 1], got 0"),
        ({"min_p": 1}, "min_p", "min_p must be in [0, 1)"),
        ({"top_k": -2}, "top_k", "between -1"),
        ({"max_tokens": 0}, "max_tokens", "between 1 and 4096, got 0"),
        ({"max_tokens": 10**9}, "max_tokens", "between 1 and 4096"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens", "are the same"),
        ({"seed": 1.5}, "seed", "seed must be a whole number"),
        ({"seed": 2**63}, "seed", "seed must be a whole number"),
        ({"stream": 1}, "stream", "stream must be true or false, got 1"),
        ({"stream": True, "n": 2}, "stream", "stream goes with one answer, got n=2"),
        (
            {"stream": True, "diversify": {"strategy": "personas"}},
            "stream",
            "goes with plain sampling",
        ),
        ({"stop": ["\n"]}, "stop", "stop may only be [] here"),
        ({"tools": [{"type": "function"}]}, "tools", "tools may only be []"),
        ({"response_format": {"type": "json_object"}}, "response_format", 'be {"type": "text"}'),
        ({"logit_bias": {"1": 5}}, "logit_bias", "logit_bias may only be {}"),
        ({"logprobs": True}, "logprobs", "logprobs may only be false"),
        ({"logprobs": 0}, "logprobs", "logprobs may only be false here, got 0"),
        ({"presence_penalty": False}, "presence_penalty", "may only be 0 here, got False"),
        ({"frequency_penalty": 0.5}, "frequency_penalty", "may only be 0"),
        ({"modalities": ["audio"]}, "modalities", 'may only be ["text"]'),
        ({"audio": {"voice": "x"}}, "audio", "there is no field 'audio' here; there are model"),
        ({"best_of": 3}, "best_of", "there is no field 'best_of'"),
        ({"messages": None}, "messages", "messages must be a list of messages, got None"),
        ({"messages": []}, "messages", "messages must be a list of messages, got []"),
        ({"messages": "A fruit?"}, "messages", "must be a list"),
        ({"messages": ["A fruit?"]}, "messages[0]", "a message must be an object"),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages[0].role", "role must be one"),
        ({"messages": [{"role": ["user"], "content": ""}]}, "messages[0].role", "role must be"),
        ({"messages": [{"role": "user"}]}, "messages[0].content", "content must be text"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
            "parts of type text only",
        ),
        (
            {"messages": [{"role": "user", "content": "", "tool_calls": [1]}]},
            "messages[0]",
            "a message may have role and content, got 'tool_calls'",
        ),
        (
            {"messages": [*CHAT, {"role": "assistant", "content": "A"}]},
            "messages",
            "the last message must be the user's",
        ),
        ({"diversify": "personas"}, "diversify", "diversify must be an object"),
        ({"diversify": {"strategy": 3}}, "diversify.strategy", "strategy must be a name"),
    ],
)
def test_the_rest_is_refused_with_a_sentence(fields, param: str, said: str) -> None:
    with pytest.raises(Problem) as raised:
        read(**fields)
    assert raised.value.status == 400
    assert raised.value.param == param
    assert said in raised.value.message


def test_another_model_is_not_here() -> None:
    with pytest.raises(Problem, match="the model here is 'm', got 'gpt'") as raised:
        read(model="gpt")
    assert (raised.value.status, raised.value.code) == (404, "model_not_found")
    assert read(model="m").n == 1


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"nul", b"\xff\xfe", b'"text"', b"[1]", b"7", b'{"n": NaN}', b'{"n": 1e}'),
        b'{"seed": Infinity}',
        b'{"messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"n": ' + b"1" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
)
def test_what_is_no_json_object_is_refused(content: bytes) -> None:
    with pytest.raises(Problem, match="the body must be a JSON object") as raised:
        read_body(content)
    assert raised.value.status == 400
    assert len(json.dumps(raised.value.body)) < 2000
