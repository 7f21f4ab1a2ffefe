"""Small GEM trainings for `test_gem.py`, here and, run as a script, on several processes.

Usage: gem_runs.py MODEL OUTPUT ROWS_PER_PROCESS ACCUMULATION STEPS LINK
"""

import sys
from pathlib import Path

from datasets import Dataset
from trl import SFTConfig

from diversify.trainers.gem import GEMTrainer
from diversify.trainers.setup import take_down

ANSWERS = [
    ("Name a colour.", "red"),
    ("Name a fruit.", "one wild fig, and then a long story about it"),
    ("Tell a story.", "once there was a green animal"),
    ("Name a city.", "Paris"),
    ("Name a colour.", "the blue of the sea"),
    ("Name an animal.", "a whale"),
    ("Name a city.", "by the water"),
    ("Tell a story.", "no"),
]
"""Answers of very different lengths, so that a mean of means is not a mean."""


def chats():
    return Dataset.from_list(
        [
            {
                "prompt": [{"role": "user", "content": prompt}],
                "completion": [{"role": "assistant", "content": answer}],
            }
            for prompt, answer in ANSWERS
        ]
    )


def config(output, **options):
    defaults = {
        "max_steps": 1,
        "per_device_train_batch_size": 4,
        "learning_rate": 1e-2,
        "optim": "sgd",
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "seed": 0,
    }
    return SFTConfig(output_dir=str(output), **(defaults | options))


def build(model, output, *, kind=GEMTrainer, rows=None, config_of=None, **options):
    """Return a trainer; `config_of` are options of its config."""
    arguments = config(output, **(config_of or {}))
    return kind(model=str(model), args=arguments, train_dataset=rows or chats(), **options)


def main() -> None:
    model, output, rows, accumulation, steps, link = sys.argv[1:]
    sizes = {
        "per_device_train_batch_size": int(rows),
        "gradient_accumulation_steps": int(accumulation),
        "max_steps": int(steps),
    }
    trainer = build(model, output, config_of=sizes, link=link)
    trainer.train()
    trainer.save_model(output)
    if trainer.is_world_process_zero():
        losses = [log["loss"] for log in trainer.state.log_history if "loss" in log]
        text = " ".join(map(repr, [trainer.accelerator.num_processes, *losses]))
        (Path(output) / "losses.txt").write_text(text)
    trainer.accelerator.wait_for_everyone()
    take_down(trainer)


if __name__ == "__main__":
    main()
