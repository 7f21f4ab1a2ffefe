"""Similarity to credit: what each text adds to its group, and which texts to keep.

A set-level number is the same for every member of a group, so a policy gradient learns nothing
from it; credit is per text. Three families:

- credits of `S`, listed in `CREDITS`: (n, n) similarities to (n,) credits;
- classes (`partition`, `leader_partition`), integer labels (n,), and the credits of labels;
- selections: which `size` texts of a pool to keep, as indices in the order of picking.

Every credit is higher for the more different text and follows its text when the texts are
reordered. A group of *one text* has nothing to repeat and gets the highest credit there is at
n = 1; each docstring says which. Of candidates that are equally good up to rounding, the one with
the lowest index wins, everywhere.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from diversify.kernels import Same, ask, check_integer, check_texts
from diversify.measures import (
    TOLERANCE,
    Measure,
    check_finite,
    check_range,
    check_similarity,
    components,
    effective_number,
    nearest_similarity,
    spectrum,
    vendi,
)

__all__ = [
    "CREDITS",
    "dpp_select",
    "facility_location",
    "farthest_point",
    "inverse_frequency",
    "leader_partition",
    "leave_one_out",
    "log_det_credit",
    "mmr_rewards",
    "mmr_select",
    "mutual_information_weight",
    "nearest_credit",
    "partition",
    "partition_credit",
    "rarity_weight",
    "repulsion_credit",
    "select",
    "uniform_target",
]

Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int64]
Indices: TypeAlias = NDArray[np.intp]
Credit: TypeAlias = Callable[[Floats], Floats]
"""From similarities (n, n) to the credit of each text (n,)."""

# Subsets measured together: bounds the memory of a large pool to a few dozen copies of S.
CHUNK = 64
# Values closer than this, relative to their scale, are ties.
TIE = 1e-12


# --- credits of S ---------------------------------------------------------------------------


def leave_one_out(S: Floats, measure: Measure = vendi) -> Floats:
    r"""Credit each text with what the measure loses without it.

    .. math:: c_i = m(S) - m(S_{-i})

    With `vendi` the unit is one whole new mode: a text unlike any other gets nearly 1 or more, one
    of many copies gets about 0 or less.

    Args:
        S: Similarities (n, n).
        measure: Any measure of `S`; `vendi` (order 1) is evaluated for all subsets at once.

    Returns:
        Credits (n,). One text gets the measure itself, since no texts measure 0.

    Raises:
        ValueError: If the measure refuses `S`.

    Example:
        >>> S = np.eye(4)
        >>> S[0, 1] = S[1, 0] = 1.0
        >>> print(leave_one_out(S).round(2))
        [-0.17 -0.17  0.94  0.94]

    Reference:
        Leave-one-out credit of a set-level diversity as in SetPO, arXiv 2602.01062; here for any
        measure.
    """
    S = check_similarity(S)
    n = len(S)
    if not n:
        return np.empty(0)
    everything = np.arange(n)
    others = np.array([np.delete(everything, i) for i in everything], dtype=np.intp)
    whole = _measure_subsets(S, everything[None, :], measure)
    return whole - _measure_subsets(S, others, measure)


def nearest_credit(S: Floats) -> Floats:
    r"""Credit each text with half its distance to the nearest other text, in [0, 1].

    .. math:: c_i = \min_{j \ne i} (1 - s_{ij}) / 2

    A copy gets 0, a text orthogonal to the others 0.5.

    Args:
        S: Similarities (n, n).

    Returns:
        Credits (n,); 1 for a single text.

    Raises:
        ValueError: If `S` is not a similarity matrix.

    Example:
        >>> print(nearest_credit(np.array([[1.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 1.0]])))
        [0.25 0.25 0.4 ]

    Reference:
        MoDA, mode-conditioned diversity alignment, arXiv 2609.14896: the diversity term alone,
        without its quality gate and scale.
    """
    S = check_similarity(S)
    return (1.0 - nearest_similarity(S)) / 2 if len(S) > 1 else np.ones(len(S))


def mutual_information_weight(S: Floats) -> Floats:
    r"""Weigh each text by one over its total similarity to the group, in [1 / n, 1].

    .. math:: w_i = 1 / \sum_j \mathrm{clip}(s_{ij}, 0, 1)

    The sum includes the text itself. k identical texts in a group of otherwise orthogonal ones
    weigh 1 / k each.

    Args:
        S: Similarities (n, n).

    Returns:
        Weights (n,), to multiply a non-negative reward with.

    Raises:
        ValueError: If `S` is not a similarity matrix.

    Example:
        >>> print(mutual_information_weight(np.array([[1.0, 0.6], [0.6, 1.0]])))
        [0.625 0.625]

    Reference:
        X. Chen et al., "DRA-GRPO: Exploring Diversity-Aware Reward Adjustment for R1-Zero-Like
        Training of Large Language Models", arXiv 2505.09655. Deviation: similarities are clipped
        at 0, since negative ones can send the weight to infinity.
    """
    total: Floats = np.clip(check_similarity(S), 0.0, 1.0).sum(axis=1)
    return 1.0 / total


def log_det_credit(S: Floats) -> Floats:
    r"""Credit each text with the volume it adds, from log((n + 1) / n) to log 2.

    .. math::
        \ell_i = \log\det(S + I_n) - \log\det(S_{-i} + I_{n-1})
               = -\log \big[(S + I)^{-1}\big]_{ii}

    The second form (Cramer's rule) needs one decomposition instead of n + 1.

    Args:
        S: Similarities (n, n), positive semi-definite.

    Returns:
        Credits (n,); log 2 for a single text.

    Raises:
        ValueError: If `S` is not a similarity matrix or clearly not positive semi-definite.

    Example:
        >>> print(log_det_credit(np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])))
        [0.40546511 0.69314718 0.40546511]

    Reference:
        Y. Chen et al., "Enhancing Diversity in Large Language Models via Determinantal Point
        Processes", arXiv 2509.04784. No deviation.
    """
    S = check_similarity(S)
    if not len(S):
        return np.empty(0)
    spectrum(S)  # refuses what is not positive semi-definite
    credit: Floats = -np.log(np.diagonal(np.linalg.inv(S + np.eye(len(S)))))
    return credit


CREDITS: dict[str, Credit] = {
    "leave_one_out": leave_one_out,
    "nearest_credit": nearest_credit,
    "mutual_information_weight": mutual_information_weight,
    "log_det_credit": log_det_credit,
}
"""The credits that need nothing but `S`."""


def mmr_rewards(rewards: Floats, S: Floats, *, weight: float = 0.7) -> Floats:
    r"""Replace each reward by its marginal relevance at the moment the text is picked.

    The best text is picked first and keeps its reward. Then, again and again, the text of the
    greatest value is picked and keeps that value:

    .. math:: w\, r_i - (1 - w) \max(\max_{j \in \mathrm{picked}} s_{ij}, 0)

    Args:
        rewards: Rewards (n,), on a scale comparable to similarities (about 0 to 1); on another
            scale the weight loses its meaning.
        S: Similarities (n, n) of one group.
        weight: w in [0, 1]: 1 returns the rewards, 0 looks at similarity alone after the first.

    Returns:
        New rewards (n,), in the order of the texts; a single text keeps its reward.

    Raises:
        ValueError: If rewards are not finite or do not fit `S`, or `weight` is outside [0, 1].

    Example:
        >>> S = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 1.0]])
        >>> print(mmr_rewards(np.array([1.0, 1.0, 0.5]), S))
        [1.   0.43 0.35]

    Reference:
        Wei and Huang, "MMR-GRPO: Accelerating GRPO-Style Training through Diversity-Aware Reward
        Reweighting", arXiv 2601.09085. Deviation: one group at a time, where the authors' code
        ranks the whole batch across prompts; the weight is fixed, without adaptive schedules.
    """
    S = check_similarity(S)
    rewards = _check_per_text("rewards", rewards, len(S))
    _check_weight(weight, 1.0)
    if not len(S):
        return np.empty(0)
    order, values = _mmr(rewards, S, len(S), weight=weight, floor=0.0)
    result = np.empty(len(S))
    result[order] = values
    return result


def repulsion_credit(cross: Floats, *, nearest: int = 1) -> Floats:
    r"""Credit each text with its distance from what other models answered, in [0, 2].

    .. math:: c_i = 1 - \frac{1}{k} \sum \text{of the } k \text{ largest } s_{ij} \text{ over peers}

    An answer that some peer gives word for word gets 0. Off-topic text is far from every peer:
    gate it with a quality.

    Args:
        cross: Similarities (n, m) of the n texts to m answers of peers (`cross_similarity`).
        nearest: k, how many of the nearest answers to average over: more is less sensitive to
            one stray peer.

    Returns:
        Credits (n,). Each text is credited alone, so a single one is nothing special.

    Raises:
        ValueError: If `cross` is not a finite matrix of similarities, or `nearest` is not between
            1 and m. There is no credit without peers.

    Example:
        >>> cross = np.array([[1.0, 0.2, 0.0], [0.5, 0.4, 0.3]])
        >>> print(repulsion_credit(cross), repulsion_credit(cross, nearest=2))
        [0.  0.5] [0.4  0.55]

    Reference:
        Ours; it turns the inter-model similarity of Jiang et al., "Artificial Hivemind", arXiv
        2510.22954, into a reward.
    """
    cross = check_finite("cross", cross)
    if cross.ndim != 2 or cross.shape[1] == 0:
        raise ValueError(f"cross must be a matrix (n, m) with m > 0, got shape {cross.shape}")
    check_range("cross", cross)
    nearest = check_integer("nearest", nearest, 1, cross.shape[1])
    closest: Floats = np.sort(np.clip(cross, -1.0, 1.0), axis=1)[:, -nearest:].mean(axis=1)
    return 1.0 - closest


# --- classes and their credits --------------------------------------------------------------


def partition(S: Floats, *, threshold: float) -> Labels:
    """Sort texts into classes: connected components of `S >= threshold`.

    The closure of the pairwise verdicts, so the order of the texts does not matter; a chain of
    similar pairs is one class, even when its ends differ.

    Args:
        S: Similarities (n, n); need not be positive semi-definite.
        threshold: In [-1, 1]; higher gives more and smaller classes.

    Returns:
        Labels (n,), numbered from 0 in order of first appearance.

    Raises:
        ValueError: If `S` is not a similarity matrix, or the threshold is outside [-1, 1].

    Example:
        >>> S = np.array([[1.0, 0.2, 0.9], [0.2, 1.0, 0.3], [0.9, 0.3, 1.0]])
        >>> print(partition(S, threshold=0.85))
        [0 1 0]

    Reference:
        The closure used by T. Li et al. (DARLING), arXiv 2509.02534, on any similarity.
    """
    return components(S, threshold=threshold)


def leader_partition(texts: Sequence[str], same: Same) -> Labels:
    """Sort texts into classes by comparing each with the first member of every class.

    A text joins the first class whose head the judge finds equal, or opens a class of its own.
    With a judge that is not transitive the classes depend on the order of the texts; that is
    NoveltyBench's rule, kept so that its numbers can be reproduced. Prefer `partition` otherwise.

    Args:
        texts: n texts, in order of generation.
        same: Judge, always asked `same(head, text)`, also about identical and blank texts.

    Returns:
        Labels (n,), numbered from 0 in order of first appearance. `max + 1` classes.

    Raises:
        ValueError: If `texts` are not strings or the judge does not answer with a bool.

    Example:
        >>> print(leader_partition(["red", "rose", "blue"], lambda head, text: head[0] == text[0]))
        [0 0 1]

    Reference:
        Y. Zhang et al., "NoveltyBench: Evaluating Language Models for Humanlike Diversity", arXiv
        2504.05228, v1.0. The paper compares with a random member of a class; its code, and we,
        with the first.
    """
    texts = check_texts(texts)
    heads: list[str] = []
    labels = np.empty(len(texts), dtype=np.int64)
    for i, text in enumerate(texts):
        matches = (number for number, head in enumerate(heads) if ask(same, head, text))
        labels[i] = next(matches, len(heads))
        if labels[i] == len(heads):
            heads.append(text)
    return labels


def partition_credit(labels: Labels) -> Floats:
    r"""Credit each text with the share of the others that say something else, in [0, 1].

    .. math:: c_i = (n - |C_i|) / (n - 1)

    Args:
        labels: Classes (n,).

    Returns:
        Credits (n,); 1 for a single text, as in any group without repetition.

    Raises:
        ValueError: If labels are not a vector of integers.

    Example:
        >>> print(partition_credit(np.array([0, 0, 1, 2])))
        [0.66666667 0.66666667 1.         1.        ]

    Reference:
        T. Li et al., "Jointly Reinforcing Diversity and Quality in Language Model Generations",
        arXiv 2509.02534. Deviation: none from the paper; its code adds a floor of 0.1.
    """
    sizes = _class_sizes(labels)
    n = len(sizes)
    return (n - sizes) / (n - 1) if n > 1 else np.ones(n)


def rarity_weight(labels: Labels, *, alpha: float = 1.0) -> Floats:
    r"""Weigh each text by the size of its class, in (0, 1].

    .. math:: w_i = |C_i|^{-\alpha}

    Args:
        labels: Classes (n,).
        alpha: Strength, 0 or more: 0 gives every text 1; at 1 every class weighs 1 in all.

    Returns:
        Weights (n,), to multiply a non-negative reward with. On signed advantages a rare wrong
        answer would be punished at full weight and a common one less.

    Raises:
        ValueError: If labels are not a vector of integers, or alpha is negative or not finite.

    Example:
        >>> print(rarity_weight(np.array([0, 0, 0, 0, 1]), alpha=0.5))
        [0.5 0.5 0.5 0.5 1. ]

    Reference:
        Hu et al., "Rewarding the Rare: Uniqueness-Aware RL for Creative Problem Solving in LLMs",
        arXiv 2601.08763. No deviation in the weight.
    """
    _check_weight(alpha, np.inf, name="alpha")
    return _class_sizes(labels) ** -alpha


def inverse_frequency(labels: Labels) -> Floats:
    r"""Weigh each text by one over the frequency of its class in the group, in [1, n].

    .. math:: w_i = 1 / \hat p(C_i) = n / |C_i|

    Args:
        labels: Classes (n,).

    Returns:
        Weights (n,), to multiply a non-negative reward with. Every class weighs n in all.

    Raises:
        ValueError: If labels are not a vector of integers.

    Example:
        >>> print(inverse_frequency(np.array([0, 0, 0, 1])))
        [1.33333333 1.33333333 1.33333333 4.        ]

    Reference:
        Sinha et al., "Expected Return Causes Outcome-Level Mode Collapse in Reinforcement
        Learning and How to Fix It with Inverse Probability Scaling", arXiv 2601.21669. No
        deviation.
    """
    sizes = _class_sizes(labels)
    return len(sizes) / sizes


def uniform_target(labels: Labels, valid: NDArray[np.bool_], *, size: int) -> Floats:
    r"""Reward how near the frequency of an answer is to uniform, in [-1, 1].

    .. math:: r_i = 1 - |f_i - 1 / L| \text{ if valid, else } -1

    `f_i` is the share of the valid texts that have the class of text i. 1 means that the answer
    comes exactly as often as it should.

    Args:
        labels: Classes (n,). Invalid texts may have any label.
        valid: Booleans (n,): is the text one of the allowed answers?
        size: L, how many allowed answers there are.

    Returns:
        Rewards (n,). A single valid text has f = 1 and gets 1 / L.

    Raises:
        ValueError: If labels are not a vector of integers, `valid` is not a boolean vector of the
            same length, or `size` is not a positive integer.

    Example:
        >>> print(uniform_target([0, 0, 0, 1, 7], [True, True, True, True, False], size=2))
        [ 0.75  0.75  0.75  0.75 -1.  ]

    Reference:
        Anschel et al., "Group-Aware Reinforcement Learning for Output Diversity in Large Language
        Models", arXiv 2511.12596. No deviation.
    """
    labels = _check_labels(labels)
    valid = np.asarray(valid, dtype=None if len(labels) else np.bool_)
    if valid.dtype != np.bool_ or valid.shape != labels.shape:
        raise ValueError(
            f"valid must be booleans of shape {labels.shape}, got {valid.dtype} {valid.shape}"
        )
    size = check_integer("size", size, 1)
    result = np.full(len(labels), -1.0)
    sizes = _class_sizes(labels[valid])
    result[valid] = 1.0 - np.abs(sizes / max(len(sizes), 1) - 1.0 / size)
    return result


# --- selection: which texts of a pool to keep -----------------------------------------------


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
    worth = np.zeros(len(S)) if quality is None else _check_per_text("quality", quality, len(S))
    _check_weight(weight, np.inf)
    worth = weight * worth
    scale = 1.0 + float(np.abs(worth).max())
    chosen = [_first_best(worth, scale)]
    while len(chosen) < size:
        rest = np.setdiff1d(np.arange(len(S)), chosen)
        subsets = np.column_stack([np.tile(chosen, (len(rest), 1)), rest])
        gains = _measure_subsets(S, subsets, measure) + worth[rest]
        chosen.append(int(rest[_first_best(gains, scale)]))
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
    relevance = _check_per_text("relevance", relevance, len(S))
    _check_weight(weight, 1.0)
    # No similarity is below -1, so this floor never binds.
    order, _ = _mmr(relevance, S, size, weight=weight, floor=-1.0)
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
    L = _check_kernel(L)
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
        pick = _first_best(candidates, best)
        rows[step] = (L[pick] - rows[:step, pick] @ rows[:step]) / np.sqrt(variance[pick])
        variance -= rows[step] ** 2
        chosen.append(pick)
    return np.array(chosen, dtype=np.intp)


def facility_location(S: Floats, size: int) -> Indices:
    r"""Pick representatives, so that every text of the pool has a similar one among the picked.

    .. math:: \max_A \sum_i \max_{j \in A} s_{ij}

    Greedy, at least 1 - 1/e of the best when no similarity is negative. The first pick is the
    text most similar to all (the medoid). It covers the modes and passes over outliers.

    Args:
        S: Similarities (n, n) of the pool.
        size: How many to pick, 1 to n.

    Returns:
        Indices (size,) in the order of picking.

    Raises:
        ValueError: If `S` is not a similarity matrix, or `size` is not between 1 and n.

    Example:
        >>> S = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
        >>> print(facility_location(S, 2))
        [1 2]

    Reference:
        Nemhauser, Wolsey and Fisher, "An Analysis of Approximations for Maximizing Submodular Set
        Functions" (1978). No deviation.
    """
    S = check_similarity(S)
    size = check_integer("size", size, 1, len(S))
    cover = np.full(len(S), -1.0)
    chosen: list[int] = []
    while len(chosen) < size:
        value = np.maximum(cover, S).sum(axis=1)
        value[chosen] = -np.inf
        chosen.append(_first_best(value, float(len(S))))
        cover = np.maximum(cover, S[chosen[-1]])
    return np.array(chosen, dtype=np.intp)


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
        chosen.append(_first_best(distance))
        nearest = np.maximum(nearest, S[chosen[-1]])
    return np.array(chosen, dtype=np.intp)


# --- private --------------------------------------------------------------------------------


def _measure_subsets(S: Floats, subsets: Indices, measure: Measure) -> Floats:
    """Measure many subsets (m, k) of one checked `S`: (m,) values."""
    if measure is not vendi or subsets.shape[1] == 0:
        return np.array([measure(S[np.ix_(subset, subset)]) for subset in subsets])
    chunks = [subsets[start : start + CHUNK] for start in range(0, len(subsets), CHUNK)]
    # One batched eigenvalue call instead of many small ones: the same numbers in a third of the
    # time for groups of 8 or 16.
    return np.concatenate(
        [effective_number(spectrum(S[part[:, :, None], part[:, None, :]])) for part in chunks]
    )


def _mmr(
    relevance: Floats, S: Floats, size: int, *, weight: float, floor: float
) -> tuple[Indices, Floats]:
    """Pick by marginal relevance: indices (size,), and the value at which each was picked."""
    scale = 1.0 + float(np.abs(relevance).max())
    chosen = [_first_best(relevance, scale)]
    values = [float(relevance[chosen[0]])]
    nearest = np.maximum(S[chosen[0]], floor)
    while len(chosen) < size:
        value = weight * relevance - (1.0 - weight) * nearest
        value[chosen] = -np.inf
        chosen.append(_first_best(value, scale))
        values.append(float(value[chosen[-1]]))
        nearest = np.maximum(nearest, S[chosen[-1]])
    return np.array(chosen, dtype=np.intp), np.array(values)


def _first_best(values: Floats, scale: float = 1.0) -> int:
    """Find the lowest index whose value is the maximum, up to rounding at this scale."""
    return int(np.flatnonzero(values >= values.max() - TIE * scale)[0])


def _check_labels(labels: Labels) -> Labels:
    """Return labels as an int64 vector, or raise ValueError."""
    array = np.asarray(labels)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"labels must be a vector of integers, got {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)


def _class_sizes(labels: Labels) -> Floats:
    """Count, for each text, the members of its class: (n,) as floats."""
    _, inverse, counts = np.unique(_check_labels(labels), return_inverse=True, return_counts=True)
    return counts[inverse].astype(np.float64)


def _check_per_text(name: str, values: Floats, n: int) -> Floats:
    """Return finite values (n,), or raise ValueError."""
    values = check_finite(name, values)
    if values.shape != (n,):
        raise ValueError(f"{name} must have one value per text, ({n},), got shape {values.shape}")
    return values


def _check_weight(value: float, high: float, *, name: str = "weight") -> None:
    """Accept a finite option between 0 and `high`, or raise ValueError."""
    if not (0.0 <= value <= high and np.isfinite(value)):
        raise ValueError(f"{name} must be finite and between 0 and {high}, got {value}")


def _check_kernel(L: Floats) -> Floats:
    """Return a finite, square, symmetric matrix with no negative diagonal, or raise ValueError."""
    L = check_finite("L", L)
    if L.ndim != 2 or L.shape[0] != L.shape[1]:
        raise ValueError(f"L must be a square matrix (n, n), got shape {L.shape}")
    diagonal = np.diagonal(L)
    if (diagonal < 0).any():
        raise ValueError(f"L must have a diagonal of 0 or more, got {diagonal.min():.4g}")
    # |l_ij| <= sqrt(l_ii l_jj) in a positive semi-definite matrix: the scale of each entry.
    allowed = TOLERANCE * np.sqrt(np.outer(diagonal, diagonal))
    if (np.abs(L - L.T) > allowed).any():
        raise ValueError(
            f"L must be symmetric, got entries that differ by {np.ptp(L - L.T) / 2:.4g}"
        )
    return (L + L.T) / 2
