"""Merging: run folders of one recipe become one, row by row, without drawing anything again."""

from __future__ import annotations

import contextlib
import copy
import filecmp
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from diversify.decoding.records import Record
from diversify.evaluation.prompt_sets import PromptRow
from diversify.evaluation.runs.checks import check_settings
from diversify.evaluation.runs.drawing import claim, differences, part_rows, row_key, run_row
from diversify.evaluation.runs.files import (
    GENERATIONS,
    SETTINGS,
    fresh_file,
    json_line,
    prompts_digest,
)
from diversify.evaluation.runs.parts import Line, Lines, part_files, whole_lines
from diversify.reading import read_json

__all__ = ["merge_runs", "merge_samples"]


def merge_runs(runs: Sequence[str | Path], output: str | Path) -> int:
    """Make one run folder of several: shards of one run, or the same recipe on different prompts.

    Shards are folders that `draw_rows` left unfinished, each with some of the rows; together they
    must have all of them, and give the run folder of a single process, byte for byte. Finished runs
    follow each other. A row that two folders have with the same answers is kept once.

    Rows are copied one by one: memory grows with the prompts, not with the answers.

    Args:
        runs: the folders.
        output: the folder to write. It may be the folder of the shards itself. Merged again into
            it, the same runs change nothing.

    Returns:
        How many rows there are.

    Raises:
        ValueError: a folder holds no run, the recipes differ (the fields are named), rows of shards
            are missing, two folders have different answers for one prompt, an id stands for two
            prompts, or `output` holds something else.
    """
    sources = [_Source.of(Path(run)) for run in runs]
    _check_recipes(sources, leave_out=("prompts",))
    sets: dict[str, list[_Source]] = {}
    for source in sources:
        sets.setdefault(json.dumps(source.settings["prompts"], sort_keys=True), []).append(source)
    settings = copy.deepcopy(sources[0].settings)
    once = _Once()
    with _merged(Path(output), settings) as stream:
        for number, group in enumerate(sets.values()):
            answered: dict[str, Any] = {}
            for where, row, content in _rows(group):
                answered[row["id"]] = row["prompt"]
                if once.is_new(row, number, where):
                    stream.write(content)
            group[0].check_prompts(answered)
        if len(sets) > 1:
            settings["prompts"] = _together([group[0] for group in sets.values()], once.prompts)
    return len(once.prompts)


def merge_samples(runs: Sequence[str | Path], output: str | Path) -> int:
    """Make one run folder of several on the same prompts, with the answers of all of them.

    The runs may differ in their seed, which they must, and in their number of samples. Only plain
    sampling can be put together: what another strategy or decoder draws for a prompt depends on the
    other answers, so that two sets of eight are not a set of sixteen.

    Under `sampling.seed` the settings then have a list. What was spent on a prompt is added up. What
    only some of the runs know of it, which answers were cut off or what they cost, is left out.

    Args:
        runs: finished run folders.
        output: the folder to write. Merged again into it, the same runs change nothing.

    Returns:
        How many rows there are.

    Raises:
        ValueError: a folder holds no finished run, the recipes or the prompts differ, two runs have
            one seed or one has none, a run has not one number of samples, the answers of a prompt
            depend on each other, or `output` holds something else.
    """
    sources = [_Source.of(Path(run)) for run in runs]
    if unfinished := [str(source.path) for source in sources if not source.finished]:
        raise ValueError(f"{', '.join(unfinished)}: unfinished; draw or merge the rest first")
    _check_recipes(sources, leave_out=("samples", "sampling.seed"))
    settings = copy.deepcopy(sources[0].settings)
    _check_independent(settings)
    settings["samples"] = sum(map(_samples, sources))
    settings["sampling"]["seed"] = _seeds(sources)
    indices = [source.index() for source in sources]
    with Lines() as lines, _merged(Path(output), settings) as stream:
        for name in indices[0]:
            rows = [json.loads(lines.read(places[name])) for places in indices]
            stream.write(json_line(_union(rows, settings)).encode())
    return len(indices[0])


@dataclass(frozen=True)
class _Source:
    """A run folder: its settings, and its finished file or its part files."""

    path: Path
    settings: dict[str, Any]
    finished: bool
    files: list[Path]

    @classmethod
    def of(cls, path: Path) -> _Source:
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


class _Once:
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


def _rows(group: Sequence[_Source]) -> Iterator[tuple[str, dict[str, Any], bytes]]:
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


