"""Several models on the same prompts: how alike are they, who echoes whom, and which clichés they share."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diversify.embedders import Embedder
from diversify.engines import text_of
from diversify.evaluation.cliches import Phrase, phrases_over_prompts, shared_phrases
from diversify.evaluation.evaluate import run_label
from diversify.evaluation.generate import Run, load_run
from diversify.evaluation.hivemind import inter_similarity, unit_rows
from diversify.evaluation.panel.echoes import cross_floor, echoes
from diversify.evaluation.panel.report import Panel
from diversify.evaluation.protocols.chance import expected_overlap
from diversify.evaluation.protocols.hivemind_runs import (
    embed_models,
    intra_histograms,
    overlap_curves,
)
from diversify.kernels import check_integer

__all__ = ["Panel", "panel"]

Floats = NDArray[np.float64]

NEAREST = 50
"""Largest number of neighbours whose sources are counted, as published."""


def panel(
    runs: Mapping[str, Run | str | Path] | Sequence[Run | str | Path],
    *,
    embedder: Embedder,
    least_models: int = 2,
    phrases: int = 200,
    nearest: int = NEAREST,
    resamples: int = 10_000,
    seed: int = 0,
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
        resamples: Permutations and bootstrap resamples behind the `echoes`.
        seed: Of both.
        progress: Called as `(stage, done, total)`.

    Raises:
        ValueError: There are fewer than two runs, two have one name, their prompts differ, or an
            option is impossible.

    Reference:
        Jiang et al., "Artificial Hivemind: The Open-Ended Homogeneity of Language Models (and
        Beyond)", arXiv 2510.22954: matrix and overlap of sources. Deviation: the diagonal leaves
        out the pairs of an answer with itself, which `with_self` has. Echoes, floors and phrases
        are ours.
    """
    check_integer("phrases", phrases, 0)
    check_integer("nearest", nearest, 1)
    check_integer("resamples", resamples, 1)
    named = _named(runs)
    check_integer("least_models", least_models, 2, max(2, len(named)))
    E_by_model = embed_models(named, embedder=embedder)
    if progress:
        progress("embedded", 1, 1)
    models, rows = list(named), next(iter(named.values())).rows
    matrices = _matrices(E_by_model)
    means = np.stack([[unit_rows(E).mean(axis=0) for E in own] for own in E_by_model])
    pools = Counter(tuple(len(E) for E in own) for own in zip(*E_by_model, strict=True))
    nearest = min(nearest, *(sum(counts) - 1 for counts in pools))
    alike = [n * expected_overlap(counts, nearest=nearest) for counts, n in pools.items()]
    histograms = intra_histograms(E_by_model)
    said = _phrases(named, rows, least_models, progress)
    every = phrases_over_prompts([row["id"] for row in rows], said)
    curves = overlap_curves(E_by_model, nearest=nearest)
    prompts = _prompts(models, rows, matrices, said, curves)
    return Panel(
        models=models,
        similarity=matrices.mean(axis=0),
        with_self=inter_similarity(E_by_model, exclude_self=False),
        index=_mean([prompt["similarity"] for prompt in prompts]),
        floor=_floor(means),
        echoes=echoes(means, models, resamples=resamples, seed=seed),
        histograms={
            name: None if shares is None else shares.tolist()
            for name, shares in zip(models, histograms, strict=True)
        },
        prompts=prompts,
        phrases=every[:phrases],
        overlap=np.mean(curves, axis=0).tolist(),
        overlap_if_alike=(np.sum(alike, axis=0) / len(rows)).tolist(),
        details={
            "embedder": {"name": embedder.name, "revision": embedder.revision},
            "runs": {name: _about(run) for name, run in named.items()},
            "least_models": least_models,
            "phrases_in_all": len(every),
            "resamples": resamples,
            "seed": seed,
        },
    )


def _matrices(E_by_model: Sequence[Sequence[Floats]]) -> Floats:
    """Compare the models prompt by prompt, (P, m, m); NaN where an own similarity is unknown."""
    whole = all(len(E) > 1 for own in E_by_model for E in own)
    prompts = [[[E] for E in own] for own in zip(*E_by_model, strict=True)]
    matrices = np.stack([inter_similarity(own, exclude_self=whole) for own in prompts])
    if not whole:
        diagonal = np.arange(len(E_by_model))
        matrices[:, diagonal, diagonal] = math.nan
    return matrices


def _floor(means: Floats) -> float | None:
    """Average `cross_floor` over all pairs of models."""
    found = [cross_floor(one, other) for one, other in combinations(means, 2)]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


def _prompts(
    models: list[str],
    rows: Sequence[dict[str, Any]],
    matrices: Floats,
    said: Sequence[Sequence[Phrase]],
    curves: Sequence[Floats],
) -> list[dict[str, Any]]:
    """Rank the prompts by how alike different models answer them."""
    pairs = list(combinations(range(len(models)), 2))
    across = np.stack([matrices[:, a, b] for a, b in pairs], axis=1)
    owns = np.einsum("pmm->p", matrices) / len(models)
    found = [
        {
            "id": row["id"],
            "prompt": text_of(row["prompt"]),
            "similarity": float(values.mean()),
            "own": None if math.isnan(own) else own,
            "source_overlap": float(curve[-1]),
            "closest": [models[place] for place in pairs[int(values.argmax())]],
            "phrase": phrases[0].text if phrases else None,
            "phrase_models": len(phrases[0].models) if phrases else 0,
            "phrase_answers": phrases[0].answers if phrases else 0,
        }
        for row, values, own, phrases, curve in zip(rows, across, owns, said, curves, strict=True)
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


def _mean(found: Sequence[float]) -> tuple[float, float | None]:
    values = np.array(found)
    error = float(values.std(ddof=1) / math.sqrt(values.size)) if values.size > 1 else None
    return float(values.mean()), error
