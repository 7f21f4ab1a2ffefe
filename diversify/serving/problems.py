"""What is wrong with a request or its answer, as an OpenAI error object."""

from __future__ import annotations

import reprlib
from http import HTTPStatus
from typing import Any

from diversify.server import ServerRefusal

__all__ = ["Problem", "problem_of", "shown"]

LONGEST = 1000
"""Letters of a message: some errors repeat all of what was sent."""

KINDS = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.SERVICE_UNAVAILABLE: "overloaded_error",
    HTTPStatus.BAD_GATEWAY: "upstream_error",
}


class Problem(Exception):
    """Something that ends in an error object and a status.

    Args:
        status: of HTTP.
        message: what was given and what is allowed, for the person who asked.
        param: the field of the request that is meant.
        code: a word for programs.
        headers: more headers of the response.

    Example:
        >>> Problem(400, "n must be between 1 and 16, got 0", param="n").body["error"]["param"]
        'n'
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers or {}

    @property
    def body(self) -> dict[str, Any]:
        """The error object."""
        status = HTTPStatus(self.status)
        kind = "server_error" if status >= 500 else "invalid_request_error"
        return {
            "error": {
                "message": self.message[:LONGEST],
                "type": KINDS.get(status, kind),
                "param": self.param,
                "code": self.code,
            }
        }


def shown(value: Any) -> str:
    """Return a value for a message, shortened however long or deep it is."""
    return reprlib.repr(value)


def problem_of(error: Exception) -> Problem:
    """Turn what an engine or a strategy raised into what the person who asked is told.

    A `ValueError` says what it does not take, in a sentence. Of everything else only the kind of
    trouble is told: what it says is for who runs the server.

    Example:
        >>> problem_of(ValueError("top_k=5 cannot be sent")).status, problem_of(OSError("x")).status
        (400, 502)
    """
    if isinstance(error, Problem):
        return error
    if isinstance(error, ServerRefusal):
        return Problem(502, "the server behind this one refuses what it is asked")
    if isinstance(error, ValueError):
        return Problem(400, str(error))
    if isinstance(error, OSError):
        return Problem(502, "what is behind this server gave no answer; another try may help")
    return Problem(500, "the engine failed")
