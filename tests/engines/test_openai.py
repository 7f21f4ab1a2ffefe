"""The engine for OpenAI-compatible servers: what is sent, what comes back, and what is lost when."""

import asyncio
import json
import logging
import math
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_server import HANG_UP, FakeServer, Reply, choices, fake_servers, refusing, stream

from diversify.decoding import Direct, Stratified, Verbalized
from diversify.engines import Engine, Sampling, Streaming
from diversify.engines.openai import OpenAIEngine
from diversify.evaluation import generate
from diversify.evaluation.prompt_sets import PromptRow, PromptSet
from diversify.server import NoAnswer, ServerRefusal

KEY = "sk-very-secret-4711"
WARM = Sampling(temperature=0.8, top_p=0.9, max_tokens=64, seed=3)


def seeded(body: dict[str, Any]) -> Reply:
    """As many choices as asked for, each another text of the question and the seed."""
    asked, seed = body["messages"][-1]["content"], body.get("seed")
    return choices(*(f" {asked} {seed} {i} " for i in range(body.get("n", 1))), usage=(7, 5))


@pytest.fixture(autouse=True)
def environment(no_proxy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)


@pytest.fixture
def serve() -> Iterator[Callable[..., FakeServer]]:
    with fake_servers(seeded) as start:
        yield start


@pytest.fixture
def engine(tmp_path: Path) -> Callable[..., OpenAIEngine]:
    def make(fake: FakeServer, **options: Any) -> OpenAIEngine:
        options = {"cache": tmp_path / "answers.sqlite", "retries": 0, "timeout": 20.0} | options
        return OpenAIEngine("m", base_url=fake.url, **options)

    return make


class TestDrawing:
    def test_each_sample_is_a_request_of_its_own_with_a_seed_of_its_own(
        self, serve, engine
    ) -> None:
        fake = serve()
        drawn = engine(fake).generate(["a", "b"], 3, WARM)
        assert [len(row) for row in drawn] == [3, 3]
        assert all(text.startswith(p) for p, row in zip("ab", drawn, strict=True) for text in row)
        assert len({text for row in drawn for text in row}) == 6
        seeds = [body["seed"] for body in fake.bodies]
        assert len(set(seeds)) == 6 and all(0 <= seed < 2**31 for seed in seeds)
        assert drawn.truncated == [[False] * 3] * 2
        tokens = {"read": 7, "written": 15}
        assert drawn.details == [{"failed": {}, "refused": 0, "tokens": tokens}] * 2

    def test_the_same_call_gives_the_same_texts_and_another_seed_others(
        self, serve, engine
    ) -> None:
        fake = serve()
        first = engine(fake).generate(["a", "a"], 2, WARM)
        assert not set(first[0]) & set(first[1]), "the same prompt again is drawn again"
        assert engine(fake, cache=False).generate(["a", "a"], 2, WARM) == first
        assert len(fake.bodies) == 8
        assert engine(fake).generate(["a", "a"], 2, WARM) == first
        assert len(fake.bodies) == 8, "what is on disk is asked again"
        other = engine(fake).generate(["a"], 4, WARM.at(seed=4))
        assert not set(other[0]) & {*first[0], *first[1]}

    def test_fewer_samples_are_the_first_ones(self, serve, engine) -> None:
        fake = serve()
        assert (
            engine(fake).generate(["a"], 2, WARM)[0]
            == (engine(fake).generate(["a"], 4, WARM)[0][:2])
        )
        assert len(fake.bodies) == 4, "two of the four were on disk"

    def test_a_server_without_seeds_gives_draws_that_the_disk_keeps_apart(
        self, serve, engine
    ) -> None:
        fake = serve()
        fake.answer = lambda body: f"text {len(fake.bodies)}"
        without = engine(fake, leave_out=["seed"], concurrency=1)
        first = without.generate(["a"], 3, WARM)
        assert first[0] == ["text 1", "text 2", "text 3"]
        assert all("seed" not in body for body in fake.bodies)
        assert without.generate(["a"], 3, WARM) == first
        assert not set(without.generate(["a"], 3, WARM.at(seed=9))[0]) & set(first[0])

    def test_greedy_texts_are_copies_of_one(self, serve, engine) -> None:
        fake = serve()
        drawn = engine(fake, logprobs=True).generate(["a"], 3, Sampling(temperature=0))
        assert len(fake.bodies) == 1 and len(drawn[0]) == 3 and len(set(drawn[0])) == 1
        assert drawn.truncated == [[False] * 3]
        assert drawn.details[0]["logprobs"] == [None] * 3
        assert drawn.details[0]["tokens"] == {"read": 7, "written": 5}, "written once"

    def test_prompts_are_sent_as_chats_with_the_system_message(self, serve, engine) -> None:
        fake = serve()
        own = [{"role": "system", "content": "Be red."}, {"role": "user", "content": "b"}]
        engine(fake, system="Be blue.", concurrency=1).generate(["a", own], 1, WARM)
        blue = [{"role": "system", "content": "Be blue."}, {"role": "user", "content": "a"}]
        assert [body["messages"] for body in fake.bodies] == [blue, own]

    def test_works_inside_a_running_loop_and_travels_by_pickle(self, serve, engine) -> None:
        fake = serve()

        async def inside() -> list[str]:
            return engine(fake).generate(["a"], 2, WARM)[0]

        texts = asyncio.run(inside())
        packed = pickle.dumps(engine(fake))
        assert KEY.encode() not in packed
        assert pickle.loads(packed).generate(["a"], 2, WARM)[0] == texts
        assert len(fake.bodies) == 2

    def test_is_an_engine_that_streams(self, serve, engine) -> None:
        assert isinstance(engine(serve()), Engine) and isinstance(engine(serve()), Streaming)


