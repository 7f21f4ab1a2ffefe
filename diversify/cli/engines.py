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
    add(
        "--model",
        required=True,
        help="hub id, local path, adapter folder or embedded model; its name on the server",
    )
    add("--engine", choices=("transformers", "vllm", "openai"), default="transformers")
    add("--adapter", help="PEFT adapter put on the model: folder or hub id")
    add("--revision", help="hub revision of the model")
    add("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    add("--base-url", help="openai: address of an OpenAI-compatible server, up to /v1")
    add(
        "--flavour",
        default="standard",
        choices=("standard", "openai", "extended", "transformers"),
        help="openai: the fields that the server knows; extended has top_k and min_p (vLLM, SGLang, "
        "llama.cpp)",
    )
    add(
        "--leave-out",
        nargs="+",
        default=[],
        metavar="FIELD",
        help="openai: fields that the server refuses, of temperature, top_p, max_tokens, seed",
    )
    add("--concurrency", type=int, default=8, help="openai: requests under way at once")


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


def engine_of(
    options: argparse.Namespace, sampling: Sampling, *, cache: bool = True
) -> tuple[LoadedModel | None, Engine]:
    """Make the engine, once everything else is known to be possible.

    Args:
        options: what the command was given.
        sampling: how tokens will be drawn.
        cache: whether answers of a server are kept.

    Returns:
        The model where it was loaded into this process, and the engine.

    Raises:
        ValueError: options go with another engine, or are impossible.
    """
    chain = _chain(options, sampling)
    _check_siblings(options)
    if options.engine != "openai" and options.base_url is not None:
        raise ValueError(f"--base-url goes with --engine openai, not with {options.engine}")
    if options.engine == "openai":
        return None, _server(options, cache)
    if options.engine == "vllm":
        return None, _vllm(options, chain)
    return _transformers(options, sampling, chain)


def _server(options: argparse.Namespace, cache: bool) -> Engine:
    from diversify.engines.openai import OpenAIEngine

    local = ("adapter", "revision", "sampler", "siblings")
    if given := [f"--{name}" for name in local if getattr(options, name) is not None]:
        raise ValueError(f"{', '.join(given)}: the model and its sampler are on the server")
    if options.base_url is None:
        raise ValueError("--engine openai needs --base-url, such as http://localhost:8000/v1")
    return OpenAIEngine(
        options.model,
        base_url=options.base_url,
        flavour=options.flavour,
        leave_out=options.leave_out,
        concurrency=options.concurrency,
        cache=cache,
    )


def _vllm(options: argparse.Namespace, chain: SamplingChain | None) -> Engine:
    from diversify.decoding.siblings import ArithmeticSampling
    from diversify.engines.vllm import VLLMEngine

    if options.siblings not in (None, "arithmetic") or (options.siblings and chain):
        raise ValueError("in vLLM there is --sampler or --siblings arithmetic, and not both")
    if options.siblings_with:
        raise ValueError("arithmetic sampling has no options in vLLM")
    return VLLMEngine(
        options.model,
        adapter=options.adapter,
        revision=options.revision,
        dtype=options.dtype,
        sampler=ArithmeticSampling() if options.siblings else chain,
    )


def _transformers(
    options: argparse.Namespace, sampling: Sampling, chain: SamplingChain | None
) -> tuple[LoadedModel, Engine]:
    from diversify.engines.transformers import TransformersEngine
    from diversify.models import load_model

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
