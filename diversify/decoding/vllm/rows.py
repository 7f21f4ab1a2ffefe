"""The chains and codes of the requests that a server is running."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessorList

from diversify.decoding.chain import SamplingChain
from diversify.decoding.siblings.arithmetic import SPENT
from diversify.decoding.siblings.codes import arithmetic_step
from diversify.decoding.vllm.requests import CHAIN, CODE, read_chain
from diversify.decoding.warpers.choice import XTC
from diversify.decoding.warpers.history import DRY, Mirostat2
from diversify.engines import stable_seed

__all__ = ["ChainRows"]


class ChainRows:
    """The requests that a server is running, by the slot that each sits in.

    Rows with the same chain go through it together. Rows whose chain remembers something (XTC's
    coins, DRY's text, mirostat's state) go one by one, which costs a server with many of them.

    Coins and fresh codes come from the request's seed and from how many tokens it has written: a
    step whose token the server throws away, as it does while it reads a long prompt in chunks,
    changes nothing. A request that was preempted has its mirostat start again, and a fresh code.
    """

    def __init__(self) -> None:
        self._requests: dict[int, _Request] = {}

    def put(self, slot: int, params: Any) -> bool:
        """Take a new request into a slot, whatever was in it; return whether it has a chain."""
        self._requests.pop(slot, None)
        given = getattr(params, "extra_args", None) or {}
        if (text := given.get(CHAIN)) is None:
            return False
        # Children of one request with n > 1 differ in their seeds.
        self._requests[slot] = _Request.of(text, given.get(CODE), getattr(params, "seed", None))
        return True

    def drop(self, slot: int) -> None:
        """Forget the request of a slot."""
        self._requests.pop(slot, None)

    def move(self, slot: int, to: int, *, swap: bool) -> None:
        """Move a request to another slot, and back what sits there if they swap."""
        moved, other = self._requests.pop(slot, None), self._requests.pop(to, None)
        if moved is not None:
            self._requests[to] = moved
        if swap and other is not None:
            self._requests[slot] = other

    def apply(
        self,
        logits: Tensor,
        slots: Iterable[int | None],
        *,
        history: Callable[[int], Tensor],
        written: Callable[[int], int],
    ) -> Tensor:
        """Run every row's chain on its logits and leave one token where there is a code, in place.

        Args:
            logits: Logits (rows, vocabulary).
            slots: Slot of each row's request; None for a row whose token is thrown away.
            history: `row -> its tokens so far (length,)`, the prompt included.
            written: `row -> how many tokens it has written`, the prompt not included.
        """
        running = {
            row: request
            for row, slot in enumerate(slots)
            if slot is not None and (request := self._requests.get(slot)) is not None
        }
        together: dict[str, list[int]] = {}
        for row, request in running.items():
            if not request.alone:
                together.setdefault(request.text, []).append(row)
                continue
            request.toss(written(row))
            ids = history(row) if request.looks_back else torch.empty(0, dtype=torch.long)
            ids = ids.to(logits.device).unsqueeze(0)
            logits[row] = request.processors(ids, logits[row : row + 1])[0]  # type: ignore[arg-type]
        for rows in together.values():
            nothing = torch.empty((len(rows), 0), dtype=torch.long, device=logits.device)
            logits[rows] = running[rows[0]].processors(nothing, logits[rows])  # type: ignore[arg-type]
        coded = {row: r.place for row, r in running.items() if r.place is not None}
        if coded:
            _leave_one(logits, list(coded), list(coded.values()), [written(r) for r in coded])
        return logits


@dataclass
class _Place:
    """Where the code of one request stands."""

    start: float
    seed: int
    at: int = -1
    """Tokens written when the last step was taken."""
    code: float = 0.0
    mass: float = 1.0
    """Probability of the text since the code was fresh."""
    after: tuple[float, float] = (0.0, 1.0)
    """Code and mass of the next step."""

    def enter(self, written: int) -> float:
        """Return the code of a step: the same again for a step that is taken again."""
        if written <= 0:
            self.code, self.mass = self.start, 1.0
        elif written == self.at + 1:
            self.code, self.mass = self.after
        elif written != self.at:  # the steps before were another server's, or forgotten
            self.code, self.mass = self.fresh(written), 1.0
        self.at = written
        return self.code

    def leave(self, code: float, width: float) -> None:
        """Note what the step left of the code."""
        mass = self.mass * width
        self.after = (code, mass) if mass >= SPENT else (self.fresh(self.at + 1), 1.0)

    def fresh(self, written: int) -> float:
        """Return a number in [0, 1) that only the seed and the place in the text decide."""
        return (stable_seed(self.seed, "code", written) >> 10) * 2.0**-53


@dataclass
class _Request:
    """One running request: its chain, its code, and processors of its own where they remember."""

    text: str
    processors: LogitsProcessorList
    seed: int
    alone: bool
    """Whether its row goes through the chain by itself."""
    looks_back: bool
    """Whether its chain needs the tokens so far."""
    place: _Place | None
    coins: torch.Generator = field(default_factory=torch.Generator)

    @classmethod
    def of(cls, text: str, code: float | None, seed: int | None) -> _Request:
        chain, coins = read_chain(text), torch.Generator()
        seed = coins.seed() if seed is None else seed
        looks_back = any(isinstance(step, (DRY, Mirostat2)) for step in chain.steps)
        alone = looks_back or any(isinstance(step, XTC) for step in chain.steps)
        steps = [replace(s, generator=coins) if isinstance(s, XTC) else s for s in chain.steps]
        processors = SamplingChain(steps).logits_processors()
        place = None if code is None else _Place(code, seed)
        return cls(text, processors, seed, alone, looks_back, place, coins)

    def toss(self, written: int) -> None:
        """Set the coins to those of this place in the text."""
        self.coins.manual_seed(stable_seed(self.seed, "coins", written))


def _leave_one(logits: Tensor, rows: list[int], places: list[_Place], written: list[int]) -> None:
    """Leave the token of each row whose interval holds the row's code."""
    codes = [place.enter(count) for place, count in zip(places, written, strict=True)]
    step = arithmetic_step(
        logits[rows], torch.tensor(codes, dtype=torch.float64, device=logits.device)
    )
    left = step.codes.tolist(), step.widths.tolist()
    for place, code, width in zip(places, *left, strict=True):
        place.leave(code, width)
    logits[rows] = -torch.inf
    logits[rows, step.tokens] = 0.0
