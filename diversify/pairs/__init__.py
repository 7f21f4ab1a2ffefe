"""Pools of completions to preference pairs: data for DPO that pulls a model towards difference.

Two rules choose the pairs of one prompt's pool. `divpo_pairs` is the published one: the most
diverse of the best against the least diverse of the worst. `gated_pairs` is ours: completions that
pass every quality gate and differ from the pool and from each other, against the most typical
completions of the pool, or the worst.

Both are pure functions of arrays (`rules`); `build_pairs` asks kernel and qualities and makes the
data set (`build`). What a tuned model no longer says cannot be chosen from its own pool: merge
pools of hotter sampling or of the base model (REDIPO, arXiv 2605.30021).
"""

from diversify.pairs.build import PairRule, build_pairs, merge_pools
from diversify.pairs.rules import deviation_weights, divpo_pairs, gated_pairs, match, pairable

__all__ = [
    "PairRule",
    "build_pairs",
    "deviation_weights",
    "divpo_pairs",
    "gated_pairs",
    "match",
    "merge_pools",
    "pairable",
]
