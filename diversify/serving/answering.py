"""What goes back: completions, pieces of a stream, the list of models."""

from __future__ import annotations

import json
import time
import uuid
from typing import Any

from starlette.responses import JSONResponse

from diversify.engines import Generations

__all__ = ["Json", "Pieces", "completion", "models"]


class Json(JSONResponse):
    """JSON in ASCII: whatever letters a model writes, it can be sent."""

    def render(self, content: Any) -> bytes:
        """Write the content."""
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode()


def completion(drawn: Generations, *, model: str, record: dict[str, Any]) -> dict[str, Any]:
    """Return the answers to one prompt as a chat completion.

    Args:
        drawn: what a strategy has drawn for the one prompt.
        model: its name.
        record: what else is to stand in the field `diversify`, before what the strategy says.

    Example:
        >>> drawn = Generations(["A fruit?"], [["fig", "kiwi"]], [[False, True]])
        >>> body = completion(drawn, model="m", record={"seed": 7})
        >>> [(c["message"]["content"], c["finish_reason"]) for c in body["choices"]]
        [('fig', 'stop'), ('kiwi', 'length')]
        >>> body["diversify"], body["usage"]
        ({'seed': 7}, None)
    """
    texts = drawn[0]
    flags = drawn.truncated[0] if drawn.truncated else [False] * len(texts)
    details = drawn.details[0] if drawn.details else {}
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text, "refusal": None},
            "finish_reason": "length" if cut else "stop",
            "logprobs": None,
        }
        for index, (text, cut) in enumerate(zip(texts, flags, strict=True))
    ]
    return _head("chat.completion", model) | {
        "choices": choices,
        "usage": _usage(details.get("tokens")),
        "diversify": record | details,
    }


def models(model: str) -> dict[str, Any]:
    """Return the list of the one model."""
    entry = {"id": model, "object": "model", "created": 0, "owned_by": "diversify"}
    return {"object": "list", "data": [entry]}


class Pieces:
    """The events of one stream.

    Args:
        model: its name.
    """

    def __init__(self, model: str) -> None:
        self._head = _head("chat.completion.chunk", model)

    def event(self, *, finish: str | None = None, **delta: str) -> str:
        """Return the event of one piece, or of the end.

        Example:
            >>> Pieces("m").event(content="fig").rstrip()[-44:]
            '{"content": "fig"}, "finish_reason": null}]}'
        """
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return event(self._head | {"choices": [choice]})


def event(body: dict[str, Any]) -> str:
    """Return a server-sent event."""
    return f"data: {json.dumps(body)}\n\n"


def _head(kind: str, model: str) -> dict[str, Any]:
    name = f"chatcmpl-{uuid.uuid4().hex}"
    return {"id": name, "object": kind, "created": int(time.time()), "model": model}


def _usage(tokens: dict[str, int] | None) -> dict[str, int] | None:
    if not tokens:
        return None
    read, written = tokens["read"], tokens["written"]
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
