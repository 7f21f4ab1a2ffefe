"""The body of a request: read, checked and turned into what engines and strategies take."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from diversify.engines import Message, Sampling
from diversify.serving.metered import Limits
from diversify.serving.problems import Problem, shown

__all__ = ["Asked", "read_body", "read_request"]

ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
"""Roles that a message may have, and what chat templates call them."""

READ = (
    *("model", "messages", "n", "temperature", "top_p", "top_k", "min_p", "seed", "stream"),
    *("max_tokens", "max_completion_tokens", "diversify"),
)
IGNORED = (
    *("user", "metadata", "store", "service_tier", "safety_identifier", "stream_options"),
    *("prompt_cache_key", "parallel_tool_calls"),
)
"""Fields that change no answer."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "repetition_penalty": (1,),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "logit_bias": ({},),
    "stop": ([],),
    "tools": ([],),
    "functions": ([],),
    "tool_choice": ("none", "auto"),
    "function_call": ("none", "auto"),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
}
"""Fields that may only say what is so without them."""

IN_MESSAGES = ("role", "content", "name", "refusal", "annotations", "reasoning_content")
"""What a message may have; the last four change no answer here."""


@dataclass(frozen=True)
class Asked:
    """A request that can be answered.

    Args:
        messages: the chat; the last message is the user's.
        n: how many answers.
        sampling: how they are drawn.
        stream: whether the one answer is to come in pieces.
        strategy: by what name; None if the request names none.
        options: of the strategy.
    """

    messages: list[Message]
    n: int
    sampling: Sampling
    stream: bool
    strategy: str | None
    options: dict[str, Any]


def read_body(content: bytes) -> dict[str, Any]:
    """Read the JSON object of a request.

    Raises:
        Problem: It is none: no UTF-8, no JSON, NaN in it, half a letter, too deep, or no object.

    Example:
        >>> read_body(b'{"n": 2}')
        {'n': 2}
    """
    try:
        body = json.loads(content.decode(), parse_constant=_no_constant)
        json.dumps(
            body, ensure_ascii=False
        ).encode()  # no half of a surrogate pair, which none can read
    except UnicodeError:
        raise Problem(400, "the body must be a JSON object of whole letters in UTF-8") from None
    except (ValueError, RecursionError) as error:
        said = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise Problem(400, f"the body must be a JSON object: {said}") from None
    if not isinstance(body, dict):
        raise Problem(400, f"the body must be a JSON object, got {shown(body)}")
    return body


def read_request(
    body: Mapping[str, Any], *, model: str, defaults: Sampling, limits: Limits
) -> Asked:
    """Check the fields of a request.

    Args:
        body: as it came.
        model: the one that answers here.
        defaults: what holds where the request says nothing. The seed is drawn anew each time.
        limits: what a request may ask for.

    Raises:
        Problem: A field is unknown, wrong, or asks for what there is not.

    Example:
        >>> body = {"messages": [{"role": "user", "content": "A fruit?"}], "n": 3, "seed": 7}
        >>> asked = read_request(body, model="m", defaults=Sampling(), limits=Limits())
        >>> asked.n, asked.sampling.seed, asked.strategy
        (3, 7, None)
    """
    given = {name: value for name, value in body.items() if value is not None}
    _refuse_unknown(given)
    if (wanted := given.get("model", model)) != model:
        raise Problem(
            404,
            f"the model here is {model!r}, got {shown(wanted)}",
            param="model",
            code="model_not_found",
        )
    n = _integer(given, "n", 1, limits.n) if "n" in given else 1
    stream = given.get("stream", False)
    if not isinstance(stream, bool):
        raise Problem(400, f"stream must be true or false, got {shown(stream)}", param="stream")
    if stream and n > 1:
        raise Problem(
            400,
            f"stream goes with one answer, got n={n}: answers are chosen when all are there",
            param="stream",
        )
    strategy, options = _strategy(given.get("diversify", {}))
    if stream and (options or strategy not in (None, "direct")):
        raise Problem(
            400,
            "stream goes with plain sampling: a strategy has nothing to show before it ends",
            param="stream",
        )
    sampling = _sampling(given, defaults, limits)
    return Asked(_messages(given.get("messages")), n, sampling, stream, strategy, options)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if name in NEUTRAL:
            flag = isinstance(value, bool)  # false is no 0
            if not any(v == value and isinstance(v, bool) == flag for v in NEUTRAL[name]):
                allowed = " or ".join(json.dumps(each) for each in NEUTRAL[name])
                raise Problem(
                    400, f"{name} may only be {allowed} here, got {shown(value)}", param=name
                )
        elif name not in READ and name not in IGNORED:
            raise Problem(
                400,
                f"there is no field {shown(name)} here; there are {', '.join(READ)}",
                param=name[:100],
                code="unknown_parameter",
            )


