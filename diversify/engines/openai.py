"""Generation on an OpenAI-compatible server: vLLM, SGLang, llama.cpp, hosted models and others."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from diversify.engines import (
    Generations,
    Message,
    Prompt,
    Sampling,
    as_messages,
    stable_seed,
    with_system_message,
)
from diversify.engines.openai_fields import (
    Flavour,
    check_fields,
    left_to_server,
    sampling_fields,
)
from diversify.server import Answer, ChatServer, Failure, NoAnswer, Response, ServerRefusal

__all__ = ["OpenAIEngine"]

logger = logging.getLogger(__name__)

_REFUSES = (400, 422)  # statuses of a server that does not take the request
_SEEDS = 2**31  # some servers keep a seed in 32 bits


class OpenAIEngine:
    """Draw completions from a model on an OpenAI-compatible server.

    What `Sampling` says is what is sent, and an option that the server has no field for must stay
    neutral. Everything that is left to the server is in `identity`: a hosted model may have a
    `top_k` of its own, which nobody sees.

    Each sample is a request of its own, with a seed that depends on `Sampling.seed`, on the prompt,
    on how often the same prompt came before it in the call, and on the sample's number. Answers are
    kept on disk as they arrive; a run that is started again asks only what is still open. A server
    that knows no seeds gives other texts to another cache.

    What the server withholds (content filters) is no text: the prompt has fewer then, which
    `details` count under `failed`. A refusal in words is a text, counted as `refused`. `tokens`
    are the server's count, with those that it keeps to itself (reasoning) among the written ones.
    Texts come without surrounding white space.

    Args:
        model: As the server calls it.
        base_url: Of the server, such as `http://localhost:8000/v1`; without a key in it.
        api_key_env: Name of the environment variable with the key. It is sent to whatever
            `base_url` names: give other servers their own variable.
        flavour: Which fields the server knows. `"standard"`: temperature, top_p, max_tokens, seed.
            `"openai"`: the same, with max_completion_tokens. `"extended"`: also top_k and min_p,
            and a repetition penalty to switch off (vLLM, SGLang, llama.cpp). `"transformers"`:
            `transformers serve`; one request at a time, as its seeds are global.
        leave_out: Some of temperature, top_p, max_tokens and seed, which are left to the server:
            hosted reasoning models refuse the first two. They must be neutral in `Sampling` then.
        per_request: Choices that one request asks for with `n`; 1 sends no `n`. More saves reading
            the prompt again. What a server does not give is asked for one by one. With seeds, its
            choices must differ among each other, as vLLM's do.
        logprobs: Whether to ask for the log-probabilities of the tokens. `details` then have
            `logprobs` with `sum` and `mean` for each text, None where the server gives none. Of
            which distribution, before or after temperature and truncation, is up to the server.
        system: System message put before prompts that have none.
        concurrency: Requests under way at once.
        retries: Further attempts after a failed one.
        timeout: Seconds that one attempt may take.
        cache: Whether answers are kept in the user's cache folder, or the file that keeps them.
        extra_body: Further fields of every request, such as
            `{"chat_template_kwargs": {"enable_thinking": False}}`.

    Raises:
        ValueError: If an option is impossible.

    Example:
        >>> engine = OpenAIEngine("qwen3", base_url="http://localhost:8000/v1", cache=False)
        >>> engine.identity["left_to_server"]
        ['top_k', 'min_p']
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str,
        api_key_env: str = "OPENAI_API_KEY",
        flavour: Flavour = "standard",
        leave_out: Sequence[str] = (),
        per_request: int = 1,
        logprobs: bool = False,
        system: str | None = None,
        concurrency: int = 8,
        retries: int = 4,
        timeout: float = 600.0,
        cache: bool | str | os.PathLike[str] = True,
        extra_body: Mapping[str, Any] | None = None,
    ) -> None:
        check_fields(flavour, leave_out, extra_body or {})
        if per_request < 1:
            raise ValueError(f"per_request must be >= 1, got {per_request}")
        self.flavour = flavour
        self.leave_out = tuple(leave_out)
        self.per_request = per_request
        self.logprobs = logprobs
        self.system = system
        self.server = ChatServer(
            model,
            base_url=base_url,
            api_key_env=api_key_env,
            concurrency=concurrency,
            retries=retries,
            timeout=timeout,
            cache=cache,
            temperature=None,
            max_tokens=None,
            extra_body=extra_body,
        )

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the distribution: model, server, system prompt, and what is not ours."""
        return self.server.identity | {
            "flavour": self.flavour,
            "left_to_server": left_to_server(self.flavour, self.leave_out),
            "system": self.system,
        }

    def generate(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> Generations:
        """Draw `n` completions for each prompt.

        Args:
            prompts: Texts, each one user turn, or chats.
            n: Completions a prompt. Greedy ones (`temperature=0`) are n copies of one text.
            sampling: How they are drawn.

        Raises:
            ValueError: If `n` is not positive, sampling asks for something that cannot be sent, or
                the server refuses the key, the model's name or the fields of the request.
            NoAnswer: If answers are missing after all retries, or a prompt has got no text at all.
                What arrived is kept: the same call asks only for the rest.
        """
        if n < 1:
            raise ValueError(f"n must be >= 1, got {n}")
        fields = sampling_fields(sampling, self.flavour, self.leave_out)
        copies = n if sampling.temperature == 0 else 1
        rows = self._rows(prompts)
        for row in rows:
            row.open = list(range(n // copies))
        self._ask(rows, fields, sampling.seed, self.per_request)
        self._ask(rows, fields, sampling.seed, 1)  # what a server without `n` left open
        for number, row in enumerate(rows, start=1):
            if not any(text is not None for text in map(text_of_answer, row.answers)):
                raise NoAnswer(f"{self.server.model} withheld every answer to prompt {number}")
        return self._collected(prompts, rows, copies)

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str, None, bool]:
        """Yield the pieces of one completion as the server writes it; nothing is kept.

        Args:
            prompt: Text, or a chat.
            sampling: How it is drawn; the seed is that of `generate([prompt], 1, sampling)`.

        Returns:
            As the generator's value, whether the text was cut off at `max_tokens`.

        Raises:
            ValueError: At the first piece, as `generate`.
            NoAnswer: If the server gives no answer, or breaks off.
        """
        fields = sampling_fields(sampling, self.flavour, self.leave_out)
        (row,) = self._rows([prompt])
        finish = yield from self.server.stream(self._request(row, fields, sampling.seed, 0, 1)[0])
        return finish == "length"

    def _rows(self, prompts: Sequence[Prompt]) -> list[_Row]:
        """Tell equal prompts of one call apart."""
        seen: Counter[str] = Counter()
        rows = []
        for prompt in prompts:
            messages = with_system_message(as_messages(prompt), self.system)
            if not messages:
                raise ValueError("a prompt needs at least one message, got none")
            key = json.dumps(messages)
            rows.append(_Row(messages, key, seen[key]))
            seen[key] += 1
        return rows

    def _request(
        self, row: _Row, fields: Mapping[str, Any], seed: int, start: int, size: int
    ) -> tuple[dict[str, Any], int]:
        """Return a request and the number that tells it from other draws."""
        draw = stable_seed(seed, row.key, row.occurrence, start) % _SEEDS
        request: dict[str, Any] = {"messages": row.messages, **fields}
        if "seed" not in self.leave_out:
            request["seed"] = draw
        if size > 1:
            request["n"] = size
        if self.logprobs:
            request["logprobs"] = True
        return request, draw

    def _ask(
        self, rows: Sequence[_Row], fields: Mapping[str, Any], seed: int, at_once: int
    ) -> None:
        """Ask for the samples that are open, so many a request."""
        asks = [
            _Ask(row, row.open[at : at + at_once])
            for row in rows
            for at in range(0, len(row.open), at_once)
        ]
        made = [self._request(ask.row, fields, seed, ask.open[0], len(ask.open)) for ask in asks]
        found = self.server.complete(
            [request for request, _ in made], draws=[draw for _, draw in made]
        )
        self._refuse_failures(found, fields)
        for row in rows:
            row.open = []
        for ask, response in zip(asks, found, strict=True):
            assert isinstance(response, Response)  # a failure has been refused
            given = response.answers[: len(ask.open)]
            ask.row.take(response, given)
            ask.row.open += ask.open[len(given) :]

    def _refuse_failures(
        self, found: Sequence[Response | Failure], fields: Mapping[str, Any]
    ) -> None:
        """Raise if anything is missing: a run has no place for less than was asked for."""
        failures = [each for each in found if isinstance(each, Failure)]
        if not failures:
            return
        server, said = f"{self.server.model} at {self.server.base_url}", failures[0].reason
        if len(failures) == len(found) and all(f.status in _REFUSES for f in failures):
            raise ServerRefusal(
                f"{server} takes no such request ({said}); it had the fields {sorted(fields)}, "
                f"flavour {self.flavour!r}; leave_out leaves some to the server"
            )
        raise NoAnswer(
            f"{server}: {len(failures)} of {len(found)} requests got no answer after "
            f"{self.server.retries + 1} attempts ({said})"
            + ("; what arrived is kept, start again to ask the rest" if self.server.keeps else "")
        )

    def _collected(self, prompts: Sequence[Prompt], rows: list[_Row], copies: int) -> Generations:
        kept = [row.kept() for row in rows]
        known = all(answer.finish is not None for found in kept for _, answer in found)
        withheld = sum(len(row.answers) for row in rows) - sum(map(len, kept))
        if withheld:
            logger.warning("%s withheld %d answers", self.server.model, withheld)
        return Generations(
            list(prompts),
            [[text for text, _ in found for _ in range(copies)] for found in kept],
            [[a.finish == "length" for _, a in found for _ in range(copies)] for found in kept]
            if known
            else [],
            [row.details(copies, logprobs=self.logprobs) for row in rows],
        )


@dataclass
class _Row:
    """One prompt of a call, and what has come for it so far."""

    messages: list[Message]
    key: str
    occurrence: int
    open: list[int] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    read: list[int | None] = field(default_factory=list)
    written: list[int | None] = field(default_factory=list)

    def take(self, response: Response, given: Sequence[Answer]) -> None:
        self.answers += given
        self.read.append(response.read)
        self.written.append(response.written)

    def kept(self) -> list[tuple[str, Answer]]:
        """Return the texts, each with the answer that it comes from."""
        texts = [(text_of_answer(answer), answer) for answer in self.answers]
        return [(text, answer) for text, answer in texts if text is not None]

    def details(self, copies: int, *, logprobs: bool) -> dict[str, Any]:
        """Return what is on record for the prompt; what the server does not say is absent."""
        kept = self.kept()
        withheld = len(self.answers) - len(kept)
        details: dict[str, Any] = {
            "failed": {"withheld by the server": withheld} if withheld else {},
            "refused": sum(answer.refusal is not None for _, answer in kept) * copies,
        }
        read = [count for count in self.read if count is not None]
        written = [count for count in self.written if count is not None]
        if len(read) == len(written) == len(self.read):
            # The prompt counts once, however often it was sent.
            details["tokens"] = {"read": max(read), "written": sum(written)}
        if logprobs:
            details["logprobs"] = [_likelihood(a) for _, a in kept for _ in range(copies)]
        return details


class _Ask(NamedTuple):
    """One request: for which prompt, and for which of its samples."""

    row: _Row
    open: list[int]


def text_of_answer(answer: Answer) -> str | None:
    """Return the text of an answer, or None if the server withheld it.

    Example:
        >>> text_of_answer(Answer(" a fig ", "stop")), text_of_answer(Answer("a", "content_filter"))
        ('a fig', None)
    """
    if answer.finish == "content_filter":
        return None  # cut by the provider, not by the model
    text = answer.text if answer.refusal is None else answer.refusal
    if text is None and answer.finish == "length":
        text = ""  # all its tokens went into thoughts, which the server keeps to itself
    return None if text is None else text.strip()


def _likelihood(answer: Answer) -> dict[str, float | None] | None:
    if answer.logprob is None or answer.tokens is None:
        return None
    mean = answer.logprob / answer.tokens if answer.tokens else None
    return {"sum": answer.logprob, "mean": mean}
