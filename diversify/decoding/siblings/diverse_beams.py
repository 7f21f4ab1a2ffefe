"""Diverse beam search: groups of beams, each of which avoids the tokens of those before it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from diversify.decoding.siblings.loops import groups_of, stream_of_generate
from diversify.decoding.warpers.rows import check_number
from diversify.kernels import check_integer

__all__ = ["DiverseBeams", "hamming_choice"]


def hamming_choice(
    totals: Tensor, used: Tensor, *, strength: float, size: int
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Pick the best continuations of one group's beams, given what earlier groups just chose.

    .. math:: \max_{k, v} \; \log p(y_k, v) - \lambda \, \text{used}_v

    Args:
        totals: Log-probabilities (prompts, beams, vocabulary) of every continuation, from the
            start of the text.
        used: How many beams of earlier groups took each token at this step, (prompts, vocabulary).
        strength: lambda, 0 or more.
        size: How many to pick, at most beams * vocabulary.

    Returns:
        Log-probabilities without the penalty, beams and tokens, each (prompts, size), best first by
        the penalised value.

    Example:
        >>> totals = torch.tensor([[[-1.0, -1.2, -3.0]]])
        >>> used = torch.tensor([[1.0, 0.0, 0.0]])
        >>> hamming_choice(totals, used, strength=0.5, size=2)[2]
        tensor([[1, 0]])
    """
    penalised = totals - strength * used.unsqueeze(1)
    picked = penalised.flatten(1).topk(size).indices
    scores = totals.flatten(1).gather(1, picked)
    return scores, picked // totals.shape[-1], picked % totals.shape[-1]


@dataclass(frozen=True)
class DiverseBeams:
    r"""Search for likely texts in groups; at each step a group avoids the tokens of earlier ones.

    .. math:: \max_y \; \log p(y_{\le t}) - \lambda \, |\{\text{beams of earlier groups that took }
        y_t \text{ at step } t\}|

    Deterministic: no random numbers. The distribution that is searched is the one that sampling
    would draw from, with every processor and warper of the call. With one group it is beam search
    as transformers runs it. Finished texts are ranked by log-probability / length^length_penalty,
    without the penalty, and a group ends when its worst finished text beats what its best running
    beam has now, which is transformers' rule, too.

    The rows of a prompt come group by group, the first group first; within a group best first. The
    first group is plain beam search.

    For short answers with few good words. It needs a lambda above the gap in log-probability to
    turn a choice, and equal beginnings shifted by a token count as different.

    Cost: that of as many beams; besides, a sort of the vocabulary for each group and step. A
    `Decoder` for `TransformersEngine(model, decoder=DiverseBeams())`, or with transformers alone
    `model.generate(ids, num_return_sequences=n, do_sample=True, top_k=0, **DiverseBeams()(n, 0))`.

    Args:
        groups: How many; must divide the samples of a prompt. None makes every sample a group.
        strength: lambda, 0 or more; 0 makes all groups alike. Published: 0.2 to 0.8.
        length_penalty: Above 0 favours long texts, below 0 short ones.

    Raises:
        ValueError: If an option is impossible; when called, if the samples are no whole groups, the
            model's cache cannot be reordered, or fewer texts are possible than were asked for.

    Reference:
        A. Vijayakumar et al., "Diverse Beam Search: Decoding Diverse Solutions from Neural Sequence
        Models", arXiv 1610.02424, with its Hamming diversity. The penalty decides a step and is not
        carried along in the score of a beam; beams that have just ended count for nobody.
    """

    groups: int | None = None
    strength: float = 0.5
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.groups is not None:
            check_integer("groups", self.groups, 1)
        check_number("strength", self.strength, low=0.0, low_included=True, high_included=False)
        if not math.isfinite(self.length_penalty):
            raise ValueError(f"length_penalty must be a finite number, got {self.length_penalty}")

    def __call__(self, siblings: int, length: int) -> Mapping[str, Any]:
        """Return the token loop for groups of `siblings` rows."""
        del length
        groups = siblings if self.groups is None else self.groups
        if siblings % groups:
            raise ValueError(f"groups must divide the {siblings} samples of a prompt, got {groups}")
        search = partial(self._search, siblings=siblings, groups=groups)
        return {"custom_generate": search}

    def _search(
        self,
        model: Any,
        input_ids: Tensor,
        logits_processor: Any,
        stopping_criteria: Any,
        generation_config: Any,
        *,
        siblings: int,
        groups: int,
        **model_kwargs: Any,
    ) -> Tensor:
        prompts, width = groups_of(len(input_ids), siblings), siblings // groups
        stream = stream_of_generate(model, generation_config, model_kwargs)
        ends = generation_config._eos_token_tensor
        finished = _Finished(prompts, groups, width, self.length_penalty, input_ids.shape[1])
        totals = torch.full((prompts, groups, width), -torch.inf, device=input_ids.device)
        totals[..., 0] = 0.0  # one copy of the prompt: equal beams would choose alike
        ids = input_ids
        while not finished.all():
            logits = logits_processor(ids, stream.logits(ids))
            log_p = logits.log_softmax(-1).view(prompts, groups, width, -1)
            used = log_p.new_zeros(prompts, log_p.shape[-1])
            rows = ids.view(prompts, groups, width, -1)
            # Every beam can end in as many ways as there are ends; `width` others must remain.
            size = min(width * (1 + (0 if ends is None else len(ends))), width * log_p.shape[-1])
            kept, parents = [], []
            for group in range(groups):
                scores, beams, tokens = hamming_choice(
                    totals[:, group, :, None] + log_p[:, group],
                    used,
                    strength=self.strength,
                    size=size,
                )
                past = rows[:, group].gather(1, beams[..., None].expand(-1, -1, ids.shape[1]))
                grown = torch.cat([past, tokens[..., None]], dim=-1)
                ended = stopping_criteria(grown.flatten(0, 1), None).view_as(tokens)
                finished.take(group, grown, scores, ended)
                running = scores.masked_fill(ended, -torch.inf)
                totals[:, group], place = running.topk(width, dim=1)
                still_open = ~finished.done[:, group, None].to(ids.device)
                goes_on = torch.isfinite(totals[:, group]) & still_open
                used.scatter_add_(1, tokens.gather(1, place), goes_on.to(used.dtype))
                kept.append(grown.gather(1, place[..., None].expand(-1, -1, grown.shape[-1])))
                parents.append(beams.gather(1, place) + group * width)
                finished.close(group, totals[:, group], grown.shape[-1])
            ids = torch.stack(kept, 1).flatten(0, 2)
            offset = torch.arange(prompts, device=ids.device)[:, None] * siblings
            stream.reorder((torch.cat(parents, 1) + offset).flatten())
        return finished.rows(generation_config._pad_token_tensor)


