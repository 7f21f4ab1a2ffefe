"""Pay each completion for what it adds to its group.

`GroupReward` is what every group-wise reward shares: TRL's signature, the group size learned from
the trainer, the gathering of whole groups, and the logging. A subclass says what has to travel
with each row and how one whole group is scored.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from diversify.credit import Credit, Floats, Labels, partition, partition_credit
from diversify.engines import Prompt
from diversify.kernels import Kernel, check_integer
from diversify.lexical import exact_duplicate_rate
from diversify.measures import DISTINCT_THRESHOLD, distinct, mean_distance
from diversify.rewards.group import Group, gather_groups, raise_together
from diversify.rewards.monitors import MONITORS, completion_text

__all__ = [
    "ColumnKernel",
    "CreditReward",
    "DiversityReward",
    "GroupReward",
    "GroupScores",
    "PartitionCredit",
]

GROUP_COLUMN = "group_id"
"""A column of the data set that says which rows are one group, where their prompts differ."""

Values: TypeAlias = list[float | None]
"""One number a completion; None where there is none."""

KERNEL_COLUMN = "kernel/column"
"""Under this name the value travels that a `ColumnKernel` asks for."""

T = TypeVar("T")

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


class CreditReward(GroupReward):
    """A reward that is nothing but the credit of each completion; products and gates take one.

    A subclass says what the credits of one group are.
    """

    def credits(self, group: Group) -> tuple[Floats, dict[str, float]]:
        """Credit the n texts of one group: (n,) numbers, and metrics for the log."""
        raise NotImplementedError

    def _score(self, group: Group) -> GroupScores:
        credit, metrics = self.credits(group)
        values: Values = credit.tolist()
        return GroupScores(values, {"credit": values}, metrics)


@runtime_checkable
class ColumnKernel(Protocol):
    """A kernel that depends on the prompt's row, such as its list of valid answers."""

    @property
    def column(self) -> str:
        """The column of the data set that decides the kernel."""

    def of(self, value: Any) -> Kernel:
        """Return the kernel of a prompt whose row has this value."""


class DiversityReward(CreditReward):
    """Pay each completion its credit: what it adds to the diversity of its group.

    Credit alone also pays for text that is off topic. Give it a quality beside it: `ProductReward`
    or `GatedReward`, or another reward of the trainer, which TRL adds.

    A blank completion (empty, white space, None) is no answer. It is not compared with the others,
    and gets the lowest credit of its group or 0, whichever is less. A group of one gets what the
    credit gives a single text.

    Args:
        kernel: from texts to similarities (n, n); or a `ColumnKernel`, such as
            `diversify.quality.AnswerKernels`.
        credit: from similarities (n, n) to credits (n,), such as `leave_one_out`, or a
            `PartitionCredit` for credits of classes.
        group_size: completions of one prompt; None if the trainer is to say (see `GroupReward`).
        name: name in the logs.

    Raises:
        ValueError: If kernel or credit cannot be called, or for `group_size` (see `GroupReward`);
            when called, if the column of the kernel is missing.

    Example:
        >>> from diversify import NgramKernel, leave_one_out
        >>> reward = DiversityReward(NgramKernel(), leave_one_out, group_size=3)
        >>> values = reward(["Name a fish."] * 3, ["a red fish", "a red fish", "some eel"])
        >>> [round(value, 2) for value in values]
        [-0.11, -0.11, 0.89]
    """

    def __init__(
        self,
        kernel: Kernel | ColumnKernel,
        credit: Credit,
        *,
        group_size: int | None = None,
        name: str = "diversity",
    ) -> None:
        super().__init__(group_size=group_size, name=name)
        self.kernel = check_kernel(kernel)
        self.credit = check_callable("credit", credit)

    def credits(self, group: Group) -> tuple[Floats, dict[str, float]]:
        """Credit the texts of one group.

        Args:
            group: n texts.

        Returns:
            Credits (n,), and what the log gets about those texts that are not blank.

        Raises:
            ValueError: If the credit is not one finite number a text.
        """
        return pay_answers(group, self.kernel, self.credit)

    def _describe_rows(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None,
        columns: Mapping[str, Any],
    ) -> dict[str, list[Any]]:
        return kernel_column(self.kernel, columns)


