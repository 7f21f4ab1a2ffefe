"""How much of an answer the page shows: all of it, unless it or the page would grow too long."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["MOST", "PAGE", "beginning", "longest_shown"]

MOST = 20_000
"""Characters of one answer, at most."""
PAGE = 2_000_000
"""Characters of all the answers of a page together."""


def longest_shown(lengths: Iterable[int], *, page: int = PAGE, most: int = MOST) -> int:
    """Return after how many characters answers are cut, so that all fit together.

    Short answers stay whole and leave their room to the longer ones.

    Args:
        lengths: Characters of each answer.
        page: Characters of all the answers together.
        most: Characters of one answer.

    Raises:
        ValueError: If `page` or `most` is below 1.

    Example:
        >>> longest_shown([10, 500, 900], page=1000), longest_shown([10, 500, 900], most=600)
        (495, 600)
    """
    if min(page, most) < 1:
        raise ValueError(f"page and most must be at least 1, got {page} and {most}")
    ordered = sorted(lengths)
    room = page
    for number, length in enumerate(ordered):
        share = room // (len(ordered) - number)
        if length > share:
            return max(1, min(share, most))
        room -= length
    return most


def beginning(text: str, most: int) -> str:
    """Return the beginning of a text: whole words where one ends near, else all that fits.

    Scripts without spaces have no word to keep whole, so a space far back is no place to cut.

    Args:
        text: Any text.
        most: Characters, the ellipsis among them.

    Example:
        >>> beginning("Name an animal of the sea", 20), beginning("Q abcdefghijklmnopqrstuvwxyz", 12)
        ('Name an animal of…', 'Q abcdefghi…')
    """
    if len(text) <= most:
        return text
    kept = text[: most - 1]
    words = "" if text[most - 1].isspace() else kept.rpartition(" ")[0].rstrip()
    return (words if len(words) >= len(kept) * 3 / 4 else kept.rstrip()) + "…"
