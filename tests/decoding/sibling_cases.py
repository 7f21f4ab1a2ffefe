"""What tests of decoding with siblings compare with: every text of two tokens, read one by one."""

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
