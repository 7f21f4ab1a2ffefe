import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from diversify.cli.tables import verdict_table
from diversify.evaluation import (
    Change,
    Run,
    compare,
    evaluate,
    frontier,
    load_report,
    paired_change,
)
from diversify.evaluation.richness import measures_named
from diversify.evaluation.statistics.change import with_holm
from diversify.evaluation.statistics.curves import reachable
from diversify.evaluation.verdict import judge
from diversify.quality import Rule


def test_paired_change_is_the_mean_difference():
    """differences 1, 1, 2, 4: mean 2; 4 of 4 prompts improved; 2 of 16 signs are as extreme.

    Four prompts get Student's interval: 2 ± 3.182 · sqrt(2 / 4), the variance being 6 / 3 = 2.
    """
    before, after = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0, 7.0])
    change = paired_change(before, after, resamples=2000, seed=5)
    assert change.difference == 2.0 and change.improved == 1.0 and change.n_prompts == 4
    assert change.before == 1.5 and change.after == 3.5
    half = stats.t.ppf(0.975, 3) * np.sqrt(0.5)
    assert change.ci95 == pytest.approx((2 - half, 2 + half))
    assert (change.p_value, change.p_holm, change.n_units) == (0.125, None, 4)


def test_the_seed_and_the_number_of_resamples_matter():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=30), rng.normal(size=30)
    first = paired_change(a, b, resamples=500, seed=0).ci95
    assert first == paired_change(a, b, resamples=500, seed=0).ci95
    assert first != paired_change(a, b, resamples=500, seed=1).ci95
    assert first != paired_change(a, b, resamples=600, seed=0).ci95
    p_values = {paired_change(a, b, resamples=500, seed=seed).p_value for seed in range(4)}
    assert len(p_values) > 1


def test_swapping_before_and_after_mirrors_the_interval():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=40), rng.normal(0.5, size=40)
    there, back = paired_change(a, b), paired_change(b, a)
    assert there.difference == pytest.approx(-back.difference)
    # BCa bounds come from resampled means: mirrored up to bootstrap noise.
    assert there.ci95[0] == pytest.approx(-back.ci95[1], abs=0.03)


def test_one_prompt_has_no_interval_and_no_difference_has_none_either():
    assert paired_change(np.array([1.0]), np.array([2.0])).ci95 == (-np.inf, np.inf)
    assert paired_change(np.ones(5), np.ones(5)).ci95 == (0.0, 0.0)
    assert paired_change(np.ones(5), np.ones(5)).p_value == 1.0
    with pytest.raises(ValueError, match="equally long"):
        paired_change(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="NaN or inf for 1 of 3"):
        paired_change(np.ones(3), np.array([1.0, np.nan, 1.0]))


def test_what_differs_by_rounding_alone_has_not_changed():
    """0.3 and 0.1 + 0.2 are 6e-17 apart, in the same direction for every prompt."""
    change = paired_change(np.full(20, 0.3), np.full(20, 0.1 + 0.2))
    assert (change.difference, change.ci95, change.improved) == (0.0, (0.0, 0.0), 0.0)
    assert (change.sign, change.p_value, change.detectable) == (0, 1.0, None)


def test_a_change_survives_json_and_an_old_record_has_no_test():
    change = paired_change(np.zeros(8), np.arange(8.0), clusters=[0, 0, 1, 1, 2, 2, 3, 3])
    record = json.loads(json.dumps(change.as_json()))
    assert Change.from_json(record) == change and record["n_units"] == 4
    old = {name: record[name] for name in Change._fields[:7]}
    read = Change.from_json(old)
    assert read[:7] == change[:7] and read[7:] == (None, None, None, None)
    alone = paired_change(np.zeros(1), np.ones(1))
    assert Change.from_json(json.loads(json.dumps(alone.as_json()))) == alone


def test_holm_is_over_the_family_and_no_further():
    """Of p .02 and .01 the smaller doubles to .02, and the larger may not be smaller than that."""
    rows = {name: Change(0, 1, 1, (0.5, 1.5), 9, 1.0, True, p) for name, p in P_VALUES.items()}
    found = with_holm(rows, ["a", "b"])
    assert [found[name].p_holm for name in "abc"] == [0.02, 0.02, None]
    with pytest.raises(ValueError, match="'d' has no p-value"):
        with_holm(rows, ["d"])


P_VALUES = {"a": 0.02, "b": 0.01, "c": 0.5}


def noisy(mean, seed, n=40, spread=0.05):
    return mean + np.random.default_rng(seed).normal(0, spread, n)


