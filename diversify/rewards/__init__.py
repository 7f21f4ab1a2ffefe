"""Rewards for TRL that look at the whole group of a prompt's completions.

    reward = DiversityReward(NgramKernel(), leave_one_out)
    GRPOTrainer(reward_funcs=reward, callbacks=[reward], ...)

The same with no script: `trl grpo --reward_funcs diversify.rewards.lexical_novelty`.
"""

from diversify.rewards.combine import GatedReward, ProductReward, reference_gate
from diversify.rewards.diversity import DiversityReward, GroupReward, GroupScores, PartitionCredit
from diversify.rewards.group import Group, gather_groups
from diversify.rewards.monitors import MONITORS, LengthPenalty, MonitorReward
from diversify.rewards.presets import (
    darling,
    dqo,
    dra,
    ips,
    lexical_novelty,
    moda,
    semantic_novelty,
)

__all__ = [
    "MONITORS",
    "DiversityReward",
    "GatedReward",
    "Group",
    "GroupReward",
    "GroupScores",
    "LengthPenalty",
    "MonitorReward",
    "PartitionCredit",
    "ProductReward",
    "darling",
    "dqo",
    "dra",
    "gather_groups",
    "ips",
    "lexical_novelty",
    "moda",
    "reference_gate",
    "semantic_novelty",
]
