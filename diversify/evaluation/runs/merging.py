"""Merging: run folders of one recipe become one, row by row, without drawing anything again."""

from __future__ import annotations

import contextlib
import copy
import filecmp
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from diversify.decoding.records import Record
from diversify.evaluation.prompt_sets import PromptRow
from diversify.evaluation.runs.drawing import claim, differences, row_key
from diversify.evaluation.runs.files import (
    GENERATIONS,
    SETTINGS,
    fresh_file,
    json_line,
    prompts_digest,
)
from diversify.evaluation.runs.parts import Lines, part_files
from diversify.evaluation.runs.sources import Once, RunSource, rows_of

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
    sources = [RunSource.of(Path(run)) for run in runs]
    _check_recipes(sources, leave_out=("prompts",))
    sets: dict[str, list[RunSource]] = {}
    for source in sources:
        sets.setdefault(json.dumps(source.settings["prompts"], sort_keys=True), []).append(source)
    settings = copy.deepcopy(sources[0].settings)
    once = Once()
    with _merged(Path(output), settings) as stream:
        for number, group in enumerate(sets.values()):
            answered: dict[str, Any] = {}
            for where, row, content in rows_of(group):
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
    sources = [RunSource.of(Path(run)) for run in runs]
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


def _check_recipes(sources: Sequence[RunSource], *, leave_out: Sequence[str]) -> None:
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


def _samples(source: RunSource) -> int:
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


def _seeds(sources: Sequence[RunSource]) -> list[int]:
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


def _together(sources: Sequence[RunSource], prompts: Sequence[tuple[str, Any]]) -> dict[str, Any]:
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
