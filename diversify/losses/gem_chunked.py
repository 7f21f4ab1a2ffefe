"""GEM on hidden states: the logits of a batch, tile by tile, never all at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeAlias, cast

import torch
from torch import Tensor

from diversify.losses.gem import IGNORED, Link, check_gem_options, link_weights

__all__ = ["chunked_gem_losses"]

Gather: TypeAlias = Callable[..., AbstractContextManager[Any]]

MIXED_PRODUCTS = tuple(map(int, torch.__version__.split(".")[:2])) >= (2, 8)
"""Whether CUDA multiplies half-precision matrices into a float32 sum."""


def chunked_gem_losses(
    hidden: Tensor,
    labels: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    beta: float = 0.7,
    link: Link = "linear",
    scale: float = 1.0,
    softcap: float | None = None,
    tile: tuple[int, int] = (1024, 8192),
    gather: Gather | None = None,
) -> Tensor:
    r"""Return what `gem_token_losses` would, from hidden states and the output head.

    The logits are :math:`z = c \tanh(s\,(W h + b) / c)` with `scale` s and `softcap` c, or
    :math:`s\,(W h + b)` without. They are computed tile by tile, forward and again backward: no
    more than `tile` of them exist at a time, whatever the batch and the vocabulary. Ignored tokens
    are not projected. Sums run in float32 or better; under autocast and for half-precision hidden
    states the products run in that precision.

    Args:
        hidden: Hidden states (..., H), aligned with the labels.
        labels: Token ids (...), -100 where ignored.
        weight: Of the output head, (V, H).
        bias: Of the output head, (V,), or None.
        beta: See `gem_loss`.
        link: See `gem_loss`.
        scale: Factor of the logits.
        softcap: Bound of the logits, above 0, or None.
        tile: Tokens and vocabulary entries at a time, each at least 1. About six tiles of float32
            are alive at the peak: 200 MB with the default.
        gather: Context manager entered as `gather(weight, bias)` around every use of the head,
            where something shards it.

    Returns:
        Losses (...), at least float32, 0 where ignored. Gradients flow once, not twice.

    Raises:
        ValueError: Shapes do not fit, or an option is impossible.

    Example:
        >>> hidden, head = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 9.0], [1.0, 9.0], [0, 9]])
        >>> print(chunked_gem_losses(hidden, torch.tensor([1]), head, tile=(1, 2)))
        tensor([0.7267])
    """
    check_gem_options(beta, link)
    if hidden.shape[:-1] != labels.shape:
        raise ValueError(
            f"labels must have the shape of the hidden states without their last dimension, "
            f"{tuple(hidden.shape[:-1])}, got {tuple(labels.shape)}"
        )
    if min(tile) < 1:
        raise ValueError(f"tile must be two counts of at least 1, got {tile}")
    if softcap is not None and not softcap > 0:
        raise ValueError(f"softcap must be above 0, or None, got {softcap}")
    kind = hidden.device.type
    options = _Options(
        beta,
        link,
        scale,
        softcap,
        *tile,
        gather or (lambda *_: nullcontext()),
        torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype,
    )
    kept = labels != IGNORED
    losses = cast("Any", _ChunkedGEM).apply(hidden[kept], weight, bias, labels[kept], options)
    scattered: Tensor = losses.new_zeros(labels.shape).masked_scatter(kept, losses)
    return scattered


class _Options(NamedTuple):
    """What the tiles need to know; see `chunked_gem_losses`."""

    beta: float
    link: Link
    scale: float
    softcap: float | None
    tokens: int
    vocabulary: int
    gather: Gather
    dtype: torch.dtype  # of the products

    @property
    def exact(self) -> torch.dtype:
        """The precision of everything but the products."""
        return torch.promote_types(self.dtype, torch.float32)

    def cut(self, length: int, step: int) -> Iterator[slice]:
        """Cut `length` into slices of `step`."""
        return (slice(start, min(start + step, length)) for start in range(0, length, step))

    def logits(self, hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute one tile of logits."""
        z = torch.mm(hidden, weight.to(self.dtype).t())
        return self.transformed(z if bias is None else z + bias.to(self.dtype))

    def transformed(self, z: Tensor) -> Tensor:
        """Scale and cap what the head gave."""
        z = z.to(self.exact) * self.scale
        return z if self.softcap is None else self.softcap * torch.tanh(z / self.softcap)

    def label_logits(
        self, hidden: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor
    ) -> Tensor:
        """Compute the logits (n,) of the labels, rounded as those in the tiles are."""
        rows = weight[labels].to(self.dtype).to(self.exact)
        z = (hidden.to(self.exact) * rows).sum(-1).to(self.dtype)
        return self.transformed(z if bias is None else z + bias[labels].to(self.dtype))


