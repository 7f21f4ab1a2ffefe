"""What would be seen anyway: likeness of unrelated answers, and overlap of indistinguishable models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diversify.credit import rarefied_classes
from diversify.evaluation.hivemind import intra_similarity, unit_rows
from diversify.kernels import check_integer

__all__ = ["expected_overlap", "random_groups", "random_similarity"]

Floats = NDArray[np.float64]


def random_similarity(E_by_prompt: Sequence[ArrayLike]) -> float:
    r"""Average the cosine between answers to different prompts: the floor of `intra_similarity`.

    .. math:: \frac{\|\sum_p \mu_p\|^2 - \sum_p \|\mu_p\|^2}{P (P - 1)}

    where μ is the mean of a prompt's rows. An embedder gives even unrelated texts of one model some
    likeness; only what lies above it is said of the prompt. All pairs of prompts count the same,
    and no pair is left to chance.

    Args:
        E_by_prompt: For each prompt rows of length 1 (n, d); n may differ.

    Returns:
        The mean, in [-1, 1].

    Raises:
        ValueError: If there are fewer than two prompts, or rows are not of length 1.

    Example:
        >>> random_similarity([[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]]])
        0.5

    Reference:
        Jiang et al., "Artificial Hivemind: The Open-Ended Homogeneity of Language Models (and
        Beyond)", arXiv 2510.22954, which pairs answers at random from the pool of all prompts: all
        means lie between 0.1 and 0.2. Deviation: the exact mean, and never two answers to one
        prompt.
    """
    means = np.stack([rows.mean(axis=0) for rows in _two_prompts(E_by_prompt)])
    total, P = means.sum(axis=0), len(means)
    found = (total @ total - np.einsum("pd,pd->", means, means)) / (P * (P - 1))
    return float(np.clip(found, -1.0, 1.0))


def random_groups(E_by_prompt: Sequence[ArrayLike], *, seed: int = 0) -> Floats:
    """Measure groups whose answers belong to different prompts: (P,), for `similarity_histogram`.

    For each prompt a group of as many answers is drawn, each of another prompt, and its
    `intra_similarity` taken. Where a prompt has more answers than there are prompts, its group has
    one answer of each prompt. The mean goes to `random_similarity` with many prompts.

    Args:
        E_by_prompt: For each prompt rows of length 1 (n, d).
        seed: Of the draws.

    Raises:
        ValueError: If there are fewer than two prompts, or rows are not of length 1.

    Example:
        >>> print(random_groups([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]]))
        [0. 0.]

    Reference:
        As `random_similarity`, with the same deviation but for the exact mean.
    """
    rng = np.random.default_rng(seed)
    rows = _two_prompts(E_by_prompt)
    found = []
    for own in rows:
        chosen = rng.choice(len(rows), min(max(len(own), 2), len(rows)), replace=False)
        found.append(intra_similarity([rows[p][rng.integers(len(rows[p]))] for p in chosen]))
    return np.array(found)


def expected_overlap(counts: Sequence[int], *, nearest: int = 50) -> Floats:
    r"""Return the `source_overlap` of models that nothing tells apart, on average.

    .. math:: \sum_b \left[ 1 - \binom{T - 1 - c_b}{N} \Big/ \binom{T - 1}{N} \right]

    Then the N nearest answers are any N of the T - 1 others, and :math:`c_b` of these are of model
    b. The lower the counted overlap lies, the more do answers keep to those of their own model.

    Args:
        counts: How many answers to the prompt each model gave, (m,).
        nearest: Largest N, at most T - 1.

    Returns:
        Mean numbers of different models among the N nearest, N = 1 to `nearest`.

    Raises:
        ValueError: If a count is not positive, or `nearest` does not fit.

    Example:
        >>> print(expected_overlap([2, 2], nearest=3).round(4))
        [1.     1.6667 2.    ]

    Reference:
        Ours, to be read beside figure 8 of arXiv 2510.22954. Hurlbert's rarefaction gives the mean.
    """
    counts = [check_integer("a count", count, 1) for count in counts]
    nearest = check_integer("nearest", nearest, 1, sum(counts) - 1)
    labels = np.repeat(np.arange(len(counts)), counts)
    mean = np.zeros(nearest)
    # All models with as many answers have the same expectation.
    for own, models in Counter(counts).items():
        others = np.delete(labels, np.flatnonzero(labels == counts.index(own))[0])
        curve = [rarefied_classes(others, size=size) for size in range(1, nearest + 1)]
        mean += own * models / len(labels) * np.array(curve)
    return mean


def _two_prompts(E_by_prompt: Sequence[ArrayLike]) -> list[Floats]:
    """Return the unit rows of two or more prompts, or raise ValueError."""
    if len(E_by_prompt) < 2:
        raise ValueError(f"need two or more prompts, got {len(E_by_prompt)}")
    return [unit_rows(E) for E in E_by_prompt]
