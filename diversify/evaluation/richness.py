"""Measures of a report on request: how many classes of equal answers, how even, how many unseen.

A report takes all of `MEASURES`; these stand beside them by name. Answers are of one class where
similarities of `DISTINCT_THRESHOLD` and more join them, as they are for `distinct`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diversify.credit import (
    Labels,
    chao_shen_entropy,
    effective_classes,
    partition,
    rarefied_classes,
    semantic_entropy,
    unseen_mass,
)
from diversify.kernels import check_integer
from diversify.measures import DISTINCT_THRESHOLD, MEASURES, Measure

__all__ = ["ON_REQUEST", "Coverage", "OfClasses", "measures_named"]

COVERAGE = "coverage@"
"""The name of a measure, with K behind it."""

INVALID = -1
"""The label of texts that name no valid answer."""

ON_REQUEST: dict[str, Callable[[Labels], float]] = {
    "semantic_entropy": semantic_entropy,
    "chao_shen_entropy": chao_shen_entropy,
    "effective_classes": effective_classes,
    "unseen_mass": unseen_mass,
}
"""Name -> number of the classes of one prompt's answers; `coverage@K` for any K comes beside them."""


@dataclass(frozen=True)
class OfClasses:
    """A number of labels as a measure of similarities.

    Args:
        richness: From labels (n,) to a number that is higher for a more diverse set.

    Example:
        >>> S = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
        >>> round(OfClasses(effective_classes)(S), 4)
        1.8899
    """

    richness: Callable[[Labels], float]

    def __call__(self, S: NDArray[np.float64]) -> float:
        """Sort the texts into classes and take the number of them."""
        return self.richness(partition(S, threshold=DISTINCT_THRESHOLD))


@dataclass(frozen=True)
class Coverage:
    """How many different answers `size` of the n answers hold on average, from 1 to `size`.

    The exact mean over all subsets (`rarefied_classes`). Other counts grow with n; this one, taken
    at one size, compares runs with different numbers of answers.

    Args:
        size: Answers that are looked at, at most as many as a prompt has.

    Raises:
        ValueError: If `size` is not positive; when called, if there are fewer texts.

    Example:
        >>> S = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
        >>> round(Coverage(2)(S), 4)  # one pair of three is of one class
        1.6667
    """

    size: int

    def __post_init__(self) -> None:
        check_integer("size", self.size, 1)

    def __call__(self, S: NDArray[np.float64]) -> float:
        """Sort the texts into classes and rarefy their number."""
        return rarefied_classes(partition(S, threshold=DISTINCT_THRESHOLD), size=self.size)

    def of_answers(self, named: Sequence[int | None]) -> float:
        """Count the different *valid* answers among `size` texts on average, from 0 to `size`.

        Args:
            named: For each text the number of the answer that it names, or None. Texts that name
                none are drawn like others and count as nothing.

        Raises:
            ValueError: If there are fewer texts than `size`.

        Example:
            >>> round(Coverage(2).of_answers([4, 4, 7, None]), 4)
            1.3333
        """
        labels = np.array([INVALID if answer is None else answer for answer in named], dtype=int)
        return rarefied_classes(labels, size=self.size, without=INVALID)


def measures_named(names: Sequence[str]) -> dict[str, Measure]:
    """Find measures by name, those beside `MEASURES` included.

    A report with some of them takes `measures=MEASURES | measures_named(names)`.

    Args:
        names: of `MEASURES`, of `ON_REQUEST`, or `coverage@K` with the number of answers K.

    Returns:
        Name -> measure, in the order of the names.

    Raises:
        ValueError: a name is unknown, or K is no whole number of 1 or more.

    Example:
        >>> found = measures_named(["distinct", "coverage@2", "semantic_entropy"])
        >>> {name: round(measure(np.eye(3)), 4) for name, measure in found.items()}
        {'distinct': 3.0, 'coverage@2': 2.0, 'semantic_entropy': 1.0986}
    """
    return {name: _measure_named(name) for name in names}


def _measure_named(name: str) -> Measure:
    if name in MEASURES:
        return MEASURES[name]
    if name in ON_REQUEST:
        return OfClasses(ON_REQUEST[name])
    size = name.removeprefix(COVERAGE)
    if name.startswith(COVERAGE) and size.isascii() and size.isdigit() and int(size) > 0:
        return Coverage(int(size))
    known = ", ".join([*MEASURES, *ON_REQUEST, f"{COVERAGE}K with K answers"])
    raise ValueError(f"no measure is called {name!r}; there are {known}")
