"""Which completions of one pool become pairs: functions of arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from diversify.credit import TIE, mmr_select
from diversify.kernels import check_integer, check_texts
from diversify.measures import check_finite, check_similarity

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]
Pair: TypeAlias = tuple[int, int]
"""Indices of the chosen and the rejected completion."""
Rejected: TypeAlias = Literal["typical", "worst", "mixed"]


def divpo_pairs(
    completions: Sequence[str],
    quality: Sequence[float | None] | Floats,
    diversity: Sequence[float] | Floats,
    *,
    fraction: float,
    pairs: int = 1,
    allowed: Mask | None = None,
) -> list[Pair]:
    r"""Pair the most diverse of the best with the least diverse of the worst.

    With :math:`k = \lfloor \rho n \rfloor` of the n scored completions: the k best by quality, the
    most diverse first, meet the k worst, the least diverse first.

    Args:
        completions: n texts of one prompt.
        quality: Values (n,); None excludes a completion, and it does not count in n.
        diversity: Values (n,), higher for the more unusual: any credit.
        fraction: :math:`\rho` in (0, 0.5]: how good is good, and how bad is bad. Smaller makes the
            pairs more about quality, larger more about diversity.
        pairs: How many at most. The second pair takes the next of either list.
        allowed: Mask (n, n) of [chosen, rejected] that may meet (`pairable`); None allows all.

    Returns:
        Pairs (chosen, rejected) of indices; fewer than `pairs` when the lists end. No text is used
        twice, so no text meets its own copy.

    Raises:
        ValueError: Shapes differ, values are not finite, `fraction` is outside (0, 0.5], `pairs`
            is below 1, or there are too few scored completions for k = 1.

    Example:
        >>> quality, diversity = [4, 3, 2, 1], [0.1, 0.9, 0.2, 0.8]
        >>> divpo_pairs(["a", "b", "c", "d"], quality, diversity, fraction=0.5, pairs=2)
        [(1, 2), (0, 3)]

    Reference:
        J. Lanchantin et al., "Diverse Preference Optimization", arXiv 2501.18101. Deviations: the
        paper computes the diversity within each subset by frequency or likelihood, here it is
        given; equal values go to the lower index; copies are never used twice.
    """
    texts = check_texts(completions)
    scored, values = _scored(texts, quality)
    diversity = _per_text("diversity", diversity, len(texts))
    if not 0.0 < fraction <= 0.5:
        raise ValueError(f"fraction must be in (0, 0.5], got {fraction}")
    check_integer("pairs", pairs, 1)
    k = math.floor(fraction * len(scored) + 1e-9)
    if k < 1:
        raise ValueError(
            f"fraction {fraction} of {len(scored)} scored completions is less than one; "
            f"at least {math.ceil(1 / fraction)} are needed"
        )
    ranked = scored[np.argsort(-values, kind="stable")]
    best, worst = np.sort(ranked[:k]), np.sort(ranked[-k:])
    chosen = best[np.argsort(-diversity[best], kind="stable")]
    rejected = worst[np.argsort(diversity[worst], kind="stable")]
    return match(chosen, rejected, pairs, texts=texts, allowed=allowed)


def gated_pairs(
    completions: Sequence[str],
    S: Floats,
    passing: Mask,
    credit: Floats,
    *,
    quality: Floats | None = None,
    pairs: int = 1,
    rejected: Rejected = "typical",
    allowed: Mask | None = None,
) -> list[Pair]:
    r"""Pair good completions that differ with the most typical completions, or the worst.

    Chosen are completions that pass, picked greedily by :math:`c_i - \max_j s_{ij}` over the
    already picked j (MMR): unlike the pool and unlike each other. Rejected are, by `rejected`:

    - `"typical"`: the greatest mean similarity to the rest of the pool first. This pushes down
      the mode itself; quality plays no part but in the gate of the chosen.
    - `"worst"`: the lowest quality first, as in ordinary preference data.
    - `"mixed"`: the first half of the pairs typical, the rest worst.

    A chosen completion is less typical, or better, than the one it is paired with.

    Args:
        completions: n texts of one prompt.
        S: Similarities (n, n).
        passing: Mask (n,): may it be chosen?
        credit: Credits (n,) within the pool, on the scale of similarities.
        quality: Values (n,), needed unless `rejected` is `"typical"`.
        pairs: How many at most.
        rejected: Which completions to push down.
        allowed: Mask (n, n) of [chosen, rejected] that may meet (`pairable`); None allows all.

    Returns:
        Pairs (chosen, rejected) of indices; no text is used twice.

    Raises:
        ValueError: Shapes differ, values are not finite, or an option is impossible.

    Example:
        >>> S = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
        >>> gated_pairs(["a", "b", "c"], S, np.array([True, True, True]), 1 - S.mean(axis=1))
        [(2, 1)]

    Reference:
        Ours. The gate in place of a sum is MoDA's, arXiv 2609.14896.
    """
    texts = check_texts(completions)
    S = check_similarity(S)
    credit = _per_text("credit", credit, len(texts))
    check_integer("pairs", pairs, 1)
    if rejected not in get_args(Rejected):
        raise ValueError(f"rejected must be one of {list(get_args(Rejected))}, got {rejected!r}")
    if rejected != "typical" and quality is None:
        raise ValueError(f"rejected={rejected!r} needs a quality, got none")
    if not len(S) == len(passing) == len(texts):
        raise ValueError(f"got {len(texts)} completions, S {S.shape} and passing {len(passing)}")
    candidates = np.flatnonzero(passing)
    if quality is not None:
        # Of equally different ones the better is picked, not the earlier.
        candidates = candidates[np.argsort(-np.asarray(quality)[candidates], kind="stable")]
    if len(texts) < 2 or not len(candidates):
        return []
    nearby = S[np.ix_(candidates, candidates)]
    chosen = candidates[mmr_select(credit[candidates], nearby, len(candidates))]
    allowed = np.ones(S.shape, dtype=np.bool_) if allowed is None else allowed
    typical = (S.sum(axis=1) - 1.0) / (len(S) - 1)
    stages = [(-typical, pairs)]
    if quality is not None and rejected != "typical":
        worth = _per_text("quality", quality, len(texts))
        stages = [(worth, pairs)]
        if rejected == "mixed":
            stages = [(-typical, (pairs + 1) // 2), (worth, pairs // 2)]
    found: list[Pair] = []
    for value, count in stages:
        # The lowest value is rejected first, and its chosen one must lie above it.
        above = value[:, None] > value[None, :] + TIE
        ranked = np.argsort(value, kind="stable")
        found += match(chosen, ranked, count, texts=texts, allowed=allowed & above, taken=found)
    return found


def similar_pairs(
    completions: Sequence[str],
    quality: Sequence[float | None] | Floats,
    diversity: Sequence[float] | Floats,
    *,
    band: float,
    pairs: int = 1,
    allowed: Mask | None = None,
) -> list[Pair]:
    r"""Pair completions of similar quality, the more diverse of the two chosen.

    Of all :math:`(i, j)` with :math:`|q_i - q_j| \le b` and :math:`d_i > d_j`, the pair with the
    greatest :math:`d_i - d_j` comes first, then the next of the texts that are left. Quality
    cannot explain what such a pair teaches, so little of it is traded away.

    Args:
        completions: n texts of one prompt.
        quality: Values (n,); None excludes a completion.
        diversity: Values (n,), higher for the more unusual: any credit.
        band: :math:`b`, 0 or more, in units of the quality: how much better or worse the chosen
            completion may be. Larger makes the pairs more about diversity alone.
        pairs: How many at most.
        allowed: Mask (n, n) of [chosen, rejected] that may meet (`pairable`); None allows all.

    Returns:
        Pairs (chosen, rejected) of indices; no text is used twice.

    Raises:
        ValueError: Shapes differ, values are not finite, `band` is negative, or `pairs` is below 1.

    Example:
        >>> quality, diversity = [0.9, 0.8, 0.1, 0.2], [0.3, 0.7, 1.0, 0.4]
        >>> similar_pairs(["a", "b", "c", "d"], quality, diversity, band=0.2, pairs=2)
        [(2, 3), (1, 0)]

    Reference:
        Samuel et al., "Recovering Diversity Without Losing Alignment: A DPO Recipe for Post-Trained
        LLMs" (REDIPO), arXiv 2605.30021, for the idea: marginally diverse completions preferred
        among those of similar reward. The order by difference and the single use of a text are
        ours.
    """
    texts = check_texts(completions)
    scored, values = _scored(texts, quality)
    diversity = _per_text("diversity", diversity, len(texts))
    if not 0.0 <= band < math.inf:
        raise ValueError(f"band must be a number of 0 or more, got {band}")
    check_integer("pairs", pairs, 1)
    gain = diversity[scored][:, None] - diversity[scored][None, :]
    near = np.abs(values[:, None] - values[None, :]) <= band + TIE
    candidates = np.argwhere(near & (gain > TIE))
    order = np.argsort(-gain[tuple(candidates.T)], kind="stable")
    found: list[Pair] = []
    for i, j in scored[candidates[order]]:
        if len(found) == pairs:
            break
        found += match([i], [j], 1, texts=texts, allowed=allowed, taken=found)
    return found


def match(
    chosen: Iterable[int],
    rejected: Sequence[int] | NDArray[np.intp],
    pairs: int,
    *,
    texts: Sequence[str],
    allowed: Mask | None = None,
    taken: Sequence[Pair] = (),
) -> list[Pair]:
    """Go down two lists: each chosen one takes the first rejected one that it may meet.

    Args:
        chosen: Indices, best first.
        rejected: Indices, best to reject first.
        pairs: How many at most.
        texts: n texts; one that was used, on either side, is not used again.
        allowed: Mask (n, n) of [chosen, rejected]; None allows all.
        taken: Pairs made before, whose texts are used up.

    Returns:
        Pairs (chosen, rejected).

    Example:
        >>> match([0, 1, 2], [3, 4, 5], 2, texts=["a", "a", "b", "a", "c", "d"])
        [(0, 4), (2, 5)]
    """
    used = {texts[i] for pair in taken for i in pair}
    found: list[Pair] = []
    for i in chosen:
        if len(found) == pairs:
            break
        if texts[i] in used:
            continue
        for j in rejected:
            if texts[j] not in used and texts[j] != texts[i] and (allowed is None or allowed[i, j]):
                found.append((int(i), int(j)))
                used |= {texts[i], texts[j]}
                break
    return found


def pairable(
    completions: Sequence[str], *, max_length_ratio: float | None = None, min_words: int = 1
) -> Mask:
    """Mark which completions may meet as [chosen, rejected].

    Judges, reward models and distances all have a taste in length; a pair of equal lengths cannot
    teach it.

    Args:
        completions: n texts.
        max_length_ratio: Greatest ratio of the longer to the shorter, in characters, 1 or more;
            None allows any.
        min_words: Fewest words of a chosen completion, 0 or more.

    Returns:
        Mask (n, n); no text may meet its copy.

    Raises:
        ValueError: An option is outside its range.

    Example:
        >>> print(pairable(["fig", "a ripe fig", "fig"], max_length_ratio=4, min_words=2))
        [[False False False]
         [ True False  True]
         [False False False]]
    """
    texts = check_texts(completions)
    check_integer("min_words", min_words, 0)
    if max_length_ratio is not None and not 1.0 <= max_length_ratio < math.inf:
        raise ValueError(f"max_length_ratio must be 1 or more, or None, got {max_length_ratio}")
    long_enough = np.array([len(text.split()) >= min_words for text in texts], dtype=np.bool_)
    length = np.array([max(len(text), 1) for text in texts], dtype=np.float64)
    ratio = np.maximum(length[:, None] / length, length / length[:, None])
    identity = {text: number for number, text in enumerate(texts)}
    text_id = np.array([identity[text] for text in texts], dtype=np.intp)
    mask: Mask = (text_id[:, None] != text_id) & long_enough[:, None]
    return mask if max_length_ratio is None else mask & (ratio <= max_length_ratio)


def _scored(
    texts: Sequence[str], quality: Sequence[float | None] | Floats
) -> tuple[NDArray[np.intp], Floats]:
    """Return the indices of the completions with a quality, and those qualities."""
    if len(quality) != len(texts):
        raise ValueError(f"quality has {len(quality)} values for {len(texts)} completions")
    scored = [i for i, value in enumerate(quality) if value is not None]
    values = check_finite("quality", np.array([quality[i] for i in scored], dtype=np.float64))
    return np.array(scored, dtype=np.intp), values


def _per_text(name: str, values: Sequence[float] | Floats, n: int) -> Floats:
    """Return finite values (n,), or raise ValueError."""
    array = check_finite(name, np.asarray(values, dtype=np.float64))
    if array.shape != (n,):
        raise ValueError(f"{name} must have one value per completion, ({n},), got {array.shape}")
    return array
