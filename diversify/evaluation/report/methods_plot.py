"""Many methods in one plane: diversity against quality, beside a curve of temperatures."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from diversify.evaluation.report.frontier_plot import (
    Point,
    Swept,
    axes,
    dots,
    drawn_label,
)
from diversify.evaluation.report.svg import Box, Label, along, around, axis_of, exact, place, tag

__all__ = ["KINDS", "methods_plot"]

WIDTH, HEIGHT = 960.0, 640.0
FRAME = Box(56, 40, WIDTH - 16, HEIGHT - 48)

KINDS = {
    "sampler": ("samplers of a token", "#0a63a8", "M0-5 5 0 0 5-5 0z"),
    "siblings": ("decoders that see siblings", "#00755a", "M-4.5-4.5H4.5V4.5H-4.5z"),
    "strategy": ("prompt strategies", "#97386f", "M0-5.5 5 4-5 4z"),
    "selection": (
        "selection and stopping",
        "#b04300",
        "M-5-1.7h3.3v-3.3h3.4v3.3h3.3v3.4h-3.3v3.3h-3.4v-3.3h-3.3z",
    ),
}
"""Kind of a method -> what the legend calls it, its colour and its sign around (0, 0)."""

STYLE = """
svg { background: #fbfaf6; }
text { font: 12px system-ui, "Segoe UI", "Helvetica Neue", sans-serif; fill: #625e55; }
.title { fill: #1e1c19; }
.grid { stroke: #ddd8cc; stroke-width: 1; } .axis, .leader { stroke: #625e55; stroke-width: 1; }
.curve { fill: none; stroke: #6f6a60; stroke-width: 2; opacity: .65; } .swept { fill: #6f6a60; }
.label { paint-order: stroke; stroke: #fbfaf6; stroke-width: 3px; stroke-linejoin: round; }
"""


def methods_plot(
    sweep: Sequence[Swept], points: Sequence[Point], *, quality: str, measure: str, summary: str
) -> Markup:
    """Draw methods as points beside the curve of plain sampling, in a file that stands alone.

    Above and to the right of the curve is what no temperature gives.

    Args:
        sweep: the curve, coldest first.
        points: the methods; their `kind` is one of `KINDS`, their label is written beside them.
        quality: title of the horizontal axis.
        measure: title of the vertical axis.
        summary: for a screen reader.

    Raises:
        ValueError: A kind is unknown, or there is no curve.
    """
    if unknown := sorted({point.kind for point in points} - {*KINDS}):
        raise ValueError(f"a method's kind must be one of {list(KINDS)}, got {unknown[0]!r}")
    if not sweep:
        raise ValueError("the plot needs a curve of temperatures, got none")
    both: list[Swept | Point] = [*sweep, *points]
    x = axis_of([p.quality for p in both], padding=0.05)
    y = axis_of([p.diversity for p in both], padding=0.05)

    def at(level: float, diversity: float) -> tuple[float, float]:
        return (
            FRAME.left + x.share(level) * (FRAME.right - FRAME.left),
            FRAME.bottom - y.share(diversity) * (FRAME.bottom - FRAME.top),
        )

    curve = [at(p.quality, p.diversity) for p in sweep]
    spots = [at(p.quality, p.diversity) for p in points]
    labels = [
        Label(p.label, *spot, f"label {p.kind}") for p, spot in zip(points, spots, strict=True)
    ]
    labels += [
        Label(f"T {p.temperature:g}", *spot, "label") for p, spot in zip(sweep, curve, strict=True)
    ]
    obstacles = [around(spot, 6) for spot in spots] + [around(spot, 4) for spot in along(curve)]
    boxes = place(labels, obstacles, FRAME)
    return tag(
        "svg",
        tag("style", Markup(STYLE + _colours())),
        tag("title", f"{measure} against {quality}"),
        tag("desc", summary),
        *axes(x, y, at, FRAME, f"{quality} →", f"{measure} →"),
        *_legend({point.kind for point in points}),
        tag("path", d="M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in curve), class_="curve"),
        *dots(sweep, curve),
        *(
            mark
            for label, box in zip(labels, boxes, strict=True)
            for mark in drawn_label(label, box)
        ),
        *(_mark(point, spot) for point, spot in zip(points, spots, strict=True)),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        role="img",
    )


def _mark(point: Point, spot: tuple[float, float]) -> Markup:
    return tag(
        "path",
        tag("title", f"{point.label}: {point.diversity:.2f} at {point.quality:.2f}"),
        d=KINDS[point.kind][2],
        transform=f"translate({spot[0]:.1f} {spot[1]:.1f})",
        class_=f"mark {point.kind}",
        data_method=point.label,
        data_quality=exact(point.quality),
        data_diversity=exact(point.diversity),
    )


def _legend(kinds: set[str]) -> list[Markup]:
    """Name the curve and the kinds that there are, in a line above the frame."""
    told = [("plain sampling, by temperature", "M-8 0H8", "curve")]
    told += [(KINDS[kind][0], KINDS[kind][2], f"mark {kind}") for kind in KINDS if kind in kinds]
    drawn, left = [], FRAME.left
    for text, shape, class_ in told:
        drawn += [
            tag("path", d=shape, transform=f"translate({left + 10:.1f} 20)", class_=class_),
            tag("text", text, x=left + 22, y=24.0),
        ]
        left += 34 + 6.2 * len(text)
    return drawn


def _colours() -> str:
    return "\n".join(
        f".{kind} {{ fill: {colour}; }} .label.{kind} {{ fill: {colour}; font-weight: 600; }}"
        for kind, (_, colour, _) in KINDS.items()
    )
