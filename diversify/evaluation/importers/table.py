"""Tables of prompts and answers: JSON lines, a JSON list, CSV, Parquet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from diversify.evaluation.checks import row_id
from diversify.evaluation.importers.answers import (
    Answers,
    Source,
    as_prompt,
    is_message,
    message_text,
    without_row_numbers,
)
from diversify.reading import (
    parse_json,
    read_csv,
    read_jsonl,
    read_parquet,
    read_text,
)

__all__ = ["read_table"]

PROMPTS = ("prompt", "question", "query", "instruction", "input")
RESPONSES = (
    *("response", "responses", "completion", "completions", "generation", "generations"),
    *("answer", "output", "outputs"),
)


def read_table(
    path: Path,
    *,
    prompt: str | None = None,
    response: str | Sequence[str] | None = None,
    model: str | None = None,
) -> Source:
    """Read a table with an answer, or a list of answers, a row. The options are `import_run`'s.

    Raises:
        ValueError: The table is empty or malformed, a column is missing or ambiguous, an answer is
            no text, or the rows are of several models and none of them is asked for.
    """
    records = list(_records(path))
    if not records:
        raise ValueError(f"{path} holds no rows")
    columns = list(records[0][1])
    asking = prompt if prompt is not None else _only(PROMPTS, columns, "prompt", path)
    if response is None:
        response = _only(RESPONSES, columns, "response", path)
    answering = [response] if isinstance(response, str) else list(response)
    records, name = _of_model(records, model, path)
    answers = []
    for where, record in records:
        for column in (asking, *answering):
            if column not in record:
                raise ValueError(f"{where}: no column {column!r}; the columns are {sorted(record)}")
        texts = [text for column in answering for text in _texts(record[column], where, column)]
        rest = {key: record[key] for key in record if key not in {asking, *answering}}
        answers.append(
            Answers(
                where,
                as_prompt(record[asking], where),
                texts,
                row_id(record.get("id"), where),
                columns=rest,
            )
        )
    return Source(without_row_numbers(answers, path), model=name)


def _only(names: tuple[str, ...], columns: list[str], option: str, path: Path) -> str:
    found = [name for name in names if name in columns]
    if len(found) != 1:
        problem = f"{' and '.join(found)} all could be" if found else "none has a usual name for"
        raise ValueError(
            f"{path}: of the columns {columns} {problem} the {option}: "
            f"name it by the option {option}"
        )
    return found[0]


def _of_model(
    records: list[tuple[str, dict[str, Any]]], model: str | None, path: Path
) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    models = {str(record["model"]) for _, record in records if record.get("model")}
    if not models:
        return records, model or ""
    if model is None and len(models) > 1:
        raise ValueError(
            f"{path} holds the answers of {sorted(models)}: choose one by the option model"
        )
    chosen = models.pop() if model is None else model
    if nameless := next((where for where, record in records if not record.get("model")), None):
        raise ValueError(f"{nameless}: the row names no model, and other rows do")
    kept = [(where, record) for where, record in records if str(record["model"]) == chosen]
    if not kept:
        raise ValueError(f"{path} holds no answers of {chosen!r}, only of {sorted(models)}")
    return kept, chosen


def _texts(value: Any, where: str, column: str) -> list[str]:
    """Return the answers in one cell: a text, texts, a chat, or chats."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value:
        if all(is_message(turn) for turn in value):
            return [message_text(value[-1]["content"], where)]
        if all(isinstance(text, str) for text in value):
            return list(value)
        if all(isinstance(chat, list) for chat in value):
            return [text for chat in value for text in _texts(chat, where, column)]
    raise ValueError(
        f"{where}: column {column!r} must hold a text, a list of texts or a chat, got {value!r:.80}"
    )


def _records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    kind = path.suffix.lower()
    if kind == ".jsonl":
        for number, record in read_jsonl(read_text(path), str(path)):
            yield f"{path}, line {number}", record
    elif kind == ".json":
        yield from _json_list(path)
    elif kind == ".csv":
        yield from read_csv(path)
    elif kind == ".parquet":
        yield from read_parquet(path)
    else:
        raise ValueError(f"{path}: a table is .jsonl, .json, .csv or .parquet, not {kind!r}")


def _json_list(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    found = parse_json(read_text(path), str(path))
    if not isinstance(found, list):
        raise ValueError(f"{path}: expected a list of objects, got {type(found).__name__}")
    for number, record in enumerate(found, start=1):
        if not isinstance(record, dict):
            raise ValueError(f"{path}, row {number}: expected an object, got {record!r:.60}")
        yield f"{path}, row {number}", record
