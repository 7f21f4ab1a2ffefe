"""Two swept models at equal quality: the area between them, who dominates, and where it is told."""

import json

import numpy as np
import pytest

from diversify.cli import main
from diversify.cli.tables import verdict_table
from diversify.evaluation import (
    Report,
    compare,
    compare_frontiers,
    frontier,
    markdown_summary,
)
from diversify.evaluation.report import render

STEPS = [(0.2, -1.0, 0.3), (0.4, -2.0, 0.6), (0.8, -3.0, 1.0)]


def noisy(mean, seed, n=24):
    return mean + 0.05 * np.random.default_rng(seed).standard_normal(n)


@pytest.fixture
def swept(plant):
    """Return a function (gains, first seed, n) -> reports: the steps, each that much more diverse."""

    def make(gains=(0.0, 0.0, 0.0), seed=0, n=24, label="base"):
        return [
            plant(noisy(d + gain, seed + i, n), noisy(q, seed + 10 + i, n), t, f"{label} T {t}")
            for i, ((d, q, t), gain) in enumerate(zip(STEPS, gains, strict=True))
        ]

    return make


def gaps(before, after, **options):
    options = {"measures": ["vendi"], "resamples": 500} | options
    return compare_frontiers(frontier(before), frontier(after), **options)


def test_a_model_that_is_better_everywhere_dominates(swept):
    """Gains .1, .1, .3: .1 and then rising to .3 over the second half, .15 on average."""
    first, second = gaps(swept(), swept((0.1, 0.1, 0.3), seed=50))
    assert (first.measure, second.measure) == ("vendi,minilm", "vendi,ngram-2")
    assert first.gap == pytest.approx(0.15, abs=0.04) and first.ci95[0] > 0
    assert first.smallest == pytest.approx(0.1, abs=0.05) and first.dominates is True
    assert first.p_value < 0.01 and first.between == pytest.approx((-3, -1), abs=0.05)
    back = gaps(swept((0.1, 0.1, 0.3), seed=50), swept())[0]
    assert back.dominates is False and back.gap == pytest.approx(-first.gap)


def test_curves_that_cross_do_not_dominate(swept):
    """Gains .4 when cold and -.1 when hot: more on average, less at the hot end."""
    found = gaps(swept(), swept((0.4, 0.1, -0.1), seed=50))[0]
    assert found.ci95[0] > 0 and found.dominates is False
    assert found.smallest_ci95[1] < 0 and found.smallest_at < -2.8


def test_a_model_against_itself_is_neither_above_nor_dominating(swept):
    found = gaps(swept(), swept())[0]
    assert (found.gap, found.ci95, found.p_value, found.dominates) == (0.0, (0.0, 0.0), 1.0, False)


def test_the_order_of_prompts_does_not_matter_and_groups_count_once(swept):
    before, after = swept(), swept((0.1, 0.1, 0.1), seed=50)
    straight = gaps(before, after)
    for report in (*before, *after):
        for number, sample in enumerate(report.samples):
            sample["group"] = number // 8
    grouped = gaps(before, after)
    assert grouped[0].gap == straight[0].gap
    assert grouped[0].dominates is None and "only 3 independent" in grouped[0].note
    for report in (*before, *after):
        report.samples.reverse()
        for sample in report.samples:
            del sample["group"]
    assert gaps(before, after) == straight


def unscored(report, numbers):
    for number in numbers:
        report.samples[number]["qualities"]["likelihood"] = None


def test_prompts_not_scored_everywhere_are_left_out_of_both_curves(swept):
    """As if prompts 2 and 7 had never been asked; and of five that are left nothing follows."""
    before, after = swept(), swept((0.1, 0.1, 0.1), seed=50)
    unscored(before[0], [2])
    unscored(after[1], [7])
    found = gaps(before, after)[0]
    assert found.note == " (2 of 24 prompts not scored everywhere are left out)"
    without = [
        [
            Report(report.summary, [row for row in report.samples if row["id"] not in ("p2", "p7")])
            for report in reports
        ]
        for reports in (before, after)
    ]
    assert found == gaps(*without)[0]._replace(note=found.note) and found.dominates is True
    unscored(after[2], range(6, 24))
    few = gaps(before, after)[0]
    assert few.dominates is None and few.note.startswith(" (only 5 independent prompts; 19 of 24")
    unscored(after[2], range(24))
    unscored(after[0], range(6))
    assert gaps(before, after)[0].note.startswith(" (after scored at 2 of 3 temperatures; 7 of 24")
    unscored(after[1], range(6, 24))
    nothing = gaps(before, after)[0]
    assert nothing.gap is None and nothing.dominates is None
    assert nothing.told() == "(no prompt is scored at every temperature of both)"


