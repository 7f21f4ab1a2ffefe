"""The record of a strategy: what the answers to one prompt cost, and what became of all that was drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

__all__ = ["DETAILS", "PLAINLY", "Cost", "Record"]

DETAILS = ("calls", "completions", "tokens", "kept", "dropped", "failed", "missing")
"""What every strategy puts on record for each prompt; see `Record.details`."""

PLAINLY = "plain"
"""How an answer came about to which nothing was done."""


@dataclass(frozen=True)
class Cost:
    """What answers cost, additive; None where that is not known.

    Args:
        calls: prompts that the engine was given. One that is answered n times is one call.
        completions: texts that were drawn, whatever they were for.
        read: tokens of the prompts, each prompt once a call.
        written: tokens of the completions.

    Example:
        >>> Cost(1, 4, 10, 90) + Cost(1, 1, 12, None)
        Cost(calls=2, completions=5, read=22, written=None)
    """

    calls: int | None = 0
    completions: int | None = 0
    read: int | None = 0
    written: int | None = 0

    def __add__(self, other: Cost) -> Cost:
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Cost(*(None if None in pair else sum(pair) for pair in pairs))


@dataclass
class Record:
    """What the answers to one prompt cost, and what became of everything that was drawn."""

    cost: Cost = field(default_factory=Cost)
    dropped: list[dict[str, str]] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, details: Mapping[str, Any]) -> Record:
        """Continue the record of another strategy; what a foreign one does not say is unknown."""
        tokens = details.get("tokens") or {}
        spent = (details.get("calls"), details.get("completions"))
        cost = Cost(*spent, tokens.get("read"), tokens.get("written"))
        dropped = [dict(each) for each in details.get("dropped", [])]
        return cls(cost, dropped, Counter(details.get("failed", {})))

    def __add__(self, other: Record) -> Record:
        return Record(
            self.cost + other.cost, self.dropped + other.dropped, self.failed + other.failed
        )

    def drop(self, texts: Iterable[str], why: str) -> None:
        """Note that texts are not among the answers, and why."""
        self.dropped += [{"text": text, "why": why} for text in texts]

    def fail(self, why: str, times: int = 1) -> None:
        """Count something that did not give what it was asked for."""
        if times > 0:
            self.failed[why] += times

    def details(self, kept: Sequence[str], n: int, **more: Any) -> dict[str, Any]:
        """Return the record of one prompt; JSON-serialisable.

        Args:
            kept: how each answer came about, one note an answer.
            n: how many answers were wanted.
            **more: what only this strategy knows.

        Returns:
            `calls`, `completions` and `tokens` (`read` and `written`; None where the engine does
            not count), the notes `kept`, what was `dropped` (`text` and `why`), how often what
            `failed`, how many answers are `missing`, and the rest.
        """
        known = self.cost.read is not None and self.cost.written is not None
        tokens = {"read": self.cost.read, "written": self.cost.written} if known else None
        return {
            "calls": self.cost.calls,
            "completions": self.cost.completions,
            "tokens": tokens,
            "kept": list(kept),
            "dropped": self.dropped,
            "failed": dict(self.failed),
            "missing": n - len(kept),
            **more,
        }
