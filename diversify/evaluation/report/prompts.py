"""The prompts as plain data: a dumbbell each, the answers side by side, and all numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import squareform

from diversify.engines import text_of
from diversify.evaluation.compare import Comparison
from diversify.evaluation.report.figures import dumbbell, dumbbell_axis, heat_map
from diversify.evaluation.report.names import (
    NONE,
    Name,
    Style,
    kernel_name,
    measure_name,
    monitor_name,
    quality_name,
)
from diversify.evaluation.report.svg import axis_of

Sample = dict[str, Any]
# Answers beyond this are cut to a few lines with "show all"; shorter ones stand whole.
LONG_TEXT, LONG_LINES = 520, 9
SECTIONS = (("measures", measure_name), ("qualities", quality_name), ("monitors", monitor_name))


class Answer(NamedTuple):
    """One text; exact copies are told once with all their numbers."""

    numbers: str
    copies: int
    text: str
    long: bool
    size: str
    qualities: str


class Side(NamedTuple):
    """The answers of one model to one prompt."""

    kind: str
    label: str
    value: str
    different: int
    total: int
    heat: Markup | None
    answers: list[Answer]


class Number(NamedTuple):
    """One line of a prompt's own table."""

    title: str
    code: str
    before: str
    after: str
    difference: str
    others: list[str]


class PromptView(NamedTuple):
    """One prompt."""

    anchor: str
    id: str
    text: str
    turns: list[tuple[str, str]]
    category: str
    before: str
    after: str
    change: str
    figure: Markup | None
    sides: list[Side]
    numbers: list[Number]


class Prompts(NamedTuple):
    """All prompts, greatest gain first, the axis above their dumbbells, the kernel of the maps."""

    measure: Name
    kernel: str
    mapped: str
    axis: Markup | None
    views: list[PromptView]


def prompt_views(comparison: Comparison, also: Mapping[str, Comparison], measure: str) -> Prompts:
    """Return the prompts sorted by how much `measure` changed, unscored ones last."""
    columns = _columns(comparison, also)
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    rows.sort(key=lambda row: _gain(row, measure))
    values = [
        value
        for row in rows
        for sample in row.values()
        if (value := _value(sample, measure)) is not None
    ]
    axis = axis_of(values, padding=0.04) if values else None
    labels = ["Before", "After", *also]
    views = []
    for number, row in enumerate(rows, start=1):
        told = {kind: v for kind, s in row.items() if (v := _value(s, measure)) is not None}
        figure = dumbbell(list(told.items()), axis, _told(told, labels, row)) if axis else None
        views.append(_view(f"prompt-{number}", row, labels, measure, figure))
    kernel = measure.partition(",")[2]
    return Prompts(
        measure_name(measure),
        kernel_name(kernel) if kernel else "",
        _mapped(comparison),
        dumbbell_axis(axis) if axis else None,
        views,
    )


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


def _gain(row: dict[str, Sample | None], measure: str) -> float:
    before, after = (_value(row[kind], measure) for kind in ("before", "after"))
    return float("inf") if before is None or after is None else before - after


def _told(values: dict[str, float], labels: Sequence[str], row: dict[str, Sample | None]) -> str:
    names = dict(zip(row, labels, strict=True))
    return ", ".join(f"{names[kind]} {value:.2f}" for kind, value in values.items())


def _view(
    anchor: str,
    row: dict[str, Sample | None],
    labels: Sequence[str],
    measure: str,
    figure: Markup | None,
) -> PromptView:
    before, after = row["before"], row["after"]
    assert before is not None and after is not None  # compare() pairs them
    style = Style(2)
    old, new = _value(before, measure), _value(after, measure)
    prompt = before["prompt"]
    turns = [] if isinstance(prompt, str) else [(t["role"], t["content"]) for t in prompt[:-1]]
    return PromptView(
        anchor=anchor,
        id=str(before["id"]),
        text=text_of(prompt),
        turns=turns,
        category=str(before.get("category") or ""),
        before=style.number(old),
        after=style.number(new),
        change=style.signed(None if old is None or new is None else new - old),
        figure=figure,
        sides=[
            _side(kind, label, sample, measure)
            for label, (kind, sample) in zip(labels, row.items(), strict=True)
            if sample is not None
        ],
        numbers=list(_numbers(list(row.values()))),
    )


def _side(kind: str, label: str, sample: Sample, measure: str) -> Side:
    texts: list[str] = sample["generations"]
    similarity = np.array(sample.get("similarity") or np.empty((0, 0)), dtype=np.float64)
    fits = similarity.shape == (len(texts), len(texts))
    order = alike_order(similarity) if fits else list(range(len(texts)))
    return Side(
        kind=kind,
        label=label,
        value=Style(2).number(_value(sample, measure)),
        different=len(set(texts)),
        total=len(texts),
        heat=heat_map(similarity, order, f"of {label}") if fits and texts else None,
        answers=_answers(texts, order, sample.get("quality_values", {})),
    )


def alike_order(similarity: np.ndarray[Any, np.dtype[np.float64]]) -> list[int]:
    """Return the rows so that alike ones are neighbours: leaves of average linkage on 1 - S.

    >>> alike_order(np.array([[1, 0.1, 0.9], [0.1, 1, 0.2], [0.9, 0.2, 1]]))
    [0, 2, 1]
    """
    count = len(similarity)
    if count < 3:
        return list(range(count))
    distance = np.clip(1 - (similarity + similarity.T) / 2, 0, None)
    np.fill_diagonal(distance, 0)
    # Among equals, those that were drawn one after the other.
    distance += 1e-9 * np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=count <= 64)
    order = [int(leaf) for leaf in leaves_list(tree)]
    return order if order[0] <= order[-1] else order[::-1]


def _answers(
    texts: Sequence[str], order: Sequence[int], qualities: Mapping[str, Sequence[float | None]]
) -> list[Answer]:
    copies: dict[str, list[int]] = {}
    for index in order:
        copies.setdefault(texts[index], []).append(index)
    return [
        Answer(
            numbers=runs([index + 1 for index in sorted(found)]),
            copies=len(found),
            text=text if text.strip() else "",
            long=len(text) > LONG_TEXT or text.count("\n") > LONG_LINES,
            size=_size(text),
            qualities=" · ".join(_qualities(found[0], qualities)),
        )
        for text, found in copies.items()
    ]


def _size(text: str) -> str:
    """Say how long a text is; words mean little in a script without spaces."""
    words = len(text.split())
    return f"{words:,} words" if words > 20 else f"{len(text):,} characters"


def _qualities(index: int, qualities: Mapping[str, Sequence[float | None]]) -> Iterator[str]:
    for name, values in qualities.items():
        yield f"{name} {Style(2).number(values[index])}"


def runs(numbers: Sequence[int]) -> str:
    """Write sorted numbers with runs shortened.

    >>> runs([1, 3, 4, 5, 9]).replace(NONE, "-")
    '1, 3-5, 9'
    """
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}{NONE}{run[-1]}" for run in found)


def _numbers(samples: Sequence[Sample | None]) -> Iterator[Number]:
    before = samples[0] or {}
    for section, named in SECTIONS:
        for code in before.get(section, {}):
            values = [sample[section].get(code) if sample else None for sample in samples]
            name = named(code)
            style = Style(1, share=True) if name.share else Style(3)
            old, new = values[:2]
            yield Number(
                title=name.title,
                code=code,
                before=style.number(old),
                after=style.number(new),
                difference=style.signed(None if old is None or new is None else new - old),
                others=[style.number(value) for value in values[2:]],
            )
