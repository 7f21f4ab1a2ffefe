"""What kind of token an id is: where a word starts, and what is punctuation."""

from __future__ import annotations

from typing import Any

__all__ = ["punctuation_ids", "word_starts"]

BROKEN = "\ufffd"
"""What a tokenizer decodes part of a character to."""
SPACES = ("Ġ", "▁")
"""How tokenizers write the space before a word."""


def punctuation_ids(tokenizer: Any) -> tuple[int, ...]:
    """Return the ids of tokens without a letter or digit: punctuation, white space, special tokens.

    Args:
        tokenizer: A transformers tokenizer.

    Returns:
        Ids, ascending.
    """
    special = set(tokenizer.all_special_ids)
    return tuple(
        i
        for i, text in enumerate(_texts(tokenizer))
        if i in special or not (BROKEN in text or any(letter.isalnum() for letter in text))
    )


def word_starts(tokenizer: Any) -> list[bool]:
    """Say for each id of a tokenizer whether its token starts a word, and does not continue one.

    A token that begins with white space or punctuation starts one. A letter without a space before
    it continues one, so that text in scripts without spaces is one long word; and so does part of a
    character.

    Args:
        tokenizer: A transformers tokenizer.
    """
    raw = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    special = set(tokenizer.all_special_ids)
    return [
        i in special
        or str(token).startswith(SPACES)  # decoding one token alone may lose the space
        or (text != "" and text[0] != BROKEN and not text[0].isalnum())
        for i, (token, text) in enumerate(zip(raw, _texts(tokenizer), strict=True))
    ]


def _texts(tokenizer: Any) -> list[str]:
    texts: list[str] = tokenizer.batch_decode(
        [[i] for i in range(len(tokenizer))], clean_up_tokenization_spaces=False
    )
    return texts
