"""Run folders of one recipe become one: shards, other prompts, more samples."""

import json
import shutil
import tracemalloc
from dataclasses import replace

import pytest

from diversify.decoding import Personas
from diversify.engines import Generations, Sampling
from diversify.evaluation import (
    PromptRow,
    PromptSet,
    Shard,
    compare,
    draw_rows,
    evaluate,
    generate,
    load_run,
    merge_runs,
    merge_samples,
)
from diversify.evaluation.generate import prompts_digest, row_key


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def part_of(prompts, start, stop, name="part"):
    return replace(prompts, name=name, rows=prompts.rows[start:stop])


def rewrite(folder, change):
    """Change the rows of a run behind its back."""
    file = folder / "generations.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    change(rows)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


class TestShards:
    """Machines that share no disk: each has a folder with its own part."""

    @pytest.fixture
    def shards(self, prompts, talking_engine, tmp_path):
        folders = [tmp_path / f"machine-{number}" for number in range(1, 4)]
        for number, folder in enumerate(folders, start=1):
            shard = Shard(number, 3)
            draw_rows(talking_engine(), prompts, 4, output=folder, shard=shard)
        return folders

    def test_they_become_the_folder_of_one_process(self, shards, prompts, talking_engine, tmp_path):
        generate(talking_engine(), prompts, 4, output=tmp_path / "whole")
        before = [contents(shard) for shard in shards]
        assert merge_runs([shards[2], shards[0], shards[1]], tmp_path / "merged") == 12
        assert contents(tmp_path / "merged") == contents(tmp_path / "whole")
        assert [contents(shard) for shard in shards] == before

    def test_a_missing_one_is_missed(self, shards, tmp_path):
        with pytest.raises(ValueError, match=r"4 of 12 prompts have no answers in .*number 2$"):
            merge_runs([shards[0], shards[2]], tmp_path / "merged")
        assert not list((tmp_path / "merged").iterdir())

    def test_part_files_in_one_folder_are_merged_where_they_lie(
        self, shards, prompts, talking_engine, tmp_path
    ):
        for shard in shards[1:]:
            (part,) = shard.glob("*partial*")
            shutil.copy(part, shards[0])
        merge_runs([shards[0]], shards[0])
        generate(talking_engine(), prompts, 4, output=tmp_path / "whole")
        assert contents(shards[0]) == contents(tmp_path / "whole")

    def test_rows_that_two_of_them_have_are_kept_once(self, shards, prompts, tmp_path):
        (part,) = shards[0].glob("*partial*")
        shutil.copy(part, shards[1])
        assert merge_runs(shards, tmp_path / "merged") == 12

    def test_rows_of_other_settings_are_refused(self, shards, prompts, talking_engine, tmp_path):
        sampling = Sampling(seed=1)
        other = tmp_path / "other"
        shard = Shard(2, 3)
        draw_rows(talking_engine(), prompts, 4, output=other, shard=shard, sampling=sampling)
        (part,) = other.glob("*partial*")
        shutil.copy(part, shards[1])
        with pytest.raises(ValueError, match="line 1: the row was drawn with other settings"):
            merge_runs(shards, tmp_path / "merged")

    def test_an_interrupted_run_of_one_process_is_no_shard(self, prompts, talking_engine, tmp_path):
        with pytest.raises(KeyboardInterrupt):
            generate(talking_engine(fail_after=3), prompts, 4, output=tmp_path / "cut")
        with pytest.raises(ValueError, match="cut is unfinished: run the same generate command"):
            merge_runs([tmp_path / "cut"], tmp_path / "merged")


