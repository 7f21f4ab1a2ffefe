"""Questions with a known list of answers: pay each answer for coming as often as it should."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diversify.credit import Floats, uniform_target
from diversify.engines import Prompt
from diversify.quality import named_answer
from diversify.rewards.diversity import CreditReward
from diversify.rewards.group import Group

__all__ = ["UniformAnswers"]


class UniformAnswers(CreditReward):
    r"""Reward how near the frequency of an answer is to uniform over the list, in [-1, 1].

    .. math:: r_i = 1 - |f_i - 1 / L| \text{ if the answer is on the list, else } -1

    L is the length of the prompt's list, f the share of the group's valid answers that name this
    one. It is quality and diversity in one: what is not on the list gets -1.

    Args:
        column: column of the data set with, for each prompt, its answers: a list of lists of
            aliases (`diversify.quality.AnswerList`).
        group_size: see `GroupReward`.
        name: name in the logs.

    Raises:
        ValueError: When called, if the column is missing or a row has no list.

    Example:
        >>> reward = UniformAnswers(group_size=3)
        >>> answers = [[["Peru"], ["Chile"]]] * 3
        >>> reward(["A country?"] * 3, ["Peru", "Chile!", "Paris"], answers=answers)
        [1.0, 1.0, -1.0]

    Reference:
        Anschel et al., "Group-Aware Reinforcement Learning for Output Diversity in Large Language
        Models", arXiv 2511.12596. No deviation.
    """

    def __init__(
        self, *, column: str = "answers", group_size: int | None = None, name: str = "uniform"
    ) -> None:
        super().__init__(group_size=group_size, name=name)
        self.column = column

    def credits(self, group: Group) -> tuple[Floats, dict[str, float]]:
        """Reward the n texts of one group: (n,), and the share that is on the list."""
        answers = group.columns[self.column][0]
        named = [named_answer(text, answers) for text in group.texts]
        valid = np.array([answer is not None for answer in named], dtype=np.bool_)
        labels = np.array([-1 if answer is None else answer for answer in named], dtype=np.int64)
        rewards = uniform_target(labels, valid, size=len(answers))
        metrics = {
            "valid": float(valid.mean()),
            "distinct_valid": float(len(np.unique(labels[valid]))),
        }
        return rewards, metrics if len(valid) else {}

    def _describe_rows(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None,
        columns: Mapping[str, Any],
    ) -> dict[str, list[Any]]:
        rows = columns.get(self.column)
        if rows is None or not all(rows):
            raise ValueError(
                f"{self.__name__} needs the column {self.column!r} with a list of answers for every "
                f"prompt; the data set has {sorted(columns)}"
            )
        return {self.column: list(rows)}
