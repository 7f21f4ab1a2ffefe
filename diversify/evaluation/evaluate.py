"""Evaluation: a run folder becomes a report. The model under test is never called."""

from __future__ import annotations

import datetime
import math
import subprocess
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diversify import __version__
from diversify.counts import NgramCounts
from diversify.engines import text_of
from diversify.evaluation.ahead import embedded_ahead
from diversify.evaluation.checks import alias_lists
from diversify.evaluation.generate import (
    Run,
    load_run,
)
from diversify.evaluation.judged import judged
from diversify.evaluation.recipe import recipe_of
from diversify.evaluation.reports import Report
from diversify.evaluation.richness import Coverage
from diversify.evaluation.runs.stored import RowSpool, StoredRows
from diversify.evaluation.valid import distinct_valid, valid_names
from diversify.kernels import EmbeddingKernel, Kernel, NgramKernel, words
from diversify.lexical import HIGHER_IS_BETTER as LEXICAL_DIRECTION
from diversify.lexical import exact_duplicate_rate, lexical_all
from diversify.measures import MEASURES, measure_all
from diversify.quality import Constraints, Quality
from diversify.rewards.monitors import MONITORS


def evaluate(
    run: Run | str | Path,
    *,
    embedder: Callable[[list[str]], Any] | None = None,
    measures: Mapping[str, Callable[[NDArray[np.float64]], float]] | None = None,
    quality: Sequence[Quality] = (),
    kernels: Sequence[Kernel] | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Score the answers of a run: diversity by every measure and kernel, quality, hygiene.

    Args:
        run: a run folder, its path, or a bare generations file.
        embedder: texts -> unit rows; gives the semantic kernel. None scores lexically only.
        measures: name -> function of a similarity matrix; all of `MEASURES` by default.
        quality: scorers, each higher = better. Columns of the run's rows (`answers`, …) reach them.
        kernels: which similarities to use; by default the embedder's cosine and `NgramKernel(2)`,
            so that one kernel that was trained on always has a lexical witness beside it.
        progress: called as `("diversity", prompts done, prompts in all)`.

    Returns:
        A `Report`; `save` writes it. Nothing is written here.

    Raises:
        ValueError: the run is unfinished or malformed, or there is no kernel at all.
    """
    run = run if isinstance(run, Run) else load_run(run)
    measures = MEASURES if measures is None else measures
    if kernels is None:
        kernels = [EmbeddingKernel(embedder)] if embedder is not None else []
        kernels = [*kernels, NgramKernel(2)]
    if not kernels or not measures:
        raise ValueError("evaluate needs at least one kernel and one measure")
    started = datetime.datetime.now(datetime.UTC)
    constraints = next((scorer for scorer in quality if isinstance(scorer, Constraints)), None)
    spool = RowSpool()
    scored = zip(embedded_ahead(run.rows, kernels), judged(run.rows, quality), strict=True)
    for (row, prepared), qualities in scored:
        spool.append(_diversity_of(row, prepared, measures, constraints, qualities))
        if progress:
            progress("diversity", len(spool), len(run.rows))
    samples = spool.rows()
    summary = _summary(run, samples, kernels, measures, quality, started)
    return Report(summary, samples)


def _diversity_of(
    row: dict[str, Any],
    kernels: Sequence[Kernel],
    measures: Mapping[str, Callable[[NDArray[np.float64]], float]],
    constraints: Constraints | None,
    qualities: dict[str, Any],
) -> dict[str, Any]:
    texts: list[str] = row["generations"]
    if row.get("answers") and not alias_lists(row["answers"]):
        raise ValueError(
            f"prompt {row['id']!r}: 'answers' are lists of aliases, got {row['answers']!r:.60}"
        )
    scores: dict[str, float | None] = {}
    matrices = []
    # One count of the words of a prompt's answers serves every number that is made of them.
    counts = NgramCounts([words(text) for text in texts])
    for kernel in kernels:
        if isinstance(kernel, NgramKernel) and kernel.tokenize is words:
            similarity = kernel.of_counts(counts)
        else:
            similarity = kernel(texts)
        matrices.append(similarity)
        try:
            found = measure_all(similarity, measures)
            if wrong := [name for name, value in found.items() if not math.isfinite(value)]:
                raise ValueError(f"{wrong[0]} by {kernel.name} is {found[wrong[0]]}, no number")
        except ValueError as error:
            raise ValueError(f"prompt {row['id']!r}, {len(texts)} answers: {error}") from error
        scores |= {f"{name},{kernel.name}": value for name, value in found.items()}
    for name, value in lexical_all(texts, counts=counts).items():
        scores[f"{name},words"] = value
    similarities = {kernel.name: S for kernel, S in zip(kernels, matrices, strict=True)}
    for name, value in distinct_valid(row, similarities, constraints=constraints).items():
        scores[f"distinct_valid,{name}"] = value
    coverages = {name: m for name, m in measures.items() if isinstance(m, Coverage)}
    named = valid_names(row, constraints=constraints) if coverages else None
    if named is not None:
        for name, coverage in coverages.items():
            scores[f"{name},answers"] = coverage.of_answers(named)
    sample = {name: row[name] for name in ("id", "prompt", "category", "group") if name in row}
    return sample | {
        "generations": texts,
        "measures": scores,
        **qualities,
        "monitors": _monitors_of(row),
        # Two digits are all that a heat map shows.
        "similarity": np.round(matrices[0], 2).tolist(),
    }


def _monitors_of(row: dict[str, Any]) -> dict[str, float | None]:
    texts: list[str] = row["generations"]
    prompt = text_of(row["prompt"])
    found: dict[str, float | None] = {
        name: float(np.mean([monitor(prompt, text) for text in texts]))
        for name, monitor in MONITORS.items()
    }
    found["exact_duplicates"] = float(exact_duplicate_rate(texts))
    truncated = row.get("truncated")
    found["truncated"] = float(np.mean(truncated)) if truncated else None
    return found


def _summary(
    run: Run,
    samples: StoredRows,
    kernels: Sequence[Kernel],
    measures: Mapping[str, Any],
    quality: Sequence[Quality],
    started: datetime.datetime,
) -> dict[str, Any]:
    settings = run.settings
    name = settings.get("prompts", {}).get("name", run.path.stem)
    results: dict[str, float | None] = {}
    unscored = {}
    report = Report({}, samples)
    for section in ("measures", "qualities", "monitors"):
        for key in report.names(section):
            found = report.column(section, key)
            values = found[~np.isnan(found)]
            results[_key(section, key)] = float(values.mean()) if values.size else None
            results[_stderr_key(section, key)] = (
                float(values.std(ddof=1) / math.sqrt(values.size)) if values.size > 1 else None
            )
            if values.size < len(found):
                unscored[key] = len(found) - int(values.size)
    return {
        "results": {name: results},
        "higher_is_better": {
            name: {_key("measures", key): _higher(key) for key in report.names("measures")}
            | {_key("qualities", scorer.name): True for scorer in quality}
        },
        "n-samples": {
            name: {
                "original": settings.get("prompts", {}).get("n", len(samples)),
                "effective": len(samples),
                "unscored": unscored,
            }
        },
        "versions": {
            "diversify": __version__,
            name: settings.get("prompts", {}).get("version", "unknown"),
        }
        | {package: version(package) for package in ("numpy", "scipy")},
        "config": {
            "label": run_label(run),
            "run": str(run.path),
            "settings": settings,
            "recipe": recipe_of(run, kernels, measures, quality),
            "qualities": {
                scorer.name: {"margin": scorer.margin, "two_sided": scorer.two_sided}
                for scorer in quality
            },
        },
        "git_hash": _git_hash(),
        "date": started.timestamp(),
        "total_evaluation_time_seconds": (
            datetime.datetime.now(datetime.UTC) - started
        ).total_seconds(),
    }


def _key(section: str, key: str) -> str:
    return (
        key
        if section == "measures"
        else f"{key},{'quality' if section == 'qualities' else 'monitor'}"
    )


def _stderr_key(section: str, key: str) -> str:
    name, _, rest = _key(section, key).partition(",")
    return f"{name}_stderr,{rest}"


def _higher(key: str) -> bool:
    return LEXICAL_DIRECTION.get(key.partition(",")[0], True)


def run_label(run: Run) -> str:
    """Name a run for tables: model, adapter, strategy and temperature, as far as it says them."""
    settings = run.settings
    engine, sampling = settings.get("engine", {}), settings.get("sampling", {})
    parts = [Path(str(engine.get("model") or run.path.stem)).name]
    if engine.get("adapter"):
        parts.append(f"+ {Path(str(engine['adapter'])).name}")
    strategy = settings.get("strategy", {}).get("name", "")
    if strategy and strategy != "direct":
        parts.append(f"· {strategy}")
    if sampling.get("temperature") is not None:  # what was imported need not say
        parts.append(f"· T {sampling['temperature']:g}")
    return " ".join(parts)


def _git_hash() -> str | None:
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return found.stdout.strip() or None
