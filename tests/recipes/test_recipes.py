"""Recipes and configs: every file parses, every recipe runs, is continued, and leaves its files."""

import json
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from launching import (
    CONFIGS,
    PROMPTS,
    RECIPES,
    ROOT,
    first_line,
    launch,
    load_recipe,
    recipe_of,
    relative,
    run,
)

from diversify.trainers.setup import make_parser

pytestmark = pytest.mark.usefixtures("no_cache_at_home")

# --- files ----------------------------------------------------------------------------------


def test_there_are_configs_and_recipes_to_test():
    assert len(CONFIGS) >= 13
    assert {"grpo", "pairs", "dpo"} <= {path.stem for path in RECIPES}


@pytest.mark.parametrize("recipe", RECIPES, ids=relative)
def test_a_recipe_is_short_and_says_how_it_is_started(recipe):
    text = recipe.read_text("utf-8")
    assert len(text.splitlines()) <= 150
    started = [
        f"{how} recipes/{recipe.name} --config configs/" for how in ("accelerate launch", "python")
    ]
    assert any(command in text for command in started)


@pytest.mark.parametrize("config", CONFIGS, ids=relative)
def test_a_config_begins_with_its_command(config):
    words = first_line(config)
    assert config.read_text("utf-8").startswith("# ")
    assert relative(config) in words
    for word in words:
        if word.startswith(("recipes/", "configs/")):
            assert (ROOT / word).is_file(), word


@pytest.mark.parametrize("config", CONFIGS, ids=relative)
def test_a_config_is_flat_and_parses_with_its_recipe(config):
    content = yaml.safe_load(config.read_text("utf-8"))
    if config.parent.name == "accelerate":
        assert load_config_from_file(str(config)).num_processes == content["num_processes"]
        return
    if (recipe := recipe_of(config)) is None:
        return  # a study of several commands has a format of its own
    assert not any(isinstance(value, dict) for value in content.values())
    module = load_recipe(recipe)
    parsed = make_parser(*module.TYPES).parse_args_and_config(["--config", str(config)])
    assert len(parsed) == len(module.TYPES)
    unknown = {name for name in content if not any(hasattr(each, name) for each in parsed)}
    assert unknown == set()


@pytest.mark.parametrize("recipe", ["grpo", "pairs", "dpo"])
def test_an_unknown_key_is_refused_in_a_file_and_on_the_command_line(recipe, tmp_path):
    types = load_recipe(recipe).TYPES
    config = tmp_path / "typo.yaml"
    config.write_text("dataset_name: open-ended\nlerning_rate: 1.0\n")
    with pytest.raises(ValueError, match="lerning_rate"):
        make_parser(*types).parse_args_and_config(["--config", str(config)])
    with pytest.raises(ValueError, match="lerning_rate"):
        make_parser(*types).parse_args_and_config(["--lerning_rate", "1.0"])


# --- runs -----------------------------------------------------------------------------------


def grpo_options(model, prompts, output):
    return [
        *("--model_name_or_path", model, "--dataset_name", prompts, "--output_dir", output),
        *("--max_completion_length", 8, "--lora_r", 2, "--disable_tqdm", "true"),
    ]


def test_grpo_is_launched_and_leaves_a_model_that_loads(tiny_model_path, prompt_file, tmp_path):
    output = tmp_path / "out"
    options = grpo_options(tiny_model_path, prompt_file, output)
    record = launch("grpo", "configs/grpo/smoke.yaml", *options, cache=tmp_path)
    assert (record["recipe"], record["method"], record["steps"]) == ("grpo", "gated", 2)
    assert record["processes"] == 1 and record["training"]["bf16"] is False
    assert json.loads((output / "training.json").read_text()) == record
    card = (output / "README.md").read_text()
    assert "library_name: peft" in card and "Not evaluated yet" in card
    from diversify.models import load_model

    loaded = load_model(output, device="cpu", dtype="float32")
    assert loaded.identity["adapter_hash"]
    assert loaded.tokenizer.chat_template


