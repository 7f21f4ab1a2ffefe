"""Rewards that are one function of the qualities and the likeness of a group: MMR, polychromic sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from diversify.credit import Floats, mmr_rewards, partition, polychromic_credit
from diversify.engines import Prompt
from diversify.kernels import Kernel, check_integer
from diversify.measures import DISTINCT_THRESHOLD
from diversify.rewards.composite import Combined, CompositeReward, Quality
from diversify.rewards.diversity import (
    ColumnKernel,
    check_callable,
    check_kernel,
    kernel_column,
    pay_answers,
)
from diversify.rewards.group import Group

__all__ = ["JointReward", "MarginalRelevance", "PolychromicCredit"]

Joint: TypeAlias = Callable[..., Floats]
"""From similarities (n, n) and `quality` (n,) to rewards (n,)."""


class JointReward(CompositeReward):
    """Pay what a function makes of the qualities and similarities of a whole group.

    For methods that are no product, sum or gate of a quality and a credit. Blank completions are
    left out and get the lowest reward of their group or 0, whichever is less.

    Args:
        quality: any TRL reward.
        kernel: from texts to similarities (n, n).
        joint: from similarities (n, n) and `quality` (n,) to rewards (n,).
        group_size: completions of one prompt; None if the trainer is to say.
        name: name in the logs.
        scale_rewards: see `GroupReward`.

    Raises:
        ValueError: If kernel, quality or joint cannot be called; when called, if `joint` does not
            return one finite number a text.

    Example:
        >>> from diversify import NgramKernel
        >>> def sweet(prompts, completions, **columns):
        ...     return [1.0, 1.0, 0.5]
        >>> reward = JointReward(sweet, NgramKernel(), MarginalRelevance(), group_size=3)
        >>> [round(value, 2) for value in reward(["Name a fruit."] * 3, ["fig", "fig", "banana"])]
        [1.0, 0.4, 0.35]
    """

    def __init__(
        self,
        quality: Quality,
        kernel: Kernel | ColumnKernel,
        joint: Joint,
        *,
        group_size: int | None = None,
        name: str = "joint",
        scale_rewards: str | None = None,
    ) -> None:
        super().__init__(
            {"quality": quality}, group_size=group_size, name=name, scale_rewards=scale_rewards
        )
        self.kernel = check_kernel(kernel)
        self.joint = check_callable("joint", joint)

    def _describe_rows(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None,
        columns: Mapping[str, Any],
    ) -> dict[str, list[Any]]:
        asked = super()._describe_rows(prompts, completions, completion_ids, columns)
        return kernel_column(self.kernel, columns) | asked

    def _combine(self, group: Group) -> Combined:
        quality = np.array(group.columns["quality"], dtype=np.float64)
        rewards, metrics = pay_answers(group, self.kernel, self.joint, quality=quality)
        return Combined(rewards, {}, metrics)


@dataclass(frozen=True)
class MarginalRelevance:
    """`mmr_rewards` as the function of a `JointReward`.

    Args:
        weight: of the quality, in [0, 1]: 1 returns it.

    Raises:
        ValueError: If `weight` is outside [0, 1].

    Example:
        >>> MarginalRelevance(weight=0.5)(np.ones((2, 2)), quality=np.array([1.0, 0.8]))
        array([ 1. , -0.1])
    """

    weight: float = 0.7

    def __post_init__(self) -> None:
        mmr_rewards(np.empty(0), np.empty((0, 0)), weight=self.weight)

    def __call__(self, S: Floats, *, quality: Floats) -> Floats:
        """Turn similarities (n, n) and qualities (n,) into rewards (n,)."""
        return mmr_rewards(quality, S, weight=self.weight)


@dataclass(frozen=True)
class PolychromicCredit:
    """`polychromic_credit` as the function of a `JointReward`: classes first, then sets.

    Args:
        size: texts of a set; groups that are smaller are one set.
        threshold: texts at least this similar, or joined by a chain of such pairs, are one class.

    Raises:
        ValueError: If `size` is not a positive integer or `threshold` outside [-1, 1].

    Example:
        >>> PolychromicCredit(size=2)(np.eye(3), quality=np.array([1.0, 1.0, 0.0])).round(4)
        array([ 0.0833,  0.0833, -0.1667])
    """

    size: int = 4
    threshold: float = DISTINCT_THRESHOLD

    def __post_init__(self) -> None:
        check_integer("size", self.size, 1)
        partition(np.empty((0, 0)), threshold=self.threshold)

    def __call__(self, S: Floats, *, quality: Floats) -> Floats:
        """Turn similarities (n, n) and qualities (n,) into rewards (n,)."""
        labels = partition(S, threshold=self.threshold)
        return polychromic_credit(quality, labels, size=min(self.size, len(S)))
