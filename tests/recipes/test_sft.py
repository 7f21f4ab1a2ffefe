"""Demonstrations and SFT: both recipes run, are continued, and do on two processes what they do on one."""

import json
from pathlib import Path

import pytest
from datasets import Dataset
from launching import PROMPTS, ROOT, launch, load_recipe, run

from diversify.trainers.examples import load_examples, plain_example, split_last_turn

pytestmark = pytest.mark.usefixtures("no_cache_at_home")

ANSWERS = [
    "red",
    "one wild fig and a long story",
    "green",
    "Paris",
    "blue",
    "an animal",
    "no",
    "a day",
]


@pytest.fixture
def example_file(tmp_path):
    path = tmp_path / "examples.jsonl"
    rows = [
        {
            "prompt": [{"role": "user", "content": PROMPTS[i % len(PROMPTS)]}],
            "completion": [{"role": "assistant", "content": answer}],
        }
        for i, answer in enumerate(ANSWERS)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def sft_options(model, examples, output):
    return [
        *("--model_name_or_path", model, "--dataset_name", examples, "--output_dir", output),
        *("--lora_r", 2, "--disable_tqdm", "true"),
    ]


def losses(output, steps):
    """The losses that a run logged, from its last checkpoint."""
    state = json.loads((output / f"checkpoint-{steps}" / "trainer_state.json").read_text())
    return [log["loss"] for log in state["log_history"] if "loss" in log]


def test_demonstrations_feed_sft_which_is_launched(
    tiny_model_path, prompt_file, tmp_path, monkeypatch, capsys
):
    """Both smoke configs, one after the other."""
    file = tmp_path / "examples.jsonl"
    drawing = [
        *("--config", ROOT / "configs/demonstrations/smoke.yaml"),
        *("--models", tiny_model_path, "--dataset_name", prompt_file, "--output_file", file),
        *("--max_tokens", 8),
    ]
    record = run("demonstrations", monkeypatch, capsys, *drawing)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == record["examples"] == 8 and record["prompts"] == 4
    assert set(rows[0]) == {"prompt", "completion"}
    assert {row["prompt"][0]["content"] for row in rows} == set(PROMPTS)
    [folder] = map(Path, record["runs"])
    drawn = [json.loads(line) for line in (folder / "generations.jsonl").read_text().splitlines()]
    assert drawn[0]["config"]["strategy"]["name"] == "personas"
    assert len(set(drawn[0]["details"]["kept"])) == 4

    output = tmp_path / "out"
    options = sft_options(tiny_model_path, file, output)
    trained = launch("sft", "configs/sft/smoke.yaml", *options, cache=tmp_path)
    assert (trained["recipe"], trained["method"], trained["steps"]) == ("sft", "gem", 2)
    assert trained["options"] == {"examples": 8, "beta": 0.7, "link": "linear"}
    assert (output / "adapter_model.safetensors").is_file()
    assert "arxiv.org/abs/2408.16673" in (output / "README.md").read_text()


@pytest.mark.parametrize("objective", ["nll", "gem"])
def test_a_continued_run_has_the_losses_of_one_that_was_not_interrupted(
    tiny_model_path, example_file, tmp_path, monkeypatch, capsys, objective
):
    smoke = ["--config", ROOT / "configs/sft/smoke.yaml", "--objective", objective]
    more = ["--learning_rate", 1e-2, "--lr_scheduler_type", "constant", "--logging_steps", 1]
    whole = [*smoke, *more, *sft_options(tiny_model_path, example_file, tmp_path / "whole")]
    parts = [*smoke, *more, *sft_options(tiny_model_path, example_file, tmp_path / "parts")]
    run("sft", monkeypatch, capsys, *whole, "--max_steps", 4)
    first = run("sft", monkeypatch, capsys, *parts, "--max_steps", 2)
    assert (first["steps"], first["resumed_from"]) == (2, None)
    second = run("sft", monkeypatch, capsys, *parts, "--max_steps", 4)
    assert (second["steps"], Path(second["resumed_from"]).name) == (4, "checkpoint-2")
    found, expected = losses(tmp_path / "parts", 4), losses(tmp_path / "whole", 4)
    assert found == pytest.approx(expected, abs=1e-6) and len(found) == 4
    assert len(set(found)) == 4  # it learns
    assert run("sft", monkeypatch, capsys, *parts, "--max_steps", 4) == second


def test_the_objective_is_another_loss(
    tiny_model_path, example_file, tmp_path, monkeypatch, capsys
):
    """At beta 1 the same model as with the stock loss, another number; evaluation is alike."""
    smoke = ["--config", ROOT / "configs/sft/smoke.yaml", "--test_file", example_file]
    smoke += ["--eval_strategy", "steps", "--eval_steps", 2, "--learning_rate", 1e-2]
    found = {}
    for name, options in {
        "nll": ["--objective", "nll"],
        "one": ["--gem_beta", 1.0],
        "gem": ["--gem_beta", 0.5, "--gem_link", "logsigmoid"],
    }.items():
        output = tmp_path / name
        where = sft_options(tiny_model_path, example_file, output)
        record = run("sft", monkeypatch, capsys, *smoke, *where, *options)
        history = json.loads((output / "checkpoint-2/trainer_state.json").read_text())[
            "log_history"
        ]
        [evaluated] = [log["eval_loss"] for log in history if "eval_loss" in log]
        found[name] = (record["metrics"]["train_loss"], evaluated)
    assert found["one"][1] == pytest.approx(found["nll"][1], abs=1e-4)
    assert found["one"][0] != pytest.approx(found["nll"][0], abs=1e-2)
    assert found["gem"][1] != pytest.approx(found["nll"][1], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["nll", "gem"])
@pytest.mark.parametrize("tuning", ["full", "lora"])
def test_two_processes_have_the_losses_of_one(
    tiny_model_path, example_file, tmp_path, objective, tuning
):
    """Four rows a step: on one process at once, on two by two rows each; and continued."""
    found = {}
    peft = ["--use_peft", str(tuning == "lora"), "--lora_dropout", 0.0]
    for accelerate, rows in (("cpu", 4), ("cpu-2-processes", 2)):
        output = tmp_path / accelerate
        options = [
            *sft_options(tiny_model_path, example_file, output),
            *("--objective", objective, "--per_device_train_batch_size", rows, *peft),
            *("--learning_rate", 1e-2, "--lr_scheduler_type", "constant"),
        ]
        for steps in (2, 3):
            record = launch(
                *("sft", "configs/sft/smoke.yaml", *options, "--max_steps", steps),
                accelerate=accelerate,
                cache=tmp_path,
            )
        assert record["steps"] == 3 and record["resumed_from"].endswith("checkpoint-2")
        found[record["processes"]] = losses(output, 3)
    assert len(found[1]) == 3
    assert found[2] == pytest.approx(found[1], abs=2e-4)


@pytest.mark.slow
def test_two_processes_share_the_prompts(tiny_model_path, prompt_file, tmp_path):
    found = {}
    for accelerate in ("cpu", "cpu-2-processes"):
        file = tmp_path / accelerate / "examples.jsonl"
        options = [
            *("--models", tiny_model_path, "--dataset_name", prompt_file, "--max_tokens", 8),
            *("--output_file", file, "--keep", 1.0, "--samples", 4, "--per_prompt", 4),
        ]
        smoke = "configs/demonstrations/smoke.yaml"
        record = launch("demonstrations", smoke, *options, accelerate=accelerate, cache=tmp_path)
        found[accelerate] = record["prompts"], record["examples"]
        if accelerate != "cpu":
            assert [Path(each).name[-4:] for each in record["runs"]] == ["1of2", "2of2"]
    assert found["cpu"] == found["cpu-2-processes"] == (4, 16)


@pytest.mark.parametrize(
    ("strategy", "more"),
    [
        ("direct", []),
        ("verbalized", ["--fill", "true", "--per_call", 2]),
        ("personas", []),
        ("paraphrases", ["--paraphrases", 2]),
        ("over-generate+specifications", ["--strategy_options", "factor=2", "count=1"]),
    ],
)
def test_every_strategy_draws_and_a_torn_pool_is_completed(
    tiny_model_path, prompt_file, tmp_path, monkeypatch, capsys, strategy, more
):
    options = [
        *("--models", tiny_model_path, "--dataset_name", prompt_file, "--max_tokens", 6),
        *("--samples", 3, "--kernel", "ngram", "--keep_truncated", "true"),
        *("--strategy", strategy, *more, "--output_file", tmp_path / "a.parquet"),
    ]
    record = run("demonstrations", monkeypatch, capsys, *options)
    [folder] = map(Path, record["runs"])
    assert folder.parent.name == strategy
    lines = (folder / "generations.jsonl").read_text().splitlines(keepends=True)
    (folder / "generations.jsonl").unlink()
    (folder / "generations.jsonl.partial").write_text("".join(lines[:2]) + lines[2][:20])
    before = (tmp_path / "a.parquet").read_bytes()
    assert run("demonstrations", monkeypatch, capsys, *options) == record
    assert (tmp_path / "a.parquet").read_bytes() == before
    assert (folder / "generations.jsonl").read_text().splitlines(keepends=True) == lines


def test_spectrum_rows_are_made_of_finished_runs_and_trained_on(
    tiny_model_path, tmp_path, monkeypatch, capsys
):
    pool = tmp_path / "pool.jsonl"
    rows = [{"prompt": p, "generations": ["red", "one fig", "red", "a day"]} for p in PROMPTS]
    pool.write_text("".join(json.dumps(row) + "\n" for row in rows))
    file = tmp_path / "spectrum.jsonl"
    making = ["--method", "spectrum", "--runs", pool, "--draws", 4, "--output_file", file]
    with pytest.raises(ValueError, match="the name of a tokenizer"):
        run("demonstrations", monkeypatch, capsys, *making)
    making += ["--tokenizer", tiny_model_path]
    record = run("demonstrations", monkeypatch, capsys, *making)
    assert record["examples"] == 4
    assert set(json.loads(file.read_text().splitlines()[0])) == {"input_ids", "labels"}
    smoke = ["--config", ROOT / "configs/sft/smoke.yaml", "--method", "spectrum"]
    options = [*smoke, *sft_options(tiny_model_path, file, tmp_path / "out")]
    trained = run("sft", monkeypatch, capsys, *options)
    assert trained["steps"] == 2 and trained["options"]["examples made by"] == "spectrum"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output_file", "examples.csv", "--models", "x"], "must end in one of"),
        ([], "neither models nor runs"),
        (["--models", "x", "--keep", "0"], "keep must be in"),
        (["--models", "x", "--weight", "-1"], "weight must be a number >= 0"),
        (["--models", "x", "--strategy", "verbalized", "--per_call", "0"], "per_call must be"),
        (["--models", "x", "--at_least", "1.0"], "need one value each"),
        (["--models", "x"], "dataset_name is not set"),
    ],
)
def test_demonstrations_refuse_impossible_options(arguments, message, monkeypatch, capsys):
    with pytest.raises(ValueError, match=message):
        run("demonstrations", monkeypatch, capsys, "--kernel", "ngram", *arguments)


