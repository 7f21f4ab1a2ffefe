"""Generation rows to a preference data set: merge pools, ask kernel and qualities, write pairs."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from datasets import Dataset

from diversify.credit import TIE, Credit, leave_one_out
from diversify.engines import Prompt, as_messages
from diversify.gates import Quality, ask_qualities, best_share, check_keep, standing
from diversify.kernels import Kernel, check_integer
from diversify.pairs.rules import (
    Floats,
    Pair,
    Rejected,
    deviation_weights,
    divpo_pairs,
    gated_pairs,
    match,
    pairable,
)

logger = logging.getLogger(__name__)

Method: TypeAlias = Literal["divpo", "gated", "quality"]

RUN_COLUMNS = {"prompt", "generations", "model", "truncated", "details", "config", "key"}
"""What a row of `generations.jsonl` says about its run, and no quality is told."""


SENTENCE_END = re.compile(r"""(?<=[^\W\d_]{3})[.!?]+["')\]*]*(?=\s|$)|\n""")
"""The end of a line, or of a sentence: a stop behind three letters, so not "1." or "St."."""


@dataclass(frozen=True)
class PairRule:
    """How the pairs of one pool are chosen: every option of `build_pairs` that is a rule.

    Args:
        method: `"divpo"` (the paper), `"gated"` (ours) or `"quality"` (the control: the best
            against the worst, and diversity plays no part).
        credit: S to credits (n,): which completions are diverse.
        fraction: divpo: share of the pool that counts as best, and as worst, in (0, 0.5].
        pairs: pairs a prompt, at most.
        keep: gated: share of the pool that passes each quality, in (0, 1]; one number, or one for
            each name of a quality.
        at_least: gated: values that a chosen completion must reach, by name of the quality: for a
            rule or an answer list, where a share of the pool means little.
        rejected: gated: `"typical"`, `"worst"` or `"mixed"` (see `gated_pairs`).
        max_length_ratio: longer over shorter of a pair, in characters; None allows any.
        min_words: fewest words of a chosen completion.
        deviation: kernels for the weights of DDPO (`deviation_weights`); none weighs all pairs 1.
        keep_truncated: let completions take part that stopped at the token limit.
        reject_truncated: let them be rejected, and only that: nothing cut off is ever chosen.
        first_sentence: cut every completion behind its first sentence or line. For questions that
            one sentence answers: a completion that the token limit cut later on is then whole.

    Raises:
        ValueError: An option is outside its range.
    """

    method: Method = "divpo"
    credit: Credit = leave_one_out
    fraction: float = 0.25
    pairs: int = 1
    keep: float | Mapping[str, float] = 0.6
    at_least: Mapping[str, float] = field(default_factory=dict)
    rejected: Rejected = "typical"
    max_length_ratio: float | None = None
    min_words: int = 1
    deviation: Sequence[Kernel] = ()
    keep_truncated: bool = False
    reject_truncated: bool = False
    first_sentence: bool = False

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise ValueError(f"method must be one of {list(get_args(Method))}, got {self.method!r}")
        if self.rejected not in get_args(Rejected):
            raise ValueError(
                f"rejected must be one of {list(get_args(Rejected))}, got {self.rejected!r}"
            )
        if not 0.0 < self.fraction <= 0.5:
            raise ValueError(f"fraction must be in (0, 0.5], got {self.fraction}")
        check_integer("pairs", self.pairs, 1)
        shares = self.keep.items() if isinstance(self.keep, Mapping) else [("keep", self.keep)]
        for name, share in shares:
            check_keep(name, share)
        pairable([], max_length_ratio=self.max_length_ratio, min_words=self.min_words)

    def __call__(
        self,
        completions: Sequence[str],
        S: Floats,
        qualities: Mapping[str, Floats],
        *,
        whole: Sequence[bool] | None = None,
    ) -> list[Pair]:
        """Choose the pairs of one pool in which every completion is scored.

        Args:
            completions: n texts of one prompt.
            S: Similarities (n, n).
            qualities: name -> values (n,), without NaN.
            whole: Which completions may be chosen; all by default.

        Returns:
            Pairs (chosen, rejected) of indices; none where the pool is too small.
        """
        n = len(completions)
        rank = standing(qualities, n)
        allowed = pairable(
            completions, max_length_ratio=self.max_length_ratio, min_words=self.min_words
        )
        if whole is not None:
            allowed = allowed & np.asarray(whole, dtype=np.bool_)[:, None]
        if n < 2 or (self.method == "divpo" and self.fraction * n + 1e-9 < 1):
            return []
        credit = self.credit(S)
        if self.method == "divpo":
            return divpo_pairs(
                completions,
                rank,
                credit,
                fraction=self.fraction,
                pairs=self.pairs,
                allowed=allowed,
            )
        if self.method == "quality":
            best = np.argsort(-rank, kind="stable")
            better = rank[:, None] > rank[None, :] + TIE
            return match(best, best[::-1], self.pairs, texts=completions, allowed=allowed & better)
        passing = np.ones(n, dtype=np.bool_)
        for name, values in qualities.items():
            passing &= best_share(values, keep=self._share(name))
            passing &= values >= self.at_least.get(name, -np.inf)
        return gated_pairs(
            completions,
            S,
            passing,
            credit,
            quality=rank if qualities else None,
            pairs=self.pairs,
            rejected=self.rejected,
            allowed=allowed,
        )

    def _share(self, name: str) -> float:
        """Return the share of the pool that passes this quality."""
        if not isinstance(self.keep, Mapping):
            return self.keep
        if name not in self.keep:
            raise ValueError(f"keep must name the quality {name!r}; it names {sorted(self.keep)}")
        return self.keep[name]


