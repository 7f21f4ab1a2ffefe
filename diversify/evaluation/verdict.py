"""The verdict: what the intervals say about collapse, quality and temperature, and no more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from diversify.evaluation.frontier import Standing
from diversify.evaluation.richness import COVERAGE, VENDI
from diversify.evaluation.statistics.change import Change
from diversify.evaluation.statistics.inference import FEWEST

PRIMARY = ("mean_distance", "vendi")
"""The measures that decide: one minus the mean pairwise similarity, and the effective number."""


BLANKS = 0.02
"""How far the share of blank answers may rise while quality holds."""

SINGLE = None, "a single answer to each prompt has nothing to differ from."


def primary_of(names: Iterable[str]) -> list[str]:
    """Return those measures that decide, of all that were compared.

    Where the effective number cannot be compared, because one model gave more answers than the
    other, that among K answers takes its place, or else the number of different ones among K. That
    of *valid* ones has quality in it and does not decide.

    Args:
        names: `measure,kernel`.

    >>> primary_of(["mean_distance,minilm", "vendi,minilm", "coverage@5,minilm"])
    ['mean_distance,minilm', 'vendi,minilm']
    >>> primary_of(["mean_distance,minilm", "coverage@5,minilm", "coverage@5,answers"])
    ['mean_distance,minilm', 'coverage@5,minilm']
    """
    kinds = {name: name.partition(",")[0] for name in names if not _of_valid(name)}
    decide = set(PRIMARY)
    if PRIMARY[1] not in kinds.values():
        among = [[k for k in kinds.values() if k.startswith(p)] for p in (VENDI, COVERAGE)]
        decide.update(next(filter(None, among), []))
    return [name for name, kind in kinds.items() if kind in decide]


def _of_valid(name: str) -> bool:
    return name.startswith(COVERAGE) and name.endswith(",answers")


def judge(
    measures: dict[str, Change],
    qualities: dict[str, Change],
    margins: dict[str, dict[str, Any]],
    standings: Sequence[Standing],
    trained: str,
    *,
    unscored: Sequence[str] = (),
    blank: Change | None = None,
    samples: Any = None,
) -> dict[str, Any]:
    """Answer the three questions, each with True, False or None (cannot be said) and a reason.

    Args:
        measures: every measure and kernel.
        qualities: the deciding ones.
        margins: name of a quality -> its `margin` and whether it is `two_sided`.
        standings: against the temperature sweep; empty without one.
        trained: the kernel that training saw.
        unscored: deciding qualities that have no prompt with a value on both sides.
        blank: the share of blank answers.
        samples: answers a prompt, where all have equally many.

    Returns:
        `collapse_fell`, `quality_held`, `beats_temperature` and `reasons`.
    """
    parts = {
        "collapse_fell": SINGLE if samples == 1 else _collapse_fell(measures, trained),
        "quality_held": _unless_blank(_quality_held(qualities, margins, unscored), blank),
        "beats_temperature": _beats_temperature(standings, bool(qualities)),
    }
    verdict: dict[str, Any] = {name: answer for name, (answer, _) in parts.items()}
    return verdict | {"reasons": {name: reason for name, (_, reason) in parts.items()}}


def _collapse_fell(measures: dict[str, Change], trained: str) -> tuple[bool | None, str]:
    """True only if every primary measure rose under the trained *and* the held-out kernels.

    That all of them must rise is a stricter rule than any correction for asking several times:
    chance has to fool each of them at once. The corrected p-values are told beside it.
    """
    primary = {name: measures[name] for name in primary_of(measures)}
    if not primary:
        return None, f"neither {' nor '.join(PRIMARY)} was measured."
    if few := _too_few(primary):
        return None, few
    rose = [name for name, change in primary.items() if change.sign > 0]
    fell = [name for name, change in primary.items() if change.sign < 0]
    open_ = [name for name in primary if name not in rose and name not in fell]
    held_out = [name for name in primary if name.partition(",")[2] != trained]
    if not fell and not open_ and held_out:
        return True, (
            f"{_list(rose)} rose, every 95 % interval above zero{_largest_p(primary)}; "
            f"{_list(held_out)} use a kernel that was not trained on."
        )
    said = [
        f"{_list(names)} {verb}"
        for names, verb in (
            (rose, "rose"),
            (open_, "did not change for certain"),
            (fell, "fell, so answers became more alike by that"),
        )
        if names
    ]
    if not held_out:
        return None, "; ".join(said) + "; there is no kernel that was not trained on."
    return False, "; ".join(said) + "."


def _quality_held(
    qualities: dict[str, Change],
    margins: dict[str, dict[str, Any]],
    unscored: Sequence[str],
) -> tuple[bool | None, str]:
    """True only if every quality's whole interval lies within its margin: it is not inferior."""
    if unscored:
        return None, f"{_list(unscored)} could not be scored on any prompt on both sides."
    if not qualities:
        return None, "no quality was measured."
    if few := _too_few(qualities):
        return None, few
    lost, unsure, risen, held = [], [], [], []
    for name, change in qualities.items():
        margin, two_sided = margins[name]["margin"], margins[name]["two_sided"]
        low, high = change.ci95
        told = told_change(name, change, margins)
        if high < -margin:
            lost.append(told)
        elif not low >= -margin:  # NaN included
            unsure.append(told)
        elif two_sided and high > margin:
            risen.append(told)
        else:
            held.append(told)
    if not (lost or unsure or risen):
        return True, "not inferior, every interval is within its margin: " + "; ".join(held) + "."
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


def _unless_blank(
    quality: tuple[bool | None, str], blank: Change | None
) -> tuple[bool | None, str]:
    """Deny that quality held where more answers are blank.

    A blank answer differs from all others, and most qualities cannot judge it: by those that can be
    judged alone, a model that says nothing half of the time is as good as before and more diverse.
    """
    if blank is None or blank.difference <= 0 or blank.ci95[1] <= BLANKS or _too_few({"": blank}):
        return quality
    return False, (
        f"{blank.after:.1%} of the answers are blank, {blank.before:.1%} were before: their share may "
        f"have risen by more than {BLANKS:.0%}. Beside that: {quality[1]}"
    )


def _too_few(changes: dict[str, Change]) -> str | None:
    """Say that there is too little to decide on, or None."""
    few = min(change.units for change in changes.values())
    if few >= FEWEST:
        return None
    what = "independent prompt" if few == 1 else "independent prompts"
    return f"only {few} {what}: fewer than {FEWEST} cannot show a change at 95 %."


def _largest_p(changes: dict[str, Change]) -> str:
    found = [change.p_holm for change in changes.values() if change.p_holm is not None]
    return f" and every corrected p at most {max(found):.2g}" if found else ""


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
