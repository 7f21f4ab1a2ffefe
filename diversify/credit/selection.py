"""Selections: which `size` texts of a pool to keep, as indices in the order of picking."""

import numpy as np
from scipy.cluster.hierarchy import average, cut_tree

from diversify.credit.checks import (
    Floats,
    Indices,
    Labels,
    check_kernel,
    check_per_text,
    check_weight,
    first_best,
)
from diversify.credit.marginal import measure_subsets, pick_by_relevance
from diversify.kernels import check_integer
from diversify.measures import TOLERANCE, Measure, check_similarity, components, vendi


def select(
    S: Floats,
    size: int,
    *,
    measure: Measure = vendi,
    quality: Floats | None = None,
    weight: float = 1.0,
) -> Indices:
    r"""Pick texts one by one so that measure plus quality grows as much as it can.

    .. math:: i^* = \arg\max_{i \notin A} \; m(S_{A + i}) + w \sum_{j \in A + i} q_j

    One text measures the same whichever it is, so the first pick is the text of the highest
    quality, and without qualities the first of the pool.

    Args:
        S: Similarities (n, n) of the pool.
        size: How many to pick, 1 to n.
        measure: What to maximise. Judge the result with another measure and kernel.
        quality: Qualities (n,), or None for diversity alone.
        weight: Worth of one unit of quality in units of the measure, 0 or more.

    Returns:
        Indices (size,) in the order of picking.

    Raises:
        ValueError: If an option is out of its range, or the measure refuses `S`.

    Example:
        >>> S = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
        >>> print(select(S, 2), select(S, 2, quality=np.array([0.0, 1.0, 0.0])))
        [0 2] [1 2]

    Reference:
        Greedy maximisation of a set function: Nemhauser, Wolsey and Fisher, "An Analysis of
        Approximations for Maximizing Submodular Set Functions" (1978).
    """
    S = check_similarity(S)
    size = check_integer("size", size, 1, len(S))
    worth = np.zeros(len(S)) if quality is None else check_per_text("quality", quality, len(S))
    check_weight(weight, np.inf)
    worth = weight * worth
    scale = 1.0 + float(np.abs(worth).max())
    chosen = [first_best(worth, scale)]
    while len(chosen) < size:
        rest = np.setdiff1d(np.arange(len(S)), chosen)
        subsets = np.column_stack([np.tile(chosen, (len(rest), 1)), rest])
        gains = measure_subsets(S, subsets, measure) + worth[rest]
        chosen.append(int(rest[first_best(gains, scale)]))
    return np.array(chosen, dtype=np.intp)


def mmr_select(relevance: Floats, S: Floats, size: int, *, weight: float = 0.5) -> Indices:
    r"""Pick by maximal marginal relevance: relevant, and unlike what is already picked.

    .. math:: i^* = \arg\max_{i \notin A} \; w\, r_i - (1 - w) \max_{j \in A} s_{ij}

    The first pick is the most relevant text, whatever the weight.

    Args:
        relevance: Relevance (n,), on a scale comparable to similarities: standardise it first.
        S: Similarities (n, n) of the pool.
        size: How many to pick, 1 to n.
        weight: w in [0, 1]: 1 ranks by relevance, 0 goes for dissimilarity.

    Returns:
        Indices (size,) in the order of picking.

    Raises:
        ValueError: If an option is out of its range or the shapes do not fit.

    Example:
        >>> S = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
        >>> print(mmr_select(np.array([0.9, 0.8, 0.3]), S, 3))
        [0 2 1]

    Reference:
        Carbonell and Goldstein, "The Use of MMR, Diversity-Based Reranking for Reordering
        Documents and Producing Summaries", SIGIR 1998. No deviation.
    """
    S = check_similarity(S)
    size = check_integer("size", size, 1, len(S))
    relevance = check_per_text("relevance", relevance, len(S))
    check_weight(weight, 1.0)
    # No similarity is below -1, so this floor never binds.
    order, _ = pick_by_relevance(relevance, S, size, weight=weight, floor=-1.0)
    return order


