"""Names and options become decoders: the one list that the command line knows."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from diversify.decoding.siblings.arithmetic import ArithmeticSampling
from diversify.decoding.siblings.diverse_beams import DiverseBeams
from diversify.decoding.siblings.repulsion import SiblingRepulsion
from diversify.decoding.siblings.routing import BaseAlignedRouting
from diversify.decoding.siblings.stochastic_beams import StochasticBeams
from diversify.models import load_model

if TYPE_CHECKING:
    from diversify.engines.transformers import Decoder
    from diversify.models import LoadedModel

__all__ = ["DECODERS", "build_decoder", "check_decoder"]

DECODERS: dict[str, type[Any]] = {
    "arithmetic": ArithmeticSampling,
    "repulsion": SiblingRepulsion,
    "diverse-beams": DiverseBeams,
    "stochastic-beams": StochasticBeams,
    "routing": BaseAlignedRouting,
}

FROM_MODEL = {"special": "the tokenizer's special tokens", "base": "the model without its adapter"}
"""Arguments that are filled in where nothing is given."""


def check_decoder(name: str, options: Mapping[str, Any] | None = None) -> None:
    """Accept a name and the names of its options, before a model is loaded.

    Raises:
        ValueError: If one is unknown, or an option without a default is missing.
    """
    if name not in DECODERS:
        raise ValueError(f"decoder must be one of {list(DECODERS)}, got {name!r}")
    options = options or {}
    parameters = inspect.signature(DECODERS[name]).parameters
    if unknown := [option for option in options if option not in parameters]:
        raise ValueError(f"{name} has no option {unknown[0]!r}; it has {list(parameters)}")
    for option, parameter in parameters.items():
        filled = parameter.default is not parameter.empty or option in FROM_MODEL
        if not filled and option not in options:
            raise ValueError(f"{name} needs the option {option!r}")


def build_decoder(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    model: LoadedModel,
    adapted: bool = False,
) -> Decoder:
    """Build a decoder by name.

    Args:
        name: One of `DECODERS`.
        options: Its arguments. `base`, of `routing`, may be the name of a model; without it the
            base is the model with its adapter switched off.
        model: The model that will decode: it has the special tokens.
        adapted: Whether the engine puts an adapter on the model, so that it can be its own base.

    Raises:
        ValueError: If a name or an option is unknown or impossible, or `routing` has no base.
    """
    check_decoder(name, options)
    given = dict(options or {})
    parameters = inspect.signature(DECODERS[name]).parameters
    if "special" in parameters:
        given.setdefault("special", tuple(model.tokenizer.all_special_ids))
    if "base" in parameters:
        if "base" not in given and not adapted and model.identity.get("adapter") is None:
            raise ValueError(f"{name} needs `base`: this model has no adapter to switch off")
        base = given.get("base", model)
        given["base"] = load_model(base) if isinstance(base, str) else base
    try:
        decoder: Decoder = DECODERS[name](**given)
    except TypeError as error:  # text where a number belongs
        raise ValueError(f"{name}: {error}, got {dict(options or {})}") from error
    return decoder
