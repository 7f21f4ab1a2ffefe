"""The line of requests before an engine: so many are answered at once, so many may wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from diversify.kernels import check_integer
from diversify.serving.problems import Problem

__all__ = ["Line"]


class Line:
    """Places before an engine.

    Args:
        at_once: requests that are answered at the same time, at most 40 (threads of the server).
        waiting: requests that may wait for their turn; 0 refuses all that cannot start at once.

    Attributes:
        inside: requests that are answered or wait.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(self, at_once: int, waiting: int) -> None:
        self._most = check_integer("at_once", at_once, 1, 40) + check_integer("waiting", waiting, 0)
        self._gate = asyncio.Semaphore(at_once)
        self.inside = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Wait for a turn and hold it.

        Raises:
            Problem: There is no place to wait.
        """
        if self.inside >= self._most:
            raise Problem(
                503,
                f"{self.inside} requests are being answered or wait, which is all there is room "
                "for; try again later",
                code="busy",
                headers={"Retry-After": "5"},
            )
        self.inside += 1
        try:
            async with self._gate:
                yield
        finally:
            self.inside -= 1
