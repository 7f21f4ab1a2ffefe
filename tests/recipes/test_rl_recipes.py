"""GRPO and RLOO by their recipes: what was interrupted goes on as if it had not been; two processes."""

import json

import pytest
from launching import ROOT, launch, run

pytestmark = pytest.mark.usefixtures("no_cache_at_home")


def options(model, prompts, output):
    return [
        *("--model_name_or_path", model, "--dataset_name", prompts, "--output_dir", output),
        *("--max_completion_length", 8, "--lora_r", 2, "--disable_tqdm", "true"),
        *("--lr_scheduler_type", "constant", "--lora_dropout", 0.0),
        *("--learning_rate", 1e-3, "--quality", "likelihood", "--threshold", -9.0),
    ]


def history(output, step):
    """The losses and rewards of each step, from the last checkpoint."""
    state = json.loads((output / f"checkpoint-{step}" / "trainer_state.json").read_text())
    return [
        {name: entry[name] for name in ("loss", "reward", "grad_norm")}
        for entry in state["log_history"]
        if "loss" in entry
    ]


@pytest.mark.parametrize("recipe", ["grpo", "rloo"])
def test_what_was_interrupted_gives_the_losses_of_what_was_not(
    recipe, tiny_model_path, prompt_file, tmp_path, monkeypatch, capsys
):
    smoke = ["--config", ROOT / f"configs/{recipe}/smoke.yaml"]
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    words = [*smoke, "--save_total_limit", 9]
    run(recipe, monkeypatch, capsys, *words, *options(tiny_model_path, prompt_file, whole),
        "--max_steps", 3)  # fmt: skip
    for steps in (1, 3):
        record = run(
            *(recipe, monkeypatch, capsys, *words),
            *(*options(tiny_model_path, prompt_file, cut), "--max_steps", steps),
        )
    assert record["steps"] == 3 and record["resumed_from"].endswith("checkpoint-1")
    expected = history(whole, 3)
    assert len(expected) == 3
    for found, wanted in zip(history(cut, 3), expected, strict=True):
        assert found == pytest.approx(wanted, rel=1e-5, abs=1e-7)


def test_rloo_is_launched(tiny_model_path, prompt_file, tmp_path):
    record = launch(
        "rloo",
        "configs/rloo/smoke.yaml",
        *options(tiny_model_path, prompt_file, tmp_path / "out"),
        cache=tmp_path,
    )
    assert (record["recipe"], record["method"], record["steps"]) == ("rloo", "gated", 2)
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["grpo", "rloo"])
def test_two_processes_cut_the_groups_and_train(recipe, tiny_model_path, prompt_file, tmp_path):
    """Two answers a process and groups of four; each of the two steps logs whole groups."""
    output = tmp_path / "out"
    record = launch(
        recipe,
        f"configs/{recipe}/smoke.yaml",
        *options(tiny_model_path, prompt_file, output),
        *("--per_device_train_batch_size", 2),
        accelerate="cpu-2-processes",
        cache=tmp_path,
    )
    assert (record["processes"], record["steps"]) == (2, 2)
    state = json.loads((output / "checkpoint-2" / "trainer_state.json").read_text())
    logged = [entry for entry in state["log_history"] if "loss" in entry]
    assert len(logged) == 2 and all("gated/distinct" in entry for entry in logged)


@pytest.mark.slow
def test_roles_and_another_advantage_by_the_recipe(tiny_model_path, prompt_file, tmp_path):
    """On two processes: the rows of a group differ in their prompts and lie on both."""
    record = launch(
        "grpo",
        "configs/grpo/smoke.yaml",
        *options(tiny_model_path, prompt_file, tmp_path / "out"),
        *("--per_device_train_batch_size", 2, "--roles", "true", "--advantage", "ucpo"),
        accelerate="cpu-2-processes",
        cache=tmp_path,
    )
    assert (record["processes"], record["method"]) == (2, "gated + ucpo")
