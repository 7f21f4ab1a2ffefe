"""Building blocks of the figures: escaped elements, ticks, and labels that do not collide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from diversify.evaluation.report.visible import visible

# Mean width of a character and height of a line at the figures' 12 px sans serif.
LETTER, LINE = 6.6, 14.0


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """Return one element; text and attribute values are escaped, `Markup` children are not.

    A trailing underscore is dropped, other underscores become hyphens, None leaves out.

    >>> print(tag("text", "a < b", x=1.5, class_="q", text_anchor="end"))
    <text x="1.5" class="q" text-anchor="end">a &lt; b</text>
    """
    told = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _value(value))
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(
        child if isinstance(child, Markup) else escape(visible(child)) for child in children
    )
    return Markup("<{0}{1}>{2}</{0}>").format(name, told, inside)


def _value(value: object) -> str:
    if not isinstance(value, float):
        return visible(str(value))
    short = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if short == "-0" else short


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


def width_of(text: str) -> float:
    """Estimate how wide a label is drawn."""
    return LETTER * len(text)


def place(labels: Sequence[Label], obstacles: Sequence[Box], frame: Box) -> list[Box]:
    """Return a box for each label beside its point, clear of the others, obstacles and the frame.

    Labels are placed one after the other, so the important ones come first. Each takes the best of
    24 places around its point: least covered first, then nearest.
    """
    placed: list[Box] = []
    for label in labels:
        taken = [*obstacles, *placed]
        candidates = _places(label)
        costs = [
            sum(box.overlap(other) for other in taken) + 10 * box.outside(frame) + rank
            for rank, box in enumerate(candidates)
        ]
        placed.append(candidates[costs.index(min(costs))])
    return placed


def _places(label: Label) -> list[Box]:
    width, found = width_of(label.text), []
    for away in (9.0, 18.0, 30.0):
        for dx, dy in ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (1, 1), (-1, 1)):
            near = away * (0.7 if dx and dy else 1.0)
            x = label.x + dx * (near + width / 2)
            y = label.y + dy * (near + LINE / 2)
            found.append(Box(x - width / 2, y - LINE / 2, x + width / 2, y + LINE / 2))
    return found
