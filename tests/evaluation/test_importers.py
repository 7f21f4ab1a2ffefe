import csv
import json
import logging
import zipfile

import pytest

from diversify.evaluation import compare, evaluate, load_run
from diversify.evaluation.importers import FORMATS, import_run

HOSTILE = [
    "<script>alert(1)</script>",
    "right to left \u202eemit siht\u2069",
    "quotes \" and '' and | bars, commas",
    "line one\nline two\r\nline three\u2028four",
    "\x00\x07 control \ufffd",
    "",
    "  \t ",
    "=HYPERLINK('http://example.org')",
    "é e\u0301 😀 \ud7ff",
]


def lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def sample(number, texts, *, doc=None, filter="none", **options):
    """One row as lm-eval 0.4.13 writes it."""
    doc = {"question": f"Question {number}?"} if doc is None else doc
    options = {"until": [], "do_sample": True, "temperature": 0.7, "max_gen_toks": 64} | options
    return {
        "doc_id": number,
        "doc": doc,
        "target": "",
        "arguments": {"gen_args_0": {"arg_0": f"<user>Question {number}?", "arg_1": options}},
        "resps": [texts],
        "filtered_resps": [texts[:1]],
        "filter": filter,
    }


LM_EVAL = "samples_open_2026-11-24T17-58-46.190772.jsonl"


class TestLmEval:
    def test_answers_settings_and_the_results_beside_them(self, tmp_path):
        path = lines(tmp_path / LM_EVAL, [sample(0, ["a", "b"]), sample(1, ["c", ""])])
        results = {
            "model_name": "me/base",
            "chat_template_sha": "abc",
            "system_instruction": "Be brief.",
            "versions": {"open": 1.0},
            "config": {"model_sha": "", "model_revision": "main"},
            "lm_eval_version": "0.4.13",
        }
        (tmp_path / "results_2026-11-24T17-58-46.190772.json").write_text(json.dumps(results))
        run = import_run(path)
        assert [row["generations"] for row in run.rows] == [["a", "b"], ["c", ""]]
        assert run.settings["engine"] == {
            "model": "me/base",
            "revision": "main",
            "chat_template_sha": "abc",
            "system": "Be brief.",
            "harness": "lm-eval 0.4.13",
        }
        assert run.settings["sampling"] == {"temperature": 0.7, "max_tokens": 64}
        assert run.settings["prompts"]["name"] == "open"
        assert run.settings["prompts"]["version"] == "1.0"
        assert run.settings["samples"] == 2
        assert run.settings["imported"]["blank"] == 1

    def test_the_prompt_is_the_documents_or_the_context(self, tmp_path):
        with_prompt = sample(0, ["a"], doc={"id": "p0", "prompt": "Raw?", "answers": [["a"]]})
        run = import_run(lines(tmp_path / "s.jsonl", [with_prompt, sample(1, ["b"])]))
        assert [row["prompt"] for row in run.rows] == ["Raw?", "<user>Question 1?"]
        assert [row["id"] for row in run.rows] == ["p0", "doc-1"]
        assert run.rows[0]["answers"] == [["a"]]
        rows = [sample(0, ["a"])]
        run = import_run(lines(tmp_path / "s.jsonl", rows), prompt="question", model="me/m")
        assert run.rows[0]["prompt"] == "Question 0?" and run.rows[0]["model"] == "me/m"
        with pytest.raises(ValueError, match=r"line 1: the document has no 'text'; .*question"):
            import_run(tmp_path / "s.jsonl", prompt="text")

    def test_answers_that_are_no_alias_lists_are_not_taken_for_such(self, tmp_path):
        row = sample(0, ["a"], doc={"prompt": "Who?", "answers": ["Ann", "Anne"]})
        assert "answers" not in import_run(lines(tmp_path / "s.jsonl", [row])).rows[0]

    def test_a_document_logged_for_each_filter_is_read_once(self, tmp_path):
        rows = [sample(0, ["a", "b"], filter=name) for name in ("first", "all")]
        assert import_run(lines(tmp_path / "s.jsonl", rows)).rows[0]["generations"] == ["a", "b"]
        rows[1] = sample(0, ["a", "c"], filter="all")
        message = "line 2: the document 'doc-0' was logged before, with other answers"
        with pytest.raises(ValueError, match=message):
            import_run(lines(tmp_path / "s.jsonl", rows))
        rows = [sample(n, ["a"], doc={"id": "x", "prompt": f"Q{n}?"}) for n in range(2)]
        with pytest.raises(
            ValueError, match=r"line 2: the document 'x' .* before, with another prompt"
        ):
            import_run(lines(tmp_path / "s.jsonl", rows))

    def test_the_old_layout_of_arguments(self, tmp_path):
        row = sample(0, ["a"]) | {"arguments": [["Question?", {"temperature": 1.0}]]}
        run = import_run(lines(tmp_path / "s.jsonl", [row]))
        assert run.rows[0]["prompt"] == "Question?"
        assert run.settings["sampling"] == {"temperature": 1.0}

    def test_greedy_is_temperature_zero(self, tmp_path):
        run = import_run(lines(tmp_path / "s.jsonl", [sample(0, ["a"], do_sample=False)]))
        assert run.settings["sampling"]["temperature"] == 0.0

    def test_tasks_that_generate_nothing_are_refused(self, tmp_path):
        row = sample(0, ["a"]) | {
            "arguments": {"gen_args_0": {"arg_0": "Q", "arg_1": " A"}},
            "resps": [[["-1.5", "False"]]],
        }
        with pytest.raises(ValueError, match="line 1: the task generates no text"):
            import_run(lines(tmp_path / "s.jsonl", [row]))

    def test_a_torn_line_is_named(self, tmp_path):
        path = lines(tmp_path / "s.jsonl", [sample(0, ["a"]), sample(1, ["b"])])
        path.write_text(path.read_text()[:-30])
        with pytest.raises(ValueError, match=r"s\.jsonl, line 2: not valid JSON"):
            import_run(path)
        broken = sample(0, ["a"]) | {"resps": [["a", None]]}
        with pytest.raises(ValueError, match="line 1: 'resps' must hold one list of texts"):
            import_run(lines(path, [broken]))


