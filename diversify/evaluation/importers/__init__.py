"""Answers that another tool drew: lm-eval samples, Inspect logs, NoveltyBench rows, tables → run."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from diversify.evaluation.checks import check_settings
from diversify.evaluation.generate import (
    GENERATIONS,
    PARTIAL,
    SETTINGS,
    Run,
    json_line,
    load_run,
    prompts_digest,
    read_rows,
    write_atomically,
)
from diversify.evaluation.importers.answers import (
    Answers,
    Source,
    gather_rows,
    without_row_numbers,
)
from diversify.evaluation.importers.inspect_log import read_inspect
from diversify.evaluation.importers.lm_eval import read_lm_eval
from diversify.evaluation.importers.table import read_table
from diversify.reading import read_json, read_jsonl, read_text

__all__ = ["FORMATS", "import_run"]

logger = logging.getLogger(__name__)

FORMATS = ("auto", "lm-eval", "inspect", "noveltybench", "table")
"""What `import_run` reads; `auto` looks at the file's name and beginning."""


def import_run(
    path: str | Path,
    *,
    format: str = "auto",
    prompt: str | None = None,
    response: str | Sequence[str] | None = None,
    model: str | None = None,
    output: str | Path | None = None,
) -> Run:
    r"""Read answers that another tool drew, as a run that `evaluate` and `panel` take.

    Texts arrive as they are in the file, blank ones and hostile ones included. Rows that share an
    `id`, or where there is none the prompt, become the answers to one prompt, in the file's order.
    Ids of a table that number its answers, each one different under a prompt that comes again, are
    left out, with a warning.

    Args:
        path: `samples_<task>_<date>.jsonl` of lm-eval (what the `results_<date>.json` beside it
            says of the model is read too), a log of Inspect (`.eval` or `.json`), rows of
            NoveltyBench (`prompt`, `generations`), or a table: `.jsonl`, `.json` with a list,
            `.csv` or `.parquet`.
        format: One of `FORMATS`.
        prompt: Column with the prompt, by default the only one with a usual name. In an lm-eval
            file a column of the document; by default its `prompt`, else the whole context.
        response: Column of a table with the answer: a text, a list of texts, or a chat; or several
            columns with an answer each.
        model: Whose answers these are. In a table with a column `model` it picks that model's rows.
        output: Folder for the run, if it is to be kept; by default nothing is written.

    Returns:
        The run. Its settings say under `imported` where it comes from and how many answers there
        are, how many of them `blank`, and how many samples had `failed` and so gave none.

    Raises:
        ValueError: There is no such file, it is malformed (the line is named), a column is missing
            or ambiguous, it holds several models, or the folder holds another run.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = Path(folder) / "pets.csv"
        ...     _ = file.write_text("question,answer\nName a pet.,cat\nName a pet.,dog\n")
        ...     run = import_run(file, model="me/tuned")
        >>> run.rows[0]["generations"], run.settings["engine"]["model"]
        (['cat', 'dog'], 'me/tuned')
    """
    path = Path(path)
    if format not in FORMATS:
        raise ValueError(f"format must be one of {', '.join(FORMATS)}, got {format!r}")
    if (path / GENERATIONS).is_file():
        raise ValueError(f"{path} is a run folder already: evaluate takes it as it is")
    if path.is_dir():
        raise ValueError(f"{path} is a folder: import takes one file, the answers of one model")
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    found = _format_of(path, response) if format == "auto" else format
    if response is not None and found != "table":
        raise ValueError(f"response names a column of a table, and {path} is read as {found}")
    source = _read(path, found, prompt, response, model)
    rows = gather_rows(source.answers, source.model)
    settings = _settings(path, found, source, rows)
    check_settings(settings, str(path))
    counts = settings["imported"]
    if counts["blank"] or counts["failed"]:
        logger.warning(
            "%s: %d of %d answers are blank, %d samples failed and gave none",
            path,
            counts["blank"],
            counts["answers"],
            counts["failed"],
        )
    if output is None:
        return Run(path=path, settings=settings, rows=rows)
    _write(Path(output), settings, rows)
    return load_run(output)


def _read(path: Path, format: str, prompt: str | None, response: Any, model: str | None) -> Source:
    if format == "table":
        return read_table(path, prompt=prompt, response=response, model=model)
    if format == "lm-eval":
        source = read_lm_eval(path, prompt=prompt)
    elif prompt is not None:
        raise ValueError(f"prompt names a column, and {path} is read as {format}, which has none")
    else:
        source = read_inspect(path) if format == "inspect" else _read_noveltybench(path)
    return source if model is None else replace(source, model=model)


def _read_noveltybench(path: Path) -> Source:
    rows = read_rows(path)
    answers = [
        Answers(str(path), row["prompt"], row["generations"], row["id"], row.get("truncated"), row)
        for row in rows
    ]
    model = str(answers[0].columns.get("model") or "")
    return Source(without_row_numbers(answers, path), model=model)


def _format_of(path: Path, response: Any) -> str:
    kind = path.suffix.lower()
    if kind == ".eval":
        return "inspect"
    if kind in (".csv", ".parquet"):
        return "table"
    if kind == ".json":
        return "inspect" if read_text(path).lstrip().startswith("{") else "table"
    if kind != ".jsonl":
        raise ValueError(f"{path}: answers are in .jsonl, .json, .eval, .csv or .parquet files")
    with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as stream:
        head = next((line for line in stream if line.strip()), "")
    first = dict(read_jsonl(head, str(path))).get(1, {})
    if "resps" in first:
        return "lm-eval"
    rows = response is None and isinstance(first.get("generations"), list) and "prompt" in first
    return "noveltybench" if rows else "table"


def _settings(
    path: Path, format: str, source: Source, rows: list[dict[str, Any]]
) -> dict[str, Any]:
    counts = sorted({len(row["generations"]) for row in rows})
    texts = [text for row in rows for text in row["generations"]]
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return {
        "engine": source.engine | {"model": source.model},
        "sampling": source.sampling,
        "samples": counts[0] if len(counts) == 1 else counts,
        "prompts": source.prompts
        | {
            "n": len(rows),
            "sha256": prompts_digest((row["id"], row["prompt"]) for row in rows),
        },
        "imported": {
            "format": format,
            "file": path.name,
            "sha256": digest,
            "answers": len(texts),
            "blank": sum(not text.strip() for text in texts),
            "failed": source.failed,
        },
    }


def _write(folder: Path, settings: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Write a run folder; importing the same file again into it changes nothing."""
    file = folder / SETTINGS
    known = read_json(file) if file.is_file() else None
    taken = known is not None or any((folder / name).exists() for name in (GENERATIONS, PARTIAL))
    if taken and known != json.loads(json.dumps(settings)):
        raise ValueError(f"{folder} holds another run; choose another folder or delete this one")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(settings, indent=2) + "\n")
    write_atomically(folder / GENERATIONS, "".join(map(json_line, rows)))
