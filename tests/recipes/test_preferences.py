"""Pairs by every criterion and weight, every objective of DPO, ORPO, and rounds of both."""

import builtins
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from launching import PROMPTS, ROOT, launch, load_recipe, run
from safetensors.torch import load_file

from diversify.engines import Generations
from diversify.quality import Judge
from diversify.trainers.pairing import build_criterion, build_signals
from diversify.trainers.pools import Rewriting, draft_key, draw_pool
from diversify.trainers.preference_rows import load_pairs
from diversify.trainers.row_files import write_rows

pytestmark = pytest.mark.usefixtures("no_cache_at_home")

# --- pairs: what is diverse, and what a pair weighs ------------------------------------------


@pytest.fixture
def pool_file(tmp_path):
    """A finished pool: eight answers to two questions."""
    file = tmp_path / "pool.jsonl"
    texts = [
        "a red",
        "a red",
        "a blue one",
        "the wild red and blue",
        "a red now",
        "blue",
        "no",
        "my",
    ]
    rows = [
        {"id": f"p{i}", "prompt": prompt, "generations": texts}
        for i, prompt in enumerate(PROMPTS[:2])
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def long(prompts, completions, **columns):
    """A quality, and a judge of what is unusual, by its dotted path."""
    return [float(len(messages[-1]["content"])) for messages in completions]


@pytest.fixture
def build(pool_file, tmp_path, monkeypatch, capsys):
    """Run the pairs recipe on the finished pool; return the rows that it wrote."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))

    def make(*arguments):
        file = tmp_path / "pairs.jsonl"
        options = ["--runs", pool_file, "--output_file", file, "--kernel", "ngram"]
        options += ["--quality", "test_preferences.long", "--fraction", 0.5, *arguments]
        run("pairs", monkeypatch, capsys, *options)
        return [json.loads(line) for line in file.read_text().splitlines()]

    return make


def texts_of(rows):
    return [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows]


def test_pairs_by_rare_words(build):
    """Four of eight have "a", four "red", three "blue"; all other words are in one text only.

    The four longest, means of log(8 / holders): "the wild red and blue" (3 log 8 + log 2 +
    log 8/3) / 5 = 1.58, "a blue one" 1.25, "a red now" 1.16, "a red" log 2. Of the four shortest
    the other "a red" is the least rare.
    """
    assert texts_of(build("--diversity", "words")) == [("the wild red and blue", "a red")] * 2


def test_pairs_by_probability(build, tiny_model_path):
    """The policy's own likelihood, turned round: another model of the quality plays no part."""
    rows = build("--diversity", "probability", "--policy", tiny_model_path)
    [criterion, likelihood] = [
        build_criterion(name, policy=str(tiny_model_path)) for name in ("probability", "likelihood")
    ]
    prompt, best = PROMPTS[0], ["a blue one", "the wild red and blue", "a red now", "a red"]
    improbable = criterion([prompt] * 4, best)
    assert improbable == [-value for value in likelihood([prompt] * 4, best)]
    assert texts_of(rows)[0][0] == best[improbable.index(max(improbable))]


def test_pairs_by_a_judge_of_ones_own(build):
    rows = build("--diversity", "test_preferences.long")
    assert texts_of(rows) == [("the wild red and blue", "no")] * 2


def test_the_judge_is_asked_how_unusual_an_answer_is():
    class Server:
        def ask(self, chats):
            assert all("How unusual is the answer" in chat[0]["content"] for chat in chats)
            return ["9" if "plum" in chat[0]["content"] else "2" for chat in chats]

    judge = build_criterion("judge", policy="", server=Server())
    assert isinstance(judge, Judge)
    assert judge(["A fruit?"] * 2, ["a plum", "an apple"]) == [9.0, 2.0]
    with pytest.raises(ValueError, match="needs judge_model and judge_url"):
        build_criterion("judge", policy="")


def test_pairs_of_similar_quality(build):
    rows = build("--method", "similar", "--band", 1.0, "--keep", 1.0, "--diversity", "words")
    assert texts_of(rows)[0][1] == "a red"
    narrow = build("--method", "similar", "--band", 0.2, "--keep", 1.0)
    assert texts_of(narrow) != texts_of(rows)


def test_pairs_are_weighed_by_creativity(build, tiny_model_path):
    options = ["--method", "quality", "--pairs", 2, "--quality_model", tiny_model_path]
    options += ["--creativity", "novelty", "surprise", "diversity", "quality"]
    rows = build(*options)
    weights = [row["weight"] for row in rows]
    assert sum(weights) == pytest.approx(len(rows)) and weights[0] != pytest.approx(weights[1])
    other = [row["weight"] for row in build(*options, "--creativity_weights", 5, 0, 0, 1)]
    assert other != pytest.approx(weights)


def test_signals_are_named_and_counted():
    with pytest.raises(ValueError, match=r"takes each of .* once, got"):
        build_signals(["beauty"], [], long)
    with pytest.raises(ValueError, match="once"):
        build_signals(["novelty", "novelty"], [], long)
    with pytest.raises(ValueError, match="one weight each"):
        build_signals(["novelty"], [1.0, 2.0], long)
    assert build_signals([], [], long) == {}


def test_every_round_can_have_a_part_of_the_prompts(
    tiny_model_path, prompt_file, tmp_path, monkeypatch, capsys
):
    drawn = []
    for part in (0, 1):
        options = ["--models", tiny_model_path, "--dataset_name", prompt_file, "--samples", 8]
        options += ["--max_tokens", 8, "--kernel", "ngram", "--keep_truncated", "true"]
        options += ["--part", part, "--parts", 2, "--output_file", tmp_path / f"{part}.jsonl"]
        record = run("pairs", monkeypatch, capsys, *options)
        rows = (Path(record["runs"][0]) / "generations.jsonl").read_text().splitlines()
        drawn.append([json.loads(row)["prompt"] for row in rows])
    assert drawn == [PROMPTS[::2], PROMPTS[1::2]]
    with pytest.raises(ValueError, match="no part 2 of 2 of 4 prompts"):
        run("pairs", monkeypatch, capsys, *options, "--part", 2)


# --- rewriting ------------------------------------------------------------------------------


def redipo(model, prompts, file):
    """Two models, the second a copy of the first; what it says is rewritten by the first."""
    return [
        *("--models", model, f"{model}/", "--rewrite_models", f"{model}/", "--samples", 8),
        *("--dataset_name", prompts, "--output_file", file, "--max_tokens", 8, "--seed", 3),
        *("--method", "similar", "--band", 1.0, "--kernel", "ngram", "--keep", 1.0),
        *("--keep_truncated", "true", "--pairs", 4),
    ]


def test_redipo_rewrites_the_base_models_answers_and_continues(
    tiny_model_path, prompt_file, tmp_path, monkeypatch, capsys
):
    file = tmp_path / "pairs.jsonl"
    options = redipo(tiny_model_path, prompt_file, file)
    record = run("pairs", monkeypatch, capsys, *options)
    plain, rewritten = map(Path, record["runs"])
    assert rewritten.name.endswith("-rewritten")
    drafts = rewritten.with_name(rewritten.name.removesuffix("-rewritten"))
    assert drafts not in (plain, rewritten)
    rows = [json.loads(line) for line in (rewritten / "generations.jsonl").read_text().splitlines()]
    first = [json.loads(line) for line in (drafts / "generations.jsonl").read_text().splitlines()]
    assert [row["details"]["drafts"] for row in rows] == [row["generations"] for row in first]
    assert [row["prompt"] for row in rows] == PROMPTS
    assert all(row["generations"] != row["details"]["drafts"] for row in rows)
    assert record["prompts"] == 4
    before = file.read_bytes()
    # A kill while the third row was written: the rest is rewritten, and all is as it was.
    lines = (rewritten / "generations.jsonl").read_text().splitlines(keepends=True)
    (rewritten / "generations.jsonl").unlink()
    (rewritten / "generations.jsonl.partial").write_text("".join(lines[:2]) + lines[2][:20])
    run("pairs", monkeypatch, capsys, *options)
    assert file.read_bytes() == before
    assert (rewritten / "generations.jsonl").read_text() == "".join(lines)


class Echo:
    """An engine that makes drafts better, and remembers what it was asked; kiwis are cut off."""

    def __init__(self):
        self.asked = []

    def generate(self, prompts, n, sampling):
        self.asked += prompts
        drafts = [prompt[-2]["content"] for prompt in prompts]
        return Generations(
            prompts, [[f"better {draft}"] for draft in drafts], [[d == "kiwi"] for d in drafts]
        )


def test_the_rewriter_sees_conversation_draft_and_wish_and_blank_drafts_stay_blank():
    chat = [{"role": "user", "content": "A fruit?"}]
    engine = Echo()
    strategy = Rewriting({draft_key("A fruit?"): ["fig", " ", "kiwi"]}, instruction="Again.")
    found = strategy(engine, ["A fruit?", chat], 3)
    assert found.texts == [["better fig", "", "better kiwi"]] * 2
    assert found.truncated == [[False, False, True]] * 2
    assert engine.asked[0] == [
        *chat,
        {"role": "assistant", "content": "fig"},
        {"role": "user", "content": "Again."},
    ]
    assert len(engine.asked) == 4
    with pytest.raises(ValueError, match="3 drafts to rewrite, got n=2"):
        strategy(engine, ["A fruit?"], 2)
    with pytest.raises(ValueError, match="0 drafts to rewrite, got n=3"):
        strategy(engine, ["A city?"], 3)
    other = Rewriting({draft_key("A fruit?"): ["fig", " ", "plum"]}, instruction="Again.")
    assert strategy.describe() != other.describe()


def test_only_what_is_drawn_can_be_rewritten_and_by_somebody(prompt_file, tmp_path):
    options = {"sampling": None, "temperatures": [1.0], "output": tmp_path}
    with pytest.raises(ValueError, match=r"\['b'\] is not in \['a'\]"):
        draw_pool(["a"], None, 8, rewrite=["b"], **options)
    with pytest.raises(ValueError, match="there is no rewriter"):
        draw_pool(["a"], None, 8, rewrite=["a"], **options)


@pytest.mark.slow
def test_two_processes_rewrite_a_share_each(tiny_model_path, prompt_file, tmp_path):
    options = redipo(tiny_model_path, prompt_file, tmp_path / "pairs.jsonl")
    smoke = "configs/pairs/smoke.yaml"
    options += ["--temperatures", 1.0, "--quality", "likelihood"]
    record = launch("pairs", smoke, *options, accelerate="cpu-2-processes", cache=tmp_path)
    names = [Path(run).name for run in record["runs"]]
    assert [name[-4:] for name in names[:2]] == ["1of2", "2of2"]
    assert [name[-14:] for name in names[2:]] == ["1of2-rewritten", "2of2-rewritten"]
    assert record["prompts"] == 4


# --- objectives -----------------------------------------------------------------------------

OBJECTIVES = {
    "dpo": [],
    "weighted": ["--objective", "weighted"],
    "spl": ["--objective", "spl", "--alpha", 0.15],
    "h_dpo": ["--objective", "h_dpo", "--alpha", 1.5],
    "js": ["--f_divergence_type", "js_divergence"],
}


def dpo_options(model, pairs, output):
    return [
        *("--model_name_or_path", model, "--dataset_name", pairs, "--output_dir", output),
        *("--lora_r", 2, "--disable_tqdm", "true", "--learning_rate", 1e-2),
        *("--per_device_train_batch_size", 2, "--max_steps", 4, "--save_steps", 2),
    ]


def losses_of(output):
    """The losses of every step, from the last checkpoint."""
    newest = max(Path(output).glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    history = json.loads((newest / "trainer_state.json").read_text())["log_history"]
    return {entry["step"]: entry["loss"] for entry in history if "loss" in entry}


def same_weights(one, other, **tolerance):
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (one, other))
    assert first.keys() == second.keys()
    if not tolerance:
        return all(torch.equal(first[name], second[name]) for name in first)
    return all(torch.allclose(first[name], second[name], **tolerance) for name in first)


@pytest.mark.parametrize(
    "objective",
    ["spl", *(pytest.param(each, marks=pytest.mark.slow) for each in OBJECTIVES if each != "spl")],
)
def test_an_objective_trains_and_continues_from_a_checkpoint_with_the_same_losses(
    objective, tiny_model_path, pair_file, tmp_path, monkeypatch, capsys
):
    """Two steps, then two more from the checkpoint; or four at once: the same four losses."""
    smoke = ["--config", ROOT / "configs/dpo/smoke.yaml", *OBJECTIVES[objective]]
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    options = [*smoke, *dpo_options(tiny_model_path, pair_file, whole)]
    options += ["--lr_scheduler_type", "constant"]
    record = run("dpo", monkeypatch, capsys, *options)
    assert record["options"]["objective"] == ("dpo" if objective == "js" else objective)
    options[options.index(whole)] = halves
    run("dpo", monkeypatch, capsys, *options, "--max_steps", 2)
    second = run("dpo", monkeypatch, capsys, *options)
    assert Path(second["resumed_from"]).name == "checkpoint-2"
    assert losses_of(halves) == losses_of(whole) and len(losses_of(whole)) == 4
    assert same_weights(halves, whole)


def test_objectives_have_losses_of_their_own(
    tiny_model_path, pair_file, tmp_path, monkeypatch, capsys
):
    """Before the first step the policy is the reference: DPO has log 2, and H-DPO the SPL loss."""
    first = {}
    for name, arguments in OBJECTIVES.items():
        output = tmp_path / name
        options = dpo_options(tiny_model_path, pair_file, output)
        smoke = ["--config", ROOT / "configs/dpo/smoke.yaml", *arguments]
        run("dpo", monkeypatch, capsys, *smoke, *options, "--max_steps", 1, "--save_steps", 1)
        first[name] = losses_of(output)[1]
    assert first["dpo"] == first["js"] == pytest.approx(0.6931, abs=1e-4)
    assert first["spl"] == first["h_dpo"] != pytest.approx(0.6931, abs=1e-3)
    assert first["weighted"] != pytest.approx(0.6931, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["weighted", "spl"])
@pytest.mark.parametrize("lora", ["true", "false"])
def test_an_objective_trains_alike_on_one_process_and_on_two(
    objective, lora, tiny_model_path, pair_file, tmp_path
):
    found = {}
    for processes, batch in (("cpu", 2), ("cpu-2-processes", 1)):
        output = tmp_path / processes
        options = [*dpo_options(tiny_model_path, pair_file, output), *OBJECTIVES[objective]]
        options += ["--per_device_train_batch_size", batch, "--use_peft", lora]
        options += ["--learning_rate", 1e-3, "--gradient_accumulation_steps", 2]
        options += ["--eval_strategy", "steps", "--eval_steps", 2, "--test_file", pair_file]
        record = launch(
            "dpo", "configs/dpo/smoke.yaml", *options, accelerate=processes, cache=tmp_path
        )
        found[record["processes"]] = losses_of(output)
    assert found.keys() == {1, 2}
    assert list(found[1].values()) == pytest.approx(list(found[2].values()), abs=2e-4)
    assert len(set(found[1].values())) == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "spl"}, "objective 'spl' needs an alpha, got alpha=None"),
        ({"alpha": 0.1}, "objective 'dpo' knows no alpha, got alpha=0.1"),
        ({"objective": "weighted", "alpha": 1.0}, "'weighted' knows no alpha"),
        ({"objective": "weighted", "resample": True}, "weights count once"),
    ],
)
def test_objectives_and_options_that_do_not_go_together(options, message):
    module = load_recipe("dpo")
    with pytest.raises(ValueError, match=message):
        module.choose_trainer(module.PairArguments(**options), 0.1)


