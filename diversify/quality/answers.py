"""Questions with a known list of valid answers: is the answer on the list, and which one is it?"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diversify.engines import Prompt, text_of
from diversify.quality.numbers import number_spans, ungrouped
from diversify.quality.rules import Completion, check_margin, check_pairs

__all__ = ["AnswerKernel", "AnswerKernels", "AnswerList", "folded", "named_answer", "whole_words"]


class AnswerList:
    """1 where a completion names a valid answer, 0 where it does not, None where there is no list.

    A completion that dumps many answers ("Peru, Chile, Brazil, ...") counts as valid as well; it is
    one answer, the first, for `named_answer`, so that dumping lists does not raise coverage.

    Args:
        column: The dataset column with, for each prompt, its answers: a list of lists of aliases.
        margin: How far the share of valid completions may fall.
        name: How reports call it.

    Raises:
        ValueError: If the margin is impossible; when called, if the column has the wrong length or
            answers that `named_answer` cannot read (the prompt is named).

    Example:
        >>> valid = AnswerList()
        >>> rows = [[["Peru"], ["Chile"]]] * 2
        >>> valid(["Name a country."] * 2, ["I'd say Peru!", "Perugia"], answers=rows)
        [1.0, 0.0]
        >>> valid(["Write a poem."], ["Roses are red."])
        [None]
    """

    two_sided = False
    by_row = True

    def __init__(
        self, column: str = "answers", *, margin: float = 0.05, name: str = "valid_answer"
    ) -> None:
        self.column = column
        self.margin = check_margin(margin)
        self.name = self.__name__ = name

    @property
    def identity(self) -> dict[str, Any]:
        """The column."""
        return {"quality": "answer_list", "column": self.column}

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        """Look for a valid answer in each completion."""
        check_pairs(prompts, completions)
        lists = columns.get(self.column)
        if lists is None:
            return [None] * len(completions)
        if len(lists) != len(completions):
            raise ValueError(
                f"column {self.column!r} has {len(lists)} rows for {len(completions)} completions"
            )
        rows = zip(prompts, completions, lists, strict=True)
        return [self._judge(*row) if row[2] else None for row in rows]

    @staticmethod
    def _judge(prompt: Prompt, completion: Completion, answers: Sequence[Sequence[str]]) -> float:
        try:
            return float(named_answer(text_of(completion), answers) is not None)
        except ValueError as error:
            raise ValueError(f"prompt {text_of(prompt)!r:.60}: {error}") from error


def named_answer(text: str, answers: Sequence[Sequence[str]]) -> int | None:
    """Return the index of the answer that a text names first, or None.

    Aliases are found as whole words, whatever their case and accents. Where two overlap the longer
    one counts: "Papua New Guinea" does not name Guinea. "Guineas" names nothing: list plurals as
    aliases. Scripts that do not separate words (Chinese, Japanese, Thai) match only between spaces
    or punctuation.

    A number in the text counts as a name of its own, so that no part of one is taken for the whole:
    "4.5", "-5", "10,000", "3-5", "1/2", "5:30", "COVID-19", "2-digit", "forty-five" and "five
    hundred" do not name 4, 5, 10 and so on. ("Windows 10" is longer than the "10.1" that it
    overlaps, and counts.) What is counted, and in which unit, does not matter: "#5", "$5", "5%" and
    "answer - 5" name 5, and a list "2,4,8" names 2. A comma before three digits separates
    thousands: "1,024" is 1024, and "128,256" one number.

    Args:
        text: A completion.
        answers: For each answer its aliases.

    Raises:
        ValueError: If an answer is no list of aliases, or an alias is blank.

    Example:
        >>> countries = [["Guinea"], ["Papua New Guinea", "PNG"], ["Côte d'Ivoire", "Ivory Coast"]]
        >>> named_answer("Papua New Guinea, then Guinea", countries)
        1
        >>> named_answer("Maybe COTE D'IVOIRE?", countries)
        2
        >>> named_answer("Guineas", countries) is None
        True
        >>> named_answer("4.5, so 5", [["4", "four"], ["5", "five"]])
        1
    """
    if isinstance(answers, str) or not isinstance(answers, Sequence):
        raise ValueError(f"answers are a list of lists of aliases, got {answers!r:.60}")
    for answer in answers:
        if isinstance(answer, str):
            raise ValueError(f"an answer is a list of aliases, got the bare string {answer!r}")
        if not isinstance(answer, Sequence) or not all(isinstance(alias, str) for alias in answer):
            raise ValueError(f"an answer is a list of aliases, got {answer!r:.60}")
    haystack = folded(ungrouped(text))
    found = [
        _Mention(match.start(), match.end(), index)
        for index, aliases in enumerate(answers)
        for plain, pattern in map(_alias, aliases)
        if plain in haystack
        for match in pattern.finditer(haystack)
    ]
    if not found:
        return None
    found += [_Mention(*span, _NUMBER) for span in number_spans(haystack)]
    taken, first = bytearray(len(haystack)), None
    for mention in sorted(found, key=_Mention.rank):
        # Those before it are no shorter: one that overlaps it holds its first or last character.
        if taken[mention.start] or taken[mention.end - 1]:
            continue
        taken[mention.start : mention.end] = bytes([1]) * (mention.end - mention.start)
        if mention.answer != _NUMBER and (first is None or mention.start < first.start):
            first = mention
    return None if first is None else first.answer


class AnswerKernel:
    """Similarity of texts by the answer they name: 1 where it is the same one, 0 elsewhere.

    A text that names no answer is like none but its own copies: what it says instead is not known.
    The credit of classes then is exact: `mutual_information_weight` pays 1 / |class|.

    Args:
        answers: For each answer its aliases, as in `named_answer`.

    Example:
        >>> kernel = AnswerKernel([["Peru"], ["Chile"]])
        >>> print(kernel(["Peru!", "It is Peru.", "Chile", "No idea"]))
        [[1. 1. 0. 0.]
         [1. 1. 0. 0.]
         [0. 0. 1. 0.]
         [0. 0. 0. 1.]]
    """

    name = "answers"

    def __init__(self, answers: Sequence[Sequence[str]]) -> None:
        self.answers = answers

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Return S (n, n)."""
        named = [named_answer(text, self.answers) for text in texts]
        classes = [
            text if answer is None else answer for text, answer in zip(texts, named, strict=True)
        ]
        _, labels = np.unique([repr(label) for label in classes], return_inverse=True)
        return np.equal.outer(labels, labels).astype(np.float64)


