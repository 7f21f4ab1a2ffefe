"""Monitors of how much a text says and where it has it from: length, repetition, copies, refusals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from diversify.engines import Message, text_of
from diversify.kernels import ngrams, words
from diversify.lexical import repetition

__all__ = ["blank", "completion_text", "length", "loops", "prompt_copy", "refusal"]

REFUSAL = re.compile(
    r"\b(as an ai\b|i(?: am|'m) (?:sorry,? (?:but|i)|unable to|not able to)"
    r"|i (?:can(?:no|')t|won't|will not|must decline)(?! wait| help but| believe)"
    r"|(?:can(?:no|')t|unable to) (?:assist|comply|fulfil))",
    re.IGNORECASE,
)
# A refusal opens the text; later the same words may be quoted.
OPENING = 200


def completion_text(completion: str | Sequence[Message] | None) -> str:
    """Return the text of a completion as TRL hands it over; nothing at all becomes "".

    Example:
        >>> completion_text([{"role": "assistant", "content": "Blue."}]), completion_text(None)
        ('Blue.', '')
    """
    if not completion:
        return ""
    if not isinstance(completion, str) and completion[-1].get("content") is None:
        return ""
    return text_of(completion)


def blank(prompt: str, text: str) -> float:
    """Whether the text is empty or white space: 1 or 0.

    Example:
        >>> blank("Name a colour.", " "), blank("Name a colour.", "Blue.")
        (1.0, 0.0)
    """
    return float(not text.strip())


def length(prompt: str, text: str) -> float:
    """Count the words of the text, cut at white space.

    Rewards for distance drift to longer or shorter texts before anything else. A text in a script
    without spaces counts as one word.

    Example:
        >>> length("Name a colour.", "Dark  blue.")
        2.0
    """
    return float(len(words(text)))


def loops(prompt: str, text: str) -> float:
    """Share of the text's word 3-grams that repeat an earlier one, from 0 to nearly 1.

    Example:
        >>> loops("Count.", "one two three one two three one two three")
        0.5714285714285714
    """
    return repetition(text, 3)


def prompt_copy(prompt: str, text: str) -> float:
    """Share of the text's word 4-grams that stand in the prompt, in [0, 1].

    0 for a text of fewer than four words. Lists and templates that the prompt asks to keep count
    as copies.

    Example:
        >>> prompt_copy("Write a poem about the sea.", "A poem about the sea. Waves!")
        0.6666666666666666
    """
    known = _asked(prompt)
    grams = list(ngrams(words(text), 4)) if known else []
    return sum(map(known.__contains__, grams)) / len(grams) if grams else 0.0


@lru_cache(maxsize=256)
def _asked(prompt: str) -> frozenset[tuple[str, ...]]:
    """List the word 4-grams of a prompt, which many texts answer."""
    return frozenset(ngrams(words(prompt), 4))


def refusal(prompt: str, text: str) -> float:
    """Whether the text opens with an English phrase of refusal: 1 or 0.

    Looks for a few phrases in the first 200 characters. It misses refusals in other words or
    languages, and takes a character of a story who says "I cannot" for one.

    Example:
        >>> refusal("Tell me a joke.", "I'm sorry, but I can't."), refusal("Hi.", "I can help.")
        (1.0, 0.0)
    """
    return float(REFUSAL.search(text[:OPENING].replace("\u2019", "'")) is not None)
