"""Two frontiers: which of two swept models offers more diversity at the same quality, and by how much.

Where one model is compared at one temperature, the answer depends on the temperature. Two sweeps ask
it for every quality that both models reach.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from diversify.evaluation.frontier import Frontier, noted, too_few
from diversify.evaluation.statistics.clusters import clusters_of
from diversify.evaluation.statistics.complete import complete_cases
from diversify.evaluation.statistics.gaps import curve_gap

__all__ = ["FrontierGap", "compare_frontiers"]


class FrontierGap(NamedTuple):
    """How far the frontier of one model lies above that of another, by one measure and one quality.

    Args:
        measure: Name of the measure, with its kernel.
        quality: Name of the quality that is matched.
        gap: Diversity of the after model minus that of the before model at equal quality, averaged
            over the qualities that both reach: the area between the curves, per unit of quality.
            None where they share no quality.
        ci95: Its 95 % interval over prompts.
        p_value: That of no gap, two-sided.
        between: The qualities that both reach, worst and best.
        smallest: The smallest gap among them.
        smallest_at: At which quality.
        smallest_ci95: Its interval.
        dominates: Whether the after model is at least as diverse at every quality: the intervals of
            the smallest gap, and of the gap that is least certain, have nothing below zero, and
            that of the mean gap lies above it. False says only that this is not shown. None where it
            cannot be said.
        note: What has to be added.
    """

    measure: str
    quality: str
    gap: float | None
    ci95: tuple[float, float]
    p_value: float | None
    between: tuple[float, float] | None
    smallest: float | None
    smallest_at: float | None
    smallest_ci95: tuple[float, float]
    dominates: bool | None
    note: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the fields; a bound that cannot be given is None, since JSON has no infinity."""
        bounds = {
            name: [bound if math.isfinite(bound) else None for bound in getattr(self, name)]
            for name in ("ci95", "smallest_ci95")
        }
        between = None if self.between is None else list(self.between)
        return self._asdict() | bounds | {"between": between}

    def told(self) -> str:
        """Say the gaps in a few words.

        >>> FrontierGap("vendi", "wit", 0.5, (0.2, 0.8), 0.01, (1.0, 2.0), 0.3, 1.5, (0.1, 0.6),
        ...             True).told()
        '+0.500 [+0.200, +0.800] on average, smallest +0.300 [+0.100, +0.600] at 1.5'
        """
        if self.gap is None or self.smallest is None:
            return self.note.strip()
        (low, high), (least, most) = self.ci95, self.smallest_ci95
        return (
            f"{self.gap:+.3f} [{low:+.3f}, {high:+.3f}] on average, smallest {self.smallest:+.3f} "
            f"[{least:+.3f}, {most:+.3f}] at {self.smallest_at:.3g}{self.note}"
        )


def compare_frontiers(
    before: Frontier,
    after: Frontier,
    *,
    measures: Sequence[str],
    qualities: Sequence[str] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> list[FrontierGap]:
    """Compare two swept models at equal quality, for each primary measure and each quality.

    A curve is straight between its temperatures, which makes a bent one look lower the fewer there
    are: sweep both models at the same temperatures. Only prompts with a value at every temperature
    of both curves count, and a note says how many do not.

    Args:
        before: The base model's frontier.
        after: The changed model's, made with the same recipe.
        measures: Measure names, `name,kernel` or without a kernel, which takes all of them.
        qualities: The qualities to match; all by default.
        resamples: Bootstrap resamples over prompts (or groups of them), and random flips of signs.
        seed: Of both.

    Returns:
        One entry a measure and quality.

    Raises:
        ValueError: The two have different prompts, or different groups of them.
    """
    ids = before.reports[0].ids
    after = Frontier(tuple(report.ordered(ids) for report in after.reports), after.temperatures)
    clusters = clusters_of(*(report.heads for report in (*before.reports, *after.reports)))
    options: dict[str, Any] = {"resamples": resamples, "seed": seed}
    first = before.reports[0]
    found = []
    for measure in first.names("measures"):
        if measure not in measures and measure.partition(",")[0] not in measures:
            continue
        for quality in first.names("qualities") if qualities is None else qualities:
            found.append(_compared(before, after, measure, quality, clusters, options))
    return found


def _compared(
    before: Frontier,
    after: Frontier,
    measure: str,
    quality: str,
    clusters: Sequence[Hashable] | None,
    options: Mapping[str, Any],
) -> FrontierGap:
    curves = before.curve(measure, quality), after.curve(measure, quality)
    if curves[0] is None or curves[1] is None:
        return _unknown(measure, quality, "a curve is scored at fewer than two temperatures")
    cases = complete_cases(*curves[0], *curves[1], clusters=clusters)
    if not cases.units:
        return _unknown(measure, quality, "no prompt is scored at every temperature of both")
    old, new = (cases.columns[0], cases.columns[1]), (cases.columns[2], cases.columns[3])
    notes = [before.lacks(curves[0]), after.lacks(curves[1])]
    sides = [
        f"{side} {note}" for side, note in zip(("before", "after"), notes, strict=True) if note
    ]
    gap = curve_gap(old, new, clusters=cases.clusters, **options)
    if gap is None:
        return _unknown(measure, quality, "the two reach no common quality", *sides, cases.told())
    few = too_few(cases.units)
    shown = min(gap.smallest.ci95[0], gap.weakest.ci95[0]) >= 0 and gap.mean.ci95[0] > 0
    return FrontierGap(
        measure=measure,
        quality=quality,
        gap=gap.mean.value,
        ci95=gap.mean.ci95,
        p_value=gap.mean.p_value,
        between=gap.between,
        smallest=gap.smallest.value,
        smallest_at=gap.smallest_at,
        smallest_ci95=gap.smallest.ci95,
        dominates=None if few else shown,
        note=noted(few, *sides, cases.told()),
    )


def _unknown(measure: str, quality: str, *notes: str) -> FrontierGap:
    nothing = (-math.inf, math.inf)
    note = noted(*notes)
    return FrontierGap(measure, quality, None, nothing, None, None, None, None, nothing, None, note)
