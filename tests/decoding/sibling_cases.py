"""Texts of two tokens, for tests of decoding with siblings: all of them, and many sets of drawn ones."""

from typing import Any

import torch
from torch import Tensor


def enumerated(
    model, ids: Tensor, *, temperature: float, k: int, end: int | None = None
) -> dict[tuple[int, ...], float]:
    """Probability of every text of up to two tokens, among the `k` best at each step.

    A text that begins with `end` has one token.
    """
    found = {}
    with torch.inference_mode():
        first = (model(ids).logits[0, -1].double() / temperature).topk(k)
        for token, p in zip(first.indices, first.values.softmax(-1), strict=True):
            if int(token) == end:
                found[int(token),] = float(p)
                continue
            grown = torch.cat([ids, token.view(1, 1)], 1)
            second = (model(grown).logits[0, -1].double() / temperature).topk(k)
            for next_token, q in zip(second.indices, second.values.softmax(-1), strict=True):
                found[int(token), int(next_token)] = float(p * q)
    return found


def drawn_sets(
    model,
    ids: Tensor,
    decoder: Any,
    *,
    sets: int,
    size: int,
    temperature: float,
    k: int,
    end: int | None = None,
    seed: int = 0,
) -> Tensor:
    """Draw the same number of texts for many copies of a prompt, by `generate`: (sets, size, 2)."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        out = model.generate(
            ids.expand(sets, -1),
            attention_mask=torch.ones(sets, ids.shape[1], dtype=torch.long),
            do_sample=True,
            temperature=temperature,
            top_k=k,
            max_new_tokens=2,
            eos_token_id=end,
            num_return_sequences=size,
            **decoder(size, ids.shape[1]),
        )
    return out[:, ids.shape[1] :].view(sets, size, 2)
