"""Runs to reports of NoveltyBench: its two versions and the surrogate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from diversify.credit import (
    Labels,
    chao_shen_entropy,
    rarefied_classes,
    semantic_entropy,
)
from diversify.embedders import Embedder
from diversify.engines import Prompt, Sampling
from diversify.equivalence import JudgeGroups, ShortAnswers
from diversify.evaluation import noveltybench as nb
from diversify.evaluation.generate import Run
from diversify.evaluation.protocol_report import ProtocolReport, departures, protocol_report
from diversify.evaluation.protocols.agreement import agreement
from diversify.quality import Judge, Quality
from diversify.server import ChatModel

__all__ = ["noveltybench_classifier", "noveltybench_judged", "noveltybench_surrogate"]

Grade = Callable[[list[Prompt], list[str]], Sequence[float | None]]


def noveltybench_classifier(
    run: Run,
    *,
    quality: Quality | None = None,
    thresholds: Sequence[float] | None = None,
    same: ShortAnswers | None = None,
    device: str | None = None,
) -> ProtocolReport:
    """Score by `noveltybench@1.0-classifier`: the benchmark as its published numbers were made.

    Args:
        run: Ten answers a prompt, drawn at temperature 1 with at most 512 tokens.
        quality: The reward model that scores the first answer of each class; without one there is
            no utility.
        thresholds: The reward model's; known for those in `noveltybench.THRESHOLDS`.
        same: The judge if it is loaded already: `noveltybench.classifier()`.
        device: Where the classifier runs.

    Raises:
        ValueError: The reward model's thresholds are neither known nor given, or no thresholds.
    """
    same = same if same is not None else nb.classifier(device=device)
    return _version_1_0("noveltybench@1.0-classifier", run, same, quality, thresholds)


def noveltybench_surrogate(
    run: Run,
    *,
    embedder: Embedder | None = None,
    quality: Quality | None = None,
    thresholds: Sequence[float] | None = None,
    device: str | None = None,
) -> ProtocolReport:
    """Score by `noveltybench@1.0-surrogate`: MiniLM in the place of the classifier, no download.

    Args:
        run: Ten answers a prompt, drawn at temperature 1 with at most 512 tokens.
        embedder: all-MiniLM-L6-v2, if it is loaded already.
        quality: As for `noveltybench_classifier`.
        thresholds: As for `noveltybench_classifier`.
        device: Where the embedder is loaded.

    Raises:
        ValueError: As for `noveltybench_classifier`.
    """
    same = nb.surrogate(embedder=embedder, device=device)
    return _version_1_0("noveltybench@1.0-surrogate", run, same, quality, thresholds)


def noveltybench_judged(
    run: Run, *, server: ChatModel, grader: ChatModel | None = None
) -> ProtocolReport:
    """Score by `noveltybench@1.1`: one question sorts all answers to a prompt, others grade them.

    The definition is the benchmark's, the wording of both questions is ours, and so is the choice
    of judges: numbers of two judges are not comparable. An answer that is missing or blank is a
    placeholder, which keeps k; it has the lowest grade, 1, without a question. Equal answers are
    shown once.

    Args:
        run: Ten answers a prompt, drawn at temperature 1 with at most 2048 tokens.
        server: Sorts the answers; its context must hold all answers to a prompt.
        grader: Grades the first answer of each class from 1 to 10; the same one by default.
    """
    judge, grades = JudgeGroups(server), Judge(grader if grader is not None else server)
    samples = run.settings.get("samples", 0)  # imported runs list how many there are of each prompt
    wanted = max(samples) if isinstance(samples, list) else int(samples)
    groups = [nb.with_placeholders(row["generations"], wanted) for row in run.rows]
    partitions = nb.judged_partitions(judge, [row["prompt"] for row in run.rows], groups)

    def grade(prompts: list[Prompt], texts: list[str]) -> list[float | None]:
        real = [(p, t) for p, t in zip(prompts, texts, strict=True) if not _placeholder(t)]
        found = iter(grades([prompt for prompt, _ in real], [text for _, text in real]))
        return [1.0 if _placeholder(text) else next(found) for text in texts]

    return _noveltybench(
        "noveltybench@1.1",
        run,
        groups,
        partitions,
        grade,
        config={"partition": judge.identity, "quality": grades.identity},
        departures=_departures(run, nb.SAMPLING_1_1),
    )


def _version_1_0(
    protocol: str,
    run: Run,
    same: ShortAnswers,
    quality: Quality | None,
    thresholds: Sequence[float] | None,
) -> ProtocolReport:
    config: dict[str, Any] = {"partition": same.identity, "quality": None}
    grade: Grade | None = None
    if quality is not None:
        levels = _thresholds_of(quality, thresholds)
        grade = _graded(quality, levels)
        config["quality"] = quality.identity | {"thresholds": list(levels)}
    elif thresholds is not None:
        raise ValueError("thresholds belong to a reward model, and none is given as quality")
    groups = [row["generations"] for row in run.rows]
    return _noveltybench(
        protocol,
        run,
        groups,
        nb.leader_partitions(groups, same),
        grade,
        config=config,
        departures=_departures(run, nb.SAMPLING_1_0),
    )


def _departures(run: Run, sampling: Sampling) -> list[str]:
    sizes = [nb.CURATED, nb.WILDCHAT]
    return departures(run, prompts=sizes, samples=nb.SAMPLES, samplings=[sampling])


def _thresholds_of(quality: Quality, thresholds: Sequence[float] | None) -> Sequence[float]:
    if thresholds is not None:
        return thresholds
    model = getattr(quality, "model", quality.name)
    if model not in nb.THRESHOLDS:
        raise ValueError(
            f"the thresholds of {model!r} are not known: give nine, or use one of "
            f"{', '.join(nb.THRESHOLDS)}"
        )
    return nb.THRESHOLDS[model]


def _graded(quality: Quality, thresholds: Sequence[float]) -> Grade:
    """Return scores from 1 to 10 by the rewards of a model."""
    nb.quality_score(0.0, thresholds)  # refuses wrong thresholds before anything is computed

    def grade(prompts: list[Prompt], texts: list[str]) -> list[float | None]:
        rewards = quality(prompts, texts)
        return [None if r is None else float(nb.quality_score(r, thresholds)) for r in rewards]

    return grade


def _noveltybench(
    protocol: str,
    run: Run,
    groups: Sequence[Sequence[str]],
    partitions: Sequence[Labels | None],
    grade: Grade | None,
    *,
    config: Mapping[str, Any],
    departures: Sequence[str],
) -> ProtocolReport:
    scores = _scores_of_heads(run, groups, partitions, grade)
    values = [
        _values(labels, own, with_utility=grade is not None)
        for labels, own in zip(partitions, scores, strict=True)
    ]
    details = [
        {
            "partition": None if labels is None else labels.tolist(),
            "partition_scores": None if grade is None else [own[i] for i in _heads(labels)],
        }
        for labels, own in zip(partitions, scores, strict=True)
    ]
    return protocol_report(
        protocol,
        run,
        values,
        details=details,
        extra=_recorded(run, partitions),
        config=dict(config) | {"patience": nb.PATIENCE},
        departures=departures,
    )


def _recorded(run: Run, partitions: Sequence[Labels | None]) -> dict[str, Any]:
    """Compare with the classes that the rows bring along in `partition`, if two or more do."""
    both = [
        (labels, np.array(theirs))
        for row, labels in zip(run.rows, partitions, strict=True)
        if labels is not None and _are_labels(theirs := row.get("partition"), len(labels))
    ]
    if len(both) < 2:
        return {}
    return {"recorded_partition": agreement(*zip(*both, strict=True)).as_json()}


def _are_labels(found: Any, k: int) -> bool:
    whole = isinstance(found, list) and len(found) == k
    return whole and all(type(label) is int for label in found)


def _scores_of_heads(
    run: Run,
    groups: Sequence[Sequence[str]],
    partitions: Sequence[Labels | None],
    grade: Grade | None,
) -> list[list[float | None]]:
    """Score the first answer of each class, all of them in one call; the others stay None."""
    scores: list[list[float | None]] = [[None] * len(group) for group in groups]
    heads = [(row, at) for row, labels in enumerate(partitions) for at in _heads(labels)]
    if grade is not None and heads:
        prompts = [run.rows[row]["prompt"] for row, _ in heads]
        found = grade(prompts, [groups[row][at] for row, at in heads])
        for (row, at), score in zip(heads, found, strict=True):
            scores[row][at] = score
    return scores


def _heads(labels: Labels | None) -> list[int]:
    """Return the places of the first text of each class, in order."""
    if labels is None:
        return []
    return sorted(np.unique(labels, return_index=True)[1].tolist())


def _values(
    labels: Labels | None, scores: Sequence[float | None], *, with_utility: bool
) -> dict[str, float | None]:
    """Return the numbers of one prompt; all None without a partition."""
    names = ("distinct_k", "distinct_10", "semantic_entropy", "chao_shen_entropy")
    found: dict[str, float | None] = dict.fromkeys(names)
    if labels is not None:
        found["distinct_k"] = float(nb.distinct_k(labels))
        if len(labels) >= nb.SAMPLES:
            found["distinct_10"] = rarefied_classes(labels, size=nb.SAMPLES)
        found["semantic_entropy"] = semantic_entropy(labels)
        found["chao_shen_entropy"] = chao_shen_entropy(labels)
    if with_utility:
        whole = labels is not None and all(scores[at] is not None for at in _heads(labels))
        found["utility_k"] = nb.utility_k(labels, scores) if whole and labels is not None else None
    return found


def _placeholder(text: str) -> bool:
    return text in (nb.EMPTY, nb.REFUSED)
