"""Text from models made safe to look at: what would be invisible or reorder the page is spelt out.

Escaping markup is the template engine's work; this is about characters that are harmless to a
parser and harmful to a reader.
"""

from __future__ import annotations

import re

BIDI = {
    "\u202a": "LRE",
    "\u202b": "RLE",
    "\u202c": "PDF",
    "\u202d": "LRO",
    "\u202e": "RLO",
    "\u2066": "LRI",
    "\u2067": "RLI",
    "\u2068": "FSI",
    "\u2069": "PDI",
}
"""Characters that reorder what follows them, by the name that Unicode gives them."""

# Control characters except tab and line feed, reordering characters, halves of surrogate pairs, and
# the two that no XML file may hold.
INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def visible(text: str) -> str:
    r"""Spell out control characters; everything else, emoji and right-to-left text too, stays.

    >>> visible("a\u202eb\x00c\r\nd")
    'a⟦RLO⟧b⟦U+0000⟧c\nd'
    """
    return INVISIBLE.sub(_spelt, text.replace("\r\n", "\n"))


def _spelt(found: re.Match[str]) -> str:
    character = found.group()
    return f"⟦{BIDI.get(character, f'U+{ord(character):04X}')}⟧"
