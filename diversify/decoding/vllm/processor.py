"""The class that vLLM loads: one for the interfaces of both of its model runners."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diversify.decoding.vllm.requests import check_request
from diversify.decoding.vllm.rows import ChainRows

__all__ = ["BASES", "chain_processor"]

BASES = (
    "vllm.v1.worker.gpu.sample.logits_processor",  # the second model runner
    "vllm.v1.sample.logits_processor",  # the first
)


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
        check_request(sampling_params)

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
            return self._rows.apply(
                logits,
                range(len(logits)),
                history=self._listed,
                written=lambda row: len(self._tokens[row][1]),
            )
        return self._apply_slots(logits, ctx)

    def _apply_slots(self, logits: Tensor, ctx: Any) -> Tensor:
        states: Any = self._buffers
        slots = ctx.idx_mapping_np.tolist()
        if len(slots) != len(logits):
            raise ValueError("a sampling chain does not go with speculative decoding")
        lengths = ctx.seq_lens_upper_bound_np.tolist()  # exact without speculative decoding
        prompts = states.prompt_len.np[slots].tolist()
        to_read = states.prefill_len.np[slots].tolist()
        tokens = states.all_token_ids.gpu
        return self._rows.apply(
            logits,
            [
                slot if length >= needed else None  # a part of the prompt: no token is taken
                for slot, length, needed in zip(slots, lengths, to_read, strict=True)
            ],
            history=lambda row: tokens[slots[row], : lengths[row]].long(),
            written=lambda row: lengths[row] - prompts[row],
        )

    def _listed(self, row: int) -> Tensor:
        prompt, output = self._tokens[row]
        ids = [*prompt, *output]
        if min(ids, default=0) < 0:
            raise ValueError("the tokens drawn last are not there: switch async scheduling off")
        return torch.tensor(ids, dtype=torch.long)


def chain_processor(bases: Sequence[type[Any]], *, module: str) -> type[Any]:
    """Return the class that vLLM loads, with the bases that the installed vLLM has.

    Args:
        bases: `LogitsProcessor` of each interface.
        module: Where it is found under the name `ChainProcessor`.
    """
    named = {"__doc__": _ChainProcessor.__doc__, "__module__": module}
    return type("ChainProcessor", (_ChainProcessor, *bases), named)
