"""Gaps to a curve and between curves: by hand, in clusters, and in any order."""

import math

import numpy as np
import pytest

from diversify.evaluation.statistics.complete import complete_cases
from diversify.evaluation.statistics.gaps import curve_gap, point_gap, resampled_means
from diversify.evaluation.statistics.inference import mean_interval, sign_flip_test


def noisy(stream, means, p, spread=0.05):
    return np.array(means)[:, None] + spread * stream.normal(size=(len(means), p))


@pytest.fixture
def curve():
    """Twenty prompts: about (.2, 3), (.5, 2), (.7, 1)."""
    stream = np.random.default_rng(3)
    return noisy(stream, [0.2, 0.5, 0.7], 20), noisy(stream, [3.0, 2.0, 1.0], 20)


@pytest.fixture
def point():
    stream = np.random.default_rng(4)
    return noisy(stream, [0.6], 20)[0], noisy(stream, [2.5], 20)[0]


def test_a_point_of_the_curve_has_no_gap(curve):
    for place in range(3):
        gap = point_gap(*curve, curve[0][place], curve[1][place], resamples=500)
        assert (gap.value, gap.ci95, gap.p_value) == (0.0, (0.0, 0.0), 1.0)


def test_a_point_between_two_temperatures_by_hand():
    """(.1, 2), (.5, 1) for all, asked for 1.5: .3. Gaps .1 to .6, and of 64 flips two are as extreme."""
    diversity, quality = np.repeat([[0.1], [0.5]], 6, axis=1), np.repeat([[2.0], [1.0]], 6, axis=1)
    own = 0.3 + np.arange(1, 7) / 10
    gap = point_gap(diversity, quality, own, np.full(6, 1.5), resamples=2000)
    assert gap.value == pytest.approx(0.35) and gap.p_value == 2 / 64
    # The flips alone bound it by the smallest and the largest; the bootstrap is narrower.
    assert gap.ci95 == pytest.approx((0.1, 0.6))


def test_the_interval_holds_that_of_the_first_order_and_the_bootstrap(curve, point):
    gap = point_gap(*curve, *point, resamples=2000)
    assert gap.value == pytest.approx(0.25, abs=0.03) and gap.ci95[0] > 0 and gap.p_value <= 0.05
    flat = point_gap(
        curve[0], np.repeat([[3.0], [2.0], [1.0]], 20, axis=1), point[0], np.full(20, 2.5)
    )
    differences = point[0] - (curve[0][0] + curve[0][1]) / 2
    low, high = mean_interval(differences)
    assert flat.ci95[0] <= low < high <= flat.ci95[1]
    assert flat.p_value >= sign_flip_test(differences).p_value


def test_two_temperatures_as_good_as_each_other_make_the_gap_uncertain():
    """Which one has the better quality is chance: matched anew, the offer jumps between .2 and .6."""
    stream = np.random.default_rng(0)
    diversity = np.repeat([[0.2], [0.6]], 12, axis=1)
    quality = stream.normal(size=(2, 12))
    quality -= quality.mean(axis=1, keepdims=True) - [[0.001], [0.0]]
    gap = point_gap(diversity, quality, np.full(12, 0.5), np.full(12, 9.0), resamples=500)
    assert gap.value == pytest.approx(0.3)
    assert gap.ci95[0] < 0 < gap.ci95[1] and gap.p_value > 0.2


def test_copies_of_a_prompt_in_a_cluster_add_nothing(curve, point):
    rows = [*curve, *point]
    once = point_gap(*rows, resamples=1000, seed=1)
    copied = [np.repeat(row, 3, axis=-1) for row in rows]
    labels = np.repeat(np.arange(20), 3).tolist()
    together = point_gap(*copied, clusters=labels, resamples=1000, seed=1)
    assert together.value == pytest.approx(once.value)
    assert together.ci95 == pytest.approx(once.ci95) and together.p_value == once.p_value
    apart = point_gap(*copied, resamples=1000, seed=1)
    assert np.ptp(apart.ci95) < 0.8 * np.ptp(once.ci95)


def test_complete_cases_by_hand():
    """Prompt 1 lacks a value in a row of the first, prompt 3 in the second: 0 and 2 are left."""
    first = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, np.nan, 7.0, 8.0]])
    second = np.array([9.0, 9.5, 10.0, np.nan])
    found = complete_cases(first, second, clusters=["a", "b", "a", "c"])
    assert [column.tolist() for column in found.columns] == [[[1, 3], [5, 7]], [9, 10]]
    assert (found.clusters, found.units, found.lost, found.prompts) == (["a", "a"], 1, 2, 4)
    assert found.told() == "2 of 4 prompts not scored everywhere are left out"
    alone = complete_cases(first)
    assert (alone.clusters, alone.units, alone.lost) == (None, 3, 1)
    assert complete_cases(second[:3]).told() == ""
    none = complete_cases(first, np.full(4, np.nan), clusters=["a"] * 4)
    assert (none.units, none.columns[0].shape, none.clusters) == (0, (2, 0), [])


