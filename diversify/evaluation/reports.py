"""Reports: the scores of one run, in memory and on disk."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diversify.evaluation.checks import check_sample, check_summary
from diversify.evaluation.recipe import RECIPE_FIELDS
from diversify.evaluation.runs.files import fresh_file, json_line, write_atomically
from diversify.evaluation.runs.stored import Row, StoredRows
from diversify.reading import read_json

__all__ = ["REPORT", "SAMPLES", "Report", "load_report"]

REPORT = "report.json"
SAMPLES = "samples.jsonl"
SAMPLES_DIGEST = "samples_sha256"


@dataclass(frozen=True)
class Report:
    """The scores of one run with everything needed to read and to repeat them.

    Args:
        summary: the content of `report.json`, shaped like lm-eval's results.
        samples: one dictionary a prompt: id, prompt, generations, and the value of every measure,
            quality and monitor (None where it could not be scored). Those of a file stay there and
            are read as they are asked for.
    """

    summary: dict[str, Any]
    samples: Sequence[Row] = field(repr=False)

    @property
    def heads(self) -> Sequence[Row]:
        """The rows as far as they are numbers, without answers and similarities: quick to go through."""
        return self.samples.heads if isinstance(self.samples, StoredRows) else self.samples

    @property
    def ids(self) -> list[str]:
        """The ids of the prompts, in the order of `samples`."""
        return [head["id"] for head in self.heads]

    @property
    def recipe(self) -> dict[str, Any]:
        """What must be equal in two reports that are compared."""
        return {name: self.summary["config"]["recipe"].get(name) for name in RECIPE_FIELDS}

    @property
    def label(self) -> str:
        """A short name for tables: model, adapter, strategy and temperature."""
        return str(self.summary["config"]["label"])

    def names(self, section: str) -> list[str]:
        """Return the names in `measures`, `qualities` or `monitors`, of all prompts together."""
        return list(dict.fromkeys(name for head in self.heads for name in head[section]))

    def ordered(self, ids: Sequence[str]) -> Report:
        """Return the report with its prompts in this order.

        Raises:
            ValueError: these are not the ids of the report.
        """
        found = {name: number for number, name in enumerate(self.ids)}
        if lonely := sorted(set(ids) ^ set(found)):
            raise ValueError(f"the reports hold different prompts, for instance {lonely[:3]}")
        order = [found[name] for name in ids]
        if isinstance(self.samples, StoredRows):
            return Report(self.summary, self.samples.taken(order))
        return Report(self.summary, [self.samples[number] for number in order])

    def column(self, section: str, name: str) -> NDArray[np.float64]:
        """Return one value a prompt, NaN where there is none, in the order of `samples`."""
        values = [head[section].get(name) for head in self.heads]
        return np.array([math.nan if value is None else value for value in values])

    def save(self, folder: str | Path) -> Path:
        """Write `report.json` and `samples.jsonl` into a folder and return the report's path.

        It may be the folder that the report was read from.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        digest = hashlib.sha256()
        with fresh_file(folder / SAMPLES, keep_equal=True) as stream:
            for line in self._lines():
                digest.update(line)
                stream.write(line)
        # Two files cannot be replaced in one step: by this a reader sees that they belong together.
        summary = self.summary | {SAMPLES_DIGEST: digest.hexdigest()}
        write_atomically(folder / REPORT, json.dumps(summary, indent=2) + "\n")
        return folder / REPORT

    def _lines(self) -> Iterator[bytes]:
        if isinstance(self.samples, StoredRows):
            return self.samples.lines()
        return (json_line(sample).encode() for sample in self.samples)


def load_report(path: str | Path) -> Report:
    """Read a saved report from its folder or its `report.json`.

    Raises:
        ValueError: there is no report, it is not one of ours, it is malformed, or its two files
            are of different evaluations.
    """
    path = Path(path)
    file = path if path.suffix == ".json" else path / REPORT
    if not file.is_file():
        raise ValueError(f"{path} holds no {REPORT}: run `diversify evaluate {path}` first")
    summary = read_json(file)
    check_summary(summary, str(file))
    beside = file.parent / SAMPLES
    if not beside.is_file():
        raise ValueError(f"{file} has no {SAMPLES} beside it")
    if (known := summary.pop(SAMPLES_DIGEST, None)) and known != _digest(beside):
        raise ValueError(
            f"{file} and {SAMPLES} beside it are not of one evaluation: evaluate the run again"
        )
    (higher,) = summary["higher_is_better"].values()

    def checked(row: Row, number: int) -> Row:
        check_sample(row, higher, f"{beside}, line {number}")
        return row

    return Report(summary, StoredRows.of_file(beside, checked, with_heads=True))


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