def test_h_dpo_counts_alpha_in_units_of_beta():
    module = load_recipe("dpo")
    options = module.PairArguments(objective="h_dpo", alpha=1.5)
    assert module.choose_trainer(options, 0.2)[1] == {"alpha": pytest.approx(0.3)}
    options = module.PairArguments(objective="spl", alpha=1.5)
    assert module.choose_trainer(options, 0.2)[1] == {"alpha": 1.5}


def test_a_second_round_can_be_measured_from_the_first_reference(
    tiny_model_path, pair_file, tmp_path, monkeypatch, capsys
):
    """From its own start its first loss is log 2; from the model before round one it is not."""
    smoke = ["--config", ROOT / "configs/dpo/smoke.yaml"]
    first = tmp_path / "first"
    run("dpo", monkeypatch, capsys, *smoke, *dpo_options(tiny_model_path, pair_file, first))
    losses = {}
    for reference in ([], ["--reference_model", tiny_model_path]):
        output = tmp_path / f"second-{len(reference)}"
        options = dpo_options(tiny_model_path, pair_file, output)
        options += ["--adapter", first, "--max_steps", 1, "--save_steps", 1]
        run("dpo", monkeypatch, capsys, *smoke, *options, *reference)
        losses[len(reference)] = losses_of(output)[1]
    assert losses[0] == pytest.approx(0.6931, abs=1e-4)
    assert losses[2] < 0.6


