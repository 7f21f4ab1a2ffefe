"""Pools to a preference data set: ask kernel and qualities, choose pairs, weigh them, write them."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from diversify.engines import Prompt, as_messages
from diversify.gates import Quality, ask_qualities
from diversify.kernels import Kernel
from diversify.pairs.criteria import word_rarity
from diversify.pairs.pair_rule import PairRule
from diversify.pairs.rules import Floats, Pair
from diversify.pairs.weights import creativity_weights, deviation_weights, mean_deviation, min_max
from diversify.pools import Pool, merge_pools

__all__ = ["SIGNALS", "build_pairs"]

logger = logging.getLogger(__name__)

SIGNALS = ("diversity", "novelty", "surprise", "quality")
"""The signals of creativity that a pair can be weighed by."""


def build_pairs(
    rows: Iterable[Mapping[str, Any]],
    *,
    kernel: Kernel | None = None,
    kernel_of: Callable[[Mapping[str, Any]], Kernel] | None = None,
    quality: Mapping[str, Quality] | Quality | None = None,
    diversity: Quality | None = None,
    creativity: Mapping[str, float] | None = None,
    surprise: Quality | None = None,
    columns: Sequence[str] | None = None,
    **options: Any,
) -> Dataset:
    """Turn generation rows into the preference data set that TRL's `DPOTrainer` reads.

    Rows of one prompt are merged into one pool, whatever run they come from: several temperatures,
    base and tuned model, several models. A completion that a quality or a criterion cannot score
    (None) or that was truncated takes no part. Prompts that yield no pair are counted in the log.

    Args:
        rows: Rows of `generations.jsonl`, of one run or of several one after the other.
        kernel: Texts to similarities. Judge the result with another one. Not needed where nothing
            asks for similarities: `method="quality"`, or a `diversity` of another kind.
        kernel_of: In place of one kernel for all, the columns of a prompt's rows to its kernel
            (`lambda columns: AnswerKernel(columns["answers"])`).
        quality: One quality, or name -> quality (TRL's reward signature). Several count by their
            mean rank in the pool, and in `"gated"` and `"similar"` each is a gate of its own.
        diversity: How unusual a completion is in its pool, in place of the credit of S, for
            `"divpo"` and `"similar"`: `rare_words`, `Improbability(likelihood of the policy)`, or
            a judge. Asked about one pool at a time.
        creativity: name -> weight of the signals that a pair is weighed by (CrPO), some of
            `SIGNALS`: the mean distance of the chosen completion to its pool, the rarity of its
            words, `surprise`, and its qualities (the mean of each brought to [0, 1]).
        surprise: The signal of that name: `Improbability` under a reference.
        columns: Columns handed to the qualities; None for all that are not about the run.
        **options: The fields of `PairRule`: `method`, `credit`, `fraction`, `band`, `pairs`,
            `keep`, `at_least`, `rejected`, `max_length_ratio`, `min_words`, `deviation`,
            `keep_truncated`, `reject_truncated`, `first_sentence`.

    Returns:
        A data set of `prompt`, `chosen`, `rejected` (chat messages) and `weight` (mean 1).
        `info.description` holds the counts as JSON: prompts, pairs, and drops by reason.

    Raises:
        ValueError: An option or a row is unusable (the row is named), or no prompt yields a pair
            (with the reasons).

    Example:
        >>> from diversify.kernels import NgramKernel
        >>> rows = [{"prompt": "A fruit?", "generations": ["an apple", "an apple pie", "kiwi"]}]
        >>> pairs = build_pairs(rows, kernel=NgramKernel(1), method="gated")
        >>> pairs["chosen"][0], pairs["rejected"][0]
        ([{'role': 'assistant', 'content': 'kiwi'}], [{'role': 'assistant', 'content': 'an apple'}])

    Reference:
        DivPO, arXiv 2501.18101 (`method="divpo"` and `diversity`); REDIPO, arXiv 2605.30021
        (`method="similar"` and pools of base and tuned model); DDPO, arXiv 2503.17126
        (`deviation`); CrPO, arXiv 2505.14442 (`creativity`).
    """
    rule = PairRule(**options)
    qualities = quality if isinstance(quality, Mapping) else {"quality": quality} if quality else {}
    shares = dict(creativity or {})
    _check(rule, qualities, diversity=diversity, shares=shares, surprise=surprise)
    alike = kernel_of if kernel is None else lambda columns: kernel
    needed = rule.method == "gated" or "diversity" in shares
    needed |= rule.ranks_by_diversity and diversity is None
    if (kernel is not None and kernel_of) or (needed and alike is None):
        raise ValueError("build_pairs takes either kernel or kernel_of")
    criteria = {"diversity": diversity, "surprise": surprise if "surprise" in shares else None}
    asking = {name: criterion for name, criterion in criteria.items() if criterion}
    pools = merge_pools(
        rows,
        columns=columns,
        keep_truncated=rule.keep_truncated or rule.reject_truncated,
        first_sentence=rule.first_sentence,
    )
    records: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for pool in pools:
        everyone = np.arange(len(pool.completions))
        scored, worth = _ask(qualities, pool, everyone)
        kept, criterion = _ask(asking, pool, scored)
        worth = {name: values[np.isin(scored, kept)] for name, values in worth.items()}
        texts = [pool.completions[i] for i in kept]
        S = alike(pool.columns)(texts) if alike and needed else None
        whole = [rule.keep_truncated or pool.whole[i] for i in kept]
        pairs = rule(texts, S, worth, diversity=criterion.get("diversity"), whole=whole)
        counts["truncated completions"] += pool.truncated
        counts["unscored completions"] += len(pool.completions) - len(texts)
        counts["prompts without a pair"] += not pairs
        weights = np.ones(len(texts))
        if pairs and rule.deviation:
            weights = deviation_weights(*(each(texts) for each in rule.deviation))
        elif pairs and shares:
            signals = _signals(shares, texts, S, worth, criterion)
            weights = creativity_weights(signals, shares)
        records += _records(pool.prompt, texts, pairs, weights)
    return _dataset(records, len(pools), counts)


def _check(
    rule: PairRule,
    qualities: Mapping[str, Quality],
    *,
    diversity: Quality | None,
    shares: Mapping[str, float],
    surprise: Quality | None,
) -> None:
    """Refuse options that do not go together, or raise ValueError."""
    needs = rule.method in ("divpo", "similar", "quality") or rule.rejected != "typical"
    if needs and not qualities:
        raise ValueError(
            f"method={rule.method!r} with rejected={rule.rejected!r} needs a quality, got none"
        )
    if diversity is not None and not rule.ranks_by_diversity:
        raise ValueError(f"diversity is for divpo and similar, got method={rule.method!r}")
    if unknown := sorted(shares.keys() - set(SIGNALS)):
        raise ValueError(f"creativity knows the signals {list(SIGNALS)}, got {unknown}")
    if shares and rule.deviation:
        raise ValueError("a pair has one weight: give either deviation or creativity")
    if "surprise" in shares and surprise is None:
        raise ValueError("the signal 'surprise' needs the criterion surprise, got none")
    if "quality" in shares and not qualities:
        raise ValueError("the signal 'quality' needs a quality, got none")


def _ask(
    qualities: Mapping[str, Quality], pool: Pool, some: NDArray[np.intp]
) -> tuple[NDArray[np.intp], dict[str, Floats]]:
    """Ask about some completions of a pool; return those that all can score, and their values."""
    texts = [pool.completions[i] for i in some]
    asked = ask_qualities(qualities, pool.prompt, texts, pool.columns)
    scored = np.ones(len(texts), dtype=np.bool_)
    for values in asked.values():
        scored &= ~np.isnan(values)
    return some[scored], {name: values[scored] for name, values in asked.items()}


def _signals(
    shares: Mapping[str, float],
    texts: Sequence[str],
    S: Floats | None,
    worth: Mapping[str, Floats],
    criterion: Mapping[str, Floats],
) -> dict[str, Floats]:
    """Return the signals that are asked for, of one pool."""
    found: dict[str, Floats] = {}
    if "diversity" in shares and S is not None:
        found["diversity"] = mean_deviation(S)
    if "novelty" in shares:
        found["novelty"] = word_rarity(texts)
    if "surprise" in shares:
        found["surprise"] = criterion["surprise"]
    if "quality" in shares:
        found["quality"] = np.mean([min_max(x, flat=0.5) for x in worth.values()], axis=0)
    return found


def _records(
    prompt: Prompt, texts: Sequence[str], pairs: Sequence[Pair], weights: Floats
) -> Iterator[dict[str, Any]]:
    """Write the pairs of one prompt as TRL wants them."""
    for chosen, rejected in pairs:
        yield {
            "prompt": as_messages(prompt),
            "chosen": [{"role": "assistant", "content": texts[chosen]}],
            "rejected": [{"role": "assistant", "content": texts[rejected]}],
            "weight": float(weights[chosen]),
        }


def _dataset(records: list[dict[str, Any]], prompts: int, counts: Counter[str]) -> Dataset:
    """Make the data set, with weights of mean 1 and the counts in its description."""
    summary = {"prompts": prompts, "pairs": len(records), "dropped": dict(+counts)}
    if not records:
        raise ValueError(f"no prompt yields a pair: {json.dumps(summary)}")
    logger.info("built pairs: %s", json.dumps(summary))
    total = sum(record["weight"] for record in records)
    for record in records:
        # The pairs are no random sample of the pool: without this, their weights would change the
        # learning rate. All of weight 0 cannot be told apart.
        record["weight"] = record["weight"] * len(records) / total if total > 0 else 1.0
    dataset = Dataset.from_list(records)
    dataset.info.description = json.dumps(summary)
    return dataset
