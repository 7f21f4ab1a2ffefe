"""The answers of all the models to one prompt, compared in one matrix: their map, their classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from diversify.credit import partition
from diversify.evaluation.report.answer_map import Spot, answer_map
from diversify.evaluation.report.scaling import classical_scaling
from diversify.kernels import Kernel

# What is told of a text where it only stands for itself; the answer has it whole.
START = 80


class Told(NamedTuple):
    """One answer: whose, where on the page it is told, and its text as far as it is shown."""

    kind: str
    anchor: str
    text: str


class AnswerClass(NamedTuple):
    """Answers that are nearly the same: one that stands for them, and how many each model gave."""

    text: str
    anchor: str
    counts: list[int]


class Together(NamedTuple):
    """What one matrix over all the models' answers shows.

    Args:
        map: the answers in a plane; None if they are all equal.
        share: how much of the variation the plane holds, in words.
        classes: those with more than one answer, the largest first.
        alone: answers of each model that are a class of their own.
        different: classes of each model.
    """

    map: Markup | None
    share: str
    classes: list[AnswerClass]
    alone: list[int]
    different: list[int]


def together(
    answers: Sequence[Told], names: Mapping[str, str], *, kernel: Kernel, threshold: float
) -> Together:
    """Compare the answers of all the models to one prompt.

    Args:
        answers: those of one model after those of the other.
        names: kind -> the role of the model, in the order of the columns.
        kernel: what compares them.
        threshold: from which similarity on two answers are the same.
    """
    similarity = kernel([answer.text for answer in answers])
    plane = classical_scaling(similarity)
    drawn = None
    if plane.share is not None:
        drawn = answer_map(_spots(answers, names, plane.points))
    labels = partition(similarity, threshold=threshold)
    found = _classes(answers, list(names), similarity, labels)
    return Together(
        map=drawn,
        share="" if plane.share is None else f"{100 * plane.share:.0f} %",
        classes=[group for group in found if sum(group.counts) > 1],
        alone=_total([group.counts for group in found if sum(group.counts) == 1], len(names)),
        different=_total([[min(n, 1) for n in group.counts] for group in found], len(names)),
    )


def _total(counts: Sequence[Sequence[int]], columns: int) -> list[int]:
    return [sum(row[column] for row in counts) for column in range(columns)]


def _spots(
    answers: Sequence[Told], names: Mapping[str, str], points: NDArray[np.float64]
) -> list[Spot]:
    """Return one spot for each place on the page: copies of one model lie on each other."""
    places: dict[str, list[int]] = {}
    for index, answer in enumerate(answers):
        places.setdefault(answer.anchor, []).append(index)
    return [
        Spot(
            kind=answers[found[0]].kind,
            role=names[answers[found[0]].kind],
            anchor=anchor,
            text=start_of(answers[found[0]].text),
            copies=len(found),
            x=float(points[found[0], 0]),
            y=float(points[found[0], 1]),
        )
        for anchor, found in places.items()
    ]


def start_of(text: str) -> str:
    """Return the beginning of a text on one line.

    >>> start_of("one   two"), start_of("  ")
    ('one two', '(empty)')
    """
    # No more than can be shown is split: a text may be long.
    told = " ".join(text[: 10 * START].split())
    short = told if len(told) <= START else told[: START - 1].rstrip() + "…"
    return short or "(empty)"


def _classes(
    answers: Sequence[Told],
    kinds: Sequence[str],
    similarity: NDArray[np.float64],
    labels: NDArray[np.int64],
) -> list[AnswerClass]:
    found = []
    for label in range(int(labels.max(initial=-1)) + 1):
        members = np.flatnonzero(labels == label).tolist()
        # The one that is most like the others; of equally good ones the first.
        likeness = similarity[np.ix_(members, members)].sum(axis=1).round(9)
        chosen = answers[members[int(np.argmax(likeness))]]
        counts = [sum(answers[member].kind == kind for member in members) for kind in kinds]
        found.append(AnswerClass(start_of(chosen.text), chosen.anchor, counts))
    return sorted(found, key=lambda group: -sum(group.counts))
