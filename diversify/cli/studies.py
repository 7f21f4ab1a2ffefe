"""What the scripts of studies share: read a config, start so that waiting costs little, end clearly."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from diversify.evaluation.generate import write_atomically

__all__ = ["add_result", "exit_code", "idle_lightly", "read_config"]

Study = TypeVar("Study")


def read_config(
    path: Path,
    kind: type[Study],
    *,
    places: Mapping[str, str] | None = None,
    given: Mapping[str, object] | None = None,
) -> Study:
    """Read a flat YAML file into a dataclass whose fields are the keys that it may have.

    Args:
        path: The file.
        kind: The dataclass.
        places: What stands for `{name}` in the file's strings.
        given: Values that go before those of the file.

    Returns:
        The dataclass.

    Raises:
        ValueError: There is no such file, it is no mapping, it has a key that is none, or lacks one
            that has no default.
    """
    if not path.is_file():
        raise ValueError(f"no config file {path}")
    record = yaml.safe_load(path.read_text("utf-8"))
    if not isinstance(record, dict):
        raise ValueError(f"{path}: a config is a mapping of keys, got {type(record).__name__}")
    known = [entry for entry in fields(kind)]  # type: ignore[arg-type]
    names = {entry.name for entry in known}
    if unknown := sorted(set(map(str, record)) - names):
        raise ValueError(f"{path}: unknown keys {unknown}; the keys are {sorted(names)}")
    text = json.dumps(record)
    for name, value in (places or {}).items():
        text = text.replace(f"{{{name}}}", value)
    values = json.loads(text) | dict(given or {})
    needed = {e.name for e in known if e.default is MISSING and e.default_factory is MISSING}
    if missing := sorted(needed - set(values)):
        raise ValueError(f"{path}: it lacks {missing}")
    return kind(**values)


def idle_lightly() -> None:
    """Start this program anew with waiting threads that sleep, if it is not so already.

    Torch's waiting threads spin; beside any other process that costs half the speed or more. The
    library reads the setting once, when it is loaded: hence a fresh start.
    """
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ["GOMP_SPINCOUNT"] = "10000"
        os.execv(sys.executable, [sys.executable, *sys.argv])


def exit_code(name: str, work: Callable[[], object]) -> int:
    """Do the work and say in one line what went wrong, if anything did.

    Args:
        name: What the line begins with.
        work: What is to be done; running it again must continue where it was.

    Returns:
        0; 1 after an error of the input or the machine; 130 if it was interrupted.
    """
    try:
        work()
    except KeyboardInterrupt:
        print("\nstopped; the same command continues where it was", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        print(f"\n{name}: {error}", file=sys.stderr)
        return 1
    return 0


def add_result(path: Path, name: str, row: Mapping[str, Any]) -> None:
    """Put one method's result into a file of results, in place of what it had."""
    found = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(found | {name: dict(row)}, indent=1) + "\n")
