"""The server before an engine, asked by the real client over a real port."""

import asyncio
import http.client
import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np
import openai
import pytest
from fake_server import FakeServer, Reply, choices, refusing, stream
from running import running

from diversify.engines import Generations, Prompt, Sampling
from diversify.engines.openai import OpenAIEngine
from diversify.engines.transformers import TransformersEngine
from diversify.kernels import NgramKernel
from diversify.models import load_model
from diversify.serving import Limits, build_app, serve

pytestmark = pytest.mark.usefixtures("no_proxy")

ROOT = Path(__file__).parents[2]
CHAT: list[Any] = [{"role": "user", "content": "Name a fruit of some colour."}]
FRUITS = ["a red fig", "a red fig", "a green kiwi", "a red fig!", "one yellow lime", "a red fig"]


class Fruits:
    """An engine that names the same few fruits, or does what a test tells it to."""

    identity: ClassVar[dict[str, Any]] = {"model": "fruits"}

    def __init__(self, before: Callable[[], Any] = lambda: None) -> None:
        self.before = before
        self.calls: list[tuple[list[Prompt], int, Sampling]] = []
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()

    def generate(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> Generations:
        with self.lock:
            self.calls.append((list(prompts), n, sampling))
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            self.before()
        finally:
            with self.lock:
                self.under_way -= 1
        texts = [[FRUITS[i % len(FRUITS)] for i in range(n)] for _ in prompts]
        cut = [[i == 2 for i in range(n)] for _ in prompts]
        tokens = {"tokens": {"read": 7, "written": 5 * n}}
        return Generations(list(prompts), texts, cut, [tokens for _ in prompts])


class Spoken(Fruits):
    """One that can also be heard while it speaks."""

    def __init__(self, before: Callable[[], Any] = lambda: None) -> None:
        super().__init__(before)
        self.left = threading.Event()

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[str]:
        self.calls.append(([prompt], 1, sampling))
        try:
            yield "a red "
            self.before()
            yield "fig"
        finally:
            self.left.set()
        return True


def app_of(engine: Any, **options: Any) -> Any:
    return build_app(engine, **{"kernel": NgramKernel} | options)


@pytest.fixture(scope="module")
def fruits() -> Iterator[tuple[Fruits, str]]:
    engine = Fruits()
    with running(app_of(engine, limits=Limits(tokens=10_000, body=100_000))) as url:
        yield engine, url


def client_of(url: str, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key=key, max_retries=0, timeout=20)


def ask(url: str, *, n: int = 1, **options: Any) -> Any:
    with client_of(url, options.pop("key", "none")) as client:
        options = {"model": "fruits", "messages": CHAT} | options
        return client.chat.completions.create(n=n, **options)


def heard(url: str, **options: Any) -> Iterator[Any]:
    """The first choice of each piece of a stream."""
    with client_of(url) as client:
        options = {"model": "fruits", "messages": CHAT} | options
        for chunk in client.chat.completions.create(stream=True, **options):
            yield chunk.choices[0]


def raw(
    url: str,
    body: bytes | None,
    *,
    method: str = "POST",
    path: str = "/v1/chat/completions",
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    sent = {"Content-Type": "application/json"} | {
        name.replace("_", "-"): value for name, value in headers.items()
    }
    try:
        connection.request(method, path, body, sent)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def error_of(content: bytes) -> dict[str, Any]:
    """The error object, which has the four fields and a sentence."""
    error: dict[str, Any] = json.loads(content)["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert isinstance(error["message"], str) and len(error["message"]) > 5
    assert "Traceback" not in error["message"]
    return error


def body(**fields: Any) -> bytes:
    return json.dumps({"messages": CHAT, **fields}).encode()


def health(url: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(raw(url, None, method="GET", path="/health")[2])
    return found


class TestAnswers:
    def test_several_answers_differ_and_come_with_their_record(self, fruits) -> None:
        engine, url = fruits
        found = ask(url, n=3, temperature=0.5, max_tokens=20, seed=7)
        texts = [choice.message.content for choice in found.choices]
        assert len(set(texts)) == 3 and {"a green kiwi", "one yellow lime"} < set(texts)
        assert [choice.index for choice in found.choices] == [0, 1, 2]
        record = found.model_extra["diversify"]
        assert record["strategy"]["name"] == "over_generate" and record["seed"] == 7
        assert (record["calls"], record["completions"], record["missing"]) == (1, 12, 0)
        assert len(record["dropped"]) == 9
        assert (found.usage.prompt_tokens, found.usage.total_tokens) == (7, 67)
        assert found.model == "fruits" and found.id.startswith("chatcmpl-")
        prompts, n, sampling = engine.calls[-1]
        assert (prompts, n) == ([CHAT], 12)
        assert sampling == Sampling(temperature=0.5, max_tokens=20, seed=7)

    def test_one_answer_is_drawn_plainly(self, fruits) -> None:
        engine, url = fruits
        found = ask(url)
        assert found.model_extra["diversify"]["strategy"] == {"name": "direct"}
        assert engine.calls[-1][1] == 1
        assert found.choices[0].finish_reason == "stop"

    def test_a_cut_answer_says_so(self, fruits) -> None:
        found = ask(fruits[1], n=3, extra_body={"diversify": {"strategy": "direct"}})
        assert [c.finish_reason for c in found.choices] == ["stop", "stop", "length"]

    def test_a_request_can_choose_a_strategy_and_its_options(self, fruits) -> None:
        engine, url = fruits
        chosen = {"strategy": "diverge+personas", "personas": ["You are a cook.", "You sail."]}
        found = ask(url, n=2, extra_body={"diversify": chosen})
        record = found.model_extra["diversify"]
        assert record["strategy"]["name"] == "diverge"
        assert set(record["kept"]) == {"You are a cook.", "You sail."}
        assert "You" in json.dumps(engine.calls[-1][0])
        ask(url, n=2, extra_body={"diversify": {"factor": 2}})
        assert engine.calls[-1][1] == 4, "an option of the default strategy"

    def test_without_a_seed_the_answers_are_drawn_anew(self, fruits) -> None:
        engine, url = fruits
        ask(url), ask(url)
        assert engine.calls[-1][2].seed != engine.calls[-2][2].seed

    def test_a_list_that_cannot_be_read_is_filled_up(self, fruits) -> None:
        found = ask(fruits[1], n=2, extra_body={"diversify": {"strategy": "verbalized"}})
        assert len(found.choices) == 2
        assert found.model_extra["diversify"]["strategy"]["fill"] is True

    def test_answers_are_no_longer_than_a_request_may_ask_for(self) -> None:
        engine = Fruits()
        with running(app_of(engine, limits=Limits(max_tokens=9))) as url:
            assert raw(url, body())[0] == 200
        assert engine.calls[-1][2].max_tokens == 9

    def test_letters_that_have_no_utf_8_get_through(self) -> None:
        class Odd(Fruits):
            def generate(self, prompts, n, sampling):
                return Generations(list(prompts), [["half \ud800 é"] * n])

        with running(app_of(Odd())) as url:
            status, _, content = raw(url, body())
        message = json.loads(content)["choices"][0]["message"]
        assert status == 200 and message["content"] == "half \ud800 é"

    def test_the_model_is_listed_and_the_server_is_well(self, fruits) -> None:
        with client_of(fruits[1]) as client:
            assert [model.id for model in client.models.list()] == ["fruits"]
        assert health(fruits[1]) == {"status": "ok", "requests": 0}

    def test_a_tiny_model_answers_whole_and_in_pieces(self, tiny_model_path: Path) -> None:
        engine = TransformersEngine(load_model(tiny_model_path, dtype="float32", device="cpu"))
        options = {"model": "tiny", "max_tokens": 12, "seed": 5}
        with running(app_of(engine, name="tiny")) as url:
            found = ask(url, n=3, **options)
            assert len({choice.message.content for choice in found.choices}) == 3
            assert found.usage.completion_tokens > 12
            one = ask(url, **options).choices[0].message.content
            pieces = [piece.delta.content or "" for piece in heard(url, **options)]
        assert "".join(pieces).strip() == one
        assert one == engine.generate([CHAT], 1, Sampling(max_tokens=12, seed=5))[0][0]


class TestStreams:
    def test_pieces_come_as_they_are_spoken(self) -> None:
        go_on = threading.Event()
        with running(app_of(Spoken(lambda: go_on.wait(20)))) as url:
            pieces = heard(url)
            assert next(pieces).delta.role == "assistant"
            assert next(pieces).delta.content == "a red "
            go_on.set()
            rest = list(pieces)
            content = raw(url, body(stream=True))[2].decode()
        assert [choice.delta.content for choice in rest] == ["fig", None]
        assert rest[-1].finish_reason == "length"
        assert content.endswith("data: [DONE]\n\n")
        heads = {json.loads(e.removeprefix("data: "))["id"] for e in content.split("\n\n")[:-2]}
        assert len(heads) == 1

    def test_an_engine_without_a_stream_gives_one_piece(self, fruits) -> None:
        chunks = list(heard(fruits[1]))
        assert [c.delta.content for c in chunks] == ["", "a red fig", None]
        assert chunks[-1].finish_reason == "stop"

    def test_one_that_is_left_frees_the_engine(self) -> None:
        go_on = threading.Event()
        engine = Spoken(lambda: go_on.wait(20))
        with running(app_of(engine, waiting=0)) as url:
            pieces = heard(url)
            next(pieces)
            pieces.close()  # type: ignore[attr-defined]
            go_on.set()
            assert engine.left.wait(20)
            deadline = time.monotonic() + 20
            while health(url)["requests"]:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            assert ask(url).choices

    def test_a_failure_before_the_first_piece_has_a_status_and_later_an_event(self) -> None:
        def fail() -> None:
            raise RuntimeError("a secret of the engine")

        class Mute(Spoken):
            def stream(self, prompt, sampling):
                fail()
                yield ""

        class Deaf(Spoken):
            def stream(self, prompt, sampling):
                fail()

        for engine in (Mute(), Deaf()):
            with running(app_of(engine, waiting=0)) as url:
                assert raw(url, body(stream=True))[0] == 500
                assert raw(url, body(stream=True))[0] == 500, "the place is free again"
        with running(app_of(Spoken(fail), waiting=0)) as url:
            status, _, content = raw(url, body(stream=True))
            assert status == 200 and b"[DONE]" not in content and b"secret" not in content
            error_of(content.decode().strip().split("\n\n")[-1].removeprefix("data: ").encode())
            with pytest.raises(openai.APIError, match="the engine failed"):
                list(heard(url))


class TestRefusals:
    @pytest.mark.parametrize(
        ("fields", "said"),
        [
            ({"n": 99}, "between 1 and 16"),
            ({"diversify": {"strategy": "magic"}}, "strategy must be one of"),
            ({"diversify": {"strategy": "direct", "factor": 2}}, "option 'factor' is unknown"),
            ({"diversify": {"factor": "many"}}, "factor must be a number between"),
            ({"diversify": {"factor": 10**7}}, "factor must be a number between"),
            ({"diversify": {"factor": 0.5}}, "factor must be a number >= 1"),
            ({"diversify": {"factor": 1000}}, "would need 1000 completions or more"),
            ({"max_tokens": 4000, "diversify": {"factor": 4}}, "would need 16000 tokens or more"),
            ({"diversify": {"kernel": "x"}}, "set by the server"),
            ({"diversify": {"strategy": "personas", "personas": "/etc/passwd"}}, "list of texts"),
            ({"diversify": {"strategy": "specifications", "facets": "/etc/passwd"}}, "the server"),
            ({"diversify": {"strategy": "in-context", "again": 3}}, "again must be text"),
            ({"diversify": {"strategy": "verbalized", "fill": 1}}, "fill must be true or false"),
            ({"diversify": {"strategy": "+".join(["diverge"] * 5)}}, "at most 4 of them"),
        ],
    )
    def test_are_400_with_a_sentence(self, fruits, fields, said: str) -> None:
        engine, url = fruits
        before = len(engine.calls)
        status, _, content = raw(url, body(**fields))
        error = error_of(content)
        assert status == 400 and error["type"] == "invalid_request_error"
        assert said in error["message"]
        assert len(engine.calls) == before, "refused before anything was drawn"

    def test_what_the_operator_does_not_offer_is_not_there(self) -> None:
        with running(app_of(Fruits(), strategies=["direct"], default="diverge")) as url:
            for name, status in (("direct", 200), ("diverge", 200), ("personas", 400)):
                assert raw(url, body(diversify={"strategy": name}))[0] == status
            assert raw(url, body(diversify={"strategy": "diverge+personas"}))[0] == 400

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/v1/chat/completions", 405),
            ("POST", "/v1/models", 405),
            ("GET", "/v2/models", 404),
            ("POST", "/v1/embeddings", 404),
            ("GET", "/", 404),
        ],
    )
    def test_other_paths_and_methods_are_not_there(self, fruits, method, path, status) -> None:
        found, _, content = raw(fruits[1], None, method=method, path=path)
        assert found == status and path in error_of(content)["message"]

    def test_a_body_may_be_so_long_and_must_be_json(self, fruits) -> None:
        url, long = fruits[1], body(user="x" * 100_000)
        status, _, content = raw(url, long)
        assert status == 413 and "100000 bytes" in error_of(content)["message"]
        parts = (long[i : i + 9000] for i in range(0, len(long), 9000))  # of a length not said
        assert raw(url, parts)[0] == 413
        status, _, content = raw(url, body(), Content_Type="text/plain")
        assert status == 415 and "'text/plain'" in error_of(content)["message"]
        assert raw(url, body(), Content_Type="application/json; charset=utf-8")[0] == 200

    def test_a_token_is_asked_for(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DOOR", " open-sesame ")
        with running(app_of(Fruits(), token_env="DOOR")) as url:
            assert ask(url, key="open-sesame").choices
            with pytest.raises(openai.AuthenticationError, match="wants its token"):
                ask(url, key="open-sesam")
            for headers in (
                {},
                {"Authorization": "open-sesame"},
                {"Authorization": "Basic open-sesame"},
                {"Authorization": "Bearer"},
                {"Authorization": "Bearer open-sesame2"},
                {"Authorization": "Bearer open-sesam\xe9"},
            ):
                status, found, content = raw(url, body(), **headers)
                assert status == 401 and "open" not in error_of(content)["message"]
                assert found["www-authenticate"] == "Bearer"
            assert raw(url, None, method="GET", path="/v1/models")[0] == 401
            assert raw(url, None, method="GET", path="/health")[0] == 200
        monkeypatch.setenv("DOOR", " ")
        with pytest.raises(ValueError, match="DOOR holds no token"):
            app_of(Fruits(), token_env="DOOR")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"strategies": ["magic"]}, "strategies must be of"),
            ({"default": "magic"}, "strategy must be one of"),
            ({"options": {"factor": 0}}, "factor must be"),
            ({"at_once": 0}, "at_once must be"),
            ({"waiting": -1}, "waiting must be"),
        ],
    )
    def test_impossible_options_of_the_operator_are_refused_at_once(self, options, message) -> None:
        with pytest.raises(ValueError, match=message):
            app_of(Fruits(), **options)
        with pytest.raises(ValueError, match="tokens must be at least 1"):
            Limits(tokens=0)

    def test_other_hosts_than_this_machine_want_a_token(self) -> None:
        with pytest.raises(ValueError, match=r"host '0\.0\.0\.0' can be reached from elsewhere"):
            serve(app_of(Fruits()), host="0.0.0.0")


