"""Measures: similarity matrices to numbers. The axioms are in test_contracts.py."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from diversify.measures import (
    MEASURES,
    check_similarity,
    components,
    distinct,
    effective_number,
    log_det,
    mean_distance,
    measure_all,
    nearest_distance,
    vendi,
)

# a and b are near, b and c less so, a and c hardly.
CHAIN = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.5], [0.1, 0.5, 1.0]])
# What a judge says when a ~ b and b ~ c, but not a ~ c.
NOT_TRANSITIVE = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])


def blocks(*sizes: int) -> NDArray[np.float64]:
    """Groups of identical texts, orthogonal to one another."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    S: NDArray[np.float64] = (labels[:, None] == labels[None, :]).astype(np.float64)
    return S


def cosines(rng: np.random.Generator, n: int, d: int) -> NDArray[np.float64]:
    rows = rng.normal(size=(n, d))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosine: NDArray[np.float64] = rows @ rows.T
    return cosine


class TestVendi:
    def test_unequal_groups(self) -> None:
        """Classes of 2 and 1: eigenvalues of S/3 are 2/3, 1/3, 0.

        q = 1: exp(-(2/3) ln(2/3) - (1/3) ln(1/3)) = 3 / 2^(2/3) = 1.889882
        q = 2: 1 / (4/9 + 1/9) = 9/5
        q = 1/2: (sqrt(2/3) + sqrt(1/3))^2 = 1 + 2 sqrt(2) / 3 = 1.942809
        q = inf: 1 / (2/3) = 3/2
        """
        S = blocks(2, 1)
        assert vendi(S) == pytest.approx(3 / 2 ** (2 / 3))
        assert vendi(S, order=2) == pytest.approx(9 / 5)
        assert vendi(S, order=0.5) == pytest.approx(1 + 2 * math.sqrt(2) / 3)
        assert vendi(S, order=np.inf) == pytest.approx(3 / 2)

    def test_two_texts_at_an_angle(self) -> None:
        """S = [[1, .5], [.5, 1]]: eigenvalues of S/2 are 3/4 and 1/4.

        q = 1: exp(.75 ln(4/3) + .25 ln 4) = 1.754765; q = 2: 1 / (9/16 + 1/16) = 1.6
        """
        S = np.array([[1.0, 0.5], [0.5, 1.0]])
        assert vendi(S) == pytest.approx(1.754765, abs=1e-6)
        assert vendi(S, order=2) == pytest.approx(1.6)

    def test_equal_groups_count_themselves_at_every_order(self) -> None:
        for order in (1e-6, 0.1, 0.5, 1.0, 1.5, 2.0, 1e6, np.inf):
            assert vendi(blocks(3, 3, 3, 3), order=order) == pytest.approx(4.0)

    def test_small_orders_do_not_count_rounding_error(self) -> None:
        """Rank 3 however many copies: at order 1e-3 the 47 eigenvalues near 1e-16 would add up."""
        rows = np.array([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.36, 0.48, 0.8]])[np.arange(50) % 3]
        value = vendi(rows @ rows.T, order=1e-3)
        assert 2.9 < value <= 3.0

    def test_large_orders_do_not_underflow(self) -> None:
        """(1/8)^400 is 0 in floating point; the value tends to 1 / max = 8."""
        assert vendi(np.eye(8), order=400) == pytest.approx(8.0)
        assert vendi(blocks(2, 1), order=5000) == pytest.approx(1.5, rel=1e-3)

    def test_continuous_at_order_one(self) -> None:
        for step in (1e-4, 1e-6, 1e-9, 1e-12):
            assert vendi(CHAIN, order=1 + step) == pytest.approx(vendi(CHAIN), rel=2 * step + 1e-8)
            assert vendi(CHAIN, order=1 - step) == pytest.approx(vendi(CHAIN), rel=2 * step + 1e-8)

    def test_order_two_is_the_inverse_frobenius_norm(self) -> None:
        """(sum lambda^2)^-1 = n^2 / ||S||^2, with no eigenvalues at all."""
        rng = np.random.default_rng(0)
        for _ in range(20):
            S = cosines(rng, 12, 5)
            assert vendi(S, order=2) == pytest.approx(144 / (S**2).sum())

    def test_never_grows_with_the_order(self) -> None:
        rng = np.random.default_rng(1)
        for _ in range(20):
            S = cosines(rng, 9, 4)
            values = [vendi(S, order=order) for order in (0.1, 0.5, 1, 2, 5, np.inf)]
            assert all(low < high for high, low in pairwise(values))
            assert values[-1] >= 1.0
            assert values[0] <= 4.0 + 1e-9  # the rank

    def test_refuses_verdicts_that_are_not_transitive(self) -> None:
        """Eigenvalues of a ~ b ~ c are 1, 1 + sqrt 2 and 1 - sqrt 2 = -0.4142."""
        with pytest.raises(ValueError, match=r"smallest eigenvalue of -0\.4142"):
            vendi(NOT_TRANSITIVE)

    def test_forgives_single_precision(self) -> None:
        S = cosines(np.random.default_rng(2), 40, 6)
        single = S.astype(np.float32)
        assert vendi(single) == pytest.approx(vendi(S), rel=1e-4)  # type: ignore[arg-type]

    @pytest.mark.parametrize("order", [0, -1.0, np.nan, -np.inf])
    def test_refuses_an_impossible_order(self, order: float) -> None:
        with pytest.raises(ValueError, match=r"order must be in \(0, inf\]"):
            vendi(np.eye(2), order=order)


