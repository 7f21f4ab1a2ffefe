"""The steps of a sampling chain: their names, how text says them, and how temperature changes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import MISSING, fields, replace
from typing import Any, TypeAlias

from transformers import LogitsProcessor

from diversify.decoding.warpers.choice import XTC
from diversify.decoding.warpers.entropy import EDT, TopH
from diversify.decoding.warpers.history import DRY, Mirostat2
from diversify.decoding.warpers.hosts import Epsilon, Eta, MinP, Temperature, TopK, TopP, Typical
from diversify.decoding.warpers.rows import check_number
from diversify.decoding.warpers.truncation import MinK, PLess, PLessNorm, TopNSigma

__all__ = ["STEPS", "Step", "parse_step", "rescaled", "shown_options", "step_name", "step_text"]

Step: TypeAlias = LogitsProcessor
"""An instance of one of the classes of `STEPS`."""

STEPS: dict[str, type[Any]] = {
    "temperature": Temperature,
    "top_k": TopK,
    "top_p": TopP,
    "min_p": MinP,
    "typical": Typical,
    "epsilon": Epsilon,
    "eta": Eta,
    "top_n_sigma": TopNSigma,
    "min_k": MinK,
    "p_less": PLess,
    "p_less_norm": PLessNorm,
    "top_h": TopH,
    "xtc": XTC,
    "edt": EDT,
    "dry": DRY,
    "mirostat2": Mirostat2,
}
"""What a chain is made of, by its name in text; the first seven are transformers' own."""


def rescaled(step: Step, temperature: float) -> Step:
    r"""Return the step that does to logits divided by a temperature what `step` does to the logits.

    With min-p, :math:`p_i \ge m \, p_{\max}` is :math:`z_i \ge z_{\max} + \ln m`; of logits
    divided by T it asks the same with :math:`m^{1/T}`.

    Args:
        step: A step of a chain.
        temperature: T, above 0.

    Raises:
        ValueError: If there is no such step.

    Example:
        >>> rescaled(MinP(0.01), 2.0)
        MinP(p=0.1)
    """
    check_number("temperature", temperature, low=0.0, high_included=False)
    if temperature == 1 or isinstance(step, (TopK, TopNSigma)):
        return step
    if isinstance(step, MinP):
        return MinP(step.p ** (1 / temperature))
    if isinstance(step, MinK):
        return MinK(step.tau / temperature)
    if isinstance(step, DRY):
        return replace(step, multiplier=step.multiplier / temperature)
    raise ValueError(
        f"{step_name(step)} has no exact equivalent on the other side of the temperature: it weighs "
        "probabilities, and those change with the temperature in no simple way"
    )


def step_name(step: Step) -> str:
    """Return the name of a step in text, for instance `"top_k"`."""
    return next(name for name, kind in STEPS.items() if type(step) is kind)


def _numbers(kind: type[Any]) -> Iterator[Any]:
    """Yield the fields of a step that text can give: its numbers, in order."""
    yield from (f for f in fields(kind) if f.init and f.type in ("float", "int", "int | None"))


def parse_step(text: str) -> Step:
    """Read one step, for instance `"xtc=0.1:0.5"`.

    Raises:
        ValueError: If its name or its numbers cannot be read, or an option is impossible.

    Example:
        >>> parse_step("min_k")
        MinK(tau=3.0)
    """
    name, _, given = (part.strip() for part in text.partition("="))
    if name not in STEPS:
        raise ValueError(f"a chain is made of {', '.join(STEPS)}, got {name!r}")
    kind = STEPS[name]
    values = given.split(":") if given else []
    known = list(_numbers(kind))
    needed = [option for option in known if option.default is MISSING]
    if not len(needed) <= len(values) <= len(known):
        takes = "=" + ":".join(option.name for option in known) if known else " without a number"
        raise ValueError(f"{name} is written {name}{takes}, got {text.strip()!r}")
    options = {}
    for option, value in zip(known, values, strict=False):
        try:
            options[option.name] = float(value) if option.type == "float" else int(value)
        except ValueError:
            raise ValueError(f"{name} takes a number for {option.name}, got {value!r}") from None
    step: Step = kind(**options)
    return step


def step_text(step: Step) -> str:
    """Return a step as `parse_step` reads it, without its token ids."""
    values = [getattr(step, option.name) for option in _numbers(type(step))]
    while values and values[-1] is None:
        values.pop()
    return step_name(step) + ("=" if values else "") + ":".join(map(str, values))


def shown_options(step: Step) -> str:
    """Write the options of a step; many token ids as their number and a digest."""
    shown = []
    for option in fields(step):  # type: ignore[arg-type]
        value = getattr(step, option.name)
        if not option.repr:
            continue
        if isinstance(value, tuple) and len(value) > 8:
            digest = hashlib.blake2b(repr(value).encode(), digest_size=4).hexdigest()
            value = f"<{len(value)} ids, {digest}>"
        shown.append(f"{option.name}={value}")
    return ", ".join(shown)