def test_grpo_is_continued_and_knows_when_it_is_done(
    tiny_model_path, prompt_file, tmp_path, monkeypatch, capsys
):
    """One step, then up to three from the checkpoint, then nothing left to do."""
    smoke = ["--config", ROOT / "configs/grpo/smoke.yaml"]
    options = [*smoke, *grpo_options(tiny_model_path, prompt_file, tmp_path / "out")]
    first = run("grpo", monkeypatch, capsys, *options, "--max_steps", 1)
    assert (first["steps"], first["resumed_from"]) == (1, None)
    second = run("grpo", monkeypatch, capsys, *options, "--max_steps", 3)
    assert (second["steps"], Path(second["resumed_from"]).name) == (3, "checkpoint-1")
    assert run("grpo", monkeypatch, capsys, *options, "--max_steps", 3) == second


def test_grpo_draws_its_reference_once_and_evaluates_on_the_test_split(
    tiny_model_path, tmp_path, monkeypatch, capsys
):
    prompts = tmp_path / "split.jsonl"
    rows = [
        {"id": f"p{i}", "prompt": prompt, "split": split, "answers": [["red"], ["the"]]}
        for i, (prompt, split) in enumerate(zip(PROMPTS, ["train"] * 3 + ["test"], strict=True))
    ]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = [
        *grpo_options(tiny_model_path, prompts, tmp_path / "out"),
        *("--reward", "gated", "--quality", "likelihood", "answers", "--kernel", "ngram"),
        *("--max_steps", 1, "--num_generations", 4, "--per_device_train_batch_size", 4),
        *("--per_device_eval_batch_size", 4, "--eval_strategy", "steps", "--eval_steps", 1),
        *("--reference_samples", 3, "--save_strategy", "no"),
    ]
    run("grpo", monkeypatch, capsys, *options)
    folder = tmp_path / "out" / "reference"
    drawn = {
        split: (folder / split / "generations.jsonl").read_text().splitlines()
        for split in ("train", "test")
    }
    assert {split: len(lines) for split, lines in drawn.items()} == {"train": 3, "test": 1}
    assert all(len(json.loads(line)["generations"]) == 3 for line in drawn["train"])
    before = (folder / "train" / "generations.jsonl").stat().st_mtime_ns
    run("grpo", monkeypatch, capsys, *options)
    assert (folder / "train" / "generations.jsonl").stat().st_mtime_ns == before


@pytest.mark.slow
def test_grpo_on_two_processes_splits_groups_and_shares_the_reference(
    tiny_model_path, prompt_file, tmp_path
):
    """Two answers a process and groups of four: every group is cut in two."""
    output = tmp_path / "out"
    record = launch(
        "grpo",
        "configs/grpo/smoke.yaml",
        *grpo_options(tiny_model_path, prompt_file, output),
        *("--per_device_train_batch_size", 2, "--reward", "moda"),
        accelerate="cpu-2-processes",
        cache=tmp_path,
    )
    assert (record["processes"], record["steps"]) == (2, 2)
    # The numbers of the smoke config make a reference superfluous.
    assert not (output / "reference").exists()


@pytest.mark.slow
def test_full_fine_tuning_with_two_processes_and_a_reference(
    tiny_model_path, prompt_file, tmp_path
):
    config = tmp_path / "full.yaml"
    smoke = yaml.safe_load((ROOT / "configs/grpo/smoke.yaml").read_text())
    for name in ("threshold", "use_peft", "lora_r", "lora_target_modules"):
        del smoke[name]
    config.write_text(yaml.safe_dump(smoke | {"quality": "likelihood"}))
    output = tmp_path / "out"
    options = grpo_options(tiny_model_path, prompt_file, output)
    record = launch("grpo", config, *options, accelerate="cpu-2-processes", cache=tmp_path)
    assert record["steps"] == 2
    assert sorted(path.name for path in (output / "reference").iterdir()) == [
        "train-1of2",
        "train-2of2",
    ]
    assert (output / "model.safetensors").is_file()


def test_pairs_are_launched_and_feed_dpo(tiny_model_path, prompt_file, tmp_path):
    file = tmp_path / "out" / "pairs.jsonl"
    options = [
        *("--models", tiny_model_path, "--dataset_name", prompt_file, "--output_file", file),
        # Random words have no mode, but some are likelier than others.
        *("--max_tokens", 8, "--rejected", "worst", "--keep", 1.0),
    ]
    record = launch("pairs", "configs/pairs/smoke.yaml", *options, cache=tmp_path)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(rows) == record["pairs"] > 0
    assert set(rows[0]) == {"prompt", "chosen", "rejected", "weight"}
    assert all(row["chosen"] != row["rejected"] for row in rows)
    assert len(record["runs"]) == 2  # two temperatures
    assert not list(file.parent.glob("*.partial"))


