"""Rewards by the name of their paper, with its defaults, and two that need no argument at all.

A preset returns one reward for `GRPOTrainer(reward_funcs=r, callbacks=[r], ...)`. Its kernel, if
none is given, is the cosine of MiniLM, which is loaded at the first call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from numpy.typing import ArrayLike

from diversify.credit import (
    inverse_frequency,
    leave_one_out,
    log_det_credit,
    mutual_information_weight,
    nearest_credit,
)
from diversify.kernels import EmbeddingKernel, EquivalenceKernel, Kernel, NgramKernel, words
from diversify.measures import DISTINCT_THRESHOLD
from diversify.rewards.combine import GatedReward, Level, ProductReward
from diversify.rewards.composite import Quality
from diversify.rewards.diversity import DiversityReward, PartitionCredit
from diversify.rewards.monitors import LengthPenalty, MonitorReward, language_drift

__all__ = [
    "LazyEmbedder",
    "darling",
    "dqo",
    "dra",
    "ips",
    "lexical_novelty",
    "moda",
    "same_words",
    "semantic_novelty",
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
    kernel: Kernel | None = None,
    threshold: float = DISTINCT_THRESHOLD,
    floor: float = 0.1,
    shift: Literal["group_min"] | None = "group_min",
    group_size: int | None = None,
) -> ProductReward:
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
        group_size: see `GroupReward`.

    Reference:
        T. Li et al., "Jointly Reinforcing Diversity and Quality in Language Model Generations",
        arXiv 2509.02534. The floor is that of the authors' code; the shift, off by default there,
        is on, because reward models give negative values. Their equivalence is a classifier
        trained for it; a cosine is ours.
    """
    diversity = DiversityReward(kernel or _minilm(), PartitionCredit(threshold=threshold))
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
    kernel: Kernel | None = None,
    threshold: Level | Mapping[str, Level] = "tau",
    scale: Level | Mapping[str, Level] = "sigma",
    diversity_weight: float = 100.0,
    length_limit: int = 512,
    length_penalty: float = 0.01,
    language_penalty: float = 0.1,
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
        penalties: further terms, such as a reward for the format.
        group_size: see `GroupReward`.

    Reference:
        MoDA, mode-conditioned diversity alignment, arXiv 2609.14896, without its roles. The paper
        gives "0.01 beyond 512 tokens"; that it counts for each token is our reading, as a
        constant 0.01 would vanish beside a term of 100. Its language check is not described; ours
        is `language_drift`.
    """
    terms: list[Quality] = list(penalties)
    if length_penalty:
        terms.append(LengthPenalty(limit=length_limit, weight=length_penalty))
    if language_penalty:
        terms.append(MonitorReward(language_drift, weight=-language_penalty))
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
    quality: Quality, *, kernel: Kernel | None = None, group_size: int | None = None
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
    kernel: Kernel | None = None,
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


def dqo(*, kernel: Kernel | None = None, group_size: int | None = None) -> DiversityReward:
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


def _minilm() -> EmbeddingKernel:
    """The cosine of MiniLM, not loaded yet."""
    return EmbeddingKernel(LazyEmbedder())


lexical_novelty = DiversityReward(NgramKernel(), leave_one_out, name="lexical_novelty")
"""What a text adds to the effective number of different wordings. Needs no model:
`trl grpo --reward_funcs diversify.rewards.lexical_novelty`."""

semantic_novelty = DiversityReward(_minilm(), leave_one_out, name="semantic_novelty")
"""What a text adds to the effective number of different meanings, by MiniLM:
`trl grpo --reward_funcs diversify.rewards.semantic_novelty`."""
