"""Sibling repulsion: what the other samples of a prompt have said already becomes less likely."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor

from diversify.decoding.siblings.loops import groups_of
from diversify.decoding.warpers.rows import (
    check_number,
    check_token_ids,
    entropy,
    ids_within,
    log_probabilities,
    wide,
)
from diversify.kernels import check_integer

__all__ = ["SiblingRepulsion", "sibling_penalty"]


def sibling_penalty(
    logits: Tensor,
    input_ids: Tensor,
    *,
    group_size: int,
    prompt_length: int,
    special: Sequence[int],
    n: int = 3,
    weight: float = 1.5,
    min_entropy: float = 0.5,
    protected: Sequence[int] = (),
) -> Tensor:
    r"""Lower the tokens with which siblings went on after the same n - 1 tokens.

    .. math::
        z_{iv} \leftarrow z_{iv} - w \, \bigl| \{ j \ne i : \text{the completion of } j
        \text{ contains } (g_i, v) \} \bigr|

    where g_i is what row i ends with, n - 1 tokens of its completion, and j runs over the other
    completions of the same prompt, finished ones included. A sibling counts once however often it
    says it. Nothing is removed, and rows of other prompts play no part.

    Left as they are: rows that have ended; rows whose distribution has an entropy below
    `min_entropy`, where there is one right token and siblings ought to agree; protected tokens.

    Args:
        logits: Logits (rows, vocabulary), -inf where a token is out already.
        input_ids: Tokens so far (rows, length), prompt and left padding included; the siblings of
            one prompt are neighbours.
        group_size: Rows of one prompt.
        prompt_length: Where the completions begin, the same for all rows.
        special: Ids of special tokens, at least the end of a text and padding: they are never
            lowered, no n-gram runs across them, and a row that ends with one has ended.
        n: Length of the n-grams, 1 or more. Longer ones repel less and spare more common phrases.
        weight: Taken from the logit for each sibling, 0 or more; 0 does nothing.
        min_entropy: In nats, 0 or more.
        protected: More ids that are never lowered: line breaks, punctuation, brackets.

    Returns:
        Logits of the same shape.

    Raises:
        ValueError: If an option is impossible, or the rows are not whole groups.

    Example:
        >>> ids = torch.tensor([[9, 1, 2, 3], [9, 4, 1, 2], [9, 5, 6, 1]])
        >>> options = {"group_size": 3, "prompt_length": 1, "special": [0], "n": 2}
        >>> sibling_penalty(torch.zeros(3, 4), ids, **options, weight=1.0)
        tensor([[ 0.,  0.,  0.,  0.],
                [ 0.,  0.,  0., -1.],
                [ 0.,  0., -2.,  0.]])

    Reference:
        The n-gram penalty between parallel samples is common practice and has no single paper; the
        gate by entropy follows that of G2 (Z. Ruan et al., arXiv 2511.00432). The defaults are ours.
    """
    _check_options(n, weight, min_entropy, special, protected)
    check_integer("prompt_length", prompt_length, 0)
    groups_of(len(input_ids), check_integer("group_size", group_size, 1))
    completions = input_ids[:, prompt_length:]
    if weight == 0 or group_size == 1 or completions.shape[1] < n:
        return logits
    rows, tokens = _siblings_went_on(completions, group_size, n, special)
    spared = torch.isin(tokens, ids_within(protected, logits))
    rows, tokens = rows[~spared], tokens[~spared]
    if min_entropy > 0 and len(rows):
        some, place = torch.unique(rows, return_inverse=True)
        open_ended = entropy(log_probabilities(wide(logits[some]))).squeeze(-1) >= min_entropy
        rows, tokens = rows[open_ended[place]], tokens[open_ended[place]]
    if not len(rows):
        return logits
    taken = logits.new_full((), -weight)
    return logits.index_put((rows, tokens), taken, accumulate=True)


def _siblings_went_on(
    completions: Tensor, group_size: int, n: int, special: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """List (row, token), once for each sibling of the row whose completion has that n-gram."""
    ends = torch.as_tensor(special, dtype=torch.long, device=completions.device)
    grouped = completions.view(-1, group_size, completions.shape[1])
    windows = grouped.unfold(-1, n, 1)  # (groups, siblings, places, n)
    whole = ~torch.isin(windows, ends).any(-1)
    running = ~torch.isin(grouped[..., -1], ends)
    others = ~torch.eye(group_size, dtype=torch.bool, device=completions.device)
    found = others[..., None] & running[:, :, None, None] & whole[:, None]
    for back in range(n - 1):  # (groups, rows, siblings, places): does the context agree?
        own = grouped[:, :, grouped.shape[-1] - (n - 1) + back]
        found &= windows[:, None, :, :, back] == own[:, :, None, None]
    group, row, sibling, place = found.nonzero(as_tuple=True)
    tokens = windows[group, sibling, place, -1]
    once = torch.unique(torch.stack([group * group_size + row, sibling, tokens]), dim=1)
    return once[0], once[2]


@dataclass(frozen=True)
class SiblingRepulsion:
    r"""Let the samples of a prompt avoid each other's n-grams while they are being written.

    See `sibling_penalty` for the formula. All samples advance together, so none is the first that
    the others have to avoid, and at the same step they do not see each other: the first tokens of
    the completions are free. It changes words more surely than meaning.

    Cost: no model work; comparing each row's end with its siblings at each step. A `Decoder` for
    `TransformersEngine(model, decoder=...)`, or `model.generate(..., num_return_sequences=n,
    **decoder(n, prompt length))`. It runs before temperature and truncation.

    Args:
        special: Ids of special tokens; `tokenizer.all_special_ids` is right for most models.
        n: See `sibling_penalty`, as for all that follow.
        weight: 0.5 is mild, 5 close to a ban.
        min_entropy: 0 repels everywhere, `math.inf` nowhere.
        protected: For instance `warpers.token_ids_with(tokenizer, ["\n", "{", "}"])`.

    Raises:
        ValueError: If an option is impossible.
    """

    special: Sequence[int]
    n: int = 3
    weight: float = 1.5
    min_entropy: float = 0.5
    protected: Sequence[int] = ()

    def __post_init__(self) -> None:
        _check_options(self.n, self.weight, self.min_entropy, self.special, self.protected)
        object.__setattr__(self, "special", tuple(sorted(set(self.special))))
        object.__setattr__(self, "protected", tuple(sorted(set(self.protected))))

    def __call__(self, siblings: int, length: int) -> Mapping[str, Any]:
        """Return the processor for one call of `model.generate`."""
        return {"logits_processor": [_Repulsion(self, siblings, length)]}


class _Repulsion(LogitsProcessor):
    def __init__(self, options: SiblingRepulsion, siblings: int, length: int) -> None:
        self.options = asdict(options) | {"group_size": siblings, "prompt_length": length}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        return sibling_penalty(scores, input_ids, **self.options)


def _check_options(
    n: int, weight: float, min_entropy: float, special: Sequence[int], protected: Sequence[int]
) -> None:
    check_integer("n", n, 1)
    check_number("weight", weight, low=0.0, low_included=True, high_included=False)
    check_number("min_entropy", min_entropy, low=0.0, low_included=True)
    check_token_ids("special", special)
    check_token_ids("protected", protected)
    if not len(special):
        raise ValueError("special must name at least the tokens of end and padding, got none")
