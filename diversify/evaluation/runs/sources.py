"""Run folders that are put together: their rows, where they lie, and which were there before."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diversify.evaluation.checks import check_settings
from diversify.evaluation.runs.drawing import part_rows, run_row
from diversify.evaluation.runs.files import GENERATIONS, SETTINGS, prompts_digest
from diversify.evaluation.runs.parts import Line, Lines, part_files, whole_lines
from diversify.reading import read_json

__all__ = ["Once", "RunSource", "rows_of"]


@dataclass(frozen=True)
class RunSource:
    """A run folder: its settings, and its finished file or its part files."""

    path: Path
    settings: dict[str, Any]
    finished: bool
    files: list[Path]

    @classmethod
    def of(cls, path: Path) -> RunSource:
        """Open a folder.

        Raises:
            ValueError: It holds no run, or none that says which prompts were answered.
        """
        if not (path / SETTINGS).is_file():
            raise ValueError(f"{path} is no run folder: it holds no {SETTINGS}")
        settings = read_json(path / SETTINGS)
        check_settings(settings, str(path / SETTINGS))
        if not {"n", "sha256"} <= settings.get("prompts", {}).keys():
            raise ValueError(f"{path / SETTINGS} does not say which prompts were answered")
        whole = path / GENERATIONS
        files = [whole] if whole.is_file() else part_files(path)
        if not files:
            raise ValueError(f"{path} holds no {GENERATIONS}")
        return cls(path, settings, whole.is_file(), files)

    def rows(self) -> Iterator[tuple[str, dict[str, Any], Line]]:
        """Yield (place, row, where it lies) for each row, in the order of the files."""
        for file in self.files:
            for number, (line, content) in enumerate(whole_lines(file), start=1):
                where = f"{file}, line {number}"
                yield where, run_row(content, where), line

    def index(self) -> dict[str, Line]:
        """Return where the row of each id lies.

        Raises:
            ValueError: The rows are not those of the prompt set.
        """
        found, answered = {}, {}
        for _, row, line in self.rows():
            found[row["id"]], answered[row["id"]] = line, row["prompt"]
        self.check_prompts(answered)
        return found

    def check_prompts(self, answered: Mapping[str, Any]) -> None:
        """Insist that these are the prompts, by id, that the settings speak of."""
        prompts = self.settings["prompts"]
        if prompts_digest(answered.items()) != prompts["sha256"]:
            raise ValueError(
                f"the rows of {self.path} are not those of its {SETTINGS}: it has {prompts['n']} "
                f"prompts, and {len(answered)} were found"
            )


class Once:
    """The prompts so far, and a digest of what was answered to each."""

    def __init__(self) -> None:
        self.prompts: list[tuple[str, Any]] = []
        self._rows: dict[str, tuple[bytes, bytes, str]] = {}
        self._sets: dict[bytes, tuple[int, str]] = {}

    def is_new(self, row: Mapping[str, Any], number: int, where: str) -> bool:
        """Say whether a row is to be kept, or is there already.

        Args:
            row: The row.
            number: Of its prompt set; one set may ask the same question twice.
            where: Its place.

        Raises:
            ValueError: Something else is there already.
        """
        prompt, answers = _digest(row["prompt"]), _digest(row["generations"])
        if row["id"] in self._rows:
            old_prompt, old_answers, there = self._rows[row["id"]]
            if prompt != old_prompt:
                raise ValueError(
                    f"the id {row['id']!r} stands for two prompts: {there} and {where}"
                )
            if answers != old_answers:
                raise ValueError(
                    f"the prompt {row['id']!r} has other answers in {there} than in {where}; "
                    "runs with several seeds are put together by merge_samples, --samples"
                )
            return False
        set_number, there = self._sets.setdefault(prompt, (number, where))
        if set_number != number:
            raise ValueError(f"{there} and {where} have the same prompt under two ids")
        self._rows[row["id"]] = prompt, answers, where
        self.prompts.append((row["id"], row["prompt"]))
        return True


def _digest(value: Any) -> bytes:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).digest()


def rows_of(group: Sequence[RunSource]) -> Iterator[tuple[str, dict[str, Any], bytes]]:
    """Yield (place, row, line) of the runs on one prompt set; shards in the order of the set."""
    with Lines() as lines:
        if any(source.finished for source in group):
            for source in group:
                for where, row, line in source.rows():
                    yield where, row, lines.read(line)
            return
        for line in _ordered(group):
            content, where = lines.read(line), str(line.file)
            yield where, run_row(content, where), content


def _ordered(shards: Sequence[RunSource]) -> list[Line]:
    """Return where the rows of shards lie, by position; those of one position are neighbours.

    Raises:
        ValueError: There is not a row for each position.
    """
    found: list[tuple[int, Line]] = []
    for shard in shards:
        for file in shard.files:
            for line, _ in part_rows(file, shard.settings):
                if line.position is None:
                    raise ValueError(
                        f"{shard.path} is unfinished: run the same generate command again"
                    )
                found.append((line.position, line))
    count = shards[0].settings["prompts"]["n"]
    if missing := sorted({*range(count)} - {position for position, _ in found}):
        raise ValueError(
            f"{len(missing)} of {count} prompts have no answers in "
            f"{', '.join(str(shard.path) for shard in shards)}; the first is number {missing[0] + 1}"
        )
    return [line for _, line in sorted(found)]
