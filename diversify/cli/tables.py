"""What a command prints while it works and when it is done."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diversify.equivalence import Calibration
    from diversify.evaluation import Change, Comparison, FrontierGap, Report
    from diversify.evaluation.protocol_report import ProtocolReport

__all__ = [
    "aligned",
    "calibration_table",
    "clock",
    "progress_line",
    "protocol_table",
    "report_table",
    "verdict_table",
]

ANSWERS = {True: "yes", False: "no", None: "cannot be said"}


def progress_line(stream: Any = None) -> Callable[[str, int, int, float], None]:
    """Return a progress function that says how much is done and how long it will still take."""
    stream = stream or sys.stderr
    begun: dict[str, tuple[int, float]] = {}

    def show(name: str, done: int, total: int, seconds: float) -> None:
        first, _ = begun.setdefault(name, (done - 1, time.monotonic()))
        left = seconds / max(done - first, 1) * (total - done)
        end = "\n" if done == total or not stream.isatty() else ""
        start = "\r" if stream.isatty() else ""
        print(f"{start}{name}: {done}/{total} prompts, {clock(left)} left   ", end=end, file=stream)
        stream.flush()

    return show


def clock(seconds: float) -> str:
    """Return a duration as minutes and seconds.

    >>> clock(75.4)
    '1:15'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def report_table(report: Report) -> str:
    """Return the main numbers of one report as aligned text."""
    (results,) = report.summary["results"].values()
    rows = []
    for name, value in results.items():
        if "_stderr," in name or value is None:
            continue
        kind, _, rest = name.partition(",")
        error = results.get(f"{kind}_stderr,{rest}")
        rows.append((name, f"{value:.3f}", "" if error is None else f"± {error:.3f}"))
    return aligned([("", "mean", "std. error"), *rows])


def verdict_table(comparison: Comparison) -> str:
    """Return the comparison as a short table and the verdict in words."""
    from diversify.evaluation.wording.apart import labels_apart, run_of

    matched = {f"{name} (equal length)": c for name, c in comparison.length_matched.items()}
    head = ("", "before", "after", "difference", "95 % interval", "improved", "p", "p (Holm)")
    rows: list[Sequence[str]] = [head]
    seen = {name: c for name, c in comparison.monitors.items() if c.before or c.after}
    for name, change in (comparison.measures | matched | comparison.qualities | seen).items():
        low, high = change.ci95
        numbers = f"{change.before:.3f}", f"{change.after:.3f}", f"{change.difference:+.3f}"
        told = f"[{low:+.3f}, {high:+.3f}]", f"{change.improved:.0%}"
        rows.append((name, *numbers, *told, *_tested(change)))
    runs = [run_of(comparison.details, side) for side in ("before", "after")]
    before, after = labels_apart(comparison.labels, runs)
    lines = [f"before: {before}", f"after:  {after}"]
    lines += ["", aligned(rows), ""]
    if comparison.frontiers:
        lines += [_frontiers_table(comparison.frontiers), ""]
    for name, reason in comparison.verdict["reasons"].items():
        lines.append(f"{name.replace('_', ' ')}: {ANSWERS[comparison.verdict[name]]}. {reason}")
    return "\n".join(lines)


def _tested(change: Change) -> tuple[str, str]:
    """Return the p-value and what Holm's correction leaves of it; empty where there is none."""
    from diversify.evaluation.wording.written import p_told

    p, holm = (
        "" if value is None else p_told(value, sign="") for value in (change.p_value, change.p_holm)
    )
    return p, holm


def _frontiers_table(gaps: Sequence[FrontierGap]) -> str:
    """Return both models' sweeps at equal quality as aligned text."""
    rows = [("both models swept, at equal quality", "on average, smallest", "at least as diverse")]
    rows += [
        (f"{gap.measure} at equal {gap.quality}", gap.told(), ANSWERS[gap.dominates])
        for gap in gaps
    ]
    return aligned(rows)


def protocol_table(report: ProtocolReport) -> str:
    """Return the results of a benchmark, and in what the run departs from it, as aligned text."""
    results = report.summary["results"]
    rows = []
    for name, value in results.items():
        if name.endswith("_stderr") or not isinstance(value, float):
            continue
        error = results.get(f"{name}_stderr")
        rows.append((name, f"{value:.3f}", "" if error is None else f"± {error:.3f}"))
    lines = [report.protocol, "", aligned([("", "mean", "std. error"), *rows])]
    told = [f"departs from the protocol: {each}" for each in report.summary["departures"]]
    for name, count in report.summary["unscored"].items():
        told.append(f"{name}: no value for {count} of {report.summary['n_prompts']} prompts")
    return "\n".join([*lines, *([""] if told else []), *told])


def calibration_table(calibration: Calibration) -> str:
    """Return a threshold with its errors as aligned text."""
    rows = [("", "on these pairs", "held out", "95 % interval")]
    for name, text in (
        ("false_same", "different, called the same"),
        ("false_different", "the same, called different"),
        ("error", "wrong, of all"),
    ):
        fitted, held_out = getattr(calibration.fitted, name), getattr(calibration.held_out, name)
        interval = f"[{held_out.low:.3f}, {held_out.high:.3f}]"
        rows.append((text, f"{fitted.value:.3f}", f"{held_out.value:.3f}", interval))
    balanced = calibration.fitted.balanced, calibration.held_out.balanced
    fitted_text, held_out_text = (f"{value:.3f}" for value in balanced)
    rows.append(("mean of the first two", fitted_text, held_out_text, ""))
    of = f"{calibration.pairs} pairs, {calibration.same} of them the same"
    return f"threshold {calibration.threshold:.4f}, from {of}\n\n{aligned(rows)}"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as columns, the first one to the left and the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
