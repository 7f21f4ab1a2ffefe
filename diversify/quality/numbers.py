"""Numbers in a text: where each begins and ends, so that no part of one is taken for the whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["number_spans", "ungrouped"]

_SPACES = "\u00a0\u2009\u202f"  # no-break, thin and narrow: they stand between groups of digits
_GROUPED = re.compile(rf"(?<![\d.,])\d{{1,3}}([,{_SPACES}])\d{{3}}(?:\1\d{{3}})*(?!\d)")
_RAISED = re.compile(
    "(?<=\\d)(?=[\u00b9\u00b2\u00b3\u2070\u2074-\u2079\u00bc-\u00be\u2150-\u215e])"
)

# A sign or the point of ".5"; not the second dash of "--5", the stop of "No.5" or dots before it.
_SIGN = r"(?:(?<!-)-|(?<![^\W\d_])(?<!\.)\.)"
_DIGITS = re.compile(rf"{_SIGN}?\d+(?:[.:/\u2044^']\d+|-\d+(?![^\W_]))*(?:-(?=\w))?")

_UNIT = "one|two|three|four|five|six|seven|eight|nine"
_TEEN = "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_SMALL = rf"(?:(?:{_TENS})(?:[ -](?:{_UNIT}))?|{_TEEN}|{_UNIT})(?!\w)"
_LARGE = rf"(?:hundred|thousand|million|billion)(?!\w)(?:[ -](?:and[ -])?{_SMALL})?"
_WORDS = re.compile(
    rf"(?<!\w)(?:(?:minus|negative) )?(?:{_SMALL}|{_LARGE})(?:[ -]{_LARGE})*"
    rf"(?: point(?: (?:{_UNIT}|zero)(?!\w))+)?(?:-(?=\w))?"
)


def number_spans(text: str) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of what is one number, or one word with a number in it, in folded text.

    Of a compound ("covid-19", "2-digit") it is the number with its hyphen.

    Example:
        >>> text = "-5, 3.14, 3-5, covid-19, no. 7 or two hundred and six"
        >>> [text[start:end] for start, end in number_spans(text)]
        ['-5', '3.14', '3-5', '-19', '7', 'two hundred and six']
    """
    for pattern in (_DIGITS, _WORDS):
        yield from (match.span() for match in pattern.finditer(text))


def ungrouped(text: str) -> str:
    r"""Write numbers without separators of thousands; what is raised is set apart from its base.

    Example:
        >>> ungrouped("1,024 or 10\u00a0000, not 5,7 or 10²")
        '1024 or 10000, not 5,7 or 10^²'
    """
    plain = _GROUPED.sub(lambda found: re.sub(r"\D", "", found[0]), text)
    return _RAISED.sub("^", plain)
