"""An advantage by name, with its options bound: what a trainer is given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from diversify.advantages.baseline import (
    Scale,
    group_advantages,
    max_rl,
    pass_at_k,
    pkpo,
    uniqueness,
)
from diversify.advantages.likelihood import mara, ucpo, unlikeliness
from diversify.advantages.values import ArrayT

Quantity: TypeAlias = Literal["logps", "mean_logps", "ref_logps", "labels"]
"""Log-probability of the completion under the policy that drew it, the same per token, under the
reference; and the class of the completion in its group."""


class Kind(NamedTuple):
    """A function of this module, as a trainer sees it.

    Attributes:
        function: From rewards (n,) and what it needs to advantages or rewards (n,).
        needs: Name of an argument -> what it is to be given.
        gives: Whether the result is advantages, or rewards yet to be centred.
    """

    function: Any
    needs: Mapping[str, Quantity] = {}
    gives: Literal["advantages", "rewards"] = "advantages"


ADVANTAGES: dict[str, Kind] = {
    "group_advantages": Kind(group_advantages),
    "pass_at_k": Kind(pass_at_k),
    "pkpo": Kind(pkpo),
    "max_rl": Kind(max_rl),
    "ucpo": Kind(ucpo, {"logps": "mean_logps"}),
    "unlikeliness": Kind(unlikeliness, {"logps": "logps"}, "rewards"),
    "mara": Kind(mara, {"ref_logps": "ref_logps"}, "rewards"),
    "uniqueness": Kind(uniqueness, {"labels": "labels"}),
}
"""Name -> function and what it needs; the list that trainers, recipes and tests walk."""


@dataclass(frozen=True)
class Anneal:
    """An integer option that goes from one value to another while the model is trained.

    Args:
        first: Value at the beginning.
        last: Value at the end.

    Example:
        >>> [Anneal(8, 1).at(progress) for progress in (0.0, 0.5, 0.99, 1.0)]
        [8, 5, 2, 1]
    """

    first: int
    last: int

    def at(self, progress: float) -> int:
        """Return the value at a progress from 0 to 1: linear, rounded up on the way down."""
        value = self.first + (self.last - self.first) * min(max(progress, 0.0), 1.0)
        # Rounded to nine digits first: 8 - 7 * (3 / 7) is 5.000000000000001.
        value = round(value, 9)
        return math.ceil(value) if self.last < self.first else math.floor(value)


@dataclass(frozen=True)
class AdvantageMethod:
    """A function of `ADVANTAGES` with its options, from the rewards of a group to its advantages.

    Args:
        name: Key of `ADVANTAGES`.
        scale: How a method that returns rewards is turned into advantages (`group_advantages`).
        options: Keyword arguments of the function: `k` (a number or an `Anneal`), `tau`, `beta`,
            `alpha`.

    Raises:
        ValueError: If there is no such method, or `scale` is neither "none" nor "group".

    Example:
        >>> method = AdvantageMethod("pkpo", options={"k": Anneal(2, 1)})
        >>> method(np.array([1.0, 1.0, 0.0]), progress=1.0).round(3)
        array([ 0.5,  0.5, -1. ])
    """

    name: str
    scale: Scale = "none"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.name not in ADVANTAGES:
            raise ValueError(f"advantage must be one of {sorted(ADVANTAGES)}, got {self.name!r}")
        group_advantages(np.zeros(0), scale=self.scale)

    @property
    def needs(self) -> Mapping[str, Quantity]:
        """Name of an argument -> what `__call__` wants under that name."""
        return ADVANTAGES[self.name].needs

    def check(self, group_size: int) -> None:
        """Try the options on a group of this size.

        Raises:
            ValueError: If an option is unknown, missing or impossible.
        """
        for progress in (0.0, 1.0):
            given = {name: np.zeros(group_size, dtype=np.int64) for name in self.needs}
            try:
                self(np.ones(group_size), progress=progress, **given)
            except TypeError as error:
                raise ValueError(f"advantage {self.name!r}: {error}") from error

    def __call__(self, rewards: ArrayT, *, progress: float = 0.0, **given: Any) -> ArrayT:
        """Return the advantages (n,) of one group.

        Args:
            rewards: Rewards (n,).
            progress: Share of the training that is over, for options that are annealed.
            **given: What `needs` asks for, (n,) each.
        """
        kind = ADVANTAGES[self.name]
        options = {
            name: value.at(progress) if isinstance(value, Anneal) else value
            for name, value in self.options.items()
        }
        found: ArrayT = kind.function(rewards, **given, **options)
        return found if kind.gives == "advantages" else group_advantages(found, scale=self.scale)
