"""The choice of temperatures: by the rule, and never by the prompts that are counted."""

import pytest

from diversify.evaluation import Report
from diversify.evaluation.studies.tuning import best_temperature, cross_fitted


def report(diversity, quality):
    samples = [
        {"id": f"p{i}", "measures": {"m": d}, "qualities": {"q": q}, "monitors": {}}
        for i, (d, q) in enumerate(zip(diversity, quality, strict=True))
    ]
    return Report({}, samples)


def chosen(cold, hot, reference=None, margin=0.1):
    sweep = {0.5: cold, 1.5: hot}
    return cross_fitted(sweep, reference or cold, measure="m", quality="q", margin=margin)


def test_each_half_chooses_for_the_other():
    """On the even prompts hot is more diverse, on the odd ones cold; so the even ones, p0 and p2,
    are counted cold (2 and 2), and the odd ones hot (1 and 1)."""
    cold = report([2, 5, 2, 5], [1, 1, 1, 1])
    hot = report([9, 1, 9, 1], [1, 1, 1, 1])
    tuned = chosen(cold, hot)
    assert tuned.temperatures == (0.5, 1.5) and tuned.held
    assert tuned.report.column("measures", "m").tolist() == [2, 1, 2, 1]
    assert tuned.rows({0.5: "abcd", 1.5: "ABCD"}) == ["a", "B", "c", "D"]


def test_quality_below_the_margin_rules_a_temperature_out():
    cold, hot = report([2, 2], [0.5, 0.5]), report([9, 9], [0.39, 0.39])
    assert chosen(cold, hot).temperatures == (0.5, 0.5)
    assert chosen(cold, hot, margin=0.2).temperatures == (1.5, 1.5)


def test_where_nothing_keeps_quality_the_best_quality_is_taken_and_said():
    low = report([9, 9], [0.1, 0.1]), report([2, 2], [0.3, 0.3])
    tuned = chosen(*low, reference=report([1, 1], [0.9, 0.9]))
    assert tuned.temperatures == (1.5, 1.5) and not tuned.held


def test_ties_go_to_the_colder_one_and_the_unscored_never_wins():
    assert best_temperature({1.0: 2.0, 0.5: 2.0}, {1.0: 1.0, 0.5: 1.0}, at_least=0) == (0.5, True)
    unscored = {0.5: 1.0, 1.0: float("nan")}
    assert best_temperature(unscored, {0.5: 1.0, 1.0: 1.0}, at_least=0) == (0.5, True)
    assert best_temperature(unscored, unscored, at_least=5) == (0.5, False)


def test_prompts_are_matched_by_their_ids():
    cold, hot = report([1, 2], [1, 1]), report([8, 9], [1, 1])
    turned = Report({}, hot.samples[::-1])
    assert chosen(cold, turned).report.column("measures", "m").tolist() == [8, 9]


def test_the_impossible_is_refused():
    two = report([1, 2], [1, 1])
    with pytest.raises(ValueError, match="margin must not be negative"):
        chosen(two, two, margin=-1)
    with pytest.raises(ValueError, match="got 1 prompt"):
        chosen(report([1], [1]), report([1], [1]))
    with pytest.raises(ValueError, match="no temperature"):
        best_temperature({}, {}, at_least=0)
