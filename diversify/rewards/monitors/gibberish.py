"""How much of a text is no language at all: a look at characters, words and their repetition."""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from functools import lru_cache

from diversify.rewards.monitors.language import script_of

__all__ = ["gibberish"]

# Unicode's control, unassigned, private and surrogate characters.
NO_CHARACTERS = {"Cc", "Cn", "Co", "Cs"}
REPLACEMENT = "\ufffd"
# UTF-8 read as Windows-1252: the first byte of a character, and the others.
_TAIL = (
    "[\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013\u2014"
    "\u2018-\u201a\u201c-\u201e\u2020-\u2022\u2026\u2030\u2039\u203a\u20ac\u2122]"
)
MOJIBAKE = re.compile(
    f"[\u00c2-\u00c5\u00ce-\u00d1\u00d7-\u00d9]{_TAIL}|[\u00e0-\u00ef]{_TAIL}{{2}}|\u00f0{_TAIL}{{3}}"
)
# A letter 6 times, a digit 12 times, a sign 5 times, a sign that draws lines 81 times; two to four
# characters with a letter among them 7 times.
REPEATED = re.compile(
    r"([^\W\d_])\1{5}|(\d)\2{11}|([^\w\s=\-*~#.─═])\3{4}|([=\-_*~#.─═])\4{80}"
    r"|(?=\S{0,3}[^\W\d_])(\S{2,4}?)\5{6}"
)
ADDRESS = re.compile(r"://|www\.|\w@\w+\.\w")
# What one reads in one go: a word with its capital, a number, signs.
RUN = re.compile(r"[A-Z]?[^\W\d_A-Z]+|[A-Z]+|\d+|[\W_]+")
SIGNS = string.punctuation + "\u201c\u201d\u2018\u2019\u2026\u2014\u2013"
WORD = re.compile(r"[^\W\d_]+")
INNER_CAPITAL = re.compile(r"(?<=[a-zß-ÿ])(?=[A-Z])")
# Consonants that are written with several letters.
DIGRAPHS = re.compile(r"sch|[cgkpstrzdw]h|ck|ng|qu|[csdrt]z|ts|lj|nj|([^aeiouy])\1+")
SYLLABIC = re.compile(r"(?<=[^aeiouy])[lr](?=[^aeiouy])")
CONSONANTS = re.compile(r"[^aeiouyæœø\u0131əɛɔ]+")

LONGEST_WORD = 45
ACRONYM = 8
# Scripts that are written with spaces and whose words recur: those in which recurrence is tested.
SPACED = {"LATIN", "GREEK", "CYRILLIC"}
# Of these one word holds one. Greek letters are symbols in words of others, and Han, kana and Hangul
# stand beside Latin letters without a space.
ALPHABETS = {"LATIN", "CYRILLIC", "ARMENIAN", "GEORGIAN", "HEBREW", "ARABIC", "DEVANAGARI"}
# Words in a row that never recur. Not one of 2000 real answers and prompts has so many.
NEVER_AGAIN = 28
# An odd word stands for so many: a shuffled text need not be long to be one.
ODD_WEIGHT = 6
PIECE = re.compile(r"[^\W\d_]+|[\n|•]|[,;]\s")


def gibberish(prompt: str, text: str) -> float:
    """Share of the text's characters that are no language, in [0, 1]; white space does not count.

    Looks at the shape of words, so that it needs neither a dictionary nor a model and serves any
    script. These count:

    - *pieces* between white space with control or replacement characters, text decoded wrongly
      ("cafÃ©"), one character or syllable over and over, signs and letters at random, more than 45
      letters on end, five consonants on end (th, sch and their like are one; only in Latin
      letters), letters of different alphabets in one word;
    - *words that never recur*: 28 in a row, no line break, comma or list mark between them, of
      which none comes twice in the text. Language repeats its small words; tokens drawn at random
      do not. Odd words (a capital inside, four consonants on end, over 20 letters) stand for six.

    It overlooks real words in the wrong order, random signs of a script without spaces, and random
    words if there are few. It takes passwords, loud noises ("Vrrrrrroom"), drawings made of signs
    and dense formulas for gibberish. Code and tables have a little; gate at 0.3.

    Example:
        >>> gibberish("Name a colour.", "Blue, like the sea.")
        0.0
        >>> gibberish("Name a colour.", "Blue xkqzvbrt"), gibberish("Name a colour.", "!!!!!!!!")
        (0.6666666666666666, 1.0)
    """
    rows = _never_again(text)
    # Nearly every text ends here.
    if not rows and not any(map(_is_odd_piece, text.split())):
        return 0.0
    marked = bytearray(len(text))
    total = 0
    for piece in re.finditer(r"\S+", text):
        start, end = piece.span()
        total += end - start
        if _is_odd_piece(piece.group()):
            marked[start:end] = b"\1" * (end - start)
    for start, end in rows:
        marked[start:end] = b"\1" * (end - start)
    return sum(marked) / total if total else 0.0


