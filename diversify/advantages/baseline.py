"""Advantages from the rewards alone: by the mean of the group, by sets of k, by rarity of a class."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike

from diversify.advantages.values import ArrayT, as_group, check_not_negative, like
from diversify.credit import rarity_weight
from diversify.kernels import check_integer

Scale: TypeAlias = Literal["none", "group"]

STD_EPSILON = 1e-4  # TRL's
RATIO_EPSILON = 1e-6  # that of the authors of pass@k training and of MaxRL


def group_advantages(rewards: ArrayT, *, scale: Scale = "none") -> ArrayT:
    r"""Subtract the mean of the group; divide by its standard deviation if asked to.

    .. math:: A_i = r_i - \bar r, \qquad A_i = (r_i - \bar r) / (\mathrm{std}(r) + 10^{-4})

    The standard deviation is the unbiased one. These are TRL's advantages for
    `scale_rewards="none"` and `"group"`.

    Args:
        rewards: Rewards (n,) of one group.
        scale: "none" or "group". Division makes every group count alike, also one whose answers
            differ by next to nothing; methods for diversity mostly do without.

    Returns:
        Advantages (n,), of mean 0; 0 for a group of one.

    Raises:
        ValueError: If rewards are not a finite vector, or `scale` is neither.

    Example:
        >>> group_advantages(np.array([1.0, 0.0, 2.0])).tolist()
        [0.0, -1.0, 1.0]

    Reference:
        Shao et al., "DeepSeekMath", arXiv 2402.03300; without the division Liu et al.,
        "Understanding R1-Zero-Like Training", arXiv 2503.20783.
    """
    if scale not in get_args(Scale):
        raise ValueError(f"scale must be one of {list(get_args(Scale))}, got {scale!r}")
    r = as_group("rewards", rewards)
    centred = r - r.mean() if len(r) else r
    if scale == "group" and len(r) > 1:
        centred = centred / (r.std() + STD_EPSILON)
    return like(centred, rewards)


def pass_at_k(correct: ArrayT, k: int) -> ArrayT:
    r"""Pay for solving a prompt in k tries: right answers count most where they are rare.

    With N answers, of them N⁻ wrong, in closed form over all sets of k:

    .. math::
        \bar R = 1 - \binom{N^-}{k} / \binom{N}{k}, \quad \sigma = \sqrt{\bar R (1 - \bar R)}, \quad
        A^+ = \frac{1 - \bar R}{\sigma}, \quad
        A^- = \frac{1 - \bar R - \binom{N^- - 1}{k - 1} / \binom{N - 1}{k - 1}}{\sigma}

    At k = 1 these are the rewards standardised by the biased standard deviation. Groups that are
    wholly right, wholly wrong, or in which no k answers are all wrong, get 0.

    Args:
        correct: Whether each of the n answers is right (n,): booleans, or 0 and 1.
        k: Size of a set, 1 to n.

    Returns:
        Advantages (n,), of mean 0.

    Raises:
        ValueError: If `correct` is not a vector of 0 and 1, or k is not between 1 and n.

    Example:
        >>> pass_at_k(np.array([1.0, 0.0, 0.0, 0.0]), 2).round(4).tolist()
        [1.0, -0.3333, -0.3333, -0.3333]

    Reference:
        Chen et al., "Pass@k Training for Adaptively Balancing Exploration and Exploitation of
        Large Reasoning Models", arXiv 2508.10751; sigma gets 1e-6 added, as in the authors' code.
    """
    right = as_group("correct", correct)
    if not ((right == 0) | (right == 1)).all():
        raise ValueError(f"correct must hold only 0 and 1, got {right.tolist()!r:.200}")
    n = len(right)
    check_integer("k", k, 1, n)
    wrong = n - int(right.sum())
    fail = math.comb(wrong, k) / math.comb(n, k)  # 1 - R: a set of k without a right answer
    sigma = math.sqrt(fail * (1.0 - fail)) + RATIO_EPSILON
    with_one_wrong = math.comb(max(wrong - 1, 0), k - 1) / math.comb(n - 1, k - 1)
    if not wrong:
        return like(torch.zeros_like(right), correct)
    advantages = right * (fail / sigma) + (1 - right) * ((fail - with_one_wrong) / sigma)
    return like(advantages, correct)


def pkpo(rewards: ArrayT, k: int) -> ArrayT:
    r"""Pay each answer what it adds to the best of k, less what the others add.

    .. math::
        s_i = \frac{1}{\binom{n-1}{k-1}} \sum_{S \ni i, |S| = k} \big(\max_S r - \max_{S - i} r\big),
        \qquad A_i = s_i - \frac{1}{n - 1} \sum_{j \ne i} s_j

    The maximum of the empty set counts as 0. For rewards of 0 and 1 with c right answers,
    :math:`s_i = r_i \binom{n-c}{k-1} / \binom{n-1}{k-1}`. At k = 1 this is RLOO.

    Args:
        rewards: Rewards (n,), binary or continuous.
        k: Size of a set, 1 to n. Anneal it towards 1 (`Anneal`), or the first answer gets worse.

    Returns:
        Advantages (n,), of mean 0; 0 for a group of one.

    Raises:
        ValueError: If rewards are not a finite vector, or k is not between 1 and n.

    Example:
        >>> pkpo(np.array([1.0, 1.0, 0.0, 0.0]), 2).round(4).tolist()
        [0.4444, 0.4444, -0.4444, -0.4444]

    Reference:
        Walder and Karkhanis, "Pass@K Policy Optimization: Solving Harder Reinforcement Learning
        Problems", arXiv 2505.15201: the leave-one-out-minus-one estimator without its constant
        k / n, and a leave-one-out baseline after it, as in the code of the MaxRL authors.
    """
    r = as_group("rewards", rewards)
    n = len(r)
    check_integer("k", k, 1, n)
    if n == 1:
        return like(torch.zeros_like(r), rewards)
    if k == 1:
        added = r
    else:
        # Of the k - 1 others the best has ascending rank j in C(j, k - 2) of the sets (j from 0).
        order = r.argsort()
        ascending = r[order]
        ways = torch.tensor([math.comb(j, k - 2) for j in range(n)], dtype=torch.float64)
        ways = (ways / math.comb(n - 1, k - 1)).to(r)
        gaps = (ascending[:, None] - ascending[None, :]).tril(-1)
        added = torch.empty_like(r)
        added[order] = gaps @ ways
    return like((n * added - added.sum()) / (n - 1), rewards)


def max_rl(rewards: ArrayT) -> ArrayT:
    r"""Divide the advantage by the mean reward: hard prompts count as the likelihood would have it.

    .. math:: A_i = (r_i - \bar r) / (\bar r + 10^{-6})

    Args:
        rewards: Rewards (n,) of 0 or more, meant to be 0 and 1.

    Returns:
        Advantages (n,), of mean 0.

    Raises:
        ValueError: If rewards are not a finite vector, or one is negative: the mean could be 0
            where the rewards differ.

    Example:
        >>> max_rl(np.array([1.0, 0.0, 0.0, 0.0])).round(3).tolist()
        [3.0, -1.0, -1.0, -1.0]

    Reference:
        Tajwar et al., "Maximum Likelihood Reinforcement Learning", arXiv 2602.02710. No deviation.
    """
    r = check_not_negative("rewards", as_group("rewards", rewards))
    mean = r.mean() if len(r) else r.sum()
    return like((r - mean) / (mean + RATIO_EPSILON), rewards)


def uniqueness(rewards: ArrayT, labels: ArrayLike, *, alpha: float = 1.0) -> ArrayT:
    r"""Weigh the standardised advantage of each answer by the rarity of its class.

    .. math:: A_i = |C_i|^{-\alpha}\, \frac{r_i - \bar r}{\mathrm{std}(r) + 10^{-4}}

    The weight meets negative advantages too: a rare wrong answer is punished in full and a common
    one less. `diversify.rewards.uniqueness` weighs the reward instead, which does not do that.

    Args:
        rewards: Rewards (n,).
        labels: Classes (n,), integers: which answers take one approach.
        alpha: Strength, 0 or more; 0 is GRPO.

    Returns:
        Advantages (n,); not of mean 0.

    Raises:
        ValueError: If rewards are not a finite vector, labels not integers or of another length,
            or alpha is negative.

    Example:
        >>> uniqueness(np.array([1.0, 1.0, 1.0, 0.0]), [0, 0, 1, 2]).round(3)
        array([ 0.25,  0.25,  0.5 , -1.5 ])

    Reference:
        Hu et al., "Rewarding the Rare: Uniqueness-Aware RL for Creative Problem Solving in LLMs",
        arXiv 2601.08763. No deviation; the classes are for the caller to find.
    """
    r = as_group("rewards", rewards)
    weight = rarity_weight(np.asarray(labels), alpha=alpha)
    if len(weight) != len(r):
        raise ValueError(f"labels must be one for each of {len(r)} rewards, got {len(weight)}")
    standardised = as_group("advantages", group_advantages(r, scale="group"))
    return like(standardised * torch.as_tensor(weight).to(r), rewards)
