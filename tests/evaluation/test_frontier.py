"""What the frontier says of chance: Holm's correction, and the p-value of a gap."""

import pytest

from diversify.evaluation import frontier
from diversify.evaluation.frontier import holm


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


def test_a_gap_has_a_p_value_that_goes_with_its_interval(make_report):
    """The interval leaves zero out where the p-value is below 0.05, and not where it is above."""
    curve = frontier([make_report("cold", 0.4), make_report("hot", 1.0)])
    seen = set()
    for name, heat in (("a", 0.4), ("b", 0.6), ("c", 1.0)):
        point = make_report(f"point-{name}", heat)
        for standing in curve.standings(point, measures=["vendi", "mean_distance"], resamples=999):
            low, high = standing.ci95
            assert 0 < standing.p_value <= 1
            assert (low > 0 or high < 0) == (standing.p_value <= 0.05), standing
            assert standing.as_json()["p_value"] == standing.p_value
            seen.add(low > 0 or high < 0)
    assert False in seen
