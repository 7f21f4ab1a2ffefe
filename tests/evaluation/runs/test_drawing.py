"""One run folder, drawn by several processes: the same bytes, whoever draws what and dies when."""

import json
import multiprocessing
import os
import signal
import tracemalloc
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from diversify.engines import Generations, Sampling
from diversify.evaluation import PromptRow, PromptSet, Shard, draw_rows, generate, load_run
from diversify.evaluation.runs import drawing as module

FILES = ("generations.jsonl", "run.json")


def contents(folder):
    """Every file of a run folder, so that nothing else may be left in it."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def draw(engine, prompts, folder, shard, **options):
    return draw_rows(engine, prompts, 4, output=folder, shard=Shard.parse(shard), **options)


@pytest.fixture
def whole(prompts, talking_engine, tmp_path):
    generate(talking_engine(), prompts, 4, output=tmp_path / "whole")
    found = contents(tmp_path / "whole")
    assert sorted(found) == sorted(FILES)
    return found


@pytest.mark.parametrize("count", [2, 5, 13])
def test_any_number_of_shares_gives_the_folder_of_one(
    prompts, talking_engine, tmp_path, whole, count
):
    """Twelve prompts: in halves, in five shares of two or three, and in more shares than prompts."""
    engine = talking_engine()
    left = [
        draw(engine, prompts, tmp_path / "run", f"{number}/{count}")
        for number in range(count, 0, -1)
    ]
    sizes = [len(Shard(number, count).of(prompts.rows)) for number in range(count, 0, -1)]
    assert left == [12 - sum(sizes[: turn + 1]) for turn in range(count)]
    assert contents(tmp_path / "run") == whole
    assert sorted(engine.calls) == sorted([row.prompt] for row in prompts)


def test_prompts_that_are_drawn_together_stay_together(prompts, talking_engine, tmp_path):
    """Twelve prompts in calls of five: the calls are shared out and not the prompts."""
    alone, shared = talking_engine(), talking_engine()
    draw(alone, prompts, tmp_path / "alone", "1/1", at_once=5)
    for shard in ("2/2", "1/2"):
        draw(shared, prompts, tmp_path / "shared", shard, at_once=5)
    assert shared.calls == [alone.calls[1], alone.calls[0], alone.calls[2]]
    assert contents(tmp_path / "shared") == contents(tmp_path / "alone")


def test_other_shares_continue_what_was_interrupted(prompts, talking_engine, tmp_path, whole):
    """Of three shares one is finished, one has two of its four rows and one none; then there are two."""
    folder = tmp_path / "run"
    first = talking_engine()
    assert draw(first, prompts, folder, "1/3") == 8
    second = talking_engine(fail_after=2)
    with pytest.raises(KeyboardInterrupt):
        draw(second, prompts, folder, "2/3")
    with pytest.raises(ValueError, match="unfinished"):
        load_run(folder)
    torn = folder / "generations.jsonl.partial-2of3"
    torn.write_bytes(torn.read_bytes() + b'7\t{"id": "p7", "gener')
    others = [talking_engine(), talking_engine()]
    draw(others[0], prompts, folder, "1/2")
    assert draw(others[1], prompts, folder, "2/2") == 0
    drawn = Counter(prompt for engine in (first, second, *others) for (prompt,) in engine.calls)
    assert drawn == Counter(row.prompt for row in prompts)  # nothing twice
    assert contents(folder) == whole


def test_one_process_continues_shares_and_shares_continue_one_process(
    prompts, talking_engine, tmp_path, whole
):
    for name, first, rest in (("a", "2/3", ["1/1"]), ("b", "1/1", ["1/2", "2/2"])):
        with pytest.raises(KeyboardInterrupt):
            draw(talking_engine(fail_after=3), prompts, tmp_path / name, first)
        engine = talking_engine()
        for shard in rest:
            draw(engine, prompts, tmp_path / name, shard)
        assert len(engine.calls) == 9
        assert contents(tmp_path / name) == whole


def test_a_torn_line_of_its_own_is_cut_off(prompts, talking_engine, tmp_path, whole):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        draw(talking_engine(fail_after=3), prompts, folder, "1/2")
    own = folder / "generations.jsonl.partial-1of2"
    own.write_bytes(own.read_bytes()[:-9])
    engine = talking_engine()
    draw(engine, prompts, folder, "1/2")
    draw(engine, prompts, folder, "2/2")
    assert len(engine.calls) == 10
    assert contents(folder) == whole


def test_shares_that_finish_at_once_do_not_disturb_each_other(
    prompts, talking_engine, tmp_path, whole
):
    """Six threads have two prompts each, fifteen times: some of them put the files together at once."""
    with ThreadPoolExecutor(6) as pool:
        for turn in range(15):
            folder = tmp_path / f"run-{turn}"
            jobs = [
                pool.submit(draw, talking_engine(), prompts, folder, f"{number}/6")
                for number in range(1, 7)
            ]
            assert 0 in [job.result() for job in jobs]
            assert contents(folder) == whole


def test_a_folder_that_another_process_finishes_meanwhile(
    prompts, talking_engine, tmp_path, whole, monkeypatch
):
    """Its part file was listed, then it was gone; without a finished file that is an error."""
    folder = tmp_path / "run"
    gone = folder / "generations.jsonl.partial-1of2"
    looks = iter(range(9))

    def listing(path):
        if next(looks) == 0:
            return []
        if finished:
            (folder / "generations.jsonl").write_bytes(whole["generations.jsonl"])
        return [gone]

    monkeypatch.setattr(module, "part_files", listing)
    finished = False
    with pytest.raises(FileNotFoundError):
        draw(talking_engine(), prompts, folder, "2/2")
    finished, looks = True, iter(range(1, 9))
    engine = talking_engine()
    assert draw(engine, prompts, folder, "2/2") == 0 and engine.calls == []


def test_part_files_beside_a_finished_run_are_removed(prompts, talking_engine, tmp_path, whole):
    """A kill came after the finished file had appeared and before the others were gone."""
    folder = tmp_path / "run"
    draw(talking_engine(), prompts, folder, "1/2")
    (folder / "generations.jsonl").write_bytes(whole["generations.jsonl"])
    assert len(load_run(folder).rows) == 12
    assert draw(talking_engine(fail_after=0), prompts, folder, "2/2") == 0
    assert contents(folder) == whole


def test_a_kill_while_the_files_were_put_together_leaves_nothing_behind(
    prompts, talking_engine, tmp_path, whole
):
    folder = tmp_path / "run"
    draw(talking_engine(), prompts, folder, "1/2")
    (folder / "generations.jsonl.0123456789abcdef.new").write_text("half of it")
    assert draw(talking_engine(), prompts, folder, "2/2") == 0
    assert contents(folder) == whole


def test_rows_of_other_settings_are_not_mixed_in(prompts, talking_engine, tmp_path):
    """Two processes with different seeds began at once, and one wrote its settings over the other's."""
    options = {"sampling": Sampling(seed=1)}
    draw(talking_engine(), prompts, tmp_path / "other", "1/2", **options)
    folder = tmp_path / "run"
    draw(talking_engine(), prompts, folder, "2/2")
    name = "generations.jsonl.partial-1of2"
    (folder / name).write_bytes((tmp_path / "other" / name).read_bytes())
    with pytest.raises(ValueError, match=rf"{name}, line 1: the row was drawn with other settings"):
        draw(talking_engine(), prompts, folder, "1/2")
    assert sorted(path.name for path in folder.iterdir())[0] == name  # nothing is lost or finished


