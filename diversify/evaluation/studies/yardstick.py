"""The yardstick: a way to decode beside plain sampling, by equal answers and by equal tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from diversify.decoding.records import PLAINLY
from diversify.evaluation.frontier import Standing, frontier
from diversify.evaluation.generate import Run
from diversify.evaluation.reports import Report
from diversify.evaluation.statistics.change import Change, paired_change
from diversify.evaluation.studies.budget import found_for
from diversify.evaluation.studies.tuning import Tuned, cross_fitted

__all__ = ["Answered", "Yardstick", "kernels_seen"]

MONITORS = ("length", "truncated", "exact_duplicates")


@dataclass(frozen=True)
class Answered:
    """One method at one temperature: its run, and the report of that run."""

    run: Run
    report: Report


class Yardstick:
    """Plain sampling at several temperatures: what every method is compared with.

    A method's temperature is chosen by `cross_fitted`, and so is that of plain sampling. With equal
    numbers of answers the method is compared with plain sampling at its best temperature, and with
    the whole curve at the quality that the method has. With equal tokens its different valid
    answers are compared with those that plain sampling finds in expectation (`found_for`), at its
    best temperature; that needs prompts with a list of answers.

    Args:
        plain: temperature -> plain sampling, two temperatures or more.
        pools: the same temperatures -> a larger plain run, from which `found_for` reckons.
        reference: the temperature whose quality is to be kept.
        measure: name of the measure that decides.
        quality: name of the quality that is to be kept.
        margin: how far its mean may lie below that of the reference.
        resamples: bootstrap resamples over prompts.
        seed: of the bootstrap.

    Raises:
        ValueError: A temperature is missing, the measure or the quality is not in the reports, or
            their prompts differ.
    """

    def __init__(
        self,
        plain: Mapping[float, Answered],
        pools: Mapping[float, Run],
        *,
        reference: float,
        measure: str,
        quality: str,
        margin: float,
        resamples: int = 10_000,
        seed: int = 0,
    ) -> None:
        if missing := ({reference, *plain} - {*pools}) | ({reference} - {*plain}):
            raise ValueError(f"plain sampling or its pool lacks the temperatures {sorted(missing)}")
        known = next(iter(plain.values())).report
        for name, section in ((measure, "measures"), (quality, "qualities")):
            if name not in known.names(section):
                raise ValueError(f"the reports have {known.names(section)}, got {name!r}")
        self.measure, self.quality, self.margin = measure, quality, margin
        self.resamples, self.seed = resamples, seed
        reports = {heat: answered.report for heat, answered in plain.items()}
        self.reference = reports[reference]
        self.curve = frontier([*reports.values()])
        self.tuned = self._tuned(reports)
        self.pools = self.tuned.rows({heat: pool.rows for heat, pool in pools.items()})
        self.rows = self.tuned.rows({heat: answered.run.rows for heat, answered in plain.items()})

    def row(
        self, answered: Mapping[float, Answered], *, passes: float = 1, is_plain: bool = False
    ) -> dict[str, Any]:
        """Return everything that is kept of a method, JSON-serialisable.

        Args:
            answered: temperature -> the method.
            passes: how often it runs the model for a token that it writes.
            is_plain: whether it is plain sampling itself, which is not set beside its own curve.

        Raises:
            ValueError: The method selects by the kernel of the measure that decides, or its prompts
                are others.
        """
        strategy = next(iter(answered.values())).run.settings["strategy"]
        sees = sorted({*kernels_seen(strategy)})
        if self.measure.partition(",")[2] in sees:
            raise ValueError(f"a method that selects by {sees} is not judged by {self.measure!r}")
        tuned = self._tuned({heat: each.report for heat, each in answered.items()})
        rows = tuned.rows({heat: each.run.rows for heat, each in answered.items()})
        quality = self._change("qualities", self.quality, self.reference, tuned.report)
        return {
            "temperatures": list(tuned.temperatures),
            "kept_quality": tuned.held,
            "measure": self.measure,
            "prompts": len(rows),
            "quality": {"name": self.quality} | rounded(quality),
            "measures": self._measures(tuned, is_plain),
            "budget": self._budget(tuned, rows, passes),
            "cost": self._cost(rows, passes),
            "sees": sees,
            "monitors": {name: _mean(tuned.report, ("monitors", name)) for name in MONITORS},
            "by_temperature": [self._point(heat, each.report) for heat, each in answered.items()],
        }

    def _tuned(self, sweep: Mapping[float, Report]) -> Tuned:
        return cross_fitted(
            sweep, self.reference, measure=self.measure, quality=self.quality, margin=self.margin
        )

    def _measures(self, tuned: Tuned, is_plain: bool) -> dict[str, Any]:
        """Compare with plain sampling at its best temperature, and with its curve."""
        standings: list[Standing] = []
        if not is_plain:
            standings = self.curve.standings(
                tuned.report,
                measures=[self.measure.partition(",")[0], "vendi"],
                qualities=[self.quality],
                resamples=self.resamples,
                seed=self.seed,
            )
        found = {
            key: rounded(self._change("measures", key, self.tuned.report, tuned.report))
            for key in self._shown(tuned.report)
        }
        for standing in standings:
            if standing.measure in found:
                told = standing.as_json()
                told["gap"] = _short(told["gap"])
                told["ci95"] = [_short(bound) for bound in told["ci95"]]
                found[standing.measure]["at_equal_quality"] = told
        return found

    def _budget(
        self, tuned: Tuned, rows: Sequence[Mapping[str, Any]], passes: float
    ) -> dict[str, Any] | None:
        """Compare with what plain sampling finds with as many written tokens."""
        own = tuned.report.column("measures", "distinct_valid,answers")
        found = [
            found_for(passes * row["details"]["tokens"]["written"], pool)
            for row, pool in zip(rows, self.pools, strict=True)
        ]
        pairs = [(each, value) for each, value in zip(found, own, strict=True) if each is not None]
        if not pairs:
            return None
        change = paired_change(
            np.array([each.answers for each, _ in pairs]),
            np.array([value for _, value in pairs]),
            resamples=self.resamples,
            seed=self.seed,
        )
        draws = float(np.mean([each.draws for each, _ in pairs]))
        capped = sum(each.capped for each, _ in pairs)
        return rounded(change) | {"draws": round(draws, 2), "capped": capped}

    def _cost(self, rows: Sequence[Mapping[str, Any]], passes: float) -> dict[str, Any]:
        """Say what the answers to one prompt cost, tokens as multiples of plain sampling's."""
        details = [row["details"] for row in rows]
        plain = [row["details"] for row in self.rows]
        notes = [note for each in details for note in each["kept"]]
        return {
            "passes": passes,
            "calls": round(float(np.mean([each["calls"] for each in details])), 2),
            "answers": round(float(np.mean([len(row["generations"]) for row in rows])), 2),
            "written": round(_tokens(details, "written") / _tokens(plain, "written"), 3),
            "read": round(_tokens(details, "read") / _tokens(plain, "read"), 3),
            "asked_plainly": round(notes.count(PLAINLY) / len(notes), 3),
        }

    def _point(self, heat: float, report: Report) -> dict[str, Any]:
        means = {key: _mean(report, ("measures", key)) for key in self._shown(report)}
        quality = _mean(report, ("qualities", self.quality))
        return {"temperature": heat, "quality": quality} | means

    def _shown(self, report: Report) -> list[str]:
        vendis = [name for name in report.names("measures") if name.startswith("vendi,")]
        return list(dict.fromkeys([self.measure, *vendis]))

    def _change(self, section: str, name: str, before: Report, after: Report) -> Change:
        old, new = (report.column(section, name) for report in (before, after))
        both = ~(np.isnan(old) | np.isnan(new))
        return paired_change(old[both], new[both], resamples=self.resamples, seed=self.seed)


def kernels_seen(record: Any) -> Iterator[str]:
    """Yield the kernels that a strategy compares texts with, from its description.

    >>> list(kernels_seen({"name": "diverge", "strategy": {"name": "g2", "kernel": "ngram-2"}}))
    ['ngram-2']
    """
    if isinstance(record, dict):
        if isinstance(record.get("kernel"), str):
            yield record["kernel"]
        for value in record.values():
            yield from kernels_seen(value)


def rounded(change: Change) -> dict[str, Any]:
    """Return a change as it is kept: the means, the difference and its interval."""
    return {
        "before": round(change.before, 4),
        "after": round(change.after, 4),
        "difference": round(change.difference, 4),
        "ci95": [_short(bound) for bound in change.as_json()["ci95"]],
    }


def _short(bound: float | None) -> float | None:
    return None if bound is None else round(bound, 4)


def _mean(report: Report, column: tuple[str, str]) -> float | None:
    values = report.column(*column)
    return None if np.isnan(values).all() else round(float(np.nanmean(values)), 4)


def _tokens(details: Sequence[Mapping[str, Any]], side: str) -> float:
    return float(sum(each["tokens"][side] for each in details))
