"""Measures on request: by name, from similarities and from lists of answers, into a report."""

import json
import math
from itertools import combinations

import numpy as np
import pytest

from diversify.evaluation import evaluate, load_run
from diversify.evaluation.richness import ON_REQUEST, Coverage, VendiAmong, measures_named
from diversify.kernels import NgramKernel
from diversify.measures import DISTINCT_THRESHOLD, MEASURES, distinct, vendi


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
    with pytest.raises(ValueError, match="among 3 answers needs at least as many, got 2"):
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


class TestAmongK:
    """Means over sets of K answers: exact for few sets, without bias for many, of any order."""

    def test_chains_join_by_hand(self):
        """A path a-b-c: of its pairs two are joined and one is not, 4/3 classes; all three are one.

        Thinning out the one class of all three would say 1.
        """
        S = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.9], [0.1, 0.9, 1.0]])
        assert Coverage(2)(S) == pytest.approx(4 / 3)
        assert Coverage(3)(S) == 1.0 and Coverage(1)(S) == 1.0

    def test_all_sets_are_those_of_the_plain_definition(self):
        X = np.random.default_rng(0).normal(size=(7, 3)) + 1.5
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        S = X @ X.T
        for size in (2, 4, 7):
            sets = [S[np.ix_(own, own)] for own in combinations(range(7), size)]
            assert VendiAmong(size)(S) == pytest.approx(np.mean([vendi(own) for own in sets]))
            counts = [distinct(own, threshold=DISTINCT_THRESHOLD) for own in sets]
            assert Coverage(size)(S) == pytest.approx(np.mean(counts))

    @pytest.mark.parametrize("among", [Coverage, VendiAmong])
    def test_random_sets_do_not_see_the_order_and_lie_near_the_mean(self, among):
        """Of 24 answers there are 735,471 sets of 8: a thousand of them, whatever the order."""
        stream = np.random.default_rng(1)
        X = stream.normal(size=(24, 4)) + 1.0
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        S, measure = X @ X.T, among(8)
        for _ in range(3):
            order = stream.permutation(24)
            assert measure(S[np.ix_(order, order)]) == pytest.approx(measure(S), abs=1e-9)
        sets = [stream.permutation(24)[:8] for _ in range(4000)]
        one = (
            vendi
            if among is VendiAmong
            else lambda own: distinct(own, threshold=DISTINCT_THRESHOLD)
        )
        each = np.array([one(S[np.ix_(own, own)]) for own in sets])
        assert measure(S) == pytest.approx(each.mean(), abs=5 * each.std() / math.sqrt(1000))

    @pytest.mark.parametrize("among", [Coverage, VendiAmong])
    def test_copies_and_strangers(self, among):
        """All alike: one answer. All different: K of them."""
        assert among(5)(np.ones((30, 30))) == pytest.approx(1.0)
        assert among(5)(np.eye(30)) == pytest.approx(5.0)
        assert among(1)(np.eye(1)) == 1.0

    @pytest.mark.parametrize("among", [Coverage, VendiAmong])
    def test_the_mean_does_not_depend_on_the_number_of_answers(self, among):
        """Answers in a plane, 6 or 24 of them: over many prompts the same mean, within its error."""
        stream = np.random.default_rng(2)

        def value(n):
            X = stream.normal(size=(n, 2)) + 0.8
            X /= np.linalg.norm(X, axis=1, keepdims=True)
            return among(4)(X @ X.T)

        few, many = (np.array([value(n) for _ in range(300)]) for n in (6, 24))
        error = math.sqrt(few.var() / 300 + many.var() / 300)
        assert abs(few.mean() - many.mean()) < 3 * error