class TestFields:
    @pytest.mark.parametrize(
        ("options", "sampling", "expected"),
        [
            ({}, WARM, {"temperature": 0.8, "top_p": 0.9, "max_tokens": 64}),
            (
                {"flavour": "openai", "leave_out": ["temperature", "top_p"]},
                Sampling(max_tokens=64),
                {"max_completion_tokens": 64},
            ),
            ({"leave_out": ["max_tokens"]}, WARM, {"temperature": 0.8, "top_p": 0.9}),
            (
                {"flavour": "openai", "leave_out": ["max_tokens"]},
                WARM,
                {"temperature": 0.8, "top_p": 0.9},
            ),
            (
                {"flavour": "extended"},
                WARM.at(top_k=20, min_p=0.1),
                {
                    "temperature": 0.8,
                    "top_p": 0.9,
                    "max_tokens": 64,
                    "top_k": 20,
                    "min_p": 0.1,
                    "repetition_penalty": 1.0,
                },
            ),
            (
                {"flavour": "extended", "extra_body": {"mood": "!"}},
                Sampling(max_tokens=64),
                {
                    "temperature": 1.0,
                    "top_p": 1.0,
                    "max_tokens": 64,
                    "top_k": -1,
                    "min_p": 0.0,
                    "repetition_penalty": 1.0,
                    "mood": "!",
                },
            ),
        ],
    )
    def test_what_sampling_says_is_what_is_sent(
        self, serve, engine, options, sampling, expected
    ) -> None:
        fake = serve()
        engine(fake, **options).generate(["a"], 1, sampling)
        (body,) = fake.bodies
        assert {"seed", "model", "messages"} == body.keys() - expected.keys()
        assert {name: body[name] for name in expected} == expected

    def test_transformers_is_told_whether_to_sample(self, serve, engine) -> None:
        fake = serve()
        for temperature in (0.8, 0):
            engine(fake, flavour="transformers").generate(
                ["a"], 1, WARM.at(temperature=temperature)
            )
        configs = [json.loads(body["generation_config"]) for body in fake.bodies]
        assert [config["do_sample"] for config in configs] == [True, False]
        assert [config["top_k"] for config in configs] == [0, 0]

    @pytest.mark.parametrize(
        ("options", "sampling", "message"),
        [
            ({}, WARM.at(top_k=5), "top_k=5 cannot be sent"),
            ({"flavour": "openai"}, WARM.at(min_p=0.1), "min_p=0.1 cannot be sent"),
            ({"leave_out": ["temperature"]}, WARM, "temperature=0.8 cannot be sent"),
            ({"leave_out": ["temperature"]}, WARM.at(temperature=0), "temperature=0 cannot be"),
            ({"leave_out": ["top_p"]}, WARM, "top_p=0.9 cannot be sent"),
        ],
    )
    def test_what_cannot_be_sent_must_be_neutral(
        self, serve, engine, options, sampling, message
    ) -> None:
        fake = serve()
        with pytest.raises(ValueError, match=message):
            engine(fake, **options).generate(["a"], 1, sampling)
        with pytest.raises(ValueError, match=message):
            next(engine(fake, **options).stream("a", sampling))
        assert fake.bodies == []

    def test_identity_says_what_is_left_to_the_server(self, serve, engine) -> None:
        fake = serve()
        made = engine(
            fake, flavour="openai", leave_out=["seed", "temperature"], extra_body={"mood": "!"}
        )
        assert made.identity == {
            "model": "m",
            "base_url": fake.url,
            "flavour": "openai",
            "left_to_server": ["temperature", "seed", "top_k", "min_p"],
            "system": None,
            "mood": "!",
        }
        assert engine(fake, flavour="extended").identity["left_to_server"] == []

    @pytest.mark.parametrize(
        ("option", "message"),
        [
            ({"flavour": "vllm"}, "flavour must be one of"),
            ({"leave_out": ["top_k"]}, "leave_out must be some of"),
            ({"leave_out": "seed"}, "leave_out must be some of"),
            ({"per_request": 0}, "per_request must be >= 1, got 0"),
            ({"extra_body": {"temperature": 1}}, r"must not have \['temperature'\]"),
            ({"extra_body": {"n": 2, "seed": 1}}, r"must not have \['n', 'seed'\]"),
            ({"concurrency": 0}, "concurrency must be"),
        ],
    )
    def test_impossible_options_are_refused_at_once(self, option, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            OpenAIEngine("m", base_url="http://localhost/v1", **option)

    def test_no_samples_and_no_messages_are_refused(self, serve, engine) -> None:
        with pytest.raises(ValueError, match="n must be >= 1, got 0"):
            engine(serve()).generate(["a"], 0, WARM)
        with pytest.raises(ValueError, match="at least one message"):
            engine(serve()).generate([[]], 1, WARM)


class TestChoices:
    def test_one_request_can_ask_for_several(self, serve, engine) -> None:
        fake = serve()
        drawn = engine(fake, per_request=4).generate(["a"], 6, WARM)
        assert sorted(body.get("n", 1) for body in fake.bodies) == [2, 4]
        assert len(set(drawn[0])) == 6
        assert drawn.details[0]["tokens"] == {"read": 7, "written": 10}

    @pytest.mark.parametrize("given", [1, 3])
    def test_a_server_that_gives_fewer_is_asked_for_the_rest_one_by_one(
        self, serve, engine, given: int
    ) -> None:
        fake = serve(lambda body: seeded(body | {"n": min(body.get("n", 1), given)}))
        drawn = engine(fake, per_request=4).generate(["a", "b"], 4, WARM)
        assert [len(set(row)) for row in drawn] == [4, 4]
        assert sorted(body.get("n", 1) for body in fake.bodies) == [1] * 2 * (4 - given) + [4, 4]
        assert len({body["seed"] for body in fake.bodies}) == len(fake.bodies)
        assert engine(fake, per_request=4).generate(["a", "b"], 4, WARM) == drawn
        assert len(fake.bodies) == 2 * (5 - given), "a second run asks nothing"

    def test_more_than_asked_for_is_cut(self, serve, engine) -> None:
        fake = serve(lambda body: choices("x", "y", "z"))
        assert engine(fake).generate(["a"], 1, WARM).texts == [["x"]]


class TestAnswers:
    def test_a_cut_text_is_flagged_also_where_nothing_is_seen_of_it(self, serve, engine) -> None:
        replies = {"a": choices("half", finish="length"), "b": choices(None, finish="length")}
        fake = serve(lambda body: replies[body["messages"][-1]["content"]])
        drawn = engine(fake).generate(["a", "b"], 1, WARM)
        assert drawn.texts == [["half"], [""]] and drawn.truncated == [[True], [True]]
        assert "tokens" not in drawn.details[0]

    def test_no_flags_where_the_server_does_not_say(self, serve, engine) -> None:
        fake = serve(lambda body: choices("x", finish=None))
        assert engine(fake).generate(["a"], 2, WARM).truncated == []

    def test_refusals_are_texts_and_what_is_withheld_is_missing(
        self, serve, engine, caplog: pytest.LogCaptureFixture
    ) -> None:
        replies = iter(
            [
                choices("fine"),
                choices("hal", finish="content_filter"),
                choices(None, refusal="I cannot."),
                choices(None),
            ]
        )
        fake = serve(lambda body: next(replies))
        drawn = engine(fake, concurrency=1).generate(["a"], 4, WARM)
        assert drawn.texts == [["fine", "I cannot."]]
        assert drawn.truncated == [[False, False]]
        assert drawn.details == [{"failed": {"withheld by the server": 2}, "refused": 1}]
        assert "m withheld 2 answers" in caplog.text
        assert engine(fake).generate(["a"], 4, WARM) == drawn, "kept, not drawn again"

    def test_a_prompt_without_any_text_is_an_error(self, serve, engine) -> None:
        fake = serve(lambda body: choices("x", finish="content_filter"))
        with pytest.raises(NoAnswer, match="m withheld every answer to prompt 1"):
            engine(fake).generate(["a"], 2, WARM)

    def test_likelihoods_are_on_record_if_asked_for(self, serve, engine) -> None:
        values = {"a": [-0.5, -1.0], "b": []}
        fake = serve(lambda body: choices("x", logprobs=values[body["messages"][-1]["content"]]))
        drawn = engine(fake, logprobs=True).generate(["a", "b"], 2, WARM)
        assert all(body["logprobs"] is True for body in fake.bodies)
        (a, b) = (row["logprobs"] for row in drawn.details)
        assert a == [{"sum": -1.5, "mean": -0.75}] * 2
        assert b == [{"sum": 0, "mean": None}] * 2
        assert not math.isnan(a[0]["mean"])
        plain = engine(fake).generate(["a"], 1, WARM)
        assert "logprobs" not in plain.details[0] and "logprobs" not in fake.bodies[-1]


class TestFailures:
    def test_a_server_that_dies_in_mid_run_loses_no_finished_answer(self, serve, engine) -> None:
        fake = serve()

        def dying(body: dict[str, Any]) -> str | Reply:
            return seeded(body) if len(fake.bodies) <= 3 else refusing(500)

        fake.answer = dying
        message = r"5 of 8 requests got no answer after 1 attempts .*500.*start again"
        with pytest.raises(NoAnswer, match=message) as raised:
            engine(fake, concurrency=1).generate(["a", "b"], 4, WARM)
        assert KEY not in str(raised.value)
        fake.answer, asked = seeded, len(fake.bodies)
        drawn = engine(fake).generate(["a", "b"], 4, WARM)
        assert len(fake.bodies) - asked == 5, "the restart asks what was open and nothing else"
        assert [len(set(row)) for row in drawn] == [4, 4]

    def test_a_run_folder_is_completed_by_the_next_start(
        self, serve, engine, tmp_path: Path
    ) -> None:
        fake = serve()
        prompts = PromptSet("p", tuple(PromptRow(id=p, prompt=p) for p in "abc"))
        fake.answer = lambda body: seeded(body) if len(fake.bodies) <= 5 else HANG_UP

        def run() -> Any:
            made = engine(fake, concurrency=1)
            return generate(made, prompts, 4, sampling=WARM, output=tmp_path / "run")

        with pytest.raises(NoAnswer):
            run()
        fake.answer, asked = seeded, len(fake.bodies)
        rows = run().rows
        assert [len(set(row["generations"])) for row in rows] == [4, 4, 4]
        assert all(text.startswith(row["id"]) for row in rows for text in row["generations"])
        assert len(fake.bodies) - asked == 12 - 5
        assert rows[0]["details"]["tokens"] == {"read": 7, "written": 20}

    def test_without_a_cache_nothing_is_promised(self, serve, engine) -> None:
        with pytest.raises(NoAnswer) as raised:
            engine(serve(lambda body: refusing(500)), cache=False).generate(["a"], 1, WARM)
        assert "start again" not in str(raised.value)

    @pytest.mark.parametrize("status", [400, 422])
    def test_fields_that_the_server_does_not_know_are_said(self, serve, engine, status) -> None:
        fake = serve(lambda body: refusing(status, "temperature is not supported"))
        with pytest.raises(ServerRefusal, match="temperature is not supported") as raised:
            engine(fake).generate(["a"], 2, WARM)
        assert "['max_tokens', 'temperature', 'top_p']" in str(raised.value)
        assert "leave_out" in str(raised.value)

    def test_a_wrong_key_is_refused(self, serve, engine) -> None:
        with pytest.raises(ValueError, match=r"\$OPENAI_API_KEY \(set\)") as raised:
            engine(serve(lambda body: refusing(401, KEY))).generate(["a"], 2, WARM)
        assert KEY not in str(raised.value)

    def test_the_key_is_in_no_file_log_or_identity(
        self, serve, engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG, logger="diversify")
        fake = serve()
        made = engine(fake)
        made.generate(["a"], 2, WARM)
        assert fake.keys == [f"Bearer {KEY}"] * 2
        assert KEY not in json.dumps(made.identity)
        assert KEY not in "".join(r.getMessage() for r in caplog.records if "diversify" in r.name)
        for file in tmp_path.iterdir():
            assert KEY.encode() not in file.read_bytes()


class TestStream:
    def test_gives_the_pieces_of_the_text_that_generate_gives(self, serve, engine) -> None:
        def answer(body: dict[str, Any]) -> str | Reply:
            text = f" {body['messages'][-1]['content']} {body['seed']} "
            cut = {"finish": "length"}
            return stream(*text, **cut) if body.get("stream") else choices(text, **cut)

        fake = serve(answer)
        made = engine(fake)
        pieces, found = made.stream("a", WARM), []
        with pytest.raises(StopIteration) as end:
            while True:
                found.append(next(pieces))
        assert end.value.value is True, "it was cut off"
        assert "".join(found).strip() == made.generate(["a"], 1, WARM)[0][0]
        assert len(found) > 5


class TestStrategies:
    def test_verbalized(self, serve, engine) -> None:
        def answer(body: dict[str, Any]) -> Reply:
            seed = body["seed"] % 1000
            items = "".join(
                f"<response>\n<text>fruit {seed} {i}</text>\n<probability>0.1</probability>\n"
                "</response>\n"
                for i in range(3)
            )
            return choices(items, usage=(7, 30))

        fake = serve(answer)
        drawn = Verbalized(3)(engine(fake), ["A fruit?", "A berry?"], 6, WARM)
        assert [len(set(row)) for row in drawn] == [6, 6]
        assert len(fake.bodies) == 4
        assert drawn.details[0]["tokens"] == {"read": 7, "written": 60}

    def test_stratified(self, serve, engine) -> None:
        def answer(body: dict[str, Any]) -> str:
            asked = body["messages"][-1]["content"]
            if "The request:" in asked:
                return "1. by the sea\n2. in a dream\n3. on a train"
            return f"an answer {asked.splitlines()[-1]}"

        fake = serve(answer)
        drawn = Stratified()(engine(fake), ["Tell a story."], 3, WARM)
        assert drawn.details[0]["kept"] == ["by the sea", "in a dream", "on a train"]
        assert len(set(drawn[0])) == 3 and len(fake.bodies) == 4

    def test_direct_counts_what_was_withheld_as_missing(self, serve, engine) -> None:
        replies = iter([choices("x"), choices("y", finish="content_filter")])
        drawn = Direct()(engine(serve(lambda body: next(replies)), concurrency=1), ["a"], 2, WARM)
        assert drawn.texts == [["x"]] and drawn.details[0]["missing"] == 1
