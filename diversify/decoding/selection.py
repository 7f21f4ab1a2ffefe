"""Over-generate and select: draw a pool, keep the good ones, of those the ones that differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from diversify.credit import cluster_and_best, dpp_select, facility_location, mmr_select, select
from diversify.decoding.prompting import PLAIN, Direct, Strategy
from diversify.decoding.records import Record
from diversify.engines import Engine, Generations, Prompt, Sampling
from diversify.gates import Quality, ask_qualities, best_share, check_keep, standing
from diversify.kernels import Kernel, callable_name, check_integer

__all__ = ["OverGenerate", "Selector"]

Selector: TypeAlias = Literal[
    "mmr", "dpp", "leave_one_out", "facility_location", "cluster_and_best"
]
Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]

# Added to the diagonal of a DPP's kernel, so that near-copies do not end the selection early.
JITTER = 1e-6


class Picked(NamedTuple):
    """What became of one pool; every field holds indices into it."""

    kept: Indices  # in the order of picking
    dropped: dict[int, str]  # of the others, why


@dataclass(frozen=True)
class OverGenerate:
    r"""Draw `factor * n` completions, gate them on quality, select `n` that differ.

    1. Draw the pool, optionally hotter than asked for, by any strategy.
    2. Set aside blank texts and exact copies, as long as `n` others remain.
    3. Keep the best `keep` share by *each* quality. When fewer than `n` pass them all, the best of
       the rest, by the mean of their ranks, fill up.
    4. Select `n`: `"mmr"` by maximal marginal relevance; `"dpp"` by the volume spanned,
       L = diag(q) S diag(q) with q = exp(weight * standing); `"leave_one_out"` by the effective
       number of answers (Vendi score) plus weight * standing; `"facility_location"` by how well they
       stand for the pool, plus weight * standing; `"cluster_and_best"` takes the best of each of
       `n` clusters, or of the clusters at a `threshold`. The standing is the mean rank by the
       qualities within the pool, from 0 to 1.

    `"mmr"`, `"dpp"` and `"leave_one_out"` look for what differs, rare answers included;
    `"facility_location"` and `"cluster_and_best"` for what there is several of, or one good text of
    each kind. When the pool has fewer than `n` texts, all are kept and the missing are counted.

    Cost: 1 call and `factor * n` completions a prompt (or what the strategy costs for as many), one
    kernel matrix, plus the qualities. Selection maximises what its kernel sees: judge the result
    with another kernel or embedder. The selected are no independent draws from the model, and come
    in the order of picking.

    Args:
        factor: how many candidates for each completion that is wanted, 1 or more; 1 draws `n`
            and only orders them.
        kernel: texts to similarities.
        quality: name -> quality (TRL's reward signature). None gates and ranks nothing: the
            selection is then by difference alone, which collects the odd and the broken.
        keep: share that passes each quality, in (0, 1].
        selector: how the set is chosen.
        weight: of quality against difference in the selection. For `"mmr"` in [0, 1]; for the
            others 0 or more. In `"cluster_and_best"` quality alone decides within a cluster.
        threshold: only for `"cluster_and_best"`: texts as similar as this are of one cluster, in
            [-1, 1]; None makes as many clusters as texts are wanted.
        temperature: of the candidates; None keeps that of the sampling. Hot candidates and a gate
            often beat cool ones without.
        strategy: how the pool is drawn.

    Raises:
        ValueError: an option is outside its range or does not go with the selector; when called, n
            is below 1, or a quality or the kernel misbehaves.

    Reference:
        Greedy selection of sets: Carbonell and Goldstein (1998) for MMR; L. Chen, Zhang and Zhou,
        "Fast Greedy MAP Inference for Determinantal Point Process to Improve Recommendation
        Diversity", arXiv 1709.05135. The gate in place of a sum follows the ablation in MoDA,
        arXiv 2609.14896, where sums were sensitive to the weight; that was in training.
    """

    factor: float = 4
    kernel: Kernel = field(kw_only=True)
    quality: Mapping[str, Quality] | None = field(default=None, kw_only=True)
    keep: float = field(default=0.6, kw_only=True)
    selector: Selector = field(default="mmr", kw_only=True)
    weight: float = field(default=0.5, kw_only=True)
    threshold: float | None = field(default=None, kw_only=True)
    temperature: float | None = field(default=None, kw_only=True)
    strategy: Strategy = field(default_factory=Direct, kw_only=True)

    def __post_init__(self) -> None:
        if not (math.isfinite(self.factor) and self.factor >= 1):
            raise ValueError(f"factor must be a number >= 1, got {self.factor}")
        check_keep("keep", self.keep)
        if self.selector not in get_args(Selector):
            raise ValueError(
                f"selector must be one of {list(get_args(Selector))}, got {self.selector!r}"
            )
        highest = 1.0 if self.selector == "mmr" else math.inf
        if not (0.0 <= self.weight <= highest and math.isfinite(self.weight)):
            raise ValueError(
                f"weight must be finite and in [0, {highest}] for {self.selector!r}, "
                f"got {self.weight}"
            )
        if self.threshold is not None:
            if self.selector != "cluster_and_best":
                raise ValueError(
                    f"threshold goes with 'cluster_and_best', not with {self.selector!r}"
                )
            if not -1.0 <= self.threshold <= 1.0:
                raise ValueError(f"threshold must be in [-1, 1] or None, got {self.threshold}")
        if self.temperature is not None:
            PLAIN.at(temperature=self.temperature)  # raises where a temperature is impossible

    def __call__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        n: int,
        sampling: Sampling = PLAIN,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Generations:
        """Return `n` selected completions a prompt, in the order of picking; fewer of a short pool.

        Args:
            engine: what draws the candidates.
            prompts: the prompts.
            n: completions a prompt.
            sampling: how the candidates are drawn.
            columns: name -> one value a prompt, handed to the qualities (`answers`, …).

        Returns:
            Generations; `dropped` in the `details` has the rest of the pool and why: blank, a copy,
            below a gate (by name), or not selected. `picked` are the positions in the pool.
        """
        check_integer("n", n, 1)
        if self.temperature is not None:
            sampling = sampling.at(temperature=self.temperature)
        wanted = math.ceil(self.factor * n)
        pools = self.strategy(engine, prompts, wanted, sampling, columns=columns)
        picked, details = [], []
        for row, (prompt, pool) in enumerate(zip(prompts, pools, strict=True)):
            values = {name: column[row] for name, column in (columns or {}).items()}
            picked.append(self._pick(prompt, pool, min(n, len(pool)), values))
            drawn = pools.details[row] if pools.details else {}
            notes = drawn.get("kept") or [""] * len(pool)
            record = Record.of(drawn)
            for position, why in picked[-1].dropped.items():
                record.drop([pool[position]], why)
            kept = picked[-1].kept.tolist()
            details.append(record.details([notes[i] for i in kept], n, picked=kept))
        return Generations(
            prompts=list(prompts),
            texts=[[pool[i] for i in p.kept] for pool, p in zip(pools, picked, strict=True)],
            truncated=[
                [flags[i] for i in p.kept] for flags, p in zip(pools.truncated, picked, strict=True)
            ]
            if pools.truncated
            else [],
            details=details,
        )

    def describe(self) -> dict[str, Any]:
        """Return the name and every option, as the record of a run keeps them."""
        return {
            "name": "over_generate",
            "factor": self.factor,
            "kernel": self.kernel.name,
            "quality": {name: callable_name(f) for name, f in (self.quality or {}).items()},
            "keep": self.keep,
            "selector": self.selector,
            "weight": self.weight,
            "threshold": self.threshold,
            "temperature": self.temperature,
            "strategy": self.strategy.describe(),
        }

    def _pick(
        self, prompt: Prompt, pool: Sequence[str], n: int, columns: Mapping[str, Any]
    ) -> Picked:
        """Run steps 2 to 4 on one pool of `n` texts or more."""
        if not n:
            return Picked(np.empty(0, dtype=np.intp), {})
        candidates, spares = set_aside(pool, n)
        texts = [pool[i] for i in candidates]
        qualities = ask_qualities(self.quality or {}, prompt, texts, columns)
        rank = standing(qualities, len(texts))
        good = pass_gates(qualities, rank, n, keep=self.keep)
        S = self.kernel([texts[i] for i in good])
        chosen = good[
            choose(
                S,
                rank[good],
                n,
                selector=self.selector,
                weight=self.weight,
                threshold=self.threshold,
            )
        ]
        dropped = {int(i): "copy" if pool[i].strip() else "blank" for i in spares}
        passed = {name: best_share(values, keep=self.keep) for name, values in qualities.items()}
        for i in np.setdiff1d(np.arange(len(texts)), chosen):
            failed = [name for name, mask in passed.items() if not mask[i]]
            gated = f"below the gate: {', '.join(failed)}"
            dropped[int(candidates[i])] = gated if failed and i not in good else "not selected"
        return Picked(candidates[chosen], dict(sorted(dropped.items())))


def set_aside(pool: Sequence[str], n: int) -> tuple[Indices, Indices]:
    """Split a pool into candidates and spares: blank texts, and copies of an earlier text.

    Args:
        pool: texts.
        n: how many candidates are needed at least; the first spares fill up to it.

    Returns:
        Positions of the candidates, and positions of the spares, each in the order of the pool
        but for the spares that were called up: those come last.

    Example:
        >>> [indices.tolist() for indices in set_aside(["fig", "", "fig", "kiwi"], 2)]
        [[0, 3], [1, 2]]
        >>> [indices.tolist() for indices in set_aside(["fig", "fig", "fig"], 2)]
        [[0, 1], [2]]
    """
    seen: set[str] = {""}
    candidates: list[int] = []
    spares: list[int] = []
    for position, text in enumerate(pool):
        (spares if text.strip() in seen else candidates).append(position)
        seen.add(text.strip())
    missing = max(0, n - len(candidates))
    return (
        np.array(candidates + spares[:missing], dtype=np.intp),
        np.array(spares[missing:], dtype=np.intp),
    )


def pass_gates(qualities: Mapping[str, Floats], rank: Floats, size: int, *, keep: float) -> Indices:
    """List who is among the best by every quality, and never fewer than `size`.

    Args:
        qualities: name -> values (n,), NaN for unscored.
        rank: Standing (n,): who fills up first, when too few pass.
        size: How many are needed at least, at most n.
        keep: Share that passes each quality.

    Returns:
        Indices, ascending.

    Example:
        >>> qualities = {"a": np.array([3.0, 2.0, 1.0]), "b": np.array([1.0, 2.0, 3.0])}
        >>> pass_gates(qualities, standing(qualities, 3), 1, keep=0.6).tolist()
        [1]
    """
    passing = np.ones(len(rank), dtype=np.bool_)
    for values in qualities.values():
        passing &= best_share(values, keep=keep)
    order = np.argsort(-rank, kind="stable")
    fill = order[~passing[order]][: max(0, size - int(passing.sum()))]
    passing[fill] = True
    return np.flatnonzero(passing)


def choose(
    S: Floats,
    rank: Floats,
    size: int,
    *,
    selector: Selector,
    weight: float,
    threshold: float | None = None,
) -> Indices:
    """Select `size` texts that differ and are good, by one of the selectors of `OverGenerate`.

    Args:
        S: Similarities (n, n) of the texts that passed.
        rank: Their standing (n,), in [0, 1].
        size: How many to pick.
        selector: One of `Selector`.
        weight: Of quality against difference.
        threshold: Of the clusters, for `"cluster_and_best"`.

    Returns:
        Indices (size,) in the order of picking.

    Raises:
        ValueError: `S` is no similarity matrix, or not positive semi-definite where the selector
            needs that (`"dpp"`, `"leave_one_out"`).

    Example:
        >>> S = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
        >>> choose(S, np.array([0.5, 1.0, 0.0]), 2, selector="mmr", weight=0.5).tolist()
        [1, 2]
    """
    if selector == "mmr":
        return mmr_select(rank, S, size, weight=weight)
    if selector == "dpp":
        q = np.exp(weight * rank)
        return dpp_select(q[:, None] * (S + JITTER * np.eye(len(S))) * q, size)
    if selector == "facility_location":
        return facility_location(S, size, quality=rank, weight=weight)
    if selector == "cluster_and_best":
        return cluster_and_best(rank, S, size, threshold=threshold)
    return select(S, size, quality=rank, weight=weight)
