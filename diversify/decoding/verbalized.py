"""Verbalized sampling: ask for several answers with their probabilities in one completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from diversify.decoding.asking import (
    Answers,
    collected,
    draw_each,
    last_user_text,
    later,
    stream_of,
    with_user_text,
)
from diversify.decoding.lists import PLACEHOLDER, ListedAnswer, read_answers, without_thinking
from diversify.decoding.prompting import PLAIN
from diversify.decoding.records import PLAINLY, Cost, Record
from diversify.engines import Engine, Generations, Prompt, Sampling, as_messages
from diversify.kernels import check_integer

__all__ = ["Variant", "Verbalized", "list_weights"]

Variant: TypeAlias = Literal["standard", "cot", "multi_turn"]

LIST = (
    "Do not give one answer to this but {count} different ones, picked at random from {source}. "
    "{thinking}Write each of them in full, in this form:\n"
    "<response>\n<text>{placeholder}</text>\n{probability}</response>\n"
    "Write nothing {outside}."
)
EVERYTHING = "everything you could answer"
TAIL = (
    "the unusual part of everything you could answer: you would give each of them with a "
    "probability below {threshold:g}"
)
THINKING = (
    "First think, in a few sentences between <thinking> and </thinking>, about what answers there "
    "could be and how they could differ. "
)
PROBABILITY = "<probability>how likely you are to give it, from 0 to 1</probability>\n"
MORE = "Now {count} more answers to the same, different from all of those above, in the same form."


@dataclass(frozen=True)
class Verbalized:
    """Ask for `per_call` answers and their probabilities at once, until there are `n`.

    A model that is asked for one answer gives its favourite; asked for a list and for
    probabilities, it gives a part of the distribution that it could answer from. The probabilities
    mainly frame the request: they are on record, and decide nothing unless `resample` says so. A
    list is read as tags, JSON or a numbered list; what is blank or cut off is left out.

    Calls whose list cannot be read are repeated, all in all at most `rounds` times the calls that
    `n` answers need. **After that a prompt may have fewer than `n` answers, or none**: rows of the
    result differ in length then, and `details` counts what is missing; with `fill` the rest is drawn
    plainly, and noted. When there are more than `n`, a random `n` of them stay, in order: the
    first of a list are its most typical.

    Cost: about n / `per_call` calls a prompt, each allowed `per_call` times the tokens of one
    answer; in tokens written about as much as n plain answers. `"cot"` writes its thoughts, too;
    `"multi_turn"` asks one call after the other and reads all earlier lists in each. Answers of one
    list are no independent draws, and tend to be shorter than plain ones.

    Args:
        per_call: answers a call, 1 or more; 5 in the paper, up to 20 work with large models.
        variant: `"standard"` asks for lists side by side; `"cot"` lets the model think before each;
            `"multi_turn"` asks, in one conversation, for more that differ from those so far.
        probabilities: whether to ask for probabilities, too.
        threshold: ask for answers of a probability below this, in (0, 1]: for the tail. Lower is
            more diverse in creative tasks; on questions of fact, much below 0.1 breaks the
            lists. What the model then says is not checked. None asks for any.
        resample: whether the `n` are drawn from what was listed, with replacement and by the stated
            probabilities (`list_weights`), instead of used as listed. An estimate of what the model
            would answer: common answers come back, and the numbers are not calibrated.
        rounds: limit of the calls, in multiples of what would be enough, 1 or more.
        fill: whether answers that are still missing are drawn plainly.

    Raises:
        ValueError: An option is impossible, or needs probabilities that are not asked for; when
            called, `n` is below 1 or a prompt has no user turn.

    Reference:
        J. Zhang et al., "Verbalized Sampling: How to Mitigate Mode Collapse and Unlock LLM
        Diversity", arXiv 2510.01171. Deviations: the request stands behind the user's text and is
        worded by us; answers are used as listed unless `resample` is set.
    """

    per_call: int = 5
    variant: Variant = field(default="standard", kw_only=True)
    probabilities: bool = field(default=True, kw_only=True)
    threshold: float | None = field(default=None, kw_only=True)
    resample: bool = field(default=False, kw_only=True)
    rounds: int = field(default=3, kw_only=True)
    fill: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        check_integer("per_call", self.per_call, 1)
        check_integer("rounds", self.rounds, 1)
        if self.variant not in get_args(Variant):
            raise ValueError(
                f"variant must be one of {list(get_args(Variant))}, got {self.variant!r}"
            )
        if self.threshold is not None and not 0.0 < self.threshold <= 1.0:
            raise ValueError(f"threshold must be in (0, 1] or None, got {self.threshold}")
        if not self.probabilities and (self.resample or self.threshold is not None):
            raise ValueError("threshold and resample need probabilities, which are not asked for")

    def __call__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        n: int,
        sampling: Sampling = PLAIN,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Generations:
        """Ask until there are `n` answers a prompt, or the limit is reached; `columns` play no part.

        Returns:
            Generations of at most `n` texts a prompt. `failed` in the `details` counts unreadable
            lists, `dropped` has the answers that were too many, `kept` says from which list an
            answer is; and `probabilities` has what was said of it (None where there is nothing).
        """
        del columns
        check_integer("n", n, 1)
        lists = [_Lists() for _ in prompts]
        long = sampling.at(
            max_tokens=(self.per_call + (self.variant == "cot")) * sampling.max_tokens
        )
        draw = self._converse if self.variant == "multi_turn" else self._ask_side_by_side
        draw(engine, prompts, lists, n, long)
        missing = [n - found.usable(n, self.resample) if self.fill else 0 for found in lists]
        plain = draw_each(engine, list(zip(prompts, missing, strict=True)), sampling)
        rows, details = [], []
        for prompt, found, more in zip(prompts, lists, plain, strict=True):
            stream = stream_of(sampling.seed, prompt)
            places = found.redraw(n, stream) if self.resample else found.thin(n, stream)
            listed = [found.answers[place] for place in places]
            whole = [False] * len(listed) if found.flagged else []
            rows.append(Answers([a.text for a in listed] + more.texts, whole + more.truncated))
            record = Record(found.cost + more.cost)
            record.fail("unreadable list", found.unreadable)
            unused = sorted({*range(len(found.answers))}.difference(places))
            why = "not drawn by its probability" if self.resample else "more than were wanted"
            record.drop((found.answers[place].text for place in unused), why)
            kept = [found.note(place) for place in places] + [PLAINLY] * len(more.texts)
            said = [a.probability for a in listed] + [None] * len(more.texts)
            details.append(record.details(kept, n, probabilities=said))
        return collected(prompts, rows, details)

    def ask(self, prompt: Prompt) -> Prompt:
        """Return the prompt with the wish for a list behind it."""
        source = EVERYTHING if self.threshold is None else TAIL.format(threshold=self.threshold)
        wish = LIST.format(
            count=self.per_call,
            source=source,
            thinking=THINKING if self.variant == "cot" else "",
            placeholder=PLACEHOLDER,
            probability=PROBABILITY if self.probabilities else "",
            outside="else" if self.variant == "cot" else "outside of these tags",
        )
        return with_user_text(prompt, f"{last_user_text(prompt)}\n\n{wish}")

    def describe(self) -> dict[str, Any]:
        """Return the name and the options."""
        return {"name": "verbalized", **asdict(self)}

    def _ask_side_by_side(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        lists: Sequence[_Lists],
        n: int,
        sampling: Sampling,
    ) -> None:
        """Ask for all lists that are needed at once, then again for what is missing."""
        asks = [self.ask(prompt) for prompt in prompts]
        for attempt in range(self.rounds):
            counts = [-(-max(0, n - len(found.answers)) // self.per_call) for found in lists]
            asked = list(zip(asks, counts, strict=True))
            drawn = draw_each(engine, asked, later(sampling, attempt))
            for found, answers in zip(lists, drawn, strict=True):
                found.read(answers)

    def _converse(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        lists: Sequence[_Lists],
        n: int,
        sampling: Sampling,
    ) -> None:
        """Ask for one list a turn; a list that cannot be read is no part of the conversation."""
        chats = [as_messages(self.ask(prompt)) for prompt in prompts]
        more = MORE.format(count=self.per_call)
        for turn in range(self.rounds * -(-n // self.per_call)):
            short = [i for i, found in enumerate(lists) if len(found.answers) < n]
            drawn = draw_each(engine, [(chats[i], 1) for i in short], later(sampling, turn))
            for i, answers in zip(short, drawn, strict=True):
                if lists[i].read(answers):
                    said = without_thinking(answers.texts[0]).strip()
                    chats[i] = [
                        *chats[i],
                        {"role": "assistant", "content": said},
                        {"role": "user", "content": more},
                    ]


@dataclass
class _Lists:
    """What the calls for one prompt have given so far."""

    lists: list[list[ListedAnswer]] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    unreadable: int = 0
    flagged: bool = True  # the engine says what was cut off

    @property
    def answers(self) -> list[ListedAnswer]:
        """All answers, list after list."""
        return list(chain.from_iterable(self.lists))

    def read(self, drawn: Answers) -> int:
        """Read the lists of some more calls; return how many answers there were."""
        self.cost += drawn.cost
        self.flagged &= bool(drawn.truncated) or not drawn.texts
        flags = drawn.truncated or [False] * len(drawn.texts)
        found = [
            read_answers(text, truncated=cut) for text, cut in zip(drawn.texts, flags, strict=True)
        ]
        self.unreadable += found.count([])
        self.lists += [each for each in found if each]
        return sum(map(len, found))

    def usable(self, n: int, resample: bool) -> int:
        """Return how many of `n` answers the lists can give."""
        return n if resample and self.lists else min(n, len(self.answers))

    def thin(self, n: int, stream: np.random.Generator) -> list[int]:
        """Return the places of at most `n` of the answers, which ones by chance, in their order."""
        return sorted(stream.permutation(len(self.answers))[:n].tolist())

    def redraw(self, n: int, stream: np.random.Generator) -> list[int]:
        """Draw `n` places with replacement: a list at random, of it an answer by its weight."""
        if not self.lists:
            return []
        weights = [list_weights([a.probability for a in each]) for each in self.lists]
        shares = np.concatenate(weights) / len(weights)
        return sorted(stream.choice(len(shares), size=n, p=shares / shares.sum()).tolist())

    def note(self, place: int) -> str:
        """Say which list an answer comes from, and what the model said of it."""
        number = next(
            i for i, end in enumerate(np.cumsum([len(a) for a in self.lists])) if place < end
        )
        said = self.answers[place].probability
        return f"list {number + 1}" + ("" if said is None else f", said probability {said:g}")


def list_weights(probabilities: Sequence[float | None]) -> NDArray[np.float64]:
    r"""Turn the stated probabilities of one list into weights that add up to 1.

    .. math:: w_i = p_i / \sum_j p_j

    Models state probabilities that add up to anything. Where none is stated, the mean of the others
    stands in; where nothing is stated, or all is 0, every answer weighs the same.

    Args:
        probabilities: in [0, 1], or None; at least one.

    Returns:
        Weights (k,).

    Example:
        >>> print(list_weights([0.1, 0.3, None]).round(3))
        [0.167 0.5   0.333]
    """
    stated = [p for p in probabilities if p is not None]
    mean = sum(stated) / len(stated) if stated else 0.0
    filled = np.array([mean if p is None else p for p in probabilities])
    total = filled.sum()
    return filled / total if total > 0 else np.full(len(filled), 1 / len(filled))
