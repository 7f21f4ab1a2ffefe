"""An engine that answers by a function, counts its tokens, and remembers what it was asked."""

from collections.abc import Callable
from dataclasses import dataclass, field

from diversify.decoding.records import Cost
from diversify.engines import Generations, text_of


@dataclass
class AnsweringEngine:
    """Answers by `answer(prompt, number of the answer, sampling)`; a trailing … means cut off.

    A word is a token; only the last turn of a chat counts as read.
    """

    answer: Callable
    asked: list = field(default_factory=list)
    flags: bool = True
    counts: bool = True
    spent: Cost = field(default_factory=Cost)

    @property
    def identity(self):
        return {"model": "answering"}

    def generate(self, prompts, n, sampling):
        self.asked.append((list(prompts), n, sampling))
        texts = [[self.answer(prompt, i, sampling) for i in range(n)] for prompt in prompts]
        cut = [[text.endswith("…") for text in row] for row in texts] if self.flags else []
        read = [len(text_of(prompt).split()) for prompt in prompts]
        written = [sum(len(text.split()) for text in row) for row in texts]
        for tokens in zip(read, written, strict=True):
            self.spent += Cost(1, n, *tokens)
        pairs = [{"tokens": {"read": r, "written": w}} for r, w in zip(read, written, strict=True)]
        return Generations(list(prompts), texts, cut, pairs if self.counts else [])

    @property
    def completions(self):
        return sum(len(prompts) * n for prompts, n, _ in self.asked)


def listing(*answers, probability=0.1):
    return "\n".join(
        f"<response>\n<text>{a}</text>\n<probability>{probability}</probability>\n</response>"
        for a in answers
    )
