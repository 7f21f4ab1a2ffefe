"""From the rows of this process to whole groups: the only code that knows about processes.

TRL calls a reward on the rows that one process generated and does not promise that they are whole
groups. It does promise an order: the rows of all processes, in the order of their ranks, are one
list in which each prompt stands `num_generations` times in a row. So the list is gathered, cut by
position, checked, and each process scores the groups that it owns a row of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

from accelerate.utils import gather_object
from torch import distributed

from diversify.engines import Prompt, text_of
from diversify.kernels import check_integer

__all__ = ["Group", "Groups", "gather_groups", "raise_together"]

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """The completions of one prompt, all of them, whichever process generated them.

    Attributes:
        prompt: text of the prompt (of a chat, its last turn).
        texts: n texts, in the order of generation.
        columns: name -> n values, one a text.
        first: whether the first row of the group belongs to this process. It is so on exactly one
            process: what is logged once a group is logged there.
    """

    prompt: str
    texts: list[str]
    columns: dict[str, list[Any]]
    first: bool = True

    def keep(self, rows: Sequence[int]) -> Group:
        """Return a group of some of the rows."""
        columns = {name: [values[row] for row in rows] for name, values in self.columns.items()}
        return Group(self.prompt, [self.texts[row] for row in rows], columns, self.first)


@dataclass(frozen=True)
class Groups:
    """The groups that this process owns at least one row of, in order.

    Attributes:
        groups: the groups, whole.
        rows: where the rows of this process lie among all the rows of `groups`.
    """

    groups: list[Group]
    rows: slice

    def local(self, values: Sequence[Sequence[T]]) -> list[T]:
        """Turn values of whole groups into those of this process.

        Args:
            values: For each group its n values.

        Returns:
            One value for each row that this process handed in, in the same order.

        Raises:
            ValueError: If there is not one value for each text of each group.
        """
        found, wanted = [len(each) for each in values], [len(group.texts) for group in self.groups]
        if found != wanted:
            raise ValueError(f"groups of {wanted} texts need as many values each, got {found}")
        return [value for each in values for value in each][self.rows]


def gather_groups(
    prompts: Sequence[Prompt],
    texts: Sequence[str],
    *,
    group_size: int | None = None,
    columns: Mapping[str, Sequence[Any]] | None = None,
    keys: Sequence[Any] | None = None,
) -> Groups:
    """Gather the rows of all processes, cut them into groups, return those of this process.

    Every process must call this at the same time; in a single process nothing is sent, and no
    distributed state has to exist. Processes may hold different numbers of rows, even none.

    Args:
        prompts: One prompt for each row of this process, plain text or chat messages.
        texts: One completion for each row.
        group_size: Completions of one prompt (`num_generations`). With None it is read off the
            gathered rows: the shortest run of equal prompts, if it divides every other run. Equal
            prompts that happen to follow each other are then cut correctly as long as one prompt
            of the batch stands alone; when all do not, they become one group.
        columns: What else to carry along: name -> one picklable value for each row.
        keys: What tells the groups apart in place of the prompts, one for each row: where the
            members of a group are asked in different words or roles.

    Returns:
        The groups that hold a row of this process, whole, and where those rows are.

    Raises:
        ValueError: If the lists differ in length, the rows cannot be cut into groups of
            `group_size`, or a group holds different prompts. All processes raise it.

    Example:
        >>> gathered = gather_groups(["a", "a", "b", "b"], ["1", "2", "3", "4"], group_size=2)
        >>> [group.texts for group in gathered.groups]
        [['1', '2'], ['3', '4']]
        >>> gathered.local([[0.1, 0.2], [0.3, 0.4]])
        [0.1, 0.2, 0.3, 0.4]
    """
    columns = columns or {}
    with raise_together():
        lengths = {"texts": len(texts)} | {name: len(values) for name, values in columns.items()}
        told = [_key(prompt) for prompt in prompts] if keys is None else [str(key) for key in keys]
        lengths["keys"] = len(told)
        wrong = {name: length for name, length in lengths.items() if length != len(prompts)}
        if wrong:
            raise ValueError(f"there must be one entry for each of {len(prompts)} prompts: {wrong}")
        local = list(zip(told, prompts, texts, *columns.values(), strict=True))
    everyone = _gather([local])
    rows = [row for rows in everyone for row in rows]
    start = sum(len(rows) for rows in everyone[: _rank()])
    size = _check_groups([row[0] for row in rows], group_size)
    first, last = start // size, -(-(start + len(local)) // size)
    groups = []
    for begin in range(first * size, last * size, size):
        _, group_prompts, group_texts, *values = zip(*rows[begin : begin + size], strict=True)
        carried = {name: list(each) for name, each in zip(columns, values, strict=True)}
        owner = start <= begin < start + len(local)
        groups.append(Group(text_of(group_prompts[0]), list(group_texts), carried, owner))
    offset = start - first * size
    return Groups(groups, slice(offset, offset + len(local)))


@contextmanager
def raise_together() -> Iterator[None]:
    """Run a block on every process; if it raises on one of them, raise on all.

    A process that raised would leave the others waiting in the next collective call until it times
    out. A collective call inside the block is safe only before anything that can raise.

    Raises:
        RuntimeError: If the block raised on another process: it says where and what.

    Example:
        >>> with raise_together():
        ...     pass
    """
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # re-raised below, after the others have been told
        failure = error
    failures = _gather([None if failure is None else f"{type(failure).__name__}: {failure}"])
    if failure is not None:
        raise failure
    for rank, message in enumerate(failures):
        if message is not None:
            raise RuntimeError(f"process {rank} failed while scoring its completions: {message}")


def _check_groups(keys: Sequence[str], group_size: int | None) -> int:
    """Return the size of the groups that the rows are made of, or raise ValueError."""
    size = _infer_size(keys) if group_size is None else check_integer("group_size", group_size, 1)
    if len(keys) % size:
        raise ValueError(
            f"{len(keys)} completions cannot be cut into groups of {size}: group_size must be the "
            "trainer's num_generations (num_generations_eval in evaluation); pass the reward as "
            "callbacks=[reward] too and it learns both"
        )
    for begin in range(0, len(keys), size):
        found = list(dict.fromkeys(keys[begin : begin + size]))
        if len(found) > 1:
            raise ValueError(
                f"rows {begin} to {begin + size - 1} should be one group of {size}, but hold "
                f"{len(found)} prompts: {', '.join(f'{key:.60}' for key in found[:3])}; each "
                f"prompt must stand group_size={size} times in a row"
            )
    return size


def _infer_size(keys: Sequence[str]) -> int:
    """Read the size of the groups off the runs of equal prompts; 1 if there are no rows."""
    runs = [len(list(run)) for _, run in groupby(keys)]
    size = min(runs, default=1)
    if any(run % size for run in runs):
        raise ValueError(
            f"group_size is not given and cannot be read off the prompts, which repeat {runs} "
            "times in a row: no common size; give group_size"
        )
    # Rows that repeat but not in a row are laid out in another way, p1 p2 p1 p2.
    if size == 1 and len(set(keys)) < len(keys):
        raise ValueError(
            "group_size is not given and cannot be read off the prompts: some repeat, but not in "
            "a row; give group_size"
        )
    return size


def _key(prompt: Prompt) -> str:
    """Tell prompts apart: all turns of a chat count, images only by their type."""
    if isinstance(prompt, str):
        return prompt
    return json.dumps(prompt, sort_keys=True, default=lambda item: type(item).__name__)


def _processes_run() -> bool:
    """Whether other processes take part; asked of torch, so that nothing is initialised."""
    return distributed.is_available() and distributed.is_initialized()


def _gather(values: list[T]) -> list[T]:
    """Concatenate the lists of all processes, in the order of their ranks."""
    gathered: list[T] = gather_object(values) if _processes_run() else values
    return gathered


def _rank() -> int:
    """The position of this process among all."""
    return distributed.get_rank() if _processes_run() else 0
