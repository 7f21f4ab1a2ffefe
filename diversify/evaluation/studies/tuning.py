"""Tuning: every method at its own best temperature, counted on prompts that did not choose it.

Methods have their best temperatures in different places, so one temperature for all favours some.
The best of several looks better than it is on the prompts that made it the best; so one half of the
prompts chooses for the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diversify.evaluation.reports import Report

__all__ = ["Tuned", "best_temperature", "cross_fitted", "halves"]


class Tuned(NamedTuple):
    """A method at the temperatures that suit it.

    `report` holds for each prompt the sample at the temperature that the other half chose;
    `temperatures` are those at which the even and the odd prompts are counted, and `held` says
    whether quality was kept on the prompts that chose, for both.
    """

    report: Report
    temperatures: tuple[float, float]
    held: bool

    def rows(self, by_temperature: Mapping[float, Sequence[Any]]) -> list[Any]:
        """Pick from one list of rows a temperature, in the order of the report, what is counted."""
        return [
            by_temperature[self.temperatures[place % 2]][place]
            for place in range(len(self.report.samples))
        ]


def halves(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the places of the even and of the odd prompts.

    >>> [half.tolist() for half in halves(5)]
    [[0, 2, 4], [1, 3]]
    """
    return np.arange(0, n, 2), np.arange(1, n, 2)


def best_temperature(
    diversity: Mapping[float, float], quality: Mapping[float, float], *, at_least: float
) -> tuple[float, bool]:
    """Choose the most diverse temperature among those that keep quality.

    Args:
        diversity: temperature -> mean, NaN where there is none.
        quality: the same temperatures -> mean.
        at_least: the quality to keep.

    Returns:
        The temperature, the colder one of two that are equal; and True. Where none keeps the
        quality, the one with the best quality, and False.

    Raises:
        ValueError: There is no temperature.

    Example:
        >>> diversity, quality = {0.5: 2.0, 1.0: 3.0, 1.5: 4.0}, {0.5: 0.9, 1.0: 0.8, 1.5: 0.1}
        >>> best_temperature(diversity, quality, at_least=0.7)
        (1.0, True)
        >>> best_temperature(diversity, quality, at_least=0.95)
        (0.5, False)
    """
    if not diversity:
        raise ValueError("there is no temperature to choose from")
    heats = sorted(diversity)
    keep = [heat for heat in heats if quality[heat] >= at_least and not np.isnan(diversity[heat])]
    if keep:
        return max(keep, key=lambda heat: diversity[heat]), True
    known = [heat for heat in heats if not np.isnan(quality[heat])] or heats
    return max(known, key=lambda heat: quality[heat]), False


def cross_fitted(
    sweep: Mapping[float, Report],
    reference: Report,
    *,
    measure: str,
    quality: str,
    margin: float,
) -> Tuned:
    """Choose a method's temperature for each half of the prompts by the other half.

    Args:
        sweep: temperature -> report of the method.
        reference: whose quality is to be kept: plain sampling at a usual temperature. Its prompts
            give the order.
        measure: name of the measure that is to be high.
        quality: name of the quality that is to be kept.
        margin: how far its mean may lie below that of the reference on the choosing prompts.

    Raises:
        ValueError: There are fewer than two prompts, the prompts of the reports differ, or the
            margin is negative.
    """
    if margin < 0:
        raise ValueError(f"margin must not be negative, got {margin}")
    ids = reference.ids
    if len(ids) < 2:
        raise ValueError(f"one half of the prompts chooses for the other, got {len(ids)} prompt")
    reports = {heat: report.ordered(ids) for heat, report in sweep.items()}
    chosen = []
    for choosing in halves(len(ids))[::-1]:
        diversity, level = (
            {heat: _mean(report.column(*key)[choosing]) for heat, report in reports.items()}
            for key in (("measures", measure), ("qualities", quality))
        )
        floor = _mean(reference.column("qualities", quality)[choosing]) - margin
        chosen.append(best_temperature(diversity, level, at_least=floor))
    temperatures = (chosen[0][0], chosen[1][0])
    samples = [reports[temperatures[place % 2]].samples[place] for place in range(len(ids))]
    report = Report(reports[temperatures[0]].summary, samples)
    return Tuned(report, temperatures, all(held for _, held in chosen))


def _mean(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
