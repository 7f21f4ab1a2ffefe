"""NoveltyBench's leaderboard: the numbers of its two prompt sets as one, as published."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from diversify.evaluation.noveltybench import CURATED, WILDCHAT
from diversify.evaluation.protocol_report import ProtocolReport

__all__ = ["leaderboard", "weighted_mean"]

BENCHMARK = "noveltybench"
DECIDING = ("partition", "quality", "patience")


def weighted_mean(
    means: Sequence[float], errors: Sequence[float | None], weights: Sequence[float]
) -> tuple[float, float | None]:
    r"""Average the means of independent sets of prompts, with the standard error of the result.

    .. math:: \bar x = \frac{\sum_s w_s \bar x_s}{\sum_s w_s}, \qquad
        \frac{\sqrt{\sum_s w_s^2 e_s^2}}{\sum_s w_s}

    Args:
        means: One a set.
        errors: Their standard errors; None where one is not known, and then the result's is not.
        weights: One a set, above 0.

    Raises:
        ValueError: If there is no set, the lengths differ, or a weight is not positive.

    Example:
        >>> mean, error = weighted_mean([2.0, 4.0], [0.6, 0.8], [1, 1])
        >>> mean, round(error, 4)
        (3.0, 0.5)
    """
    if not means or not len(means) == len(errors) == len(weights) or min(weights) <= 0:
        raise ValueError(
            "need a mean, an error and a positive weight for each of one or more sets, got "
            f"{len(means)}, {len(errors)} and {list(weights)}"
        )
    total = math.fsum(weights)
    mean = math.fsum(w * m for w, m in zip(weights, means, strict=True)) / total
    squares = [None if e is None else (w * e) ** 2 for w, e in zip(weights, errors, strict=True)]
    known = [square for square in squares if square is not None]
    return mean, math.sqrt(math.fsum(known)) / total if len(known) == len(squares) else None


def leaderboard(curated: ProtocolReport, wildchat: ProtocolReport) -> ProtocolReport:
    """Join the reports of one model on both prompt sets: `noveltybench-leaderboard@…`.

    (100 x curated + 1000 x wildchat) / 1100: each set has the weight of its published size, so that
    a part of a set stands for the whole. With both whole it is the mean over all 1100 prompts.

    Args:
        curated: Of the 100 prompts written by hand.
        wildchat: Of the 1000 prompts from WildChat.

    Returns:
        The weighted means and their standard errors, the rows of both with their `set`, and what
        departs from the protocol in either. A number that one of the sets does not have is None.

    Raises:
        ValueError: The reports are not NoveltyBench's, are of two versions, judges or reward
            models, or of two models.

    Reference:
        As `diversify.evaluation.noveltybench`.
    """
    reports = {"curated": curated, "wildchat": wildchat}
    sizes = {"curated": CURATED, "wildchat": WILDCHAT}
    _check(reports, sizes)
    found = [report.summary["results"] for report in reports.values()]
    results: dict[str, float | None] = {}
    for name in dict.fromkeys(name for own in found for name in own if f"{name}_stderr" in own):
        means = [own.get(name) for own in found]
        errors = [own.get(f"{name}_stderr") for own in found]
        whole = [mean for mean in means if mean is not None]
        both = len(whole) == len(found)
        mean, error = weighted_mean(whole, errors, list(sizes.values())) if both else (None, None)
        results |= {name: mean, f"{name}_stderr": error}
    protocol = curated.protocol.replace(BENCHMARK, f"{BENCHMARK}-leaderboard", 1)
    summary: dict[str, Any] = {
        "protocol": protocol,
        "run": {name: report.summary["run"] for name, report in reports.items()},
        "results": results,
        "n_prompts": sum(report.summary["n_prompts"] for report in reports.values()),
        "answers": {name: report.summary["answers"] for name, report in reports.items()},
        "unscored": {},
        "departures": [
            f"{name}: {each}"
            for name, report in reports.items()
            for each in report.summary["departures"]
        ],
        "config": {name: curated.summary["config"][name] for name in DECIDING}
        | {"weights": sizes}
        | {"settings": {name: r.summary["config"]["settings"] for name, r in reports.items()}},
        "versions": curated.summary["versions"],
    }
    for report in reports.values():
        for name, count in report.summary["unscored"].items():
            summary["unscored"][name] = summary["unscored"].get(name, 0) + count
    rows = [{"set": name} | row for name, report in reports.items() for row in report.rows]
    return ProtocolReport(protocol, summary, rows)


def _check(reports: Mapping[str, ProtocolReport], sizes: Mapping[str, int]) -> None:
    """Raise ValueError unless both reports are of one protocol, one set of judges and one model."""
    names = {report.protocol for report in reports.values()}
    if len(names) != 1 or not next(iter(names)).startswith(f"{BENCHMARK}@"):
        raise ValueError(f"a leaderboard joins two reports of one {BENCHMARK}, got {sorted(names)}")
    for field in DECIDING:
        one, other = (report.summary["config"][field] for report in reports.values())
        if one != other:
            raise ValueError(f"the reports differ in {field}: {one} and {other}")
    had = {name: report.summary["n_prompts"] for name, report in reports.items()}
    if had["curated"] == sizes["wildchat"] or had["wildchat"] == sizes["curated"]:
        raise ValueError(f"the curated set comes first, with {sizes} prompts; got {had}")
    settings = [report.summary["config"]["settings"] for report in reports.values()]
    one, other = (own.get("engine") for own in settings)
    if one and other and one != other:
        raise ValueError(f"the reports are of two models: {one} and {other}")
