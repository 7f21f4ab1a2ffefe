"""Diversity and quality in one reward: as a product, or as a sum of standardised terms.

TRL adds the rewards of several functions; a product has to be one function that asks for the quality
itself. Any TRL reward can be the quality.
"""

from __future__ import annotations

import math
import warnings
from typing import Literal

import numpy as np

from diversify.advantages import group_advantages
from diversify.credit import Floats
from diversify.rewards.composite import CreditedReward, Quality
from diversify.rewards.diversity import CreditReward
from diversify.rewards.group import Group

__all__ = ["ProductReward", "SumReward"]


class ProductReward(CreditedReward):
    r"""Quality times credit: an answer has to be both good and different.

    .. math:: r_i = (q_i - \min_j q_j) \max(c_i, \text{floor})

    A product needs a quality of 0 or more: of two bad answers with negative quality, the one that
    everybody gives would earn *more*. The shift sees to that, at a price: the worst answer of a
    group gets 0 however different it is, and so do all when all are equally good, as is common
    with a quality of 0 or 1. For such a quality set `shift=None`.

    Args:
        quality: any TRL reward.
        diversity: kernel and credit.
        group_size: completions of one prompt; None if the trainer is to say.
        shift: "group_min" subtracts the lowest quality of the group, None nothing; a negative
            quality is then warned about.
        floor: lowest credit that counts, 0 or more. Above 0, quality still pays in a group whose
            answers are all alike.
        name: name in the logs.
        scale_rewards: see `GroupReward`.

    Raises:
        ValueError: If an option is not one of those.

    Example:
        >>> from diversify import NgramKernel
        >>> from diversify.rewards import DiversityReward, PartitionCredit
        >>> def short(prompts, completions, **columns):
        ...     return [-float(len(text)) for text in completions]
        >>> diversity = DiversityReward(NgramKernel(), PartitionCredit())
        >>> reward = ProductReward(short, diversity, group_size=3)
        >>> reward(["Name a fruit."] * 3, ["fig", "fig", "banana"])
        [1.5, 1.5, 0.0]

    Reference:
        T. Li et al., "Jointly Reinforcing Diversity and Quality in Language Model Generations",
        arXiv 2509.02534, for any credit.
    """

    def __init__(
        self,
        quality: Quality,
        diversity: CreditReward,
        *,
        group_size: int | None = None,
        shift: Literal["group_min"] | None = "group_min",
        floor: float = 0.0,
        name: str = "product",
        scale_rewards: str | None = None,
    ) -> None:
        super().__init__(
            {"quality": quality},
            diversity,
            group_size=group_size,
            name=name,
            scale_rewards=scale_rewards,
        )
        if shift not in ("group_min", None):
            raise ValueError(f"shift must be 'group_min' or None, got {shift!r}")
        if not (math.isfinite(floor) and floor >= 0):
            raise ValueError(f"floor must be finite and 0 or more, got {floor}")
        self.shift = shift
        self.floor = floor

    def _pay(self, group: Group, credit: Floats) -> tuple[Floats, dict[str, float]]:
        quality = np.array(group.columns["quality"], dtype=np.float64)
        lowest = quality.min(initial=np.inf)
        if self.shift is None and lowest < 0:
            warnings.warn(
                f"{self.__name__} multiplies a negative quality ({lowest:.4g}): common answers "
                "earn more than rare ones; use shift='group_min' or a quality of 0 or more",
                stacklevel=2,
            )
        offset = 0.0 if self.shift is None else lowest
        return (quality - offset) * np.maximum(credit, self.floor), {}


class SumReward(CreditedReward):
    r"""Quality plus credit, each standardised within the group.

    .. math:: r_i = z(q)_i + w\, z(c)_i, \qquad z(x)_i = (x_i - \bar x) / (\mathrm{std}(x) + 10^{-4})

    Unlike a sum of two of the trainer's rewards it needs no common scale. Unlike a product it pays a
    bad answer for being different: keep the weight low, or gate.

    Args:
        quality: any TRL reward.
        diversity: kernel and credit.
        group_size: completions of one prompt; None if the trainer is to say.
        weight: w, 0 or more; 0 is the standardised quality alone.
        name: name in the logs.
        scale_rewards: see `GroupReward`.

    Raises:
        ValueError: If `weight` is negative or not finite.

    Example:
        >>> from diversify import NgramKernel
        >>> from diversify.rewards import DiversityReward, PartitionCredit
        >>> def sweet(prompts, completions, **columns):
        ...     return [1.0, 0.5, 0.8, 0.2]
        >>> reward = SumReward(sweet, DiversityReward(NgramKernel(), PartitionCredit()), group_size=4)
        >>> [round(value, 2) for value in reward(["A fruit?"] * 4, ["fig", "fig", "kiwi", "plum"])]
        [0.21, -1.22, 1.37, -0.35]

    Reference:
        T. Li et al., "Jointly Reinforcing Diversity and Quality in Language Model Generations",
        arXiv 2509.02534, the variant that adds after standardising.
    """

    def __init__(
        self,
        quality: Quality,
        diversity: CreditReward,
        *,
        group_size: int | None = None,
        weight: float = 1.0,
        name: str = "sum",
        scale_rewards: str | None = None,
    ) -> None:
        super().__init__(
            {"quality": quality},
            diversity,
            group_size=group_size,
            name=name,
            scale_rewards=scale_rewards,
        )
        if not (math.isfinite(weight) and weight >= 0):
            raise ValueError(f"weight must be finite and 0 or more, got {weight}")
        self.weight = weight

    def _pay(self, group: Group, credit: Floats) -> tuple[Floats, dict[str, float]]:
        quality = np.array(group.columns["quality"], dtype=np.float64)
        standard = [group_advantages(values, scale="group") for values in (quality, credit)]
        return standard[0] + self.weight * standard[1], {}