def test_personas_of_ones_own_come_from_a_file(tmp_path):
    from diversify.trainers.demonstrating import build_strategy

    module = load_recipe("demonstrations")
    (tmp_path / "people.txt").write_text("You are A.\n\nYou are B.\n")
    options = module.DemonstrationArguments(
        strategy="personas", personas=str(tmp_path / "people.txt")
    )
    assert list(build_strategy(options).personas) == ["You are A.", "You are B."]
    (tmp_path / "people.txt").write_text("\n")
    with pytest.raises(ValueError, match="personas must be a list"):
        build_strategy(options)
    with pytest.raises(ValueError, match="strategy must be one of"):
        build_strategy(module.DemonstrationArguments(strategy="magic"))


# --- examples -------------------------------------------------------------------------------


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_examples_come_in_one_form_and_nothing_else(tmp_path):
    """A data set of the Hub may have `prompt` beside `messages`, and TRL would take both."""
    chat = [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "b"}]
    file = write(tmp_path / "a.jsonl", {"prompt": "A?", "messages": chat, "score": 1.0})
    assert load_examples(file, None, "train").column_names == ["messages"]
    file = write(tmp_path / "b.jsonl", {"prompt": "A?", "completion": "b", "weight": 1.0})
    assert load_examples(file, None, "train").column_names == ["prompt", "completion"]
    file = write(tmp_path / "c.jsonl", {"input_ids": [1, 2], "labels": [-100, 2], "text": "no"})
    assert load_examples(file, None, "train").column_names == ["input_ids", "labels"]
    file = write(tmp_path / "d.jsonl", {"text": "A? b"})
    assert load_examples(file, None, "train").column_names == ["text"]


