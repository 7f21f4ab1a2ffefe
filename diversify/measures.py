"""Similarity to a number: how diverse is a set of texts, always higher for more diverse.

Axioms of every measure in `MEASURES`, checked by the contract tests:

- the order of the texts does not matter;
- identical texts give the minimum; texts that have nothing in common (`S` the identity) give the
  maximum that similarities of 0 and more allow;
- a single text is identical to itself: the same minimum, at n = 1;
- no texts, a (0, 0) matrix, give 0;
- NaN, a wrong shape, an asymmetric matrix, a diagonal other than 1 or an entry outside [-1, 1]
  raise `ValueError`.

=================  ==========  ===========  ============
measure            identical   one text     orthogonal
=================  ==========  ===========  ============
vendi              1           1            n
mean_distance      0           0            1
nearest_distance   0           0            1
distinct           1           1            n
log_det            log(n + 1)  log 2        n log 2
=================  ==========  ===========  ============

All but `mean_distance` drift with n even when the source of the texts stays the same: compare them
at equal n, and never across kernels.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import FunctionType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, logsumexp

__all__ = ["MEASURES", "distinct", "log_det", "mean_distance", "nearest_distance", "vendi"]

Measure: TypeAlias = Callable[[NDArray[np.float64]], float]
"""From a similarity matrix (n, n) to a number that is higher for a more diverse set."""

# Single-precision cosines are off by less than this.
TOLERANCE = 1e-5
# Nearer to 1 the general formula of `vendi` divides rounding error by almost nothing.
ORDER_ONE = 1e-8
# Where MiniLM cosines agree best with NoveltyBench's classifier (accuracy .74; F1 peaks at .80).
DISTINCT_THRESHOLD = 0.85


def vendi(S: NDArray[np.float64], *, order: float = 1.0) -> float:
    r"""Count the effective number of different texts, from 1 to n.

    Hill number of the eigenvalues of `S / n`: k groups of equal size whose members are identical
    and whose groups are orthogonal count k.

    .. math::
        \mathrm{VS}_q = \Big(\sum_i \lambda_i^q\Big)^{1/(1-q)}, \qquad
        \mathrm{VS}_1 = e^{-\sum_i \lambda_i \log \lambda_i}, \qquad
        \mathrm{VS}_\infty = 1 / \max_i \lambda_i

    It grows with n, and also pays for evenness: of classes with 2 and 3 members, a copy from the
    small class adds .21 and a copy from the large one takes .04 away.

    Args:
        S: Similarities (n, n), positive semi-definite.
        order: q in (0, inf]. Small orders weigh rare modes up, large ones look at duplication;
            the value never grows with the order.

    Returns:
        Effective number of texts; 0 for no texts.

    Raises:
        ValueError: If `S` is not a similarity matrix, if it is clearly not positive semi-definite
            (the message names its smallest eigenvalue), or if `order` is not above 0.

    Example:
        >>> twice = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        >>> round(vendi(twice), 4), round(vendi(twice, order=np.inf), 4)
        (1.8899, 1.5)

    Reference:
        Friedman and Dieng, "The Vendi Score: A Diversity Evaluation Metric for Machine Learning",
        arXiv 2210.02410. Orders: Pasarkar and Dieng, "Cousins of the Vendi Score", arXiv
        2310.12952. Deviation: eigenvalues below n * eps * max are rounding error and are dropped
        before renormalising; otherwise they count as modes when the order is small.
    """
    return _vendi_of(spectrum(check_similarity(S)), order=order)


def mean_distance(S: NDArray[np.float64]) -> float:
    r"""Average the distance over all pairs of different texts.

    .. math:: 1 - \frac{1}{n (n - 1)} \sum_{i \ne j} s_{ij}

    From 0 (all identical) to 1 (all orthogonal), and with opposed texts up to n / (n - 1). Its
    expectation does not depend on n. It is blind to duplicates: two far clusters of near copies
    score well.

    Args:
        S: Similarities (n, n).

    Returns:
        Mean distance; 0 for one text or none.

    Raises:
        ValueError: If `S` is not a similarity matrix.

    Example:
        >>> mean_distance(np.array([[1.0, 0.25], [0.25, 1.0]]))
        0.75

    Reference:
        1 - the intra-model similarity of Jiang et al., "Artificial Hivemind: The Open-Ended
        Homogeneity of Language Models (and Beyond)", arXiv 2510.22954. No deviation.
    """
    return _mean_distance_of(check_similarity(S))


def nearest_distance(S: NDArray[np.float64]) -> float:
    r"""Average each text's distance to the nearest other text.

    .. math:: \frac{1}{n} \sum_i \Big(1 - \max_{j \ne i} s_{ij}\Big)

    From 0 to 1 (all orthogonal), and to 2 for two opposed texts. One exact copy of each text
    brings it to 0, whatever else the set contains; it falls as n grows.

    Args:
        S: Similarities (n, n).

    Returns:
        Mean distance to the nearest neighbour; 0 for one text or none.

    Raises:
        ValueError: If `S` is not a similarity matrix.

    Example:
        >>> nearest_distance(np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.25], [0.0, 0.25, 1.0]]))
        0.5833333333333334

    Reference:
        "Chamfer distance" of Cox et al., "Directed Diversity", arXiv 2101.06030.
    """
    return _nearest_distance_of(check_similarity(S))


def distinct(S: NDArray[np.float64], *, threshold: float) -> float:
    """Count the different answers, from 1 to n.

    Texts whose similarity reaches the threshold are the same answer, and so are texts joined by
    a chain of such pairs (connected components): the order of the texts cannot matter. Long
    chains can join texts that differ; `leader_partition` follows NoveltyBench instead.

    Args:
        S: Similarities (n, n); need not be positive semi-definite.
        threshold: In [-1, 1]. It belongs to the kernel: a good one for an embedder has to be
            calibrated, and any value above 0 will do for `EquivalenceKernel`.

    Returns:
        Number of answers; 0 for no texts.

    Raises:
        ValueError: If `S` is not a similarity matrix, or the threshold is outside [-1, 1].

    Example:
        >>> S = np.array([[1.0, 0.9, 0.2], [0.9, 1.0, 0.3], [0.2, 0.3, 1.0]])
        >>> distinct(S, threshold=0.85), distinct(S, threshold=0.25)
        (2.0, 1.0)
    """
    return _distinct_of(check_similarity(S), threshold=threshold)


def log_det(S: NDArray[np.float64]) -> float:
    r"""Measure the volume that the texts span.

    .. math:: \log \det (S + I) = \sum_i \log (1 + \lambda_i)

    From log(n + 1) (all identical) to n log 2 (all orthogonal). The identity keeps duplicates
    from sending the determinant to 0.

    Args:
        S: Similarities (n, n), positive semi-definite.

    Returns:
        Natural logarithm of the determinant; 0 for no texts.

    Raises:
        ValueError: If `S` is not a similarity matrix or clearly not positive semi-definite.

    Example:
        >>> round(log_det(np.eye(2)), 4), round(log_det(np.ones((2, 2))), 4)
        (1.3863, 1.0986)

    Reference:
        Y. Chen et al., "Enhancing Diversity in Large Language Models via Determinantal Point
        Processes", arXiv 2509.04784.
    """
    return _log_det_of(spectrum(check_similarity(S)))


MEASURES: dict[str, Measure] = {
    "vendi": vendi,
    "mean_distance": mean_distance,
    "nearest_distance": nearest_distance,
    "distinct": partial(distinct, threshold=DISTINCT_THRESHOLD),
    "log_det": log_det,
}
"""Every measure, callable with `S` alone. `distinct` stands here with the threshold 0.85, which
suits MiniLM cosines; bind another one with `functools.partial` for another kernel."""


def measure_all(
    S: NDArray[np.float64], measures: Mapping[str, Measure] | None = None
) -> dict[str, float]:
    """Take many measures of one set of texts, for the price of the dearest.

    The matrix is checked once, and its eigenvalues are found once for all measures of this module
    that need them, whatever options `functools.partial` has bound to them. Any other measure is
    called as it is.

    Args:
        S: Similarities (n, n).
        measures: Name -> measure; all of `MEASURES` by default.

    Returns:
        Name -> value, what each measure gives by itself.

    Raises:
        ValueError: If `S` is not a similarity matrix, or a measure refuses it.

    Example:
        >>> S = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        >>> orders = {f"vendi {q}": partial(vendi, order=q) for q in (1, 2, np.inf)}
        >>> {name: round(value, 4) for name, value in measure_all(S, orders).items()}
        {'vendi 1': 1.8899, 'vendi 2': 1.8, 'vendi inf': 1.5}
    """
    S = check_similarity(S)
    eigenvalues: NDArray[np.float64] | None = None
    found = {}
    for name, measure in (MEASURES if measures is None else measures).items():
        function: Any = measure
        options: dict[str, Any] = {}
        if isinstance(measure, partial) and not measure.args:
            function, options = measure.func, measure.keywords
        own = function if isinstance(function, FunctionType) else None
        if own in _OF_SPECTRUM:
            eigenvalues = spectrum(S) if eigenvalues is None else eigenvalues
            found[name] = _OF_SPECTRUM[own](eigenvalues, **options)
        elif own in _OF_CHECKED:
            found[name] = _OF_CHECKED[own](S, **options)
        else:
            found[name] = float(measure(S))
    return found


def _vendi_of(eigenvalues: NDArray[np.float64], *, order: float = 1.0) -> float:
    if not order > 0:
        raise ValueError(f"order must be in (0, inf], got {order}")
    return float(effective_number(eigenvalues, order=order)) if len(eigenvalues) else 0.0


def _log_det_of(eigenvalues: NDArray[np.float64]) -> float:
    return float(np.log1p(eigenvalues).sum())


def _mean_distance_of(S: NDArray[np.float64]) -> float:
    n = len(S)
    return float(1.0 - (S.sum() - n) / (n * (n - 1))) if n > 1 else 0.0


def _nearest_distance_of(S: NDArray[np.float64]) -> float:
    return float(np.mean(1.0 - nearest_similarity(S))) if len(S) > 1 else 0.0


def _distinct_of(S: NDArray[np.float64], *, threshold: float) -> float:
    first = _first_members(S, threshold=threshold)
    return float((first == np.arange(len(S))).sum())


# The part of a measure that comes after the check, or after the eigenvalues.
_OF_SPECTRUM: dict[Any, Callable[..., float]] = {vendi: _vendi_of, log_det: _log_det_of}
_OF_CHECKED: dict[Any, Callable[..., float]] = {
    mean_distance: _mean_distance_of,
    nearest_distance: _nearest_distance_of,
    distinct: _distinct_of,
}


def check_similarity(S: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `S` as a float64 array that is exactly symmetric, with a diagonal of exactly 1.

    Raises:
        ValueError: If it is not square, not real and finite, or differs from a symmetric matrix
            with unit diagonal and entries in [-1, 1] by more than single precision explains.
    """
    S = check_finite("S", S)
    if S.ndim != 2 or S.shape[0] != S.shape[1]:
        raise ValueError(f"S must be a square matrix (n, n), got shape {S.shape}")
    if not len(S):
        return S
    off_diagonal = float(np.abs(np.diagonal(S) - 1.0).max())
    if off_diagonal > TOLERANCE:
        raise ValueError(f"S must have a diagonal of 1, got one that is off by {off_diagonal:.4g}")
    asymmetry = float(np.abs(S - S.T).max())
    if asymmetry > TOLERANCE:
        raise ValueError(f"S must be symmetric, got entries that differ by {asymmetry:.4g}")
    extreme = check_range("S", S)
    if asymmetry or off_diagonal or extreme > 1.0:
        S = np.clip((S + S.T) / 2, -1.0, 1.0)
        np.fill_diagonal(S, 1.0)
    return S


