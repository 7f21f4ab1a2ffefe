"""Checks on the two prompt sets that ship with the package."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

PROMPTS = Path(__file__).resolve().parents[2] / "diversify" / "evaluation" / "prompts"
NAMES = ("open-ended", "enumerable")
SPLITS = {
    "open-ended": Counter(train=120, test=72),
    "enumerable": Counter(train=92, test=52),
}
CATEGORIES = {
    "Creative Content Generation",
    "Brainstorm & Ideation",
    "Open-Endedness",
    "Alternative Perspectives",
    "Alternative Styles",
    "Information-Seeking",
}
STOP_WORDS = set("name a an the one give me tell pick what is of any some in that".split())

Row = dict[str, Any]


def load(name: str) -> tuple[Row, list[Row]]:
    lines = (PROMPTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    meta, *rows = map(json.loads, lines)
    return meta, rows


def content_words(prompt: str) -> set[str]:
    return set(re.sub(r"[^\w\s]|_", "", prompt.lower()).split()) - STOP_WORDS


def jaccard(left: set[str], right: set[str]) -> float:
    return len(left & right) / len(left | right)


@pytest.mark.parametrize("name", NAMES)
def test_metadata_is_complete(name: str) -> None:
    meta, _ = load(name)
    assert set(meta) == {"name", "version", "licence", "source", "description"}
    assert (meta["name"], meta["version"], meta["licence"]) == (name, 1, "CC0-1.0")
    assert meta["source"] == "written for diversify"
    assert meta["description"].strip()


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_numbered_and_have_the_allowed_keys(name: str) -> None:
    _, rows = load(name)
    keys = {"id", "prompt", "category", "split"} | ({"answers"} if name == "enumerable" else set())
    for number, row in enumerate(rows, start=1):
        assert row["id"] == f"{name}-{number:03d}"
        assert set(row) == keys, row["id"]
        assert row["prompt"] == row["prompt"].strip() != "", row["id"]
        assert row["category"].strip(), row["id"]
    assert Counter(row["split"] for row in rows) == SPLITS[name]


def test_open_ended_categories_and_lengths() -> None:
    _, rows = load("open-ended")
    expected = {(c, s): n for c in CATEGORIES for s, n in (("train", 20), ("test", 12))}
    assert Counter((row["category"], row["split"]) for row in rows) == expected
    assert [row["id"] for row in rows if not 5 <= len(row["prompt"].split()) <= 30] == []


def test_enumerable_categories_occur_in_both_splits() -> None:
    _, rows = load("enumerable")
    train, test = ({r["category"] for r in rows if r["split"] == s} for s in ("train", "test"))
    assert train == test


def test_prompts_are_unique_across_both_sets() -> None:
    counts = Counter(row["prompt"].casefold() for name in NAMES for row in load(name)[1])
    assert [prompt for prompt, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("name", NAMES)
def test_no_test_prompt_is_close_to_a_train_prompt(name: str) -> None:
    _, rows = load(name)
    words = {row["id"]: content_words(row["prompt"]) for row in rows}
    train, test = ([r["id"] for r in rows if r["split"] == s] for s in ("train", "test"))
    assert all(words.values())
    assert [(a, b) for a in test for b in train if jaccard(words[a], words[b]) >= 0.6] == []


def test_answers_are_well_formed() -> None:
    _, rows = load("enumerable")
    for row in rows:
        assert len(row["answers"]) >= 4, row["id"]
        assert all(row["answers"]), row["id"]
        aliases = [alias for answer in row["answers"] for alias in answer]
        assert all(alias == alias.strip() != "" for alias in aliases), row["id"]
        counts = Counter(alias.casefold() for alias in aliases)
        assert [alias for alias, count in counts.items() if count > 1] == [], row["id"]


def test_no_alias_occurs_in_its_own_question() -> None:
    _, rows = load("enumerable")
    for row in rows:
        for alias in (alias for answer in row["answers"] for alias in answer):
            pattern = rf"(?<!\w){re.escape(alias.casefold())}(?!\w)"
            assert not re.search(pattern, row["prompt"].casefold()), (row["id"], alias)


def test_no_two_rows_have_the_same_answers() -> None:
    _, rows = load("enumerable")
    sets = Counter(frozenset(a[0].casefold() for a in row["answers"]) for row in rows)
    assert max(sets.values()) == 1
