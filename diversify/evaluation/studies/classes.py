"""Numbers of whole sets of answers, and classes beside them: recorded ones, and those of leaders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from diversify.credit import leader_partition
from diversify.evaluation.studies.false_alarms import Answers, halves
from diversify.lexical import LEXICAL
from diversify.measures import measure_all

__all__ = ["across", "everything", "leaders", "within"]

Floats: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.int64]

_RESAMPLES = 1000
_SPLITS = 100


def everything(answers: Answers, texts: list[str]) -> dict[str, float]:
    """Take every measure by every kernel, and every lexical quantity, of one set of texts."""
    found = {
        f"{measure},{name}": value
        for name, kernel in answers.kernels.items()
        for measure, value in measure_all(kernel(texts)).items()
    }
    return found | {f"{name},words": float(index(texts)) for name, index in LEXICAL.items()}


def leaders(answers: Answers, texts: list[str], thresholds: Sequence[float]) -> dict[str, int]:
    """Count the classes of leader clustering by the first kernel, at each threshold."""
    name, kernel = next(iter(answers.kernels.items()))
    S = kernel(texts)
    place = {text: number for number, text in enumerate(texts)}
    found = {}
    for threshold in thresholds:

        def alike(a: str, b: str, least: float = threshold) -> bool:
            return bool(S[place[a], place[b]] >= least)

        labels = leader_partition(texts, alike)
        found[f"{name} >= {threshold:g}"] = int(labels.max() + 1)
    return found


def across(values: Floats, recorded: Places, rng: np.random.Generator) -> dict[str, Any]:
    """Return Spearman's correlation with a bootstrap interval over prompts.

    Args:
        values: Of a measure, one a prompt.
        recorded: Number of recorded classes, one a prompt.
        rng: Of the bootstrap.

    Returns:
        `spearman` and `ci95`, whose bounds are None where a resample was constant.
    """

    def spearman(places: Places, axis: int = -1) -> Floats:
        ours, theirs = (stats.rankdata(v[places], axis=axis) for v in (values, recorded))
        ours, theirs = (rank - rank.mean(axis=axis, keepdims=True) for rank in (ours, theirs))
        spread = np.sqrt((ours**2).sum(axis=axis) * (theirs**2).sum(axis=axis))
        together = (ours * theirs).sum(axis=axis)
        found: Floats = np.full_like(spread, np.nan)
        np.divide(together, spread, out=found, where=spread > 0)
        return found

    everyone = np.arange(len(values))
    interval = stats.bootstrap(
        (everyone,),
        spearman,
        vectorized=True,
        n_resamples=_RESAMPLES,
        method="percentile",
        rng=rng,
    ).confidence_interval
    bounds = [round(float(b), 3) if np.isfinite(b) else None for b in interval]
    return {"spearman": round(float(spearman(everyone)), 3), "ci95": bounds}


def within(answers: Answers, rng: np.random.Generator) -> dict[str, Any]:
    """Correlate over random halves of one prompt's answers; mean over prompts whose halves differ.

    Args:
        answers: With recorded classes.
        rng: Cuts the halves.

    Returns:
        The number of such `prompts`, and for each primary measure the mean, None without prompts.

    Raises:
        ValueError: No classes are recorded.
    """
    if answers.classes is None:
        raise ValueError("ranks need the column 'partition' in every row")
    taken = [places for _ in range(_SPLITS) for places in halves(answers, rng)]
    values = [answers.values(places) for places in taken]
    rows = np.arange(len(answers.texts))[:, None]
    counts = np.array([[len(set(r)) for r in answers.classes[rows, p].tolist()] for p in taken])
    differ = np.flatnonzero(np.ptp(counts, axis=0) > 0)
    found: dict[str, Any] = {"prompts": len(differ)}
    for name in values[0]:
        column = np.array([value[name] for value in values])
        each = [stats.spearmanr(column[:, p], counts[:, p]).statistic for p in differ]
        found[name] = round(float(np.mean(each)), 3) if each else None
    return found
