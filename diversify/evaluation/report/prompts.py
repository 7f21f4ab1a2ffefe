"""The prompts as plain data: a dumbbell each, a map, the answers side by side, all numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from diversify.engines import Message, text_of
from diversify.evaluation.compare import Comparison
from diversify.evaluation.report.answers import Answer, alike_order, anchors_of, answer_views
from diversify.evaluation.report.cut import MOST, longest_shown
from diversify.evaluation.report.figures import dumbbell, dumbbell_axis, heat_map
from diversify.evaluation.report.names import Name, kernel_name, measure_name
from diversify.evaluation.report.numbers import Number, prompt_numbers
from diversify.evaluation.report.repeats import Phrase, Repeats, repeats
from diversify.evaluation.report.similarity_table import SimilarityTable, similarity_table
from diversify.evaluation.report.svg import Axis, axis_of
from diversify.evaluation.report.together import Together, Told, together
from diversify.evaluation.wording.written import Style
from diversify.kernels import Kernel

Sample = dict[str, Any]


class Side(NamedTuple):
    """The answers of one model to one prompt."""

    kind: str
    label: str
    value: str
    different: int
    total: int
    heat: Markup | None
    pairs: SimilarityTable | None
    answers: list[Answer]


class PromptView(NamedTuple):
    """One prompt: `text` names it, `turns` holds all of a chat, each with its own role."""

    anchor: str
    id: str
    text: str
    turns: list[tuple[str, str]]
    category: str
    before: str
    after: str
    change: str
    others: list[str]
    figure: Markup | None
    together: Together
    phrases: list[Phrase]
    sides: list[Side]
    numbers: list[Number]
    cut: bool


class Prompts(NamedTuple):
    """All prompts, greatest gain first, and what is said of all of them.

    Args:
        measure: what the dumbbells show.
        kernel: its kernel.
        mapped: the kernel of the heat maps.
        together: the kernel that compares all the models' answers: of the maps and classes.
        threshold: from which similarity on two answers are the same.
        axis: above and below the dumbbells.
        views: the prompts.
        repeats: phrases that come again and again.
        cut: after how many characters answers are cut; empty if all are whole.
    """

    measure: Name
    kernel: str
    mapped: str
    together: str
    threshold: str
    axis: Markup | None
    views: list[PromptView]
    repeats: Repeats
    cut: str


class Ruler(NamedTuple):
    """What compares the answers of all the models to one prompt, and when two are the same."""

    kernel: Kernel
    threshold: float


def prompt_views(
    comparison: Comparison, also: Mapping[str, Comparison], measure: str, ruler: Ruler
) -> Prompts:
    """Return the prompts sorted by how much `measure` changed, unscored ones last."""
    columns = _columns(comparison, also)
    labels = dict(zip(columns, ["Before", "After", *also], strict=True))
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    limit = longest_shown(
        len(text) for row in rows for sample in row.values() for text in _texts(sample)
    )
    asked = [text_of(sample["prompt"])[:limit] for sample in comparison.samples[0]]
    said = repeats(
        {kind: [_texts(s, limit) for s in found] for kind, found in columns.items()}, asked
    )
    order = sorted(range(len(rows)), key=lambda index: _gain(rows[index], measure))
    axis = _axis(rows, measure)
    views = [
        _view(
            f"p{number}",
            rows[index],
            labels,
            measure,
            ruler,
            figure=_dumbbell(rows[index], labels, measure, axis),
            phrases=said.by_prompt[index],
            limit=limit,
        )
        for number, index in enumerate(order, start=1)
    ]
    kernel = measure.partition(",")[2]
    return Prompts(
        measure=measure_name(measure),
        kernel=kernel_name(kernel) if kernel else "",
        mapped=_mapped(comparison),
        together=kernel_name(ruler.kernel.name),
        threshold=f"{ruler.threshold:g}",
        axis=dumbbell_axis(axis) if axis else None,
        views=views,
        repeats=said,
        cut=f"{limit:,}" if any(view.cut for view in views) else "",
    )


def _texts(sample: Sample | None, limit: int | None = None) -> list[str]:
    return [text[:limit] for text in sample["generations"]] if sample else []


def _axis(rows: Sequence[Mapping[str, Sample | None]], measure: str) -> Axis | None:
    values = [_value(sample, measure) for row in rows for sample in row.values()]
    known = [value for value in values if value is not None]
    return axis_of(known, padding=0.04) if known else None


def _dumbbell(
    row: Mapping[str, Sample | None], labels: Mapping[str, str], measure: str, axis: Axis | None
) -> Markup | None:
    known = {kind: v for kind, s in row.items() if (v := _value(s, measure)) is not None}
    told = ", ".join(f"{labels[kind]} {value:.2f}" for kind, value in known.items())
    return dumbbell(list(known.items()), axis, told) if axis else None


class Place(NamedTuple):
    """Where the answers of one model to one prompt stand: in which order, and at which anchors."""

    order: list[int]
    anchors: list[str]


def _place(sample: Sample, prefix: str) -> Place:
    similarity, texts = _similarity(sample), sample["generations"]
    order = list(range(len(texts))) if similarity is None else alike_order(similarity)
    return Place(order, anchors_of(texts, order, prefix))


def _together(
    row: Mapping[str, Sample | None],
    places: Mapping[str, Place],
    labels: Mapping[str, str],
    ruler: Ruler,
    limit: int,
) -> Together:
    told = [
        Told(kind, anchor, text)
        for kind, place in places.items()
        for anchor, text in zip(place.anchors, _texts(row[kind], limit), strict=True)
    ]
    return together(told, labels, kernel=ruler.kernel, threshold=ruler.threshold)


def _mapped(comparison: Comparison) -> str:
    """Name the kernel whose similarities the samples hold: the first of the recipe."""
    kernels = comparison.details.get("before", {}).get("recipe", {}).get("kernels", [])
    return kernel_name(kernels[0]["name"]) if kernels else ""


def _columns(
    comparison: Comparison, also: Mapping[str, Comparison]
) -> dict[str, list[Sample | None]]:
    """Return the rows of every model in one order of prompts."""
    before, after = comparison.samples
    found: dict[str, list[Sample | None]] = {"before": [*before], "after": [*after]}
    for number, other in enumerate(also.values()):
        by_id = {sample["id"]: sample for sample in other.samples[1]}
        found[f"also-{number}"] = [by_id.get(sample["id"]) for sample in before]
    return found


def _value(sample: Sample | None, measure: str) -> float | None:
    value: float | None = sample["measures"].get(measure) if sample else None
    return value


def _gain(row: Mapping[str, Sample | None], measure: str) -> float:
    before, after = (_value(row[kind], measure) for kind in ("before", "after"))
    return float("inf") if before is None or after is None else before - after


def _view(
    anchor: str,
    row: Mapping[str, Sample | None],
    labels: Mapping[str, str],
    measure: str,
    ruler: Ruler,
    *,
    figure: Markup | None,
    phrases: list[Phrase],
    limit: int,
) -> PromptView:
    before, after = row["before"], row["after"]
    assert before is not None and after is not None  # compare() pairs them
    style = Style(2)
    old, new = _value(before, measure), _value(after, measure)
    prompt = before["prompt"]
    turns = [] if isinstance(prompt, str) else [(t["role"], str(t["content"])) for t in prompt]
    places = {
        kind: _place(sample, f"{anchor}-{kind}")
        for kind, sample in row.items()
        if sample is not None
    }
    sides = [
        _side(kind, labels[kind], sample, measure, places[kind], limit)
        for kind, sample in row.items()
        if sample is not None
    ]
    return PromptView(
        anchor=anchor,
        id=str(before["id"]),
        text=_asked(prompt)[:MOST],
        turns=[(role, content[:MOST]) for role, content in turns],
        category=str(before.get("category") or ""),
        before=style.number(old),
        after=style.number(new),
        change=style.signed(None if old is None or new is None else new - old),
        others=[style.number(_value(sample, measure)) for sample in [*row.values()][2:]],
        figure=figure,
        together=_together(row, places, labels, ruler, limit),
        phrases=phrases,
        sides=sides,
        numbers=list(prompt_numbers(list(row.values()))),
        cut=any(answer.cut for side in sides for answer in side.answers),
    )


def _asked(prompt: str | Sequence[Message]) -> str:
    """Return what names a prompt: what the user says last, else the last turn.

    A chat may end with the beginning of the answer; what was asked stands before it.
    """
    if not isinstance(prompt, str):
        prompt = [turn for turn in prompt if turn["role"] == "user"] or prompt
    return text_of(prompt)


def _side(kind: str, label: str, sample: Sample, measure: str, place: Place, limit: int) -> Side:
    texts, similarity = sample["generations"], _similarity(sample)
    return Side(
        kind=kind,
        label=label,
        value=Style(2).number(_value(sample, measure)),
        different=len(set(texts)),
        total=len(texts),
        heat=None if similarity is None else heat_map(similarity, place.order, f"of {label}"),
        pairs=None if similarity is None else similarity_table(similarity, place.order),
        answers=answer_views(
            texts,
            place.order,
            sample.get("quality_values", {}),
            anchors=place.anchors,
            limit=limit,
        ),
    )


def _similarity(sample: Sample) -> NDArray[np.float64] | None:
    """Return the similarities of a sample's answers, if it has them."""
    count = len(sample["generations"])
    found = np.array(sample.get("similarity") or np.empty((0, 0)), dtype=np.float64)
    return found if count and found.shape == (count, count) else None