@dataclass
class Pool:
    """All completions of one prompt, from however many rows, and what the rows say besides."""

    name: str
    prompt: Prompt
    columns: dict[str, Any]
    completions: list[str] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    truncated: int = 0


def merge_pools(
    rows: Iterable[Mapping[str, Any]],
    *,
    columns: Sequence[str] | None = None,
    keep_truncated: bool = False,
    first_sentence: bool = False,
) -> list[Pool]:
    """Merge the rows of each prompt into one pool, in order of first appearance.

    Args:
        rows: Generation rows of any number of runs: `prompt`, `generations` and more.
        columns: Which other columns the qualities are told; None for all that are not about the
            run (`RUN_COLUMNS`).
        keep_truncated: Whether completions marked in a row's `truncated` stay in.
        first_sentence: Whether completions are cut behind their first sentence or line; what has
            such an end is whole, whatever stopped it later.

    Returns:
        Pools.

    Raises:
        ValueError: A row has no prompt or no usable generations, lacks one of the columns, or
            contradicts an earlier row of its prompt; the message names the row.

    Example:
        >>> rows = [{"prompt": "A fruit?", "generations": ["fig"]},
        ...         {"prompt": "A fruit?", "generations": ["kiwi"], "model": "base"}]
        >>> [pool.completions for pool in merge_pools(rows)]
        [['fig', 'kiwi']]
    """
    pools: dict[str, Pool] = {}
    for number, row in enumerate(rows):
        name = f"row {number} (id {row['id']!r})" if "id" in row else f"row {number}"
        texts = _generations(row, name)
        wanted = sorted(row.keys() - RUN_COLUMNS) if columns is None else columns
        if missing := [column for column in wanted if column not in row]:
            raise ValueError(f"{name} has no column {missing[0]!r}; its columns are {sorted(row)}")
        told = {column: row[column] for column in wanted}
        key = json.dumps(as_messages(row["prompt"]), sort_keys=True)
        pool = pools.setdefault(key, Pool(name, row["prompt"], told))
        if pool.columns != told:
            differing = [c for c in {*told, *pool.columns} if told.get(c) != pool.columns.get(c)]
            raise ValueError(
                f"{name} and {pool.name} have one prompt but differ in {sorted(differing)}; "
                "choose the columns that the qualities need"
            )
        cut = row.get("truncated") or [False] * len(texts)
        if first_sentence:
            ends = [SENTENCE_END.search(text.strip()) for text in texts]
            cut = [stop and end is None for stop, end in zip(cut, ends, strict=True)]
            texts = [
                t.strip()[: e.end()].strip() if e else t for t, e in zip(texts, ends, strict=True)
            ]
        kept = [
            (t, not stop) for t, stop in zip(texts, cut, strict=True) if keep_truncated or not stop
        ]
        pool.completions += [text for text, _ in kept]
        pool.whole += [whole for _, whole in kept]
        pool.truncated += len(texts) - len(kept)
    return list(pools.values())


