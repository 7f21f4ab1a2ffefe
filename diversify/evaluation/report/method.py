"""How it was measured, as plain data: the models, the ruler, the honesty notes, the commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from diversify.evaluation.compare import Comparison
from diversify.evaluation.report.names import deciding
from diversify.evaluation.wording.written import NONE

NOTES = (
    "The unit is the prompt. The answers to one prompt are not independent evidence, so every "
    "interval is a bootstrap over prompts of the paired differences.",
    "The kernel that counts as trained on does not decide alone: every primary measure must rise "
    "under the held-out kernels too.",
    "Quality held only where the whole interval lies within the margin that was set for it. "
    "An interval that merely includes zero is no proof.",
    "Temperature is the baseline to beat: a gain that the base model reaches by being sampled "
    "hotter, at the same quality, is not a gain.",
    "Numbers depend on the kernel, on how many answers were drawn and on the chat template. Compare "
    "them only with numbers that were made by the same recipe.",
)


class Setting(NamedTuple):
    """One setting of the compared runs; `differs` marks what was not the same."""

    name: str
    values: list[str]
    differs: bool


class Fact(NamedTuple):
    """One line about the ruler."""

    name: str
    value: str


def settings(comparison: Comparison, also: Mapping[str, Comparison]) -> list[Setting]:
    """Return how each model was asked, a row each, a column for each model, differences first."""
    models = [comparison.details.get(side, {}) for side in ("before", "after")]
    models += [other.details.get("after", {}) for other in also.values()]
    asked = [dict(_flat(_drawing(model))) for model in models]
    names = dict.fromkeys(name for found in asked for name in found)
    rows = []
    for name in names:
        values = [found.get(name, NONE) for found in asked]
        rows.append(Setting(name, values, differs=len(set(values)) > 1))
    return sorted(rows, key=lambda setting: not setting.differs)


def _drawing(model: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what says how answers were drawn; the prompts belong to the ruler."""
    drawn = {name: value for name, value in model.get("settings", {}).items() if name != "prompts"}
    return {"label": model.get("label"), "run": model.get("run"), **drawn}


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, f"{path}.{name}" if path else str(name))
    elif value is not None and value != "":
        yield path, _told(value)


def _told(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_told, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def facts(comparison: Comparison) -> list[Fact]:
    """Return the recipe that all the models share, and how the intervals were made."""
    details = comparison.details
    recipe = details.get("before", {}).get("recipe", {})
    found: dict[str, Any] = {
        "Prompt set": _prompt_set(recipe.get("prompts") or {}),
        "Answers to each prompt": _samples(details),
        "Longest answer, in tokens": recipe.get("max_tokens"),
        "Chat template": recipe.get("chat_template_sha"),
        "System prompt": recipe.get("system"),
        "Kernels": [_revised(kernel) for kernel in recipe.get("kernels", [])],
        "Kernel that counts as trained on": details.get("trained_kernel"),
        "Measures": recipe.get("measures"),
        "Qualities": [_identity(quality) for quality in recipe.get("qualities", [])],
        "Qualities that decide": deciding(comparison),
        "Margins": [_margin(*item) for item in details.get("margins", {}).items()],
        "Interval": _interval(details),
        **_statistics(details.get("statistics", {})),
        "Versions": [f"{name} {number}" for name, number in details.get("versions", {}).items()],
        "Code": details.get("git_hash"),
    }
    return [
        Fact(name, _told(value)) for name, value in found.items() if value not in (None, "", [])
    ]


def _samples(details: Mapping[str, Any]) -> Any:
    before, after = (
        details.get(side, {}).get("recipe", {}).get("samples") for side in ("before", "after")
    )
    return before if before == after else f"{_told(before)} before, {_told(after)} after"


def _prompt_set(prompts: Mapping[str, Any]) -> str:
    labels = (("name", ""), ("version", "version "), ("n", ""), ("sha256", "sha256 "))
    parts = [f"{label}{prompts[name]}" for name, label in labels if name in prompts]
    return ", ".join(f"{part} prompts" if part == str(prompts.get("n")) else part for part in parts)


def _revised(kernel: Mapping[str, str]) -> str:
    return kernel["name"] + (f" (revision {kernel['revision']})" if kernel.get("revision") else "")


def _identity(quality: Mapping[str, Any] | str) -> str:
    if isinstance(quality, str):
        return quality
    told = ", ".join(f"{name} {value}" for name, value in _flat(quality) if name != "name")
    return f"{quality['name']} ({told})" if told else str(quality["name"])


def _margin(name: str, margin: Mapping[str, Any]) -> str:
    return f"{name} {margin['margin']:g}" + (" both ways" if margin["two_sided"] else " downwards")


def _interval(details: Mapping[str, Any]) -> str:
    if "resamples" not in details:
        return ""
    share = details.get("confidence", 0.95)
    how = details.get("statistics", {}).get("interval", "BCa bootstrap")
    return (
        f"{100 * share:g} %, paired over prompts: {how}; "
        f"{details['resamples']:,} resamples, seed {details.get('seed')}"
    )


def _statistics(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Tell how the tests were made; empty for a comparison of before there were any."""
    if not statistics:
        return {}
    unpaired = statistics.get("unpaired", {})
    return {
        "Test": statistics.get("test"),
        "Corrected together": statistics.get("family"),
        "Correction": statistics.get("correction"),
        "Power behind “detects”": f"{100 * statistics['power']:g} %"
        if "power" in statistics
        else "",
        "Unit": f"{statistics.get('unit')}, {statistics.get('units')} of them",
        "Prompts without a value on both sides": [f"{n}: {k}" for n, k in unpaired.items()],
    }


def commands(comparison: Comparison) -> list[str]:
    """Return the commands that repeat the comparison, if `details` has them."""
    found = comparison.details.get("commands", [])
    return [found] if isinstance(found, str) else [str(command) for command in found]
