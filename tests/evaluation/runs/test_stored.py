"""Rows that stay on disk: they read like a list, notice a changed file, and take no memory."""

import copy
import json
import os
import pickle
import tracemalloc

import pytest

from diversify.evaluation import compare, evaluate, load_report, load_run
from diversify.evaluation.ahead import embedded_ahead
from diversify.evaluation.judged import judged
from diversify.evaluation.runs import stored
from diversify.evaluation.runs.stored import RowSpool, StoredRows
from diversify.quality import Rule

ROWS = [
    {"id": "a", "prompt": "P", "generations": ["x", "y"]},
    {"id": "b", "prompt": "Q\u2028", "generations": ["é"], "group": "g"},
    {"id": "c", "prompt": "R", "generations": ["z"]},
]


def unchecked(row, number):
    return row


@pytest.fixture(params=["file", "crlf", "bom", "spool", "rolled"])
def rows(request, tmp_path, monkeypatch):
    if request.param in ("spool", "rolled"):
        monkeypatch.setattr(stored, "IN_MEMORY", 10 if request.param == "rolled" else 1 << 20)
        spool = RowSpool()
        for row in ROWS:
            spool.append(row)
        return spool.rows()
    end = "\r\n" if request.param == "crlf" else "\n"
    text = end.join(json.dumps(row, ensure_ascii=False) for row in ROWS)
    mark = "\ufeff" if request.param == "bom" else ""
    file = tmp_path / "rows.jsonl"
    file.write_bytes((mark + end + text + end + " ").encode())
    return StoredRows.of_file(file, unchecked)


class TestLikeAList:
    def test_reading(self, rows):
        assert list(rows) == ROWS and len(rows) == 3 and rows == ROWS and ROWS == list(rows)
        assert rows[1] == ROWS[1] and rows[-1] == ROWS[-1]
        assert rows[1:] == ROWS[1:] and rows[::-1] == ROWS[::-1] and rows[5:] == []
        assert rows != ROWS[:2] and rows != [ROWS[0], ROWS[2], ROWS[1]] and rows != "abc"
        assert ROWS[1] in rows and rows.index(ROWS[2]) == 2
        with pytest.raises(IndexError):
            rows[3]

    def test_two_readers_do_not_disturb_each_other(self, rows):
        assert [(one, other) for one, other in zip(rows, rows[::-1], strict=True)] == list(
            zip(ROWS, ROWS[::-1], strict=True)
        )

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    def test_a_process_that_was_forked_off_does_not_disturb(self, monkeypatch):
        """Both read by turns from one temporary file, whose position they share."""
        monkeypatch.setattr(stored, "IN_MEMORY", 1)
        spool, many = RowSpool(), [{"id": str(n), "text": "x" * n} for n in range(300)]
        for row in many:
            spool.append(row)
        rows = spool.rows()
        child = os.fork()
        good = all(rows[n % 300] == many[n % 300] for n in range(0, 30_000, 7))
        if not child:
            os._exit(0 if good else 1)
        assert good and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def test_heads_and_order(self, rows):
        assert rows.heads[1] == {"id": "b", "prompt": "Q\u2028", "group": "g"}
        turned = rows.taken([2, 0])
        assert turned.ids == ["c", "a"] and turned == [ROWS[2], ROWS[0]]
        assert [head["id"] for head in turned.heads] == ["c", "a"]

    def test_lines_are_those_of_json(self, rows):
        lines = list(rows.lines())
        assert [json.loads(line) for line in lines] == ROWS
        assert all(line.endswith(b"}\n") for line in lines)

    def test_copies_travel_whole(self, rows):
        for again in (pickle.loads(pickle.dumps(rows)), copy.deepcopy(rows)):
            assert again == ROWS and isinstance(again, list)


class TestFiles:
    def test_a_changed_file_is_not_read_as_if_it_were_the_old_one(self, tmp_path):
        file = tmp_path / "rows.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
        rows = StoredRows.of_file(file, unchecked)
        file.write_text("".join(json.dumps(row) + "\n" for row in reversed(ROWS)) + "\n")
        with pytest.raises(ValueError, match=r"rows\.jsonl has changed since it was read: load it"):
            rows[0]
        file.unlink()
        with pytest.raises(ValueError, match="has changed"):
            list(rows)

    def test_numbers_of_a_report_outlive_its_file(self, tmp_path, make_report):
        report = load_report(make_report("run", 0.5).save(tmp_path / "report"))
        before = report.column("measures", "vendi,ngram-2")
        (tmp_path / "report" / "samples.jsonl").unlink()
        assert report.column("measures", "vendi,ngram-2").tolist() == before.tolist()
        with pytest.raises(ValueError, match="has changed"):
            report.samples[0]

    def test_a_report_may_be_saved_where_it_was_read(self, tmp_path, make_report):
        place = make_report("run", 0.5).save(tmp_path / "report").parent
        report = load_report(place)
        report.save(place)
        assert report.samples[0]["id"] == load_report(place).samples[0]["id"]
        report.ordered(report.ids[::-1]).save(place)
        assert load_report(place).ids == report.ids[::-1]
        with pytest.raises(ValueError, match="has changed"):
            report.samples[0]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b'{"id": "a"}\n\n[1]\n', "line 3: expected a JSON object"),
            (b'{"id": "a"}\n{"id": "\xff"}\n', "line 2: not UTF-8"),
            (b'{"id": "a"}\n{"id": "a"}\n', "the id 'a' occurs twice"),
            (b"\n \n", "holds no rows"),
            (b'{"id": "a"', "line 1: not valid JSON"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, content, message):
        file = tmp_path / "rows.jsonl"
        file.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            StoredRows.of_file(file, unchecked)


class TestMemory:
    """Eight times the prompts, the same memory: answers of 20 kB, eight a prompt, 16 at once."""

    @pytest.fixture
    def small_steps(self, monkeypatch):
        for function in (embedded_ahead, judged):
            monkeypatch.setitem(function.__kwdefaults__, "at_once", 16)
        monkeypatch.setattr(stored, "IN_MEMORY", 1)

    @staticmethod
    def write(folder, prompts):
        folder.mkdir()
        with (folder / "generations.jsonl").open("w") as stream:
            for number in range(prompts):
                texts = [f"{number} {answer} {'word ' * 4000}" for answer in range(8)]
                row = {"id": str(number), "prompt": f"P{number}", "generations": texts}
                stream.write(json.dumps(row) + "\n")
        return folder

    @staticmethod
    def peak(work):
        tracemalloc.start()
        work()
        held = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return held

    def test_evaluate_and_compare_hold_a_few_prompts(self, tmp_path, small_steps):
        said = Rule(lambda prompt, text: len(text) > 3, "said")
        folders = [self.write(tmp_path / str(count), count) for count in (20, 160)]
        for work in (
            lambda folder: evaluate(load_run(folder), quality=[said]).save(folder),
            lambda folder: compare(folder, folder, resamples=100),
        ):
            few, many = (self.peak(lambda f=folder, w=work: w(f)) for folder in folders)
            assert many < 1.25 * few
            assert many < 160 * 8 * 20_000 / 2  # half of what the answers alone take
