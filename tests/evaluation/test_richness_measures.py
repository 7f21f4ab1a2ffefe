"""Measures on request: by name, from similarities and from lists of answers, into a report."""

import json
import math

import numpy as np
import pytest

from diversify.evaluation import evaluate, load_run
from diversify.evaluation.richness import ON_REQUEST, Coverage, measures_named
from diversify.kernels import NgramKernel
from diversify.measures import DISTINCT_THRESHOLD, MEASURES, distinct


def classes(*sizes):
    """Similarities of texts that are of one class just above the threshold and apart below it."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    same = labels[:, None] == labels[None, :]
    S = np.where(same, DISTINCT_THRESHOLD + 0.01, DISTINCT_THRESHOLD - 0.5)
    np.fill_diagonal(S, 1.0)
    return S


def test_numbers_by_hand():
    """Classes of 2, 1 and 1: 1.5 log 2; half of the draws came once; two of four: 11/6."""
    found = measures_named([*ON_REQUEST, "coverage@2", "coverage@4"])
    values = {name: measure(classes(2, 1, 1)) for name, measure in found.items()}
    assert values["semantic_entropy"] == pytest.approx(1.5 * math.log(2))
    assert values["effective_classes"] == pytest.approx(2**1.5)
    assert values["unseen_mass"] == 0.5
    assert values["chao_shen_entropy"] > values["semantic_entropy"]
    assert values["coverage@2"] == pytest.approx(11 / 6)
    assert values["coverage@4"] == 3.0


@pytest.mark.parametrize("name", [*ON_REQUEST, "coverage@3"])
def test_more_classes_are_more_and_order_does_not_matter(name):
    (measure,) = measures_named([name]).values()
    one, two, all_different = (measure(classes(*sizes)) for sizes in ([6], [3, 3], [1] * 6))
    # Two classes of three leave as little unseen as one does.
    assert one <= two < all_different and (one < two or name == "unseen_mass")
    order = np.random.default_rng(0).permutation(6)
    S = classes(3, 2, 1)
    assert measure(S[np.ix_(order, order)]) == pytest.approx(measure(S))


def test_all_answers_are_the_measure_distinct():
    S = NgramKernel()(["a b c", "a b c", "a b d", "x"])
    assert Coverage(4)(S) == distinct(S, threshold=DISTINCT_THRESHOLD) == MEASURES["distinct"](S)


def test_invalid_answers_are_drawn_and_count_nothing():
    """Of six pairs of 4, 4, 7 and nothing, 47 twice holds two answers, the other four one."""
    assert Coverage(2).of_answers([4, 4, 7, None]) == pytest.approx(8 / 6)
    assert Coverage(1).of_answers([None, None]) == 0.0


@pytest.mark.parametrize("name", ["entropy", "coverage", "coverage@", "coverage@0", "coverage@-1"])
def test_unknown_names_are_refused_and_known_ones_told(name):
    with pytest.raises(ValueError, match=rf"no measure is called '{name}'.*semantic_entropy.*@K"):
        measures_named([name])


def test_a_size_must_be_positive_and_no_larger_than_the_group():
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        Coverage(0)
    with pytest.raises(ValueError, match="size must be between 1 and 2, got 3"):
        Coverage(3)(np.eye(2))


def evaluated(folder, texts, names):
    row = {"prompt": "Name a pet.", "answers": [["cat"], ["dog"]], "generations": texts}
    (folder / "g.jsonl").write_text(json.dumps(row) + "\n")
    run = load_run(folder / "g.jsonl")
    return evaluate(run, measures=MEASURES | measures_named(names))


def test_a_report_has_them_by_kernel_and_of_valid_answers(tmp_path):
    """Cat, cat, dog and none: 11/6 of any kind in two, 8/6 valid."""
    texts = ["a cat", "a cat", "some stone", "the dog"]
    report = evaluated(tmp_path, texts, ["semantic_entropy", "coverage@2"])
    found = report.samples[0]["measures"]
    assert found["coverage@2,ngram-2"] == pytest.approx(11 / 6)
    assert found["coverage@2,answers"] == pytest.approx(8 / 6)
    assert found["semantic_entropy,ngram-2"] == pytest.approx(1.5 * math.log(2))
    assert "semantic_entropy,answers" not in found
    assert "coverage@2" in report.recipe["measures"]
    (direction,) = report.summary["higher_is_better"].values()
    assert direction["coverage@2,ngram-2"] is True


def test_without_asking_nothing_is_added(tmp_path):
    found = evaluated(tmp_path, ["a cat", "the dog"], []).samples[0]["measures"]
    assert not any("coverage" in name or "entropy" in name for name in found)
