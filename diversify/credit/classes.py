"""Classes of texts that say the same, as integer labels (n,), and the credits of labels."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from diversify.credit.checks import (
    Floats,
    Labels,
    check_labels,
    check_per_text,
    check_weight,
    class_sizes,
)
from diversify.kernels import Same, ask, check_integer, check_texts
from diversify.measures import components


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
    sizes = class_sizes(labels)
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
    check_weight(alpha, np.inf, name="alpha")
    return class_sizes(labels) ** -alpha


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
    sizes = class_sizes(labels)
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
    labels = check_labels(labels)
    valid = np.asarray(valid, dtype=None if len(labels) else np.bool_)
    if valid.dtype != np.bool_ or valid.shape != labels.shape:
        raise ValueError(
            f"valid must be booleans of shape {labels.shape}, got {valid.dtype} {valid.shape}"
        )
    size = check_integer("size", size, 1)
    result = np.full(len(labels), -1.0)
    sizes = class_sizes(labels[valid])
    result[valid] = 1.0 - np.abs(sizes / max(len(sizes), 1) - 1.0 / size)
    return result


def polychromic_credit(rewards: Floats, labels: Labels, *, size: int = 4) -> Floats:
    r"""Credit each text with what the sets that hold it are worth above the mean set.

    A set S of `size` texts is worth its mean reward times the share of different classes in it:

    .. math::
        f(S) = \frac{\sum_{j \in S} r_j}{|S|} \cdot \frac{|\{C_j : j \in S\}|}{|S|}, \qquad
        c_i = \mathbb{E}_{S \ni i} f(S) - \mathbb{E}_S f(S)

    In closed form over all sets, O(n^2) times the number of classes. At size 1 it is the reward
    minus the mean.

    Args:
        rewards: Rewards (n,) of 0 or more.
        labels: Classes (n,).
        size: Texts of a set, 1 to n.

    Returns:
        Credits (n,), of mean 0.

    Raises:
        ValueError: If the shapes do not fit, rewards are not finite or negative (a set would be
            worth more for saying the same), or `size` is not between 1 and n.

    Example:
        >>> print(polychromic_credit(np.ones(4), np.array([0, 0, 0, 1]), size=2).round(4))
        [-0.0833 -0.0833 -0.0833  0.25  ]

    Reference:
        Hamid et al., "Polychromic Objectives for Reinforcement Learning", arXiv 2509.25424, and
        Poly-EPO, arXiv 2604.17654: the marginal set advantage, as a mean over sets instead of a sum,
        so that the scale does not grow with n.
    """
    labels = check_labels(labels)
    n = len(labels)
    rewards = check_per_text("rewards", rewards, n)
    if (rewards < 0).any():
        raise ValueError(f"rewards must be 0 or more, got {rewards.min():.4g}")
    if not n:
        return np.empty(0)
    size = check_integer("size", size, 1, n)
    _, own, counts = np.unique(labels, return_inverse=True, return_counts=True)
    # Given that i is in the set: is j, and does the set miss a class that neither of them has?
    joined = np.where(np.eye(n, dtype=np.bool_), 1.0, (size - 1) / max(n - 1, 1))
    different = joined * len(counts)
    for label, count in enumerate(counts):
        outside = own != label
        missing = np.full((n, n), _share_without(n, count, size, given=2))
        np.fill_diagonal(missing, _share_without(n, count, size, given=1))
        different -= missing * np.outer(outside, outside)
    worth: Floats = different @ rewards / size**2
    credit: Floats = worth - worth.mean()
    return credit


def _share_without(n: int, count: int, size: int, *, given: int) -> float:
    """Share of the sets with one given text that hold `given` certain texts and miss `count` others."""
    if size < given or n - given - count < size - given:
        return 0.0
    return math.comb(n - given - count, size - given) / math.comb(n - 1, size - 1)
