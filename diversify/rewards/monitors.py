"""What a policy does instead of getting diverse: cheap looks at single texts.

A monitor is a pure function `(prompt, text) -> float`, from 0 upwards, where more means more of
what its name says. Every reward here logs some of them while training; with `MonitorReward` one
becomes a penalty or a gate. They are alarms and no judges: each docstring says what it overlooks.

Exact duplicates belong to a set of texts: `diversify.lexical.exact_duplicate_rate`. Truncation
needs tokens: TRL logs it as `completions/clipped_ratio`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from diversify.engines import Message, Prompt, text_of
from diversify.kernels import check_integer, ngrams, words
from diversify.lexical import repetition

__all__ = [
    "MONITORS",
    "LengthPenalty",
    "Monitor",
    "MonitorReward",
    "blank",
    "completion_text",
    "language_drift",
    "length",
    "loops",
    "prompt_copy",
    "refusal",
]

Monitor: TypeAlias = Callable[[str, str], float]
"""From the text of a prompt and of a completion to a number."""

# Japanese mixes three scripts in one sentence.
ONE_SCRIPT = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "KATAKANA-HIRAGANA": "CJK"}
ENGLISH = frozenset(
    "the of and to is that it for with as are this be at have from or by not you we which their "
    "there what how when your can would about if they was were has will into because".split()
)
# Frequent words of German, French, Spanish, Italian, Portuguese and Dutch; none is English.
FOREIGN = frozenset(
    "der das und ist nicht ein eine mit auf für von zu sich auch wie dem den "
    "le les et est une dans que qui du sur au aux avec ce cette pas nous vous "
    "el los las y una por se del su como pero más muy è il di che un della sono gli anche "
    "o os da não uma em com ao het een van en niet dat voor zijn op".split()
)
# Fewer function words than this say nothing about the language.
ENOUGH_WORDS = 5
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
    grams = list(ngrams(words(text), 4))
    known = set(ngrams(words(prompt), 4))
    return sum(gram in known for gram in grams) / len(grams) if grams else 0.0


def refusal(prompt: str, text: str) -> float:
    """Whether the text opens with an English phrase of refusal: 1 or 0.

    Looks for a few phrases in the first 200 characters. It misses refusals in other words or
    languages, and takes a character of a story who says "I cannot" for one.

    Example:
        >>> refusal("Tell me a joke.", "I'm sorry, but I can't."), refusal("Hi.", "I can help.")
        (1.0, 0.0)
    """
    return float(REFUSAL.search(text[:OPENING].replace("\u2019", "'")) is not None)


def language_drift(prompt: str, text: str) -> float:
    """How much of the text is in another language than the prompt, in [0, 1].

    The larger of two shares:

    - letters of the text in a script that the prompt does not use. Han and kana count as one
      script; compatibility forms (full width, mathematical) as what they stand for. 0 if the
      prompt has no letters;
    - if the prompt looks English and the text has at least five function words: those of German,
      French, Spanish, Italian, Portuguese or Dutch among all that are known. 0 otherwise.

    Blind to a change between other languages of one script. A prompt that asks for a translation
    or for Greek letters has drift by order: do not gate such data on it.

    Example:
        >>> language_drift("Name a colour.", "Blue."), language_drift("Name a colour.", "синий")
        (0.0, 1.0)
        >>> language_drift("What is the sea?", "La mer est une grande masse et un miroir que vous")
        1.0
    """
    known = set(_scripts(prompt))
    letters = _scripts(text) if known else []
    other = sum(script not in known for script in letters) / len(letters) if letters else 0.0
    return max(other, _foreign_share(prompt, text))


def _scripts(text: str) -> list[str]:
    """Name the script of each letter of a text."""
    return [
        _script(character)
        for character in unicodedata.normalize("NFKC", text)
        if character.isalpha()
    ]


@lru_cache(maxsize=4096)
def _script(letter: str) -> str:
    """Name the script of a letter: the first word of its Unicode name."""
    script = unicodedata.name(letter, "UNKNOWN").split()[0]
    return ONE_SCRIPT.get(script, script)


def _foreign_share(prompt: str, text: str) -> float:
    """Share of function words that are not English, where the prompt is English; else 0."""
    asked = re.findall(r"\w+", prompt.lower())
    if sum(word in ENGLISH for word in asked) <= sum(word in FOREIGN for word in asked):
        return 0.0
    answered = re.findall(r"\w+", text.lower())
    foreign = sum(word in FOREIGN for word in answered)
    total = foreign + sum(word in ENGLISH for word in answered)
    return foreign / total if total >= ENOUGH_WORDS else 0.0


MONITORS: dict[str, Monitor] = {
    "blank": blank,
    "length": length,
    "loops": loops,
    "prompt_copy": prompt_copy,
    "refusal": refusal,
    "language_drift": language_drift,
}
"""Every monitor of one text."""


@dataclass(frozen=True)
class MonitorReward:
    """A monitor times a weight, as a TRL reward: a penalty, or a quality to gate on.

    Args:
        monitor: any `(prompt, text) -> float`.
        weight: factor; the default turns the monitor into a penalty.

    Example:
        >>> MonitorReward(language_drift, weight=-0.1)(["Name a colour."], ["синий"])
        [-0.1]
    """

    monitor: Monitor
    weight: float = -1.0

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[Any], **columns: Any
    ) -> list[float]:
        """Return one value a completion."""
        texts = map(completion_text, completions)
        return [
            self.weight * self.monitor(text_of(prompt), text)
            for prompt, text in zip(prompts, texts, strict=True)
        ]


@dataclass(frozen=True)
class LengthPenalty:
    r"""A penalty for every token beyond a limit, as a TRL reward.

    .. math:: -w \max(0, t_i - \text{limit})

    Args:
        limit: tokens that are free.
        weight: w, what each token beyond them costs.

    Raises:
        ValueError: If `limit` is not 0 or more, or when called without `completion_ids`.

    Example:
        >>> LengthPenalty(limit=2)(["?"], ["a b c d"], completion_ids=[[5, 6, 7, 8]])
        [-0.02]
    """

    limit: int = 512
    weight: float = 0.01

    def __post_init__(self) -> None:
        check_integer("limit", self.limit, 0)

    def __call__(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float]:
        """Return one value of 0 or less a completion."""
        if completion_ids is None:
            raise ValueError("LengthPenalty counts tokens and needs completion_ids, got None")
        return [-self.weight * max(0, len(ids) - self.limit) for ids in completion_ids]
