"""Does a text show who was asked to write it?"""

from __future__ import annotations

import re

__all__ = ["role_leakage"]

ROLE = re.compile(
    r"\b(?:you|i)(?: a|['\u2019])(?:re|m) (?:the )?role (?:number |no\. ?|#)?\d+\b"
    r"|\b(?:as|acting as|playing|in my) (?:the )?role (?:number |no\. ?|#)?\d+\b"
    r"|^\W*role (?:number |no\. ?|#)?\d+\W*(?:[:.,)\]\u2013\u2014-]|$)",
    re.IGNORECASE | re.MULTILINE,
)
# Special tokens of chat templates that a tokenizer did not take for such.
TEMPLATE = re.compile(
    r"<\|[a-z][a-z_]*\|>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>|</?s>"
    r"|^### ?(?:Instruction|Response|Input|System|Human|Assistant) ?:",
    re.MULTILINE,
)
# A turn that the model invents; its special tokens, left out, leave the bare name of the speaker.
TURN = re.compile(
    r"^[>*_#\s]*(?:user|human|assistant)[*_]*\s?:|^(?:user|assistant|system)[ \t]*\n+(?=\S)",
    re.IGNORECASE | re.MULTILINE,
)


def role_leakage(prompt: str, text: str) -> float:
    """Whether the text shows its role prompt or the template of the chat: 1 or 0.

    Finds numbered roles ("You are role 3", "As role 3", a line that begins with "Role 3:"), markers
    of chat templates (`<|im_start|>`, `[INST]`, `### Response:`), and turns that the model writes for
    others: a line that begins with "User:", "Human:" or "Assistant:", or that is nothing but such
    a name. Markers and turns that stand in the prompt too are no leak, a role is one anyway.

    It overlooks roles that are described and not numbered ("As a pirate, I …"), and takes a
    dialogue between a user and an assistant for a leak unless the prompt names a speaker.

    Example:
        >>> role_leakage("Name a fruit.", "As role 3, I name the fig."), role_leakage("Hi.", "A fig.")
        (1.0, 0.0)
    """
    if _may_hold(text, "role") and ROLE.search(text):
        return 1.0
    return float(
        _leaks(TEMPLATE, prompt, text, "<", "[", "###")
        or _leaks(TURN, prompt, text, "user", "human", "assistant", "system")
    )


def _leaks(pattern: re.Pattern[str], prompt: str, text: str, *pieces: str) -> bool:
    """Whether the pattern, which holds one of the pieces, is in the text and not in the prompt."""
    found = _may_hold(text, *pieces) and pattern.search(text)
    return bool(found) and not pattern.search(prompt)


def _may_hold(text: str, *pieces: str) -> bool:
    """Whether one of the pieces may be in a text: to look costs less than a pattern does.

    Patterns that ignore case take a few other letters for s and i, so only ASCII is looked at.
    """
    lowered = text.lower()
    return not text.isascii() or any(piece in lowered for piece in pieces)