class TestPrompts:
    """One model on several prompt sets."""

    @pytest.fixture
    def halves(self, prompts, talking_engine, tmp_path):
        folders = [tmp_path / "zoo", tmp_path / "ark"]
        for folder, (start, stop) in zip(folders, ((0, 7), (7, 12)), strict=True):
            part = part_of(prompts, start, stop, folder.name)
            generate(talking_engine(), part, 4, output=folder)
        return folders

    def test_rows_follow_each_other_and_the_settings_say_so(
        self, halves, prompts, talking_engine, tmp_path
    ):
        assert merge_runs(halves, tmp_path / "merged") == 12
        run = load_run(tmp_path / "merged")
        whole = generate(talking_engine(), prompts, 4, output=tmp_path / "whole")
        assert run.rows == whole.rows
        told = run.settings["prompts"]
        assert told == {
            "name": "zoo+ark",
            "version": "3",
            "n": 12,
            "sha256": whole.settings["prompts"]["sha256"],
        }
        assert {k: v for k, v in run.settings.items() if k != "prompts"} == {
            k: v for k, v in whole.settings.items() if k != "prompts"
        }

    def test_merged_runs_are_compared_as_others_are(
        self, halves, prompts, talking_engine, tmp_path
    ):
        cold = []
        for folder, (start, stop) in zip(halves, ((0, 7), (7, 12)), strict=True):
            cold.append(tmp_path / f"cold-{folder.name}")
            part = part_of(prompts, start, stop, folder.name)
            sampling = Sampling(temperature=0.2)
            generate(talking_engine(), part, 4, sampling=sampling, output=cold[-1])
        merge_runs(halves, tmp_path / "hot")
        merge_runs(cold, tmp_path / "cold")
        reports = [evaluate(tmp_path / name) for name in ("cold", "hot")]
        assert compare(*reports, resamples=100).measures["vendi,ngram-2"].difference > 0.5
        merge_runs(halves[::-1], tmp_path / "turned")  # another set by its name, the same prompts
        with pytest.raises(ValueError, match="prompts"):
            compare(reports[0], evaluate(tmp_path / "turned"), resamples=100)

    def test_merged_again_they_change_nothing(self, halves, tmp_path):
        merge_runs(halves, tmp_path / "merged")
        before = contents(tmp_path / "merged")
        assert merge_runs(halves, tmp_path / "merged") == 12
        assert contents(tmp_path / "merged") == before

    def test_another_run_is_not_written_over(self, halves, tmp_path):
        before = contents(halves[0])
        with pytest.raises(ValueError, match=r"begun with other settings \(prompts\.n: 7 -> 12"):
            merge_runs(halves, halves[0])
        assert contents(halves[0]) == before
        merge_runs(halves, tmp_path / "merged")
        rewrite(tmp_path / "merged", lambda rows: rows[3].update(generations=["own"] * 4))
        before = contents(tmp_path / "merged")
        with pytest.raises(ValueError, match="merged holds other answers already"):
            merge_runs(halves, tmp_path / "merged")
        assert contents(tmp_path / "merged") == before

    def test_another_recipe_is_refused_and_the_field_named(
        self, halves, prompts, talking_engine, tmp_path
    ):
        for name, engine, options in (
            ("sampling.temperature: 1.0 -> 0.5", {}, {"sampling": Sampling(temperature=0.5)}),
            ("sampling.seed: 0 -> 1", {}, {"sampling": Sampling(seed=1)}),
            ("engine.model: 'talker' -> 'other'", {"model": "other"}, {}),
            ("samples: 4 -> 5", {}, {"samples": 5}),
        ):
            other = tmp_path / name.split(":")[0]
            options = {"samples": 4} | options
            generate(talking_engine(**engine), part_of(prompts, 7, 12), output=other, **options)
            with pytest.raises(ValueError, match="were not drawn alike: ") as refused:
                merge_runs([halves[0], other], tmp_path / "merged")
            assert str(refused.value).endswith(name)

    def test_shared_prompts_are_kept_once_if_their_answers_are_the_same(
        self, halves, prompts, talking_engine, tmp_path
    ):
        """The sets overlap in three prompts; then one answer of one of them is another."""
        generate(talking_engine(), part_of(prompts, 4, 12), 4, output=tmp_path / "more")
        assert merge_runs([halves[0], tmp_path / "more"], tmp_path / "merged") == 12
        rewrite(tmp_path / "more", lambda rows: rows[2]["generations"].__setitem__(1, "a newt"))
        with pytest.raises(
            ValueError,
            match=r"prompt 'p6' has other answers in .*zoo.*line 7 than in .*more.*line 3",
        ):
            merge_runs([halves[0], tmp_path / "more"], tmp_path / "again")
        assert not (tmp_path / "again/generations.jsonl").exists()

    def test_an_id_is_one_prompt_and_a_prompt_one_id(self, talking_engine, tmp_path):
        sets = {
            "a": (PromptRow("p", "one"), PromptRow("again", "one")),  # twice in one set: its matter
            "b": (PromptRow("p", "two"),),
            "c": (PromptRow("q", "one"),),
        }
        for name, rows in sets.items():
            generate(talking_engine(), PromptSet(name, rows), 2, output=tmp_path / name)
        with pytest.raises(ValueError, match="the id 'p' stands for two prompts"):
            merge_runs([tmp_path / "a", tmp_path / "b"], tmp_path / "merged")
        with pytest.raises(ValueError, match="have the same prompt under two ids"):
            merge_runs([tmp_path / "a", tmp_path / "c"], tmp_path / "merged")
        assert merge_runs([tmp_path / "b", tmp_path / "c"], tmp_path / "merged") == 2
        assert merge_runs([tmp_path / "a"], tmp_path / "alone") == 2

    def test_rows_that_are_not_the_prompt_sets_are_noticed(self, halves, tmp_path):
        """The last line has lost its end, and so counts as torn; or a row is gone."""
        file = halves[0] / "generations.jsonl"
        file.write_bytes(file.read_bytes()[:-1])
        with pytest.raises(ValueError, match="it has 7 prompts, and 6 were found"):
            merge_runs([halves[0]], tmp_path / "merged")
        with pytest.raises(ValueError, match="it has 7 prompts, and 6 were found"):
            merge_runs(halves, tmp_path / "merged")

    def test_what_is_no_run_folder_is_named(self, halves, prompts, tmp_path):
        with pytest.raises(ValueError, match="at least one run"):
            merge_runs([], tmp_path / "merged")
        with pytest.raises(ValueError, match=r"nowhere is no run folder: it holds no run\.json"):
            merge_runs([halves[0], tmp_path / "nowhere"], tmp_path / "merged")
        (halves[1] / "generations.jsonl").unlink()
        with pytest.raises(ValueError, match=r"ark holds no generations\.jsonl"):
            merge_runs(halves, tmp_path / "merged")
        assert not (tmp_path / "merged").exists()


