"""The client of an OpenAI-compatible server: many requests at once, retried, each one kept."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
from collections.abc import Coroutine, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

from diversify.cache import cache_key, open_cache
from diversify.server.responses import (
    BROKEN,
    Failure,
    NoAnswer,
    Response,
    ServerRefusal,
    read_chunk,
    read_response,
    unpacked,
    whole_text,
)

__all__ = ["Chat", "ChatModel", "ChatServer"]

logger = logging.getLogger(__name__)

Chat: TypeAlias = list[dict[str, str]]
"""Messages `{"role", "content"}`, the last one usually the user's."""

Value = TypeVar("Value")


class ChatModel(Protocol):
    """What judges ask: anything that answers chats, and says what decides its answers."""

    @property
    def identity(self) -> dict[str, Any]:
        """Model, server and options, as reports carry them."""

    def ask(self, chats: Sequence[Chat]) -> Sequence[str | None]:
        """Answer each chat; None where there is no answer."""


class ChatServer:
    """Ask a chat model on a server: many questions at once, again after failures, each one once.

    Answers are kept on disk as they arrive, under everything that decides them, so a run that is
    started again asks only what is still open. A question without an answer is None and is counted;
    it is not kept. Retries and their growing pauses are the client's: after lost connections,
    timeouts and the statuses 408, 409, 429 and 5xx.

    The key is read from the environment at each call. It is in no file, log or pickle. It is sent
    to whatever `base_url` names: give other servers their own variable.

    Args:
        model: As the server calls it.
        base_url: Of the server, such as `http://localhost:8000/v1`; without a key in it.
        api_key_env: Name of the environment variable with the key; a server that wants none gets
            a placeholder where it is not set.
        concurrency: Questions under way at once.
        retries: Further attempts after a failed one.
        timeout: Seconds that one attempt may take.
        cache: Whether answers are kept in `cache_dir()`, or the file that keeps them.
        temperature: 0 by default; None leaves it to the server (some models accept no other).
        max_tokens: Longest answer; None sends no limit. For servers that know only
            `max_completion_tokens`, say so in `extra_body`.
        seed: Sent if given.
        extra_body: Further fields of the request, such as `{"top_k": 20}`.

    Attributes:
        failures: How many questions have got no answer so far.

    Raises:
        ValueError: If an option is impossible, or `base_url` is no plain http(s) address; when
            called (`ServerRefusal`), if the very first questions are all refused for the key or
            the model's name.
        ImportError: When called, if the client is not installed.

    Example:
        >>> server = ChatServer("qwen3", base_url="http://localhost:8000/v1", cache=False)
        >>> server.identity["temperature"], server.failures
        (0.0, 0)
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key_env: str = "OPENAI_API_KEY",
        concurrency: int = 8,
        retries: int = 4,
        timeout: float = 60.0,
        cache: bool | str | os.PathLike[str] = True,
        temperature: float | None = 0.0,
        max_tokens: int | None = 512,
        seed: int | None = None,
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        for name, whole, least in (("concurrency", concurrency, 1), ("retries", retries, 0)):
            if whole < least:
                raise ValueError(f"{name} must be >= {least}, got {whole}")
        if not (math.isfinite(timeout) and timeout > 0):
            raise ValueError(f"timeout must be a number of seconds > 0, got {timeout}")
        if temperature is not None and not (math.isfinite(temperature) and temperature >= 0):
            raise ValueError(f"temperature must be a number >= 0 or None, got {temperature}")
        if max_tokens is not None and max_tokens < 1:
            raise ValueError(f"max_tokens must be >= 1 or None, got {max_tokens}")
        self.model = model
        self.base_url = _plain_url(base_url)
        self.api_key_env = api_key_env
        self.concurrency = concurrency
        self.retries = retries
        self.timeout = timeout
        given = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
        self.options = {name: value for name, value in given.items() if value is not None}
        self.options |= extra_body or {}
        self.failures = 0
        self._cache = open_cache(cache, "answers.sqlite")
        self._answered = False  # whether the server has ever given us anything

    @property
    def identity(self) -> dict[str, Any]:
        """The model, the address and the options of the request."""
        return {"model": self.model, "base_url": self.base_url, **self.options}

    @property
    def keeps(self) -> bool:
        """Whether answers are kept on disk."""
        return self._cache is not None

    def ask(self, chats: Sequence[Chat]) -> list[str | None]:
        """Return the whole text of each answer, in order.

        None where there is none after all retries, where the model refused, and where the answer
        was cut off: the beginning of an answer may say the opposite of all of it. Equal chats are
        asked once. Works inside a running event loop too.
        """
        found = self.complete([{"messages": chat} for chat in chats])
        texts = [whole_text(response) for response in found]
        unfinished = {
            json.dumps(chat)
            for chat, text, response in zip(chats, texts, found, strict=True)
            if text is None and isinstance(response, Response)
        }
        self._count(len(unfinished), len(chats), "refused or cut off")
        return texts

    def complete(
        self, requests: Sequence[Mapping[str, Any]], *, draws: Sequence[int] | None = None
    ) -> list[Response | Failure]:
        """Return every choice of every request, as they are: for engines, which draw many.

        Args:
            requests: Each with `messages` and whatever it changes in the options, such as `n` or
                `seed`. Equal requests are sent once and share their answers, also with those of
                earlier runs.
            draws: For each request a number that tells draws apart which are the same for the
                server. It is not sent. A draw is kept whatever came of it, refusals included:
                another try would be another draw.

        Returns:
            For each request its response, or why there is none after all retries.
        """
        bodies = [{"model": self.model, **self.options, **request} for request in requests]
        marks = [()] * len(bodies) if draws is None else [(f"draw {draw}",) for draw in draws]
        keys = [
            cache_key(self.base_url, json.dumps(body, sort_keys=True), *mark)
            for body, mark in zip(bodies, marks, strict=True)
        ]
        kept = self._cache.read(list(dict.fromkeys(keys))) if self._cache and keys else {}
        known: dict[bytes, Response | Failure] = {k: unpacked(blob) for k, blob in kept.items()}
        missing = {k: body for k, body in zip(keys, bodies, strict=True) if k not in known}
        if missing:
            results = _run(self._fetch(missing, keep_all=draws is not None))
            errors = [result for result in results.values() if isinstance(result, Exception)]
            self._answered = self._answered or bool(known) or len(errors) < len(results)
            if errors:
                self._refuse_wrong_options(errors)
                self._count(len(errors), len(missing), self._said(errors[0]))
            known |= {
                key: self._failure(result) if isinstance(result, Exception) else result
                for key, result in results.items()
            }
        return [known[key] for key in keys]

    def stream(self, request: Mapping[str, Any]) -> Generator[str, None, str | None]:
        """Yield the pieces of one answer as the server writes it; nothing is kept.

        Args:
            request: `messages`, and whatever it changes in the options.

        Returns:
            As the generator's value, why the answer ended.

        Raises:
            NoAnswer: If there is none after all retries, or it breaks off.
            ServerRefusal: If the key or the model's name is wrong.
        """
        openai = _client_library()
        body = {"model": self.model, **self.options, **request}
        finish: str | None = None
        try:
            with (
                openai.OpenAI(**self._connection()) as client,
                client.chat.completions.create(**_arguments(body), stream=True) as chunks,
            ):
                for chunk in chunks:
                    piece, end = read_chunk(chunk)
                    if piece:
                        yield piece
                    finish = end or finish
        except _failures() as error:
            self._refuse_wrong_options([error])
            raise NoAnswer(f"{self.model} at {self.base_url}: {self._said(error)}") from None
        if finish is None or finish in BROKEN:
            raise NoAnswer(f"{self.model} at {self.base_url} broke off before its answer was whole")
        self._answered = True
        return finish

    async def _fetch(
        self, bodies: Mapping[bytes, dict[str, Any]], *, keep_all: bool
    ) -> dict[bytes, Response | Exception]:
        """Send requests, `concurrency` at once, and keep each answer as soon as it is there."""
        failures, gate = _failures(), asyncio.Semaphore(self.concurrency)
        client = _client_library().AsyncOpenAI(**self._connection())

        async def one(key: bytes, body: dict[str, Any]) -> Response | Exception:
            try:
                async with gate:
                    raw = await client.chat.completions.create(**_arguments(body))
            except failures as error:
                return error
            response = read_response(raw)
            if response is None:
                return ValueError("the response has no choices with a whole message")
            if self._cache and (keep_all or all(a.text is not None for a in response.answers)):
                self._cache.write({key: json.dumps(response._asdict()).encode()})
            return response

        async with client:
            found = await asyncio.gather(*(one(key, body) for key, body in bodies.items()))
        return dict(zip(bodies, found, strict=True))

    def _connection(self) -> dict[str, Any]:
        return {
            "api_key": self._key() or "none",
            "base_url": self.base_url,
            "max_retries": self.retries,
            "timeout": self.timeout,
        }

    def _refuse_wrong_options(self, errors: Sequence[Exception]) -> None:
        """Raise where nothing was ever answered and nothing ever will be."""
        import openai

        hopeless = (
            openai.AuthenticationError,
            openai.PermissionDeniedError,
            openai.NotFoundError,
        )
        if self._answered or not all(isinstance(error, hopeless) for error in errors):
            return
        state = "set" if self._key() else "not set"
        raise ServerRefusal(
            f"{self.base_url} answers nothing for model {self.model!r}, with the key from "
            f"${self.api_key_env} ({state}): {self._said(errors[0])}"
        )

    def _count(self, failed: int, asked: int, reason: str) -> None:
        if failed:
            self.failures += failed
            logger.warning(
                "%d of %d questions to %s got no answer (%s)", failed, asked, self.model, reason
            )

    def _said(self, error: Exception) -> str:
        """Describe an error for the log, without the key, which servers like to repeat."""
        import openai

        kind = type(error).__name__
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return kind
        key = self._key()
        text = str(error).replace(key, "***") if key else str(error)
        return f"{kind}: {text[:200]}"

    def _failure(self, error: Exception) -> Failure:
        return Failure(self._said(error), getattr(error, "status_code", None))

    def _key(self) -> str | None:
        return os.environ.get(self.api_key_env)


def _plain_url(url: str) -> str:
    """Return an http(s) address without a final slash; keys do not belong into it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"base_url must be an http(s) address, got {url!r}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("base_url must be a plain address; keys belong into the environment")
    return url.rstrip("/")


def _client_library() -> Any:
    try:
        import openai
    except ImportError as error:
        raise ImportError('a server needs `pip install "diversify-llm[openai]"`') from error
    return openai


def _failures() -> tuple[type[Exception], ...]:
    """What a request may end in when a server or a line is broken, or a text cannot be sent."""
    return (_client_library().OpenAIError, json.JSONDecodeError, UnicodeError)


def _arguments(body: Mapping[str, Any]) -> dict[str, Any]:
    """Hand a body to the client without its own ideas of what an option may be."""
    named = {name: body[name] for name in ("model", "messages")}
    return named | {"extra_body": {n: value for n, value in body.items() if n not in named}}


def _run(work: Coroutine[Any, Any, Value]) -> Value:
    """Run a coroutine to its end, also where an event loop runs already."""

    def run() -> Value:
        # With a factory the loop that the thread may have set for itself is left alone.
        with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
            return runner.run(work)

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return run()
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(run).result()
