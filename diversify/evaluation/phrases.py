"""Phrases that come again and again: word n-grams of many answers, without the parts of longer ones.

A phrase is a run of words within a sentence, in lower case and without the punctuation around its
words. It is counted once in an answer. A script that writes no spaces has no words to count.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias
from unicodedata import category

from diversify.kernels import ngrams

__all__ = ["frequent_phrases", "maximal", "occurrences", "sentences"]

Words: TypeAlias = tuple[str, ...]
Groups: TypeAlias = Sequence[Sequence[str]]
"""The answers of each prompt."""

# Where a sentence, a line or a clause ends, in Latin and in Chinese; "3.14" goes on.
END = re.compile(
    r"[.!?;:\u2026][\"'\u201d\u2019)\]*_]*(?=\s|$)|\n|[\u3001\u3002\uff01\uff0c\uff1f]"
)
# Punctuation around a word: that of ASCII, symbols included, and all other up to the CJK marks.
EDGES = string.punctuation + "".join(
    character for character in map(chr, range(128, 0x3040)) if category(character)[0] == "P"
)
# A phrase goes where a longer one has this share of its answers.
ABSORBED = 0.75
# Phrases are looked up by their first words.
START = 3


def sentences(text: str) -> list[list[str]]:
    """Cut a text into sentences and these into words.

    Example:
        >>> sentences('Long ago, there was. "It is 3.5 miles!" **he** said')
        [['long', 'ago', 'there', 'was'], ['it', 'is', '3.5', 'miles'], ['he', 'said']]
    """
    found = (
        [word for raw in sentence.lower().split() if (word := raw.strip(EDGES))]
        for sentence in END.split(text)
    )
    return [words for words in found if words]


def frequent_phrases(
    groups: Groups,
    *,
    least_answers: int = 4,
    least_prompts: int = 3,
    shortest: int = 3,
    longest: int = 12,
) -> set[Words]:
    """Find the phrases in many answers of one prompt, or in answers of many prompts.

    Args:
        groups: The answers of each prompt.
        least_answers: So many answers of one prompt are many.
        least_prompts: So many prompts are many.
        shortest: Words of a phrase, at least.
        longest: Words of a phrase, at most.

    Returns:
        The phrases, parts of longer ones included; see `maximal`.

    Raises:
        ValueError: If a number is below 1, or `longest` below `shortest`.

    Example:
        >>> answers = ["Once upon a time.", "once upon a hill", "Twice upon a time"]
        >>> sorted(frequent_phrases([answers], least_answers=2))
        [('once', 'upon', 'a'), ('upon', 'a', 'time')]
    """
    if min(least_answers, least_prompts, shortest) < 1 or longest < shortest:
        raise ValueError(
            "least_answers, least_prompts and shortest must be at least 1 and longest not below "
            f"shortest, got {least_answers}, {least_prompts}, {shortest} and {longest}"
        )
    read = [[sentences(text) for text in group] for group in groups]
    found: set[Words] = set()
    # A phrase is at most as frequent as its parts, so each length grows out of the one before.
    parts: set[Words] = set()
    for length in range(1, longest + 1):
        prompts: Counter[Words] = Counter()
        kept: set[Words] = set()
        for group in read:
            answers = Counter(gram for answer in group for gram in _grams(answer, length, parts))
            prompts.update(answers.keys())
            kept.update(gram for gram, count in answers.items() if count >= least_answers)
        parts = kept | {gram for gram, count in prompts.items() if count >= least_prompts}
        if not parts:
            break
        if length >= shortest:
            found |= parts
    return found


def _grams(answer: Iterable[Sequence[str]], length: int, parts: set[Words]) -> set[Words]:
    """Return the n-grams of an answer whose two longest parts are frequent."""
    grams = {gram for sentence in answer for gram in ngrams(sentence, length)}
    if length == 1:
        return grams
    return {gram for gram in grams if gram[1:] in parts and gram[:-1] in parts}


def occurrences(
    phrases: Iterable[Words], groups: Groups, *, prompts: Sequence[str] = ()
) -> dict[Words, list[int]]:
    """Count the answers with each phrase, prompt by prompt.

    Args:
        phrases: What to count.
        groups: The answers of each prompt.
        prompts: The prompts, if their own words should not count: a phrase that stands in a prompt
            is 0 there, since an answer that repeats it was asked to.

    Returns:
        For each phrase as many counts as there are groups.

    Raises:
        ValueError: If there are prompts, but not one for each group.

    Example:
        >>> occurrences([("a", "b")], [["a b a b", "A b!", "b a"], ["c"]])
        {('a', 'b'): [2, 0]}
    """
    if prompts and len(prompts) != len(groups):
        raise ValueError(f"need a prompt for each group, got {len(prompts)} for {len(groups)}")
    counts = {phrase: [0] * len(groups) for phrase in phrases}
    starts: dict[Words, list[Words]] = {}
    for phrase in counts:
        starts.setdefault(phrase[:START], []).append(phrase)
    for number, group in enumerate(groups):
        asked = _present(prompts[number], starts) if prompts else set()
        for text in group:
            for phrase in _present(text, starts) - asked:
                counts[phrase][number] += 1
    return counts


def _present(text: str, starts: Mapping[Words, Sequence[Words]]) -> set[Words]:
    return {
        phrase
        for words in sentences(text)
        for length in range(1, START + 1)
        for at, start in enumerate(ngrams(words, length))
        for phrase in starts.get(start, ())
        if tuple(words[at : at + len(phrase)]) == phrase
    }


def maximal(counts: Mapping[Words, int], *, share: float = ABSORBED) -> list[Words]:
    """Drop each phrase that stands inside a longer one nearly as often as alone.

    Args:
        counts: Phrase -> answers that contain it.
        share: A longer phrase that stays, with at least this share of a phrase's answers, stands
            for it; in (0, 1]. At 1 only equally frequent ones do.

    Returns:
        The others, in the order of `counts`.

    Raises:
        ValueError: If `share` is outside (0, 1].

    Example:
        >>> counts = {("upon", "a"): 10, ("upon", "a", "time"): 9, ("upon", "a", "time", "in"): 2}
        >>> maximal(counts)
        [('upon', 'a', 'time'), ('upon', 'a', 'time', 'in')]
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be in (0, 1], got {share}")
    within: dict[Words, int] = {}
    kept = set()
    for phrase in sorted(counts, key=len, reverse=True):
        if within.get(phrase, 0) >= share * counts[phrase]:
            continue
        kept.add(phrase)
        for length in range(1, len(phrase)):
            for part in ngrams(phrase, length):
                within[part] = max(within.get(part, 0), counts[phrase])
    return [phrase for phrase in counts if phrase in kept]
