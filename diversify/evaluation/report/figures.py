"""The figures: small pure functions from numbers to inline SVG, coloured by the style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from diversify.evaluation.report.svg import Axis, exact, tag
from diversify.measures import mean_distance

# One shape for each further comparison, drawn around (0, 0); colour is never the only difference.
SHAPES = (
    "M0-6 6 0 0 6-6 0z",
    "M0-6 5.5 4.5-5.5 4.5z",
    "M-5-5H5V5H-5z",
    "M-6-2h4v-4h4v4h4v4h-4v4h-4v-4h-4z",
)
LEVELS = 10


def marker(kind: str) -> Markup:
    """Draw the sign of a model around (0, 0): `before`, `after`, or `also-` and a number."""
    if kind in ("before", "after"):
        return tag("circle", r=6, class_=f"mark {kind}")
    shape = SHAPES[int(kind.removeprefix("also-"))]
    return tag("path", d=shape, class_=f"mark {kind}")


def legend_marker(kind: str) -> Markup:
    """Draw a marker alone, for a line of text."""
    return tag("svg", marker(kind), viewBox="-8 -8 16 16", class_="key", aria_hidden="true")


def interval_bar(
    difference: float,
    interval: tuple[float, float],
    state: str,
    margin: tuple[float, float] | None = None,
) -> Markup:
    """Draw a difference with its interval on a scale of its own, no change in the middle.

    Args:
        difference: the mean difference.
        interval: its interval; an infinite one leaves only the line.
        state: `better`, `worse` or `open`, the class of the bar.
        margin: how far it may move, drawn as a band; an infinite end reaches the edge.
    """
    low, high = interval
    known = [abs(value) for value in (*interval, *(margin or ())) if math.isfinite(value)]
    reach = 1.15 * max([abs(difference), *known]) or 1.0

    def at(value: float) -> float:
        return 50 + 50 * max(-1.0, min(1.0, value / reach))

    parts = []
    if margin is not None:
        left, right = map(at, margin)
        place = {"x": f"{left:.1f}%", "width": f"{right - left:.1f}%"}
        parts.append(tag("rect", **place, y=2, height=16, class_="band"))
    parts.append(tag("line", x1="50%", x2="50%", y1=0, y2=20, class_="zero"))
    if math.isfinite(low) and math.isfinite(high):
        ends = {"x1": f"{at(low):.1f}%", "x2": f"{at(high):.1f}%"}
        parts.append(tag("line", **ends, y1=10, y2=10, class_=f"bar {state}"))
        parts.append(tag("circle", cx=f"{at(difference):.1f}%", cy=10, r=4, class_=f"dot {state}"))
    return tag("svg", *parts, class_="interval", aria_hidden="true")


def dumbbell(values: Sequence[tuple[str, float]], axis: Axis, title: str) -> Markup:
    """Draw one prompt's values on a common axis, before and after joined by a line.

    Args:
        values: (kind of marker, value): `before`, `after`, then the others.
        axis: the axis of all dumbbells.
        title: what a screen reader says.
    """
    where = {kind: f"{100 * axis.share(value):.2f}%" for kind, value in values}
    grid = [
        tag("line", x1=at, x2=at, y1=0, y2=26, class_="grid")
        for at in (f"{100 * axis.share(tick):.2f}%" for tick in axis.ticks)
    ]
    bar = [
        tag("line", x1=where["before"], x2=where["after"], y1=13, y2=13, class_="reach")
        for _ in range("before" in where and "after" in where)
    ]
    # A nested <svg> moves a marker to a percentage, which a transform cannot.
    marks = [tag("svg", marker(kind), x=at, y=13, overflow="visible") for kind, at in where.items()]
    told = {f"data_{kind}": exact(value) for kind, value in values}
    return tag(
        "svg",
        tag("title", title),
        *grid,
        *bar,
        *marks[2:],
        *marks[:2],
        class_="dumbbell",
        role="img",
        **told,
    )


def dumbbell_axis(axis: Axis) -> Markup:
    """Draw the numbers of the dumbbells' axis."""
    told = [
        tag("text", axis.told(tick), x=f"{100 * axis.share(tick):.2f}%", y=13, text_anchor="middle")
        for tick in axis.ticks
    ]
    return tag("svg", *told, class_="dumbbell numbers-of", aria_hidden="true")


def heat_map(similarity: NDArray[np.float64], order: Sequence[int], name: str) -> Markup:
    """Draw a similarity matrix in ten steps of one colour, its diagonal left empty.

    Args:
        similarity: (n, n).
        order: which answer stands in which row.
        name: whose answers these are, for the description.
    """
    count = len(order)
    cell = max(4.0, min(18.0, 240.0 / count))
    room = 16.0 if count <= 20 else 0.0  # for the answers' numbers
    side = room + count * cell
    drawn = np.asarray(similarity)[np.ix_(order, order)]
    found = [(level, _cells(drawn, level)) for level in range(LEVELS)]
    paths = [tag("path", d=cells, class_=f"h{level}") for level, cells in found if cells]
    mean = 1 - mean_distance(drawn) if count > 1 else 1.0
    return tag(
        "svg",
        tag("title", f"Similarity of the answers {name}"),
        tag("desc", _describe(drawn, order, mean)),
        tag("g", *paths, transform=f"translate({room:g} {room:g}) scale({cell:.3f})"),
        *(_numbers(order, cell, room) if room else ()),
        viewBox=f"0 0 {side:.1f} {side:.1f}",
        style=f"max-width:{side:.0f}px",
        class_="heat",
        role="img",
        data_mean=exact(mean),
        data_n=count,
    )


def _numbers(order: Sequence[int], cell: float, room: float) -> list[Markup]:
    """Write the answers' numbers beside the rows and above the columns."""
    middles = [room + (row + 0.5) * cell for row in range(len(order))]
    rows = [
        tag("tspan", str(number + 1), x=room - 3, y=middle + 3)
        for number, middle in zip(order, middles, strict=True)
    ]
    columns = [
        tag("tspan", str(number + 1), x=middle, y=room - 4)
        for number, middle in zip(order, middles, strict=True)
    ]
    return [
        tag("text", *rows, text_anchor="end"),
        tag("text", *columns, text_anchor="middle"),
    ]


def level_of(similarity: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the step of colour of each similarity: 0 for below 0.1, up to 9 for 0.9 and more."""
    return np.clip(np.floor(np.asarray(similarity) * LEVELS + 1e-9), 0, LEVELS - 1).astype(np.int64)


def _cells(similarity: NDArray[np.float64], level: int) -> str:
    """Return the path of all cells of one step: a stroke one unit wide through each run of them."""
    found = level_of(similarity) == level
    np.fill_diagonal(found, False)
    runs = []
    for row, flags in enumerate(found):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
        runs += [f"M{a} {row}.5h{b - a}" for a, b in zip(edges[::2], edges[1::2], strict=True)]
    return "".join(runs)


def _describe(similarity: NDArray[np.float64], order: Sequence[int], mean: float) -> str:
    count = len(order)
    if count < 2:
        return "One answer: nothing to compare."
    pairs = np.triu_indices(count, 1)
    values = similarity[pairs]
    most, least = int(values.argmax()), int(values.argmin())

    def pair(index: int) -> str:
        return f"answers {order[pairs[0][index]] + 1} and {order[pairs[1][index]] + 1}"

    return (
        f"{count} answers, mean similarity {mean:.2f}. Most alike: {pair(most)} "
        f"({values[most]:.2f}). Least alike: {pair(least)} ({values[least]:.2f})."
    )
