"""Generation: prompts through an engine and a strategy into a run folder that survives a kill."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diversify.decoding import Strategy
from diversify.engines import Engine, Sampling
from diversify.evaluation.checks import (
    OneRecipe,
    check_run_row,
    check_settings,
    row_id,
)
from diversify.evaluation.prompt_sets import PromptSet
from diversify.evaluation.runs.drawing import draw_rows, row_key, run_settings
from diversify.evaluation.runs.files import (
    GENERATIONS,
    PARTIAL,
    SETTINGS,
    json_line,
    prompts_digest,
    write_atomically,
)
from diversify.evaluation.runs.parts import part_files
from diversify.evaluation.runs.stored import Row, StoredRows
from diversify.reading import read_json

__all__ = [
    "GENERATIONS",
    "PARTIAL",
    "SETTINGS",
    "Run",
    "generate",
    "json_line",
    "load_run",
    "prompts_digest",
    "read_rows",
    "row_key",
    "run_settings",
    "write_atomically",
]


@dataclass(frozen=True)
class Run:
    """One finished run folder: one model, one prompt set, one way of sampling.

    Args:
        path: the folder.
        settings: what decided the generations: `engine`, `sampling`, `strategy`, `prompts`, `samples`.
        rows: `generations.jsonl`, one dictionary a prompt; those of a file stay there and are read
            as they are asked for.
    """

    path: Path
    settings: dict[str, Any]
    rows: Sequence[Row]


def load_run(path: str | Path) -> Run:
    """Read a finished run folder, or a bare generations file of any origin.

    A bare `.jsonl` needs `prompt` and `generations` in each row; its settings are then unknown and
    recorded as such.

    Raises:
        ValueError: nothing is there, the run is unfinished, a line is malformed (its number is
            named), or a row has no generations.
    """
    path = Path(path)
    file = path if path.is_file() else path / GENERATIONS
    if not file.is_file():
        if part_files(path):
            raise ValueError(f"{path} is unfinished: run the same generate command again")
        raise ValueError(f"{path} holds no {GENERATIONS}")
    settings_file = file.parent / SETTINGS
    settings = {}
    if settings_file.is_file() and not path.is_file():
        settings = read_json(settings_file)
        check_settings(settings, str(settings_file))
    return Run(path=path, settings=settings, rows=read_rows(file))


def read_rows(file: Path) -> StoredRows:
    """Read the rows of a generations file once; one without an `id` gets that of its line.

    Raises:
        ValueError: A line is malformed (its number is named), there is none, an id occurs twice, or
            the rows are of several models or ways of sampling.
    """
    recipe = OneRecipe(str(file))

    def checked(row: Row, number: int) -> Row:
        where = f"{file}, line {number}"
        check_run_row(row, where)
        own = row_id(row.get("id"), where)
        recipe.check(row)
        return row | {"id": f"row-{number:04d}" if own is None else own}

    return StoredRows.of_file(file, checked)


def generate(
    engine: Engine,
    prompts: PromptSet,
    samples: int,
    *,
    strategy: Strategy | None = None,
    sampling: Sampling | None = None,
    output: str | Path,
    at_once: int = 1,
    progress: Callable[[str, int, int, float], None] | None = None,
) -> Run:
    """Draw `samples` answers to every prompt, keep them in the folder `output`, and read them.

    Rows are written one by one to `generations.jsonl.partial`, forced to disk, and the file is
    renamed when it is whole. Run again after an interruption, it continues behind the last whole
    row; run again when finished, it returns at once. A folder whose settings differ is refused,
    because rows of two settings must never mix.

    Args:
        engine: what answers (`TransformersEngine`, …).
        prompts: the questions.
        samples: answers a prompt.
        strategy: how the answers are asked for; plain sampling by default.
        sampling: temperature and its kin.
        output: the run folder, made if missing.
        at_once: how many prompts the strategy is handed together. More is faster where it draws
            its answers one after the other; a kill then loses up to as many rows.
        progress: called as `(folder name, rows done, rows in all, seconds spent in this call)`.

    Raises:
        ValueError: `samples` or `at_once` is below one, an id occurs twice, or the folder holds a
            run with other settings.
        OSError: the disk is full or unwritable; every whole row stays on disk.
    """
    draw_rows(
        engine,
        prompts,
        samples,
        strategy=strategy,
        sampling=sampling,
        output=output,
        at_once=at_once,
        progress=progress,
    )
    return load_run(output)
