"""Which script a letter belongs to, and whether a text is in a language."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from diversify.quality.parts import words_of

__all__ = ["LANGUAGES", "in_language", "script_of"]

# Japanese mixes three scripts in one sentence.
ONE_SCRIPT = {"HIRAGANA": "CJK", "KATAKANA": "CJK", "KATAKANA-HIRAGANA": "CJK"}
# Frequent small words of languages that share a script with others, by that script.
SMALL_WORDS = {
    "LATIN": {
        "de": "der die das und ist nicht ein eine mit auf für von zu sich auch wie dem den",
        "en": "the and of to is that it for with as are this be at have from not you which was",
        "es": "el los las y una por se del su como pero más muy es que en para con un la de lo",
        "fi": "ja on ei että se hän oli mutta kun myös olla ovat voi tämä sen joka niin kuin",
        "fr": "le les et est une dans que qui du des sur au avec ce pas nous vous pour un la de",
        "it": "il di che un della sono gli anche è per non con una nel più del alla questo la",
        "nl": "het een van en niet dat voor zijn op met de is aan ook maar wordt deze naar",
        "pl": "i w na z się nie jest to że do jak od przez oraz dla są tym po",
        "pt": "os da não uma em com ao do na mais como para que dos é um seu são de o a e",
        "sw": "na ya wa kwa ni za katika la kuwa hii yake pia kama huu cha watu au lakini",
        "vi": "và của là có không được cho những một trong người với các này đã để thì khi",
    },
    "CYRILLIC": {
        "bg": "и в не на че с как това за от като се да е по но или което са ще",  # noqa: RUF001
        "ru": "и в не на что с как это по для из но от так же его или бы был к",  # noqa: RUF001
        "uk": "і в не на що з як це та для до але від так його або є й у бути",  # noqa: RUF001
    },
    "ARABIC": {
        "ar": "في من على إلى أن هذا التي عن مع هو كان لا ما كل بين هذه الذي أو",
        "fa": "و در به از که این را با است برای آن یک تا بر می های شود هم",
        "ur": "کے میں کی ہے اور سے کا کو نے پر یہ ہیں ایک نہیں بھی کہ جو تھا",
    },
    "DEVANAGARI": {
        "hi": "के में है की और से का को पर यह हैं एक नहीं भी कि जो था लिए",
        "mr": "आहे आणि च्या या ते हे मध्ये नाही एक होते आहेत ती तो असे पण साठी केले त्या",
        "ne": "छ र को मा हो लाई पनि यो गर्न भएको छन् तर हुन्छ एक लागि गरेको थियो सबै",
    },
}
SHARED = {
    language: (script, frozenset(text.split()))
    for script, languages in SMALL_WORDS.items()
    for language, text in languages.items()
}
# Languages that their script tells; Japanese and Chinese by whether there is kana.
OWN_SCRIPT = {
    **{"bn": "BENGALI", "el": "GREEK", "gu": "GUJARATI", "he": "HEBREW", "kn": "KANNADA"},
    **{"ko": "HANGUL", "ml": "MALAYALAM", "pa": "GURMUKHI", "ta": "TAMIL", "te": "TELUGU"},
    **{"th": "THAI", "ja": "CJK", "zh": "CJK"},
}
LANGUAGES = tuple(sorted({*SHARED, *OWN_SCRIPT}))
"""The languages that can be told, by their ISO 639-1 codes."""

# Names and technical terms may be in another script, not more than every fifth letter.
MOST_LETTERS = 0.8
# Fewer small words than this say nothing about the language.
ENOUGH_WORDS = 3
# Japanese prose is about half kana; in Chinese there is none.
KANA = 0.05


def in_language(text: str, language: str) -> bool | None:
    """Tell whether a text is in a language, as a whole; None where that cannot be told.

    At least four of five letters must be of the language's script. Where several languages share
    it, the one with the most small words (articles, prepositions, ...) counts, with at least three
    of them: a few words, or a language that is not in `LANGUAGES`, cannot be told.

    Args:
        text: A completion.
        language: ISO 639-1 code, one of `LANGUAGES`.

    Raises:
        ValueError: If the language is none of those.

    Example:
        >>> in_language("Das ist ein Haus, und es ist nicht groß.", "de")
        True
        >>> in_language("Das ist ein Haus, und es ist nicht groß.", "en")
        False
        >>> in_language("Berlin", "de") is None
        True
    """
    if language not in LANGUAGES:
        raise ValueError(f"language must be one of {list(LANGUAGES)}, got {language!r}")
    letters = [c for c in unicodedata.normalize("NFKC", text) if c.isalpha()]
    if not letters:
        return None
    script = SHARED[language][0] if language in SHARED else OWN_SCRIPT[language]
    if sum(script_of(letter) == script for letter in letters) < MOST_LETTERS * len(letters):
        return False
    if language in SHARED:
        return _most_small_words(text, language, script)
    if script == "CJK":
        kana = sum(unicodedata.name(letter, "-").split()[0] in ONE_SCRIPT for letter in letters)
        return (kana >= KANA * len(letters)) == (language == "ja")
    return True


@lru_cache(maxsize=4096)
def script_of(letter: str) -> str:
    """Name the script of a letter: the first word of its Unicode name; Han and kana are "CJK".

    >>> script_of("a"), script_of("ж"), script_of("海")
    ('LATIN', 'CYRILLIC', 'CJK')
    """
    script = unicodedata.name(letter, "UNKNOWN").split()[0]
    return ONE_SCRIPT.get(script, script)


def _most_small_words(text: str, language: str, script: str) -> bool | None:
    """Whether the language has more small words in the text than others of its script."""
    words = [word.lower() for word in words_of(text)]
    counts = {
        other: sum(word in small for word in words)
        for other, (own, small) in SHARED.items()
        if own == script
    }
    most = max(counts.values())
    if most < ENOUGH_WORDS:
        return None
    best = [other for other, count in counts.items() if count == most]
    return language == best[0] if len(best) == 1 else (None if language in best else False)
