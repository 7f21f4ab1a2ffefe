"""Who answers, and how tokens are drawn, from the options of a command."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diversify.decoding import SamplingChain
    from diversify.engines import Engine, Sampling
    from diversify.engines.transformers import Decoder
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
    add(
        "--siblings",
        help="decoder that sees the other samples of a prompt, or the base model: arithmetic, "
        "repulsion, diverse-beams, stochastic-beams or routing",
    )
    add(
        "--siblings-with",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="options of the decoder, as in Python: weight=2 n=3",
    )
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
    """Load the model and put an engine around it, once everything else is known to be possible."""
    from diversify.engines.transformers import TransformersEngine
    from diversify.models import load_model

    chain = _chain(options, sampling)
    _check_siblings(options)
    model = load_model(
        options.model, revision=options.revision, dtype=options.dtype, device=options.device
    )
    decoders: list[Decoder] = []
    if chain is not None:
        decoders.append(chain.for_tokenizer(model.tokenizer))
        print(decoders[0])
    if options.siblings is not None:
        decoders.append(_siblings(options, model))
    decoder = _together(decoders)
    if check := getattr(decoder, "check_sampling", None):
        check(sampling)
    return model, TransformersEngine(model, adapter=options.adapter, decoder=decoder)


def _chain(options: argparse.Namespace, sampling: Sampling) -> SamplingChain | None:
    from diversify.decoding import SamplingChain

    if options.sampler is None:
        return None
    chain = SamplingChain.parse(options.sampler)
    chain.check_sampling(sampling)
    return chain


def _check_siblings(options: argparse.Namespace) -> None:
    from diversify.decoding.siblings import check_decoder
    from diversify.decoding.strategies import read_options

    if options.siblings is not None:
        check_decoder(options.siblings, read_options(options.siblings_with))
    elif options.siblings_with:
        raise ValueError("--siblings-with are options of --siblings, which is not given")


def _siblings(options: argparse.Namespace, model: LoadedModel) -> Decoder:
    from diversify.decoding.siblings import build_decoder
    from diversify.decoding.strategies import read_options

    given = read_options(options.siblings_with)
    return build_decoder(options.siblings, given, model=model, adapted=options.adapter is not None)


def _together(decoders: list[Decoder]) -> Decoder | None:
    from diversify.decoding.siblings import Together

    if len(decoders) < 2:
        return decoders[0] if decoders else None
    return Together(*decoders)
