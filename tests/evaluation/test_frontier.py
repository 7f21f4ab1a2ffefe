"""Where a report stands against a swept model: its interval, its evidence, and what cannot be said."""

import json

import numpy as np
import pytest

from diversify.evaluation import compare, frontier
from diversify.evaluation.statistics.curves import reachable

STEPS = [(0.2, -1.0, 0.3), (0.4, -2.0, 0.6), (0.8, -3.0, 1.0)]


def noisy(mean, seed, n=24):
    return mean + 0.05 * np.random.default_rng(seed).standard_normal(n)


@pytest.fixture
def sweep(plant):
    return [plant(noisy(d, i), noisy(q, 10 + i), t, f"T {t}") for i, (d, q, t) in enumerate(STEPS)]


@pytest.fixture
def tuned(plant):
    return plant(noisy(0.6, 7), noisy(-2.0, 8), 0.6, "tuned")


def stand(sweep, report, **options):
    options = {"measures": ["vendi"], "resamples": 500} | options
    return frontier(sweep).standings(report, **options)


def test_a_gap_has_a_p_value_that_goes_with_its_interval(make_report):
    """An interval that leaves zero out comes with a p-value of 0.05 or less."""
    curve = frontier([make_report("cold", 0.4), make_report("hot", 1.0)])
    for name, heat in (("a", 0.4), ("b", 0.6), ("c", 1.0)):
        point = make_report(f"point-{name}", heat)
        for standing in curve.standings(point, measures=["vendi", "mean_distance"], resamples=999):
            low, high = standing.ci95
            assert 0 < standing.p_value <= 1
            assert standing.p_value <= 0.05 or low <= 0 <= high, standing
            assert standing.as_json()["p_value"] == standing.p_value


def test_a_temperature_of_the_sweep_has_no_gap(sweep):
    for report in sweep:
        for standing in stand(sweep, report):
            assert (standing.gap, standing.ci95, standing.p_value) == (0.0, (0.0, 0.0), 1.0)
            assert standing.above is False


def test_a_planted_gain_is_found_and_its_order_does_not_matter(sweep, tuned):
    straight = stand(sweep, tuned)
    assert [standing.above for standing in straight] == [True, True]
    assert straight[0].gap == pytest.approx(0.2, abs=0.05) and straight[0].p_value < 0.01
    for report in (*sweep, tuned):
        report.samples.reverse()
    tuned.samples[0], tuned.samples[5] = tuned.samples[5], tuned.samples[0]
    assert stand(sweep, tuned) == straight


def test_paraphrases_are_one_piece_of_evidence(sweep, plant):
    """Six questions in four wordings that are off alike: the interval must not halve."""
    offsets = np.repeat(noisy(0.0, 3, n=6), 4)
    tuned = plant(noisy(0.42, 7) + offsets, noisy(-2.0, 8), 0.6, "tuned")
    (alone, _), reports = stand(sweep, tuned), [*sweep, tuned]
    for report in reports:
        for number, sample in enumerate(report.samples):
            sample["group"] = number // 4
    together, _ = stand(sweep, tuned)
    assert together.gap == alone.gap
    assert np.ptp(together.ci95) > 1.4 * np.ptp(alone.ci95)
    tuned.samples[2]["group"] = 9
    with pytest.raises(ValueError, match="disagree on the group of prompt"):
        stand(sweep, tuned)


def test_too_few_prompts_say_nothing(plant):
    sweep = [plant(np.full(5, d), np.full(5, q), t, "b") for d, q, t in STEPS]
    (standing, _) = stand(sweep, plant(np.full(5, 0.9), np.full(5, -2.0), 0.6, "a"))
    assert (standing.above, standing.note) == (None, " (only 5 independent prompts)")


def test_prompts_without_a_quality_are_left_out_of_the_mean(sweep, tuned):
    """All prompts count for diversity, at the quality of those that have one; so in the sweep."""
    tuned.samples[0]["qualities"]["likelihood"] = None
    sweep[1].samples[3]["qualities"]["likelihood"] = None
    found = stand(sweep, tuned)[0]
    means = [
        np.array([np.nanmean(report.column(*name)) for report in (*sweep, tuned)])
        for name in (("measures", "vendi,minilm"), ("qualities", "likelihood"))
    ]
    offer = reachable(means[0][:3], means[1][:3], means[1][3])
    assert found.gap == pytest.approx(means[0][3] - offer) and found.above is True


def test_what_was_never_scored_cannot_be_said(sweep, tuned, tmp_path):
    """A temperature without the quality drops out; with two of three gone there is no curve."""
    for sample in sweep[0].samples:
        sample["qualities"]["likelihood"] = None
    assert stand(sweep, tuned)[0].above is True
    for sample in sweep[2].samples:
        sample["qualities"]["likelihood"] = None
    lost, _ = stand(sweep, tuned)
    assert lost.above is None and "fewer than two temperatures" in lost.note
    assert lost.as_json()["gap"] is None and lost.p_value is None
    comparison = compare(sweep[1], tuned, sweep=sweep, resamples=100)
    assert comparison.verdict["beats_temperature"] is None
    saved = comparison.save(tmp_path).read_text()
    assert "NaN" not in saved and json.loads(saved)["details"]["standings"][0]["gap"] is None
