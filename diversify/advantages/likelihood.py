"""Advantages and rewards that look at how likely the policy or the reference finds an answer."""

from __future__ import annotations

import math

import torch
from scipy.stats import rankdata

from diversify.advantages.baseline import group_advantages
from diversify.advantages.values import ArrayT, as_group, beside, check_not_negative, like

SMALLEST_SHARE = 1e-6  # UCPO's floor of a softmax weight


def ucpo(rewards: ArrayT, logps: ArrayT, *, tau: float = 0.2) -> ArrayT:
    r"""Move the advantage of the right answers towards those that the policy finds unlikely.

    Over the :math:`n_c` answers of positive reward, with q the softmax of their mean log-probability
    per token:

    .. math::
        w_i = \frac{1 - \tau}{n_c} + \tau \frac{1 / q_i}{\sum_j 1 / q_j}, \qquad
        A_i = n_c\, w_i\, \frac{r_i - \bar r}{\mathrm{std}(r) + 10^{-4}}

    The right answers together keep their advantage if they all have one reward; wrong answers keep
    theirs. tau = 0 is GRPO.

    Args:
        rewards: Rewards (n,), meant to take two values; positive is right.
        logps: *Mean* log-probability per token (n,), under the policy that drew the answers.
        tau: Strength in [0, 1].

    Returns:
        Advantages (n,).

    Raises:
        ValueError: If the vectors are not finite or differ in length, or tau is outside [0, 1].

    Example:
        >>> import numpy as np
        >>> ucpo(np.array([1.0, 1.0, 0.0, 0.0]), np.log([0.5, 0.25, 0.1, 0.1]), tau=1.0).round(3)
        array([ 0.577,  1.155, -0.866, -0.866])

    Reference:
        Lochab et al., "UCPO", arXiv 2605.00365: tau 0.2 of the authors' script (their paper's
        function says 0.3, their configuration 1).
    """
    if not 0.0 <= tau <= 1.0:
        raise ValueError(f"tau must be in [0, 1], got {tau}")
    r = as_group("rewards", rewards)
    mean_logps = beside("logps", logps, r)
    advantages = as_group("advantages", group_advantages(r, scale="group")).clone()
    right = r > 0
    count = int(right.sum())
    if count:
        inverse = 1.0 / torch.softmax(mean_logps[right], dim=0).clamp_min(SMALLEST_SHARE)
        advantages[right] *= (1.0 - tau) + tau * count * inverse / inverse.sum()
    return like(advantages, rewards)


def unlikeliness(rewards: ArrayT, logps: ArrayT, *, beta: float = 0.25) -> ArrayT:
    r"""Take from the reward of the answers that the policy finds likely; returns *rewards*.

    .. math:: r'_i = r_i \,(1 - \beta\, \mathrm{rank}_i / n)

    The rank is that of the log-probability among the n answers, 0 for the least likely.

    Args:
        rewards: Rewards (n,) of 0 or more.
        logps: Log-probability of each whole answer (n,), under the policy that drew it.
        beta: Strength in [0, 1]; 0 returns the rewards.

    Returns:
        Rewards (n,).

    Raises:
        ValueError: If the vectors are not finite or differ in length, a reward is negative (a
            likely wrong answer would be *less* wrong), or beta is outside [0, 1].

    Example:
        >>> import numpy as np
        >>> unlikeliness(np.array([1.0, 1.0, 0.0, 1.0]), np.array([-3.0, -1.0, -2.0, -9.0])).tolist()
        [0.9375, 0.8125, 0.0, 1.0]

    Reference:
        He et al., "Rewarding the Unlikely: Lifting GRPO Beyond Distribution Sharpening", arXiv
        2506.02355. Deviation: answers of one log-probability share their mean rank, so that copies
        earn alike.
    """
    if not 0.0 <= beta <= 1.0:
        raise ValueError(f"beta must be in [0, 1], got {beta}")
    r = check_not_negative("rewards", as_group("rewards", rewards))
    likely = beside("logps", logps, r)
    # rankdata counts from 1
    rank = torch.as_tensor(rankdata(likely.detach().double().cpu().numpy()) - 1.0).to(r)
    return like(r * (1.0 - beta * rank / max(len(r), 1)), rewards)


def mara(rewards: ArrayT, ref_logps: ArrayT, *, tau: float, beta: float) -> ArrayT:
    r"""Level the optimum: good answers are paid for being unlikely under the reference; *rewards*.

    With z the likeliest answer under the reference among those of :math:`r \ge \tau`:

    .. math:: r'_i = r_z + \beta\, [\log \pi_{ref}(z) - \log \pi_{ref}(y_i)] \text{ if } r_i \ge \tau,
        \text{ else } r_i

    With a KL penalty of the same beta the optimal policy gives all good answers one probability.

    Args:
        rewards: Rewards (n,).
        ref_logps: Log-probability of each whole answer (n,) under the reference.
        tau: From which reward on an answer is good.
        beta: The trainer's KL coefficient, 0 or more; at 0 all good answers get the anchor's reward.

    Returns:
        Rewards (n,); unchanged where no answer is good.

    Raises:
        ValueError: If the vectors are not finite or differ in length, tau is not a number, or beta
            is negative.

    Example:
        >>> import numpy as np
        >>> mara(np.array([1.0, 0.9, 0.2]), np.array([-5.0, -3.0, -1.0]), tau=0.5, beta=0.1).tolist()
        [1.1, 0.9, 0.2]

    Reference:
        GX-Chen et al., "KL-Regularized Reinforcement Learning is Designed to Mode Collapse", arXiv
        2510.20817. No deviation; of several anchors equally likely the first counts.
    """
    if not math.isfinite(tau):
        raise ValueError(f"tau must be a finite number, got {tau}")
    if not (math.isfinite(beta) and beta >= 0):
        raise ValueError(f"beta must be finite and 0 or more, got {beta}")
    r = as_group("rewards", rewards)
    likely = beside("ref_logps", ref_logps, r)
    good = r >= tau
    if not good.any():
        return like(r.clone(), rewards)
    anchor = int(likely.masked_fill(~good, -math.inf).argmax())
    return like(torch.where(good, r[anchor] + beta * (likely[anchor] - likely), r), rewards)
