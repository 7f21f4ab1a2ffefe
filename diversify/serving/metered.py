"""How much one request may cost: limits, and an engine that keeps to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from diversify.engines import Engine, Generations, Prompt, Sampling
from diversify.kernels import check_integer
from diversify.serving.problems import Problem

__all__ = ["Limits", "Metered"]


@dataclass(frozen=True)
class Limits:
    """What one request may ask for.

    Args:
        n: most answers.
        max_tokens: longest answer, in tokens.
        completions: most texts that a strategy draws for the answers, whatever they are for.
        tokens: most that all these texts together are allowed to have.
        body: longest request, in bytes.

    Raises:
        ValueError: a limit is no whole number above 0.
    """

    n: int = 16
    max_tokens: int = 4096
    completions: int = 512
    tokens: int = 131_072
    body: int = 2**20

    def __post_init__(self) -> None:
        for each in fields(self):
            check_integer(each.name, getattr(self, each.name), 1)


class Metered:
    """An engine for one request, which stops a strategy before it draws more than is allowed.

    Args:
        engine: what draws.
        limits: how much.
    """

    def __init__(self, engine: Engine, limits: Limits) -> None:
        self._engine = engine
        self._limits = limits
        self._completions = self._tokens = 0

    @property
    def identity(self) -> dict[str, Any]:
        """That of the engine."""
        return self._engine.identity

    def generate(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> Generations:
        """Draw `n` completions for each prompt.

        Raises:
            Problem: If that would be more than the request may cost.
        """
        self._completions += len(prompts) * n
        self._tokens += len(prompts) * n * sampling.max_tokens
        for name, needed in (("completions", self._completions), ("tokens", self._tokens)):
            allowed = getattr(self._limits, name)
            if needed > allowed:
                raise Problem(
                    400,
                    f"the answers would need {needed} {name} or more, and a request may cost "
                    f"{allowed}: ask for fewer or shorter ones, or for another strategy",
                    code="too_expensive",
                )
        return self._engine.generate(prompts, n, sampling)
