"""What is refused before any work: numbers out of range, results that would overwrite something."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["at_least", "check_file_to_write", "result_folders"]


def at_least(smallest: int) -> Callable[[str], int]:
    """Return what reads an option's whole number, so that the parser names the option.

    >>> at_least(1)("5")
    5
    """

    def read(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"must be a whole number, got {text!r}") from None
        if value < smallest:
            raise argparse.ArgumentTypeError(f"must be at least {smallest}, got {value}")
        return value

    return read


def result_folders(
    runs: Sequence[str], output: str | None, *, written: Sequence[str]
) -> dict[str, Path]:
    """Return where the results of every run go: its own folder, or the one that `--output` names.

    Args:
        runs: Run folders or bare generations files.
        output: The folder for all of them.
        written: Files that the results are, below that folder.

    Returns:
        run -> folder, in the order of `runs`.

    Raises:
        ValueError: Results of two runs would land in one folder, or would replace what they are
            made of.
    """
    found: dict[str, Path] = {}
    owners: dict[Path, str] = {}
    for run in runs:
        path = Path(run)
        folder = Path(output) if output else path.parent if path.is_file() else path
        if other := owners.get(folder.resolve()):
            raise ValueError(
                f"the results of {other} and {run} would both be written into {folder}, one over "
                "the other: take one at a time with --output, or give each a run folder of its own"
            )
        owners[folder.resolve()] = run
        for name in written:
            if path.is_file() and (folder / name).resolve() == path.resolve():
                raise ValueError(
                    f"{run} would be overwritten by its own results ({name} in {folder}): name "
                    "another folder with --output"
                )
        found[run] = folder
    return found


def check_file_to_write(option: str, path: str | None) -> None:
    """Refuse a folder where an option names the file to write.

    Raises:
        ValueError: It is one.
    """
    if path and Path(path).is_dir():
        raise ValueError(f"{option} names the file to write, and {path} is a folder")