def test_pairs_are_written_in_one_piece_and_only_in_known_formats(pair_file, tmp_path):
    pairs = load_pairs(str(pair_file), None, "train")
    write_rows(pairs, tmp_path / "new" / "pairs.parquet")
    again = load_pairs(str(tmp_path / "new" / "pairs.parquet"), None, "train")
    assert again.to_list() == pairs.to_list()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["pairs.parquet"]
    with pytest.raises(ValueError, match="must end in one of"):
        write_rows(pairs, tmp_path / "pairs.csv")


# --- ORPO -----------------------------------------------------------------------------------


def test_orpo_draws_by_weight_trains_and_continues_with_the_same_losses(
    tiny_model_path, pair_file, tmp_path, monkeypatch, capsys
):
    smoke = ["--config", ROOT / "configs/orpo/smoke.yaml", "--lr_scheduler_type", "constant"]
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    options = [*smoke, *dpo_options(tiny_model_path, pair_file, whole)]
    record = run("orpo", monkeypatch, capsys, *options)
    assert record["options"] == {"pairs": 4, "resample": True}
    assert record["training"]["beta"] == 0.25
    options[options.index(whole)] = halves
    run("orpo", monkeypatch, capsys, *options, "--max_steps", 2)
    second = run("orpo", monkeypatch, capsys, *options)
    assert Path(second["resumed_from"]).name == "checkpoint-2"
    assert losses_of(halves) == losses_of(whole) and len(set(losses_of(whole).values())) == 4
    assert same_weights(halves, whole)


