"""Stochastic beam search: samples of a prompt drawn without replacement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from diversify.decoding.siblings.loops import check_drawing, groups_of, stream_of_generate
from diversify.engines import Sampling
from diversify.kernels import check_integer

__all__ = ["StochasticBeams", "gumbel_children"]


def gumbel_children(
    log_p: Tensor, maximum: Tensor, *, generator: torch.Generator | None = None
) -> Tensor:
    r"""Draw Gumbel-perturbed log-probabilities whose maximum is given.

    With :math:`\tilde G_v = \log p_v + \text{Gumbel}(0)`, :math:`Z = \max_v \tilde G_v` and the
    given maximum T:

    .. math::
        u_v = T - \tilde G_v + \log(1 - e^{\tilde G_v - Z}), \qquad
        G_v = T - \max(0, u_v) - \log(1 + e^{-|u_v|})

    That is the law of the :math:`\tilde G` given that the largest is T, whatever log p sums to, and
    the order among them stays. So a prefix of a text can be perturbed before its continuations, as
    if all texts had been perturbed at once.

    Args:
        log_p: Log-probabilities (..., vocabulary), float64, -inf where impossible.
        maximum: T (...), -inf for a prefix that is not there.
        generator: Where the random numbers come from; None is torch's own stream.

    Returns:
        G (..., vocabulary), with maximum T.

    Example:
        >>> log_p = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64).log()
        >>> perturbed = gumbel_children(log_p, torch.tensor(1.0, dtype=torch.float64))
        >>> print(perturbed.max(), perturbed[2])
        tensor(1., dtype=torch.float64) tensor(-inf, dtype=torch.float64)

    Reference:
        W. Kool, H. van Hoof and M. Welling, "Stochastic Beams and Where to Find Them: The
        Gumbel-Top-k Trick for Sampling Sequences Without Replacement", arXiv 1903.06059.
    """
    noise = torch.empty_like(log_p).exponential_(generator=generator)
    perturbed = log_p - noise.log_()
    gap = perturbed - perturbed.amax(-1, keepdim=True)
    shift = maximum.unsqueeze(-1) - perturbed + torch.log(-torch.expm1(gap))
    found = maximum.unsqueeze(-1) - shift.clamp(min=0.0) - torch.log1p(torch.exp(-shift.abs()))
    # -inf minus -inf: impossible tokens, and prefixes that are not there.
    return found.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)


@dataclass(frozen=True)
class StochasticBeams:
    r"""Draw the samples of a prompt without replacement: no two token sequences are the same.

    Every possible text has a log-probability perturbed by a Gumbel variable, and the n texts with
    the largest are found by a beam search, without looking at the others. The result is exact: the
    rows of a prompt are in the order of drawing, so the first is a plain sample from the model with
    the temperature and truncation of the call, the second a sample from what remains, and so on. A
    text that is cut off at the longest length counts as a text.

    Different sequences need not say different things, and one more space makes a new sequence. As
    the likely texts are used up, later rows come from further down than plain samples do.

    Cost: that of n beams, and random numbers in float64 for n times the vocabulary at each step. A
    `Decoder` for `TransformersEngine(model, decoder=StochasticBeams())`, or with transformers alone
    `model.generate(ids, do_sample=True, num_return_sequences=n, **StochasticBeams()(n, 0))`. The
    random numbers come from the stream that `generate` draws from, which the engine seeds for each
    prompt. An engine that draws a prompt's samples in parts may repeat a text from part to part.

    Raises:
        ValueError: When called, if decoding is greedy, the model's cache cannot be reordered, or
            fewer texts are possible than were asked for.

    Reference:
        See `gumbel_children`. No deviation; their importance weights are not returned.
    """

    def __call__(self, siblings: int, length: int) -> Mapping[str, Any]:
        """Return the token loop for groups of `siblings` rows."""
        del length
        siblings = check_integer("siblings", siblings, 1)
        return {"custom_generate": partial(_search, siblings=siblings)}

    def check_sampling(self, sampling: Sampling) -> None:
        """Accept a `Sampling` that draws.

        Raises:
            ValueError: If it is greedy.
        """
        check_drawing(sampling)


def _search(
    model: Any,
    input_ids: Tensor,
    logits_processor: Any,
    stopping_criteria: Any,
    generation_config: Any,
    *,
    siblings: int,
    **model_kwargs: Any,
) -> Tensor:
    check_drawing(generation_config)
    prompts = groups_of(len(input_ids), siblings)
    stream = stream_of_generate(model, generation_config, model_kwargs)
    device = torch.device("cpu") if input_ids.device.type == "mps" else input_ids.device
    pad = generation_config._pad_token_tensor
    pad_id = 0 if pad is None else int(pad)
    log_p = torch.full((prompts, siblings), -torch.inf, dtype=torch.float64, device=device)
    log_p[:, 0] = 0.0  # the empty text; its copies are not there yet
    perturbed, ended = log_p.clone(), torch.zeros_like(log_p, dtype=torch.bool)
    ids = input_ids
    while not bool(ended.all()):
        logits = logits_processor(ids, stream.logits(ids)).to(device).double()
        children = log_p.unsqueeze(-1) + logits.log_softmax(-1).view(prompts, siblings, -1)
        drawn = gumbel_children(children, perturbed)
        drawn[ended] = -torch.inf  # an ended text has one continuation: itself
        drawn[..., pad_id] = torch.where(ended, perturbed, drawn[..., pad_id])
        vocabulary = drawn.shape[-1]
        perturbed, picked = drawn.flatten(1).topk(siblings)
        beams, tokens = picked // vocabulary, picked % vocabulary
        was_ended = ended.gather(1, beams)
        fresh = children.flatten(1).gather(1, picked)
        log_p = torch.where(was_ended, log_p.gather(1, beams), fresh)
        offset = torch.arange(prompts, device=device)[:, None] * siblings
        rows = (beams + offset).flatten().to(ids.device)
        ids = torch.cat([ids[rows], tokens.flatten()[:, None].to(ids.device)], dim=1)
        stream.reorder(rows)
        ended = was_ended | stopping_criteria(ids, None).view(prompts, siblings).to(device)
    if bool(torch.isneginf(perturbed).any()):
        possible = int(torch.isfinite(perturbed).sum(1).min())
        raise ValueError(
            f"{siblings} different texts were asked for: with this sampling the model can say "
            f"only {possible}"
        )
    return ids
