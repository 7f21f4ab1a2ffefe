"""The desk at which requests are answered: whole or in pieces, in turn."""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any

from anyio import CancelScope, to_thread
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from diversify.decoding import Strategy
from diversify.engines import Engine, Generations, Sampling, Streaming
from diversify.serving.answering import Json, Pieces, completion, event
from diversify.serving.asked import Asked, read_request
from diversify.serving.line import Line
from diversify.serving.menu import Menu
from diversify.serving.metered import Limits, Metered
from diversify.serving.problems import Problem, problem_of

__all__ = ["Desk"]

logger = logging.getLogger(__name__)


class Desk:
    """Answer requests with an engine, in turn."""

    def __init__(
        self,
        engine: Engine,
        menu: Menu,
        line: Line,
        model: str,
        sampling: Sampling,
        limits: Limits,
    ) -> None:
        self.engine = engine
        self.menu = menu
        self.line = line
        self.model = model
        self.sampling = sampling
        self.limits = limits

    async def answer(self, request: Request, body: Mapping[str, Any]) -> Response:
        """Answer one request, whole or in pieces."""
        asked = read_request(body, model=self.model, defaults=self.sampling, limits=self.limits)
        if asked.stream:
            return await self._stream(request, asked)
        strategy = self.menu.choose(asked.strategy, asked.options, asked.n)
        async with self.line.place():
            if await request.is_disconnected():
                return Response(status_code=499)  # nobody reads it
            # When the server is stopped by force, nobody waits for the end of the work.
            drawn = await to_thread.run_sync(self._draw, strategy, asked, abandon_on_cancel=True)
        record = {"strategy": strategy.describe(), "seed": asked.sampling.seed}
        return Json(completion(drawn, model=self.model, record=record))

    def _draw(self, strategy: Strategy, asked: Asked) -> Generations:
        engine = Metered(self.engine, self.limits)
        try:
            drawn = strategy(engine, [asked.messages], asked.n, asked.sampling)
        except Exception as error:  # an engine may fail in any way; the server must live on
            raise _noted(error) from None
        if not drawn[0]:
            raise Problem(502, "the strategy gave no answer; another one or another seed may")
        return drawn

    async def _stream(self, request: Request, asked: Asked) -> Response:
        held = AsyncExitStack()
        await held.enter_async_context(self.line.place())
        pieces = self._pieces(asked)

        async def leave() -> None:
            with CancelScope(shield=True):  # also when the server is being stopped
                await to_thread.run_sync(pieces.close)
                await held.aclose()

        try:
            if await request.is_disconnected():
                await leave()
                return Response(status_code=499)
            # Before anything is sent: what fails here has a status of its own.
            first = await to_thread.run_sync(_next, pieces)
        except BaseException:
            await leave()
            raise
        return Stream(self._events(first, pieces), leave)

    def _pieces(self, asked: Asked) -> Generator[str, None, bool]:
        """Give the one answer in pieces; that of an engine without a stream as one."""
        if isinstance(self.engine, Streaming):
            pieces: Any = self.engine.stream(asked.messages, asked.sampling)
            return bool((yield from pieces))  # the value of a generator, None of another iterator
        drawn = self.engine.generate([asked.messages], 1, asked.sampling)
        yield from drawn[0]
        return bool(drawn.truncated and drawn.truncated[0][0])

    async def _events(
        self, first: tuple[str | None, Any], pieces: Iterator[str]
    ) -> AsyncIterator[str]:
        chunk = Pieces(self.model)
        yield chunk.event(role="assistant", content="")
        piece, cut = first
        while piece is not None:
            yield chunk.event(content=piece)
            try:
                piece, cut = await to_thread.run_sync(_next, pieces)
            except Problem as problem:
                yield event(problem.body)
                return
        yield chunk.event(finish="length" if cut else "stop")
        yield "data: [DONE]\n\n"


class Stream(StreamingResponse):
    """Events that end with what has to be done, wherever the reader has left them."""

    def __init__(self, events: AsyncIterator[str], leave: Callable[[], Any]) -> None:
        super().__init__(
            events, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )
        self._leave = leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._leave()


def _next(pieces: Iterator[str]) -> tuple[str | None, Any]:
    """Return the next piece, or None and whether the text was cut off."""
    try:
        return next(pieces), None
    except StopIteration as end:
        return None, end.value
    except Exception as error:  # an engine may fail in any way; the server must live on
        raise _noted(error) from None


def _noted(error: Exception) -> Problem:
    """Put a failure into the log, without what was asked and answered, and return what is told."""
    problem = problem_of(error)
    if problem.status >= 500:
        *_, last = traceback.extract_tb(error.__traceback__)
        logger.error("%s at %s:%s", type(error).__name__, last.filename, last.lineno)
        logger.debug("the whole of it, which may quote a prompt:", exc_info=error)
    return problem