def _ordered(shards: Sequence[_Source]) -> list[Line]:
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


def _check_recipes(sources: Sequence[_Source], *, leave_out: Sequence[str]) -> None:
    """Insist that the runs differ in nothing but what is left out."""
    if not sources:
        raise ValueError("there must be at least one run to merge, got none")
    first = sources[0]
    for other in sources[1:]:
        found = sorted(set(differences(first.settings, other.settings)))
        wrong = [each for each in found if not each.startswith(tuple(leave_out))]
        if wrong:
            raise ValueError(
                f"{first.path} and {other.path} were not drawn alike: {', '.join(wrong)}"
            )


def _check_independent(settings: Mapping[str, Any]) -> None:
    """Insist that the answers of a prompt were drawn one independently of the other."""
    strategy = settings.get("strategy", {}).get("name")
    if strategy != "direct":
        raise ValueError(f"only samples of the strategy direct can be added up, got {strategy!r}")
    engine = settings.get("engine", {})
    for name in ("decoder", "sampler"):
        drawn_by = engine.get(name) or ""
        if drawn_by and not drawn_by.startswith("SamplingChain"):
            raise ValueError(f"samples of {drawn_by} depend on each other: they cannot be added up")


def _samples(source: _Source) -> int:
    """Return how many answers a run has to each prompt.

    Raises:
        ValueError: The settings name no such number.
    """
    found = source.settings.get("samples")
    if isinstance(found, bool) or not isinstance(found, int):
        raise ValueError(
            f"{source.path / SETTINGS}: 'samples' must be one whole number, the same for each prompt, "
            f"got {found!r:.60}"
        )
    return found


def _seeds(sources: Sequence[_Source]) -> list[int]:
    """Return the seeds of all runs, those of a run that was merged already among them.

    Raises:
        ValueError: A seed occurs twice: its answers would be counted twice. Or there is none, and so
            nothing shows that these are other answers.
    """
    seeds: list[int] = []
    for source in sources:
        own = source.settings.get("sampling", {}).get("seed")
        listed = own if isinstance(own, list) and own else [own]
        if not all(type(seed) is int for seed in listed):
            raise ValueError(
                f"{source.path / SETTINGS}: 'sampling.seed' must be one whole number or several, "
                f"got {own!r:.60}"
            )
        for seed in listed:
            if seed in seeds:
                raise ValueError(
                    f"{source.path} has the answers of seed {seed}, as another run has"
                )
            seeds.append(seed)
    return seeds


def _union(rows: Sequence[dict[str, Any]], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the first row with the answers of all, and with settings and key of its own."""
    row = {name: value for name, value in rows[0].items() if name not in ("truncated", "details")}
    row["generations"] = [text for each in rows for text in each["generations"]]
    if all(each.get("truncated") for each in rows):
        row["truncated"] = [flag for each in rows for flag in each["truncated"]]
    details = [each["details"] for each in rows if each.get("details")]
    if len(details) == len(rows):
        record = sum(map(Record.of, details), Record())
        kept = [note for each in details for note in each.get("kept", [])]
        missing = sum(each.get("missing", 0) for each in details)
        row["details"] = record.details(kept, len(kept) + missing)
    row["config"] = {"sampling": settings["sampling"], "strategy": settings["strategy"]}
    row["key"] = row_key(settings, PromptRow(row["id"], row["prompt"]))
    return row


def _together(sources: Sequence[_Source], prompts: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Describe the prompts of several sets as one."""
    told = [source.settings["prompts"] for source in sources]
    return {
        "name": "+".join(dict.fromkeys(str(each.get("name")) for each in told)),
        "version": "+".join(dict.fromkeys(str(each.get("version")) for each in told)),
        "n": len(prompts),
        "sha256": prompts_digest(prompts),
    }


@contextlib.contextmanager
def _merged(output: Path, settings: dict[str, Any]) -> Iterator[BinaryIO]:
    """Give the file to write rows to; it becomes a run folder with `settings` when it is whole."""
    output.mkdir(parents=True, exist_ok=True)
    whole = output / GENERATIONS
    with fresh_file(whole) as stream:
        yield stream
        stream.flush()
        claim(output, settings)
        if whole.is_file() and not filecmp.cmp(stream.name, whole, shallow=False):
            raise ValueError(f"{output} holds other answers already; choose another output folder")
    for file in part_files(output):  # of the shards, where they lay in this very folder
        file.unlink()