def dpp_select(L: Floats, size: int) -> Indices:
    r"""Pick the texts that span the greatest volume, greedily: MAP of a k-DPP.

    .. math:: i^* = \arg\max_{i \notin A} \; \log\det L_{A + i}

    Incremental Cholesky: each pick subtracts from every text the part of its variance that the
    picked explain, O(n size^2) in all. Greedy picks need not be the best set. The first pick is
    the text with the largest diagonal entry.

    Args:
        L: Kernel (n, n), positive semi-definite: `S`, or `q_i * s_ij * q_j` with qualities.
        size: How many to pick, 1 to n.

    Returns:
        Indices (size,) in the order of picking.

    Raises:
        ValueError: If `L` is not finite, square and symmetric; if `size` exceeds its numerical
            rank, so that every further set has volume 0 (the message names the rank reached); or
            if a variance turns negative, which no positive semi-definite matrix allows.

    Example:
        >>> print(dpp_select(np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]]), 2))
        [0 2]

    Reference:
        L. Chen, Zhang and Zhou, "Fast Greedy MAP Inference for Determinantal Point Process to
        Improve Recommendation Diversity", arXiv 1709.05135. Deviation: stops with an error, not a
        shorter list, at the rank.
    """
    L = check_kernel(L)
    n = len(L)
    size = check_integer("size", size, 1, n)
    variance = np.diagonal(L).copy()
    # Relative to each text's own variance, so that qualities do not decide what rounding is.
    noise = n * np.finfo(np.float64).eps * variance
    rows = np.zeros((size, n))
    chosen: list[int] = []
    for step in range(size):
        if (variance < -TOLERANCE * np.diagonal(L)).any():
            raise ValueError(
                "L must be positive semi-definite, got a text whose variance given the picked "
                f"ones is {variance.min():.4g}"
            )
        candidates = np.where(variance > noise, variance, -np.inf)
        candidates[chosen] = -np.inf
        best = float(candidates.max())
        if best == -np.inf:
            raise ValueError(f"size must not exceed the rank of L, {step}, got {size}")
        pick = first_best(candidates, best)
        rows[step] = (L[pick] - rows[:step, pick] @ rows[:step]) / np.sqrt(variance[pick])
        variance -= rows[step] ** 2
        chosen.append(pick)
    return np.array(chosen, dtype=np.intp)


def facility_location(
    S: Floats, size: int, *, quality: Floats | None = None, weight: float = 1.0
) -> Indices:
    r"""Pick representatives, so that every text of the pool has a similar one among the picked.

    .. math:: \max_A \sum_i \max_{j \in A} s_{ij} + w \sum_{j \in A} q_j

    Greedy, at least 1 - 1/e of the best when no similarity or quality is negative. Without
    qualities the first pick is the text most similar to all (the medoid). It covers the modes and
    passes over outliers.

    Args:
        S: Similarities (n, n) of the pool.
        size: How many to pick, 1 to n.
        quality: Qualities (n,), or None for coverage alone.
        weight: Worth of one unit of quality in texts that are covered, 0 or more.

    Returns:
        Indices (size,) in the order of picking.

    Raises:
        ValueError: If `S` is not a similarity matrix, or an option is out of its range.

    Example:
        >>> S = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
        >>> print(facility_location(S, 2), facility_location(S, 2, quality=np.array([1.0, 0, 0])))
        [1 2] [0 2]

    Reference:
        Nemhauser, Wolsey and Fisher, "An Analysis of Approximations for Maximizing Submodular Set
        Functions" (1978). No deviation.
    """
    S = check_similarity(S)
    size = check_integer("size", size, 1, len(S))
    worth = np.zeros(len(S)) if quality is None else check_per_text("quality", quality, len(S))
    check_weight(weight, np.inf)
    worth = weight * worth
    scale = len(S) + float(np.abs(worth).max())
    cover = np.full(len(S), -1.0)
    chosen: list[int] = []
    while len(chosen) < size:
        value = np.maximum(cover, S).sum(axis=1) + worth
        value[chosen] = -np.inf
        chosen.append(first_best(value, scale))
        cover = np.maximum(cover, S[chosen[-1]])
    return np.array(chosen, dtype=np.intp)


