"""Prompt sets from anywhere, as the data set that TRL trains on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datasets import Dataset

from diversify.engines import as_messages
from diversify.evaluation.prompt_sets import HUB_SETS, PromptSet, load_prompts, shipped_sets

__all__ = ["load_set", "prompt_dataset"]


def load_set(
    name: str | None, *, split: str, config: str | None = None, limit: int | None = None
) -> PromptSet:
    """Load prompts to train on.

    Args:
        name: what `load_prompts` takes (a shipped set, a benchmark, a file), or a data set of the
            Hub with a column `prompt`.
        split: `train` or `test`; a file without splits is taken whole.
        config: configuration of a data set of the Hub.
        limit: at most so many prompts, with equal shares of the categories.

    Raises:
        ValueError: There is no name, no such file, no such split, or no column `prompt`.

    Example:
        >>> len(load_set("open-ended", split="train"))
        120
    """
    if not name:
        raise ValueError("dataset_name is not set")
    if name in {*shipped_sets(), *HUB_SETS} or Path(name).is_file():
        prompts = load_prompts(name)
        has_splits = any(row.split for row in prompts)
        return prompts.select(split if has_splits else None, limit)
    return load_prompts(name, split=split, config=config, limit=limit)


def prompt_dataset(
    prompts: PromptSet,
    *,
    chat: bool = True,
    added: Mapping[str, Mapping[str, Any]] | None = None,
) -> Dataset:
    """Turn a prompt set into TRL's prompt-only data set.

    Args:
        prompts: the prompts; their columns (`answers`, …) become columns, None where a row has not
            got one.
        chat: whether prompts become chat messages; False for a model without a chat template.
        added: id -> more columns (`reference_statistics`). A prompt that is not in it is left out.

    Returns:
        A data set with `prompt`, `id` and the columns.

    Raises:
        ValueError: No prompt is left.

    Example:
        >>> from diversify.evaluation.prompt_sets import PromptRow, PromptSet
        >>> fruit = PromptRow("fruit", "Name a fruit.", columns={"answers": ["fig"]})
        >>> prompt_dataset(PromptSet("mine", (fruit,)), chat=False)[0]
        {'id': 'fruit', 'prompt': 'Name a fruit.', 'answers': ['fig']}
    """
    names = {name: None for row in prompts for name in row.columns}
    rows = [
        {"id": row.id, "prompt": as_messages(row.prompt) if chat else row.prompt}
        | names
        | row.columns
        | dict((added or {}).get(row.id, {}))
        for row in prompts
        if added is None or row.id in added
    ]
    if not rows:
        raise ValueError(f"no prompt of {prompts.name!r} is left to train on")
    return Dataset.from_list(rows)
