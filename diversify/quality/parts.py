"""The parts of a text that constraints count: words, sentences, paragraphs, marks of Markdown.

A part is returned as it stands in the text, so that a count can be looked into.
"""

from __future__ import annotations

import re
import unicodedata

from diversify.quality.answers import folded, whole_words

__all__ = [
    "bullets_of",
    "highlights_of",
    "mentions",
    "paragraphs_of",
    "placeholders_of",
    "sections_of",
    "sentences_of",
    "words_of",
]

DIVIDERS = {"***": re.compile(r"(?<!\S)\*{3}(?!\S)"), "blank line": re.compile(r"\n\s*\n")}

_STOP = re.compile(
    r"[.!?\u2026\u061f\u06d4\u0964]+[\"'\u201d\u2019)\]*_]*(?=\s|$)"
    r"|[\u3002\uff01\uff1f]+[\"\u201d\u300d\u300f\uff09]*"
)
# A stop behind these ends no sentence. A lone letter is an initial or a part of "e.g."; "I" is not.
_ABBREVIATION = re.compile(
    r"(?:\b(?:mr|mrs|ms|dr|prof|st|vs|jr|sr|cf)|(?<!\w)(?!I\.)[^\W\d_])\.$", re.IGNORECASE
)
_LONGEST = 8  # characters within which an abbreviation and what stands before it are seen
_LIST_MARK = re.compile(r"[ \t]*(?:[*+\-\u2022]|\d+[.)])[ \t]+")
_BULLET = re.compile(r"^[ \t]*[*+\-\u2022][ \t]+[^\n]*[^\s*+\-\u2022_][^\n]*$", re.MULTILINE)
_HIGHLIGHT = re.compile(r"(?<![*\w])(\*{1,3})(?![\s*])([^*\n]*[^*\s])\1(?!\*)")
_PLACEHOLDER = re.compile(r"\[(?=[^\[\]\n]*[^\W\d_])[^\[\]\n]+\](?!\()")


def words_of(text: str) -> list[str]:
    """Cut a text into words at white space, without the punctuation and symbols around them.

    "don't" and "well-known" are one word each, as in a word processor; IFEval's code, which takes
    runs of letters and digits, counts two, and cuts words of Hindi and its kin at every vowel sign.
    A dash or an asterisk by itself is none. Scripts without spaces have no words to count: a run of
    Chinese is one.

    Example:
        >>> words_of("- It's a **well-known** fact - isn't it?")
        ["It's", 'a', 'well-known', 'fact', "isn't", 'it']
    """
    return [word for piece in text.split() if (word := _bare(piece))]


def sentences_of(text: str) -> list[str]:
    """Cut a text into sentences by rules that need no data.

    A sentence ends at a stop before white space, unless an abbreviation, an initial or a small
    letter says that it goes on; of a text without any capital letter small letters say nothing. A
    heading and an item of a list are sentences of their own, and a blank line ends one. IFEval's
    code asks NLTK's trained splitter, which runs over headings and lists that have no stops. What
    neither can know is whether the "U.S." ends a sentence.

    Example:
        >>> sentences_of('Dr. Wu has 3.5 cats. "Why?" he asked.')
        ['Dr. Wu has 3.5 cats.', '"Why?" he asked.']
        >>> len(sentences_of("# Pets" + chr(10) + "1. a cat" + chr(10) + "2. a dog"))
        3
    """
    cased = text != text.lower()
    return [sentence for block in _blocks(text) for sentence in _sentences_of(block, cased)]


def paragraphs_of(text: str, divider: str) -> list[str]:
    """Cut a text into paragraphs; those without text are none.

    Args:
        text: The text.
        divider: `"***"`, Markdown's line, which need not be alone on its line but between white
            space (IFEval's code also cuts `***bold***` into pieces), or `"blank line"`.

    Raises:
        ValueError: If the divider is neither.

    Example:
        >>> paragraphs_of("***One*** fish." + chr(10) + "***" + chr(10) + "Two fish.", "***")
        ['***One*** fish.', 'Two fish.']
    """
    if divider not in DIVIDERS:
        raise ValueError(f"divider must be one of {list(DIVIDERS)}, got {divider!r}")
    return [part.strip() for part in DIVIDERS[divider].split(text) if part.strip()]