def cluster_and_best(
    quality: Floats, S: Floats, size: int, *, threshold: float | None = None
) -> Indices:
    r"""Sort the pool into clusters and pick the best text of each, best cluster first.

    When there are fewer clusters than texts to pick, the second best of each follow, and so on.
    What stands out within its cluster is picked, so the kernel decides only what is the same.

    Args:
        quality: Qualities (n,).
        S: Similarities (n, n) of the pool; need not be positive semi-definite.
        size: How many to pick, 1 to n.
        threshold: Clusters are the connected components of `S >= threshold`, as in `partition`;
            None merges the two clusters of the highest mean similarity until `size` are left
            (average linkage).

    Returns:
        Indices (size,) in the order of picking.

    Raises:
        ValueError: If the shapes do not fit, `S` is not a similarity matrix, or an option is out
            of its range.

    Example:
        >>> S = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
        >>> quality = np.array([0.5, 1.0, 0.0])
        >>> print(cluster_and_best(quality, S, 2), cluster_and_best(quality, S, 2, threshold=0.95))
        [1 2] [1 0]

    Reference:
        Average linkage: Sokal and Michener, "A Statistical Method for Evaluating Systematic
        Relationships" (1958), as in SciPy. One text a class is what counts in Y. Zhang et al.,
        "NoveltyBench", arXiv 2504.05228.
    """
    S = check_similarity(S)
    size = check_integer("size", size, 1, len(S))
    quality = check_per_text("quality", quality, len(S))
    labels = _linked(S, size) if threshold is None else components(S, threshold=threshold)
    # Best first, then by the place within the cluster: the bests of all clusters come first.
    order = np.argsort(-quality, kind="stable")
    place = np.empty(len(S), dtype=np.intp)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        place[members] = np.arange(len(members))
    return order[np.argsort(place[order], kind="stable")][:size]


def _linked(S: Floats, count: int) -> Labels:
    """Cut the average-linkage tree of 1 - S into so many clusters."""
    if count >= len(S):
        return np.arange(len(S))
    upper = np.triu_indices(len(S), 1)
    labels: Labels = cut_tree(average(1.0 - S[upper]), n_clusters=[count])[:, 0].astype(np.int64)
    return labels


def farthest_point(S: Floats, size: int, *, first: int = 0) -> Indices:
    r"""Pick, again and again, the text farthest from all that are picked.

    .. math:: i^* = \arg\min_{i \notin A} \; \max_{j \in A} s_{ij}

    It spreads as widely as it can and so collects outliers: filter by quality before.

    Args:
        S: Similarities (n, n) of the pool.
        size: How many to pick, 1 to n.
        first: Index of the first pick, 0 to n - 1.

    Returns:
        Indices (size,) in the order of picking.

    Raises:
        ValueError: If `S` is not a similarity matrix, or an option is out of its range.

    Example:
        >>> S = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
        >>> print(farthest_point(S, 3), farthest_point(S, 2, first=2))
        [0 2 1] [2 0]

    Reference:
        Gonzalez, "Clustering to Minimize the Maximum Intercluster Distance" (1985). No deviation.
    """
    S = check_similarity(S)
    size = check_integer("size", size, 1, len(S))
    chosen = [check_integer("first", first, 0, len(S) - 1)]
    nearest = S[chosen[0]].copy()
    while len(chosen) < size:
        distance = 1.0 - nearest
        distance[chosen] = -np.inf
        chosen.append(first_best(distance))
        nearest = np.maximum(nearest, S[chosen[-1]])
    return np.array(chosen, dtype=np.intp)
