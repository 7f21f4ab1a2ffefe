"""Lists of answers in a completion, read in whatever form the model gave them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

__all__ = ["PLACEHOLDER", "ListedAnswer", "read_answers", "without_thinking"]

PLACEHOLDER = "the answer"
"""What stands for an answer in the form; a weak model repeats it."""
TEXT_KEYS = ("text", "response", "answer", "content")
THOUGHT = re.compile(r"<(think|thinking)>.*?</\1>", re.IGNORECASE | re.DOTALL)
UNBEGUN = re.compile(r"\A.*</(?:think|thinking)>", re.IGNORECASE | re.DOTALL)
UNENDED = re.compile(r"<(?:think|thinking)>.*?(?=<response\b|\Z)", re.IGNORECASE | re.DOTALL)
RESPONSE = re.compile(r"<response\b[^>]*>", re.IGNORECASE)
TEXT = re.compile(r"<text>", re.IGNORECASE)
BEFORE_TEXT = re.compile(r"(?=<text>)", re.IGNORECASE)
END = re.compile(r"</text>|</response>", re.IGNORECASE)
PROBABILITY_TAG = re.compile(r"<probability>([^<]*)(?:</probability>|$)", re.IGNORECASE)
BRACKET = re.compile(r"[\[{]")
NUMBER = re.compile(r"^[ \t*]*(\d+)[.):][ \t*]*", re.MULTILINE)
SAID = re.compile(r"[\s(\[-]*probability\W*([\d.]+\s*%?)[\s)\]*]*$", re.IGNORECASE)
VALUE = re.compile(r"~?\s*(\d*\.?\d+(?:e-?\d+)?)\s*(%?)", re.IGNORECASE)


class ListedAnswer(NamedTuple):
    """One answer of a list, and what the model said about its probability."""

    text: str
    probability: float | None


def read_answers(completion: str, *, truncated: bool = False) -> list[ListedAnswer]:
    r"""Read a list of answers in whatever form the model gave it.

    What stands between `<thinking>` or `<think>` tags is no part of the list. Tried in turn:
    `<response>` or `<text>` tags; JSON, a list of texts or of objects with `text`, `response`,
    `answer` or `content`; a list numbered from 1 with two items or more.

    Args:
        completion: what the model wrote.
        truncated: whether it was cut off: an answer whose end is not marked is then left out.

    Returns:
        The answers, without blank ones and repetitions of the form that was asked for; none where
        no list is found. A probability that is no number from 0 to 1 is None.

    Example:
        >>> read_answers("<response><text>fig</text><probability>0.2</probability></response>")
        [ListedAnswer(text='fig', probability=0.2)]
        >>> [answer.text for answer in read_answers('["fig", "kiwi"]')]
        ['fig', 'kiwi']
        >>> read_answers("1. fig (probability: 20%)\n2. kiwi")[0]
        ListedAnswer(text='fig', probability=0.2)
        >>> read_answers("My favourite fruit is the fig.")
        []
    """
    completion = without_thinking(completion)
    for read in (_tagged, _json, _numbered):
        found = [a for a in read(completion, truncated) if a.text not in ("", PLACEHOLDER)]
        if found:
            return found
    return []


def without_thinking(completion: str) -> str:
    """Return a completion without what a model thought before it, in `<think>` or `<thinking>`.

    One of the tags may be missing: some chat templates write the first, and a thought cut off has
    no last. It then reaches to `<response>` or to the end.

    Example:
        >>> without_thinking("<think>1. fig 2. kiwi</think>A fig.")
        'A fig.'
        >>> without_thinking("<thinking>Fruits grow <response>fig</response>")
        '<response>fig</response>'
    """
    return UNENDED.sub("", UNBEGUN.sub("", THOUGHT.sub("", completion)))


def _tagged(completion: str, truncated: bool) -> Iterator[ListedAnswer]:
    """Read `<response>` blocks, or bare `<text>` tags; a missing end tag is forgiven."""
    marker = RESPONSE if RESPONSE.search(completion) else BEFORE_TEXT
    blocks = marker.split(completion)[1:]
    for number, block in enumerate(blocks, start=1):
        said = PROBABILITY_TAG.search(block)
        content = TEXT.split(PROBABILITY_TAG.sub("", block), maxsplit=1)[-1]
        end = END.search(content)
        if end or number < len(blocks) or not truncated:
            text = content[: end.start()] if end else content
            yield ListedAnswer(text.strip(), _probability(said and said[1]))


def _json(completion: str, truncated: bool) -> Iterator[ListedAnswer]:
    """Read the JSON in a completion: whole lists, and the whole objects of a list cut off."""
    decoder, place = json.JSONDecoder(), 0
    while opening := BRACKET.search(completion, place):
        try:
            value, place = decoder.raw_decode(completion, opening.start())
        except (ValueError, RecursionError):  # no JSON, or a model that loops on brackets
            place = opening.end()
            continue
        yield from _from_json(value)


def _from_json(value: Any) -> Iterator[ListedAnswer]:
    if isinstance(value, str):
        yield ListedAnswer(value.strip(), None)
    elif isinstance(value, list):
        for each in value:
            yield from _from_json(each)
    elif isinstance(value, dict):
        texts = [value[key] for key in TEXT_KEYS if isinstance(value.get(key), str)]
        if texts:
            yield ListedAnswer(texts[0].strip(), _probability(value.get("probability")))
        else:
            yield from (
                a
                for each in value.values()
                if isinstance(each, list | dict)
                for a in _from_json(each)
            )


def _numbered(completion: str, truncated: bool) -> Iterator[ListedAnswer]:
    """Read items that are numbered 1, 2, 3, … at the beginning of lines."""
    starts: list[re.Match[str]] = []
    for match in NUMBER.finditer(completion):
        if int(match[1]) == len(starts) + 1:
            starts.append(match)
    if len(starts) < 2:
        return
    ends = [*(match.start() for match in starts[1:]), len(completion)]
    for match, end in list(zip(starts, ends, strict=True))[: len(starts) - truncated]:
        item = completion[match.end() : end].strip()
        said = SAID.search(item)
        text = item[: said.start()] if said else item
        yield ListedAnswer(text.strip().strip("*").strip(), _probability(said and said[1]))


def _probability(said: Any) -> float | None:
    """Return a number from 0 to 1, or None where none is said."""
    number = VALUE.fullmatch(str(said).strip())
    if number is None:
        return None
    value = float(number[1]) / (100.0 if number[2] else 1.0)
    return value if 0.0 <= value <= 1.0 else None
