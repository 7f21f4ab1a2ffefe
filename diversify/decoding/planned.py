"""Plan first: one call names what the answers shall differ in, then each is written by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diversify.decoding.asking import (
    Answers,
    bare,
    dealt,
    draw_each,
    draw_variants,
    last_user_text,
    with_user_text,
)
from diversify.decoding.lists import read_answers
from diversify.decoding.prompting import PLAIN
from diversify.decoding.records import PLAINLY, Record
from diversify.engines import Engine, Generations, Prompt, Sampling
from diversify.kernels import check_integer

__all__ = ["Stratified", "TitlesFirst", "read_plan"]

DIRECTIONS = (
    "Do not answer the request below. Name {count} directions that an answer to it could take. They "
    "must differ in what the answer is about or how it goes about it, not only in tone, style or "
    "length, and none may name a finished answer. Write them as a list numbered from 1, each in a "
    "few words on a line of its own, and nothing else.\n\nThe request:\n"
)
DIRECTION = "Let your answer go in this direction, without speaking of it: {item}"
TITLES = (
    "Do not answer the request below yet. Give titles for {count} answers to it that have as little "
    "as possible in common. Write them as a list numbered from 1, each on a line of its own, and "
    "nothing else.\n\nThe request:\n"
)
TITLE = "Write the answer that has this title, without the title itself: {item}"

LINE_TOKENS = 40
"""Room for a line of the plan, where answers are allowed fewer tokens than the plan needs."""


@dataclass(frozen=True)
class Stratified:
    """Ask once for directions that an answer could take, then for one answer along each.

    Temperature moves words; directions move what is said. The directions are named in sight of
    each other, so they differ, and the answers along them are drawn side by side. When the plan
    has fewer directions than wanted, the answers are dealt out over those there are, and where there
    is none the prompt is asked plainly; both are counted. A single answer needs no plan.

    A weak model names finished answers or ignores its direction. `DivergeClause(Stratified())` is
    the pair that does best in the paper.

    Cost: 1 call for the plan and n calls for n answers a prompt, n + 1 completions; the plan is
    about ten tokens a direction. With fewer directions than answers, one call a direction.

    Args:
        directions: most directions of a plan, 2 or more; no more than answers are asked for.

    Raises:
        ValueError: `directions` is below 2; when called, `n` is below 1 or a prompt has no turn of
            the user.

    Reference:
        Ibrahim, Azad and Baten, "Anchorless Diversification for Parallel LLM Ideation", arXiv
        2605.30150; before it J. Wong et al., "SimpleStrat: Diversifying Language Model Generation
        with Stratification", arXiv 2410.09038. Deviations: our wording; the answers are dealt out
        evenly over the directions, and none is drawn by a probability.
    """

    directions: int = 20

    def __post_init__(self) -> None:
        check_integer("directions", self.directions, 2)

    def __call__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        n: int,
        sampling: Sampling = PLAIN,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Generations:
        """Draw `n` answers a prompt along directions; `columns` play no part.

        Returns:
            Generations; `kept` in the `details` has the direction of each answer, and `failed`
            counts the directions that were missing from the plan.
        """
        del columns
        return answer_by_plan(
            engine, prompts, n, sampling, most=self.directions, plan=DIRECTIONS, along=DIRECTION
        )

    def describe(self) -> dict[str, Any]:
        """Return the name and the options."""
        return {"name": "stratified", "directions": self.directions}


@dataclass(frozen=True)
class TitlesFirst:
    """Ask once for the titles of answers that differ, then write the answer of each title.

    For stories, poems, plans: whatever has a title. The idea of an answer is settled where it is
    cheap and all ideas are in sight of each other. Failures are met as by `Stratified`.

    Cost: 1 call for the titles and n calls for n answers a prompt, n + 1 completions.

    Args:
        titles: most titles of a plan, 2 or more; no more than answers are asked for.

    Raises:
        ValueError: `titles` is below 2; when called, `n` is below 1 or a prompt has no turn of the
            user.

    Reference:
        Deng, Brucks and Toubia, "Examining and Addressing Barriers to Diversity in LLM-Generated
        Ideas", arXiv 2602.20408, whose chain of thought lists short titles first. Deviation: each
        answer is then written by itself; the wording is ours.
    """

    titles: int = 20

    def __post_init__(self) -> None:
        check_integer("titles", self.titles, 2)

    def __call__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        n: int,
        sampling: Sampling = PLAIN,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Generations:
        """Draw `n` answers a prompt, each to a title; `columns` play no part.

        Returns:
            Generations; `kept` in the `details` has the title of each answer, and `failed` counts
            the titles that were missing.
        """
        del columns
        return answer_by_plan(
            engine, prompts, n, sampling, most=self.titles, plan=TITLES, along=TITLE
        )

    def describe(self) -> dict[str, Any]:
        """Return the name and the options."""
        return {"name": "titles_first", "titles": self.titles}


def answer_by_plan(
    engine: Engine,
    prompts: Sequence[Prompt],
    n: int,
    sampling: Sampling,
    *,
    most: int,
    plan: str,
    along: str,
) -> Generations:
    """Let the engine list at most so many items for each prompt, then answer along each.

    Args:
        engine: what answers.
        prompts: the prompts.
        n: answers a prompt.
        sampling: how plans and answers are drawn; a plan may be longer than an answer.
        most: items of a plan.
        plan: the wish for a plan, with `{count}`; the request is put behind it.
        along: what is put behind the request, with `{item}`.

    Raises:
        ValueError: `n` is below 1 or a prompt has no turn of the user.
    """
    check_integer("n", n, 1)
    wanted = min(most, n)
    count = int(wanted > 1)  # a single answer needs no plan
    planning = [
        (with_user_text(prompt, plan.format(count=wanted) + last_user_text(prompt)), count)
        for prompt in prompts
    ]
    long = sampling.at(max_tokens=max(sampling.max_tokens, LINE_TOKENS * wanted))
    asks, records = [], []
    for prompt, planned in zip(prompts, draw_each(engine, planning, long), strict=True):
        items = read_plan(planned)[:wanted]
        request = last_user_text(prompt)
        ways = [
            (with_user_text(prompt, f"{request}\n\n{along.format(item=item)}"), item)
            for item in items
        ]
        asks.append(dealt(n, ways or [(prompt, PLAINLY)]))
        records.append(Record(planned.cost))
        if count:
            records[-1].fail("missing from the plan", wanted - len(items))
    return draw_variants(engine, prompts, asks, n, sampling, records=records)


def read_plan(planned: Answers) -> list[str]:
    r"""Read the items of a plan: any form of list, each item once.

    Args:
        planned: the completion of the planning call, or none.

    Example:
        >>> read_plan(Answers(["1. by the sea\n2. **in a dream**\n3. By the sea"], [False]))
        ['by the sea', 'in a dream']
        >>> read_plan(Answers(["I would rather not."], [False]))
        []
    """
    flags = planned.truncated or [False] * len(planned.texts)
    items: dict[str, str] = {}
    for text, cut in zip(planned.texts, flags, strict=True):
        for answer in read_answers(text, truncated=cut):
            items.setdefault(bare(answer.text), " ".join(answer.text.split()))
    return [item for key, item in items.items() if key]
