"""Names of compared models that can be told apart: by their label, else by their run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import PurePath

from diversify.evaluation.compare import Comparison

__all__ = ["further", "labels_apart", "told_apart"]


def told_apart(runs: Sequence[str]) -> list[str]:
    """Return of each path what the others do not share with it at the beginning or the end.

    Args:
        runs: Paths of run folders or files.

    Returns:
        One text a path, numbered where even the whole paths are equal; never empty.

    Example:
        >>> told_apart(["runs/base/answers", "runs/darling/answers", "runs/crpo/answers"])
        ['base', 'darling', 'crpo']
        >>> told_apart(["runs/hot", "runs/hot"])
        ['run 1', 'run 2']
    """
    parts = [PurePath(run).parts for run in runs]
    start = _shared(parts)
    end = _shared([own[start:][::-1] for own in parts])
    found = ["/".join(own[start : len(own) - end]) for own in parts]
    if len({*found}) == len(found) and all(found):
        return found
    return [f"run {number}" for number in range(1, len(found) + 1)]


def _shared(paths: Sequence[Sequence[str]]) -> int:
    """Return how many parts all the paths have in common from their beginning on."""
    alike = takewhile(lambda column: len({*column}) == 1, zip(*paths, strict=False))
    return sum(1 for _ in alike)


def labels_apart(labels: Sequence[str], runs: Sequence[str]) -> list[str]:
    """Return the labels, with what tells its run apart behind each that is not the only one.

    Adapters are often saved in folders of one name, and a decoder is no part of a label: without
    this a page or a card could not say which model is which.

    Args:
        labels: One a model.
        runs: Where each model's answers come from, in the same order; empty if nobody knows.

    Raises:
        ValueError: If there are not equally many of both.

    Example:
        >>> labels_apart(["b", "m", "m"], ["runs/base", "runs/darling", "runs/crpo"])
        ['b', 'm · darling', 'm · crpo']
    """
    if len(labels) != len(runs):
        raise ValueError(f"every label needs its run: got {len(labels)} labels, {len(runs)} runs")
    often = Counter(labels)
    return [
        f"{label} · {apart}" if often[label] > 1 and run else label
        for label, run, apart in zip(labels, runs, told_apart(runs), strict=True)
    ]


def further(comparison: Comparison, others: Sequence[Comparison]) -> dict[str, Comparison]:
    """Name further comparisons for a report: by their after model's label, else by its run.

    Args:
        comparison: What the report is of.
        others: Comparisons from the same before model.

    Returns:
        Name -> comparison, in the same order; none is lost because two labels are equal.
    """
    models = [comparison, *others]
    labels = [comparison.labels[0], *(model.labels[1] for model in models)]
    runs = [run_of(comparison.details, "before")]
    runs += [run_of(model.details, "after") for model in models]
    names = labels if len({*labels}) == len(labels) else told_apart(runs)
    return dict(zip(names[2:], others, strict=True))


def run_of(details: Mapping[str, object], side: str) -> str:
    """Return where a model's answers come from, as the details of a comparison say; else empty."""
    model = details.get(side)
    return str(model.get("run") or "") if isinstance(model, Mapping) else ""