class TestSamples:
    """One model on one prompt set, with several seeds."""

    @pytest.fixture
    def seeds(self, prompts, talking_engine, tmp_path):
        folders = [tmp_path / f"seed-{seed}" for seed in range(3)]
        for seed, folder in enumerate(folders):
            sampling = Sampling(seed=seed)
            generate(talking_engine(), prompts, 4 + seed, sampling=sampling, output=folder)
        return folders

    def test_answers_stand_behind_each_other(self, seeds, tmp_path):
        assert merge_samples(seeds, tmp_path / "merged") == 12
        merged, runs = load_run(tmp_path / "merged"), [load_run(folder) for folder in seeds]
        for number, row in enumerate(merged.rows):
            own = [run.rows[number] for run in runs]
            assert row["generations"] == [text for each in own for text in each["generations"]]
            assert len(row["generations"]) == len(row["truncated"]) == 4 + 5 + 6
            assert row["key"] == row_key(merged.settings, PromptRow(row["id"], row["prompt"]))
            assert row["config"]["sampling"]["seed"] == [0, 1, 2]
        assert merged.settings["samples"] == 15
        assert merged.settings["prompts"] == runs[0].settings["prompts"]
        assert evaluate(merged).recipe["samples"] == 15

    def test_a_merged_run_can_be_merged_again(self, seeds, tmp_path):
        merge_samples(seeds[:2], tmp_path / "two")
        merge_samples([tmp_path / "two", seeds[2]], tmp_path / "three")
        merge_samples(seeds, tmp_path / "at-once")
        assert contents(tmp_path / "three") == contents(tmp_path / "at-once")
        with pytest.raises(ValueError, match="seed-1 has the answers of seed 1, as another run"):
            merge_samples([tmp_path / "two", seeds[1]], tmp_path / "none")

    def test_what_was_spent_is_added_up(self, prompts, tmp_path):
        class Counting:
            identity = {"model": "m"}  # noqa: RUF012 (read only)

            def generate(self, asked, n, sampling):
                texts = [["x"] * n for _ in asked]
                tokens = {"read": 5, "written": n + sampling.seed}
                return Generations(list(asked), texts, [], [{"tokens": tokens} for _ in asked])

        for seed in (10, 20):
            sampling = Sampling(seed=seed)
            generate(Counting(), prompts, 2, sampling=sampling, output=tmp_path / f"{seed}")
        merge_samples([tmp_path / "10", tmp_path / "20"], tmp_path / "merged")
        row = load_run(tmp_path / "merged").rows[0]
        assert row["details"] == {
            "calls": 2,
            "completions": 4,
            "tokens": {"read": 10, "written": 34},
            "kept": ["plain"] * 4,
            "dropped": [],
            "failed": {},
            "missing": 0,
        }
        assert "truncated" not in row

    @pytest.mark.parametrize("run", [0, 1])
    @pytest.mark.parametrize("column", ["truncated", "details"])
    def test_what_only_one_run_knows_is_left_out(self, seeds, tmp_path, run, column):
        """4 and 5 answers: flags or costs of one of the two are none of the nine."""
        cost = {"calls": 1, "completions": 4, "tokens": {"read": 5, "written": 4}}
        values = {"truncated": [False] * 4, "details": cost}
        for folder in seeds[:2]:
            rewrite(folder, lambda rows: [row.update(values) for row in rows])
        rewrite(seeds[1], lambda rows: [row.update(truncated=[False] * 5) for row in rows])
        rewrite(seeds[run], lambda rows: [row.pop(column) for row in rows])
        merge_samples(seeds[:2], tmp_path / "merged")
        for row in load_run(tmp_path / "merged").rows:
            assert len(row["generations"]) == 9
            assert {"truncated", "details"} - row.keys() == {column}

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"sampling": {}}, r"run\.json: 'sampling\.seed' must be one whole number.* got None"),
            ({"sampling": {"seed": [1, None]}}, r"'sampling\.seed' must .* got \[1, None\]"),
            ({"samples": [1, 2]}, r"run\.json: 'samples' must be one whole number.* got \[1, 2\]"),
            ({"samples": True}, "'samples' must be one whole number.* got True"),
        ],
    )
    def test_settings_without_a_seed_or_a_number_of_samples_are_refused(
        self, tmp_path, change, message
    ):
        for seed in range(2):
            write_run(tmp_path / f"{seed}", 0, 1, seed)
        file = tmp_path / "1/run.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | change))
        with pytest.raises(ValueError, match=message):
            merge_samples([tmp_path / "0", tmp_path / "1"], tmp_path / "merged")
        assert not (tmp_path / "merged").exists()

    def test_settings_may_say_nothing_of_the_engine(self, tmp_path):
        for seed in range(2):
            write_run(tmp_path / f"{seed}", 0, 1, seed)
            file = tmp_path / f"{seed}/run.json"
            settings = json.loads(file.read_text())
            del settings["engine"]
            file.write_text(json.dumps(settings))
        assert merge_samples([tmp_path / "0", tmp_path / "1"], tmp_path / "merged") == 1
        assert len(load_run(tmp_path / "merged").rows[0]["generations"]) == 8

    def test_what_depends_on_its_neighbours_is_refused(self, prompts, talking_engine, tmp_path):
        for seed in range(2):
            sampling, folder = Sampling(seed=seed), tmp_path / f"{seed}"
            options = {"strategy": Personas(), "sampling": sampling, "output": folder}
            generate(talking_engine(), prompts, 2, **options)
        with pytest.raises(ValueError, match="strategy direct can be added up, got 'personas'"):
            merge_samples([tmp_path / "0", tmp_path / "1"], tmp_path / "merged")

    @pytest.mark.parametrize(
        ("name", "value", "allowed"),
        [
            ("decoder", "SamplingChain([Temperature(0.5)])", True),
            ("decoder", "ArithmeticSampling()", False),
            ("sampler", "ArithmeticSampling()", False),
        ],
    )
    def test_of_decoders_only_chains_of_samplers_draw_independently(
        self, seeds, tmp_path, name, value, allowed
    ):
        for folder in seeds[:2]:
            settings = json.loads((folder / "run.json").read_text())
            settings["engine"][name] = value
            (folder / "run.json").write_text(json.dumps(settings))
        if allowed:
            assert merge_samples(seeds[:2], tmp_path / "merged") == 12
        else:
            with pytest.raises(ValueError, match=r"ArithmeticSampling\(\) depend on each other"):
                merge_samples(seeds[:2], tmp_path / "merged")

    def test_other_prompts_recipes_and_unfinished_runs_are_refused(
        self, seeds, prompts, talking_engine, tmp_path
    ):
        hot = Sampling(seed=9, temperature=2.0)
        generate(talking_engine(), prompts, 4, sampling=hot, output=tmp_path / "hot")
        with pytest.raises(ValueError, match=r"drawn alike: sampling\.temperature: 1\.0 -> 2\.0$"):
            merge_samples([seeds[0], tmp_path / "hot"], tmp_path / "merged")
        fewer, cool = part_of(prompts, 0, 5), Sampling(seed=9)
        generate(talking_engine(), fewer, 4, sampling=cool, output=tmp_path / "few")
        with pytest.raises(ValueError, match=r"drawn alike: prompts\.n: 12 -> 5"):
            merge_samples([seeds[0], tmp_path / "few"], tmp_path / "merged")
        with pytest.raises(KeyboardInterrupt):
            generate(
                talking_engine(fail_after=2), prompts, 4, sampling=cool, output=tmp_path / "cut"
            )
        with pytest.raises(ValueError, match="cut: unfinished"):
            merge_samples([seeds[0], tmp_path / "cut"], tmp_path / "merged")
        rewrite(seeds[1], lambda rows: rows.pop())
        with pytest.raises(ValueError, match="12 prompts, and 11 were found"):
            merge_samples(seeds[:2], tmp_path / "merged")


