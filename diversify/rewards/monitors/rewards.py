"""Monitors as TRL rewards: a penalty that grows, a gate that is open or shut."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diversify.engines import Prompt
from diversify.kernels import check_integer
from diversify.quality.rules import check_margin
from diversify.rewards.monitors.rows import Monitor, RowMonitor, measure_rows, monitor_name

__all__ = ["LengthPenalty", "MonitorGate", "MonitorReward"]


@dataclass(frozen=True)
class MonitorReward:
    """A monitor times a weight, as a TRL reward: a penalty.

    Args:
        monitor: any `(prompt, text) -> float`, or a `RowMonitor`. What it cannot measure is None,
            which TRL and `GatedReward` leave out.
        weight: factor; the default turns the monitor into a penalty.

    Example:
        >>> from diversify.rewards.monitors import language_drift
        >>> MonitorReward(language_drift, weight=-0.1)(["Name a colour."], ["синий"])
        [-0.1]
    """

    monitor: Monitor | RowMonitor
    weight: float = -1.0

    @property
    def __name__(self) -> str:
        """The monitor's name: in TRL's logs two rewards of one name would be averaged."""
        return monitor_name(self.monitor)

    def __call__(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return one value a completion."""
        measured = measure_rows(self.monitor, prompts, completions, completion_ids, **columns)
        return [None if value is None else self.weight * value for value in measured]


class MonitorGate:
    """A limit on a monitor, as a TRL reward and as a quality: 1 up to the limit, above it 0 or None.

    With `failed=0.0` it is a quality of `GatedReward`: beside `threshold=1.0` only completions
    within the limit are paid for differing. As a quality of an evaluation its mean is the share
    of completions within the limit.

    With `failed=None` it masks. As a quality of a `GatedReward` or `ProductReward`, a completion
    beyond the limit has no reward at all: TRL leaves it out of the mean of its group and gives it
    no advantage. It is then not punished either: a policy that always fails learns nothing. (Beside
    other rewards in TRL's own list None masks nothing: TRL adds the others.)

    Args:
        monitor: any `(prompt, text) -> float`, or a `RowMonitor`, whose None stays None.
        at_most: the limit.
        failed: what a completion beyond it gets, 0.0 or None.
        name: how reports and logs call it; by default that of the monitor and `_gate`.
        margin: how far its mean may fall in an evaluation.

    Raises:
        ValueError: If an option is not one of those.

    Example:
        >>> from diversify.rewards.monitors import gibberish
        >>> MonitorGate(gibberish, 0.2)(["Name a fruit."] * 2, ["A fig.", "§§§§§§§§§"])
        [1.0, 0.0]
        >>> MonitorGate(gibberish, 0.2, failed=None)(["Name a fruit."], ["§§§§§§§§§"])
        [None]
    """

    two_sided = False

    def __init__(
        self,
        monitor: Monitor | RowMonitor,
        at_most: float,
        *,
        failed: float | None = 0.0,
        name: str | None = None,
        margin: float = 0.05,
    ) -> None:
        if not callable(monitor) and not isinstance(monitor, RowMonitor):
            raise ValueError(f"monitor must be a function or a RowMonitor, got {monitor!r:.200}")
        if not math.isfinite(at_most):
            raise ValueError(f"at_most must be a finite number, got {at_most}")
        if failed not in (0.0, None):
            raise ValueError(f"failed must be 0.0 or None, got {failed!r}")
        self.monitor = monitor
        self.at_most = float(at_most)
        self.failed = failed
        self.name = self.__name__ = name or f"{monitor_name(monitor)}_gate"
        self.margin = check_margin(margin)

    @property
    def identity(self) -> dict[str, Any]:
        """The monitor and its limit."""
        called = self.monitor if isinstance(self.monitor, RowMonitor) else None
        return {
            "quality": "monitor_gate",
            "monitor": monitor_name(self.monitor) if called is None else repr(called),
            "at_most": self.at_most,
            "failed": self.failed,
        }

    def __call__(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Return 1 for each completion within the limit, what failed for the others."""
        measured = measure_rows(self.monitor, prompts, completions, completion_ids, **columns)
        return [
            None if value is None else 1.0 if value <= self.at_most else self.failed
            for value in measured
        ]


@dataclass(frozen=True)
class LengthPenalty:
    r"""A penalty for every token beyond a limit, as a TRL reward.

    .. math:: -w \max(0, t_i - \text{limit})

    Args:
        limit: tokens that are free.
        weight: w, what each token beyond them costs.

    Raises:
        ValueError: If `limit` is not 0 or more, or when called without `completion_ids`.

    Example:
        >>> LengthPenalty(limit=2)(["?"], ["a b c d"], completion_ids=[[5, 6, 7, 8]])
        [-0.02]
    """

    limit: int = 512
    weight: float = 0.01

    def __post_init__(self) -> None:
        check_integer("limit", self.limit, 0)

    def __call__(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Return one value of 0 or less a completion."""
        if completion_ids is None:
            raise ValueError("LengthPenalty counts tokens and needs completion_ids, got None")
        return [-self.weight * max(0, len(ids) - self.limit) for ids in completion_ids]
