"""The client of OpenAI-compatible servers: batches, retries, the cache, and what failures become."""

import asyncio
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_server import HANG_UP, FakeServer, Reply, choices, fake_servers, refusing, stream

from diversify.cache import DiskCache, cache_key
from diversify.server import Answer, ChatServer, Failure, NoAnswer, Response, ServerRefusal

ROOT = Path(__file__).parents[1]
KEY = "sk-very-secret-4711"


def echo(body: dict[str, Any]) -> str:
    return f"re: {body['messages'][-1]['content']}"


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture(autouse=True)
def environment(no_proxy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def serve() -> Iterator[Callable[..., FakeServer]]:
    with fake_servers(echo) as start:
        yield start


@pytest.fixture
def client(tmp_path: Path) -> Callable[..., ChatServer]:
    def make(fake: FakeServer, **options: Any) -> ChatServer:
        options = {"cache": tmp_path / "answers.sqlite", "retries": 0, "timeout": 20.0} | options
        return ChatServer(options.pop("model", "m"), base_url=fake.url, **options)

    return make


class TestAsking:
    def test_answers_come_in_order_and_equal_chats_are_asked_once(self, serve, client) -> None:
        fake = serve()
        assert client(fake).ask([chat(t) for t in "bab"]) == ["re: b", "re: a", "re: b"]
        assert sorted(fake.asked) == ["a", "b"]
        assert client(fake).ask([]) == []

    def test_the_request_is_what_was_said_and_nothing_else(self, serve, client) -> None:
        fake = serve()
        messages = [{"role": "system", "content": "Be brief."}, *chat("hi")]
        server = client(fake, max_tokens=9, seed=3, extra_body={"top_k": 20})
        assert server.ask([messages]) == ["re: hi"]
        options = {"temperature": 0.0, "max_tokens": 9, "seed": 3, "top_k": 20}
        assert fake.bodies == [{"model": "m", "messages": messages, **options}]
        assert server.identity == {"model": "m", "base_url": fake.url, **options}
        bare = client(fake, temperature=None, max_tokens=None)
        bare.ask([chat("hi")])
        assert fake.bodies[1] == {"model": "m", "messages": chat("hi")}

    def test_many_questions_are_under_way_at_once_and_never_more_than_allowed(
        self, serve, client
    ) -> None:
        meet = threading.Barrier(4)

        def together(body: dict[str, Any]) -> str:
            meet.wait(20)  # until four are under way
            return echo(body)

        fake = serve(together)
        assert None not in client(fake, concurrency=4).ask([chat(str(i)) for i in range(16)])
        assert fake.most_under_way == 4
        one = serve(lambda body: (time.sleep(0.05), echo(body))[1])
        client(one, concurrency=1).ask([chat(str(i)) for i in range(3)])
        assert one.most_under_way == 1

    def test_works_inside_a_running_loop_and_leaves_the_threads_loop_alone(
        self, serve, client
    ) -> None:
        server = client(serve())

        async def inside() -> list[str | None]:
            return server.ask([chat("a"), chat("b")])

        assert asyncio.run(inside()) == ["re: a", "re: b"]
        own = asyncio.new_event_loop()
        asyncio.set_event_loop(own)
        try:
            assert server.ask([chat("c")]) == ["re: c"]
            assert asyncio.get_event_loop() is own
            assert not own.is_closed()
        finally:
            asyncio.set_event_loop(None)
            own.close()

    def test_travels_by_pickle_without_a_client_or_a_key(self, serve, client) -> None:
        fake = serve()
        server = client(fake)
        server.ask([chat("a")])
        packed = pickle.dumps(server)
        assert KEY.encode() not in packed and len(packed) < 1000
        travelled = pickle.loads(packed)
        assert travelled.ask([chat("a"), chat("b")]) == ["re: a", "re: b"]
        assert fake.asked == ["a", "b"]

    def test_making_one_imports_no_client(self) -> None:
        script = (
            "import sys; from diversify.server import ChatServer; "
            "ChatServer('m', base_url='http://localhost:1/v1'); print('openai' in sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
        assert done.stdout.strip() == "False"

    def test_a_missing_client_is_named_with_the_extra(
        self, serve, client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "openai", None)
        with pytest.raises(ImportError, match=r'pip install "diversify-llm\[openai\]"'):
            client(serve()).ask([chat("a")])


class TestComplete:
    def test_gives_every_choice_and_why_it_ended(self, serve, client) -> None:
        fake = serve(lambda body: choices("x", "y", finish="length"))
        server = client(fake)
        request = {"messages": chat("a"), "n": 2, "temperature": 1.0, "seed": 5}
        both = Response([Answer("x", "length"), Answer("y", "length")])
        assert server.complete([request, request, request | {"seed": 6}]) == [both] * 3
        assert sorted(body["seed"] for body in fake.bodies) == [5, 6]
        assert all(body["n"] == 2 and body["temperature"] == 1.0 for body in fake.bodies)
        assert server.complete([request]) == [both]
        assert len(fake.bodies) == 2 and server.failures == 0

    def test_says_what_was_counted_and_how_likely_it_was(self, serve, client) -> None:
        reply = choices("a fig", "a pear", usage=(7, 5), logprobs=[-0.5, -0.25])
        server = client(serve(lambda body: reply))
        (found,) = server.complete([{"messages": chat("a")}])
        assert found == Response(
            [Answer(text, "stop", None, -0.75, 2) for text in ("a fig", "a pear")], 7, 5
        )
        assert server.complete([{"messages": chat("a")}]) == [found], "as it was kept"

    def test_says_why_there_is_none(self, serve, client) -> None:
        def answer(body: dict[str, Any]) -> str | Reply:
            return refusing(422, f"too long for {KEY}") if bad(body) else echo(body)

        server = client(serve(answer))
        failed, fine = server.complete([{"messages": chat(t)} for t in ("bad", "a")])
        assert isinstance(failed, Failure) and failed.status == 422
        assert "too long for ***" in failed.reason
        assert fine == Response([Answer("re: a", "stop")])

    @pytest.mark.parametrize("finish", ["error", "abort"])
    def test_an_answer_that_the_server_broke_off_is_none(self, serve, client, finish) -> None:
        server = client(serve(lambda body: choices("half an", finish=finish)))
        assert server.ask([chat("a")]) == [None]
        assert isinstance(server.complete([{"messages": chat("a")}])[0], Failure)

    def test_draws_that_are_the_same_to_the_server_are_kept_apart(self, serve, client) -> None:
        fake = serve()
        fake.answer = lambda body: f"text {len(fake.bodies)}"
        requests = [{"messages": chat("a")}] * 3
        first = client(fake, concurrency=1).complete(requests, draws=[4, 5, 6])
        assert [r.answers[0].text for r in first] == ["text 1", "text 2", "text 3"]
        assert all("draw" not in json.dumps(body) for body in fake.bodies)
        assert client(fake).complete(requests[:2], draws=[6, 4]) == [first[2], first[0]]
        assert client(fake).complete(requests[:1]) != first[:1], "no draw is another question"

    def test_a_draw_is_kept_also_if_it_is_a_refusal(self, serve, client) -> None:
        fake = serve(lambda body: choices(None, refusal="No."))
        request = [{"messages": chat("a")}]
        for _ in range(2):
            (found,) = client(fake).complete(request, draws=[1])
            assert found == Response([Answer(None, "stop", "No.")])
        assert len(fake.bodies) == 1

    def test_what_was_kept_in_the_first_form_is_still_known(self, serve, client, tmp_path) -> None:
        fake = serve()
        server = client(fake)
        body = {"model": "m", "messages": chat("a"), "temperature": 0.0, "max_tokens": 512}
        key = cache_key(fake.url, json.dumps(body, sort_keys=True))
        DiskCache(tmp_path / "answers.sqlite").write({key: b'[["kept", "stop"]]'})
        assert server.ask([chat("a")]) == ["kept"] and fake.bodies == []


class TestStream:
    def test_gives_pieces_and_why_it_ended(self, serve, client) -> None:
        fake = serve(lambda body: stream("one ", "two", finish="length"))
        pieces = client(fake, extra_body={"top_k": 3}).stream({"messages": chat("a"), "seed": 1})
        found = []
        while True:
            try:
                found.append(next(pieces))
            except StopIteration as end:
                assert end.value == "length"
                break
        assert found == ["one ", "two"]
        (body,) = fake.bodies
        assert body["stream"] is True and (body["top_k"], body["seed"]) == (3, 1)

    @pytest.mark.parametrize(
        "reply",
        [
            refusing(500),
            HANG_UP,
            stream("half", finish=None),
            stream("half", finish="error"),
            stream("half", error="it broke"),
            Reply(payload=b"<html>hi</html>", content_type="text/html"),
        ],
    )
    def test_one_that_breaks_off_is_no_answer(self, serve, client, reply: Reply) -> None:
        server = client(serve(lambda body: reply))
        with pytest.raises(NoAnswer, match="m at http") as raised:
            list(server.stream({"messages": chat("a")}))
        assert KEY not in str(raised.value)

    def test_a_wrong_key_is_said_at_once(self, serve, client) -> None:
        server = client(serve(lambda body: refusing(401, KEY)))
        with pytest.raises(ServerRefusal, match="answers nothing") as raised:
            next(server.stream({"messages": chat("a")}))
        assert KEY not in str(raised.value)


class TestCache:
    def test_a_second_run_asks_nothing(self, serve, client) -> None:
        fake = serve()
        first = client(fake).ask([chat("a"), chat("b")])
        fake.die()
        again = client(fake)
        assert again.ask([chat("b"), chat("a")]) == first[::-1]
        assert again.failures == 0 and len(fake.bodies) == 2

    @pytest.mark.parametrize(
        "other",
        [
            {"model": "m2"},
            {"temperature": 1.0},
            {"max_tokens": 7},
            {"seed": 1},
            {"extra_body": {"top_k": 1}},
        ],
    )
    def test_whatever_decides_an_answer_is_in_its_key(self, serve, client, other) -> None:
        fake = serve()
        client(fake).ask([chat("a")])
        client(fake, **other).ask([chat("a")])
        assert len(fake.bodies) == 2
        client(fake, concurrency=1, timeout=9.0, retries=1).ask([chat("a")])
        assert len(fake.bodies) == 2, "how it is asked does not decide the answer"

    def test_another_server_or_role_is_another_question(self, serve, client) -> None:
        one, other = serve(), serve()
        client(one).ask([chat("a")])
        client(other).ask([chat("a"), [{"role": "system", "content": "a"}]])
        assert (len(one.bodies), len(other.bodies)) == (1, 2)

    def test_none_is_kept_where_none_is_wanted(self, serve, client, tmp_path: Path) -> None:
        fake = serve()
        server = client(fake, cache=False)
        server.ask([chat("a")])
        server.ask([chat("a")])
        assert len(fake.bodies) == 2
        assert list(tmp_path.iterdir()) == []

    def test_the_key_is_sent_and_in_no_file_log_or_identity(
        self, serve, client, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        fake = serve(lambda body: refusing(400, f"bad key {KEY}") if bad(body) else echo(body))
        server = client(fake)
        assert server.ask([chat("a"), chat("bad")]) == ["re: a", None]
        assert fake.keys == [f"Bearer {KEY}"] * 2
        ours = [record.getMessage() for record in caplog.records if "diversify" in record.name]
        assert len(ours) == 1 and "bad key ***" in ours[0]
        assert KEY not in json.dumps(server.identity)
        for file in tmp_path.iterdir():
            assert KEY.encode() not in file.read_bytes()

    def test_the_key_comes_from_the_variable_that_is_named(
        self, serve, client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fake = serve()
        monkeypatch.setenv("OTHER_KEY", "other")
        client(fake, api_key_env="OTHER_KEY").ask([chat("a")])
        monkeypatch.delenv("OTHER_KEY")
        client(fake, api_key_env="OTHER_KEY").ask([chat("b")])
        assert fake.keys == ["Bearer other", "Bearer none"]


def bad(body: dict[str, Any]) -> bool:
    return body["messages"][-1]["content"].startswith("bad")


ODD = {
    "a web page": Reply(payload=b"<html>hi</html>", content_type="text/html"),
    "half a JSON": Reply(payload=b'{"choices": ['),
    "a list": Reply(payload=b"[1, 2]"),
    "nothing": Reply(payload=b"{}"),
    "no choices": Reply(payload=b'{"choices": []}'),
    "no message": Reply(payload=b'{"choices": [{"finish_reason": "stop"}]}'),
    "null": Reply(payload=b"null"),
    "odd choices": Reply(payload=b'{"choices": [3]}'),
    "a number": choices(7),  # type: ignore[arg-type]
    "no UTF-8": Reply(payload=b'{"choices": [{"message": {"content": "\xff"}}]}'),
    "a short body": Reply(payload=b'{"ch', headers={"Content-Length": "900"}),
    "silence": HANG_UP,
}


class TestFailures:
    @pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
    def test_a_busy_server_is_asked_again(self, serve, client, status: int) -> None:
        fake = serve()
        fake.answer = lambda body: refusing(status) if len(fake.bodies) < 3 else echo(body)
        server = client(fake, retries=2)
        assert server.ask([chat("a")]) == ["re: a"]
        assert len(fake.bodies) == 3 and server.failures == 0

    def test_after_the_retries_it_is_none_and_counted_and_said_once(
        self, serve, client, caplog: pytest.LogCaptureFixture
    ) -> None:
        fake = serve(lambda body: refusing(503, "too busy") if bad(body) else echo(body))
        server = client(fake, retries=1)
        asked = [chat("bad 1"), chat("a"), chat("bad 2"), chat("bad 1")]
        assert server.ask(asked) == [None, "re: a", None, None]
        assert server.failures == 2
        assert len(fake.bodies) == 1 + 2 * 2
        (record,) = [r for r in caplog.records if r.name == "diversify.server.chat"]
        assert record.levelno == logging.WARNING
        said = record.getMessage()
        assert said.startswith("2 of 3 questions to m got no answer (InternalServerError: ")
        assert "503" in said and "too busy" in said

    def test_failures_are_not_kept(self, serve, client) -> None:
        fake = serve(lambda body: refusing(500))
        assert client(fake).ask([chat("a")]) == [None]
        fake.answer = echo
        assert client(fake).ask([chat("a")]) == ["re: a"]

    @pytest.mark.parametrize("what", ODD)
    def test_what_is_no_answer_is_none(self, serve, client, what: str) -> None:
        fake = serve(lambda body: ODD[what] if bad(body) else echo(body))
        server = client(fake)
        assert server.ask([chat("bad"), chat("a")]) == [None, "re: a"]
        assert server.failures == 1
        fake.answer = echo
        assert server.ask([chat("bad")]) == ["re: bad"]

    @pytest.mark.parametrize(
        "reply",
        [
            choices("Grade: 1", finish="length"),
            choices("Grade: 1", finish="content_filter"),
            choices(None, refusal="I cannot grade this."),
            choices("I cannot", refusal="I cannot grade this."),
            choices(None),
        ],
    )
    def test_a_cut_or_refused_answer_is_none(self, serve, client, reply: Reply) -> None:
        """The 1 of a cut "Grade: 1" may have been a 10."""
        server = client(serve(lambda body: reply if bad(body) else echo(body)))
        assert server.ask([chat("bad"), chat("a"), chat("bad")]) == [None, "re: a", None]
        assert server.failures == 1

    @pytest.mark.parametrize("finish", ["stop", None, "eos"])
    def test_servers_have_several_words_for_a_whole_answer(self, serve, client, finish) -> None:
        assert client(serve(lambda body: choices("7", finish=finish))).ask([chat("a")]) == ["7"]

    def test_a_text_that_cannot_be_sent_is_none(self, serve, client) -> None:
        server = client(serve())
        assert server.ask([chat("\ud800"), chat("a")]) == [None, "re: a"]

    def test_a_timeout_is_none(self, serve, client) -> None:
        def late(body: dict[str, Any]) -> str:
            time.sleep(0.6 if bad(body) else 0)
            return echo(body)

        server = client(serve(late), timeout=0.3)
        assert server.ask([chat("bad"), chat("a")]) == [None, "re: a"]

    def test_a_server_that_dies_in_mid_run_loses_no_finished_answer(self, serve, client) -> None:
        fake = serve()

        def dying(body: dict[str, Any]) -> str | Reply:
            if len(fake.bodies) > 3:
                fake.die()
                return HANG_UP
            return echo(body)

        fake.answer = dying
        asked = [chat(str(i)) for i in range(8)]
        server = client(fake, concurrency=1)
        assert server.ask(asked) == ["re: 0", "re: 1", "re: 2", *[None] * 5]
        assert server.failures == 5
        assert client(fake).ask(asked[:3]) == ["re: 0", "re: 1", "re: 2"], "kept on disk"

    def test_a_client_that_is_killed_loses_no_finished_answer(self, serve, tmp_path: Path) -> None:
        fake = serve()
        fake.answer = lambda body: (time.sleep(60), "")[1] if len(fake.bodies) > 3 else echo(body)
        script = textwrap.dedent("""
            import sys
            from diversify.server import ChatServer

            server = ChatServer("m", base_url=sys.argv[1], cache=sys.argv[2], concurrency=1)
            server.ask([[{"role": "user", "content": str(i)}] for i in range(8)])
        """)
        cache = tmp_path / "killed.sqlite"
        process = subprocess.Popen([sys.executable, "-c", script, fake.url, cache], cwd=ROOT)
        deadline = time.monotonic() + 60
        while len(fake.bodies) < 4 and time.monotonic() < deadline:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        fake.answer = echo
        server = ChatServer("m", base_url=fake.url, cache=cache)
        assert server.ask([chat(str(i)) for i in range(3)]) == ["re: 0", "re: 1", "re: 2"]
        assert len(fake.bodies) == 4, "what was answered is asked again"

    @pytest.mark.parametrize("status", [401, 403, 404])
    def test_a_wrong_key_or_model_raises_at_the_first_call(
        self, serve, client, status: int
    ) -> None:
        server = client(serve(lambda body: refusing(status)))
        message = r"answers nothing for model 'm', with the key from \$OPENAI_API_KEY \(set\)"
        with pytest.raises(ValueError, match=message) as raised:
            server.ask([chat("a"), chat("b")])
        assert KEY not in str(raised.value)

    def test_later_the_same_refusals_are_failures(self, serve, client) -> None:
        fake = serve()
        server = client(fake)
        assert server.ask([chat("a")]) == ["re: a"]
        fake.answer = lambda body: refusing(404)
        assert server.ask([chat("b"), chat("c")]) == [None, None]
        assert server.failures == 2


class TestOptions:
    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ({"concurrency": 0}, "concurrency must be >= 1, got 0"),
            ({"retries": -1}, "retries must be >= 0, got -1"),
            ({"timeout": 0}, "timeout must be"),
            ({"timeout": float("inf")}, "timeout must be"),
            ({"temperature": -0.1}, "temperature must be"),
            ({"temperature": float("nan")}, "temperature must be"),
            ({"max_tokens": 0}, "max_tokens must be"),
            ({"base_url": "localhost:8000"}, "base_url must be an http"),
            ({"base_url": "http://"}, "base_url must be an http"),
            ({"base_url": f"http://user:{KEY}@host/v1"}, "must be a plain address"),
            ({"base_url": f"https://host/v1?key={KEY}"}, "must be a plain address"),
        ],
    )
    def test_impossible_options_are_refused_at_once(self, option, message: str) -> None:
        with pytest.raises(ValueError, match=message) as raised:
            ChatServer("m", **{"base_url": "http://localhost/v1"} | option)
        assert KEY not in str(raised.value)

    def test_a_final_slash_is_no_other_server(self) -> None:
        one = ChatServer("m", base_url="http://localhost/v1/")
        assert one.identity["base_url"] == "http://localhost/v1"

    def test_answers_have_a_usual_place(self, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DIVERSIFY_CACHE", str(tmp_path))
        server = ChatServer("m", base_url="http://localhost/v1")
        assert server._cache is not None
        assert server._cache.path == tmp_path / "answers.sqlite"
