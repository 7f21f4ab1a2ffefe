"""The plain prompt, answered by several good completions that differ."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from diversify.credit import select
from diversify.demonstrations.record import counted_dataset
from diversify.engines import Prompt, as_messages
from diversify.gates import Quality, ask_qualities, best_share, check_keep, standing
from diversify.kernels import Kernel, check_integer
from diversify.pools import Pool, merge_pools

__all__ = ["check_direct_options", "direct_examples"]

Floats: TypeAlias = NDArray[np.float64]


def direct_examples(
    rows: Iterable[Mapping[str, Any]],
    *,
    kernel: Kernel,
    quality: Mapping[str, Quality] | Quality | None = None,
    keep: float = 0.6,
    at_least: Mapping[str, float] | None = None,
    per_prompt: int = 4,
    weight: float = 0.5,
    min_words: int = 1,
    columns: Sequence[str] | None = None,
    keep_truncated: bool = False,
    first_sentence: bool = False,
) -> Dataset:
    """Answer each plain prompt by several good completions that differ.

    Rows of one prompt are one pool, whatever run they come from. Of a pool these are left out in
    turn: what was cut off, what is too short or a copy, what a quality cannot score, what is not
    among the best `keep` share by every quality. From the rest, `per_prompt` are picked so that
    their effective number (Vendi score) plus `weight` times their standing by the qualities grows
    most.

    Args:
        rows: Rows of `generations.jsonl`, of one run or of several one after the other. Their
            `prompt` is the plain one, however the strategy asked.
        kernel: Texts to similarities. Judge the result with another one.
        quality: One quality, or name -> quality. None gates nothing: what differs is then also
            what is odd and broken.
        keep: Share of the pool that passes each quality, in (0, 1].
        at_least: Values that an example must reach, by name of the quality: for a rule or an answer
            list, where a share of the pool means little.
        per_prompt: Examples a prompt, at most.
        weight: Of quality against difference, 0 or more.
        min_words: Fewest words of an example.
        columns: Columns handed to the qualities; None for all that are not about the run.
        keep_truncated: Let completions take part that stopped at the token limit.
        first_sentence: Cut every completion behind its first sentence or line.

    Returns:
        A data set of `prompt` and `completion` (chat messages), one row an example.
        `info.description` holds the counts as JSON: prompts, examples, and drops by reason.

    Raises:
        ValueError: An option or a row is unusable, or no example is left (with the reasons).

    Example:
        >>> from diversify.kernels import NgramKernel
        >>> rows = [{"prompt": "A fruit?", "generations": ["an apple", "an apple", "a kiwi", ""]}]
        >>> examples = direct_examples(rows, kernel=NgramKernel(1))
        >>> [messages[0]["content"] for messages in examples["completion"]]
        ['an apple', 'a kiwi']
        >>> examples.info.description
        '{"prompts": 1, "examples": 2, "dropped": {"too short": 1, "copies": 1}}'

    Reference:
        Training on the answers of verbalized sampling: J. Zhang et al., arXiv 2510.01171; of
        personas: T. Ge et al., arXiv 2406.20094. Selection and gate are ours.
    """
    check_direct_options(keep=keep, per_prompt=per_prompt, weight=weight, min_words=min_words)
    qualities = quality if isinstance(quality, Mapping) else {"quality": quality} if quality else {}
    if unknown := set(at_least or {}) - set(qualities):
        raise ValueError(f"at_least names {sorted(unknown)}; the qualities are {sorted(qualities)}")
    pools = merge_pools(
        rows, columns=columns, keep_truncated=keep_truncated, first_sentence=first_sentence
    )
    examples: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for pool in pools:
        texts = _distinct(pool, min_words, counts)
        asked = ask_qualities(qualities, pool.prompt, texts, pool.columns)
        good = _good(asked, len(texts), keep, at_least or {}, counts)
        counts["prompts without an example"] += not len(good)
        if len(good):
            rank = standing(asked, len(texts))[good]
            S = kernel([texts[i] for i in good])
            picked = good[select(S, min(per_prompt, len(good)), quality=rank, weight=weight)]
            counts["good but not needed"] += len(good) - len(picked)
            examples += [_example(pool.prompt, texts[i]) for i in picked]
    return counted_dataset(examples, len(pools), counts)


def check_direct_options(*, keep: float, per_prompt: int, weight: float, min_words: int) -> None:
    """Accept the options of `direct_examples` before anything is drawn for it.

    Raises:
        ValueError: One is outside its range.
    """
    check_keep("keep", keep)
    check_integer("per_prompt", per_prompt, 1)
    check_integer("min_words", min_words, 1)
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"weight must be a number >= 0, got {weight}")


def _distinct(pool: Pool, min_words: int, counts: Counter[str]) -> list[str]:
    """Return the texts of a pool once each, without what is too short; count what is left out."""
    counts["truncated"] += pool.truncated
    texts = [text.strip() for text in pool.completions]
    long_enough = [text for text in texts if len(text.split()) >= max(min_words, 1)]
    distinct = list(dict.fromkeys(long_enough))
    counts["too short"] += len(texts) - len(long_enough)
    counts["copies"] += len(long_enough) - len(distinct)
    return distinct


def _good(
    asked: Mapping[str, Floats],
    n: int,
    keep: float,
    at_least: Mapping[str, float],
    counts: Counter[str],
) -> NDArray[np.intp]:
    """Return which of n texts every quality scores and lets pass; count the others."""
    scored = np.ones(n, dtype=np.bool_)
    for values in asked.values():
        scored &= ~np.isnan(values)
    passing = scored.copy()
    for name, values in asked.items():
        passing &= best_share(np.where(scored, values, np.nan), keep=keep)
        passing &= np.nan_to_num(values, nan=-np.inf) >= at_least.get(name, -np.inf)
    counts["unscored"] += int((~scored).sum())
    counts["not good enough"] += int((scored & ~passing).sum())
    return np.flatnonzero(passing)


def _example(prompt: Prompt, text: str) -> dict[str, Any]:
    """Write an example as TRL wants it."""
    return {
        "prompt": as_messages(prompt),
        "completion": [{"role": "assistant", "content": text}],
    }
