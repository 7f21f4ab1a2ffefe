"""A few answers against many of the same source: is the difference in number taken for one in kind?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diversify.evaluation.richness import AMONG
from diversify.evaluation.statistics.change import paired_change
from diversify.evaluation.studies.false_alarms import LEVEL, Answers, Places, means, rates

__all__ = ["few_and_many", "taken_for_a_change"]

Floats: TypeAlias = NDArray[np.float64]

SHARE = 0.3
"""Of the answers to a prompt that are on the smaller side; the others are on the larger one."""


def few_and_many(answers: Answers, rng: np.random.Generator) -> tuple[Places, Places]:
    """Split the answers to every prompt at random into two parts of unequal size, as places."""
    order = answers.shuffled(rng)
    few = max(2, int(SHARE * answers.n))
    return order[:, :few], order[:, few:]


def taken_for_a_change(
    answers: Answers, sizes: Sequence[int], *, splits: int, resamples: int, seed: int
) -> dict[str, Any]:
    """Compare a few answers to each prompt with the others: how often is a change seen, by what?

    Args:
        answers: Four or more a prompt.
        sizes: Numbers of prompts, each drawn without replacement.
        splits: How many times.
        resamples: Of each comparison.
        seed: Of the splits and of the prompts.

    Returns:
        For each number of prompts the rates of `p_value` and the mean `difference`; the effective
        number is among them to show what happens to a measure that grows.
    """
    rng = np.random.default_rng(seed)
    called: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    moved: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    for split in range(splits):
        few, many = few_and_many(answers, rng)
        size_of_few = few.shape[1]
        before, after = (_values(answers, places, size_of_few) for places in (few, many))
        for size in sizes:
            some = rng.choice(len(answers.texts), size, replace=False)
            changes = {
                name: paired_change(
                    before[name][some], after[name][some], resamples=resamples, seed=split
                )
                for name in before
            }
            below = {n: c.p_value is not None and c.p_value <= LEVEL for n, c in changes.items()}
            called[size].append({"p_value": below})
            moved[size].append({name: change.difference for name, change in changes.items()})
    return {str(size): rates(called[size]) | {"difference": means(moved[size])} for size in sizes}


def _values(answers: Answers, places: Places, size: int) -> Mapping[str, Floats]:
    found = answers.values(places)
    among = {f"{prefix}{size}": measure(size) for prefix, measure in AMONG.items()}
    for name, S in answers.among(places).items():
        for measure, of in among.items():
            found[f"{measure},{name}"] = np.array([of(own) for own in S])
    return found
