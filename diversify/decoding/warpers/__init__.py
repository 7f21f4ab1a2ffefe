"""Samplers of one row that transformers does not have, as functions and as processors.

A function takes logits (rows, vocabulary) and returns them with -inf where a token is removed; what
was -inf stays so and disturbs no statistic, and every row stands alone. Beside it, in CamelCase,
stands a transformers `LogitsProcessor` for `generate(logits_processor=[...])`. transformers runs
these *before* its own temperature and truncation, and adds `top_k=50` where nobody asked:
`diversify.decoding.SamplingChain` runs everything in the order that is written down.

None of them makes a model name another kind of answer: they keep or drop what it would say anyway.
"""

from diversify.decoding.warpers.choice import XTC, xtc
from diversify.decoding.warpers.entropy import EDT, TopH, edt, top_h
from diversify.decoding.warpers.history import DRY, Mirostat2, dry, mirostat2, mirostat2_update
from diversify.decoding.warpers.rows import token_ids_with
from diversify.decoding.warpers.truncation import (
    MinK,
    PLess,
    PLessNorm,
    TopNSigma,
    min_k,
    p_less,
    p_less_norm,
    top_n_sigma,
)

__all__ = [
    "DRY",
    "EDT",
    "XTC",
    "MinK",
    "Mirostat2",
    "PLess",
    "PLessNorm",
    "TopH",
    "TopNSigma",
    "dry",
    "edt",
    "min_k",
    "mirostat2",
    "mirostat2_update",
    "p_less",
    "p_less_norm",
    "token_ids_with",
    "top_h",
    "top_n_sigma",
    "xtc",
]
