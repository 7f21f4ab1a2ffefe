"""Blobs on disk by key, so that nothing that costs time or money is computed twice."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from diversify.sources import cache_dir

__all__ = ["DiskCache", "cache_key", "open_cache"]

Item = TypeVar("Item")

_AT_ONCE = 512  # keys in one question to the database; SQLite allows at least 999
PER_COMMIT = 1024  # items that a killed process may have computed in vain


def cache_key(*parts: str) -> bytes:
    r"""Hash what decides a value: 32 bytes.

    Args:
        *parts: For instance the name of a model, its revision, its options and a text. They are
            joined by NUL; write a part that may itself hold NUL, beside another one, as JSON.

    Example:
        >>> len(cache_key("model", "1", "text")), cache_key("a", "b") == cache_key("a", "c")
        (32, False)
    """
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).digest()


class DiskCache:
    """A file of blobs by key, which any number of processes may use at once.

    A process may be killed at any moment: a write is there as a whole or not at all. The file is an
    SQLite database in WAL mode, which needs a local disk (not NFS). It is opened at each use (about
    3 ms), so that the object is safe with forks and threads and travels by pickle.

    Args:
        path: The file; it and its folders are made at the first use.

    Raises:
        OSError: When used, if the file is damaged or no cache, or the disk is full.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = DiskCache(Path(folder) / "lengths.sqlite")
        ...     cache.write({b"word": b"4"})
        ...     cache.read([b"word", b"letter"])
        {b'word': b'4'}
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the blobs of those keys that the file has."""
        found: dict[bytes, bytes] = {}
        with self._open() as database:
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                query = f"SELECT key, row FROM rows WHERE key IN ({marks})"
                found.update(database.execute(query, some))
        return found

    def write(self, blobs: Mapping[bytes, bytes]) -> None:
        """Write blobs in one transaction; a key that another process has just written stays."""
        with self._open() as database, database:
            database.executemany("INSERT OR IGNORE INTO rows VALUES (?, ?)", blobs.items())

    def fill(
        self, keys: Mapping[Item, bytes], compute: Callable[[list[Item]], Sequence[bytes]]
    ) -> dict[Item, bytes]:
        """Return the blob of every item, computing and keeping those that the file does not have.

        Args:
            keys: The key of each item.
            compute: From some items to their blobs, in order. What it has computed is written
                before it is called again.
        """
        found = self.read(list(keys.values()))
        blobs = {item: found[key] for item, key in keys.items() if key in found}
        unseen = [item for item in keys if item not in blobs]
        for start in range(0, len(unseen), PER_COMMIT):
            some = unseen[start : start + PER_COMMIT]
            fresh = dict(zip(some, compute(some), strict=True))
            self.write({keys[item]: blob for item, blob in fresh.items()})
            blobs |= fresh
        return blobs

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(self._connected()) as database:
                yield database
        except sqlite3.Error as error:
            raise OSError(
                f"the cache {self.path} cannot be used: {error}. What it keeps can be computed "
                "again: if it is damaged, delete it"
            ) from error

    def _connected(self) -> sqlite3.Connection:
        from filelock import FileLock

        self.path.parent.mkdir(parents=True, exist_ok=True)
        # Two processes must not both turn a new file into a WAL database.
        with FileLock(f"{self.path}.lock"):
            database = sqlite3.connect(self.path, timeout=60.0)
            try:
                database.execute("PRAGMA journal_mode=WAL")
                database.execute("PRAGMA synchronous=NORMAL")
                database.execute(
                    "CREATE TABLE IF NOT EXISTS rows (key BLOB PRIMARY KEY, row BLOB NOT NULL)"
                )
            except sqlite3.Error:
                database.close()
                raise
        return database


def open_cache(cache: bool | str | os.PathLike[str], file: str) -> DiskCache | None:
    """Turn an option into a cache.

    Args:
        cache: True for the usual place, a path for another one, False for none.
        file: Name of the file in `cache_dir()`, the usual place.

    Example:
        >>> open_cache(False, "answers.sqlite") is None
        True
        >>> open_cache("here.sqlite", "answers.sqlite").path.name
        'here.sqlite'
    """
    if cache is True:
        return DiskCache(cache_dir() / file)
    return None if cache is False else DiskCache(cache)
