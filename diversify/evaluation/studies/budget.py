"""Equal budgets: what plain sampling would have found with the tokens that a method has spent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from diversify.credit import rarefied_classes
from diversify.quality import named_answer

__all__ = ["Found", "found_for", "rarefied"]


class Found(NamedTuple):
    """What plain sampling finds for one prompt with as many tokens as another method wrote.

    `answers` is how many different valid answers that is in expectation, `draws` how many
    completions the tokens pay for, and `capped` whether the pool has fewer, so that `answers` is
    less than the tokens would have bought.
    """

    answers: float
    draws: float
    capped: bool


def found_for(tokens: float, pool: Mapping[str, Any]) -> Found | None:
    """Return what plain sampling finds for a number of written tokens, from a pool of its draws.

    A draw costs the mean of the pool. `rarefied` gives the expectation over all ways to draw, so
    that no luck of a single small sample comes in.

    Args:
        tokens: written by the method for the prompt, 0 or more.
        pool: one row of a plain run, with the columns `generations` and `answers`, and in its
            `details` the `tokens` that were `written`.

    Returns:
        None where the prompt has no list of answers, or the engine did not count tokens.

    Raises:
        ValueError: `tokens` is negative or no number.

    Example:
        >>> row = {"generations": ["Peru", "Chile", "Peru", "no"], "answers": [["Peru"], ["Chile"]]}
        >>> found = found_for(6, row | {"details": {"tokens": {"written": 12}}})
        >>> round(found.answers, 6), found.draws, found.capped
        (1.333333, 2.0, False)
    """
    if not (math.isfinite(tokens) and tokens >= 0):
        raise ValueError(f"tokens must be a number >= 0, got {tokens}")
    counted = (pool.get("details") or {}).get("tokens") or {}
    texts, answers = pool["generations"], pool.get("answers")
    if not answers or not counted.get("written"):
        return None
    named = [named_answer(text, answers) for text in texts]
    draws = tokens / (counted["written"] / len(texts))
    capped = draws > len(texts)
    return Found(rarefied(named, min(draws, float(len(texts)))), draws, capped)


def rarefied(labels: Sequence[int | None], size: float) -> float:
    """Return how many classes a random part of a sample holds in expectation.

    As `credit.rarefied_classes`, but for what belongs to no class, and for sizes between whole
    ones: a tenth of a draw is one more draw in a tenth of the cases.

    Args:
        labels: of the whole sample (n,); None for a text that belongs to no class.
        size: of the part, from 0 to n.

    Returns:
        From 0 to the number of classes.

    Raises:
        ValueError: The size is outside its range.

    Example:
        >>> round(rarefied([0, 0, 1, None], 2), 6)  # 1 of 6 pairs misses class 0, 3 miss class 1
        1.333333
        >>> round(rarefied([0, 0, 1, None], 0.5), 6)
        0.375
    """
    if not 0 <= size <= len(labels):
        raise ValueError(f"size must be in [0, {len(labels)}], got {size}")
    low = math.floor(size)
    value = _expected(labels, low)
    share = size - low
    return value + share * (_expected(labels, low + 1) - value) if share else value


def _expected(labels: Sequence[int | None], size: int) -> float:
    if not size:
        return 0.0
    # What belongs to no class counts as so many classes of one, and is taken off again.
    outside = [place for place, label in enumerate(labels) if label is None]
    alone = dict(zip(outside, range(-1, -1 - len(outside), -1), strict=True))
    filled = [alone[i] if label is None else label for i, label in enumerate(labels)]
    every = rarefied_classes(np.array(filled), size=size)
    return every - size * len(outside) / len(labels)
