"""Guidance: a text is pushed toward what one prompt would get and away from another's answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from transformers import LogitsProcessor

from diversify.decoding.siblings.loops import (
    Stream,
    check_host,
    groups_of,
    opened,
    refuse_sharded,
    sample_between,
)
from diversify.decoding.warpers.rows import check_number, entropy, log_probabilities, wide

__all__ = ["Guidance", "Guides", "check_guidance", "guided_logits"]

Guides: TypeAlias = tuple[Sequence[int], Sequence[int]]
"""Token ids of the guide toward, and of the guide away."""


def guided_logits(
    logits: Tensor,
    toward: Tensor,
    away: Tensor,
    *,
    weight: float = 0.3,
    min_entropy: float = 0.1,
) -> Tensor:
    r"""Add the difference of two guides where the model is undecided.

    .. math::
        z + w \, (z^{+} - z^{-}) \text{ where } H(\operatorname{softmax} z) \ge \beta,
        \qquad z \text{ elsewhere}

    Args:
        logits: z (rows, vocabulary).
        toward: z+ of the same shape, the model asked for something else.
        away: z- of the same shape, the model asked for the same again.
        weight: w, 0 or more; 0 does nothing.
        min_entropy: beta in nats, 0 or more.

    Returns:
        Logits of the same shape.

    Raises:
        ValueError: If an option is impossible.

    Example:
        >>> z = torch.tensor([[0.0, 0.0], [9.0, 0.0]])
        >>> toward, away = torch.tensor([[1.0, 0.0]] * 2), torch.tensor([[0.0, 1.0]] * 2)
        >>> guided_logits(z, toward, away, weight=0.5)
        tensor([[ 0.5000, -0.5000],
                [ 9.0000,  0.0000]])

    Reference:
        Z. Ruan et al., "G2: Guided Generation for Enhanced Output Diversity in LLMs", arXiv
        2511.00432.
    """
    check_guidance(weight, min_entropy)
    undecided = _undecided(logits, min_entropy)
    return torch.where(undecided, logits + weight * (toward - away), logits)


def _undecided(logits: Tensor, min_entropy: float) -> Tensor:
    return entropy(log_probabilities(wide(logits))) >= min_entropy


@dataclass(frozen=True)
class Guidance:
    """Guide the answers to some prompts by two other prompts each; see `guided_logits`.

    The guides are prompts whose answers the text should resemble, or not. They are read by the same
    model and then follow what is written, token by token.

    Cost: two more rows for each row, in one more forward pass for each token where some row is
    undecided. A `Decoder`.

    Args:
        guides: Token ids of a prompt, without padding -> token ids of the guide toward, and of the
            guide away.
        weight: See `guided_logits`.
        min_entropy: See `guided_logits`.

    Raises:
        ValueError: If an option is impossible; when called, if a prompt has no guides or the
            model's cache cannot be repeated.
        ImportError: If transformers has no sampling loop to call.
    """

    guides: Mapping[tuple[int, ...], Guides]
    weight: float = 0.3
    min_entropy: float = 0.1

    def __post_init__(self) -> None:
        check_host()
        check_guidance(self.weight, self.min_entropy)
        if not all(len(guide) for pair in self.guides.values() for guide in pair):
            raise ValueError("a guide needs at least one token, got an empty one")

    def __call__(self, siblings: int, length: int) -> Mapping[str, Any]:
        """Return the token loop for groups of `siblings` rows."""

        def generate(model: Any, input_ids: Tensor, **given: Any) -> Any:
            refuse_sharded(model)
            groups_of(len(input_ids), siblings)
            processor = self._processor(model, input_ids, given.get("attention_mask"), siblings)
            return sample_between(model, input_ids, before=[processor], **given)

        del length
        return {"custom_generate": generate}

    def _processor(
        self, model: Any, input_ids: Tensor, mask: Tensor | None, siblings: int
    ) -> LogitsProcessor:
        """Read the guides of every prompt, all of them at once."""
        mask = torch.ones_like(input_ids) if mask is None else mask
        rows = zip(input_ids[::siblings], mask[::siblings], strict=True)
        pairs = [self._guides_of(row[counts.bool()].tolist()) for row, counts in rows]
        texts = [list(pair[side]) for side in (0, 1) for pair in pairs]
        width = max(map(len, texts))
        ids = input_ids.new_tensor([[0] * (width - len(text)) + text for text in texts])
        counts = ids.new_tensor([[0] * (width - len(text)) + [1] * len(text) for text in texts])
        stream = opened(model, ids, counts, copies=siblings)
        return _Guiding(self, stream, ids.repeat_interleave(siblings, 0), input_ids.shape[1])

    def _guides_of(self, prompt: list[int]) -> Guides:
        if tuple(prompt) not in self.guides:
            raise ValueError(
                f"no guides were given for the prompt of {len(prompt)} tokens {prompt}"
            )
        return self.guides[tuple(prompt)]


class _Guiding(LogitsProcessor):
    def __init__(self, options: Guidance, stream: Stream, guides: Tensor, length: int) -> None:
        self.options, self.stream, self.guides, self.length = options, stream, guides, length

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        options = self.options
        if options.weight == 0 or not bool(_undecided(scores, options.min_entropy).any()):
            return scores  # the guides catch up when they are asked
        written = input_ids[:, self.length :].repeat(2, 1)
        both = self.stream.logits(torch.cat([self.guides, written], dim=1))
        return guided_logits(
            scores, *both.chunk(2), weight=options.weight, min_entropy=options.min_entropy
        )


def check_guidance(weight: float, min_entropy: float) -> None:
    """Accept the options of `guided_logits`.

    Raises:
        ValueError: If one is outside its range.
    """
    check_number("weight", weight, low=0.0, low_included=True, high_included=False)
    check_number("min_entropy", min_entropy, low=0.0, low_included=True)
