"""A role for every member of a group: the same question, asked of n different speakers.

The rows of a group stand in the data set one after the other, one a role; `RoleSampler` hands out
whole groups where the host's sampler would repeat one row. The column `group_id` says which rows are
one group; rewards that look at groups read it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from datasets import Dataset
from torch.utils.data import Sampler

from diversify.engines import as_messages
from diversify.kernels import check_integer

__all__ = ["RoleSampler", "check_groups", "role_dataset", "role_prompts"]


def role_prompts(count: int, *, template: str = "You are role {number}.") -> list[str]:
    """Return the system prompts of so many roles.

    Args:
        count: How many, 1 or more.
        template: With `{number}`, which counts from 1.

    Raises:
        ValueError: If `count` is not positive, or the template has no `{number}`.

    Example:
        >>> role_prompts(2)
        ['You are role 1.', 'You are role 2.']

    Reference:
        MoDA, mode-conditioned diversity alignment, arXiv 2609.14896, which trains six such roles.
    """
    check_integer("count", count, 1)
    if "{number}" not in template:
        raise ValueError(f"template must hold {{number}}, got {template!r}")
    return [template.replace("{number}", str(number)) for number in range(1, count + 1)]


def role_dataset(dataset: Dataset, roles: Sequence[str]) -> Dataset:
    """Write every row once for each role, one after the other.

    Args:
        dataset: Rows with `prompt`, text or chat messages, and anything else.
        roles: System prompts. A system prompt that a row has already is kept behind that of the
            role.

    Returns:
        `len(dataset) * len(roles)` rows: `prompt` with its role, `role` (number of the role, from
        0), `group_id` (number of the row), and the other columns.

    Raises:
        ValueError: If there are no roles, or the data set has a column `role` or `group_id`.

    Example:
        >>> rows = role_dataset(Dataset.from_list([{"prompt": "A fruit?"}]), ["Be brief.", "Sing."])
        >>> rows["prompt"][1]
        [{'role': 'system', 'content': 'Sing.'}, {'role': 'user', 'content': 'A fruit?'}]
        >>> rows["role"][:], rows["group_id"][:]
        ([0, 1], [0, 0])
    """
    if not roles:
        raise ValueError("roles must name at least one role, got none")
    if taken := {"role", "group_id"} & set(dataset.column_names):
        raise ValueError(f"the data set has columns {sorted(taken)} already")
    rows = [
        {**row, "prompt": _in_role(row["prompt"], role), "role": number, "group_id": group}
        for group, row in enumerate(dataset)
        for number, role in enumerate(roles)
    ]
    return Dataset.from_list(rows)


class RoleSampler(Sampler[int]):
    """Turn a sampler of repeated groups into one of their rows.

    Args:
        groups: Yields the number of each group `size` times in a row, as TRL's sampler does.
        size: Rows of a group.

    Example:
        >>> list(RoleSampler([1, 1, 0, 0], 2))
        [2, 3, 0, 1]
    """

    def __init__(self, groups: Any, size: int) -> None:
        self.groups = groups
        self.size = size

    def __iter__(self) -> Iterator[int]:
        for position, group in enumerate(self.groups):
            yield group * self.size + position % self.size

    def __len__(self) -> int:
        return len(self.groups)


def check_groups(dataset: Any, size: int) -> None:
    """Check that the rows of a data set are groups of `size`, one after the other.

    Raises:
        ValueError: If there is no column `group_id`, or a group has another size.
    """
    names = getattr(dataset, "column_names", None)
    if not names or "group_id" not in names:
        raise ValueError(f"roles need a data set with the column 'group_id', got {names}")
    groups = list(dataset["group_id"])
    for start in range(0, len(groups), size):
        found = groups[start : start + size]
        if len(found) != size or len(set(found)) != 1:
            raise ValueError(
                f"roles need groups of num_generations={size} rows, got the group_ids {found} in "
                f"rows {start} to {start + len(found) - 1}; see role_dataset"
            )


def _in_role(prompt: Any, role: str) -> list[dict[str, str]]:
    """Put a role before a prompt."""
    messages: list[Mapping[str, str]] = list(as_messages(prompt))
    if messages and messages[0]["role"] == "system":
        role, messages = f"{role}\n\n{messages[0]['content']}", messages[1:]
    return [{"role": "system", "content": role}, *map(dict, messages)]