class TestFailures:
    @pytest.mark.parametrize(
        ("error", "status"),
        [
            (RuntimeError("Name a fruit of some colour."), 500),
            (ZeroDivisionError(), 500),
            (OSError("Name a fruit of some colour."), 502),
            (ValueError("top_k=3 cannot be sent"), 400),
        ],
    )
    def test_are_told_and_logged_without_the_prompt(
        self, error: Exception, status: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)

        def fail() -> None:
            raise error

        engine = Fruits(fail)
        with running(app_of(engine)) as url:
            found, _, content = raw(url, body(n=2))
            said = error_of(content)["message"]
            engine.before = lambda: None
            assert ask(url).choices, "the server lives on"
        assert found == status and "colour" not in said
        assert ("top_k=3" in said) == (status == 400)
        assert "colour" not in caplog.text
        assert (type(error).__name__ in caplog.text) == (status >= 500)

    def test_no_answer_at_all_is_told(self) -> None:
        class Silent(Fruits):
            def generate(self, prompts, n, sampling):
                return Generations(list(prompts), [[] for _ in prompts])

        with running(app_of(Silent())) as url:
            assert raw(url, body())[0] == 502


class TestTurns:
    def test_an_engine_answers_one_at_a_time_and_a_full_line_is_told(self) -> None:
        open_ = threading.Event()
        engine = Fruits(lambda: open_.wait(20))
        with running(app_of(engine, waiting=1)) as url, ThreadPoolExecutor(2) as pool:
            taken = [pool.submit(raw, url, body()) for _ in range(2)]
            deadline = time.monotonic() + 20
            while health(url)["requests"] < 2:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            status, headers, content = raw(url, body())
            assert status == 503 and headers["retry-after"] == "5"
            assert error_of(content)["type"] == "overloaded_error"
            open_.set()
            assert [each.result()[0] for each in taken] == [200, 200]
            assert raw(url, body())[0] == 200
        assert engine.most_under_way == 1

    def test_an_engine_that_asks_others_answers_several_at_once(self) -> None:
        meet = threading.Barrier(3)
        engine = Fruits(lambda: meet.wait(20))
        with running(app_of(engine, at_once=3)) as url, ThreadPoolExecutor(3) as pool:
            found = [pool.submit(raw, url, body(n=3)) for _ in range(3)]
            assert [each.result()[0] for each in found] == [200] * 3
        assert engine.most_under_way == 3

    def test_who_left_the_line_is_not_answered(self) -> None:
        go_on = threading.Event()
        engine = Fruits(lambda: go_on.wait(20))
        with running(app_of(engine)) as url, ThreadPoolExecutor(1) as pool:
            first = pool.submit(raw, url, body())
            waiting = http.client.HTTPConnection(urlsplit(url).netloc)
            headers = {"Content-Type": "application/json"}
            for requests in (1, 2):
                deadline = time.monotonic() + 20
                while health(url)["requests"] < requests:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                if requests == 1:
                    waiting.request("POST", "/v1/chat/completions", body(), headers)
            waiting.close()
            time.sleep(0.1)  # until the server has noticed
            go_on.set()
            assert first.result()[0] == 200
            assert raw(url, body())[0] == 200
        assert len(engine.calls) == 2

    def test_what_tells_texts_apart_is_asked_by_one_at_a_time(self) -> None:
        kernel, inside, lock = NgramKernel(), [], threading.Lock()

        class Slow:
            name = "slow"

            def __call__(self, texts: Sequence[str]) -> Any:
                assert lock.acquire(blocking=False), "two at the same time"
                time.sleep(0.1)
                lock.release()
                inside.append(len(texts))
                return kernel(texts)

        meet = threading.Barrier(2)
        engine = Fruits(lambda: meet.wait(20))
        app = build_app(engine, kernel=Slow, at_once=2)
        with running(app) as url, ThreadPoolExecutor(2) as pool:
            found = [pool.submit(raw, url, body(n=3)) for _ in range(2)]
            answers = [each.result() for each in found]
        assert [status for status, _, _ in answers] == [200, 200] and len(inside) == 2
        assert json.loads(answers[0][2])["diversify"]["strategy"]["kernel"] == "slow"


