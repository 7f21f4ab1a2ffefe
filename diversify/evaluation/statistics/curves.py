"""A curve of diversity against quality: what it offers at a quality, and what each prompt adds to that.

The curve is the polyline through its points (one a temperature) in the order given. What it offers at
a quality is the most diversity at that quality or better, so it never falls as the quality is lowered.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Reach(NamedTuple):
    """Where on a curve the offer lies.

    Args:
        weights: Of the curve's points (k, ...): one of them, or two neighbours that are mixed.
        slope: How the offer changes with the quality asked for (...): that of the line between the
            neighbours, 0 on a single point.
    """

    weights: Floats
    slope: Floats


def reach(diversity: Floats, quality: Floats, at: Floats) -> Reach:
    """Find the place of a curve that offers the most diversity at quality `at` or better.

    Where no point is as good, that is the point of the best quality, the most diverse of them if
    several share it.

    Args:
        diversity: Of the curve's points (k, ...); (k, 1) for several qualities on one curve.
        quality: Of the curve's points (k, ...).
        at: The quality to match (...).

    Returns:
        The weights of the points, and the slope.

    Example:
        >>> found = reach(np.array([0.2, 0.4, 0.8]), np.array([-1.0, -2.0, -3.0]), np.array(-2.5))
        >>> found.weights.tolist(), float(found.slope)
        ([0.0, 0.5, 0.5], -0.4)
    """
    at = np.minimum(at, quality.max(axis=0))
    offers = np.where(quality >= at, diversity, -np.inf)
    best = offers.max(axis=0)
    points = np.arange(len(diversity)).reshape(-1, *(1,) * best.ndim)
    weights = (points == offers.argmax(axis=0)).astype(np.float64)
    slope = np.zeros_like(best)
    lines = zip(pairwise(diversity), pairwise(quality), strict=True)
    for place, ((d0, d1), (q0, q1)) in enumerate(lines):
        crosses = (np.minimum(q0, q1) < at) & (at < np.maximum(q0, q1))
        width = np.where(crosses, q1 - q0, 1.0)
        share = np.where(crosses, (at - q0) / width, 0.0)
        offer = d0 + share * (d1 - d0)
        better = crosses & (offer > best)
        mixed = np.where(points == place, 1.0 - share, np.where(points == place + 1, share, 0.0))
        best = np.where(better, offer, best)
        weights = np.where(better, mixed, weights)
        slope = np.where(better, (d1 - d0) / width, slope)
    return Reach(weights, slope)


def reachable(diversity: Floats, quality: Floats, at: Floats) -> Floats:
    """Return the most diversity that a curve offers at quality `at` or better.

    Where no point is as good, the diversity at the best quality that it has is returned.

    Args:
        diversity: Of the curve's points (k, ...).
        quality: Of the curve's points (k, ...).
        at: The quality to match (...).

    Returns:
        The diversity (...).

    Example:
        >>> curve = np.array([0.2, 0.4, 0.8]), np.array([-1.0, -2.0, -3.0])
        >>> [round(float(reachable(*curve, np.array(at))), 3) for at in (-2.5, -0.5)]
        [0.6, 0.2]
    """
    return np.asarray((reach(diversity, quality, at).weights * diversity).sum(axis=0))


def prompt_offers(diversity: Floats, quality: Floats, at: Floats, where: Reach) -> Floats:
    r"""Return what each prompt adds to the offer of a curve, to first order.

    With the weights :math:`w` and the slope :math:`m` of the place, prompt i adds

    .. math:: r_i = \sum_j w_j d_{ij} - m \Bigl(\sum_j w_j q_{ij} - a_i\Bigr),

    its diversity under the two temperatures mixed, corrected along the curve for what its quality
    lies off. The mean over prompts is the offer itself, since the mixed means have the quality that
    is asked for; and where a prompt counts a little more, the offer moves by its :math:`r_i` less the
    mean. A comparison with the offer is therefore a paired difference like any other.

    Args:
        diversity: Of each prompt at each point of the curve (k, p).
        quality: The same of the quality (k, p).
        at: The quality to match, prompt by prompt (p,), or one fixed number.
        where: What `reach` finds for the means.

    Returns:
        One value a prompt (p,).

    Example:
        >>> diversity, quality = np.array([[0.1, 0.3], [0.7, 0.5]]), np.array([[4.0, 2.0], [1.0, 1.0]])
        >>> at = np.array([2.5, 1.5])
        >>> where = reach(diversity.mean(axis=1), quality.mean(axis=1), at.mean())
        >>> np.round(prompt_offers(diversity, quality, at, where), 6).tolist()
        [0.4, 0.4]
    """
    mixed, level = where.weights @ diversity, where.weights @ quality
    return np.asarray(mixed - where.slope * (level - at))