def sweep_of(plant):
    """More heat, more diversity, less quality: (0.2, -1), (0.4, -2), (0.8, -3)."""
    return [
        plant(noisy(d, i), noisy(q, 10 + i), t, f"base T {t}")
        for i, (d, q, t) in enumerate([(0.2, -1.0, 0.3), (0.4, -2.0, 0.6), (0.8, -3.0, 1.0)])
    ]


def test_reachable_interpolates_and_never_returns_less_than_a_better_point():
    """Between (.4, -2) and (.8, -3) at -2.5: .6. Over a dent, the better point counts."""
    diversity, quality = np.array([0.2, 0.4, 0.8]), np.array([-1.0, -2.0, -3.0])
    assert reachable(diversity, quality, np.array(-2.5)) == pytest.approx(0.6)
    assert reachable(diversity, quality, np.array(-9.0)) == 0.8
    assert reachable(diversity, quality, np.array(-0.5)) == 0.2
    dented = np.array([0.5, 0.3, 0.8])
    assert reachable(dented, quality, np.array(-2.0)) == 0.5


@pytest.mark.parametrize(
    ("diversity", "quality", "expected"),
    [
        (0.6, -2.0, {"collapse_fell": True, "quality_held": True, "beats_temperature": True}),
        (0.4, -2.0, {"collapse_fell": False, "quality_held": True, "beats_temperature": False}),
        (0.8, -3.0, {"collapse_fell": True, "quality_held": False, "beats_temperature": False}),
        (0.9, -4.0, {"collapse_fell": True, "quality_held": False, "beats_temperature": None}),
        (0.6, -1.5, {"collapse_fell": True, "quality_held": False, "beats_temperature": True}),
        (0.2, -1.0, {"collapse_fell": False, "quality_held": False, "beats_temperature": False}),
    ],
)
def test_the_verdict_on_planted_effects(plant, diversity, quality, expected):
    """The base stands at (.4, -2). Better on the curve's upper side, on it, beyond its end, …

    (0.6, -1.5): likelihood is two-sided, so a rise beyond the margin is not "held" either.
    """
    sweep = sweep_of(plant)
    after = plant(noisy(diversity, 77), noisy(quality, 88), 0.6, "tuned")
    verdict = compare(sweep[1], after, sweep=sweep, resamples=500).verdict
    assert {name: verdict[name] for name in expected} == expected
    assert all(len(verdict["reasons"][name]) > 20 for name in expected)


def test_a_gain_that_only_the_trained_kernel_sees_is_not_a_gain(plant):
    before = plant(noisy(0.4, 0), noisy(-2, 1), 0.6, "base")
    after = plant(noisy(0.4, 0), noisy(-2, 1), 0.6, "tuned")
    for sample in after.samples:
        for name in ("mean_distance,minilm", "vendi,minilm"):
            sample["measures"][name] += 0.2
    verdict = compare(before, after, resamples=300).verdict
    assert verdict["collapse_fell"] is False
    assert "ngram-2" in verdict["reasons"]["collapse_fell"]
    assert verdict["beats_temperature"] is None


def test_comparison_json_has_what_it_promises(plant, tmp_path):
    sweep = sweep_of(plant)
    after = plant(noisy(0.6, 7), noisy(-2, 8), 0.6, "tuned")
    comparison = compare(sweep[1], after, sweep=sweep, resamples=300)
    saved = json.loads(comparison.save(tmp_path).read_text())
    for section in ("measures", "qualities"):
        assert saved[section]
        for change in saved[section].values():
            assert {"before", "after", "difference", "ci95", "n_prompts"} <= set(change)
            assert 0 < change["p_value"] <= 1 and change["detectable"] > 0
            assert change["difference"] == pytest.approx(change["after"] - change["before"])
    assert [point["temperature"] for point in saved["frontier"]] == [0.3, 0.6, 1.0]
    statistics = saved["details"]["statistics"]
    assert sorted(statistics["family"]) == sorted(saved["measures"])
    assert (statistics["unit"], statistics["units"], statistics["unpaired"]) == ("prompt", 40, {})
    smallest = min(change["p_value"] for change in saved["measures"].values())
    assert all(change["p_holm"] >= 4 * smallest for change in saved["measures"].values())
    assert "every corrected p at most" in saved["verdict"]["reasons"]["collapse_fell"]


def test_different_recipes_are_refused_and_the_field_is_named(make_report):
    base = make_report("base", 0.6)
    with pytest.raises(ValueError, match="6 and 5 answers a prompt"):
        compare(base, make_report("fewer", 0.6, samples=5))
    with pytest.raises(ValueError, match="qualities"):
        compare(base, make_report("bare", 0.6, quality=[]))