class TestDistances:
    def test_mean(self) -> None:
        """Pairs of CHAIN: .9, .1, .5, mean .5, distance .5."""
        assert mean_distance(CHAIN) == pytest.approx(0.5)

    def test_nearest(self) -> None:
        """Nearest others in CHAIN: .9, .9, .5; distances .1, .1, .5; mean .7 / 3."""
        assert nearest_distance(CHAIN) == pytest.approx(0.7 / 3)

    def test_two_far_pairs_of_copies(self) -> None:
        """Of 6 pairs 4 differ wholly: mean 2/3. Each text has a copy: nearest 0."""
        S = blocks(2, 2)
        assert mean_distance(S) == pytest.approx(2 / 3)
        assert nearest_distance(S) == 0.0

    def test_opposed_texts_exceed_orthogonal_ones(self) -> None:
        S = np.array([[1.0, -1.0], [-1.0, 1.0]])
        assert mean_distance(S) == pytest.approx(2.0)
        assert nearest_distance(S) == pytest.approx(2.0)

    def test_mean_cosine_by_the_sum_vector(self) -> None:
        """The mean cosine is (|sum x|^2 - n) / (n (n - 1)), with no matrix."""
        rng = np.random.default_rng(3)
        rows = rng.normal(size=(15, 6))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        cosine = (np.sum(rows.sum(axis=0) ** 2) - 15) / (15 * 14)
        assert mean_distance(rows @ rows.T) == pytest.approx(1 - cosine)


class TestDistinct:
    def test_joins_chains(self) -> None:
        """At .5 a ~ b ~ c is one answer though a and c are at .1; at .6 c stands alone."""
        assert distinct(CHAIN, threshold=0.5) == 1.0
        assert distinct(CHAIN, threshold=0.6) == 2.0
        assert distinct(CHAIN, threshold=0.95) == 3.0

    def test_the_threshold_itself_is_alike(self) -> None:
        S = np.array([[1.0, 0.85], [0.85, 1.0]])
        assert distinct(S, threshold=0.85) == 1.0
        assert distinct(S, threshold=np.nextafter(0.85, 1)) == 2.0

    def test_takes_verdicts_that_are_not_transitive(self) -> None:
        assert distinct(NOT_TRANSITIVE, threshold=0.5) == 1.0

    def test_copies_are_one_answer_even_at_threshold_one(self) -> None:
        assert distinct(blocks(3, 1), threshold=1.0) == 2.0

    def test_default_of_the_list(self) -> None:
        S = np.array([[1.0, 0.84, 0.0], [0.84, 1.0, 0.86], [0.0, 0.86, 1.0]])
        assert MEASURES["distinct"](S) == 2.0

    @pytest.mark.parametrize("threshold", [1.1, -1.1, np.nan])
    def test_refuses_an_impossible_threshold(self, threshold: float) -> None:
        with pytest.raises(ValueError, match=r"threshold must be in \[-1, 1\]"):
            distinct(np.eye(2), threshold=threshold)

    def test_labels_follow_first_appearance(self) -> None:
        S = np.eye(6)
        for i, j in [(1, 4), (0, 5)]:
            S[i, j] = S[j, i] = 1.0
        assert components(S, threshold=0.5).tolist() == [0, 1, 2, 3, 1, 0]


