"""A sampling chain inside vLLM: the same steps on the same logits as in transformers.

    LLM(model, logits_processors=["diversify.decoding.vllm:ChainProcessor"])
    SamplingParams(**vllm_arguments(chain.for_tokenizer(tokenizer)), max_tokens=256)

vLLM hands unscaled logits to custom processors, before its own temperature and truncation, so the
chain does everything and the host is told to do nothing. `ChainProcessor` serves both of vLLM's
interfaces, that of its first model runner and that of its second; it is made when it is first asked
for, so that this module imports without vLLM. Over HTTP the chain travels as
`"vllm_xargs": {"sampling_chain": …}`. Nothing is registered as a plugin: one that a runner does not
understand would keep it from starting.

What was tried are stand-ins of the two interfaces, and not vLLM itself.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList

from diversify.decoding.chain import SamplingChain
from diversify.decoding.steps import STEPS, step_name
from diversify.decoding.warpers.choice import XTC
from diversify.decoding.warpers.history import DRY, Mirostat2

__all__ = ["CHAIN", "HOST", "ChainRows", "read_chain", "vllm_arguments", "written_chain"]

CHAIN = "sampling_chain"
"""Under this name of `SamplingParams.extra_args` a request carries its chain."""

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

BASES = (
    "vllm.v1.worker.gpu.sample.logits_processor",  # the second model runner
    "vllm.v1.sample.logits_processor",  # the first
)


def vllm_arguments(chain: SamplingChain) -> dict[str, Any]:
    """Return keyword arguments of vLLM's `SamplingParams` that run this chain and nothing else.

    Args:
        chain: With its token ids filled in (`for_tokenizer`), as the server has no say in them.

    Example:
        >>> arguments = vllm_arguments(SamplingChain.parse("temperature=0.7,top_n_sigma"))
        >>> arguments["temperature"], arguments["extra_args"]
        (1.0, {'sampling_chain': '[["temperature", {"temperature": 0.7}], ["top_n_sigma", {"n": 1.0}]]'})
    """
    return HOST | {"extra_args": {CHAIN: written_chain(chain)}}


def written_chain(chain: SamplingChain) -> str:
    """Return the chain as JSON, token ids included."""
    return json.dumps(
        [
            [step_name(step), {f.name: getattr(step, f.name) for f in _written_fields(step)}]
            for step in chain.steps
        ]
    )


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


def _is_step(written: Any) -> bool:
    match written:
        case [str(name), dict(options)] if name in STEPS:
            return options.keys() == {f.name for f in _written_fields(STEPS[name])}
    return False


def _written_fields(step: Any) -> list[Any]:
    return [f for f in fields(step) if f.init and f.repr]


@dataclass
class _Request:
    """One running request: its chain, and processors of its own where they have a memory."""

    text: str
    processors: LogitsProcessorList
    alone: bool
    """Whether its row goes through the chain by itself, with its own history."""


class ChainRows:
    """The chains of the requests that a server is running, by the slot that a request sits in.

    Rows with the same chain go through it together. Rows whose chain remembers something (XTC's
    coins, DRY's text, mirostat's state) go one by one, which costs a server with many of them.
    """

    def __init__(self) -> None:
        self._requests: dict[int, _Request] = {}

    def put(self, slot: int, params: Any) -> bool:
        """Take a new request into a slot, whatever was in it; return whether it has a chain."""
        self._requests.pop(slot, None)
        text = (getattr(params, "extra_args", None) or {}).get(CHAIN)
        if text is None:
            return False
        chain = read_chain(text)
        alone = any(isinstance(step, (XTC, DRY, Mirostat2)) for step in chain.steps)
        coins = torch.Generator()
        # Children of one request with n > 1 differ in their seeds.
        seed = getattr(params, "seed", None)
        coins.seed() if seed is None else coins.manual_seed(seed)
        steps = (replace(s, generator=coins) if isinstance(s, XTC) else s for s in chain.steps)
        processors = SamplingChain(list(steps)).logits_processors()
        self._requests[slot] = _Request(text, processors, alone)
        return True

    def drop(self, slot: int) -> None:
        """Forget the request of a slot."""
        self._requests.pop(slot, None)

    def move(self, slot: int, to: int, *, swap: bool) -> None:
        """Move a request to another slot, and back what sits there if they swap."""
        moved, other = self._requests.pop(slot, None), self._requests.pop(to, None)
        if moved is not None:
            self._requests[to] = moved
        if swap and other is not None:
            self._requests[slot] = other

    def apply(
        self, logits: Tensor, slots: Iterable[int], history: Callable[[int], Tensor]
    ) -> Tensor:
        """Run every row's chain on its logits, in place.

        Args:
            logits: Logits (rows, vocabulary).
            slots: Slot of each row's request.
            history: `row -> its tokens so far (length,)`.
        """
        together: dict[str, list[int]] = {}
        processors: dict[str, LogitsProcessorList] = {}
        for row, slot in enumerate(slots):
            request = self._requests.get(slot)
            if request is None:
                continue
            if request.alone:
                ids = history(row).to(logits.device).unsqueeze(0)
                logits[row] = request.processors(ids, logits[row : row + 1])[0]  # type: ignore[arg-type]
            else:
                together.setdefault(request.text, []).append(row)
                processors[request.text] = request.processors
        for text, rows in together.items():
            nothing = torch.empty((len(rows), 0), dtype=torch.long, device=logits.device)
            logits[rows] = processors[text](nothing, logits[rows])  # type: ignore[arg-type]
        return logits


class _ChainProcessor:
    """What vLLM calls: `update_state` and `apply` of one interface, `add_request` of the other."""

    def __init__(self, vllm_config: Any, host: Any, is_pin_memory: bool | None = None) -> None:
        # The second runner hands over its buffers here, the first one a device.
        self._buffers = host if is_pin_memory is None else None
        self._rows = ChainRows()
        self._tokens: dict[int, tuple[list[int], list[int]]] = {}
        if getattr(vllm_config, "speculative_config", None) is not None:
            raise ValueError("a sampling chain does not go with speculative decoding")

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        """Refuse a request whose chain cannot be read, or that wants something beside it."""
        text = (getattr(sampling_params, "extra_args", None) or {}).get(CHAIN)
        if text is None:
            return
        read_chain(text)
        said = {name: getattr(sampling_params, name, neutral) for name, neutral in HOST.items()}
        said["top_k"] = max(said["top_k"], 0)  # -1 says the same as 0
        if other := {name: value for name, value in said.items() if value != HOST[name]}:
            raise ValueError(f"a sampling chain is all there is: make {other} a step of it")

    def is_argmax_invariant(self) -> bool:
        """Say that a chain may change what is likeliest, so that it runs before all else."""
        return False

    def update_state(self, batch_update: Any) -> None:
        """Follow the first runner's batch: who left, who came, who changed places."""
        if batch_update is None:
            return
        for index in batch_update.removed:
            self._rows.drop(index)
            self._tokens.pop(index, None)
        for index, params, prompt, output in batch_update.added:
            self._rows.put(index, params)
            self._tokens[index] = (prompt or [], output)
        for index, to, direction in batch_update.moved:
            swap = direction.name == "SWAP"
            self._rows.move(index, to, swap=swap)
            moved, other = self._tokens.pop(index, None), self._tokens.pop(to, None)
            if moved is not None:
                self._tokens[to] = moved
            if swap and other is not None:
                self._tokens[index] = other

    def add_request(self, req_idx: int, sampling_params: Any) -> bool:
        """Take a request into a slot of the second runner."""
        return self._rows.put(req_idx, sampling_params)

    def apply_staged_writes(self) -> None:
        """Have nothing to flush."""

    def apply(self, logits: Tensor, ctx: Any = None) -> Tensor:
        """Run the chains on the logits of a step, in place."""
        if ctx is None:
            return self._rows.apply(logits, range(len(logits)), self._listed)
        slots = ctx.idx_mapping_np.tolist()
        if len(slots) != len(logits):
            raise ValueError("a sampling chain does not go with speculative decoding")
        lengths = ctx.seq_lens_upper_bound_np.tolist()  # exact without speculative decoding
        tokens = self._buffers.all_token_ids.gpu  # type: ignore[union-attr]
        return self._rows.apply(
            logits, slots, lambda row: tokens[slots[row], : lengths[row]].long()
        )

    def _listed(self, row: int) -> Tensor:
        prompt, output = self._tokens[row]
        ids = [*prompt, *output]
        if min(ids, default=0) < 0:
            raise ValueError("the tokens drawn last are not there: switch async scheduling off")
        return torch.tensor(ids, dtype=torch.long)


def _chain_processor(modules: Mapping[str, Any]) -> type[Any]:
    bases = [module.LogitsProcessor for module in modules.values()]
    named = {"__doc__": _ChainProcessor.__doc__, "__module__": __name__}
    return type("ChainProcessor", (_ChainProcessor, *bases), named)


def __getattr__(name: str) -> Any:
    if name != "ChainProcessor":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = {}
    for base in BASES:
        try:
            found[base] = importlib.import_module(base)
        except ModuleNotFoundError:  # a vLLM has one of them or both
            continue
    if not found:
        raise ImportError("ChainProcessor runs inside vLLM: pip install vllm")
    globals()[name] = _chain_processor(found)
    return globals()[name]