def test_margins_and_kernels_must_exist(make_report):
    base, hot = make_report("base", 0.4), make_report("hot", 1.0)
    with pytest.raises(ValueError, match="no quality 'wit'"):
        compare(base, hot, margins={"wit": 1.0})
    with pytest.raises(ValueError, match="trained_kernel 'x'"):
        compare(base, hot, trained_kernel="x")


def test_hotter_is_more_diverse_but_no_better_than_its_own_sweep(make_report):
    sweep = [make_report(f"t{t}", t) for t in (0.2, 0.6, 1.0)]
    comparison = compare(sweep[0], sweep[2], sweep=sweep, resamples=500)
    assert comparison.verdict["collapse_fell"] is True
    assert comparison.verdict["beats_temperature"] is False


def test_reports_survive_the_disk(make_report, tmp_path):
    report = make_report("base", 0.6)
    again = load_report(tmp_path / "base")
    assert again.summary == json.loads(json.dumps(report.summary))
    assert again.samples == list(report.samples)
    with pytest.raises(ValueError, match=r"holds no report\.json"):
        load_report(tmp_path)


def test_a_frontier_needs_two_temperatures(make_report):
    cold = make_report("cold", 0.3)
    with pytest.raises(ValueError, match="at least two"):
        frontier([cold])
    with pytest.raises(ValueError, match="two reports"):
        frontier([cold, cold])


def test_only_deciding_qualities_decide_and_the_others_are_still_told(plant):
    """likelihood falls by 1 (margin .1), wit holds: deciding on wit alone, quality is held."""
    before = plant(noisy(0.4, 0), noisy(-2, 1), 0.6, "base")
    after = plant(noisy(0.6, 2), noisy(-3, 3), 0.6, "tuned")
    for report in (before, after):
        report.summary["config"]["qualities"]["wit"] = {"margin": 0.1, "two_sided": False}
        for sample in report.samples:
            sample["qualities"]["wit"] = 0.5
    assert compare(before, after, resamples=300).verdict["quality_held"] is False
    verdict = compare(before, after, deciding=["wit"], resamples=300).verdict
    assert verdict["quality_held"] is True
    assert "likelihood -1.0" in verdict["reasons"]["quality_held"]
    with pytest.raises(ValueError, match="deciding takes measured qualities"):
        compare(before, after, deciding=["charm"])


def test_prompts_are_paired_by_id_whatever_their_order(plant):
    sweep = sweep_of(plant)
    after = plant(noisy(0.6, 7), noisy(-2, 8), 0.6, "tuned")
    straight = compare(sweep[1], after, sweep=sweep, resamples=200)
    after.samples.reverse()
    sweep[0].samples.reverse()
    turned = compare(sweep[1], after, sweep=sweep, resamples=200)
    assert turned.as_json()["measures"] == straight.as_json()["measures"]
    assert turned.verdict == straight.verdict
    del after.samples[0]
    with pytest.raises(ValueError, match="different prompts"):
        compare(sweep[1], after, resamples=200)


def test_a_sweep_of_another_model_is_refused(make_report):
    base, hot = make_report("base", 0.6), make_report("hot", 1.0)
    other = make_report("other", 1.0, model="parrot")
    with pytest.raises(ValueError, match="its engine differs"):
        compare(base, hot, sweep=[base, other])


def test_one_prompt_says_nothing_and_is_still_json(plant, tmp_path):
    one = [
        plant(np.array([d]), np.array([q]), t, "b") for d, q, t in ((0.2, -1, 0.3), (0.4, -2, 1))
    ]
    after = plant(np.array([0.9]), np.array([-2.0]), 0.3, "tuned")
    comparison = compare(one[0], after, sweep=one, resamples=100)
    answers = [comparison.verdict[name] for name in ("collapse_fell", "quality_held")]
    assert answers == [None, None] and comparison.verdict["beats_temperature"] is None
    text = comparison.save(tmp_path).read_text()
    assert "Infinity" not in text and "NaN" not in text


def test_without_a_quality_the_reason_says_so(make_report):
    sweep = [make_report(f"t{t}", t, quality=[]) for t in (0.2, 1.0)]
    verdict = compare(sweep[0], sweep[1], sweep=sweep, resamples=100).verdict
    assert verdict["beats_temperature"] is None
    assert "no quality" in verdict["reasons"]["beats_temperature"]


