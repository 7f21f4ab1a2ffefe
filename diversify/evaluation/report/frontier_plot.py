"""The frontier plot: diversity against a quality, for a sweep of temperatures and several models."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from markupsafe import Markup

from diversify.evaluation.report.figures import marker
from diversify.evaluation.report.svg import (
    Axis,
    Box,
    Label,
    along,
    around,
    axis_of,
    exact,
    leader,
    place,
    tag,
)

WIDTH, HEIGHT = 400.0, 330.0
FRAME = Box(52, 12, WIDTH - 12, HEIGHT - 48)

Place = Callable[[float, float], tuple[float, float]]
Spots = Sequence[tuple[float, float]]


class Swept(NamedTuple):
    """One temperature of the sweep."""

    temperature: float
    quality: float
    diversity: float


class Point(NamedTuple):
    """A model in the plane; `reach` is the diversity that the sweep offers at its quality."""

    kind: str
    label: str
    quality: float
    diversity: float
    reach: float | None = None


def frontier_plot(
    sweep: Sequence[Swept],
    points: Sequence[Point],
    *,
    quality: str,
    measure: str,
    summary: str,
    after: Sequence[Swept] = (),
) -> Markup:
    """Draw diversity against one quality: the sweep as a curve, the models as points.

    A dashed line runs from a point to what the sweep offers at the same quality.

    Args:
        sweep: the curve, coldest first.
        points: the models, the important ones first.
        quality: title of the horizontal axis.
        measure: title of the vertical axis.
        summary: for a screen reader.
        after: the curve of the after model, dashed, coldest first; empty where it was not swept.
    """
    both: list[Swept | Point] = [*sweep, *after, *points]
    x = axis_of([p.quality for p in both], padding=0.1, count=4)
    y = axis_of([*(p.diversity for p in both), *_reaches(points)], padding=0.1)

    def at(level: float, diversity: float) -> tuple[float, float]:
        return (
            FRAME.left + x.share(level) * (FRAME.right - FRAME.left),
            FRAME.bottom - y.share(diversity) * (FRAME.bottom - FRAME.top),
        )

    curve = [at(p.quality, p.diversity) for p in sweep]
    spots = [at(p.quality, p.diversity) for p in points]
    return tag(
        "svg",
        tag("title", f"{measure} against {quality}"),
        tag("desc", summary),
        *axes(x, y, at, FRAME, f"{quality} →", f"{measure} →"),
        _curve(curve, "curve"),
        *([_curve([at(p.quality, p.diversity) for p in after], "curve after")] if after else []),
        *_gaps(points, at),
        *dots(sweep, curve),
        *_labels(sweep, points, curve, spots, at),
        *_marks(points, spots),
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        class_="frontier",
        role="img",
    )


def _curve(spots: Spots, kind: str) -> Markup:
    return tag("path", d="M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in spots), class_=kind)


def _reaches(points: Sequence[Point]) -> list[float]:
    return [point.reach for point in points if point.reach is not None]


def axes(x: Axis, y: Axis, at: Place, frame: Box, across: str, up: str) -> list[Markup]:
    """Draw a grid, the ticks and the titles of both axes around a frame.

    Args:
        x: the horizontal axis.
        y: the vertical axis.
        at: where on the paper a pair of values lies.
        frame: where on the paper both axes lie.
        across: title of the horizontal axis.
        up: title of the vertical axis.
    """
    drawn = []
    for tick in y.ticks:
        height = at(x.low, tick)[1]
        drawn += [
            tag("line", x1=frame.left, x2=frame.right, y1=height, y2=height, class_="grid"),
            tag("text", y.told(tick), x=frame.left - 7, y=height + 4, text_anchor="end"),
        ]
    for tick in x.ticks:
        place = at(tick, y.low)[0]
        drawn += [
            tag("line", x1=place, x2=place, y1=frame.bottom, y2=frame.bottom + 4, class_="axis"),
            tag("text", x.told(tick), x=place, y=frame.bottom + 17, text_anchor="middle"),
        ]
    line = {"y1": frame.bottom, "y2": frame.bottom, "class_": "axis"}
    middle = (frame.top + frame.bottom) / 2
    return [
        *drawn,
        tag("line", x1=frame.left, x2=frame.right, **line),
        _title(across, (frame.left + frame.right) / 2, frame.bottom + 40),
        _title(up, 12.0, middle, transform=f"rotate(-90 12 {middle:g})"),
    ]


def _title(text: str, x: float, y: float, **attributes: str) -> Markup:
    return tag("text", text, x=x, y=y, text_anchor="middle", class_="title", **attributes)


def _gaps(points: Sequence[Point], at: Place) -> list[Markup]:
    drawn = []
    for point in points:
        if point.reach is None:
            continue
        (x, top), (_, foot) = at(point.quality, point.diversity), at(point.quality, point.reach)
        drawn += [
            tag("line", x1=x, x2=x, y1=top, y2=foot, class_=f"gap {point.kind}"),
            tag("line", x1=x - 5, x2=x + 5, y1=foot, y2=foot, class_=f"foot {point.kind}"),
        ]
    return drawn


def dots(sweep: Sequence[Swept], curve: Spots) -> list[Markup]:
    """Draw the temperatures of a sweep, where they lie on the paper."""
    return [
        tag(
            "circle",
            cx=x,
            cy=y,
            r=3.5,
            class_="swept",
            data_temperature=exact(p.temperature),
            data_quality=exact(p.quality),
            data_diversity=exact(p.diversity),
        )
        for p, (x, y) in zip(sweep, curve, strict=True)
    ]


def _marks(points: Sequence[Point], spots: Spots) -> list[Markup]:
    return [
        tag(
            "g",
            marker(point.kind),
            transform=f"translate({x:.1f} {y:.1f})",
            class_="point",
            data_kind=point.kind,
            data_quality=exact(point.quality),
            data_diversity=exact(point.diversity),
        )
        for point, (x, y) in zip(points, spots, strict=True)
    ][::-1]


def _labels(
    sweep: Sequence[Swept], points: Sequence[Point], curve: Spots, spots: Spots, at: Place
) -> list[Markup]:
    labels = [
        Label(p.label, *spot, f"label {p.kind}") for p, spot in zip(points, spots, strict=True)
    ]
    for swept, spot in zip(sweep, curve, strict=True):
        told = f"T {swept.temperature:g}"
        # A model that is itself a point of the sweep carries both names.
        twins = [i for i, other in enumerate(spots) if math.dist(spot, other) < 1]
        if twins:
            labels[twins[0]] = labels[twins[0]]._replace(text=f"{labels[twins[0]].text}, {told}")
        else:
            labels.append(Label(told, *spot, "label"))
    obstacles = [around(spot, 7) for spot in spots]
    obstacles += [around(spot, 4) for spot in along(curve)]
    for point, spot in zip(points, spots, strict=True):
        if point.reach is not None:
            obstacles += [around(s, 3) for s in along([spot, at(point.quality, point.reach)])]
    boxes = place(labels, obstacles, FRAME)
    return [
        mark for label, box in zip(labels, boxes, strict=True) for mark in drawn_label(label, box)
    ]


def drawn_label(label: Label, box: Box) -> list[Markup]:
    """Draw a label, with a thin line to its point where it stands apart from it."""
    x, y = (box.left + box.right) / 2, box.bottom - 3.5
    lines = [
        tag("line", x1=x0, y1=y0, x2=x1, y2=y1, class_="leader")
        for (x0, y0), (x1, y1) in pairwise(leader(label, box))
    ]
    return [
        *lines,
        tag("text", label.text, x=x, y=y, text_anchor="middle", class_=label.class_),
    ]
