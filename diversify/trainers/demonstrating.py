"""Flat options of the demonstrations recipe become a strategy and a maker of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeAlias

from datasets import Dataset

from diversify.decoding import Strategy
from diversify.decoding.strategies import build_strategy as build_named
from diversify.decoding.strategies import read_options, strategy_parts
from diversify.demonstrations import (
    check_direct_options,
    check_spectrum_options,
    direct_examples,
    spectrum_examples,
)
from diversify.models import EMBEDDED_MODEL, embedded_model_path, load_tokenizer
from diversify.trainers.components import build_kernel, build_qualities

__all__ = ["build_examples", "build_strategy"]

Maker: TypeAlias = Callable[[Iterable[Mapping[str, Any]]], Dataset]

OF_DIRECT = ("keep", "per_prompt", "weight", "min_words", "keep_truncated", "first_sentence")
OF_SPECTRUM = ("draws", "keep_description", "max_length", "keep_truncated", "seed")
"""Options that are called alike here and there."""


OF_STRATEGIES = {
    "verbalized": {"per_call": "per_call", "fill": "fill"},
    "personas": {"personas": "personas"},
    "paraphrases": {"count": "paraphrases"},
}
"""Options of strategies that have a key of their own in a config: their name there."""


def build_strategy(options: Any, **where: Any) -> Strategy:
    """Return what `options.strategy` names, with its options.

    Args:
        options: has `strategy`, a name or several with `+` between (`STRATEGIES`); `per_call` and
            `fill` of `verbalized`, `personas` (a text file with one a line, or None for the shipped
            list), and `paraphrases`, how many; `strategy_options`, any other as `NAME=VALUE`, which
            win; and `kernel`, `quality` and `quality_model` for strategies that select.
        **where: `embedder` and `device`, for kernel and qualities.

    Raises:
        ValueError: A name is unknown, or an option is impossible.
    """
    given: dict[str, Any] = {}
    for part in strategy_parts(options.strategy):
        named = {name: getattr(options, key) for name, key in OF_STRATEGIES.get(part, {}).items()}
        given |= {name: value for name, value in named.items() if value is not None}
    reference = options.quality_model or next(iter(options.models), "")
    return build_named(
        options.strategy,
        given | read_options(options.strategy_options),
        kernel=partial(build_kernel, options.kernel, **where),
        quality=partial(build_qualities, options.quality, reference=reference, **where),
    )


def build_examples(options: Any, **where: Any) -> Maker:
    """Return what turns generation rows into the examples that `options.method` names.

    Args:
        options: has `method` (`direct` or `spectrum`) and the options of `direct_examples` or
            `spectrum_examples`; `quality`, `quality_model`, `at_least` (in the order of the
            qualities) and `kernel` by name; `tokenizer`, by default that of the first of `models`.
        **where: `embedder` and `device`, for kernel and qualities.

    Raises:
        ValueError: A name is unknown, or a number does not fit.
    """
    first = next(iter(options.models), "")
    if options.method == "spectrum":
        name = options.tokenizer or first
        if not name:
            raise ValueError("spectrum tokenizes: without models it needs the name of a tokenizer")
        source = embedded_model_path() if name == EMBEDDED_MODEL else name
        same = {option: getattr(options, option) for option in OF_SPECTRUM}
        check_spectrum_options(**{n: same[n] for n in ("draws", "keep_description", "max_length")})
        return partial(spectrum_examples, tokenizer=load_tokenizer(source), **same)
    if options.method != "direct":
        raise ValueError(f"method must be 'direct' or 'spectrum', got {options.method!r}")
    same = {option: getattr(options, option) for option in OF_DIRECT}
    check_direct_options(**{n: same[n] for n in ("keep", "per_prompt", "weight", "min_words")})
    qualities = build_qualities(options.quality, reference=options.quality_model or first, **where)
    if options.at_least and len(options.at_least) != len(qualities):
        raise ValueError(f"{[*qualities]} need one value each, got at_least={options.at_least}")
    return partial(
        direct_examples,
        kernel=build_kernel(options.kernel, **where),
        quality=qualities,
        at_least=dict(zip(qualities, options.at_least, strict=False)),
        **same,
    )
