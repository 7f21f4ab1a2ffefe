"""Halves of recorded answers that differ by nothing, or by what is planted: is a change called?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from diversify.evaluation.statistics.change import Change, paired_change, with_holm
from diversify.evaluation.verdict import judge
from diversify.kernels import Kernel
from diversify.measures import effective_number, spectrum

__all__ = [
    "LEVEL",
    "Answers",
    "compared",
    "copied",
    "halves",
    "means",
    "outside",
    "primary",
    "rates",
    "said",
    "varied",
]

Floats: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.int64]

LEVEL = 0.05
"""Up to what p-value a change is called one; intervals hold the rest."""


class Answers:
    """The texts of all prompts, their similarities by each kernel, and the recorded classes.

    Args:
        rows: one a prompt, with `generations` and, where classes are recorded, `partition`.
        kernels: what compares the texts.

    Raises:
        ValueError: The prompts have different numbers of answers, or fewer than four.
    """

    def __init__(self, rows: Sequence[Mapping[str, Any]], kernels: Sequence[Kernel]) -> None:
        counts = {len(row["generations"]) for row in rows}
        if len(counts) != 1 or min(counts) < 4:
            raise ValueError(f"every prompt needs equally many answers, 4 or more; got {counts}")
        self.texts: list[list[str]] = [row["generations"] for row in rows]
        self.n: int = counts.pop()
        self.kernels = {kernel.name: kernel for kernel in kernels}
        self.S = {k.name: np.stack([k(texts) for texts in self.texts]) for k in kernels}
        labels = [row.get("partition") for row in rows]
        self.classes: Places | None = None if None in labels else np.array(labels)

    def values(self, places: Places) -> dict[str, Floats]:
        """Take the primary measures of the answers at these places of each prompt, (p, h)."""
        return {
            f"{measure},{name}": value
            for name, S in self.among(places).items()
            for measure, value in primary(S).items()
        }

    def among(self, places: Places) -> dict[str, Floats]:
        """Take the similarities of the answers at these places of each prompt, (p, h, h)."""
        prompt = np.arange(len(places))[:, None, None]
        at = (prompt, places[:, :, None], places[:, None, :])
        return {name: S[at] for name, S in self.S.items()}

    def shuffled(self, rng: np.random.Generator) -> Places:
        """Return all places of every prompt in random order, (p, n)."""
        return rng.permuted(np.tile(np.arange(self.n), (len(self.texts), 1)), axis=1)


def primary(S: Floats) -> dict[str, Floats]:
    """Take the primary measures of stacked similarity matrices (..., h, h).

    >>> found = primary(np.eye(2)[None])
    >>> {name: values.round(6).tolist() for name, values in found.items()}
    {'mean_distance': [1.0], 'vendi': [2.0]}
    """
    h = S.shape[-1]
    distance = 1.0 - (S.sum(axis=(-2, -1)) - h) / (h * (h - 1))
    return {"mean_distance": distance, "vendi": effective_number(spectrum(S))}


def halves(answers: Answers, rng: np.random.Generator) -> tuple[Places, Places]:
    """Split the answers to every prompt at random into two halves, as places (p, n // 2)."""
    order = answers.shuffled(rng)
    half = answers.n // 2
    return order[:, :half], order[:, half : 2 * half]


def copied(answers: Answers, places: Places, share: float, rng: np.random.Generator) -> Places:
    """Plant collapse: a share of the answers becomes a copy of the first one."""
    return np.where(rng.random(places.shape) < share, places[:, :1], places)


def varied(answers: Answers, places: Places, share: float, rng: np.random.Generator) -> Places:
    """Plant diversity: a share of those whose class was there before gets one of another class.

    Raises:
        ValueError: No classes are recorded.
    """
    if answers.classes is None:
        raise ValueError("answers of other classes need the column 'partition' in every row")
    planted = places.copy()
    for prompt, row in enumerate(planted):
        classes = answers.classes[prompt]
        for position, place in enumerate(row):
            others = np.flatnonzero(~np.isin(classes, classes[row]))
            repeated = classes[place] in classes[row[:position]]
            if repeated and len(others) and rng.random() < share:
                row[position] = rng.choice(others)
    return planted


def compared(
    before: Mapping[str, Floats], after: Mapping[str, Floats], *, resamples: int, seed: int
) -> dict[str, Change]:
    """Compare the primary measures as `compare` does, Holm's correction included."""
    changes = {
        name: paired_change(before[name], after[name], resamples=resamples, seed=seed)
        for name in before
    }
    return with_holm(changes, list(changes))


def said(changes: dict[str, Change]) -> dict[str, dict[str, bool]]:
    """Say of one comparison what each criterion calls a change, and what the verdict is."""
    trained = next(iter(changes)).partition(",")[2]
    below = {n: c.p_value is not None and c.p_value <= LEVEL for n, c in changes.items()}
    corrected = [c.p_holm is not None and c.p_holm <= LEVEL for c in changes.values()]
    fell = judge(changes, {}, {}, [], trained)["collapse_fell"] is True
    return {
        "p_value": below,
        "interval": {name: change.sign != 0 for name, change in changes.items()},
        "family": {
            "any_p_value": any(below.values()),
            "any_holm": any(corrected),
            "collapse_fell": fell,
        },
    }


def outside(interval: tuple[float, float], value: float) -> bool:
    """Say whether the interval certainly leaves the value out; NaN does not."""
    return interval[0] > value or interval[1] < value


def rates(rows: Sequence[Mapping[str, Mapping[str, bool]]]) -> dict[str, Any]:
    """Return for each kind and name how often it was true, with the Wilson interval.

    >>> rates([{"interval": {"vendi": hit}} for hit in (True, False, False, False)])
    {'interval': {'vendi': {'rate': 0.25, 'ci95': [0.0456, 0.6994]}}}
    """
    found: dict[str, Any] = {}
    for kind, names in rows[0].items():
        found[kind] = {}
        for name in names:
            count = sum(row[kind][name] for row in rows)
            interval = stats.binomtest(count, len(rows)).proportion_ci(method="wilson")
            bounds = [round(float(interval.low), 4), round(float(interval.high), 4)]
            found[kind][name] = {"rate": round(count / len(rows), 4), "ci95": bounds}
    return found


def means(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each name over the rows."""
    return {name: round(float(np.nanmean([row[name] for row in rows])), 5) for name in rows[0]}