@dataclass(frozen=True)
class PartitionCredit:
    """Credit of classes as a credit of similarities: partition first, then look at the labels.

    Args:
        credit: from labels (n,) to credits (n,): `partition_credit`, `rarity_weight`, ….
        threshold: texts at least this similar, or joined by a chain of such pairs, are one class.
            It belongs to the kernel: the default suits MiniLM's cosine, and any value above 0
            suits `EquivalenceKernel`.

    Raises:
        ValueError: If `threshold` is outside [-1, 1].

    Example:
        >>> S = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.1], [0.1, 0.1, 1.0]])
        >>> PartitionCredit(threshold=0.8)(S)
        array([0.5, 0.5, 1. ])
    """

    credit: Callable[[Labels], Floats] = partition_credit
    threshold: float = DISTINCT_THRESHOLD

    def __post_init__(self) -> None:
        if not -1.0 <= self.threshold <= 1.0:
            raise ValueError(f"threshold must be between -1 and 1, got {self.threshold}")

    def __call__(self, S: Floats) -> Floats:
        """Turn similarities (n, n) into credits (n,)."""
        return self.credit(partition(S, threshold=self.threshold))


def pay_answers(
    group: Group, kernel: Kernel | ColumnKernel, pay: Callable[[Floats], Floats], **told: Floats
) -> tuple[Floats, dict[str, float]]:
    """Compare the texts of a group that are not blank, and pay them by their similarities.

    Args:
        group: n texts.
        kernel: how they are compared.
        pay: from similarities (m, m) of the m answers, and what else is told, to m numbers.
        **told: more arguments of `pay`, one value a text (n,); it gets those of the answers.

    Returns:
        Values (n,), where a blank text has the lowest or 0, whichever is less; and measures of the
        group for the log.

    Raises:
        ValueError: If `pay` returns anything but one finite number an answer.
    """
    answers = [row for row, text in enumerate(group.texts) if text.strip()]
    if not answers:
        return np.zeros(len(group.texts)), {}
    if isinstance(kernel, ColumnKernel):
        kernel = kernel.of(group.columns[KERNEL_COLUMN][0])
    S = kernel([group.texts[row] for row in answers])
    paid = pay(S, **{name: values[answers] for name, values in told.items()})
    values = np.asarray(paid, dtype=np.float64)
    if values.shape != (len(answers),) or not np.isfinite(values).all():
        raise ValueError(
            f"credit must return {len(answers)} finite numbers for {len(answers)} texts, got "
            f"{values!r:.200}"
        )
    result = np.full(len(group.texts), min(0.0, values.min()))
    result[answers] = values
    return result, similarity_metrics(S)


def kernel_column(
    kernel: Kernel | ColumnKernel, columns: Mapping[str, Any]
) -> dict[str, list[Any]]:
    """Return what has to travel with the rows for this kernel: its column, if it has one."""
    if not isinstance(kernel, ColumnKernel):
        return {}
    if kernel.column not in columns:
        raise ValueError(
            f"the kernel {type(kernel).__name__} needs the column {kernel.column!r}; the data set "
            f"has {sorted(columns)}"
        )
    return {KERNEL_COLUMN: list(columns[kernel.column])}


def check_kernel(kernel: Kernel | ColumnKernel) -> Kernel | ColumnKernel:
    """Return a kernel, or raise ValueError."""
    return kernel if isinstance(kernel, ColumnKernel) else check_callable("kernel", kernel)


def check_callable(role: str, given: T) -> T:
    """Return a function or a callable object, or raise ValueError."""
    if not callable(given) or isinstance(given, type):
        raise ValueError(f"{role} must be a function or a callable object, got {given!r}")
    return given


def similarity_metrics(S: Floats) -> dict[str, float]:
    """Measure a group for the log."""
    metrics = {"distinct": distinct(S, threshold=DISTINCT_THRESHOLD)}
    return metrics | ({"mean_similarity": 1.0 - mean_distance(S)} if len(S) > 1 else {})


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
