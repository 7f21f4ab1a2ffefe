"""Measures of a report on request: how many classes of equal answers, how even, how many unseen.

A report takes all of `MEASURES`; these stand beside them by name. Answers are of one class where
similarities of `DISTINCT_THRESHOLD` and more join them, as they are for `distinct`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

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
from diversify.measures import (
    DISTINCT_THRESHOLD,
    MEASURES,
    Measure,
    check_similarity,
    effective_number,
    spectrum,
)

__all__ = ["AMONG", "ON_REQUEST", "Coverage", "OfClasses", "VendiAmong", "measures_named"]

COVERAGE, VENDI = "coverage@", "vendi@"
"""The names of two measures, with K behind them."""

SUBSETS = 1000
"""Sets of K answers that are looked at, where there are more."""
INVALID = -1
"""The label of texts that name no valid answer."""

ON_REQUEST: dict[str, Callable[[Labels], float]] = {
    "semantic_entropy": semantic_entropy,
    "chao_shen_entropy": chao_shen_entropy,
    "effective_classes": effective_classes,
    "unseen_mass": unseen_mass,
}
"""Name -> number of the classes of one prompt's answers; those of `AMONG` come beside them."""


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

    The mean of `distinct` over sets of `size` answers: over all such sets, or `SUBSETS` of them,
    drawn by a seed. Other counts grow with n; this one, taken at one size, compares runs with
    different numbers of answers. Counting the classes of all n answers and then thinning them out
    would not: with more answers more of them are joined by chains.

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
        """Count the classes of each set of so many texts and take the mean."""
        return float(_classes(_subsets(S, self.size) >= DISTINCT_THRESHOLD).mean())

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


@dataclass(frozen=True)
class VendiAmong:
    """The effective number of different answers among `size` of the n answers, from 1 to `size`.

    The mean Vendi score of sets of `size` answers, as `Coverage` takes that of classes: what
    `vendi` is where there are no more answers than that.

    Args:
        size: As for `Coverage`.

    Raises:
        ValueError: If `size` is not positive; when called, if there are fewer texts.

    Example:
        >>> S = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        >>> round(VendiAmong(2)(S), 4)  # two of the three pairs differ
        1.6667
    """

    size: int

    def __post_init__(self) -> None:
        check_integer("size", self.size, 1)

    def __call__(self, S: NDArray[np.float64]) -> float:
        """Take the Vendi score of each set of so many texts, and the mean."""
        return float(effective_number(spectrum(_subsets(S, self.size))).mean())


def _subsets(S: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return the similarities (m, size, size) of all sets of so many texts, or of random ones."""
    S = check_similarity(S)
    n = len(S)
    if not 1 <= size <= n:
        raise ValueError(f"a measure among {size} answers needs at least as many, got {n}")
    # By how alike they are to the others, so that the order in which they came does not matter.
    order = np.argsort(S.sum(axis=1).round(9), kind="stable")
    if math.comb(n, size) <= SUBSETS:
        sets = np.array(list(combinations(range(n), size)))
    else:
        sets = np.random.default_rng(0).random((SUBSETS, n)).argsort(axis=1)[:, :size]
    places = order[sets]
    found: NDArray[np.float64] = S[places[:, :, None], places[:, None, :]]
    return found


def _classes(same: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Count the connected components of stacked graphs (m, size, size), (m,)."""
    size = same.shape[-1]
    labels = np.broadcast_to(np.arange(size), same.shape[:-1])
    while True:  # each text takes the lowest label of its neighbours until none changes
        lowest = np.where(same, labels[:, None, :], size).min(axis=-1)
        if (lowest == labels).all():
            counts: NDArray[np.int64] = (labels == np.arange(size)).sum(axis=-1)
            return counts
        labels = lowest


AMONG: dict[str, Callable[[int], Measure]] = {COVERAGE: Coverage, VENDI: VendiAmong}
"""Beginning of a name -> measure of K answers, whose mean does not depend on how many there are."""


def measures_named(names: Sequence[str]) -> dict[str, Measure]:
    """Find measures by name, those beside `MEASURES` included.

    A report with some of them takes `measures=MEASURES | measures_named(names)`.

    Args:
        names: of `MEASURES`, of `ON_REQUEST`, or `coverage@K` or `vendi@K` with a number K.

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
    for prefix, among in AMONG.items():
        size = name.removeprefix(prefix)
        if name.startswith(prefix) and size.isascii() and size.isdigit() and int(size) > 0:
            return among(int(size))
    known = ", ".join([*MEASURES, *ON_REQUEST, *(f"{prefix}K with K answers" for prefix in AMONG)])
    raise ValueError(f"no measure is called {name!r}; there are {known}")
