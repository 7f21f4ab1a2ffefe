"""Beside plain sampling: planted differences are found, costs counted, and witnesses held out."""

import json
from pathlib import Path

import pytest

from diversify.evaluation import Run, evaluate
from diversify.evaluation.studies.yardstick import Answered, Yardstick
from diversify.measures import vendi
from diversify.quality import AnswerList

LIST = [["Peru"], ["Chile"], ["Brazil"], ["Bolivia"]]
PROMPTS = 6


def run(heat, texts, *, written=None, strategy=None, kept="plain", calls=1):
    """One run: every prompt gets the same texts, a word is a token."""
    tokens = {"read": 10, "written": written or sum(len(text.split()) for text in texts)}
    rows = [
        {
            "id": f"p{i}",
            "prompt": f"Name a country, number {i}.",
            "generations": list(texts),
            "answers": LIST,
            "details": {"calls": calls, "tokens": tokens, "kept": [kept] * len(texts)},
        }
        for i in range(PROMPTS)
    ]
    settings = {
        "engine": {"model": "m"},
        "sampling": {"temperature": heat},
        "strategy": strategy or {"name": "direct"},
    }
    return Run(Path("run"), settings, rows)


def answered(*args, **options):
    found = run(*args, **options)
    return Answered(found, evaluate(found, measures={"vendi": vendi}, quality=[AnswerList()]))


@pytest.fixture
def plain():
    """Cold: one valid answer, always valid; hot: two, half of the texts valid."""
    return {
        0.5: answered(0.5, ["Peru", "Peru", "Peru", "Peru"]),
        1.0: answered(1.0, ["Peru", "Chile", "junk", "more"]),
    }


@pytest.fixture
def pools():
    """The same, twice as large: four draws of the hot one hold Peru or Chile by chance."""
    return {
        0.5: run(0.5, ["Peru"] * 8),
        1.0: run(1.0, ["Peru", "Chile", "junk", "more"] * 2),
    }


def yardstick(plain, pools, **options):
    defaults = {"measure": "distinct_valid,answers", "quality": "valid_answer", "margin": 0.05}
    return Yardstick(plain, pools, reference=0.5, resamples=200, **defaults | options)


def test_plain_sampling_beside_itself(plain, pools):
    """Only cold keeps the quality: 1 valid answer, the same as any pool of Perus holds."""
    row = yardstick(plain, pools).row(plain, is_plain=True)
    assert row["temperatures"] == [0.5, 0.5] and row["kept_quality"]
    assert row["quality"]["after"] == 1.0 and row["quality"]["difference"] == 0
    decides = row["measures"]["distinct_valid,answers"]
    assert decides["after"] == 1 and decides["difference"] == 0
    assert "at_equal_quality" not in decides
    assert row["budget"]["difference"] == pytest.approx(0) and row["budget"]["draws"] == 4
    assert row["cost"] | {"asked_plainly": 1.0} == row["cost"]
    assert (row["cost"]["written"], row["cost"]["read"]) == (1, 1)
    assert [point["temperature"] for point in row["by_temperature"]] == [0.5, 1.0]


def test_a_gain_is_found_at_equal_quality_and_charged_at_equal_tokens(plain, pools):
    """Three valid answers of four, all valid, where plain has one: +2 both ways."""
    better = answered(0.5, ["Peru", "Chile", "Brazil", "Peru"], written=8, kept="list 1", calls=3)
    row = yardstick(plain, pools).row({0.5: better}, passes=2)
    gap = row["measures"]["distinct_valid,answers"]["at_equal_quality"]
    assert gap["gap"] == 2 and gap["ci95"] == [2, 2] and gap["above"] is True
    assert gap["p_value"] == 2 / 2**6  # six prompts, and all rise
    assert row["budget"]["draws"] == 2 * 8 and row["budget"]["capped"] == PROMPTS
    assert row["budget"]["difference"] == pytest.approx(2)
    assert row["cost"]["written"] == 2 and row["cost"]["calls"] == 3
    assert row["cost"]["asked_plainly"] == 0 and row["cost"]["passes"] == 2


def test_equal_tokens_are_reckoned_at_plain_samplings_own_temperature(plain, pools):
    """With a margin of 0.6 plain is hot: 2 of its 8 draws are Peru, 2 Chile. Two tokens are two
    draws; each answer is missed by 15 of 28 pairs, so they find 2 (1 - 15/28)."""
    hot = yardstick(plain, pools, margin=0.6)
    row = hot.row({0.5: answered(0.5, ["Peru", "Peru", "Peru", "Peru"], written=2)})
    assert row["budget"]["before"] == pytest.approx(2 * (1 - 15 / 28), abs=1e-4)


def test_where_no_temperature_keeps_quality_the_row_says_so(plain, pools):
    row = yardstick(plain, pools).row({1.0: answered(1.0, ["junk", "Chile", "junk", "no"])})
    assert not row["kept_quality"] and row["quality"]["difference"] == -0.75


def test_who_selects_by_the_kernel_that_decides_is_refused(plain, pools):
    strategy = {"name": "diverge", "strategy": {"name": "over_generate", "kernel": "ngram-2"}}
    picked = {0.5: answered(0.5, ["Peru"] * 4, strategy=strategy)}
    assert yardstick(plain, pools).row(picked)["sees"] == ["ngram-2"]
    with pytest.raises(ValueError, match="not judged by 'vendi,ngram-2'"):
        yardstick(plain, pools, measure="vendi,ngram-2").row(picked)


def test_without_lists_of_answers_there_is_no_budget(plain, pools):
    for each in [*plain.values(), *pools.values()]:
        for row in (each if isinstance(each, Run) else each.run).rows:
            del row["answers"]
    row = yardstick(plain, pools, measure="vendi,ngram-2").row(plain, is_plain=True)
    assert row["budget"] is None


def test_a_row_is_json(plain, pools):
    row = yardstick(plain, pools).row({0.5: plain[0.5]})
    assert json.loads(json.dumps(row, allow_nan=False)) == row


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"measure": "vendi,none"}, "got 'vendi,none'"),
        ({"quality": "none"}, "got 'none'"),
    ],
)
def test_what_was_not_measured_cannot_decide(plain, pools, change, message):
    with pytest.raises(ValueError, match=message):
        yardstick(plain, pools, **change)


def test_every_temperature_needs_its_pool(plain, pools):
    with pytest.raises(ValueError, match=r"lacks the temperatures \[1.0\]"):
        yardstick(plain, {0.5: pools[0.5]})