class TestLogDet:
    def test_three_embeddings(self) -> None:
        """e = (1,0), (0,1), (1,0): S + I = [[2,0,1],[0,2,0],[1,0,2]], det = 2 (4 - 1) = 6."""
        S = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
        assert log_det(S) == pytest.approx(math.log(6))

    def test_equals_the_determinant(self) -> None:
        rng = np.random.default_rng(4)
        for _ in range(20):
            S = cosines(rng, 7, 4)
            assert log_det(S) == pytest.approx(math.log(np.linalg.det(S + np.eye(7))))

    def test_refuses_verdicts_that_are_not_transitive(self) -> None:
        with pytest.raises(ValueError, match="positive semi-definite"):
            log_det(NOT_TRANSITIVE)


class TestCheckSimilarity:
    def test_cleans_rounding_and_leaves_the_input_alone(self) -> None:
        S = np.array([[1 + 1e-7, 0.5], [0.5 + 1e-7, 1.0]])
        before = S.copy()
        clean = check_similarity(S)
        assert np.array_equal(S, before)
        assert np.array_equal(clean, clean.T)
        assert np.array_equal(np.diagonal(clean), [1.0, 1.0])
        assert clean[0, 1] == pytest.approx(0.5, abs=1e-6)

    def test_takes_lists_integers_and_bools(self) -> None:
        assert check_similarity([[1, 0], [0, 1]]).dtype == np.float64  # type: ignore[arg-type]
        assert check_similarity(np.eye(2, dtype=bool)).dtype == np.float64

    @pytest.mark.parametrize(
        ("S", "message"),
        [
            (np.eye(2, 3), r"square matrix \(n, n\), got shape \(2, 3\)"),
            (np.ones(3), r"got shape \(3,\)"),
            (np.float64(1.0), r"got shape \(\)"),
            (np.ones((2, 2, 2)), r"got shape \(2, 2, 2\)"),
            (np.array([[1.0, np.nan], [np.nan, 1.0]]), "finite, got 2 NaN or inf"),
            (np.array([[1.0, 0.5], [0.4, 1.0]]), "symmetric, got entries that differ by 0.1"),
            (np.array([[1.0, 0.5], [0.5, 0.9]]), "diagonal of 1, got one that is off by 0.1"),
            (np.array([[1.0, 1.5], [1.5, 1.0]]), r"in \[-1, 1\], got one of size 1.5"),
            (np.array([[1.0, -1.5], [-1.5, 1.0]]), r"in \[-1, 1\], got one of size 1.5"),
            (np.eye(2) + 0j, "real numbers, got the type complex128"),
            (np.array([["a"]]), "real numbers, got the type <U1"),
            (None, "real numbers, got the type object"),
        ],
    )
    def test_refuses(self, S: NDArray[np.float64], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            check_similarity(S)


def test_effective_number_of_a_stack() -> None:
    """Rows (1, 1) and (3, 1): 2 and exp(.75 ln(4/3) + .25 ln 4) = 1.754765; scale is irrelevant."""
    stack = np.array([[[1.0, 1.0]], [[30.0, 10.0]]])
    np.testing.assert_allclose(effective_number(stack), [[2.0], [1.754765]], atol=1e-6)


def test_many_measures_of_one_matrix_are_what_each_gives_by_itself(monkeypatch):
    """Three orders of `vendi` and `log_det` share one decomposition; a stranger is called as it is."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(7, 3))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    S = rows @ rows.T
    measures = MEASURES | {f"vendi {q}": partial(vendi, order=q) for q in (0.5, 2, np.inf)}
    measures["texts"] = lambda S: len(S)
    expected = {name: float(measure(S)) for name, measure in measures.items()}
    decomposed = []
    eigvalsh = np.linalg.eigvalsh
    monkeypatch.setattr(np.linalg, "eigvalsh", lambda S: decomposed.append(1) or eigvalsh(S))
    assert measure_all(S, measures) == expected
    assert len(decomposed) == 1
    measure_all(S, {"distance": mean_distance})
    assert len(decomposed) == 1
    with pytest.raises(ValueError, match="order must be"):
        measure_all(S, {"vendi": partial(vendi, order=0)})
    assert measure_all(np.empty((0, 0))) == dict.fromkeys(MEASURES, 0.0)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.05, 0.5])
def test_components_are_those_of_scipy(share):
    """Of any random graph; numbered by their first member."""
    rng = np.random.default_rng(1)
    for n in (1, 2, 40):
        S = (rng.random((n, n)) < share).astype(float)
        S = np.maximum(S, S.T)
        np.fill_diagonal(S, 1.0)
        labels = components(S, threshold=0.5)
        count, expected = connected_components(S, directed=False)
        assert len(set(zip(labels, expected, strict=True))) == count == labels.max() + 1
        assert list(dict.fromkeys(labels)) == list(range(count))
