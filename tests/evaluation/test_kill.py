"""`kill -9` at any moment: a stage that is run again leaves what an undisturbed run leaves.

Each stage is killed at twenty moments of its work on the disk, drawn by a seed, and twice by the
clock (`killing.py`); then it runs again. The moments are printed, so that a failure can be repeated.
"""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from fake_server import FakeServer

from diversify.cache import DiskCache

SCRIPT = Path(__file__).with_name("killing.py")
SEED = 20261124
FAST = ["generate", "generate together", "import", "evaluate", "score"]
SLOW = ["compare and report", "pairs", "embeddings", "answers"]

WHEN = {"date", "total_evaluation_time_seconds"}
"""Of a report: when it was made and how long that took, which no two runs have in common."""


def killed_stages(folder: Path, stages: list[str]) -> dict[str, dict]:
    with FakeServer(lambda body: f"fruit {len(body['messages'])}") as server:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENAI_API_KEY": "none"}
        arguments = [sys.executable, str(SCRIPT), str(folder), str(SEED), server.url, *stages]
        done = subprocess.run(
            arguments, env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return {found["stage"]: found for found in map(json.loads, done.stdout.splitlines())}


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fast")
    return folder, killed_stages(folder, FAST)


@pytest.fixture(scope="module")
def slow(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slow")
    return folder, killed_stages(folder, SLOW)


def content(folder: Path) -> dict[str, object]:
    """Return what counts in a folder: every file, by its name.

    Not counted are what a killed process was writing under a name of its own (`.new`), which nobody
    reads, and locks. An SQLite file is its rows, for its pages lie as they were filled.
    """
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if (
            path.is_dir()
            or path.suffix in (".new", ".lock")
            or path.name.endswith(("-wal", "-shm"))
        ):
            continue
        if path.suffix == ".sqlite":
            with closing(sqlite3.connect(path)) as database:
                assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                found[name] = database.execute("SELECT key, row FROM rows ORDER BY key").fetchall()
        elif path.name == "report.json":
            report = json.loads(path.read_text("utf-8"))
            found[name] = {key: value for key, value in report.items() if key not in WHEN}
        else:
            found[name] = path.read_bytes()
    return found


def same_as_undisturbed(folder: Path, record: dict) -> None:
    print(record)
    assert len(record["moments"]) == min(record["count"], 20)
    whole = content(folder / record["stage"] / "whole")
    others = [path for path in (folder / record["stage"]).glob("*-*") if path.is_dir()]
    assert len(others) == len(record["moments"]) + 2
    assert whole.keys() > content(folder / record["stage"] / "prepared").keys() or (
        record["stage"] == "evaluate"
    )
    for path in others:
        found = content(path)
        assert found.keys() == whole.keys(), path.name
        assert [name for name in whole if whole[name] != found[name]] == [], path.name


@pytest.mark.parametrize("stage", FAST)
def test_a_killed_stage_leaves_what_an_undisturbed_one_leaves(fast, stage):
    folder, records = fast
    same_as_undisturbed(folder, records[stage])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("stage", SLOW)
def test_a_killed_stage_with_models_or_figures_does_too(slow, stage):
    folder, records = slow
    same_as_undisturbed(folder, records[stage])


def test_a_journal_of_the_cache_that_was_torn_anywhere_is_cut_back(tmp_path):
    """A kill inside a commit leaves a torn write-ahead log: whole commits stay, half ones do not."""
    path = tmp_path / "rows.sqlite"
    cache = DiskCache(path)
    cache.write({})  # makes the file
    with closing(sqlite3.connect(path)) as reader:  # holds the log open: nobody folds it in
        reader.execute("SELECT count(*) FROM rows").fetchone()
        for commit in range(6):
            cache.write({b"%d-%d" % (commit, i): b"x" * 300 for i in range(5)})
        pages, log = path.read_bytes(), (tmp_path / "rows.sqlite-wal").read_bytes()
    kept = set()
    for twentieth in range(21):
        torn = tmp_path / f"torn-{twentieth}" / "rows.sqlite"
        torn.parent.mkdir()
        torn.write_bytes(pages)
        torn.with_name("rows.sqlite-wal").write_bytes(log[: len(log) * twentieth // 20])
        found = DiskCache(torn).read([b"%d-%d" % (c, i) for c in range(6) for i in range(5)])
        commits = {int(key.split(b"-")[0]) for key in found}
        assert len(found) == 5 * len(commits) and commits == set(range(len(commits)))
        kept.add(len(commits))
        DiskCache(torn).write({b"more": b"1"})
        assert DiskCache(torn).read([b"more"]) == {b"more": b"1"}
    assert kept >= {0, 6} and len(kept) > 3
