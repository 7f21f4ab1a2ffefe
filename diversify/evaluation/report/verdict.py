"""The verdict in words: one headline, three badges, and never more than `Comparison.verdict` says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from diversify.evaluation.compare import Comparison
from diversify.evaluation.report.names import deciding
from diversify.evaluation.report.table import band, within
from diversify.evaluation.verdict import primary_of
from diversify.evaluation.wording.written import style_of

# "Is it shown …?", because False covers what fell and what is merely uncertain: "no" is true of both.
QUESTIONS = {
    "collapse_fell": "Is it shown that collapse fell?",
    "quality_held": "Is it shown that quality held?",
    "beats_temperature": "Is it shown to beat temperature?",
}
ANSWERS = {
    True: ("yes", "Yes", "✓"),
    False: ("no", "No", "✕"),
    None: ("open", "Cannot be said", "?"),
}


class Badge(NamedTuple):
    """One of the three answers."""

    code: str
    question: str
    state: str
    answer: str
    symbol: str
    reason: str


def badges(verdict: dict[str, Any]) -> list[Badge]:
    """Return the three answers of a verdict, each with its reason."""
    reasons = verdict.get("reasons", {})
    return [
        Badge(code, question, *ANSWERS[verdict.get(code)], sentence(reasons.get(code, "")))
        for code, question in QUESTIONS.items()
    ]


def sentence(reason: str) -> str:
    """Begin a reason with a capital letter, unless it begins with the name of a number.

    >>> sentence("no quality was measured."), sentence("vendi,ngram-2 rose.")
    ('No quality was measured.', 'vendi,ngram-2 rose.')
    """
    first = reason.partition(" ")[0]
    return reason[:1].upper() + reason[1:] if first.isalpha() else reason


def headline(comparison: Comparison) -> str:
    """Return the one sentence on top of the report."""
    verdict = comparison.verdict
    answers = [verdict.get(code) for code in QUESTIONS]
    clauses = [_collapse(comparison), _quality(comparison)]
    temperature = _temperature(collapse=answers[0], beats=answers[2])
    if temperature:
        clauses.append(temperature)
    if answers == [True, True, True]:
        return f"{clauses[0]}, {clauses[1]}, and {clauses[2]}"
    return "; ".join(clauses)


def _collapse(comparison: Comparison) -> str:
    answer = comparison.verdict.get("collapse_fell")
    if answer is None:
        return "Whether collapse fell cannot be said"
    if answer:
        return "Collapse fell"
    measures = comparison.measures
    signs = {measures[name].sign for name in primary_of(measures)}
    if signs == {-1}:
        return "Answers became more alike"
    return (
        "Collapse fell by some measures and not by all"
        if 1 in signs
        else ("It is not shown that collapse fell")
    )


def _quality(comparison: Comparison) -> str:
    answer = comparison.verdict.get("quality_held")
    if answer is None:
        return "whether quality held cannot be said"
    if answer:
        return "quality held"
    margins = comparison.details.get("margins", {})
    lost = any(
        within(change, limits)[0] == "worse"
        for name, change in comparison.qualities.items()
        if name in deciding(comparison) and (limits := band(margins.get(name)))
    )
    return "quality did not hold" if lost else "quality may not have held"


def _temperature(*, collapse: bool | None, beats: bool | None) -> str:
    if collapse:
        return {
            True: "temperature alone does not explain it",
            False: "temperature alone may explain it",
            None: "whether temperature alone explains it cannot be said",
        }[beats]
    return {
        True: "at equal quality there is more diversity than the base model gives when sampled hotter",
        False: "it is not shown to beat sampling the base model hotter",
        None: "",
    }[beats]


def deck(comparison: Comparison) -> str:
    """Say the change as a count of answers, under a kernel that was not trained on if there is one.

    Empty if the effective number was not measured.
    """
    trained = comparison.details.get("trained_kernel")
    found = [name for name in comparison.measures if name.partition(",")[0] == "vendi"]
    if not found:
        return ""
    held_out = [name for name in found if name.partition(",")[2] != trained]
    name = (held_out or found)[0]
    kernel = name.partition(",")[2]
    change = comparison.measures[name]
    style = style_of(change)
    counts = _counts(comparison.samples[0])
    seen = (
        "a kernel that was not trained on" if held_out else "the kernel that counts as trained on"
    )
    return (
        f"{counts or 'The'} {'answer' if counts == '1' else 'answers'} to a question counted as {style.number(change.before)} "
        f"different ones before and {style.number(change.after)} after, a change of "
        f"{style.signed(change.difference)} {style.interval(change.ci95)} over "
        f"{change.n_prompts} {'prompt' if change.n_prompts == 1 else 'prompts'}. "
        f"This is the Vendi score under {kernel}, {seen}."
    )


def _counts(samples: Iterable[dict[str, Any]]) -> str:
    counts = sorted({len(sample["generations"]) for sample in samples})
    if not counts:
        return ""
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
