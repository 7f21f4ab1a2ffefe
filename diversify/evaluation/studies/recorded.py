"""A finished run as an engine: what has been drawn once is not drawn again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from diversify.engines import Engine, Generations, Prompt, Sampling
from diversify.evaluation.generate import Run

__all__ = ["Recorded"]


@dataclass(frozen=True)
class Recorded:
    """An engine that gives again what a finished plain run drew, where it is asked for the same.

    The draws are the same either way: they depend on the seed, the prompt and their number.
    """

    engine: Engine
    run: Run

    @property
    def identity(self) -> dict[str, Any]:
        """That of the engine within."""
        return self.engine.identity

    def generate(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> Generations:
        """Draw `n` completions for each prompt, or look them up."""
        settings = self.run.settings
        same = n == settings["samples"] and asdict(sampling) == settings["sampling"]
        rows = {json.dumps(row["prompt"]): row for row in self.run.rows}
        keys = [json.dumps(prompt) for prompt in prompts]
        if not same or len({*keys}) < len(keys) or not rows.keys() >= {*keys}:
            return self.engine.generate(prompts, n, sampling)
        found = [rows[key] for key in keys]
        return Generations(
            list(prompts),
            [list(row["generations"]) for row in found],
            [list(row["truncated"]) for row in found],
            [{"tokens": row["details"]["tokens"]} for row in found],
        )
