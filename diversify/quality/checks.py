"""Constraints on a text that count something: so many words, a keyword so many times.

Each check is a function of a text and IFEval's own names of its arguments; it returns whether the
constraint holds. IFEval's code draws an argument that is missing at random, and lm-eval's copy of it
takes 0 for missing; here the one is an error and the other a number. What is counted, and where that
differs from IFEval's code, is said in `diversify.quality.parts`.

Reference:
    J. Zhou et al., "Instruction-Following Evaluation for Large Language Models", arXiv 2311.07911.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

from diversify.kernels import check_integer
from diversify.quality.answers import folded
from diversify.quality.parts import (
    bullets_of,
    highlights_of,
    mentions,
    paragraphs_of,
    placeholders_of,
    sections_of,
    sentences_of,
    words_of,
)

__all__ = [
    "RELATIONS",
    "capital_word_frequency",
    "check_phrase",
    "check_phrases",
    "forbidden_words",
    "keyword_existence",
    "keyword_frequency",
    "letter_frequency",
    "multiple_sections",
    "nth_paragraph_first_word",
    "number_bullet_lists",
    "number_highlighted_sections",
    "number_paragraphs",
    "number_placeholders",
    "number_sentences",
    "number_words",
]

RELATIONS: dict[str, Callable[[int, int], bool]] = {
    "less than": operator.lt,
    "at most": operator.le,
    "exactly": operator.eq,
    "at least": operator.ge,
    "more than": operator.gt,
}
"""How a count may have to stand to a number. IFEval itself has `less than` and `at least`."""


def number_words(text: str, *, num_words: int, relation: str) -> bool:
    """Whether the text has so many words (`words_of`).

    Example:
        >>> number_words("It's a well-known fact.", num_words=4, relation="exactly")
        True
    """
    return _compare(len(words_of(text)), relation, num_words, "num_words")


def number_sentences(text: str, *, num_sentences: int, relation: str) -> bool:
    """Whether the text has so many sentences (`sentences_of`).

    Example:
        >>> number_sentences("Dr. Wu came. He left.", num_sentences=3, relation="less than")
        True
    """
    return _compare(len(sentences_of(text)), relation, num_sentences, "num_sentences")


def number_paragraphs(
    text: str, *, num_paragraphs: int, relation: str = "exactly", divider: str = "***"
) -> bool:
    r"""Whether the text has so many paragraphs between dividers (`paragraphs_of`).

    Example:
        >>> number_paragraphs("One.\n***\nTwo.", num_paragraphs=2)
        True
        >>> number_paragraphs("One.\n\nTwo.", num_paragraphs=3, divider="blank line")
        False
    """
    count = len(paragraphs_of(text, divider))
    return _compare(count, relation, num_paragraphs, "num_paragraphs")


def nth_paragraph_first_word(
    text: str, *, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> bool:
    r"""Whether there are so many paragraphs between blank lines and one begins with a word.

    IFEval's code looks the paragraph up with the empty ones counted, so that one blank line more
    than needed fails.

    Example:
        >>> text = "One day.\n\n\n\n'Twas night."
        >>> nth_paragraph_first_word(text, num_paragraphs=2, nth_paragraph=2, first_word="twas")
        True
    """
    check_integer("num_paragraphs", num_paragraphs, 1)
    check_integer("nth_paragraph", nth_paragraph, 1, num_paragraphs)
    wanted = folded(check_phrase("first_word", first_word))
    paragraphs = paragraphs_of(text, "blank line")
    if len(paragraphs) != num_paragraphs:
        return False
    words = words_of(paragraphs[nth_paragraph - 1])
    return bool(words) and folded(words[0]) == wanted


def number_bullet_lists(text: str, *, num_bullets: int, relation: str = "exactly") -> bool:
    r"""Whether the text has so many bullet points (`bullets_of`).

    Example:
        >>> number_bullet_lists("* a cat\n* a dog", num_bullets=2)
        True
    """
    return _compare(len(bullets_of(text)), relation, num_bullets, "num_bullets")


def number_highlighted_sections(
    text: str, *, num_highlights: int, relation: str = "at least"
) -> bool:
    """Whether the text has so many highlighted passages (`highlights_of`).

    Example:
        >>> number_highlighted_sections("a *red* fox", num_highlights=2)
        False
    """
    return _compare(len(highlights_of(text)), relation, num_highlights, "num_highlights")


def multiple_sections(
    text: str, *, section_spliter: str, num_sections: int, relation: str = "at least"
) -> bool:
    r"""Whether the text has so many numbered sections (`sections_of`).

    Example:
        >>> multiple_sections("PART 1\nHi.\nPART 2\nBye.", section_spliter="PART", num_sections=2)
        True
    """
    count = len(sections_of(text, check_phrase("section_spliter", section_spliter)))
    return _compare(count, relation, num_sections, "num_sections")


def number_placeholders(text: str, *, num_placeholders: int, relation: str = "at least") -> bool:
    """Whether the text has so many placeholders (`placeholders_of`).

    Example:
        >>> number_placeholders("Dear [name] of [city],", num_placeholders=2)
        True
    """
    return _compare(len(placeholders_of(text)), relation, num_placeholders, "num_placeholders")


def keyword_existence(text: str, *, keywords: Sequence[str]) -> bool:
    """Whether the text has every keyword (`mentions`).

    Example:
        >>> keyword_existence("A red fox.", keywords=["fox", "red"])
        True
    """
    return all([mentions(text, word) > 0 for word in check_phrases("keywords", keywords)])


def keyword_frequency(text: str, *, keyword: str, frequency: int, relation: str) -> bool:
    """Whether the text has a keyword so many times (`mentions`).

    Example:
        >>> keyword_frequency("Art is art.", keyword="art", frequency=2, relation="at least")
        True
    """
    count = mentions(text, check_phrase("keyword", keyword))
    return _compare(count, relation, frequency, "frequency")


def forbidden_words(text: str, *, forbidden_words: Sequence[str]) -> bool:
    """Whether the text has none of the words (`mentions`).

    Example:
        >>> forbidden_words("A party.", forbidden_words=["art"])
        True
    """
    return not any([mentions(text, w) for w in check_phrases("forbidden_words", forbidden_words)])


def letter_frequency(text: str, *, letter: str, let_frequency: int, let_relation: str) -> bool:
    """Whether the text has a character so many times, in upper or lower case.

    Any one character can be asked for. IFEval's rows ask for `!` and `#` as well, and its code then
    draws another letter at random.

    Example:
        >>> letter_frequency("Anna!", letter="a", let_frequency=2, let_relation="exactly")
        True
    """
    if not isinstance(letter, str) or len(letter) != 1:
        raise ValueError(f"letter must be one character, got {letter!r}")
    count = text.lower().count(letter.lower())
    return _compare(count, let_relation, let_frequency, "let_frequency")


def capital_word_frequency(text: str, *, capital_frequency: int, capital_relation: str) -> bool:
    """Whether the text has so many words in capital letters; "I" and "A" are two, as in IFEval.

    Example:
        >>> text = "I saw NASA's rocket: a SPACE-X!"
        >>> capital_word_frequency(text, capital_frequency=2, capital_relation="exactly")
        True
    """
    count = sum(word.isupper() for word in words_of(text))
    return _compare(count, capital_relation, capital_frequency, "capital_frequency")


def check_phrase(name: str, phrase: Any) -> str:
    """Return an argument that must be text with something visible in it.

    Raises:
        ValueError: If it is not.
    """
    if not isinstance(phrase, str) or not phrase.strip():
        raise ValueError(f"{name} must be text that is not blank, got {phrase!r}")
    return phrase


def check_phrases(name: str, phrases: Any) -> list[str]:
    """Return an argument that must be a list of such texts, at least one.

    Raises:
        ValueError: If it is not.
    """
    if isinstance(phrases, str) or not isinstance(phrases, Sequence) or not phrases:
        raise ValueError(f"{name} must be a list of texts, got {phrases!r}")
    return [check_phrase(name, phrase) for phrase in phrases]


def _compare(count: int, relation: str, number: int, name: str) -> bool:
    """Compare a count with the number of that name, which must be whole and not negative."""
    if not isinstance(relation, str) or relation not in RELATIONS:
        raise ValueError(f"a relation must be one of {list(RELATIONS)}, got {relation!r}")
    return RELATIONS[relation](count, check_integer(name, number, 0))