class _ChunkedGEM(torch.autograd.Function):
    """GEM of n tokens, tile by tile.

    With e_k = exp(z_k / beta) the loss is sum(e w m) / sum(e), m the margins over the label: both
    sums are kept relative to the greatest logit so far, as in a running softmax. The gradient by
    the logits is q w, and minus the sum of all q w for the label.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        options: _Options,
    ) -> Tensor:
        n = len(hidden)
        losses, normaliser, label_logits, pull = (
            torch.zeros(n, dtype=options.exact, device=hidden.device) for _ in range(4)
        )
        with options.gather(weight, bias):
            for rows in options.cut(n, options.tokens):
                h = hidden[rows].to(options.dtype)
                y = options.label_logits(h, weight, bias, labels[rows])
                top = torch.full_like(y, -math.inf)
                total, paid, weighed = (torch.zeros_like(y) for _ in range(3))
                for columns in options.cut(len(weight), options.vocabulary):
                    part = None if bias is None else bias[columns]
                    z = options.logits(h, weight[columns], part)
                    margin = z - y.unsqueeze(-1)
                    z = z.div_(options.beta)
                    new_top = torch.maximum(top, z.amax(-1))
                    e = z.sub_(new_top.unsqueeze(-1)).exp_()
                    shrink = torch.exp(top - new_top)
                    total = total * shrink + e.sum(-1)
                    e = e.mul_(link_weights(margin, options.link))
                    weighed = weighed * shrink + e.sum(-1)
                    paid = paid * shrink + e.mul_(margin).sum(-1)
                    top = new_top
                losses[rows] = paid / total
                normaliser[rows] = top + torch.log(total)
                label_logits[rows] = y
                pull[rows] = weighed / total
        ctx.save_for_backward(hidden, weight, bias, labels, normaliser, label_logits, pull)
        ctx.options = options
        return losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_losses: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, bias, labels, normaliser, label_logits, pull = ctx.saved_tensors
        options: _Options = ctx.options
        with options.gather(weight, bias):
            sums = [
                torch.zeros(tensor.shape, dtype=options.exact, device=tensor.device)
                if needed
                else None
                for tensor, needed in zip(
                    (hidden, weight, bias), ctx.needs_input_grad, strict=False
                )
            ]
            by_hidden, by_weight, by_bias = sums
            for rows in options.cut(len(hidden), options.tokens):
                h = hidden[rows].to(options.dtype)
                for columns in options.cut(len(weight), options.vocabulary):
                    w = weight[columns].to(options.dtype)
                    part = None if bias is None else bias[columns]
                    z = options.logits(h, w, part)
                    grad = _by_logits(
                        z,
                        normaliser[rows],
                        label_logits[rows],
                        pull[rows],
                        labels[rows],
                        columns,
                        options,
                    )
                    grad = grad.mul_(grad_losses[rows].unsqueeze(-1)).to(options.dtype)
                    if by_hidden is not None:
                        _add_product(by_hidden[rows], grad, w)
                    if by_weight is not None:
                        _add_product(by_weight[columns], grad.t(), h)
                    if by_bias is not None:
                        by_bias[columns] += grad.sum(0, dtype=options.exact)
        originals = (hidden, weight, bias)
        found = [s if s is None else s.to(t.dtype) for s, t in zip(sums, originals, strict=True)]
        return (*found, None, None)


def _by_logits(
    z: Tensor,
    normaliser: Tensor,
    label_logits: Tensor,
    pull: Tensor,
    labels: Tensor,
    columns: slice,
    options: _Options,
) -> Tensor:
    """Compute the gradient of each token's loss by what the head gave, for one tile."""
    grad = torch.exp(z / options.beta - normaliser.unsqueeze(-1))
    grad = grad.mul_(link_weights(z - label_logits.unsqueeze(-1), options.link))
    (inside,) = torch.where((labels >= columns.start) & (labels < columns.stop))
    grad[inside, labels[inside] - columns.start] -= pull[inside]
    if options.softcap is not None:
        grad = grad.mul_(1 - (z / options.softcap) ** 2)
    return grad.mul_(options.scale)


def _add_product(total: Tensor, a: Tensor, b: Tensor) -> None:
    """Add the product to a sum that is kept in more precision than its factors.

    Rounding each tile's product to half precision before it is added would bias the sum.
    """
    if total.is_cuda and a.dtype != total.dtype and MIXED_PRODUCTS:
        torch.addmm(total, a, b, out_dtype=total.dtype, out=total)
    else:
        total.addmm_(a.to(total.dtype), b.to(total.dtype))
