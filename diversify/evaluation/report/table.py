"""The main table as plain data: groups of rows, one row for each number that was compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from markupsafe import Markup

from diversify.evaluation.compare import Comparison
from diversify.evaluation.report.figures import interval_bar
from diversify.evaluation.report.names import (
    ANSWERS,
    NEUTRAL,
    SIMILARITY,
    WORDS,
    Name,
    deciding,
    kernel_name,
    measure_name,
    monitor_name,
    quality_name,
)
from diversify.evaluation.statistics.change import Change
from diversify.evaluation.statistics.inference import FEWEST
from diversify.evaluation.verdict import primary_of
from diversify.evaluation.wording.written import MINUS, NONE, Style, cuts_told, p_told, style_of

SYMBOLS = {"better": "▲", "worse": "▼", "open": "○", "moved": "◆", "held": "✓"}
WITHOUT_KERNEL = {
    WORDS: ("Words", "counted in the texts alone"),
    ANSWERS: ("Known answers", "where the prompt set lists them"),
}
Band: TypeAlias = tuple[float, float]
"""How far a quality may move: (minus the margin, the margin or infinity)."""


class Cell(NamedTuple):
    """What one comparison says about one number."""

    after: str
    difference: str
    interval: str
    state: str
    word: str


class Row(NamedTuple):
    """One line of the table; `cells` holds the further comparisons, None where one lacks it.

    `test` tells the p-values, `detectable` what a run of this size would have found; both are empty
    where the comparison does not say.
    """

    title: str
    code: str
    note: str
    before: str
    cell: Cell
    bar: Markup
    test: str
    detectable: str
    improved: str
    prompts: int
    primary: bool
    cells: list[Cell | None]


class Group(NamedTuple):
    """Rows that belong together; `mark` says which role the kernel plays."""

    title: str
    mark: str
    note: str
    rows: list[Row]


def table(comparison: Comparison, also: Mapping[str, Comparison]) -> list[Group]:
    """Return the groups in the order in which they are read, leaving out empty ones."""
    kernels = list(dict.fromkeys(name.partition(",")[2] for name in comparison.measures))
    ranked = sorted(
        kernels, key=lambda name: (name != _trained(comparison), name in WITHOUT_KERNEL)
    )
    groups = [_measures(comparison, also, kernel) for kernel in ranked]
    matched = _length_matched(comparison, also)
    groups += [matched, _qualities(comparison, also), _monitors(comparison, also)]
    return [group for group in groups if group.rows or (group is matched and group.note)]


def _trained(comparison: Comparison) -> str:
    return str(comparison.details.get("trained_kernel", ""))


def _measures(comparison: Comparison, also: Mapping[str, Comparison], kernel: str) -> Group:
    rows, decide = [], primary_of(comparison.measures)
    for code, change in comparison.measures.items():
        name, _, of = code.partition(",")
        if of != kernel:
            continue
        others = [other.measures.get(code) for other in also.values()]
        rows.append(_row(measure_name(code), code, change, others, primary=code in decide))
        if name == "mean_distance":
            inverse = [other and similarity(other) for other in others]
            rows.append(_row(SIMILARITY, f"1 {MINUS} {code}", similarity(change), inverse))
    title, note = WITHOUT_KERNEL.get(kernel, (kernel_name(kernel), "not trained on"))
    mark = "" if kernel in WITHOUT_KERNEL else "held out"
    if kernel == _trained(comparison):
        mark = "counts as trained on"
        note = "training may have aimed at it, so it does not decide alone"
    return Group(title, mark, note, rows)


def similarity(change: Change) -> Change:
    """Turn the change of a mean distance into that of the mean similarity, 1 - distance."""
    low, high = change.ci95
    return change._replace(
        before=1 - change.before,
        after=1 - change.after,
        difference=-change.difference,
        ci95=(-high, -low),
        higher_is_better=not change.higher_is_better,
    )


def _length_matched(comparison: Comparison, also: Mapping[str, Comparison]) -> Group:
    rows = [
        _row(measure_name(code), code, change, [o.length_matched.get(code) for o in also.values()])
        for code, change in comparison.length_matched.items()
    ]
    note = "answers cut to the shorter of the two models' median lengths, prompt by prompt"
    told = cuts_told(comparison.details)
    # Without a row there is still to say that every prompt was left out.
    note = "; ".join(filter(None, [note, told])) if rows else told
    return Group("At equal length", "", note, rows)


def _qualities(comparison: Comparison, also: Mapping[str, Comparison]) -> Group:
    decides, rows = deciding(comparison), []
    for code, change in comparison.qualities.items():
        margin, name = _margin(comparison, code), quality_name(code)
        cells = [_beside(name, code, other, margin) for other in also.values()]
        told = "; ".join(part for part in (name.note, _margin_told(margin)) if part)
        name = name._replace(note=told)
        row = _row(name, code, change, [], primary=code in decides, margin=band(margin))
        rows.append(row._replace(cells=cells))
    note = (
        "it held where the whole interval, of at least "
        f"{FEWEST} independent prompts, lies within the margin, the shaded band"
    )
    return Group("Quality", "", note, rows)


def _margin(comparison: Comparison, code: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = comparison.details.get("margins", {}).get(code)
    return found


def _beside(name: Name, code: str, other: Comparison, margin: dict[str, Any] | None) -> Cell | None:
    """Judge a quality of a further comparison by its own margin, told where it is another one."""
    change, own = other.qualities.get(code), _margin(other, code)
    if change is None:
        return None
    cell = _cell(name, code, change, band(own))
    same = band(own) == band(margin)
    return cell if same else cell._replace(word=f"{cell.word}, {_margin_told(own)}")


def _margin_told(margin: dict[str, Any] | None) -> str:
    if margin is None:
        return "no margin"
    way = "in either direction" if margin["two_sided"] else "downwards"
    return f"margin {margin['margin']:g} {way}"


def band(margin: dict[str, Any] | None) -> Band | None:
    """Return how far a quality with this margin, as the details tell it, may move."""
    if margin is None:
        return None
    return -margin["margin"], margin["margin"] if margin["two_sided"] else math.inf


def _monitors(comparison: Comparison, also: Mapping[str, Comparison]) -> Group:
    rows = [
        _row(monitor_name(code), code, change, [o.monitors.get(code) for o in also.values()])
        for code, change in comparison.monitors.items()
    ]
    return Group("Monitors", "", "what models do instead of getting more diverse", rows)


def _row(
    name: Name,
    code: str,
    change: Change,
    others: list[Change | None],
    *,
    primary: bool = False,
    margin: Band | None = None,
) -> Row:
    style = style_of(change, share=name.share)
    cell = _cell(name, code, change, margin)
    return Row(
        title=name.title,
        code=code,
        note=name.note,
        before=style.number(change.before),
        cell=cell,
        bar=interval_bar(change.difference, change.ci95, cell.state, margin),
        test=tested(change),
        detectable=_detectable(change, style),
        improved=NONE if code in NEUTRAL else f"{change.improved * change.n_prompts:.0f}",
        prompts=change.n_prompts,
        primary=primary,
        cells=[other and _cell(name, code, other, None) for other in others],
    )


def tested(change: Change) -> str:
    """Tell the p-value of a change, and what is left of it after the correction for several.

    >>> tested(Change(0, 1, 1, (0.5, 1.5), 9, 1.0, True, p_value=0.0123, p_holm=0.0246))
    'p = 0.012, corrected 0.025'
    """
    if change.p_value is None:
        return ""
    told = f"p {p_told(change.p_value)}"
    return told if change.p_holm is None else f"{told}, corrected {p_told(change.p_holm, sign='')}"


def _detectable(change: Change, style: Style) -> str:
    if change.detectable is None or not math.isfinite(change.detectable):
        return ""
    return style.signed(change.detectable).replace("+", "\N{PLUS-MINUS SIGN}")


def _cell(name: Name, code: str, change: Change, margin: Band | None) -> Cell:
    style = style_of(change, share=name.share)
    state, word = within(change, margin) if margin else judged(code, change)
    return Cell(
        after=style.number(change.after),
        difference=style.signed(change.difference),
        interval=style.interval(change.ci95),
        state=state,
        word=f"{SYMBOLS[state]} {word}",
    )


def judged(code: str, change: Change) -> tuple[str, str]:
    """Return the state of a change and the word for it: what its interval allows to say.

    `better` and `worse` need an interval on one side of zero; a monitor without a good direction
    has only `moved`.
    """
    if change.ci95 == (0.0, 0.0):
        return "open", "no change"
    if change.sign == 0:
        return "open", "not certain"
    if code in NEUTRAL:
        return "moved", NEUTRAL[code][change.difference < 0]
    return ("better", "better") if change.sign > 0 else ("worse", "worse")


def within(change: Change, margin: Band) -> tuple[str, str]:
    """Return the state of a quality against its margin, as the verdict judges it.

    Fewer than `FEWEST` independent prompts show nothing, wherever their interval lies.
    """
    if change.units < FEWEST:
        return "open", "not certain"
    (low, high), (down, up) = change.ci95, margin
    if high < down:
        return "worse", "fell beyond its margin"
    if not low >= down:  # NaN included
        return "open", "may have fallen"
    return ("open", "may have risen too far") if high > up else ("held", "held")
