"""Credits of `S`: what one text adds to its group, or how far it is from the others."""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from diversify.credit.checks import Floats, Indices, check_per_text, check_weight, first_best
from diversify.kernels import check_integer
from diversify.measures import (
    Measure,
    check_finite,
    check_range,
    check_similarity,
    effective_number,
    nearest_similarity,
    spectrum,
    vendi,
)

Credit: TypeAlias = Callable[[Floats], Floats]
"""From similarities (n, n) to the credit of each text (n,)."""

# Subsets measured together: bounds the memory of a large pool to a few dozen copies of S.
CHUNK = 64


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
    whole = measure_subsets(S, everything[None, :], measure)
    return whole - measure_subsets(S, others, measure)


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
    rewards = check_per_text("rewards", rewards, len(S))
    check_weight(weight, 1.0)
    if not len(S):
        return np.empty(0)
    order, values = pick_by_relevance(rewards, S, len(S), weight=weight, floor=0.0)
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


def measure_subsets(S: Floats, subsets: Indices, measure: Measure) -> Floats:
    """Measure many subsets (m, k) of one checked `S`: (m,) values."""
    if measure is not vendi or subsets.shape[1] == 0:
        return np.array([measure(S[np.ix_(subset, subset)]) for subset in subsets])
    chunks = [subsets[start : start + CHUNK] for start in range(0, len(subsets), CHUNK)]
    # One batched eigenvalue call instead of many small ones: the same numbers in a third of the
    # time for groups of 8 or 16.
    return np.concatenate(
        [effective_number(spectrum(S[part[:, :, None], part[:, None, :]])) for part in chunks]
    )


def pick_by_relevance(
    relevance: Floats, S: Floats, size: int, *, weight: float, floor: float
) -> tuple[Indices, Floats]:
    """Pick by marginal relevance: indices (size,), and the value at which each was picked."""
    scale = 1.0 + float(np.abs(relevance).max())
    chosen = [first_best(relevance, scale)]
    values = [float(relevance[chosen[0]])]
    nearest = np.maximum(S[chosen[0]], floor)
    while len(chosen) < size:
        value = weight * relevance - (1.0 - weight) * nearest
        value[chosen] = -np.inf
        chosen.append(first_best(value, scale))
        values.append(float(value[chosen[-1]]))
        nearest = np.maximum(nearest, S[chosen[-1]])
    return np.array(chosen, dtype=np.intp), np.array(values)