@dataclass(frozen=True)
class AnswerKernels:
    """For each prompt the `AnswerKernel` of its own list: what a group reward is given.

    Args:
        column: The dataset column with, for each prompt, its answers; a prompt without a list has
            its completions compared by their wording, equal or not.

    Example:
        >>> kernels = AnswerKernels()
        >>> print(kernels.column, kernels.of([["Peru"]])(["Peru!", "It is Peru."]).tolist())
        answers [[1.0, 1.0], [1.0, 1.0]]
    """

    column: str = "answers"

    def of(self, value: Sequence[Sequence[str]] | None) -> AnswerKernel:
        """Return the kernel of a prompt with this list."""
        return AnswerKernel(value or [])


@lru_cache(maxsize=1 << 16)
def _alias(name: str) -> tuple[str, re.Pattern[str]]:
    return whole_words(ungrouped(name))


_NUMBER = -1
"""What a number names that stands in a text and not, as it is, on the list."""


class _Mention(NamedTuple):
    start: int
    end: int
    answer: int

    def rank(self) -> tuple[int, bool, int, int]:
        """Sort the longer ones first; of equal ones those that are on the list, then the earlier."""
        return self.start - self.end, self.answer == _NUMBER, self.start, self.answer


_TYPOGRAPHY = str.maketrans("\u2018\u2019\u2010\u2011\u2013\u2212", "''----")
# Letters with a stroke, and joined ones, do not decompose into a plain letter and a mark.
_LETTERS = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ħ": "h", "ŧ": "t", "\u0131": "i"}
    | {"æ": "ae", "œ": "oe", "ð": "d", "þ": "th"}
)


def folded(text: str) -> str:
    """Fold case, accents, letters as they are written abroad, typography and white space.

    "Łódź" and "Lodz" become one, as do "Æsir" and "Aesir"; "ö" is "o" and not "oe".

    Example:
        >>> folded("  Café\N{EN DASH}Bar ")
        'cafe-bar'
    """
    folded = unicodedata.normalize("NFKD", text.translate(_TYPOGRAPHY)).casefold()
    kept = "".join(character for character in folded if not unicodedata.combining(character))
    return " ".join(kept.translate(_LETTERS).split())


@lru_cache(maxsize=1 << 16)
def whole_words(name: str) -> tuple[str, re.Pattern[str]]:
    """Return a folded name and the pattern that finds it in folded text, as whole words.

    Raises:
        ValueError: If nothing of the name can be seen.

    Example:
        >>> plain, pattern = whole_words("C++")
        >>> plain, len(pattern.findall("c++, c++ and c++11"))
        ('c++', 2)
    """
    plain = folded(name)
    if not plain:
        raise ValueError(f"what is looked for must have a visible character, got {name!r}")
    return plain, re.compile(rf"(?<!\w){re.escape(plain)}(?!\w)")
