"""What a run or a report that lies on a disk must look like; a file may come from anywhere.

Each function raises a `ValueError` that names the place, or returns. Numbers are finite: `NaN`,
`Infinity` and `1e999` get through a JSON parser and through a mean.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = [
    "OneRecipe",
    "alias_lists",
    "check_ids",
    "check_run_row",
    "check_sample",
    "check_settings",
    "check_summary",
    "is_number",
    "is_turn",
    "row_id",
]

SETTINGS = ("engine", "sampling", "strategy", "prompts")
SCALARS = (str, int, float, bool, type(None))


def is_number(value: Any) -> bool:
    """Say whether a value is a finite number.

    >>> [is_number(value) for value in (1, 0.5, True, "1", float("nan"))]
    [True, True, False, False, False]
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def is_turn(value: Any) -> bool:
    """Say whether a value is a chat message whose role and content are text."""
    return isinstance(value, dict) and all(
        isinstance(value.get(name), str) for name in ("role", "content")
    )


def alias_lists(value: Any) -> bool:
    """Say whether a value is a list of valid answers, each a list of its spellings.

    >>> alias_lists([["Peru", "Perú"]]), alias_lists(["Peru"])
    (True, False)
    """
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(names, list) and names for names in value)
        and all(isinstance(name, str) for names in value for name in names)
    )


def row_id(value: Any, where: str) -> str | None:
    """Return an id as text, or None where there is none; 1 and 1.0 are one number.

    Raises:
        ValueError: It is neither text nor a number.

    >>> row_id(7, "here"), row_id(7.0, "here"), row_id("a", "here"), row_id(None, "here")
    ('7', '7', 'a', None)
    """
    if value is None or isinstance(value, str):
        return value
    if is_number(value):
        return str(int(value) if isinstance(value, float) and value.is_integer() else value)
    raise ValueError(f"{where}: an id is text or a number, got {value!r:.60}")


def check_ids(ids: Iterable[str], origin: str) -> None:
    """Insist that no id occurs twice: its rows would be counted twice, or hide each other."""
    seen: set[str] = set()
    for name in ids:
        if name in seen:
            raise ValueError(f"{origin}: the id {name!r} occurs twice")
        seen.add(name)


def check_run_row(row: Mapping[str, Any], where: str) -> None:
    """Insist on a prompt and on answers that are text, in one row of a run.

    Raises:
        ValueError: A column is missing, or its values are of the wrong type or number.
    """
    for column, kind in (("prompt", (str, list)), ("generations", list)):
        if not isinstance(row.get(column), kind):
            raise ValueError(f"{where}: no usable column {column!r}; the columns are {sorted(row)}")
    prompt, texts, truncated = row["prompt"], row["generations"], row.get("truncated")
    if not isinstance(prompt, str) and not (prompt and all(map(is_turn, prompt))):
        raise ValueError(
            f"{where}: a prompt is text or {{'role', 'content'}} messages of text, "
            f"got {prompt!r:.80}"
        )
    if not texts:
        raise ValueError(f"{where}: the prompt has no answers")
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{where}: every generation must be text")
    if truncated and not (
        isinstance(truncated, list)
        and len(truncated) == len(texts)
        and all(isinstance(flag, bool) for flag in truncated)
    ):
        raise ValueError(
            f"{where}: 'truncated' holds true or false for each of the {len(texts)} generations, "
            f"got {truncated!r:.60}"
        )
    _check_group(row, where)


def _check_group(row: Mapping[str, Any], where: str) -> None:
    if not isinstance(row.get("group"), SCALARS):
        raise ValueError(f"{where}: 'group' is text or a number, got {row['group']!r:.60}")


class OneRecipe:
    """Insists that all rows of a run are of one model, drawn in one way, as far as they say it.

    Args:
        origin: What the message of an error begins with.
    """

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.first: dict[str, str] = {}

    def check(self, row: Mapping[str, Any]) -> None:
        """Compare a row with those before it.

        Raises:
            ValueError: It is of another model, or was drawn in another way.
        """
        for column in ("model", "config"):
            if column not in row:
                continue
            own = json.dumps(row[column], sort_keys=True)
            if (first := self.first.setdefault(column, own)) != own:
                raise ValueError(
                    f"{self.origin} mixes rows of several runs: {column} is {first:.80} in one row "
                    f"and {own:.80} in another"
                )


