"""What the credits share: their types, ties, and the checks of what comes in."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from diversify.measures import TOLERANCE, check_finite

Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int64]
Indices: TypeAlias = NDArray[np.intp]

# Values closer than this, relative to their scale, are ties.
TIE = 1e-12


def first_best(values: Floats, scale: float = 1.0) -> int:
    """Find the lowest index whose value is the maximum, up to rounding at this scale."""
    return int(np.flatnonzero(values >= values.max() - TIE * scale)[0])


def check_labels(labels: Labels) -> Labels:
    """Return labels as an int64 vector, or raise ValueError."""
    array = np.asarray(labels)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise ValueError(
            f"labels must be a vector of integers, got {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)


def class_sizes(labels: Labels) -> Floats:
    """Count, for each text, the members of its class: (n,) as floats."""
    _, inverse, counts = np.unique(check_labels(labels), return_inverse=True, return_counts=True)
    return counts[inverse].astype(np.float64)


def check_per_text(name: str, values: Floats, n: int) -> Floats:
    """Return finite values (n,), or raise ValueError."""
    values = check_finite(name, values)
    if values.shape != (n,):
        raise ValueError(f"{name} must have one value per text, ({n},), got shape {values.shape}")
    return values


def check_weight(value: float, high: float, *, name: str = "weight") -> None:
    """Accept a finite option between 0 and `high`, or raise ValueError."""
    if not (0.0 <= value <= high and np.isfinite(value)):
        raise ValueError(f"{name} must be finite and between 0 and {high}, got {value}")


def check_kernel(L: Floats) -> Floats:
    """Return a finite, square, symmetric matrix with no negative diagonal, or raise ValueError."""
    L = check_finite("L", L)
    if L.ndim != 2 or L.shape[0] != L.shape[1]:
        raise ValueError(f"L must be a square matrix (n, n), got shape {L.shape}")
    diagonal = np.diagonal(L)
    if (diagonal < 0).any():
        raise ValueError(f"L must have a diagonal of 0 or more, got {diagonal.min():.4g}")
    # |l_ij| <= sqrt(l_ii l_jj) in a positive semi-definite matrix: the scale of each entry.
    allowed = TOLERANCE * np.sqrt(np.outer(diagonal, diagonal))
    if (np.abs(L - L.T) > allowed).any():
        raise ValueError(
            f"L must be symmetric, got entries that differ by {np.ptp(L - L.T) / 2:.4g}"
        )
    return (L + L.T) / 2
