"""Embedding ahead: the answers to many prompts go to the embedder in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diversify.kernels import EmbeddingKernel, Kernel, callable_name

AT_ONCE = 4096
"""Texts of a call. An embedder sorts and batches them better than the few of one prompt, and their
rows, some 6 MB of MiniLM's, are all that is held, however many prompts there are."""


def embedded_ahead(
    rows: Iterable[dict[str, Any]], kernels: Sequence[Kernel], *, at_once: int = AT_ONCE
) -> Iterator[tuple[dict[str, Any], list[Kernel]]]:
    """Go through the rows of a run with kernels that need not wait for an embedder.

    Args:
        rows: with `generations`; gone through once, no further ahead than the batch that is next.
        kernels: an `EmbeddingKernel` gets the rows of its embedder many prompts at a time; others
            are handed on as they are.
        at_once: texts that are embedded together; the prompt that reaches the number is whole.

    Yields:
        Each row with the kernels for it, which know its texts and no others.

    Raises:
        ValueError: an embedder does not return one row a text.

    >>> calls = []
    >>> def one_axis(texts):
    ...     calls.append(len(texts))
    ...     return np.ones((len(texts), 1))
    >>> rows = [{"generations": ["a", "b"]}, {"generations": ["c", "a"]}]
    >>> for row, (kernel,) in embedded_ahead(rows, [EmbeddingKernel(one_axis)]):
    ...     print(kernel.name, kernel(row["generations"]).shape, calls)
    one_axis (2, 2) [3]
    one_axis (2, 2) [3]
    """
    held = {
        number: _Held(kernel.embedder)
        for number, kernel in enumerate(kernels)
        if isinstance(kernel, EmbeddingKernel)
    }
    ready = [
        replace(kernel, embedder=held[number]) if isinstance(kernel, EmbeddingKernel) else kernel
        for number, kernel in enumerate(kernels)
    ]
    for batch in batches(rows, at_once):
        texts = [text for row in batch for text in row["generations"]]
        for rows_of_texts in held.values():
            rows_of_texts.embed(texts)
        yield from ((row, ready) for row in batch)


class _Held:
    """The rows of some texts, in the place of the embedder that they come from."""

    def __init__(self, embedder: Callable[[list[str]], Any]) -> None:
        self.embedder = embedder
        self.name = callable_name(embedder)
        self.place: dict[str, int] = {}
        self.rows: NDArray[Any] = np.empty((0, 0))

    def embed(self, texts: Sequence[str]) -> None:
        """Hold the rows of these texts and forget all others; blank ones are never embedded."""
        distinct = [text for text in dict.fromkeys(texts) if text.strip()]
        self.rows = np.asarray(self.embedder(distinct)) if distinct else np.empty((0, 0))
        if self.rows.ndim != 2 or len(self.rows) != len(distinct):
            raise ValueError(
                f"{self.name} must return one row per text, ({len(distinct)}, d), "
                f"got {self.rows.shape}"
            )
        self.place = {text: number for number, text in enumerate(distinct)}

    def __call__(self, texts: list[str]) -> NDArray[Any]:
        rows: NDArray[Any] = self.rows[[self.place[text] for text in texts]]
        return rows


def batches(rows: Iterable[dict[str, Any]], at_once: int) -> Iterator[list[dict[str, Any]]]:
    """Yield whole rows together until they have `at_once` texts."""
    batch: list[dict[str, Any]] = []
    texts = 0
    for row in rows:
        batch.append(row)
        # A row without answers counts too, or any number of them would wait in one batch.
        texts += max(1, len(row["generations"]))
        if texts >= at_once:
            yield batch
            batch, texts = [], 0
    if batch:
        yield batch