def test_orpo_draws_by_weight_only_where_weights_differ(pair_file):
    module = load_recipe("orpo")
    pairs = load_pairs(str(pair_file), None, "train")
    assert module.weights_differ(pairs)
    assert not module.weights_differ(pairs.remove_columns("weight"))
    assert not module.weights_differ(pairs.select([1, 1]))


@pytest.mark.slow
def test_orpo_trains_alike_on_one_process_and_on_two(tiny_model_path, pair_file, tmp_path):
    found = {}
    for processes, batch in (("cpu", 2), ("cpu-2-processes", 1)):
        output = tmp_path / processes
        options = dpo_options(tiny_model_path, pair_file, output)
        options += ["--per_device_train_batch_size", batch, "--learning_rate", 1e-3]
        smoke = "configs/orpo/smoke.yaml"
        record = launch("orpo", smoke, *options, accelerate=processes, cache=tmp_path)
        found[record["processes"]] = losses_of(output)
    assert found.keys() == {1, 2} and len(found[1]) == 4


def test_orpo_that_is_gone_is_named(monkeypatch):
    original = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("trl.experimental.orpo"):
            raise ImportError("no module named orpo")
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"no experimental ORPO any more; TRL 1\.16 has it"):
        load_recipe("orpo")


# --- rounds ---------------------------------------------------------------------------------


