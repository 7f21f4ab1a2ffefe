"""Where decoding of siblings meets transformers: more processors, a stream of logits, the checks.

Everything here is called from inside `model.generate(custom_generate=function)`, which hands over
rows that are expanded already, a prepared cache and the list of processors.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import (
    DynamicCache,
    GenerationConfig,
    GenerationMixin,
    LogitsProcessor,
    LogitsProcessorList,
)

from diversify.engines import Sampling
from diversify.models import repeatable_cache

__all__ = [
    "Stream",
    "check_drawing",
    "check_host",
    "groups_of",
    "opened",
    "refuse_sharded",
    "sample_between",
    "stream_of_generate",
]

KNOWN = {"attention_mask", "logits_to_keep", "past_key_values", "position_ids", "use_cache"}
"""What `generate` prepares for a language model; anything else a `Stream` would forget."""


def check_host() -> None:
    """Accept a transformers that has the sampling loop which is called here.

    Raises:
        ImportError: If it has not.
    """
    expected = ["input_ids", "logits_processor", "stopping_criteria", "generation_config"]
    method = getattr(GenerationMixin, "_sample", None)
    found = list(inspect.signature(method).parameters)[1:5] if method else None
    if found != expected:
        raise ImportError(
            f"GenerationMixin._sample({', '.join(expected)}) is not in transformers "
            f"{transformers.__version__}; diversify was tested with 5.23"
        )


def sample_between(
    model: Any,
    input_ids: Tensor,
    logits_processor: LogitsProcessorList,
    stopping_criteria: Any,
    generation_config: Any,
    *,
    before: Iterable[LogitsProcessor] = (),
    after: Iterable[LogitsProcessor] = (),
    **model_kwargs: Any,
) -> Any:
    """Run the sampling loop of transformers with processors before and after all others.

    `generate` itself would put them before its temperature and truncation, and after its penalties.
    """
    return model._sample(
        input_ids,
        logits_processor=LogitsProcessorList([*before, *logits_processor, *after]),
        stopping_criteria=stopping_criteria,
        generation_config=generation_config,
        synced_gpus=_sharded(model),  # `generate` forgets this one for a callable
        **model_kwargs,
    )


def groups_of(rows: int, siblings: int) -> int:
    """Return how many prompts the rows answer.

    Raises:
        ValueError: If the rows are not whole groups of siblings.
    """
    if rows % siblings:
        raise ValueError(
            f"the rows must be whole groups of {siblings} siblings, got {rows} rows: the decoder "
            "was called with another number than num_return_sequences"
        )
    return rows // siblings


def check_drawing(sampling: Sampling | GenerationConfig) -> None:
    """Accept a sampling that draws.

    Raises:
        ValueError: If it is greedy.
    """
    greedy = sampling.temperature == 0 if isinstance(sampling, Sampling) else not sampling.do_sample
    if greedy:
        raise ValueError("this decoder draws: it needs a temperature above 0, got greedy decoding")


def refuse_sharded(model: Any) -> None:
    """Accept a model that is whole on this process.

    Raises:
        ValueError: If its weights are spread over processes that must step together.
    """
    if _sharded(model):
        raise ValueError("a model sharded by ZeRO-3 or FSDP can only sample, got one to search")


class Stream:
    """Rows of token ids going through one model, with a cache of its own.

    Args:
        model: A transformers model with a `repeatable_cache`.
        cache: What it has read already; filled in place.
        mask: 1 where a token counts, for the tokens up to the next reading; None when all do.
        within: Entered around every reading, for instance to switch an adapter off.
    """

    def __init__(
        self,
        model: Any,
        cache: DynamicCache,
        mask: Tensor | None,
        *,
        within: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
    ) -> None:
        self.model, self.cache, self.mask, self.within = model, cache, mask, within
        takes = inspect.signature(model.forward).parameters
        self._only: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        self._takes_positions = "position_ids" in takes

    def logits(self, ids: Tensor) -> Tensor:
        """Read what is new in the rows and return the logits of the next token in float32.

        Args:
            ids: All tokens so far (rows, length), left padding included.
        """
        past = int(self.cache.get_seq_length())
        given: dict[str, Any] = dict(self._only)
        if self.mask is not None:
            new = ids.shape[1] - self.mask.shape[1]
            self.mask = torch.cat([self.mask, self.mask.new_ones(len(ids), new)], dim=1)
            given["attention_mask"] = self.mask
        if self._takes_positions:
            given["position_ids"] = _positions(ids, self.mask)
        inputs = self.model.prepare_inputs_for_generation(
            ids,
            next_sequence_length=ids.shape[1] - past,
            past_key_values=self.cache,
            use_cache=True,
            is_first_iteration=past == 0,
            **given,
        )
        with self.within():
            found: Tensor = self.model(**inputs, return_dict=True).logits
        return found[:, -1].to(device=ids.device, dtype=torch.float32)

    def reorder(self, rows: Tensor) -> None:
        """Let row i go on from what row `rows[i]` has read; both must share their padding."""
        self.cache.reorder_cache(rows)  # type: ignore[arg-type]

    def repeat(self, copies: int) -> None:
        """Let every row be read on `copies` times, as neighbouring rows."""
        self.cache.batch_repeat_interleave(copies)
        if self.mask is not None:
            self.mask = self.mask.repeat_interleave(copies, 0)


def opened(
    model: Any,
    ids: Tensor,
    mask: Tensor,
    *,
    copies: int,
    within: Callable[[], AbstractContextManager[Any]] = contextlib.nullcontext,
) -> Stream:
    """Read prompts up to their last token, once each, for `copies` neighbouring rows each.

    Args:
        model: A transformers model with a `repeatable_cache`.
        ids: Prompts (prompts, length), padded on the left.
        mask: 1 where a token counts, of the same shape.
        copies: Rows that answer each prompt.
        within: See `Stream`.

    Raises:
        ValueError: If the cache of the model cannot be repeated.
    """
    _check_cache(model)
    cut = mask[:, :-1]
    cache = DynamicCache(config=model.config)
    stream = Stream(model, cache, None if bool(mask.all()) else cut, within=within)
    if ids.shape[1] > 1:
        stream.logits(ids[:, :-1])
    stream.repeat(copies)
    return stream


def stream_of_generate(
    model: Any, generation_config: GenerationConfig, model_kwargs: Mapping[str, Any]
) -> Stream:
    """Take over the cache that `generate` prepared, for a search that returns token ids.

    Raises:
        ValueError: If the model, its cache or an argument is one that cannot be searched with.
    """
    refuse_sharded(model)
    if generation_config.return_dict_in_generate:
        raise ValueError("a search returns token ids, got return_dict_in_generate=True")
    _check_cache(model)
    strange = {name for name, value in model_kwargs.items() if value is not None} - KNOWN
    if strange:
        raise ValueError(f"a search takes token ids and no {', '.join(sorted(strange))}")
    cache = model_kwargs.get("past_key_values")
    if cache is None:
        cache = DynamicCache(config=model.config)
    elif type(cache) is not DynamicCache:
        raise ValueError(f"a search needs a DynamicCache, got {type(cache).__name__}")
    return Stream(model, cache, model_kwargs.get("attention_mask"))


def _positions(ids: Tensor, mask: Tensor | None) -> Tensor:
    """Return the place of every token in its row, padding not counted."""
    if mask is None:
        return torch.arange(ids.shape[1], device=ids.device).unsqueeze(0)
    return (mask.long().cumsum(-1) - 1).masked_fill(mask == 0, 0)


def _check_cache(model: Any) -> None:
    if not repeatable_cache(model):
        raise ValueError(f"the cache of {type(model).__name__} cannot be repeated or reordered")


def _sharded(model: Any) -> bool:
    """Say whether processes must step together, by the rule of `generate`."""
    from transformers.integrations.deepspeed import is_deepspeed_zero3_enabled
    from transformers.integrations.fsdp import is_fsdp_managed_module

    if not torch.distributed.is_available() or not torch.distributed.is_initialized():
        return False
    zero3 = is_deepspeed_zero3_enabled()  # type: ignore[no-untyped-call]
    spread = zero3 or is_fsdp_managed_module(model)
    return bool(spread) and torch.distributed.get_world_size() > 1