def test_equal_length_removes_what_length_alone_brings(plant):
    """Before: 'a b'; after: 'a b' and a different tail. Cut to two words they are the same."""
    before, after = (plant(noisy(0.4, 0), noisy(-2, 1), 0.6, name) for name in ("b", "a"))
    for row in before.samples:
        row["generations"] = ["a b", "a b"]
    for row in after.samples:
        row["generations"] = ["a b c d", "a b e f"]
    matched = compare(before, after, resamples=100).length_matched
    assert matched["vendi,ngram-2"].after == pytest.approx(1.0)
    assert matched["mean_distance,ngram-2"].difference == pytest.approx(0.0)


def grouped(report, size):
    for number, sample in enumerate(report.samples):
        sample["group"] = number // size
    return report


def test_paraphrases_are_one_piece_of_evidence(plant):
    """Ten questions, each in four wordings that answer alike: the interval must not halve."""
    offsets = np.repeat(noisy(0.0, 3, n=10), 4)
    before, after = (plant(noisy(0.4, 0) + o, noisy(-2, 1), 0.6, "m") for o in (0, offsets))
    alone = compare(before, after, resamples=2000)
    together = compare(grouped(before, 4), grouped(after, 4), resamples=2000)
    widths = [np.ptp(found.measures["vendi,minilm"].ci95) for found in (alone, together)]
    assert widths[1] > 1.5 * widths[0]
    change = together.measures["vendi,minilm"]
    assert (change.n_prompts, change.n_units) == (40, 10)
    assert change.difference == alone.measures["vendi,minilm"].difference
    assert together.details["statistics"]["unit"] == "group of prompts"
    assert together.length_matched["vendi,ngram-2"].n_units == 10
    after.samples[7]["group"] = 99
    with pytest.raises(ValueError, match=r"group of prompt 'p7': 1 against 99"):
        compare(before, after)


def test_a_prompt_without_a_group_stands_for_itself(plant):
    before, after = (plant(noisy(d, 0, n=8), noisy(-2, 1, n=8), 0.6, "m") for d in (0.4, 0.6))
    for report in (before, after):
        for sample in report.samples[:4]:
            sample["group"] = "p7"  # also the id of a prompt that has no group
    assert compare(before, after).measures["vendi,minilm"].n_units == 5


def test_five_prompts_decide_nothing(plant):
    """All five rise by exactly .2: 2 of 32 signs are as extreme, more than 5 %."""
    before, after = (plant(np.full(5, d), np.full(5, -2.0), 0.6, "m") for d in (0.4, 0.6))
    verdict = compare(before, after).verdict
    assert (verdict["collapse_fell"], verdict["quality_held"]) == (None, None)
    assert "only 5 independent prompts" in verdict["reasons"]["collapse_fell"]
    six = [plant(np.full(6, d), np.full(6, -2.0), 0.6, "m") for d in (0.4, 0.6)]
    verdict = compare(*six).verdict
    assert (verdict["collapse_fell"], verdict["quality_held"]) == (True, True)


def test_prompts_without_a_value_are_left_out_and_counted(plant):
    before = plant(noisy(0.4, 0), noisy(-2, 1), 0.6, "b")
    after = plant(noisy(0.4, 2), noisy(-2, 3), 0.6, "a")
    before.samples[0]["qualities"]["likelihood"] = None
    after.samples[1]["qualities"]["likelihood"] = float("nan")
    comparison = compare(before, after, resamples=200)
    assert comparison.qualities["likelihood"].n_prompts == 38
    assert comparison.details["statistics"]["unpaired"] == {"likelihood": 2}
    assert (
        "not on every prompt (likelihood: 38 of 40)"
        in comparison.verdict["reasons"]["quality_held"]
    )


def test_quality_cannot_have_held_where_it_could_not_be_scored(plant):
    """wit holds; of likelihood nothing is known after the change: held is not the word."""
    before, after = (plant(noisy(0.4, i), noisy(-2, 1), 0.6, "m") for i in (0, 2))
    for report in (before, after):
        report.summary["config"]["qualities"]["wit"] = {"margin": 0.1, "two_sided": False}
        for sample in report.samples:
            sample["qualities"]["wit"] = 0.5
    for sample in after.samples:
        sample["qualities"]["likelihood"] = None
    verdict = compare(before, after, resamples=200).verdict
    assert verdict["quality_held"] is None
    assert "likelihood could not be scored" in verdict["reasons"]["quality_held"]
    assert compare(before, after, deciding=["wit"], resamples=200).verdict["quality_held"] is True