def round_options(module, tmp_path, **options):
    defaults = {"output": str(tmp_path / "rounds"), "models": ["me/policy", "me/base"]}
    defaults |= {"pairs_config": str(ROOT / "configs/pairs/qwen3-divpo.yaml")}
    defaults |= {"dpo_config": str(ROOT / "configs/dpo/qwen3-divpo.yaml")}
    return module.RoundArguments(**defaults | options)


def value(command, name, count=1):
    at = command.index(name) + 1
    return command[at] if count == 1 else command[at : at + count]


def test_a_round_draws_from_the_policy_and_trains_on_top_of_it(tmp_path):
    module = load_recipe("rounds")
    options = round_options(module, tmp_path, rounds=2, pairs_options="--samples 4")
    folder = tmp_path / "rounds" / "round-1"
    plan = module.plan(options, 1, "me/policy")
    assert list(plan) == [f"{folder}/pairs.jsonl", f"{folder}/model/training.json"]
    pairs, dpo = plan.values()
    assert value(pairs, "--models", 2) == ["me/policy", "me/base"]
    assert value(pairs, "--quality_model") == "me/policy"
    assert value(pairs, "--seed") == "1" and pairs[-2:] == ["--samples", "4"]
    assert "--part" not in pairs and "--dataset_name" not in pairs
    assert value(dpo, "--model_name_or_path") == "me/policy"
    assert value(dpo, "--dataset_name") == f"{folder}/pairs.jsonl"
    assert value(dpo, "--output_dir") == f"{folder}/model"
    assert "--adapter" not in dpo and "--reference_model" not in dpo


