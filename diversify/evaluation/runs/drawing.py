"""Drawing: rows of answers into part files that survive a kill, by one process or by several."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diversify.decoding import Direct, Strategy
from diversify.engines import Engine, Generations, Sampling
from diversify.evaluation.checks import check_ids, check_run_row
from diversify.evaluation.prompt_sets import PromptRow, PromptSet
from diversify.evaluation.runs.files import (
    FRESH,
    GENERATIONS,
    PARTIAL,
    SETTINGS,
    fresh_file,
    json_line,
    prompts_digest,
    write_atomically,
)
from diversify.evaluation.runs.parts import (
    Line,
    Lines,
    Shard,
    part_files,
    part_line,
    trim,
    whole_lines,
)
from diversify.reading import parse_json, read_json

__all__ = ["claim", "differences", "draw_rows", "part_rows", "row_key", "run_row", "run_settings"]


def draw_rows(
    engine: Engine,
    prompts: PromptSet,
    samples: int,
    *,
    strategy: Strategy | None = None,
    sampling: Sampling | None = None,
    output: str | Path,
    at_once: int = 1,
    shard: Shard | None = None,
    progress: Callable[[str, int, int, float], None] | None = None,
) -> int:
    """Draw the answers of `generate`, or one share of them, without reading them back.

    Each share is drawn by a process of its own, into a part file of its own in the same folder.
    Whichever finds that no row is missing puts the files together, in the order of the prompts: the
    run folder is then, byte for byte, that of a single process, for the prompts are handed to the
    strategy in the same calls. Nobody waits for anybody. A share whose process died is continued by
    the same call, or, with the others, by any other number of shares.

    Memory grows with the prompts, not with the answers.

    Args:
        engine: see `generate`.
        prompts: all the questions, the same for all shares.
        samples: see `generate`.
        strategy: see `generate`.
        sampling: see `generate`.
        output: the run folder, which all processes see. On machines that share no disk each has its
            own, and `merge_runs` makes one of them.
        at_once: see `generate`; so many prompts always stay together.
        shard: which share is drawn; by default all of it.
        progress: see `generate`; the rows are those of this share.

    Returns:
        How many prompts of the whole set have no answers yet; 0 when the run is finished.

    Raises:
        ValueError: see `generate`, or a part file holds rows of other settings.
        OSError: see `generate`.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    if at_once < 1:
        raise ValueError(f"at_once must be at least 1, got {at_once}")
    check_ids((row.id for row in prompts), f"prompt set {prompts.name!r}")
    strategy, sampling, shard = strategy or Direct(), sampling or Sampling(), shard or Shard()
    settings = run_settings(engine, prompts, samples, strategy, sampling)
    if at_once > 1:  # an engine may draw from one random stream for all of them
        settings["at_once"] = at_once
    claim(Path(output), settings)
    folder = _Folder(Path(output), prompts, settings)
    trim(shard.file(folder.path))
    done = folder.places()
    if done is None:
        return 0
    # Calls are cut before they are shared out, so that each is the same in every division.
    calls = [range(at, min(at + at_once, len(prompts))) for at in range(0, len(prompts), at_once)]
    share = shard.of(calls)
    # A call that a kill cut in two is made again as a whole: its rows may depend on each other.
    left = [call for call in share if not done.keys() >= {*call}]
    told = folder.path.name if shard.count == 1 else f"{folder.path.name} {shard}"
    count = sum(at in done for call in share for at in call)
    started = time.monotonic()
    for call in left:
        rows = [prompts.rows[at] for at in call]
        drawn = _draw(engine, rows, samples, strategy, sampling)
        count += folder.append(shard, call, drawn, done)
        if progress:
            progress(told, count, sum(map(len, share)), time.monotonic() - started)
    return folder.put_together()


