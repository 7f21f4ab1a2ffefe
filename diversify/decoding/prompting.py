"""Strategies that only choose what is asked: how `n` completions of a prompt are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from diversify.engines import Engine, Generations, Prompt, Sampling

__all__ = ["PLAIN", "Direct", "Strategy"]

PLAIN = Sampling()


class Strategy(Protocol):
    """A way to get `n` completions a prompt out of an engine."""

    def __call__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        n: int,
        sampling: Sampling = ...,
        *,
        columns: Mapping[str, Sequence[Any]] | None = ...,
    ) -> Generations:
        """Return `n` completions a prompt; `columns` holds one value a prompt, for qualities."""

    def describe(self) -> dict[str, Any]:
        """Name and options, for the record of a run; JSON-serialisable."""


@dataclass(frozen=True)
class Direct:
    """Plain sampling: `n` independent completions a prompt.

    The strategy to compare every other one with. Costs n completions a prompt.
    """

    def __call__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        n: int,
        sampling: Sampling = PLAIN,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Generations:
        """Draw `n` completions for each prompt; `columns` play no part."""
        del columns
        return engine.generate(prompts, n, sampling)

    def describe(self) -> dict[str, Any]:
        """Return the name; there are no options."""
        return {"name": "direct"}
