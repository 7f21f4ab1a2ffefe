"""Intervals and tests of paired differences: by hand, against SciPy, and for any input at all."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from diversify.evaluation import Change, paired_change
from diversify.evaluation.statistics.clusters import count_units
from diversify.evaluation.statistics.inference import (
    FEWEST,
    bootstrap_interval,
    detectable_difference,
    holm,
    mean_interval,
    sign_flip_test,
    standard_error,
)

VALUES = st.one_of(st.sampled_from([0.0, 0.1, 0.25, 1.0]), st.floats(-1e3, 1e3))
PAIRS = st.lists(st.tuples(VALUES, VALUES, st.integers(0, 5)), min_size=1, max_size=14)


def test_the_flips_by_hand():
    """3, 1, -1: sums of the sets {} 0, 3, 1, -1, {3,1} 4, {3,-1} 2, {1,-1} 0, all 3.

    At most 0 are {}, {-1} and {1,-1}: 3 of 8; so p = 6/8. Nothing can be rejected at 5 % with 8.
    """
    assert sign_flip_test(np.array([3.0, 1.0, -1.0])) == (0.75, -math.inf, math.inf)


def test_the_bounds_by_hand():
    """1 … 6: of 64 sets at most one may be left out a side, the empty one: from 1 to 6.

    With 7 the share is 3.2 of 128, so two sets more: behind 1 and {1,2} = 1.5 comes 2 itself, and
    {1,3} = 2 as well: the third smallest mean is 2; the largest are 7, 6.5 and 6.
    """
    assert sign_flip_test(np.arange(1.0, 7.0)) == (2 / 64, 1.0, 6.0)
    assert sign_flip_test(np.arange(1.0, 8.0)) == (2 / 128, 2.0, 6.0)


@pytest.mark.parametrize("n", [3, 8, 12])
def test_all_flips_are_those_of_scipy(n):
    differences = np.random.default_rng(n).integers(-3, 6, n).astype(float)
    found = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert sign_flip_test(differences).p_value == pytest.approx(found.pvalue)


def test_random_flips_come_near_to_all_of_them():
    differences = np.random.default_rng(0).normal(0.5, 1.0, 14)
    exact = sign_flip_test(differences, resamples=20_000)
    random = sign_flip_test(differences, resamples=10_000)
    assert random != exact
    assert random.p_value == pytest.approx(exact.p_value, abs=0.01)
    assert random[1:] == pytest.approx(exact[1:], abs=0.05)


def test_the_bootstrap_is_scipys():
    differences = np.random.default_rng(2).normal(size=25)
    expected = stats.bootstrap(
        (differences,), np.mean, n_resamples=2000, rng=np.random.default_rng(5)
    ).confidence_interval
    found = bootstrap_interval(differences, resamples=2000, seed=5)
    assert found == pytest.approx(tuple(expected))
    test = sign_flip_test(differences, resamples=2000, seed=5)
    low, high = mean_interval(differences, resamples=2000, seed=5)
    assert (low, high) == (min(test.low, expected.low), max(test.high, expected.high))


def test_copies_of_a_prompt_add_nothing_in_clusters():
    """Every prompt three times: clustered, all is as with one of each."""
    once = np.random.default_rng(1).normal(0.3, 1.0, 12)
    thrice, clusters = np.repeat(once, 3), np.repeat(np.arange(12), 3).tolist()
    assert standard_error(thrice, clusters=clusters) == pytest.approx(standard_error(once))
    assert sign_flip_test(thrice, clusters=clusters) == pytest.approx(sign_flip_test(once))
    found = mean_interval(thrice, clusters=clusters)
    assert found == pytest.approx(mean_interval(once), abs=1e-3)
    assert np.ptp(mean_interval(thrice)) < 0.8 * np.ptp(found)
    assert count_units(clusters, 36) == 12


def test_standard_error_of_unequal_clusters_by_hand():
    """1, 3 | 5: mean 3, totals 4 and 5 miss 2·3 and 1·3 by -2 and +2: sqrt(2/1 · 8) / 3."""
    found = standard_error(np.array([1.0, 3.0, 5.0]), clusters=["a", "a", "b"])
    assert found == pytest.approx(4 / 3)


def test_the_detectable_difference_has_the_power_that_it_promises():
    """Textbook: ten pairs and one standard deviation have a power of .803 at 5 %."""
    one = 1 / math.sqrt(10)
    assert 0.99 < detectable_difference(one, 10) < 1.0
    assert detectable_difference(2.0, 50) == pytest.approx(2 * detectable_difference(1.0, 50))
    normal = stats.norm.isf(0.025) + stats.norm.isf(0.2)
    assert detectable_difference(1.0, 100_000) == pytest.approx(normal, abs=1e-3)
    assert detectable_difference(0.0, 9) is None and detectable_difference(math.inf, 1) is None
    with pytest.raises(ValueError, match="error >= 0"):
        detectable_difference(math.nan, 9)


def test_holm_by_hand():
    """Sorted 0.01, 0.02, 0.03, 0.9: times 4, 3, 2, 1 is 0.04, 0.06, 0.06, 0.9."""
    assert holm([0.03, 0.9, 0.01, 0.02]) == pytest.approx([0.06, 0.9, 0.04, 0.06])


def test_a_corrected_value_never_falls_below_that_of_a_smaller_one():
    """0.01 times 2 is 0.02, more than 0.015 times 1: the larger one is raised to it."""
    assert holm([0.015, 0.01]) == pytest.approx([0.02, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([]) == [] and holm([0.3]) == [0.3]


def test_what_is_no_p_value_is_refused():
    for wrong in (1.2, -0.1, float("nan")):
        with pytest.raises(ValueError, match="a p-value is a number"):
            holm([0.5, wrong])


def test_fewer_than_six_prompts_show_nothing():
    """1, 1.1 and 1: Student's interval is 1.033 ± 4.303 · 0.0333, and one flip in four as extreme.

    Two prompts that moved equally far have no width at all, and p = 2/4. Six are the first to show
    something: p = 2/64.
    """
    three = paired_change(np.zeros(3), np.array([1.0, 1.1, 1.0]))
    assert three.ci95 == pytest.approx((0.890, 1.177), abs=1e-3)
    assert (three.p_value, three.sign) == (0.25, 0)
    two = paired_change(np.ones(2), np.full(2, 2.0))
    assert (two.ci95, two.p_value, two.sign) == ((1.0, 1.0), 0.5, 0)
    assert [paired_change(np.zeros(n), np.ones(n)).sign for n in range(1, 8)] == [0] * 5 + [1] * 2
    assert paired_change(np.ones(6), np.zeros(6), higher_is_better=False).sign == 1
    clustered = paired_change(np.zeros(30), np.ones(30), clusters=[i % 5 for i in range(30)])
    assert (clustered.n_units, clustered.sign) == (5, 0)
    # A record of before the units were counted has its prompts for them.
    old = [Change(0.0, 1.0, 1.0, (0.5, 1.5), n, 1.0, True) for n in (5, 6)]
    assert [change.sign for change in old] == [0, 1]


def test_mostly_unmoved_prompts_do_not_cry_wolf():
    """Five of twenty prompts move either way with equal chance: the bootstrap alone errs too often."""
    stream = np.random.default_rng(0)
    alarms = np.zeros(2)
    for seed in range(300):
        differences = np.zeros(20)
        differences[:6] = stream.normal(size=6)
        bounds = [
            find(differences, resamples=500, seed=seed)
            for find in (bootstrap_interval, mean_interval)
        ]
        alarms += [low > 0 or high < 0 for low, high in bounds]
    # 5 % of 300 are 15, and 24 are more than chance (1 %).
    assert alarms[0] > 24 > alarms[1]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: sign_flip_test(np.array([])), "shape"),
        (lambda: mean_interval(np.ones((2, 2))), "shape"),
        (lambda: mean_interval(np.array([1.0, np.nan])), "1 NaN or inf"),
        (lambda: standard_error(np.ones(3), clusters=[1]), "1 for 3 prompts"),
        (lambda: sign_flip_test(np.ones(9), resamples=0), "at least 1, got 0"),
    ],
)
def test_what_cannot_be_tested_is_refused(call, match):
    with pytest.raises(ValueError, match=match):
        call()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(PAIRS, st.booleans())
def test_no_input_gives_a_wrong_number(pairs, clustered):
    before, after, labels = (np.array(column) for column in zip(*pairs, strict=True))
    clusters = labels.tolist() if clustered else None
    change = paired_change(before, after, clusters=clusters, resamples=200)
    low, high = change.ci95
    spread = 1e-9 * max(1.0, np.abs(before).max(), np.abs(after).max())
    assert low - spread <= change.difference <= high + spread
    assert 0 < change.p_value <= 1 and 0 <= change.improved <= 1
    assert change.n_units == count_units(clusters, len(pairs))
    if change.sign != 0:
        assert change.p_value <= 0.05 and change.n_units >= FEWEST
    if change.n_units >= FEWEST and (low > 0 or high < 0):
        assert change.sign != 0
    if change.n_units == 1:
        assert (low, high) == (-math.inf, math.inf) and change.p_value == 1.0
    assert change.detectable is None or change.detectable > 0
    if np.array_equal(before, after):
        assert (change.sign, change.p_value) == (0, 1.0)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(VALUES, min_size=2, max_size=12), st.floats(0.5, 4.0))
def test_turning_and_scaling_the_differences_turns_and_scales_what_is_said(values, factor):
    differences = np.round(np.array(values), 3)
    there = sign_flip_test(differences)
    back, larger = sign_flip_test(-differences), sign_flip_test(factor * differences)
    assert back == pytest.approx((there.p_value, -there.high, -there.low))
    assert larger == pytest.approx((there.p_value, factor * there.low, factor * there.high))
