"""How answers are asked for, from the options of a command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from diversify.cli.scoring import qualities_of

if TYPE_CHECKING:
    from diversify.decoding import Strategy
    from diversify.kernels import Kernel
    from diversify.models import LoadedModel
    from diversify.quality import Quality

__all__ = [
    "STRATEGIES",
    "add_strategy",
    "check_strategy",
    "gate_of",
    "kernel_of",
    "strategy_of",
    "strategy_options",
]

STRATEGIES = (
    *("direct", "in-context", "verbalized", "stratified", "titles-first", "diverge"),
    *("specifications", "personas", "paraphrases", "over-generate", "until-seen", "g2"),
)


def add_strategy(parser: argparse.ArgumentParser, default: str) -> None:
    """Add how answers are asked for."""
    add = parser.add_argument
    add(
        "--strategy",
        type=_strategy_name,
        default=default,
        help=f"how the answers are asked for: {', '.join(STRATEGIES)}; over-generate, until-seen and "
        "diverge go around another: over-generate+stratified",
    )
    add(
        "--with",
        dest="strategy_options",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="options of the strategy, as in Python: per_call=10 variant=cot; lists that cannot be "
        "read are filled up plainly unless fill=false",
    )
    add("--factor", type=float, help="over-generate: candidates per answer kept (4)")


def _strategy_name(text: str) -> str:
    from diversify.decoding.strategies import strategy_parts

    try:
        strategy_parts(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def check_strategy(options: argparse.Namespace) -> None:
    """Refuse impossible options of a strategy, before anything is loaded."""
    from diversify.decoding import build_strategy
    from diversify.decoding.strategies import strategy_parts
    from diversify.kernels import NgramKernel

    build_strategy(options.strategy, strategy_options(options), kernel=NgramKernel)
    if options.quality not in ("", "auto", "own"):
        if "over-generate" not in strategy_parts(options.strategy):
            raise ValueError(f"--quality goes with over-generate, not with {options.strategy}")
        if "relevance_rank" in options.quality.split(","):
            raise ValueError(
                "relevance_rank compares with other prompts, and a gate sees one at a time: take "
                "relevance or information"
            )
        qualities_of(options)
    elif options.constraint:
        raise ValueError("--constraint goes with the quality constraints or all_constraints")


def strategy_of(options: argparse.Namespace, model: LoadedModel | None) -> Strategy:
    """Build the strategy that was asked for.

    Args:
        options: what the command was given.
        model: the one that answers, where it can judge its own answers.
    """
    from diversify.decoding import build_strategy

    return build_strategy(
        options.strategy,
        strategy_options(options),
        kernel=lambda: kernel_of(options),
        quality=lambda: gate_of(options, model),
    )


def kernel_of(options: argparse.Namespace) -> Kernel:
    """Build what tells answers apart."""
    from diversify.embedders import load_embedder
    from diversify.kernels import EmbeddingKernel, NgramKernel

    if options.embedder == "none":
        return NgramKernel()
    return EmbeddingKernel(load_embedder(options.embedder, device=options.device))


def gate_of(options: argparse.Namespace, model: LoadedModel | None) -> dict[str, Quality]:
    """Build the qualities that a strategy gates on.

    Raises:
        ValueError: the model is to judge its own answers, and is not in this process.
    """
    from diversify.quality import PromptInformation, ReferenceLikelihood

    if options.quality not in ("auto", "own"):
        return qualities_of(options)
    if model is None:
        if options.quality == "own":
            raise ValueError(f"--quality own needs --engine transformers, got {options.engine}")
        return {}
    own = PromptInformation(ReferenceLikelihood(model))
    return {own.name: own}


def strategy_options(options: argparse.Namespace) -> dict[str, Any]:
    """Read the options of the strategy."""
    from diversify.decoding.strategies import read_options, strategy_parts

    given: dict[str, Any] = {}
    if "verbalized" in strategy_parts(options.strategy):
        given["fill"] = True  # a run folder has no place for prompts without answers
    if options.factor is not None:
        given["factor"] = options.factor
    return given | read_options(options.strategy_options)