class _Finished:
    """The best finished texts of every group."""

    def __init__(
        self, prompts: int, groups: int, width: int, length_penalty: float, start: int
    ) -> None:
        self.width, self.length_penalty, self.start = width, length_penalty, start
        self.done = torch.zeros(prompts, groups, dtype=torch.bool)
        self.texts: list[list[list[tuple[float, Tensor]]]] = [
            [[] for _ in range(groups)] for _ in range(prompts)
        ]

    def all(self) -> bool:
        return bool(self.done.all())

    def take(self, group: int, grown: Tensor, scores: Tensor, ended: Tensor) -> None:
        """Take in what ended among the best `width` continuations of the groups still open."""
        ranked = self._ranked(scores, grown.shape[-1])
        top = (ended & torch.isfinite(scores))[:, : self.width]
        for prompt, place in top.nonzero().tolist():
            if not self.done[prompt, group]:
                texts = self.texts[prompt][group]
                texts.append((float(ranked[prompt, place]), grown[prompt, place]))
                texts.sort(key=lambda text: -text[0])
                del texts[self.width :]

    def close(self, group: int, running: Tensor, length: int) -> None:
        """Close the groups that cannot go on, or that no running beam would improve."""
        best = self._ranked(running[:, 0], length).tolist()
        for prompt, hope in enumerate(best):
            texts = self.texts[prompt][group]
            full = len(texts) == self.width
            if hope == -math.inf or (full and hope <= texts[-1][0]):
                self.done[prompt, group] = True

    def rows(self, pad: Tensor | None) -> Tensor:
        """Return the texts (prompts * groups * width, length), padded on the right."""
        found = [text for prompt in self.texts for group in prompt for _, text in group]
        wanted = self.done.numel() * self.width
        if len(found) < wanted:
            raise ValueError(
                f"the search found {len(found)} of {wanted} texts: with this sampling the model "
                "cannot say more"
            )
        return pad_sequence(found, batch_first=True, padding_value=0 if pad is None else int(pad))

    def _ranked(self, scores: Tensor, length: int) -> Tensor:
        return scores / math.pow(length - self.start, self.length_penalty)
