"""Losses that published methods add to supervised and preference training: pure functions of tensors."""

from diversify.losses.gem import gem_loss, gem_token_losses
from diversify.losses.gem_chunked import chunked_gem_losses
from diversify.losses.preference import h_dpo_loss, spl_loss, weighted_dpo_loss

__all__ = [
    "chunked_gem_losses",
    "gem_loss",
    "gem_token_losses",
    "h_dpo_loss",
    "spl_loss",
    "weighted_dpo_loss",
]
