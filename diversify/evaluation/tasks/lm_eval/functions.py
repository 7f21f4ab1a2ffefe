"""What the YAML files beside this one call. lm-eval loads it by its path, as `functions`."""

from __future__ import annotations

from typing import Any

from datasets import Dataset

from diversify.evaluation.tasks.measuring import documents, measure_answers

__all__ = ["enumerable", "open_ended", "process_results"]


def open_ended(**_: Any) -> dict[str, Dataset]:
    """Return the test split of `open-ended`; lm-eval passes the task's metadata along."""
    return {"test": Dataset.from_list(documents("open-ended"))}


def enumerable(**_: Any) -> dict[str, Dataset]:
    """Return the test split of `enumerable`, with the valid answers of each question."""
    return {"test": Dataset.from_list(documents("enumerable"))}


def process_results(doc: dict[str, Any], results: list[Any]) -> dict[str, float]:
    """Turn the answers to one document, which `take_first_k` leaves as one list, into numbers.

    Raises:
        ValueError: The answers are not one list, which is what any filter but `take_first_k` gives.
    """
    if len(results) != 1 or isinstance(results[0], str):
        raise ValueError("the task measures sets: its filter must be take_first_k")
    return measure_answers(results[0], doc.get("answers"))
