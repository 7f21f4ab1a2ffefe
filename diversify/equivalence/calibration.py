"""From labelled pairs to a threshold, with the error that it has on pairs it has not seen."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diversify.kernels import Pair, check_integer, words
from diversify.reading import read_jsonl, read_text

__all__ = ["Calibration", "Errors", "LabelledPairs", "Rate", "calibrate", "read_pairs"]

_COLUMNS = (("a", "b"), ("text1", "text2"))


@dataclass(frozen=True)
class Rate:
    """A share with its exact 95 % interval (Clopper and Pearson), for independent pairs."""

    value: float
    low: float
    high: float
    wrong: int
    of: int


@dataclass(frozen=True)
class Errors:
    """How often a threshold errs.

    Attributes:
        error: Of all pairs, the share that is judged wrongly; depends on how many are the same.
        false_same: Of the pairs that differ, the share that is called the same.
        false_different: Of the pairs that are the same, the share that is called different: what
            would look like diversity and is none.
        balanced: Mean of the last two.
    """

    error: Rate
    false_same: Rate
    false_different: Rate
    balanced: float


@dataclass(frozen=True)
class Calibration:
    """A threshold and its errors.

    Attributes:
        threshold: Texts are the same from this score up.
        pairs: How many there were.
        same: How many of them are labelled the same.
        fitted: Errors on the pairs that the threshold was chosen on: too good to be true.
        held_out: Errors of thresholds that were chosen without the pairs they are tried on.
    """

    threshold: float
    pairs: int
    same: int
    fitted: Errors
    held_out: Errors

    def to_dict(self) -> dict[str, Any]:
        """Return everything as plain values for JSON."""
        return asdict(self)


class LabelledPairs(NamedTuple):
    """Pairs of texts, whether each is the same, and what they belong to, if that is known."""

    pairs: list[Pair]
    labels: list[bool]
    groups: list[Hashable] | None

    def longer_than(self, limit: int) -> LabelledPairs:
        """Leave out pairs of short answers, which a rule on their words compares.

        Args:
            limit: Words of the longest short answer, as in `ShortAnswers`.
        """
        kept = [i for i, pair in enumerate(self.pairs) if max(len(words(t)) for t in pair) > limit]
        groups = None if self.groups is None else [self.groups[i] for i in kept]
        return LabelledPairs([self.pairs[i] for i in kept], [self.labels[i] for i in kept], groups)


def calibrate(
    scores: ArrayLike,
    labels: Sequence[bool] | NDArray[np.bool_],
    *,
    groups: Sequence[Hashable] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Calibration:
    """Choose the threshold with the smallest balanced error, and measure it on held-out pairs.

    The balanced error is the mean of both kinds of error, so the threshold does not depend on how
    many of the labelled pairs happen to be the same. Among equal ones the middle of the widest gap
    between scores is taken.

    Pairs that share texts are not independent: name their `groups` (the prompt), which are then
    held out as a whole. The intervals know nothing of groups and are too narrow for them.

    Args:
        scores: Likeness of each pair, (n,), as from `scores(pairs)` of a judge.
        labels: Whether each pair is the same, (n,) booleans.
        groups: What each pair belongs to, (n,).
        folds: Parts that are held out in turn, at least 2; fewer where there are fewer groups.
        seed: Of the division into folds.

    Raises:
        ValueError: If there are not as many labels or groups as scores, a score is not finite, a
            label is no boolean, or there are not pairs of both kinds inside and outside of each
            part that is held out.

    Example:
        >>> found = calibrate([0.1, 0.2, 0.3, 0.7, 0.8, 0.9], [False] * 3 + [True] * 3, folds=3)
        >>> found.threshold, found.fitted.error.value, found.held_out.error.value
        (0.5, 0.0, 0.0)
    """
    values = np.asarray(scores, dtype=np.float64)
    same = np.asarray(labels)
    _check(values, same, groups)
    check_integer("folds", folds, 2)
    fold = _folds(same, np.arange(len(same)) if groups is None else groups, folds, seed)
    held_out = np.empty(len(same), dtype=np.bool_)
    for part in range(int(fold.max()) + 1):
        out = fold == part
        if len(np.unique(same[~out])) < 2:
            raise ValueError(
                "pairs of both labels must remain when a part is held out, but all of one label "
                "come from one group"
                if groups is not None
                else "calibration needs at least 2 pairs of each label, so that one can be held out"
            )
        held_out[out] = values[out] >= _best_threshold(values[~out], same[~out])
    threshold = _best_threshold(values, same)
    return Calibration(
        threshold=threshold,
        pairs=len(same),
        same=int(same.sum()),
        fitted=_errors(values >= threshold, same),
        held_out=_errors(held_out, same),
    )


def read_pairs(
    path: str | os.PathLike[str],
    *,
    columns: tuple[str, str] | None = None,
    label: str = "same",
    group: str | None = None,
) -> LabelledPairs:
    """Read labelled pairs from a file of JSON lines.

    Args:
        path: The file.
        columns: Names of the two texts; the default is `a` and `b`, else `text1` and `text2`.
        label: Name of the label: true or false, 1 or 0.
        group: Name of what pairs belong to, such as the prompt.

    Raises:
        ValueError: If there are no rows, or one lacks a column or has the wrong type in it; the
            message names the line.
    """
    found = LabelledPairs([], [], None if group is None else [])
    for number, row in read_jsonl(read_text(Path(path)), os.fspath(path)):
        where = f"{os.fspath(path)}, line {number}"
        first, second = columns or next((c for c in _COLUMNS if c[0] in row), _COLUMNS[0])
        for name in (first, second, label, *([group] if group else [])):
            if name not in row:
                raise ValueError(f"{where} has no column {name!r}, only {sorted(row)}")
        if not (isinstance(row[first], str) and isinstance(row[second], str)):
            raise ValueError(f"{where}: {first!r} and {second!r} must be texts")
        if row[label] not in (True, False):
            raise ValueError(f"{where}: {label!r} must be true, false, 1 or 0, got {row[label]!r}")
        found.pairs.append((row[first], row[second]))
        found.labels.append(bool(row[label]))
        if found.groups is not None and group is not None:
            found.groups.append(json.dumps(row[group]))
    if not found.pairs:
        raise ValueError(f"{os.fspath(path)} holds no pairs")
    return found


def _check(
    values: NDArray[np.float64], same: NDArray[np.bool_], groups: Sequence[Hashable] | None
) -> None:
    if values.ndim != 1 or same.shape != values.shape:
        raise ValueError(f"got scores of shape {values.shape} for labels of shape {same.shape}")
    if groups is not None and len(groups) != len(values):
        raise ValueError(f"got {len(groups)} groups for {len(values)} scores")
    if len(values) < 2:
        raise ValueError(f"calibration needs at least 2 pairs of each label, got {len(values)}")
    if same.dtype != np.bool_:
        raise ValueError(f"labels must be booleans, got {same.dtype}")
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"scores must be finite, got {values[at]} at {at}")
    if len(np.unique(same)) < 2:
        kind = "the same" if same[0] else "different"
        raise ValueError(f"all {len(same)} pairs are labelled {kind}: there is nothing to separate")


def _best_threshold(values: NDArray[np.float64], same: NDArray[np.bool_]) -> float:
    """Return the cut with the smallest balanced error, in the middle of the widest such gap."""
    levels, at = np.unique(values, return_inverse=True)
    of_same = np.bincount(at[same], minlength=len(levels))
    of_other = np.bincount(at[~same], minlength=len(levels))
    # Cut k calls the levels below k different: k = 0 calls all the same, k = len(levels) none.
    missed = np.concatenate([[0], np.cumsum(of_same)]) / of_same.sum()
    mixed = 1 - np.concatenate([[0], np.cumsum(of_other)]) / of_other.sum()
    gaps = np.concatenate([[0.0], np.diff(levels), [0.0]])
    error = missed + mixed
    best = np.flatnonzero(error <= error.min() + 1e-12)
    cut = int(best[np.argmax(gaps[best])])
    if cut == 0:
        return float(levels[0])
    if cut == len(levels):
        return float(np.nextafter(levels[-1], np.inf))
    middle = (levels[cut - 1] + levels[cut]) / 2
    return float(middle if middle > levels[cut - 1] else levels[cut])


def _folds(
    same: NDArray[np.bool_], groups: Sequence[Hashable] | NDArray[np.intp], folds: int, seed: int
) -> NDArray[np.intp]:
    """Deal groups out to folds, so that each has its part of the pairs that are the same."""
    number = {group: i for i, group in enumerate(dict.fromkeys(groups))}
    of = np.array([number[group] for group in groups], dtype=np.intp)
    share = np.bincount(of, weights=same) / np.bincount(of)
    shuffled = np.random.default_rng(seed).permutation(len(number))
    order = shuffled[np.argsort(share[shuffled], kind="stable")]
    fold = np.empty(len(number), dtype=np.intp)
    fold[order] = np.arange(len(number)) % folds
    result: NDArray[np.intp] = fold[of]
    return result


def _errors(called: NDArray[np.bool_], same: NDArray[np.bool_]) -> Errors:
    false_same = _rate(called[~same])
    false_different = _rate(~called[same])
    balanced = (false_same.value + false_different.value) / 2
    return Errors(_rate(called != same), false_same, false_different, balanced)


def _rate(wrong: NDArray[np.bool_]) -> Rate:
    from scipy.stats import binomtest  # half a second that nobody else should pay

    count = int(wrong.sum())
    interval = binomtest(count, len(wrong)).proportion_ci(0.95, method="exact")
    share = count / len(wrong)
    return Rate(share, float(interval.low), float(interval.high), count, len(wrong))
