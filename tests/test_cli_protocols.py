"""Benchmarks on the command line: the list, a run scored, what is refused."""

import argparse
import json
import shutil

import numpy as np
import pytest

from diversify.cli import main, protocols
from diversify.cli.drawing import add_generate
from diversify.cli.engines import sampling_of
from diversify.evaluation import protocol_report
from diversify.evaluation.hivemind import MIN_P
from diversify.evaluation.protocols import PROTOCOLS, SETTINGS, score_protocol


@pytest.fixture
def generations(tmp_path):
    path = tmp_path / "run" / "generations.jsonl"
    path.parent.mkdir()
    row = {"id": "1", "prompt": "A primary colour?", "model": "m"}
    row |= {
        "generations": ["red", "Blue.", "red", "mud"],
        "answers": [["red"], ["blue"], ["yellow"]],
    }
    path.write_text(json.dumps(row) + "\n")
    return path


def test_the_command_line_knows_every_protocol():
    assert set(protocols.PROTOCOLS) == set(PROTOCOLS)
    assert protocols.SETTINGS == tuple(SETTINGS)


def parsed(*arguments):
    parser = argparse.ArgumentParser()
    add_generate(parser.add_subparsers())
    return parser.parse_args(["generate", "--model", "m", "--output", "o", *arguments])


def test_one_option_draws_as_a_benchmark_asks():
    options = parsed("--protocol", "hivemind@1-min-p")
    assert (options.prompts, options.samples) == ("hivemind", 50)
    assert sampling_of(options) == MIN_P
    assert parsed("--protocol", "noveltybench@1.1").max_tokens == 2048
    assert parsed("--protocol", "noveltybench@1.0", "--prompts", "w").prompts == "w"
    assert parsed().protocol is None and parsed().samples == 16


def test_what_a_benchmark_sets_may_be_changed_after_it_and_not_before(capsys):
    options = parsed("--protocol", "hivemind@1-top-p", "--samples", "5", "--seed", "3")
    assert (options.samples, options.top_p, options.seed) == (5, 0.9, 3)
    assert parsed("--seed", "3", "--protocol", "hivemind@1-top-p").seed == 3
    with pytest.raises(SystemExit):
        parsed("--max-tokens", "9", "--protocol", "hivemind@1-top-p")
    assert "--max-tokens came before --protocol" in capsys.readouterr().err


def test_a_run_is_scored_and_its_departures_are_told(generations, capsys):
    """Three of four answers are valid, two of three colours are named."""
    assert main(["score", str(generations), "--protocol", "enumerable@1"]) == 0
    told = capsys.readouterr().out
    assert "valid_rate" in told and "0.750" in told and "0.667" in told
    summary = generations.parent / "enumerable@1" / "summary.json"
    assert json.loads(summary.read_text())["results"]["valid_rate"] == 0.75


