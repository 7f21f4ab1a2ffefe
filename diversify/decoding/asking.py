"""What strategies share: change a prompt, draw so many answers to each of several, keep a record."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from diversify.decoding.records import Cost, Record
from diversify.engines import Engine, Generations, Prompt, Sampling, as_messages

__all__ = [
    "Answers",
    "Ask",
    "bare",
    "collected",
    "dealt",
    "draw_each",
    "draw_variants",
    "joined",
    "last_user_text",
    "later",
    "stream_of",
    "with_system",
    "with_user_text",
]

STRIDE = 1_000_003
"""Between the seeds of one draw and the next: runs with neighbouring seeds share no draws."""


class Answers(NamedTuple):
    """Texts for one prompt, and whether each was cut off; no flags where the engine cannot say."""

    texts: list[str]
    truncated: list[bool]
    cost: Cost = Cost()


def draw_each(
    engine: Engine, asked: Sequence[tuple[Prompt, int]], sampling: Sampling
) -> list[Answers]:
    """Draw so many completions for each prompt, in as few calls of the engine as there are counts.

    Args:
        engine: what answers.
        asked: pairs of a prompt and how many completions it wants; 0 asks for none.
        sampling: how they are drawn.

    Returns:
        Answers, in the order asked.
    """
    found = [Answers([], []) for _ in asked]
    for count in sorted({count for _, count in asked if count > 0}):
        places = [place for place, (_, wanted) in enumerate(asked) if wanted == count]
        drawn = engine.generate([asked[place][0] for place in places], count, sampling)
        for row, place in enumerate(places):
            flags = list(drawn.truncated[row]) if drawn.truncated else []
            said = (drawn.details[row].get("tokens") if drawn.details else None) or {}
            cost = Cost(1, len(drawn[row]), said.get("read"), said.get("written"))
            found[place] = Answers(list(drawn[row]), flags, cost)
    return found


class Ask(NamedTuple):
    """One of the ways in which a prompt is asked."""

    prompt: Prompt
    samples: int
    note: str
    """How the answers to it came about."""


def draw_variants(
    engine: Engine,
    prompts: Sequence[Prompt],
    asks: Sequence[Sequence[Ask]],
    n: int,
    sampling: Sampling,
    *,
    records: Sequence[Record] | None = None,
) -> Generations:
    """Draw the answers to each prompt by asking it in several ways.

    Args:
        engine: what answers.
        prompts: the prompts as they came.
        asks: for each prompt the ways to ask it, in the order of the answers.
        n: how many answers a prompt were wanted.
        sampling: how they are drawn.
        records: for each prompt what has been spent on it so far.

    Returns:
        Generations with the details of `Record`.
    """
    drawn = iter(draw_each(engine, [(a.prompt, a.samples) for row in asks for a in row], sampling))
    rows, details = [], []
    for record, row in zip(records or [Record() for _ in prompts], asks, strict=True):
        found = [next(drawn) for _ in row]
        rows.append(joined(found))
        record.cost += rows[-1].cost
        kept = [ask.note for ask, each in zip(row, found, strict=True) for _ in each.texts]
        details.append(record.details(kept, n))
    return collected(prompts, rows, details)


def dealt(n: int, ways: Sequence[tuple[Prompt, str]]) -> list[Ask]:
    """Deal `n` answers out over the ways to ask, evenly, the first ones getting one more.

    Args:
        n: how many answers.
        ways: pairs of a prompt and a note; those beyond `n` get no answer.

    Example:
        >>> [ask.samples for ask in dealt(7, [("A fruit?", "a"), ("Which fruit?", "b")])]
        [4, 3]
    """
    counts = [n // len(ways) + (way < n % len(ways)) for way in range(len(ways))]
    return [Ask(prompt, c, note) for (prompt, note), c in zip(ways, counts, strict=True)]


def joined(answers: Iterable[Answers]) -> Answers:
    """Put the answers of one prompt behind each other."""
    rows = list(answers)
    return Answers(
        [t for row in rows for t in row.texts],
        [f for row in rows for f in row.truncated],
        sum((row.cost for row in rows), Cost()),
    )


def collected(
    prompts: Sequence[Prompt], answers: Sequence[Answers], details: Sequence[dict[str, Any]]
) -> Generations:
    """Put the record together; flags only where every text has one."""
    known = all(len(row.truncated) == len(row.texts) for row in answers)
    flags = [row.truncated for row in answers] if known else []
    return Generations(list(prompts), [row.texts for row in answers], flags, list(details))


def stream_of(seed: int, prompt: Prompt) -> np.random.Generator:
    """Return a random stream that depends on the seed and on the prompt, and on nothing else."""
    content = json.dumps([seed, as_messages(prompt)], sort_keys=True)
    return np.random.default_rng(int.from_bytes(hashlib.sha256(content.encode()).digest()[:8]))


def later(sampling: Sampling, step: int) -> Sampling:
    """Return the sampling of a later draw for the same prompt: the same seed would repeat itself.

    Example:
        >>> later(Sampling(seed=7), 0) == Sampling(seed=7) != later(Sampling(seed=7), 1)
        True
    """
    return sampling.at(seed=sampling.seed + STRIDE * step)


def bare(text: str) -> str:
    """Return the words of a text in lower case and nothing else, to tell copies.

    Example:
        >>> bare("- **Blue**, or green!")
        'blue or green'
    """
    return " ".join(re.findall(r"\w+", text.casefold()))


def with_system(prompt: Prompt, text: str) -> Prompt:
    """Put a text into the system message: before the one that is there, or as the only one.

    Example:
        >>> with_system("A fruit?", "You are a cook.")[0]
        {'role': 'system', 'content': 'You are a cook.'}
    """
    messages = as_messages(prompt)
    if messages and messages[0]["role"] == "system":
        text, messages = f"{text}\n\n{messages[0]['content']}", messages[1:]
    return [{"role": "system", "content": text}, *messages]


def with_user_text(prompt: Prompt, text: str) -> Prompt:
    """Replace the last turn of the user.

    Example:
        >>> with_user_text([{"role": "user", "content": "A fruit?"}], "Name a fruit.")
        [{'role': 'user', 'content': 'Name a fruit.'}]
    """
    if isinstance(prompt, str):
        return text
    place = _last_user_turn(prompt)
    return [*prompt[:place], prompt[place] | {"content": text}, *prompt[place + 1 :]]


def last_user_text(prompt: Prompt) -> str:
    """Return what the user said last.

    Raises:
        ValueError: The user said nothing.
    """
    return prompt if isinstance(prompt, str) else str(prompt[_last_user_turn(prompt)]["content"])


def _last_user_turn(messages: Sequence[Mapping[str, str]]) -> int:
    places = [place for place, message in enumerate(messages) if message["role"] == "user"]
    if not places:
        raise ValueError(f"a prompt needs a turn of the user, got {messages}")
    return places[-1]
