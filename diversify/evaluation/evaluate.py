"""Evaluation: a run folder becomes a report. The model under test is never called."""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import math
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diversify import __version__
from diversify.counts import NgramCounts
from diversify.engines import text_of
from diversify.evaluation.ahead import embedded_ahead
from diversify.evaluation.generate import (
    Run,
    json_line,
    load_run,
    write_atomically,
)
from diversify.evaluation.recipe import RECIPE_FIELDS, recipe_of
from diversify.evaluation.richness import Coverage
from diversify.evaluation.runs.checks import alias_lists, check_ids, check_sample, check_summary
from diversify.evaluation.valid import distinct_valid, valid_names
from diversify.kernels import EmbeddingKernel, Kernel, NgramKernel, words
from diversify.lexical import HIGHER_IS_BETTER as LEXICAL_DIRECTION
from diversify.lexical import exact_duplicate_rate, lexical_all
from diversify.measures import MEASURES, measure_all
from diversify.quality import Constraints, Quality
from diversify.reading import read_json, read_jsonl, read_text
from diversify.rewards.monitors import MONITORS

logger = logging.getLogger(__name__)

REPORT = "report.json"
SAMPLES = "samples.jsonl"
SAMPLES_DIGEST = "samples_sha256"


@dataclass(frozen=True)
class Report:
    """The scores of one run with everything needed to read and to repeat them.

    Args:
        summary: the content of `report.json`, shaped like lm-eval's results.
        samples: one dictionary a prompt: id, prompt, generations, and the value of every measure,
            quality and monitor (None where it could not be scored).
    """

    summary: dict[str, Any]
    samples: list[dict[str, Any]] = field(repr=False)

    @property
    def recipe(self) -> dict[str, Any]:
        """What must be equal in two reports that are compared."""
        return {name: self.summary["config"]["recipe"].get(name) for name in RECIPE_FIELDS}

    @property
    def label(self) -> str:
        """A short name for tables: model, adapter, strategy and temperature."""
        return str(self.summary["config"]["label"])

    def names(self, section: str) -> list[str]:
        """Return the names in `measures`, `qualities` or `monitors`, of all prompts together."""
        return list(dict.fromkeys(name for sample in self.samples for name in sample[section]))

    def ordered(self, ids: Sequence[str]) -> Report:
        """Return the report with its prompts in this order.

        Raises:
            ValueError: these are not the ids of the report.
        """
        found = {sample["id"]: sample for sample in self.samples}
        if lonely := sorted(set(ids) ^ set(found)):
            raise ValueError(f"the reports hold different prompts, for instance {lonely[:3]}")
        return Report(self.summary, [found[name] for name in ids])

    def column(self, section: str, name: str) -> NDArray[np.float64]:
        """Return one value a prompt, NaN where there is none, in the order of `samples`."""
        values = [sample[section].get(name) for sample in self.samples]
        return np.array([math.nan if value is None else value for value in values])

    def save(self, folder: str | Path) -> Path:
        """Write `report.json` and `samples.jsonl` into a folder and return the report's path."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        lines = "".join(map(json_line, self.samples))
        # Two files cannot be replaced in one step: by this a reader sees that they belong together.
        summary = self.summary | {SAMPLES_DIGEST: _digest(lines)}
        write_atomically(folder / SAMPLES, lines)
        write_atomically(folder / REPORT, json.dumps(summary, indent=2) + "\n")
        return folder / REPORT


def load_report(path: str | Path) -> Report:
    """Read a saved report from its folder or its `report.json`.

    Raises:
        ValueError: there is no report, it is not one of ours, it is malformed, or its two files
            are of different evaluations.
    """
    path = Path(path)
    file = path if path.suffix == ".json" else path / REPORT
    if not file.is_file():
        raise ValueError(f"{path} holds no {REPORT}: run `diversify evaluate {path}` first")
    summary = read_json(file)
    check_summary(summary, str(file))
    beside = file.parent / SAMPLES
    if not beside.is_file():
        raise ValueError(f"{file} has no {SAMPLES} beside it")
    lines = read_text(beside)
    if summary.pop(SAMPLES_DIGEST, _digest(lines)) != _digest(lines):
        raise ValueError(
            f"{file} and {SAMPLES} beside it are not of one evaluation: evaluate the run again"
        )
    (higher,) = summary["higher_is_better"].values()
    samples = read_jsonl(lines, str(beside))
    for number, row in samples:
        check_sample(row, higher, f"{beside}, line {number}")
    check_ids((row["id"] for _, row in samples), str(beside))
    if not samples:
        raise ValueError(f"{beside} holds no rows")
    return Report(summary, [row for _, row in samples])


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


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
        progress: called as `(stage, done, total)`.

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
    samples = []
    constraints = next((scorer for scorer in quality if isinstance(scorer, Constraints)), None)
    for row, prepared in embedded_ahead(run.rows, kernels):
        samples.append(_diversity_of(row, prepared, measures, constraints))
        if progress:
            progress("diversity", len(samples), len(run.rows))
    for number, scorer in enumerate(quality):
        _add_quality(samples, run.rows, scorer)
        if progress:
            progress(scorer.name, number + 1, len(quality))
    summary = _summary(run, samples, kernels, measures, quality, started)
    return Report(summary, samples)


def _diversity_of(
    row: dict[str, Any],
    kernels: Sequence[Kernel],
    measures: Mapping[str, Callable[[NDArray[np.float64]], float]],
    constraints: Constraints | None,
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
        for name, value in measure_all(similarity, measures).items():
            scores[f"{name},{kernel.name}"] = value
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
        "qualities": {},
        "quality_values": {},
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


def _add_quality(
    samples: list[dict[str, Any]], rows: list[dict[str, Any]], scorer: Quality
) -> None:
    """Score every answer of the run in one call, so that the scorer can batch as it likes."""
    counts = [len(row["generations"]) for row in rows]
    prompts = [row["prompt"] for row, count in zip(rows, counts, strict=True) for _ in range(count)]
    texts = [text for row in rows for text in row["generations"]]
    names = set().union(*rows) - {"prompt", "generations", "details", "config", "key", "truncated"}
    columns = {
        name: [row.get(name) for row, count in zip(rows, counts, strict=True) for _ in range(count)]
        for name in names
    }
    values = scorer(prompts, texts, **columns)
    if len(values) != len(texts):
        raise ValueError(f"{scorer.name} gave {len(values)} values for {len(texts)} answers")
    start = 0
    for sample, count in zip(samples, counts, strict=True):
        own = values[start : start + count]
        start += count
        scored = [value for value in own if value is not None]
        sample["qualities"][scorer.name] = float(np.mean(scored)) if scored else None
        sample["quality_values"][scorer.name] = [
            None if value is None else round(float(value), 4) for value in own
        ]


def _summary(
    run: Run,
    samples: list[dict[str, Any]],
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
            found = [sample[section].get(key) for sample in samples]
            values = np.array([value for value in found if value is not None])
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
