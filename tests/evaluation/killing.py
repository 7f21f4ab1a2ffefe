"""Stages that are killed at a moment that can be repeated, and run again: what `test_kill.py` starts.

    python tests/evaluation/killing.py FOLDER SEED URL STAGE...

The process imports once and forks a child for each moment. A child counts what it does to the disk
(a file opened for writing, a write, an fsync, a rename, a removal, some steps of SQLite) and sends
itself SIGKILL at a chosen one; a write is torn in the middle. Then the stage runs again, unharmed.
"""

import builtins
import hashlib
import io
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOMENTS = 20
CLOCK = (0.25, 0.6)
"""Shares of the time of an undisturbed run after which two more children are killed."""
STEPS = 4
"""Instructions of SQLite's machine between two moments."""


@dataclass
class Disk:
    """Counts what this process does to the disk, and ends it at one of these moments."""

    deadly: int | None
    count: int = 0

    def moment(self, half: Callable[[], Any] | None = None) -> int:
        self.count += 1
        if self.count == self.deadly:
            if half is not None:
                half()
            os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def watch(self) -> None:
        """Put itself between Python and the disk, for the rest of the process."""
        disk, real_open, connect = self, io.open, sqlite3.connect

        class Torn(io.FileIO):
            def write(self, data: Any) -> int:
                content = bytes(data)
                disk.moment(lambda: io.FileIO.write(self, content[: len(content) // 2]))
                return super().write(content)

        def watched_open(
            file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, **k
        ):
            if isinstance(file, int) or not {*mode} & {*"wax+"}:
                return real_open(file, mode, buffering, encoding, errors, newline, **k)
            raw = Torn(file, mode.replace("b", "").replace("t", ""))
            disk.moment()
            buffered: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            if "b" in mode:
                return buffered
            return io.TextIOWrapper(buffered, encoding or "utf-8", errors, newline)

        def watched(function):
            def call(*arguments, **options):
                disk.moment()
                found = function(*arguments, **options)
                disk.moment()
                return found

            return call

        def watched_connect(*arguments, **options):
            database = connect(*arguments, **options)
            database.set_progress_handler(disk.moment, STEPS)
            return database

        io.open = builtins.open = watched_open
        sqlite3.connect = watched_connect
        for name in ("fsync", "replace", "rename", "unlink", "remove", "truncate", "ftruncate"):
            setattr(os, name, watched(getattr(os, name)))


def begin(function: Callable[[], Any], folder: Path, disk: Disk | None) -> int:
    """Start a child that runs a function in a folder; return its id."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        # Relative paths and a cache of its own, so that records are the same in every folder.
        os.chdir(folder)
        os.environ["DIVERSIFY_CACHE"] = str(folder)
        if disk is not None:
            disk.watch()
        function()
        if disk is not None:
            os.write(os.open(f"{folder}.count", os.O_WRONLY | os.O_CREAT), b"%d" % disk.count)
        code = 0
    except BaseException:
        traceback.print_exc()
    os._exit(code)


def end_of(function: Callable[[], Any], folder: Path, disk: Disk | None = None) -> int:
    """Run a function in a child and return how it ended: its exit code, or minus its signal."""
    return os.waitstatus_to_exitcode(os.waitpid(begin(function, folder, disk), 0)[1])


def kill_at_moments(stage: str, folder: Path, seed: int, url: str) -> dict[str, Any]:
    """Kill a stage at moments drawn by the seed, and twice by the clock; run it again each time."""
    prepare, run, look = STAGES[stage](url)
    prepared, whole = folder / "prepared", folder / "whole"
    prepared.mkdir(parents=True)
    must(end_of(prepare, prepared) == 0, "the preparation fails")
    shutil.copytree(prepared, whole)
    begun = time.monotonic()
    must(end_of(run, whole, Disk(None)) == 0, "the undisturbed run fails")
    spent = time.monotonic() - begun
    count = int((folder / "whole.count").read_text())
    moments = sorted(random.Random(seed).sample(range(1, count + 1), min(count, MOMENTS)))
    for moment in moments:
        own = Path(shutil.copytree(prepared, folder / f"moment-{moment}"))
        killed = end_of(run, own, Disk(moment))
        must(killed == -signal.SIGKILL, f"moment {moment} never came: {killed}")
        must(end_of(look, own) == 0, f"what moment {moment} left misleads")
        must(end_of(run, own) == 0, f"after moment {moment} the stage fails")
    for share in CLOCK:
        own = Path(shutil.copytree(prepared, folder / f"clock-{share}"))
        child = begin(run, own, None)
        time.sleep(share * spent)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        must(end_of(run, own) == 0, f"after {share} of the time the stage fails")
    return {"stage": stage, "seed": seed, "count": count, "moments": moments}


def must(good: bool, otherwise: str) -> None:
    if not good:
        raise RuntimeError(otherwise)


class Engine:
    """Answers that follow from the prompt, their number and the seed."""

    @property
    def identity(self):
        return {"model": "talker", "revision": "1", "chat_template_sha": "none"}

    def generate(self, prompts, n, sampling):
        words = ("red fox", "blue whale", "green frog", "grey wolf", "pink crab")
        texts = []
        for prompt in prompts:
            digest = hashlib.sha256(f"{prompt}{sampling.seed}".encode()).digest()
            texts.append([f"{words[digest[i % 32] % 5]} {i % 7}" for i in range(n)])
        return Generations(list(prompts), texts, [[False] * n for _ in prompts])


class Words:
    """A quality that can be read off the answers."""

    name, margin, two_sided, identity = "words", 0.5, False, {}

    def __call__(self, prompts, completions, **columns):
        return [float(len(text)) for text in completions]


def zoo() -> Any:
    answers = [["red fox"], ["green frog"], ["pink crab"]]
    rows = (
        PromptRow(f"p{i}", f"An animal, number {i}?", columns={"answers": answers})
        for i in range(7)
    )
    return PromptSet("zoo", tuple(rows), version="3")


def nothing() -> None:
    """Some stages need no preparation, and some leave nothing that could be looked at."""


def drawing(url: str):
    def run():
        generate(Engine(), zoo(), 4, output="run")

    return nothing, run, unfinished


def drawing_together(url: str):
    def run():
        strategy = build_strategy("over-generate", {}, kernel=NgramKernel, quality=dict)
        generate(Engine(), zoo(), 3, strategy=strategy, output="run", at_once=3)

    return nothing, run, unfinished


def unfinished():
    """A folder that is not finished is refused, and one that is read is whole."""
    try:
        rows = load_run("run").rows
    except ValueError as error:
        assert "unfinished" in str(error) or "holds no generations" in str(error), error
    else:
        assert [row["id"] for row in rows] == [row.id for row in zoo()]


def importing(url: str):
    def prepare():
        rows = [f"Name thing {i}.,answer {i} {j}\n" for i in range(40) for j in range(5)]
        Path("table.csv").write_text("prompt,response\n" + "".join(rows), "utf-8")

    def look():
        try:
            assert len(load_run("run").rows) == 40
        except ValueError as error:
            assert "holds no generations" in str(error), error

    return prepare, lambda: import_run("table.csv", model="me/m", output="run"), look


def evaluating(url: str):
    def prepare():
        run = generate(Engine(), zoo(), 4, output="run")
        evaluate(run, kernels=[NgramKernel(3)]).save("run")  # an older report, which is replaced

    def run():
        embedder = CachedEmbedder(HashingEmbedder(), "rows.sqlite")
        evaluate("run", embedder=embedder, quality=[Words()]).save("run")

    def look():
        """The two files of a report are replaced one after the other, and never mixed."""
        try:
            report = load_report("run")
        except ValueError as error:
            assert "not of one evaluation" in str(error), error
        else:
            kernels = {kernel["name"] for kernel in report.recipe["kernels"]}
            seen = {name.partition(",")[2] for name in report.names("measures")}
            assert seen - {"words", "answers"} == kernels

    return prepare, run, look


def comparing(url: str):
    def prepare():
        for seed, name in enumerate(("before", "after")):
            run = generate(Engine(), zoo(), 4, sampling=Sampling(seed=seed), output=name)
            evaluate(run, quality=[Words()]).save(name)

    def run():
        comparison = compare("before", "after", resamples=50)
        comparison.save("out")
        write_report(comparison, "out/report.html")
        write_figures(comparison, "out/figures")

    def look():
        """Whatever is there under its own name is whole."""
        if Path("out/comparison.json").exists():
            json.loads(Path("out/comparison.json").read_text("utf-8"))
        for path in Path("out").glob("**/*.svg"):
            assert path.read_text("utf-8").endswith("</svg>\n")

    return prepare, run, look


def scoring(url: str):
    def prepare():
        generate(Engine(), zoo(), 4, output="run")

    def look():
        for path in Path("scores").glob("**/*.json"):
            assert json.loads(path.read_text("utf-8"))["n_prompts"] == 7

    return prepare, lambda: score_protocol("run", "enumerable@1").save("scores"), look


def pairing(url: str):
    def prepare():
        generate(Engine(), zoo(), 6, output="run")

    def run():
        pairs = build_pairs(load_run("run").rows, kernel=NgramKernel(), quality=Words())
        for ending in ("jsonl", "parquet"):
            write_rows(pairs, Path(f"pairs.{ending}"))

    def look():
        if Path("pairs.jsonl").exists():
            assert Path("pairs.jsonl").read_text("utf-8").endswith("}\n")

    return prepare, run, look


def embedding(url: str):
    texts = [f"text number {i}" for i in range(60)]

    def run():
        cache.PER_COMMIT = 7
        rows = CachedEmbedder(HashingEmbedder(), "rows.sqlite")(texts)
        assert (rows == HashingEmbedder()(texts)).all()

    return nothing, run, run


def answering(url: str):
    def run():
        out, sys.stdout = sys.stdout, io.StringIO()
        asked = ["answers", "A fruit?", "--engine", "openai", "--model", "m", "--base-url", url]
        assert command_line([*asked, "--strategy", "in-context", "--embedder", "none"]) == 0
        Path("shown.txt").write_text(sys.stdout.getvalue(), "utf-8")
        sys.stdout = out

    return nothing, run, nothing


STAGES = {
    "generate": drawing,
    "generate together": drawing_together,
    "import": importing,
    "evaluate": evaluating,
    "compare and report": comparing,
    "score": scoring,
    "pairs": pairing,
    "embeddings": embedding,
    "answers": answering,
}
"""Name of a stage -> a function of the server's address to (prepare, run, look at what is left)."""


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from conftest import HashingEmbedder

    from diversify import cache
    from diversify.cli import main as command_line
    from diversify.decoding import build_strategy
    from diversify.embedders import CachedEmbedder
    from diversify.engines import Generations, Sampling
    from diversify.evaluation import (
        PromptRow,
        PromptSet,
        compare,
        evaluate,
        generate,
        import_run,
        load_report,
        load_run,
    )
    from diversify.evaluation.protocols import score_protocol
    from diversify.evaluation.report import write_figures, write_report
    from diversify.kernels import NgramKernel
    from diversify.pairs import build_pairs
    from diversify.trainers.row_files import write_rows

    for each in sys.argv[4:]:
        place = Path(sys.argv[1]).resolve() / each
        print(json.dumps(kill_at_moments(each, place, int(sys.argv[2]), sys.argv[3])), flush=True)
