"""Who echoes whom: the model nearest to each, against what any two models have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diversify.evaluation.statistics.inference import holm
from diversify.kernels import check_integer

__all__ = ["Echo", "cross_floor", "echoes"]

Floats = NDArray[np.float64]

# Sums in another order differ by less.
ROUNDING = 1e-12


class Echo(NamedTuple):
    """The model whose answers are nearest to another one's.

    Attributes:
        nearest: Which model.
        similarity: Mean cosine of their answers to the same prompts.
        floor: The same for answers to different prompts: what the two have in common whatever is
            asked. None for one prompt.
        support: Share of resamples of the prompts in which this model is the nearest one, too. Near
            one half, another is about as near.
        p_value: How likely a similarity as high as this, to whichever model, were if answers did
            not depend on the prompt; corrected by Holm for asking about every model. None for one
            prompt.
    """

    nearest: str
    similarity: float
    floor: float | None
    support: float
    p_value: float | None


def cross_floor(one: ArrayLike, other: ArrayLike) -> float | None:
    r"""Average the cosine between answers of two models to different prompts, in [-1, 1].

    .. math:: \frac{\sum_p \mu_p \cdot \sum_p \nu_p - \sum_p \mu_p \cdot \nu_p}{P (P - 1)}

    Args:
        one: Mean rows of the first model's answers to each prompt (P, d).
        other: Those of the second (P, d).

    Returns:
        The mean over all pairs of different prompts; None for one prompt.

    Example:
        >>> cross_floor([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]])
        0.5
    """
    mu, nu = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    P = len(mu)
    if P < 2:
        return None
    together = mu.sum(axis=0) @ nu.sum(axis=0) - np.einsum("pd,pd->", mu, nu)
    return float(together / (P * (P - 1)))


def echoes(
    means: ArrayLike, models: Sequence[str], *, resamples: int = 1000, seed: int = 0
) -> dict[str, Echo]:
    """Find for each model the one whose answers are nearest to its own.

    The p-value is that of a permutation test: a model's answers are handed out to its prompts
    anew, those of the others stay, and the largest of its similarities is taken again, since the
    nearest model is a choice among all. It says that two models share what they say about the
    *question*; any two models that answer to the point do. Whether one model rather than another is
    echoed is what `support` says.

    Args:
        means: For each model and each prompt the mean of its unit rows (m, P, d).
        models: Their names, (m,).
        resamples: Permutations, and bootstrap resamples of the prompts.
        seed: Of both.

    Returns:
        Model -> its `Echo`. Of models equally near, the first is the nearest.

    Raises:
        ValueError: If there are fewer than two models, the names are not as many, or `resamples` is
            not positive.

    Example:
        >>> means = [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 1.0]]]
        >>> found = echoes(means, ["a", "b", "c"])
        >>> found["a"].nearest, found["a"].similarity, found["a"].floor, found["c"].similarity
        ('b', 1.0, 0.0, 0.5)

    Reference:
        Ours. The choice within the test: Westfall and Young, "Resampling-Based Multiple Testing"
        (1993), the largest of several statistics.
    """
    mu = np.asarray(means, dtype=np.float64)
    if mu.ndim != 3 or len(mu) < 2 or len(models) != len(mu):
        raise ValueError(
            f"need the mean rows (m, P, d) of two or more models and their names, got shape "
            f"{mu.shape} and {len(models)} names"
        )
    check_integer("resamples", resamples, 1)
    rng = np.random.default_rng(seed)
    P = mu.shape[1]
    weights = rng.multinomial(P, np.full(P, 1 / P), size=resamples) / P
    orders = rng.permuted(np.tile(np.arange(P), (resamples, 1)), axis=1)
    found, p_values = {}, []
    for number, name in enumerate(models):
        each = np.einsum("pd,bpd->bp", mu[number], mu)
        each[number] = -2.0  # below any cosine: a model is not its own echo
        similarity = each.mean(axis=1)
        place = int(similarity.argmax())
        support = float(np.mean((weights @ each.T).argmax(axis=1) == place))
        p_values.append(_permutation_p(mu, number, orders, float(similarity[place])))
        floor = cross_floor(mu[number], mu[place])
        found[name] = Echo(models[place], float(similarity[place]), floor, support, None)
    corrected = holm(p_values) if P > 1 else [None] * len(models)
    return {
        name: echo._replace(p_value=p)
        for (name, echo), p in zip(found.items(), corrected, strict=True)
    }


def _permutation_p(mu: Floats, number: int, orders: NDArray[np.int64], observed: float) -> float:
    """Return the share of permutations with a largest similarity as high, the observed one too."""
    largest = np.full(len(orders), -np.inf)
    prompts = np.arange(mu.shape[1])
    for other in range(len(mu)):
        if other != number:
            cross = mu[number] @ mu[other].T
            np.maximum(largest, cross[orders, prompts].mean(axis=1), out=largest)
    return float((1 + np.sum(largest >= observed - ROUNDING)) / (1 + len(orders)))
