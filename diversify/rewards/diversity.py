"""Pay each completion for what it adds to its group."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np

from diversify.credit import Credit, Floats, Labels, partition, partition_credit
from diversify.engines import Prompt
from diversify.kernels import Kernel
from diversify.measures import DISTINCT_THRESHOLD, distinct, mean_distance
from diversify.rewards.base import GroupReward, GroupScores, Values
from diversify.rewards.group import Group

__all__ = ["ColumnKernel", "CreditReward", "DiversityReward", "PartitionCredit"]

KERNEL_COLUMN = "kernel/column"
"""Under this name the value travels that a `ColumnKernel` asks for."""

T = TypeVar("T")


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
