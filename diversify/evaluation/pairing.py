"""Which reports may stand beside each other: one recipe, the same prompts, one model in a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diversify.evaluation.frontier import Frontier, Standing, frontier
from diversify.evaluation.frontiers import FrontierGap, compare_frontiers
from diversify.evaluation.recipe import differing_fields
from diversify.evaluation.reports import Report, load_report
from diversify.evaluation.richness import AMONG

__all__ = ["against_sweep", "as_report", "paired", "swept"]


def as_report(report: Report | str | Path) -> Report:
    """Return a report, read from its folder where that is given."""
    return report if isinstance(report, Report) else load_report(report)


def paired(before: Report, after: Report, *, other_number: bool = False) -> tuple[Report, bool]:
    """Insist on one recipe, and put the prompts in one order.

    Returns:
        The report after, and whether only the number of answers differs, where it may.
    """
    old, new = before.recipe, after.recipe
    changed = differing_fields(old, new)
    if changed and not (changed == ["samples"] and other_number):
        listed = "; ".join(f"{name}: {old[name]!r} against {new[name]!r}" for name in changed)
        raise ValueError(f"the reports were not made by one recipe: {listed}")
    after = after.ordered(before.ids)
    unequal = bool(changed) or _uneven(before, after)
    if unequal and not any(name.startswith(tuple(AMONG)) for name in old["measures"]):
        raise ValueError(
            f"the reports have {old['samples']} and {new['samples']} answers a prompt, not the same "
            "number for each, and most measures grow with it: evaluate both runs with the measure "
            "vendi@K or coverage@K, K at most the smallest number; they compare by that and by mean "
            "distance"
        )
    return after, unequal


def _uneven(before: Report, after: Report) -> bool:
    """Say whether a prompt has more answers in one report, where not all have equally many."""
    if not isinstance(before.recipe["samples"], list):
        return False
    rows = zip(before.samples, after.samples, strict=True)
    return any(len(old["generations"]) != len(new["generations"]) for old, new in rows)


def _same_model(before: Report, swept: Report) -> None:
    """Insist that a report of the sweep differs from `before` in temperature alone."""
    for part in ("engine", "strategy", "sampling"):
        old, new = (
            dict(report.summary["config"]["settings"].get(part, {})) for report in (before, swept)
        )
        for settings in (old, new):
            settings.pop("temperature", None)
        if old != new:
            raise ValueError(
                f"{swept.label} is no temperature of {before.label}: its {part} differs"
            )


def swept(model: Report, sweep: Sequence[Report | str | Path]) -> Frontier | None:
    """Return the curve of a model's reports at several temperatures; None without any.

    Raises:
        ValueError: One differs from the model's report in more than temperature, be it in the number
            of answers to a single prompt.
    """
    reports = [as_report(report) for report in sweep]
    for report in reports:
        if paired(model, report)[1]:
            raise ValueError(
                f"{report.label} has other numbers of answers to some prompts than {model.label}: "
                "draw the sweep with those of the model that it belongs to"
            )
        _same_model(model, report)
    return frontier(reports) if reports else None


def against_sweep(
    curve: Frontier | None,
    after_curve: Frontier | None,
    after: Report,
    measures: Sequence[str],
    qualities: Sequence[str],
    resamples: int,
    seed: int,
) -> tuple[list[Standing], list[FrontierGap]]:
    """Place the after model against the before model's curve, and its own curve too if there is one.

    Raises:
        ValueError: Only the after model was swept.
    """
    if curve is None:
        if after_curve is not None:
            raise ValueError("a sweep of the after model needs one of the before model beside it")
        return [], []
    options: dict[str, Any] = {
        "measures": measures,
        "qualities": qualities,
        "resamples": resamples,
        "seed": seed,
    }
    standings = curve.standings(after, **options)
    return standings, compare_frontiers(curve, after_curve, **options) if after_curve else []
