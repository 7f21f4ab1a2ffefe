"""Engines on the command line: a server's answers, a server before it, what does not go together."""

import json

import pytest
from fake_server import FakeServer

from diversify import serving
from diversify.cli import main


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.txt"
    path.write_text("Name a colour.\nName a fruit.\n")
    return path


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DIVERSIFY_CACHE", str(tmp_path / "cache"))


def test_a_server_fills_a_run_folder(questions, tmp_path):
    output = tmp_path / "run"
    with FakeServer(lambda body: f"answer {body['seed'] % 7}") as server:
        arguments = ["generate", "--engine", "openai", "--model", "m", "--base-url", server.url]
        arguments += ["--prompts", str(questions), "--samples", "3", "--temperature", "0.5"]
        assert main([*arguments, "--max-tokens", "9", "--output", str(output)]) == 0
        assert len(server.bodies) == 6
        assert {(b["temperature"], b["max_tokens"]) for b in server.bodies} == {(0.5, 9)}
    rows = [json.loads(line) for line in (output / "generations.jsonl").read_text().splitlines()]
    assert [len(row["generations"]) for row in rows] == [3, 3]


def test_a_server_is_put_before_another_one(monkeypatch, tmp_path):
    from starlette.testclient import TestClient

    found = {}

    def caught(app, *, host, port):
        found.update(app=app, host=host, port=port)

    monkeypatch.setattr(serving, "serve", caught)
    with FakeServer(lambda body: f"answer {body['seed'] % 7}") as server:
        arguments = ["serve", "--engine", "openai", "--model", "m", "--base-url", server.url]
        arguments += ["--embedder", "none", "--factor", "2", "--max-tokens", "9"]
        assert main(arguments) == 0
        assert (found["host"], found["port"]) == ("127.0.0.1", 8000)
        body = {"model": "m", "messages": [{"role": "user", "content": "A colour?"}], "n": 3}
        reply = TestClient(found["app"]).post("/v1/chat/completions", json=body).json()
    assert len(reply["choices"]) == 3
    assert reply["diversify"]["completions"] == 6 == len(server.bodies)
    assert {body["max_tokens"] for body in server.bodies} == {9}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--engine", "openai"], "needs --base-url"),
        (["--base-url", "http://localhost:1/v1"], "goes with --engine openai, not with transf"),
        (
            ["--engine", "openai", "--base-url", "http://localhost:1/v1", "--sampler", "min_p=0.1"],
            "--sampler: the model and its sampler are on the server",
        ),
        (
            ["--engine", "openai", "--base-url", "http://localhost:1/v1", "--quality", "own"],
            "--quality own needs --engine transformers",
        ),
        (["--engine", "vllm", "--siblings", "repulsion"], "--sampler or --siblings arithmetic"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path, capsys, more, said):
    assert main(["answers", "A colour?", "--model", "m", "--embedder", "none", *more]) == 1
    assert said in capsys.readouterr().err
