"""The verdict: what the intervals say about collapse, quality and temperature, and no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diversify.evaluation.change import Change
from diversify.evaluation.frontier import Standing

PRIMARY = ("mean_distance", "vendi")
"""The measures that decide: one minus the mean pairwise similarity, and the effective number."""


def judge(
    measures: dict[str, Change],
    qualities: dict[str, Change],
    margins: dict[str, dict[str, Any]],
    standings: Sequence[Standing],
    trained: str,
) -> dict[str, Any]:
    """Answer the three questions, each with True, False or None (cannot be said) and a reason.

    Args:
        measures: every measure and kernel.
        qualities: the deciding ones.
        margins: name of a quality -> its `margin` and whether it is `two_sided`.
        standings: against the temperature sweep; empty without one.
        trained: the kernel that training saw.

    Returns:
        `collapse_fell`, `quality_held`, `beats_temperature` and `reasons`.
    """
    parts = {
        "collapse_fell": _collapse_fell(measures, trained),
        "quality_held": _quality_held(qualities, margins),
        "beats_temperature": _beats_temperature(standings, bool(qualities)),
    }
    verdict: dict[str, Any] = {name: answer for name, (answer, _) in parts.items()}
    return verdict | {"reasons": {name: reason for name, (_, reason) in parts.items()}}


def _collapse_fell(measures: dict[str, Change], trained: str) -> tuple[bool | None, str]:
    """True only if every primary measure rose under the trained *and* the held-out kernels."""
    primary = {name: c for name, c in measures.items() if name.partition(",")[0] in PRIMARY}
    if not primary:
        return None, f"neither {' nor '.join(PRIMARY)} was measured."
    few = min(change.n_prompts for change in primary.values())
    if few < 2:
        return None, f"only {few} prompt: an interval needs at least two."
    rose = [name for name, change in primary.items() if change.sign > 0]
    fell = [name for name, change in primary.items() if change.sign < 0]
    open_ = [name for name in primary if name not in rose and name not in fell]
    held_out = [name for name in primary if name.partition(",")[2] != trained]
    if not fell and not open_ and held_out:
        return True, (
            f"{_list(rose)} rose, every 95 % interval above zero; "
            f"{_list(held_out)} use a kernel that was not trained on."
        )
    said = [
        f"{_list(names)} {verb}"
        for names, verb in (
            (rose, "rose"),
            (open_, "did not change for certain"),
            (fell, "fell, so answers became more alike by it"),
        )
        if names
    ]
    if not held_out:
        return None, "; ".join(said) + "; there is no kernel that was not trained on."
    return False, "; ".join(said) + "."


def _quality_held(
    qualities: dict[str, Change], margins: dict[str, dict[str, Any]]
) -> tuple[bool | None, str]:
    """True only if every quality's whole interval lies within its margin."""
    if not qualities:
        return None, "no quality was measured."
    if (few := min(change.n_prompts for change in qualities.values())) < 2:
        return None, f"only {few} prompt: an interval needs at least two."
    lost, unsure, risen, held = [], [], [], []
    for name, change in qualities.items():
        margin, two_sided = margins[name]["margin"], margins[name]["two_sided"]
        low, high = change.ci95
        told = told_change(name, change, margins)
        if high < -margin:
            lost.append(told)
        elif low < -margin:
            unsure.append(told)
        elif two_sided and high > margin:
            risen.append(told)
        else:
            held.append(told)
    if not (lost or unsure or risen):
        return True, "every interval is within its margin: " + "; ".join(held) + "."
    said = [
        f"{what}: " + "; ".join(names)
        for what, names in (
            ("fell beyond the margin", lost),
            ("may have fallen beyond the margin", unsure),
            (
                "may have risen beyond the margin, which for a likelihood is a sign of collapse",
                risen,
            ),
            ("held", held),
        )
        if names
    ]
    return False, ". ".join(said) + "."


def told_change(name: str, change: Change, margins: dict[str, dict[str, Any]]) -> str:
    """Say a quality's change, its interval and its margin in a few words."""
    low, high = change.ci95
    moved = f"{change.difference:+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"{name} {moved}, margin {margins[name]['margin']:g}"


def _beats_temperature(standings: Sequence[Standing], any_quality: bool) -> tuple[bool | None, str]:
    """True only if the point lies above the base model's curve for every measure and quality."""
    if not any_quality:
        return None, "no quality was measured at which diversity could be compared."
    if not standings:
        return None, "no temperature sweep of the base model was given."
    above = [s for s in standings if s.above is True]
    not_above = [s for s in standings if s.above is False]
    outside = [s for s in standings if s.above is None]
    told = "; ".join(f"{s.measure} at equal {s.quality} {s.told()}" for s in standings)
    if not_above:
        return False, f"above the base model's curve in {len(above)} of {len(standings)}: {told}."
    if outside:
        return None, f"it cannot be said in {len(outside)} of {len(standings)}: {told}."
    return True, f"above the base model's curve throughout: {told}."


def _list(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]
