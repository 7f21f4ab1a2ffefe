"""Rows that stay on disk: a run or a report of any number of prompts takes next to no memory.

What is held of a row is where it lies, and on request its head: all but the texts and matrices.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TypeAlias, cast, overload

from diversify.evaluation.checks import check_ids
from diversify.evaluation.runs.files import json_line
from diversify.reading import stream_jsonl

__all__ = ["Row", "RowSpool", "StoredRows", "head_of"]

Row: TypeAlias = dict[str, Any]
Place: TypeAlias = tuple[int, int]

HEAVY = ("generations", "similarity", "quality_values", "details", "truncated")
"""Columns that grow with the number of answers."""

IN_MEMORY = 1 << 23
"""Bytes up to which a report that was not saved yet needs no file."""


def head_of(row: Mapping[str, Any]) -> Row:
    """Return a row without the columns that grow with the number of answers.

    >>> head_of({"id": "a", "generations": ["x", "y"], "measures": {"vendi,words": 2.0}})
    {'id': 'a', 'measures': {'vendi,words': 2.0}}
    """
    # A parser makes the names of the measures anew in each row; together they outweigh the numbers.
    return {
        sys.intern(name): {sys.intern(key): each for key, each in value.items()}
        if isinstance(value, dict)
        else value
        for name, value in row.items()
        if name not in HEAVY
    }


class _Source(Protocol):
    """Bytes that can be read from any place."""

    def reading(self) -> contextlib.AbstractContextManager[Callable[[int, int], bytes]]:
        """Give a function from start and size to bytes."""


class StoredRows(Sequence[Row]):
    """The rows of a file of JSON lines; each is read anew when it is asked for.

    Changing a row that was read changes nothing here. A list of the rows is `list(rows)`.
    """

    def __init__(
        self,
        source: _Source,
        places: Sequence[Place],
        ids: Sequence[str],
        heads: Sequence[Row] | None = None,
    ) -> None:
        self._source = source
        self._places = places
        self.ids = ids
        if heads is not None:
            self.__dict__["heads"] = heads

    @classmethod
    def of_file(
        cls, file: Path, checked: Callable[[Row, int], Row], *, with_heads: bool = False
    ) -> StoredRows:
        """Read a file once, row by row, and remember where each lies.

        Args:
            file: JSON lines; blank ones are passed over.
            checked: A row and the number of its line -> the row with an `id`; it may refuse it.
            with_heads: Hold the head of each row, for whoever needs its numbers again and again.

        Raises:
            ValueError: A line is no JSON object (it is named), an id occurs twice, there is no row,
                or what `checked` says.
        """
        source = _File(file)
        places, ids, heads = [], [], []
        for line in stream_jsonl(file):
            row = checked(line.record, line.number)
            places.append((line.start, line.size))
            ids.append(row["id"])
            if with_heads:
                heads.append(head_of(row))
        check_ids(ids, str(file))
        if not ids:
            raise ValueError(f"{file} holds no rows")
        return cls(source, places, ids, heads if with_heads else None)

    @cached_property
    def heads(self) -> Sequence[Row]:
        """The rows without their texts and matrices."""
        return [head_of(row) for row in self]

    def taken(self, numbers: Sequence[int]) -> StoredRows:
        """Return some of the rows, in this order."""
        heads = self.__dict__.get("heads")
        return StoredRows(
            self._source,
            [self._places[number] for number in numbers],
            [self.ids[number] for number in numbers],
            None if heads is None else [heads[number] for number in numbers],
        )

    def lines(self) -> Iterator[bytes]:
        """Yield the rows as they lie there, each with one line end."""
        with self._source.reading() as read:
            for start, size in self._places:
                yield read(start, size).rstrip(b"\r\n") + b"\n"

    def __len__(self) -> int:
        """Return how many rows there are."""
        return len(self._places)

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows, one in memory at a time."""
        with self._source.reading() as read:
            for place, name in zip(self._places, self.ids, strict=True):
                yield _row(read(*place), name)

    @overload
    def __getitem__(self, number: int) -> Row: ...

    @overload
    def __getitem__(self, number: slice) -> StoredRows: ...

    def __getitem__(self, number: int | slice) -> Row | StoredRows:
        """Read one row; a slice reads none yet."""
        if isinstance(number, slice):
            return self.taken(range(len(self))[number])
        with self._source.reading() as read:
            return _row(read(*self._places[number]), self.ids[number])

    def __eq__(self, other: object) -> bool:
        """Say whether the rows are equal to those of another sequence."""
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return len(self) == len(other) and all(
            own == each for own, each in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"StoredRows({len(self)} rows)"

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to other processes, and into copies, as a list."""
        return list, (list(self),)


class RowSpool:
    """Rows on their way: written one after the other, then read back from where they lie.

    Up to some megabytes are kept in memory, more in a file without a name, which is gone with the
    last reader or with the process, however that ends.

    Example:
        >>> spool = RowSpool()
        >>> spool.append({"id": "a", "generations": ["x"], "measures": {}})
        >>> rows = spool.rows()
        >>> rows[0]["generations"], rows.heads
        (['x'], [{'id': 'a', 'measures': {}}])
    """

    def __init__(self) -> None:
        self._file: BinaryIO = io.BytesIO()
        self._places: list[Place] = []
        self._heads: list[Row] = []
        self._end = 0

    def append(self, row: Row) -> None:
        """Write a row, which has an `id`."""
        line = json_line(row).encode()
        if isinstance(self._file, io.BytesIO) and self._end + len(line) > IN_MEMORY:
            held = self._file.getvalue()
            self._file = cast("BinaryIO", tempfile.TemporaryFile())
            self._file.write(held)
        self._file.write(line)
        self._places.append((self._end, len(line)))
        self._heads.append(head_of(row))
        self._end += len(line)

    def __len__(self) -> int:
        """Return how many rows were written."""
        return len(self._places)

    def rows(self) -> StoredRows:
        """Return what was written; nothing can be added after that."""
        self._file.flush()
        ids = [head["id"] for head in self._heads]
        return StoredRows(_Spooled(self._file), self._places, ids, self._heads)


class _File:
    """A file that must stay as it was when it was indexed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.stamp = _stamp(path.stat())

    @contextlib.contextmanager
    def reading(self) -> Iterator[Callable[[int, int], bytes]]:
        try:
            stream = self.path.open("rb")
        except OSError as error:
            raise self._gone() from error
        with stream:
            if _stamp(os.fstat(stream.fileno())) != self.stamp:
                raise self._gone()

            def read(start: int, size: int) -> bytes:
                stream.seek(start)
                return stream.read(size)

            yield read

    def _gone(self) -> ValueError:
        return ValueError(f"{self.path} has changed since it was read: load it again")


class _Spooled:
    """What was written, in memory or in a temporary file; readers share no position in it."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.lock = threading.Lock()

    @contextlib.contextmanager
    def reading(self) -> Iterator[Callable[[int, int], bytes]]:
        yield self._in_memory if isinstance(self.file, io.BytesIO) else self._on_disk

    def _in_memory(self, start: int, size: int) -> bytes:
        assert isinstance(self.file, io.BytesIO)
        return bytes(self.file.getbuffer()[start : start + size])

    def _on_disk(self, start: int, size: int) -> bytes:
        # A process that was forked off has the same position, so it must not matter.
        if hasattr(os, "pread"):
            return os.pread(self.file.fileno(), size, start)
        with self.lock:
            self.file.seek(start)
            return self.file.read(size)


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _row(line: bytes, name: str) -> Row:
    found: Row = json.loads(line)
    # A row of another tool may have had none, or a number.
    return found if found.get("id") == name else found | {"id": name}