def choice(text, stop="stop"):
    return {"message": {"role": "assistant", "content": text}, "stop_reason": stop}


def inspect_log(samples, **changes):
    """A log with the keys of inspect_ai 0.3.285 that matter here."""
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "task": "stories",
            "task_version": 3,
            "model": "openai/gpt",
            "dataset": {"name": "s", "sample_ids": ["x", "y"]},
            "model_generate_config": {"max_tokens": 9},
            "packages": {"inspect_ai": "0.3.285"},
        },
        "plan": {"config": {"temperature": 0.5, "max_tokens": 4, "system_message": "Hi."}},
        "samples": samples,
    } | changes


def epoch(name, number, *choices, **more):
    return {
        "id": name,
        "epoch": number,
        "input": f"Tell {name}.",
        "output": {"choices": list(choices)},
        "metadata": {"category": "tales", "other": 1},
    } | more


SAMPLES = [
    epoch("y", 1, choice("y1")),
    epoch("x", 2, choice("x3", "max_tokens")),
    epoch("x", 1, choice("x1"), choice("x2")),
]


class TestInspect:
    def test_choices_and_epochs_become_answers_in_the_order_of_the_data_set(self, tmp_path):
        path = tmp_path / "log.json"
        path.write_text(json.dumps(inspect_log(SAMPLES)))
        run = import_run(path)
        assert [(row["id"], row["generations"]) for row in run.rows] == [
            ("x", ["x1", "x2", "x3"]),
            ("y", ["y1"]),
        ]
        assert run.rows[0]["truncated"] == [False, False, True]
        assert run.rows[0]["prompt"] == "Tell x." and run.rows[0]["category"] == "tales"
        assert "other" not in run.rows[0]
        assert run.settings["sampling"] == {"temperature": 0.5, "max_tokens": 9}
        assert run.settings["engine"]["system"] == "Hi."
        assert run.settings["prompts"]["version"] == "3"
        assert run.settings["samples"] == [1, 3]

    def test_a_zipped_log_says_the_same(self, tmp_path):
        log = inspect_log(SAMPLES)
        (tmp_path / "log.json").write_text(json.dumps(log))
        with zipfile.ZipFile(tmp_path / "log.eval", "w", zipfile.ZIP_DEFLATED) as archive:
            for one in log.pop("samples"):
                name = f"samples/{one['id']}_epoch_{one['epoch']}.json"
                archive.writestr(name, json.dumps(one))
            archive.writestr("summaries.json", "[]")
            archive.writestr("header.json", json.dumps(log))
        assert import_run(tmp_path / "log.eval").rows == import_run(tmp_path / "log.json").rows

    def test_a_killed_run_has_its_journal(self, tmp_path, caplog):
        log = inspect_log([])
        start = {name: log[name] for name in ("version", "eval", "plan")}
        with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
            archive.writestr("_journal/start.json", json.dumps(start))
            archive.writestr("samples/x_epoch_1.json", json.dumps(SAMPLES[2]))
        with caplog.at_level(logging.WARNING):
            run = import_run(tmp_path / "log.eval")
        assert run.rows[0]["generations"] == ["x1", "x2"]
        assert "ended as 'started'" in caplog.text

    def test_failed_samples_are_counted_and_no_answers(self, tmp_path, caplog):
        broken = [epoch("x", 1, choice("half"), error={"message": "timeout"}), epoch("z", 1)]
        path = tmp_path / "log.json"
        path.write_text(json.dumps(inspect_log([*broken, epoch("y", 1, choice("y1"))])))
        with caplog.at_level(logging.WARNING):
            run = import_run(path)
        assert [row["id"] for row in run.rows] == ["y"]
        assert run.settings["imported"]["failed"] == 2 and "2 samples failed" in caplog.text
        path.write_text(json.dumps(inspect_log(broken)))
        with pytest.raises(ValueError, match="holds no answers; 2 samples failed"):
            import_run(path)

    def test_reasoning_is_left_out_and_attachments_are_put_back(self, tmp_path):
        parts = [
            {"type": "reasoning", "reasoning": "Hm."},
            {"type": "text", "text": "attachment://h"},
        ]
        one = epoch("x", 1, choice(parts), attachments={"h": "A long tale."})
        one["input"] = [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "Tell."}], "id": "1"},
        ]
        path = tmp_path / "log.json"
        path.write_text(json.dumps(inspect_log([one])))
        (row,) = import_run(path).rows
        assert row["generations"] == ["A long tale."]
        assert row["prompt"] == [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Tell."},
        ]

    def test_what_is_no_log_is_refused(self, tmp_path, monkeypatch):
        path = tmp_path / "log.json"
        path.write_text('{"results": {}}')
        with pytest.raises(ValueError, match="no Inspect log"):
            import_run(path)
        with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
            archive.writestr("header.json", json.dumps(inspect_log([])))
        whole = (tmp_path / "log.eval").read_bytes()
        (tmp_path / "cut.eval").write_bytes(whole[:-40])
        with pytest.raises(ValueError, match="damaged or was cut off"):
            import_run(tmp_path / "cut.eval")

        def unreadable(self, name):
            raise NotImplementedError("That compression method is not supported")

        monkeypatch.setattr(zipfile.ZipFile, "read", unreadable)
        with pytest.raises(ValueError, match=r"zstd.*inspect log convert log\.eval --to json"):
            import_run(tmp_path / "log.eval")


