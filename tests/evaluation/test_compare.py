import json

import numpy as np
import pytest
from scipy import stats

from diversify.evaluation import compare, frontier, load_report, paired_change
from diversify.evaluation.frontier import reachable


def test_paired_change_is_the_mean_difference_with_scipys_bca_interval():
    """differences 1, 1, 2, 4: mean 2; 4 of 4 prompts improved."""
    before, after = np.array([0.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 4.0, 7.0])
    change = paired_change(before, after, resamples=2000, seed=5)
    expected = stats.bootstrap(
        (after - before,), np.mean, n_resamples=2000, rng=np.random.default_rng(5), batch=1000
    ).confidence_interval
    assert change.difference == 2.0 and change.improved == 1.0 and change.n_prompts == 4
    assert change.ci95 == pytest.approx((expected.low, expected.high))
    assert change.before == 1.5 and change.after == 3.5


def test_the_seed_and_the_number_of_resamples_matter():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=30), rng.normal(size=30)
    first = paired_change(a, b, resamples=500, seed=0).ci95
    assert first == paired_change(a, b, resamples=500, seed=0).ci95
    assert first != paired_change(a, b, resamples=500, seed=1).ci95
    assert first != paired_change(a, b, resamples=600, seed=0).ci95


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
    with pytest.raises(ValueError, match="equally long"):
        paired_change(np.ones(3), np.ones(4))


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
            assert change["difference"] == pytest.approx(change["after"] - change["before"])
    assert [point["temperature"] for point in saved["frontier"]] == [0.3, 0.6, 1.0]


def test_different_recipes_are_refused_and_the_field_is_named(make_report):
    base = make_report("base", 0.6)
    with pytest.raises(ValueError, match="samples: 6 against 5"):
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
    comparison = compare(sweep[1], sweep[2], sweep=sweep, resamples=500)
    assert comparison.verdict["collapse_fell"] is True
    assert comparison.verdict["beats_temperature"] is False


def test_reports_survive_the_disk(make_report, tmp_path):
    report = make_report("base", 0.6)
    again = load_report(tmp_path / "base")
    assert again.summary == json.loads(json.dumps(report.summary))
    assert again.samples == json.loads(json.dumps(report.samples))
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
