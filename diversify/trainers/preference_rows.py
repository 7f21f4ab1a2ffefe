"""Preference pairs as the recipes train on them: read, drawn by weight, as plain text."""

from __future__ import annotations

import numpy as np
from datasets import Dataset

from diversify.engines import as_messages, text_of
from diversify.trainers.row_files import load_rows

__all__ = ["load_pairs", "plain", "resample"]


def load_pairs(name: str | None, config: str | None, split: str) -> Dataset:
    """Load a file of pairs whole, or one split of a data set of the Hub.

    Args:
        name: a `.jsonl`, `.json` or `.parquet` file, as `recipes/pairs.py` writes it, or a data set
            of the Hub.
        config: configuration of a data set of the Hub.
        split: split of a data set of the Hub.

    Returns:
        Rows of `prompt`, `chosen`, `rejected` and whatever else they have (`weight`).

    Raises:
        ValueError: There is no name, no such file, or a column is missing.
    """
    pairs = load_rows(name, config, split, what="pairs", maker="recipes/pairs.py")
    if missing := {"prompt", "chosen", "rejected"} - set(pairs.column_names):
        raise ValueError(f"{name} lacks {sorted(missing)}; its columns are {pairs.column_names}")
    return pairs


def resample(pairs: Dataset, seed: int) -> Dataset:
    """Draw as many pairs with replacement, in proportion to their weight.

    The expected gradient is that of the loss weighted pair by pair, whatever the loss; single pairs
    then come several times or never.

    Args:
        pairs: a data set with a column `weight`.
        seed: of the draw.

    Returns:
        As many rows as there were, in their order.

    Raises:
        ValueError: There is no column `weight`, or the weights are unusable.

    Example:
        >>> pairs = Dataset.from_dict({"prompt": ["a", "b"], "weight": [0.0, 2.0]})
        >>> resample(pairs, seed=0)["prompt"][:]
        ['b', 'b']
    """
    if "weight" not in pairs.column_names:
        raise ValueError(f"resample needs a column weight; the columns are {pairs.column_names}")
    weight = np.array(pairs["weight"], dtype=np.float64)
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.sum() > 0):
        raise ValueError("weights must be finite, 0 or more, and not all 0")
    drawn = np.random.default_rng(seed).choice(len(weight), len(weight), p=weight / weight.sum())
    return pairs.select(np.sort(drawn))


def plain(row: dict[str, object]) -> dict[str, str]:
    """Turn the chat messages of a pair into text, for a model without a chat template.

    Example:
        >>> chat = {"prompt": [{"role": "user", "content": "A fruit?"}]}
        >>> chat |= {"chosen": [{"role": "assistant", "content": "fig"}], "rejected": "apple"}
        >>> plain(chat)
        {'prompt': 'A fruit?', 'chosen': 'fig', 'rejected': 'apple'}
    """
    prompt = as_messages(row["prompt"])  # type: ignore[arg-type]
    texts = {side: text_of(row[side]) for side in ("chosen", "rejected")}  # type: ignore[arg-type]
    return {"prompt": "\n\n".join(turn["content"] for turn in prompt), **texts}
