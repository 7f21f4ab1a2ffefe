"""GEM: supervised fine-tuning that keeps what else the model could have said.

Cross-entropy pushes every token but the label down in proportion to its probability. GEM does so in
proportion to its probability in a sharpened copy of the model: what rivals the label is pushed down,
what is unlikely already is left alone. `chunked_gem_losses` computes the same from hidden states.
"""

from __future__ import annotations

import math
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor

__all__ = [
    "IGNORED",
    "Link",
    "check_gem_options",
    "gem_loss",
    "gem_token_losses",
    "link_weights",
]

Link: TypeAlias = Literal["linear", "logsigmoid"]

IGNORED = -100
"""The label of a token that carries no loss."""
SLOPE = 0.01
"""Of the sigmoid link: how fast a token's weight falls as the label overtakes it."""


def gem_loss(logits: Tensor, labels: Tensor, *, beta: float = 0.7, link: Link = "linear") -> Tensor:
    r"""Return the mean GEM loss of the tokens that carry a label.

    .. math::
        L = \frac{1}{T} \sum_t \sum_k q_{tk} w_{tk} (z_{tk} - z_{t y_t}), \qquad
        q_t = \operatorname{softmax}(z_t / \beta), \qquad
        w_{tk} = 1 \text{ or } \sigma(0.01 (z_{tk} - z_{t y_t}))

    with no gradient through q and w. The normaliser of the logits cancels. The loss is negative
    where the label lies above what q expects, and is no likelihood: two values compare only at one
    `beta` and link.

    With the linear link its gradient is that of :math:`\beta` times cross-entropy at temperature
    :math:`\beta`, and its value is :math:`\beta` times (that cross-entropy minus the entropy of q).
    So at ``beta=1`` it trains exactly as cross-entropy does; below, tokens that are already
    unlikely are left alone.

    Args:
        logits: Logits (..., V).
        labels: Token ids (...), aligned with the logits (shift before), -100 where ignored.
        beta: Temperature of q, above 0. Smaller looks at fewer rivals of the label.
        link: `"linear"` (w = 1) or `"logsigmoid"`.

    Returns:
        A scalar, at least float32; 0 with a graph where no token carries a label.

    Raises:
        ValueError: Shapes do not fit, or an option is impossible.

    Example:
        >>> logits = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
        >>> print(f"{gem_loss(logits, torch.tensor([1, -100])):.4f}")
        0.7267

    Reference:
        Z. Li et al., "Preserving Diversity in Supervised Fine-Tuning of Large Language Models",
        arXiv 2408.16673. The slope 0.01 is that of their scripts.
    """
    losses = gem_token_losses(logits, labels, beta=beta, link=link)
    return losses.sum() / (labels != IGNORED).sum().clamp(min=1)


def gem_token_losses(
    logits: Tensor, labels: Tensor, *, beta: float = 0.7, link: Link = "linear"
) -> Tensor:
    """Return the GEM loss of every token (...), 0 where the label is -100; see `gem_loss`.

    Example:
        >>> logits = torch.tensor([[2.0, 1.0, 0.0], [2.0, 1.0, 0.0]])
        >>> print(gem_token_losses(logits, torch.tensor([0, -100])))
        tensor([-0.2733,  0.0000])
    """
    check_gem_options(beta, link)
    if logits.ndim < 1 or logits.shape[:-1] != labels.shape:
        raise ValueError(
            f"labels must have the shape of the logits without the vocabulary, "
            f"{tuple(logits.shape[:-1])}, got {tuple(labels.shape)}"
        )
    kept = labels != IGNORED
    # Ignored tokens are left out before any arithmetic: their logits may be anything, even NaN.
    z = logits[kept]
    z = z.to(torch.promote_types(z.dtype, torch.float32))
    margin = z - z.gather(-1, labels[kept].unsqueeze(-1))
    with torch.no_grad():
        weight = torch.softmax(z / beta, dim=-1) * link_weights(margin, link)
    losses = (weight * margin).sum(-1)
    return losses.new_zeros(labels.shape).masked_scatter(kept, losses)


def check_gem_options(beta: float, link: str) -> None:
    """Accept the options of GEM.

    Raises:
        ValueError: `beta` is not a number above 0, or the link is unknown.
    """
    if not (math.isfinite(beta) and beta > 0):
        raise ValueError(f"beta must be a number above 0, got {beta}")
    if link not in get_args(Link):
        raise ValueError(f"link must be one of {list(get_args(Link))}, got {link!r}")


def link_weights(margin: Tensor, link: Link) -> Tensor | float:
    """Return w, the weights of tokens by their margin over the label; see `gem_loss`."""
    return torch.sigmoid(SLOPE * margin) if link == "logsigmoid" else 1.0
