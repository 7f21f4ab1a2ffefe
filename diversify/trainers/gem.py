"""SFT with the GEM loss: TRL's trainer, told another per-token loss while it trains.

TRL computes its loss from per-token log-probabilities that the model's own forward returns without
ever holding the logits (its "fused LM head"). `GEMTrainer` puts a forward over that one which, in
training, hands out minus the GEM losses in their place. Everything else is TRL's: masks, packing,
gradient accumulation, averaging over processes, metrics, and the evaluation loss, which stays the
negative log-likelihood.
"""

from __future__ import annotations

import functools
import inspect
import types
from dataclasses import fields
from importlib.metadata import version
from typing import Any

import torch
from torch.distributed.tensor import DTensor
from trl import SFTTrainer
from trl.trainer.utils import FusedCausalLMOutput, maybe_gather_lm_head_ctx

from diversify.losses.gem import Link, check_gem_options
from diversify.losses.gem_chunked import chunked_gem_losses
from diversify.models import inner_model
from diversify.trainers.seams import SUPPORTED, check_seam

__all__ = ["GEMTrainer", "check_loss", "logit_transform"]

COMPUTE_LOSS = ("model", "inputs", "return_outputs", "num_items_in_batch")
READ = {"log_probs", "entropy", "is_top1", "label_mask"}
"""What TRL's loss reads from the model's output."""


class GEMTrainer(SFTTrainer):
    """`SFTTrainer` with the GEM loss in place of cross-entropy.

    The logged `loss` is GEM's and may be negative; entropy, accuracy and `eval_loss` (negative
    log-likelihood) are those of the stock trainer and compare with its. A step costs one more
    projection through the output head than the stock one, and needs no more memory than it by
    more than a few tiles of logits (`eval/gem_memory.py` measures it).

    Args:
        model: as `SFTTrainer` takes it.
        args: `SFTConfig`; its `loss_type` must be `nll`, without label smoothing or Liger.
        *others: what else `SFTTrainer` takes.
        beta: temperature of the comparison, see `gem_loss`. At 1 with the linear link the
            gradients are those of the stock trainer.
        link: `"linear"` or `"logsigmoid"`.
        tile: tokens and vocabulary entries at a time, see `chunked_gem_losses`.
        **named: what else `SFTTrainer` takes.

    Raises:
        ValueError: An option is impossible, or contradicts GEM.
        RuntimeError: The installed TRL has not got the seam that this uses.

    Reference:
        Z. Li et al., "Preserving Diversity in Supervised Fine-Tuning of Large Language Models",
        arXiv 2408.16673.
    """

    def __init__(
        self,
        model: Any,
        args: Any = None,
        *others: Any,
        beta: float = 0.7,
        link: Link = "linear",
        tile: tuple[int, int] = (1024, 8192),
        **named: Any,
    ) -> None:
        check_seam(SFTTrainer, {"compute_loss": COMPUTE_LOSS})
        check_loss()
        check_gem_options(beta, link)
        _refuse(args)
        super().__init__(model, args, *others, **named)
        if self.compute_loss_func is not None:
            raise ValueError("GEM is the loss: compute_loss_func cannot be given as well")
        parallelism = self.accelerator.parallelism_config
        if parallelism is not None and parallelism.sp_enabled:
            raise ValueError(
                "GEM does not go with sequence parallelism: TRL takes the model's own loss there"
            )
        self._put_gem_forward(
            inner_model(self.model), {"beta": beta, "link": link, "tile": tuple(tile)}
        )

    def _put_gem_forward(self, model: Any, options: dict[str, Any]) -> None:
        """Replace the model's fused forward while it trains."""
        fused = model.forward
        if "fused_lm_head" not in inspect.signature(fused, follow_wrapped=False).parameters:
            raise RuntimeError(f"GEM needs the fused LM head of {SUPPORTED}; {_found()} put none")
        scale, softcap = logit_transform(model.config)

        @functools.wraps(fused)
        def forward(self: Any, *args: Any, fused_lm_head: bool = False, **named: Any) -> Any:
            if not (fused_lm_head and self.training):
                return fused(*args, fused_lm_head=fused_lm_head, **named)
            states: list[torch.Tensor] = []
            watch = self.base_model.register_forward_hook(
                lambda module, inputs, output: states.append(output.last_hidden_state)
            )
            try:
                outputs = fused(*args, fused_lm_head=True, **named)
            finally:
                watch.remove()
            hidden, labels = _aligned(states[-1], named)
            head = self.get_output_embeddings()
            losses = chunked_gem_losses(
                hidden.to(head.weight.device),
                labels.to(head.weight.device),
                _whole(head.weight),
                _whole(getattr(head, "bias", None)),
                scale=scale,
                softcap=softcap,
                gather=maybe_gather_lm_head_ctx,
                **options,
            )
            outputs.log_probs = -losses
            outputs.entropy = outputs.entropy.detach()
            outputs.loss = None  # TRL's own likelihood, which nobody reads; its graph goes with it
            return outputs

        model.forward = types.MethodType(forward, model)


def check_loss() -> None:
    """Make sure that TRL computes its loss from what `GEMTrainer` hands out.

    Raises:
        RuntimeError: It does not.
    """
    given = {field.name for field in fields(FusedCausalLMOutput)}
    source = inspect.getsource(SFTTrainer.compute_loss)
    missing = {name for name in READ if name not in given or f"outputs.{name}" not in source}
    if "fused_lm_head=True" not in source:
        missing.add("fused_lm_head")
    if missing:
        raise RuntimeError(
            f"GEM is made for {SUPPORTED}, whose SFT loss reads {sorted(READ)} from a model called "
            f"with fused_lm_head=True; that of {_found()} has no {sorted(missing)}"
        )


def logit_transform(config: Any) -> tuple[float, float | None]:
    """Return the factor and the bound that a model puts on what its output head gives.

    Args:
        config: the model's configuration.

    Returns:
        `scale` and `softcap` of `chunked_gem_losses`, by the names that models of transformers use.

    Example:
        >>> from transformers import Gemma2Config
        >>> logit_transform(Gemma2Config(final_logit_softcapping=30.0))
        (1.0, 30.0)
    """
    text = config.get_text_config()
    softcap = getattr(text, "final_logit_softcapping", None)
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        if (factor := getattr(text, name, None)) is not None:
            return float(factor), softcap
    factor = getattr(text, "logits_scaling", None)
    if factor is None:
        return 1.0, softcap
    # Granite divides by it, HyperCLOVA X multiplies.
    return float(factor) if text.model_type == "hyperclovax" else 1.0 / factor, softcap


def _refuse(args: Any) -> None:
    """Refuse what would compute another loss than GEM."""
    neutral = {"loss_type": "nll", "label_smoothing_factor": 0.0, "use_liger_kernel": False}
    for name, value in neutral.items():
        if getattr(args, name, value) != value:
            raise ValueError(f"GEM needs {name}={value!r}, got {getattr(args, name)!r}")


def _aligned(hidden: torch.Tensor, named: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Put each label beside the hidden state that predicts it."""
    if named.get("shift_labels") is not None:
        return hidden, named["shift_labels"]
    return hidden[:, :-1], named["labels"][:, 1:]


def _whole(parameter: Any) -> Any:
    """Gather a parameter that FSDP has sharded."""
    return parameter.full_tensor() if isinstance(parameter, DTensor) else parameter


def _found() -> str:
    return f"trl {version('trl')}"
