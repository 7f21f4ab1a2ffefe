"""The routes of the server: what is asked of an engine, and how it goes back."""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from diversify.decoding import STRATEGIES
from diversify.engines import Engine, Sampling
from diversify.gates import Quality
from diversify.kernels import EmbeddingKernel, Kernel
from diversify.serving.answering import Json, models
from diversify.serving.asked import read_body
from diversify.serving.desk import Desk
from diversify.serving.line import Line
from diversify.serving.menu import Menu
from diversify.serving.metered import Limits
from diversify.serving.problems import Problem

__all__ = ["build_app"]

PLAIN = Sampling()
WIDEST = Limits()


def build_app(
    engine: Engine,
    *,
    strategies: Sequence[str] = tuple(STRATEGIES),
    default: str = "over-generate",
    options: Mapping[str, Any] | None = None,
    kernel: Callable[[], Kernel] | None = None,
    quality: Callable[[], Mapping[str, Quality]] = dict,
    sampling: Sampling = PLAIN,
    name: str | None = None,
    token_env: str | None = None,
    at_once: int = 1,
    waiting: int = 32,
    limits: Limits = WIDEST,
) -> Starlette:
    """Build the server: `POST /v1/chat/completions`, `GET /v1/models`, `GET /health`.

    It answers like OpenAI's, and its `n` answers differ: they come from a strategy. One answer is
    drawn plainly, and can be streamed. A request may choose another strategy with the field
    `diversify`, such as `{"strategy": "personas"}`, with its options beside; the response has the
    record of the strategy under the same name. Without a seed each request is answered anew.
    What a request asks for in vain is refused with a sentence, never ignored. Prompts and answers
    are in no log; the traceback of a failure, which may quote them, is logged at the level DEBUG.

    Args:
        engine: what answers.
        strategies: what requests may choose, also put around each other with `+`.
        default: what answers requests for several answers that choose nothing.
        options: of the default, e.g. `{"factor": 8}`. Requests may change those that are numbers
            or words.
        kernel: makes what tells texts apart; cosine of MiniLM by default.
        quality: makes the qualities of strategies that gate.
        sampling: what holds where a request says nothing; its seed is not used.
        name: of the model, for those who ask; that of the engine's identity by default.
        token_env: name of an environment variable with a token that requests must bring
            (`Authorization: Bearer …`); None lets everybody in who reaches the port.
        at_once: requests that are answered at the same time: 1 for an engine that runs here, more
            for an engine that asks another server.
        waiting: requests that may wait for their turn; more are sent away with 503.
        limits: what one request may cost.

    Raises:
        ValueError: An option is impossible, or `token_env` names no token.

    Example:
        >>> from diversify.engines import Generations
        >>> class Fruits:
        ...     identity = {"model": "fruits"}
        ...     def generate(self, prompts, n, sampling):
        ...         return Generations(list(prompts), [["fig", "kiwi", "lime"][:n] for _ in prompts])
        >>> [route.path for route in build_app(Fruits(), default="direct", strategies=[]).routes]
        ['/v1/chat/completions', '/v1/models', '/health']
    """
    menu = Menu(
        strategies,
        default=default,
        options=options or {},
        kernel=kernel or _minilm,
        quality=quality,
        in_turn=at_once > 1,
    )
    # What a request may not ask for is not given to it unasked.
    sampling = sampling.at(max_tokens=min(sampling.max_tokens, limits.max_tokens))
    name = name or str(engine.identity.get("model", "model"))
    desk = Desk(engine, menu, Line(at_once, waiting), name, sampling, limits)
    door = Door(token_env)

    async def chat(request: Request) -> Response:
        door.check(request)
        return await desk.answer(request, await _read(request, limits.body))

    async def listed(request: Request) -> Response:
        door.check(request)
        return Json(models(name))

    async def health(request: Request) -> Response:
        return Json({"status": "ok", "requests": desk.line.inside})

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/models", listed, methods=["GET"]),
            Route("/health", health, methods=["GET"]),
        ],
        exception_handlers={Problem: _told, HTTPException: _told, Exception: _told},
    )
    app.state.protected = token_env is not None
    return app


class Door:
    """Let requests in that bring the token, if there is one."""

    def __init__(self, token_env: str | None) -> None:
        self._token: bytes | None = None
        if token_env is not None:
            self._token = os.environ.get(token_env, "").strip().encode()
            if not self._token:
                raise ValueError(f"the environment variable {token_env} holds no token")

    def check(self, request: Request) -> None:
        """Refuse a request without the token.

        Raises:
            Problem: It has none, or another one.
        """
        if self._token is None:
            return
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        # The same time for every wrong token.
        right = hmac.compare_digest(given.strip().encode(), self._token)
        if scheme.lower() != "bearer" or not right:
            raise Problem(
                401,
                "this server wants its token: 'Authorization: Bearer …'",
                code="invalid_api_key",
                headers={"WWW-Authenticate": "Bearer"},
            )


async def _read(request: Request, most: int) -> dict[str, Any]:
    """Read the body of a request, no longer than is allowed."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # pages of other sites cannot send that unasked
        raise Problem(415, f"Content-Type must be application/json, got {kind or 'none'!r}")
    length = request.headers.get("content-length", "0")
    content = bytearray()
    if not (length.isdecimal() and int(length) > most):
        async for part in request.stream():
            content += part
            if len(content) > most:
                break
        else:
            return read_body(bytes(content))
    raise Problem(413, f"a request may have {most} bytes", headers={"Connection": "close"})


async def _told(request: Request, error: Exception) -> Response:
    """Answer with an error object, whatever it was."""
    if isinstance(error, ClientDisconnect):
        return Response(status_code=499)
    if isinstance(error, HTTPException):  # an unknown path or method
        where = f"{request.method} {request.url.path}"
        error = Problem(
            error.status_code, f"there is no {where} here", headers=dict(error.headers or {})
        )
    problem = error if isinstance(error, Problem) else Problem(500, "the server failed")
    return Json(problem.body, problem.status, problem.headers)


def _minilm() -> Kernel:
    from diversify.embedders import load_embedder

    return EmbeddingKernel(load_embedder("minilm"))
