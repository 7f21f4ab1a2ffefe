"""Generation: prompts through an engine and a strategy into a run folder that survives a kill."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diversify.decoding import Direct, Strategy
from diversify.engines import Engine, Generations, Sampling
from diversify.evaluation.prompt_sets import PromptRow, PromptSet, read_jsonl

GENERATIONS = "generations.jsonl"
PARTIAL = "generations.jsonl.partial"
SETTINGS = "run.json"


@dataclass(frozen=True)
class Run:
    """One finished run folder: one model, one prompt set, one way of sampling.

    Args:
        path: the folder.
        settings: what decided the generations: `engine`, `sampling`, `strategy`, `prompts`, `samples`.
        rows: `generations.jsonl`, one dictionary a prompt.
    """

    path: Path
    settings: dict[str, Any]
    rows: list[dict[str, Any]]


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
        if (path / PARTIAL).is_file():
            raise ValueError(f"{path} is unfinished: run the same generate command again")
        raise ValueError(f"{path} holds no {GENERATIONS}")
    settings_file = file.parent / SETTINGS
    settings = (
        json.loads(settings_file.read_text("utf-8"))
        if settings_file.is_file() and not path.is_file()
        else {}
    )
    rows = []
    for number, row in read_jsonl(file.read_text("utf-8"), str(file)):
        _check_row(row, f"{file}, line {number}")
        row.setdefault("id", f"row-{number:04d}")
        rows.append(row)
    if not rows:
        raise ValueError(f"{file} holds no rows")
    return Run(path=path, settings=settings, rows=rows)


def _check_row(row: dict[str, Any], where: str) -> None:
    for column, kind in (("prompt", (str, list)), ("generations", list)):
        if not isinstance(row.get(column), kind):
            raise ValueError(f"{where}: no usable column {column!r}; the columns are {sorted(row)}")
    if not row["generations"]:
        raise ValueError(f"{where}: the prompt has no answers")
    if not all(isinstance(text, str) for text in row["generations"]):
        raise ValueError(f"{where}: every generation must be text")


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
    """Draw `samples` answers to every prompt and keep them in the folder `output`.

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
        ValueError: `samples` or `at_once` is below one, or the folder holds a run with other
            settings.
        OSError: the disk is full or unwritable; every whole row stays on disk.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    if at_once < 1:
        raise ValueError(f"at_once must be at least 1, got {at_once}")
    strategy = strategy or Direct()
    sampling = sampling or Sampling()
    output = Path(output)
    settings = run_settings(engine, prompts, samples, strategy, sampling)
    if at_once > 1:  # an engine may draw from one random stream for all of them
        settings["at_once"] = at_once
    _claim(output, settings)
    if (output / GENERATIONS).is_file():
        return load_run(output)
    done = _whole_rows(output / PARTIAL)
    rows = list(prompts)
    started = time.monotonic()
    count = 0
    with (output / PARTIAL).open("a", encoding="utf-8") as stream:
        for start in range(0, len(rows), at_once):
            # A part that a kill cut in two is drawn again as a whole: its rows may depend on it.
            part = rows[start : start + at_once]
            if all(row.id in done for row in part):
                continue
            drawn = _draw(engine, part, samples, strategy, sampling)
            for place, row in enumerate(part):
                if row.id not in done:
                    stream.write(json_line(_record(row, drawn, place, settings)))
                    count += 1
            stream.flush()
            os.fsync(stream.fileno())
            if progress:
                spent = time.monotonic() - started
                progress(output.name, len(done) + count, len(prompts), spent)
    (output / PARTIAL).replace(output / GENERATIONS)
    return load_run(output)


def run_settings(
    engine: Engine, prompts: PromptSet, samples: int, strategy: Strategy, sampling: Sampling
) -> dict[str, Any]:
    """Return everything that decides a run, as it is written to `run.json`."""
    return {
        "engine": engine.identity,
        "sampling": asdict(sampling),
        "strategy": strategy.describe(),
        "samples": samples,
        "prompts": {
            "name": prompts.name,
            "version": prompts.version,
            "n": len(prompts),
            "sha256": prompts_digest((row.id, row.prompt) for row in prompts),
        },
    }


def row_key(settings: dict[str, Any], row: PromptRow) -> str:
    """Return the hash of everything that decides one row (32 hex digits)."""
    deciding = {name: value for name, value in settings.items() if name != "prompts"}
    payload = json.dumps([deciding, row.id, row.prompt], sort_keys=True)
    return hashlib.sha256(payload.encode()).hexdigest()[:32]


def _draw(
    engine: Engine,
    rows: Sequence[PromptRow],
    samples: int,
    strategy: Strategy,
    sampling: Sampling,
) -> Generations:
    names = dict.fromkeys(name for row in rows for name in row.columns)
    columns = {name: [row.columns.get(name) for row in rows] for name in names}
    return strategy(engine, [row.prompt for row in rows], samples, sampling, columns=columns)


def _record(
    row: PromptRow, drawn: Generations, place: int, settings: dict[str, Any]
) -> dict[str, Any]:
    record: dict[str, Any] = {"id": row.id, "prompt": row.prompt}
    if row.category:
        record["category"] = row.category
    record |= row.columns
    record["model"] = settings["engine"].get("model", "")
    record["generations"] = drawn[place]
    if drawn.truncated:
        record["truncated"] = drawn.truncated[place]
    if drawn.details:
        record["details"] = drawn.details[place]
    record["config"] = {"sampling": settings["sampling"], "strategy": settings["strategy"]}
    record["key"] = row_key(settings, row)
    return record


def _claim(output: Path, settings: dict[str, Any]) -> None:
    """Write the settings of a new folder, or insist that an old folder has the same ones."""
    output.mkdir(parents=True, exist_ok=True)
    file = output / SETTINGS
    settings = json.loads(json.dumps(settings))
    if file.is_file():
        found = json.loads(file.read_text("utf-8"))
        changed = sorted(set(_differences(found, settings)))
        if changed:
            raise ValueError(
                f"{output} was begun with other settings ({', '.join(changed)}); "
                "choose another output folder or delete this one"
            )
        return
    if (output / GENERATIONS).exists() or (output / PARTIAL).exists():
        raise ValueError(f"{output} holds generations of unknown settings; choose another folder")
    write_atomically(file, json.dumps(settings, indent=2) + "\n")


def _differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old.keys() | new.keys():
            yield from _differences(
                old.get(name), new.get(name), f"{path}.{name}" if path else name
            )
    elif old != new:
        yield f"{path}: {old!r} -> {new!r}"


def _whole_rows(partial: Path) -> set[str]:
    """Return the ids already written, after cutting off a last line that a kill left torn."""
    if not partial.is_file():
        return set()
    content = partial.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) != len(content):
        with partial.open("r+b") as stream:
            stream.truncate(len(whole))
    return {str(row["id"]) for _, row in read_jsonl(whole.decode("utf-8"), str(partial))}


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
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def write_atomically(path: Path, text: str) -> None:
    """Replace a file in one step, so that a reader or a kill never meets half of it."""
    fresh = path.with_name(path.name + f".{os.getpid()}.new")
    try:
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)
