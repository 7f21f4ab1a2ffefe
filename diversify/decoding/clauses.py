"""A sentence behind the request: stand out from other answers, or meet a specification."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from diversify.decoding.asking import (
    Ask,
    draw_variants,
    last_user_text,
    stream_of,
    with_user_text,
)
from diversify.decoding.prompting import PLAIN, Direct, Strategy
from diversify.engines import Engine, Generations, Prompt, Sampling
from diversify.kernels import check_integer

__all__ = ["CLAUSE", "FACETS", "DivergeClause", "Specifications", "read_facets"]

CLAUSE = (
    "Many others are answering this same request. Answer it well, and so that your answer stands "
    "out from the ones that they will give."
)


def read_facets(text: str) -> dict[str, list[str]]:
    r"""Read facets, one a line: a name, a colon, and the choices with commas between.

    Raises:
        ValueError: A line has no colon or no choices, or a name comes twice.

    Example:
        >>> read_facets("tone: dry, warm\nlength: a line, a page")
        {'tone': ['dry', 'warm'], 'length': ['a line', 'a page']}
    """
    facets: dict[str, list[str]] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, _, listed = line.partition(":")
        choices = [choice.strip() for choice in listed.split(",") if choice.strip()]
        if not choices or name.strip() in facets:
            raise ValueError(f"a facet is a line like 'tone: dry, warm', each once, got {line!r}")
        facets[name.strip()] = choices
    return facets


FACETS = read_facets("""
tone: dry, warm, playful, solemn, ironic, matter-of-fact, tender, restless, deadpan, hopeful
place: a harbour, a mountain valley, a crowded market, a kitchen at night, a desert road, a \
laboratory, a suburb, a ship, a hospital, an old library
time: long before machines, a hundred years ago, somebody's childhood, today, the far future, one \
single minute, a whole lifetime, the middle of winter
point of view: a child, someone who has done it all their life, a sceptic, a newcomer, someone with \
very little money, an animal or a thing, a whole community, someone who changed their mind
emphasis: what it costs, what is usually overlooked, a single telling detail, how it feels, how it \
works, what goes wrong, who is affected, how it began
field to draw on: music, farming, medicine, sport, law, weather, mathematics, cooking, architecture, \
the life of animals, trade, religion
""")
"""What an answer can differ in, and how; for requests that leave room."""

WITH = "Where the request leaves room for it, the answer is to have:\n{specification}"


@dataclass(frozen=True)
class DivergeClause:
    """Put one sentence behind the request: the answer is to stand out from those of others.

    It tells the model what it is up against, which "be creative" does not. It goes with any other
    strategy: `DivergeClause(Stratified())` asks for directions and answers under the clause.

    Cost: that of the strategy within; each call reads about 25 tokens more.

    Args:
        strategy: how the prompts with the clause are asked.
        clause: the sentence.

    Raises:
        ValueError: The clause is blank; when called, a prompt has no turn of the user, or what the
            strategy raises.

    Reference:
        The population-referential instruction of Ibrahim, Azad and Baten, "Anchorless
        Diversification for Parallel LLM Ideation", arXiv 2605.30150. The wording is ours.
    """

    strategy: Strategy = field(default_factory=Direct)
    clause: str = field(default=CLAUSE, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.clause, str) or not self.clause.strip():
            raise ValueError(f"clause must be a sentence, got {self.clause!r}")

    def __call__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        n: int,
        sampling: Sampling = PLAIN,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Generations:
        """Let the strategy answer the prompts with the clause; the record shows them without."""
        asked = [with_user_text(p, f"{last_user_text(p)}\n\n{self.clause}") for p in prompts]
        drawn = self.strategy(engine, asked, n, sampling, columns=columns)
        return Generations(list(prompts), drawn.texts, drawn.truncated, drawn.details)

    def describe(self) -> dict[str, Any]:
        """Return the name, the options and the strategy within."""
        return {"name": "diverge", "clause": self.clause, "strategy": self.strategy.describe()}


@dataclass(frozen=True)
class Specifications:
    """Give each answer a specification of its own, picked at random by the seed.

    Asking a model to be random does not make it so; here code throws the dice and the model writes
    to order. Each answer gets `count` facets with one choice each. Choices come from shuffled decks,
    one for each facet, so that none comes again before the others of its facet came; no two
    answers get the same specification while there are others.

    The model is told to follow it where the request leaves room: on a question of fact there is
    none, and instructed models then write flourishes. Judge the answers against the plain prompt.

    Cost: n calls and n completions a prompt; each call reads about 30 tokens more.

    Args:
        facets: name -> choices. The shipped list by default, for texts.
        count: facets of one answer, 1 to the number of facets.

    Raises:
        ValueError: There are no facets, one has no choices or blank ones, or `count` is
            impossible; when called, `n` is below 1 or a prompt has no turn of the user.

    Reference:
        Zhang, Xin and Zhong, "Where You Inject Diversity Matters: A Unified Framework for Diverse
        Generation", arXiv 2606.10302: what varies in a specification reaches the output, what
        varies in random words before the prompt does not. Deviation: there a model writes the
        specifications; here they come from a list. Facets and wording are ours.
    """

    facets: Mapping[str, Sequence[str]] = field(default_factory=lambda: FACETS)
    count: int = field(default=2, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.facets, Mapping) or not self.facets:
            raise ValueError(f"facets must map names to choices, got {self.facets!r}")
        for name, choices in self.facets.items():
            if isinstance(choices, str) or not choices or not all(_is_text(c) for c in choices):
                raise ValueError(f"facet {name!r} must have a list of texts, got {choices!r}")
        check_integer("count", self.count, 1, len(self.facets))

    def __call__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        n: int,
        sampling: Sampling = PLAIN,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Generations:
        """Draw `n` answers a prompt, each to its own specification; `columns` play no part.

        Returns:
            Generations; `kept` in the `details` has the specification of each answer.
        """
        del columns
        check_integer("n", n, 1)
        asks = []
        for prompt in prompts:
            row = []
            for specification in self.pick(n, stream_of(sampling.seed, prompt)):
                lines = [f"{name}: {choice}" for name, choice in specification]
                wish = WITH.format(specification="\n".join(f"- {line}" for line in lines))
                asked = with_user_text(prompt, f"{last_user_text(prompt)}\n\n{wish}")
                row.append(Ask(asked, 1, ", ".join(lines)))
            asks.append(row)
        return draw_variants(engine, prompts, asks, n, sampling)

    def pick(self, n: int, stream: np.random.Generator) -> list[tuple[tuple[str, str], ...]]:
        """Return `n` specifications: pairs of a facet and its choice, in the order of the facets.

        Example:
            >>> facets = {"tone": ["dry", "warm"], "length": ["a line", "a page"]}
            >>> sorted(Specifications(facets, count=1).pick(4, np.random.default_rng(0)))[0]
            (('length', 'a line'),)
        """
        names = list(self.facets)
        of_facets = _Deck(names, stream)
        decks = {name: _Deck(list(dict.fromkeys(self.facets[name])), stream) for name in names}
        sizes = [len(deck.cards) for deck in decks.values()]
        possible = sum(math.prod(chosen) for chosen in combinations(sizes, self.count))
        picked: list[tuple[tuple[str, str], ...]] = []
        seen: set[tuple[tuple[str, str], ...]] = set()
        while len(picked) < n:
            chosen = of_facets.deal(self.count)
            found = tuple((name, decks[name].deal(1)[0]) for name in names if name in chosen)
            if found not in seen or len(seen) == possible:
                picked.append(found)
                seen.add(found)
        return picked

    def describe(self) -> dict[str, Any]:
        """Return the name, the options, and how many facets of which content there are."""
        content = json.dumps({name: list(choices) for name, choices in self.facets.items()})
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        return {
            "name": "specifications",
            "facets": len(self.facets),
            "count": self.count,
            "sha256": digest,
        }


class _Deck:
    """Cards in random order, shuffled anew when they run out."""

    def __init__(self, cards: Sequence[str], stream: np.random.Generator) -> None:
        self.cards = cards
        self.left: list[str] = []
        self.stream = stream

    def deal(self, count: int) -> list[str]:
        """Return so many different cards, no more than there are."""
        dealt = self.left[:count]
        self.left = self.left[count:]
        if len(dealt) < count:
            order = [self.cards[i] for i in self.stream.permutation(len(self.cards))]
            fresh = [card for card in order if card not in dealt][: count - len(dealt)]
            self.left = [card for card in order if card not in fresh]
            dealt += fresh
        return dealt


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
