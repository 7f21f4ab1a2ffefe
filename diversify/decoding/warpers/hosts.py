"""The samplers that transformers has, as steps of a chain: each only calls transformers' own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    LogitsProcessor,
    MinPLogitsWarper,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from diversify.decoding.warpers.rows import check_number
from diversify.kernels import check_integer

__all__ = ["Epsilon", "Eta", "MinP", "Temperature", "TopK", "TopP", "Typical"]


class _Called(LogitsProcessor):
    """A step that hands its options to a class of transformers."""

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the logits of the next token as transformers makes them."""
        result: Tensor = self._host(str(scores.device))(input_ids, scores)
        return result

    def _host(self, device: str) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Temperature(_Called):
    """Divide the logits by `temperature`, a number above 0. Greedy decoding needs no chain."""

    temperature: float

    def __post_init__(self) -> None:
        check_number("temperature", self.temperature, low=0.0, high_included=False)

    def _host(self, device: str) -> Any:
        return TemperatureLogitsWarper(float(self.temperature))


@dataclass(frozen=True)
class TopK(_Called):
    """Keep the `k` most likely tokens, 1 or more, and those that tie with the last of them."""

    k: int

    def __post_init__(self) -> None:
        check_integer("k", self.k, 1)

    def _host(self, device: str) -> Any:
        return TopKLogitsWarper(self.k)


@dataclass(frozen=True)
class TopP(_Called):
    """Keep the fewest tokens whose probabilities add up to `p`, in (0, 1]."""

    p: float

    def __post_init__(self) -> None:
        check_number("p", self.p, low=0.0, high=1.0)

    def _host(self, device: str) -> Any:
        return TopPLogitsWarper(self.p)


@dataclass(frozen=True)
class MinP(_Called):
    """Keep the tokens at least `p` times as likely as the best, in [0, 1]."""

    p: float

    def __post_init__(self) -> None:
        check_number("p", self.p, low=0.0, high=1.0, low_included=True)

    def _host(self, device: str) -> Any:
        return MinPLogitsWarper(self.p)


@dataclass(frozen=True)
class Typical(_Called):
    """Keep the tokens whose surprise is nearest to the entropy, up to `mass` in (0, 1).

    It may remove the best token.
    """

    mass: float

    def __post_init__(self) -> None:
        check_number("mass", self.mass, low=0.0, high=1.0, high_included=False)

    def _host(self, device: str) -> Any:
        return TypicalLogitsWarper(self.mass)


@dataclass(frozen=True)
class Epsilon(_Called):
    """Keep the tokens of probability `epsilon` or more, in (0, 1)."""

    epsilon: float

    def __post_init__(self) -> None:
        check_number("epsilon", self.epsilon, low=0.0, high=1.0, high_included=False)

    def _host(self, device: str) -> Any:
        return EpsilonLogitsWarper(self.epsilon)


@dataclass(frozen=True)
class Eta(_Called):
    """Keep the tokens above min(epsilon, sqrt(epsilon) * exp(-entropy)), `epsilon` in (0, 1)."""

    epsilon: float

    def __post_init__(self) -> None:
        check_number("epsilon", self.epsilon, low=0.0, high=1.0, high_included=False)

    def _host(self, device: str) -> Any:
        return EtaLogitsWarper(self.epsilon, device=device)
