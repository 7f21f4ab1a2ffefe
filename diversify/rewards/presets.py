"""Rewards by the name of their paper, with its defaults, and two that need no argument at all.

A preset returns one reward for `GRPOTrainer(reward_funcs=r, callbacks=[r], ...)`. Its kernel, if
none is given, is the cosine of MiniLM, which is loaded at the first call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from numpy.typing import ArrayLike

from diversify.credit import (
    inverse_frequency,
    leave_one_out,
    log_det_credit,
    mutual_information_weight,
    nearest_credit,
    rarity_weight,
)
from diversify.kernels import (
    Embedder,
    EmbeddingKernel,
    EquivalenceKernel,
    Kernel,
    NgramKernel,
    words,
)
from diversify.measures import DISTINCT_THRESHOLD
from diversify.rewards.answers import UniformAnswers
from diversify.rewards.combine import ProductReward, SumReward
from diversify.rewards.composite import Quality
from diversify.rewards.diversity import ColumnKernel, DiversityReward, PartitionCredit
from diversify.rewards.gated import GatedReward, Level
from diversify.rewards.joint import JointReward, MarginalRelevance, PolychromicCredit
from diversify.rewards.monitors import (
    LengthPenalty,
    MonitorReward,
    language_drift,
    role_leakage,
)
from diversify.rewards.peers import PeerReward

__all__ = [
    "LazyEmbedder",
    "darling",
    "dqo",
    "dra",
    "gapo",
    "ips",
    "lexical_novelty",
    "mmr",
    "moda",
    "novelty",
    "polychromic",
    "repulsion",
    "same_words",
    "semantic_novelty",
    "uniqueness",
]


@dataclass
class LazyEmbedder:
    """An embedder that is looked for when it is first asked, and again after pickling.

    So a ready reward can stand in a module: importing it touches neither files nor the network.
    Rows are not kept on disk, because a policy hardly ever writes the same text twice.

    Args:
        name: what `diversify.embedders.load_embedder` accepts.
    """

    name: str = "minilm"
    _loaded: Any = field(default=None, init=False, repr=False, compare=False)

    def __call__(self, texts: list[str]) -> ArrayLike:
        """Embed n texts: unit rows (n, d)."""
        if self._loaded is None:
            from diversify.embedders import load_embedder

            self._loaded = load_embedder(self.name, cache=False)
        rows: ArrayLike = self._loaded(texts)
        return rows

    def __getstate__(self) -> dict[str, Any]:
        """Leave the loaded model behind."""
        return {"name": self.name, "_loaded": None}


def same_words(first: str, second: str) -> bool:
    """Judge two texts equal if they have the same words, whatever their case and spacing.

    Example:
        >>> same_words("Dark  blue", "dark blue"), same_words("blue", "blue.")
        (True, False)
    """
    return words(first) == words(second)


def darling(
    quality: Quality,
    *,
    kernel: Kernel | ColumnKernel | None = None,
    threshold: float = DISTINCT_THRESHOLD,
    floor: float = 0.1,
    shift: Literal["group_min"] | None = "group_min",
    mode: Literal["product", "sum"] = "product",
    group_size: int | None = None,
) -> ProductReward | SumReward:
    """Quality times the share of the group that says something else.

    Train with `scale_rewards="none"`; another setting is warned about. Division by the group's
    standard deviation cost the authors 2.1 of 5.5 distinct answers on NoveltyBench.

    Args:
        quality: any TRL reward.
        kernel: says how alike two texts are; `EquivalenceKernel` for a judge.
        threshold: texts at least this similar, or joined by a chain of such pairs, are one answer.
            Calibrate it for another kernel than the default.
        floor: credit of an answer that the whole group gives.
        shift: see `ProductReward`; None for a quality of 0 or 1.
        mode: "product", or "sum" for the variant that adds both after standardising them within
            the group (`SumReward`): floor and shift then play no part.
        group_size: see `GroupReward`.

    Raises:
        ValueError: If `mode` is neither, or an option is out of its range.

    Reference:
        T. Li et al., "Jointly Reinforcing Diversity and Quality in Language Model Generations",
        arXiv 2509.02534. The floor is that of the authors' code; the shift, off by default there,
        is on, because reward models give negative values. Their equivalence is a classifier
        trained for it; a cosine is ours.
    """
    diversity = DiversityReward(kernel or _minilm(), PartitionCredit(threshold=threshold))
    if mode == "sum":
        return SumReward(
            quality, diversity, group_size=group_size, name="darling", scale_rewards="none"
        )
    if mode != "product":
        raise ValueError(f"mode must be 'product' or 'sum', got {mode!r}")
    return ProductReward(
        quality,
        diversity,
        group_size=group_size,
        shift=shift,
        floor=floor,
        name="darling",
        scale_rewards="none",
    )


def moda(
    quality: Quality | Mapping[str, Quality],
    *,
    kernel: Kernel | ColumnKernel | None = None,
    threshold: Level | Mapping[str, Level] = "tau",
    scale: Level | Mapping[str, Level] = "sigma",
    diversity_weight: float = 100.0,
    length_limit: int = 512,
    length_penalty: float = 0.01,
    language_penalty: float = 0.1,
    role_penalty: float = 0.0,
    penalties: Sequence[Quality] = (),
    group_size: int | None = None,
) -> GatedReward:
    """Distance to the nearest sibling, paid to answers that are as good as before training.

    Args:
        quality: any TRL reward, or several by name.
        kernel: says how alike two texts are; the default is the paper's.
        threshold: a number or a column; the default column comes from `reference_gate`.
        scale: the same for the width of the quality term.
        diversity_weight: size of the diversity term; the quality term is at most 0.5.
        length_limit: tokens that are free.
        length_penalty: what each token beyond them costs.
        language_penalty: what a text wholly in another language than its prompt costs.
        role_penalty: what a text costs that talks of its role; for training with roles.
        penalties: further terms, such as a reward for the format.
        group_size: see `GroupReward`.

    Reference:
        MoDA, mode-conditioned diversity alignment, arXiv 2609.14896. Its roles are a matter of the
        data set and of the trainer (`diversify.trainers.roles`). The paper
        gives "0.01 beyond 512 tokens"; that it counts for each token is our reading, as a
        constant 0.01 would vanish beside a term of 100. Its language check is not described; ours
        is `language_drift`.
    """
    terms: list[Quality] = list(penalties)
    if length_penalty:
        terms.append(LengthPenalty(limit=length_limit, weight=length_penalty))
    if language_penalty:
        terms.append(MonitorReward(language_drift, weight=-language_penalty))
    if role_penalty:
        terms.append(MonitorReward(role_leakage, weight=-role_penalty))
    return GatedReward(
        quality,
        DiversityReward(kernel or _minilm(), nearest_credit),
        group_size=group_size,
        threshold=threshold,
        diversity_weight=diversity_weight,
        scale=scale,
        penalties=terms,
        name="moda",
        scale_rewards="group",
    )


def dra(
    quality: Quality, *, kernel: Kernel | ColumnKernel | None = None, group_size: int | None = None
) -> ProductReward:
    """Quality over the total similarity to the group.

    Args:
        quality: any TRL reward of 0 or more; a negative one is warned about.
        kernel: says how alike two texts are.
        group_size: see `GroupReward`.

    Reference:
        X. Chen et al., "DRA-GRPO", arXiv 2505.09655, with jina-embeddings-v2-small-en as the
        embedder. Deviation: similarities are clipped at 0 (see `mutual_information_weight`).
    """
    diversity = DiversityReward(kernel or _minilm(), mutual_information_weight)
    return ProductReward(quality, diversity, group_size=group_size, shift=None, name="dra")


def ips(
    quality: Quality,
    *,
    kernel: Kernel | ColumnKernel | None = None,
    threshold: float = DISTINCT_THRESHOLD,
    group_size: int | None = None,
) -> ProductReward:
    """Quality over the frequency of the answer in its group: all answers earn alike in total.

    Args:
        quality: any TRL reward of 0 or more; a negative one is warned about.
        kernel: says which answers are the same; by default those of the same words, which suits
            short answers only.
        threshold: texts at least this similar are the same answer.
        group_size: see `GroupReward`.

    Reference:
        Sinha et al., "Expected Return Causes Outcome-Level Mode Collapse in Reinforcement Learning
        and How to Fix It with Inverse Probability Scaling", arXiv 2601.21669. No deviation.
    """
    same = kernel or EquivalenceKernel(same_words)
    diversity = DiversityReward(same, PartitionCredit(inverse_frequency, threshold=threshold))
    return ProductReward(quality, diversity, group_size=group_size, shift=None, name="ips")


def dqo(
    *, kernel: Kernel | ColumnKernel | None = None, group_size: int | None = None
) -> DiversityReward:
    """The volume that a text adds to its group, to be added to a quality.

    The method is a sum, so TRL combines it: `reward_funcs=[quality, d], callbacks=[d]` with
    `reward_weights=[1.0, alpha]`, alpha from 0.5 to 1.

    Args:
        kernel: says how alike two texts are; positive semi-definite.
        group_size: see `GroupReward`.

    Reference:
        Y. Chen et al., "Enhancing Diversity in Large Language Models via Determinantal Point
        Processes", arXiv 2509.04784. No deviation.
    """
    return DiversityReward(kernel or _minilm(), log_det_credit, group_size=group_size, name="dqo")


def mmr(
    quality: Quality,
    *,
    kernel: Kernel | ColumnKernel | None = None,
    weight: float = 0.7,
    group_size: int | None = None,
) -> JointReward:
    """Each answer at the value at which maximal marginal relevance picks it from its group.

    Args:
        quality: any TRL reward on a scale like that of similarities, about 0 to 1.
        kernel: says how alike two texts are.
        weight: of the quality, in [0, 1]; the rest is taken off for likeness to better answers.
        group_size: see `GroupReward`.

    Reference:
        Wei and Huang, "MMR-GRPO", arXiv 2601.09085, with a fixed weight; per group, where the
        authors' code ranks the whole batch (see `mmr_rewards`).
    """
    joint = MarginalRelevance(weight=weight)
    return JointReward(quality, kernel or _minilm(), joint, group_size=group_size, name="mmr")


def uniqueness(
    quality: Quality,
    *,
    kernel: Kernel | ColumnKernel | None = None,
    threshold: float = DISTINCT_THRESHOLD,
    alpha: float = 1.0,
    group_size: int | None = None,
) -> ProductReward:
    """Quality over the size of the class, to the power alpha: rare approaches earn more.

    Args:
        quality: any TRL reward of 0 or more; a negative one is warned about.
        kernel: says which answers take one approach; the authors ask a judge.
        threshold: texts at least this similar are one class.
        alpha: strength, 0 or more.
        group_size: see `GroupReward`.

    Reference:
        Hu et al., "Rewarding the Rare", arXiv 2601.08763. Deviation: the weight meets the reward
        and not the signed advantage, so that a rare wrong answer is not punished more than a common
        one; the paper's rule is `diversify.advantages.uniqueness`.
    """
    credit = PartitionCredit(partial(rarity_weight, alpha=alpha), threshold=threshold)
    diversity = DiversityReward(kernel or _minilm(), credit)
    return ProductReward(quality, diversity, group_size=group_size, shift=None, name="uniqueness")


def gapo(*, column: str = "answers", group_size: int | None = None) -> UniformAnswers:
    """How near the frequency of a listed answer is to uniform; -1 for what is not on the list.

    Args:
        column: column of the data set with each prompt's valid answers.
        group_size: see `GroupReward`.

    Reference:
        Anschel et al., "Group-Aware Reinforcement Learning for Output Diversity in Large Language
        Models", arXiv 2511.12596. No deviation.
    """
    return UniformAnswers(column=column, group_size=group_size, name="gapo")


def polychromic(
    quality: Quality,
    *,
    kernel: Kernel | ColumnKernel | None = None,
    threshold: float = DISTINCT_THRESHOLD,
    size: int = 4,
    group_size: int | None = None,
) -> JointReward:
    """What the sets that hold an answer are worth: mean quality times share of different classes.

    Train with `scale_rewards="none"`: the credit is an advantage already, of mean 0.

    Args:
        quality: any TRL reward of 0 or more.
        kernel: says which answers are of one class.
        threshold: texts at least this similar are one class.
        size: answers of a set.
        group_size: see `GroupReward`.

    Reference:
        Hamid et al., "Polychromic Objectives for Reinforcement Learning", arXiv 2509.25424, and
        Poly-EPO, arXiv 2604.17654: sets of 4 from 8 (see `polychromic_credit`).
    """
    joint = PolychromicCredit(size=size, threshold=threshold)
    return JointReward(
        quality,
        kernel or _minilm(),
        joint,
        group_size=group_size,
        name="polychromic",
        scale_rewards="none",
    )


def novelty(
    quality: Quality,
    *,
    kernel: Kernel | ColumnKernel | None = None,
    weight: float = 1.0,
    group_size: int | None = None,
) -> SumReward:
    """Quality plus what an answer adds to the effective number of different answers.

    Both are standardised within the group. The kernel must be positive semi-definite.

    Args:
        quality: any TRL reward.
        kernel: says how alike two texts are.
        weight: of the diversity.
        group_size: see `GroupReward`.

    Reference:
        Leave-one-out credit of a set's diversity: SetPO, arXiv 2602.01062, here of the Vendi score
        of Friedman and Dieng, arXiv 2210.02410. Ours: adding after standardising.
    """
    diversity = DiversityReward(kernel or _minilm(), leave_one_out)
    return SumReward(quality, diversity, group_size=group_size, weight=weight, name="novelty")


def repulsion(
    quality: Quality | Mapping[str, Quality],
    *,
    embedder: Embedder | None = None,
    threshold: Level | Mapping[str, Level] = "tau",
    scale: Level | Mapping[str, Level] = "sigma",
    column: str = "peers",
    nearest: int = 1,
    closed: float = 0.95,
    diversity_weight: float = 10.0,
    penalties: Sequence[Quality] = (),
    group_size: int | None = None,
) -> GatedReward:
    """Distance from what other models answered, paid to answers that are good enough.

    Models resemble each other as much as themselves; a distance within the group does nothing about
    that. It needs no group, but stored answers of peers as a column of the data set.

    Args:
        quality: any TRL reward, or several by name.
        embedder: from texts to unit rows; MiniLM by default.
        threshold: a number or a column; the default column comes from `reference_gate`.
        scale: the same for the width of the quality term.
        column: column with the peers' answers.
        nearest: see `PeerReward`.
        closed: see `PeerReward`.
        diversity_weight: size of the distance term; the quality term is at most 0.5.
        penalties: further terms, such as a `LengthPenalty`.
        group_size: see `GroupReward`.

    Reference:
        Ours, against the inter-model homogeneity of Jiang et al., "Artificial Hivemind", arXiv
        2510.22954, with the gate of MoDA, arXiv 2609.14896.
    """
    return GatedReward(
        quality,
        PeerReward(embedder or LazyEmbedder(), column=column, nearest=nearest, closed=closed),
        group_size=group_size,
        threshold=threshold,
        diversity_weight=diversity_weight,
        scale=scale,
        penalties=penalties,
        name="repulsion",
    )


def _minilm() -> EmbeddingKernel:
    """The cosine of MiniLM, not loaded yet."""
    return EmbeddingKernel(LazyEmbedder())


lexical_novelty = DiversityReward(NgramKernel(), leave_one_out, name="lexical_novelty")
"""What a text adds to the effective number of different wordings. Needs no model:
`trl grpo --reward_funcs diversify.rewards.lexical_novelty`."""

semantic_novelty = DiversityReward(_minilm(), leave_one_out, name="semantic_novelty")
"""What a text adds to the effective number of different meanings, by MiniLM:
`trl grpo --reward_funcs diversify.rewards.semantic_novelty`."""
