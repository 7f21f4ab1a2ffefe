"""Points that lie on a curve of temperatures, and curves that are one: is a gap seen?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diversify.evaluation.generate import load_run
from diversify.evaluation.statistics.curves import prompt_offers, reach, reachable
from diversify.evaluation.statistics.gaps import curve_gap, point_gap, resampled_means
from diversify.evaluation.statistics.inference import mean_interval
from diversify.evaluation.studies.false_alarms import LEVEL, primary
from diversify.kernels import NgramKernel
from diversify.quality import named_answer

__all__ = ["Curve", "Sweep", "misplaced"]

Floats: TypeAlias = NDArray[np.float64]
Places: TypeAlias = NDArray[np.int64]

Curve: TypeAlias = tuple[dict[str, Floats], Floats]
"""Measures and quality of a sweep, prompt by prompt (k, p)."""


class Sweep:
    """The answers of one model at several temperatures, coldest first, in larger pools than needed.

    The quality is the share of valid answers (column `answers`).

    Args:
        runs: run folders or files of generations, one a temperature, of the same prompts.
        answers: how many of a pool make a point; two points take different ones.

    Raises:
        ValueError: The prompts differ, or the smallest pool has fewer than twice as many answers.
    """

    def __init__(self, runs: Sequence[str], answers: int) -> None:
        kernel = NgramKernel(2)
        self.answers, self.name = answers, kernel.name
        rows = [load_run(path).rows for path in runs]
        if len({tuple(row["prompt"] for row in of) for of in rows}) != 1:
            raise ValueError(f"the runs of a sweep need the same prompts, in one order: {runs}")
        self.pool = min(len(row["generations"]) for of in rows for row in of)
        if self.pool < 2 * answers:
            raise ValueError(
                f"twice {answers} answers are needed, the smallest pool has {self.pool}"
            )
        self.S = np.stack([[kernel(row["generations"][: self.pool]) for row in of] for of in rows])
        valid = [
            [
                [
                    named_answer(text, row["answers"]) is not None
                    for text in row["generations"][: self.pool]
                ]
                for row in of
            ]
            for of in rows
        ]
        self.valid = np.array(valid, dtype=float)

    def draw(self, prompts: Places, rng: np.random.Generator) -> tuple[Curve, Curve]:
        """Draw two sweeps of the same prompts that share no answer."""
        k, size = len(self.S), len(prompts)
        places = rng.permuted(np.tile(np.arange(self.pool), (k, size, 1)), axis=2)
        first, second = places[..., : self.answers], places[..., self.answers : 2 * self.answers]
        return self._curve(prompts, first), self._curve(prompts, second)

    def _curve(self, prompts: Places, places: Places) -> Curve:
        heat, prompt = np.arange(len(self.S))[:, None, None], prompts[None, :, None]
        S = self.S[heat[..., None], prompt[..., None], places[..., :, None], places[..., None, :]]
        measures = {f"{name},{self.name}": value for name, value in primary(S).items()}
        return measures, self.valid[heat, prompt, places].mean(axis=2)


def misplaced(
    curve: Curve, other: Curve, rng: np.random.Generator, *, resamples: int, seed: int
) -> dict[str, dict[str, bool]]:
    """Say where a gap is seen between a curve and points of its twin, and between the two.

    The points are the twin at one of its temperatures, and each prompt at one of two neighbours by
    the toss of a coin.

    Args:
        curve: What points are placed against.
        other: The same prompts and temperatures, from other answers.
        rng: Chooses the temperatures.
        resamples: Bootstrap resamples over prompts.
        seed: Of the bootstrap.

    Returns:
        criterion -> what is claimed -> whether it was.
    """
    found: dict[str, dict[str, bool]] = {}
    own: dict[str, Any] = {"resamples": resamples, "seed": seed}
    (measures, quality), (others, at) = curve, other
    heat, pair = rng.integers(len(quality)), rng.integers(len(quality) - 1)
    coin = rng.integers(0, 2, quality.shape[1])
    prompt = np.arange(quality.shape[1])
    for name, diversity in measures.items():
        for where, chosen in (("at a temperature", heat), ("between two", pair + coin)):
            point = others[name][chosen, prompt], at[chosen, prompt]
            for kind, (low, high) in _intervals(diversity, quality, *point, **own).items():
                sides = found.setdefault(kind, {})
                sides[f"{name}, {where}, above"] = low > 0
                sides[f"{name}, {where}, below"] = high < 0
        if gap := curve_gap((diversity, quality), (others[name], at), **own):
            low, high = gap.mean.ci95
            lowest = min(gap.smallest.ci95[0], gap.weakest.ci95[0])
        curves = found.setdefault("curves", {})
        curves[f"{name}, mean gap"] = gap is not None and (low > 0 or high < 0)
        curves[f"{name}, dominates"] = gap is not None and low > 0 and lowest >= 0
    return found


def _intervals(
    diversity: Floats, quality: Floats, own: Floats, at: Floats, *, resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Bound the gap of a point as printed, and by each of the two parts of that alone."""
    options: dict[str, Any] = {"resamples": resamples, "seed": seed}
    where = reach(diversity.mean(axis=1), quality.mean(axis=1), np.asarray(at.mean()))
    each = own - prompt_offers(diversity, quality, at, where)
    means = resampled_means(np.vstack([diversity, quality, own[None], at[None]]), **options)
    curves, levels, (mean, level) = np.split(means, [len(diversity), 2 * len(diversity)])
    low, high = np.quantile(mean - reachable(curves, levels, level), [LEVEL / 2, 1 - LEVEL / 2])
    return {
        "interval": point_gap(diversity, quality, own, at, **options).ci95,
        "linear": mean_interval(each, **options),
        "bootstrap": (float(low), float(high)),
    }
