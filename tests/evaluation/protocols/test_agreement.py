"""Two judges of the same answers: rank correlations, their intervals, and where there is none."""

import numpy as np
import pytest
from scipy import stats

from diversify.evaluation.protocols.agreement import agreement


def labels(*counts: int) -> list[np.ndarray]:
    return [np.arange(count) for count in counts]


def test_correlations_are_scipys_and_the_interval_holds_them() -> None:
    rng = np.random.default_rng(0)
    one = rng.integers(1, 8, size=60)
    two = np.clip(one + rng.integers(-2, 3, size=60), 1, None)
    found = agreement(labels(*one), labels(*two), resamples=400)
    for rank, expected in (
        (found.spearman, stats.spearmanr(one, two).statistic),
        (found.kendall, stats.kendalltau(one, two).statistic),
    ):
        assert rank.value == pytest.approx(expected)
        low, high = rank.ci95
        assert expected - 0.3 < low < expected < high < expected + 0.2
    assert found.mean == pytest.approx(one.mean()) and found.other_mean == pytest.approx(two.mean())
    assert found.equal == pytest.approx(np.mean(one == two))


def test_the_seed_and_the_resamples_decide_the_interval_alone() -> None:
    one, two = labels(1, 2, 3, 4, 5, 6, 3, 2), labels(2, 2, 3, 5, 4, 6, 1, 2)
    first, same = (agreement(one, two, resamples=50) for _ in range(2))
    seed, more = agreement(one, two, resamples=50, seed=1), agreement(one, two, resamples=51)
    assert first == same
    assert len({found.spearman.ci95 for found in (first, seed, more)}) == 3
    assert first.spearman.value == seed.spearman.value == more.spearman.value


def test_a_judge_that_never_changes_its_mind_has_no_rank() -> None:
    found = agreement(labels(1, 1), labels(2, 1))
    assert found.spearman == found.kendall == (None, None)


def test_few_prompts_have_a_rank_and_no_interval() -> None:
    """Some resamples of three prompts take one of them three times."""
    found = agreement(labels(1, 2, 3), labels(1, 2, 2))
    assert found.spearman.value == pytest.approx(3**0.5 / 2) and found.spearman.ci95 is None
    assert found.as_json()["kendall"] == {"value": found.kendall.value, "ci95": None}


def test_shapes_are_checked() -> None:
    with pytest.raises(ValueError, match="got 2 and 1"):
        agreement(labels(1, 1), labels(1))
    with pytest.raises(ValueError, match="resamples must be at least 1"):
        agreement(labels(1, 2), labels(1, 2), resamples=0)


def test_intervals_are_those_of_scipys_correlations_on_the_resamples() -> None:
    one, two = np.array([1, 2, 3, 4, 5, 6, 3, 2]), np.array([2, 2, 3, 5, 4, 6, 1, 2])
    found = agreement(labels(*one), labels(*two), resamples=40, seed=3)
    drawn = np.random.default_rng(3).integers(8, size=(40, 8))
    for rank, correlation in ((found.spearman, stats.spearmanr), (found.kendall, stats.kendalltau)):
        each = [correlation(one[row], two[row]).statistic for row in drawn]
        assert rank.ci95 == pytest.approx(np.quantile(each, [0.025, 0.975]))
