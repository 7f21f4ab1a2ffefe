"""Rewards inside real TRL trainers: they learn the sizes, train, evaluate, and their logs arrive."""

import logging
from pathlib import Path

import pytest
from tiny_grpo import tiny_grpo

from diversify.credit import leave_one_out
from diversify.kernels import NgramKernel
from diversify.rewards import MONITORS, DiversityReward, PartitionCredit, darling, moda

PROMPTS = ["Name a colour.", "Name a fruit.", "Tell me a story.", "Name a city."]
LOGGED = {"distinct", "mean_similarity", "duplicates", "unscored", *MONITORS}


def shortness(prompts, completions, **columns):
    return [-float(len(text)) for text in completions]


def train(model_path: Path, output: Path, rewards, *, callbacks, **options):
    from datasets import Dataset
    from trl import GRPOTrainer

    rows = Dataset.from_dict({"prompt": PROMPTS, "tau": [-20.0] * 4, "sigma": [10.0] * 4})
    config = tiny_grpo(output, per_device_eval_batch_size=4, num_generations_eval=2, **options)
    trainer = GRPOTrainer(
        model=str(model_path),
        args=config,
        reward_funcs=rewards,
        callbacks=callbacks,
        train_dataset=rows,
        eval_dataset=rows,
    )
    trainer.train()
    return trainer, trainer.evaluate()


def test_a_reward_and_a_gate_train_and_log(tiny_model_path, tmp_path):
    sizes = []

    class Spy(PartitionCredit):
        def __call__(self, S):
            sizes.append(len(S))
            return super().__call__(S)

    novelty = DiversityReward(NgramKernel(), Spy(threshold=0.9), name="novelty")
    gate = moda(shortness, kernel=NgramKernel())
    trainer, evaluation = train(
        tiny_model_path, tmp_path, [novelty, gate], callbacks=[novelty, gate]
    )
    steps = [entry for entry in trainer.state.log_history if "loss" in entry]
    assert len(steps) == 2
    for log, prefix in [*((step, "") for step in steps), (evaluation, "eval_")]:
        for name in LOGGED | {"credit"}:
            assert f"{prefix}novelty/{name}" in log
        for name in LOGGED | {"credit", "quality", "gate_rate"}:
            assert f"{prefix}moda/{name}" in log
        # The reward that TRL logs is the credit.
        mean = log[f"{prefix}rewards/novelty/mean"]
        assert mean == pytest.approx(log[f"{prefix}novelty/credit"], abs=1e-5)
    assert 1.0 <= evaluation["eval_novelty/distinct"] <= 2.0
    # Two groups of four a step (blank answers are not compared), then four of two.
    assert len(sizes) == 2 * 2 + 4
    assert max(sizes[:4]) == 4
    assert max(sizes[4:]) == 2
    assert {"novelty/credit", "moda/credit", "moda/quality"} <= set(trainer._logs["extra"])


def test_a_reward_without_the_callback_reads_the_size_off_the_prompts(tiny_model_path, tmp_path):
    novelty = DiversityReward(NgramKernel(), leave_one_out)
    trainer, evaluation = train(tiny_model_path, tmp_path, novelty, callbacks=[])
    assert novelty.group_size is None
    assert "diversity/distinct" in trainer.state.log_history[0]
    assert "eval_diversity/distinct" in evaluation


def test_darling_warns_about_the_scaling_that_undoes_it(tiny_model_path, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="diversify"):
        reward = darling(shortness, kernel=NgramKernel())
        train(tiny_model_path, tmp_path, reward, callbacks=[reward], scale_rewards="none")
        assert not [r for r in caplog.records if r.name.startswith("diversify")]
        train(tiny_model_path, tmp_path, reward, callbacks=[reward])
    assert "set scale_rewards='none'" in caplog.text
