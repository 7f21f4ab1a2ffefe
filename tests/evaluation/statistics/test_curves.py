"""What a curve offers at a quality, and what each prompt adds to that: by hand, and by moving weights."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diversify.evaluation.statistics.curves import prompt_offers, reach, reachable

D, Q = np.array([0.2, 0.4, 0.8]), np.array([-1.0, -2.0, -3.0])


@pytest.mark.parametrize(
    ("at", "weights", "slope"),
    [
        (-2.25, [0, 0.75, 0.25], -0.4),
        (-2.0, [0, 1, 0], 0),
        (-9.0, [0, 0, 1], 0),
        (-0.5, [1, 0, 0], 0),
    ],
)
def test_the_place_by_hand(at, weights, slope):
    """A quarter of the way from (.4, -2) to (.8, -3); a point; below the worst; above the best."""
    found = reach(D, Q, np.array(at))
    assert found.weights.tolist() == pytest.approx(weights)
    assert found.slope == pytest.approx(slope)


def test_a_better_point_with_more_diversity_counts_instead_of_the_line():
    """The line is at .4 and falling, the point with a better quality has .5."""
    found = reach(np.array([0.5, 0.3, 0.5]), Q, np.array(-2.5))
    assert found.weights.tolist() == [1, 0, 0] and found.slope == 0


def test_of_several_points_that_share_the_best_quality_the_most_diverse_counts():
    """Asked for 1.5, or for 1, points at 1 have .36 and 1.31; the one at 0 with 2 is no match."""
    diversity, quality = np.array([-0.19, 0.36, 1.31, 2.0]), np.array([0.0, 1.0, 1.0, 0.0])
    for at in (1.5, 1.0):
        found = reach(diversity, quality, np.array(at))
        assert found.weights.tolist() == [0, 0, 1, 0] and found.slope == 0
    assert reachable(diversity, quality, np.array(1.5)) == 1.31


def test_many_curves_and_many_qualities_at_once_are_each_as_alone():
    stream = np.random.default_rng(0)
    diversity, quality, at = (stream.normal(size=size) for size in ((4, 50), (4, 50), 50))
    together = reach(diversity, quality, at)
    for i in range(50):
        alone = reach(diversity[:, i], quality[:, i], at[i])
        assert together.weights[:, i] == pytest.approx(alone.weights)
        assert together.slope[i] == pytest.approx(float(alone.slope))
    on_one = reachable(D[:, None], Q[:, None], np.array([-2.5, -0.5]))
    assert on_one.tolist() == pytest.approx([0.6, 0.2])


def test_what_a_prompt_adds_by_hand():
    """Means (.2, 4), (.6, 2) and quality 3: half of both, and a slope of -.2 for a quality of 1.

    Prompt one: half of .1 and .7 is .4, half of 5 and 2 is 3.5, and 3.5 - 2 = 1.5 too much: .4 + .3.
    Prompt two: .4, and 2.5 - 4 = -1.5 too little: .4 - .3.
    """
    diversity, quality = np.array([[0.1, 0.3], [0.7, 0.5]]), np.array([[5.0, 3.0], [2.0, 2.0]])
    at = np.array([2.0, 4.0])
    where = reach(diversity.mean(axis=1), quality.mean(axis=1), at.mean())
    assert prompt_offers(diversity, quality, at, where) == pytest.approx([0.7, 0.1])


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(3, 12))
def test_a_prompt_that_counts_a_little_more_moves_the_offer_by_what_it_adds(seed, k, p):
    """The derivative of the offer with respect to one prompt's weight, by taking the difference."""
    stream = np.random.default_rng(seed)
    columns = stream.normal(size=(2 * k + 1, p))

    def offer(weights):
        means = columns @ weights
        return float(reachable(means[:k], means[k : 2 * k], means[-1]))

    even, step = np.full(p, 1.0 / p), 1e-7
    means = columns.mean(axis=1)
    where = reach(means[:k], means[k : 2 * k], means[-1])
    adds = prompt_offers(columns[:k], columns[k : 2 * k], columns[-1], where)
    assert adds.mean() == pytest.approx(offer(even), abs=1e-9)
    for prompt in range(p):
        more = even * (1 - step)
        more[prompt] += step
        moved = (offer(more) - offer(even)) / step
        assert moved == pytest.approx(adds[prompt] - adds.mean(), abs=1e-3, rel=1e-3)
