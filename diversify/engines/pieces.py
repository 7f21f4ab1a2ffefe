"""Text of a completion while transformers generates it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from transformers import TextIteratorStreamer

__all__ = ["Pieces"]


class Pieces(TextIteratorStreamer):
    """The pieces of one completion, as whole words, without special tokens and end tokens.

    Iterate over it in one thread while `model.generate(streamer=pieces)` runs in another. Leaving
    it as a context ends a generation that is still running, at its next token.

    Args:
        tokenizer: of the model.
        ends: ids of tokens that end a completion and are no part of it.
    """

    def __init__(self, tokenizer: Any, ends: Collection[int]) -> None:
        super().__init__(
            tokenizer,
            skip_prompt=True,
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        self._ends = frozenset(ends)
        self._left = False

    def put(self, value: torch.Tensor) -> None:
        """Take the prompt, then token after token."""
        if self._left:
            raise InterruptedError("nobody reads the stream any more")
        row = value.reshape(-1)
        if self.skip_prompt and self.next_tokens_are_prompt:
            super().put(row)  # type: ignore[no-untyped-call]
        elif tokens := [i for i in row.tolist() if i not in self._ends]:
            super().put(torch.tensor(tokens))  # type: ignore[no-untyped-call]

    def finish(self) -> None:
        """End the iteration, wherever the generation stands."""
        self.text_queue.put(self.stop_signal)

    def __enter__(self) -> Pieces:
        return self

    def __exit__(self, *error: object) -> None:
        self._left = True
