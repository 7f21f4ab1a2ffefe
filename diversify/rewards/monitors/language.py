"""Does the text leave the language of its prompt?"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

__all__ = ["language_drift", "script_of"]

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
        script_of(character)
        for character in unicodedata.normalize("NFKC", text)
        if character.isalpha()
    ]


@lru_cache(maxsize=4096)
def script_of(letter: str) -> str:
    """Name the script of a letter: the first word of its Unicode name; Han and kana are "CJK".

    >>> script_of("a"), script_of("ж"), script_of("海")
    ('LATIN', 'CYRILLIC', 'CJK')
    """
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
