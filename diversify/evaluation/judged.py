"""Qualities of a run's answers, many prompts at a time and never more than needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from diversify.evaluation.ahead import AT_ONCE, batches
from diversify.quality import Quality

__all__ = ["judged"]

OURS = {"prompt", "generations", "details", "config", "key", "truncated", "prompts", "completions"}
"""Columns of a run's rows that are no column of the prompt set, and the names of the arguments."""

Values = list[float | None]


def judged(
    rows: Sequence[dict[str, Any]], quality: Sequence[Quality], *, at_once: int = AT_ONCE
) -> Iterator[dict[str, Any]]:
    """Score the answers of a run by several qualities, and yield what each row gets.

    A quality whose value of an answer depends on nothing else in the call (`by_row`) sees some
    thousand answers at a time, so that a run of any size fits. Any other is called once with all.

    Args:
        rows: with `prompt` and `generations`; their other columns (`answers`, …) reach the scorers.
        quality: scorers.
        at_once: answers of a call, as `embedded_ahead` counts them.

    Yields:
        For each row `qualities`, name -> mean over the answers that could be scored or None, and
        `quality_values`, name -> the value of each answer, four digits.

    Raises:
        ValueError: a scorer does not give one value an answer.

    >>> from diversify.quality import Rule
    >>> short = Rule(lambda prompt, text: float(len(text) < 3), margin=0.1, name="short")
    >>> list(judged([{"prompt": "?", "generations": ["a", "long"]}], [short]))
    [{'qualities': {'short': 0.5}, 'quality_values': {'short': [1.0, 0.0]}}]
    """
    together = [scorer for scorer in quality if not getattr(scorer, "by_row", False)]
    # Before anything else: what needs everything at once should fail at once, too.
    known = {scorer.name: _values(rows, scorer) for scorer in together}
    done = 0
    for batch in batches(rows, at_once) if quality else ():
        found = {
            scorer.name: known[scorer.name][done : done + len(batch)]
            if scorer.name in known
            else _values(batch, scorer)
            for scorer in quality
        }
        done += len(batch)
        for place in range(len(batch)):
            yield _told({name: values[place] for name, values in found.items()})
    if not quality:
        yield from (_told({}) for _ in range(len(rows)))


def _values(rows: Sequence[dict[str, Any]], scorer: Quality) -> list[Values]:
    """Call a scorer once for all answers of these rows."""
    prompts, texts, counts, owners = [], [], [], []
    for row in rows:
        answers = row["generations"]
        counts.append(len(answers))
        prompts += [row["prompt"]] * len(answers)
        texts += answers
        owners += [{name: row[name] for name in row.keys() - OURS}] * len(answers)
    names = set[str]().union(*owners)
    columns = {name: [owner.get(name) for owner in owners] for name in names}
    values = scorer(prompts, texts, **columns)
    if len(values) != len(texts):
        raise ValueError(f"{scorer.name} gave {len(values)} values for {len(texts)} answers")
    ends = np.cumsum(counts).tolist()
    return [list(values[end - count : end]) for end, count in zip(ends, counts, strict=True)]


def _told(found: dict[str, Values]) -> dict[str, Any]:
    scored = {
        name: [value for value in values if value is not None] for name, values in found.items()
    }
    return {
        "qualities": {
            name: float(np.mean(values)) if values else None for name, values in scored.items()
        },
        "quality_values": {
            name: [None if value is None else round(float(value), 4) for value in values]
            for name, values in found.items()
        },
    }
