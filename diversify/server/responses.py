"""What comes back from a server: responses, failures, and how they are read and kept."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

__all__ = [
    "Answer",
    "Failure",
    "NoAnswer",
    "Response",
    "ServerRefusal",
    "read_chunk",
    "read_response",
]

CUT = ("length", "content_filter")
"""Reasons to stop that leave an answer unfinished."""

BROKEN = ("error", "abort")
"""What some servers send with status 200 when they broke off."""


class Answer(NamedTuple):
    """One completion as the server gave it.

    Attributes:
        text: The completion; None where the server refused.
        finish: Why it ended: "stop", "length" (cut at the token limit), … or None if not said.
        refusal: What the model said in place of a completion, where the server tells them apart.
        logprob: Sum of its tokens' log-probabilities, if they were asked for and given.
        tokens: How many tokens that sum has.
    """

    text: str | None
    finish: str | None
    refusal: str | None = None
    logprob: float | None = None
    tokens: int | None = None


class Response(NamedTuple):
    """All choices of one request.

    Attributes:
        answers: The choices.
        read: Tokens of the prompt; None if the server does not say.
        written: Tokens of all choices together, likewise.
    """

    answers: list[Answer]
    read: int | None = None
    written: int | None = None


class Failure(NamedTuple):
    """Why a request has no response after all retries.

    Attributes:
        reason: What the client or the server said, without the key.
        status: HTTP status, if there was one.
    """

    reason: str
    status: int | None = None


class NoAnswer(OSError):
    """A server gave no answer, or not all that were asked for; another try may get them."""


class ServerRefusal(ValueError):
    """A server refuses whatever it is asked: the key, the model's name or an option is wrong."""


def read_response(raw: Any) -> Response | None:
    """Read a response; None if it is none, whatever a server sent with status 200."""
    choices = getattr(raw, "choices", None)
    if not isinstance(choices, list) or not choices:
        return None
    answers = [_answer(choice) for choice in choices]
    usage = getattr(raw, "usage", None)
    counts = (getattr(usage, name, None) for name in ("prompt_tokens", "completion_tokens"))
    read, written = (count if isinstance(count, int) else None for count in counts)
    whole = [answer for answer in answers if answer is not None]
    return Response(whole, read, written) if len(whole) == len(answers) else None


def read_chunk(raw: Any) -> tuple[str | None, str | None]:
    """Read a piece of a stream: text, or the words of a refusal, and the reason to stop."""
    choices = getattr(raw, "choices", None)
    if not isinstance(choices, list) or not choices:  # the last one may count tokens only
        return None, None
    delta, finish = getattr(choices[0], "delta", None), getattr(choices[0], "finish_reason", None)
    text = getattr(delta, "content", None) or getattr(delta, "refusal", None)
    return text if isinstance(text, str) else None, finish


def _answer(choice: Any) -> Answer | None:
    """Read a choice; None where it has no message, or the server broke off."""
    message, finish = getattr(choice, "message", None), getattr(choice, "finish_reason", None)
    text, refusal = getattr(message, "content", None), getattr(message, "refusal", None)
    if message is None or finish in BROKEN or not isinstance(text, str | None):
        return None
    refusal = None if refusal is None else str(refusal)
    logprobs = getattr(getattr(choice, "logprobs", None), "content", None)
    values = [each.logprob for each in logprobs] if isinstance(logprobs, list) else None
    counted = (None, None) if values is None else (sum(values), len(values))
    return Answer(None if refusal is not None else text, finish, refusal, *counted)


def unpacked(blob: bytes) -> Response:
    """Read what the cache has; in its first form it was the list of pairs of text and end."""
    found = json.loads(blob)
    fields = found if isinstance(found, dict) else {"answers": found}
    return Response(**fields | {"answers": [Answer(*each) for each in fields["answers"]]})


def whole_text(response: Response | Failure) -> str | None:
    if isinstance(response, Failure) or response.answers[0].finish in CUT:
        return None
    return response.answers[0].text
