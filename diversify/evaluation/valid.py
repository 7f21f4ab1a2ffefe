"""How many different answers of a prompt are valid: on its list, and within its constraints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diversify.measures import MEASURES
from diversify.quality import Constraints, named_answer

__all__ = ["distinct_valid", "valid_names"]


def distinct_valid(
    row: Mapping[str, Any],
    similarities: Mapping[str, NDArray[np.float64]],
    *,
    constraints: Constraints | None = None,
) -> dict[str, float]:
    """Count the different valid answers to one prompt.

    Args:
        row: A row of a run: `prompt`, `generations`, and `answers` if there is a list of the right
            ones.
        similarities: Name of a kernel -> S (n, n) of the generations.
        constraints: What an answer must keep to in order to be valid, all of it. None, or none of
            this prompt: no answer is invalid for that.

    Returns:
        `answers` -> how many different answers of the list are named, where there is a list; name
        of a kernel -> how many different answers there are among those within the constraints
        (`distinct`, of these alone), where the prompt has any. An answer of which the constraints
        cannot tell is not counted as valid.

    Example:
        >>> row = {"prompt": "A fruit, no commas.", "generations": ["fig", "fig, ripe", "pear"],
        ...        "answers": [["fig"], ["pear"]]}
        >>> calm = Constraints([{"id": "punctuation:no_comma"}])
        >>> distinct_valid(row, {"words": np.eye(3)}, constraints=calm)
        {'answers': 2.0, 'words': 2.0}
        >>> distinct_valid(row, {"words": np.eye(3)})
        {'answers': 2.0}
    """
    texts: list[str] = row["generations"]
    held = _held(row, texts, constraints)
    found: dict[str, float] = {}
    if row.get("answers"):
        found["answers"] = float(len(set(_named(row, texts, held)) - {None}))
    if held is not None:
        kept = np.flatnonzero(held)
        for name, similarity in similarities.items():
            found[name] = float(MEASURES["distinct"](similarity[np.ix_(kept, kept)]))
    return found


def valid_names(
    row: Mapping[str, Any], *, constraints: Constraints | None = None
) -> list[int | None] | None:
    """Say of each answer to a prompt which valid one it names: its number, None for one that is not.

    Args:
        row: A row of a run, as for `distinct_valid`.
        constraints: What an answer must keep to in order to be valid, all of it.

    Returns:
        One number or None a text; None altogether where the prompt has no list of answers.

    Example:
        >>> row = {"prompt": "A fruit.", "generations": ["fig", "stone"], "answers": [["pear"], ["fig"]]}
        >>> valid_names(row)
        [1, None]
    """
    if not row.get("answers"):
        return None
    texts: list[str] = row["generations"]
    return _named(row, texts, _held(row, texts, constraints))


def _named(row: Mapping[str, Any], texts: list[str], held: list[bool] | None) -> list[int | None]:
    within = [True] * len(texts) if held is None else held
    return [
        named_answer(text, row["answers"]) if kept else None
        for text, kept in zip(texts, within, strict=True)
    ]


def _held(
    row: Mapping[str, Any], texts: list[str], constraints: Constraints | None
) -> list[bool] | None:
    """Say for each text whether it keeps to all constraints; None where the prompt has none."""
    if constraints is None:
        return None
    columns = {
        name: [row.get(name)] * len(texts) for name in (constraints.names, constraints.arguments)
    }
    if not constraints.always and not row.get(constraints.names):
        return None
    values = constraints([row["prompt"]] * len(texts), texts, **columns)
    return [value == 1.0 for value in values]