def build_pairs(
    rows: Iterable[Mapping[str, Any]],
    *,
    kernel: Kernel | None = None,
    kernel_of: Callable[[Mapping[str, Any]], Kernel] | None = None,
    quality: Mapping[str, Quality] | Quality | None = None,
    columns: Sequence[str] | None = None,
    **options: Any,
) -> Dataset:
    """Turn generation rows into the preference data set that TRL's `DPOTrainer` reads.

    Rows of one prompt are merged into one pool, whatever run they come from: several temperatures,
    base and tuned model, several models. A completion that a quality cannot score (None) or that
    was truncated takes no part. Prompts that yield no pair are counted in the log.

    Args:
        rows: Rows of `generations.jsonl`, of one run or of several one after the other.
        kernel: Texts to similarities. Judge the result with another one.
        kernel_of: In place of one kernel for all, the columns of a prompt's rows to its kernel
            (`lambda columns: AnswerKernel(columns["answers"])`).
        quality: One quality, or name -> quality (TRL's reward signature). Several count by their
            mean rank in the pool, and in `"gated"` each is a gate of its own.
        columns: Columns handed to the qualities; None for all that are not about the run.
        **options: The fields of `PairRule`: `method`, `credit`, `fraction`, `pairs`, `keep`,
            `at_least`, `rejected`, `max_length_ratio`, `min_words`, `deviation`, `keep_truncated`,
            `reject_truncated`, `first_sentence`.

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
        DivPO, arXiv 2501.18101 (`method="divpo"`); REDIPO, arXiv 2605.30021 (pools of base and
        tuned model; its rewriting of base outputs by the tuned model is not done here); DDPO,
        arXiv 2503.17126 (`deviation`).
    """
    rule = PairRule(**options)
    if (kernel is None) == (kernel_of is None):
        raise ValueError("build_pairs takes either kernel or kernel_of")
    qualities = quality if isinstance(quality, Mapping) else {"quality": quality} if quality else {}
    if not qualities and (rule.method in ("divpo", "quality") or rule.rejected != "typical"):
        raise ValueError(
            f"method={rule.method!r} with rejected={rule.rejected!r} needs a quality, got none"
        )
    pools = merge_pools(
        rows,
        columns=columns,
        keep_truncated=rule.keep_truncated or rule.reject_truncated,
        first_sentence=rule.first_sentence,
    )
    records: list[dict[str, Any]] = []
    counts: Counter[str] = Counter()
    for pool in pools:
        asked = ask_qualities(qualities, pool.prompt, pool.completions, pool.columns)
        scored = np.arange(len(pool.completions))
        for values in asked.values():
            scored = scored[~np.isnan(values[scored])]
        texts = [pool.completions[i] for i in scored]
        S = (kernel_of(pool.columns) if kernel_of else kernel)(texts)  # type: ignore[misc]
        whole = [rule.keep_truncated or pool.whole[i] for i in scored]
        worth = {name: values[scored] for name, values in asked.items()}
        pairs = rule(texts, S, worth, whole=whole)
        counts["truncated completions"] += pool.truncated
        counts["unscored completions"] += len(pool.completions) - len(texts)
        counts["prompts without a pair"] += not pairs
        weights = _weights(texts, rule.deviation) if pairs else np.ones(0)
        records += _records(pool.prompt, texts, pairs, weights)
    return _dataset(records, len(pools), counts)


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


def _weights(texts: Sequence[str], kernels: Sequence[Kernel]) -> Floats:
    """Weights (n,) of one pool; 1 without kernels."""
    return deviation_weights(*(k(texts) for k in kernels)) if kernels else np.ones(len(texts))


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


def _generations(row: Mapping[str, Any], name: str) -> list[str]:
    """Return the completions of a row, or raise ValueError with the name of the row."""
    for column in ("prompt", "generations"):
        if not row.get(column):
            raise ValueError(f"{name} has no {column}; its columns are {sorted(row)}")
    if isinstance(row["generations"], str) or not all(
        isinstance(text, str) for text in row["generations"]
    ):
        raise ValueError(f"{name}: generations must be a list of texts")
    return list(row["generations"])
