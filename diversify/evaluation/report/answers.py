"""The answers of one model to one prompt as plain data: alike ones together, copies told once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from diversify.evaluation.report.names import quality_name
from diversify.evaluation.wording.written import NONE, Style

# Answers beyond this are cut to a few lines with "show all"; shorter ones stand whole.
LONG_TEXT, LONG_LINES = 520, 9


class Answer(NamedTuple):
    """One text; exact copies are told once with all their numbers.

    `anchor` is its place on the page, `cut` says what is missing of a text that is not told whole.
    """

    anchor: str
    numbers: str
    copies: int
    text: str
    long: bool
    size: str
    cut: str
    qualities: str


def answer_views(
    texts: Sequence[str],
    order: Sequence[int],
    qualities: Mapping[str, Sequence[float | None]],
    *,
    anchors: Sequence[str],
    limit: int,
) -> list[Answer]:
    """Return the answers in an order, exact copies as one.

    Args:
        texts: the answers.
        order: which of them comes when.
        qualities: quality -> its value for each answer.
        anchors: where on the page each is told.
        limit: characters after which a text is cut.
    """
    copies: dict[str, list[int]] = {}
    for index in order:
        copies.setdefault(texts[index], []).append(index)
    return [
        Answer(
            anchor=anchors[found[0]],
            numbers=runs([index + 1 for index in sorted(found)]),
            copies=len(found),
            text=text[:limit] if text.strip() else "",
            long=len(text) > LONG_TEXT or text.count("\n") > LONG_LINES,
            size=_size(text),
            cut=cut_note(text, limit),
            qualities=" · ".join(_qualities(found[0], qualities)),
        )
        for text, found in copies.items()
    ]


def anchors_of(texts: Sequence[str], order: Sequence[int], prefix: str) -> list[str]:
    """Name the place of each answer: copies share the place of the first in the order.

    >>> anchors_of(["b", "a", "b"], [1, 2, 0], "p1-before")
    ['p1-before-3', 'p1-before-2', 'p1-before-3']
    """
    places: dict[str, str] = {}
    for index in order:
        places.setdefault(texts[index], f"{prefix}-{index + 1}")
    return [places[text] for text in texts]


def cut_note(text: str, limit: int) -> str:
    """Say that a text is not told whole; empty if it is.

    >>> cut_note("abcdef", 4), cut_note("abc", 4)
    ('Cut here: the first 4 of 6 characters.', '')
    """
    if len(text) <= limit:
        return ""
    return f"Cut here: the first {limit:,} of {len(text):,} characters."


def alike_order(similarity: NDArray[np.float64]) -> list[int]:
    """Return the rows so that alike ones are neighbours: leaves of average linkage on 1 - S.

    >>> alike_order(np.array([[1, 0.1, 0.9], [0.1, 1, 0.2], [0.9, 0.2, 1]]))
    [0, 2, 1]
    """
    count = len(similarity)
    if count < 3:
        return list(range(count))
    distance = np.clip(1 - (similarity + similarity.T) / 2, 0, None)
    np.fill_diagonal(distance, 0)
    # Among equals, those that were drawn one after the other.
    distance += 1e-9 * np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=count <= 64)
    order = [int(leaf) for leaf in leaves_list(tree)]
    return order if order[0] <= order[-1] else order[::-1]


def _size(text: str) -> str:
    """Say how long a text is; words mean little in a script without spaces."""
    words = len(text.split())
    return f"{words:,} words" if words > 20 else f"{len(text):,} characters"


def _qualities(index: int, qualities: Mapping[str, Sequence[float | None]]) -> Iterator[str]:
    for name, values in qualities.items():
        value = values[index]
        # A check has only 0 and 1, which decimals would dress up as a measurement.
        style = Style(0 if value in (0, 1) else 2)
        yield f"{quality_name(name).title} {style.number(value)}"


def runs(numbers: Sequence[int]) -> str:
    """Write sorted numbers with runs shortened.

    >>> runs([1, 3, 4, 5, 9]).replace(NONE, "-")
    '1, 3-5, 9'
    """
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}{NONE}{run[-1]}" for run in found)
