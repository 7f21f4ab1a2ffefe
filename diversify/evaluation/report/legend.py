"""Legends below a figure that leaves the page: what the page says beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from diversify.evaluation.report.figures import LEVELS, marker
from diversify.evaluation.report.svg import LETTER, LINE, columns, shortened, tag

__all__ = ["Legend", "heat_legend", "model_legend"]

# Height of a line, width of a sign with the room around it, and side of a step of colour.
ROW, SIGN, STEP = LINE + 6, 36.0, 12.0


class Legend(NamedTuple):
    """A legend drawn from the corner (0, 0) on, and the room that it takes."""

    drawn: Markup
    height: float
    width: float


def model_legend(models: Sequence[tuple[str, str]], *, width: float) -> Legend:
    """Tell which sign belongs to which model, in as many lines as they need.

    Args:
        models: (kind of marker, name) of each.
        width: of the figure; a name that does not fit into the line begins the next, and one that
            fits into none is cut.
    """
    left, top, right, entries = 0.0, ROW / 2, 0.0, []
    for kind, name in models:
        told = _fitting(name, width - SIGN)
        need = SIGN + LETTER * columns(told)
        if left and left + need > width:
            left, top = 0.0, top + ROW
        text = tag("text", told, x=12, y=4)
        entries.append(
            tag("g", marker(kind), text, transform=f"translate({left + 10:.1f} {top:.1f})")
        )
        left += need
        right = max(right, left)
    return Legend(tag("g", *entries), top + ROW / 2, right)


def heat_legend(name: str, *, width: float) -> Legend:
    """Tell whose answers a heat map compares, and what its steps of colour mean.

    Args:
        name: of the model.
        width: of the figure; a name that fits neither there nor above the steps is cut.
    """
    scale = 14 + LEVELS * STEP + LETTER
    told = _fitting(name, max(width, scale))
    steps = [tag("path", d=f"M{level} .5h1", class_=f"h{level}") for level in range(LEVELS)]
    drawn = tag(
        "g",
        tag("text", told, x=0, y=ROW - 6),
        tag("text", "0", x=0, y=2 * ROW - 7),
        tag("g", *steps, transform=f"translate(10 {2 * ROW - 4 - STEP:g}) scale({STEP:g})"),
        tag("text", "1", x=14 + LEVELS * STEP, y=2 * ROW - 7),
    )
    return Legend(drawn, 2 * ROW, max(scale, LETTER * columns(told)))


def _fitting(name: str, width: float) -> str:
    """Cut a name to a width.

    >>> _fitting("a model with a long name", 80)
    'a model w…'
    """
    return shortened(name, max(2, int(width / LETTER)))