def _sampling(given: Mapping[str, Any], defaults: Sampling, limits: Limits) -> Sampling:
    changes: dict[str, Any] = {"seed": secrets.randbits(31)}
    for name in ("temperature", "top_p", "min_p"):
        if name in given:
            changes[name] = _number(given, name)
    if "top_k" in given:
        changes["top_k"] = max(0, _integer(given, "top_k", -1, 2**31))  # -1 keeps all, as in vLLM
    if "seed" in given:
        changes["seed"] = _integer(given, "seed", -(2**63), 2**63 - 1)
    longest = {
        name: _integer(given, name, 1, limits.max_tokens)
        for name in ("max_tokens", "max_completion_tokens")
        if name in given
    }
    if len({*longest.values()}) > 1:
        raise Problem(
            400,
            f"max_tokens and max_completion_tokens are the same, got {longest}",
            param="max_tokens",
        )
    if longest:
        (changes["max_tokens"],) = {*longest.values()}
    try:
        return defaults.at(**changes)
    except ValueError as error:  # it begins with the name of the option
        raise Problem(400, str(error), param=str(error).split()[0]) from None


def _messages(given: Any) -> list[Message]:
    if not isinstance(given, list) or not given:
        raise Problem(
            400, f"messages must be a list of messages, got {shown(given)}", param="messages"
        )
    messages = [_message(each, f"messages[{at}]") for at, each in enumerate(given)]
    if messages[-1]["role"] != "user":
        raise Problem(
            400,
            f"the last message must be the user's, got one of role {messages[-1]['role']!r}",
            param="messages",
        )
    return messages


def _message(given: Any, where: str) -> Message:
    if not isinstance(given, dict):
        raise Problem(400, f"a message must be an object, got {shown(given)}", param=where)
    for name, value in given.items():
        if name not in IN_MESSAGES and value is not None:
            raise Problem(
                400, f"a message may have role and content, got {shown(name)}", param=where
            )
    role = given.get("role")
    if not isinstance(role, str) or role not in ROLES:
        raise Problem(
            400, f"role must be one of {list(ROLES)}, got {shown(role)}", param=f"{where}.role"
        )
    return {"role": ROLES[role], "content": _text(given.get("content"), f"{where}.content")}


def _text(content: Any, where: str) -> str:
    if isinstance(content, list):
        for part in content:
            if (
                not isinstance(part, dict)
                or part.get("type") != "text"
                or not isinstance(part.get("text"), str)
            ):
                raise Problem(
                    400, f"content may have parts of type text only, got {shown(part)}", param=where
                )
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise Problem(
            400, f"content must be text or a list of parts, got {shown(content)}", param=where
        )
    return content


def _strategy(given: Any) -> tuple[str | None, dict[str, Any]]:
    if not isinstance(given, dict):
        raise Problem(
            400,
            f'diversify must be an object like {{"strategy": "direct"}}, got {shown(given)}',
            param="diversify",
        )
    options = dict(given)
    name = options.pop("strategy", None)
    if name is not None and not isinstance(name, str):
        raise Problem(
            400, f"strategy must be a name, got {shown(name)}", param="diversify.strategy"
        )
    return name, options


def _number(given: Mapping[str, Any], name: str) -> float:
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Problem(400, f"{name} must be a number, got {shown(value)}", param=name)
    try:
        return float(value)
    except OverflowError:
        raise Problem(400, f"{name} must be a number, got {shown(value)}", param=name) from None


def _integer(given: Mapping[str, Any], name: str, low: int, high: int) -> int:
    value = given[name]
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise Problem(
            400,
            f"{name} must be a whole number between {low} and {high}, got {shown(value)}",
            param=name,
        )
    return value
