"""Samplers that look back: DRY at the text so far, mirostat 2 at how surprising it has been.

Each is a function of logits (rows, vocabulary), and beside it a transformers `LogitsProcessor`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import LogitsProcessor

from diversify.decoding.warpers.rows import (
    check_number,
    check_token_ids,
    ids_within,
    remove_below,
    wide,
)
from diversify.kernels import check_integer

__all__ = ["DRY", "Mirostat2", "dry", "mirostat2", "mirostat2_update"]

LONGEST = 50
"""Tokens of a repetition that DRY counts; longer ones are penalised alike."""
STEEPEST = 1e4
"""What DRY's growth ends at: exp(-1e4) is nothing, and no format overflows."""


def dry(
    logits: Tensor,
    input_ids: Tensor,
    *,
    multiplier: float = 0.8,
    base: float = 1.75,
    allowed: int = 2,
    window: int | None = None,
    breakers: Sequence[int] = (),
) -> Tensor:
    r"""Lower the token that would continue a repetition, the more the longer it is already.

    Where the last m tokens stood earlier in the row, what followed them there loses

    .. math:: \text{multiplier} \cdot \text{base}^{\,m - \text{allowed}} \qquad (m \ge \text{allowed})

    with the longest m for each token. Nothing is removed.

    Args:
        logits: Logits (rows, vocabulary), -inf where a token is out already.
        input_ids: Tokens so far (rows, length), prompt and padding included.
        multiplier: 0 or more; 0 does nothing. Published: 0.8.
        base: 1 or more. Published: 1.75.
        allowed: Longest repetition that is free, in tokens; the token that would make it longer is
            lowered. 1 or more. Published: 2.
        window: How many of the last tokens are looked at; None for all.
        breakers: Ids that no repetition runs across and that are never lowered themselves: newlines,
            quotes, colons, and the special tokens, among them the padding. Without these a chat
            template counts as a repetition.

    Returns:
        The logits, lowered where a repetition would go on.

    Raises:
        ValueError: If an option or a shape is impossible.

    Example:
        >>> ids = torch.tensor([[3, 0, 1, 2, 3, 0, 1]])  # 3 0 1 again: three tokens, one too many
        >>> dry(torch.zeros(1, 4), ids)
        tensor([[ 0.0000,  0.0000, -1.4000,  0.0000]])

    Reference:
        P. E. Weidmann, "DRY: A modern repetition penalty", text-generation-webui pull request 5677;
        no paper. Repetitions count up to 50 tokens.
    """
    _check_dry(multiplier, base, allowed, window, breakers)
    z = wide(logits)
    if input_ids.ndim != 2 or len(input_ids) != len(z):
        raise ValueError(
            f"input_ids must have shape ({len(z)}, length), got {tuple(input_ids.shape)}"
        )
    ids = input_ids if window is None else input_ids[:, -window:]
    if multiplier == 0 or ids.shape[1] < 2:
        return logits
    breaks = torch.zeros(z.shape[-1], dtype=torch.bool, device=z.device)
    breaks[ids_within(breakers, z)] = True
    broken = breaks[ids]
    repeated = _repeated(ids, broken)
    growth = torch.pow(base, (repeated - allowed).to(z.dtype)).clamp(max=STEEPEST)
    penalty = (multiplier * growth).masked_fill((repeated < allowed) | broken, 0.0)
    lowered = torch.zeros_like(z).scatter_reduce_(1, ids, penalty, "amax")
    return (z - lowered).to(logits.dtype)


def _repeated(ids: Tensor, broken: Tensor) -> Tensor:
    """Return how many tokens before each token equal the last ones of the row, (rows, length)."""
    length = ids.shape[1]
    repeated = torch.zeros_like(ids)
    equal = torch.ones_like(broken)
    for back in range(1, min(LONGEST, length - 1) + 1):
        # Token j: is the one `back` before it the row's `back`-th from behind?
        equal[:, :back] = False
        equal[:, back:] &= ids[:, :-back] == ids[:, -back, None]
        equal &= ~broken[:, -back, None]
        if not equal.any():
            break
        repeated += equal
    return repeated


def _check_dry(
    multiplier: float, base: float, allowed: int, window: int | None, breakers: Sequence[int]
) -> None:
    check_number("multiplier", multiplier, low=0.0, low_included=True, high_included=False)
    check_number("base", base, low=1.0, low_included=True, high_included=False)
    check_integer("allowed", allowed, 1)
    if window is not None:
        check_integer("window", window, 2)
    check_token_ids("breakers", breakers)


