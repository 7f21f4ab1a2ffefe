"""What several models have in common, as JSON and as Markdown tables."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diversify.evaluation.generate import write_atomically
from diversify.evaluation.markdown import markdown_table
from diversify.evaluation.panel.echoes import Echo
from diversify.kernels import check_integer

__all__ = ["Panel"]

PANEL = "panel.json"
MARKDOWN = "panel.md"


@dataclass(frozen=True)
class Panel:
    """What several models have in common.

    Args:
        models: Their names.
        similarity: Mean cosine between the answers of two models, (m, m). On the diagonal that of a
            model's own answers, without the pairs of an answer with itself; NaN where a model gave
            one answer to a prompt.
        with_self: The same with these pairs on the diagonal, as in the published tables.
        index: Mean over all pairs of different models, and its standard error over prompts.
        floor: The same for answers of two models to different prompts; None for one prompt.
        echoes: Model -> the model whose answers are nearest to its own, against chance.
        histograms: Model -> share of the prompts in each tenth of the similarity of its own
            answers, in percent (10,); None for a model with one answer to every prompt.
        prompts: One dictionary a prompt, the most alike first: `id`, `prompt`, `similarity` (mean
            over pairs of models), `own` (mean over models of the similarity of a model's own
            answers, or None), `source_overlap` (at the largest N), `closest` (the two most alike
            models), and of the phrase that most models say `phrase`, `phrase_models` (how many) and
            `phrase_answers`, or None and 0.
        phrases: Phrases that several models say to the same prompt, the most shared first:
            `phrase`, `models`, `answers`, `prompts` (ids).
        overlap: Mean number of different models among the N answers nearest to an answer, N = 1, 2…
        overlap_if_alike: What it would be if nothing told the models apart.
        details: Embedder, runs, counts and options.
    """

    models: list[str]
    similarity: NDArray[np.float64]
    with_self: NDArray[np.float64]
    index: tuple[float, float | None]
    floor: float | None
    echoes: dict[str, Echo]
    histograms: dict[str, list[float] | None] = field(repr=False)
    prompts: list[dict[str, Any]] = field(repr=False)
    phrases: list[dict[str, Any]] = field(repr=False)
    overlap: list[float] = field(repr=False)
    overlap_if_alike: list[float] = field(repr=False)
    details: dict[str, Any] = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """Return the content of `panel.json`; what cannot be said is None."""
        matrix = [[None if math.isnan(v) else v for v in row] for row in self.similarity.tolist()]
        return {
            "models": self.models,
            "similarity": matrix,
            "similarity_with_self": self.with_self.tolist(),
            "index": {"mean": self.index[0], "stderr": self.index[1], "floor": self.floor},
            "echoes": {name: echo._asdict() for name, echo in self.echoes.items()},
            "histograms": self.histograms,
            "mean_histogram": self.mean_histogram,
            "source_overlap": self.overlap,
            "source_overlap_if_alike": self.overlap_if_alike,
            "prompts": self.prompts,
            "phrases": self.phrases,
            "details": self.details,
        }

    @property
    def mean_histogram(self) -> list[float] | None:
        """The unweighted mean of the models' histograms, as published; None if there is none."""
        known = [histogram for histogram in self.histograms.values() if histogram is not None]
        return np.mean(known, axis=0).tolist() if known else None

    def save(self, folder: str | Path) -> Path:
        """Write `panel.json` and `panel.md` into a folder and return the path of the first."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / MARKDOWN, self.markdown() + "\n")
        write_atomically(folder / PANEL, json.dumps(self.as_json(), indent=2) + "\n")
        return folder / PANEL

    def markdown(self, *, rows: int = 10) -> str:
        """Return the panel as Markdown tables: matrix, echoes, histograms, prompts and phrases.

        Args:
            rows: How many prompts and phrases are shown.

        Raises:
            ValueError: `rows` is below one.
        """
        check_integer("rows", rows, 1)
        return "\n\n".join(
            [
                self._summary(),
                self._matrix(),
                self._echoes(),
                self._histogram(),
                self._alike(rows),
                self._said(rows),
            ]
        )

    def _summary(self) -> str:
        mean, error = self.index
        spread = "" if error is None else f" ± {error:.3f}"
        floor = "" if self.floor is None else f"; of answers to different prompts {self.floor:.3f}"
        return (
            f"Similarity of different models: {mean:.3f}{spread}{floor} "
            f"({self.details['embedder']['name']}, {len(self.prompts)} prompts). Among the "
            f"{len(self.overlap)} answers nearest to an answer are {self.overlap[-1]:.2f} models of "
            f"{len(self.models)}; {self.overlap_if_alike[-1]:.2f} if nothing told them apart."
        )

    def _matrix(self) -> str:
        numbers = [str(number) for number in range(1, len(self.models) + 1)]
        rows = [
            [f"{number}. {name}", *map(_number, values)]
            for number, name, values in zip(
                numbers, self.models, self.similarity.tolist(), strict=True
            )
        ]
        return markdown_table(["", *numbers], rows)

    def _echoes(self) -> str:
        own = dict(zip(self.models, self.similarity.diagonal().tolist(), strict=True))
        rows = [
            [
                name,
                echo.nearest,
                f"{echo.similarity:.3f}",
                _number(own[name]),
                _number(echo.floor),
                f"{echo.support:.0%}",
                "" if echo.p_value is None else f"{echo.p_value:.2g}",
            ]
            for name, echo in self.echoes.items()
        ]
        head = ["model", "nearest other model", "similarity", "own answers", "different prompts"]
        return markdown_table([*head, "nearest in resamples", "p"], rows)

    def _histogram(self) -> str:
        tenths = [f"{tenth / 10:.1f}-{(tenth + 1) / 10:.1f}" for tenth in range(10)]
        rows = [
            [name, *("" if shares is None else f"{share:.0f}" for share in shares or [0.0] * 10)]
            for name, shares in {**self.histograms, "mean": self.mean_histogram}.items()
        ]
        return markdown_table(["own answers, % of prompts", *tenths], rows)

    def _alike(self, most: int) -> str:
        head = ["prompt", "similarity", "own answers", "closest models", "shared phrase", "models"]
        rows = [
            [
                _short(p["prompt"]),
                f"{p['similarity']:.3f}",
                _number(p["own"]),
                " and ".join(p["closest"]),
                p["phrase"] or "",
                str(p["phrase_models"]),
            ]
            for p in self.prompts[:most]
        ]
        return markdown_table(head, rows)

    def _said(self, most: int) -> str:
        rows = [
            [p["phrase"], str(len(p["models"])), str(p["answers"]), str(len(p["prompts"]))]
            for p in self.phrases[:most]
        ]
        return markdown_table(["phrase", "models", "answers", "prompts"], rows)


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.3f}"


def _short(text: str, *, most: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
