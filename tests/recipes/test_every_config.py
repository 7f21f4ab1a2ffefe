"""Every config of a recipe is started for two steps, with a tiny model in the place of its own.

What a config says about the method stays; what it says about size, models and data is replaced.
"""

import json
import sys

import pytest
import yaml
from launching import CONFIGS, PROMPTS, ROOT, load_recipe, recipe_of, relative

pytestmark = pytest.mark.usefixtures("no_cache_at_home")

OF_RECIPES = [
    config
    for config in CONFIGS
    if recipe_of(config) is not None and config.parent.name != "accelerate"
]
SMALL = [
    *("--save_strategy", "no", "--report_to", "none", "--disable_tqdm", "true"),
    *("--resume_from_checkpoint", "false"),
]
LORA = ["--use_peft", "true", "--lora_r", 2, "--lora_alpha", 4]


@pytest.fixture
def files(tmp_path, tiny_model_path):
    """Prompts, pairs, examples and a run of another model, as files."""
    answers = [["red"], ["the"], ["a"]]
    rows = {
        "prompts": [
            {"id": f"p{i}", "prompt": prompt, "answers": answers}
            for i, prompt in enumerate(PROMPTS)
        ],
        "pairs": [
            {"prompt": prompt, "chosen": "one wild fig", "rejected": "the apple", "weight": weight}
            for prompt, weight in zip(PROMPTS, [0.0, 0.5, 1.5, 2.0], strict=True)
        ],
        "examples": [
            {
                "prompt": [{"role": "user", "content": prompt}],
                "completion": [{"role": "assistant", "content": "one wild fig"}],
            }
            for prompt in PROMPTS
        ],
        "peers": [
            {
                "id": f"p{i}",
                "prompt": prompt,
                "answers": answers,
                "generations": ["red and blue", "one of them"],
            }
            for i, prompt in enumerate(PROMPTS)
        ],
    }
    found = {"model": tiny_model_path, "out": tmp_path / "out"}
    for name, lines in rows.items():
        found[name] = tmp_path / f"{name}.jsonl"
        found[name].write_text("".join(json.dumps(line) + "\n" for line in lines))
    return found


def rewarded(content, files):
    size = content["num_generations"]
    words = ["--model_name_or_path", files["model"], "--dataset_name", files["prompts"]]
    words += ["--output_dir", files["out"], "--max_steps", 2, "--max_completion_length", 8]
    words += ["--per_device_train_batch_size", size, "--gradient_accumulation_steps", 1]
    if content.get("quality"):
        # Reward models and the dotted paths of the configs need the Hub or another package.
        words += ["--quality", "answers"]
    if content.get("threshold"):
        words += ["--threshold", 0.5]
    if content.get("peers"):
        words += ["--peers", files["peers"]]
    words += ["--reference_samples", 2, "--log_completions", "false"]
    return [*words, *LORA, *SMALL]


def preferred(content, files):
    words = ["--model_name_or_path", files["model"], "--dataset_name", files["pairs"]]
    words += ["--output_dir", files["out"], "--max_steps", 2, "--per_device_train_batch_size", 2]
    return [*words, *LORA, *SMALL]


def supervised(content, files):
    words = ["--model_name_or_path", files["model"], "--dataset_name", files["examples"]]
    words += ["--output_dir", files["out"], "--max_steps", 2, "--per_device_train_batch_size", 2]
    return [*words, *LORA, *SMALL]


def paired(content, files):
    words = ["--models", files["model"], "--dataset_name", files["prompts"], "--samples", 8]
    words += ["--max_tokens", 8, "--limit", 4, "--output_file", files["out"] / "pairs.jsonl"]
    if content.get("runs"):
        words += ["--runs", files["peers"]]
    # Few of these random texts name an answer: the likelihood tells them apart.
    words += ["--quality", "likelihood", "--keep_truncated", "true", "--keep", 1.0]
    if content.get("rewrite_models"):
        # Two models of different names: what the one says stays, the other's is rewritten.
        other = f"{files['model']}/"
        words += ["--models", files["model"], other, "--rewrite_models", other]
        words += ["--rewriter", files["model"]]
    if content.get("at_least"):
        words += ["--at_least", -99.0]
    if content.get("method") == "gated":
        words += ["--rejected", "worst"]
    return [*words, "--min_words", 1]


def demonstrated(content, files):
    words = ["--models", files["model"], "--dataset_name", files["prompts"], "--samples", 4]
    words += ["--max_tokens", 8, "--limit", 4, "--output_file", files["out"] / "examples.jsonl"]
    if content.get("at_least"):
        words += ["--at_least", -99.0]
    return [*words, "--quality", "likelihood", "--keep_truncated", "true"]


def in_turns(content, files):
    pairs = (
        "--samples 8 --max_tokens 8 --quality likelihood --keep_truncated true --limit 4 --keep 1.0"
    )
    dpo = "--max_steps 2 --per_device_train_batch_size 2 --use_peft true --lora_r 2"
    words = ["--models", files["model"], "--dataset_name", files["prompts"], "--rounds", 2]
    words += ["--output", files["out"], f"--pairs_options={pairs} --min_words 1 --rejected worst"]
    return [*words, f"--dpo_options={dpo} --disable_tqdm true"]


OPTIONS = {
    "rounds": in_turns,
    "grpo": rewarded,
    "rloo": rewarded,
    "dpo": preferred,
    "orpo": preferred,
    "sft": supervised,
    "pairs": paired,
    "demonstrations": demonstrated,
}


@pytest.mark.parametrize("config", OF_RECIPES, ids=relative)
def test_a_config_is_started_for_two_steps(
    config, files, tiny_embedder, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("DIVERSIFY_CACHE", str(tmp_path / "cache"))
    for module in ("diversify.embedders", "diversify.trainers.components"):
        monkeypatch.setattr(f"{module}.load_embedder", lambda name, **options: tiny_embedder)
    recipe = recipe_of(config)
    content = yaml.safe_load(config.read_text("utf-8"))
    words = ["--config", config, *OPTIONS[recipe](content, files)]
    module = load_recipe(recipe)
    if recipe == "rounds":
        # What it would start as processes runs in this one.
        monkeypatch.setattr(module, "launch", lambda _, command: start(monkeypatch, *command))
    start(monkeypatch, f"{recipe}.py", *words, module=module)
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["recipe"] == recipe
    trained = record.get("rounds", [record] if "steps" in record else [])
    assert all(each["steps"] == 2 for each in trained)


def start(monkeypatch, script, *words, module=None):
    """Run a recipe in this process."""
    monkeypatch.setattr(sys, "argv", [script, *map(str, words)])
    (module or load_recipe(script.removesuffix(".py"))).main()


def test_every_recipe_has_options_here():
    assert {recipe_of(config) for config in OF_RECIPES} == set(OPTIONS)