def check_finite(name: str, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a float64 array.

    Raises:
        ValueError: If the values are not real numbers, or one of them is NaN or infinite.
    """
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{name} must hold real numbers, got the type {array.dtype}")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {np.sum(~np.isfinite(array))} NaN or inf")
    return array


def check_range(name: str, similarities: NDArray[np.float64]) -> float:
    """Accept similarities in [-1, 1], give or take single precision; return the largest size.

    Raises:
        ValueError: If an entry is further outside.
    """
    extreme = float(np.abs(similarities).max(initial=0.0))
    if extreme > 1.0 + TOLERANCE:
        raise ValueError(f"{name} must hold similarities in [-1, 1], got one of size {extreme:.4g}")
    return extreme


def spectrum(S: NDArray[np.float64]) -> NDArray[np.float64]:
    """List the eigenvalues (..., n) of one or many checked matrices (..., n, n), none below 0.

    Raises:
        ValueError: If an eigenvalue is clearly negative; the message names the smallest.
    """
    eigenvalues = np.linalg.eigvalsh(S)
    smallest = float(eigenvalues.min(initial=0.0))
    # An error of t in every entry moves an eigenvalue by at most n * t.
    if smallest < -TOLERANCE * S.shape[-1]:
        raise ValueError(
            f"S must be positive semi-definite, got a smallest eigenvalue of {smallest:.4g}; "
            "verdicts of a judge are often not transitive: use distinct or a distance for them"
        )
    nonnegative: NDArray[np.float64] = np.maximum(eigenvalues, 0.0)
    return nonnegative


def effective_number(weights: NDArray[np.float64], *, order: float = 1.0) -> NDArray[np.float64]:
    """Hill numbers of the weights (..., n) along the last axis: (...), between 1 and n."""
    n = weights.shape[-1]
    largest = weights.max(axis=-1, keepdims=True)
    kept = np.where(weights > n * np.finfo(np.float64).eps * largest, weights, 0.0)
    share = kept / kept.sum(axis=-1, keepdims=True)
    if np.isinf(order):
        log_number = -np.log(share.max(axis=-1))
    elif abs(order - 1.0) < ORDER_ONE:
        log_number = entr(share).sum(axis=-1)
    else:
        # In logarithms, because share ** order underflows for large orders.
        log_share = np.log(share, out=np.full_like(share, -np.inf), where=share > 0)
        log_number = logsumexp(order * log_share, axis=-1) / (1.0 - order)
    number: NDArray[np.float64] = np.clip(np.exp(log_number), 1.0, n)
    return number


def nearest_similarity(S: NDArray[np.float64]) -> NDArray[np.float64]:
    """Similarity (n,) of each text to the nearest other one, for a checked `S` with n > 1."""
    others = S.copy()
    np.fill_diagonal(others, -np.inf)
    nearest: NDArray[np.float64] = others.max(axis=1)
    return nearest


def components(S: NDArray[np.float64], *, threshold: float) -> NDArray[np.int64]:
    """Label the connected components of `S >= threshold`, (n,), in order of first appearance.

    Raises:
        ValueError: If `S` is not a similarity matrix, or the threshold is outside [-1, 1].
    """
    first = _first_members(check_similarity(S), threshold=threshold)
    # Sorted by their first member is in order of first appearance.
    return np.unique(first, return_inverse=True)[1].astype(np.int64)


def _first_members(S: NDArray[np.float64], *, threshold: float) -> NDArray[np.intp]:
    """Find the first text of each text's component; SciPy takes many times as long for a few."""
    if not -1.0 <= threshold <= 1.0:
        raise ValueError(f"threshold must be in [-1, 1], got {threshold}")
    near = S >= threshold
    first = np.arange(len(S))
    # The smallest number among the neighbours, and among theirs, until nothing moves. A text is
    # its own neighbour, so numbers can only fall.
    while True:
        smaller = np.where(near, first, len(S)).min(axis=1, initial=len(S))
        smaller = smaller[smaller]
        if np.array_equal(smaller, first):
            return first
        first = smaller
