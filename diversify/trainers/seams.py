"""Where we hook into TRL, checked before anything trains: a host that moved must fail loudly."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from importlib.metadata import version

__all__ = ["SUPPORTED", "check_seam"]

SUPPORTED = "trl>=1.16,<2"


def check_seam(host: type, methods: Mapping[str, Sequence[str]]) -> None:
    """Check that a host class still has the methods that a subclass overrides or calls.

    Args:
        host: A trainer of TRL.
        methods: Name of a method -> the names of its first parameters behind `self`.

    Raises:
        RuntimeError: If a method is gone or takes other parameters: what was expected, what is
            there, and which versions are supported.
    """
    for name, expected in methods.items():
        method = getattr(host, name, None)
        found = list(inspect.signature(method).parameters)[1:] if method else None
        if found is None or found[: len(expected)] != list(expected):
            there = "is gone" if found is None else f"now takes ({', '.join(found)})"
            raise RuntimeError(
                f"{host.__name__}.{name}({', '.join(expected)}) {there} in trl {version('trl')}; "
                f"diversify supports {SUPPORTED}"
            )
