"""Samplers that the entropy steers: top-H bounds what is kept by it, EDT sets a temperature by it.

Each is a function of logits (rows, vocabulary), and beside it a transformers `LogitsProcessor`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LogitsProcessor

from diversify.decoding.warpers.rows import (
    best,
    check_number,
    entropy,
    keep_head,
    log_probabilities,
    wide,
)

__all__ = ["EDT", "TopH", "edt", "top_h"]

COLDEST = 1e-6
"""EDT's temperature where the model is certain: the formula gives 0."""


def top_h(logits: Tensor, *, alpha: float = 0.4) -> Tensor:
    r"""Keep the best tokens as long as their own entropy stays within a share of the whole.

    .. math::
        \max |S| \;\text{ with }\; H(q_S) \le \alpha H(p), \qquad q_S = p \text{ renormalised on } S,

    S being the best tokens. transformers' `top_h` is another sampler: it adds up
    :math:`-p \ln p` without renormalising and looks at the hundred best tokens only, and it keeps
    far fewer on flat distributions.

    Args:
        logits: Logits (rows, vocabulary), -inf where a token is out already.
        alpha: In (0, 1]; 1 keeps all. Published: 0.4.

    Returns:
        The logits, -inf where removed.

    Raises:
        ValueError: If `alpha` or the shape is impossible.

    Example:
        >>> top_h(torch.tensor([[0.5, 0.25, 0.15, 0.1]]).log(), alpha=0.6).exp()
        tensor([[0.5000, 0.2500, 0.0000, 0.0000]])

    Reference:
        E. Baghaei Potraghloo et al., "Top-H Decoding: Adapting the Creativity and Coherence with
        Bounded Entropy in Text Generation", arXiv 2509.02510, algorithm 1. Tokens that tie with the
        last one kept stay too, which may exceed the bound.
    """
    check_number("alpha", alpha, low=0.0, high=1.0)
    z = wide(logits)
    if alpha == 1:
        return logits
    log_p = log_probabilities(z)
    bound = alpha * entropy(log_p)
    top_log_p = best(log_p)

    def decide(head: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        log_q = (head - head[:, :1] + top_log_p[rows]).clamp_(min=torch.finfo(z.dtype).min)
        p = log_q.exp()
        mass = p.cumsum(-1)
        within = mass.log() - (p * log_q).cumsum(-1) / mass <= bound[rows]
        # The entropy only grows along the head, so what is within comes first.
        kept = within.sum(-1).clamp(min=1)
        cut = head.gather(-1, (kept - 1).unsqueeze(-1)).squeeze(-1)
        return cut, kept < head.shape[-1]

    return keep_head(logits, decide)


@dataclass(frozen=True)
class TopH(LogitsProcessor):
    """`top_h` as a transformers processor, as in its paper.

    Raises:
        ValueError: If `alpha` is outside (0, 1].
    """

    alpha: float = 0.4

    def __post_init__(self) -> None:
        check_number("alpha", self.alpha, low=0.0, high=1.0)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the logits of the next token, -inf where removed."""
        return top_h(scores, alpha=self.alpha)


def edt(logits: Tensor, *, base: float = 1.0, theta: float = 1.0, n: float = 0.8) -> Tensor:
    r"""Divide by a temperature that follows the entropy: cool where the model is sure.

    .. math:: T = T_0 \, N^{\theta / H(p)}

    with H in nats, from 0 (certain) to T_0 (the more, the flatter). It is the temperature of its
    step: no other one belongs beside it.

    Args:
        logits: Logits (rows, vocabulary), -inf where a token is out already.
        base: :math:`T_0`, above 0, the highest temperature. The paper tunes it for each task.
        theta: 0 or more, how much the entropy counts; 0 is plain temperature `base`. Tuned too.
        n: :math:`N`, in (0, 1]; 1 is plain temperature `base`. Published: 0.8.

    Returns:
        z / T, up to a constant for each row: the best logit keeps its value.

    Raises:
        ValueError: If an option or the shape is impossible.

    Example:
        >>> p = torch.tensor([[0.5, 0.25, 0.25]])
        >>> edt(p.log()).softmax(-1)
        tensor([[0.5414, 0.2293, 0.2293]])

    Reference:
        S. Zhang, Y. Bao and S. Huang, "EDT: Improving Large Language Models' Generation by
        Entropy-based Dynamic Temperature Sampling", arXiv 2403.14541. The temperature is 1e-6 at
        least.
    """
    _check_edt(base, theta, n)
    z = wide(logits)
    # No entropy at all may come out as -0.0, and theta / -0.0 is hot instead of cold.
    flatness = entropy(log_probabilities(z)).clamp(min=torch.finfo(z.dtype).tiny)
    temperature = base * n ** (theta / flatness)
    beyond = (z - best(z)).clamp_(min=torch.finfo(z.dtype).min)
    warmed = beyond.mul_(1 / temperature.clamp(min=COLDEST) - 1).add_(z)
    return warmed.to(logits.dtype)


def _check_edt(base: float, theta: float, n: float) -> None:
    check_number("base", base, low=0.0, high_included=False)
    check_number("theta", theta, low=0.0, low_included=True, high_included=False)
    check_number("n", n, low=0.0, high=1.0)


@dataclass(frozen=True)
class EDT(LogitsProcessor):
    """`edt` as a transformers processor.

    Raises:
        ValueError: If an option is impossible.
    """

    base: float = 1.0
    theta: float = 1.0
    n: float = 0.8

    def __post_init__(self) -> None:
        _check_edt(self.base, self.theta, self.n)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the logits of the next token at their temperature."""
        return edt(scores, base=self.base, theta=self.theta, n=self.n)
