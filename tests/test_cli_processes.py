"""Several processes for one command: who draws what, where, and what becomes of it."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from diversify.cli import main
from diversify.cli.processes import check_engine, device_of, launched_shard, shard_of
from diversify.evaluation import Shard, load_run

ROOT = Path(__file__).parent.parent


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.txt"
    path.write_text("".join(f"Name thing number {i}.\n" for i in range(7)))
    return path


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "ACCELERATE_USE_CPU"):
        monkeypatch.delenv(name, raising=False)


def launched(monkeypatch, rank, count, *, local=None):
    values = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank}
    for name, value in (values | {"LOCAL_WORLD_SIZE": local or count}).items():
        monkeypatch.setenv(name, str(value))


def words_of(model, questions, output, *more):
    words = ["generate", "--model", str(model), "--prompts", str(questions), "--samples", "2"]
    return [*words, "--max-tokens", "6", "--output", str(output), *more]


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_of_a_job_array_make_the_folder_of_one_process(
    tiny_model_path, questions, tmp_path, capsys
):
    """Three shards, sampled at temperature 1, in one folder and in two that are merged."""
    draw = lambda folder, *more: main(words_of(tiny_model_path, questions, folder, *more))  # noqa: E731
    assert draw(tmp_path / "whole") == 0
    assert capsys.readouterr().out == f"7 prompts, 2 answers each, in {tmp_path / 'whole'}\n"
    texts = [row["generations"] for row in load_run(tmp_path / "whole").rows]
    assert len({text for pair in texts for text in pair}) > 7  # drawn, not greedy
    for shard, left in (("3/3", 5), ("1/3", 2)):
        assert draw(tmp_path / "run", "--shard", shard) == 0
        told = f"share {shard} is done; {left} of 7 prompts are left to the others\n"
        assert capsys.readouterr().out == told
    assert draw(tmp_path / "away", "--shard", "2/3") == 0
    assert main(["evaluate", str(tmp_path / "run"), "--embedder", "none"]) == 1
    assert "run is unfinished" in capsys.readouterr().err
    folders = [str(tmp_path / name) for name in ("run", "away")]
    assert main(["merge", *folders, "--output", str(tmp_path / "merged")]) == 0
    assert draw(tmp_path / "run", "--shard", "2/3") == 0
    whole = contents(tmp_path / "whole")
    assert contents(tmp_path / "run") == contents(tmp_path / "merged") == whole


def test_a_launcher_says_who_draws_what(tiny_model_path, questions, tmp_path, monkeypatch):
    """Two processes of a launcher; and on one of two machines two more, by --shard."""
    assert main(words_of(tiny_model_path, questions, tmp_path / "whole", "--at-once", "2")) == 0
    for rank in (1, 0):
        launched(monkeypatch, rank, 2)
        words = words_of(tiny_model_path, questions, tmp_path / "run", "--at-once", "2")
        assert main([*words, "--device", "cpu"]) == 0
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
    assert load_run(tmp_path / "run").settings["at_once"] == 2
    for shard, expected in ((None, Shard(1, 2)), ("2/3", Shard(2, 6))):
        assert shard_of(SimpleNamespace(shard=shard)) == expected
    launched(monkeypatch, 1, 2)
    assert shard_of(SimpleNamespace(shard="2/3")) == Shard(5, 6)


def test_evaluation_divides_the_runs(tmp_path, monkeypatch, capsys):
    """Three runs and two processes: the first one scores two of them."""
    for name in "abc":
        rows = [{"prompt": "p", "generations": ["x", name]}]
        (tmp_path / name).mkdir()
        (tmp_path / name / "generations.jsonl").write_text(json.dumps(rows[0]) + "\n")
    words = ["evaluate", *(str(tmp_path / name) for name in "abc"), "--embedder", "none"]
    for rank, expected in ((0, "ac"), (1, "abc"), (3, "abc")):
        launched(monkeypatch, rank, 2 if rank < 2 else 4)
        assert main([*words, "--device", "cpu"]) == 0
        assert sorted(path.parent.name for path in tmp_path.glob("*/report.json")) == [*expected]
        assert (capsys.readouterr().out == "") is (rank == 3)  # a fourth process has nothing to do


@pytest.mark.parametrize(
    ("words", "environment", "message"),
    [
        (["--shard", "3/2"], {}, "a shard is 1/N to N/N, got 3/2"),
        (["--shard", "half"], {}, "a shard is written I/N, such as 2/8, got 'half'"),
        ([], {"RANK": "x"}, "the environment has RANK='x'"),
        ([], {"RANK": "2", "WORLD_SIZE": "2"}, "a shard is 1/N to N/N, got 3/2"),
        (["--at-once", "0"], {}, "at_once must be at least 1, got 0"),
        (["--engine", "vllm"], {"LOCAL_WORLD_SIZE": "2"}, "--engine vllm takes its GPUs itself"),
    ],
)
def test_mistakes_get_one_sentence(
    tiny_model_path, questions, tmp_path, capsys, monkeypatch, words, environment, message
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(words_of(tiny_model_path, questions, tmp_path / "run", *words)) == 1
    assert message in capsys.readouterr().err


def test_each_process_has_a_device_of_its_own(monkeypatch):
    own = SimpleNamespace(device=None, engine="vllm")
    assert device_of(own) is None and launched_shard() == Shard()
    check_engine(own)
    launched(monkeypatch, 3, 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device_of(own) is None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert device_of(own) == "cuda:3"
    assert device_of(SimpleNamespace(device="cuda:0")) == "cuda:0"
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    assert device_of(own) == "cpu"
    monkeypatch.setenv("ACCELERATE_USE_CPU", "false")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match="4 processes were started on this machine, which has 2"):
        device_of(own)
    launched(monkeypatch, 3, 4, local=1)  # one process on each of four machines
    assert device_of(own) is None
    check_engine(own)


@pytest.fixture
def start():
    """Start commands under `accelerate launch`, and take down what is left of them."""
    children = []

    def launch(count, words):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
        command += ["--num_processes", str(count), "--main_process_port", str(port)]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
        children.append(
            subprocess.Popen(
                [*command, "-m", "diversify", *words],
                env={**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": path},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return children[-1]

    yield launch
    for child in children:
        if child.poll() is None:
            child.terminate()  # the launcher passes it on: its workers have sessions of their own
        child.communicate(timeout=60)


@pytest.mark.slow
def test_two_processes_of_accelerate_make_the_folder_of_one(
    start, tiny_model_path, questions, tmp_path
):
    """Seven prompts at temperature 1: the first process has four of them, the second three."""
    assert main(words_of(tiny_model_path, questions, tmp_path / "whole")) == 0
    child = start(2, words_of(tiny_model_path, questions, tmp_path / "run"))
    _, error = child.communicate(timeout=280)
    assert child.returncode == 0, error[-3000:]
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_process_that_dies_costs_no_finished_answer(start, tiny_model_path, tmp_path):
    """One of two is killed in the middle: the launcher ends the other one, and three go on."""
    many, folder = tmp_path / "many.txt", tmp_path / "run"
    many.write_text("".join(f"Name thing number {i}.\n" for i in range(200)))
    words = words_of(tiny_model_path, many, folder, "--samples", "8")
    child = start(2, words)
    deadline = time.monotonic() + 280
    while len(list(folder.glob("*.partial-*of2"))) < 2:
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    workers = psutil.Process(child.pid).children()
    (second,) = [worker for worker in workers if worker.environ().get("RANK") == "1"]
    second.kill()
    child.communicate(timeout=280)
    assert child.returncode != 0
    kept = {file.name: file.read_bytes() for file in folder.glob("*.partial-*")}
    finished = [
        json.loads(line.split(b"\t", 1)[1])
        for content in kept.values()
        for line in content.splitlines(keepends=True)
        if line.endswith(b"\n")
    ]
    assert 2 <= len(finished) < 200
    child = start(3, words)
    _, error = child.communicate(timeout=280)
    assert child.returncode == 0, error[-3000:]
    rows = {row["id"]: row for row in load_run(folder).rows}
    assert len(rows) == 200 and all(rows[row["id"]] == row for row in finished)
    assert main(words_of(tiny_model_path, many, tmp_path / "whole", "--samples", "8")) == 0
    assert contents(folder) == contents(tmp_path / "whole")
