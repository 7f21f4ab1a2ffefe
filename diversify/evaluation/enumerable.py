"""Questions with a known list of valid answers: how many are valid, named, and evenly so.

Quality and diversity without a judge. All distributions here are of the *valid* answers; what is
invalid lowers `valid_rate` and nothing else, so the two must be read together: a model that says
one valid thing and much nonsense has a small divergence from nothing. Where no answer is valid, a
distribution does not exist and its numbers are None.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr
from scipy.stats import binom

from diversify.credit import rarefied_classes, semantic_entropy
from diversify.evaluation.generate import Run
from diversify.evaluation.protocol_report import ProtocolReport, protocol_report
from diversify.kernels import check_integer
from diversify.quality import named_answer

__all__ = [
    "answer_counts",
    "chi_square",
    "coverage",
    "coverage_at",
    "expected_kl",
    "kl_divergence",
    "score_enumerable",
    "valid_rate",
]

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]

NAME = "enumerable@1"

DRAWS = (5, 10, 20, 50)
"""Numbers of texts at which `coverage_at` is reported, as far as a prompt has so many."""


def answer_counts(named: Sequence[int | None], size: int) -> Counts:
    """Count how often each valid answer was named, (size,).

    Args:
        named: For each text the number of the answer that it names, or None (`named_answer`).
        size: How many valid answers there are.

    Raises:
        ValueError: If `size` is not positive, or a number is not below it.

    Example:
        >>> print(answer_counts([2, 0, None, 2], 4))
        [1 0 2 0]
    """
    size = check_integer("size", size, 1)
    valid = [
        check_integer("an answer", answer, 0, size - 1) for answer in named if answer is not None
    ]
    return np.bincount(np.array(valid, dtype=np.int64), minlength=size).astype(np.int64)


def valid_rate(named: Sequence[int | None]) -> float:
    """Share of the texts that name a valid answer, in [0, 1].

    Args:
        named: For each text the number of the answer that it names, or None.

    Raises:
        ValueError: If there is no text.

    Example:
        >>> valid_rate([2, 0, None, 2])
        0.75
    """
    if not named:
        raise ValueError("a share needs one text or more, got none")
    return sum(answer is not None for answer in named) / len(named)


def coverage(counts: Counts) -> float:
    """Share of the valid answers that were named at least once, in [0, 1].

    It grows with the number of texts, and cannot exceed that number over the length of the list.

    Args:
        counts: How often each valid answer was named, (size,).

    Raises:
        ValueError: If these are no counts.

    Example:
        >>> coverage(np.array([1, 0, 2, 0]))
        0.5
    """
    return float(np.mean(_checked(counts) > 0))


def coverage_at(named: Sequence[int | None], size: int, *, draws: int) -> float:
    r"""Share of the valid answers that `draws` of the texts name, on average, in [0, 1].

    .. math:: \frac{1}{L} \sum_a \left[ 1 - \binom{n - c_a}{k} \Big/ \binom{n}{k} \right]

    The exact mean over all subsets of k of the n texts, invalid ones included: a text that names
    nothing is a draw, too. `coverage` grows with the number of texts; runs of different n compare
    at the k of the smaller one. At k = 1 it is `valid_rate` over L, at k = n it is `coverage`.

    Args:
        named: For each text the number of the answer that it names, or None, (n,).
        size: L, how many valid answers there are.
        draws: k, from 1 to n.

    Raises:
        ValueError: If there is no text, a number is not below `size`, or `draws` is not between 1
            and n.

    Example:
        >>> round(coverage_at([0, 0, 1, None], 2, draws=2), 4)
        0.6667

    Reference:
        As `rarefied_classes`, with L for the scale.
    """
    answer_counts(named, size)  # refuses numbers that are no answer
    if not named:
        raise ValueError("a share needs one text or more, got none")
    draws = check_integer("draws", draws, 1, len(named))
    # Each invalid text is a class of its own, which is among the draws with probability k / n.
    own = [size + place if answer is None else answer for place, answer in enumerate(named)]
    invalid = sum(answer is None for answer in named) * draws / len(named)
    return max(0.0, rarefied_classes(np.array(own), size=draws) - invalid) / size


def kl_divergence(counts: Counts, target: ArrayLike | None = None) -> float | None:
    r"""Measure how far the valid answers are from a target distribution, in nats, 0 or more.

    .. math:: \mathrm{KL}(\hat p \,\|\, q) = \sum_a \hat p_a \log (\hat p_a / q_a)

    For one answer only and a uniform target it is log of the number of answers. Few draws are never
    uniform: read it beside `expected_kl`.

    Args:
        counts: How often each valid answer was named, (size,).
        target: q, (size,), all above 0 and of sum 1; uniform by default.

    Returns:
        The divergence; None where no valid answer was named.

    Raises:
        ValueError: If these are no counts, or the target is no such distribution.

    Example:
        >>> round(kl_divergence(np.array([5, 0])), 4), kl_divergence(np.array([0, 0])) is None
        (0.6931, True)
    """
    counts = _checked(counts)
    q = _target(target, len(counts))
    return float(rel_entr(counts / counts.sum(), q).sum()) if counts.any() else None


def expected_kl(draws: int, target: ArrayLike) -> float:
    r"""Return the `kl_divergence` of a perfect source on average, which is not 0 for finite draws.

    .. math:: \sum_a \mathbb{E} \left[ \frac{X_a}{n} \log \frac{X_a}{n q_a} \right], \qquad
        X_a \sim \mathrm{Binomial}(n, q_a)

    Args:
        draws: n, valid answers.
        target: q, (size,), all above 0 and of sum 1.

    Raises:
        ValueError: If `draws` is not positive, or the target is no such distribution.

    Example:
        >>> round(expected_kl(2, [0.5, 0.5]), 4)  # half of the time both draws are the same
        0.3466
    """
    draws = check_integer("draws", draws, 1)
    q = _target(target, np.size(target))
    count = np.arange(draws + 1)
    likely = binom.pmf(count[None, :], draws, q[:, None])
    return float((likely * rel_entr(count[None, :] / draws, q[:, None])).sum())


def chi_square(counts: Counts, target: ArrayLike | None = None) -> float | None:
    r"""Measure how far the valid answers are from a target distribution, as Pearson's statistic.

    .. math:: \chi^2 = \sum_a (o_a - n q_a)^2 / (n q_a)

    0 for counts as expected; n (L - 1) for n times the same of L answers and a uniform target. A
    perfect source gives L - 1 on average, whatever n is. It grows with n for any other, so compare
    it at equal n.

    Args:
        counts: How often each valid answer was named, (size,).
        target: q, (size,), all above 0 and of sum 1; uniform by default.

    Returns:
        The statistic; None where no valid answer was named.

    Raises:
        ValueError: If these are no counts, or the target is no such distribution.

    Example:
        >>> chi_square(np.array([10, 0])), chi_square(np.array([5, 5]))
        (10.0, 0.0)

    Reference:
        As a measure of how random the choices of language models are: West and Potts, "Base Models
        Beat Aligned Models at Randomness and Creativity", arXiv 2505.00047.
    """
    counts = _checked(counts)
    expected = counts.sum() * _target(target, len(counts))
    return float(((counts - expected) ** 2 / expected).sum()) if counts.any() else None


def score_enumerable(
    run: Run, *, column: str = "answers", target_column: str = "target"
) -> ProtocolReport:
    """Score by `enumerable@1`: valid answers, coverage, and the distribution over the list.

    `answer_entropy` is the `semantic_entropy` of the valid answers, whose classes are known here.

    Args:
        run: Any number of answers a prompt; `valid_rate` and, at one number of draws,
            `coverage_at_…` do not depend on it, all other numbers do.
        column: For each prompt its valid answers, a list of lists of aliases. A prompt without them
            has no value.
        target_column: For each prompt the probabilities that its answers should have, in their
            order; uniform where it is missing.

    Raises:
        ValueError: No prompt has answers, or those of one are no lists of aliases, or its target
            does not fit them (the prompt is named).
    """
    if not any(row.get(column) for row in run.rows):
        raise ValueError(f"no prompt of {run.path} has valid answers in a column {column!r}")
    values, details = [], []
    most = max(len(row["generations"]) for row in run.rows)
    sizes = [draws for draws in DRAWS if draws <= most]
    for row in run.rows:
        try:
            found, counts = _values(row, row.get(column), row.get(target_column), sizes)
        except ValueError as error:
            raise ValueError(f"{run.path}, prompt {row['id']!r}: {error}") from error
        values.append(found)
        details.append({"answer_counts": counts})
    return protocol_report(
        NAME, run, values, details=details, config={"column": column, "target": target_column}
    )


def _values(
    row: dict[str, Any],
    answers: Sequence[Sequence[str]] | None,
    target: Sequence[float] | None,
    sizes: Sequence[int],
) -> tuple[dict[str, float | None], list[int] | None]:
    names = ("valid_rate", "coverage", "distinct_valid", "answer_entropy")
    found: dict[str, float | None] = dict.fromkeys((*names, "kl", "expected_kl", "chi_square"))
    found |= {f"coverage_at_{draws}": None for draws in sizes}
    if not answers:
        return found, None
    named = [named_answer(text, answers) for text in row["generations"]]
    counts = answer_counts(named, len(answers))
    found["valid_rate"] = valid_rate(named)
    found["coverage"] = coverage(counts)
    for draws in sizes:
        if draws <= len(named):
            found[f"coverage_at_{draws}"] = coverage_at(named, len(answers), draws=draws)
    found["distinct_valid"] = float(np.count_nonzero(counts))
    q = _target(target, len(counts))
    found["kl"], found["chi_square"] = kl_divergence(counts, q), chi_square(counts, q)
    if counts.any():
        valid = [answer for answer in named if answer is not None]
        found["answer_entropy"] = semantic_entropy(np.array(valid, dtype=np.int64))
        found["expected_kl"] = expected_kl(len(valid), q)
    return found, counts.tolist()


def _checked(counts: Counts) -> Counts:
    found = np.asarray(counts)
    if found.ndim != 1 or not found.size or found.dtype.kind not in "iu" or (found < 0).any():
        raise ValueError(f"counts must be whole numbers of 0 or more (size,), got {counts!r:.80}")
    return found.astype(np.int64)


def _target(target: ArrayLike | None, size: int) -> Floats:
    """Return a target distribution (size,), the uniform one if none is given."""
    if target is None:
        return np.full(size, 1.0 / size)
    wanted = f"a target must be {size} probabilities above 0 of sum 1, got"
    try:
        q = np.asarray(target, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:  # text, an object, lists of no shape
        raise ValueError(f"{wanted} {target!r:.60}") from error
    if q.shape != (size,) or not (q > 0).all() or abs(q.sum() - 1.0) > 1e-6:
        raise ValueError(f"{wanted} {target!r:.60} of shape {q.shape}, sum {q.sum():.6g}")
    normalised: Floats = q / q.sum()
    return normalised
