"""Rows that recipes hand to each other as files: pairs and examples, read and written whole."""

from __future__ import annotations

from pathlib import Path

from datasets import Dataset, load_dataset

__all__ = ["FORMATS", "is_file", "load_rows", "write_rows"]

READERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}
"""How a file of rows is read, by its ending."""

FORMATS = (".jsonl", ".parquet")
"""Endings of the files that rows are written to."""


def load_rows(
    name: str | None, config: str | None, split: str, *, what: str, maker: str
) -> Dataset:
    """Load a file of rows whole, or one split of a data set of the Hub.

    Args:
        name: a `.jsonl`, `.json` or `.parquet` file, or a data set of the Hub.
        config: configuration of a data set of the Hub.
        split: split of a data set of the Hub.
        what: how the rows are called in an error.
        maker: the recipe that writes such files, for an error.

    Raises:
        ValueError: There is no name, or no such file.
    """
    if not name:
        raise ValueError(f"no {what}: dataset_name (to evaluate on a file, test_file) is not set")
    if not is_file(name):
        return load_dataset(name, config, split=split)
    if not Path(name).is_file():
        raise ValueError(f"there is no file {name!r}; {maker} makes one")
    return load_dataset(READERS[Path(name).suffix], data_files=name, split="train")


def write_rows(rows: Dataset, file: Path) -> None:
    """Write a file of rows in one step: a reader or a kill never meets half of it.

    Raises:
        ValueError: Its ending is none of `FORMATS`.
    """
    if file.suffix not in FORMATS:
        raise ValueError(f"a file of rows must end in one of {FORMATS}, got {str(file)!r}")
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(file.name + ".partial")
    write = rows.to_parquet if file.suffix == ".parquet" else rows.to_json
    write(str(partial))
    partial.replace(file)


def is_file(name: str) -> bool:
    """Whether a data set is named as a file of rows.

    Example:
        >>> is_file("runs/pairs.jsonl"), is_file("trl-lib/ultrafeedback_binarized")
        (True, False)
    """
    return Path(name).suffix in READERS
