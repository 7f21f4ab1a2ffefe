"""The trainer of other advantages: what trains is what the pure function says of the whole group."""

import json
import os
import subprocess
import sys
from pathlib import Path

import launched_grpo
import numpy as np
import pytest
import torch
from datasets import Dataset
from launched_grpo import METHODS, fixed_answers, make_trainer
from tiny_grpo import tiny_grpo
from trl import GRPOConfig
from trl.trainer.grpo_trainer import GRPOTrainer

from diversify.advantages import AdvantageMethod, uniqueness
from diversify.credit import partition
from diversify.kernels import NgramKernel
from diversify.trainers import DiversityGRPOTrainer
from diversify.trainers.roles import role_dataset, role_prompts
from diversify.trainers.seams import check_seam

HERE = Path(__file__).parent


def trained(model, output, method=None, **options):
    """Train on fixed answers; return the trainer, and the advantages and rows of each step."""
    trainer = make_trainer(model, output, method=method, rollout_func=fixed_answers, **options)
    seen = []
    plain = trainer._generate_and_score_completions

    def spy(inputs):
        result = plain(inputs)
        seen.append({**result, "texts": None})
        return result

    trainer._generate_and_score_completions = spy
    trainer.train()
    return trainer, seen


def weights(trainer):
    return {name: value.detach().clone() for name, value in trainer.model.named_parameters()}


def test_without_a_method_it_is_the_trainer_of_trl(tiny_model_path, tmp_path):
    ours = make_trainer(tiny_model_path, tmp_path / "a", save_strategy="no")
    ours.train()
    theirs = GRPOTrainer(
        model=str(tiny_model_path),
        args=ours.args,
        train_dataset=Dataset.from_dict({"prompt": launched_grpo.PROMPTS}),
        reward_funcs=launched_grpo.short,
    )
    theirs.train()
    expected = weights(theirs)
    assert all(torch.equal(value, expected[name]) for name, value in weights(ours).items())


def test_plain_advantages_train_as_those_of_trl_do(tiny_model_path, tmp_path):
    """`group_advantages` of scale none is TRL's scale_rewards none, blank answers included."""
    ours, seen = trained(tiny_model_path, tmp_path / "a", "group_advantages", save_strategy="no")
    theirs, expected = trained(tiny_model_path, tmp_path / "b", save_strategy="no")
    for one, other in zip(seen, expected, strict=True):
        torch.testing.assert_close(one["advantages"], other["advantages"], rtol=1e-5, atol=1e-6)
    after = weights(theirs)
    for name, value in weights(ours).items():
        torch.testing.assert_close(value, after[name], rtol=1e-4, atol=1e-6)


# The first eight rows are two groups of four: shorter than six letters are red, how and no … .
REWARDS = np.array([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 1.0]])


@pytest.mark.parametrize("name", ["pass_at_k", "pkpo", "max_rl"])
def test_the_advantages_are_those_of_the_pure_function(tiny_model_path, tmp_path, name):
    trainer, seen = trained(tiny_model_path, tmp_path, name, save_strategy="no")
    for step, batch in enumerate(seen):
        expected = [METHODS[name](rewards, progress=step / 2) for rewards in REWARDS]
        np.testing.assert_allclose(batch["advantages"], np.concatenate(expected), rtol=1e-5)
    # What the table of completions shows is what trained.
    assert list(trainer._logs["advantages"]) == pytest.approx(seen[-1]["advantages"].tolist())


def reference_logps(model, batch, *, temperature=1.0):
    """Sequence log-probabilities by a plain forward pass, and the numbers of tokens."""
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    seen = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=seen).logits[:, :-1] / temperature
    size = batch["completion_ids"].size(1)
    picked = logits.log_softmax(-1).gather(2, ids[:, 1:, None]).squeeze(2)[:, -size:]
    return (picked * batch["completion_mask"]).sum(1).numpy(), batch["completion_mask"].sum(1)


