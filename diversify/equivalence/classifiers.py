"""A classifier of pairs of texts, loaded by sentence-transformers, with its numbers kept on disk."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from diversify.cache import cache_key, open_cache
from diversify.kernels import Pair
from diversify.sources import missing_model_named, quiet_transformers, source_revision

__all__ = ["Floats", "PairClassifier"]

Floats: TypeAlias = NDArray[np.float64]

_DTYPES = ("float32", "bfloat16", "float16")


class PairClassifier:
    """A sequence-classification model that reads two texts at once.

    Args:
        model: Hub id or local folder.
        revision: Branch, tag or commit on the hub.
        device: "cpu", "cuda", …; the default is sentence-transformers' choice.
        batch_size: Pairs at once.
        dtype: "float32", "bfloat16" or "float16".
        side_tokens: Tokens read of each text, at most; a longer one is cut at the end of a token.
        cache: Whether numbers are kept in `cache_dir()`, or the file that keeps them.

    Raises:
        ValueError: If an option is impossible; at the first call, if there is no such model, or two
            texts of `side_tokens` do not fit into it.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        revision: str | None,
        device: str | None,
        batch_size: int,
        dtype: str,
        side_tokens: int,
        cache: bool | str | os.PathLike[str],
    ) -> None:
        for name, value in (("batch_size", batch_size), ("side_tokens", side_tokens)):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        if dtype not in _DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {dtype!r}")
        self.model = os.fspath(model)
        self.device = device
        self.batch_size = batch_size
        self.dtype = dtype
        self.side_tokens = side_tokens
        self._cache = open_cache(cache, "equivalence.sqlite")
        self._wanted_revision = revision
        self._found_revision: str | None = None
        self._loaded: Any = None

    @property
    def revision(self) -> str:
        """The hub commit or the fingerprint of the folder, and the options that change numbers."""
        if self._found_revision is None:
            self._found_revision = source_revision(self.model, self._wanted_revision)
        options = "" if self.dtype == "float32" else f"+{self.dtype}"
        return f"{self._found_revision}{options}+{self.side_tokens}"

    @property
    def labels(self) -> list[str]:
        """The names of the labels, in order; loads the model."""
        names: dict[int, str] = self.load().model.config.id2label
        return [names[number] for number in sorted(names)]

    def kept(
        self, kind: str, pairs: Sequence[Pair], compute: Callable[[list[Pair]], Floats]
    ) -> Floats:
        """Return one number for each pair; each distinct one is computed once, ever.

        Raises:
            ValueError: If a number is not finite.
        """

        def packed(some: list[Pair]) -> list[bytes]:
            numbers = np.asarray(compute(some), dtype="<f8")
            if not np.isfinite(numbers).all():
                at = int(np.flatnonzero(~np.isfinite(numbers))[0])
                raise ValueError(f"{self.model} gave {numbers[at]} for the pair {some[at]!r}")
            return [number.tobytes() for number in numbers]

        distinct = list(dict.fromkeys(pairs))
        if self._cache is None:
            blobs = dict(zip(distinct, packed(distinct), strict=True)) if distinct else {}
        else:
            recipe = self.model, self.revision, kind
            keys = {pair: cache_key(*recipe, json.dumps(pair)) for pair in distinct}
            blobs = self._cache.fill(keys, packed)
        return np.frombuffer(b"".join(blobs[pair] for pair in pairs), dtype="<f8")

    def outputs(self, pairs: Sequence[Pair], *, softmax: bool) -> Floats:
        """Run the model: (n, labels) probabilities, or of one label (n,) as the model gives it."""
        loaded = self.load()
        first = self._cut([pair[0] for pair in pairs])
        second = self._cut([pair[1] for pair in pairs])
        options: dict[str, Any] = {}
        if softmax:
            from torch.nn import Identity

            options = {"activation_fn": Identity(), "apply_softmax": True}
        rows = loaded.predict(
            list(zip(first, second, strict=True)),
            batch_size=self.batch_size,
            show_progress_bar=False,
            **options,
        )
        return np.asarray(rows, dtype=np.float64)

    def load(self) -> Any:
        """Return the model, a `CrossEncoder`; it is loaded once."""
        if self._loaded is None:
            import torch
            from sentence_transformers import CrossEncoder

            with quiet_transformers(), missing_model_named(self.model):
                loaded = CrossEncoder(
                    self.model,
                    revision=self._wanted_revision,
                    device=self.device,
                    model_kwargs={"dtype": getattr(torch, self.dtype), "use_safetensors": True},
                )
            special = loaded.tokenizer.num_special_tokens_to_add(pair=True)
            if 2 * self.side_tokens + special > loaded.max_length:
                raise ValueError(
                    f"side_tokens must be at most {(loaded.max_length - special) // 2} for "
                    f"{self.model}, got {self.side_tokens}"
                )
            self._loaded = loaded
        return self._loaded

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None}

    def _cut(self, texts: list[str]) -> list[str]:
        """Cut texts behind their last token that is read."""
        spans = self.load().tokenizer(
            texts,
            add_special_tokens=False,
            truncation=True,
            max_length=self.side_tokens,
            return_offsets_mapping=True,
        )["offset_mapping"]
        return [
            text[: span[-1][1]] if len(span) == self.side_tokens else text
            for text, span in zip(texts, spans, strict=True)
        ]
