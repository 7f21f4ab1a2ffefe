"""Over-generate and select: draw a pool, keep the good ones, of those the ones that differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from diversify.credit import dpp_select, mmr_select, select
from diversify.decoding.prompting import PLAIN
from diversify.engines import Engine, Generations, Prompt, Sampling
from diversify.gates import Quality, ask_qualities, best_share, check_keep, standing
from diversify.kernels import Kernel, callable_name

__all__ = ["OverGenerate", "Selector"]

Selector: TypeAlias = Literal["mmr", "dpp", "leave_one_out"]
Floats: TypeAlias = NDArray[np.float64]
Indices: TypeAlias = NDArray[np.intp]

# Added to the diagonal of a DPP's kernel, so that near-copies do not end the selection early.
JITTER = 1e-6


class Picked(NamedTuple):
    """What became of one pool; every field holds indices into it."""

    kept: Indices  # in the order of picking
    duplicates: Indices  # blank, or the same text as an earlier one
    gated: Indices  # not good enough

    def as_details(self, drawn: int) -> dict[str, Any]:
        """What goes on record: JSON-serialisable."""
        return {
            "completions": drawn,
            "kept": self.kept.tolist(),
            "duplicates": self.duplicates.tolist(),
            "gated_out": self.gated.tolist(),
        }


@dataclass(frozen=True)
class OverGenerate:
    r"""Draw `factor * n` completions, gate them on quality, select `n` that differ.

    1. Draw the pool, optionally hotter than asked for.
    2. Set aside blank texts and exact copies, as long as `n` others remain.
    3. Keep the best `keep` share by *each* quality. When fewer than `n` pass them all, the best of
       the rest, by the mean of their ranks, fill up.
    4. Select `n`: `"mmr"` by maximal marginal relevance; `"dpp"` by the volume spanned,
       L = diag(q) S diag(q) with q = exp(weight * standing); `"leave_one_out"` by the effective
       number of answers (Vendi score) plus weight * standing. The standing is the mean rank by the
       qualities within the pool, from 0 to 1.

    Cost: `factor * n` completions and one kernel matrix a prompt, plus the qualities. Selection
    maximises what its kernel sees: judge the result with another kernel or embedder. The selected
    are no independent draws from the model, and come in the order of picking.

    Args:
        factor: how many candidates for each completion that is wanted, 1 or more; 1 draws `n`
            and only orders them.
        kernel: texts to similarities.
        quality: name -> quality (TRL's reward signature). None gates and ranks nothing: the
            selection is then by difference alone, which collects the odd and the broken.
        keep: share that passes each quality, in (0, 1].
        selector: how the set is chosen.
        weight: of quality against difference in the selection. For `"mmr"` in [0, 1]; for the
            others 0 or more.
        temperature: of the candidates; None keeps that of the sampling. Hot candidates and a gate
            often beat cool ones without.

    Raises:
        ValueError: an option is outside its range; when called, n is below 1, the engine returned
            fewer candidates than were asked for, or a quality or the kernel misbehaves.

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
    temperature: float | None = field(default=None, kw_only=True)

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
        """Return `n` selected completions a prompt, in the order of picking.

        Args:
            engine: what draws the candidates.
            prompts: the prompts.
            n: completions a prompt.
            sampling: how the candidates are drawn.
            columns: name -> one value a prompt, handed to the qualities (`answers`, …).

        Returns:
            Generations; `details` has, for each prompt, `completions` (how many were drawn: the
            cost) and the positions in the pool that were `kept` (in order), set aside as
            `duplicates` (or blank), or `gated_out`.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        if self.temperature is not None:
            sampling = sampling.at(temperature=self.temperature)
        pools = engine.generate(prompts, math.ceil(self.factor * n), sampling)
        picked = []
        for row, (prompt, pool) in enumerate(zip(prompts, pools, strict=True)):
            if len(pool) < n:
                raise ValueError(f"n must not exceed the pool of {len(pool)} candidates, got {n}")
            values = {name: column[row] for name, column in (columns or {}).items()}
            picked.append(self._pick(prompt, pool, n, values))
        return Generations(
            prompts=list(prompts),
            texts=[[pool[i] for i in p.kept] for pool, p in zip(pools, picked, strict=True)],
            truncated=[
                [flags[i] for i in p.kept] for flags, p in zip(pools.truncated, picked, strict=True)
            ]
            if pools.truncated
            else [],
            details=[p.as_details(len(pool)) for pool, p in zip(pools, picked, strict=True)],
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
            "temperature": self.temperature,
        }

    def _pick(
        self, prompt: Prompt, pool: Sequence[str], n: int, columns: Mapping[str, Any]
    ) -> Picked:
        """Run steps 2 to 4 on one pool."""
        candidates, spares = set_aside(pool, n)
        texts = [pool[i] for i in candidates]
        qualities = ask_qualities(self.quality or {}, prompt, texts, columns)
        rank = standing(qualities, len(texts))
        good = pass_gates(qualities, rank, n, keep=self.keep)
        S = self.kernel([texts[i] for i in good])
        chosen = good[choose(S, rank[good], n, selector=self.selector, weight=self.weight)]
        gated = np.setdiff1d(np.arange(len(texts)), good)
        return Picked(candidates[chosen], spares, candidates[gated])


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


def choose(S: Floats, rank: Floats, size: int, *, selector: Selector, weight: float) -> Indices:
    """Select `size` texts that differ and are good, by one of the selectors of `OverGenerate`.

    Args:
        S: Similarities (n, n) of the texts that passed.
        rank: Their standing (n,), in [0, 1].
        size: How many to pick.
        selector: `"mmr"`, `"dpp"` or `"leave_one_out"`.
        weight: Of quality against difference.

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
    return select(S, size, quality=rank, weight=weight)
