"""NoveltyBench: how many of k answers differ, and what they are worth to a person who reads on.

Two versions that are never compared. Version 1.0 asks a classifier of pairs and a reward model;
version 1.1 asks two chat models. `noveltybench@1.0-surrogate` is version 1.0 with MiniLM in the
place of the classifier: it runs anywhere, ranks like it, and is something else.

Reference:
    Y. Zhang et al., "NoveltyBench: Evaluating Language Models for Humanlike Diversity", arXiv
    2504.05228.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from diversify.credit import Labels
from diversify.credit.checks import check_labels
from diversify.embedders import Embedder
from diversify.engines import Prompt, Sampling
from diversify.equivalence import (
    CrossEncoderSame,
    EmbeddingSame,
    JudgeGroups,
    ShortAnswers,
    short_answers_match,
)
from diversify.equivalence.grouping import in_order
from diversify.evaluation.protocol_report import minilm
from diversify.kernels import Pair, Same, SameMany, ask_many, check_texts
from diversify.quality.judge import request_of

__all__ = [
    "classifier",
    "distinct_k",
    "judged_partitions",
    "leader_partitions",
    "quality_score",
    "short_answers_match",
    "surrogate",
    "utility_k",
    "with_placeholders",
]

CURATED, WILDCHAT = 100, 1000
SAMPLES = 10
PATIENCE = 0.8
SAMPLING_1_0 = Sampling(temperature=1.0, max_tokens=512)
SAMPLING_1_1 = Sampling(temperature=1.0, max_tokens=2048)

CLASSIFIER = "yimingzhang/deberta-v3-large-generation-similarity"

# Where the mean number of classes comes nearest to the classifier's on answers of 24 models. By
# rank alone 0.85, the default of `distinct`, is no worse.
SURROGATE_THRESHOLD = 0.82

SKYWORK_GEMMA_27B = (-7.71875, -6.28125, -6.0, -5.71875, -5.5, -5.0, -4.375, -3.4375, -2.046875)
"""Rewards of Skywork-Reward-Gemma-2-27B-v0.2 between the scores 1 to 10: the benchmark's own."""

SKYWORK_QWEN3_1_7B = (
    *(-0.43671875, 0.95773633, 1.07054688, 1.52291016, 1.6730625),
    *(2.36985938, 3.19824219, 4.24545312, 6.41390625),
)
"""Rewards of Skywork-Reward-V2-Qwen3-1.7B: those of inspect_evals, from 96 answers."""

THRESHOLDS = {
    "Skywork/Skywork-Reward-Gemma-2-27B-v0.2": SKYWORK_GEMMA_27B,
    "Skywork/Skywork-Reward-V2-Qwen3-1.7B": SKYWORK_QWEN3_1_7B,
}

EMPTY, REFUSED = "[empty]", "[refused]"


def distinct_k(labels: Labels) -> int:
    """Count the classes among k answers, from 1 to k; 0 for no answers.

    Files of the benchmark's first release hold the highest label instead, which is one less, in a
    field called `distinct`; some published tables are one too high.

    Args:
        labels: Classes (k,).

    Raises:
        ValueError: If labels are not a vector of integers.

    Example:
        >>> distinct_k(np.array([0, 1, 0, 2]))
        3
    """
    return len({*check_labels(labels).tolist()})


def utility_k(
    labels: Labels, scores: Sequence[float | None], *, patience: float = PATIENCE
) -> float:
    r"""Value k answers for a reader who goes on to the next one with a certain probability.

    .. math::
        \frac{1 - p}{1 - p^k} \sum_{i=1}^{k} p^{i-1} \, 1[C_i \text{ is new}] \, u_i

    A weighted mean of the scores in which repetitions count 0: from 0 to the highest score. Ten
    equal answers of score 10 are worth 2.2406, ten different ones 10.

    Args:
        labels: Classes (k,), in order of generation.
        scores: u (k,). Only those of the first answer of each class are read; the others may be
            None.
        patience: p, in (0, 1).

    Raises:
        ValueError: If labels are not integers, there is none, scores are not (k,), the first answer
            of a class has none, or `patience` is impossible.

    Example:
        >>> round(utility_k(np.zeros(10, dtype=int), [10.0] + [None] * 9), 4)
        2.2406
    """
    labels = check_labels(labels)
    k = len(labels)
    if not k or len(scores) != k:
        raise ValueError(f"need one score for each of 1 or more labels, got {len(scores)} for {k}")
    if not 0 < patience < 1:
        raise ValueError(f"patience must be in (0, 1), got {patience}")
    worth = 0.0
    for first in np.unique(labels, return_index=True)[1].tolist():
        score = scores[first]
        if score is None or not math.isfinite(score):
            raise ValueError(
                f"the first answer of a class needs a score, number {first} has {score}"
            )
        worth += patience**first * score
    return (1 - patience) / (1 - patience**k) * worth


