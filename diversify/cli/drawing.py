"""Answers to one prompt or to many: `answers` and `generate`."""

from __future__ import annotations

import argparse
from typing import Any

from diversify.cli.engines import add_engine, add_sampling, engine_of, sampling_of
from diversify.cli.parsing import add_command
from diversify.cli.processes import add_shard, check_engine, device_of, shard_of
from diversify.cli.protocols import add_settings
from diversify.cli.scoring import add_scoring
from diversify.cli.strategies import add_strategy, check_strategy, strategy_of
from diversify.cli.tables import progress_line

__all__ = ["add_answers", "add_generate"]


def add_answers(commands: Any) -> None:
    """Add the command that answers one prompt."""
    text = "give different good answers to one prompt, with what was tried, kept and dropped"
    parser = add_command(commands, "answers", _answers, text)
    parser.add_argument("prompt", help="what to ask")
    _add_drawing(parser, samples=5, strategy="over-generate")
    parser.set_defaults(quality="auto")


def _answers(options: argparse.Namespace) -> int:
    from diversify.decoding import different

    sampling = sampling_of(options)
    check_strategy(options)
    model, engine = engine_of(options, sampling)
    strategy = strategy_of(options, model)
    found = different(
        options.prompt, options.samples, model=engine, strategy=strategy, sampling=sampling
    )
    for number, text in enumerate(found, start=1):
        print(f"{number}. {text}\n")
    print(found.table())
    return 0


def add_generate(commands: Any) -> None:
    """Add the command that answers a set of prompts."""
    parser = add_command(commands, "generate", _generate, "draw answers into a run folder")
    add_settings(parser)
    add = parser.add_argument
    add("--prompts", default="open-ended", help="prompt set or file (see `diversify prompts`)")
    add("--column", default="prompt", help="column of a prompt file that holds the prompt")
    add("--split", help="train or test; all rows if not given")
    add("--limit", type=int, help="at most so many prompts, spread over the set")
    _add_drawing(parser, samples=16, strategy="direct")
    add(
        "--at-once",
        type=int,
        default=1,
        help="prompts handed over together: faster on vLLM and servers; a kill loses up to as many",
    )
    add_shard(parser)
    add("--output", required=True, help="run folder; an interrupted run is continued")


def _generate(options: argparse.Namespace) -> int:
    from diversify.evaluation import draw_rows, load_prompts

    # Options are checked before a model is loaded: a typo must not cost a minute.
    prompts = load_prompts(
        options.prompts, split=options.split, column=options.column, limit=options.limit
    )
    sampling = sampling_of(options)
    shard = shard_of(options)
    check_strategy(options)
    check_engine(options)
    options.device = device_of(options)
    model, engine = engine_of(options, sampling)
    missing = draw_rows(
        engine,
        prompts,
        options.samples,
        strategy=strategy_of(options, model),
        sampling=sampling,
        output=options.output,
        at_once=options.at_once,
        shard=shard,
        progress=progress_line(),
    )
    if missing:
        print(f"share {shard} is done; {missing} of {len(prompts)} prompts are left to the others")
    else:
        print(f"{len(prompts)} prompts, {options.samples} answers each, in {options.output}")
    return 0


def _add_drawing(parser: argparse.ArgumentParser, *, samples: int, strategy: str) -> None:
    add_engine(parser)
    parser.add_argument("--samples", type=int, default=samples, help="answers a prompt")
    add_strategy(parser, strategy)
    add_scoring(parser)
    add_sampling(parser)
