"""Benchmarks on the command line: the list, a run scored, what is refused."""

import json

import pytest

from diversify.cli import main, protocols
from diversify.evaluation.protocols import PROTOCOLS


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


def test_a_run_is_scored_and_its_departures_are_told(generations, capsys):
    """Three of four answers are valid, two of three colours are named."""
    assert main(["score", str(generations), "--protocol", "enumerable@1"]) == 0
    told = capsys.readouterr().out
    assert "valid_rate" in told and "0.750" in told and "0.667" in told
    summary = generations.parent / "enumerable@1" / "summary.json"
    assert json.loads(summary.read_text())["results"]["valid_rate"] == 0.75


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--protocol", "noveltybench@1.1"], "needs --judge-model and --judge-url"),
        (["--protocol", "enumerable@1", "--device", "cpu"], "has no option device"),
        (["--protocol", "noveltybench@1.1", "--judge-model", "m"], "a judge needs a model and"),
    ],
)
def test_options_that_do_not_go_together_are_refused(generations, capsys, more, said):
    assert main(["score", str(generations), *more]) == 1
    assert said in capsys.readouterr().err
