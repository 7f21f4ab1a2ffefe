"""Several decoders at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diversify.engines import Sampling
from diversify.engines.transformers import Decoder

__all__ = ["Together"]


class Together:
    """Run several decoders in one call of `model.generate`.

    Their logits processors run in the order given. Only one of them may bring a token loop of its
    own (`custom_generate`), and so on for every other argument.

    Args:
        *decoders: Two or more.

    Raises:
        ValueError: If there are fewer; when called, if two of them set the same argument.

    Example:
        >>> from diversify.decoding.siblings import ArithmeticSampling, SiblingRepulsion
        >>> both = Together(SiblingRepulsion(special=[0, 1]), ArithmeticSampling())
        >>> sorted(both(8, 20))
        ['custom_generate', 'logits_processor']
    """

    def __init__(self, *decoders: Decoder) -> None:
        if len(decoders) < 2:
            raise ValueError(f"Together takes two decoders or more, got {len(decoders)}")
        self.decoders = decoders

    def __call__(self, siblings: int, length: int) -> Mapping[str, Any]:
        """Return the arguments of all of them."""
        together: dict[str, Any] = {}
        for decoder in self.decoders:
            for name, value in decoder(siblings, length).items():
                if name not in together:
                    together[name] = value
                elif name == "logits_processor":
                    together[name] = [*together[name], *value]
                else:
                    raise ValueError(f"two decoders set {name}, the second is {decoder!r}")
        return together

    def check_sampling(self, sampling: Sampling) -> None:
        """Accept a `Sampling` that all of them accept.

        Raises:
            ValueError: If one does not.
        """
        for decoder in self.decoders:
            if check := getattr(decoder, "check_sampling", None):
                check(sampling)

    def __repr__(self) -> str:
        names = (getattr(each, "__name__", None) or repr(each) for each in self.decoders)
        return f"Together({', '.join(names)})"
