"""What one request to vLLM carries: a chain as JSON, and a code if its token is not drawn."""

from __future__ import annotations

import json
from dataclasses import fields
from functools import lru_cache
from typing import Any

from transformers import GenerationConfig

from diversify.decoding.chain import SamplingChain
from diversify.decoding.steps import STEPS, step_name
from diversify.engines import Sampling

__all__ = [
    "CHAIN",
    "CODE",
    "HOST",
    "PROCESSOR",
    "chain_of",
    "check_request",
    "read_chain",
    "vllm_arguments",
    "written_chain",
]

PROCESSOR = "diversify.decoding.vllm:ChainProcessor"
"""What vLLM loads: `LLM(logits_processors=[PROCESSOR])`, `vllm serve --logits-processors`."""

CHAIN = "sampling_chain"
"""Under this name of `SamplingParams.extra_args` a request carries its chain."""

CODE = "arithmetic_code"
"""Under this name it carries its code point in [0, 1), see `arithmetic_codes`."""

HOST: dict[str, float] = {
    "temperature": 1.0,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
}
"""Options of `SamplingParams` under which vLLM samples from the logits that it is given."""


def vllm_arguments(chain: SamplingChain, *, code: float | None = None) -> dict[str, Any]:
    """Return keyword arguments of vLLM's `SamplingParams` that run this chain and nothing else.

    Args:
        chain: With its token ids filled in (`for_tokenizer`), as the server has no say in them.
        code: Code point in [0, 1) of arithmetic sampling, one of `arithmetic_codes(n, offset=b)`
            for each sibling; None draws.

    Example:
        >>> arguments = vllm_arguments(SamplingChain.parse("temperature=0.7,top_n_sigma"))
        >>> arguments["temperature"], arguments["extra_args"]
        (1.0, {'sampling_chain': '[["temperature", {"temperature": 0.7}], ["top_n_sigma", {"n": 1.0}]]'})
    """
    given: dict[str, Any] = {CHAIN: written_chain(chain)}
    if code is not None:
        given[CODE] = code
    return HOST | {"extra_args": given}


def chain_of(sampling: Sampling) -> SamplingChain:
    """Return the chain that draws as `sampling` says, in the order of transformers and vLLM.

    Example:
        >>> chain_of(Sampling(temperature=0.7, min_p=0.1)).text
        'temperature=0.7,min_p=0.1'
    """
    options = {name: getattr(sampling, name) for name in ("temperature", "top_k", "top_p", "min_p")}
    config = GenerationConfig(do_sample=True, **options)  # type: ignore[no-untyped-call]
    return SamplingChain.from_generation_config(config)


def written_chain(chain: SamplingChain) -> str:
    """Return the chain as JSON, token ids included."""
    return json.dumps(
        [
            [step_name(step), {f.name: getattr(step, f.name) for f in _written_fields(step)}]
            for step in chain.steps
        ]
    )


@lru_cache(64)
def read_chain(text: str) -> SamplingChain:
    """Return the chain that `written_chain` wrote.

    Raises:
        ValueError: If it did not write this, or a step is impossible.
    """
    try:
        written = json.loads(text)
    except json.JSONDecodeError:
        written = None
    if not isinstance(written, list) or not all(map(_is_step, written)):
        raise ValueError(f"{CHAIN} must be what written_chain returns, got {text!r}")
    steps = []
    for name, options in written:
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        steps.append(STEPS[name](**given))
    return SamplingChain(steps)


def check_request(params: Any) -> None:
    """Accept a request without a chain, or with one that can be run as it stands.

    Args:
        params: vLLM's `SamplingParams`.

    Raises:
        ValueError: If the chain or the code cannot be read, or vLLM is to sample beside them.
    """
    given = getattr(params, "extra_args", None) or {}
    text, code = given.get(CHAIN), given.get(CODE)
    if text is None:
        if code is not None:
            raise ValueError(f"{CODE} needs a {CHAIN} beside it, got none; [] is plain sampling")
        return
    if not isinstance(text, str):
        raise ValueError(f"{CHAIN} must be what written_chain returns, got {text!r}")
    read_chain(text)
    said = {name: getattr(params, name, neutral) for name, neutral in HOST.items()}
    said["top_k"] = max(said["top_k"], 0)  # -1 says the same as 0
    if other := {name: value for name, value in said.items() if value != HOST[name]}:
        raise ValueError(f"a sampling chain is all there is: make {other} a step of it")
    if code is None:
        return
    if isinstance(code, bool) or not isinstance(code, (int, float)) or not 0 <= code < 1:
        raise ValueError(f"{CODE} must be a number in [0, 1), got {code!r}")
    if (n := getattr(params, "n", 1)) != 1:
        raise ValueError(f"one {CODE} is one text: send {n} requests, got n={n}")


def _is_step(written: Any) -> bool:
    match written:
        case [str(name), dict(options)] if name in STEPS:
            return options.keys() == {f.name for f in _written_fields(STEPS[name])}
    return False


def _written_fields(step: Any) -> list[Any]:
    return [f for f in fields(step) if f.init and f.repr]
