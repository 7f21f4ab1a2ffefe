"""Tables and summaries in Markdown, for model cards, CI logs and whoever reads them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diversify.evaluation.compare import Comparison
from diversify.evaluation.statistics.change import Change
from diversify.evaluation.wording.apart import labels_apart, run_of
from diversify.evaluation.wording.visible import visible
from diversify.evaluation.wording.written import MINUS, NONE, cuts_told, p_told, style_of
from diversify.reading import read_json

__all__ = ["markdown_summary", "markdown_table"]

QUESTIONS = {
    "collapse_fell": "Did collapse fall?",
    "quality_held": "Did quality hold?",
    "beats_temperature": "Was it more than turning the temperature up?",
}
WORDS = {True: "yes", False: "no", None: "not determined"}
TESTS = {"p_value": "p", "p_holm": "p (Holm)"}
NEUTRAL = frozenset({"length"})
"""Monitors without a better side."""
UNKNOWN = {"n_prompts": 0, "improved": 0.0, "higher_is_better": True}
# What Markdown would read as markup; underscores inside words are none.
MARKUP = re.compile(r"[\\`*|~]|<(?=[A-Za-z/!?])|\](?=[(\[:])")


def markdown_summary(comparison: Comparison | Mapping[str, Any] | str | Path) -> str:
    """Return a comparison as Markdown: the three answers and the numbers, for a card or a CI log.

    Args:
        comparison: What `compare` gives, the content of a `comparison.json`, or its path.

    Raises:
        ValueError: There is no such file, it is no JSON object, or it lacks `measures` or `verdict`
            and so is no comparison.

    Example:
        >>> change = {"before": 2.0, "after": 3.0, "difference": 1.0, "ci95": [0.5, 1.5], "n_prompts": 9}
        >>> text = markdown_summary({"measures": {"vendi,ngram-2": change},
        ...                          "verdict": {"collapse_fell": True}})
        >>> text.splitlines()[0]
        '- Did collapse fall? **yes**'
        >>> "| vendi,ngram-2 | 2.00 | 3.00 | +1.00 | +0.50 to +1.50 | 9 |" in text
        True
    """
    found = _comparison(comparison)
    if missing := {"measures", "verdict"} - found.keys():
        raise ValueError(f"a comparison has measures and verdict; {sorted(missing)} are missing")
    return "\n".join(_summary(found))


def _comparison(comparison: Comparison | Mapping[str, Any] | str | Path) -> Mapping[str, Any]:
    if isinstance(comparison, Comparison):
        return comparison.as_json()
    if isinstance(comparison, Mapping):
        return comparison
    path = Path(comparison)
    if not path.is_file():
        raise ValueError(f"there is no file {path}: a comparison is one, its comparison.json")
    return read_json(path)


def _summary(comparison: Mapping[str, Any]) -> Iterator[str]:
    if "before" in comparison and "after" in comparison:
        details = comparison.get("details") or {}
        labels = [str(comparison[side]) for side in ("before", "after")]
        runs = [run_of(details, side) for side in ("before", "after")]
        before, after = map(_cell, labels_apart(labels, runs))
        yield f"Before: {before}. After: {after}."
        yield ""
    yield from _answers(comparison["verdict"])
    matched = comparison.get("length_matched") or {}
    diversity = dict(comparison["measures"])
    diversity |= {f"{name} (equal length)": row for name, row in matched.items()}
    tables = {"Diversity": diversity, "Quality": comparison.get("qualities") or {}}
    tables["Monitor"] = _seen(comparison.get("monitors") or {})
    for title, rows in tables.items():
        if rows:
            head = [title, "before", "after", "difference", "95 % interval", "prompts"]
            tests = [
                name for name in TESTS if any(row.get(name) is not None for row in rows.values())
            ]
            told = [
                _row(name, row) + [_p(row.get(test)) for test in tests]
                for name, row in rows.items()
            ]
            yield ""
            yield markdown_table([*head, *(TESTS[name] for name in tests)], told)
    if gaps := comparison.get("frontiers"):
        yield ""
        head = ["Both swept, at equal quality", "on average", "95 % interval", "smallest", "at"]
        head += ["95 % interval", "at least as diverse"]
        yield markdown_table(head, [_gap(gap) for gap in gaps])
    yield ""
    if cut := cuts_told(comparison.get("details") or {}):
        yield f"At equal length: {cut}."
    yield (
        "Higher is more diverse, or better, except where a name says that lower is. Paired over "
        "prompts; the same prompts and sampling."
    )
    if tables["Monitor"]:
        yield (
            "Monitors are shares; length is in words and has no better side. Those that are zero "
            "before and after are left out."
        )


def _seen(monitors: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Keep the monitors that show something."""
    return {name: row for name, row in monitors.items() if row["before"] or row["after"]}


def _answers(verdict: Mapping[str, Any]) -> Iterator[str]:
    reasons = verdict.get("reasons") or {}
    for key, question in QUESTIONS.items():
        reason = f" ({_cell(reasons[key])})" if reasons.get(key) else ""
        yield f"- {question} **{WORDS[verdict.get(key)]}**{reason}"


def _row(name: str, row: Mapping[str, Any]) -> list[str]:
    change = Change.from_json({**UNKNOWN, **row, "ci95": row.get("ci95") or (None, None)})
    style = style_of(change)
    low, high = change.ci95
    known = math.isfinite(low) and math.isfinite(high)
    cells = [style.number(change.before), style.number(change.after)]
    cells += [style.signed(change.difference)]
    cells += [f"{style.signed(low)} to {style.signed(high)}" if known else ""]
    # Plain signs: a summary is printed to terminals and logs of any encoding.
    told = [cell.replace(MINUS, "-").replace(NONE, "-") for cell in cells]
    lower = "" if change.higher_is_better or name in NEUTRAL else " (lower is better)"
    return [name + lower, *told, str(row.get("n_prompts", ""))]


def _p(value: float | None) -> str:
    return "" if value is None else p_told(value, sign="")


def _gap(gap: Mapping[str, Any]) -> list[str]:
    name, answer = f"{gap['measure']} at equal {gap['quality']}", WORDS[gap["dominates"]]
    if gap["gap"] is None:
        return [name, *[""] * 5, f"{answer}{gap['note']}"]
    smallest, place = f"{gap['smallest']:+.3g}", f"{gap['smallest_at']:.3g}"
    ends = _between(gap["ci95"]), _between(gap["smallest_ci95"])
    return [name, f"{gap['gap']:+.3g}", ends[0], smallest, place, ends[1], f"{answer}{gap['note']}"]


def _between(bounds: Sequence[float | None] | None) -> str:
    low, high = bounds or (None, None)
    return "" if low is None or high is None else f"{low:+.3g} to {high:+.3g}"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    r"""Return a table in Markdown, its first column to the left and the others to the right.

    Args:
        head: Names of the columns.
        rows: Cells; a line break or bar in one ends neither the line nor the cell.

    Example:
        >>> print(markdown_table(["name", "n"], [["a|b", "1"]]))
        | name | n |
        |---|---:|
        | a\|b | 1 |
    """
    ruler = "|---|" + "---:|" * (len(head) - 1)
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in (head, *rows)]
    return "\n".join([lines[0], ruler, *lines[1:]])


def _cell(text: Any) -> str:
    r"""Write any text on one line so that nothing in it is read as Markdown or HTML.

    >>> print(_cell("a|b `c` <b> [x](y)\n# p < 0.1"))
    a\|b \`c\` \<b> [x\](y) # p < 0.1
    """
    line = " ".join(visible(str(text)).split())
    return MARKUP.sub(r"\\\g<0>", line)
