"""Names for people: measures, kernels, monitors and qualities, and how their numbers are written."""

from __future__ import annotations

import math
from typing import NamedTuple

from diversify.evaluation.change import Change
from diversify.evaluation.compare import Comparison
from diversify.evaluation.verdict import PRIMARY

NONE, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"
WORDS, ANSWERS = "words", "answers"
"""What stands in a kernel's place in the names of measures that need no kernel."""


class Name(NamedTuple):
    """A title for people, a remark, and whether the number is a share (written in per cent)."""

    title: str
    note: str = ""
    share: bool = False


MEASURE_NAMES = {
    "vendi": Name("Effective number of answers (Vendi)", "from 1 to the number of answers"),
    "mean_distance": Name("Mean distance between answers", "one minus the mean similarity"),
    "nearest_distance": Name("Distance to the nearest other answer"),
    "distinct": Name("Distinct answers", "groups of answers that are not nearly the same"),
    "log_det": Name("Volume spanned (log-determinant)"),
    "distinct_valid": Name("Distinct valid answers", "different answers that are on the list"),
    "distinct_1": Name("Different words", "share of all words (distinct-1)"),
    "distinct_2": Name("Different word pairs", "share of all word pairs (distinct-2)"),
    "self_bleu": Name("Self-BLEU", "overlap of each answer with the others; lower is more diverse"),
    "compression_ratio": Name(
        "Compression ratio", "how well the answers zip; lower is more diverse"
    ),
}
SIMILARITY = Name("Mean pairwise similarity", "the same as mean distance, told as likeness")

MONITOR_NAMES = {
    "blank": Name("Empty answers", share=True),
    "length": Name("Length", "words in an answer; neither direction is better"),
    "loops": Name("Repetition inside an answer", "share of repeated word triples", share=True),
    "prompt_copy": Name("Copied from the prompt", "share of word 4-grams", share=True),
    "refusal": Name("Refusals", "answers that open with an English phrase of refusal", share=True),
    "language_drift": Name("In another language", "than the prompt", share=True),
    "gibberish": Name("Gibberish", "share of characters that are no language", share=True),
    "role_leakage": Name("Shows its role", "or the template of the chat", share=True),
    "exact_duplicates": Name("Exact duplicates", share=True),
    "truncated": Name("Cut off at the token limit", share=True),
}
NEUTRAL = {"length": ("longer", "shorter")}
"""Monitors without a good direction, and what to call a rise and a fall."""

QUALITY_NAMES = {
    "relevance": Name("Relevance", "how close an answer is to its prompt"),
    "reference_likelihood": Name("Likelihood under the reference model", "per token"),
    "prompt_information": Name("Fit to the prompt", "how much the prompt explains, per token"),
    "valid_answer": Name("Valid answers", "share of answers that are on the list"),
}


def measure_name(code: str) -> Name:
    """Return the name of `measure` or `measure,kernel`; unknown ones keep their code name."""
    return MEASURE_NAMES.get(code.partition(",")[0], Name(code.partition(",")[0]))


def quality_name(code: str) -> Name:
    """Return the name of a quality; unknown ones keep their code name."""
    return QUALITY_NAMES.get(code, Name(code))


def monitor_name(code: str) -> Name:
    """Return the name of a monitor; unknown ones keep their code name."""
    return MONITOR_NAMES.get(code, Name(code))


def kernel_name(code: str) -> str:
    """Say what a kernel compares.

    >>> kernel_name("ngram-2"), kernel_name("all-MiniLM-L6-v2")
    ('Shared word pairs (ngram-2)', 'Meaning (all-MiniLM-L6-v2)')
    """
    kind, _, rest = code.partition("-")
    if kind == "ngram":
        return f"Shared word pairs ({code})" if rest == "2" else f"Shared word n-grams ({code})"
    return f"Judged the same ({rest})" if kind == "equivalence" else f"Meaning ({code})"


def deciding(comparison: Comparison) -> list[str]:
    """Return the qualities that the verdict rests on: all of them unless the comparison says."""
    named = comparison.details.get("deciding", comparison.qualities)
    return [name for name in named if name in comparison.qualities]


def lead_measure(comparison: Comparison) -> str | None:
    """Return the measure that the figures show: the first primary one, else the first, if any."""
    names = list(comparison.measures)
    primary = [name for name in names if name.partition(",")[0] in PRIMARY]
    return next(iter(primary or names), None)


class Style(NamedTuple):
    """How the numbers of one row are written: equally many decimals, or per cent."""

    decimals: int
    share: bool = False

    @property
    def factor(self) -> int:
        """What a value is multiplied by: 100 for per cent."""
        return 100 if self.share else 1

    def number(self, value: float | None) -> str:
        """Write a value, or a dash where there is none."""
        if value is None or math.isnan(value):
            return NONE
        return tidy(f"{value * self.factor:.{self.decimals}f}{' %' if self.share else ''}")

    def signed(self, value: float | None) -> str:
        """Write a difference with its sign."""
        if value is None or math.isnan(value):
            return NONE
        told = f"{value * self.factor:+.{self.decimals}f}"
        return tidy(f"{told} points" if self.share else told)

    def interval(self, bounds: tuple[float | None, float | None]) -> str:
        """Write an interval, or that there is none."""
        low, high = bounds
        if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
            return "no interval"
        ends = (tidy(f"{value * self.factor:+.{self.decimals}f}") for value in (low, high))
        return "[{}, {}]".format(*ends)


def style_of(change: Change, *, share: bool = False) -> Style:
    """Return the style of a row: fewer decimals for larger numbers, enough for its difference."""
    size = max(abs(change.before), abs(change.after))
    decimals = 1 if share or size >= 10 else 2 if size >= 1 else 3
    style = Style(decimals, share)
    # A difference that rounds to nothing gets one digit more.
    vanishes = change.difference and not any(
        c in "123456789" for c in style.signed(change.difference)
    )
    return style._replace(decimals=decimals + 1) if vanishes else style


def tidy(told: str) -> str:
    """Use a real minus sign, and none before a zero.

    >>> tidy("-0.25") == f"{MINUS}0.25", tidy("-0.00"), tidy("+0.0")
    (True, '0.00', '0.0')
    """
    if not any(digit in told for digit in "123456789"):
        told = told.replace("-", "").replace("+", "")
    return told.replace("-", MINUS)