@pytest.mark.parametrize("adapter", [True, False])
@pytest.mark.parametrize("reference", ["previous", "first"])
def test_later_rounds_go_on_with_the_adapter_or_the_model(tmp_path, adapter, reference):
    module = load_recipe("rounds")
    options = round_options(module, tmp_path, reference=reference, new_prompts=True)
    policy = tmp_path / "rounds" / "round-1" / "model"
    policy.mkdir(parents=True)
    if adapter:
        (policy / "adapter_config.json").write_text("{}")
    pairs, dpo = module.plan(options, 2, str(policy)).values()
    assert value(pairs, "--models", 2) == [str(policy), "me/base"]
    assert value(pairs, "--quality_model") == "me/policy"
    assert (value(pairs, "--part"), value(pairs, "--parts")) == ("1", "3")
    assert value(dpo, "--model_name_or_path") == ("me/policy" if adapter else str(policy))
    assert ("--adapter" in dpo) is adapter
    assert ("--reference_model" in dpo) is (reference == "first")


def test_rounds_may_grow_and_nothing_else_may_change(tmp_path):
    module = load_recipe("rounds")
    module.claim(round_options(module, tmp_path, rounds=2))
    module.claim(round_options(module, tmp_path, rounds=3))
    with pytest.raises(ValueError, match=r"begun with other settings: \['reference'\]"):
        module.claim(round_options(module, tmp_path, reference="first"))
    config = tmp_path / "dpo.yaml"
    config.write_text("beta: 0.1\n")
    options = round_options(module, tmp_path, output=str(tmp_path / "b"), dpo_config=str(config))
    module.claim(options)
    config.write_text("beta: 0.2\n")
    with pytest.raises(ValueError, match=r"\['dpo_config_sha256'\]"):
        module.claim(options)


def test_rounds_refuse_to_be_launched_or_not_to_happen(tmp_path, monkeypatch, capsys):
    with pytest.raises(ValueError, match="rounds must be at least 1"):
        run("rounds", monkeypatch, capsys, "--rounds", 0, "--output", tmp_path)
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(ValueError, match=r"start rounds\.py with python"):
        run("rounds", monkeypatch, capsys, "--output", tmp_path)


