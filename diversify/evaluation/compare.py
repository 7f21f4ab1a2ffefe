"""Comparison: two reports on the same prompts, paired prompt by prompt, and the verdict."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diversify.evaluation.frontier import Frontier
from diversify.evaluation.frontiers import FrontierGap
from diversify.evaluation.generate import write_atomically
from diversify.evaluation.lengths import length_matched
from diversify.evaluation.pairing import against_sweep, as_report, paired, swept
from diversify.evaluation.recipe import whatever_number
from diversify.evaluation.reports import Report
from diversify.evaluation.statistics.change import CONFIDENCE, Change, paired_change, with_holm
from diversify.evaluation.statistics.clusters import clusters_of
from diversify.evaluation.statistics.inference import POWER
from diversify.evaluation.verdict import judge, primary_of, told_change
from diversify.kernels import Kernel

COMPARISON = "comparison.json"


@dataclass(frozen=True)
class Comparison:
    """What changed between two reports.

    Args:
        labels: (before, after).
        measures: measure and kernel -> `Change`.
        qualities: quality -> `Change`.
        monitors: monitor -> `Change`.
        length_matched: the primary measures, with the answers to each prompt cut to the shorter of
            the two median lengths: what is left once length is equal. `details["length_matched"]`
            says how much was cut (`lengths.Cuts`).
        verdict: `collapse_fell`, `quality_held`, `beats_temperature`, each True, False or None
            (cannot be said), and `reasons` with a sentence for each.
        frontier: the temperature sweep of the before model, if one was given.
        after_frontier: that of the after model, likewise.
        frontiers: how far the one lies above the other, where both were given.
        details: settings, recipe, margins, resamples, seed, and how the statistics were made.
        samples: (before, after) rows of `samples.jsonl`, paired, for the report.
    """

    labels: tuple[str, str]
    measures: dict[str, Change]
    qualities: dict[str, Change]
    monitors: dict[str, Change]
    verdict: dict[str, Any]
    length_matched: dict[str, Change] = field(default_factory=dict)
    frontier: Frontier | None = None
    after_frontier: Frontier | None = None
    frontiers: list[FrontierGap] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    samples: tuple[Sequence[dict[str, Any]], Sequence[dict[str, Any]]] = field(
        default=([], []), repr=False
    )

    def as_json(self) -> dict[str, Any]:
        """Return the content of `comparison.json`."""
        found: dict[str, Any] = {"before": self.labels[0], "after": self.labels[1]}
        for section in ("measures", "qualities", "monitors", "length_matched"):
            changes: dict[str, Change] = getattr(self, section)
            found[section] = {name: change.as_json() for name, change in changes.items()}
        found["verdict"] = self.verdict
        found["frontier"] = self.frontier.as_json() if self.frontier else None
        if self.after_frontier:
            found["after_frontier"] = self.after_frontier.as_json()
            found["frontiers"] = [gap.as_json() for gap in self.frontiers]
        return found | {"details": self.details}

    def save(self, folder: str | Path) -> Path:
        """Write `comparison.json` into a folder and return its path."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / COMPARISON, json.dumps(self.as_json(), indent=2) + "\n")
        return folder / COMPARISON


