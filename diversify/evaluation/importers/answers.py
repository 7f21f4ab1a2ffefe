"""What every importer yields, and how answers that lie in many rows become one row a prompt."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diversify.engines import Prompt
from diversify.evaluation.checks import alias_lists

__all__ = [
    "Answers",
    "Source",
    "as_prompt",
    "gather_rows",
    "message_text",
    "without_row_numbers",
]

logger = logging.getLogger(__name__)

OWN = {"id", "prompt", "model", "generations", "truncated", "details", "config", "key"}
"""Columns of a run's row that an import writes itself or must not take over."""


@dataclass(frozen=True)
class Answers:
    """Some answers to one prompt, with the place that a message can name."""

    where: str
    prompt: Prompt
    texts: list[str]
    id: str | None = None
    truncated: list[bool] | None = None
    columns: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Source:
    """All answers of a file, and what it says of how they were drawn."""

    answers: list[Answers]
    model: str = ""
    engine: dict[str, Any] = field(default_factory=dict)
    sampling: dict[str, Any] = field(default_factory=dict)
    prompts: dict[str, Any] = field(default_factory=dict)
    failed: int = 0


def without_row_numbers(answers: Sequence[Answers], path: Path) -> list[Answers]:
    """Drop the ids where they number the answers and not the prompts, so that prompts group them.

    They do where no id has a second answer and one prompt comes under several ids. Where ids have
    several answers each, a set that asks one question twice is left as it is. Both are logged.

    Args:
        answers: The answers of a table.
        path: The table, for the message.

    Example:
        >>> rows = [Answers("1", "Hi", ["a"], "0"), Answers("2", "Hi", ["b"], "1")]
        >>> [row.id for row in without_row_numbers(rows, Path("t.csv"))]
        [None, None]
    """
    named = {part.id: part.prompt for part in answers if part.id is not None}
    prompts = {_id_of(prompt) for prompt in named.values()}
    if len(prompts) == len(named):
        return list(answers)
    told = f"{path}: {len(named)} ids stand for {len(prompts)} different prompts"
    if len(named) < len(answers) or any(len(part.texts) > 1 for part in answers):
        logger.warning("%s; prompts with several ids are kept apart", told)
        return list(answers)
    logger.warning("%s, so they number the answers: these are grouped by prompt", told)
    return [replace(part, id=None) for part in answers]


def gather_rows(answers: Sequence[Answers], model: str) -> list[dict[str, Any]]:
    """Put the answers to one prompt into one row, in order; prompts come as they first appear.

    A prompt without an id gets one from its text, so that two files pair whatever their order.
    Columns are kept where they say the same for all answers to the prompt.

    Raises:
        ValueError: There is no answer, or one id stands for two prompts.

    Example:
        >>> rows = gather_rows([Answers("1", "Name a pet.", ["cat"]), Answers("2", "Hi", [""]),
        ...                     Answers("3", "Name a pet.", ["dog"])], "me/m")
        >>> [row["generations"] for row in rows]
        [['cat', 'dog'], ['']]
    """
    groups: dict[str, list[Answers]] = {}
    for part in answers:
        group = groups.setdefault(part.id if part.id is not None else _id_of(part.prompt), [])
        if group and group[0].prompt != part.prompt:
            raise ValueError(f"{part.where}: the id {part.id!r} had another prompt before")
        group.append(part)
    if not groups:
        raise ValueError("the file holds no answers")
    return [_row(name, group, model) for name, group in groups.items()]


def _row(name: str, group: list[Answers], model: str) -> dict[str, Any]:
    first = group[0]
    row: dict[str, Any] = {"id": name, "prompt": first.prompt}
    for column, value in first.columns.items():
        same = all(column in part.columns and part.columns[column] == value for part in group)
        # `answers` means lists of aliases here; many data sets mean something else by it.
        if column not in OWN and same and (column != "answers" or alias_lists(value)):
            row[column] = value
    row["model"] = model
    row["generations"] = [text for part in group for text in part.texts]
    if all(part.truncated is not None for part in group):
        row["truncated"] = [flag for part in group for flag in part.truncated or []]
    return row


def _id_of(prompt: Prompt) -> str:
    digest = hashlib.sha256(json.dumps(prompt, sort_keys=True).encode()).hexdigest()
    return f"prompt-{digest[:12]}"


def as_prompt(value: Any, where: str) -> Prompt:
    """Return a prompt: text that is not blank, or chat messages with their content as text.

    Raises:
        ValueError: It is neither.
    """
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and value and all(is_message(turn) for turn in value):
        return [
            {"role": str(turn["role"]), "content": message_text(turn["content"], where)}
            for turn in value
        ]
    raise ValueError(f"{where}: a prompt is text or chat messages and not empty, got {value!r:.80}")


def is_message(value: Any) -> bool:
    """Say whether a value is a chat message."""
    return isinstance(value, dict) and "role" in value and "content" in value


def message_text(content: Any, where: str) -> str:
    """Return the text of a message: its content, or the text parts of it without the reasoning.

    Raises:
        ValueError: It is neither text nor a list of parts.

    >>> message_text([{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Blue."}], "")
    'Blue.'
    """
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        return "".join(str(part["text"]) for part in content if part.get("type") == "text")
    raise ValueError(f"{where}: the content of a message is text or parts, got {content!r:.80}")
