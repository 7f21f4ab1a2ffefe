"""How good completions are: the number beside every diversity number, and the gate of rewards.

A quality has TRL's reward signature and grows with goodness. It also says how far its mean may fall
before quality counts as lost (`margin`, in its own units) and whether a rise of that size is as
suspicious as a fall (`two_sided`). What cannot be judged is None, never a number. Where the value of
a completion depends on nothing else in the call, it may say so by an attribute `by_row = True`:
evaluation then calls it for some thousand completions at a time and not once for all.

Models are loaded at the first call and left behind by pickle, so qualities travel to processes.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from diversify.engines import Message, Prompt
from diversify.quality.answers import AnswerKernel, AnswerKernels, AnswerList, named_answer
from diversify.quality.constraints import Constraints
from diversify.quality.judge import Judge
from diversify.quality.likelihood import PromptInformation, ReferenceLikelihood
from diversify.quality.relevance import Relevance, RelevanceRank
from diversify.quality.reward_model import RewardModel
from diversify.quality.rules import FromReward, Rule, WeightedQuality

__all__ = [
    "AnswerKernel",
    "AnswerKernels",
    "AnswerList",
    "Constraints",
    "FromReward",
    "Judge",
    "PromptInformation",
    "Quality",
    "ReferenceLikelihood",
    "Relevance",
    "RelevanceRank",
    "RewardModel",
    "Rule",
    "WeightedQuality",
    "named_answer",
]


@runtime_checkable
class Quality(Protocol):
    """What evaluation and rewards ask of a quality."""

    @property
    def name(self) -> str:
        """How reports and trainers call it."""

    @property
    def margin(self) -> float:
        """How far the mean may fall before quality counts as lost, in the quality's own units."""

    @property
    def two_sided(self) -> bool:
        """Whether a rise by more than the margin is suspicious too."""

    @property
    def identity(self) -> dict[str, Any]:
        """What decides its numbers: model, revision, column; the recipe that reports carry."""

    def __call__(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[str | Sequence[Message]],
        **columns: Any,
    ) -> list[float | None]:
        """Judge each completion of the prompt beside it; None where there is nothing to judge."""
