"""How sampling is written in a request: the fields that servers know, and those they do not."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, TypeAlias

from diversify.engines import Sampling

__all__ = ["FLAVOURS", "LEAVABLE", "Flavour", "check_fields", "left_to_server", "sampling_fields"]

Flavour: TypeAlias = Literal["standard", "openai", "extended", "transformers"]

LEAVABLE = ("temperature", "top_p", "max_tokens", "seed")
"""What may be left to the server."""

NEUTRAL: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": None}
"""What an option must be where it cannot be sent."""


def _standard(sampling: Sampling) -> dict[str, Any]:
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }


def _openai(sampling: Sampling) -> dict[str, Any]:
    fields = _standard(sampling)
    return fields | {"max_completion_tokens": fields.pop("max_tokens")}


def _extended(sampling: Sampling) -> dict[str, Any]:
    # All of them, neutral ones too: such servers take what is absent from the model's own
    # generation config, or from defaults of theirs. -1 keeps all tokens on each of them.
    return _standard(sampling) | {
        "top_k": sampling.top_k or -1,
        "min_p": sampling.min_p or 0.0,
        "repetition_penalty": 1.0,
    }


def _transformers(sampling: Sampling) -> dict[str, Any]:
    # Without `do_sample` it would be greedy, whatever the temperature.
    config = {
        "do_sample": sampling.temperature > 0,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p or 0.0,
        "repetition_penalty": 1.0,
    }
    return _standard(sampling) | {"generation_config": json.dumps(config)}


FLAVOURS: dict[str, Callable[[Sampling], dict[str, Any]]] = {
    "standard": _standard,
    "openai": _openai,
    "extended": _extended,
    "transformers": _transformers,
}
"""Sampling to the fields of a request, by the kind of server."""

WITHOUT = {"standard": ("top_k", "min_p"), "openai": ("top_k", "min_p")}
"""What a flavour has no field for."""


def left_to_server(flavour: str, leave_out: Collection[str]) -> list[str]:
    """List what decides a token and is not sent.

    Example:
        >>> left_to_server("openai", ["temperature"])
        ['temperature', 'top_k', 'min_p']
    """
    return [name for name in LEAVABLE if name in leave_out] + list(WITHOUT.get(flavour, ()))


def check_fields(flavour: str, leave_out: Collection[str], extra_body: Mapping[str, Any]) -> None:
    """Accept options that can be asked for.

    Raises:
        ValueError: The flavour is unknown, something is left out that cannot be, or `extra_body`
            has a field that sampling or the engine decides.
    """
    if flavour not in FLAVOURS:
        raise ValueError(f"flavour must be one of {list(FLAVOURS)}, got {flavour!r}")
    if isinstance(leave_out, str) or not set(leave_out) <= set(LEAVABLE):
        raise ValueError(f"leave_out must be some of {list(LEAVABLE)}, got {leave_out!r}")
    own = {"model", "messages", "n", "seed", "stream", "logprobs", "max_tokens"}
    own |= {name for fields in FLAVOURS.values() for name in fields(Sampling())}
    if taken := sorted(own & set(extra_body)):
        raise ValueError(f"extra_body must not have {taken}: the engine sets them")


def sampling_fields(
    sampling: Sampling, flavour: str, leave_out: Collection[str] = ()
) -> dict[str, Any]:
    """Write sampling as fields of a request, all but the seed.

    Args:
        sampling: how a completion is drawn.
        flavour: one of `FLAVOURS`.
        leave_out: some of `LEAVABLE`, which are not sent.

    Raises:
        ValueError: An option that is not sent asks for something.

    Example:
        >>> sampling_fields(Sampling(top_k=20), "extended")["top_k"]
        20
        >>> sampling_fields(Sampling(max_tokens=64), "openai", ["temperature", "top_p"])
        {'max_completion_tokens': 64}
    """
    for name in left_to_server(flavour, leave_out):
        value = getattr(sampling, name)
        if name in NEUTRAL and (value or 0) != (NEUTRAL[name] or 0):
            raise ValueError(
                f"{name}={value} cannot be sent: flavour {flavour!r} with leave_out="
                f"{sorted(leave_out)} leaves it to the server, so it must stay {NEUTRAL[name]}"
            )
    skipped = {*leave_out, *(["max_completion_tokens"] if "max_tokens" in leave_out else [])}
    return {name: v for name, v in FLAVOURS[flavour](sampling).items() if name not in skipped}
