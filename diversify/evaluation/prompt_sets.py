"""Prompt sets: the questions a model is asked, with their split and what is known of the answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from diversify.engines import Prompt, text_of
from diversify.evaluation.checks import check_ids, is_turn, row_id
from diversify.reading import lines_of, read_csv, read_jsonl, read_parquet, read_text

SPLITS = ("train", "test")

HUB_SETS = {
    "hivemind": ("liweijiang/infinite-chats-eval", "train", "query"),
    "noveltybench-curated": ("yimingzhang/novelty-bench", "curated", "prompt"),
    "noveltybench-wildchat": ("yimingzhang/novelty-bench", "wildchat", "prompt"),
}
"""Benchmarks that live on the Hub: name -> (dataset, split, prompt column)."""


@dataclass(frozen=True)
class PromptRow:
    """One question: its text, where it belongs and what else its row says (`answers`, …)."""

    id: str
    prompt: Prompt
    category: str = ""
    split: str = ""
    columns: dict[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The question as plain text (the last turn of a chat)."""
        return text_of(self.prompt)


@dataclass(frozen=True)
class PromptSet:
    """A named, versioned list of prompts.

    `version` goes into every report: scores on two versions are never compared.
    """

    name: str
    rows: tuple[PromptRow, ...]
    version: str = "0"
    licence: str = ""
    source: str = ""
    description: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[PromptRow]:
        return iter(self.rows)

    def select(self, split: str | None = None, limit: int | None = None) -> PromptSet:
        """Return the rows of one split, at most `limit`, with equal shares of the categories.

        Raises:
            ValueError: the split is not in the set, or the limit is below one.
        """
        rows = self.rows
        if split is not None:
            rows = tuple(row for row in rows if row.split == split)
            if not rows:
                present = sorted({row.split for row in self.rows} - {""})
                raise ValueError(
                    f"prompt set {self.name!r} has no split {split!r}; it has {present or 'no splits'}"
                )
        if limit is not None:
            if limit < 1:
                raise ValueError(f"limit must be at least 1, got {limit}")
            rows = _equal_shares(rows, limit)
        return replace(self, rows=rows)


def _equal_shares(rows: tuple[PromptRow, ...], limit: int) -> tuple[PromptRow, ...]:
    """Take the first row of every category, then the second, … and keep the set's order."""
    seen: Counter[str] = Counter()
    turns = []
    for index, row in enumerate(rows):
        turns.append((seen[row.category], index))
        seen[row.category] += 1
    return tuple(rows[index] for index in sorted(index for _, index in sorted(turns)[:limit]))


def shipped_sets() -> list[str]:
    """Return the names of the prompt sets inside the package."""
    folder = files("diversify.evaluation") / "prompts"
    return sorted(
        entry.name.removesuffix(".jsonl")
        for entry in folder.iterdir()
        if entry.name.endswith(".jsonl")
    )


def load_prompts(
    name: str | Path,
    *,
    split: str | None = None,
    column: str = "prompt",
    limit: int | None = None,
    config: str | None = None,
) -> PromptSet:
    """Load a prompt set by name or from a file.

    Args:
        name: a shipped set (`open-ended`, `enumerable`), a benchmark on the Hub (`hivemind`,
            `noveltybench-curated`, `noveltybench-wildchat`), a file: `.jsonl`, `.csv`,
            `.parquet`, or `.txt` with one prompt a line; or any data set of the Hub, `owner/name`.
        split: only the rows of this split (`train` or `test` in the shipped sets; of a data set of
            the Hub `train` if none is named).
        column: which column of a file or data set holds the prompt: text, or a list of chat
            messages.
        limit: at most so many rows, with equal shares of the categories.
        config: configuration of a data set of the Hub.

    Raises:
        ValueError: the name is unknown, the file is empty or malformed (the line is named), the
            column is missing, or a prompt is empty.

    >>> load_prompts("enumerable", split="test").name
    'enumerable'
    """
    path = Path(name)
    if str(name) in shipped_sets():
        resource = files("diversify.evaluation") / "prompts" / f"{name}.jsonl"
        loaded = _parse(resource.read_text("utf-8"), str(name), f"{name}.jsonl", "prompt")
    elif str(name) in HUB_SETS:
        loaded = _from_hub(str(name))
    elif path.is_file():
        loaded = _from_file(path, column)
    elif str(name).count("/") == 1 and not path.suffix and not path.is_absolute():
        return _from_dataset(str(name), config, split or "train", column).select(limit=limit)
    else:
        known = ", ".join([*shipped_sets(), *HUB_SETS])
        raise ValueError(f"no prompt set or file {str(name)!r}; the sets are: {known}")
    return loaded.select(split, limit)


