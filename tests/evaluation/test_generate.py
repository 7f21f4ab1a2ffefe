import json
import os
import signal
import subprocess
import sys
import textwrap

import pytest

from diversify.engines import Sampling
from diversify.evaluation import generate, load_run


def test_rows_carry_prompt_columns_settings_and_a_key(prompts, talking_engine, tmp_path):
    run = generate(talking_engine(), prompts, 4, output=tmp_path / "run")
    assert [row["id"] for row in run.rows] == [row.id for row in prompts]
    row = run.rows[0]
    assert (
        len(row["generations"]) == 4 and row["model"] == "talker" and row["category"] == "animals"
    )
    assert len(row["key"]) == 32 and row["config"]["sampling"]["temperature"] == 1.0
    assert not (tmp_path / "run/generations.jsonl.partial").exists()


def test_every_setting_changes_the_key(prompts, talking_engine, tmp_path):
    keys = {
        generate(
            talking_engine(**engine),
            prompts,
            n,
            sampling=Sampling(**sampling),
            output=tmp_path / name,
        ).rows[0]["key"]
        for name, engine, n, sampling in (
            ("a", {}, 4, {}),
            ("b", {"model": "other"}, 4, {}),
            ("c", {}, 5, {}),
            ("d", {}, 4, {"temperature": 0.5}),
            ("e", {}, 4, {"seed": 1}),
        )
    }
    assert len(keys) == 5


