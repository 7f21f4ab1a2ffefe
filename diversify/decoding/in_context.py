"""In-context regeneration: each answer is asked for in sight of the ones before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from diversify.decoding.asking import Answers, bare, collected, draw_each, joined
from diversify.decoding.lists import without_thinking
from diversify.decoding.prompting import PLAIN
from diversify.decoding.records import Record
from diversify.engines import Engine, Generations, Prompt, Sampling, as_messages
from diversify.kernels import check_integer

__all__ = ["AGAIN", "InContext"]

AGAIN = (
    "Now give a different answer to the same request: one that has as little as possible in common "
    "with your answers so far. Reply with that answer alone."
)


@dataclass(frozen=True)
class InContext:
    """Ask again and again in one conversation, each time for an answer unlike those before.

    The model sees its own last `window` answers. A blank answer is not shown to it; an answer that
    repeats an earlier one word for word is. Both stay among the `n` and are counted, as everything
    is that was drawn.

    The answers are no independent draws: quality and relevance tend to fall along the row, later
    ones vary the theme of earlier ones, and a small model copies what it sees. Keep their order.

    Cost: n calls one after the other, n completions a prompt. With answers of L tokens, call k
    reads about min(k - 1, `window`) * L tokens besides the prompt: the square of n up to the
    window, unless the server keeps the beginning of a conversation. The k-th answers of all prompts
    are drawn in one call of the engine.

    Args:
        window: most earlier answers in sight, 1 or more.
        again: how another answer is asked for.

    Raises:
        ValueError: An option is impossible; when called, `n` is below 1.

    Reference:
        The strategy that comes closest to people in Y. Zhang et al., "NoveltyBench: Evaluating
        Language Models for Humanlike Diversity", arXiv 2504.05228. Deviations: our wording, and the
        window; from `n` - 1 on it shows all answers, as there.
    """

    window: int = 16
    again: str = field(default=AGAIN, kw_only=True)

    def __post_init__(self) -> None:
        check_integer("window", self.window, 1)
        if not isinstance(self.again, str) or not self.again.strip():
            raise ValueError(f"again must ask for another answer, got {self.again!r}")

    def __call__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        n: int,
        sampling: Sampling = PLAIN,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Generations:
        """Draw `n` answers a prompt, one after the other; `columns` play no part.

        Returns:
            Generations, in the order of drawing; `failed` in the `details` counts blank answers
            and copies of earlier ones, which are kept.
        """
        del columns
        check_integer("n", n, 1)
        found: list[list[Answers]] = [[] for _ in prompts]
        for _ in range(n):
            asked = [
                (self.ask(prompt, [a.texts[0] for a in answers]), 1)
                for prompt, answers in zip(prompts, found, strict=True)
            ]
            for answers, drawn in zip(found, draw_each(engine, asked, sampling), strict=True):
                if drawn.texts:
                    answers.append(drawn)
        rows = [joined(answers) for answers in found]
        details = []
        for row in rows:
            record, kept = Record(row.cost), []
            seen: set[str] = set()
            for number, text in enumerate(row.texts, start=1):
                why = "" if text.strip() else "blank answer"
                why = why or ("copy of an earlier answer" if bare(text) in seen else "")
                if why:
                    record.fail(why)
                seen.add(bare(text))
                kept.append(f"turn {number}" + (f", {why}" if why else ""))
            details.append(record.details(kept, n))
        return collected(prompts, rows, details)

    def ask(self, prompt: Prompt, answers: Sequence[str]) -> Prompt:
        """Return the conversation that asks for one more answer.

        Example:
            >>> [m["role"] for m in InContext().ask("A fruit?", ["fig", " "])]
            ['user', 'assistant', 'user']
        """
        shown = [text for text in map(without_thinking, answers) if text.strip()][-self.window :]
        if not shown:
            return prompt
        chat = as_messages(prompt)
        for text in shown:
            chat += [
                {"role": "assistant", "content": text},
                {"role": "user", "content": self.again},
            ]
        return chat

    def describe(self) -> dict[str, Any]:
        """Return the name and the options."""
        return {"name": "in_context", **asdict(self)}
