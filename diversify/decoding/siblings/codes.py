"""Code points in [0, 1): evenly spaced numbers that make draws from one distribution differ."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from diversify.kernels import check_integer

__all__ = ["LARGEST", "Step", "arithmetic_codes", "arithmetic_step"]

LARGEST = 1.0 - 2.0**-53
"""The largest float64 below 1."""


BLOCK = 256
"""Tokens whose probabilities are summed together; near the root of a vocabulary's size."""


class Step(NamedTuple):
    """What one step of arithmetic sampling found, for each row."""

    tokens: Tensor  # int64
    codes: Tensor  # float64, for the next step
    widths: Tensor  # float64, the probability of each token


def arithmetic_codes(n: int, *, offset: float | Tensor) -> Tensor:
    r"""Return `n` evenly spaced code points.

    .. math:: c_i = (i / n + b) \bmod 1, \qquad i = 0, \dots, n - 1

    With b uniform in [0, 1) every one of them is uniform. Whatever b is, an interval of length p
    holds floor(n p) or ceil(n p) of them.

    Args:
        n: How many, 1 or more.
        offset: b in [0, 1), a number, or a tensor (...) of several.

    Returns:
        float64 (n,), or (..., n).

    Raises:
        ValueError: If `n` is below 1, or an offset outside its range.

    Example:
        >>> arithmetic_codes(4, offset=0.5)
        tensor([0.5000, 0.7500, 0.0000, 0.2500], dtype=torch.float64)

    Reference:
        L. Vilnis et al., "Arithmetic Sampling: Parallel Diverse Decoding for Large Language
        Models", arXiv 2210.15458. They space by 1 / (n + 1), which leaves a gap; 1 / n does not.
    """
    n = check_integer("n", n, 1)
    b = torch.as_tensor(offset, dtype=torch.float64)
    if not bool(((b >= 0) & (b < 1)).all()):
        raise ValueError(f"offset must be in [0, 1), got {offset}")
    grid = torch.arange(n, dtype=torch.float64, device=b.device) / n
    return torch.remainder(grid + b.unsqueeze(-1), 1.0)


def arithmetic_step(logits: Tensor, codes: Tensor) -> Step:
    r"""Take the token whose interval of the cumulative distribution holds the code.

    .. math::
        F_{v-1} \le c < F_v, \qquad F_v = \sum_{u \le v} p_u, \qquad
        c' = \frac{c - F_{v-1}}{F_v - F_{v-1}}

    The order of the vocabulary is that of the token ids. If c is uniform, the token is a draw from
    p, and given the token c' is uniform again.

    Args:
        logits: Logits (rows, vocabulary), -inf where a token is out.
        codes: float64 (rows,) in [0, 1).

    Returns:
        `tokens`, the next `codes` and the `widths` F_v - F_{v-1}, each (rows,).

    Raises:
        ValueError: If a row has no token left, or a NaN.

    Example:
        >>> p = torch.tensor([[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]])
        >>> arithmetic_step(p.log(), torch.tensor([0.1, 0.65], dtype=torch.float64))[:2]
        (tensor([0, 1]), tensor([0.2000, 0.5000], dtype=torch.float64))

    Reference:
        See `arithmetic_codes`. p is the softmax in the precision of the logits, from which the host
        draws, too; its sums are taken in float64 and scaled to 1, so that no code lies above the
        last interval and a removed token has none. The paper's optional permutation of the
        vocabulary is left out.
    """
    probabilities = logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1)
    # Only the sums of blocks, and the sums within the one block of each row's code, are needed: a
    # running sum over the whole vocabulary in float64 would take longer than the softmax.
    if short := -probabilities.shape[-1] % BLOCK:
        probabilities = pad(probabilities, (0, short))
    blocks = probabilities.reshape(len(probabilities), -1, BLOCK)
    ends = blocks.sum(-1, dtype=torch.float64).cumsum(-1)
    total = ends[:, -1:]
    if not bool(torch.isfinite(total).all()):
        raise ValueError("every row needs a finite logit and no NaN, got one without")
    # The sum is 1 but for rounding; and a code below 1 stays below it when scaled.
    block, within = _interval(ends, codes.unsqueeze(-1) * total)
    inside = blocks.take_along_dim(block.unsqueeze(-1), dim=-2).squeeze(-2)
    mass = inside.cumsum(-1, dtype=torch.float64)
    token, rest = _interval(mass, within)
    widths = inside.take_along_dim(token, dim=-1).double()
    return Step(
        (block * BLOCK + token).squeeze(-1),
        (rest / widths).squeeze(-1).clamp(min=0.0, max=LARGEST),
        (widths / total).squeeze(-1),
    )


def _interval(ends: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Find the interval that holds a number, and how far into it the number lies: each (rows, 1).

    `ends` are the upper ends (rows, k), in order. A number that rounding has put beyond the last one
    belongs to the last interval that is not empty.
    """
    target = torch.minimum(target, ends[:, -1:].nextafter(torch.zeros_like(target))).contiguous()
    place = torch.searchsorted(ends, target, right=True)
    below = ends.take_along_dim((place - 1).clamp(min=0), dim=-1)
    return place, target - torch.where(place > 0, below, 0.0)