def test_an_interrupted_run_continues_and_equals_the_undisturbed_one(
    prompts, talking_engine, tmp_path
):
    generate(talking_engine(), prompts, 4, output=tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        generate(talking_engine(fail_after=5), prompts, 4, output=tmp_path / "cut")
    with pytest.raises(ValueError, match="unfinished"):
        load_run(tmp_path / "cut")
    engine = talking_engine()
    generate(engine, prompts, 4, output=tmp_path / "cut")
    assert len(engine.calls) == len(prompts) - 5
    whole, cut = (tmp_path / name / "generations.jsonl" for name in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()


def test_a_torn_last_line_is_cut_off_and_drawn_again(prompts, talking_engine, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        generate(talking_engine(fail_after=3), prompts, 4, output=tmp_path / "cut")
    partial = tmp_path / "cut/generations.jsonl.partial"
    partial.write_bytes(partial.read_bytes()[:-20])
    run = generate(talking_engine(), prompts, 4, output=tmp_path / "cut")
    generate(talking_engine(), prompts, 4, output=tmp_path / "whole")
    assert run.rows == load_run(tmp_path / "whole").rows


def test_a_finished_run_is_not_drawn_again(prompts, talking_engine, tmp_path):
    generate(talking_engine(), prompts, 4, output=tmp_path / "run")
    engine = talking_engine()
    generate(engine, prompts, 4, output=tmp_path / "run")
    assert engine.calls == []


def test_other_settings_are_refused_and_named(prompts, talking_engine, tmp_path):
    generate(talking_engine(), prompts, 4, output=tmp_path / "run")
    before = (tmp_path / "run/generations.jsonl").read_bytes()
    with pytest.raises(ValueError, match=r"sampling\.temperature: 1\.0 -> 0\.5"):
        generate(
            talking_engine(),
            prompts,
            4,
            sampling=Sampling(temperature=0.5),
            output=tmp_path / "run",
        )
    assert (tmp_path / "run/generations.jsonl").read_bytes() == before
    with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
        generate(talking_engine(), prompts, 0, output=tmp_path / "none")


def test_kill_9_loses_at_most_the_row_in_flight(tmp_path):
    """A process killed in its fourth row leaves three whole rows, and a new one goes on."""
    script = tmp_path / "killed.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, signal, sys
            from diversify.engines import Generations
            from diversify.evaluation import PromptRow, PromptSet, generate

            class Engine:
                identity = {"model": "m"}
                rows = 0
                def generate(self, prompts, n, sampling):
                    if self.rows == int(sys.argv[2]):
                        os.kill(os.getpid(), signal.SIGKILL)
                    self.rows += 1
                    return Generations(list(prompts), [["x"] * n for _ in prompts])

            rows = tuple(PromptRow(f"p{i}", f"q{i}") for i in range(6))
            generate(Engine(), PromptSet("s", rows), 2, output=sys.argv[1])
            """
        )
    )
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    arguments = [sys.executable, str(script), str(tmp_path / "run")]
    killed = subprocess.run([*arguments, "3"], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    partial = (tmp_path / "run/generations.jsonl.partial").read_text().splitlines()
    assert [json.loads(line)["id"] for line in partial] == ["p0", "p1", "p2"]
    subprocess.run([*arguments, "99"], env=environment, check=True)
    assert len(load_run(tmp_path / "run").rows) == 6


def test_a_full_disk_keeps_what_was_written(prompts, talking_engine, tmp_path, monkeypatch):
    rows = iter(range(100))

    def full(descriptor):
        if next(rows) == 4:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        generate(talking_engine(), prompts, 4, output=tmp_path / "run")
    monkeypatch.undo()
    engine = talking_engine()
    run = generate(engine, prompts, 4, output=tmp_path / "run")
    assert len(run.rows) == 12 and len(engine.calls) <= 8


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "a"}', "line 2: no usable column 'generations'"),
        ('{"prompt": "a", "generations": []}', "line 2: the prompt has no answers"),
        ('{"prompt": "a", "generations": [1]}', "line 2: every generation must be text"),
        ('{"prompt": "a", "gener', "line 2: not valid JSON"),
    ],
)
def test_malformed_generations_are_named(tmp_path, line, message):
    file = tmp_path / "g.jsonl"
    file.write_text('{"prompt": "a", "generations": ["b"]}\n' + line + "\n")
    with pytest.raises(ValueError, match=message):
        load_run(file)


def test_a_folder_without_a_run_says_so(tmp_path):
    with pytest.raises(ValueError, match=r"holds no generations\.jsonl"):
        load_run(tmp_path)


def test_lone_surrogates_survive_the_disk(prompts, talking_engine, tmp_path):
    run = generate(talking_engine(words=("a\ud800b", "č")), prompts, 2, output=tmp_path / "run")
    assert {text for row in run.rows for text in row["generations"]} <= {"a\ud800b", "č"}


def test_bare_files_with_the_same_prompts_can_be_compared(tmp_path):
    from diversify.evaluation import compare, evaluate

    reports = []
    for name, texts in (("before", ["x", "x"]), ("after", ["x", "y"])):
        rows = [{"prompt": f"q{i}", "generations": texts} for i in range(3)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        reports.append(evaluate(tmp_path / f"{name}.jsonl"))
    assert compare(*reports, resamples=100).measures["vendi,ngram-2"].difference > 0.9


def test_prompts_can_be_handed_over_together(prompts, talking_engine, tmp_path):
    """Twelve prompts, five at a time: three calls, and the rows of one at a time."""
    engine = talking_engine()
    several = generate(engine, prompts, 4, output=tmp_path / "several", at_once=5)
    assert [len(call) for call in engine.calls] == [5, 5, 2]
    single = generate(talking_engine(), prompts, 4, output=tmp_path / "single")
    texts = [[row["generations"] for row in run.rows] for run in (several, single)]
    assert texts[0] == texts[1] and several.settings["at_once"] == 5
    assert "at_once" not in single.settings
    with pytest.raises(ValueError, match="at_once must be at least 1, got 0"):
        generate(talking_engine(), prompts, 4, output=tmp_path / "none", at_once=0)


def test_a_part_that_was_cut_in_two_is_drawn_as_it_was(prompts, talking_engine, tmp_path):
    """A kill tore the second row of the second part: that part alone is drawn again, whole."""
    whole = generate(talking_engine(), prompts, 4, output=tmp_path / "whole", at_once=4)
    with pytest.raises(KeyboardInterrupt):
        generate(talking_engine(fail_after=2), prompts, 4, output=tmp_path / "cut", at_once=4)
    partial = tmp_path / "cut/generations.jsonl.partial"
    lines = partial.read_bytes().splitlines(keepends=True)
    partial.write_bytes(b"".join(lines[:5]) + lines[5][:-9])
    engine = talking_engine()
    run = generate(engine, prompts, 4, output=tmp_path / "cut", at_once=4)
    ids = [row.prompt for row in prompts]
    assert engine.calls == [ids[4:8], ids[8:]]
    assert run.rows == whole.rows
