"""Answers of other tools, of several runs and of several models: `import`, `merge`, `panel`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from diversify.cli.checks import at_least
from diversify.cli.parsing import add_command

__all__ = ["FORMATS", "add_import", "add_merge", "add_panel"]

FORMATS = ("auto", "lm-eval", "inspect", "noveltybench", "table")


def add_import(commands: Any) -> None:
    """Add the command that reads answers drawn elsewhere."""
    text = "make a run folder of answers that another tool drew"
    add = add_command(commands, "import", _import, text).add_argument
    add("path", help="lm-eval samples, an Inspect log, NoveltyBench rows, JSONL, CSV or parquet")
    add("--format", default="auto", choices=FORMATS)
    add("--prompt", help="column with the prompt; found by its name if not given")
    add("--response", nargs="+", help="column with the answer or answers, or several of them")
    add("--model", help="whose answers these are, or which of several in the file")
    add("--output", required=True, help="run folder to write")


def _import(options: argparse.Namespace) -> int:
    from diversify.evaluation import import_run

    response = options.response
    run = import_run(
        options.path,
        format=options.format,
        prompt=options.prompt,
        response=response[0] if response and len(response) == 1 else response,
        model=options.model,
        output=options.output,
    )
    counted = ", ".join(
        f"{value} {name}" for name, value in run.settings["imported"].items() if _is_count(value)
    )
    print(f"{len(run.rows)} prompts ({counted}) in {run.path}")
    return 0


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def add_merge(commands: Any) -> None:
    """Add the command that makes one run folder of several."""
    text = "make one run folder of several: shards, other prompts, or more samples"
    add = add_command(commands, "merge", _merge, text).add_argument
    add("runs", nargs="+", help="run folders of one recipe, finished or drawn with --shard")
    add(
        "--samples",
        action="store_true",
        help="the runs have the same prompts and other seeds: put together the answers of each prompt",
    )
    add("--output", required=True, help="run folder to write; the folder of the shards will do")


def _merge(options: argparse.Namespace) -> int:
    from diversify.evaluation import merge_runs, merge_samples

    merge = merge_samples if options.samples else merge_runs
    print(f"{merge(options.runs, options.output)} prompts in {options.output}")
    return 0


def add_panel(commands: Any) -> None:
    """Add the command that compares several models with each other."""
    text = "compare several models on the same prompts: how alike are they, and in what?"
    add = add_command(commands, "panel", _panel, text).add_argument
    add("runs", nargs="+", help="run folders, one a model, on the same prompts")
    add("--embedder", default="minilm", help="minilm, or a sentence-transformers id or path")
    add("--least-models", type=at_least(2), default=2, help="models that must share a phrase")
    add("--device", help="cpu, cuda, …; chosen if not given")
    add(
        "--resamples",
        type=at_least(1),
        default=10_000,
        help="permutations and resamples behind the echoes",
    )
    add("--seed", type=at_least(0), default=0, help="of both")
    add("--rows", type=at_least(1), default=10, help="prompts and phrases that are printed")
    add("--output", help="folder for panel.json and panel.md")


def _panel(options: argparse.Namespace) -> int:
    from diversify.embedders import load_embedder
    from diversify.evaluation import panel

    def show(stage: str, done: int, total: int) -> None:
        print(f"{stage}: {done}/{total}", file=sys.stderr)

    found = panel(
        options.runs,
        embedder=load_embedder(options.embedder, device=options.device),
        least_models=options.least_models,
        resamples=options.resamples,
        seed=options.seed,
        progress=show,
    )
    print(found.markdown(rows=options.rows))
    if options.output:
        print(found.save(options.output))
    return 0
