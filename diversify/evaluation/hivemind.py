"""Artificial Hivemind on Infinity-Chat: how alike the answers of one model are, and of several.

The level of a cosine depends on the embedder. The published numbers are text-embedding-3-small's;
`hivemind@1-minilm` is the same protocol with all-MiniLM-L6-v2, on which the same models come out
lower. Never put numbers of two embedders into one column.

Reference:
    Jiang et al., "Artificial Hivemind: The Open-Ended Homogeneity of Language Models (and Beyond)",
    arXiv 2510.22954.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diversify.engines import Sampling
from diversify.kernels import NORM_TOLERANCE, check_integer

__all__ = [
    "ParaphraseSimilarity",
    "inter_similarity",
    "intra_similarity",
    "paraphrase_similarity",
    "similarity_histogram",
    "source_overlap",
    "unit_rows",
]

Floats = NDArray[np.float64]

PROMPTS = 100
SAMPLES = 50
TOP_P = Sampling(temperature=1.0, top_p=0.9, max_tokens=2048)
MIN_P = Sampling(temperature=2.0, top_p=1.0, min_p=0.1, max_tokens=2048)
PARAPHRASED = 30
WORDINGS = 5
PARAPHRASE_SAMPLES = 20


def intra_similarity(E: ArrayLike) -> float:
    r"""Average the cosine over all pairs of answers of one model to one prompt, in [-1, 1].

    .. math:: \frac{\|\sum_i x_i\|^2 - n}{n (n - 1)}

    The mean of the upper triangle of the similarity matrix, without the matrix: O(n d).

    Args:
        E: Rows of length 1 (n, d), two or more.

    Raises:
        ValueError: If there are fewer than two rows, or they are not of length 1 (errors of half
            precision are removed).

    Example:
        >>> intra_similarity([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        0.3333333333333333

    Reference:
        As this module. Deviation: rounding errors above 1 are cut off; theirs fall out of the
        histogram.
    """
    rows = unit_rows(E)
    n = len(rows)
    if n < 2:
        raise ValueError(f"a mean over pairs needs two or more rows, got {n}")
    total = rows.sum(axis=0)
    return float(np.clip((total @ total - n) / (n * (n - 1)), -1.0, 1.0))


def similarity_histogram(values: ArrayLike) -> Floats:
    """Share of the prompts in each tenth of the similarities from 0 to 1, in percent: (10,).

    The tenths are those of `np.histogram`, as published. A value on an edge counts in the upper one
    and 1 in the last, but for 0.3, 0.6 and 0.7: as floats these edges lie a little above the
    numbers, which so count in the lower one. What lies outside 0 to 1 counts among the prompts and
    in no tenth, so the shares may add up to less than 100.

    Args:
        values: Similarities (p,), one a prompt: the mean over its pairs of answers.

    Raises:
        ValueError: If there is none, or one is not finite.

    Example:
        >>> print(similarity_histogram([0.85, 0.8, 0.42, -0.1]))
        [ 0.  0.  0.  0. 25.  0.  0.  0. 50.  0.]

    Reference:
        As this module: "79 % above 0.8" adds the last two tenths. No deviation.
    """
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or not found.size or not np.isfinite(found).all():
        raise ValueError(f"values must be one or more finite numbers in a row, got {found!r:.80}")
    counts, _ = np.histogram(found, bins=10, range=(0.0, 1.0))
    return 100.0 * counts / found.size


def inter_similarity(
    E_by_model: Sequence[Sequence[ArrayLike]], *, exclude_self: bool = True
) -> Floats:
    r"""Average the cosine between the answers of every two models to the same prompts, (m, m).

    .. math:: S_{ab} = \frac{1}{P} \sum_p \mu_{ap} \cdot \mu_{bp}

    where μ is the mean of a model's rows for a prompt. No Gram matrix is needed: O(m P n d).

    Args:
        E_by_model: For each model and each prompt rows of length 1 (n, d), such as an array
            (m, P, n, d); n may differ.
        exclude_self: Whether the diagonal leaves out the pairs of an answer with itself, and so is
            the mean of `intra_similarity`. The published tables keep them: with n answers their d
            becomes (n d - 1) / (n - 1).

    Raises:
        ValueError: If models have different numbers of prompts, rows are not of length 1, or a
            model has one answer to a prompt and `exclude_self`.

    Example:
        >>> one, two = [[[1.0, 0.0], [0.0, 1.0]]], [[[1.0, 0.0], [1.0, 0.0]]]
        >>> print(inter_similarity([one, two]))
        [[0.  0.5]
         [0.5 1. ]]
        >>> print(inter_similarity([one, two], exclude_self=False))
        [[0.5 0.5]
         [0.5 1. ]]

    Reference:
        As this module; it keeps the pairs of an answer with itself.
    """
    prompts = {len(own) for own in E_by_model}
    if len(prompts) != 1 or 0 in prompts:
        raise ValueError(f"models must have the same prompts, one or more; got {sorted(prompts)}")
    means = np.stack([[unit_rows(E).mean(axis=0) for E in own] for own in E_by_model])
    found: Floats = np.einsum("apd,bpd->ab", means, means) / means.shape[1]
    if exclude_self:
        own = [np.mean([intra_similarity(E) for E in rows]) for rows in E_by_model]
        np.fill_diagonal(found, own)
    return found


def source_overlap(E: ArrayLike, sources: Sequence[Any], *, nearest: int = 50) -> Floats:
    """Count the different models among the N answers nearest to an answer, for N = 1 to `nearest`.

    From 1 (every model has an answer of its own) to N; averaged over all answers to one prompt.

    Args:
        E: Rows of length 1 (n, d): the answers of all models to one prompt.
        sources: Which model each one is of, (n,).
        nearest: Largest N, at most n - 1: the answer itself is left out. Of answers equally near,
            the earlier one comes first.

    Returns:
        Mean numbers (nearest,).

    Raises:
        ValueError: If rows are not of length 1, or sources or `nearest` do not fit.

    Example:
        >>> rows = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
        >>> print(source_overlap(rows, ["a", "a", "b", "b"], nearest=2))
        [1. 2.]

    Reference:
        As this module, figure 8. No deviation.
    """
    rows = unit_rows(E)
    if len(sources) != len(rows):
        raise ValueError(f"got {len(sources)} sources for {len(rows)} rows")
    nearest = check_integer("nearest", nearest, 1, len(rows) - 1)
    cosine = rows @ rows.T
    np.fill_diagonal(cosine, -np.inf)
    order = np.argsort(-cosine, axis=1, kind="stable")[:, :nearest]
    _, codes = np.unique(np.array(sources), return_inverse=True)
    near = codes[order]
    count = np.zeros(near.shape, dtype=np.int64)
    for code in range(codes.max() + 1):
        count += np.logical_or.accumulate(near == code, axis=1)
    mean: Floats = count.mean(axis=0)
    return mean


class ParaphraseSimilarity(NamedTuple):
    """Mean cosine of answers to one wording of a question, and between wordings."""

    within: float
    across: float


def paraphrase_similarity(E_by_wording: Sequence[ArrayLike]) -> ParaphraseSimilarity:
    """Ask whether another wording of a question brings other answers.

    Args:
        E_by_wording: For each wording of one question rows of length 1 (n, d).

    Raises:
        ValueError: If there are fewer than two wordings, or rows are not as they must be.

    Example:
        >>> paraphrase_similarity([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
        ParaphraseSimilarity(within=0.5, across=0.5)

    Reference:
        As this module: 0.821 within and 0.781 across, over 42 models.
    """
    if len(E_by_wording) < 2:
        raise ValueError(f"need two or more wordings, got {len(E_by_wording)}")
    found = inter_similarity([[E] for E in E_by_wording])
    pairs = [found[pair] for pair in combinations(range(len(found)), 2)]
    return ParaphraseSimilarity(float(np.diag(found).mean()), float(np.mean(pairs)))


def unit_rows(E: ArrayLike) -> Floats:
    """Return rows (n, d) of length 1, errors of half precision removed.

    Raises:
        ValueError: If there is no row, or one is not of length 1.

    Example:
        >>> unit_rows([[1.0001, 0.0]])
        array([[1., 0.]])
    """
    rows = np.asarray(E, dtype=np.float64)
    if rows.ndim != 2 or not len(rows):
        raise ValueError(f"need one or more rows (n, d), got shape {rows.shape}")
    norm = np.linalg.norm(rows, axis=1)
    # Written so that a norm of NaN or infinity is caught too.
    if not (np.abs(norm - 1.0) <= NORM_TOLERANCE).all():
        wrong = int(np.argmax(~(np.abs(norm - 1.0) <= NORM_TOLERANCE)))
        raise ValueError(f"rows must have length 1, number {wrong} has {norm[wrong]:.4g}")
    unit: Floats = rows / norm[:, None]
    return unit
