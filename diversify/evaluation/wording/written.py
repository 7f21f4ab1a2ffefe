"""How numbers are written for people: equally many decimals in a row, a sign, a real minus."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from diversify.evaluation.statistics.change import Change

__all__ = ["MINUS", "NONE", "Style", "cuts_told", "p_told", "style_of", "tidy"]

NONE, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
# A row gets at most so many decimals more, so that what is told of it can be seen.
MORE = 2


class Style(NamedTuple):
    """How the numbers of one row are written: equally many decimals, or per cent."""

    decimals: int
    share: bool = False

    @property
    def factor(self) -> int:
        """What a value is multiplied by: 100 for per cent."""
        return 100 if self.share else 1

    def number(self, value: float | None) -> str:
        """Write a value, or a dash where there is none."""
        if value is None or math.isnan(value):
            return NONE
        return tidy(f"{value * self.factor:.{self.decimals}f}{' %' if self.share else ''}")

    def signed(self, value: float | None) -> str:
        """Write a difference with its sign."""
        if value is None or math.isnan(value):
            return NONE
        told = f"{value * self.factor:+.{self.decimals}f}"
        return tidy(f"{told} points" if self.share else told)

    def interval(self, bounds: tuple[float | None, float | None]) -> str:
        """Write an interval, or that there is none."""
        low, high = bounds
        if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
            return "no interval"
        ends = (tidy(f"{value * self.factor:+.{self.decimals}f}") for value in (low, high))
        return "[{}, {}]".format(*ends)


def style_of(change: Change, *, share: bool = False) -> Style:
    """Return the style of a row: fewer decimals for larger numbers, enough for its difference.

    A difference that is not zero does not read as zero, nor does the end of an interval that lies
    on one side of zero: a reader sees what is called certain.

    >>> style_of(Change(14.1, 14.3, 0.16, (0.04, 0.34), 32, 0.5, True)).decimals
    2
    """
    size = max(abs(change.before), abs(change.after))
    decimals = 1 if share or size >= 10 else 2 if size >= 1 else 3
    told = [change.difference, *(change.ci95 if change.sign else ())]
    more = next((n for n in range(MORE) if not _vanish(told, Style(decimals + n, share))), MORE)
    return Style(decimals + more, share)


def _vanish(values: Iterable[float], style: Style) -> bool:
    """Say whether a value that is not zero would read as zero."""
    known = [value for value in values if value and math.isfinite(value)]
    return any(not any(c in "123456789" for c in style.signed(value)) for value in known)


def p_told(p: float, *, sign: str = "= ") -> str:
    """Write a p-value with its sign of equality; very small ones only say that they are.

    >>> p_told(0.25), p_told(0.00001), p_told(0.03, sign="")
    ('= 0.25', '< 0.001', '0.030')
    """
    if p < 0.001:
        return "< 0.001"
    return f"{sign}{p:.2f}" if p >= 0.1 else f"{sign}{p:.3f}"


def cuts_told(details: Mapping[str, Any]) -> str:
    """Say how much was cut for the comparison at equal length; nothing if it is not on record.

    Args:
        details: Those of a comparison.

    >>> cuts_told({"length_matched": {"cap": 9.0, "before": 0.5, "after": 0.0, "left_out": 1}})
    '50 % of the answers before and 0 % of those after were cut, 1 prompt left out as mostly blank'
    """
    cuts = details.get("length_matched") or {}
    if cuts.get("before") is None or cuts.get("after") is None:
        return _nothing_left(cuts.get("left_out") or 0)
    before, after = (tidy(f"{cuts[side] * 100:.0f} %") for side in ("before", "after"))
    told = f"{before} of the answers before and {after} of those after were cut"
    if out := cuts.get("left_out"):
        told += f", {out} {'prompt' if out == 1 else 'prompts'} left out as mostly blank"
    return told


def _nothing_left(prompts: int) -> str:
    """Say that all the prompts are left out; nothing if there is none on record.

    >>> _nothing_left(8)
    'all 8 prompts are left out: their answers before or after are mostly blank'
    """
    if not prompts:
        return ""
    which, its = (
        ("the only prompt is", "its") if prompts == 1 else (f"all {prompts} prompts are", "their")
    )
    return f"{which} left out: {its} answers before or after are mostly blank"


def tidy(told: str) -> str:
    """Use a real minus sign, and none before a zero.

    >>> tidy("-0.25") == f"{MINUS}0.25", tidy("-0.00"), tidy("+0.0")
    (True, '0.00', '0.0')
    """
    if not any(digit in told for digit in "123456789"):
        told = told.replace("-", "").replace("+", "")
    return told.replace("-", MINUS)
