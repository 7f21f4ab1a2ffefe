"""The command line: the whole way with a tiny model, and one clear sentence for each mistake."""

import json
import signal
import subprocess
import sys
import time

import pytest

from diversify.cli import main
from diversify.cli.tables import clock, progress_line


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.jsonl"
    rows = [
        {"id": f"q{i}", "prompt": f"Name thing number {i}.", "answers": [["red"], ["blue"]]}
        for i in range(5)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def draw(model, questions, output, temperature="1.0", *more):
    arguments = ["generate", "--model", str(model), "--prompts", str(questions), "--samples", "3"]
    arguments += ["--max-tokens", "4", "--temperature", temperature, "--output", str(output)]
    return main([*arguments, *more])


def test_the_whole_way(tiny_model_path, questions, tmp_path, capsys):
    runs = [tmp_path / name for name in ("cold", "warm", "hot")]
    for run, temperature in zip(runs, ("0.2", "1.0", "3.0"), strict=True):
        assert draw(tiny_model_path, questions, run, temperature) == 0
    quality = ["--embedder", "none", "--quality", "answers,likelihood,information"]
    reference = ["--reference", str(tiny_model_path)]
    assert main(["evaluate", *map(str, runs), *quality, *reference]) == 0
    pair = [str(runs[1]), str(runs[2])]
    sweep = ["--sweep", *map(str, runs), "--resamples", "200", "--trained-kernel", "ngram-2"]
    assert main(["compare", *pair, *sweep, "--output", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    assert "collapse fell:" in shown and "vendi,ngram-2" in shown
    saved = json.loads((tmp_path / "out/comparison.json").read_text())
    assert set(saved["qualities"]) == {"valid_answer", "reference_likelihood", "prompt_information"}
    assert saved["verdict"]["collapse_fell"] is None  # no kernel that was not trained on
    page = tmp_path / "report.html"
    figures = tmp_path / "figures"
    arguments = ["report", *pair, *sweep, "--output", str(page), "--figures", str(figures)]
    assert main(arguments) == 0
    assert all(path.read_text("utf-8").startswith("<svg") for path in figures.iterdir())
    assert "<html" in page.read_text("utf-8")[:2000]


def test_fail_unless_is_a_gate(tiny_model_path, questions, tmp_path):
    for name in ("a", "b"):
        draw(tiny_model_path, questions, tmp_path / name)
        main(["evaluate", str(tmp_path / name), "--embedder", "none"])
    pair = ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--resamples", "100"]
    assert main(pair) == 0
    assert main([*pair, "--fail-unless", "collapse_fell"]) == 3
    assert main([*pair, "--fail-unless", "collapse_rose"]) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["generate", "--model", "{model}", "--prompts", "nowhere", "--output", "{out}"],
            "no prompt",
        ),
        (
            ["generate", "--model", "{model}", "--temperature", "-1", "--output", "{out}"],
            "temperature",
        ),
        (["generate", "--model", "{model}", "--limit", "0", "--output", "{out}"], "limit"),
        (["generate", "--model", "{out}/none", "--output", "{out}"], "none"),
        (["generate", "--model", "{model}", "--adapter", "{out}", "--output", "{out}"], "adapter"),
        (["evaluate", "{out}"], "holds no"),
        (["evaluate", "{run}", "--quality", "likelihood", "--embedder", "none"], "--reference"),
        (["evaluate", "{run}", "--quality", "relevance", "--embedder", "none"], "embedder"),
        (
            ["evaluate", "{run}", "--embedder", "none", "--measures", "entropy"],
            "no measure is called",
        ),
        (["compare", "{run}", "{run}"], r"diversify evaluate"),
    ],
)
def test_mistakes_get_one_sentence_and_a_code(
    tiny_model_path, questions, tmp_path, capsys, arguments, message
):
    places = {"model": tiny_model_path, "out": tmp_path / "out", "run": tmp_path / "run"}
    places["out"].mkdir()
    draw(tiny_model_path, questions, places["run"])
    capsys.readouterr()
    assert main([word.format(**places) for word in arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and error.startswith("diversify: ") and "Traceback" not in error
    assert error.count("\n") == 1


def test_an_unknown_strategy_is_named_with_the_known_ones(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["generate", "--model", "m", "--output", "o", "--strategy", "magic"])
    assert stopped.value.code == 2
    assert "over-generate" in capsys.readouterr().err


def test_ctrl_c_keeps_what_was_written(tiny_model_path, questions, tmp_path):
    many = tmp_path / "many.txt"
    many.write_text("".join(f"Question {i}?\n" for i in range(3000)))
    command = [sys.executable, "-m", "diversify.cli", "generate", "--model", str(tiny_model_path)]
    command += ["--prompts", str(many), "--samples", "2", "--max-tokens", "4"]
    process = subprocess.Popen(
        [*command, "--output", str(tmp_path / "run")], stderr=subprocess.PIPE, text=True
    )
    partial = tmp_path / "run/generations.jsonl.partial"
    deadline = time.monotonic() + 120
    while not (partial.is_file() and partial.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "the same command continues it" in error
    assert all(json.loads(line)["generations"] for line in partial.read_text().splitlines())


def test_prompts_lists_and_shows(capsys):
    assert main(["prompts"]) == 0
    assert "enumerable" in capsys.readouterr().out
    assert main(["prompts", "open-ended", "--split", "test"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert first["prompt"] and first["category"]


def test_progress_says_what_is_left(capsys):
    show = progress_line()
    show("run", 1, 4, 10.0)
    show("run", 2, 4, 20.0)
    assert "run: 2/4 prompts, 0:20 left" in capsys.readouterr().err
    assert clock(3661) == "61:01"
