"""Verbalized sampling: ask for several answers with their probabilities in one completion."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from diversify.decoding.asking import (
    Answers,
    collected,
    draw_each,
    last_user_text,
    stream_of,
    with_user_text,
)
from diversify.decoding.prompting import PLAIN
from diversify.engines import Engine, Generations, Prompt, Sampling
from diversify.kernels import check_integer

__all__ = ["ListedAnswer", "Verbalized", "read_answers"]

LIST = (
    "Do not give one answer to this but {count} different ones, picked at random from everything "
    "you could answer. Write each of them in full, in this form:\n"
    "<response>\n<text>{placeholder}</text>\n{probability}</response>\n"
    "Write nothing outside of these tags."
)
PROBABILITY = "<probability>how likely you are to give it, from 0 to 1</probability>\n"

PLACEHOLDER = "the answer"
"""What stands for an answer in the form; a weak model repeats it."""
TEXT_KEYS = ("text", "response", "answer", "content")
RESPONSE = re.compile(r"<response\b[^>]*>", re.IGNORECASE)
TEXT = re.compile(r"<text>", re.IGNORECASE)
BEFORE_TEXT = re.compile(r"(?=<text>)", re.IGNORECASE)
END = re.compile(r"</text>|</response>", re.IGNORECASE)
PROBABILITY_TAG = re.compile(r"<probability>([^<]*)(?:</probability>|$)", re.IGNORECASE)
BRACKET = re.compile(r"[\[{]")
NUMBER = re.compile(r"^[ \t*]*(\d+)[.):][ \t*]*", re.MULTILINE)
SAID = re.compile(r"[\s(\[-]*probability\W*([\d.]+\s*%?)[\s)\]*]*$", re.IGNORECASE)
VALUE = re.compile(r"~?\s*(\d*\.?\d+(?:e-?\d+)?)\s*(%?)", re.IGNORECASE)


@dataclass(frozen=True)
class Verbalized:
    """Ask for `per_call` answers and their probabilities at once, until there are `n`.

    A model that is asked for one answer gives its favourite; asked for a list and for
    probabilities, it gives a part of the distribution that it could answer from. The probabilities
    only frame the request: they are on record and are used for nothing, being no calibrated
    numbers. A list is read as tags, JSON or a numbered list; what is blank or cut off is left out.

    Calls whose list cannot be read are repeated, all in all at most `rounds` times the calls that
    `n` answers need. **After that a prompt may have fewer than `n` answers, or none**: rows of the
    result differ in length then, and `details` counts what is missing; with `fill` the rest is drawn
    plainly, and counted. When there are more than `n`, a random `n` of them stay, in order: the
    first of a list are its most typical.

    Cost: about n / `per_call` calls a prompt, each allowed `per_call` times the tokens of one
    answer; in tokens about as much as n plain answers. Answers of one list are no independent
    draws, and tend to be shorter than plain ones.

    Args:
        per_call: answers a call, 1 or more; 5 in the paper, up to 20 work with large models.
        probabilities: whether to ask for probabilities, too.
        rounds: limit of the calls, in multiples of what would be enough, 1 or more.
        fill: whether answers that are still missing are drawn plainly.

    Raises:
        ValueError: An option is impossible; when called, `n` is below 1 or a prompt has no user
            turn.

    Reference:
        J. Zhang et al., "Verbalized Sampling: How to Mitigate Mode Collapse and Unlock LLM
        Diversity", arXiv 2510.01171, in its standard form. Deviations: the request stands behind
        the user's text and is worded by us; answers are used as listed, not drawn again by their
        probabilities.
    """

    per_call: int = 5
    probabilities: bool = field(default=True, kw_only=True)
    rounds: int = field(default=3, kw_only=True)
    fill: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        check_integer("per_call", self.per_call, 1)
        check_integer("rounds", self.rounds, 1)

    def __call__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        n: int,
        sampling: Sampling = PLAIN,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Generations:
        """Ask until there are `n` answers a prompt, or the limit is reached; `columns` play no part.

        Returns:
            Generations of at most `n` texts a prompt. `details` has, for each prompt, `completions`
            (calls, and what `fill` drew: the cost), `unreadable` calls, `surplus` answers,
            the `probabilities` of the answers (None where there is none), how many were `filled`
            and how many are `missing`.
        """
        del columns
        check_integer("n", n, 1)
        asks = [self.ask(prompt) for prompt in prompts]
        lists = [_Lists() for _ in prompts]
        long = sampling.at(max_tokens=self.per_call * sampling.max_tokens)
        for attempt in range(self.rounds):
            counts = [-(-max(0, n - len(found.answers)) // self.per_call) for found in lists]
            # The same seed would bring the same lists again.
            seeded = long.at(seed=sampling.seed + attempt)
            drawn = draw_each(engine, list(zip(asks, counts, strict=True)), seeded)
            for found, answers in zip(lists, drawn, strict=True):
                found.read(answers)
        missing = [n - len(found.answers) if self.fill else 0 for found in lists]
        plain = draw_each(engine, list(zip(prompts, missing, strict=True)), sampling)
        rows, details = [], []
        for prompt, found, more in zip(prompts, lists, plain, strict=True):
            kept = found.keep(n, stream_of(sampling.seed, prompt))
            whole = [False] * len(kept) if found.flagged else []
            rows.append(Answers([a.text for a in kept] + more.texts, whole + more.truncated))
            details.append(
                {
                    "completions": found.calls + len(more.texts),
                    "unreadable": found.unreadable,
                    "surplus": len(found.answers) - len(kept),
                    "probabilities": [a.probability for a in kept],
                    "filled": len(more.texts),
                    "missing": n - len(kept) - len(more.texts),
                }
            )
        return collected(prompts, rows, details)

    def ask(self, prompt: Prompt) -> Prompt:
        """Return the prompt with the wish for a list behind it."""
        probability = PROBABILITY if self.probabilities else ""
        wish = LIST.format(count=self.per_call, placeholder=PLACEHOLDER, probability=probability)
        return with_user_text(prompt, f"{last_user_text(prompt)}\n\n{wish}")

    def describe(self) -> dict[str, Any]:
        """Return the name and the options."""
        return {
            "name": "verbalized",
            "per_call": self.per_call,
            "probabilities": self.probabilities,
            "rounds": self.rounds,
            "fill": self.fill,
        }


class ListedAnswer(NamedTuple):
    """One answer of a list, and what the model said about its probability."""

    text: str
    probability: float | None


@dataclass
class _Lists:
    """What the calls for one prompt have given so far."""

    answers: list[ListedAnswer] = field(default_factory=list)
    calls: int = 0
    unreadable: int = 0
    flagged: bool = True  # the engine says what was cut off

    def read(self, drawn: Answers) -> None:
        """Read the lists of some more calls."""
        self.flagged &= bool(drawn.truncated) or not drawn.texts
        flags = drawn.truncated or [False] * len(drawn.texts)
        for text, cut in zip(drawn.texts, flags, strict=True):
            found = read_answers(text, truncated=cut)
            self.calls += 1
            self.unreadable += not found
            self.answers += found

    def keep(self, n: int, stream: np.random.Generator) -> list[ListedAnswer]:
        """Return at most `n` of the answers, which ones by chance, in their order."""
        size = min(n, len(self.answers))
        return [self.answers[i] for i in sorted(stream.permutation(len(self.answers))[:size])]


def read_answers(completion: str, *, truncated: bool = False) -> list[ListedAnswer]:
    r"""Read a list of answers in whatever form the model gave it.

    Tried in turn: `<response>` or `<text>` tags; JSON, a list of texts or of objects with `text`,
    `response`, `answer` or `content`; a list numbered from 1 with two items or more.

    Args:
        completion: what the model wrote.
        truncated: whether it was cut off: an answer whose end is not marked is then left out.

    Returns:
        The answers, without blank ones and repetitions of the form that was asked for; none where no list is found. A probability that is no
        number from 0 to 1 is None.

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
    for read in (_tagged, _json, _numbered):
        found = [a for a in read(completion, truncated) if a.text not in ("", PLACEHOLDER)]
        if found:
            return found
    return []


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
