"""What a pair weighs in training, by how unusual or how creative its chosen completion is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from diversify.credit import TIE
from diversify.measures import check_finite, check_similarity
from diversify.pairs.rules import Floats

__all__ = ["creativity_weights", "deviation_weights", "mean_deviation", "min_max"]


def deviation_weights(*S: Floats) -> Floats:
    r"""Weigh each completion by how far it deviates from its siblings, mean 1 over the group.

    .. math::
        \delta_i = \frac{1}{n - 1} \sum_{j \ne i} (1 - s_{ij}), \qquad
        w_i \propto \Big(\prod_k
        \frac{\delta^k_i - \min \delta^k}{\max \delta^k - \min \delta^k}\Big)^{1 / K}

    The least deviant completion by any of the K kernels weighs exactly 0 and trains nothing.

    Args:
        *S: Similarities (n, n) of one group, one matrix a kernel (meaning, style, …).

    Returns:
        Weights (n,) >= 0 with mean 1, for the pairs in which the completion is chosen. All 1 where
        nothing can be told apart: one completion, equal deviations by every kernel, or nothing
        above 0 by all of them.

    Raises:
        ValueError: No matrix, not a similarity matrix, or different sizes.

    Example:
        >>> S = np.array([[1.0, 0.8, 0.2], [0.8, 1.0, 0.4], [0.2, 0.4, 1.0]])
        >>> print(deviation_weights(S).round(4))
        [0.75 0.   2.25]

    Reference:
        J. Chung et al., "Modifying Large Language Model Post-Training for Diverse Creative
        Writing", arXiv 2503.17126. Deviation: a kernel by which all deviate alike is passed over,
        where the published formula divides 0 by 0.
    """
    if not S:
        raise ValueError("deviation_weights needs at least one similarity matrix, got none")
    matrices = [check_similarity(matrix) for matrix in S]
    n = len(matrices[0])
    if any(len(matrix) != n for matrix in matrices):
        raise ValueError(f"matrices must have one size, got {[len(m) for m in matrices]}")
    weights = np.ones(n)
    for matrix in matrices:
        weights *= min_max(mean_deviation(matrix), flat=1.0) ** (1.0 / len(matrices))
    total = weights.sum()
    return weights * n / total if total > 0 else np.ones(n)


def creativity_weights(
    signals: Mapping[str, Sequence[float] | Floats], weights: Mapping[str, float]
) -> Floats:
    r"""Weigh each completion by several signals of creativity together, 0 and up.

    .. math::
        w_i = \sum_k \lambda_k
        \frac{x^k_i - \min x^k}{\max x^k - \min x^k}

    Each signal is brought to [0, 1] within the pool, so that the :math:`\lambda` say how much each
    counts, whatever its units. A signal that is the same for the whole pool counts as one half for
    everybody: it tells nobody apart and leaves the pool's place among other pools alone.

    Args:
        signals: name -> values (n,), higher for the more creative: diversity, novelty, surprise,
            quality.
        weights: name -> :math:`\lambda`, 0 or more; one for each signal.

    Returns:
        Weights (n,), between 0 and the sum of the :math:`\lambda`, for the pairs in which the
        completion is chosen. They are not of mean 1 (`build_pairs` does that over its data set).

    Raises:
        ValueError: There is no signal, the names differ, a value is not finite, signals have
            different lengths, or a :math:`\lambda` is negative or all are 0.

    Example:
        >>> signals = {"novelty": [0.0, 5.0, 10.0], "quality": [3.0, 3.0, 1.0]}
        >>> print(creativity_weights(signals, {"novelty": 1.0, "quality": 2.0}))
        [2.  2.5 1. ]

    Reference:
        M. Ismayilzada et al., "Creative Preference Optimization", arXiv 2505.14442. Deviations:
        signals are normalised within the pool of a prompt; what to do with a constant signal is
        ours.
    """
    if not signals or signals.keys() != weights.keys():
        raise ValueError(f"got signals {sorted(signals)} and weights for {sorted(weights)}")
    if not all(math.isfinite(share) and share >= 0 for share in weights.values()):
        raise ValueError(f"weights must be finite and 0 or more, got {dict(weights)}")
    if not any(weights.values()):
        raise ValueError(f"at least one weight must be above 0, got {dict(weights)}")
    arrays = {name: check_finite(name, np.asarray(x, dtype=float)) for name, x in signals.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) > 1 or any(array.ndim != 1 for array in arrays.values()):
        raise ValueError(f"signals must have one value per completion, got {shapes}")
    parts = [weights[name] * min_max(array, flat=0.5) for name, array in arrays.items()]
    combined: Floats = np.sum(parts, axis=0)
    return combined


def mean_deviation(S: Floats) -> Floats:
    """Return the mean distance (n,) of each text to the others of its group, in [0, 2].

    Args:
        S: Similarities (n, n).

    Example:
        >>> print(mean_deviation(np.array([[1.0, 0.5], [0.5, 1.0]])))
        [0.5 0.5]
    """
    deviation: Floats = 1.0 - (S.sum(axis=1) - 1.0) / max(len(S) - 1, 1)
    return deviation


def min_max(values: Floats, *, flat: float) -> Floats:
    """Bring values (n,) to [0, 1]; where all are the same they become `flat`.

    Example:
        >>> print(min_max(np.array([2.0, 4.0, 3.0]), flat=0.5), min_max(np.ones(2), flat=0.5))
        [0.  1.  0.5] [0.5 0.5]
    """
    spread = np.ptp(values) if len(values) else 0.0
    if spread <= TIE * (1.0 + np.abs(values).max(initial=0.0)):
        return np.full(len(values), flat)
    scaled: Floats = (values - values.min()) / spread
    return scaled
