"""What the advantages take and return: one vector a group, a tensor for a tensor."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

ArrayT = TypeVar("ArrayT", torch.Tensor, NDArray[np.float64])
"""A torch tensor or an array; the result is of the same kind."""


def as_group(name: str, values: Any) -> torch.Tensor:
    """Return a finite vector as a floating tensor, or raise ValueError."""
    if isinstance(values, torch.Tensor):
        tensor = values if values.is_floating_point() else values.to(torch.get_default_dtype())
    else:
        tensor = torch.as_tensor(np.asarray(values, dtype=np.float64))
    if tensor.ndim != 1:
        raise ValueError(f"{name} must be a vector (n,), got shape {tuple(tensor.shape)}")
    if not torch.isfinite(tensor).all():
        raise ValueError(f"{name} must be finite, got {tensor.tolist()!r:.200}")
    return tensor


def beside(name: str, values: Any, rewards: torch.Tensor) -> torch.Tensor:
    """Return a vector with one value for each reward, where the rewards are."""
    tensor = as_group(name, values).to(rewards)
    if len(tensor) != len(rewards):
        raise ValueError(
            f"{name} must be one for each of {len(rewards)} rewards, got {len(tensor)}"
        )
    return tensor


def check_not_negative(name: str, values: torch.Tensor) -> torch.Tensor:
    """Return values of 0 or more, or raise ValueError."""
    if (values < 0).any():
        raise ValueError(f"{name} must be 0 or more, got {values.min().item():.4g}")
    return values


def like(result: torch.Tensor, given: ArrayT) -> ArrayT:
    """Return a tensor for a tensor, and a float64 array for anything else."""
    if isinstance(given, torch.Tensor):
        return result
    return cast("ArrayT", result.numpy())
