"""Rewards for TRL that look at the whole group of a prompt's completions.

    reward = DiversityReward(NgramKernel(), leave_one_out)
    GRPOTrainer(reward_funcs=reward, callbacks=[reward], ...)

The same with no script: `trl grpo --reward_funcs diversify.rewards.lexical_novelty`.
"""

from diversify.rewards.answers import UniformAnswers
from diversify.rewards.base import GroupReward, GroupScores
from diversify.rewards.combine import ProductReward, SumReward
from diversify.rewards.diversity import (
    ColumnKernel,
    CreditReward,
    DiversityReward,
    PartitionCredit,
)
from diversify.rewards.gated import GatedReward, reference_gate
from diversify.rewards.group import Group, gather_groups
from diversify.rewards.joint import JointReward, MarginalRelevance, PolychromicCredit
from diversify.rewards.monitors import (
    MONITORS,
    LengthDrift,
    LengthPenalty,
    MonitorGate,
    MonitorReward,
    Truncated,
)
from diversify.rewards.peers import PeerReward, peer_answers
from diversify.rewards.presets import (
    darling,
    dqo,
    dra,
    gapo,
    ips,
    lexical_novelty,
    mmr,
    moda,
    novelty,
    polychromic,
    repulsion,
    semantic_novelty,
    uniqueness,
)

__all__ = [
    "MONITORS",
    "ColumnKernel",
    "CreditReward",
    "DiversityReward",
    "GatedReward",
    "Group",
    "GroupReward",
    "GroupScores",
    "JointReward",
    "LengthDrift",
    "LengthPenalty",
    "MarginalRelevance",
    "MonitorGate",
    "MonitorReward",
    "PartitionCredit",
    "PeerReward",
    "PolychromicCredit",
    "ProductReward",
    "SumReward",
    "Truncated",
    "UniformAnswers",
    "darling",
    "dqo",
    "dra",
    "gapo",
    "gather_groups",
    "ips",
    "lexical_novelty",
    "mmr",
    "moda",
    "novelty",
    "peer_answers",
    "polychromic",
    "reference_gate",
    "repulsion",
    "semantic_novelty",
    "uniqueness",
]
