"""Chats to answers on an OpenAI-compatible server: vLLM, SGLang, llama.cpp, OpenAI and others.

Importing this module, and making a `ChatServer`, loads no client and opens no connection.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, TypeAlias, TypeVar
from urllib.parse import urlsplit

from diversify.cache import cache_key, open_cache

__all__ = ["Answer", "Chat", "ChatModel", "ChatServer"]

logger = logging.getLogger(__name__)

Chat: TypeAlias = list[dict[str, str]]
"""Messages `{"role", "content"}`, the last one usually the user's."""

Value = TypeVar("Value")

_CUT = ("length", "content_filter")  # reasons to stop that leave an answer unfinished


class ChatModel(Protocol):
    """What judges ask: anything that answers chats, and says what decides its answers."""

    @property
    def identity(self) -> dict[str, Any]:
        """Model, server and options, as reports carry them."""

    def ask(self, chats: Sequence[Chat]) -> Sequence[str | None]:
        """Answer each chat; None where there is no answer."""


class Answer(NamedTuple):
    """One completion as the server gave it.

    Attributes:
        text: The completion; None where the server refused.
        finish: Why it ended: "stop", "length" (cut at the token limit), … or None if not said.
    """

    text: str | None
    finish: str | None


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
            called, if the very first questions are all refused for the key or the model's name.
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

    def ask(self, chats: Sequence[Chat]) -> list[str | None]:
        """Return the whole text of each answer, in order.

        None where there is none after all retries, where the model refused, and where the answer
        was cut off: the beginning of an answer may say the opposite of all of it. Equal chats are
        asked once. Works inside a running event loop too.
        """
        found = self.complete([{"messages": chat} for chat in chats])
        texts = [
            answers[0].text if answers and answers[0].finish not in _CUT else None
            for answers in found
        ]
        unfinished = {
            json.dumps(chat)
            for chat, text, answers in zip(chats, texts, found, strict=True)
            if text is None and answers is not None
        }
        self._count(len(unfinished), len(chats), "refused or cut off")
        return texts

    def complete(self, requests: Sequence[Mapping[str, Any]]) -> list[list[Answer] | None]:
        """Return every choice of every request, as they are: for engines, which draw many.

        Args:
            requests: Each with `messages` and whatever it changes in the options, such as `n` or
                `seed`. Equal requests are sent once and share their answers, also with those of
                earlier runs: requests for different samples must differ.

        Returns:
            For each request its answers, or None where there is no response after all retries.
        """
        bodies = [{"model": self.model, **self.options, **request} for request in requests]
        keys = [cache_key(self.base_url, json.dumps(body, sort_keys=True)) for body in bodies]
        kept = self._cache.read(list(dict.fromkeys(keys))) if self._cache and keys else {}
        known = {key: [Answer(*pair) for pair in json.loads(blob)] for key, blob in kept.items()}
        missing = {k: body for k, body in zip(keys, bodies, strict=True) if k not in known}
        if missing:
            results = _run(self._fetch(missing))
            errors = [result for result in results.values() if isinstance(result, Exception)]
            known |= {key: found for key, found in results.items() if isinstance(found, list)}
            self._answered = self._answered or bool(known)
            if errors:
                self._refuse_wrong_options(errors)
                self._count(len(errors), len(missing), self._said(errors[0]))
        return [known.get(key) for key in keys]

    async def _fetch(
        self, bodies: Mapping[bytes, dict[str, Any]]
    ) -> dict[bytes, list[Answer] | Exception]:
        """Send requests, `concurrency` at once, and keep each answer as soon as it is there."""
        try:
            import openai
        except ImportError as error:
            raise ImportError('a server needs `pip install "diversify-llm[openai]"`') from error

        failure = (openai.OpenAIError, json.JSONDecodeError, UnicodeError)
        gate = asyncio.Semaphore(self.concurrency)
        client = openai.AsyncOpenAI(
            api_key=self._key() or "none",
            base_url=self.base_url,
            max_retries=self.retries,
            timeout=self.timeout,
        )

        async def one(key: bytes, body: dict[str, Any]) -> list[Answer] | Exception:
            rest = {n: value for n, value in body.items() if n not in ("model", "messages")}
            try:
                async with gate:
                    response = await client.chat.completions.create(
                        model=body["model"], messages=body["messages"], extra_body=rest
                    )
            except failure as error:
                return error
            answers = _answers(response)
            if answers is None:
                return ValueError("the response has no choices with a message")
            if self._cache and all(answer.text is not None for answer in answers):
                self._cache.write({key: json.dumps(answers).encode()})
            return answers

        async with client:
            found = await asyncio.gather(*(one(key, body) for key, body in bodies.items()))
        return dict(zip(bodies, found, strict=True))

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
        raise ValueError(
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


def _answers(response: Any) -> list[Answer] | None:
    """Read the choices of a response; None if it is none, whatever a server sent with status 200."""
    choices = getattr(response, "choices", None)
    if not isinstance(choices, list) or not choices:
        return None
    answers = []
    for choice in choices:
        message = getattr(choice, "message", None)
        text = getattr(message, "content", None)
        if message is None or not (text is None or isinstance(text, str)):
            return None
        refused = getattr(message, "refusal", None) is not None
        answers.append(Answer(None if refused else text, getattr(choice, "finish_reason", None)))
    return answers


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
