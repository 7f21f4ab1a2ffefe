"""The files of a run folder: their names, their lines, and how one takes the place of another."""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

__all__ = [
    "FRESH",
    "GENERATIONS",
    "PARTIAL",
    "SETTINGS",
    "fresh_file",
    "json_line",
    "prompts_digest",
    "write_atomically",
]

GENERATIONS = "generations.jsonl"
PARTIAL = "generations.jsonl.partial"
SETTINGS = "run.json"
FRESH = ".new"


def json_line(record: dict[str, Any]) -> str:
    """Return a record as one line of JSON, readable unless a lone surrogate forbids it."""
    line = json.dumps(record, ensure_ascii=False)
    try:
        line.encode()
    except UnicodeEncodeError:
        line = json.dumps(record)
    return line + "\n"


def prompts_digest(prompts: Iterable[tuple[str, Any]]) -> str:
    """Return a hash of (id, prompt) pairs in any order: the same questions, the same digest."""
    lines = sorted(f"{name}\t{json.dumps(prompt, sort_keys=True)}" for name, prompt in prompts)
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:16]


@contextlib.contextmanager
def fresh_file(target: Path, *, keep_equal: bool = False) -> Iterator[BinaryIO]:
    """Give a file to write to that takes the place of `target` in one step, when it is whole.

    A reader or a kill never meets half of it, and two who write it at once do not disturb each
    other: the last one counts.

    Args:
        target: The file to be.
        keep_equal: Whether a `target` of the same content stays as it is, so that whoever reads from
            it sees no change.
    """
    # Not the process's id: on two machines, or in two containers, it may be the same.
    fresh = target.with_name(f"{target.name}.{secrets.token_hex(8)}{FRESH}")
    try:
        with fresh.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        if not (keep_equal and target.is_file() and filecmp.cmp(fresh, target, shallow=False)):
            fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file in one step, see `fresh_file`."""
    with fresh_file(path) as stream:
        stream.write(text.encode())