def _from_file(path: Path, column: str) -> PromptSet:
    kind = path.suffix.lower()
    if kind == ".jsonl":
        return _parse(read_text(path), path.stem, str(path), column)
    if kind == ".txt":
        lines = enumerate(lines_of(read_text(path)), start=1)
        records = [(f"{path}, line {n}", {"prompt": line}) for n, line in lines if line.strip()]
        return _build(records, path.stem, str(path), "prompt")
    if kind == ".csv":
        return _build(list(read_csv(path)), path.stem, str(path), column)
    if kind == ".parquet":
        return _build(list(read_parquet(path)), path.stem, str(path), column)
    raise ValueError(
        f"{path}: a prompt file is .jsonl, .csv, .parquet or .txt, not {kind or 'without ending'}"
    )


def _from_hub(name: str) -> PromptSet:
    dataset, split, column = HUB_SETS[name]
    rows = _hub_rows(dataset, None, split, f"prompt set {name!r} comes from the Hub ({dataset})")
    loaded = _build(_numbered(dict(row) for row in rows), name, dataset, column)
    return replace(loaded, version=str(rows._fingerprint), source=dataset)


def _from_dataset(name: str, config: str | None, split: str, column: str) -> PromptSet:
    """Load one split of a data set of the Hub; its rows get the number of their row as id."""
    rows = _hub_rows(name, config, split, f"there is no file {name!r}, and as a data set")
    records = _numbered(
        {"id": f"{name}-{number}", "split": split, **row} for number, row in enumerate(rows)
    )
    return replace(_build(records, name, name, column), version=str(rows._fingerprint), source=name)


def _numbered(records: Iterable[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(f"row {number}", record) for number, record in enumerate(records, start=1)]


def _hub_rows(dataset: str, config: str | None, split: str, what: str) -> Any:
    from datasets import load_dataset

    try:
        return load_dataset(dataset, config, split=split)
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{what}: the Hub did not answer: {error}. Give the path of a local copy instead."
        ) from error


def _parse(text: str, name: str, origin: str, column: str) -> PromptSet:
    numbered = read_jsonl(text, origin)
    head: dict[str, Any] = {}
    # A first line with a name, but neither prompt nor id, is the set's own metadata.
    if numbered and "name" in (first := numbered[0][1]) and not {column, "id"} & first.keys():
        head = numbered.pop(0)[1]
    records = [(f"{origin}, line {number}", record) for number, record in numbered]
    loaded = _build(records, name, origin, column)
    return replace(
        loaded,
        name=str(head.get("name", name)),
        version=str(head.get("version", "0")),
        licence=str(head.get("licence", "")),
        source=str(head.get("source", origin)),
        description=str(head.get("description", "")),
    )


def _build(
    records: list[tuple[str, dict[str, Any]]], name: str, origin: str, column: str
) -> PromptSet:
    if not records:
        raise ValueError(f"{origin} holds no prompts")
    rows = []
    for index, (where, record) in enumerate(records):
        if column not in record:
            raise ValueError(f"{where}: no column {column!r}; the columns are {sorted(record)}")
        own = row_id(record.get("id"), where)
        rows.append(
            PromptRow(
                id=f"{name}-{index:04d}" if own is None else own,
                prompt=_checked_prompt(record[column], where),
                category=str(record.get("category") or ""),
                split=str(record.get("split") or ""),
                columns={
                    key: value
                    for key, value in record.items()
                    if key not in {"id", "category", "split", column}
                },
            )
        )
    check_ids((row.id for row in rows), origin)
    return PromptSet(name=name, rows=tuple(rows), source=origin)


def _checked_prompt(prompt: Any, where: str) -> Prompt:
    if isinstance(prompt, str) and prompt.strip():
        return prompt
    if isinstance(prompt, list) and prompt and all(is_turn(turn) for turn in prompt):
        return [dict(turn) for turn in prompt]
    raise ValueError(
        f"{where}: a prompt is text or a list of {{'role', 'content'}} messages and not empty, "
        f"got {prompt!r:.80}"
    )
