"""n different good answers to one prompt, and what became of everything that was drawn for them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from diversify.decoding.prompting import PLAIN, Strategy
from diversify.decoding.strategies import build_strategy
from diversify.embedders import load_embedder
from diversify.engines import Engine, Prompt, Sampling
from diversify.gates import Quality
from diversify.kernels import EmbeddingKernel, Kernel

if TYPE_CHECKING:
    from diversify.models import LoadedModel

__all__ = ["DifferentAnswers", "different"]


@dataclass(frozen=True)
class DifferentAnswers(Sequence[str]):
    """The answers to one prompt, as a sequence of texts, with their record.

    Args:
        prompt: what was asked.
        texts: the answers.
        details: the record of the strategy: `calls`, `completions`, `tokens`, `kept`, `dropped`,
            `failed`, `missing` and more.
        strategy: name and options of the strategy.
    """

    prompt: Prompt
    texts: list[str]
    details: dict[str, Any] = field(default_factory=dict)
    strategy: dict[str, Any] = field(default_factory=dict)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self.texts[index]

    def __len__(self) -> int:
        return len(self.texts)

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def table(self, *, width: int = 60) -> str:
        """Return what was tried, kept and dropped, and why, as aligned text.

        Args:
            width: longest text in a row; longer ones are cut.

        Example:
            >>> details = {"kept": ["turn 1"], "dropped": [{"text": "fig", "why": "copy"}]}
            >>> details |= {"calls": 2, "completions": 2, "failed": {"blank answer": 1}}
            >>> print(DifferentAnswers("A fruit?", ["a fig"], details).table())
            1 answer from 2 completions in 2 calls
            <BLANKLINE>
            kept     a fig             turn 1
            dropped  fig               copy
            failed   1 x blank answer
        """
        notes = self.details.get("kept") or [""] * len(self.texts)
        rows = [("kept", text, note) for text, note in zip(self.texts, notes, strict=True)]
        rows += [("dropped", each["text"], each["why"]) for each in self.details.get("dropped", [])]
        failed = self.details.get("failed", {})
        rows += [("failed", f"{times} x {why}", "") for why, times in failed.items()]
        if missing := self.details.get("missing"):
            rows.append(("missing", _count(missing, "answer"), ""))
        short = [(state, _line(text, width), _line(why, width)) for state, text, why in rows]
        widest = max((len(text) for _, text, _ in short), default=0)
        lines = [f"{state:<7}  {text:<{widest}}  {why}".rstrip() for state, text, why in short]
        return "\n".join([self._cost(), "", *lines])

    def _cost(self) -> str:
        completions, calls = self.details.get("completions"), self.details.get("calls")
        said = _count(len(self.texts), "answer")
        if completions is not None and calls is not None:
            said += f" from {_count(completions, 'completion')} in {_count(calls, 'call')}"
        tokens = self.details.get("tokens")
        return said + (
            f"; tokens: {tokens['read']} read, {tokens['written']} written" if tokens else ""
        )


def different(
    prompt: Prompt,
    n: int = 5,
    *,
    model: str | os.PathLike[str] | LoadedModel | Engine,
    strategy: str | Strategy = "over-generate",
    kernel: Kernel | None = None,
    quality: Mapping[str, Quality] | None = None,
    sampling: Sampling = PLAIN,
    **options: Any,
) -> DifferentAnswers:
    """Return `n` different good answers to one prompt.

    By default four times as many are drawn; of these the 60 % stay that have the most to do with
    the prompt, by the model's own probabilities, and of those `n` are picked that differ, by an
    embedder of sentences.

    Cost: that of the strategy; by default 1 call and 4 n completions, two readings of them by the
    model for the gate, and one by the embedder.

    Args:
        prompt: text, or a chat.
        n: how many answers.
        model: what `load_model` takes, a `LoadedModel`, or any engine.
        strategy: a name (see `build_strategy`) or a strategy.
        kernel: what tells answers apart; cosine of MiniLM by default.
        quality: name -> quality for the gate of `over-generate`. By default `PromptInformation`
            under the model itself; an engine that is given as `model` has no default, and nothing
            is gated then. `{}` gates nothing.
        sampling: how the answers are drawn.
        **options: of a strategy that is named, e.g. `factor=8`.

    Raises:
        ValueError: An option is impossible or goes with no part of the strategy, there is no such
            model, or `n` is below 1.

    Example:
        >>> from diversify.engines import Generations
        >>> class Fruits:
        ...     identity = {"model": "fruits"}
        ...     def generate(self, prompts, n, sampling):
        ...         return Generations(list(prompts), [["a fig", "fig", "kiwi", "lime"][:n]])
        >>> print(different("A fruit?", 3, model=Fruits(), strategy="direct").table())
        3 answers from 3 completions in 1 call
        <BLANKLINE>
        kept     a fig  plain
        kept     fig    plain
        kept     kiwi   plain
    """
    if not isinstance(strategy, str) and options:
        raise ValueError(f"{sorted(options)} are options of the strategy, which is made already")
    engine, gate = _engine(model)
    if isinstance(strategy, str):
        strategy = build_strategy(
            strategy,
            options,
            kernel=lambda: kernel or EmbeddingKernel(load_embedder("minilm")),
            quality=lambda: gate if quality is None else quality,
        )
    drawn = strategy(engine, [prompt], n, sampling)
    details = drawn.details[0] if drawn.details else {}
    return DifferentAnswers(prompt, drawn[0], details, strategy.describe())


def _engine(
    model: str | os.PathLike[str] | LoadedModel | Engine,
) -> tuple[Engine, Mapping[str, Quality]]:
    """Return an engine, and the qualities that come with a model of one's own."""
    if isinstance(model, Engine):
        return model, {}
    from diversify.engines.transformers import TransformersEngine
    from diversify.models import LoadedModel, load_model
    from diversify.quality import PromptInformation, ReferenceLikelihood

    loaded = model if isinstance(model, LoadedModel) else load_model(model)
    information = PromptInformation(ReferenceLikelihood(loaded))
    return TransformersEngine(loaded), {information.name: information}


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _line(text: str, width: int) -> str:
    """Return a text as one line that is no longer than `width`."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"
