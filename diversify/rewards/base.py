"""What every group-wise reward shares: TRL's signature, whole groups, the group size, the log.

A subclass says what has to travel with each row and how one whole group is scored.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from diversify.engines import Prompt
from diversify.kernels import check_integer
from diversify.lexical import exact_duplicate_rate
from diversify.rewards.group import Group, gather_groups, raise_together
from diversify.rewards.monitors import MONITORS, completion_text

__all__ = ["GROUP_COLUMN", "GroupReward", "GroupScores", "Values"]

GROUP_COLUMN = "group_id"
"""A column of the data set that says which rows are one group, where their prompts differ."""

Values: TypeAlias = list[float | None]
"""One number a completion; None where there is none."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class GroupScores:
    """What scoring a group of n completions gives.

    Attributes:
        rewards: n rewards.
        extras: name -> n values, for the table of completions.
        metrics: name -> a number about the group, for the log.
    """

    rewards: Values
    extras: dict[str, Values]
    metrics: dict[str, float]


class GroupReward(TrainerCallback):
    """A TRL reward that sees whole groups, however TRL has split them over processes.

    Hand the object over twice, `reward_funcs=r, callbacks=[r]`, and it learns the group size for
    training and for evaluation from the trainer. Without the callback give `group_size`; without
    both, the size is read off the repeated prompts (see `gather_groups`). Rows of one group whose
    prompts differ, by a role for example, need a column `group_id`.

    Through TRL's `log_metric` it logs, once a group and under `<name>/`: `distinct` (answers; texts
    of similarity 0.85 are one), `mean_similarity`, `duplicates`, the mean of each of `MONITORS`
    (`length` in words, `loops`, `refusal`, `gibberish`, …), `unscored` (share of rewards that are
    None), and the means of what the subclass adds. Through `log_extra` it adds columns of the same
    names to the table of completions.

    Args:
        group_size: completions of one prompt in training, or None.
        name: name in the logs. Two rewards of one name are averaged into one number by TRL.
        scale_rewards: the `scale_rewards` of the trainer that the method was made for; another one
            is warned about. None has no opinion.

    Raises:
        ValueError: If `group_size` is not a positive integer, or, when the trainer starts, if it
            differs from the trainer's `num_generations` or the trainer has none.
    """

    def __init__(
        self, *, group_size: int | None, name: str, scale_rewards: str | None = None
    ) -> None:
        self.__name__ = name
        self.group_size = group_size
        if group_size is not None:
            self.group_size = check_integer("group_size", group_size, 1)
        self.scale_rewards = scale_rewards
        self._learned_sizes: tuple[int, int] | None = None
        self._model: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the model behind: a copy of a reward that met a trainer keeps the training size."""
        return {**self.__dict__, "_model": None}

    def on_init_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Learn the group sizes from the trainer and check what can be checked of its options."""
        size = getattr(args, "num_generations", None)
        if size is None:
            raise ValueError(
                f"{self.__name__} needs a trainer with num_generations, such as GRPO or RLOO, got "
                f"{type(args).__name__}"
            )
        if self.group_size not in (None, size):
            raise ValueError(
                f"{self.__name__} has group_size={self.group_size}, but the trainer has "
                f"num_generations={size}; leave group_size out"
            )
        self._learned_sizes = (size, getattr(args, "num_generations_eval", None) or size)
        self._model = kwargs.get("model")
        wanted, found = self.scale_rewards, getattr(args, "scale_rewards", self.scale_rewards)
        if wanted is not None and found != wanted:
            logger.warning(
                f"{self.__name__} was made for scale_rewards={wanted!r}, but the trainer has "
                f"{found!r}: set scale_rewards={wanted!r} in its config"
            )

    def __call__(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> Values:
        """Score the completions of this process; TRL calls it on all processes at once.

        Args:
            prompts: One prompt a completion, plain text or chat messages.
            completions: Texts or chat messages.
            completion_ids: Their tokens.
            **columns: The dataset's columns, one value a completion, and TRL's `log_metric`,
                `log_extra` and `trainer_state`, where there are such.

        Returns:
            One reward a completion; None where there is nothing to score.

        Raises:
            ValueError: If the rows are not whole groups, or a column or an answer of a kernel, a
                credit or a quality is not what it should be.
            RuntimeError: If another process raised.
        """
        with raise_together():
            texts = [completion_text(completion) for completion in completions]
            rows = self._describe_rows(prompts, completions, completion_ids, columns)
        gathered = gather_groups(
            prompts,
            texts,
            group_size=self._current_size(),
            columns=rows,
            keys=columns.get(GROUP_COLUMN),
        )
        with raise_together():
            scores = [self._score(group) for group in gathered.groups]
            rewards = gathered.local([each.rewards for each in scores])
            if log_metric := columns.get("log_metric"):
                for group, each in zip(gathered.groups, scores, strict=True):
                    # A group is split over processes: one of them speaks for it.
                    for name, value in (_monitor(group, each) if group.first else {}).items():
                        log_metric(f"{self.__name__}/{name}", value)
            if log_extra := columns.get("log_extra"):
                for name in scores[0].extras if scores else ():
                    values = gathered.local([each.extras[name] for each in scores])
                    log_extra(f"{self.__name__}/{name}", values)
        return rewards

    def _describe_rows(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None,
        columns: Mapping[str, Any],
    ) -> dict[str, list[Any]]:
        """Compute, on the process that owns the rows, what has to travel with each of them."""
        return {}

    def _score(self, group: Group) -> GroupScores:
        """Score one whole group."""
        raise NotImplementedError

    def _current_size(self) -> int | None:
        """Return the size of the groups of this call, or None if nobody said."""
        if self._learned_sizes is None:
            return self.group_size
        training, evaluation = self._learned_sizes
        return training if self._model is None or self._model.training else evaluation


def _monitor(group: Group, scores: GroupScores) -> dict[str, float]:
    """Collect the numbers about one group that go to the log."""
    texts, rewards = group.texts, scores.rewards
    means = {
        **{name: [each(group.prompt, t) for t in texts] for name, each in MONITORS.items()},
        "unscored": [float(reward is None) for reward in rewards],
        **{name: [v for v in values if v is not None] for name, values in scores.extras.items()},
    }
    return {
        "duplicates": exact_duplicate_rate(texts),
        **{name: float(np.mean(values)) for name, values in means.items() if values},
        **scores.metrics,
    }
