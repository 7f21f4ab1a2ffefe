"""What rewards share that combine a quality with the rest of the group.

A completion without quality (None) has no reward (None): TRL leaves it out of the baseline and
gives it no advantage. It does not count as a member of its group either, so nobody's credit and
nobody's shift depends on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from torch import nn

from diversify.credit import Floats
from diversify.engines import Prompt
from diversify.rewards.base import GroupReward, GroupScores, Values
from diversify.rewards.diversity import CreditReward
from diversify.rewards.group import Group

__all__ = ["Combined", "CompositeReward", "CreditedReward", "Quality", "ask"]

Quality: TypeAlias = Callable[..., Sequence[float | None]]
"""Any TRL reward: `(prompts, completions, completion_ids, **columns)` to one number or None each."""


class CompositeReward(GroupReward):
    """A reward in which qualities and the rest of the group come together.

    A subclass adds the formula, `_combine`. The log gets the mean of each quality beside what
    `GroupReward` logs.

    Args:
        qualities: name in the logs -> quality.
        group_size: completions of one prompt; None if the trainer is to say.
        name: name in the logs.
        scale_rewards: see `GroupReward`.

    Raises:
        ValueError: If a quality cannot be called, or for `group_size` (see `GroupReward`).
    """

    def __init__(
        self,
        qualities: Mapping[str, Quality],
        *,
        group_size: int | None,
        name: str,
        scale_rewards: str | None,
    ) -> None:
        super().__init__(group_size=group_size, name=name, scale_rewards=scale_rewards)
        if not qualities:
            raise ValueError("quality must name at least one TRL reward, got none")
        for each in qualities.values():
            if isinstance(each, type | nn.Module) or not callable(each):
                raise ValueError(
                    "quality must be a function or a callable object with TRL's reward signature, "
                    f"not a model or its name, got {each!r:.200}"
                )
        self.qualities = dict(qualities)

    def _describe_rows(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None,
        columns: Mapping[str, Any],
    ) -> dict[str, list[Any]]:
        given = {"prompts": prompts, "completions": completions, "completion_ids": completion_ids}
        return {
            name: ask(name, quality, len(prompts), {**columns, **given})
            for name, quality in self.qualities.items()
        }

    def _score(self, group: Group) -> GroupScores:
        asked = [group.columns[name] for name in self.qualities]
        scored = [row for row, values in enumerate(zip(*asked, strict=True)) if None not in values]
        part = group.keep(scored)
        rewards, extras, metrics = self._combine(part)
        told = extras | {name: part.columns[name] for name in self.qualities}
        n = len(group.texts)
        return GroupScores(
            _spread(rewards, scored, n),
            {name: _spread(values, scored, n) for name, values in told.items()},
            metrics,
        )

    def _combine(self, group: Group) -> Combined:
        """Turn the scorable rows of a group into rewards, extra columns and metrics."""
        raise NotImplementedError


class Combined(NamedTuple):
    """What a formula makes of n scorable completions.

    Attributes:
        rewards: Rewards (n,).
        extras: name -> n values, for the table of completions.
        metrics: name -> a number about the group, for the log.
    """

    rewards: Floats
    extras: dict[str, Sequence[Any] | Floats]
    metrics: dict[str, float]


class CreditedReward(CompositeReward):
    """A composite of qualities and the credit that another reward would pay alone.

    A subclass adds the formula, `_pay`. The log gets the mean `credit` too.

    Args:
        qualities: name in the logs -> quality.
        diversity: what says the credit; its `group_size` holds unless one is given here.
        group_size: completions of one prompt; None if the trainer is to say.
        name: name in the logs.
        scale_rewards: see `GroupReward`.

    Raises:
        ValueError: See `CompositeReward`; or if `diversity` pays no credit.
    """

    def __init__(
        self,
        qualities: Mapping[str, Quality],
        diversity: CreditReward,
        *,
        group_size: int | None,
        name: str,
        scale_rewards: str | None,
    ) -> None:
        if not isinstance(diversity, CreditReward):
            raise ValueError(
                f"diversity must be a DiversityReward or another CreditReward, got {diversity!r}"
            )
        super().__init__(
            qualities,
            group_size=diversity.group_size if group_size is None else group_size,
            name=name,
            scale_rewards=scale_rewards,
        )
        self.diversity = diversity

    def _describe_rows(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None,
        columns: Mapping[str, Any],
    ) -> dict[str, list[Any]]:
        given = prompts, completions, completion_ids, columns
        return self.diversity._describe_rows(*given) | super()._describe_rows(*given)

    def _combine(self, group: Group) -> Combined:
        credit, seen = self.diversity.credits(group)
        rewards, metrics = self._pay(group, credit)
        return Combined(rewards, {"credit": credit}, seen | metrics)

    def _pay(self, group: Group, credit: Floats) -> tuple[Floats, dict[str, float]]:
        """Turn the scorable rows of a group and their credits into rewards and metrics."""
        raise NotImplementedError


def ask(name: str, quality: Quality, n: int, given: Mapping[str, Any]) -> Values:
    """Ask a TRL reward about n rows; accept nothing but n finite numbers or None."""
    values = [None if value is None else float(value) for value in quality(**given)]
    if len(values) != n or not all(value is None or math.isfinite(value) for value in values):
        raise ValueError(
            f"{name} must return one finite number or None for each of {n} completions, got "
            f"{len(values)}: {values!r:.200}"
        )
    return values


def _spread(values: Sequence[Any] | Floats, rows: Sequence[int], n: int) -> Values:
    """Put values at their rows, None elsewhere."""
    result: Values = [None] * n
    for row, value in zip(rows, values, strict=True):
        result[row] = float(value)
    return result
