"""Inspect: its logs as `.json`, or as `.eval`, which is a zip of JSON files."""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from diversify.evaluation.importers.answers import (
    Answers,
    Source,
    as_prompt,
    message_text,
    read_text,
)

__all__ = ["read_inspect"]

logger = logging.getLogger(__name__)

ATTACHMENT = "attachment://"
KEPT = ("category", "split", "answers")
CUT = ("max_tokens", "model_length")
"""The stop reasons of an answer that did not end by itself."""
SAMPLING = ("temperature", "top_p", "top_k", "max_tokens", "seed")


def read_inspect(path: Path) -> Source:
    """Read the answers of a log: every choice of every epoch, in the order of the data set.

    Epochs give a question several answers, as does a solver that leaves several choices in its
    output. A sample that failed gave no answer and is counted.

    Raises:
        ValueError: It is no log, a sample is malformed, or the zip needs a newer Python.
    """
    header, samples = _zipped(path) if zipfile.is_zipfile(path) else _plain(path)
    about = header["eval"]
    if header.get("status", "started") != "success":
        logger.warning("%s: the run ended as %r", path, header.get("status", "started"))
    order = {
        str(name): i for i, name in enumerate(about.get("dataset", {}).get("sample_ids") or [])
    }
    answers: list[tuple[tuple[int, int], Answers]] = []
    failed = 0
    for where, sample in samples:
        choices = (sample.get("output") or {}).get("choices") or []
        if sample.get("error") or not choices:
            failed += 1
            continue
        place = order.get(str(sample.get("id")), len(order)), int(sample.get("epoch", 1))
        answers.append((place, _answers(sample, choices, where)))
    if not answers:
        raise ValueError(f"{path} holds no answers; {failed} samples failed")
    config = (header.get("plan") or {}).get("config") or {}
    options = config | (about.get("model_generate_config") or {})
    return Source(
        [found for _, found in sorted(answers, key=lambda pair: pair[0])],
        model=str(about.get("model") or ""),
        engine={
            "system": options.get("system_message"),
            "harness": f"inspect_ai {(about.get('packages') or {}).get('inspect_ai', '')}".strip(),
        },
        sampling={name: options[name] for name in SAMPLING if options.get(name) is not None},
        prompts={"name": str(about["task"]), "version": str(about.get("task_version", "unknown"))},
        failed=failed,
    )


def _answers(sample: dict[str, Any], choices: list[Any], where: str) -> Answers:
    attachments = sample.get("attachments") or {}
    metadata = sample.get("metadata") or {}
    if "id" not in sample or "input" not in sample:
        raise ValueError(f"{where}: a sample has id and input; this one has {sorted(sample)}")
    texts = []
    for choice in choices:
        if not isinstance(choice, dict) or "content" not in (choice.get("message") or {}):
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
    log = _checked(_parsed(read_text(path), str(path)), str(path))
    samples = log.get("samples") or []
    return log, ((f"{path}, sample {n}", sample) for n, sample in enumerate(samples, start=1))


def _zipped(path: Path) -> tuple[dict[str, Any], Iterator[tuple[str, dict[str, Any]]]]:
    if find_spec("zipfile_zstd") is not None:  # comes with inspect_ai; teaches zipfile zstd
        import_module("zipfile_zstd")
    with zipfile.ZipFile(path) as archive:
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


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> Any:
    try:
        text = archive.read(name).decode("utf-8")
    except NotImplementedError as error:
        raise ValueError(
            f"{path} is compressed with zstd, which Python reads from 3.14 on: install inspect_ai "
            f"here, or convert it: inspect log convert {path.name} --to json --output-dir json"
        ) from error
    except zipfile.BadZipFile as error:
        raise ValueError(f"{path}, {name}: {error}") from error
    return _parsed(text, f"{path}, {name}")


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}, line {error.lineno}: not valid JSON ({error.msg})") from error


def _checked(log: Any, where: str) -> dict[str, Any]:
    if (
        not isinstance(log, dict)
        or not isinstance(log.get("eval"), dict)
        or "task" not in log["eval"]
    ):
        raise ValueError(f"{where} is no Inspect log: it has no 'eval' with a task")
    return log
