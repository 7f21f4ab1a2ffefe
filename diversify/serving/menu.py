"""Which strategies a request may choose, and what they are made of."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from functools import cache
from typing import Any

from diversify.decoding import STRATEGIES, Direct, Strategy, build_strategy
from diversify.decoding.strategies import strategy_class, strategy_parts
from diversify.gates import Quality
from diversify.kernels import Kernel
from diversify.serving.problems import Problem, shown

__all__ = ["Menu"]

DEEPEST = 4
"""Strategies around each other in one request."""

LARGEST = 1_000_000
NUMBER = f"a number between -{LARGEST} and {LARGEST}"


class Menu:
    """The strategies of a server, and the one for a request that names none.

    Everything is built once at the beginning, so that what is missing or impossible is known before
    the first request, and no request waits for a model of the kernel.

    Args:
        strategies: names that requests may choose, also put around each other with `+`.
        default: what answers requests for several answers that name none.
        options: of the default.
        kernel: makes the kernel of strategies that compare texts; called once.
        quality: makes the qualities of strategies that gate; called once.
        in_turn: whether kernel and qualities must not run twice at the same time.

    Raises:
        ValueError: A name or an option is unknown or impossible.
    """

    def __init__(
        self,
        strategies: Sequence[str],
        *,
        default: str,
        options: Mapping[str, Any],
        kernel: Callable[[], Kernel],
        quality: Callable[[], Mapping[str, Quality]],
        in_turn: bool,
    ) -> None:
        if unknown := [name for name in strategies if name not in STRATEGIES]:
            raise ValueError(f"strategies must be of {list(STRATEGIES)}, got {unknown[0]!r}")
        lock = threading.Lock()

        def wrapped(call: Any) -> Any:
            return InTurn(call, lock) if in_turn else call

        self.strategies = tuple(strategies)
        self.default = default
        self._options = dict(options)
        self._kernel: Callable[[], Kernel] = cache(lambda: wrapped(kernel()))
        self._quality: Callable[[], dict[str, Quality]] = cache(
            lambda: {name: wrapped(each) for name, each in quality().items()}
        )
        for name in (*strategies, default):
            self._build(name, self._options if name == default else {})

    def choose(self, name: str | None, options: Mapping[str, Any], n: int) -> Strategy:
        """Build the strategy for one request.

        Args:
            name: what the request names, or None for the default, which is plain sampling where
                one answer is wanted.
            options: what the request says about it; before what the server says.
            n: how many answers are wanted.

        Raises:
            Problem: The strategy is not offered, or an option is unknown, impossible or not for
                requests to set.
        """
        if name is None and not options and n == 1:
            return Direct()
        name = self.default if name is None else name
        own = self._options if name == self.default else {}
        try:
            parts = strategy_parts(name)
            offered = {*self.strategies, *strategy_parts(self.default)}
            if len(parts) > DEEPEST or not offered.issuperset(parts):
                raise ValueError(
                    f"strategy must be one of {sorted(offered)}, or at most {DEEPEST} of them "
                    f"around each other, got {shown(name)}"
                )
            for option, value in options.items():
                check_option(parts, option, value)
            return self._build(name, {**own, **options})
        except ValueError as error:
            raise Problem(400, str(error), param="diversify") from None

    def _build(self, name: str, options: Mapping[str, Any]) -> Strategy:
        # A list that cannot be read must not leave a request without answers.
        fill = {"fill": True} if "verbalized" in strategy_parts(name) else {}
        return build_strategy(name, {**fill, **options}, kernel=self._kernel, quality=self._quality)


class InTurn:
    """A callable that is called by one thread at a time, with the attributes of the original."""

    def __init__(self, call: Callable[..., Any], lock: threading.Lock) -> None:
        self._call, self._lock = call, lock

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        with self._lock:
            return self._call(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)


def check_option(parts: Sequence[str], name: str, value: Any) -> None:
    """Refuse a value of another kind than the option's own, and those that are the server's to set.

    Among these are paths: a request must not make the server read files.

    Args:
        parts: names of the strategies, the outermost first; the first that has the option is meant.
        name: of the option; one that nobody has is left to `build_strategy`.
        value: as it came.

    Raises:
        ValueError: The value does not go.

    Example:
        >>> check_option(["over-generate"], "factor", 8)
        >>> check_option(["personas"], "personas", "/etc/passwd")
        Traceback (most recent call last):
            ...
        ValueError: personas must be a list of texts, got '/etc/passwd'
    """
    found = [f for part in parts for f in fields(strategy_class(part)) if f.name == name]
    if not found:
        return
    default = _default(found[0])
    if name == "personas":
        fits = isinstance(value, list) and all(isinstance(each, str) for each in value)
        kind = "a list of texts"
    elif default is None:
        fits, kind = value is None or _is_number(value), f"null or {NUMBER}"
    elif isinstance(default, bool):
        fits, kind = isinstance(value, bool), "true or false"
    elif isinstance(default, int | float):
        fits, kind = _is_number(value), NUMBER
    elif isinstance(default, str):
        fits, kind = isinstance(value, str), "text"
    else:
        raise ValueError(f"{name} is set by the server, not by a request")
    if not fits:
        raise ValueError(f"{name} must be {kind}, got {shown(value)}")


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) <= LARGEST


def _default(each: Field[Any]) -> Any:
    if each.default is not MISSING:
        return each.default
    return each.default_factory() if each.default_factory is not MISSING else object()