@dataclass(frozen=True)
class DRY(LogitsProcessor):
    """`dry` as a transformers processor.

    Args:
        multiplier: See `dry`.
        base: See `dry`.
        allowed: See `dry`.
        window: See `dry`.
        breakers: See `dry`; `SamplingChain.for_tokenizer` fills it in.

    Raises:
        ValueError: If an option is impossible.
    """

    multiplier: float = 0.8
    base: float = 1.75
    allowed: int = 2
    window: int | None = None
    breakers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check_dry(self.multiplier, self.base, self.allowed, self.window, self.breakers)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the logits of the next token, lowered where a repetition would go on."""
        return dry(
            scores,
            input_ids,
            multiplier=self.multiplier,
            base=self.base,
            allowed=self.allowed,
            window=self.window,
            breakers=self.breakers,
        )


def mirostat2(logits: Tensor, state: Tensor) -> Tensor:
    r"""Remove the tokens that would surprise by more than the state, in bits.

    .. math:: -\log_2 p_i > \mu

    Args:
        logits: Logits (rows, vocabulary), -inf where a token is out already.
        state: :math:`\mu` of each row (rows,), in bits; at first twice the target. +inf removes
            nothing.

    Returns:
        The logits, -inf where removed. The token is drawn from exactly these.

    Raises:
        ValueError: If a shape is impossible.

    Example:
        >>> p = torch.tensor([[0.5, 0.25, 0.125, 0.125]])
        >>> mirostat2(p.log(), torch.tensor([2.5])).exp()
        tensor([[0.5000, 0.2500, 0.0000, 0.0000]])

    Reference:
        S. Basu et al., "Mirostat: A Neural Text Decoding Algorithm that Directly Controls
        Perplexity", arXiv 2007.14966, in the second version of its authors' code.
    """
    z = wide(logits)
    if state.shape != z.shape[:1]:
        raise ValueError(f"state must have shape ({len(z)},), got {tuple(state.shape)}")
    return remove_below(logits, z.log_softmax(-1), -math.log(2) * state.to(z).unsqueeze(-1))


def mirostat2_update(
    state: Tensor, logits: Tensor, tokens: Tensor, *, tau: float = 5.0, eta: float = 0.1
) -> Tensor:
    r"""Return the state after a draw: less room after a surprise above the target, else more.

    .. math:: \mu \leftarrow \mu - \eta \, (-\log_2 q_i - \tau)

    q being the distribution that token i was drawn from.

    Args:
        state: :math:`\mu` of each row (rows,), in bits.
        logits: What `mirostat2` returned, (rows, vocabulary).
        tokens: What was drawn, (rows,). A token that could not be drawn, such as the padding of a
            finished row, leaves its state as it was.
        tau: Target surprise in bits a token, above 0; `math.inf` never removes anything.
            Published: 5.0.
        eta: How fast the state follows, 0 or more. Published: 0.1.

    Returns:
        The new state (rows,).

    Raises:
        ValueError: If an option is impossible.

    Example:
        >>> p = torch.tensor([[0.5, 0.25, 0.0, 0.0]])  # q = 2/3, 1/3
        >>> mirostat2_update(torch.tensor([2.5]), p.log(), torch.tensor([0]))
        tensor([2.9415])
    """
    _check_mirostat2(tau, eta)
    z = wide(logits)
    if math.isinf(tau):
        return torch.full_like(state, math.inf)
    log_q = z.log_softmax(-1).gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
    surprise = -log_q / math.log(2)
    moved = state - eta * (surprise.to(state) - tau)
    return torch.where(surprise.isfinite(), moved, state)


def _check_mirostat2(tau: float, eta: float) -> None:
    check_number("tau", tau, low=0.0)
    check_number("eta", eta, low=0.0, low_included=True, high_included=False)


@dataclass
class Mirostat2(LogitsProcessor):
    """`mirostat2` as a transformers processor; it must be the last one before the draw.

    It keeps the state of every row from step to step, and starts afresh where the tokens it is
    given are not those of the last step with one more.

    Args:
        tau: See `mirostat2_update`.
        eta: See `mirostat2_update`.

    Raises:
        ValueError: If an option is impossible.
    """

    tau: float = 5.0
    eta: float = 0.1
    state: Tensor | None = field(default=None, init=False, compare=False, repr=False)
    _seen: Tensor | None = field(default=None, init=False, compare=False, repr=False)
    _left: Tensor | None = field(default=None, init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_mirostat2(self.tau, self.eta)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the logits of the next token, -inf where removed."""
        goes_on = self._seen is not None and torch.equal(input_ids[:, :-1], self._seen)
        if goes_on and self.state is not None and self._left is not None:
            self.state = mirostat2_update(
                self.state, self._left, input_ids[:, -1], tau=self.tau, eta=self.eta
            )
        else:
            self.state = wide(scores).new_full((len(scores),), 2 * self.tau)
        self._left = mirostat2(scores, self.state)
        self._seen = input_ids
        return self._left