def bullets_of(text: str) -> list[str]:
    r"""Return the bullet points: lines that begin with `*`, `-`, `+` or a bullet, and a space.

    IFEval's code needs no space, and so counts a line that begins with *emphasis*, with -5 or with
    a dividing `---`.

    Example:
        >>> bullets_of("Two:\n* a cat\n  - a dog\n---\n*not* one\n-5 degrees")
        ['* a cat', '  - a dog']
    """
    return _BULLET.findall(text)


def highlights_of(text: str) -> list[str]:
    """Return what stands between asterisks, one to three on each side, within a line.

    IFEval's code also takes for one what lies between two bullets or signs of multiplication.

    Example:
        >>> highlights_of("*one*, **two** and 3 * 4 * 5 or 6*7*8")
        ['one', 'two']
    """
    return [found for _, found in _HIGHLIGHT.findall(text)]


def placeholders_of(text: str) -> list[str]:
    """Return the placeholders: square brackets around something with a letter, within a line.

    Links, `[1]`, `[ ]` and `[]` are none; IFEval's code counts them.

    Example:
        >>> placeholders_of("Dear [name], see [1] and [this](https://a.b).")
        ['[name]']
    """
    return _PLACEHOLDER.findall(text)


def sections_of(text: str, splitter: str) -> list[str]:
    r"""Return the headings of sections: lines that begin with a word and a number.

    Args:
        text: The text.
        splitter: The word, as it is written: `Section`, `SECTION`, ...

    IFEval's code counts the word and a number anywhere, so that "see Section 1" is a section.

    Example:
        >>> sections_of("## Section 1\nSee Section 2.\n**Section 2**: Ends", "Section")
        ['## Section 1', '**Section 2']
    """
    return re.findall(rf"^[ \t#*_>]*{re.escape(splitter)}[ \t]*\d+", text, re.MULTILINE)


def mentions(text: str, keyword: str) -> int:
    """Count a keyword as a whole word, whatever its case and accents.

    A number is a word like others: "2024" is found in "2024-05-01", where `named_answer`, which asks
    for the value, finds none.

    IFEval's code finds a required "art" in "party", and reads a keyword as a regular expression,
    which "C++" is not.

    Raises:
        ValueError: If the keyword is blank.

    Example:
        >>> mentions("A party. Art is art; C++ is not.", "art"), mentions("In C++.", "c++")
        (2, 1)
    """
    plain, pattern = whole_words(keyword)
    haystack = folded(text)
    return len(pattern.findall(haystack)) if plain in haystack else 0


def _bare(piece: str) -> str:
    """Strip punctuation and symbols; letters with vowel signs keep them."""
    start, end = 0, len(piece)
    while start < end and unicodedata.category(piece[start])[0] in "PS":
        start += 1
    while start < end and unicodedata.category(piece[end - 1])[0] in "PS":
        end -= 1
    return piece[start:end]


def _blocks(text: str) -> list[str]:
    """Cut a text where a sentence must end: at blank lines, around headings, before items."""
    blocks: list[str] = []
    goes_on = False
    for line in text.splitlines():
        heading = line.lstrip().startswith("#")
        mark = _LIST_MARK.match(line)
        bare = line[mark.end() :].strip() if mark else line.strip()
        if goes_on and bare and not heading and not mark:
            blocks[-1] += f" {bare}"
        elif bare:
            blocks.append(bare)
        goes_on = bool(bare) and not heading
    return blocks


def _sentences_of(block: str, cased: bool) -> list[str]:
    """Cut a block at its stops; what has no letter and no digit is no sentence."""
    sentences, start = [], 0
    for stop in _STOP.finditer(block):
        goes_on = cased and block[stop.end() :].lstrip()[:1].islower()
        ending = block[max(start, stop.end() - _LONGEST) : stop.end()]
        if not goes_on and not _ABBREVIATION.search(ending):
            sentences.append(block[start : stop.end()].strip())
            start = stop.end()
    sentences.append(block[start:].strip())
    return [sentence for sentence in sentences if any(map(str.isalnum, sentence))]
