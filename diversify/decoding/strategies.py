"""Names and options become strategies: the one list that the command line and recipes know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from diversify.decoding.adaptive import UntilSeen
from diversify.decoding.clauses import DivergeClause, Specifications, read_facets
from diversify.decoding.in_context import InContext
from diversify.decoding.planned import Stratified, TitlesFirst
from diversify.decoding.prompting import Direct, Paraphrases, Personas, Strategy
from diversify.decoding.selection import OverGenerate
from diversify.decoding.verbalized import Verbalized
from diversify.gates import Quality
from diversify.kernels import Kernel

__all__ = [
    "LATER",
    "STRATEGIES",
    "build_strategy",
    "read_options",
    "strategy_class",
    "strategy_parts",
]

STRATEGIES: dict[str, type[Any]] = {
    "direct": Direct,
    "in-context": InContext,
    "verbalized": Verbalized,
    "stratified": Stratified,
    "titles-first": TitlesFirst,
    "diverge": DivergeClause,
    "specifications": Specifications,
    "personas": Personas,
    "paraphrases": Paraphrases,
    "over-generate": OverGenerate,
    "until-seen": UntilSeen,
}

LATER = {"g2": ("diversify.decoding.siblings", "G2")}
"""Strategies that bring torch and transformers: where each is found when it is asked for."""

PARTS = ("kernel", "quality", "strategy")
"""Fields that are no options: they are handed over or built."""

WORDS = {"true": True, "false": False, "none": None}


def strategy_parts(name: str) -> list[str]:
    """Cut a name into strategies, the outermost first, and check them.

    Args:
        name: one of `STRATEGIES` and `LATER`, or several with `+` between: each is put around the next.

    Raises:
        ValueError: A name is unknown, or there is one behind a strategy that goes around no other.

    Example:
        >>> strategy_parts("over-generate+diverge+stratified")
        ['over-generate', 'diverge', 'stratified']
    """
    parts = [part.strip() for part in name.split("+")]
    known = [*STRATEGIES, *LATER]
    if unknown := [part for part in parts if part not in known]:
        raise ValueError(f"strategy must be one of {known}, got {unknown[0]!r}")
    around = [each for each in STRATEGIES if "strategy" in _fields(each)]
    if wrong := [part for part in parts[:-1] if part not in around]:
        raise ValueError(f"{wrong[0]!r} goes around no other strategy; {around} do")
    return parts


def build_strategy(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    kernel: Callable[[], Kernel],
    quality: Callable[[], Mapping[str, Quality]] = dict,
) -> Strategy:
    """Build a strategy by name.

    Args:
        name: see `strategy_parts`.
        options: arguments of the strategies, each for the outermost one that has it. `personas`
            and `facets` may be the path of a text file: one persona, or one facet, a line.
        kernel: makes the kernel of strategies that compare texts; not called by others.
        quality: makes the qualities of strategies that gate.

    Raises:
        ValueError: A name or option is unknown, or an option is impossible.

    Example:
        >>> from diversify.kernels import NgramKernel
        >>> build_strategy("diverge+verbalized", {"per_call": 10}, kernel=NgramKernel).strategy.per_call
        10
    """
    parts = strategy_parts(name)
    given: list[dict[str, Any]] = [{} for _ in parts]
    for option, value in (options or {}).items():
        takers = [i for i, part in enumerate(parts) if option in _fields(part, PARTS)]
        if not takers:
            known = {each: _fields(each, PARTS) for each in parts}
            raise ValueError(f"option {option!r} is unknown; there are {known}")
        given[takers[0]][option] = value
    made = {"kernel": kernel, "quality": quality}
    strategy: Strategy | None = None
    for part, arguments in reversed(list(zip(parts, given, strict=True))):
        built = {field: make() for field, make in made.items() if field in _fields(part)}
        if strategy is not None:
            built["strategy"] = strategy
        strategy = _build(part, _from_files(arguments) | built)
    assert strategy is not None  # a name has a part
    return strategy


def read_options(pairs: Iterable[str]) -> dict[str, Any]:
    """Read options as they are written on a command line.

    Args:
        pairs: `NAME=VALUE`; a value is a number, true, false, none, or text.

    Raises:
        ValueError: There is no `=`, or a name comes twice.

    Example:
        >>> read_options(["per_call=10", "fill=true", "variant=cot", "threshold=0.1"])
        {'per_call': 10, 'fill': True, 'variant': 'cot', 'threshold': 0.1}
    """
    options: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name or name in options:
            raise ValueError(f"an option is NAME=VALUE, each name once, got {pair!r}")
        options[name] = _value(value.strip())
    return options


def _value(text: str) -> Any:
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _fields(name: str, without: tuple[str, ...] = ()) -> list[str]:
    return [field.name for field in fields(strategy_class(name)) if field.name not in without]


def strategy_class(name: str) -> type[Any]:
    """Return the class of one name of `STRATEGIES` or `LATER`."""
    if name in STRATEGIES:
        return STRATEGIES[name]
    home, title = LATER[name]
    found: type[Any] = getattr(import_module(home), title)
    return found


def _from_files(options: Mapping[str, Any]) -> dict[str, Any]:
    """Replace the path of a file by what is in it."""
    readers: dict[str, Callable[[str], Any]] = {
        "personas": lambda text: [line.strip() for line in text.splitlines() if line.strip()],
        "facets": read_facets,
    }
    return {
        name: readers[name](Path(value).read_text("utf-8"))
        if name in readers and isinstance(value, str)
        else value
        for name, value in options.items()
    }


def _build(name: str, options: Mapping[str, Any]) -> Strategy:
    try:
        strategy: Strategy = strategy_class(name)(**options)
    except TypeError as error:  # text where a number belongs
        raise ValueError(f"{name}: {error}, got {dict(options)}") from error
    return strategy