def check_settings(settings: Any, where: str) -> None:
    """Insist that the settings of a run have their shape, as far as they say anything.

    Raises:
        ValueError: They have not.
    """
    if not isinstance(settings, dict):
        raise ValueError(f"{where}: settings are an object, got {settings!r:.60}")
    for part in SETTINGS:
        if not isinstance(settings.get(part, {}), dict):
            raise ValueError(f"{where}: {part!r} is an object, got {settings[part]!r:.60}")
    sampling = settings.get("sampling", {})
    for name in ("temperature", "top_p", "top_k", "min_p", "max_tokens"):
        if sampling.get(name) is not None and not is_number(sampling[name]):
            raise ValueError(f"{where}: {name} is a number, got {sampling[name]!r:.60}")
    for part in ("strategy", "prompts"):
        name = settings.get(part, {}).get("name", "")
        if not isinstance(name, str):
            raise ValueError(f"{where}: the name of the {part} is text, got {name!r:.60}")
    samples = settings.get("samples", 0)
    counts = samples if isinstance(samples, list) and samples else [samples]
    if not all(isinstance(count, int) for count in counts):
        raise ValueError(f"{where}: 'samples' is a whole number or several, got {samples!r:.60}")


def check_summary(summary: Mapping[str, Any], where: str) -> None:
    """Insist that the content of a `report.json` has its shape.

    Raises:
        ValueError: It is none of ours, a part is missing, or a value is of the wrong type.
    """
    config = summary.get("config")
    if not isinstance(config, dict) or "recipe" not in config:
        raise ValueError(f"{where} is not a diversify report: it has no config.recipe")
    for name in ("results", "higher_is_better"):
        _check(_is_one_set(summary.get(name)), where, name, "one prompt set with its values")
    (results,), (higher,) = summary["results"].values(), summary["higher_is_better"].values()
    _check(_are_numbers(results), where, "results", "numbers")
    _check(all(isinstance(v, bool) for v in higher.values()), where, "higher_is_better", "booleans")
    _check(isinstance(summary.get("versions"), dict), where, "versions", "an object")
    _check(isinstance(config.get("label"), str), where, "config.label", "text")
    check_settings(config.get("settings", {}), f"{where}, config.settings")
    recipe, qualities = config["recipe"], config.get("qualities")
    _check(isinstance(recipe, dict), where, "config.recipe", "an object")
    _check(_are_named(recipe.get("kernels")), where, "config.recipe.kernels", "named kernels")
    _check(_are_named(recipe.get("qualities", [])), where, "config.recipe.qualities", "named")
    _check(isinstance(recipe.get("prompts", {}), dict), where, "config.recipe.prompts", "an object")
    good = isinstance(qualities, dict) and all(map(_is_margin, qualities.values()))
    _check(good, where, "config.qualities", "qualities with margin and two_sided")


def check_sample(row: Mapping[str, Any], higher: Mapping[str, bool], where: str) -> None:
    """Insist that one row of a `samples.jsonl` has its shape.

    Args:
        row: The row.
        higher: Whether more is better, of each measure that the report knows.
        where: The file and the line.

    Raises:
        ValueError: A column is missing, of the wrong type or length, or a number is not finite.
    """
    check_run_row(row, where)
    _check(isinstance(row.get("id"), str), where, "id", "text")
    for section in ("measures", "qualities", "monitors"):
        _check(_are_numbers(row.get(section)), where, section, "finite numbers or null")
    if unknown := sorted(row["measures"].keys() - higher.keys()):
        raise ValueError(f"{where}: the report does not know the measures {unknown[:3]}")
    count = len(row["generations"])
    lists = row.get("quality_values")
    good = isinstance(lists, dict) and all(_is_vector(each, count) for each in lists.values())
    _check(good, where, "quality_values", f"{count} finite numbers or nulls a quality")
    matrix = row.get("similarity")
    good = isinstance(matrix, list) and len(matrix) == count
    good = good and all(_is_vector(line, count) and None not in line for line in matrix or ())
    _check(good, where, "similarity", f"{count} rows of {count} finite numbers")


def _check(good: bool, where: str, name: str, wanted: str) -> None:
    if not good:
        raise ValueError(f"{where}: {name!r} must hold {wanted}")


def _is_one_set(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and len(value) == 1
        and all(isinstance(each, dict) for each in value.values())
    )


def _are_numbers(value: Any) -> bool:
    return isinstance(value, dict) and all(v is None or is_number(v) for v in value.values())


def _is_vector(value: Any, length: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == length
        and all(each is None or is_number(each) for each in value)
    )


def _are_named(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) and isinstance(each.get("name"), str) for each in value
    )


def _is_margin(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and is_number(value.get("margin"))
        and value["margin"] >= 0
        and isinstance(value.get("two_sided"), bool)
    )