@lru_cache(maxsize=1 << 14)
def _is_odd_piece(piece: str) -> bool:
    """Whether what stands between two spaces cannot be language."""
    if len(piece) < 5 and piece.isascii() and piece.isalnum():
        return False
    if not piece.isascii() and (_is_broken(piece) or MOJIBAKE.search(piece)):
        return True
    if not piece.isprintable() and _is_broken(piece):
        return True
    if REPEATED.search(piece):
        return True
    return not ADDRESS.search(piece) and (_is_random(piece) or _has_odd_word(piece))


def _is_broken(piece: str) -> bool:
    """Whether it holds what is no character."""
    return any(c == REPLACEMENT or unicodedata.category(c) in NO_CHARACTERS for c in piece)


def _is_random(piece: str) -> bool:
    """Whether letters, digits and many different signs take turns at every step."""
    if not any(map(str.isalnum, piece)):
        return len(piece) >= 6 and len(set(piece) & set(SIGNS)) >= 5
    core = piece.strip(SIGNS)
    signs = {character for character in core if not character.isalnum()}
    return len(core) >= 10 and len(signs) >= 5 and len(core) < 1.7 * len(RUN.findall(core))


def _has_odd_word(piece: str) -> bool:
    """Whether a word in it is too long, mixes alphabets or cannot be pronounced."""
    words = WORD.findall(piece)
    scripts = [{script_of(c) for c in word if c.isalpha()} for word in words]
    if len(set().union(*scripts)) >= 4:
        return True
    for word, found in zip(words, scripts, strict=True):
        if len(found & ALPHABETS) > 1:
            return True
        if found <= SPACED:
            parts = INNER_CAPITAL.split(word)
            if any(len(part) > LONGEST_WORD or _consonants(part) >= 5 for part in parts):
                return True
    return False


@lru_cache(maxsize=1 << 14)
def _consonants(word: str) -> int:
    """Count the most consonants on end in a word of Latin letters; 0 for others and acronyms."""
    if len(word) < 5 or (word.isupper() and len(word) <= ACRONYM):
        return 0
    bare = unicodedata.normalize("NFD", word.lower())
    bare = "".join(letter for letter in bare if not unicodedata.combining(letter))
    if any(script_of(letter) != "LATIN" for letter in bare):
        return 0
    # l and r carry a syllable of their own in Slavic words: prst, vlk.
    bare = SYLLABIC.sub("y", DIGRAPHS.sub(lambda found: found.group()[-1], bare))
    return max(map(len, CONSONANTS.findall(bare)), default=0)


@lru_cache(maxsize=1 << 14)
def _is_odd_word(word: str) -> bool:
    """Whether a word is suspicious, though not enough to say so by itself."""
    return len(word) > 20 or bool(INNER_CAPITAL.search(word)) or _consonants(word) >= 4


def _never_again(text: str) -> list[tuple[int, int]]:
    """Find the words in rows of words that never recur."""
    pieces = PIECE.findall(text)
    if len(pieces) < NEVER_AGAIN / ODD_WEIGHT:
        return []
    words = [piece.lower() for piece in pieces]
    times = Counter(words)
    found: list[int] = []
    row: list[int] = []
    for at, word in enumerate([*words, ""]):
        if word and times[word] == 1 and word[0].isalpha():
            # Words of other scripts, often whole sentences, say nothing either way.
            if script_of(word[0]) in SPACED:
                row.append(at)
            continue
        # Even if all of them are odd, fewer are no row.
        if len(row) * ODD_WEIGHT >= NEVER_AGAIN:
            odd = sum(_is_odd_word(pieces[place]) for place in row)
            if len(row) + (ODD_WEIGHT - 1) * odd >= NEVER_AGAIN:
                found += row
        row = []
    spans = [piece.span() for piece in PIECE.finditer(text)] if found else []
    return [spans[place] for place in found]
