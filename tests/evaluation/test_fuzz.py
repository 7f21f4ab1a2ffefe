"""Files of any content: a `ValueError` that names the file, or the numbers of the clean data."""

import copy
import json
import math
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from diversify.embedders import CachedEmbedder
from diversify.equivalence import calibrate, read_pairs
from diversify.evaluation import compare, evaluate, import_run, load_prompts, load_report, load_run
from diversify.evaluation.protocols import score_protocol
from diversify.kernels import NgramKernel
from evaluation.damage import HOSTILE, QUICK, clear, damaged, lines, torn, values

RUN = [
    {
        "id": f"p{i}",
        "prompt": prompt,
        "category": "pets",
        "answers": [["cat"], ["dog"]],
        "model": "me/m",
        "generations": ["a cat", "a dog", f"cat {i}", ""],
        "truncated": [False, False, True, False],
        "config": {"sampling": {"temperature": 1.0}, "strategy": {"name": "direct"}},
    }
    for i, prompt in enumerate(["Name a pet.", [{"role": "user", "content": "A pet?"}], "Pet!"])
]
SETTINGS = {
    "engine": {"model": "me/m", "revision": "1", "chat_template_sha": "none"},
    "sampling": {"temperature": 1.0, "max_tokens": 8},
    "strategy": {"name": "direct"},
    "samples": 4,
    "prompts": {"name": "pets", "version": "1", "n": 3, "sha256": "0" * 16},
}


def folder():
    return tempfile.TemporaryDirectory(prefix="fuzz")


