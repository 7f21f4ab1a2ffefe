"""Strategies that only choose what is asked: how `n` completions of a prompt are drawn.

Every one is a frozen dataclass with the call of `Strategy`. What they share is in `asking`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from diversify.decoding.asking import (
    Answers,
    collected,
    draw_each,
    joined,
    last_user_text,
    stream_of,
    with_system,
    with_user_text,
)
from diversify.decoding.personas import PERSONAS
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
    """A way to get `n` completions a prompt out of an engine."""

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

    The strategy to compare every other one with. Costs n completions a prompt.
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
        """Draw `n` completions for each prompt; `columns` play no part."""
        del columns
        return engine.generate(prompts, n, sampling)

    def describe(self) -> dict[str, Any]:
        """Return the name; there are no options."""
        return {"name": "direct"}


@dataclass(frozen=True)
class Personas:
    """Let another person answer each time: one persona in the system prompt of each completion.

    The personas are shuffled for each prompt by `Sampling.seed`, so that a data set of many prompts
    hears all of them. When `n` exceeds their number, the first of the order answer once more.

    Cost: n completions a prompt, each of which reads its prompt for itself.

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
            Generations; `details` has, for each prompt, `completions` (the cost) and, for each
            text, who said it: its place in the list of `personas`.
        """
        del columns
        check_integer("n", n, 1)
        speakers: list[list[int]] = []
        for prompt in prompts:
            shuffled = stream_of(sampling.seed, prompt).permutation(len(self.personas))
            speakers.append(np.resize(shuffled, n).tolist())
        asked = [
            (with_system(prompt, f"{self.personas[who]} {MANNER}"), order.count(who))
            for prompt, order in zip(prompts, speakers, strict=True)
            for who in dict.fromkeys(order)
        ]
        drawn = iter(draw_each(engine, asked, sampling))
        answers, details = [], []
        for order in speakers:
            who = list(dict.fromkeys(order))
            found = [next(drawn) for _ in who]
            answers.append(joined(found))
            said = [each for each, a in zip(who, found, strict=True) for _ in a.texts]
            details.append({"completions": n, "personas": said})
        return collected(prompts, answers, details)

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

    Cost: up to `count` completions and n completions a prompt.

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
            Generations, those of the original first; `details` has, for each prompt, `completions`
            (the cost), the `paraphrases` that were used, how many `failed` (blank or cut off) or
            were `copied`, and how many `answers` the original and each paraphrase gave.
        """
        del columns
        check_integer("n", n, 1)
        wanted = min(self.count, n - 1)
        asks = [(REPHRASE + last_user_text(prompt), wanted) for prompt in prompts]
        drawn = draw_each(engine, asks, sampling) if wanted else [Answers([], [])] * len(prompts)
        details, asked = [], []
        for prompt, answers in zip(prompts, drawn, strict=True):
            used, counts = usable_paraphrases(last_user_text(prompt), answers)
            shares = [
                n // (len(used) + 1) + (i < n % (len(used) + 1)) for i in range(len(used) + 1)
            ]
            variants = [prompt, *(with_user_text(prompt, text) for text in used)]
            asked.append(list(zip(variants, shares, strict=True)))
            found = {"completions": wanted + n, "paraphrases": used, **counts, "answers": shares}
            details.append(found)
        flat = iter(draw_each(engine, [each for row in asked for each in row], sampling))
        return collected(prompts, [joined([next(flat) for _ in row]) for row in asked], details)

    def describe(self) -> dict[str, Any]:
        """Return the name and the options."""
        return {"name": "paraphrases", "count": self.count}


def usable_paraphrases(original: str, answers: Answers) -> tuple[list[str], dict[str, int]]:
    """Keep the paraphrases that are whole and new.

    Args:
        original: what was to be rephrased.
        answers: the attempts.

    Returns:
        Those to use, and how many `failed` or were `copied`.

    Example:
        >>> usable_paraphrases("Name a fruit.", Answers(['"Which fruit?"', "name a fruit", ""], []))
        (['Which fruit?'], {'failed': 1, 'copied': 1})
    """
    counts = {"failed": 0, "copied": 0}
    seen, used = {_bare(original)}, []
    flags = answers.truncated or [False] * len(answers.texts)
    for attempt, cut in zip(answers.texts, flags, strict=True):
        text = LABEL.sub("", attempt).strip().strip('"“”').strip()
        if cut or not _bare(text):
            counts["failed"] += 1
        elif _bare(text) in seen:
            counts["copied"] += 1
        else:
            used.append(text)
        seen.add(_bare(text))
    return used, counts


def _bare(text: str) -> str:
    """Return the words of a text and nothing else."""
    return " ".join(re.findall(r"\w+", text.casefold()))
