"""What paired differences say of their mean: interval, permutation test, and what could be seen.

Every function takes one difference a prompt. Prompts that only rephrase each other are no independent
evidence: with `clusters`, one label a prompt, all prompts of a label are resampled and flipped as
one. The mean stays that of the prompts, so that a large cluster weighs more.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from diversify.evaluation.statistics.clusters import cluster_places

Floats = NDArray[np.float64]

CONFIDENCE = 0.95
POWER = 0.8

FEWEST = 6
"""Below this many independent prompts nothing can be shown at 95 %: n differences that have either sign
with equal chance all have the same one in 2 of 2^n cases, which is more than 5 % for n < 6."""

_AT_ONCE = 1_000_000
"""Numbers that are resampled or flipped together: 8 MB, however many prompts there are."""


class FlipTest(NamedTuple):
    """A sign-flip test: its two-sided p-value, and the means that it does not reject at 5 %."""

    p_value: float
    low: float
    high: float


def mean_interval(
    differences: Floats,
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    test: FlipTest | None = None,
) -> tuple[float, float]:
    """Bound the mean of the differences with 95 % confidence.

    The bias-corrected and accelerated bootstrap, stretched until it holds every mean that the
    sign-flip test does not reject. The bootstrap alone is too narrow for few prompts, and for many
    of which most do not move: `eval/validity.py` measures how often it cries wolf. Of `FEWEST`
    prompts or more, an interval that leaves zero out therefore comes with a p-value of at most 5 %.

    Fewer get Student's interval, because no resampling can be as wide as it has to be. It is an
    estimate and no evidence: it may leave zero out (and has no width at all where the prompts
    happen to agree), while not even the same sign of all their differences is rare enough to be
    told from chance. Whoever decides by an interval counts the prompts first, as `Change.sign` does.

    Args:
        differences: One a prompt (p,).
        clusters: A label a prompt; None takes every prompt for itself.
        resamples: Bootstrap resamples, and random flips.
        seed: Of both.
        test: What `sign_flip_test` says of the same differences, if it has been made already.

    Returns:
        Lower and upper bound. Both are infinite for one prompt or cluster, and both are the mean
        where all moved equally far.

    Raises:
        ValueError: If there is no difference, one is not finite, the labels are not as many, or
            there is no resample.

    Example:
        >>> mean_interval(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
        (1.0, 6.0)
    """
    options: dict[str, Any] = {"clusters": clusters, "resamples": resamples, "seed": seed}
    totals, sizes = _units(differences, clusters)
    units, mean = len(totals), float(totals.sum() / sizes.sum())
    if units < 2:
        return -math.inf, math.inf
    error = standard_error(differences, clusters=clusters)
    if error <= np.finfo(np.float64).eps * max(1.0, abs(mean)):
        return mean, mean
    if units < FEWEST:
        half = float(stats.t.isf((1 - CONFIDENCE) / 2, units - 1)) * error
        return mean - half, mean + half
    test = sign_flip_test(differences, **options) if test is None else test
    low, high = bootstrap_interval(differences, **options)
    # Where the bootstrap is undefined (NaN), the test decides alone.
    return float(np.fmin(low, test.low)), float(np.fmax(high, test.high))


def bootstrap_interval(
    differences: Floats,
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Bound the mean by SciPy's bias-corrected and accelerated bootstrap over prompts or clusters.

    Args:
        differences: One a prompt (p,).
        clusters: A label a prompt; None takes every prompt for itself.
        resamples: How many.
        seed: Of the resamples.

    Returns:
        Lower and upper bound; NaN where it is undefined, as it is for one prompt.

    Raises:
        ValueError: If there is no difference, one is not finite, or the labels are not as many.

    Example:
        >>> low, high = bootstrap_interval(np.array([0.1, 0.3, 0.2, 0.4, 0.1, 0.3, 0.0, 0.2]))
        >>> 0.0 < low < 0.2 < high < 0.4
        True
    """
    totals, sizes = _units(differences, clusters)
    if len(totals) < 2:
        return math.nan, math.nan
    # NaN says the same as the warnings.
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        found = stats.bootstrap(
            (totals, sizes),
            _mean_of_units,
            paired=True,
            vectorized=True,
            n_resamples=resamples,
            confidence_level=CONFIDENCE,
            method="BCa",
            rng=np.random.default_rng(seed),
            batch=rows_at_once(len(totals)),
        ).confidence_interval
    return float(found.low), float(found.high)


def sign_flip_test(
    differences: Floats,
    *,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> FlipTest:
    r"""Test whether before and after are exchangeable, by flipping signs.

    If nothing changed, each difference might as well have the other sign. The p-value is twice the
    share of the flips whose mean lies at least as far on the observed side: of all flips, where
    they are no more than `resamples`, and else of random ones with the observed signs among them,
    as in `scipy.stats.permutation_test(permutation_type="samples")`. It is right for any number of
    prompts, and at least :math:`2 / 2^p`.

    A flip has a mean as high as the observed one exactly where the sum of what it flips is not
    positive. A supposed mean :math:`m` is thus rejected by the share of sets of prompts whose own
    mean is at most (or at least) :math:`m`, and the means that are not rejected lie between two
    quantiles of the means of random sets.

    Args:
        differences: One a prompt (p,).
        clusters: A label a prompt; all prompts of a label flip together.
        resamples: Random flips.
        seed: Of the flips.

    Returns:
        The p-value in (0, 1], and the bounds of what is not rejected at 5 %; infinite where
        nothing can be rejected.

    Raises:
        ValueError: If there is no difference, one is not finite, the labels are not as many, or
            `resamples` is not positive.

    Example:
        >>> sign_flip_test(np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0]))
        FlipTest(p_value=0.03125, low=1.0, high=6.0)
        >>> sign_flip_test(np.ones(5), clusters=[0, 0, 1, 1, 1]).p_value
        0.5

    Reference:
        The bounds: Hartigan, "Using Subsample Values as Typical Values" (1969).
    """
    totals, sizes = _units(differences, clusters)
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, got {resamples}")
    sums, counts = [], []
    for chosen in _sets(len(totals), resamples, seed):
        sums.append(chosen @ totals)
        counts.append(chosen @ sizes)
    total, count = np.concatenate(sums), np.concatenate(counts)
    # What is exactly zero must not be split by rounding.
    total[np.abs(total) <= 1e-14 * np.abs(totals).sum()] = 0.0
    tail = min(int((total <= 0).sum()), int((total >= 0).sum()))
    # The empty set flips nothing and is beyond any supposed mean, on either side.
    means = np.sort(total[count > 0] / count[count > 0])
    empty = len(total) - len(means)
    rank = math.floor((1 - CONFIDENCE) / 2 * len(total)) - empty
    low, high = (-math.inf, math.inf) if rank < 0 else (means[rank], means[-1 - rank])
    return FlipTest(min(1.0, 2 * tail / len(total)), float(low), float(high))


def _sets(units: int, resamples: int, seed: int) -> Iterator[Floats]:
    """List all sets of units as rows of zeros and ones, or the empty one and random ones."""
    if units < 60 and 2**units <= resamples:
        numbers = np.arange(2**units)[:, None]
        yield (numbers >> np.arange(units) & 1).astype(np.float64)
        return
    stream = np.random.default_rng(seed)
    yield np.zeros((1, units))
    batch = rows_at_once(units)
    for start in range(0, resamples, batch):
        size = min(batch, resamples - start), units
        yield stream.integers(0, 2, size, dtype=np.int8).astype(np.float64)


def rows_at_once(units: int) -> int:
    """Return how many resamples of so many units are made together.

    >>> rows_at_once(100), rows_at_once(10_000)
    (1000, 100)
    """
    return max(1, min(1000, _AT_ONCE // units))


def standard_error(differences: Floats, *, clusters: Sequence[Hashable] | None = None) -> float:
    r"""Estimate the standard error of the mean difference.

    With totals :math:`T_c` of g clusters of :math:`n_c` prompts, and the mean :math:`\bar d`:

    .. math:: \frac{1}{\sum_c n_c} \sqrt{\frac{g}{g - 1} \sum_c (T_c - n_c \bar d)^2}

    which is the standard deviation over the root of p where every prompt stands for itself.

    Args:
        differences: One a prompt (p,).
        clusters: A label a prompt; None takes every prompt for itself.

    Returns:
        The standard error; infinite for one prompt or cluster.

    Raises:
        ValueError: If there is no difference, one is not finite, or the labels are not as many.

    Example:
        >>> standard_error(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == math.sqrt(2.5 / 5)
        True
    """
    totals, sizes = _units(differences, clusters)
    units = len(totals)
    if units < 2:
        return math.inf
    residuals = totals - sizes * (totals.sum() / sizes.sum())
    return float(math.sqrt(units / (units - 1) * (residuals**2).sum()) / sizes.sum())


def detectable_difference(error: float, units: int) -> float | None:
    r"""Return the smallest true change that a run of this size finds four times out of five.

    The non-centrality :math:`\delta` at which the two-sided t test at 5 % has a power of 80 %, times
    the standard error; about 2.8 standard errors for many prompts. It belongs to the plan of the
    *next* run of this size: the observed change says nothing more by being compared with it.

    Args:
        error: Standard error of the mean difference.
        units: Number of independent prompts, or clusters.

    Returns:
        The change; None where the spread is unknown (one prompt) or has not shown itself (0).

    Raises:
        ValueError: If the error is negative or NaN, or there is no prompt.

    Example:
        >>> round(detectable_difference(1.0, 100), 3)
        2.829
    """
    if not error >= 0 or units < 1:
        raise ValueError(f"need an error >= 0 and a prompt, got {error} and {units}")
    if units < 2 or error == 0 or math.isinf(error):
        return None
    freedom = units - 1
    critical = float(stats.t.isf((1 - CONFIDENCE) / 2, freedom))
    # The far tail adds less than a millionth to the power here.
    shift = optimize.brentq(
        lambda shift: float(stats.nct.sf(critical, freedom, shift)) - POWER,
        critical,
        1.3 * critical + 1.0,
    )
    return float(shift) * error


def holm(p_values: Sequence[float]) -> list[float]:
    r"""Correct p-values of several questions asked at once, by Holm's step-down rule.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min\bigl(1, (m - j + 1) \, p_{(j)}\bigr)

    Calling what is at most 0.05 afterwards significant errs in any of them with a probability of
    0.05 at most, whatever they have to do with each other.

    Args:
        p_values: Of all questions that were asked, each in [0, 1].

    Returns:
        The corrected ones, in the same order.

    Raises:
        ValueError: One is no number in [0, 1].

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    Reference:
        S. Holm, "A Simple Sequentially Rejective Multiple Test Procedure" (1979).
    """
    if wrong := [p for p in p_values if not 0.0 <= p <= 1.0]:
        raise ValueError(f"a p-value is a number in [0, 1], got {wrong[0]}")
    corrected = [0.0] * len(p_values)
    highest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def _units(differences: Floats, clusters: Sequence[Hashable] | None) -> tuple[Floats, Floats]:
    """Sum the differences of each cluster, and count them: (g,) and (g,)."""
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or not values.size:
        raise ValueError(f"need a row of differences, got shape {values.shape}")
    if not np.isfinite(values).all():
        wrong = int((~np.isfinite(values)).sum())
        raise ValueError(f"differences must be finite, got {wrong} NaN or inf")
    if clusters is None:
        return values, np.ones_like(values)
    index = cluster_places(clusters, len(values))
    totals, sizes = np.bincount(index, weights=values), np.bincount(index)
    return totals.astype(np.float64), sizes.astype(np.float64)


def _mean_of_units(totals: Floats, sizes: Floats, axis: int = -1) -> Any:
    return totals.sum(axis=axis) / sizes.sum(axis=axis)
