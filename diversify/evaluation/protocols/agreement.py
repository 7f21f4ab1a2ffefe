"""Do two judges agree about the answers to the same prompts? By their numbers of classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from diversify.credit import Labels
from diversify.evaluation.noveltybench import distinct_k
from diversify.kernels import check_integer

__all__ = ["Agreement", "Rank", "agreement"]

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

CONFIDENCE = 0.95


class Rank(NamedTuple):
    """A rank correlation over prompts, in [-1, 1], and its 95 % interval.

    Attributes:
        value: None where one of the two never changes.
        ci95: None where the value is, or where one of the two never changes in a resample, as
            happens with few prompts.
    """

    value: float | None
    ci95: tuple[float, float] | None


class Agreement(NamedTuple):
    """How two ways of sorting the same answers agree about the number of classes.

    Attributes:
        prompts: How many were compared.
        spearman: Rank correlation over prompts.
        kendall: Kendall's tau-b over prompts, which allows for ties.
        equal: Share of the prompts with the same number.
        mean: Of the first.
        other_mean: Of the second.
    """

    prompts: int
    spearman: Rank
    kendall: Rank
    equal: float
    mean: float
    other_mean: float

    def as_json(self) -> dict[str, Any]:
        """Return the fields, with the correlations as dictionaries."""
        ranks = {"spearman": self.spearman._asdict(), "kendall": self.kendall._asdict()}
        return self._asdict() | ranks


def agreement(
    labels: Sequence[Labels], others: Sequence[Labels], *, resamples: int = 1000, seed: int = 0
) -> Agreement:
    """Compare the numbers of classes that two judges find for the same prompts.

    Args:
        labels: Of the first judge, one vector a prompt.
        others: Of the second, in the same order.
        resamples: Percentile bootstrap over prompts, for the intervals.
        seed: Of the resamples.

    Raises:
        ValueError: If they are not equally many, or fewer than two, or `resamples` is not positive.

    Example:
        >>> three = [np.array(row) for row in ([0, 0, 0], [0, 0, 1], [0, 1, 2])]
        >>> found = agreement(three, three[::-1])
        >>> round(found.spearman.value, 4), round(found.kendall.value, 4), round(found.equal, 4)
        (-1.0, -1.0, 0.3333)
    """
    check_integer("resamples", resamples, 1)
    one, two = (np.array([distinct_k(row) for row in rows]) for rows in (labels, others))
    if len(one) != len(two) or len(one) < 2:
        raise ValueError(f"need two or more prompts for both, got {len(one)} and {len(two)}")
    drawn = np.random.default_rng(seed).integers(len(one), size=(resamples, len(one)))
    # The prompts as they are stand in front of their resamples.
    places = np.vstack([np.arange(len(one)), drawn])
    return Agreement(
        prompts=len(one),
        spearman=_rank(_spearman(one[places], two[places])),
        kendall=_rank(_kendall(one, two, places)),
        equal=float(np.mean(one == two)),
        mean=float(one.mean()),
        other_mean=float(two.mean()),
    )


def _spearman(one: Counts, two: Counts) -> Floats:
    """Correlate the ranks of each row of (r, p) with those of the other's, ties in the middle."""
    ours, theirs = (stats.rankdata(values, axis=1) for values in (one, two))
    ours, theirs = (ranks - ranks.mean(axis=1, keepdims=True) for ranks in (ours, theirs))
    return _ratio((ours * theirs).sum(axis=1), (ours**2).sum(axis=1), (theirs**2).sum(axis=1))


def _kendall(one: Counts, two: Counts, places: Counts) -> Floats:
    """Return tau-b of each row of places: a pair of prompts counts as often as both were drawn."""
    ours, theirs = (np.sign(values[:, None] - values[None, :]) for values in (one, two))
    weights = np.stack([np.bincount(row, minlength=len(one)) for row in places]).astype(float)
    agree, untied, other = (
        ((weights @ pairs) * weights).sum(axis=1) for pairs in (ours * theirs, ours**2, theirs**2)
    )
    return _ratio(agree, untied, other)


def _ratio(together: Floats, one: Floats, two: Floats) -> Floats:
    spread = np.sqrt(one * two)
    return np.divide(together, spread, out=np.full_like(spread, np.nan), where=spread > 0)


def _rank(found: Floats) -> Rank:
    """Make a rank of the correlation and those of the resamples; NaN is one that does not exist."""
    if np.isnan(found[0]):
        return Rank(None, None)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found[1:], [tail, 1 - tail]).tolist()
    return Rank(float(found[0]), None if np.isnan(low) else (low, high))
