"""GRPO on the tiny model: a few steps on the CPU, of which nothing is saved."""

from pathlib import Path
from typing import Any


def tiny_grpo(output: Path, **options: Any) -> Any:
    """Return TRL's config; the options are added, or stand for those here."""
    from trl import GRPOConfig

    given = {
        "per_device_train_batch_size": 8,
        "num_generations": 4,
        "max_completion_length": 8,
        "max_steps": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "seed": 0,
    }
    return GRPOConfig(output_dir=str(output), **given | options)
