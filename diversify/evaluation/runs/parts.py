"""Part files: what several processes write of one run folder, and how it becomes one file.

No process waits for another one and none asks another one anything: each appends to a file of its
own, and whoever sees that nothing is missing puts the files together. A process that dies takes
nothing with it but the rows that it was drawing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from diversify.evaluation.runs.files import FRESH, PARTIAL

__all__ = ["Line", "Lines", "Shard", "part_files", "part_line", "trim", "whole_lines"]

Item = TypeVar("Item")

_BLOCK = 1 << 16
_FILES = 100


@dataclass(frozen=True)
class Shard:
    """One of `count` shares of a list: every `count`-th item, from the `number`-th on.

    The shares of a list that does not divide differ by one item; with more shares than items some
    are empty.

    Args:
        number: Which share, from 1 to `count`.
        count: How many there are.

    Raises:
        ValueError: There is no such share.

    Example:
        >>> [list(Shard(number, 3).of("abcdefg")) for number in (1, 2, 3)]
        [['a', 'd', 'g'], ['b', 'e'], ['c', 'f']]
    """

    number: int = 1
    count: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ValueError(f"a shard is 1/N to N/N, got {self.number}/{self.count}")

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read what is written as `2/8`.

        Raises:
            ValueError: It is written otherwise, or there is no such share.

        >>> Shard.parse("2/8")
        Shard(number=2, count=8)
        """
        number, slash, count = text.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal()):
            raise ValueError(f"a shard is written I/N, such as 2/8, got {text!r}")
        return cls(int(number), int(count))

    def of(self, items: Sequence[Item]) -> Sequence[Item]:
        """Return this share of a list, in order."""
        return items[self.number - 1 :: self.count]

    def divided(self, number: int, count: int) -> Shard:
        """Return a share of this share.

        >>> Shard(2, 3).divided(2, 2).of("abcdefghijkl")
        'ek'
        """
        part = Shard(number, count)
        return Shard(self.number + self.count * (part.number - 1), self.count * part.count)

    def file(self, folder: Path) -> Path:
        """Return the part file of this share; the whole has a name of its own.

        >>> Shard(2, 8).file(Path("run")).name
        'generations.jsonl.partial-2of8'
        """
        name = PARTIAL if self.count == 1 else f"{PARTIAL}-{self.number}of{self.count}"
        return folder / name

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


class Line(NamedTuple):
    """Where a row lies: `size` bytes of a file from `start` on, line end included.

    `position` is that of its prompt in the prompt set, where the file says it.
    """

    file: Path
    start: int
    size: int
    position: int | None = None


def part_files(folder: Path) -> list[Path]:
    """Return the part files of a run folder, whoever wrote them, in the order of their names."""
    return sorted(file for file in folder.glob(f"{PARTIAL}*") if file.suffix != FRESH)


def part_line(position: int, line: str) -> str:
    """Return a line as it stands in the file of a share: behind its position and a tab."""
    return f"{position}\t{line}"


def whole_lines(file: Path) -> Iterator[tuple[Line, bytes]]:
    """Yield the lines of a file, of a run or of a share, one by one with their places.

    Blank lines are left out, and a last line without its end, which is torn or being written.
    """
    start = 0
    with file.open("rb") as stream:
        for content in stream:
            if content.endswith(b"\n") and content.strip():
                head, tab, _ = content[:24].partition(b"\t")  # no JSON begins with digits and a tab
                inset = len(head) + 1 if tab and head.isdigit() else 0
                position = int(head) if inset else None
                place = Line(file, start + inset, len(content) - inset, position)
                yield place, content[inset:]
            start += len(content)


def trim(file: Path) -> None:
    """Cut off a last line that a kill left torn; a file that is not there is left so."""
    if not file.is_file():
        return
    with file.open("r+b") as stream:
        end = stream.seek(0, os.SEEK_END)
        while end:
            start = max(end - _BLOCK, 0)
            stream.seek(start)
            found = stream.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        stream.truncate(end)


class Lines:
    r"""Rows read from where they lie, with not too many files open at once.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "rows"
        ...     _ = file.write_bytes(b"one\ntwo\n")
        ...     places = [place for place, _ in whole_lines(file)]
        ...     with Lines() as lines:
        ...         lines.read(places[1]), lines.read(places[0])
        (b'two\n', b'one\n')
    """

    def __init__(self) -> None:
        self._open: dict[Path, BinaryIO] = {}

    def __enter__(self) -> Lines:
        """Begin; the files are opened as they are needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the files."""
        while self._open:
            self._open.popitem()[1].close()

    def read(self, line: Line) -> bytes:
        """Return one row with its line end."""
        if line.file not in self._open:
            if len(self._open) == _FILES:
                self._open.pop(next(iter(self._open))).close()
            self._open[line.file] = line.file.open("rb")
        stream = self._open[line.file]
        stream.seek(line.start)
        return stream.read(line.size)
