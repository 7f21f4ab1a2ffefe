"""Runs from elsewhere and panels on the command line."""

import json

from diversify.cli import main, runs
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
    assert main(["panel", *folders, "--output", str(tmp_path / "panel")]) == 0
    assert shared in capsys.readouterr().out
    found = json.loads((tmp_path / "panel" / "panel.json").read_text())
    assert len(found["similarity"]) == 2


def test_one_run_is_no_panel(tmp_path, capsys):
    (tmp_path / "one.csv").write_text("question,answer\nWrite.,a\nWrite.,b\n")
    assert main(["panel", str(tmp_path / "one.csv")]) == 1
    assert "diversify:" in capsys.readouterr().err
