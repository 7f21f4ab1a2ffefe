"""Similarity to credit: what each text adds to its group, and which texts to keep.

A set-level number is the same for every member of a group, so a policy gradient learns nothing
from it; credit is per text. Four families:

- credits of `S`, listed in `CREDITS`: (n, n) similarities to (n,) credits;
- classes (`partition`, `leader_partition`), integer labels (n,), and the credits of labels;
- what labels say of their source: how many classes, how evenly used, how much is unseen;
- selections: which `size` texts of a pool to keep, as indices in the order of picking.

Every credit is higher for the more different text and follows its text when the texts are
reordered. A group of *one text* has nothing to repeat and gets the highest credit there is at
n = 1; each docstring says which. Of candidates that are equally good up to rounding, the one with
the lowest index wins, everywhere.
"""

from diversify.credit.checks import TIE as TIE
from diversify.credit.checks import Floats as Floats
from diversify.credit.checks import Indices as Indices
from diversify.credit.checks import Labels as Labels
from diversify.credit.classes import (
    inverse_frequency,
    leader_partition,
    partition,
    partition_credit,
    polychromic_credit,
    rarity_weight,
    uniform_target,
)
from diversify.credit.marginal import (
    CREDITS,
    leave_one_out,
    log_det_credit,
    mmr_rewards,
    mutual_information_weight,
    nearest_credit,
    repulsion_credit,
)
from diversify.credit.marginal import Credit as Credit
from diversify.credit.richness import (
    chao_shen_entropy,
    effective_classes,
    rarefied_classes,
    semantic_entropy,
    unseen_mass,
)
from diversify.credit.selection import (
    cluster_and_best,
    dpp_select,
    facility_location,
    farthest_point,
    mmr_select,
    select,
)

__all__ = [
    "CREDITS",
    "chao_shen_entropy",
    "cluster_and_best",
    "dpp_select",
    "effective_classes",
    "facility_location",
    "farthest_point",
    "inverse_frequency",
    "leader_partition",
    "leave_one_out",
    "log_det_credit",
    "mmr_rewards",
    "mmr_select",
    "mutual_information_weight",
    "nearest_credit",
    "partition",
    "partition_credit",
    "polychromic_credit",
    "rarefied_classes",
    "rarity_weight",
    "repulsion_credit",
    "select",
    "semantic_entropy",
    "uniform_target",
    "unseen_mass",
]