def tiny_rounds(model, prompts, output, *, steps):
    """Two rounds on the tiny model, its own answers and their likelihood."""
    pairs = "--samples 8 --max_tokens 8 --rejected worst --keep 1.0 --temperatures 1.0 --limit 4"
    dpo = f"--lora_r 2 --learning_rate 1e-2 --max_steps {steps} --disable_tqdm true"
    return [
        *("--config", ROOT / "configs/rounds/smoke.yaml", "--output", output),
        *("--pairs_config", ROOT / "configs/pairs/smoke.yaml"),
        *("--dpo_config", ROOT / "configs/dpo/smoke.yaml"),
        *("--models", model, "--dataset_name", prompts, "--rounds", 2),
        *(f"--pairs_options={pairs}", f"--dpo_options={dpo}"),
    ]


def test_two_rounds_and_a_third_one_later(
    tiny_model_path, prompt_file, tmp_path, monkeypatch, capsys
):
    """In this process: what is started is checked above, and through accelerate below."""
    started = []
    original = load_recipe

    def here(name):
        module = original(name)
        if name == "rounds":

            def launch_here(options, command):
                started.append(command)
                recipe, *arguments = command
                monkeypatch.setattr(sys, "argv", [recipe, *map(str, arguments)])
                original(recipe.removesuffix(".py")).main()

            module.launch = launch_here
        return module

    monkeypatch.setattr("launching.load_recipe", here)
    options = tiny_rounds(tiny_model_path, prompt_file, tmp_path / "out", steps=2)
    record = run("rounds", monkeypatch, capsys, *options)
    assert [len(record["rounds"]), len(started)] == [2, 4]
    assert all(each["pairs"] > 0 and each["steps"] == 2 for each in record["rounds"])
    assert record["model"] == f"{tmp_path}/out/round-2/model"
    assert not same_weights(*(tmp_path / "out" / f"round-{i}" / "model" for i in (1, 2)))
    again = run("rounds", monkeypatch, capsys, *options, "--rounds", 3)
    assert len(started) == 6 and again["rounds"][:2] == record["rounds"]
    assert value(started[-1], "--adapter") == record["model"]


def files_of(output):
    """Everything that a round leaves and that no path, time or machine is written in."""
    names = ["pairs.jsonl", "model/adapter_model.safetensors"]
    return {
        f"{number}/{name}": (Path(output) / f"round-{number}" / name).read_bytes()
        for number in (1, 2)
        for name in names
    }


@pytest.mark.slow
def test_rounds_that_are_killed_continue_and_leave_the_same_files(
    tiny_model_path, prompt_file, tmp_path
):
    """Killed in the pool of round one, in the training of round one, and in that of round two."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment |= {"HF_DATASETS_CACHE": str(tmp_path / "datasets")}
    environment |= {"DIVERSIFY_CACHE": str(tmp_path / "diversify")}

    def start(output):
        words = [sys.executable, "recipes/rounds.py"]
        words += map(str, tiny_rounds(tiny_model_path, prompt_file, output, steps=6))
        return subprocess.Popen(
            words,
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def finish(output):
        child = start(output)
        stdout, _ = child.communicate(timeout=240)
        assert child.returncode == 0, shlex.join(map(str, child.args))
        return json.loads(stdout.splitlines()[-1])

    torn, whole = tmp_path / "torn", tmp_path / "whole"
    for sign in (
        "round-1/pairs/*/generations.jsonl.partial",
        "round-1/model/checkpoint-2",
        "round-2/model/checkpoint-1",
    ):
        child = start(torn)
        deadline = time.monotonic() + 200
        while not list(torn.glob(sign)):
            assert child.poll() is None and time.monotonic() < deadline, sign
            time.sleep(0.01)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    assert not (torn / "round-2" / "model" / "training.json").exists()
    record = finish(torn)
    assert len(record["rounds"]) == 2
    finish(whole)
    assert files_of(torn) == files_of(whole)