def write_run(folder, start, stop, seed=0):
    """A finished run of 200 kB a row, written without an engine."""
    folder.mkdir()
    ids = [(f"p{i}", f"q{i}") for i in range(start, stop)]
    settings = {
        "engine": {"model": "m"},
        "sampling": {"seed": seed},
        "strategy": {"name": "direct"},
        "samples": 4,
        "prompts": {"name": "s", "version": "0", "n": len(ids), "sha256": prompts_digest(ids)},
    }
    (folder / "run.json").write_text(json.dumps(settings))
    with (folder / "generations.jsonl").open("w") as stream:
        for name, prompt in ids:
            row = {"id": name, "prompt": prompt, "generations": ["x" * 50_000] * 4}
            stream.write(json.dumps(row) + "\n")


@pytest.mark.parametrize("merge", [merge_runs, merge_samples])
def test_memory_does_not_grow_with_the_answers(merge, tmp_path):
    """Of 8 and of 80 rows with 200 kB each, not more than a few are ever held."""
    peaks = []
    for size in (4, 40):
        for number in range(2):
            start = number * size if merge is merge_runs else 0
            seed = 0 if merge is merge_runs else number
            write_run(tmp_path / f"{size}-{number}", start, start + size, seed)
        tracemalloc.start()
        merge([tmp_path / f"{size}-0", tmp_path / f"{size}-1"], tmp_path / f"{size}")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert (tmp_path / f"{size}/generations.jsonl").stat().st_size > 2 * size * 200_000
    assert peaks[1] - peaks[0] < 200_000
