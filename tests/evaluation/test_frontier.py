"""Where a report stands against a swept model: its interval, its evidence, and what cannot be said."""

import json

import numpy as np
import pytest

from diversify.evaluation import Report, compare, frontier

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


def unscored(report, numbers, section="qualities"):
    for number in numbers:
        report.samples[number][section] = dict.fromkeys(report.samples[number][section])


def test_prompts_not_scored_everywhere_are_left_out_everywhere(sweep, tuned):
    """As if prompts 0, 3 and 5 had never been asked, of which each lacks one value somewhere."""
    unscored(tuned, [0])
    unscored(sweep[1], [3])
    unscored(sweep[2], [5], "measures")
    found = stand(sweep, tuned)[0]
    assert found.note == " (3 of 24 prompts not scored everywhere are left out)"
    gone = ("p0", "p3", "p5")
    without = [
        Report(report.summary, [row for row in report.samples if row["id"] not in gone])
        for report in (*sweep, tuned)
    ]
    assert found == stand(without[:3], without[3])[0]._replace(note=found.note)
    assert found.above is True
    unscored(tuned, range(24))
    nothing = stand(sweep, tuned)[0]
    assert nothing.above is None and nothing.p_value is None and np.isnan(nothing.gap)
    assert nothing.note == " (no prompt is scored in the point and at every temperature)"


def test_hard_prompts_that_are_not_scored_do_not_lift_a_point_above_the_curve(plant):
    """Half-way between two temperatures, for every prompt; the judge fails on 6 of 20 hard ones.

    By the means over what each has, the point would have a quality of -2.32 in place of -2.5, where
    the curve offers 4 in place of 4.5 (a slope of 3): "above", by half a unit.
    """
    hard, noise = np.repeat([-3.0, -1.0], 20), noisy(0.0, 5, n=40)
    cold, hot = plant(3.0 + noise, hard, 0.5, "cold"), plant(6.0 - noise, hard - 1, 1.5, "hot")
    point = plant(4.5 + noisy(0.0, 6, n=40), hard - 0.5, 1.0, "point")
    assert stand([cold, hot], point)[0].above is False
    unscored(point, range(6))
    found = stand([cold, hot], point)[0]
    assert found.above is False and abs(found.gap) < 0.05
    assert found.note == " (6 of 40 prompts not scored everywhere are left out)"


@pytest.mark.parametrize(
    ("scored", "note"),
    [
        (1, "one prompt has no interval; 23 of 24 prompts not scored everywhere are left out"),
        (5, "only 5 independent prompts; 19 of 24 prompts not scored everywhere are left out"),
        (6, "18 of 24 prompts not scored everywhere are left out"),
    ],
)
def test_a_quality_that_few_prompts_have_decides_nothing(sweep, tuned, scored, note):
    """The diversity of the others says nothing at a quality that they do not have."""
    unscored(tuned, range(scored, 24))
    found = stand(sweep, tuned)[0]
    assert (found.above, found.note) == (None if scored < 6 else True, f" ({note})")
    verdict = compare(sweep[1], tuned, sweep=sweep, resamples=200).verdict
    assert verdict["beats_temperature"] is found.above


def test_only_groups_of_scored_prompts_are_evidence(sweep, tuned):
    """Eight groups of three; the first nine prompts, which have a quality, are three groups."""
    for report in (*sweep, tuned):
        for number, sample in enumerate(report.samples):
            sample["group"] = number // 3
    assert stand(sweep, tuned)[0].above is True
    unscored(sweep[0], range(9, 24))
    found = stand(sweep, tuned)[0]
    assert found.above is None and found.note.startswith(" (only 3 independent prompts;")


class TestOutsideTheQualitiesOfTheSweep:
    """Below -3 nobody knows what the base model offers; above -1, no more than at -1."""

    def test_more_diversity_at_a_worse_quality_cannot_be_said(self, sweep, plant):
        found = stand(sweep, plant(noisy(1.2, 7), noisy(-4.0, 8), 0.6, "tuned"))[0]
        assert found.ci95[0] > 0 and found.above is None
        assert found.note == " (worse quality than the hottest temperature of the sweep)"

    def test_what_the_hottest_temperature_beats_in_both_is_not_above(self, sweep, plant):
        found = stand(sweep, plant(noisy(0.7, 7), noisy(-4.0, 8), 0.6, "tuned"))[0]
        assert found.ci95[1] < 0 and found.above is False
        assert "hottest temperature of the sweep, and less diversity)" in found.note

    def test_three_of_twelve_prompts_are_too_few_for_less_diversity(self, plant):
        """Nine prompts as diverse as at the hottest and three less so: of 8 flips of those, p = 2/8.

        Nothing above zero is left by the flips, and zero itself is not rejected.
        """
        own = np.repeat([0.8, 0.7], [9, 3])
        sweep = [plant(np.full(12, d), np.full(12, q), t, f"T {t}") for d, q, t in STEPS]
        found = stand(sweep, plant(own, np.full(12, -4.0), 0.6, "tuned"))[0]
        assert found.ci95[0] < found.ci95[1] == 0 and found.p_value == pytest.approx(0.25, abs=0.05)
        assert found.above is None

    def test_the_hottest_alone_is_asked(self, plant):
        """The luckiest of several temperatures that are about equally diverse is no evidence."""
        steps = [(0.8, -1.0, 0.3), (0.9, -2.0, 0.6), (0.8, -3.0, 1.0)]
        sweep = [
            plant(noisy(d, i), noisy(q, 10 + i), t, f"T {t}") for i, (d, q, t) in enumerate(steps)
        ]
        found = stand(sweep, plant(noisy(0.8, 7), noisy(-4.0, 8), 0.6, "tuned"))[0]
        assert found.ci95[1] < 0 and found.above is None

    def test_a_better_quality_is_measured_against_the_best(self, sweep, plant):
        for diversity, above in ((0.3, True), (0.1, False)):
            found = stand(sweep, plant(noisy(diversity, 7), noisy(0.0, 8), 0.6, "tuned"))[0]
            assert found.gap == pytest.approx(diversity - 0.2, abs=0.05)
            assert found.above is above and "measured against the best" in found.note


def test_what_was_never_scored_cannot_be_said(sweep, tuned, tmp_path):
    """A temperature without the quality drops out; with two of three gone there is no curve."""
    unscored(sweep[0], range(24))
    found = stand(sweep, tuned)[0]
    assert (found.above, found.note) == (True, " (scored at 2 of 3 temperatures)")
    unscored(sweep[2], range(24))
    lost, _ = stand(sweep, tuned)
    assert lost.above is None and "fewer than two temperatures" in lost.note
    assert lost.as_json()["gap"] is None and lost.p_value is None
    comparison = compare(sweep[1], tuned, sweep=sweep, resamples=100)
    assert comparison.verdict["beats_temperature"] is None
    saved = comparison.save(tmp_path).read_text()
    assert "NaN" not in saved and json.loads(saved)["details"]["standings"][0]["gap"] is None
