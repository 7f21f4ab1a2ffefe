"""XTC, which takes the top choices away: a function of logits, and a transformers processor."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from transformers import LogitsProcessor

from diversify.decoding.warpers.rows import (
    REMOVED,
    check_number,
    check_token_ids,
    ids_within,
    leading,
    wide,
)

__all__ = ["XTC", "xtc"]


def xtc(
    logits: Tensor,
    *,
    threshold: float = 0.1,
    probability: float = 0.5,
    protected: Sequence[int] = (),
    generator: torch.Generator | None,
) -> Tensor:
    """Exclude the top choices: of the tokens likely enough, now and then only the last one stays.

    With `probability`, row by row: where two tokens or more have p >= `threshold`, remove all of
    them but the least likely. The tail below the threshold is untouched, so truncate first.

    Args:
        logits: Logits (rows, vocabulary), -inf where a token is out already.
        threshold: In (0, 0.5]; above a half there are never two.
        probability: In [0, 1], of doing it at all at a step; 0 does nothing.
        protected: Ids that are neither removed nor counted among the choices: the ends, newlines,
            whatever a format needs. Without them a text may miss its end and run on, or be cut
            short because its end was the last choice left.
        generator: What the coins are drawn from, one for each row, finished rows included. None
            draws from torch's own stream, as `generate` does with its tokens.

    Returns:
        The logits, -inf where removed. Where several tie for the least likely, all of them stay.

    Raises:
        ValueError: If an option or the shape is impossible.

    Example:
        >>> p = torch.tensor([[0.5, 0.3, 0.15, 0.05]])
        >>> xtc(p.log(), probability=1.0, generator=None).exp()
        tensor([[0.0000, 0.0000, 0.1500, 0.0500]])

    Reference:
        P. E. Weidmann, "Exclude Top Choices (XTC)", text-generation-webui pull request 6335; no
        paper and no peer-reviewed evaluation. Protected tokens: ours count as no choice at all.
    """
    _check_xtc(threshold, probability, protected)
    z = wide(logits)
    if probability == 0:
        return logits
    device = logits.device if generator is None else generator.device
    tossed = torch.rand(len(z), generator=generator, device=device).to(z.device) < probability
    rows = tossed.nonzero().squeeze(-1)
    floor = z[rows].logsumexp(-1, keepdim=True) + math.log(threshold)
    choices = z[rows]
    if len(protected):
        choices[:, ids_within(protected, z)] = REMOVED
    # No more than 1 / threshold tokens can be this likely.
    head, at = leading(choices, math.floor(1 / threshold) + 1)
    chosen = head >= floor
    least = head.masked_fill(~chosen, torch.inf).amin(-1, keepdim=True)
    excluded = chosen & (head > least)
    result = logits.clone()
    result[rows.unsqueeze(-1).expand_as(at)[excluded], at[excluded]] = REMOVED
    return result


def _check_xtc(threshold: float, probability: float, protected: Sequence[int]) -> None:
    check_number("threshold", threshold, low=0.0, high=0.5)
    check_number("probability", probability, low=0.0, high=1.0, low_included=True)
    check_token_ids("protected", protected)


@dataclass(frozen=True)
class XTC(LogitsProcessor):
    """`xtc` as a transformers processor.

    Args:
        threshold: See `xtc`.
        probability: See `xtc`.
        protected: See `xtc`; `SamplingChain.for_tokenizer` fills it in.
        generator: See `xtc`.

    Raises:
        ValueError: If an option is impossible.
    """

    threshold: float = 0.1
    probability: float = 0.5
    protected: tuple[int, ...] = ()
    generator: torch.Generator | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        _check_xtc(self.threshold, self.probability, self.protected)

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the logits of the next token, -inf where removed."""
        return xtc(
            scores,
            threshold=self.threshold,
            probability=self.probability,
            protected=self.protected,
            generator=self.generator,
        )
