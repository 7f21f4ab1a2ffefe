"""What a check of a running training says: numbers for the log, and reasons to stop."""

from __future__ import annotations

import numpy as np

from diversify.evaluation.compare import Comparison
from diversify.evaluation.reports import Report
from diversify.evaluation.statistics.change import Change
from diversify.evaluation.statistics.inference import FEWEST
from diversify.evaluation.verdict import PRIMARY, told_change

__all__ = ["find_alarms", "means", "watched"]


def find_alarms(comparison: Comparison, *, strict: bool = False) -> list[str]:
    """Say what speaks for stopping a run: qualities that are lost, kernels that parted.

    Args:
        comparison: of the model at the start and now.
        strict: whether the mean change of a quality decides, and not its 95 % interval. An interval
            of fewer than `FEWEST` independent prompts shows nothing, and raises no alarm.

    Returns:
        A sentence for each; none is good.

    Example:
        >>> from diversify.evaluation import Change
        >>> up = Change(4.0, 5.0, 1.0, (0.5, 1.5), 16, 0.9, True)
        >>> down = Change(4.0, 3.0, -1.0, (-1.5, -0.5), 16, 0.1, True)
        >>> details = {"trained_kernel": "minilm", "margins": {}}
        >>> measures = {"vendi,minilm": up, "vendi,ngram-2": down}
        >>> find_alarms(Comparison(("a", "b"), measures, {}, {}, {}, details=details))
        ['vendi rose by the trained kernel minilm (+1.000) and fell by ngram-2 (-1.000)']
    """
    margins, trained = comparison.details["margins"], comparison.details["trained_kernel"]
    found = [
        f"quality {name} can no longer be scored"
        for name in margins
        if name not in comparison.qualities
    ]
    for name, change in comparison.qualities.items():
        if not strict and change.units < FEWEST:
            continue
        low, high = (change.difference, change.difference) if strict else change.ci95
        margin, told = margins[name]["margin"], told_change(name, change, margins)
        if high < -margin:
            found.append(f"quality fell beyond its margin: {told}")
        elif margins[name]["two_sided"] and low > margin:
            found.append(f"quality rose beyond its margin: {told}")
    for name, change in comparison.measures.items():
        measure, _, kernel = name.partition(",")
        seen = comparison.measures.get(f"{measure},{trained}")
        if measure in PRIMARY and seen is not None and seen.sign > 0 > change.sign:
            found.append(
                f"{measure} rose by the trained kernel {trained} ({seen.difference:+.3f}) and fell "
                f"by {kernel} ({change.difference:+.3f})"
            )
    return found


def watched(comparison: Comparison) -> dict[str, Change]:
    """Return the changes that may raise an alarm, under their names in the log."""
    measures, qualities = comparison.measures.items(), comparison.qualities.items()
    primary = {n.replace(",", "/"): c for n, c in measures if n.partition(",")[0] in PRIMARY}
    return primary | {f"quality/{name}": change for name, change in qualities}


def means(report: Report) -> dict[str, float]:
    """Return the mean over the prompts of what is logged; what nothing could score is left out."""
    columns = {
        **{n.replace(",", "/"): ("measures", n) for n in report.names("measures")},
        **{f"quality/{name}": ("qualities", name) for name in report.names("qualities")},
        **{f"monitor/{name}": ("monitors", name) for name in report.names("monitors")},
    }
    values = {
        path: report.column(section, name)
        for path, (section, name) in columns.items()
        if section != "measures" or name.partition(",")[0] in PRIMARY
    }
    return {
        path: float(np.nanmean(column))
        for path, column in values.items()
        if not np.isnan(column).all()
    }
