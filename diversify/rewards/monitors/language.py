"""Does the text leave the language of its prompt?"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import lru_cache

from diversify.quality.languages import script_of

__all__ = ["language_drift", "script_of"]

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
_WORD = re.compile(r"\w+")
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
    known, english = _asked(prompt)
    return max(_strange_share(known, text), _foreign_share(text) if english else 0.0)


def _strange_share(known: frozenset[str], text: str) -> float:
    """Share of letters in a script that is not known; 0 where none is known, or without letters."""
    if not known or (text.isascii() and "LATIN" in known):
        return 0.0
    letters = _scripts(text)
    strange = sum(times for script, times in letters.items() if script not in known)
    return strange / letters.total() if letters else 0.0


@lru_cache(maxsize=256)
def _asked(prompt: str) -> tuple[frozenset[str], bool]:
    """Name the scripts of a prompt, and say whether it looks English; many texts answer it."""
    asked = _WORD.findall(prompt.lower())
    english = sum(word in ENGLISH for word in asked) > sum(word in FOREIGN for word in asked)
    return frozenset(_scripts(prompt)), english


def _scripts(text: str) -> Counter[str]:
    """Count the letters of each script in a text."""
    found: Counter[str] = Counter()
    for character, times in Counter(unicodedata.normalize("NFKC", text)).items():
        if character.isalpha():
            found[script_of(character)] += times
    return found


def _foreign_share(text: str) -> float:
    """Share of function words that are not English; 0 where there are too few to say."""
    answered = _WORD.findall(text.lower())
    foreign = sum(map(FOREIGN.__contains__, answered))
    total = foreign + sum(map(ENGLISH.__contains__, answered))
    return foreign / total if total >= ENOUGH_WORDS else 0.0
