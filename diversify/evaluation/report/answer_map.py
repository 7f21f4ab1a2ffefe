"""The map of a prompt's answers: one point an answer, read by hovering or with the tab key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from diversify.evaluation.report.cut import beginning
from diversify.evaluation.report.figures import marker
from diversify.evaluation.report.svg import Box, tag

WIDTH, HEIGHT = 420.0, 340.0
FRAME = Box(16, 12, WIDTH - 16, 264)
# Where the text of the answer appears that is pointed at.
READING = Box(8, 278, WIDTH - 8, HEIGHT)
# Before is a wider ring, after a smaller dot and the others outlines between the two, drawn in this
# order, so that all show where they coincide.
RADII = {"before": 7.5, "after": 4.5}
LAYERS = {"before": 0, "after": 2}
# Characters of an answer in the name of its link.
NAMED = 60
HINT = "Point at an answer to read how it begins."


class Spot(NamedTuple):
    """One answer of one model in the plane; `copies` is how often it was given."""

    kind: str
    role: str
    anchor: str
    text: str
    copies: int
    x: float
    y: float


def answer_map(spots: Sequence[Spot]) -> Markup:
    """Draw answers as points, both axes on one scale, so that distances can be compared.

    Each point is a link to its answer. Its text appears below the map while it is pointed at or has
    the focus.

    Args:
        spots: the answers; before lies below and after above those of further models.

    Raises:
        ValueError: there are none.
    """
    if not spots:
        raise ValueError("a map needs at least one answer, got none")
    xs, ys = [spot.x for spot in spots], [spot.y for spot in spots]
    middle = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    width, height = max(xs) - min(xs), max(ys) - min(ys)
    room = FRAME.right - FRAME.left - 24, FRAME.bottom - FRAME.top - 24
    scale = min(room[0] / (width or 1e-9), room[1] / (height or 1e-9))
    drawn = []
    for spot in sorted(spots, key=lambda spot: LAYERS.get(spot.kind, 1)):
        x = (FRAME.left + FRAME.right) / 2 + scale * (spot.x - middle[0])
        y = (FRAME.top + FRAME.bottom) / 2 - scale * (spot.y - middle[1])
        drawn.append(_point(spot, x, y))
    frame = tag(
        "rect",
        x=FRAME.left,
        y=FRAME.top,
        width=FRAME.right - FRAME.left,
        height=FRAME.bottom - FRAME.top,
        rx=4,
        class_="field",
    )
    return tag(
        "svg",
        tag("title", f"Map of {len(spots)} answers"),
        frame,
        tag("text", HINT, x=READING.left, y=READING.top + 13, class_="hint", aria_hidden="true"),
        *drawn,
        viewBox=f"0 0 {WIDTH:g} {HEIGHT:g}",
        class_="map",
        role="group",
        aria_label=f"Map of {len(spots)} answers; each point is a link to its answer",
    )


def _point(spot: Spot, x: float, y: float) -> Markup:
    number = spot.anchor.rpartition("-")[2]
    often = f", given {spot.copies} times" if spot.copies > 1 else ""
    name = f"{spot.role} {number}{often}"
    told = tag(
        "foreignObject",
        tag("div", tag("b", name), " ", tag("bdi", spot.text)),
        x=READING.left,
        y=READING.top,
        width=READING.right - READING.left,
        height=READING.bottom - READING.top,
        class_="told",
    )
    more = (
        [tag("text", f"\N{MULTIPLICATION SIGN}{spot.copies}", x=x + 9, y=y + 4)]
        if spot.copies > 1
        else []
    )
    return tag(
        "a",
        _mark(spot.kind, x, y),
        *more,
        told,
        href=f"#{spot.anchor}",
        class_="spot",
        # Not every browser makes a link's name of the page text inside it.
        aria_label=f"{name}: {beginning(spot.text, NAMED)}",
    )


def _mark(kind: str, x: float, y: float) -> Markup:
    if kind in RADII:
        return tag("circle", cx=x, cy=y, r=RADII[kind], class_=f"mark {kind}")
    return tag("g", marker(kind), transform=f"translate({x:.1f} {y:.1f})")
