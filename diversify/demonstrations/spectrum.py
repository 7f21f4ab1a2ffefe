"""Many draws of one prompt in one context, with a loss on the draws alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from diversify.demonstrations.record import counted_dataset
from diversify.engines import Message, Prompt, as_messages
from diversify.kernels import check_integer
from diversify.models import chat_token_ids
from diversify.pools import merge_pools

__all__ = ["ANOTHER", "check_spectrum_options", "spectrum_examples", "spectrum_sequence"]

ANOTHER = "Another one."
"""What the user says between two draws."""
IGNORED = -100
"""The label of a token that carries no loss."""


def spectrum_examples(
    rows: Iterable[Mapping[str, Any]],
    tokenizer: Any,
    *,
    draws: int = 16,
    keep_description: float = 0.8,
    max_length: int = 1024,
    another: str = ANOTHER,
    keep_truncated: bool = False,
    seed: int = 0,
) -> Dataset:
    """Show many draws of one prompt in one context, with a loss on the draws alone.

    As a chat: the prompt, a draw as the answer, the user asks for another, the next draw, and so
    on. A model that learns to go on with such a row learns what the draws have in common and how
    far they spread. Copies stay in, in their share: they belong to the distribution. So give draws
    that are independent, from people or from a model that is not collapsed.

    The draws of a prompt are shuffled and cut into rows that hold up to `draws` of them and fit
    `max_length`. In `1 - keep_description` of the rows the prompt is left out, and the draws alone
    have to tell what is asked.

    Args:
        rows: Rows of `generations.jsonl`; all of one prompt are one distribution.
        tokenizer: Of the model to be trained: rows are tokenized here, because the mask is.
            Without a chat template draws follow each other, each with an end-of-sequence token.
        draws: Draws a row, 2 or more.
        keep_description: Share of rows that begin with the prompt, in [0, 1].
        max_length: Longest row, in tokens.
        another: What the user says between two draws.
        keep_truncated: Let completions take part that stopped at the token limit.
        seed: Of shuffling and of leaving the prompt out.

    Returns:
        A data set of `input_ids` and `labels` (-100 without loss), which TRL's `SFTTrainer` takes
        as it is. `info.description` holds the counts as JSON.

    Raises:
        ValueError: An option or a row is unusable, or no row is left (with the reasons).

    Reference:
        T. Sorensen et al., "Spectrum Tuning: Post-Training for Distributional Coverage and
        In-Context Steerability", arXiv 2510.06084. Deviations: turns of a chat in place of new
        special tokens; descriptions are the prompts, and there are no inputs besides; their data
        are 90 tasks with human or random outputs, not a model's.
    """
    check_spectrum_options(draws=draws, keep_description=keep_description, max_length=max_length)
    random, undescribed = np.random.default_rng(seed), 0
    pools = merge_pools(rows, columns=[], keep_truncated=keep_truncated)
    examples: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for pool in pools:
        counts["truncated"] += pool.truncated
        texts = [text.strip() for text in pool.completions if text.strip()]
        counts["blank"] += len(pool.completions) - len(texts)
        queue = [texts[i] for i in random.permutation(len(texts))]
        while queue:
            prompt = pool.prompt if random.random() < keep_description else None
            row, used = spectrum_sequence(
                tokenizer, prompt, queue[:draws], max_length=max_length, another=another
            )
            if used < 2:
                # What is too long goes; the last one of a pool has no company.
                counts["too long, or left alone"] += 1
                queue = queue[1:]
                continue
            examples.append(row)
            undescribed += prompt is None
            queue = queue[used:]
    return counted_dataset(examples, len(pools), counts, without_prompt=undescribed)


def spectrum_sequence(
    tokenizer: Any,
    prompt: Prompt | None,
    outputs: Sequence[str],
    *,
    max_length: int,
    another: str = ANOTHER,
) -> tuple[dict[str, list[int]], int]:
    """Tokenize one row of draws, as many as fit, with labels on them and on their ends.

    Args:
        tokenizer: With a chat template or without.
        prompt: What the draws answer, or None to leave it out.
        outputs: The draws.
        max_length: Longest row, in tokens.
        another: What the user says between two draws.

    Returns:
        `input_ids` and `labels`, and how many draws are in. None are in where the template writes
        the beginning of a chat in another way once there is more of it.

    Raises:
        ValueError: The prompt does not end with a turn of the user, or the tokenizer has no
            end-of-sequence token.
    """
    if tokenizer.eos_token_id is None:
        raise ValueError("the tokenizer has no end-of-sequence token: a draw could not end")
    add = _add_turn if tokenizer.chat_template else _add_text
    messages = as_messages(another if prompt is None and tokenizer.chat_template else prompt or [])
    if messages and messages[-1]["role"] != "user":
        raise ValueError(f"a prompt must end with a turn of the user, got {messages[-1]}")
    ids: list[int] = []
    labels: list[int] = []
    for used, output in enumerate(outputs):
        if used and tokenizer.chat_template:
            messages.append({"role": "user", "content": another})
        before, after = add(tokenizer, messages, ids, output)
        if len(after) > max_length or after[: len(before)] != before or before[: len(ids)] != ids:
            return {"input_ids": ids, "labels": labels}, used
        answer = after[len(before) :]
        # A template may write more behind the end of a turn; that is not the model's to say.
        end = max((i for i, t in enumerate(answer) if t == tokenizer.eos_token_id), default=None)
        learned = answer if end is None else answer[: end + 1]
        labels += [IGNORED] * (len(before) - len(labels)) + learned
        labels += [IGNORED] * (len(answer) - len(learned))
        ids = after
    return {"input_ids": ids, "labels": labels}, len(outputs)


def check_spectrum_options(*, draws: int, keep_description: float, max_length: int) -> None:
    """Accept the options of `spectrum_examples` before anything is drawn for it.

    Raises:
        ValueError: One is outside its range.
    """
    check_integer("draws", draws, 2)
    check_integer("max_length", max_length, 1)
    if not 0.0 <= keep_description <= 1.0:
        raise ValueError(f"keep_description must be in [0, 1], got {keep_description}")


def _add_turn(
    tokenizer: Any, messages: list[Message], ids: list[int], output: str
) -> tuple[list[int], list[int]]:
    """Return the tokens before and after the draw as a turn of the assistant."""
    del ids
    before = chat_token_ids(tokenizer, messages)
    messages.append({"role": "assistant", "content": output})
    whole = tokenizer.apply_chat_template([dict(m) for m in messages], return_dict=True)
    return before, list(whole["input_ids"])


def _add_text(
    tokenizer: Any, messages: list[Message], ids: list[int], output: str
) -> tuple[list[int], list[int]]:
    """Return the tokens before and after the draw as plain text that ends."""
    before = ids
    if not ids:
        before = list(tokenizer("")["input_ids"])
        if messages:
            text = "\n\n".join(message["content"] for message in messages)
            before = list(tokenizer(f"{text}\n\n")["input_ids"])
    drawn = list(tokenizer(output, add_special_tokens=False)["input_ids"])
    return before, [*before, *drawn, tokenizer.eos_token_id]
