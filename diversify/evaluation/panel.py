"""Several models on the same prompts: how alike are they, who echoes whom, and which clichés they share."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diversify.embedders import Embedder
from diversify.engines import text_of
from diversify.evaluation.cliches import Phrase, phrases_over_prompts, shared_phrases
from diversify.evaluation.evaluate import run_label
from diversify.evaluation.generate import Run, load_run, write_atomically
from diversify.evaluation.hivemind import inter_similarity
from diversify.evaluation.hivemind_runs import embed_models, overlap_curves
from diversify.evaluation.markdown import markdown_table
from diversify.kernels import check_integer

__all__ = ["Panel", "panel"]

PANEL = "panel.json"
NEAREST = 50
"""Largest number of neighbours whose sources are counted, as published."""


@dataclass(frozen=True)
class Panel:
    """What several models have in common.

    Args:
        models: Their names.
        similarity: Mean cosine between the answers of two models, (m, m). On the diagonal that of a
            model's own answers, without the pairs of an answer with itself; NaN where a model gave
            one answer to a prompt.
        index: Mean over all pairs of different models, and its standard error over prompts.
        echoes: Model -> the model whose answers are nearest to its own, and their similarity.
        prompts: One dictionary a prompt, the most alike first: `id`, `prompt`, `similarity` (mean
            over pairs of models), `closest` (the two most alike models) and `phrase` (what most
            models say, or None).
        phrases: Phrases that several models say to the same prompt, the most shared first:
            `phrase`, `models`, `answers`, `prompts` (ids).
        overlap: Mean number of different models among the N answers nearest to an answer, N = 1, 2…
        details: Embedder, runs, counts and options.
    """

    models: list[str]
    similarity: NDArray[np.float64]
    index: tuple[float, float | None]
    echoes: dict[str, tuple[str, float]]
    prompts: list[dict[str, Any]] = field(repr=False)
    phrases: list[dict[str, Any]] = field(repr=False)
    overlap: list[float] = field(repr=False)
    details: dict[str, Any] = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        """Return the content of `panel.json`; what cannot be said is None."""
        matrix = [[None if math.isnan(v) else v for v in row] for row in self.similarity.tolist()]
        return {
            "models": self.models,
            "similarity": matrix,
            "index": {"mean": self.index[0], "stderr": self.index[1]},
            "echoes": {
                name: {"nearest": nearest, "similarity": value}
                for name, (nearest, value) in self.echoes.items()
            },
            "source_overlap": self.overlap,
            "prompts": self.prompts,
            "phrases": self.phrases,
            "details": self.details,
        }

    def save(self, folder: str | Path) -> Path:
        """Write `panel.json` into a folder and return its path."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / PANEL, json.dumps(self.as_json(), indent=2) + "\n")
        return folder / PANEL

    def markdown(self, *, rows: int = 10) -> str:
        """Return the panel as Markdown tables: matrix, echoes, prompts and phrases.

        Args:
            rows: How many prompts and phrases are shown.

        Raises:
            ValueError: `rows` is below one.
        """
        check_integer("rows", rows, 1)
        mean, error = self.index
        spread = "" if error is None else f" ± {error:.3f}"
        numbers = [str(number) for number in range(1, len(self.models) + 1)]
        matrix = [
            [f"{number}. {name}", *("" if math.isnan(v) else f"{v:.3f}" for v in values)]
            for number, name, values in zip(numbers, self.models, self.similarity, strict=True)
        ]
        alike = [
            [
                _short(p["prompt"]),
                f"{p['similarity']:.3f}",
                " and ".join(p["closest"]),
                p["phrase"] or "",
            ]
            for p in self.prompts[:rows]
        ]
        said = [
            [p["phrase"], str(len(p["models"])), str(p["answers"]), str(len(p["prompts"]))]
            for p in self.phrases[:rows]
        ]
        echoes = [[name, other, f"{value:.3f}"] for name, (other, value) in self.echoes.items()]
        n = len(self.overlap)
        return "\n\n".join(
            [
                f"Similarity of different models: {mean:.3f}{spread} "
                f"({self.details['embedder']['name']}, {len(self.prompts)} prompts). Among the "
                f"{n} answers nearest to an answer are {self.overlap[-1]:.1f} models of "
                f"{len(self.models)}.",
                markdown_table(["", *numbers], matrix),
                markdown_table(["model", "nearest other model", "similarity"], echoes),
                markdown_table(["prompt", "similarity", "closest models", "shared phrase"], alike),
                markdown_table(["phrase", "models", "answers", "prompts"], said),
            ]
        )


