"""Building blocks of the figures: escaped elements, ticks, and labels that do not collide."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from markupsafe import Markup, escape

from diversify.evaluation.wording.visible import visible

# Width of a wide character and height of a line at the figures' bold 12 px sans serif.
LETTER, LINE = 7.6, 14.0
# A label further from its point than this gets a line to it.
NEAR = 22.0


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """Return one element; text and attribute values are escaped, `Markup` children are not.

    A trailing underscore is dropped, other underscores become hyphens, None leaves out.

    >>> print(tag("text", "a < b", x=1.5, class_="q", text_anchor="end"))
    <text x="1.5" class="q" text-anchor="end">a &lt; b</text>
    """
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_value(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(
        child if isinstance(child, Markup) else escape(visible(child)) for child in children
    )
    # Every part is escaped above; the names are ours.
    return Markup(f"<{name}{told}>{inside}</{name}>")


def _value(value: object) -> str:
    if not isinstance(value, float):
        return visible(str(value))
    short = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else short


def columns(text: str) -> int:
    """Count the letters of a text, those of wide scripts (Chinese, Japanese, Korean) twice.

    >>> columns("a fig"), columns("春天")
    (5, 4)
    """
    return sum(1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text)


def shortened(text: str, most: int) -> str:
    """Cut a text after so many columns, with an ellipsis in the last one.

    >>> shortened("a fig", 5), shortened("a fig tree", 5), shortened("春天的诗", 5)
    ('a fig', 'a fi…', '春天…')
    """
    text = visible(text)  # as it is drawn
    if columns(text) <= most:
        return text
    kept = accumulate(map(columns, text))
    return text[: sum(reached < most for reached in kept)].rstrip() + "…"


def exact(value: float) -> str:
    """Write a number for a data attribute, where a reader of the file may want more digits."""
    return f"{value:.6g}"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Return about `count` round numbers within [low, high].

    >>> ticks(0.0, 1.0), ticks(1.2, 9.1)
    ([0.0, 0.2, 0.4, 0.6, 0.8, 1.0], [2.0, 4.0, 6.0, 8.0])
    """
    if not high > low:
        return [low]
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= raw * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 10) + 0.0 for number in range(first, last + 1)]


class Axis(NamedTuple):
    """A scale from `low` to `high` with ticks."""

    low: float
    high: float
    ticks: list[float]

    def share(self, value: float) -> float:
        """Return where on the axis a value lies, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)

    def told(self, value: float) -> str:
        """Write a tick with as many decimals as its neighbours need."""
        step = self.ticks[1] - self.ticks[0] if len(self.ticks) > 1 else 0.01
        decimals = next(d for d in range(6) if d == 5 or math.isclose(step, round(step, d)))
        return f"{value:.{decimals}f}".replace("-", "\N{MINUS SIGN}")


def axis_of(values: Sequence[float], *, padding: float = 0.06, count: int = 5) -> Axis:
    """Return an axis that shows all the values with some room beside them."""
    low, high = min(values), max(values)
    room = padding * (high - low) or 0.05 * abs(high) or 0.5
    low, high = low - room, high + room
    return Axis(low, high, ticks(low, high, count))


class Box(NamedTuple):
    """A rectangle by its edges."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Return the shared area."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(width, 0.0) * max(height, 0.0)

    def outside(self, frame: Box) -> float:
        """Return the area that lies outside a frame."""
        return (self.right - self.left) * (self.bottom - self.top) - self.overlap(frame)


class Label(NamedTuple):
    """A text that belongs to a point."""

    text: str
    x: float
    y: float
    class_: str


def place(labels: Sequence[Label], obstacles: Sequence[Box], frame: Box) -> list[Box]:
    """Return a box for each label beside its point, clear of the others, obstacles and the frame.

    Labels are placed one after the other, so the important ones come first. Each takes the best of
    the places around its point: least covered first, then nearest.
    """
    placed: list[Box] = []
    taken = [*obstacles]
    for label in labels:
        candidates = _places(label, frame)
        costs = [
            sum(box.overlap(other) for other in taken)
            + 10 * sum(box.overlap(other) for other in placed)
            + 10 * box.outside(frame)
            + 0.3 * rank
            for rank, box in enumerate(candidates)
        ]
        best = candidates[costs.index(min(costs))]
        placed.append(best)
        taken += [around(spot, 2) for spot in along(leader(label, best))]
    return placed


def leader(label: Label, box: Box) -> list[tuple[float, float]]:
    """Return the ends of the line from a point to its label, none where the label is near."""
    point = (label.x, label.y)
    end = (max(box.left, min(label.x, box.right)), max(box.top, min(label.y, box.bottom)))
    return [point, end] if math.dist(point, end) > NEAR else []


def along(line: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return points along a line, so that labels can keep off it."""
    steps = [number / 12 for number in range(13)]
    return [
        (x0 + step * (x1 - x0), y0 + step * (y1 - y0))
        for (x0, y0), (x1, y1) in pairwise(line)
        for step in steps
    ]


def around(spot: tuple[float, float], half: float) -> Box:
    """Return the square around a point."""
    return Box(spot[0] - half, spot[1] - half, spot[0] + half, spot[1] + half)


def _places(label: Label, frame: Box) -> list[Box]:
    half = LETTER * columns(label.text) / 2
    found = []
    for away in (9.0, 16.0, 26.0, 40.0, 56.0):
        for number in range(12):
            angle = number * math.pi / 6
            x = label.x + math.cos(angle) * (away + half)
            x = max(frame.left + half, min(x, frame.right - half))
            y = label.y - math.sin(angle) * (away + LINE / 2)
            found.append(Box(x - half, y - LINE / 2, x + half, y + LINE / 2))
    return found
