"""Rewards of one group to advantages: what a policy gradient multiplies each completion with.

Functions of one group: rewards (n,), and where the method asks for them log-probabilities (n,) or
classes (n,). They take torch tensors, on any device, or arrays, and return the same kind; arrays are
computed in float64, tensors in their own floating type. `unlikeliness` and `mara` return *rewards*,
of which `group_advantages` then makes advantages; everything else returns advantages.

`ADVANTAGES` says of each what it needs; `AdvantageMethod` binds its options, for a trainer.
"""

from diversify.advantages.baseline import (
    group_advantages,
    max_rl,
    pass_at_k,
    pkpo,
    uniqueness,
)
from diversify.advantages.likelihood import mara, ucpo, unlikeliness
from diversify.advantages.method import ADVANTAGES, AdvantageMethod, Anneal

__all__ = [
    "ADVANTAGES",
    "AdvantageMethod",
    "Anneal",
    "group_advantages",
    "mara",
    "max_rl",
    "pass_at_k",
    "pkpo",
    "ucpo",
    "uniqueness",
    "unlikeliness",
]
