"""Runs from elsewhere, merged runs and panels on the command line."""

import json

import pytest

from diversify.cli import main, runs
from diversify.evaluation import load_run
from diversify.evaluation.generate import prompts_digest
from diversify.evaluation.importers import FORMATS


def test_the_command_line_knows_every_format():
    assert set(runs.FORMATS) == set(FORMATS)


def test_tables_become_runs_and_runs_a_panel(tmp_path, capsys, monkeypatch):
    """Both models say what is not easily said twice; the phrase they share has four words."""
    shared = "the quiet river remembers everything"
    for name, other in (("one", "a sharp red fox"), ("two", "seven pale green kites")):
        rows = [f"Write a line.,{shared} {name}", f"Write a line.,{other}"]
        (tmp_path / f"{name}.csv").write_text("\n".join(["question,answer", *rows]) + "\n")
        arguments = ["import", str(tmp_path / f"{name}.csv"), "--model", name]
        assert main([*arguments, "--output", str(tmp_path / name)]) == 0
        assert "1 prompts (2 answers" in capsys.readouterr().out
    folders = [str(tmp_path / name) for name in ("one", "two")]
    arguments = ["panel", *folders, "--resamples", "20", "--seed", "3", "--rows", "1"]
    assert main([*arguments, "--output", str(tmp_path / "panel")]) == 0
    assert shared in capsys.readouterr().out
    found = json.loads((tmp_path / "panel" / "panel.json").read_text())
    assert len(found["similarity"]) == 2
    assert (found["details"]["resamples"], found["details"]["seed"]) == (20, 3)


@pytest.mark.parametrize(
    ("option", "least"), [("--rows", 1), ("--seed", 0), ("--resamples", 1), ("--least-models", 2)]
)
def test_a_panels_numbers_are_checked_before_anything_is_embedded(option, least, capsys):
    """There are no runs and no embedder of this name, and neither is looked for."""
    with pytest.raises(SystemExit):
        main(["panel", "one", "two", "--embedder", "nowhere/at-all", option, str(least - 1)])
    told = capsys.readouterr().err
    assert f"argument {option}: must be at least {least}, got {least - 1}" in told


def test_one_run_is_no_panel(tmp_path, capsys):
    (tmp_path / "one.csv").write_text("question,answer\nWrite.,a\nWrite.,b\n")
    assert main(["panel", str(tmp_path / "one.csv")]) == 1
    assert "diversify:" in capsys.readouterr().err


def test_runs_are_merged_by_prompts_and_by_samples(tmp_path, capsys):
    """Settings and rows written by hand: two prompt sets, and two seeds on one of them."""
    for name, seed, row in (("a", 0, "p"), ("b", 0, "q"), ("c", 1, "p")):
        settings = {
            "engine": {"model": "m"},
            "sampling": {"seed": seed},
            "strategy": {"name": "direct"},
            "samples": 1,
            "prompts": {"name": row, "n": 1, "sha256": prompts_digest([(row, "Name a pet.")])},
        }
        written = {"id": row, "prompt": "Name a pet.", "generations": [f"answer {seed}"]}
        if row == "q":
            written["prompt"] = "Name a fruit."
            settings["prompts"]["sha256"] = prompts_digest([(row, "Name a fruit.")])
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").write_text(json.dumps(settings))
        (tmp_path / name / "generations.jsonl").write_text(json.dumps(written) + "\n")
    a, b, c, both, more = (str(tmp_path / name) for name in ("a", "b", "c", "both", "more"))
    assert main(["merge", a, b, "--output", both]) == 0
    assert capsys.readouterr().out == f"2 prompts in {both}\n"
    assert main(["merge", a, c, "--samples", "--output", more]) == 0
    assert load_run(more).rows[0]["generations"] == ["answer 0", "answer 1"]
    assert main(["merge", a, c, "--output", str(tmp_path / "none")]) == 1
    assert "not drawn alike: sampling.seed: 0 -> 1" in capsys.readouterr().err
