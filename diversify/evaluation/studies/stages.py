"""Stages of a study: run each once, know when what it rests on has changed, show how far it is."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from diversify.evaluation.generate import load_run
from diversify.evaluation.recipe import differing_fields, recipe_of
from diversify.evaluation.reports import load_report
from diversify.kernels import Kernel
from diversify.measures import MEASURES
from diversify.quality import Quality

__all__ = ["command_digest", "launch", "root", "scored_as_asked"]


def root() -> Path:
    """Return the folder that holds `recipes` and `configs`: the clone that this package lies in.

    Raises:
        ValueError: The package is installed without the clone.
    """
    found = Path(__file__).resolve().parents[3]
    if not (found / "recipes").is_dir():
        raise ValueError(f"{found} holds no recipes: studies run from a clone of the repository")
    return found


def command_digest(command: Sequence[str], *, after: str = "") -> str:
    """Return a hash of a command and of the configs and scripts of the clone that it names.

    Args:
        command: The command.
        after: The hash of the command before it, whose output it may read.
    """
    digest = hashlib.sha256(after.encode() + json.dumps(list(command)).encode())
    for word in command:
        if word.endswith((".yaml", ".py")) and (root() / word).is_file():
            digest.update((root() / word).read_bytes())
    return digest.hexdigest()


def scored_as_asked(folder: Path, kernels: Sequence[Kernel], quality: Sequence[Quality]) -> bool:
    """Say whether the report in a run folder is one of its answers by these kernels and qualities.

    Asks every quality for its identity, which may load a model. A report that cannot be read, as
    where writing it was interrupted, is not.

    Args:
        folder: A run folder with a report.
        kernels: What `evaluate` would take.
        quality: The same.

    Raises:
        ValueError: The run is malformed.
    """
    asked = recipe_of(load_run(folder), kernels, MEASURES, quality)
    try:
        found = load_report(folder).recipe
    except ValueError:
        return False
    # As a report gives it back: JSON has no tuples.
    return not differing_fields(found, json.loads(json.dumps(asked)))


def launch(command: Sequence[str], log: Path, show: Callable[[float, str], None]) -> None:
    """Run one command, its output in a log, its steps on a line of the caller's.

    Args:
        command: A recipe and its options, started by `accelerate launch` on one process; or
            `python` and a script, or `diversify` and a command.
        log: File for everything that it prints.
        show: Called with the share that is done, and with a few words.

    Raises:
        ValueError: The command failed; the message ends with the last lines of the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if command[0] == "diversify":
        words = [sys.executable, "-m", "diversify.cli", *command[1:]]
    elif command[0] == "python":
        words = [sys.executable, *command[1:]]
    else:
        words = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", "1"]
        words += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
        words += [*command]
    # accelerate sets one thread a process unless told otherwise.
    environment = os.environ | {"OMP_NUM_THREADS": str(os.cpu_count() or 1)}
    with (
        log.open("w", buffering=1, encoding="utf-8") as stream,
        subprocess.Popen(
            words,
            cwd=root(),
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            bufsize=1,
        ) as child,
    ):
        assert child.stdout is not None
        for line in child.stdout:  # text mode ends lines at \r as well, so bars arrive live
            stream.write(line)
            if bar := re.search(r"(\d+)/(\d+) (?:\[|prompts)", line):
                done, total = int(bar[1]), int(bar[2])
                show(done / max(total, 1), f"{done}/{total}")
        code = child.wait()
    if code:
        tail = "".join(log.read_text("utf-8", errors="replace").splitlines(keepends=True)[-15:])
        raise ValueError(f"{command[0]} failed with exit code {code}; see {log}:\n{tail}")