def test_what_shares_no_quality_or_was_not_scored_cannot_be_said(swept):
    before, after = swept(), swept(seed=50)
    for report in after:
        for sample in report.samples:
            sample["qualities"]["likelihood"] -= 9
    apart = gaps(before, after)[0]
    assert apart.gap is None and apart.dominates is None and apart.told().startswith("(the two")
    for report in after[:2]:
        for sample in report.samples:
            sample["qualities"]["likelihood"] = None
    unknown = gaps(before, after)[0]
    assert unknown.gap is None and "fewer than two temperatures" in unknown.note
    assert "Infinity" not in json.dumps([unknown.as_json(), apart.as_json()])


def test_a_comparison_tells_it_everywhere(swept, tmp_path):
    before, after = swept(), swept((0.1, 0.1, 0.3), seed=50, label="tuned")
    comparison = compare(before[1], after[1], sweep=before, after_sweep=after, resamples=200)
    saved = json.loads(comparison.save(tmp_path).read_text())
    first = saved["frontiers"][0]
    assert first["dominates"] is True and len(saved["frontiers"]) == 4
    assert [point["temperature"] for point in saved["after_frontier"]] == [0.3, 0.6, 1.0]
    row = next(
        line
        for line in verdict_table(comparison).splitlines()
        if line.startswith("vendi,minilm at equal likelihood")
    )
    assert f"{first['gap']:+.3f}" in row and row.endswith("yes")
    text = markdown_summary(tmp_path / "comparison.json")
    assert f"| vendi,minilm at equal likelihood | {first['gap']:+.3g} |" in text
    page = render(comparison)
    assert 'class="curve after"' in page and "at least as diverse at every quality of both" in page
    assert "After model at T 0.3" in page


def test_without_an_after_sweep_nothing_is_added(swept, tmp_path):
    before = swept()
    comparison = compare(before[1], before[2], sweep=before, resamples=100)
    assert "frontiers" not in comparison.as_json()
    assert "on average" not in verdict_table(comparison) + markdown_summary(comparison)
    assert 'class="curve after"' not in render(comparison)


def test_an_after_sweep_of_another_model_or_alone_is_refused(make_report):
    base, hot = make_report("base", 0.6), make_report("hot", 1.0)
    other = [make_report(f"o{t}", t, model="parrot") for t in (0.6, 1.0)]
    with pytest.raises(ValueError, match="its engine differs"):
        compare(base, other[0], sweep=[base, hot], after_sweep=[base, hot])
    with pytest.raises(ValueError, match="needs one of the before model"):
        compare(base, other[0], after_sweep=other)


def test_the_command_takes_both_sweeps_and_shows_the_tests(make_report, tmp_path, capsys):
    for name, model in (("base", "talker"), ("tuned", "parrot")):
        for heat in (0.4, 1.0):
            make_report(f"{name}-{heat}", heat, model=model)
    runs = {n: [str(tmp_path / f"{n}-{heat}") for heat in (0.4, 1.0)] for n in ("base", "tuned")}
    pair = [runs["base"][0], runs["tuned"][1], "--resamples", "100"]
    sweeps = ["--sweep", *runs["base"], "--after-sweep", *runs["tuned"]]
    assert main(["compare", *pair, *sweeps]) == 0
    told = capsys.readouterr().out
    assert "both models swept, at equal quality" in told
    head = next(line for line in told.splitlines() if "95 % interval" in line)
    assert head.endswith("p  p (Holm)")
    assert main(["compare", *pair, *sweeps, "--markdown"]) == 0
    told = capsys.readouterr().out
    assert "| prompts | p | p (Holm) |" in told and "| Both swept, at equal quality |" in told
