"""Qualities from plain functions."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from diversify.engines import Message, Prompt, text_of

__all__ = [
    "Completion",
    "FromReward",
    "Rule",
    "WeightedQuality",
    "check_margin",
    "check_pairs",
    "function_name",
]

Completion: TypeAlias = str | Sequence[Message]
"""A completion as TRL passes it: plain text, or the messages of the assistant."""


def check_margin(margin: float) -> float:
    """Return a margin that is a finite number >= 0.

    Raises:
        ValueError: If it is anything else.
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise ValueError(f"margin must be a number >= 0, got {margin}")
    return float(margin)


def check_pairs(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> None:
    """Check that there is one prompt beside each completion.

    Raises:
        ValueError: If there is not.
    """
    if len(prompts) != len(completions):
        raise ValueError(f"got {len(prompts)} prompts for {len(completions)} completions")


class Rule:
    """Judge by a plain function.

    Args:
        check: `(prompt, completion) -> bool, number or None`, on plain texts; of a chat it sees the
            last turn. Must be a module-level function if the rule is to be pickled.
        name: How reports call it.
        margin: How far the mean may fall.
        two_sided: Whether a rise beyond the margin is suspicious too.

    Raises:
        ValueError: If the margin is impossible; when called, if a value is not finite.

    Example:
        >>> short = Rule(lambda prompt, completion: len(completion) < 20, "short")
        >>> short(["Name a city.", "Name a city."], ["Rome", "The city that I name is Rome."])
        [1.0, 0.0]
    """

    by_row = True

    def __init__(
        self,
        check: Callable[[str, str], bool | float | None],
        name: str,
        *,
        margin: float = 0.05,
        two_sided: bool = False,
    ) -> None:
        self.check = check
        self.name = self.__name__ = name
        self.margin = check_margin(margin)
        self.two_sided = two_sided

    @property
    def identity(self) -> dict[str, Any]:
        """The function's name."""
        return {"quality": "rule", "check": function_name(self.check)}

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        """Judge each completion by the function."""
        check_pairs(prompts, completions)
        pairs = zip(prompts, completions, strict=True)
        values = [self.check(text_of(prompt), text_of(completion)) for prompt, completion in pairs]
        return _finite(values, self.name)


class FromReward:
    """Judge by any function with TRL's reward signature, which gets everything as it came.

    Args:
        function: `(prompts, completions, **columns) -> list of numbers or None`; not `async`.
        name: How reports call it.
        margin: How far the mean may fall, in the reward's units.
        two_sided: Whether a rise beyond the margin is suspicious too.

    Raises:
        ValueError: If the function is asynchronous or the margin impossible; when called, if it
            returns the wrong number of values or one that is not finite.

    Example:
        >>> length = FromReward(lambda prompts, completions, **_: [len(c) for c in completions],
        ...                     "length", margin=5)
        >>> length(["Name a city."], ["Rome"])
        [4.0]
    """

    def __init__(
        self,
        function: Callable[..., Sequence[float | None]],
        name: str,
        *,
        margin: float,
        two_sided: bool = False,
    ) -> None:
        if inspect.iscoroutinefunction(function):
            raise ValueError(f"asynchronous rewards are not supported, got {function!r}")
        self.function = function
        self.name = self.__name__ = name
        self.margin = check_margin(margin)
        self.two_sided = two_sided

    @property
    def identity(self) -> dict[str, Any]:
        """The function's name."""
        return {"quality": "reward", "function": function_name(self.function)}

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        """Judge each completion by the reward."""
        check_pairs(prompts, completions)
        values = self.function(prompts=prompts, completions=completions, **columns)
        if len(values) != len(completions):
            raise ValueError(
                f"{self.name} returned {len(values)} values for {len(completions)} completions"
            )
        return _finite(values, self.name)


class WeightedQuality:
    """Several qualities as one: their weighted sum; None where one of them cannot judge.

    Args:
        qualities: name -> quality, or any function with TRL's reward signature.
        weights: name -> weight; 1 by default.
        name: How reports call it.
        margin: How far the mean may fall.

    Raises:
        ValueError: If there is no quality, or a weight is not finite or belongs to none.

    Example:
        >>> short = Rule(lambda prompt, completion: len(completion) < 20, "short")
        >>> polite = Rule(lambda prompt, completion: "please" in completion, "polite")
        >>> both = WeightedQuality({"short": short, "polite": polite}, weights={"polite": 0.5})
        >>> both(["?", "?"], ["please", "no"])
        [1.5, 1.0]
    """

    two_sided = False

    def __init__(
        self,
        qualities: Mapping[str, Callable[..., Sequence[float | None]]],
        *,
        weights: Mapping[str, float] | None = None,
        name: str = "weighted",
        margin: float = 0.05,
    ) -> None:
        self.qualities = dict(qualities)
        self.by_row = all(getattr(part, "by_row", False) for part in self.qualities.values())
        self.weights = dict.fromkeys(self.qualities, 1.0) | dict(weights or {})
        if not self.qualities or set(self.weights) != set(self.qualities):
            raise ValueError(
                f"weights must name the qualities {list(self.qualities)}, got {list(self.weights)}"
            )
        if not all(math.isfinite(weight) for weight in self.weights.values()):
            raise ValueError(f"weights must be finite, got {self.weights}")
        self.name = self.__name__ = name
        self.margin = check_margin(margin)

    @property
    def identity(self) -> dict[str, Any]:
        """The weights and what the parts say of themselves."""
        parts = {
            name: getattr(quality, "identity", None) or function_name(quality)
            for name, quality in self.qualities.items()
        }
        return {"quality": "weighted", "weights": self.weights, "parts": parts}

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        """Judge each completion by every quality and add up."""
        check_pairs(prompts, completions)
        rows = zip(
            *(
                quality(prompts=prompts, completions=completions, **columns)
                for quality in self.qualities.values()
            ),
            strict=True,
        )
        weights = [self.weights[name] for name in self.qualities]
        return _finite(
            [
                None
                if None in row
                else sum(w * v for w, v in zip(weights, row, strict=True) if v is not None)
                for row in rows
            ],
            self.name,
        )


def _finite(values: Sequence[bool | float | None], name: str) -> list[float | None]:
    """Return values as floats; TRL reads NaN as None, but here it is a fault."""
    numbers = [None if value is None else float(value) for value in values]
    for number in numbers:
        if number is not None and not math.isfinite(number):
            raise ValueError(f"{name} returned {number}; what cannot be judged is None")
    return numbers


def function_name(function: Any) -> str:
    """Return the module and name of a function, or the class of a callable object."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"
