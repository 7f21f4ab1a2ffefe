"""Who answers, and how tokens are drawn, from the options of a command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diversify.decoding import SamplingChain
    from diversify.engines import Engine, Sampling
    from diversify.models import LoadedModel

__all__ = ["add_engine", "add_sampling", "engine_of", "sampling_of"]


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add what says who answers; `--device` comes with `add_scoring`."""
    add = parser.add_argument
    add("--model", required=True, help="hub id, local path, adapter folder or embedded model")
    add("--adapter", help="PEFT adapter put on the model: folder or hub id")
    add("--revision", help="hub revision of the model")
    add("--dtype", default="auto", help="auto, float32, bfloat16 or float16")


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """Add how tokens are drawn."""
    add = parser.add_argument
    add("--temperature", type=float, default=1.0)
    add("--top-p", type=float, default=1.0)
    add("--top-k", type=int, default=0, help="0 keeps all tokens")
    add("--min-p", type=float)
    add("--sampler", help='all samplers in order, e.g. "temperature=0.8,top_n_sigma,xtc=0.1:0.5"')
    add("--max-tokens", type=int, default=512)
    add("--seed", type=int, default=0)


def sampling_of(options: argparse.Namespace) -> Sampling:
    """Read how tokens are drawn."""
    from diversify.engines import Sampling

    return Sampling(
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        min_p=options.min_p,
        max_tokens=options.max_tokens,
        seed=options.seed,
    )


def engine_of(options: argparse.Namespace, sampling: Sampling) -> tuple[LoadedModel, Engine]:
    """Load the model and put an engine around it."""
    from diversify.engines.transformers import TransformersEngine
    from diversify.models import load_model

    sampler = _sampler(options, sampling)
    model = load_model(
        options.model, revision=options.revision, dtype=options.dtype, device=options.device
    )
    if sampler is not None:
        sampler = sampler.for_tokenizer(model.tokenizer)
        print(sampler)
    return model, TransformersEngine(model, adapter=options.adapter, decoder=sampler)


def _sampler(options: argparse.Namespace, sampling: Sampling) -> SamplingChain | None:
    from diversify.decoding import SamplingChain

    if options.sampler is None:
        return None
    sampler = SamplingChain.parse(options.sampler)
    sampler.check_sampling(sampling)
    return sampler
