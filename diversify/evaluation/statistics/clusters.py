"""Prompts that only rephrase each other: which are one piece of evidence, and how many pieces there are."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["cluster_places", "clusters_of", "count_units"]


def count_units(clusters: Sequence[Hashable] | None, prompts: int) -> int:
    """Return how many independent pieces of evidence there are.

    Example:
        >>> count_units(None, 4), count_units(["a", "a", "b", "b"], 4)
        (4, 2)
    """
    return prompts if clusters is None else len(set(clusters))


def cluster_places(clusters: Sequence[Hashable] | None, prompts: int) -> NDArray[np.int64]:
    """Number the clusters by their first prompt, and return the number of each prompt's (p,).

    Raises:
        ValueError: If the labels are not as many as the prompts.

    Example:
        >>> cluster_places(["b", "a", "b"], 3).tolist(), cluster_places(None, 2).tolist()
        ([0, 1, 0], [0, 1])
    """
    if clusters is None:
        return np.arange(prompts)
    if len(clusters) != prompts:
        raise ValueError(f"need a label a prompt, got {len(clusters)} for {prompts} prompts")
    place = {label: number for number, label in enumerate(dict.fromkeys(clusters))}
    return np.array([place[label] for label in clusters], dtype=np.int64)


def clusters_of(*runs: Sequence[Mapping[str, Any]]) -> list[Hashable] | None:
    """Return one label a prompt if some prompt has a `group`; one without stands for itself.

    Args:
        runs: Rows of several runs, with the same prompts in the same order.

    Raises:
        ValueError: If two runs disagree on the group of a prompt.

    Example:
        >>> clusters_of([{"id": "a", "group": 1}, {"id": "b"}])
        [('group', 1), ('id', 'b')]
    """
    first = runs[0]
    for run in runs[1:]:
        for row, other in zip(first, run, strict=True):
            if row.get("group") != other.get("group"):
                raise ValueError(
                    f"the reports disagree on the group of prompt {row['id']!r}: "
                    f"{row.get('group')!r} against {other.get('group')!r}"
                )
    if all(row.get("group") is None for row in first):
        return None
    # A pair, so that no id can be taken for a group.
    return [
        ("id", row["id"]) if row.get("group") is None else ("group", row["group"]) for row in first
    ]
