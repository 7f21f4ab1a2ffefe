"""Samplers that drop the tail of a distribution, with a cut that follows its shape.

Each is a function of logits (rows, vocabulary), and beside it a transformers `LogitsProcessor`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor

from diversify.decoding.warpers.rows import (
    REMOVED,
    best,
    check_number,
    finite_count,
    keep_head,
    remove_below,
    wide,
)

__all__ = [
    "MinK",
    "PLess",
    "PLessNorm",
    "TopNSigma",
    "min_k",
    "p_less",
    "p_less_norm",
    "top_n_sigma",
]


def top_n_sigma(logits: Tensor, *, n: float = 1.0) -> Tensor:
    r"""Keep the tokens within `n` standard deviations of the best logit.

    .. math:: z_i \ge \max_j z_j - n \, \sigma(z)

    Dividing the logits by a temperature changes nothing about what is kept. The deviation is that
    of the whole vocabulary, so a longer tail of hopeless tokens moves the cut.

    Args:
        logits: Logits (rows, vocabulary), -inf where a token is out already.
        n: Above 0; larger keeps more, `math.inf` keeps all. Published: 1.0, useful from 0.3 to 1.5.

    Returns:
        The logits, -inf where removed.

    Raises:
        ValueError: If `n` or the shape is impossible.

    Example:
        >>> top_n_sigma(torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0, -2.0]]))
        tensor([[4., 3., -inf, -inf, -inf, -inf]])

    Reference:
        C. Tang et al., "Top-n-sigma: Not All Logits Are You Need", arXiv 2411.07641. The deviation
        is that of the population, over the finite logits; torch's own default divides by V - 1.
    """
    check_number("n", n, low=0.0)
    z = wide(logits)
    if math.isinf(n):
        return logits
    return torch.where(z < best(z) - n * _deviation(z), REMOVED, logits)


def _deviation(z: Tensor) -> Tensor:
    """Return the standard deviation of the finite entries of each row, (rows, 1)."""
    if (z.amin(-1) == REMOVED).any():
        out, count = z == REMOVED, finite_count(z)
        mean = z.masked_fill(out, 0.0).sum(-1, keepdim=True) / count
        centred = (z - mean).masked_fill_(out, 0.0)
    else:  # masks would cost more than the sums
        count = z.new_full((len(z), 1), z.shape[-1])
        centred = z - z.mean(-1, keepdim=True)
    length: Tensor = torch.linalg.vector_norm(centred, dim=-1, keepdim=True)
    return length / count.sqrt()


def min_k(logits: Tensor, *, tau: float = 3.0) -> Tensor:
    r"""Cut where the sorted logits fall fastest, early falls counting more.

    .. math::
        k = \max\Bigl(\arg\max_i \frac{l_i - l_{i+1}}{i \, (l_1 - l_V)},
        \Bigl\lfloor \frac{\tau}{l_1 - l_V} \Bigr\rfloor\Bigr), \qquad l_1 \ge l_2 \ge \dots \ge l_V

    and the k best stay. The first part does not change with the temperature. The second, a floor
    for flat distributions, does: logits divided by T with `tau / T` give the same cut. Up to a
    temperature of (l_1 - l_V) / tau, the range being that of the plain logits, it does nothing.

    Args:
        logits: Logits (rows, vocabulary), -inf where a token is out already.
        tau: 0 or more; the floor. Published: 3.0, flat from 1 to 10. `math.inf` keeps all.

    Returns:
        The logits, -inf where removed. Tokens that tie with the last one kept stay too.

    Raises:
        ValueError: If `tau` or the shape is impossible.

    Example:
        >>> min_k(torch.tensor([[5.0, 4.8, 1.0, 0.0]]))
        tensor([[5.0000, 4.8000,   -inf,   -inf]])

    Reference:
        Y. Ding et al., "Min-k Sampling: Decoupling Truncation from Temperature Scaling via Relative
        Logit Dynamics", arXiv 2604.11012. V counts the finite logits.
    """
    check_number("tau", tau, low=0.0, low_included=True)
    z = wide(logits)
    if math.isinf(tau):
        return logits
    lowest = z.amin(-1)
    if (lowest == REMOVED).any():
        lowest = torch.where(z == REMOVED, torch.inf, z).amin(-1)
    span = best(z).squeeze(-1) - lowest
    floor = torch.where(span > 0, (tau / span).floor(), 0.0).clamp(max=z.shape[-1])

    def decide(head: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        size = head.shape[-1]
        falls = head[:, :-1] - head[:, 1:]
        falls = falls.masked_fill(head[:, 1:] == REMOVED, 0.0)  # no fall to what is out
        falls = falls / torch.arange(1, size, device=z.device)
        if size == 1:
            return head[:, 0], torch.ones_like(rows, dtype=torch.bool)
        steepest, at = falls.max(-1)
        k = torch.maximum(at + 1, floor[rows].long())
        cut = head.gather(-1, (k.clamp(max=size) - 1).unsqueeze(-1)).squeeze(-1)
        # No fall further down can be more than all that is left, and it counts 1/size at most.
        return cut, steepest >= (head[:, -1] - lowest[rows]) / size

    return keep_head(logits, decide)


def p_less(logits: Tensor) -> Tensor:
    r"""Keep the tokens that are at least as likely as two draws are to agree.

    .. math:: p_i \ge \sum_j p_j^2

    Nothing to tune. The temperature belongs before it. Sharp distributions become nearly greedy.

    Args:
        logits: Logits (rows, vocabulary), -inf where a token is out already.

    Returns:
        The logits, -inf where removed. A uniform distribution keeps all.

    Raises:
        ValueError: If the shape is impossible.

    Example:
        >>> p_less(torch.tensor([[0.4, 0.4, 0.2]]).log()).exp()
        tensor([[0.4000, 0.4000, 0.0000]])

    Reference:
        R. Tan et al., "p-less Sampling: A Robust Hyperparameter-Free Approach for LLM Decoding",
        arXiv 2509.23234.
    """
    p = wide(logits).softmax(-1)
    return remove_below(logits, p, _agreement(p))


def p_less_norm(logits: Tensor) -> Tensor:
    r"""Keep the tokens above the chance of agreement, less that of one disagreement: looser.

    .. math:: p_i \ge \frac{V \sum_j p_j^2 - 1}{V - 1}

    which is 0 for a uniform distribution and 1 for a certain one.

    Args:
        logits: Logits (rows, vocabulary), -inf where a token is out already; V counts the others.

    Returns:
        The logits, -inf where removed.

    Raises:
        ValueError: If the shape is impossible.

    Example:
        >>> p_less_norm(torch.tensor([[0.4, 0.4, 0.2]]).log()).exp()
        tensor([[0.4000, 0.4000, 0.2000]])

    Reference:
        As `p_less`. The paper counts the vocabulary; tokens that are out already are left out of V
        here, which moves the threshold by less than 1/V.
    """
    z = wide(logits)
    count, p = finite_count(z), z.softmax(-1)
    return remove_below(logits, p, (count * _agreement(p) - 1) / (count - 1).clamp(min=1))


def _agreement(p: Tensor) -> Tensor:
    """Return the chance that two draws agree, (rows, 1)."""
    length: Tensor = torch.linalg.vector_norm(p, dim=-1, keepdim=True)
    return length.square()


@dataclass(frozen=True)
class TopNSigma(LogitsProcessor):
    """`top_n_sigma` as a transformers processor.

    Raises:
        ValueError: If `n` is not above 0.
    """

    n: float = 1.0

    def __post_init__(self) -> None:
        check_number("n", self.n, low=0.0)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the logits of the next token, -inf where removed."""
        return top_n_sigma(scores, n=self.n)


@dataclass(frozen=True)
class MinK(LogitsProcessor):
    """`min_k` as a transformers processor.

    Raises:
        ValueError: If `tau` is below 0.
    """

    tau: float = 3.0

    def __post_init__(self) -> None:
        check_number("tau", self.tau, low=0.0, low_included=True)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the logits of the next token, -inf where removed."""
        return min_k(scores, tau=self.tau)


@dataclass(frozen=True)
class PLess(LogitsProcessor):
    """`p_less` as a transformers processor."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the logits of the next token, -inf where removed."""
        return p_less(scores)


@dataclass(frozen=True)
class PLessNorm(LogitsProcessor):
    """`p_less_norm` as a transformers processor."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the logits of the next token, -inf where removed."""
        return p_less_norm(scores)
