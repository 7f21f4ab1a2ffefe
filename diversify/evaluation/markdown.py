"""Tables and summaries in Markdown, for model cards, CI logs and whoever reads them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from diversify.evaluation.compare import Comparison

__all__ = ["markdown_summary", "markdown_table"]

QUESTIONS = {
    "collapse_fell": "Did collapse fall?",
    "quality_held": "Did quality hold?",
    "beats_temperature": "Was it more than turning the temperature up?",
}


def markdown_summary(comparison: Comparison | Mapping[str, Any] | str | Path) -> str:
    """Return a comparison as Markdown: the three answers and the numbers, for a card or a CI log.

    Args:
        comparison: What `compare` gives, the content of a `comparison.json`, or its path.

    Raises:
        ValueError: It lacks `measures` or `verdict`, and so is no comparison.

    Example:
        >>> change = {"before": 2.0, "after": 3.0, "difference": 1.0, "ci95": [0.5, 1.5], "n_prompts": 9}
        >>> text = markdown_summary({"measures": {"vendi,ngram-2": change},
        ...                          "verdict": {"collapse_fell": True}})
        >>> text.splitlines()[0]
        '- Did collapse fall? **yes**'
        >>> "| vendi,ngram-2 | 2 | 3 | +1 | +0.5 to +1.5 | 9 |" in text
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
    found = json.loads(Path(comparison).read_text("utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{comparison} is no comparison: it holds a {type(found).__name__}")
    return found


def _summary(comparison: Mapping[str, Any]) -> Iterator[str]:
    if "before" in comparison and "after" in comparison:
        yield f"Before: {_cell(comparison['before'])}. After: {_cell(comparison['after'])}."
        yield ""
    yield from _answers(comparison["verdict"])
    matched = comparison.get("length_matched") or {}
    diversity = dict(comparison["measures"])
    diversity |= {f"{name} (equal length)": row for name, row in matched.items()}
    for title, rows in (("Diversity", diversity), ("Quality", comparison.get("qualities") or {})):
        if rows:
            head = [title, "before", "after", "difference", "95 % interval", "prompts"]
            yield ""
            yield markdown_table(head, [_row(name, row) for name, row in rows.items()])
    yield ""
    yield "Higher is more diverse, or better. Paired over prompts; the same prompts and sampling."


def _answers(verdict: Mapping[str, Any]) -> Iterator[str]:
    words = {True: "yes", False: "no", None: "not determined"}
    reasons = verdict.get("reasons") or {}
    for key, question in QUESTIONS.items():
        reason = f" ({reasons[key]})" if reasons.get(key) else ""
        yield f"- {question} **{words[verdict.get(key)]}**{reason}"


def _row(name: str, row: Mapping[str, Any]) -> list[str]:
    low, high = row.get("ci95") or (None, None)
    interval = "" if low is None or high is None else f"{low:+.3g} to {high:+.3g}"
    numbers = f"{row['before']:.3g}", f"{row['after']:.3g}", f"{row['difference']:+.3g}"
    return [name, *numbers, interval, str(row.get("n_prompts", ""))]


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
    return " ".join(str(text).split()).replace("|", "\\|")
