"""Phrases that models say again and again, with counts for each model, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from diversify.evaluation.cliches import FUNCTION_WORDS
from diversify.evaluation.phrases import (
    Groups,
    Words,
    frequent_phrases,
    maximal,
    occurrences,
)

# Rows that stand open, rows in all, and rows of one prompt.
SHOWN, MOST, OF_A_PROMPT = 12, 60, 6
LEAST_ANSWERS, LEAST_PROMPTS = 4, 3


class Said(NamedTuple):
    """How often one model says a phrase: answers with it, prompts with such an answer."""

    answers: int
    prompts: int


class Phrase(NamedTuple):
    """One phrase, with its counts in the order of the models."""

    words: str
    said: list[Said]


class Repeats(NamedTuple):
    """The phrases of all prompts, the most frequent first, and those of each prompt.

    Args:
        shown: the first ones.
        more: the next ones, behind a fold.
        totals: answers of each model.
        by_prompt: the phrases that many answers to each prompt share.
    """

    shown: list[Phrase]
    more: list[Phrase]
    totals: list[int]
    by_prompt: list[list[Phrase]]


def repeats(models: Mapping[str, Groups], prompts: Sequence[str]) -> Repeats:
    """Find what models repeat: phrases of many answers to a prompt, or of answers to many prompts.

    Phrases of English function words alone ("one of the") are left out: all texts share them.

    Args:
        models: kind -> its answers to each prompt.
        prompts: their texts; an answer that repeats the words of its prompt is not counted.
    """
    limits = {"least_answers": LEAST_ANSWERS, "least_prompts": LEAST_PROMPTS}
    candidates = set().union(*(frequent_phrases(group, **limits) for group in models.values()))
    counts = [
        occurrences(sorted(candidates), groups, prompts=prompts) for groups in models.values()
    ]
    told = [
        words
        for words in sorted(candidates)
        if any(word not in FUNCTION_WORDS for word in words)
        and any(_many(own[words]) for own in counts)
    ]
    kept = maximal({words: sum(sum(own[words]) for own in counts) for words in told})

    def most(words: Words) -> tuple[int, int]:
        return -max(sum(own[words]) for own in counts), -len(words)

    ranked = [_phrase(words, counts) for words in sorted(kept, key=most)]
    return Repeats(
        ranked[:SHOWN],
        ranked[SHOWN:MOST],
        [sum(map(len, groups)) for groups in models.values()],
        [_of_prompt(number, kept, counts) for number in range(len(prompts))],
    )


def _many(found: Sequence[int]) -> bool:
    return max(found) >= LEAST_ANSWERS or sum(count > 0 for count in found) >= LEAST_PROMPTS


def _phrase(words: Words, counts: Sequence[Mapping[Words, Sequence[int]]]) -> Phrase:
    said = [Said(sum(own[words]), sum(n > 0 for n in own[words])) for own in counts]
    return Phrase(" ".join(words), said)


def _of_prompt(
    number: int, kept: Sequence[Words], counts: Sequence[Mapping[Words, Sequence[int]]]
) -> list[Phrase]:
    found = {
        words: said
        for words in kept
        if max(said := [own[words][number] for own in counts]) >= LEAST_ANSWERS
    }
    many = sorted(found, key=lambda words: (-max(found[words]), -len(words)))
    return [
        Phrase(" ".join(words), [Said(n, min(n, 1)) for n in found[words]])
        for words in many[:OF_A_PROMPT]
    ]
