"""What a benchmark protocol says of a run: one row a prompt, their means, and how it was done."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diversify import __version__
from diversify.embedders import Embedder, load_embedder
from diversify.engines import Sampling
from diversify.evaluation.generate import Run, json_line, write_atomically

SUMMARY = "summary.json"
SCORES = "scores.jsonl"
MINILM = "all-MiniLM-L6-v2"


@dataclass(frozen=True)
class ProtocolReport:
    """The scores of one run by one version of one benchmark.

    Scores of two versions of a benchmark (or of two embedders, or two judges) are never compared:
    the version is part of the name.

    Args:
        protocol: Name and version, such as `noveltybench@1.0-classifier`.
        summary: Means over prompts with their standard errors under `results`, how many prompts got
            no value under `unscored`, how many answers are blank or cut off under `answers`, how it was done under `config`, and under `departures` in
            what the run differs from what the protocol asks for.
        rows: One dictionary a prompt.
    """

    protocol: str
    summary: dict[str, Any]
    rows: list[dict[str, Any]] = field(repr=False)

    def mean(self, name: str) -> float | None:
        """Return a mean over the prompts that have a value; None if none has.

        Raises:
            ValueError: There is no such result.
        """
        results: dict[str, float | None] = self.summary["results"]
        if name not in results:
            raise ValueError(f"{self.protocol} has no result {name!r}; it has {sorted(results)}")
        return results[name]

    def save(self, folder: str | Path) -> Path:
        """Write `summary.json` and `scores.jsonl` into a folder named like the protocol.

        Args:
            folder: The run's, or another one.

        Returns:
            The path of the summary.
        """
        own = Path(folder) / self.protocol.replace("/", "-")
        own.mkdir(parents=True, exist_ok=True)
        write_atomically(own / SCORES, "".join(map(json_line, self.rows)))
        write_atomically(own / SUMMARY, json.dumps(self.summary, indent=2) + "\n")
        return own / SUMMARY


def protocol_report(
    protocol: str,
    run: Run,
    values: Sequence[Mapping[str, float | None]],
    *,
    details: Sequence[Mapping[str, Any]] | None = None,
    extra: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    departures: Sequence[str] = (),
) -> ProtocolReport:
    """Put the values of each prompt into a report, with their means.

    Args:
        protocol: Name and version.
        run: What was scored.
        values: For each row of the run its values; None where there is none.
        details: For each row what else goes into its row of the report.
        extra: Further results that are no means over prompts.
        config: How it was done: judges, embedders, thresholds.
        departures: In what the run is not as the protocol asks.

    Raises:
        ValueError: There are not as many values as rows.
    """
    details = details if details is not None else [{}] * len(run.rows)
    rows = [
        {name: row[name] for name in ("id", "prompt", "category", "model") if name in row}
        | dict(own)
        | dict(more)
        for row, own, more in zip(run.rows, values, details, strict=True)
    ]
    results: dict[str, Any] = {}
    unscored: dict[str, int] = {}
    for name in dict.fromkeys(name for own in values for name in own):
        column = [value for own in values if (value := own.get(name)) is not None]
        results[name] = float(np.mean(column)) if column else None
        results[f"{name}_stderr"] = (
            float(np.std(column, ddof=1) / math.sqrt(len(column))) if len(column) > 1 else None
        )
        if len(column) < len(values):
            unscored[name] = len(values) - len(column)
    summary = {
        "protocol": protocol,
        "run": str(run.path),
        "results": results | dict(extra or {}),
        "n_prompts": len(rows),
        "answers": count_answers(run),
        "unscored": unscored,
        "departures": list(departures),
        "config": dict(config or {}) | {"settings": run.settings},
        "versions": {"diversify": __version__},
    }
    return ProtocolReport(protocol, summary, rows)


def count_answers(run: Run) -> dict[str, int | None]:
    """Count the answers of a run, those that are blank and those that the token limit cut off.

    Both kinds look alike to a judge, so that many of them move any number of diversity.

    Args:
        run: What was generated.

    Returns:
        `number`, `blank`, and `truncated`, which is None where a row does not say.

    Example:
        >>> row = {"generations": ["a", " "], "truncated": [True, False]}
        >>> count_answers(Run(Path("x"), {}, [row]))
        {'number': 2, 'blank': 1, 'truncated': 1}
    """
    texts = [text for row in run.rows for text in row.get("generations", [])]
    flags = [row.get("truncated") for row in run.rows]
    known = [sum(map(bool, own)) for own in flags if own is not None]
    return {
        "number": len(texts),
        "blank": sum(not text.strip() for text in texts),
        "truncated": sum(known) if flags and len(known) == len(flags) else None,
    }


def departures(
    run: Run, *, samples: int, samplings: Sequence[Sampling], prompts: Sequence[int] = ()
) -> list[str]:
    """Say in what a run is not as a protocol asks: how many answers, and how they were drawn.

    Args:
        run: What was generated.
        samples: Answers that the protocol wants for each prompt.
        samplings: Any of these ways of drawing will do; their seeds do not matter.
        prompts: Any of these numbers of prompts will do; any at all if there is none.

    Example:
        >>> run = Run(Path("x"), {}, [{"generations": ["a", "b"]}])
        >>> departures(run, samples=10, samplings=[Sampling()])
        ['2 answers a prompt instead of 10', 'sampling unknown']
    """
    counts = sorted({len(row["generations"]) for row in run.rows})
    found = []
    if prompts and len(run.rows) not in prompts:
        found.append(f"{len(run.rows)} prompts instead of {' or '.join(map(str, prompts))}")
    if counts != [samples]:
        shown = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
        found.append(f"{shown} answers a prompt instead of {samples}")
    if (had := run.settings.get("sampling")) is None:
        return [*found, "sampling unknown"]
    wanted = [_differences(had, sampling) for sampling in samplings]
    nearest = min(wanted, key=len)
    found += nearest
    engine = run.settings.get("engine", {})
    found += [f"{name} {engine[name]}" for name in ("decoder", "sampler") if engine.get(name)]
    strategy = run.settings.get("strategy", {}).get("name", "direct")
    return found if strategy == "direct" else [*found, f"strategy {strategy}"]


def minilm(embedder: Embedder | None, device: str | None) -> Embedder:
    """Return the embedder of the protocols that are named after MiniLM: this one, or a fresh one.

    Raises:
        ValueError: It is another one, whose numbers would need another name.
    """
    embedder = embedder if embedder is not None else load_embedder("minilm", device=device)
    if embedder.name != MINILM:
        raise ValueError(f"the protocol is measured with {MINILM}, got {embedder.name}")
    return embedder


def _differences(had: Mapping[str, Any], sampling: Sampling) -> list[str]:
    names = ("temperature", "top_p", "top_k", "min_p", "max_tokens")
    return [
        f"{name} {had.get(name)} instead of {wanted}"
        for name in names
        if (had.get(name) or 0) != ((wanted := getattr(sampling, name)) or 0)
    ]
