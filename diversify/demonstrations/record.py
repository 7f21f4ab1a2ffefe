"""A data set of examples that says what it was made of."""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import Any

from datasets import Dataset

logger = logging.getLogger(__name__)


def counted_dataset(
    examples: list[dict[str, Any]], prompts: int, counts: Counter[str], **more: int
) -> Dataset:
    """Make the data set, with the counts as JSON in its `info.description`.

    Args:
        examples: The rows.
        prompts: Of how many prompts.
        counts: What was left out, by reason.
        **more: Other counts.

    Raises:
        ValueError: There are no rows; the message has the counts.
    """
    summary = {"prompts": prompts, "examples": len(examples), "dropped": dict(+counts), **more}
    if not examples:
        raise ValueError(f"no prompt yields an example: {json.dumps(summary)}")
    logger.info("built demonstrations: %s", json.dumps(summary))
    dataset = Dataset.from_list(examples)
    dataset.info.description = json.dumps(summary)
    return dataset
