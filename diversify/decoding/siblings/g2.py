"""G2: answers in turns, each guided from what repeats the earlier answers to what differs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diversify.credit import farthest_point
from diversify.decoding.asking import (
    Answers,
    collected,
    draw_each,
    joined,
    last_user_text,
    later,
    with_user_text,
)
from diversify.decoding.lists import without_thinking
from diversify.decoding.prompting import PLAIN
from diversify.decoding.records import PLAINLY, Record
from diversify.decoding.siblings.guidance import Guidance, Guides, check_guidance
from diversify.decoding.siblings.loops import check_host
from diversify.engines import Engine, Generations, Prompt, Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.kernels import Kernel, NgramKernel, check_integer

__all__ = ["DIFFER", "G2", "REPEAT", "guide_prompt"]

DIFFER = (
    "Answer the request below. The answers listed first have been given already: give another one, "
    "with another idea in it, and repeat nothing of theirs."
)
REPEAT = (
    "Answer the request below. The answers listed first have been given already: repeat one of "
    "them, with the same idea and in the same words as far as you can."
)


@dataclass(frozen=True)
class G2:
    """Draw the answers to a prompt in turns, each guided away from those before it.

    The first answer is drawn plainly. For every further one, up to `shown` earlier answers that
    differ most, the last among them, are put before the request in two guides: one asks for
    something else, the other for the same again. The model itself sees only the request.

    Cost: n calls and n completions a prompt, one after another, and two more rows in the model for
    each of them but the first. Needs a `TransformersEngine` without a decoder of its own.

    Args:
        shown: Earlier answers that the guides show at most, 1 or more.
        weight: See `guided_logits`; at 0 all answers are plain draws. Published: 0.3.
        min_entropy: See `guided_logits`. Published: 0.1 nats.
        kernel: Texts to similarities, for the choice of those shown.

    Raises:
        ValueError: If an option is impossible; when called, if the engine is another one.

    Reference:
        See `guided_logits`. Deviations: the paper decodes the first answer greedily; the wording of
        the guides and the default of `shown` are ours; the answers shown are chosen as the paper's
        centers are, each farthest from those chosen, but by the kernel at hand.
    """

    shown: int = 3
    weight: float = 0.3
    min_entropy: float = 0.1
    kernel: Kernel = field(default_factory=NgramKernel)

    def __post_init__(self) -> None:
        check_host()
        check_integer("shown", self.shown, 1)
        check_guidance(self.weight, self.min_entropy)

    def __call__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        n: int,
        sampling: Sampling = PLAIN,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Generations:
        """Draw `n` answers a prompt, in the order they were drawn; `columns` play no part."""
        del columns
        check_integer("n", n, 1)
        if not isinstance(engine, TransformersEngine) or engine.decoder is not None:
            raise ValueError(f"G2 needs a TransformersEngine without a decoder, got {engine!r}")
        rows = [Answers([], []) for _ in prompts]
        for turn in range(n):
            for places in _apart(engine, prompts):
                drawn = draw_each(
                    self._guided(engine, [(prompts[i], rows[i].texts) for i in places]),
                    [(prompts[i], 1) for i in places],
                    later(sampling, turn),
                )
                for i, answer in zip(places, drawn, strict=True):
                    rows[i] = joined([rows[i], answer])
        kept = [PLAINLY, *["guided"] * (n - 1)]
        details = [Record(row.cost).details(kept[: len(row.texts)], n) for row in rows]
        return collected(prompts, rows, details)

    def describe(self) -> dict[str, Any]:
        """Return the name and the options."""
        return {
            "name": "g2",
            "shown": self.shown,
            "weight": self.weight,
            "min_entropy": self.min_entropy,
            "kernel": self.kernel.name,
        }

    def _guided(
        self, engine: TransformersEngine, asked: Sequence[tuple[Prompt, list[str]]]
    ) -> TransformersEngine:
        """Return the engine with guides for the prompts that have been answered before."""
        if self.weight == 0 or not any(answers for _, answers in asked):
            return engine
        guides: dict[tuple[int, ...], Guides] = {}
        for prompt, answers in asked:
            ids = tuple(engine.token_ids(prompt))
            said = [text for text in map(without_thinking, answers) if text.strip()]
            shown = self.choose(said)
            toward, away = (guide_prompt(prompt, shown, how) for how in (DIFFER, REPEAT))
            pair = (engine.token_ids(toward), engine.token_ids(away))
            guides[ids] = pair if shown else (ids, ids)  # two equal guides push nowhere
        return engine.with_decoder(Guidance(guides, self.weight, self.min_entropy))

    def choose(self, answers: Sequence[str]) -> list[str]:
        """Return the answers to show: the last, and then those farthest from the chosen ones."""
        if len(answers) <= self.shown:
            return list(answers)
        picked = farthest_point(self.kernel(answers), self.shown, first=len(answers) - 1)
        return [answers[i] for i in sorted(picked)]


def guide_prompt(prompt: Prompt, answers: Sequence[str], how: str) -> Prompt:
    """Put earlier answers, and what to do about them, before the last turn of the user.

    Example:
        >>> print(guide_prompt("Name a fruit.", ["Fig."], "Name another."))
        Name another.
        <BLANKLINE>
        Answer 1: Fig.
        <BLANKLINE>
        The request: Name a fruit.
    """
    listed = [f"Answer {number}: {text}" for number, text in enumerate(answers, 1)]
    request = f"The request: {last_user_text(prompt)}"
    return with_user_text(prompt, "\n\n".join([how, *listed, request]))


def _apart(engine: TransformersEngine, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Sort places into rounds that hold no prompt twice: guides are found by the prompt's tokens."""
    seen: Counter[tuple[int, ...]] = Counter()
    rounds: list[list[int]] = []
    for place, prompt in enumerate(prompts):
        ids = tuple(engine.token_ids(prompt))
        if seen[ids] == len(rounds):
            rounds.append([])
        rounds[seen[ids]].append(place)
        seen[ids] += 1
    return rounds
