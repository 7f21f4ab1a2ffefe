"""What the samplers share: the arithmetic of rows of logits, and the checks of their options.

Statistics are taken in float32 or better over the finite logits of a row; what is removed becomes
-inf, and what is kept is returned bit for bit. A row needs at least one finite logit. NaN is never
taken for a removed token: it comes out as it came in, and the host refuses to draw from it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from diversify.kernels import check_integer

__all__ = [
    "REMOVED",
    "best",
    "check_number",
    "check_token_ids",
    "entropy",
    "finite_count",
    "ids_within",
    "keep_head",
    "leading",
    "log_probabilities",
    "remove_below",
    "token_ids_with",
    "wide",
]

REMOVED = -torch.inf
HEAD = 64
"""So many of the best tokens are sorted at first; the whole vocabulary would cost a forward pass."""
BLOCK = 64
"""Neighbouring tokens that `leading` looks at as one."""


def wide(logits: Tensor) -> Tensor:
    """Return logits (rows, vocabulary) in float32 or better.

    Raises:
        ValueError: If they have another shape, or are no floating numbers.
    """
    if logits.ndim != 2 or not logits.is_floating_point():
        raise ValueError(
            "logits must be floating numbers of shape (rows, vocabulary), "
            f"got {logits.dtype} of shape {tuple(logits.shape)}"
        )
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def best(z: Tensor) -> Tensor:
    """Return the largest entry of each row, (rows, 1)."""
    return z.amax(-1, keepdim=True)


def finite_count(z: Tensor) -> Tensor:
    """Return how many entries of each row are not removed, (rows, 1), in the dtype of `z`."""
    if not (z.amin(-1) == REMOVED).any():  # counting costs more than looking
        return z.new_full((len(z), 1), z.shape[-1])
    return (z != REMOVED).sum(-1, keepdim=True).to(z.dtype)


def log_probabilities(z: Tensor) -> Tensor:
    """Return log-probabilities in nats; a removed entry has a huge negative one, never -inf.

    So that p * log p is 0 for it, and not NaN.
    """
    return z.log_softmax(-1).clamp_(min=torch.finfo(z.dtype).min)


def entropy(log_p: Tensor) -> Tensor:
    """Return the entropy of each row in nats, (rows, 1), from `log_probabilities`."""
    # In place: on a CPU fresh memory of this size costs more than the arithmetic.
    return -log_p.exp().mul_(log_p).sum(-1, keepdim=True)


def remove_below(logits: Tensor, z: Tensor, cut: Tensor) -> Tensor:
    """Return the logits without those whose `z` lies below the cut; the best always stay.

    Args:
        logits: Logits (rows, vocabulary).
        z: Any increasing function of them, row by row.
        cut: (rows, 1), on the scale of `z`.
    """
    return torch.where(z < torch.minimum(cut, best(z)), REMOVED, logits)


def leading(z: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the best entries of each row in descending order and their places, as `topk` does.

    In half its time on a CPU: the best `size` lie within the `size` blocks whose own best are best.
    """
    blocks, left_over = divmod(z.shape[-1], BLOCK)
    if left_over or blocks < 4 * size:
        values, places = z.topk(min(size, z.shape[-1]))
        return values, places
    grouped = z.reshape(len(z), blocks, BLOCK)
    chosen = grouped.amax(-1).topk(size).indices
    candidates = grouped.gather(1, chosen.unsqueeze(-1).expand(-1, -1, BLOCK)).flatten(1)
    values, at = candidates.topk(size)
    return values, chosen.gather(1, at // BLOCK) * BLOCK + at % BLOCK


def keep_head(logits: Tensor, decide: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Tensor:
    """Return the logits without those below a cut that the best few decide, with no full sort.

    Rows that the head cannot decide are asked again with a longer one, at last with all of it.

    Args:
        logits: Logits (rows, vocabulary).
        decide: `(the best logits of some rows in descending order, which rows) -> (a cut for each,
            whether the tokens further down cannot change it)`.
    """
    left = torch.full_like(logits, REMOVED)
    z = wide(logits)
    rows = torch.arange(len(z), device=z.device)
    size = HEAD
    while len(rows):
        head, at = leading(z if len(rows) == len(z) else z[rows], size)
        cut, settled = decide(head, rows)
        # What ties with the cut must all be in sight, too; so must a cut that asks for more.
        done = (settled & (head[:, -1] < cut)) | (size >= z.shape[-1])
        row, place = (done.unsqueeze(-1) & ~(head < cut.unsqueeze(-1))).nonzero(as_tuple=True)
        chosen = rows[row], at[row, place]
        left[chosen] = logits[chosen]
        rows = rows[~done]
        size *= 4
    return left


def check_number(
    name: str,
    value: Any,
    *,
    low: float,
    high: float = math.inf,
    low_included: bool = False,
    high_included: bool = True,
) -> None:
    """Accept a number from `low` to `high`.

    Raises:
        ValueError: If it is none, or outside.

    Example:
        >>> check_number("threshold", 2, low=0.0, high=0.5)
        Traceback (most recent call last):
            ...
        ValueError: threshold must be a number in (0.0, 0.5], got 2
    """
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if (
        not number
        or not (low <= value if low_included else low < value)
        or not (value <= high if high_included else value < high)
    ):
        start, end = "[" if low_included else "(", "]" if high_included else ")"
        raise ValueError(f"{name} must be a number in {start}{low}, {high}{end}, got {value!r}")


def check_token_ids(name: str, ids: Iterable[int]) -> None:
    """Accept whole numbers of 0 or more.

    Raises:
        ValueError: If one is not.
    """
    for token in ids:
        if type(token) is not int or token < 0:  # asked at every step: the quick answer first
            check_integer(f"each of {name}", token, 0)


def ids_within(ids: Sequence[int], z: Tensor) -> Tensor:
    """Return those token ids that the logits have a place for; a tokenizer may know more."""
    given = torch.as_tensor(ids, dtype=torch.long, device=z.device)
    return given[given < z.shape[-1]]


def token_ids_with(tokenizer: Any, texts: Iterable[str]) -> tuple[int, ...]:
    r"""Return the ids of a tokenizer's special tokens and of tokens that contain one of the texts.

    Args:
        tokenizer: A transformers tokenizer.
        texts: For instance `["\n"]`.

    Returns:
        Ids, ascending.
    """
    wanted = tuple(texts)
    special = set(tokenizer.all_special_ids)
    special |= {i for i, added in tokenizer.added_tokens_decoder.items() if added.special}
    decoded = tokenizer.batch_decode(
        [[i] for i in range(len(tokenizer))], clean_up_tokenization_spaces=False
    )
    holding = {i for i, text in enumerate(decoded) if any(part in text for part in wanted)}
    return tuple(sorted(special | holding))
