"""The model of a trainer, lent to something else in the middle of training."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

from torch.distributed.tensor import DTensor

from diversify.models import LoadedModel, chat_template_sha, inner_model

__all__ = ["is_sharded", "live_model"]


def is_sharded(trainer: Any) -> bool:
    """Whether no process holds the whole model: FSDP, DeepSpeed ZeRO-3, tensor parallelism."""
    plugin = getattr(trainer.accelerator.state, "deepspeed_plugin", None)
    return (
        bool(trainer.is_fsdp_enabled)
        or (plugin is not None and plugin.zero_stage == 3)
        or any(isinstance(each, DTensor) for each in trainer.model.parameters())
    )


@contextlib.contextmanager
def live_model(trainer: Any) -> Iterator[LoadedModel]:
    """Put the model of a trainer into evaluation mode for a while, each module for itself."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    tokenizer = getattr(trainer.processing_class, "tokenizer", trainer.processing_class)
    if tokenizer.pad_token_id is None:
        tokenizer = copy.deepcopy(tokenizer)
        tokenizer.pad_token = tokenizer.eos_token
    identity = {
        "model": inner_model(model).config.name_or_path,
        "revision": None,
        "adapter": None,
        "adapter_hash": None,
        "chat_template_sha": chat_template_sha(tokenizer),
        "dtype": str(model.dtype).removeprefix("torch."),
    }
    training = [module for module in model.modules() if module.training]
    try:
        yield LoadedModel(model.eval(), tokenizer, identity)
    finally:
        for module in training:
            module.training = True
