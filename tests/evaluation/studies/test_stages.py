"""Stages of studies: a command is run once for what it is, and its log speaks when it fails."""

import json

import pytest

from diversify.evaluation import evaluate
from diversify.evaluation.studies import stages
from diversify.kernels import NgramKernel
from diversify.quality import Rule


def test_a_changed_config_or_command_is_a_new_command(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "root", lambda: tmp_path)
    (tmp_path / "c.yaml").write_text("a: 1\n")
    first = stages.command_digest(["r.py", "c.yaml"])
    assert first == stages.command_digest(["r.py", "c.yaml"])
    assert first != stages.command_digest(["r.py", "c.yaml", "--x"])
    (tmp_path / "c.yaml").write_text("a: 2\n")
    assert first != stages.command_digest(["r.py", "c.yaml"])


def test_a_command_after_a_changed_one_is_a_new_command(tmp_path, monkeypatch):
    """The second command names no config itself; it may read what the first one has written."""
    monkeypatch.setattr(stages, "root", lambda: tmp_path)

    def chained():
        first = stages.command_digest(["r.py", "c.yaml"])
        return first, stages.command_digest(["dpo.py"], after=first)

    (tmp_path / "c.yaml").write_text("a: 1\n")
    before = chained()
    assert chained() == before
    (tmp_path / "c.yaml").write_text("a: 2\n")
    assert not {*before} & {*chained()}


def one(prompt, text):
    return 1.0


def test_a_report_is_as_asked_where_kernels_and_qualities_are(tmp_path):
    row = {"id": "a", "prompt": "A pet?", "generations": ["cat", "dog"]}
    (tmp_path / "generations.jsonl").write_text(json.dumps(row) + "\n")
    kernels, short, other = [NgramKernel(2)], *[Rule(one, name) for name in ("short", "other")]
    evaluate(tmp_path, kernels=kernels, quality=[short]).save(tmp_path)
    assert stages.scored_as_asked(tmp_path, kernels, [short])
    assert not stages.scored_as_asked(tmp_path, kernels, [])
    assert not stages.scored_as_asked(tmp_path, kernels, [other])
    assert not stages.scored_as_asked(tmp_path, [NgramKernel(1)], [short])
    # The rows are those of another evaluation than the summary: it was interrupted between the two.
    samples = tmp_path / "samples.jsonl"
    samples.write_text(samples.read_text().replace("short", "other"))
    assert not stages.scored_as_asked(tmp_path, kernels, [short])


def test_a_failing_recipe_shows_the_end_of_its_log(tmp_path, monkeypatch):
    monkeypatch.setattr(stages, "root", lambda: tmp_path)
    (tmp_path / "bad.py").write_text("print('3/4 [');\nraise SystemExit('out of luck')\n")
    seen = []
    with pytest.raises(ValueError, match="out of luck"):
        stages.launch(["bad.py"], tmp_path / "logs/bad.log", lambda share, _: seen.append(share))
    assert seen == [0.75]


def test_a_script_and_our_own_command_are_started_without_accelerate(tmp_path):
    log = tmp_path / "log"
    stages.launch(["python", "-c", "print('1/2 prompts')"], log, lambda share, text: None)
    assert log.read_text() == "1/2 prompts\n"
    stages.launch(["diversify", "prompts"], log, lambda share, text: None)
    assert "enumerable" in log.read_text()


def test_studies_need_the_clone(tmp_path, monkeypatch):
    assert (stages.root() / "recipes").is_dir()
    monkeypatch.setattr(stages, "__file__", str(tmp_path / "a" / "b" / "stages.py"))
    with pytest.raises(ValueError, match="run from a clone"):
        stages.root()
