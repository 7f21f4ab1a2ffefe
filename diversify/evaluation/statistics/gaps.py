"""Gaps to a curve and between two curves, with intervals over prompts.

A gap to a curve is no mean of paired differences: the curve's points move with the prompts, and which
of them are matched depends on all prompts together. To first order it is one (`prompt_offers`), and
then the interval and the test of any paired difference hold. That misses how the match itself may
change, where the curve bends or two temperatures are about equally good; a bootstrap that matches
anew in every resample sees it, and is in turn too narrow for few prompts. The interval here holds
both, and the p-value is the larger of the two: `eval/validity.py` measures how often it cries wolf.

Every row needs a value of every prompt: `complete_cases` keeps those prompts.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diversify.evaluation.statistics.clusters import cluster_places, count_units
from diversify.evaluation.statistics.curves import prompt_offers, reach, reachable
from diversify.evaluation.statistics.inference import (
    CONFIDENCE,
    mean_interval,
    rows_at_once,
    sign_flip_test,
    standard_error,
)

__all__ = ["CurveGap", "Gap", "curve_gap", "point_gap", "resampled_means"]

Floats = NDArray[np.float64]

CELLS = 40
"""In how many equal steps the qualities that two curves share are walked through."""

_ROUNDING = 1e-12


class Gap(NamedTuple):
    """A gap, its 95 % interval and its two-sided p-value (None where there is one prompt)."""

    value: float
    ci95: tuple[float, float]
    p_value: float | None


class CurveGap(NamedTuple):
    """How far one curve lies above another.

    Args:
        mean: The gap, averaged over the qualities that both reach.
        smallest: The smallest gap among them.
        smallest_at: The quality at which it is.
        weakest: The gap that is smallest in its own standard errors: where least is certain.
        between: The qualities that both reach, worst and best.
    """

    mean: Gap
    smallest: Gap
    smallest_at: float
    weakest: Gap
    between: tuple[float, float]


def point_gap(
    diversity: Floats,
    quality: Floats,
    own: Floats,
    at: Floats,
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Gap:
    """Measure how much more diverse a point is than a curve at the same mean quality.

    Args:
        diversity: Of the curve's points, prompt by prompt (k, p).
        quality: Of the curve's points (k, p).
        own: The point's diversity (p,).
        at: The point's quality (p,).
        clusters: A label a prompt; None takes every prompt for itself.
        resamples: Of the bootstrap, and random flips of signs.
        seed: Of both.

    Returns:
        The gap. It is zero, with both bounds, for a point that the curve itself has.

    Raises:
        ValueError: If a value is missing, or the labels are not as many as the prompts.

    Example:
        >>> heats = np.array([[0.1] * 6, [0.5] * 6]), np.array([[2.0] * 6, [1.0] * 6])
        >>> own, at = np.array([0.5, 0.6, 0.7, 0.5, 0.6, 0.7]), np.full(6, 1.5)
        >>> gap = point_gap(*heats, own, at, resamples=999)
        >>> round(gap.value, 6), gap.p_value
        (0.3, 0.03125)
    """
    columns = np.vstack([diversity, quality, own[None], at[None]])
    found = resampled_means(columns, clusters=clusters, resamples=resamples, seed=seed)
    curves, qualities, (mean, level) = np.split(found, [len(diversity), 2 * len(diversity)])
    # All means in one way: rounding must not part a point from the temperature that it is.
    means = columns.mean(axis=1)
    where = reach(means[: len(diversity)], means[len(diversity) : -2], np.asarray(means[-1]))
    each = own - prompt_offers(diversity, quality, at, where)
    gaps = mean - reachable(curves, qualities, level)
    return _bounded(each, gaps, clusters, resamples, seed)


def curve_gap(
    before: tuple[Floats, Floats],
    after: tuple[Floats, Floats],
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> CurveGap | None:
    """Measure how much more diversity one curve offers than another, over the qualities both reach.

    The qualities are those between the worse of the two best points and the better of the two worst
    ones. They are settled once: which are asked about is no part of the question.

    Args:
        before: Diversity (k, p) and quality (k, p) of a curve's points, prompt by prompt.
        after: The same of the other one, with the same prompts (l, p).
        clusters: A label a prompt; None takes every prompt for itself.
        resamples: Of the bootstrap, and random flips of signs.
        seed: Of both.

    Returns:
        The gaps, positive where `after` is more diverse; None where no quality is reached by both.

    Raises:
        ValueError: If a value is missing, or the labels are not as many as the prompts.

    Example:
        >>> low = np.array([[0.1] * 6, [0.5] * 6]), np.array([[2.0] * 6, [1.0] * 6])
        >>> high = np.array([[0.2] * 6, [0.8] * 6]), np.array([[2.0] * 6, [1.0] * 6])
        >>> gap = curve_gap(low, high, resamples=99)
        >>> round(gap.mean.value, 6), gap.between, round(gap.smallest_at, 6)
        (0.2, (1.0, 2.0), 1.9875)
    """
    columns = np.vstack([*before, *after])
    _check_whole(columns)
    levels = [quality.mean(axis=1) for _, quality in (before, after)]
    low, high = max(map(np.min, levels)), min(map(np.max, levels))
    if not low < high:
        return None
    # In the middle of each step, so that none is asked about just where a curve bends.
    asked = low + (high - low) * (np.arange(CELLS) + 0.5) / CELLS
    each = _offers(*after, asked) - _offers(*before, asked)
    found = resampled_means(columns, clusters=clusters, resamples=resamples, seed=seed)
    old, new = np.split(found, [2 * len(before[0])])
    gaps = np.stack([_offered(new, at) - _offered(old, at) for at in asked])
    smallest = int(each.mean(axis=1).argmin())
    sizes = [_in_errors(row, clusters) for row in each]
    chosen = [(each[place], gaps[place]) for place in (smallest, int(np.argmin(sizes)))]
    mean, least, weakest = (
        _bounded(row, of, clusters, resamples, seed)
        for row, of in [(each.mean(axis=0), gaps.mean(axis=0)), *chosen]
    )
    return CurveGap(mean, least, float(asked[smallest]), weakest, (float(low), float(high)))


def resampled_means(
    columns: Floats,
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Floats:
    """Draw prompts (or clusters of them) with replacement, and return the means of every column.

    Args:
        columns: Values of each prompt (c, p).
        clusters: A label a prompt; None takes every prompt for itself.
        resamples: How many times.
        seed: Of the draws.

    Returns:
        The means (c, resamples).

    Raises:
        ValueError: If a value is missing, the labels are not as many as the prompts, or there is no
            resample.

    Example:
        >>> found = resampled_means(np.array([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]]), resamples=4)
        >>> found.shape, sorted({*found[1].tolist()})
        ((2, 4), [5.0])
    """
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    _check_whole(columns)
    places = cluster_places(clusters, columns.shape[1])
    units = int(places.max()) + 1
    stream = np.random.default_rng(seed)
    found = np.empty((len(columns), resamples))
    batch = rows_at_once(units)
    for start in range(0, resamples, batch):
        stop = min(resamples, start + batch)
        drawn = stream.multinomial(units, np.full(units, 1.0 / units), size=stop - start)
        times = drawn[:, places].T.astype(np.float64)
        found[:, start:stop] = (columns @ times) / times.sum(axis=0)
    return found


def _bounded(
    each: Floats, gaps: Floats, clusters: Sequence[Hashable] | None, resamples: int, seed: int
) -> Gap:
    """Bound a gap by what each prompt adds to it, and by its resamples."""
    value = float(each.mean())
    if count_units(clusters, len(each)) < 2:
        return Gap(value, (-math.inf, math.inf), None)
    # What is zero for every prompt must not be split by rounding.
    tiny = _ROUNDING * max(1.0, float(np.abs(each).max()))
    each, gaps = (np.where(np.abs(values) <= tiny, 0.0, values) for values in (each, gaps))
    test = sign_flip_test(each, clusters=clusters, resamples=resamples, seed=seed)
    low, high = mean_interval(each, clusters=clusters, resamples=resamples, seed=seed, test=test)
    gaps = np.sort(gaps)
    tail = 1 + min(int((gaps <= 0).sum()), int((gaps >= 0).sum()))
    p_value = min(1.0, 2 * tail / (1 + len(gaps)))
    # The lowest resample that may be left out, so that a bound beyond zero means p <= 5 %.
    rank = math.floor((1 - CONFIDENCE) / 2 * (1 + len(gaps))) - 1
    ends = (-math.inf, math.inf) if rank < 0 else (float(gaps[rank]), float(gaps[-1 - rank]))
    return Gap(value, (min(low, ends[0]), max(high, ends[1])), max(p_value, test.p_value))


def _check_whole(columns: Floats) -> None:
    if not columns.shape[1] or not np.isfinite(columns).all():
        wrong = int((~np.isfinite(columns)).any(axis=0).sum())
        raise ValueError(
            "need prompts with a finite value in every row (complete_cases keeps those), "
            f"got {wrong} of {columns.shape[1]} without one"
        )


def _offers(diversity: Floats, quality: Floats, asked: Floats) -> Floats:
    """Return what each prompt adds to a curve's offer at each quality (a, p)."""
    means = diversity.mean(axis=1), quality.mean(axis=1)
    found = [(at, reach(*means, np.asarray(at))) for at in asked]
    return np.stack([prompt_offers(diversity, quality, at, where) for at, where in found])


def _offered(means: Floats, at: float) -> Floats:
    diversity, quality = np.split(means, 2)
    return reachable(diversity, quality, np.asarray(at))


def _in_errors(each: Floats, clusters: Sequence[Hashable] | None) -> float:
    """Return a mean gap in its standard errors; infinite where none is seen."""
    error, mean = standard_error(each, clusters=clusters), float(each.mean())
    if error <= _ROUNDING * max(1.0, abs(mean)):
        return 0.0 if abs(mean) <= _ROUNDING else math.copysign(math.inf, mean)
    return mean / error