def test_rows_that_were_written_twice_count_once(prompts, talking_engine, tmp_path, whole):
    """A forgotten process with the same share wrote the same rows into the same file."""
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        draw(talking_engine(fail_after=3), prompts, folder, "1/1")
    partial = folder / "generations.jsonl.partial"
    partial.write_bytes(partial.read_bytes() * 2)
    draw(talking_engine(), prompts, folder, "1/1")
    assert contents(folder) == whole


def test_an_id_that_occurs_twice_is_refused(talking_engine, tmp_path):
    rows = (PromptRow("a", "one"), PromptRow("a", "two"))
    with pytest.raises(ValueError, match="the id 'a' occurs twice"):
        generate(talking_engine(), PromptSet("s", rows), 2, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_progress_is_that_of_the_share(prompts, talking_engine, tmp_path):
    told = []
    with pytest.raises(KeyboardInterrupt):
        draw(talking_engine(fail_after=1), prompts, tmp_path / "run", "2/5")
    draw(
        talking_engine(),
        prompts,
        tmp_path / "run",
        "2/5",
        progress=lambda name, done, total, seconds: told.append((name, done, total)),
    )
    assert told == [("run 2/5", 2, 3), ("run 2/5", 3, 3)]


def test_kill_9_of_one_process_stops_no_other_and_loses_no_row(
    prompts, talking_engine, tmp_path, whole
):
    """The second of two dies in its third row; the first ends, and one process draws the four left."""
    folder = tmp_path / "run"
    engine = talking_engine()

    def die_in_the_third_row():
        def answer(asked, n, sampling):
            if len(engine.calls) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return type(engine).generate(engine, asked, n, sampling)

        engine.generate = answer
        draw(engine, prompts, folder, "2/2")

    child = multiprocessing.get_context("fork").Process(target=die_in_the_third_row)
    child.start()
    child.join(60)
    assert child.exitcode == -signal.SIGKILL
    assert draw(talking_engine(), prompts, folder, "1/2") == 4
    lines = (folder / "generations.jsonl.partial-2of2").read_text().splitlines()
    assert [json.loads(line.split("\t")[1])["id"] for line in lines] == ["p1", "p3"]
    assert draw(engine, prompts, folder, "1/1") == 0
    assert len(engine.calls) == 4
    assert contents(folder) == whole


class Verbose:
    """Four answers of 50 kB a prompt."""

    identity = {"model": "verbose"}  # noqa: RUF012 (read only)

    def generate(self, prompts, n, sampling):
        return Generations(list(prompts), [[str(i) * 50_000 for i in range(n)] for _ in prompts])


@pytest.mark.parametrize("count", [1, 2])
def test_memory_does_not_grow_with_the_answers(tmp_path, count):
    """200 kB a row: ninety rows more are 18 MB, of which not one may be held."""
    peaks = []
    for size in (10, 100):
        rows = tuple(PromptRow(f"p{i}", f"q{i}") for i in range(size))
        tracemalloc.start()
        for number in range(1, count + 1):
            shard = f"{number}/{count}"
            draw(Verbose(), PromptSet("s", rows), tmp_path / f"run-{size}", shard)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (tmp_path / f"run-{size}/generations.jsonl").stat().st_size > size * 200_000
    assert peaks[1] - peaks[0] < 200_000