class TestBeforeAnotherServer:
    def test_a_server_is_asked_and_its_trouble_is_told(self, tmp_path: Path) -> None:
        def answer(asked: dict[str, Any]) -> str | Reply:
            text = f"fruit {asked['seed'] % 1000}"
            if "trouble" in str(asked["messages"]):
                return refusing(500)
            return stream(*text) if asked.get("stream") else choices(text, usage=(3, 2))

        with FakeServer(answer) as fake:
            engine = OpenAIEngine("far", base_url=fake.url, retries=0, cache=False)
            with running(app_of(engine, at_once=4)) as url:
                found = ask(url, model="far", n=2, seed=3)
                assert len({c.message.content for c in found.choices}) == 2
                assert found.usage.completion_tokens == 16 and len(fake.bodies) == 8
                pieces = [piece.delta.content for piece in heard(url, model="far")]
                assert "".join(filter(None, pieces)).startswith("fruit ")
                trouble = [{"role": "user", "content": "trouble"}]
                assert raw(url, body(messages=trouble))[0] == 502
                assert raw(url, body(messages=trouble, stream=True))[0] == 502
                status, _, content = raw(url, body(top_k=3))
                assert status == 400 and "top_k=3 cannot" in error_of(content)["message"]

    def test_a_proxy_before_a_proxy_gives_answers_that_differ(self, fruits, tmp_path) -> None:
        engine = OpenAIEngine(
            "fruits",
            base_url=fruits[1],
            api_key_env="NO_KEY",
            flavour="extended",
            per_request=4,
            cache=tmp_path / "answers.sqlite",
        )
        assert len(set(engine.generate([CHAT], 3, Sampling())[0])) == 3
        with running(app_of(engine, default="direct")) as url:
            found = ask(url, n=3, extra_body={"diversify": {"strategy": "direct"}})
            assert len({choice.message.content for choice in found.choices}) == 3
            streamed = [piece.delta.content for piece in heard(url)]
            assert "".join(filter(None, streamed)) == "a red fig"

    def test_a_stream_that_is_left_is_left_all_the_way_down(self) -> None:
        class Endless(Spoken):
            def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[str]:
                try:
                    while True:
                        yield "and "
                        time.sleep(0.01)
                finally:
                    self.left.set()

        engine = Endless()
        with running(app_of(engine)) as url:
            far = OpenAIEngine("fruits", base_url=url, api_key_env="NO_KEY", cache=False)
            pieces = far.stream(CHAT, Sampling())
            assert [next(pieces) for _ in range(3)] == ["and "] * 3
            assert not engine.left.is_set()
            pieces.close()
            assert engine.left.wait(20)

    def test_the_async_client_works_too(self, fruits) -> None:
        async def both() -> list[str]:
            async with openai.AsyncOpenAI(base_url=fruits[1], api_key="none") as client:
                create = client.chat.completions.create
                found = await asyncio.gather(
                    *(create(model="fruits", messages=CHAT, n=2) for _ in range(3))
                )
            return [choice.message.content for each in found for choice in each.choices]

        assert len(asyncio.run(both())) == 6


