"""Names for people: measures, kernels, monitors and qualities."""

from __future__ import annotations

from typing import NamedTuple

from diversify.evaluation.compare import Comparison
from diversify.evaluation.richness import COVERAGE, VENDI
from diversify.evaluation.verdict import primary_of

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
    "distinct_valid": Name(
        "Distinct valid answers",
        "different answers that are on the list or keep to the constraints",
    ),
    "semantic_entropy": Name("Semantic entropy", "of the groups of nearly equal answers, in nats"),
    "chao_shen_entropy": Name("Semantic entropy, corrected", "for groups not seen yet; in nats"),
    "effective_classes": Name("Effective number of groups", "of nearly equal answers"),
    "unseen_mass": Name("Unseen mass", "estimated chance that the next answer is a new one"),
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
    "relevance_rank": Name("Nearer to its prompt", "share of the other prompts; by chance 0.5"),
    "reference_likelihood": Name("Likelihood under the reference model", "per token"),
    "prompt_information": Name("Fit to the prompt", "how much the prompt explains, per token"),
    "valid_answer": Name("Valid answers", "share of answers that are on the list"),
    "constraints": Name("Constraints kept", "share of what the prompt asks of the form"),
    "all_constraints": Name("All constraints kept", "share of answers"),
}


def measure_name(code: str) -> Name:
    """Return the name of `measure` or `measure,kernel`; unknown ones keep their code name."""
    measure = code.partition(",")[0]
    if measure.startswith(COVERAGE):
        return Name(f"Different answers among {measure.removeprefix(COVERAGE)}", "expected")
    if measure.startswith(VENDI):
        return Name(f"Effective answers among {measure.removeprefix(VENDI)}", "Vendi")
    return MEASURE_NAMES.get(measure, Name(measure))


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
    return next(iter(primary_of(names) or names), None)