def write_table(path, rows):
    if path.suffix == ".jsonl":
        return lines(path, rows)
    if path.suffix == ".json":
        path.write_text(json.dumps(rows), encoding="utf-8")
    elif path.suffix == ".csv":
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        import pyarrow
        import pyarrow.parquet as parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


KINDS = pytest.mark.parametrize("kind", [".jsonl", ".json", ".csv", ".parquet"])


class TestTables:
    @KINDS
    def test_hostile_answers_survive_unchanged(self, tmp_path, kind):
        rows = [{"prompt": "Say <b>it</b>.", "response": text} for text in HOSTILE]
        path = write_table(tmp_path / f"t{kind}", rows)
        (row,) = import_run(path, output=tmp_path / "run").rows
        assert row["generations"] == HOSTILE and row["prompt"] == "Say <b>it</b>."
        run = load_run(tmp_path / "run")
        assert run.rows[0]["generations"] == HOSTILE
        assert run.settings["imported"]["blank"] == 2

    @KINDS
    def test_ten_megabytes_survive(self, tmp_path, kind):
        limit = csv.field_size_limit()
        long = "abcdefghi\n" * 1_000_000
        path = write_table(tmp_path / f"t{kind}", [{"prompt": "Count.", "response": long}])
        assert import_run(path).rows[0]["generations"] == [long]
        assert csv.field_size_limit() == limit

    def test_lone_surrogates_survive(self, tmp_path):
        path = lines(tmp_path / "t.jsonl", [{"prompt": "Hi", "response": "\ud83d half"}])
        import_run(path, output=tmp_path / "run")
        assert load_run(tmp_path / "run").rows[0]["generations"] == ["\ud83d half"]

    def test_lists_columns_and_chats(self, tmp_path):
        chat = [{"role": "assistant", "content": "c"}]
        for number, (cell, expected) in enumerate(
            [(["a", "b"], ["a", "b"]), (chat, ["c"]), ([chat, chat], ["c", "c"])]
        ):
            path = lines(tmp_path / f"{number}.jsonl", [{"prompt": "P", "completions": cell}])
            assert import_run(path).rows[0]["generations"] == expected
        path = lines(tmp_path / "wide.jsonl", [{"q": "P", "one": "a", "two": "b"}])
        run = import_run(path, prompt="q", response=["one", "two"])
        assert run.rows[0]["generations"] == ["a", "b"]

    def test_prompts_pair_by_their_text_whatever_the_order(self, tmp_path):
        rows = [{"prompt": f"Prompt {i}", "response": f"answer {i}"} for i in range(3)]
        one = import_run(lines(tmp_path / "a.jsonl", rows))
        two = import_run(lines(tmp_path / "b.jsonl", rows[::-1]))
        assert sorted(r["id"] for r in one.rows) == sorted(r["id"] for r in two.rows)
        assert one.settings["prompts"] == two.settings["prompts"]

    def test_columns_that_say_one_thing_of_a_prompt_are_kept(self, tmp_path):
        rows = [
            {"id": 7, "prompt": "P", "response": "a", "category": "c", "score": 1, "key": "k"},
            {"id": 7, "prompt": "P", "response": "b", "category": "c", "score": 2, "key": "k"},
        ]
        (row,) = import_run(lines(tmp_path / "t.jsonl", rows)).rows
        assert row["id"] == "7" and row["category"] == "c"
        assert "score" not in row and "key" not in row
        rows[1]["prompt"] = "Q"
        with pytest.raises(ValueError, match="line 2: the id '7' had another prompt"):
            import_run(lines(tmp_path / "t.jsonl", rows))

    @pytest.mark.parametrize("kind", [".csv", ".jsonl"])
    def test_ids_that_number_the_answers_do_not_part_them(self, tmp_path, caplog, kind):
        """15 rows, 0 to 14; three prompts, by turns, with five answers each."""
        pets = ["cat", "dog", "owl"]
        rows = [
            {"id": n, "prompt": f"A {pets[n % 3]}?", "response": f"name {n}"} for n in range(15)
        ]
        with caplog.at_level(logging.WARNING):
            run = import_run(write_table(tmp_path / f"t{kind}", rows))
        assert [row["generations"] for row in run.rows] == [
            [f"name {n}" for n in range(first, 15, 3)] for first in range(3)
        ]
        assert "15 ids stand for 3 different prompts, so they number the answers" in caplog.text
        bare = [{key: row[key] for key in ("prompt", "response")} for row in rows]
        again = import_run(write_table(tmp_path / f"bare{kind}", bare))
        assert [row["id"] for row in again.rows] == [row["id"] for row in run.rows]

    def test_rows_with_a_list_of_one_answer_are_such_rows_too(self, tmp_path):
        rows = [{"id": n, "prompt": "P", "generations": [f"a{n}"]} for n in range(3)]
        (row,) = import_run(lines(tmp_path / "t.jsonl", rows)).rows
        assert row["generations"] == ["a0", "a1", "a2"]

    def test_a_question_that_a_set_asks_twice_stays_two(self, tmp_path, caplog):
        """Under each id two answers: the ids are of questions, whatever their wording."""
        rows = [{"id": n // 2, "prompt": "P", "response": f"a{n}"} for n in range(4)]
        with caplog.at_level(logging.WARNING):
            run = import_run(lines(tmp_path / "t.jsonl", rows))
        assert [(row["id"], row["generations"]) for row in run.rows] == [
            ("0", ["a0", "a1"]),
            ("1", ["a2", "a3"]),
        ]
        assert "2 ids stand for 1 different prompts; prompts with several ids" in caplog.text
        caplog.clear()
        rows = [{"id": n, "prompt": f"P{n}", "response": "a"} for n in range(3)]
        with caplog.at_level(logging.WARNING):
            run = import_run(lines(tmp_path / "t.jsonl", rows))
        assert [row["id"] for row in run.rows] == ["0", "1", "2"] and not caplog.records

    def test_a_whole_number_is_one_id_however_it_is_written(self, tmp_path):
        rows = [{"id": name, "prompt": "P", "response": "a"} for name in (1, 1.0, "1")]
        (row,) = import_run(lines(tmp_path / "t.jsonl", rows)).rows
        assert (row["id"], row["generations"]) == ("1", ["a"] * 3)

    def test_several_models_need_a_choice(self, tmp_path):
        rows = [{"prompt": "P", "response": text, "model": text.upper()} for text in "ab"]
        path = lines(tmp_path / "t.jsonl", rows)
        with pytest.raises(ValueError, match=r"of \['A', 'B'\]: choose one by the option model"):
            import_run(path)
        run = import_run(path, model="B")
        assert run.rows[0]["generations"] == ["b"] and run.settings["engine"]["model"] == "B"
        with pytest.raises(ValueError, match="no answers of 'C'"):
            import_run(path, model="C")

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            (
                {"prompt": "P", "text": "a"},
                r"none has a usual name for the response: .* by the option response",
            ),
            ({"prompt": "P", "question": "Q", "answer": "a"}, "prompt and question all could be"),
            ({"prompt": "P", "response": None}, "line 1: column 'response' must hold a text"),
            ({"prompt": "P", "response": []}, "line 1: column 'response' must hold a text"),
            ({"prompt": "P", "response": ["a", 3]}, "line 1: column 'response' must hold a text"),
            ({"prompt": " ", "response": "a"}, "line 1: a prompt is text or chat messages"),
        ],
    )
    def test_what_cannot_be_read_is_named(self, tmp_path, row, message):
        with pytest.raises(ValueError, match=message):
            import_run(lines(tmp_path / "t.jsonl", [row]))

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("t.jsonl", b'{"prompt": "P", "response": "a"}\n{"prompt', "line 2: not valid JSON"),
            ("t.jsonl", b'{"prompt": "P"}\n', "none has a usual name"),
            ("t.jsonl", b"", "holds no rows"),
            ("t.jsonl", b'\n{"prompt": "\xff"}', "line 2: not UTF-8"),
            ("t.json", b'[{"prompt": "P",\n "response" 3}]', "line 2: not valid JSON"),
            ("t.json", b"[3]", "row 1: expected an object"),
            ("t.csv", b'prompt,response\nP,a\nP,"b\n', "line 3: unexpected end of data"),
            ("t.csv", b"prompt,response\nP,a,b\n", "line 2: the row has not as many fields"),
            ("t.csv", b"prompt,response\nP\n", "line 2: the row has not as many fields"),
            ("t.parquet", b"PAR1 nonsense", "no Parquet file"),
            ("t.xlsx", b"", "answers are in"),
        ],
    )
    def test_malformed_files_are_named_with_their_line(self, tmp_path, name, content, message):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=message):
            import_run(tmp_path / name)

    def test_a_mark_at_the_beginning_is_no_part_of_a_name(self, tmp_path):
        (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbfprompt,response\r\nP,a\r\n")
        assert import_run(tmp_path / "t.csv").rows[0]["generations"] == ["a"]


class TestRuns:
    def test_rows_of_noveltybench_are_read_by_the_same_reader(self, tmp_path):
        rows = [{"id": "curated-1", "prompt": "P", "model": "me/m", "generations": ["a", "b"]}]
        run = import_run(lines(tmp_path / "generations.jsonl", rows))
        assert run.settings["imported"]["format"] == "noveltybench"
        assert run.settings["engine"]["model"] == "me/m"
        assert run.rows == [{k: rows[0][k] for k in ("id", "prompt", "model", "generations")}]
        other = rows[0] | {"id": "curated-2", "model": "me/n"}
        with pytest.raises(ValueError, match="rows of several runs"):
            import_run(lines(tmp_path / "generations.jsonl", [*rows, other]))

    def test_an_imported_run_is_evaluated_and_compared(self, tmp_path, tiny_embedder):
        for name, words in (("base", "the red fox"), ("tuned", "fox whale frog")):
            rows = [
                {"prompt": f"Name {i}", "response": word}
                for i in range(6)
                for word in words.split()
            ]
            path = lines(tmp_path / f"{name}.jsonl", rows)
            import_run(path, model=f"me/{name}", output=tmp_path / name)
            report = evaluate(tmp_path / name, embedder=tiny_embedder)
            report.save(tmp_path / name)
            assert report.label == name
        comparison = compare(tmp_path / "base", tmp_path / "tuned", resamples=50)
        assert comparison.labels == ("base", "tuned")

    def test_importing_again_changes_nothing_and_another_file_is_refused(self, tmp_path):
        path = lines(tmp_path / "a.jsonl", [{"prompt": "P", "response": "a"}])
        import_run(path, output=tmp_path / "run")
        before = (tmp_path / "run/generations.jsonl").read_bytes()
        import_run(path, output=tmp_path / "run")
        assert (tmp_path / "run/generations.jsonl").read_bytes() == before
        lines(path, [{"prompt": "P", "response": "b"}])
        with pytest.raises(ValueError, match="holds another run"):
            import_run(path, output=tmp_path / "run")
        assert (tmp_path / "run/generations.jsonl").read_bytes() == before
        with pytest.raises(ValueError, match="a run folder already"):
            import_run(tmp_path / "run")

    def test_without_an_output_nothing_is_written(self, tmp_path):
        path = lines(tmp_path / "a.jsonl", [{"prompt": "P", "response": "a"}])
        import_run(path)
        assert list(tmp_path.iterdir()) == [path]

    def test_impossible_options_are_refused(self, tmp_path):
        path = lines(tmp_path / "s.jsonl", [sample(0, ["a"])])
        with pytest.raises(ValueError, match=f"one of {', '.join(FORMATS)}, got 'xml'"):
            import_run(path, format="xml")
        with pytest.raises(ValueError, match="response names a column of a table"):
            import_run(path, response="resps")
        with pytest.raises(ValueError, match="there is no file"):
            import_run(tmp_path / "none.jsonl")
        with pytest.raises(ValueError, match="is a folder: import takes one file"):
            import_run(tmp_path)
        log = tmp_path / "log.json"
        log.write_text(json.dumps(inspect_log(SAMPLES)))
        with pytest.raises(ValueError, match="prompt names a column"):
            import_run(log, prompt="input")