def scored(run):
    return evaluate(run, kernels=[NgramKernel(2)])


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A folder with a run and its report, and the report."""
    place = tmp_path_factory.mktemp("clean")
    (place / "generations.jsonl").write_bytes(lines(RUN))
    (place / "run.json").write_text(json.dumps(SETTINGS))
    report = scored(load_run(place))
    report.save(place)
    return place, report


def same_numbers(report, clean_report):
    """Every prompt whose answers are untouched has the numbers of the clean run, and all are finite."""
    known = {json.dumps(sample["generations"]): sample for sample in clean_report.samples}
    for sample in report.samples:
        for section in ("measures", "monitors"):
            assert all(v is None or math.isfinite(v) for v in sample[section].values())
        twin = known.get(json.dumps(sample["generations"]))
        if twin is not None:
            shared = twin["measures"].keys() & sample["measures"].keys()
            assert {n: sample["measures"][n] for n in shared} == {
                n: twin["measures"][n] for n in shared
            }


class TestRuns:
    @QUICK
    @given(torn(lines(RUN)))
    def test_torn_generations(self, clean, content):
        with folder() as place:
            file = Path(place) / "g.jsonl"
            file.write_bytes(content)
            run = clear(lambda: load_run(file), file)
            if run is not None:
                ids = [row["id"] for row in run.rows]
                assert len(ids) == len(set(ids))
                same_numbers(scored(run), clean[1])

    @QUICK
    @given(st.integers(0, len(lines(RUN))))
    def test_a_file_that_is_cut_off_has_its_whole_lines_or_is_refused(self, at):
        with folder() as place:
            file = Path(place) / "g.jsonl"
            file.write_bytes(lines(RUN)[:at])
            run = clear(lambda: load_run(file), file)
            assert run is None or run.rows == RUN[: len(run.rows)]

    @QUICK
    @given(damaged(RUN))
    def test_damaged_rows(self, clean, rows):
        with folder() as place:
            file = Path(place) / "g.jsonl"
            file.write_bytes(lines(rows))
            run = clear(lambda: load_run(file), file)
            report = clear(lambda: scored(run)) if run is not None else None
            if report is not None:
                same_numbers(report, clean[1])
                report.save(place)
                assert load_report(place).samples == list(report.samples)

    @QUICK
    @given(damaged(SETTINGS))
    def test_damaged_settings(self, clean, settings):
        with folder() as place:
            (Path(place) / "generations.jsonl").write_bytes(lines(RUN))
            file = Path(place) / "run.json"
            file.write_text(json.dumps(settings))
            run = clear(lambda: load_run(place), file)
            if run is not None:
                report = scored(run)
                same_numbers(report, clean[1])
                report.save(place)
                load_report(place)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"id": "p1"}, "the id 'p1' occurs twice"),
            ({"id": ["p0"]}, "line 1: an id is text or a number"),
            ({"id": float("inf")}, "line 1: an id is text or a number"),
            ({"truncated": [True]}, "line 1: 'truncated' holds true or false for each of the 4"),
            ({"truncated": "yes!"}, "line 1: 'truncated' holds"),
            ({"group": ["g"]}, "line 1: 'group' is text or a number"),
            ({"model": "me/other"}, "mixes rows of several runs: model is"),
            ({"config": {"sampling": {"temperature": 2.0}}}, "mixes rows of several runs: config"),
            ({"prompt": [{"role": "user", "content": None}]}, "line 1: a prompt is text or"),
        ],
    )
    def test_rows_that_would_be_counted_wrongly(self, tmp_path, change, message):
        (tmp_path / "g.jsonl").write_bytes(lines([RUN[0] | change, *RUN[1:]]))
        with pytest.raises(ValueError, match=message):
            load_run(tmp_path / "g.jsonl")

    def test_answers_that_are_no_lists_of_aliases(self, tmp_path):
        (tmp_path / "g.jsonl").write_bytes(lines([RUN[0] | {"answers": {"text": ["cat"]}}]))
        with pytest.raises(ValueError, match="'p0': 'answers' are lists of aliases"):
            scored(tmp_path / "g.jsonl")

    @pytest.mark.parametrize("answers", [3, {"a": 1}, [None, ["dog"]], [["cat", None]], [3]])
    def test_columns_of_other_shapes_are_refused_by_the_protocol_too(self, tmp_path, answers):
        (tmp_path / "g.jsonl").write_bytes(lines([RUN[0] | {"answers": answers}]))
        with pytest.raises(ValueError, match="of aliases, got"):
            score_protocol(tmp_path / "g.jsonl", "enumerable@1")

    def test_ids_may_be_numbers_or_missing(self, tmp_path):
        rows = [RUN[0] | {"id": 7}, RUN[1] | {"id": None}, RUN[2] | {"id": "\ud800"}]
        (tmp_path / "g.jsonl").write_bytes(lines(rows))
        report = scored(tmp_path / "g.jsonl")
        assert [sample["id"] for sample in report.samples] == ["7", "row-0002", "\ud800"]

    def test_brackets_without_end(self, tmp_path):
        for name in ("g.jsonl", "run.json"):
            (tmp_path / "generations.jsonl").write_bytes(lines(RUN))
            (tmp_path / name).write_text("[" * 100_000)
        with pytest.raises(ValueError, match="line 1: nested deeper than 64"):
            load_run(tmp_path / "g.jsonl")
        with pytest.raises(ValueError, match=r"run\.json: nested deeper than 64"):
            load_run(tmp_path)
        (tmp_path / "g.jsonl").write_text('{"a": ' + "[" * 65 + "]" * 65 + "}")
        with pytest.raises(ValueError, match="line 1: nested deeper than 64"):
            load_run(tmp_path / "g.jsonl")

    @pytest.mark.parametrize("answers", [["", " ", "\n"], ["one"], [""]])
    def test_blank_and_single_answers_have_the_numbers_of_the_definition(self, tmp_path, answers):
        """Blank answers are all the same answer: one effective answer, at distance 0."""
        (tmp_path / "g.jsonl").write_bytes(
            lines([RUN[0] | {"generations": answers, "truncated": []}])
        )
        measures = scored(tmp_path / "g.jsonl").samples[0]["measures"]
        assert measures["vendi,ngram-2"] == pytest.approx(1)
        assert measures["mean_distance,ngram-2"] in (None, pytest.approx(0))

    def test_one_prompt_or_one_sample_is_compared_without_a_wrong_verdict(self, tmp_path):
        for name, texts in (("a", ["x y"]), ("b", ["x z"])):
            row = {"id": "p", "prompt": "P", "generations": texts}
            (tmp_path / f"{name}.jsonl").write_bytes(lines([row]))
        found = compare(*(scored(tmp_path / f"{n}.jsonl") for n in "ab"), resamples=20)
        assert found.verdict["collapse_fell"] is not True
        json.dumps(found.as_json(), allow_nan=False)


class TestReports:
    @QUICK
    @given(st.data())
    def test_damaged_summaries(self, clean, data):
        place, report = clean
        summary = json.loads((place / "report.json").read_text())
        with folder() as other:
            file = Path(other) / "report.json"
            file.write_text(json.dumps(data.draw(damaged(summary))))
            (Path(other) / "samples.jsonl").write_bytes((place / "samples.jsonl").read_bytes())
            found = clear(lambda: load_report(other), other)
            if found is not None:
                assert found.samples == list(report.samples)
                comparison = clear(lambda: compare(report, found, resamples=20))
                if comparison is not None:
                    assert all(c.difference == 0 for c in comparison.measures.values())
                    clear(lambda: json.dumps(comparison.as_json()))

    @QUICK
    @given(st.data())
    def test_damaged_samples_of_an_older_report(self, clean, data):
        """Without the digest that a report has now: by their shape alone."""
        place, report = clean
        summary = json.loads((place / "report.json").read_text())
        del summary["samples_sha256"]
        rows = data.draw(damaged(list(report.samples)))
        with folder() as other:
            (Path(other) / "report.json").write_text(json.dumps(summary))
            file = Path(other) / "samples.jsonl"
            file.write_bytes(lines(rows))
            found = clear(lambda: load_report(other), file)
            comparison = found and clear(lambda: compare(report, found, resamples=20))
            if comparison:
                json.dumps(comparison.as_json(), allow_nan=False)

    @QUICK
    @given(st.data())
    def test_torn_samples(self, clean, data):
        place, report = clean
        content = data.draw(torn((place / "samples.jsonl").read_bytes()))
        with folder() as other:
            (Path(other) / "report.json").write_bytes((place / "report.json").read_bytes())
            (Path(other) / "samples.jsonl").write_bytes(content)
            found = clear(lambda: load_report(other), other)
            assert found is None or found.samples == list(report.samples)

    def test_the_files_of_two_evaluations_are_not_mixed(self, clean, tmp_path):
        place, _ = clean
        evaluate(load_run(place), kernels=[NgramKernel(1)]).save(tmp_path)
        (tmp_path / "samples.jsonl").write_bytes((place / "samples.jsonl").read_bytes())
        with pytest.raises(ValueError, match="not of one evaluation"):
            load_report(tmp_path)
        (tmp_path / "samples.jsonl").unlink()
        with pytest.raises(ValueError, match=r"has no samples\.jsonl beside it"):
            load_report(tmp_path)


def table(rows, name="t.parquet"):
    import pyarrow as pa
    import pyarrow.parquet as parquet

    def write(place):
        parquet.write_table(pa.Table.from_pylist(rows), Path(place) / name)
        return Path(place) / name

    return write


PROMPTS = {
    "p.jsonl": lines([{"name": "pets", "version": "2"}, *({"prompt": f"P{i}"} for i in range(3))]),
    "p.csv": b'id,prompt,category\n1,"P, 1",a\n2,"P\n2",b\n3,P3,\n',
    "p.txt": "P1\r\nP2\n\nP3 \u2028 goes on\n".encode(),
}


class TestPrompts:
    @pytest.mark.parametrize("name", PROMPTS)
    @QUICK
    @given(st.data())
    def test_torn_prompt_files(self, name, data):
        with folder() as place:
            file = Path(place) / name
            file.write_bytes(data.draw(torn(PROMPTS[name])))
            prompts = clear(lambda: load_prompts(file), file)
            if prompts is not None:
                assert all(row.text.strip() for row in prompts)
                assert len({row.id for row in prompts}) == len(prompts) > 0

    @QUICK
    @given(
        damaged(
            [{"id": "a", "prompt": "P"}, {"id": "b", "prompt": [{"role": "user", "content": "Q"}]}]
        )
    )
    def test_damaged_prompts(self, rows):
        with folder() as place:
            file = Path(place) / "p.jsonl"
            file.write_bytes(lines(rows))
            prompts = clear(lambda: load_prompts(file), file)
            assert prompts is None or all(isinstance(row.text, str) for row in prompts)

    @QUICK
    @given(st.integers(0, 1500))
    def test_a_parquet_file_that_is_cut_off(self, at):
        with folder() as place:
            file = table([{"prompt": "P", "id": 1}])(place)
            content = file.read_bytes()
            file.write_bytes(content[:at])
            if at < len(content):
                assert clear(lambda: load_prompts(file), file) is None

    def test_lines_end_where_an_editor_ends_them(self, tmp_path):
        (tmp_path / "p.txt").write_bytes(PROMPTS["p.txt"])
        assert [row.prompt for row in load_prompts(tmp_path / "p.txt")] == [
            "P1",
            "P2",
            "P3 \u2028 goes on",
        ]

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"prompt,prompt\na,b\n", r"line 1: the columns \['prompt'\] occur twice"),
            (b"prompt,x\na\n", "line 2: the row has not as many fields"),
            (b"prompt,x\na,b,c\n", "line 2: the row has not as many fields"),
            (b'prompt\n"a\n', "line 2: unexpected end of data"),
            (b"prompt\n\xe9\n", "line 2: not UTF-8"),
        ],
    )
    def test_csv_rows_that_would_be_read_wrongly(self, tmp_path, content, message):
        (tmp_path / "p.csv").write_bytes(content)
        with pytest.raises(ValueError, match=message):
            load_prompts(tmp_path / "p.csv")

    def test_ids_that_are_missing_are_no_ids(self, tmp_path):
        rows = [{"prompt": "P", "id": None}, {"prompt": "Q", "id": None}]
        (tmp_path / "p.jsonl").write_bytes(lines(rows))
        assert [row.id for row in load_prompts(tmp_path / "p.jsonl")] == ["p-0000", "p-0001"]
        (tmp_path / "p.jsonl").write_bytes(lines([{"prompt": "P", "id": [1]}]))
        with pytest.raises(ValueError, match="line 1: an id is text or a number"):
            load_prompts(tmp_path / "p.jsonl")

    def test_a_first_row_that_lacks_its_prompt_is_not_taken_for_metadata(self, tmp_path):
        (tmp_path / "p.jsonl").write_bytes(
            lines([{"id": 1, "name": "x"}, {"id": 2, "prompt": "P"}])
        )
        with pytest.raises(ValueError, match="line 1: no column 'prompt'"):
            load_prompts(tmp_path / "p.jsonl")

    def test_what_json_has_no_type_for_becomes_text(self, tmp_path):
        import datetime

        file = table([{"prompt": "P", "day": datetime.date(2026, 1, 2), "raw": b"\xff"}])(tmp_path)
        (row,) = load_prompts(file)
        assert row.columns == {"day": "2026-01-02", "raw": "b'\\xff'"}


LM_EVAL = [
    {
        "doc_id": i,
        "doc": {"id": f"d{i}", "prompt": f"P{i}"},
        "arguments": {
            "gen_args_0": {"arg_0": f"P{i}", "arg_1": {"temperature": 1.0, "top_p": 0.9}}
        },
        "resps": [["a", "b"]],
    }
    for i in range(2)
]
RESULTS = {"model_name": "me/m", "config": {"model_sha": "1"}, "versions": {"pets": 1.0}}
INSPECT = {
    "status": "success",
    "eval": {"task": "pets", "model": "me/m", "dataset": {"sample_ids": ["s1"]}, "packages": {}},
    "plan": {"config": {"temperature": 1.0}},
    "samples": [
        {
            "id": "s1",
            "epoch": epoch,
            "input": "P",
            "attachments": {"h": "long"},
            "metadata": {"category": "c"},
            "output": {
                "choices": [{"message": {"content": "attachment://h"}, "stop_reason": "stop"}]
            },
        }
        for epoch in (1, 2)
    ],
}
TABLE = [
    {"prompt": "P", "response": ["a", "b"], "model": "m", "id": 1},
    {"prompt": "Q", "response": "c", "model": "m", "id": 2},
]
LM_NAME = "samples_pets_2026-01-02T03-04-05.jsonl"


def sound(run):
    """What was imported can be kept, read again and scored."""
    with folder() as place:
        file = Path(place) / "generations.jsonl"
        file.write_bytes(lines(run.rows))
        assert scored(load_run(file)).samples
        assert all(isinstance(text, str) for row in run.rows for text in row["generations"])
        json.dumps(run.settings)


class TestImports:
    @pytest.mark.parametrize(
        ("name", "document"),
        [
            (LM_NAME, LM_EVAL),
            ("log.json", INSPECT),
            ("t.jsonl", TABLE),
            ("t.json", TABLE),
            ("nb.jsonl", RUN),
        ],
    )
    @QUICK
    @given(st.data())
    def test_damaged_documents(self, name, document, data):
        found = data.draw(damaged(document))
        with folder() as place:
            file = Path(place) / name
            file.write_bytes(lines(found) if name.endswith("l") else json.dumps(found).encode())
            run = clear(lambda: import_run(file))
            if run is not None:
                sound(run)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            (LM_NAME, lines(LM_EVAL)),
            ("log.json", json.dumps(INSPECT, indent=1).encode()),
            ("t.csv", b'prompt,response\nP,a\nP,"b\nc"\nQ,d\n'),
            ("t.jsonl", lines(TABLE)),
        ],
    )
    @QUICK
    @given(st.data())
    def test_torn_files(self, name, content, data):
        with folder() as place:
            file = Path(place) / name
            file.write_bytes(data.draw(torn(content)))
            run = clear(lambda: import_run(file), file)
            if run is not None:
                sound(run)

    @QUICK
    @given(damaged(RESULTS))
    def test_damaged_results_beside_the_samples(self, results):
        with folder() as place:
            file = Path(place) / LM_NAME
            file.write_bytes(lines(LM_EVAL))
            (Path(place) / "results_2026-01-02T03-04-05.json").write_text(json.dumps(results))
            run = clear(lambda: import_run(file), place)
            if run is not None:
                sound(run)

    @QUICK
    @given(st.data())
    def test_a_zip_that_is_damaged(self, data):
        with folder() as place:
            file = Path(place) / "log.eval"
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                head = {name: INSPECT[name] for name in ("status", "eval", "plan")}
                archive.writestr("header.json", json.dumps(head))
                for sample in INSPECT["samples"]:
                    archive.writestr(f"samples/s_epoch_{sample['epoch']}.json", json.dumps(sample))
            file.write_bytes(data.draw(torn(file.read_bytes())))
            run = clear(lambda: import_run(file), file)
            if run is not None:
                sound(run)

    def test_a_sample_that_is_in_a_log_twice(self, tmp_path):
        """A copy of an answer would look like two equal answers."""
        log = copy.deepcopy(INSPECT)
        log["samples"].append(log["samples"][0])
        (tmp_path / "log.json").write_text(json.dumps(log))
        with pytest.raises(ValueError, match="the id 's1, epoch 1' occurs twice"):
            import_run(tmp_path / "log.json")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"doc": {"id": "d0", "prompt": "other"}}, "'d0' was logged before"),
            (
                {"arguments": {"gen_args_0": {"arg_0": "P", "arg_1": {"temperature": 2.0}}}},
                r"line 2: drawn with \{'temperature': 2.0\}",
            ),
        ],
    )
    def test_rows_of_lm_eval_that_do_not_belong_together(self, tmp_path, change, message):
        (tmp_path / LM_NAME).write_bytes(lines([LM_EVAL[0], LM_EVAL[1] | change]))
        with pytest.raises(ValueError, match=message):
            import_run(tmp_path / LM_NAME)

    def test_documents_without_an_id_are_not_one_document(self, tmp_path):
        rows = [row | {"doc": row["doc"] | {"id": None}} for row in LM_EVAL]
        (tmp_path / LM_NAME).write_bytes(lines(rows))
        assert [row["id"] for row in import_run(tmp_path / LM_NAME).rows] == ["doc-0", "doc-1"]

    def test_a_row_without_a_model_among_rows_with_one(self, tmp_path):
        (tmp_path / "t.jsonl").write_bytes(lines([TABLE[0], TABLE[1] | {"model": None}]))
        with pytest.raises(ValueError, match="line 2: the row names no model, and other rows do"):
            import_run(tmp_path / "t.jsonl")


PAIRS = [{"a": f"text {i}", "b": f"text {i + i % 2}", "same": i % 2 == 0, "g": i} for i in range(6)]


class TestPairs:
    @QUICK
    @given(st.one_of(torn(lines(PAIRS)), damaged(PAIRS).map(lines)))
    def test_labelled_pairs(self, content):
        with folder() as place:
            file = Path(place) / "pairs.jsonl"
            file.write_bytes(content)
            found = clear(lambda: read_pairs(file, group="g"), file)
            if found is not None:
                scores = [NgramKernel(2)(pair)[0, 1] for pair in found.pairs]
                clear(lambda: calibrate(scores, found.labels, groups=found.groups))

    def test_separators_inside_a_text_end_no_line(self, tmp_path):
        row = json.dumps(PAIRS[0] | {"a": "one\u2028two"}, ensure_ascii=False)
        (tmp_path / "pairs.jsonl").write_text(row + "\n", "utf-8")
        assert read_pairs(tmp_path / "pairs.jsonl").pairs[0][0] == "one\u2028two"


class TestEmbeddings:
    @QUICK
    @given(st.integers(0, 2), st.integers(0, 3), st.sampled_from([math.nan, math.inf, -math.inf]))
    def test_numbers_that_are_none_are_refused_and_not_kept(self, row, column, value):
        class Broken:
            name, revision = "broken", "1"

            def __call__(self, texts):
                rows = np.eye(len(texts), 4, dtype=np.float32)
                rows[min(row, len(rows) - 1), column] = value
                return rows

        with folder() as place:
            run = Path(place) / "g.jsonl"
            run.write_bytes(lines(RUN))
            cached = CachedEmbedder(Broken(), Path(place) / "rows.sqlite")
            for embedder in (Broken(), cached):
                with pytest.raises(ValueError, match=r"finite|length (nan|inf)"):
                    evaluate(run, embedder=embedder)
            assert cached.cache.read([b"any"]) == {}

    @QUICK
    @given(st.sampled_from(HOSTILE), values)
    def test_any_text_can_be_an_answer(self, text, value):
        """The numbers of a prompt do not depend on what stands in the other columns."""
        with folder() as place:
            file = Path(place) / "g.jsonl"
            row = {"prompt": "P", "generations": [text, "a cat", text], "note": value}
            file.write_bytes(lines([row]))
            report = clear(lambda: scored(file))
            bare = scored(_bare(Path(place), row))
            assert report is None or report.samples[0]["measures"] == bare.samples[0]["measures"]
            assert bare.samples[0]["measures"]["vendi,ngram-2"] <= 2 + 1e-9


def _bare(place, row):
    file = place / "bare.jsonl"
    file.write_bytes(lines([{name: row[name] for name in ("prompt", "generations")}]))
    return file
