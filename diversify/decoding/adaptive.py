"""Adaptive stopping: draw until little is left that has not been said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diversify.credit import partition, unseen_mass
from diversify.decoding.asking import Answers, collected, joined, later
from diversify.decoding.prompting import PLAIN, Direct, Strategy
from diversify.decoding.records import Record
from diversify.engines import Engine, Generations, Prompt, Sampling
from diversify.kernels import Kernel, check_integer
from diversify.measures import DISTINCT_THRESHOLD

__all__ = ["UntilSeen"]


@dataclass(frozen=True)
class UntilSeen:
    """Draw in batches until the next answer would hardly say anything new, or there are `n`.

    Answers as similar as `threshold` count as one. After each batch the probability that another
    draw says something new is estimated from the answers that came once (`unseen_mass`); a prompt
    is finished when it is at most `unseen`. **A prompt then has fewer than `n` answers**: a whole
    number of batches, and as many as it has something to say. All that was drawn is returned:
    `OverGenerate(strategy=UntilSeen(...))` picks from it.

    The estimate assumes independent draws. Around a strategy whose answers see each other it says
    when the batches begin to repeat what earlier batches said, which is earlier than they would
    have stopped side by side. It knows only what `threshold` calls different: calibrate it.

    Cost: that of the strategy within for at most `n` answers, and one kernel matrix a batch. Batches
    are drawn one after the other; those of all unfinished prompts in one call of the strategy.

    Args:
        strategy: how a batch is drawn.
        kernel: texts to similarities.
        threshold: from which similarity on two answers are the same, in [-1, 1]; the default is for
            embeddings.
        unseen: the bound, in [0, 1).
        batch: answers drawn before each look, 2 or more. The first batch is the smallest sample
            that can end a prompt: four or fewer end many prompts by chance.

    Raises:
        ValueError: An option is impossible; when called, `n` is below 1, or the strategy or the
            kernel raises.

    Reference:
        The estimate is that of Good (1953); see `unseen_mass`. As a rule for stopping: ours.
    """

    strategy: Strategy = field(default_factory=Direct)
    kernel: Kernel = field(kw_only=True)
    threshold: float = field(default=DISTINCT_THRESHOLD, kw_only=True)
    unseen: float = field(default=0.1, kw_only=True)
    batch: int = field(default=8, kw_only=True)

    def __post_init__(self) -> None:
        if not -1.0 <= self.threshold <= 1.0:
            raise ValueError(f"threshold must be in [-1, 1], got {self.threshold}")
        if not 0.0 <= self.unseen < 1.0:
            raise ValueError(f"unseen must be in [0, 1), got {self.unseen}")
        check_integer("batch", self.batch, 2)

    def __call__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        n: int,
        sampling: Sampling = PLAIN,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Generations:
        """Draw at most `n` answers a prompt.

        Returns:
            Generations; rows differ in length. `details` has the last estimate (`unseen`), how many
            different `answers` there are, and how many draws were `spared`; what is `missing` was
            drawn and not given by the strategy.
        """
        check_integer("n", n, 1)
        found = [Answers([], []) for _ in prompts]
        records = [Record() for _ in prompts]
        kept: list[list[str]] = [[] for _ in prompts]
        asked = [0 for _ in prompts]
        seen: list[dict[str, Any]] = [{} for _ in prompts]
        for step in range(math.ceil(n / self.batch)):
            rows = [i for i in range(len(prompts)) if not step or seen[i]["unseen"] > self.unseen]
            if not rows:
                break
            size = min(self.batch, n - step * self.batch)
            drawn = self.strategy(
                engine,
                [prompts[i] for i in rows],
                size,
                later(sampling, step),
                columns={
                    name: [column[i] for i in rows] for name, column in (columns or {}).items()
                },
            )
            for place, i in enumerate(rows):
                flags = list(drawn.truncated[place]) if drawn.truncated else []
                said = drawn.details[place] if drawn.details else {}
                found[i] = joined([found[i], Answers(list(drawn[place]), flags)])
                records[i] += Record.of(said)
                kept[i] += said.get("kept", [""] * len(drawn[place]))
                asked[i] += size
                seen[i] = self._look(found[i].texts)
        details = [
            records[i].details(kept[i], asked[i], **seen[i], spared=n - asked[i])
            for i in range(len(prompts))
        ]
        return collected(prompts, found, details)

    def _look(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return the estimate for the answers so far, and how many different ones there are."""
        labels = partition(self.kernel(texts), threshold=self.threshold)
        return {"unseen": unseen_mass(labels), "answers": len({*labels.tolist()})}

    def describe(self) -> dict[str, Any]:
        """Return the name, the options and the strategy within."""
        return {
            "name": "until_seen",
            "kernel": self.kernel.name,
            "threshold": self.threshold,
            "unseen": self.unseen,
            "batch": self.batch,
            "strategy": self.strategy.describe(),
        }
