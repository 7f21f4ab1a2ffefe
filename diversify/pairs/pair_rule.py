"""Every option that decides which completions of a pool become pairs, in one record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from diversify.credit import TIE, Credit, leave_one_out
from diversify.gates import best_share, check_keep, standing
from diversify.kernels import Kernel, check_integer
from diversify.pairs.rules import (
    Floats,
    Mask,
    Pair,
    Rejected,
    divpo_pairs,
    gated_pairs,
    match,
    pairable,
    similar_pairs,
)

__all__ = ["Method", "PairRule"]

Method: TypeAlias = Literal["divpo", "similar", "gated", "quality"]


@dataclass(frozen=True)
class PairRule:
    """How the pairs of one pool are chosen: every option of `build_pairs` that is a rule.

    Args:
        method: `"divpo"` (the paper), `"similar"` (REDIPO: the more diverse of two that are about
            equally good), `"gated"` (ours) or `"quality"` (the control: the best against the worst,
            and diversity plays no part).
        credit: S to credits (n,): which completions are diverse.
        fraction: divpo: share of the pool that counts as best, and as worst, in (0, 0.5].
        band: similar: how far apart two completions may stand in quality, as a share of the ranks
            of the pool, in [0, 1].
        pairs: pairs a prompt, at most.
        keep: gated: share of the pool that passes each quality and may be chosen, in (0, 1]; one
            number, or one for each name of a quality. similar: that may be in a pair at all.
        at_least: gated, similar: values that such a completion must reach, by name of the quality:
            for a rule or an answer list, where a share of the pool means little.
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
    band: float = 0.1
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
        if not 0.0 <= self.band <= 1.0:
            raise ValueError(f"band must be in [0, 1], got {self.band}")
        check_integer("pairs", self.pairs, 1)
        shares = self.keep.items() if isinstance(self.keep, Mapping) else [("keep", self.keep)]
        for name, share in shares:
            check_keep(name, share)
        pairable([], max_length_ratio=self.max_length_ratio, min_words=self.min_words)

    @property
    def ranks_by_diversity(self) -> bool:
        """Whether the rule ranks by a diversity of any scale, and not by one on that of S."""
        return self.method in ("divpo", "similar")

    def __call__(
        self,
        completions: Sequence[str],
        S: Floats | None,
        qualities: Mapping[str, Floats],
        *,
        diversity: Floats | None = None,
        whole: Sequence[bool] | None = None,
    ) -> list[Pair]:
        """Choose the pairs of one pool in which every completion is scored.

        Args:
            completions: n texts of one prompt.
            S: Similarities (n, n); None where neither credit nor gate needs them.
            qualities: name -> values (n,), without NaN.
            diversity: Values (n,) in place of the credit of S, for `"divpo"` and `"similar"`.
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
        how: dict[str, Any] = {"pairs": self.pairs, "allowed": allowed}
        if self.method == "quality":
            best = np.argsort(-rank, kind="stable")
            better = rank[:, None] > rank[None, :] + TIE
            return match(best, best[::-1], self.pairs, texts=completions, allowed=allowed & better)
        if diversity is None:
            if S is None:
                raise ValueError(f"method={self.method!r} needs similarities or a diversity")
            diversity = self.credit(S)
        if self.method == "divpo":
            return divpo_pairs(completions, rank, diversity, fraction=self.fraction, **how)
        passing = self._passing(qualities, n)
        if self.method == "similar":
            among = [value if ok else None for value, ok in zip(rank, passing, strict=True)]
            return similar_pairs(completions, among, diversity, band=self.band, **how)
        if S is None:
            raise ValueError(f"method={self.method!r} needs similarities, got none")
        quality = rank if qualities else None
        how |= {"quality": quality, "rejected": self.rejected}
        return gated_pairs(completions, S, passing, diversity, **how)

    def _passing(self, qualities: Mapping[str, Floats], n: int) -> Mask:
        """Mark what every quality lets through."""
        passing = np.ones(n, dtype=np.bool_)
        for name, values in qualities.items():
            passing &= best_share(values, keep=self._share(name))
            passing &= values >= self.at_least.get(name, -np.inf)
        return passing

    def _share(self, name: str) -> float:
        """Return the share of the pool that passes this quality."""
        if not isinstance(self.keep, Mapping):
            return self.keep
        if name not in self.keep:
            raise ValueError(f"keep must name the quality {name!r}; it names {sorted(self.keep)}")
        return self.keep[name]
