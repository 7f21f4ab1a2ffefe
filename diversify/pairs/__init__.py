"""Pools of completions to preference pairs: data for DPO that pulls a model towards difference.

Four rules choose the pairs of one prompt's pool. `divpo_pairs` is DivPO's: the most diverse of the
best against the least diverse of the worst. `similar_pairs` is REDIPO's: the more diverse of two
that are about equally good. `gated_pairs` is ours: completions that pass every quality gate and
differ from the pool and from each other, against the most typical completions of the pool, or the
worst. The control takes the best against the worst.

What is diverse is a credit of the similarities, or a criterion (`rare_words`, `Improbability`, a
judge). What a pair weighs is `deviation_weights` (DDPO) or `creativity_weights` (CrPO).

The rules are pure functions of arrays; `build_pairs` asks kernel and qualities and makes the data
set. What a tuned model no longer says cannot be chosen from its own pool: merge pools of hotter
sampling or of the base model.
"""

from diversify.pairs.build import SIGNALS, build_pairs
from diversify.pairs.criteria import Improbability, rare_words, word_rarity
from diversify.pairs.pair_rule import PairRule
from diversify.pairs.rules import divpo_pairs, gated_pairs, match, pairable, similar_pairs
from diversify.pairs.weights import creativity_weights, deviation_weights
from diversify.pools import merge_pools

__all__ = [
    "SIGNALS",
    "Improbability",
    "PairRule",
    "build_pairs",
    "creativity_weights",
    "deviation_weights",
    "divpo_pairs",
    "gated_pairs",
    "match",
    "merge_pools",
    "pairable",
    "rare_words",
    "similar_pairs",
    "word_rarity",
]
