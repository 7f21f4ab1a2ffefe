"""Examples as `recipes/sft.py` trains on them: read, cut to one form, as plain text."""

from __future__ import annotations

from typing import Any

from datasets import Dataset

from diversify.engines import as_messages, text_of
from diversify.trainers.row_files import load_rows

__all__ = ["load_examples", "plain_example", "split_last_turn"]

FORMS = (
    ("input_ids", "labels"),
    ("input_ids", "completion_mask"),
    ("prompt", "completion"),
    ("messages",),
    ("text",),
)
"""Columns that an example may consist of, the first that are all there."""


def load_examples(name: str | None, config: str | None, split: str) -> Dataset:
    """Load a file of examples whole, or one split of a data set of the Hub.

    Args:
        name: a `.jsonl`, `.json` or `.parquet` file, as `recipes/demonstrations.py` writes it, or a
            data set of the Hub.
        config: configuration of a data set of the Hub.
        split: split of a data set of the Hub.

    Returns:
        The columns of one of the forms that TRL knows: tokenized with a mask, `prompt` and
        `completion`, `messages`, or `text`. What else there is could mislead it, and is left out.

    Raises:
        ValueError: There is no name, no such file, or no form is whole.
    """
    rows = load_rows(name, config, split, what="examples", maker="recipes/demonstrations.py")
    for form in FORMS:
        if set(form) <= set(rows.column_names):
            return rows.select_columns(list(form))
    raise ValueError(
        f"{name} has none of the forms {[' + '.join(form) for form in FORMS]}; its columns are "
        f"{rows.column_names}"
    )


def split_last_turn(row: dict[str, Any]) -> dict[str, Any]:
    """Make the last turn of a conversation the completion, so that it alone carries the loss.

    Raises:
        ValueError: The last turn is not the assistant's, or the only one.

    Example:
        >>> chat = [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "b"}]
        >>> split_last_turn({"messages": chat})["completion"]
        [{'role': 'assistant', 'content': 'b'}]
    """
    messages = row["messages"]
    if len(messages) < 2 or messages[-1]["role"] != "assistant":
        roles = [message["role"] for message in messages]
        raise ValueError(f"a conversation must end with the assistant, behind a prompt: {roles}")
    return {"prompt": messages[:-1], "completion": messages[-1:]}


def plain_example(row: dict[str, Any]) -> dict[str, str]:
    r"""Turn chat messages into text, for a model without a chat template.

    A blank line stands before the completion, and belongs to it: a prompt is given without one.

    Example:
        >>> plain_example({"prompt": "A fruit?", "completion": "fig"})
        {'prompt': 'A fruit?', 'completion': '\n\nfig'}
    """
    prompt = "\n\n".join(turn["content"] for turn in as_messages(row["prompt"]))
    return {"prompt": prompt, "completion": f"\n\n{text_of(row['completion'])}"}
