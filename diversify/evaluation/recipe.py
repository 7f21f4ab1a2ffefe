"""The recipe of a report: what must be equal before its numbers may stand beside another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diversify.evaluation.generate import Run, prompts_digest
from diversify.evaluation.richness import AMONG
from diversify.kernels import Kernel
from diversify.quality import Quality

__all__ = ["RECIPE_FIELDS", "differing_fields", "recipe_of", "whatever_number"]

# What must be equal before two reports may be compared: the ruler and the questions. How the
# answers were drawn (sampling, strategy) and by whom (model, adapter) is what is compared.
RECIPE_FIELDS = (
    "prompts",
    "samples",
    "measures",
    "kernels",
    "qualities",
    "max_tokens",
    "chat_template_sha",
    "system",
)


def recipe_of(
    run: Run, kernels: Sequence[Kernel], measures: Mapping[str, Any], quality: Sequence[Quality]
) -> dict[str, Any]:
    """Say with what a run was measured: the questions, the ruler, and how much could be answered."""
    settings = run.settings
    engine = settings.get("engine", {})
    asked, seen = [], set()
    for row in run.rows:
        asked.append((row["id"], row["prompt"]))
        seen.add(len(row["generations"]))
    counts = sorted(seen)
    # From the rows, whatever the settings say: two runs are paired only on the same questions.
    found = {"n": len(asked), "sha256": prompts_digest(asked)}
    return {
        "prompts": settings.get("prompts", {}) | found,
        "samples": counts[0] if len(counts) == 1 else counts,
        "measures": sorted(measures),
        "kernels": [
            {"name": kernel.name, "revision": str(getattr(kernel, "revision", ""))}
            for kernel in kernels
        ],
        "qualities": [scorer.identity | {"name": scorer.name} for scorer in quality],
        "max_tokens": settings.get("sampling", {}).get("max_tokens"),
        "chat_template_sha": engine.get("chat_template_sha"),
        "system": engine.get("system"),
    }


def differing_fields(recipe: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Name the fields in which two recipes differ, in the order of `RECIPE_FIELDS`.

    A kernel whose revision is not on record, as in reports of older releases, is taken for the one
    of its name.

    >>> new, other, old = ({"kernels": [{"name": "minilm", "revision": r}]} for r in ("a", "b", ""))
    >>> differing_fields(new, other), differing_fields(new, old)
    (['kernels'], [])
    """
    return [
        name
        for name in RECIPE_FIELDS
        if recipe.get(name) != other.get(name)
        and not (name == "kernels" and _same_kernels(recipe.get(name), other.get(name)))
    ]


def whatever_number(section: str, name: str) -> bool:
    """Say whether a number of a report is the same on average, however many answers there are.

    The mean over pairs is, and what is counted among K of them, and any mean over answers. The
    effective number and its kin grow, and so does the share of exact copies.

    Args:
        section: of the report: `measures`, `qualities` or `monitors`.
        name: of a measure (`measure,kernel`), a quality or a monitor.

    >>> names = "mean_distance,minilm", "coverage@5,words", "vendi,minilm", "self_bleu,words"
    >>> [whatever_number("measures", name) for name in names]
    [True, True, False, False]
    """
    if section == "measures":
        return name.partition(",")[0] == "mean_distance" or name.startswith(tuple(AMONG))
    return name != "exact_duplicates"


def _same_kernels(kernels: Any, others: Any) -> bool:
    """Whether two lists name the same kernels, of the same revisions where both tell them."""
    if not kernels or not others or len(kernels) != len(others):
        return False
    return all(
        kernel["name"] == other["name"] and (not old or not new or old == new)
        for kernel, other in zip(kernels, others, strict=True)
        for old, new in [(kernel.get("revision"), other.get("revision"))]
    )
