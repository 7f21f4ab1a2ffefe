"""Engines turn prompts into completions; every engine answers `generate` with the same record."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias, overload, runtime_checkable

Message: TypeAlias = dict[str, str]
Prompt: TypeAlias = str | list[Message]
"""A user turn as plain text, or a whole chat as a list of `{"role", "content"}` messages."""


@dataclass(frozen=True)
class Sampling:
    """How one completion is drawn. The defaults are plain sampling from the model itself.

    Nothing is inherited from a model's `generation_config.json`: what is written here is what runs.

    Args:
        temperature: divides the logits; 0 means greedy decoding.
        top_p: nucleus mass in (0, 1].
        top_k: number of tokens kept; 0 keeps all.
        min_p: probability floor relative to the best token, in [0, 1), or None.
        max_tokens: longest completion, in tokens.
        seed: start of the random stream; the same seed on the same engine gives the same texts.

    Raises:
        ValueError: an option is outside its range.
    """

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float | None = None
    max_tokens: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature must be a number >= 0, got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], got {self.top_p}")
        if self.top_k < 0:
            raise ValueError(f"top_k must be >= 0 (0 keeps all tokens), got {self.top_k}")
        if self.min_p is not None and not 0 <= self.min_p < 1:
            raise ValueError(f"min_p must be in [0, 1) or None, got {self.min_p}")
        if self.max_tokens < 1:
            raise ValueError(f"max_tokens must be >= 1, got {self.max_tokens}")

    def at(self, **changes: Any) -> Sampling:
        """Return a copy with some options changed, checked again."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Generations(Sequence[list[str]]):
    """Completions of several prompts: `generations[i]` is the list of texts for prompt i.

    Args:
        prompts: the prompts, one per row.
        texts: for each prompt its completions; rows may differ in length.
        truncated: for each completion, whether it stopped at `max_tokens` without ending; empty
            where the engine cannot say.
        details: what the strategy wants on record (for instance what was kept and dropped), one
            dictionary a prompt, or empty. An engine that counts tokens says under `tokens` how many
            it has `read` (those of the prompt, once) and `written` for each prompt.
    """

    prompts: list[Prompt]
    texts: list[list[str]]
    truncated: list[list[bool]] = field(default_factory=list)
    details: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name, rows in (
            ("texts", self.texts),
            ("truncated", self.truncated or self.texts),
            ("details", self.details or self.texts),
        ):
            if len(rows) != len(self.prompts):
                raise ValueError(f"{name} has {len(rows)} rows for {len(self.prompts)} prompts")

    @overload
    def __getitem__(self, index: int) -> list[str]: ...
    @overload
    def __getitem__(self, index: slice) -> list[list[str]]: ...
    def __getitem__(self, index: int | slice) -> list[str] | list[list[str]]:
        return self.texts[index]

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[list[str]]:
        return iter(self.texts)


@runtime_checkable
class Engine(Protocol):
    """Anything that can draw `n` completions a prompt."""

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the distribution besides `Sampling`: model, revision, adapter, chat template."""

    def generate(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> Generations:
        """Draw `n` completions for each prompt."""


@runtime_checkable
class Streaming(Protocol):
    """An engine that can also hand over a completion while it is being written."""

    def stream(self, prompt: Prompt, sampling: Sampling) -> Iterator[str]:
        """Yield the pieces of one completion as they come.

        Put together they are the text of `generate([prompt], 1, sampling)`, but for white space
        around it. An iterator that is a generator may return, as its value, whether the text was
        cut off.
        """


def stable_seed(*parts: Any) -> int:
    """Hash anything that JSON can write to a seed that is the same on every machine.

    Returns:
        A number in [0, 2**63).

    Example:
        >>> stable_seed(7, "Name a colour.") == stable_seed(7, "Name a colour.") != stable_seed(8)
        True
    """
    digest = hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest) >> 1


def with_system_message(messages: list[Message], system: str | None) -> list[Message]:
    """Put a system message before messages that have none.

    Example:
        >>> [m["role"] for m in with_system_message([{"role": "user", "content": "Hi"}], "Be brief.")]
        ['system', 'user']
    """
    if system is None or (messages and messages[0]["role"] == "system"):
        return messages
    return [{"role": "system", "content": system}, *messages]


def as_messages(prompt: Prompt) -> list[Message]:
    """Return a prompt as chat messages; plain text becomes one user turn.

    >>> as_messages("Name a colour.")
    [{'role': 'user', 'content': 'Name a colour.'}]
    """
    return [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)


def text_of(message: str | Sequence[Message]) -> str:
    """Return the plain text of a prompt or completion, chat or not: the content of the last turn.

    >>> text_of([{"role": "assistant", "content": "Blue."}])
    'Blue.'
    """
    return message if isinstance(message, str) else str(message[-1]["content"]) if message else ""