@pytest.mark.parametrize(
    ("name", "lora"), [("ucpo", False), ("unlikeliness", False), ("mara", False), ("mara", True)]
)
def test_methods_by_likelihood_are_told_the_likelihood(tiny_model_path, tmp_path, name, lora):
    """In the first step policy and reference are the model as it was loaded."""
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM

    trainer = make_trainer(
        *(tiny_model_path, tmp_path),
        **{"method": name, "rollout_func": fixed_answers, "save_strategy": "no", "steps": 1},
    )
    if lora:
        trainer = DiversityGRPOTrainer(
            model=str(tiny_model_path),
            args=trainer.args,
            train_dataset=trainer.train_dataset,
            reward_funcs=launched_grpo.short,
            rollout_func=fixed_answers,
            advantage=METHODS[name],
            peft_config=LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
    trainer.model.train()
    rows = [{"prompt": prompt} for prompt in launched_grpo.PROMPTS[:2] for _ in range(4)]
    batch = trainer._generate_and_score_completions(rows)
    model = AutoModelForCausalLM.from_pretrained(tiny_model_path)
    logps, lengths = reference_logps(model, batch)
    told = {"ucpo": logps / lengths.numpy(), "unlikeliness": logps, "mara": logps}[name]
    argument = "ref_logps" if name == "mara" else "logps"
    expected = [
        METHODS[name](rewards, **{argument: told[start : start + 4]})
        for start, rewards in zip((0, 4), REWARDS, strict=True)
    ]
    np.testing.assert_allclose(batch["advantages"], np.concatenate(expected), rtol=1e-4, atol=1e-5)


def test_classes_come_from_the_kernel(tiny_model_path, tmp_path):
    _, seen = trained(tiny_model_path, tmp_path, "uniqueness", save_strategy="no", steps=1)
    texts = launched_grpo.ANSWERS
    expected = []
    for start, rewards in zip((0, 4), REWARDS, strict=True):
        labels = partition(NgramKernel()(texts[start : start + 4]), threshold=0.85)
        expected.append(uniqueness(rewards, labels, alpha=0.5))
    np.testing.assert_allclose(seen[0]["advantages"], np.concatenate(expected), rtol=1e-5)


def test_a_completion_without_a_reward_is_no_member_and_gets_nothing(tiny_model_path, tmp_path):
    def some(prompts, completions, **columns):
        return [None if text.startswith("red") else float(len(text)) for text in completions]

    _, seen = trained(
        *(tiny_model_path, tmp_path, "max_rl"), reward_funcs=some, save_strategy="no", steps=1
    )
    lengths = np.array([12.0, 11.0, 11.0])  # "the blue one", "green green", "two or more"
    expected = (lengths - lengths.mean()) / lengths.mean()
    np.testing.assert_allclose(seen[0]["advantages"][:4], [0.0, *expected], atol=1e-6)


def test_evaluation_has_groups_of_its_own_size(tiny_model_path, tmp_path):
    trainer = make_trainer(
        *(tiny_model_path, tmp_path),
        **{"method": "max_rl", "num_generations_eval": 2, "save_strategy": "no"},
    )
    metrics = trainer.evaluate(Dataset.from_dict({"prompt": launched_grpo.PROMPTS}))
    assert "eval_reward" in metrics


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("mara", {"beta": 0.0}, "beta must be above 0"),
        ("max_rl", {"multi_objective_aggregation": "normalize_then_sum"}, "sum of the rewards"),
    ],
)
def test_what_does_not_go_together_is_refused(tiny_model_path, tmp_path, method, options, message):
    with pytest.raises(ValueError, match=message):
        make_trainer(tiny_model_path, tmp_path, method=method, **options)


def test_classes_need_a_kernel_and_options_must_fit_the_group(tiny_model_path, tmp_path):
    config = GRPOConfig(
        output_dir=str(tmp_path), num_generations=4, per_device_train_batch_size=4,
        bf16=False, use_cpu=True, report_to="none",
    )  # fmt: skip
    given = {
        "model": str(tiny_model_path),
        "args": config,
        "train_dataset": Dataset.from_dict({"prompt": launched_grpo.PROMPTS}),
        "reward_funcs": launched_grpo.short,
    }
    with pytest.raises(ValueError, match="needs classes: give a kernel"):
        DiversityGRPOTrainer(**given, advantage=AdvantageMethod("uniqueness"))
    with pytest.raises(ValueError, match="k must be between 1 and 4, got 5"):
        DiversityGRPOTrainer(**given, advantage=AdvantageMethod("pkpo", options={"k": 5}))


# --- roles ----------------------------------------------------------------------------------


@pytest.fixture
def role_rows():
    rows = Dataset.from_dict({"prompt": launched_grpo.PROMPTS, "place": [0, 1, 2, 3]})
    return role_dataset(rows, role_prompts(4))


def role_trainer(model, output, rows, **options):
    config = tiny_grpo(
        output,
        per_device_train_batch_size=4,
        per_device_eval_batch_size=4,
        gradient_accumulation_steps=2,
        **options,
    )
    seen = []

    def watch(prompts, completions, role, place, group_id, **columns):
        seen.append((prompts, role, place, group_id))
        return [float(number) for number in role]

    trainer = DiversityGRPOTrainer(
        model=str(model),
        args=config,
        train_dataset=rows,
        eval_dataset=rows,
        reward_funcs=watch,
        roles=True,
        advantage=AdvantageMethod("group_advantages"),
    )
    return trainer, seen


