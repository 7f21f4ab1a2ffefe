"""Monitors of rows: what needs the tokens of a completion or a column of the data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

from diversify.engines import Prompt, text_of
from diversify.kernels import check_integer, words
from diversify.rewards.monitors.texts import completion_text

__all__ = [
    "LengthDrift",
    "Monitor",
    "RowMonitor",
    "Truncated",
    "length_drift",
    "measure_rows",
    "monitor_name",
]

Monitor: TypeAlias = Callable[[str, str], float]
"""From the text of a prompt and of a completion to a number."""


@runtime_checkable
class RowMonitor(Protocol):
    """A monitor that needs more of a row than its two texts."""

    def measure_rows(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return one number a completion, None where there is nothing to measure."""


def measure_rows(
    monitor: Monitor | RowMonitor,
    prompts: Sequence[Prompt],
    completions: Sequence[Any],
    completion_ids: Sequence[Sequence[int]] | None = None,
    **columns: Any,
) -> list[float | None]:
    """Ask a monitor of either kind about rows as TRL hands them to a reward.

    Returns:
        One number a completion; a `RowMonitor` may answer None.

    Raises:
        ValueError: If there is not one prompt for each completion, or what the monitor raises.

    Example:
        >>> measure_rows(Truncated(limit=2), ["Hi."], ["a b"], [[5, 6]])
        [1.0]
    """
    if isinstance(monitor, RowMonitor):
        return monitor.measure_rows(prompts, completions, completion_ids, **columns)
    pairs = zip(prompts, completions, strict=True)
    return [monitor(text_of(prompt), completion_text(text)) for prompt, text in pairs]


def monitor_name(monitor: Monitor | RowMonitor) -> str:
    """Return what a monitor is called in logs: the function's name, or that of the class.

    >>> monitor_name(length_drift), monitor_name(Truncated(limit=2))
    ('length_drift', 'Truncated')
    """
    return str(getattr(monitor, "__name__", None) or type(monitor).__name__)


def length_drift(text: str, reference_length: float) -> float:
    r"""How far the length of a text is from a reference, 0 or more: log 2 is twice or half of it.

    .. math:: |\log(\text{words} / \text{reference})|

    A text without words counts as one word.

    Args:
        text: One text, cut into words at white space.
        reference_length: Words of the reference, above 0.

    Raises:
        ValueError: If `reference_length` is not a number above 0.

    Example:
        >>> round(length_drift("one two three four", 2), 4)
        0.6931
    """
    if not (math.isfinite(reference_length) and reference_length > 0):
        raise ValueError(f"reference_length must be a number above 0, got {reference_length}")
    return abs(math.log(max(len(words(text)), 1) / reference_length))


@dataclass(frozen=True)
class LengthDrift:
    """`length_drift` from the reference length that a column of the data set holds.

    Good references are the mean number of words that the model wrote before training, or the
    length of a human answer. A row that has no reference (None, or no such column) is None.

    Args:
        column: name of the column: words, above 0.

    Raises:
        ValueError: When measuring, if a reference is not a number above 0.

    Example:
        >>> LengthDrift().measure_rows(["Hi."] * 2, ["a b", "a"], reference_length=[2, None])
        [0.0, None]
    """

    column: str = "reference_length"

    def measure_rows(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return one number a completion."""
        references = columns.get(self.column, [None] * len(completions))
        return [
            None if reference is None else length_drift(completion_text(completion), reference)
            for completion, reference in zip(completions, references, strict=True)
        ]


@dataclass(frozen=True)
class Truncated:
    """Whether a completion was cut off before it ended: 1 or 0. Needs its tokens.

    Args:
        limit: `max_completion_length`: a completion of so many tokens counts as cut off, also one
            that ends with the very last. Give this or `ends`.
        ends: ids of the tokens that end a completion: one whose last token is none of them, or
            that has none, was cut off. This is exact.

    Raises:
        ValueError: If not one of the two is given, or `limit` is not positive; when measuring, if
            there are no `completion_ids`.

    Example:
        >>> rows = ["Hi."] * 2, ["a b", "a"], [[5, 6], [5, 2]]
        >>> Truncated(ends=(2,)).measure_rows(*rows), Truncated(limit=2).measure_rows(*rows)
        ([1.0, 0.0], [1.0, 1.0])
    """

    limit: int | None = None
    ends: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if (self.limit is None) == (not self.ends):
            raise ValueError(
                f"Truncated takes limit or ends, got limit={self.limit}, ends={self.ends}"
            )
        if self.limit is not None:
            check_integer("limit", self.limit, 1)

    def measure_rows(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return 1 or 0 a completion."""
        if completion_ids is None:
            raise ValueError("Truncated looks at tokens and needs completion_ids, got None")
        if self.limit is not None:
            return [float(len(ids) >= self.limit) for ids in completion_ids]
        return [float(not ids or ids[-1] not in self.ends) for ids in completion_ids]
