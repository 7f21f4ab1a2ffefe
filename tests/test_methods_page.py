"""The methods page: every method has a row, every row a config that exists and a measured result."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from importing import imported

from diversify.advantages import ADVANTAGES
from diversify.trainers.rewards import REWARDS

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/methods.md").read_text("utf-8")
CONFIG = ROOT / "configs/methods/study.yaml"
MARK = re.compile(r"<!-- ([\w-]+) -->(.*?)<!-- / -->", re.S)


@pytest.fixture(scope="module")
def methods():
    with imported("eval/methods.py") as module:
        yield module


@pytest.fixture(scope="module")
def study(methods):
    return methods.read_study(CONFIG)


@pytest.fixture(scope="module")
def results():
    return json.loads((ROOT / "eval/results/methods.json").read_text("utf-8"))


def test_every_reward_and_advantage_has_a_row():
    controls = {"quality", "diversity", "group_advantages"}
    for name in {*REWARDS, *ADVANTAGES} - controls:
        assert re.search(rf"^\| `{name}`", PAGE, re.M), name


def test_every_row_has_what_was_measured(study, results):
    marks = {match[1]: match[2] for match in MARK.finditer(PAGE)}
    rows = [line for line in PAGE.splitlines() if line.startswith("| ") and " --- " not in line]
    heads = sum(line.startswith(("| method |", "| control |")) for line in rows)
    assert len(marks) == len(rows) - heads  # a mark in every row but the heads of the tables
    assert set(marks) == set(study.methods) == set(results)


def test_the_page_shows_the_results_that_are_stored(methods, results, tmp_path):
    copy = tmp_path / "page.md"
    copy.write_text(PAGE)
    methods.write_page(copy, results)
    assert copy.read_text() == PAGE


def test_every_config_of_a_method_is_on_the_page():
    """Each config for Qwen is linked from a row; the smoke and demo configs are not methods."""
    for folder in ("grpo", "rloo", "dpo", "orpo", "pairs", "rounds", "sft", "demonstrations"):
        for config in (ROOT / "configs" / folder).glob("qwen3-*.yaml"):
            assert f"../{config.relative_to(ROOT)})" in PAGE, config


def test_a_cell_says_after_and_both_differences(methods):
    change = {"before": 0.25, "after": 0.5, "difference": 0.25, "ci95": [0.1, 0.4]}
    row = {"base": {"valid_answer": change}, "control": {"valid_answer": change}}
    expected = "valid 0.25 → 0.50 +0.25 [+0.10, +0.40]; control +0.25 [+0.10, +0.40]"
    assert methods.cell(row) == expected
    assert methods.cell({"base": {"valid_answer": change}}) == expected.partition("; control")[0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"modle": "x"}, r"unknown keys \['modle'\]"),
        ({"methods": {"a": {"family": "none"}}}, "a: family must be one of"),
        ({"methods": {}}, "there is no method"),
    ],
)
def test_a_study_that_does_not_hold_together_is_refused(methods, tmp_path, change, message):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(CONFIG.read_text()) | change))
    with pytest.raises(ValueError, match=message):
        methods.read_study(path)


def test_every_command_of_the_study_names_files_that_exist(study):
    for name, method in study.methods.items():
        family = study.families[method["family"]]
        commands = [*family.get("shared", []), *method.get("train", family.get("train", []))]
        assert commands, name
        for command in commands:
            for word in map(str, command):
                if word.startswith(("recipes/", "configs/")):
                    assert (ROOT / word).is_file(), f"{name}: {word}"


def test_a_changed_step_is_taken_again_with_all_that_come_after(
    methods, study, tmp_path, monkeypatch, tiny_embedder
):
    """Pairs, then DPO on them: other pairs mean another DPO; the same commands are done already."""
    monkeypatch.setattr(methods, "load_embedder", lambda name: tiny_embedder)
    launched = []
    monkeypatch.setattr(methods, "launch", lambda command, *rest: launched.append(command[0]))

    def train(pairs):
        method = {"family": "pairs", "train": [["pairs.py", pairs], ["dpo.py"]]}
        small = replace(
            study,
            output=str(tmp_path),
            families={"pairs": {"shared": [["pool.py"]]}},
            methods={"mine": method},
        )
        methods.Laboratory(small).train("mine")
        found = launched.copy()
        launched.clear()
        return found

    assert train("a") == ["pool.py", "pairs.py", "dpo.py"]
    assert train("a") == []
    assert train("b") == ["pairs.py", "dpo.py"]
    assert train("b") == []
