"""Files that somebody hands over: text, JSON and tables, each mistake named with file and line."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

__all__ = [
    "lines_of",
    "parse_json",
    "read_csv",
    "read_json",
    "read_jsonl",
    "read_parquet",
    "read_text",
    "stream_jsonl",
]

BYTE_ORDER_MARK = "\ufeff".encode()

DEEPEST = 64
"""Levels of brackets in JSON; what is deeper comes from no tool, and Python cannot write it."""


def read_text(path: Path) -> str:
    """Return a file as text, line ends untouched, a byte order mark left out.

    Raises:
        ValueError: It is not UTF-8; the line is named.
    """
    content = path.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: not UTF-8 text ({error.reason})") from error


def lines_of(text: str) -> list[str]:
    r"""Return the lines of a text as an editor shows them.

    `str.splitlines` also cuts at form feeds, U+2028 and others, which are part of a text.

    >>> lines_of("a\r\nb\u2028c\n")
    ['a', 'b\u2028c', '']
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def parse_json(text: str, where: str) -> Any:
    """Return what a text of JSON says.

    Args:
        text: The JSON.
        where: Place that the message of an error begins with.

    Raises:
        ValueError: It is not valid JSON, nested deeper than `DEEPEST`, or holds a number that is
            too long.

    Example:
        >>> parse_json('{"a": [1', "here")
        Traceback (most recent call last):
        ...
        ValueError: here: not valid JSON (Expecting ',' delimiter)
    """
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        line = f", line {error.lineno}" if "\n" in text.strip() else ""
        raise ValueError(f"{where}{line}: not valid JSON ({error.msg})") from error
    except RecursionError as error:
        raise ValueError(f"{where}: nested deeper than {DEEPEST} levels") from error
    except ValueError as error:  # an integer of thousands of digits
        raise ValueError(f"{where}: {error}") from error
    if text.count("[") + text.count("{") > DEEPEST and _depth(found) > DEEPEST:
        raise ValueError(f"{where}: nested deeper than {DEEPEST} levels")
    return found


def _depth(value: Any) -> int:
    """Return how many lists and objects lie in each other, as far as it matters."""
    depth, level = 0, [value]
    while depth <= DEEPEST and (level := [each for each in level if isinstance(each, dict | list)]):
        depth += 1
        level = [
            inner for each in level for inner in (each.values() if isinstance(each, dict) else each)
        ]
    return depth


def read_json(path: Path) -> dict[str, Any]:
    """Return a file with one JSON object.

    Raises:
        ValueError: It is not UTF-8, not valid JSON, or no object.
    """
    found = parse_json(read_text(path), str(path))
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a JSON object, got {found!r:.60}")
    return found


def read_jsonl(text: str, origin: str) -> list[tuple[int, dict[str, Any]]]:
    """Parse JSON lines into (line number, object) pairs; blank lines are passed over.

    Raises:
        ValueError: a line is not a JSON object; the message names the file and the line.
    """
    records = []
    # Not splitlines(): it also cuts at U+2028 and friends, which JSON strings may hold raw.
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            records.append((number, _json_object(line, f"{origin}, line {number}")))
    return records


class JsonLine(NamedTuple):
    """A line of a file: its number, where it lies (`size` bytes, line end included), its object."""

    number: int
    start: int
    size: int
    record: dict[str, Any]


def stream_jsonl(path: Path) -> Iterator[JsonLine]:
    """Go through a file of JSON lines with one line in memory; blank lines are passed over.

    Raises:
        ValueError: a line is not UTF-8 or not a JSON object; the message names it.
    """
    end = 0
    with path.open("rb") as stream:
        for number, content in enumerate(stream, start=1):
            start, end = end, end + len(content)
            if number == 1 and content.startswith(BYTE_ORDER_MARK):
                start += len(BYTE_ORDER_MARK)
                content = content[len(BYTE_ORDER_MARK) :]
            where = f"{path}, line {number}"
            try:
                line = content.decode()
            except UnicodeDecodeError as error:
                raise ValueError(f"{where}: not UTF-8 text ({error.reason})") from error
            if line.strip():
                yield JsonLine(number, start, len(content), _json_object(line, where))


def _json_object(line: str, where: str) -> dict[str, Any]:
    found = parse_json(line, where)
    if not isinstance(found, dict):
        raise ValueError(f"{where}: expected a JSON object, got {found!r:.60}")
    return found


def read_csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, row) of a CSV file whose first line names the columns.

    Raises:
        ValueError: A quote is left open, a row has more or fewer fields than the first line, or
            two columns have one name.
    """
    text = read_text(path)
    # The reader's limit is one for the whole process; a long answer must not run into it.
    before = csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        _distinct(list(reader.fieldnames or ()), f"{path}, line 1")
        for record in reader:
            where = f"{path}, line {reader.line_num}"
            if None in record or None in record.values():
                raise ValueError(f"{where}: the row has not as many fields as the first line")
            yield where, record
    except csv.Error as error:
        begun = reader.line_num + 1  # where the row begins; an open quote runs on to the end
        raise ValueError(f"{path}, line {begun}: {error}") from error
    finally:
        csv.field_size_limit(before)


def read_parquet(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (place, row) of a Parquet file; what JSON has no type for, a date say, becomes text.

    Raises:
        ValueError: It is no whole Parquet file, or two columns have one name.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        table = parquet.read_table(path)
        _distinct(table.column_names, str(path))
        records = table.to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no Parquet file, or a damaged one: {error}") from error
    for number, record in enumerate(records, start=1):
        yield f"{path}, row {number}", json.loads(json.dumps(record, default=str))


def _distinct(columns: list[str], where: str) -> None:
    twice = [name for name, times in Counter(columns).items() if times > 1]
    if twice:
        raise ValueError(f"{where}: the columns {twice} occur twice")