def quality_score(raw_reward: float, thresholds: Sequence[float]) -> int:
    """Turn the reward of a model into a score from 1 to 10: one more than the thresholds below it.

    Args:
        raw_reward: What the reward model gives.
        thresholds: Nine rising numbers, which belong to one reward model: `THRESHOLDS`.

    Raises:
        ValueError: If the reward is no number, or the thresholds are not nine rising ones.

    Example:
        >>> [quality_score(reward, SKYWORK_GEMMA_27B) for reward in (-9.0, -5.5, -5.4, 3.0)]
        [1, 5, 6, 10]
    """
    if len(thresholds) != 9 or any(not low < high for low, high in pairwise(thresholds)):
        raise ValueError(f"thresholds must be nine rising numbers, got {list(thresholds)}")
    if not math.isfinite(raw_reward):
        raise ValueError(f"raw_reward must be a number, got {raw_reward}")
    return 1 + bisect_left(thresholds, raw_reward)


def classifier(*, device: str | None = None) -> ShortAnswers:
    """Return the judge of version 1.0: its classifier, and the rule for short answers.

    128 tokens of each text, the probability of "same" from 0.102 on, the prompt unseen. Deviations
    that change next to nothing: see `CrossEncoderSame`; equal texts are the same, and a blank one
    is like no long one, without asking.

    Args:
        device: "cpu", "cuda", …; on a CPU the model needs seconds for a pair.
    """
    return ShortAnswers(CrossEncoderSame(CLASSIFIER, device=device))


def surrogate(*, embedder: Embedder | None = None, device: str | None = None) -> ShortAnswers:
    """Return the judge of `noveltybench@1.0-surrogate`: MiniLM, and the rule for short answers.

    Texts are the same from a cosine of 0.82 on. On the benchmark's answers of gemini-1.5-pro the
    number of classes has a rank correlation of 0.66 [0.52, 0.77] with the classifier's over the 100
    prompts (Kendall's is 0.58 [0.46, 0.69]), and a mean of 2.63 against 1.83: compare its numbers
    with its numbers only. (The classes recorded there were made without the rule for short answers;
    it moves the first of these numbers by less than 0.01 and the mean by 0.04.)

    Args:
        embedder: all-MiniLM-L6-v2, for instance one that is loaded already; no other one has this
            threshold.
        device: Where it is loaded, if none is given.

    Raises:
        ValueError: The embedder is another one.
    """
    return ShortAnswers(EmbeddingSame(minilm(embedder, device), SURROGATE_THRESHOLD))


def leader_partitions(
    groups: Sequence[Sequence[str]], same: Same | SameMany
) -> list[Labels | None]:
    """Sort the texts of many prompts into classes, as `leader_partition` does for one.

    The same pairs are judged as one by one, but those of all prompts with their current heads at
    once: as many calls of the judge as the most diverse prompt has classes.

    Args:
        groups: For each prompt its texts, in order of generation.
        same: Judge, asked (head, text).

    Returns:
        For each prompt its labels (k,), from 0 in order of first appearance; None where the judge
        could not say of a pair.

    Raises:
        ValueError: If texts are not strings, or the judge's answers are not as they must be.

    Example:
        >>> groups = [["red", "rose", "blue"], ["sea", "sky"]]
        >>> [labels.tolist() for labels in leader_partitions(groups, lambda a, b: a[0] == b[0])]
        [[0, 0, 1], [0, 0]]
    """
    texts = [check_texts(group) for group in groups]
    labels: list[Labels | None] = [np.full(len(group), -1, dtype=np.int64) for group in texts]
    for label in range(max(map(len, texts), default=0)):
        places, pairs = list[tuple[int, int]](), list[Pair]()
        for number, own in enumerate(labels):
            if own is None or not (still := np.flatnonzero(own < 0).tolist()):
                continue
            own[still[0]] = label
            places += [(number, other) for other in still[1:]]
            pairs += [(texts[number][still[0]], texts[number][other]) for other in still[1:]]
        for (number, other), verdict in zip(places, ask_many(same, pairs), strict=True):
            if verdict is None:
                labels[number] = None
            elif verdict and (own := labels[number]) is not None:
                own[other] = label
    return labels


def with_placeholders(texts: Sequence[str], samples: int) -> list[str]:
    """Return as many texts as were wanted: version 1.1 keeps k whatever has become of an answer.

    Args:
        texts: The answers to one prompt; a blank one becomes `[empty]`.
        samples: How many were wanted; each one that is missing becomes `[refused]`, at the end.

    Example:
        >>> with_placeholders(["Rome", " "], 3)
        ['Rome', '[empty]', '[refused]']
    """
    shown = [text if text.strip() else EMPTY for text in check_texts(texts)]
    return shown + [REFUSED] * (samples - len(shown))


def judged_partitions(
    judge: JudgeGroups, prompts: Sequence[Prompt], groups: Sequence[Sequence[str]]
) -> list[Labels | None]:
    """Sort the answers to each prompt by one question each; placeholders of a kind are a class.

    Args:
        judge: Sorts all answers to a prompt at once.
        prompts: The prompts.
        groups: For each prompt its answers, placeholders among them.

    Returns:
        For each prompt its labels (k,), from 0 in order of first appearance, or None.
    """
    real = [[text for text in group if text not in (EMPTY, REFUSED)] for group in groups]
    requests = [request_of(prompt) for prompt in prompts]
    found: list[Labels | None] = []
    for group, labels in zip(groups, judge(requests, real), strict=True):
        if labels is None:
            found.append(None)
            continue
        own = iter(labels.tolist())
        found.append(in_order([t if t in (EMPTY, REFUSED) else next(own) for t in group]))
    return found