def panel(
    runs: Mapping[str, Run | str | Path] | Sequence[Run | str | Path],
    *,
    embedder: Embedder,
    least_models: int = 2,
    phrases: int = 200,
    nearest: int = NEAREST,
    progress: Callable[[str, int, int], None] | None = None,
) -> Panel:
    """Compare the answers of several models to the same prompts.

    The level of a cosine belongs to its embedder: compare panels of one embedder only.

    Args:
        runs: Finished runs or their folders, one a model; a mapping names them. How they were
            sampled is on record and may differ, which is then part of what is compared.
        embedder: Texts to rows of length 1.
        least_models: How many models must say a phrase to the same prompt.
        phrases: How many phrases are kept, at most.
        nearest: Largest number of neighbours whose sources are counted; fewer where a prompt has
            not so many answers.
        progress: Called as `(stage, done, total)`.

    Raises:
        ValueError: There are fewer than two runs, two have one name, their prompts differ, or an
            option is impossible.

    Reference:
        Jiang et al., "Artificial Hivemind: The Open-Ended Homogeneity of Language Models (and
        Beyond)", arXiv 2510.22954: matrix and overlap of sources. Deviation: the diagonal leaves
        out the pairs of an answer with itself. Echoes and phrases are ours.
    """
    check_integer("phrases", phrases, 0)
    check_integer("nearest", nearest, 1)
    named = _named(runs)
    check_integer("least_models", least_models, 2, max(2, len(named)))
    E_by_model = embed_models(named, embedder=embedder)
    if progress:
        progress("embedded", 1, 1)
    whole = all(len(E) > 1 for own in E_by_model for E in own)
    matrices = np.stack(
        [
            inter_similarity([[E] for E in own], exclude_self=whole)
            for own in zip(*E_by_model, strict=True)
        ]
    )
    similarity = matrices.mean(axis=0)
    if not whole:
        np.fill_diagonal(similarity, math.nan)
    pools = [sum(len(E) for E in own) for own in zip(*E_by_model, strict=True)]
    curves = overlap_curves(E_by_model, nearest=min(nearest, min(pools) - 1))
    models, rows = list(named), next(iter(named.values())).rows
    said = _phrases(named, rows, least_models, progress)
    every = phrases_over_prompts([row["id"] for row in rows], said)
    prompts = _prompts(models, rows, matrices, said)
    return Panel(
        models=models,
        similarity=similarity,
        index=_mean([prompt["similarity"] for prompt in prompts]),
        echoes=_echoes(models, similarity),
        prompts=prompts,
        phrases=every[:phrases],
        overlap=np.mean(curves, axis=0).tolist(),
        details={
            "embedder": {"name": embedder.name, "revision": embedder.revision},
            "runs": {name: _about(run) for name, run in named.items()},
            "least_models": least_models,
            "phrases_in_all": len(every),
        },
    )


def _prompts(
    models: list[str],
    rows: Sequence[dict[str, Any]],
    matrices: NDArray[np.float64],
    said: Sequence[Sequence[Phrase]],
) -> list[dict[str, Any]]:
    """Rank the prompts by how alike different models answer them."""
    pairs = list(combinations(range(len(models)), 2))
    across = np.stack([matrices[:, a, b] for a, b in pairs], axis=1)
    found = [
        {
            "id": row["id"],
            "prompt": text_of(row["prompt"]),
            "similarity": float(values.mean()),
            "closest": [models[place] for place in pairs[int(values.argmax())]],
            "phrase": phrases[0].text if phrases else None,
        }
        for row, values, phrases in zip(rows, across, said, strict=True)
    ]
    return sorted(found, key=lambda prompt: -prompt["similarity"])


def _named(runs: Mapping[str, Run | str | Path] | Sequence[Run | str | Path]) -> dict[str, Run]:
    if isinstance(runs, str | Path):
        raise ValueError(f"runs must be several runs, got one path: {runs}")
    loaded = [
        run if isinstance(run, Run) else load_run(run)
        for run in (runs.values() if isinstance(runs, Mapping) else runs)
    ]
    if isinstance(runs, Mapping):
        return dict(zip(map(str, runs), loaded, strict=True))
    labels = [_own_name(run) for run in loaded]
    names = [
        f"{label} ({run.path.name})" if labels.count(label) > 1 else label
        for label, run in zip(labels, loaded, strict=True)
    ]
    if len(set(names)) < len(names):
        raise ValueError(f"two runs have one name; give a mapping from names to runs: {names}")
    return dict(zip(names, loaded, strict=True))


def _own_name(run: Run) -> str:
    """Name a run; a bare file of rows says its model in the rows if anywhere."""
    models = {str(row.get("model") or "") for row in run.rows}
    if not run.settings and len(models) == 1 and "" not in models:
        return Path(models.pop()).name
    return run_label(run)


def _about(run: Run) -> dict[str, Any]:
    texts = [text for row in run.rows for text in row["generations"]]
    return {
        "run": str(run.path),
        "settings": run.settings,
        "answers": len(texts),
        # Blank answers are all alike: many of them make two models look like one.
        "blank": sum(not text.strip() for text in texts),
    }


def _phrases(
    runs: Mapping[str, Run],
    rows: Sequence[dict[str, Any]],
    least_models: int,
    progress: Callable[[str, int, int], None] | None,
) -> list[list[Phrase]]:
    answers = {
        name: {row["id"]: row["generations"] for row in run.rows} for name, run in runs.items()
    }
    found = []
    for count, row in enumerate(rows, start=1):
        own = {name: of_row[row["id"]] for name, of_row in answers.items()}
        found.append(shared_phrases(own, prompt=text_of(row["prompt"]), least_models=least_models))
        if progress:
            progress("phrases", count, len(rows))
    return found


def _echoes(models: list[str], similarity: NDArray[np.float64]) -> dict[str, tuple[str, float]]:
    others = similarity.copy()
    np.fill_diagonal(others, -np.inf)
    nearest = others.argmax(axis=1)
    return {
        name: (models[int(place)], float(others[number, place]))
        for number, (name, place) in enumerate(zip(models, nearest, strict=True))
    }


def _mean(found: Sequence[float]) -> tuple[float, float | None]:
    values = np.array(found)
    error = float(values.std(ddof=1) / math.sqrt(values.size)) if values.size > 1 else None
    return float(values.mean()), error


def _short(text: str, *, most: int = 80) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else line[: most - 1] + "…"
