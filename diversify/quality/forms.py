"""Constraints on the form of a text: how it begins and ends, its case, its format, its language.

Like those of `diversify.quality.checks` each is a function of a text and IFEval's names of its
arguments, that returns whether the constraint holds; None where that cannot be told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from diversify.quality.answers import folded
from diversify.quality.checks import check_phrase, check_phrases
from diversify.quality.languages import in_language

__all__ = [
    "constrained_response",
    "constrained_start",
    "end_checker",
    "english_capital",
    "english_lowercase",
    "json_format",
    "no_comma",
    "postscript",
    "quotation",
    "repeat_prompt",
    "response_language",
    "title",
    "two_responses",
]

OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
"""What IFEval's prompts with a constrained response let a model choose from."""

# Quotation marks and Markdown's emphasis, which may stand around a text that begins or ends so.
_AROUND = " \"'*_`\u201c\u201d\u201e"
_FENCE = re.compile(r"```[a-z]*\s(.*)```", re.DOTALL | re.IGNORECASE)
_TITLE = re.compile(r"<<(?=[^<>\n]*[^<>\s])[^<>\n]+>>")
_COMMAS = re.compile("[,\u060c\u3001\uff0c]")


def constrained_start(text: str, *, starter: str) -> bool:
    """Whether the text begins with a phrase, in whole words and whatever its case.

    IFEval's code looks at the beginning of every line, and reads the phrase as a regular expression.

    Example:
        >>> constrained_start('"In my opinion, tea."', starter="In my opinion")
        True
        >>> constrained_start("I thinking", starter="I think")
        False
    """
    wanted = folded(check_phrase("starter", starter)).lstrip(_AROUND)
    found = folded(text).lstrip(_AROUND)
    goes_on = wanted[-1:].isalnum() and found[len(wanted) :][:1].isalnum()
    return found.startswith(wanted) and not goes_on


def end_checker(text: str, *, end_phrase: str) -> bool:
    """Whether the text ends with a phrase, whatever its case; a closing quotation mark may follow.

    Example:
        >>> end_checker('**So be it. Any other questions?**', end_phrase="Any other questions?")
        True
    """
    wanted = folded(check_phrase("end_phrase", end_phrase)).rstrip(_AROUND)
    return folded(text).rstrip(_AROUND).endswith(wanted)


def repeat_prompt(text: str, *, prompt_to_repeat: str) -> bool:
    """Whether the text begins with the prompt, whatever its case and white space.

    Example:
        >>> repeat_prompt("Name a  fruit. Fig.", prompt_to_repeat="Name a fruit.")
        True
    """
    return folded(text).startswith(folded(check_phrase("prompt_to_repeat", prompt_to_repeat)))


def quotation(text: str) -> bool:
    """Whether the text is wrapped in double quotation marks, straight or typographic.

    IFEval's code knows the straight ones alone, and takes two marks with nothing between them.

    Example:
        >>> quotation(' "A fig." '), quotation('"'), quotation('""')
        (True, False, False)
    """
    bare = text.strip()
    wrapped = bare[:1] in {*'"\u201c\u201e'} and bare[-1:] in {*'"\u201c\u201d'}
    return wrapped and bool(bare[1:-1].strip())


def title(text: str) -> bool:
    """Whether the text has a title in double angle brackets, such as <<poem of joy>>.

    Example:
        >>> title("<<Figs>> grow."), title("<< >> grow.")
        (True, False)
    """
    return _TITLE.search(text) is not None


def postscript(text: str, *, postscript_marker: str) -> bool:
    r"""Whether behind something else a line begins with a marker such as "P.S." and says something.

    IFEval's code finds its marker anywhere, "p.s." in the middle of a sentence included.

    Example:
        >>> postscript("Yours, Ann\nP. S. Call me.", postscript_marker="P.S.")
        True
        >>> postscript("I wrote a P.S. once.", postscript_marker="P.S.")
        False
    """
    marker = check_phrase("postscript_marker", postscript_marker).strip()
    spelled = re.escape(marker).replace(r"\.", r"\.[ \t]?")
    end = r"(?!\w)" if marker[-1].isalnum() else ""
    pattern = rf"^[ \t*_>]*{spelled}{end}(?=[\s\S]*\w)"
    found = re.search(pattern, text, re.MULTILINE | re.IGNORECASE)
    return found is not None and bool(text[: found.start()].strip())


def json_format(text: str) -> bool:
    r"""Whether the text is a JSON object or list and nothing else, but for a fence of code.

    IFEval's code takes any JSON value, so that the answer `7` is one, and NaN, which JSON has not.

    Example:
        >>> json_format('{"fruit": "fig"}'), json_format("```json\n[1]\n```"), json_format("7")
        (True, True, False)
    """
    bare = text.strip()
    fenced = _FENCE.fullmatch(bare)
    try:
        found = json.loads(fenced[1] if fenced else bare, parse_constant=_refuse)
    except (ValueError, RecursionError):  # what Python cannot read is what this check looks for
        return False
    return isinstance(found, dict | list)


def constrained_response(text: str, *, options: Sequence[str] = OPTIONS) -> bool:
    """Whether the text has one of the options and none of the others.

    IFEval's code lets a text pass that lists them all.

    Example:
        >>> constrained_response("Well, my answer is no.")
        True
        >>> constrained_response("My answer is yes. My answer is no.")
        False
    """
    found = folded(text)
    return sum(folded(option) in found for option in check_phrases("options", options)) == 1


def two_responses(text: str) -> bool:
    r"""Whether the text is two different responses with six asterisks between them.

    Example:
        >>> two_responses("A fig.\n******\nA pear."), two_responses("A fig.\n******\na FIG.")
        (True, False)
    """
    parts = text.split("******")
    told = [folded(part) for part in parts if part.strip()]
    return not any(not part.strip() for part in parts[1:-1]) and len(told) == len({*told}) == 2


def no_comma(text: str) -> bool:
    """Whether the text has no comma, those of Arabic, Chinese and Japanese included.

    Example:
        >>> no_comma("A fig."), no_comma("A fig, a pear.")
        (True, False)
    """
    return _COMMAS.search(text) is None


def english_capital(text: str) -> bool:
    """Whether the text is in capital letters, and in no other language than English as it seems.

    A text that is too short to tell passes, as in IFEval's code, which asks langdetect.

    Example:
        >>> english_capital("A FIG!"), english_capital("A Fig!"), english_capital("ДА")
        (True, False, False)
    """
    return text.isupper() and in_language(text, "en") is not False


def english_lowercase(text: str) -> bool:
    """Whether the text is in small letters, and in no other language than English as it seems.

    Example:
        >>> english_lowercase("a fig!"), english_lowercase("le ciel est bleu et la mer est une")
        (True, False)
    """
    return text.islower() and in_language(text, "en") is not False


def response_language(text: str, *, language: str) -> bool | None:
    """Whether the text is in a language (`in_language`); None where it is too short to tell.

    IFEval's code counts what langdetect cannot tell as in the language, and langdetect draws at
    random unless a seed is set.

    Example:
        >>> response_language("море", language="de"), response_language("Meer", language="de")
        (False, None)
    """
    return in_language(text, language)


def _refuse(constant: str) -> None:
    raise ValueError(f"JSON has no {constant}")
