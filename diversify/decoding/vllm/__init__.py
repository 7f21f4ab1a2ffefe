"""A sampling chain inside vLLM: the same steps on the same logits as in transformers.

    VLLMEngine(model, sampler=chain)

or with vLLM alone

    LLM(model, logits_processors=["diversify.decoding.vllm:ChainProcessor"])
    SamplingParams(**vllm_arguments(chain.for_tokenizer(tokenizer)), max_tokens=256)

vLLM hands unscaled logits to custom processors, before its own temperature and truncation, so the
chain does everything and the host is told to do nothing. A request may carry a code of arithmetic
sampling beside its chain (`arithmetic_code`); then the token is the one whose interval holds the
code, and siblings need nothing of each other. Over HTTP both travel in
`"vllm_xargs": {"sampling_chain": …}`. Nothing is registered as a plugin: one that a runner does not
understand would keep it from starting.

`ChainProcessor` serves both of vLLM's interfaces, that of its first model runner and that of its
second; it is made when it is first asked for, so that this package imports without vLLM.

Tried inside vLLM 0.32 on a CPU (`make test-vllm`): the tokens that are kept step by step, how often
they come, and codes, on the first model runner, and on the second, whose Triton kernels are
interpreted there. Not tried: a GPU, several processes for one model, preemption.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from diversify.decoding.vllm.processor import BASES, chain_processor
from diversify.decoding.vllm.requests import (
    CHAIN,
    CODE,
    HOST,
    PROCESSOR,
    chain_of,
    read_chain,
    vllm_arguments,
    written_chain,
)
from diversify.decoding.vllm.rows import ChainRows

__all__ = [
    "CHAIN",
    "CODE",
    "HOST",
    "PROCESSOR",
    "ChainRows",
    "chain_of",
    "read_chain",
    "vllm_arguments",
    "written_chain",
]


def __getattr__(name: str) -> Any:
    if name != "ChainProcessor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = []
    for base in BASES:
        try:
            found.append(import_module(base).LogitsProcessor)
        except ModuleNotFoundError:  # a vLLM has one of them or both
            continue
    if not found:
        raise ImportError("ChainProcessor runs inside vLLM: pip install vllm")
    globals()[name] = chain_processor(found, module=__name__)
    return globals()[name]