@dataclass(frozen=True)
class _Folder:
    """A run folder that is being filled."""

    path: Path
    prompts: PromptSet
    settings: dict[str, Any]

    def places(self) -> dict[int, Line] | None:
        """Return where the rows lie that are there, by position; None if the run is finished."""
        positions = {row.id: at for at, row in enumerate(self.prompts)}
        found: dict[int, Line] = {}
        try:
            for file in part_files(self.path):
                for line, row in part_rows(file, self.settings):
                    if row["id"] in positions:
                        found.setdefault(positions[row["id"]], line)
        except FileNotFoundError:  # another process has just put the files together
            if not (self.path / GENERATIONS).is_file():
                raise
        if (self.path / GENERATIONS).is_file():
            self._tidy()  # a kill may have come between the last two steps
            return None
        return found

    def append(
        self, shard: Shard, call: Sequence[int], drawn: Generations, done: Container[int]
    ) -> int:
        """Write the rows of a call that are not there yet, on disk and not in a buffer."""
        lines = []
        for place, at in enumerate(call):
            if at not in done:
                line = json_line(_record(self.prompts.rows[at], drawn, place, self.settings))
                lines.append(line if shard.count == 1 else part_line(at, line))
        # In one piece: a forgotten process with the same share may still be writing here.
        with shard.file(self.path).open("ab") as stream:
            stream.write("".join(lines).encode())
            stream.flush()
            os.fsync(stream.fileno())
        return len(lines)

    def put_together(self) -> int:
        """Make the finished file, if nothing is missing; return how many rows are."""
        found = self.places()
        if found is None:
            return 0
        if missing := len(self.prompts) - len(found):
            return missing
        whole, files = self.path / GENERATIONS, part_files(self.path)
        if files == [self.path / PARTIAL] and _in_order(found, files[0]):
            files[0].replace(whole)
            return 0
        try:  # another process may do the same at this moment, and tidy up before this one
            with Lines() as lines, fresh_file(whole) as stream:
                for at in range(len(found)):
                    stream.write(lines.read(found[at]))
        except FileNotFoundError:
            if not whole.is_file():
                raise
        self._tidy()
        return 0

    def _tidy(self) -> None:
        """Remove the part files, and what a kill left of an attempt to put them together."""
        for file in [*part_files(self.path), *self.path.glob(f"{GENERATIONS}.*{FRESH}")]:
            file.unlink(missing_ok=True)


def _in_order(found: Mapping[int, Line], file: Path) -> bool:
    """Say whether a file holds these rows, in order, and nothing else."""
    size = sum(line.size for line in found.values())
    return [*found] == [*range(len(found))] and size == file.stat().st_size


def part_rows(file: Path, settings: Mapping[str, Any]) -> Iterator[tuple[Line, dict[str, Any]]]:
    """Yield the rows of a part file one by one, with the places where they lie.

    Args:
        file: The part file.
        settings: Those of its run.

    Raises:
        ValueError: A row is malformed, or was drawn with other settings (its number is named).
    """
    for number, (line, content) in enumerate(whole_lines(file), start=1):
        where = f"{file}, line {number}"
        row = run_row(content, where)
        if row.get("key") != row_key(settings, PromptRow(row["id"], row["prompt"])):
            raise ValueError(
                f"{where}: the row was drawn with other settings than those of the run"
            )
        yield line, row


def run_row(content: bytes, where: str) -> dict[str, Any]:
    """Read one line of a run that `diversify` wrote.

    Raises:
        ValueError: It is malformed, or has no id.
    """
    row = parse_json(content.decode("utf-8"), where)
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected a JSON object, got {row!r:.60}")
    check_run_row(row, where)
    if not isinstance(row.get("id"), str):
        raise ValueError(f"{where}: the row has no id of text; the columns are {sorted(row)}")
    return row


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


def row_key(settings: Mapping[str, Any], row: PromptRow) -> str:
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


def claim(output: Path, settings: dict[str, Any]) -> None:
    """Write the settings of a new folder, or insist that an old folder has the same ones."""
    output.mkdir(parents=True, exist_ok=True)
    file = output / SETTINGS
    settings = json.loads(json.dumps(settings))
    if file.is_file():
        found = read_json(file)
        changed = sorted(set(differences(found, settings)))
        if changed:
            raise ValueError(
                f"{output} was begun with other settings ({', '.join(changed)}); "
                "choose another output folder or delete this one"
            )
        return
    # In this order: a process that began together with this one writes its settings first.
    if ((output / GENERATIONS).exists() or part_files(output)) and not file.is_file():
        raise ValueError(f"{output} holds generations of unknown settings; choose another folder")
    write_atomically(file, json.dumps(settings, indent=2) + "\n")


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Yield the fields in which two settings differ, each with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in old.keys() | new.keys():
            yield from differences(old.get(name), new.get(name), f"{path}.{name}" if path else name)
    elif old != new:
        yield f"{path}: {old!r} -> {new!r}"
