"""Classical scaling: points in a plane whose distances show how alike texts are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diversify.measures import check_similarity

__all__ = ["Plane", "classical_scaling"]

# Smaller than this in all directions is rounding: the texts are equal.
NOTHING = 1e-9


class Plane(NamedTuple):
    """Points (n, 2) and the share of the variation that the plane holds, None without any."""

    points: NDArray[np.float64]
    share: float | None


def classical_scaling(S: NDArray[np.float64]) -> Plane:
    r"""Place texts in a plane by their similarities: classical multidimensional scaling.

    For unit rows with cosines :math:`S` the squared distances are :math:`d_{ij}^2 = 2 (1 - s_{ij})`.
    Centring turns these back into inner products,

    .. math:: B = J S J, \quad J = I - \mathbf{1}\mathbf{1}^\top / n,

    whose two largest eigenvalues, with their eigenvectors, give the two directions of greatest
    variation. This is the principal component analysis of the rows behind S.

    Args:
        S: Similarities (n, n); need not be positive semi-definite.

    Returns:
        The points, with mean zero, and :math:`(\lambda_1 + \lambda_2) / \sum_k |\lambda_k|`, where
        a negative one of the two counts as 0. A similarity that no points in any space have makes
        some eigenvalues negative and so the share smaller. In each direction the point furthest
        from the middle lies on the positive side, so that the same S gives the same picture.

    Raises:
        ValueError: If `S` is not a similarity matrix.

    Example:
        >>> points, share = classical_scaling(np.array([[1.0, 0.5], [0.5, 1.0]]))
        >>> print(points.round(3), share)
        [[ 0.5  0. ]
         [-0.5  0. ]] 1.0

    Reference:
        W. S. Torgerson, "Multidimensional scaling: I. Theory and method", Psychometrika 17 (1952).
        The share is the first of K. V. Mardia's two measures of fit, Communications in Statistics
        A7 (1978).
    """
    S = check_similarity(S)
    count = len(S)
    points = np.zeros((count, 2))
    if not count:
        return Plane(points, None)
    centred = S - S.mean(axis=0) - S.mean(axis=1)[:, None] + S.mean()
    values, vectors = np.linalg.eigh(centred)
    whole = float(np.abs(values).sum())
    if whole < NOTHING * count:
        return Plane(points, None)
    for axis, at in enumerate(range(count - 1, max(count - 3, -1), -1)):
        if values[at] > NOTHING * whole:
            points[:, axis] = _signed(vectors[:, at]) * np.sqrt(values[at])
    return Plane(points, float(np.clip(values[-2:], 0, None).sum() / whole))


def _signed(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn a direction so that its largest entry is positive, the first of equally large ones."""
    size = np.abs(vector)
    first = int(np.argmax(size >= size.max() * (1 - 1e-6)))
    return vector if vector[first] >= 0 else -vector
