"""The frontier section as plain data: one panel for each quality, and the gaps of all models."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from diversify.evaluation.compare import Comparison
from diversify.evaluation.frontier import Frontier
from diversify.evaluation.frontiers import FrontierGap
from diversify.evaluation.report.frontier_plot import Point, Swept, frontier_plot
from diversify.evaluation.report.names import (
    deciding,
    kernel_name,
    lead_measure,
    measure_name,
    quality_name,
)
from diversify.evaluation.statistics.curves import reachable
from diversify.evaluation.verdict import primary_of
from diversify.evaluation.wording.written import NONE, Style, tidy

ABOVE = {
    True: ("better", "▲ above the curve"),
    False: ("worse", "▼ not shown to be above"),
    None: ("open", "○ cannot be said"),
}
EVERYWHERE = ABOVE | {True: ("better", "▲ at least as diverse at every quality of both")}
ABOVE_ON_AVERAGE = ("better", "▲ above on average, not shown at every quality")
# Longer labels do not fit beside a point; the legend has them whole.
LABEL = 20


class Gap(NamedTuple):
    """One standing, as it is told."""

    model: str
    kind: str
    measure: str
    quality: str
    gap: str
    interval: str
    state: str
    word: str
    note: str


class Named(NamedTuple):
    """One point of the plot in words, for the table that stands for the plot."""

    label: str
    quality: str
    diversity: str


class Panel(NamedTuple):
    """One plot, its points as a table, and what is said below it."""

    title: str
    figure: Markup
    points: list[Named]
    gaps: list[Gap]


class Plots(NamedTuple):
    """The panels of one measure."""

    measure: str
    code: str
    panels: list[Panel]


def sweep_plots(comparison: Comparison, also: Mapping[str, Comparison]) -> list[Plots]:
    """Return the panels of every primary measure, the leading one first; empty without a sweep."""
    lead = lead_measure(comparison)
    if comparison.frontier is None or lead is None:
        return []
    found = []
    for code in dict.fromkeys([lead, *primary_of(comparison.measures)]):
        panels = [
            panel
            for quality in dict.fromkeys([*deciding(comparison), *comparison.qualities])
            for panel in _panel(comparison, also, code, quality)
        ]
        if panels:
            name, kernel = measure_name(code).title, code.partition(",")[2]
            found.append(Plots(f"{name} · {kernel_name(kernel)}", code, panels))
    return found


def _panel(
    comparison: Comparison, also: Mapping[str, Comparison], measure: str, quality: str
) -> Iterator[Panel]:
    sweep = _swept(comparison.frontier, measure, quality)
    if len(sweep) < 2:
        return
    after = _swept(comparison.after_frontier, measure, quality)
    gaps = [
        *_gaps("After", "after", comparison, measure, quality),
        *(
            gap
            for number, (label, other) in enumerate(also.items())
            for gap in _gaps(label, f"also-{number}", other, measure, quality)
        ),
        *(
            _between(gap)
            for gap in comparison.frontiers
            if (gap.measure, gap.quality) == (measure, quality)
        ),
    ]
    title = quality_name(quality).title
    points = list(_points(comparison, also, sweep, measure, quality))
    figure = frontier_plot(
        sweep,
        points,
        quality=title,
        measure=measure_name(measure).title,
        summary=_summary(sweep, points),
        after=after,
    )
    yield Panel(title, figure, _named(sweep, after, points), gaps)


def _named(sweep: list[Swept], after: list[Swept], points: list[Point]) -> list[Named]:
    style = Style(3)
    found = [(f"Base model at T {p.temperature:g}", p.quality, p.diversity) for p in sweep]
    found += [(f"After model at T {p.temperature:g}", p.quality, p.diversity) for p in after]
    found += [(p.label, p.quality, p.diversity) for p in points]
    return [Named(label, style.number(q), style.number(d)) for label, q, d in found]


def _swept(frontier: Frontier | None, measure: str, quality: str) -> list[Swept]:
    rows = frontier.as_json() if frontier else []
    found = [
        (row["temperature"], row["qualities"].get(quality), row["measures"].get(measure))
        for row in rows
    ]
    return [Swept(t, level, value) for t, level, value in found if None not in (level, value)]


def _points(
    comparison: Comparison,
    also: Mapping[str, Comparison],
    sweep: list[Swept],
    measure: str,
    quality: str,
) -> Iterator[Point]:
    diversity = np.array([swept.diversity for swept in sweep])
    levels = np.array([swept.quality for swept in sweep])
    own, level = comparison.measures[measure], comparison.qualities[quality]
    models = [("after", "After", comparison)]
    models += [(f"also-{n}", _short(label), other) for n, (label, other) in enumerate(also.items())]
    for kind, label, model in models:
        if measure in model.measures and quality in model.qualities:
            at, value = model.qualities[quality].after, model.measures[measure].after
            # The line is as long as the gap that is told, which may be of fewer prompts than the curve.
            told = [standing["gap"] for standing in _standings(model, measure, quality)]
            gap = told[0] if told else value - float(reachable(diversity, levels, np.array(at)))
            reach = None if gap is None else value - gap
            yield Point(kind, label, at, value, reach)
        if kind == "after":
            yield Point("before", "Before", level.before, own.before)


def _short(label: str) -> str:
    return label if len(label) <= LABEL else label[: LABEL - 1].rstrip() + "…"


def _gaps(
    model: str, kind: str, comparison: Comparison, measure: str, quality: str
) -> Iterator[Gap]:
    for standing in _standings(comparison, measure, quality):
        yield _gap(model, kind, standing)


def _standings(comparison: Comparison, measure: str, quality: str) -> list[dict[str, Any]]:
    return [
        standing
        for standing in comparison.details.get("standings", [])
        if (standing["measure"], standing["quality"]) == (measure, quality)
    ]


def _gap(model: str, kind: str, standing: dict[str, Any]) -> Gap:
    gap = math.nan if standing["gap"] is None else standing["gap"]
    style = Style(2 if abs(gap) >= 1 else 3)
    state, word = ABOVE[standing["above"]]
    known = not math.isnan(gap)
    return Gap(
        model=model,
        kind=kind,
        measure=standing["measure"],
        quality=quality_name(standing["quality"]).title,
        gap=style.signed(gap) if known else NONE,
        interval=style.interval(tuple(standing["ci95"])),
        state=state,
        word=word,
        note=standing["note"].strip().strip("()"),
    )


def _between(gap: FrontierGap) -> Gap:
    """Tell the gap between two sweeps; its curve is the dashed one."""
    style = Style(2 if abs(gap.gap or 0.0) >= 1 else 3)
    state, word = EVERYWHERE[gap.dominates]
    if gap.dominates is False and gap.ci95[0] > 0:
        state, word = ABOVE_ON_AVERAGE
    note = gap.note.strip().strip("()")
    if gap.smallest is not None:
        least = f"{style.signed(gap.smallest)} {style.interval(gap.smallest_ci95)}"
        note = f"smallest {least} at {Style(3).number(gap.smallest_at)}" + (note and f"; {note}")
    return Gap(
        model="After, swept too (dashed), on average",
        kind="after",
        measure=gap.measure,
        quality=quality_name(gap.quality).title,
        gap=style.signed(gap.gap),
        interval=style.interval(gap.ci95),
        state=state,
        word=word,
        note=note,
    )


def _summary(sweep: list[Swept], points: list[Point]) -> str:
    curve = ", ".join(f"T {p.temperature:g}: {p.quality:.3g} and {p.diversity:.3g}" for p in sweep)
    models = ", ".join(f"{p.label}: {p.quality:.3g} and {p.diversity:.3g}" for p in points)
    return tidy(
        f"Quality and diversity of the base model by temperature: {curve}. Models: {models}."
    )
