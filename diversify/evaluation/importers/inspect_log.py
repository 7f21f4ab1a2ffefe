"""Inspect: its logs as `.json`, or as `.eval`, which is a zip of JSON files."""

from __future__ import annotations

import logging
import zipfile
import zlib
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diversify.evaluation.checks import check_ids, is_number
from diversify.evaluation.importers.answers import (
    Answers,
    Source,
    as_prompt,
    message_text,
)
from diversify.reading import parse_json, read_text

__all__ = ["read_inspect"]

logger = logging.getLogger(__name__)

ATTACHMENT = "attachment://"
KEPT = ("category", "split", "answers", "instruction_id_list", "kwargs")
CUT = ("max_tokens", "model_length")
"""The stop reasons of an answer that did not end by itself."""
DAMAGE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError)
"""What a zip raises that is damaged, a text of which is not UTF-8 or that points outside itself."""
SAMPLING = ("temperature", "top_p", "top_k", "max_tokens", "seed")


def read_inspect(path: Path) -> Source:
    """Read the answers of a log: every choice of every epoch, in the order of the data set.

    Epochs give a question several answers, as does a solver that leaves several choices in its
    output. A sample that failed gave no answer and is counted.

    Raises:
        ValueError: It is no log, a sample is malformed or comes twice in one epoch, or the zip
            needs a newer Python.
    """
    header, samples = _zipped(path) if zipfile.is_zipfile(path) else _plain(path)
    about = header["eval"]
    data_set, plan = _part(about, "dataset", str(path)), _part(header, "plan", str(path))
    if header.get("status", "started") != "success":
        logger.warning("%s: the run ended as %r", path, header.get("status", "started"))
    listed = data_set.get("sample_ids")
    order = {str(name): i for i, name in enumerate(listed if isinstance(listed, list) else [])}
    answers: list[tuple[tuple[int, float], Answers]] = []
    failed = 0
    for where, sample in samples:
        if not isinstance(sample, dict):
            raise ValueError(f"{where}: a sample is an object, got {sample!r:.60}")
        choices = _part(sample, "output", where).get("choices") or []
        if sample.get("error") or not choices:
            failed += 1
            continue
        if not is_number(epoch := sample.get("epoch", 1)):
            raise ValueError(f"{where}: an epoch is a number, got {epoch!r:.60}")
        place = order.get(str(sample.get("id")), len(order)), epoch
        answers.append((place, _answers(sample, choices, where)))
    check_ids((f"{found.id}, epoch {place[1]}" for place, found in answers), str(path))
    if not answers:
        raise ValueError(f"{path} holds no answers; {failed} samples failed")
    options = _part(plan, "config", str(path)) | _part(about, "model_generate_config", str(path))
    packages = _part(about, "packages", str(path))
    return Source(
        [found for _, found in sorted(answers, key=lambda pair: pair[0])],
        model=str(about.get("model") or ""),
        engine={
            "system": options.get("system_message"),
            "harness": f"inspect_ai {packages.get('inspect_ai', '')}".strip(),
        },
        sampling={name: options[name] for name in SAMPLING if options.get(name) is not None},
        prompts={"name": str(about["task"]), "version": str(about.get("task_version", "unknown"))},
        failed=failed,
    )


def _part(whole: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    """Return a part of a log that is an object, empty where the log has none."""
    found = whole.get(name) or {}
    if not isinstance(found, dict):
        raise ValueError(f"{where}: {name!r} is an object in a log, got {found!r:.60}")
    return found


def _answers(sample: dict[str, Any], choices: Any, where: str) -> Answers:
    attachments = _part(sample, "attachments", where)
    metadata = _part(sample, "metadata", where)
    if not isinstance(choices, list):
        raise ValueError(f"{where}: 'choices' is a list in a log, got {choices!r:.60}")
    if "id" not in sample or "input" not in sample:
        raise ValueError(f"{where}: a sample has id and input; this one has {sorted(sample)}")
    texts = []
    for choice in choices:
        if not isinstance(choice, dict) or "content" not in _part(choice, "message", where):
            raise ValueError(f"{where}: a choice has a message, got {choice!r:.80}")
        texts.append(message_text(_resolved(choice["message"]["content"], attachments), where))
    return Answers(
        where,
        as_prompt(_resolved(sample["input"], attachments), where),
        texts,
        str(sample["id"]),
        [choice.get("stop_reason") in CUT for choice in choices],
        {name: metadata[name] for name in KEPT if name in metadata},
    )


def _resolved(value: Any, attachments: dict[str, str]) -> Any:
    """Put long texts back that a log keeps once and refers to by hash."""
    if isinstance(value, str) and value.startswith(ATTACHMENT):
        return attachments.get(value.removeprefix(ATTACHMENT), value)
    if isinstance(value, list):
        return [_resolved(entry, attachments) for entry in value]
    if isinstance(value, dict):
        return {name: _resolved(entry, attachments) for name, entry in value.items()}
    return value


def _plain(path: Path) -> tuple[dict[str, Any], Iterator[tuple[str, dict[str, Any]]]]:
    if path.suffix.lower() == ".eval":
        raise ValueError(f"{path} is no whole Inspect log: the zip is damaged or was cut off")
    log = _checked(parse_json(read_text(path), str(path)), str(path))
    samples = log.get("samples") or []
    if not isinstance(samples, list):
        raise ValueError(f"{path}: 'samples' is a list in a log, got {samples!r:.60}")
    return log, ((f"{path}, sample {n}", sample) for n, sample in enumerate(samples, start=1))


def _zipped(path: Path) -> tuple[dict[str, Any], Iterator[tuple[str, dict[str, Any]]]]:
    if find_spec("zipfile_zstd") is not None:  # comes with inspect_ai; teaches zipfile zstd
        import_module("zipfile_zstd")
    with _archive(path) as archive:
        names = archive.namelist()
        # A run that was killed has written its journal, and no header yet.
        head = next((n for n in ("header.json", "_journal/start.json") if n in names), None)
        if head is None:
            raise ValueError(f"{path} is no Inspect log: it holds {sorted(names)[:3]}")
        header = _checked(_member(archive, head, path), str(path))
        samples = [
            (f"{path}, {name}", _member(archive, name, path))
            for name in names
            if name.startswith("samples/") and name.endswith(".json")
        ]
    return header, iter(samples)


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except DAMAGE as error:
        raise ValueError(f"{path} is no whole Inspect log: {error}") from error


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> Any:
    try:
        content = archive.read(name)
    except NotImplementedError as error:
        raise ValueError(
            f"{path} is compressed with zstd, which Python reads from 3.14 on: install inspect_ai "
            f"here, or convert it: inspect log convert {path.name} --to json --output-dir json"
        ) from error
    except (*DAMAGE, RuntimeError) as error:  # the last one where it is encrypted
        raise ValueError(f"{path}, {name}: {error}") from error
    try:
        return parse_json(content.decode("utf-8"), f"{path}, {name}")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}, {name}: not UTF-8 text ({error.reason})") from error


def _checked(log: Any, where: str) -> dict[str, Any]:
    if (
        not isinstance(log, dict)
        or not isinstance(log.get("eval"), dict)
        or "task" not in log["eval"]
    ):
        raise ValueError(f"{where} is no Inspect log: it has no 'eval' with a task")
    return log
