"""What a task of any harness needs: the questions of a shipped set, and the numbers of one prompt."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from diversify.embedders import Embedder, load_embedder
from diversify.evaluation.prompt_sets import load_prompts
from diversify.evaluation.verdict import PRIMARY
from diversify.kernels import EmbeddingKernel, Kernel, NgramKernel
from diversify.lexical import exact_duplicate_rate
from diversify.measures import MEASURES
from diversify.quality import named_answer
from diversify.sources import embedded_embedder_path

__all__ = ["documents", "measure_answers"]


def documents(name: str, *, split: str = "test") -> list[dict[str, Any]]:
    """Return the questions of a prompt set as the flat rows that harnesses read.

    Args:
        name: A prompt set, as in `load_prompts`.
        split: Which part of it; training may have seen the other one.

    Returns:
        One row a question: `id`, `prompt`, `category`, and `answers` where the set lists them.

    Raises:
        ValueError: There is no such set or split.

    Example:
        >>> row = documents("enumerable")[0]
        >>> sorted(row), len(documents("enumerable"))
        (['answers', 'category', 'id', 'prompt'], 52)
    """
    return [
        {"id": row.id, "prompt": row.text, "category": row.category}
        | ({"answers": row.columns["answers"]} if "answers" in row.columns else {})
        for row in load_prompts(name, split=split)
    ]


def measure_answers(
    texts: Sequence[str],
    answers: Sequence[Sequence[str]] | None = None,
    *,
    embedder: Embedder | None = None,
) -> dict[str, float]:
    """Measure the answers to one prompt: the primary measures, hygiene, and what is valid.

    The name of a number says which kernel it comes from, so that none can pass for another: with no
    embedder and no embedded MiniLM the numbers of that kernel are missing, and nothing stands in.

    Args:
        texts: All answers to the prompt.
        answers: For each valid answer its aliases, as in `named_answer`; None where there is no
            list.
        embedder: What compares meanings; by default MiniLM, if its wheel is installed.

    Returns:
        `mean_distance_ngram_2`, `vendi_ngram_2`, the same two with `_minilm` (or with the name of
        the embedder), `exact_duplicates`, `blank`, and with a list `valid_rate` and
        `distinct_valid`.

    Raises:
        ValueError: There is no answer at all, or a text is none.

    Example:
        >>> pets = [["cat"], ["dog"]]
        >>> found = measure_answers(["A cat.", "A cat.", "the dog", "tea"], pets,
        ...                         embedder=lambda texts: [[1.0, 0.0]] * len(texts))
        >>> found["valid_rate"], found["distinct_valid"], found["exact_duplicates"]
        (0.75, 2.0, 0.25)
    """
    texts = list(texts)
    if not texts:
        raise ValueError("a prompt needs at least one answer to be measured, got none")
    kernels: dict[str, Kernel] = {"ngram_2": NgramKernel(2)}
    if embedder is not None:
        kernels[getattr(embedder, "name", "embedder")] = EmbeddingKernel(embedder)
    elif (minilm := _minilm()) is not None:
        kernels["minilm"] = EmbeddingKernel(minilm)
    found: dict[str, float] = {}
    for label, kernel in kernels.items():
        similarity = kernel(texts)
        found |= {f"{name}_{label}": float(MEASURES[name](similarity)) for name in PRIMARY}
    found["exact_duplicates"] = float(exact_duplicate_rate(texts))
    found["blank"] = float(np.mean([not text.strip() for text in texts]))
    if answers:
        named = [named_answer(text, answers) for text in texts]
        found["valid_rate"] = float(np.mean([answer is not None for answer in named]))
        found["distinct_valid"] = float(len(set(named) - {None}))
    return found


@lru_cache(maxsize=1)
def _minilm() -> Embedder | None:
    """Load the embedded MiniLM once; a harness's task downloads nothing on its own."""
    try:
        embedded_embedder_path()
    except ImportError:
        return None
    return load_embedder("minilm")