@pytest.mark.parametrize(
    ("ci95", "held"),
    [
        ((-0.09, 0.05), True),
        ((-0.11, 0.05), False),
        ((-0.30, -0.11), False),
        ((-0.09, 0.11), True),
        ((float("nan"), 0.05), False),
    ],
)
def test_the_whole_interval_must_lie_above_minus_the_margin(ci95, held):
    change = Change(0.0, 0.0, 0.0, ci95, 40, 0.5, True)
    margins = {"wit": {"margin": 0.1, "two_sided": False}}
    assert judge({}, {"wit": change}, margins, [], "minilm")["quality_held"] is held
    likelihood = {"wit": {"margin": 0.1, "two_sided": True}}
    both = judge({}, {"wit": change}, likelihood, [], "minilm")["quality_held"]
    assert both is (held and ci95[1] <= 0.1)


class TestBlanks:
    """Blank answers differ from all others and have no quality: they must not pass for diversity."""

    @staticmethod
    def reports(tiny_embedder, length_quality, blank):
        found = []
        for texts in (["a red fox"] * 8, ["a red fox"] * (8 - blank) + [""] * blank):
            rows = [{"id": f"p{n}", "prompt": f"P{n}", "generations": texts} for n in range(16)]
            run = Run(Path("run"), {}, rows)
            found.append(evaluate(run, embedder=tiny_embedder, quality=[length_quality()]))
        return found

    def test_more_of_them_are_no_quality_that_held(self, tiny_embedder, length_quality):
        found = compare(*self.reports(tiny_embedder, length_quality, 1), resamples=200)
        assert found.verdict["collapse_fell"] is True and found.verdict["quality_held"] is False
        told = found.verdict["reasons"]["quality_held"]
        assert "12.5% of the answers are blank, 0.0% were before" in told
        assert "blank" in verdict_table(found)

    def test_what_is_lost_beside_them_is_told_and_few_prompts_decide_nothing(self):
        """Half of the answers blank, a quality down by .5: both are said; of two prompts neither."""
        spoken = Rule(lambda prompt, text: float(bool(text)), "spoken")

        def verdict(prompts):
            found = []
            for texts in (["a", "b"], ["a", ""]):
                rows = [
                    {"id": f"p{n}", "prompt": "P", "generations": texts} for n in range(prompts)
                ]
                found.append(evaluate(Run(Path("run"), {}, rows), quality=[spoken]))
            return compare(*found, resamples=100).verdict

        lost = verdict(8)
        assert lost["quality_held"] is False
        told = lost["reasons"]["quality_held"]
        assert "50.0% of the answers are blank" in told
        assert "fell beyond the margin: spoken -0.500" in told
        few = verdict(2)
        assert few["quality_held"] is None and "blank" not in few["reasons"]["quality_held"]

    def test_none_are_nothing_to_tell(self, tiny_embedder, length_quality):
        found = compare(*self.reports(tiny_embedder, length_quality, 0), resamples=200)
        assert found.verdict["quality_held"] is True
        assert "blank" not in verdict_table(found)


def test_prompts_are_those_of_the_rows_whatever_the_settings_say(tiny_embedder):
    """Two runs with one digest in their settings and other questions are not paired."""
    settings = {"prompts": {"name": "set", "sha256": "the same"}}
    reports = [
        evaluate(
            Run(Path("run"), settings, [{"id": "p", "prompt": ask, "generations": ["a", "b"]}]),
            embedder=tiny_embedder,
        )
        for ask in ("A colour?", "A fruit?")
    ]
    with pytest.raises(ValueError, match="not made by one recipe: prompts"):
        compare(*reports)


@pytest.mark.parametrize("margin", [-1.0, math.inf, math.nan])
def test_a_margin_is_a_finite_number(make_report, margin):
    base = make_report("base", 0.6)
    with pytest.raises(ValueError, match="the margin of 'words' must be a number of 0 or more"):
        compare(base, base, margins={"words": margin})


def test_a_column_may_be_called_like_an_argument(tiny_embedder, length_quality):
    row = {"id": "p", "prompt": "P", "generations": ["a"], "completions": 1, "prompts": 2}
    report = evaluate(Run(Path("run"), {}, [row]), quality=[length_quality()])
    assert report.samples[0]["qualities"] == {"words": 1.0}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_measure_must_give_a_number(value):
    run = Run(Path("run"), {}, [{"id": "p7", "prompt": "P", "generations": ["a", "b"]}])
    with pytest.raises(ValueError, match=rf"prompt 'p7', 2 answers: odd by ngram-2 is {value}"):
        evaluate(run, measures={"odd": lambda S: value})


def test_what_cannot_be_measured_names_its_prompt():
    run = Run(Path("run"), {}, [{"id": "p7", "prompt": "P", "generations": ["a", "b"]}])
    with pytest.raises(ValueError, match="prompt 'p7', 2 answers: a measure among 3 answers"):
        evaluate(run, measures=measures_named(["coverage@3"]))
