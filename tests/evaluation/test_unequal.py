"""Reports with different numbers of answers compare by what does not depend on that number."""

from pathlib import Path

import numpy as np
import pytest

from diversify.evaluation import Report, Run, compare, evaluate, markdown_summary
from diversify.evaluation.report import write_report
from diversify.evaluation.richness import measures_named
from diversify.evaluation.verdict import primary_of
from diversify.measures import MEASURES

WORDS = [f"word{number}" for number in range(40)]
COVERAGE = MEASURES | measures_named(["coverage@4"])
BOTH = COVERAGE | measures_named(["vendi@4"])


def report(samples, variety, seed, *, measures=COVERAGE, prompts=24, **sampling):
    """Score answers of one word each, drawn evenly from `variety` words a prompt."""
    stream = np.random.default_rng(seed)
    rows = []
    for number in range(prompts):
        own = stream.permutation(WORDS)[:variety]
        texts = [f"{word} {word}" for word in stream.choice(own, samples)]
        rows.append({"id": f"p{number}", "prompt": f"Say {number}.", "generations": texts})
    settings = {"samples": samples, "sampling": sampling}
    return evaluate(
        Run(path=Path(f"run-{samples}"), settings=settings, rows=rows),
        measures=measures,
        kernels=None,
    )


def test_only_what_does_not_grow_with_the_number_is_compared():
    found = compare(report(5, 3, 0), report(20, 3, 1), resamples=500)
    assert set(found.measures) == {"mean_distance,ngram-2", "coverage@4,ngram-2"}
    assert found.details["statistics"]["family"] == list(found.measures)
    assert all(change.p_holm is not None for change in found.measures.values())
    assert set(found.length_matched) == {"mean_distance,ngram-2"}
    assert "exact_duplicates" not in found.monitors and "blank" in found.monitors
    # The same source, four times as many answers: no change, where Vendi would have shown one.
    assert all(change.sign == 0 for change in found.measures.values())


def test_a_real_change_is_seen_and_the_numbers_are_told(tmp_path):
    found = compare(report(20, 2, 0), report(5, 30, 1), resamples=500)
    assert all(change.sign == 1 for change in found.measures.values())
    reason = found.verdict["reasons"]["collapse_fell"]
    assert "There are 20 answers a prompt before and 5 after" in reason
    assert "Different answers among 4" in write_report(found, tmp_path / "r.html").read_text()
    assert "20 before, 5 after" in (tmp_path / "r.html").read_text()
    assert "coverage@4,ngram-2" in markdown_summary(found)


def test_as_many_in_all_but_not_at_each_prompt():
    """29 prompts with 5 answers and one with 10, against the reverse: the sets of numbers agree."""
    few, many = (report(n, 3, n) for n in (5, 10))
    mixed = [
        Report(a.summary | {}, [*list(a.samples)[:-1], list(b.samples)[-1]])
        for a, b in ((few, many), (many, few))
    ]
    for one in mixed:
        one.summary["config"]["recipe"]["samples"] = [5, 10]
    assert "vendi,ngram-2" in compare(mixed[0], mixed[0], resamples=100).measures
    found = compare(*mixed, resamples=100)
    assert set(found.measures) == {"mean_distance,ngram-2", "coverage@4,ngram-2"}
    for one in mixed:
        one.summary["config"]["recipe"]["measures"] = sorted(MEASURES)
    with pytest.raises(ValueError, match="not the same number for each"):
        compare(*mixed)


def test_without_coverage_the_way_out_is_named():
    with pytest.raises(
        ValueError, match=r"5 and 20 answers a prompt.*measure vendi@K or coverage@K"
    ):
        compare(report(5, 3, 0, measures=MEASURES), report(20, 3, 1, measures=MEASURES))


def test_another_field_beside_it_is_refused():
    with pytest.raises(ValueError, match=r"not made by one recipe: samples.*max_tokens"):
        compare(report(5, 3, 0, max_tokens=8), report(20, 3, 1, max_tokens=9))


def test_the_sweep_has_the_numbers_of_its_own_model():
    before, after = report(5, 3, 0, temperature=1.0), report(20, 3, 1, temperature=1.0)
    hot = report(5, 6, 2, temperature=1.5)
    found = compare(before, after, sweep=[before, hot], resamples=200)
    assert found.frontier is not None
    with pytest.raises(ValueError, match="not made by one recipe: samples"):
        compare(before, after, sweep=[before, after], resamples=200)


def test_equal_numbers_are_compared_by_everything():
    found = compare(report(5, 3, 0), report(5, 3, 1), resamples=200)
    assert "vendi,ngram-2" in found.measures and "coverage@4,ngram-2" in found.measures
    assert set(primary_of(found.measures)) == {"mean_distance,ngram-2", "vendi,ngram-2"}


def test_the_effective_number_among_k_decides_where_there_is_one():
    found = compare(report(5, 3, 0, measures=BOTH), report(20, 3, 1, measures=BOTH), resamples=200)
    assert primary_of(found.measures) == ["mean_distance,ngram-2", "vendi@4,ngram-2"]
    assert "coverage@4,ngram-2" in found.measures
    assert found.details["statistics"]["family"] == primary_of(found.measures)


def test_where_all_answers_count_the_number_among_k_does_not_decide():
    names = ["mean_distance,a", "vendi,a", "vendi@4,a", "coverage@4,a", "coverage@4,answers"]
    assert primary_of(names) == ["mean_distance,a", "vendi,a"]
    assert primary_of(names[2:]) == ["vendi@4,a"]
    assert primary_of(names[3:]) == ["coverage@4,a"]
    assert primary_of(["distinct,a"]) == []


def test_a_sweep_must_have_the_numbers_of_its_model_at_each_prompt():
    """Eleven prompts with 9 answers and one with 3, against the reverse: no curve of that model."""
    among = MEASURES | measures_named(["vendi@2"])
    few, many = (report(n, 3, n, measures=among, prompts=12, temperature=1.0) for n in (3, 9))
    hot = report(3, 3, 1, measures=among, prompts=12, temperature=1.5)
    mixed = [
        Report(first.summary | {}, [*list(first.samples)[:-1], list(last.samples)[-1]])
        for first, last in ((many, few), (hot, many))
    ]
    for one in mixed:
        one.summary["config"]["recipe"]["samples"] = [3, 9]
    with pytest.raises(ValueError, match="other numbers of answers to some prompts"):
        compare(mixed[0], mixed[0], sweep=mixed, resamples=100)


def test_one_answer_a_prompt_says_nothing_of_collapse():
    one = report(1, 3, 0, measures=MEASURES)
    found = compare(one, report(1, 3, 1, measures=MEASURES), resamples=100)
    assert found.verdict["collapse_fell"] is None
    assert "a single answer" in found.verdict["reasons"]["collapse_fell"]