def test_examples_say_what_is_wrong_with_them(tmp_path):
    with pytest.raises(ValueError, match="dataset_name"):
        load_examples(None, None, "train")
    with pytest.raises(ValueError, match="no file"):
        load_examples(str(tmp_path / "none.jsonl"), None, "train")
    file = write(tmp_path / "half.jsonl", {"prompt": "a", "chosen": "b"})
    with pytest.raises(ValueError, match=r"none of the forms .*prompt \+ completion"):
        load_examples(file, None, "train")
    with pytest.raises(ValueError, match=r"must end with the assistant.*\['user'\]"):
        split_last_turn({"messages": [{"role": "user", "content": "A?"}]})


def test_examples_are_brought_into_the_form_of_the_model():
    module = load_recipe("sft")
    chat = [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "b"}]
    options = module.SFTArguments(last_turn=True, limit=1)
    found = module.prepare(Dataset.from_list([{"messages": chat}] * 3), options, chat=True)
    assert found.to_list() == [{"prompt": chat[:1], "completion": chat[1:]}]
    plain = module.prepare(Dataset.from_list([{"messages": chat}]), options, chat=False)
    assert plain.to_list() == [{"prompt": "A?", "completion": "\n\nb"}]
    assert plain_example({"prompt": chat[:1], "completion": chat[1:]}) == plain[0]
    with pytest.raises(ValueError, match="need last_turn: true"):
        module.prepare(Dataset.from_list([{"messages": chat}]), module.SFTArguments(), chat=False)


def test_an_unknown_objective_or_link_is_refused():
    module = load_recipe("sft")
    with pytest.raises(ValueError, match="objective must be"):
        module.choose_trainer(module.SFTArguments(objective="dft"))


def test_a_model_without_a_chat_template_is_trained(
    tiny_model_path, example_file, tmp_path, monkeypatch, capsys
):
    import shutil

    folder = tmp_path / "plain"
    shutil.copytree(tiny_model_path, folder)
    (folder / "chat_template.jinja").unlink()
    smoke = ["--config", ROOT / "configs/sft/smoke.yaml"]
    options = sft_options(folder, example_file, tmp_path / "out")
    assert run("sft", monkeypatch, capsys, *smoke, *options)["steps"] == 2