def test_several_runs_are_scored_in_turn(generations, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(generations.parent, other)
    runs = [str(generations), str(other)]
    assert main(["score", *runs, "--protocol", "enumerable@1"]) == 0
    assert capsys.readouterr().out.count("valid_rate") == 2
    assert (other / "enumerable@1" / "summary.json").is_file()
    arguments = ["score", *runs, "--protocol", "enumerable@1", "--output", str(tmp_path / "out")]
    assert main(arguments) == 1
    assert "--output goes with one run" in capsys.readouterr().err


def test_results_of_two_files_do_not_replace_each_other(tmp_path, capsys):
    runs = [written(tmp_path / f"{name}.jsonl", ["red"], answers=[[["red"]]]) for name in "ab"]
    for more in ([], ["--leaderboard", "--output", str(tmp_path / "out")]):
        protocol = "noveltybench@1.0-classifier" if more else "enumerable@1"
        assert main(["score", *runs, "--protocol", protocol, *more]) == 1
        error = capsys.readouterr().err
        assert f"the results of {runs[0]} and {runs[1]} would both be written" in error
        assert str(tmp_path) in error and "one at a time with --output" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl"]


def test_results_do_not_replace_the_answers_they_are_made_of(tmp_path, capsys):
    (tmp_path / "enumerable@1").mkdir()
    path = tmp_path / "enumerable@1" / "scores.jsonl"
    arguments = ["score", written(path, ["red"], answers=[[["red"]]]), "--protocol", "enumerable@1"]
    before = path.read_bytes()
    assert main([*arguments, "--output", str(tmp_path)]) == 1
    assert f"{path} would be overwritten by its own results" in capsys.readouterr().err
    assert path.read_bytes() == before
    assert main(arguments) == 0  # its own folder gets a folder of the protocol's name


class Minilm:
    """Stands in for MiniLM: one direction for each first letter."""

    name, revision = "all-MiniLM-L6-v2", "test"

    def __call__(self, texts):
        rows = np.zeros((len(texts), 128), dtype=np.float32)
        rows[np.arange(len(texts)), [ord(text[0]) for text in texts]] = 1.0
        return rows


@pytest.fixture
def minilm(monkeypatch):
    monkeypatch.setattr(protocol_report, "load_embedder", lambda name, device=None: Minilm())


def written(path, *groups, **columns):
    rows = [
        {"id": f"p{i}", "prompt": f"Question {i}?", "generations": group}
        | {name: values[i] for name, values in columns.items()}
        for i, group in enumerate(groups)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_leaderboard_joins_two_runs(minilm, tmp_path, capsys):
    """One class on curated, two on wildchat: (100 * 1 + 1000 * 2) / 1100 = 1.909."""
    for name in ("curated", "wildchat"):
        (tmp_path / name).mkdir()
    runs = [
        written(tmp_path / "curated" / "c.jsonl", ["a", "a"]),
        written(tmp_path / "wildchat" / "w.jsonl", ["a", "b"], ["c", "d"]),
    ]
    arguments = ["score", *runs, "--protocol", "noveltybench@1.0-surrogate", "--leaderboard"]
    assert main([*arguments, "--output", str(tmp_path / "out")]) == 0
    assert "1.909" in capsys.readouterr().out
    (folder,) = (tmp_path / "out").iterdir()
    assert folder.name == "noveltybench-leaderboard@1.0-surrogate"
    refused = [(arguments, "and --output"), ([*arguments[:2], *arguments[3:]], "needs two runs")]
    for given, said in refused:
        assert main(given) == 1
        assert said in capsys.readouterr().err
    other = ["score", *runs, "--leaderboard", "--output", "o", "--protocol", "enumerable@1"]
    assert main(other) == 1
    assert "not that of enumerable@1" in capsys.readouterr().err


def test_histograms_and_agreement_are_told(minilm, tmp_path, capsys):
    """Both prompts have one direction of their own: all prompts in the last tenth, floor 0."""
    same = written(tmp_path / "same.jsonl", ["a", "a"], ["b", "b"])
    assert main(["score", same, "--protocol", "hivemind@1-minilm", "--seed", "4"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert ["0.9", "to", "1.0", "100", "%", "0", "%"] in [line.split() for line in told]
    assert ["0.0", "to", "0.1", "0", "%", "100", "%"] in [line.split() for line in told]
    path = written(tmp_path / "r.jsonl", ["a", "a"], ["a", "b"], partition=[[0, 0], [0, 1]])
    assert main(["score", path, "--protocol", "noveltybench@1.0-surrogate"]) == 0
    told = capsys.readouterr().out
    assert "cut off" not in told and "blank" not in told
    assert "Spearman 1.00, Kendall 1.00; mean 1.50 for 1.50; the same number for 100%" in told


def test_answers_without_an_end_or_a_word_are_told(tmp_path, capsys):
    columns = {"answers": [[["x"]]], "truncated": [[True, False, True]]}
    path = written(tmp_path / "r.jsonl", ["x", " ", "x"], **columns)
    assert main(["score", path, "--protocol", "enumerable@1"]) == 0
    told = capsys.readouterr().out
    assert "1 of 3 answers are blank" in told
    assert "2 of 3 answers are cut off at the token limit" in told


def test_another_model_may_grade(monkeypatch, generations):
    seen = {}
    monkeypatch.setattr(
        "diversify.evaluation.protocols.score_protocol",
        lambda run, protocol, **given: seen.update(given) or score_protocol(run, "enumerable@1"),
    )
    url = "http://localhost:1/v1"
    judges = ["--judge-model", "j", "--judge-url", url, "--grader-model", "g", "--grader-url", url]
    assert main(["score", str(generations), "--protocol", "noveltybench@1.1", *judges]) == 0
    assert (seen["server"].model, seen["grader"].model) == ("j", "g")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--protocol", "noveltybench@1.1"], "needs --judge-model and --judge-url"),
        (["--protocol", "enumerable@1", "--device", "cpu"], "has no option device"),
        (["--protocol", "noveltybench@1.1", "--judge-model", "m"], "a judge needs a model and"),
        (["--protocol", "noveltybench@1.1", "--grader-model", "m"], "needs --judge-model and"),
    ],
)
def test_options_that_do_not_go_together_are_refused(generations, capsys, more, said):
    assert main(["score", str(generations), *more]) == 1
    assert said in capsys.readouterr().err