def test_pairs_continue_and_take_finished_runs(
    tiny_model_path, prompt_file, tmp_path, monkeypatch, capsys
):
    """A torn pool is completed without drawing the rest again, and gives the same pairs."""
    options = [
        *("--dataset_name", prompt_file, "--samples", 8, "--max_tokens", 8, "--kernel", "ngram"),
        *("--quality", "likelihood", "--keep_truncated", "true", "--deviation", "ngram"),
    ]
    drawing = [*options, "--models", tiny_model_path]
    first = tmp_path / "a.parquet"
    record = run("pairs", monkeypatch, capsys, *drawing, "--output_file", first)
    [folder] = map(Path, record["runs"])
    before = first.read_bytes()
    lines = (folder / "generations.jsonl").read_text().splitlines(keepends=True)
    (folder / "generations.jsonl").unlink()
    (folder / "generations.jsonl.partial").write_text("".join(lines[:2]) + lines[2][:20])
    again = run("pairs", monkeypatch, capsys, *drawing, "--output_file", first)
    assert again == record
    assert first.read_bytes() == before
    assert (folder / "generations.jsonl").read_text().splitlines(keepends=True)[:2] == lines[:2]

    joined = run(
        *("pairs", monkeypatch, capsys, *options, "--runs", folder),
        *("--quality_model", tiny_model_path, "--output_file", tmp_path / "b.jsonl"),
    )
    assert joined["pairs"] == record["pairs"]


@pytest.mark.slow
def test_two_processes_share_the_prompts_of_a_pool(tiny_model_path, prompt_file, tmp_path):
    options = [
        *("--models", tiny_model_path, "--dataset_name", prompt_file, "--max_tokens", 8),
        *("--output_file", tmp_path / "pairs.jsonl", "--temperatures", 1.0),
        *("--rejected", "worst", "--keep", 1.0),
    ]
    smoke = "configs/pairs/smoke.yaml"
    record = launch("pairs", smoke, *options, accelerate="cpu-2-processes", cache=tmp_path)
    assert [Path(run).name[-4:] for run in record["runs"]] == ["1of2", "2of2"]
    assert record["prompts"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output_file", "pairs.csv", "--models", "x"], "must end in one of"),
        (["--quality", "answers"], "neither models nor runs"),
        (["--models", "x", "--quality", "answers", "--fraction", "0.9"], "fraction must be in"),
        (["--models", "x", "--quality", "answers", "--keep", "0.5", "0.5"], "one share each"),
        (["--models", "x", "--quality", "answers"], "dataset_name is not set"),
    ],
)
def test_pairs_refuse_impossible_options_before_anything_is_loaded(
    arguments, message, monkeypatch, capsys
):
    with pytest.raises(ValueError, match=message):
        run("pairs", monkeypatch, capsys, "--kernel", "ngram", *arguments)


def dpo_options(model, pairs, output):
    return [
        *("--model_name_or_path", model, "--dataset_name", pairs, "--output_dir", output),
        *("--lora_r", 2, "--disable_tqdm", "true"),
    ]


def test_dpo_is_launched(tiny_model_path, pair_file, tmp_path):
    options = dpo_options(tiny_model_path, pair_file, tmp_path / "out")
    record = launch("dpo", "configs/dpo/smoke.yaml", *options, cache=tmp_path)
    assert (record["recipe"], record["steps"], record["options"]["pairs"]) == ("dpo", 2, 4)
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


def test_dpo_is_continued_resamples_and_evaluates(
    tiny_model_path, pair_file, tmp_path, monkeypatch, capsys
):
    options = [
        *("--config", ROOT / "configs/dpo/smoke.yaml", "--resample", "true"),
        *("--eval_strategy", "steps", "--eval_steps", 1, "--test_file", pair_file),
        *dpo_options(tiny_model_path, pair_file, tmp_path / "out"),
    ]
    first = run("dpo", monkeypatch, capsys, *options, "--max_steps", 1)
    expected = {"pairs": 4, "resample": True, "objective": "dpo"}
    assert expected.items() <= first["options"].items()
    second = run("dpo", monkeypatch, capsys, *options, "--max_steps", 2)
    assert (second["steps"], Path(second["resumed_from"]).name) == (2, "checkpoint-1")