def test_whatever_is_sent_the_server_answers_and_lives(fruits) -> None:
    """Bodies that are cut, mixed up or of wrong types: an error object or an answer, each time."""
    url, random = fruits[1], np.random.default_rng(0)
    values: list[Any] = [
        None,
        True,
        -1,
        0,
        2,
        1.5,
        10**30,
        "",
        "x",
        [],
        {},
        [None],
        {"a": []},
        CHAT,
    ]
    names = ["model", "messages", "n", "temperature", "top_p", "max_tokens", "seed", "stream"]
    names += ["stop", "tools", "diversify", "logit_bias", "top_k", "user", "é", "min_p"]
    inner = ["strategy", "factor", "per_call", "personas", "keep", "selector", "quality", "rounds"]
    seen = set()
    for trial in range(300):
        fields: dict[str, Any] = {"messages": CHAT}
        for name in random.choice(names, 1 + trial % 3):
            fields[str(name)] = values[random.integers(len(values))]
        if trial % 3 == 0:
            chosen = {str(k): values[random.integers(len(values))] for k in random.choice(inner, 2)}
            fields["diversify"] = chosen | {
                "strategy": str(random.choice(["verbalized", "personas"]))
            }
        sent = bytearray(json.dumps(fields).encode())
        if trial % 4 == 0:
            sent = sent[: random.integers(len(sent))]
        if trial % 5 == 0 and sent:
            sent[random.integers(len(sent))] = random.integers(256)
        status, _, content = raw(url, bytes(sent))
        seen.add(status)
        if status == 200:
            assert b"data: " in content or json.loads(content)["choices"]
        else:
            assert 400 <= status < 500, (bytes(sent), content)
            error_of(content)
    assert {200, 400} <= seen
    assert ask(url).choices


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_server_after_the_answer_under_way(stop: signal.Signals) -> None:
    script = textwrap.dedent("""
        import time
        from diversify.engines import Generations
        from diversify.serving import build_app, serve

        class Slow:
            identity = {"model": "slow"}
            def generate(self, prompts, n, sampling):
                print("drawing", flush=True)
                time.sleep(0.7)
                return Generations(list(prompts), [["done"]])

        import socket
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        print(port, flush=True)
        serve(build_app(Slow(), default="direct", strategies=[]), port=port)
        print("ended", flush=True)
    """)
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    url = f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    deadline = time.monotonic() + 60
    while True:
        try:
            raw(url, None, method="GET", path="/health")
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(raw, url, body())
        assert process.stdout.readline() == "drawing\n"
        os.kill(process.pid, stop)
        assert answer.result()[0] == 200
    _, errors = process.communicate(timeout=20)
    assert process.returncode in (0, -stop) and "Traceback" not in errors
