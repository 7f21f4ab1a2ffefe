"""One number before and after: the paired difference, its interval and its test."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diversify.evaluation.statistics.clusters import count_units
from diversify.evaluation.statistics.inference import (
    CONFIDENCE,
    FEWEST,
    detectable_difference,
    holm,
    mean_interval,
    sign_flip_test,
    standard_error,
)

__all__ = ["CONFIDENCE", "Change", "paired_change", "with_holm"]

# Two computations of one number differ by less than this, in its own size or in ones.
ROUNDING = 1e-12


class Change(NamedTuple):
    """One number before and after, with the interval and the test of its mean paired difference.

    Args:
        before: mean over the prompts.
        after: mean over the same prompts.
        difference: `after` minus `before`.
        ci95: its 95 % interval.
        n_prompts: prompts with both values.
        improved: share of them that moved to the better side.
        higher_is_better: which side that is.
        p_value: two-sided, of the paired sign-flip permutation test; None where none was made.
        p_holm: the same, corrected for all numbers of the family that was asked about; None
            outside of it.
        detectable: the true change that a run of this size finds four times out of five; None
            where the spread of the differences is unknown or zero.
        n_units: independent pieces of evidence: the prompts, or their clusters; None in records
            that do not say.
    """

    before: float
    after: float
    difference: float
    ci95: tuple[float, float]
    n_prompts: int
    improved: float
    higher_is_better: bool
    p_value: float | None = None
    p_holm: float | None = None
    detectable: float | None = None
    n_units: int | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields; a bound that cannot be given is None, since JSON has no infinity."""
        bounds = [bound if np.isfinite(bound) else None for bound in self.ci95]
        return self._asdict() | {"ci95": bounds}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Change:
        """Read what `as_json` has written, or an older release with fewer fields.

        >>> old = {"before": 1.0, "after": 2.0, "difference": 1.0, "ci95": [None, None],
        ...        "n_prompts": 1, "improved": 1.0, "higher_is_better": True}
        >>> Change.from_json(old).ci95, Change.from_json(old).p_value
        ((-inf, inf), None)
        """
        low, high = record["ci95"]
        bounds = (-np.inf if low is None else low, np.inf if high is None else high)
        known = {name: record[name] for name in cls._fields if name in record}
        return cls(**known | {"ci95": bounds})

    @property
    def units(self) -> int:
        """How many independent prompts it rests on; records that do not say count their prompts."""
        return self.n_prompts if self.n_units is None else self.n_units

    @property
    def sign(self) -> int:
        """+1 if the interval lies on the better side of zero, -1 on the worse side, 0 if across.

        Fewer than `FEWEST` independent prompts show nothing, wherever their interval lies.

        >>> [paired_change(np.zeros(n), np.ones(n)).sign for n in (5, 6)]
        [0, 1]
        """
        if self.units < FEWEST:
            return 0
        low, high = self.ci95 if self.higher_is_better else (-self.ci95[1], -self.ci95[0])
        return 1 if low > 0 else -1 if high < 0 else 0


def paired_change(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    *,
    higher_is_better: bool = True,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Change:
    """Return the mean paired difference with its 95 % bootstrap interval and sign-flip test.

    Args:
        before: one value a prompt (p,).
        after: the same prompts in the same order (p,).
        higher_is_better: which direction `improved` counts.
        clusters: a label a prompt; prompts of one label, such as paraphrases, are one piece of
            evidence and are resampled and flipped together.
        resamples: bootstrap resamples, and random flips.
        seed: of both.

    Raises:
        ValueError: lengths differ, there is no prompt at all, or a value is NaN or infinite.

    >>> change = paired_change(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    >>> change.ci95, change.p_value
    ((1.0, 1.0), 0.5)
    """
    before, after = (np.asarray(values, dtype=np.float64) for values in (before, after))
    if before.shape != after.shape or before.ndim != 1 or not before.size:
        raise ValueError(f"need two equally long rows of values, got {before.shape}, {after.shape}")
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        wrong = int((~np.isfinite(before) | ~np.isfinite(after)).sum())
        raise ValueError(f"values must be finite, got NaN or inf for {wrong} of {len(before)}")
    difference = after - before
    size = np.maximum(1.0, np.maximum(np.abs(before), np.abs(after)))
    difference[np.abs(difference) <= ROUNDING * size] = 0.0
    better = difference > 0 if higher_is_better else difference < 0
    units = count_units(clusters, len(difference))
    options: dict[str, Any] = {"clusters": clusters, "resamples": resamples, "seed": seed}
    test = sign_flip_test(difference, **options)
    error = standard_error(difference, clusters=clusters)
    return Change(
        before=float(before.mean()),
        after=float(after.mean()),
        difference=float(difference.mean()),
        ci95=mean_interval(difference, **options, test=test),
        n_prompts=len(difference),
        improved=float(better.mean()),
        higher_is_better=higher_is_better,
        p_value=test.p_value,
        detectable=detectable_difference(error, units),
        n_units=units,
    )


def with_holm(changes: Mapping[str, Change], family: Sequence[str]) -> dict[str, Change]:
    """Return the changes, those of the family with their p-values corrected for asking them all.

    Args:
        changes: name -> `Change`.
        family: names of the changes that answer one question together.

    Raises:
        ValueError: a name is unknown, or its change has no p-value.

    >>> values = np.zeros(6), np.ones(6)
    >>> changes = {name: paired_change(*values) for name in ("a", "b", "c")}
    >>> {name: change.p_holm for name, change in with_holm(changes, ["a", "b"]).items()}
    {'a': 0.0625, 'b': 0.0625, 'c': None}
    """
    p_values = {}
    for name in family:
        p = changes[name].p_value if name in changes else None
        if p is None:
            raise ValueError(f"{name!r} has no p-value; there are {sorted(changes)}")
        p_values[name] = p
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    return {name: c._replace(p_holm=corrected.get(name)) for name, c in changes.items()}
