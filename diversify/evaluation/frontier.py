"""The frontier: how much diversity a model offers at each quality when it is sampled hotter.

Diversity can always be bought with temperature. A change of the model is worth something only if it
gives more diversity than the same model, sampled hotter, gives at the same quality.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diversify.evaluation.evaluate import Report, load_report
from diversify.evaluation.statistics.gaps import Gap, point_gap
from diversify.evaluation.statistics.inference import FEWEST, clusters_of, count_units

Floats = NDArray[np.float64]


class Standing(NamedTuple):
    """Where a point stands against the frontier, for one measure at one matched quality.

    `gap` is the point's diversity minus what the sweep offers at the same quality, with its 95 %
    interval over prompts (`point_gap`): prompts of one `group` count as one. `above` is None where
    the sweep does not reach the quality, or where there are too few prompts to say. `p_value` is
    that of no gap, two-sided: at most 5 % where the interval leaves zero out, None where there is
    no interval. The gap is NaN where nothing could be scored.
    """

    measure: str
    quality: str
    gap: float
    ci95: tuple[float, float]
    above: bool | None
    note: str
    p_value: float | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the fields; a number that cannot be given is None, since JSON has no infinity."""
        bounds = [bound if math.isfinite(bound) else None for bound in self.ci95]
        gap = self.gap if math.isfinite(self.gap) else None
        return self._asdict() | {"gap": gap, "ci95": bounds}

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
            measures: measure names, `name,kernel` or without a kernel, which takes all of them.
            qualities: the qualities to match; all by default.
            resamples: bootstrap resamples over prompts, and random flips of signs.
            seed: of both.

        Raises:
            ValueError: the point's prompts, or their groups, are not those of the sweep.
        """
        report = report.ordered(self.reports[0].ids)
        wanted = {*measures}
        names = [n for n in report.names("measures") if {n, n.partition(",")[0]} & wanted]
        return [
            self._standing(report, measure, quality, resamples, seed)
            for measure in names
            for quality in (report.names("qualities") if qualities is None else qualities)
        ]

    def curve(self, measure: str, quality: str) -> tuple[Floats, Floats] | None:
        """Return diversity and quality (k, p) of the temperatures at which both have been scored.

        None if those are fewer than two, and so no curve.
        """
        diversity, levels = (
            np.stack([swept.column(section, name) for swept in self.reports])
            for section, name in (("measures", measure), ("qualities", quality))
        )
        scored = ~(np.isnan(diversity).all(axis=1) | np.isnan(levels).all(axis=1))
        return None if scored.sum() < 2 else (diversity[scored], levels[scored])

    def _standing(
        self, report: Report, measure: str, quality: str, resamples: int, seed: int
    ) -> Standing:
        curve = self.curve(measure, quality)
        point = report.column("measures", measure), report.column("qualities", quality)
        if curve is None or any(np.isnan(values).all() for values in point):
            note = " (not scored in the point, or at fewer than two temperatures)"
            return Standing(measure, quality, math.nan, (-math.inf, math.inf), None, note)
        clusters = clusters_of(report.heads, *(swept.heads for swept in self.reports))
        gap = point_gap(*curve, *point, clusters=clusters, resamples=resamples, seed=seed)
        above, note = self._above(gap, curve[1], point[1], count_units(clusters, len(point[0])))
        return Standing(measure, quality, gap.value, gap.ci95, above, note, gap.p_value)

    @staticmethod
    def _above(gap: Gap, quality: Floats, own: Floats, units: int) -> tuple[bool | None, str]:
        """Say whether a point lies above, and what has to be added to that."""
        levels, at = np.nanmean(quality, axis=1), float(np.nanmean(own))
        if units == 1:
            return None, " (one prompt has no interval)"
        if units < FEWEST:
            return None, f" (only {units} independent prompts)"
        if at < levels.min() and gap.ci95[1] > 0:
            # Hotter than the sweep went, the base might have been as diverse: nobody knows.
            return None, " (worse quality than the hottest temperature of the sweep)"
        note = ""
        if at > levels.max():
            note = " (better quality than any temperature reaches; measured against the best)"
        return gap.ci95[0] > 0, note


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
    # One order for everybody, so that the resamples do not depend on that of the rows.
    ids = sorted(reports[0].ids, key=str)
    return Frontier(tuple(found[heat].ordered(ids) for heat in order), tuple(order))


def _means(report: Report, section: str) -> dict[str, float | None]:
    found = {name: report.column(section, name) for name in report.names(section)}
    return {
        name: None if np.isnan(values).all() else float(np.nanmean(values))
        for name, values in found.items()
    }
