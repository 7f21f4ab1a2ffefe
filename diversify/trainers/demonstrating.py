"""Flat options of the demonstrations recipe become a strategy and a maker of examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

from datasets import Dataset

from diversify.decoding import Direct, Paraphrases, Personas, Strategy, Verbalized
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


def build_strategy(options: Any) -> Strategy:
    """Return what `options.strategy` names, with its options.

    Args:
        options: has `strategy` (`direct`, `verbalized`, `personas`, `paraphrases`), `per_call` and
            `fill` of the second, `personas` (a text file with one a line, or None for the shipped
            list), and `paraphrases`, how many.

    Raises:
        ValueError: The name is unknown, or an option is impossible.
    """
    if options.strategy == "verbalized":
        return Verbalized(options.per_call, fill=options.fill)
    if options.strategy == "personas" and options.personas:
        lines = Path(options.personas).read_text("utf-8").splitlines()
        return Personas([line.strip() for line in lines if line.strip()])
    strategies: dict[str, Callable[[], Strategy]] = {
        "direct": Direct,
        "personas": Personas,
        "paraphrases": partial(Paraphrases, options.paraphrases),
    }
    if options.strategy not in strategies:
        known = sorted([*strategies, "verbalized"])
        raise ValueError(f"strategy must be one of {known}, got {options.strategy!r}")
    return strategies[options.strategy]()


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