def test_dpo_goes_a_second_round_on_its_own_adapter(
    tiny_model_path, pair_file, tmp_path, monkeypatch, capsys
):
    """The second round begins where the first ended: its first loss is log 2 by that reference."""
    from safetensors.torch import load_file

    smoke = ["--config", ROOT / "configs/dpo/smoke.yaml", "--learning_rate", 1e-2]
    first, second = tmp_path / "first", tmp_path / "second"
    run("dpo", monkeypatch, capsys, *smoke, *dpo_options(tiny_model_path, pair_file, first))
    options = dpo_options(tiny_model_path, pair_file, second)
    record = run("dpo", monkeypatch, capsys, *smoke, *options, "--adapter", first, "--max_steps", 1)
    assert record["metrics"]["train_loss"] == pytest.approx(0.6931, abs=1e-3)
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (first, second))
    assert before.keys() == after.keys()
    assert any((before[name] != after[name]).any() for name in before)


@pytest.mark.slow
def test_dpo_on_two_processes_fully_fine_tuned(tiny_model_path, pair_file, tmp_path):
    options = [
        *dpo_options(tiny_model_path, pair_file, tmp_path / "out"),
        *("--use_peft", "false", "--per_device_train_batch_size", 1),
    ]
    smoke = "configs/dpo/smoke.yaml"
    record = launch("dpo", smoke, *options, accelerate="cpu-2-processes", cache=tmp_path)
    assert record["processes"] == 2
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_pairs_are_drawn_in_proportion_to_their_weight(pair_file):
    """Weights 0, .5, 1.5, 2 of 4: the first never comes, the last half of the time."""
    module = load_recipe("dpo")
    pairs = module.load_pairs(str(pair_file), None, "train")

    drawn = [module.resample(pairs, seed)["weight"] for seed in range(200)]
    flat = [weight for weights in drawn for weight in weights]
    assert flat.count(0.0) == 0
    assert flat.count(2.0) / len(flat) == pytest.approx(0.5, abs=0.07)
    assert module.resample(pairs, 3)["weight"] == module.resample(pairs, 3)["weight"]


def test_dpo_says_what_is_wrong_with_its_pairs(pair_file, tmp_path):
    module = load_recipe("dpo")
    with pytest.raises(ValueError, match="dataset_name"):
        module.load_pairs(None, None, "train")
    with pytest.raises(ValueError, match="no file"):
        module.load_pairs(str(tmp_path / "none.jsonl"), None, "train")
    (tmp_path / "half.jsonl").write_text('{"prompt": "a", "chosen": "b"}\n')
    with pytest.raises(ValueError, match=r"lacks \['rejected'\]"):
        module.load_pairs(str(tmp_path / "half.jsonl"), None, "train")
    pairs = module.load_pairs(str(pair_file), None, "train")
    with pytest.raises(ValueError, match="column weight"):
        module.resample(pairs.remove_columns("weight"), 0)


def test_a_model_without_a_chat_template_gets_plain_pairs(pair_file):
    module = load_recipe("dpo")
    row = module.load_pairs(str(pair_file), None, "train")[0]
    assert module.plain(row) == {
        "prompt": "Name a colour.",
        "chosen": "one wild fig",
        "rejected": "the apple",
    }


def test_a_safeguard_watches_a_recipe(
    tiny_model_path, prompt_file, pair_file, tiny_embedder, tmp_path, monkeypatch, capsys
):
    """At the start and after each step; its record and reports lie in the output folder."""
    monkeypatch.setattr(
        "diversify.trainers.components.load_embedder", lambda name, **options: tiny_embedder
    )
    output = tmp_path / "out"
    options = [
        *("--config", ROOT / "configs/dpo/smoke.yaml", "--model_name_or_path", tiny_model_path),
        *("--dataset_name", pair_file, "--output_dir", output, "--lora_r", 2),
        *("--safeguard_every", 1, "--safeguard_prompts", prompt_file, "--safeguard_limit", 2),
        *("--safeguard_samples", 3, "--safeguard_max_tokens", 6, "--disable_tqdm", "true"),
    ]
    run("dpo", monkeypatch, capsys, *options)
    checks = json.loads((output / "safeguard.json").read_text())["checks"]
    assert [check["step"] for check in checks] == [0, 1, 2]
    assert (output / "safeguard" / "step-2" / "report.json").is_file()
