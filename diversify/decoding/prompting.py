"""Strategies that only choose what is asked: how `n` completions of a prompt are drawn.

Every one is a frozen dataclass with the call of `Strategy`. What they share is in `asking`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from diversify.decoding.asking import (
    Answers,
    Ask,
    bare,
    dealt,
    draw_each,
    draw_variants,
    last_user_text,
    stream_of,
    with_system,
    with_user_text,
)
from diversify.decoding.personas import PERSONAS
from diversify.decoding.records import PLAINLY, Record
from diversify.engines import Engine, Generations, Prompt, Sampling
from diversify.kernels import check_integer

__all__ = ["PLAIN", "Direct", "Paraphrases", "Personas", "Strategy"]

PLAIN = Sampling()

MANNER = "Answer in your own way, and do not say who you are."
"""Stands behind every persona."""

REPHRASE = (
    "Say the following request in other words. Whoever reads only your version must be asked for "
    "exactly the same thing, under the same conditions. Do not answer the request. Reply with the "
    "new version and nothing else.\n\nThe request:\n"
)
LABEL = re.compile(r"\A\s*(?:the request:\s*)+", re.IGNORECASE)
"""How `REPHRASE` ends, which a model may repeat."""


class Strategy(Protocol):
    """A way to get `n` completions a prompt out of an engine.

    A model's bad text never raises: it is counted in the `details` of its prompt, which are the
    same for all strategies (`asking.DETAILS`).
    """

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

    The strategy to compare every other one with.

    Cost: 1 call and n completions a prompt.
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
        """Draw `n` completions for each prompt; `columns` play no part.

        Raises:
            ValueError: `n` is below 1.
        """
        del columns
        check_integer("n", n, 1)
        asks = [[Ask(prompt, n, PLAINLY)] for prompt in prompts]
        return draw_variants(engine, prompts, asks, n, sampling)

    def describe(self) -> dict[str, Any]:
        """Return the name; there are no options."""
        return {"name": "direct"}


@dataclass(frozen=True)
class Personas:
    """Let another person answer each time: one persona in the system prompt of each completion.

    The personas are shuffled for each prompt by `Sampling.seed`, so that a data set of many prompts
    hears all of them. When `n` exceeds their number, the first of the order answer once more.

    Cost: n calls and n completions a prompt (fewer calls when personas answer more than once).

    Args:
        personas: sentences that say who the model is; many that differ do more than detailed ones.
            The shipped list by default.

    Raises:
        ValueError: There is no persona, or a blank one; when called, `n` is below 1.

    Reference:
        Prompts by personas: T. Ge et al., "Scaling Synthetic Data Creation with 1,000,000,000
        Personas", arXiv 2406.20094. The list and its wording are ours.
    """

    personas: Sequence[str] = PERSONAS

    def __post_init__(self) -> None:
        if isinstance(self.personas, str) or not self.personas:
            raise ValueError(f"personas must be a list of sentences, got {self.personas!r}")
        if not all(isinstance(each, str) and each.strip() for each in self.personas):
            raise ValueError("a persona must be a sentence, and one of these is blank or no text")

    def __call__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        n: int,
        sampling: Sampling = PLAIN,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Generations:
        """Draw `n` completions a prompt, each by another persona; `columns` play no part.

        Returns:
            Generations; `kept` in the `details` says for each text which persona said it.
        """
        del columns
        check_integer("n", n, 1)
        asks = []
        for prompt in prompts:
            order = stream_of(sampling.seed, prompt).permutation(len(self.personas))[:n]
            people = [self.personas[who] for who in order]
            ways = [(with_system(prompt, f"{person} {MANNER}"), person) for person in people]
            asks.append(dealt(n, ways))
        return draw_variants(engine, prompts, asks, n, sampling)

    def describe(self) -> dict[str, Any]:
        """Return the name, and how many personas of which content there are."""
        digest = hashlib.sha256(json.dumps(list(self.personas)).encode()).hexdigest()[:16]
        return {"name": "personas", "count": len(self.personas), "sha256": digest}


@dataclass(frozen=True)
class Paraphrases:
    """Ask in other words: the engine rephrases the prompt, and the answers spread over all of them.

    The last turn of the user is rephrased, as many times as `count` says but no more than there
    are other answers to ask for. A paraphrase that is blank, cut off, or a copy is left out. The
    original takes part; the answers are dealt out evenly, the original first.

    A weak lever by itself: the same model often gives the same answer to another wording.

    Cost: 1 call and up to `count` completions for the paraphrases, then 1 call each and n
    completions a prompt in all.

    Args:
        count: paraphrases that are asked for, 1 or more.

    Raises:
        ValueError: `count` is below 1; when called, `n` is below 1 or a prompt has no user turn.

    Reference:
        One of the baselines in Y. Zhang et al., "NoveltyBench: Evaluating Language Models for
        Humanlike Diversity", arXiv 2504.05228, which has its paraphrases written beforehand.
    """

    count: int = 4

    def __post_init__(self) -> None:
        check_integer("count", self.count, 1)

    def __call__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        n: int,
        sampling: Sampling = PLAIN,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Generations:
        """Draw `n` completions a prompt, from it and its paraphrases; `columns` play no part.

        Returns:
            Generations, those of the original first; `kept` in the `details` has the paraphrase of
            each text, and `failed` those that were blank, cut off or copies.
        """
        del columns
        check_integer("n", n, 1)
        wanted = min(self.count, n - 1)
        rephrasing = [(REPHRASE + last_user_text(prompt), wanted) for prompt in prompts]
        asks, records = [], []
        for prompt, answers in zip(prompts, draw_each(engine, rephrasing, sampling), strict=True):
            used, failed = usable_paraphrases(last_user_text(prompt), answers)
            ways = [(prompt, "original")]
            ways += [(with_user_text(prompt, text), f"in other words: {text}") for text in used]
            asks.append(dealt(n, ways))
            records.append(Record(answers.cost, failed=failed))
        return draw_variants(engine, prompts, asks, n, sampling, records=records)

    def describe(self) -> dict[str, Any]:
        """Return the name and the options."""
        return {"name": "paraphrases", "count": self.count}


def usable_paraphrases(original: str, answers: Answers) -> tuple[list[str], Counter[str]]:
    """Keep the paraphrases that are whole and new.

    Args:
        original: what was to be rephrased.
        answers: the attempts.

    Returns:
        Those to use, and how many of the others failed for what reason.

    Example:
        >>> usable_paraphrases("Name a fruit.", Answers(['"Which fruit?"', "name a fruit"], []))
        (['Which fruit?'], Counter({'copied paraphrase': 1}))
    """
    counts: Counter[str] = Counter()
    seen, used = {bare(original)}, []
    flags = answers.truncated or [False] * len(answers.texts)
    for attempt, cut in zip(answers.texts, flags, strict=True):
        text = LABEL.sub("", attempt).strip().strip('"“”').strip()
        if cut or not bare(text):
            counts["blank or cut off paraphrase"] += 1
        elif bare(text) in seen:
            counts["copied paraphrase"] += 1
        else:
            used.append(text)
        seen.add(bare(text))
    return used, counts
