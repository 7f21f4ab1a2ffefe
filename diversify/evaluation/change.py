"""One number before and after: the paired difference with its interval."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CONFIDENCE = 0.95


class Change(NamedTuple):
    """One number before and after, with the interval of its mean paired difference."""

    before: float
    after: float
    difference: float
    ci95: tuple[float, float]
    n_prompts: int
    improved: float
    higher_is_better: bool

    def as_json(self) -> dict[str, Any]:
        """Return the fields; a bound that cannot be given is None, since JSON has no infinity."""
        bounds = [bound if np.isfinite(bound) else None for bound in self.ci95]
        return self._asdict() | {"ci95": bounds}

    @property
    def sign(self) -> int:
        """+1 if the interval lies on the better side of zero, -1 on the worse side, 0 if across."""
        low, high = self.ci95 if self.higher_is_better else (-self.ci95[1], -self.ci95[0])
        return 1 if low > 0 else -1 if high < 0 else 0


def paired_change(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    *,
    higher_is_better: bool = True,
    resamples: int = 10_000,
    seed: int = 0,
) -> Change:
    """Return the mean paired difference with its 95 % bootstrap interval.

    Args:
        before: one value a prompt (p,).
        after: the same prompts in the same order (p,).
        higher_is_better: which direction `improved` counts.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Raises:
        ValueError: lengths differ, or there is no prompt at all.

    >>> paired_change(np.array([1.0, 2.0]), np.array([2.0, 3.0])).ci95
    (1.0, 1.0)
    """
    if before.shape != after.shape or before.ndim != 1 or not before.size:
        raise ValueError(f"need two equally long rows of values, got {before.shape}, {after.shape}")
    difference = after - before
    mean = float(difference.mean())
    better = difference > 0 if higher_is_better else difference < 0
    if before.size < 2:
        interval = (float("-inf"), float("inf"))
    elif np.ptp(difference) <= 1e-12 * max(1.0, abs(mean)):
        # Every prompt moved equally far, up to rounding: BCa is undefined, and nothing is uncertain.
        interval = (mean, mean)
    else:
        found = stats.bootstrap(
            (difference,),
            np.mean,
            n_resamples=resamples,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=np.random.default_rng(seed),
            batch=1000,
        ).confidence_interval
        interval = (float(found.low), float(found.high))
    return Change(
        before=float(before.mean()),
        after=float(after.mean()),
        difference=mean,
        ci95=interval,
        n_prompts=int(before.size),
        improved=float(better.mean()),
        higher_is_better=higher_is_better,
    )
