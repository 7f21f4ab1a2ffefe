"""Prompts that were scored everywhere: what several points have in common.

A prompt that one point could not score still counts in the means of the others, and a mean over the
easy prompts of one is no match for a mean over all prompts of another. Nor is a quality that was
scored on three prompts of thirty known any better for the other 27, whose diversity is known.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diversify.evaluation.statistics.clusters import cluster_places, count_units

__all__ = ["Complete", "complete_cases"]

Floats = NDArray[np.float64]


class Complete(NamedTuple):
    """The prompts that have a value everywhere.

    Args:
        columns: What was given, of those prompts alone.
        clusters: Their labels.
        units: How many independent ones they are.
        lost: How many prompts were left out.
        prompts: How many there had been.
    """

    columns: list[Floats]
    clusters: list[Hashable] | None
    units: int
    lost: int
    prompts: int

    def told(self) -> str:
        """Say how many prompts were left out, in a few words; nothing if none was.

        >>> complete_cases(np.array([1.0, np.nan]), np.array([2.0, 3.0])).told()
        '1 of 2 prompts not scored everywhere is left out'
        """
        verb = "is" if self.lost == 1 else "are"
        told = f"{self.lost} of {self.prompts} prompts not scored everywhere {verb} left out"
        return told if self.lost else ""


def complete_cases(*columns: Floats, clusters: Sequence[Hashable] | None = None) -> Complete:
    """Keep the prompts that have a value in every row, so that all means are of the same prompts.

    Args:
        columns: Values of each prompt, (p,) or (k, p); NaN where there is none.
        clusters: A label a prompt; None takes every prompt for itself.

    Raises:
        ValueError: If the rows are not equally long, or the labels are not as many as the prompts.

    Example:
        >>> found = complete_cases(
        ...     np.array([[1.0, 2.0, 3.0]]), np.array([4.0, np.nan, 6.0]), clusters=["a", "b", "a"]
        ... )
        >>> [column.tolist() for column in found.columns], found.clusters, found.units
        ([[[1.0, 3.0]], [4.0, 6.0]], ['a', 'a'], 1)
    """
    scored: NDArray[np.bool_] = np.asarray(~np.isnan(np.vstack(columns)).any(axis=0))
    kept = int(scored.sum())
    labels = None
    if clusters is not None:
        cluster_places(clusters, len(scored))  # as many labels as prompts
        labels = [label for label, has in zip(clusters, scored, strict=True) if has]
    return Complete(
        columns=[np.compress(scored, column, axis=-1) for column in columns],
        clusters=labels,
        units=count_units(labels, kept),
        lost=len(scored) - kept,
        prompts=len(scored),
    )
