"""The frontier: how much diversity a model offers at each quality when it is sampled hotter.

Diversity can always be bought with temperature. A change of the model is worth something only if it
gives more diversity than the same model, sampled hotter, gives at the same quality.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diversify.evaluation.reports import Report, load_report
from diversify.evaluation.statistics.clusters import clusters_of
from diversify.evaluation.statistics.complete import Complete, complete_cases
from diversify.evaluation.statistics.gaps import Gap, point_gap
from diversify.evaluation.statistics.inference import FEWEST, mean_interval

Floats = NDArray[np.float64]


class Standing(NamedTuple):
    """Where a point stands against the frontier, for one measure at one matched quality.

    `gap` is the point's diversity minus what the sweep offers at the same quality, with its 95 %
    interval over prompts (`point_gap`): prompts of one `group` count as one. Only prompts with both
    values in the point and at every temperature count; `note` says how many others are left out.
    The gap is NaN where none is left.

    `above` says whether the interval lies above zero. False says only that this is not shown. None
    says that it cannot be known: from too few prompts, or at a worse quality than the sweep went
    to, where the base might have been as diverse. What has less diversity at such a quality than
    the hottest temperature is not above, all the same. `p_value` is that of no gap, two-sided: at
    most 5 % where `above` is True, None where there is no interval.
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

        A temperature is left out only where no prompt has both. One at which hardly any has costs
        the others their prompts, since only those that are scored everywhere count: which of the
        two is worth more is for whoever sweeps to say, by leaving out its report.

        Returns:
            Both, NaN where a prompt has no value; None if fewer than two temperatures are left, and
            so no curve.
        """
        diversity, levels = (
            np.stack([swept.column(section, name) for swept in self.reports])
            for section, name in (("measures", measure), ("qualities", quality))
        )
        scored = (~np.isnan(diversity) & ~np.isnan(levels)).any(axis=1)
        return None if scored.sum() < 2 else (diversity[scored], levels[scored])

    def lacks(self, curve: tuple[Floats, Floats]) -> str:
        """Say in a few words that a curve lacks temperatures; nothing if it has all."""
        found, asked = len(curve[0]), len(self.temperatures)
        return f"scored at {found} of {asked} temperatures" if found < asked else ""

    def _standing(
        self, report: Report, measure: str, quality: str, resamples: int, seed: int
    ) -> Standing:
        nothing = Standing(measure, quality, math.nan, (-math.inf, math.inf), None, "")
        curve = self.curve(measure, quality)
        if curve is None:
            return nothing._replace(note=noted("scored at fewer than two temperatures"))
        cases = complete_cases(
            *curve,
            *(report.column(*name) for name in (("measures", measure), ("qualities", quality))),
            clusters=clusters_of(report.heads, *(swept.heads for swept in self.reports)),
        )
        if not cases.units:
            note = noted("no prompt is scored in the point and at every temperature")
            return nothing._replace(note=note)
        options: dict[str, Any] = {"clusters": cases.clusters, "resamples": resamples, "seed": seed}
        gap = point_gap(*cases.columns, **options)
        above, note = _above(gap, cases, options)
        note = noted(note, self.lacks(curve), cases.told())
        return Standing(measure, quality, gap.value, gap.ci95, above, note, gap.p_value)


def _above(gap: Gap, cases: Complete, options: Mapping[str, Any]) -> tuple[bool | None, str]:
    """Say whether a point lies above the curve, and what has to be added to that.

    A point of better quality than the sweep is measured against the best: colder, the base offers
    no more than there. Of one of worse quality it can be shown only that it is not above, and that is
    asked of the hottest temperature alone. Against the most diverse of several that are about
    equally so, "below" was said of simulated points as diverse as they in up to 6.3 % for nominal
    2.5 %, against the hottest in 1.4 to 2.7 %.
    """
    if few := too_few(cases.units):
        return None, few
    diversity, quality, own, at = cases.columns
    levels, level = quality.mean(axis=1), float(at.mean())
    if level < levels.min():
        dominated = mean_interval(own - diversity[-1], **options)[1] < 0
        note = "worse quality than the hottest temperature of the sweep"
        return (False, f"{note}, and less diversity") if dominated else (None, note)
    if level > levels.max():
        note = "better quality than any temperature reaches; measured against the best"
        return gap.ci95[0] > 0, note
    return gap.ci95[0] > 0, ""


def too_few(units: int) -> str:
    """Say in a few words that so many independent prompts decide nothing; nothing if they do.

    >>> too_few(1), too_few(5), too_few(6)
    ('one prompt has no interval', 'only 5 independent prompts', '')
    """
    if units == 1:
        return "one prompt has no interval"
    return f"only {units} independent prompts" if units < FEWEST else ""


def noted(*parts: str) -> str:
    """Put what has to be added in brackets; nothing if there is nothing.

    >>> noted("one prompt has no interval", "", "so"), noted("")
    (' (one prompt has no interval; so)', '')
    """
    told = "; ".join(part for part in parts if part)
    return f" ({told})" if told else ""


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