def compare(
    before: Report | str | Path,
    after: Report | str | Path,
    *,
    sweep: Sequence[Report | str | Path] = (),
    after_sweep: Sequence[Report | str | Path] = (),
    trained_kernel: str | None = None,
    margins: dict[str, float] | None = None,
    deciding: Sequence[str] | None = None,
    length_kernels: Sequence[Kernel] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare two reports, paired over prompts.

    The interval of each difference is the bias-corrected and accelerated bootstrap over prompts,
    stretched to all that the sign-flip permutation test does not reject, whose p-value stands
    beside it: the prompt is the unit, so answers to one prompt never count as independent
    evidence. Where the rows of the runs have a column
    `group`, prompts of one group (paraphrases) are resampled and flipped together. The p-values of
    the primary measures are corrected for being several, by Holm's rule.

    Two reports may differ in the number of answers a prompt, and in nothing else, where both have a
    measure `vendi@K` or `coverage@K` (`richness.measures_named`). Then only what does not depend on
    that number is compared, and the number among K decides in the place of the effective number.

    Args:
        before: the base model's report, or its folder.
        after: the changed model's report, or its folder.
        sweep: reports of the *before* model at several temperatures, the before report included
            or not; without at least two temperatures `beats_temperature` stays None.
        after_sweep: reports of the *after* model at several temperatures; with those of `sweep`
            they say what the change brings at every quality that both models reach
            (`compare_frontiers`), beside the verdict and not part of it.
        trained_kernel: what stands behind the comma in the measures that training optimised
            (`minilm`, `answers`, …); it alone cannot make `collapse_fell` true. By default the
            first kernel of the recipe.
        margins: quality name -> how far its mean may move, instead of the scorer's own margin.
        deciding: the qualities that the verdict rests on; all of them by default. Choose before the
            run and say why: where answers can be checked exactly, a likelihood per token or a
            cosine adds little and moves with the answers' length. The others are still reported.
        length_kernels: kernels of the comparison at equal length; by default that of word n-grams,
            which needs no model.
        resamples: bootstrap resamples, and random flips of signs.
        seed: of both.

    Raises:
        ValueError: the reports' recipes differ (the fields are named), their prompts or groups of
            prompts differ, a margin names an unknown quality, or the after model is swept alone.
    """
    before, after = as_report(before), as_report(after)
    after, unequal = paired(before, after, other_number=True)
    pairs = before.samples, after.samples
    higher = _directions(before)
    clusters = clusters_of(before.heads, after.heads)
    changes = {
        section: _changes(before, after, section, higher, clusters, resamples, seed)
        for section in ("measures", "qualities", "monitors")
    }
    if unequal:
        changes = {
            section: {name: c for name, c in found.items() if whatever_number(section, name)}
            for section, found in changes.items()
        }
    family = primary_of(changes["measures"])
    changes["measures"] = with_holm(changes["measures"], family)
    margin = _margins(before, margins)
    decides = _deciding(changes["qualities"], deciding)
    curve, after_curve = swept(before, sweep), swept(after, after_sweep)
    standings, gaps = against_sweep(curve, after_curve, after, family, decides, resamples, seed)
    kernels = [kernel["name"] for kernel in before.recipe["kernels"]]
    trained = kernels[0] if trained_kernel is None else trained_kernel
    known = {name.partition(",")[2] for name in changes["measures"]}
    if trained not in known:
        raise ValueError(
            f"trained_kernel {trained!r} is not in the reports; there are {sorted(known)}"
        )
    judged = {name: changes["qualities"][name] for name in decides}
    lost = [name for name in margin if name not in changes["qualities"]] if deciding is None else []
    verdict = judge(
        changes["measures"],
        judged,
        margin,
        standings,
        trained,
        unscored=lost,
        blank=changes["monitors"].get("blank"),
        samples=after.recipe["samples"],
    )
    if unequal:
        verdict["reasons"]["collapse_fell"] += (
            f" There are {before.recipe['samples']} answers a prompt before and "
            f"{after.recipe['samples']} after: only what does not depend on their number is compared."
        )
    if beside := [name for name in changes["qualities"] if name not in decides]:
        told = "; ".join(told_change(name, changes["qualities"][name], margin) for name in beside)
        verdict["reasons"]["quality_held"] += f" Measured beside it, not deciding: {told}."
    statistics = _statistics(changes, family, clusters, len(before.samples))
    if some := [name for name in decides if name in statistics["unpaired"]]:
        told = "; ".join(f"{n}: {judged[n].n_prompts} of {len(before.samples)}" for n in some)
        verdict["reasons"]["quality_held"] += f" Scored not on every prompt ({told})."
    matched, cuts = length_matched(
        *pairs, kernels=length_kernels, clusters=clusters, resamples=resamples, seed=seed
    )
    if unequal:
        matched = {n: change for n, change in matched.items() if whatever_number("measures", n)}
    return Comparison(
        labels=(before.label, after.label),
        measures=changes["measures"],
        qualities=changes["qualities"],
        monitors=changes["monitors"],
        length_matched=matched,
        verdict=verdict,
        frontier=curve,
        after_frontier=after_curve,
        frontiers=gaps,
        details={
            "before": before.summary["config"],
            "after": after.summary["config"],
            "margins": margin,
            "deciding": decides,
            "trained_kernel": trained,
            "standings": [standing.as_json() for standing in standings],
            "resamples": resamples,
            "seed": seed,
            "confidence": CONFIDENCE,
            "statistics": statistics,
            "length_matched": cuts._asdict(),
            "versions": after.summary["versions"],
            "git_hash": after.summary["git_hash"],
        },
        samples=pairs,
    )


def _directions(report: Report) -> dict[str, bool]:
    (directions,) = report.summary["higher_is_better"].values()
    found: dict[str, bool] = directions
    return found


def _changes(
    before: Report,
    after: Report,
    section: str,
    higher: dict[str, bool],
    clusters: list[Hashable] | None,
    resamples: int,
    seed: int,
) -> dict[str, Change]:
    found = {}
    for name in before.names(section):
        old, new = (report.column(section, name) for report in (before, after))
        both = ~(np.isnan(old) | np.isnan(new))
        if both.any():
            better = higher.get(name, section == "qualities")
            found[name] = paired_change(
                old[both],
                new[both],
                higher_is_better=better,
                clusters=clusters
                and [label for label, has in zip(clusters, both, strict=True) if has],
                resamples=resamples,
                seed=seed,
            )
    return found


def _statistics(
    changes: dict[str, dict[str, Change]],
    family: list[str],
    clusters: list[Hashable] | None,
    prompts: int,
) -> dict[str, Any]:
    """Say how intervals and p-values were made, and what was left out of them."""
    return {
        "interval": "BCa bootstrap, stretched to what the test does not reject",
        "test": "two-sided sign flips of the paired differences",
        "standings": "as the interval, over prompts scored everywhere, of what each adds to the gap "
        "to first order, stretched to a percentile bootstrap that matches quality anew; p is the larger of both",
        "family": family,
        "correction": "Holm",
        "power": POWER,
        "unit": "prompt" if clusters is None else "group of prompts",
        "units": prompts if clusters is None else len(set(clusters)),
        # Prompts without a value before or after are in no number of that name.
        "unpaired": {
            name: prompts - change.n_prompts
            for section in changes.values()
            for name, change in section.items()
            if change.n_prompts < prompts
        },
    }


def _margins(report: Report, given: dict[str, float] | None) -> dict[str, dict[str, Any]]:
    found = {name: dict(entry) for name, entry in report.summary["config"]["qualities"].items()}
    for name, margin in (given or {}).items():
        if name not in found:
            raise ValueError(f"no quality {name!r} in the reports; they have {sorted(found)}")
        if not (math.isfinite(margin) and margin >= 0):
            raise ValueError(f"the margin of {name!r} must be a number of 0 or more, got {margin}")
        found[name]["margin"] = margin
    return found


def _deciding(qualities: dict[str, Change], names: Sequence[str] | None) -> list[str]:
    if names is None:
        return list(qualities)
    unknown = [name for name in names if name not in qualities]
    if unknown or not names:
        raise ValueError(
            f"deciding takes measured qualities ({list(qualities)}), got {list(names)}"
        )
    return list(names)
