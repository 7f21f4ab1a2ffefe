"""The frontier: how much diversity a model offers at each quality when it is sampled hotter.

Diversity can always be bought with temperature. A change of the model is worth something only if it
gives more diversity than the same model, sampled hotter, gives at the same quality.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from diversify.evaluation.evaluate import Report, load_report

Floats = NDArray[np.float64]


class Standing(NamedTuple):
    """Where a point stands against the frontier, for one measure at one matched quality.

    `gap` is the point's diversity minus what the sweep offers at the same quality, with its 95 %
    bootstrap interval over prompts. `above` is None where the sweep does not reach the quality.
    `p_value` is that of no gap, two-sided, from the same resamples: the smallest level at which the
    interval would leave zero out. None where there is no interval.
    """

    measure: str
    quality: str
    gap: float
    ci95: tuple[float, float]
    above: bool | None
    note: str
    p_value: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields; a bound that cannot be given is None, since JSON has no infinity."""
        bounds = [bound if math.isfinite(bound) else None for bound in self.ci95]
        return self._asdict() | {"ci95": bounds}

    def told(self) -> str:
        """Say the gap in a few words."""
        low, high = self.ci95
        return f"{self.gap:+.3f} [{low:+.3f}, {high:+.3f}]{self.note}"


@dataclass(frozen=True)
class Frontier:
    """One model sampled at several temperatures, coldest first."""

    reports: tuple[Report, ...] = field(repr=False)
    temperatures: tuple[float, ...]

    def as_json(self) -> list[dict[str, Any]]:
        """Return one dictionary a temperature: label, temperature, mean measures and qualities."""
        return [
            {
                "label": report.label,
                "temperature": temperature,
                "measures": _means(report, "measures"),
                "qualities": _means(report, "qualities"),
            }
            for report, temperature in zip(self.reports, self.temperatures, strict=True)
        ]

    def standings(
        self,
        report: Report,
        *,
        measures: Sequence[str],
        qualities: Sequence[str] | None = None,
        resamples: int = 10_000,
        seed: int = 0,
    ) -> list[Standing]:
        """Place a report against the curve, for each primary measure and each quality.

        Args:
            report: the point, made with the recipe of the sweep.
            measures: measure names without their kernel; every kernel of the report is used.
            qualities: the qualities to match; all by default.
            resamples: bootstrap resamples over prompts.
            seed: of the bootstrap.

        Raises:
            ValueError: the point's prompts are not those of the sweep.
        """
        report = report.ordered([sample["id"] for sample in self.reports[0].samples])
        names = [name for name in report.names("measures") if name.split(",")[0] in measures]
        return [
            self._standing(report, measure, quality, resamples, seed)
            for measure in names
            for quality in (report.names("qualities") if qualities is None else qualities)
        ]

    def _standing(
        self, report: Report, measure: str, quality: str, resamples: int, seed: int
    ) -> Standing:
        def stacked(section: str, name: str) -> Floats:
            return np.stack([swept.column(section, name) for swept in self.reports])

        curve = stacked("measures", measure), stacked("qualities", quality)
        point = report.column("measures", measure), report.column("qualities", quality)

        def gap(rows: NDArray[np.int64], axis: int = -1) -> Floats:
            # rows: (..., p) prompt indices; means over them move all points of the curve together.
            diversity, level = (np.nanmean(values[:, rows], axis=-1) for values in curve)
            own, at = (np.nanmean(values[rows], axis=-1) for values in point)
            return np.asarray(own - reachable(diversity, level, at, beyond=best))

        everyone = np.arange(len(report.samples))
        levels = np.nanmean(curve[1], axis=1)
        # Settled once, for all resamples: which temperature is best is no part of the question.
        best = int(levels.argmax())
        central = float(gap(everyone))
        at = float(np.nanmean(point[1]))
        note = ""
        if at > levels.max():
            note = " (better quality than any temperature reaches; measured against the best)"
        low, high = float("-inf"), float("inf")
        p_value = None
        if len(everyone) > 1:
            found = stats.bootstrap(
                (everyone,),
                gap,
                n_resamples=resamples,
                method="percentile",
                vectorized=True,
                batch=1000,
                rng=np.random.default_rng(seed),
            )
            low, high = map(float, found.confidence_interval)
            gaps = found.bootstrap_distribution
            tail = 1 + min(int((gaps <= 0).sum()), int((gaps >= 0).sum()))
            p_value = min(1.0, 2 * tail / (1 + len(gaps)))
        above: bool | None = low > 0 if len(everyone) > 1 else None
        if len(everyone) == 1:
            note = " (one prompt has no interval)"
        elif at < levels.min() and high > 0:
            # Hotter than the sweep went, the base might have been as diverse: nobody knows.
            above, note = None, " (worse quality than the hottest temperature of the sweep)"
        return Standing(measure, quality, central, (low, high), above, note, p_value)


def reachable(
    diversity: Floats, quality: Floats, at: Floats, *, beyond: int | None = None
) -> Floats:
    """Return the most diversity that a curve offers at quality `at` or better.

    The curve is the polyline through its points in the order given. Where no point is as good, the
    diversity of its best-quality point is returned.

    Args:
        diversity: of the curve's points (k, ...).
        quality: of the curve's points (k, ...).
        at: the quality to match (...).
        beyond: index of the point that counts where none is as good; the best one by default.

    Returns:
        The diversity (...).

    >>> curve = np.array([0.2, 0.4, 0.8]), np.array([-1.0, -2.0, -3.0])
    >>> float(reachable(*curve, np.array(-2.5))), float(reachable(*curve, np.array(-0.5)))
    (0.6000000000000001, 0.2)
    """
    best = np.where(quality >= at, diversity, -np.inf).max(axis=0)
    for (d0, d1), (q0, q1) in zip(pairwise(diversity), pairwise(quality), strict=True):
        crosses = (np.minimum(q0, q1) < at) & (at < np.maximum(q0, q1))
        share = np.where(crosses, (at - q0) / np.where(crosses, q1 - q0, 1.0), 0.0)
        best = np.where(crosses, np.maximum(best, d0 + share * (d1 - d0)), best)
    if beyond is None:
        top = np.take_along_axis(diversity, quality.argmax(axis=0)[None], axis=0)[0]
    else:
        top = diversity[beyond]
    return np.asarray(np.where(np.isneginf(best), top, best))


def frontier(runs: Sequence[Report | str | Path]) -> Frontier:
    """Build the frontier of one model from reports (or their folders) at several temperatures.

    Raises:
        ValueError: fewer than two different temperatures, a report without a recorded temperature,
            or two temperatures that are equal.
    """
    reports = [run if isinstance(run, Report) else load_report(run) for run in runs]
    found: dict[float, Report] = {}
    for report in reports:
        temperature = report.summary["config"]["settings"].get("sampling", {}).get("temperature")
        if temperature is None:
            raise ValueError(f"{report.label} does not say at which temperature it was sampled")
        if temperature in found:
            raise ValueError(f"two reports of the sweep have temperature {temperature}")
        found[float(temperature)] = report
    if len(found) < 2:
        raise ValueError(f"a frontier needs at least two temperatures, got {sorted(found)}")
    order = sorted(found)
    ids = [sample["id"] for sample in reports[0].samples]
    return Frontier(tuple(found[heat].ordered(ids) for heat in order), tuple(order))


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


def _means(report: Report, section: str) -> dict[str, float | None]:
    found = {name: report.column(section, name) for name in report.names(section)}
    return {
        name: None if np.isnan(values).all() else float(np.nanmean(values))
        for name, values in found.items()
    }