def test_every_member_of_a_group_has_its_role(tiny_model_path, tmp_path, role_rows):
    trainer, seen = role_trainer(tiny_model_path, tmp_path, role_rows)
    trainer.train()
    trainer.evaluate()
    assert len(seen) >= 4
    visited = set()
    for prompts, role, place, group in seen:
        assert list(role) == [0, 1, 2, 3] * (len(role) // 4)
        for start in range(0, len(role), 4):
            assert len({*place[start : start + 4]}) == len({*group[start : start + 4]}) == 1
        for prompt, number, where in zip(prompts, role, place, strict=True):
            assert prompt[0] == {"role": "system", "content": f"You are role {number + 1}."}
            assert prompt[1]["content"] == launched_grpo.PROMPTS[where]
        visited |= {*place}
    assert visited == {0, 1, 2, 3}


def test_rewards_see_a_group_of_roles_as_one(tiny_model_path, tmp_path, role_rows):
    """Its prompts differ; without `group_id` the reward would refuse them."""
    from diversify.credit import leave_one_out
    from diversify.rewards import DiversityReward

    reward = DiversityReward(NgramKernel(), leave_one_out)
    trainer, _ = role_trainer(tiny_model_path, tmp_path, role_rows)
    novel = DiversityGRPOTrainer(
        model=str(tiny_model_path),
        args=trainer.args,
        train_dataset=role_rows,
        reward_funcs=reward,
        callbacks=[reward],
        roles=True,
    )
    novel.train()
    logged = [entry for entry in novel.state.log_history if "diversity/distinct" in entry]
    assert len(logged) == 2


def test_roles_must_fit(tiny_model_path, tmp_path, role_rows):
    plain = Dataset.from_dict({"prompt": launched_grpo.PROMPTS})
    with pytest.raises(ValueError, match="column 'group_id'"):
        role_trainer(tiny_model_path, tmp_path, plain)
    odd = role_dataset(plain, role_prompts(3))
    with pytest.raises(
        ValueError, match=r"num_generations=4 rows, got the group_ids \[0, 0, 0, 1\]"
    ):
        role_trainer(tiny_model_path, tmp_path, odd)
    with pytest.raises(ValueError, match=r"columns \['group_id', 'role'\] already"):
        role_dataset(role_rows, role_prompts(2))
    with pytest.raises(ValueError, match="at least one role"):
        role_dataset(plain, [])
    with pytest.raises(ValueError, match="must hold"):
        role_prompts(2, template="You are somebody.")


def test_a_system_prompt_is_kept_behind_the_role():
    chat = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "A fruit?"}]
    rows = role_dataset(Dataset.from_list([{"prompt": chat}]), ["You are role 1."])
    assert rows["prompt"][0][0]["content"] == "You are role 1.\n\nBe kind."


# --- the host -------------------------------------------------------------------------------


def test_a_host_that_moved_is_named(monkeypatch, tiny_model_path, tmp_path):
    def other(self, inputs, completions):
        """Another signature."""

    monkeypatch.setattr(GRPOTrainer, "_calculate_rewards", other)
    with pytest.raises(
        RuntimeError, match=r"now takes \(inputs, completions\) in trl .* trl>=1.16"
    ):
        make_trainer(tiny_model_path, tmp_path, method="max_rl")

    class Gone:
        pass

    with pytest.raises(RuntimeError, match=r"Gone\.train\(a\) is gone"):
        check_seam(Gone, {"train": ("a",)})


# --- processes and checkpoints --------------------------------------------------------------


def launch(model, output, per_device, *more, processes):
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    if processes > 1:
        config = HERE.parents[1] / "configs" / "accelerate" / "cpu-2-processes.yaml"
        command += ["--config_file", str(config)]
    else:
        command += ["--num_processes", "1", "--cpu"]
    command += [str(HERE / "launched_grpo.py"), str(model), str(output), str(per_device)]
    path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*command, *map(str, more)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((Path(output) / "losses.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("method", list(METHODS))
def test_two_processes_give_the_losses_of_one(tiny_model_path, tmp_path, method):
    """Of 12 rows a step each process has six: the second of three groups is cut in two."""
    alone = launch(tiny_model_path, tmp_path / "1", 12, 2, method, processes=1)
    both = launch(tiny_model_path, tmp_path / "2", 6, 2, method, processes=2)
    for one, other in zip(alone, both, strict=True):
        assert other == pytest.approx(one, rel=2e-4, abs=1e-6)


def test_a_run_that_was_cut_goes_on_as_if_it_had_not_been(tiny_model_path, tmp_path):
    """Sampled completions: the random state comes back with the checkpoint, and so do all losses."""
    whole = make_trainer(tiny_model_path, tmp_path / "a", method="ucpo", steps=3)
    whole.train()
    make_trainer(tiny_model_path, tmp_path / "b", method="ucpo", steps=3).train()
    resumed = make_trainer(tiny_model_path, tmp_path / "b", method="ucpo", steps=3)
    resumed.train(resume_from_checkpoint=str(tmp_path / "b" / "checkpoint-1"))
    expected = [entry["loss"] for entry in whole.state.log_history if "loss" in entry]
    found = [entry["loss"] for entry in resumed.state.log_history if "loss" in entry]
    assert found == pytest.approx(expected, abs=1e-7)
    after = weights(whole)
    for name, value in weights(resumed).items():
        torch.testing.assert_close(value, after[name], rtol=1e-5, atol=1e-7)
