"""The table that stands for a heat map: every pair of a few answers, or a line for each of many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diversify.evaluation.wording.written import Style

__all__ = ["FEW", "SimilarityTable", "similarity_table"]

FEW = 20
"""Up to so many answers every pair is told, each once."""
TOLD = Style(2)


class SimilarityTable(NamedTuple):
    """Head and rows of the table; the first cell of a row names its answer.

    Args:
        pairs: whether the columns are answers too.
        head: names of the columns.
        rows: cells.
    """

    pairs: bool
    head: list[str]
    rows: list[list[str]]


def similarity_table(
    similarity: NDArray[np.float64], order: Sequence[int], *, few: int = FEW
) -> SimilarityTable | None:
    """Tell a similarity matrix in words and numbers, in the order of its heat map.

    Args:
        similarity: (n, n).
        order: which answer stands in which row.
        few: up to how many answers every pair is told; a table of more would have too many cells
            to listen to, so each answer has its mean, its nearest and its furthest other answer.

    Returns:
        The table; None below two answers, which make no pair.

    Example:
        >>> S = np.array([[1, 0.5, 0.25], [0.5, 1, 0.75], [0.25, 0.75, 1]])
        >>> similarity_table(S, [0, 1, 2]).rows
        [['2', '0.50'], ['3', '0.25', '0.75']]
        >>> similarity_table(S, [0, 1, 2], few=2).rows[0]
        ['1', '0.38', '2 (0.50)', '3 (0.25)']
    """
    if len(order) < 2:
        return None
    drawn = np.asarray(similarity)[np.ix_(order, order)]
    names = [str(index + 1) for index in order]
    if len(order) > few:
        head = ["Answer", "Mean similarity to the others", "Most alike", "Least alike"]
        return SimilarityTable(False, head, list(_summaries(drawn, names)))
    rows = [
        [name, *(TOLD.number(value) for value in drawn[row, :row])]
        for row, name in enumerate(names)
        if row
    ]
    return SimilarityTable(True, ["Answer", *names[:-1]], rows)


def _summaries(drawn: NDArray[np.float64], names: Sequence[str]) -> Iterator[list[str]]:
    """Tell of each answer how it stands to the others."""
    for row, name in enumerate(names):
        others = np.delete(np.arange(len(names)), row)
        values = drawn[row, others]
        ends = [int(values.argmax()), int(values.argmin())]
        told = [f"{names[others[end]]} ({TOLD.number(values[end])})" for end in ends]
        yield [name, TOLD.number(float(values.mean())), *told]
