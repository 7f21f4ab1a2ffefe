"""Generation rows to pools: all completions of one prompt, from however many runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from diversify.engines import Prompt, as_messages

__all__ = ["Pool", "merge_pools"]

RUN_COLUMNS = {"prompt", "generations", "model", "truncated", "details", "config", "key"}
"""What a row of `generations.jsonl` says about its run, and no quality is told."""


SENTENCE_END = re.compile(r"""(?<=[^\W\d_]{3})[.!?]+["')\]*]*(?=\s|$)|\n""")
"""The end of a line, or of a sentence: a stop behind three letters, so not "1." or "St."."""


@dataclass
class Pool:
    """All completions of one prompt, from however many rows, and what the rows say besides."""

    name: str
    prompt: Prompt
    columns: dict[str, Any]
    completions: list[str] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    truncated: int = 0


def merge_pools(
    rows: Iterable[Mapping[str, Any]],
    *,
    columns: Sequence[str] | None = None,
    keep_truncated: bool = False,
    first_sentence: bool = False,
) -> list[Pool]:
    """Merge the rows of each prompt into one pool, in order of first appearance.

    Args:
        rows: Generation rows of any number of runs: `prompt`, `generations` and more.
        columns: Which other columns the qualities are told; None for all that are not about the
            run (`RUN_COLUMNS`).
        keep_truncated: Whether completions marked in a row's `truncated` stay in.
        first_sentence: Whether completions are cut behind their first sentence or line; what has
            such an end is whole, whatever stopped it later.

    Returns:
        Pools.

    Raises:
        ValueError: A row has no prompt or no usable generations, lacks one of the columns, or
            contradicts an earlier row of its prompt; the message names the row.

    Example:
        >>> rows = [{"prompt": "A fruit?", "generations": ["fig"]},
        ...         {"prompt": "A fruit?", "generations": ["kiwi"], "model": "base"}]
        >>> [pool.completions for pool in merge_pools(rows)]
        [['fig', 'kiwi']]
    """
    pools: dict[str, Pool] = {}
    for number, row in enumerate(rows):
        name = f"row {number} (id {row['id']!r})" if "id" in row else f"row {number}"
        texts = _generations(row, name)
        wanted = sorted(row.keys() - RUN_COLUMNS) if columns is None else columns
        if missing := [column for column in wanted if column not in row]:
            raise ValueError(f"{name} has no column {missing[0]!r}; its columns are {sorted(row)}")
        told = {column: row[column] for column in wanted}
        key = json.dumps(as_messages(row["prompt"]), sort_keys=True)
        pool = pools.setdefault(key, Pool(name, row["prompt"], told))
        if pool.columns != told:
            differing = [c for c in {*told, *pool.columns} if told.get(c) != pool.columns.get(c)]
            raise ValueError(
                f"{name} and {pool.name} have one prompt but differ in {sorted(differing)}; "
                "choose the columns that the qualities need"
            )
        cut = row.get("truncated") or [False] * len(texts)
        if first_sentence:
            ends = [SENTENCE_END.search(text.strip()) for text in texts]
            cut = [stop and end is None for stop, end in zip(cut, ends, strict=True)]
            texts = [
                t.strip()[: e.end()].strip() if e else t for t, e in zip(texts, ends, strict=True)
            ]
        kept = [
            (t, not stop) for t, stop in zip(texts, cut, strict=True) if keep_truncated or not stop
        ]
        pool.completions += [text for text, _ in kept]
        pool.whole += [whole for _, whole in kept]
        pool.truncated += len(texts) - len(kept)
    return list(pools.values())


def _generations(row: Mapping[str, Any], name: str) -> list[str]:
    """Return the completions of a row, or raise ValueError with the name of the row."""
    for column in ("prompt", "generations"):
        if not row.get(column):
            raise ValueError(f"{name} has no {column}; its columns are {sorted(row)}")
    if isinstance(row["generations"], str) or not all(
        isinstance(text, str) for text in row["generations"]
    ):
        raise ValueError(f"{name}: generations must be a list of texts")
    return list(row["generations"])