def test_a_point_on_the_curve_stays_there_when_hard_prompts_are_not_scored():
    """Half-way for every prompt, and no gap; the means over what each has would part by 1/2.

    Twenty hard prompts have qualities -3 and -4, as many easy ones -1 and -2, diversity 3 and 6.
    Without six hard ones the point's mean is (14 * -3.5 + 20 * -1.5) / 34 = -2.32 and not -2.5.
    """
    hard = np.repeat([-3.0, -1.0], 20)
    diversity, quality = np.repeat([[3.0], [6.0]], 40, axis=1), np.stack([hard, hard - 1])
    own, at = diversity.mean(axis=0), quality.mean(axis=0)
    at[:6] = np.nan
    cases = complete_cases(diversity, quality, own, at)
    gap = point_gap(*cases.columns, resamples=500)
    assert (gap.value, gap.p_value) == (pytest.approx(0.0, abs=1e-12), 1.0) and cases.units == 34
    assert np.nanmean(at) == pytest.approx(-2.5 + 0.176, abs=1e-3)
    with pytest.raises(ValueError, match="got 6 of 40 without one"):
        point_gap(diversity, quality, own, at)
    with pytest.raises(ValueError, match="got 6 of 40 without one"):
        curve_gap((diversity, quality), (diversity, np.stack([at, at - 1])))


def test_one_prompt_has_no_interval():
    gap = point_gap(*np.array([[[0.1], [0.5]], [[2.0], [1.0]]]), np.ones(1), np.array([1.5]))
    assert (gap.value, gap.ci95, gap.p_value) == (0.7, (-math.inf, math.inf), None)


def test_curves_by_hand():
    """.1 to .5 and .2 to .9 as the quality falls from 2 to 1: gaps .1 to .4, .25 on average."""
    quality = np.repeat([[2.0], [1.0]], 6, axis=1)
    low, high = (np.repeat(np.array([ends]).T, 6, axis=1) for ends in ([0.1, 0.5], [0.2, 0.9]))
    gap = curve_gap((low, quality), (high, quality), resamples=200)
    assert gap.between == (1.0, 2.0)
    assert gap.mean.value == pytest.approx(0.25)
    assert gap.mean.ci95 == pytest.approx((0.25, 0.25))
    # A fortieth of the way is one step, and the smallest is asked for in the middle of the last one.
    assert gap.smallest.value == pytest.approx(0.1 + 0.3 / 80)
    assert gap.smallest_at == pytest.approx(2 - 1 / 80)


def test_curves_are_compared_where_both_are():
    """Qualities 3 to 1 and 2 to 0 share 1 to 2; the diversity of both is -quality there: no gap."""
    first = np.repeat([[-3.0], [-1.0]], 8, axis=1), np.repeat([[3.0], [1.0]], 8, axis=1)
    second = np.repeat([[-2.0], [0.0]], 8, axis=1), np.repeat([[2.0], [0.0]], 8, axis=1)
    gap = curve_gap(first, second, resamples=100)
    assert gap.between == (1.0, 2.0)
    assert (gap.mean.value, gap.mean.p_value) == (pytest.approx(0.0, abs=1e-12), 1.0)
    assert curve_gap(first, (second[0], second[1] - 5), resamples=100) is None


def test_a_curve_with_itself_has_no_gap_and_turned_round_the_other_sign(curve):
    other = curve[0] + 0.1, curve[1] + 0.3
    same = curve_gap(curve, curve, resamples=300)
    assert same.mean == same.smallest == (0.0, (0.0, 0.0), 1.0)
    there, back = curve_gap(curve, other, resamples=300), curve_gap(other, curve, resamples=300)
    assert there.mean.value == pytest.approx(-back.mean.value) and there.mean.value > 0.1
    assert there.mean.ci95 == pytest.approx((-back.mean.ci95[1], -back.mean.ci95[0]))


def test_the_least_certain_gap_need_not_be_the_smallest():
    """A gap of 1 that varies by 5 at the hot end, one of .5 that hardly varies at the cold end."""
    stream = np.random.default_rng(1)
    quality = np.repeat([[2.0], [1.0]], 30, axis=1)
    wild = stream.normal(size=30)
    high = np.stack([0.5 + 0.001 * stream.normal(size=30), 1.0 + 5 * (wild - wild.mean())])
    gap = curve_gap((np.zeros((2, 30)), quality), (high, quality), resamples=300)
    assert gap.smallest.value < gap.weakest.value
    assert gap.smallest.ci95[0] > 0 > gap.weakest.ci95[0]


def test_resampled_means_by_hand():
    """Of two clusters, one of two prompts: 1 and 3 | 8. Both once is 4, one twice 2 or 8."""
    found = resampled_means(np.array([[1.0, 3.0, 8.0]]), clusters=["a", "a", "b"], resamples=400)
    values, counts = np.unique(found, return_counts=True)
    assert values.tolist() == [2.0, 4.0, 8.0]
    assert counts / 400 == pytest.approx([0.25, 0.5, 0.25], abs=0.08)
    seeds = [resampled_means(np.arange(4.0)[None], resamples=5, seed=seed) for seed in (0, 0, 1)]
    assert (seeds[0] == seeds[1]).all() and (seeds[0] != seeds[2]).any()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: resampled_means(np.ones((1, 3)), resamples=0), "at least 1, got 0"),
        (lambda: resampled_means(np.ones((1, 3)), clusters=[1]), "1 for 3 prompts"),
        (
            lambda: point_gap(np.ones((2, 3)), np.ones((2, 3)), np.full(3, np.nan), np.ones(3)),
            "got 3 of 3 without one",
        ),
        (lambda: resampled_means(np.array([[1.0, np.nan]])), "got 1 of 2 without one"),
        (lambda: resampled_means(np.ones((2, 0))), "got 0 of 0"),
        (lambda: complete_cases(np.ones(3), clusters=[1]), "1 for 3 prompts"),
    ],
)
def test_what_cannot_be_bounded_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()
