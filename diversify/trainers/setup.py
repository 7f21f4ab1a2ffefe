"""What every recipe does before and after training: parse, check the world, resume, save."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

import torch
import yaml
from accelerate import PartialState
from transformers import TrainingArguments
from transformers.utils.import_utils import is_torch_bf16_gpu_available
from trl.scripts.utils import TrlParser

from diversify.evaluation.generate import write_atomically
from diversify.models import EMBEDDED_MODEL, embedded_model_path
from diversify.trainers.card import RECORD, write_card

__all__ = [
    "check_world",
    "finished_before",
    "host_defaults",
    "make_parser",
    "model_source",
    "parse",
    "resume_point",
    "take_down",
    "train_and_save",
]

logger = logging.getLogger(__name__)

TRAINING = (
    *("learning_rate", "num_train_epochs", "max_steps", "per_device_train_batch_size"),
    *("gradient_accumulation_steps", "lr_scheduler_type", "num_generations", "temperature"),
    *("max_completion_length", "max_length", "beta", "loss_type", "scale_rewards", "bf16", "seed"),
)
"""Settings of a trainer that go on record, where it has them."""
LORA = ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules")
VERSIONS = ("diversify-llm", "trl", "transformers", "peft", "accelerate", "datasets", "torch")


def host_defaults() -> dict[str, bool]:
    """Return the options of a trainer that this machine needs and TRL does not choose.

    TRL trains in bfloat16 unless told otherwise and fails where that is impossible. Without an
    accelerator the recipes train on the CPU in float32, with an accelerator that has no bfloat16
    they train in float32 on it. Both are only defaults: a config or the command line wins.
    """
    if is_torch_bf16_gpu_available():
        return {}
    if torch.accelerator.is_available():
        return {"bf16": False}
    return {"bf16": False, "use_cpu": True}


def make_parser(*types: Any) -> TrlParser:
    """Return TRL's parser for these dataclasses, with `host_defaults` where a field exists."""
    parser = TrlParser(list(types))
    parser.set_defaults_with_config(**host_defaults())
    return parser


def parse(*types: Any, argv: Sequence[str] | None = None) -> tuple[Any, ...]:
    """Read `--config file.yaml` and the command line into dataclasses, and check the world.

    Args:
        *types: Dataclasses, TRL's and, last, that of the recipe. In the last one a single value
            in a file will do for a list.
        argv: Arguments; those of the process by default.

    Returns:
        One instance a dataclass.

    Raises:
        ValueError: An argument is unknown, the config is no YAML or has a value of the wrong type
            for the recipe, or it is given as `--config=file`, which TRL would pass over in silence.
        RuntimeError: See `check_world`.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    if joined := [argument for argument in argv if argument.startswith("--config=")]:
        raise ValueError(f"write '--config FILE' with a space, got {joined[0]!r}")
    try:
        parsed: tuple[Any, ...] = make_parser(*types).parse_args_and_config(argv)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"the config cannot be read: {error}") from error
    for option in fields(parsed[-1]):
        # What comes from a file has not been through argparse.
        value = getattr(parsed[-1], option.name)
        setattr(parsed[-1], option.name, _as_declared(option.name, option.type, value))
    check_world()
    return parsed


def _as_declared(name: str, declared: Any, value: Any) -> Any:
    """Return the value of an option with its declared type, or refuse it.

    Raises:
        ValueError: It has another type.
    """
    if get_origin(declared) is list and value is not None:
        (kind,) = get_args(declared)
        try:
            return [kind(each) for each in (value if isinstance(value, list) else [value])]
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must hold {kind.__name__}, got {value!r:.60}") from error
    kinds = get_args(declared) if get_origin(declared) in (Union, UnionType) else (declared,)
    if float in kinds and type(value) is int:
        return float(value)
    if {*kinds} <= {bool, int, float, str, NoneType} and type(value) not in (*kinds, NoneType):
        wanted = " or ".join(kind.__name__ for kind in kinds if kind is not NoneType)
        raise ValueError(f"{name} must be {wanted}, got {value!r:.60}")
    return value


def check_world() -> None:
    """Make sure that the processes that were launched know of each other.

    `accelerate launch --multi_gpu --num_processes 2` on a machine without GPUs starts two
    processes that each believe to be alone and overwrite each other's files.

    Raises:
        RuntimeError: The launcher promised another number of processes than there are.
    """
    promised = int(os.environ.get("WORLD_SIZE", "1"))
    state = PartialState(cpu=bool(host_defaults().get("use_cpu")))
    if state.num_processes != promised:
        raise RuntimeError(
            f"the launcher started {promised} processes, but this one sees "
            f"{state.num_processes}; without GPUs launch with "
            "ACCELERATE_USE_CPU=true accelerate launch --config_file "
            "configs/accelerate/cpu-2-processes.yaml"
        )


def model_source(model: Any, training: Any) -> str:
    """Settle how TRL loads the model, and return what it loads: a hub id or a folder.

    Args:
        model: TRL's `ModelConfig`; its `model_name_or_path` may be the embedded model.
        training: The trainer's config; gets `model_init_kwargs`, where what is set already wins.

    Raises:
        ValueError: No model is named.
    """
    name = model.model_name_or_path
    if not name:
        raise ValueError("model_name_or_path is not set")
    training.model_init_kwargs = {
        "revision": model.model_revision,
        "dtype": model.dtype,
        "attn_implementation": model.attn_implementation,
        **(training.model_init_kwargs or {}),
    }
    return str(embedded_model_path(name)) if name == EMBEDDED_MODEL else str(name)


def resume_point(args: TrainingArguments) -> str | None:
    """Return the checkpoint to continue from, as `resume_from_checkpoint` says.

    - `auto`: the newest complete checkpoint in `output_dir`, or a fresh start where there is none:
      the same command both starts a run and continues it.
    - `true`: the newest complete checkpoint, which must exist.
    - a folder: that checkpoint.
    - nothing or `false`: a fresh start, with a warning where checkpoints lie in the way.

    A checkpoint is complete when it holds `trainer_state.json`, which is written last; one that a
    kill interrupted is passed over.

    Raises:
        ValueError: The checkpoint that was asked for does not exist or is not complete.
    """
    wanted = str(args.resume_from_checkpoint or "false")
    newest = _newest_checkpoint(Path(str(args.output_dir)))
    if wanted.lower() == "false":
        if newest is not None:
            logger.warning("%s exists and is not used: resume_from_checkpoint is not set", newest)
        return None
    if wanted.lower() == "auto":
        return None if newest is None else str(newest)
    checkpoint = newest if wanted.lower() == "true" else Path(wanted)
    if checkpoint is None or not (checkpoint / "trainer_state.json").is_file():
        raise ValueError(
            f"resume_from_checkpoint={wanted!r}: no complete checkpoint in "
            f"{checkpoint or args.output_dir}; 'auto' starts afresh when there is none"
        )
    return str(checkpoint)


def finished_before(args: TrainingArguments) -> dict[str, Any] | None:
    """Return the record of a run that is over, where `resume_from_checkpoint: auto` asks for it.

    The trainer would train one step more than `max_steps`, and load the model for that.

    Returns:
        The record, or None where there is something left to train.
    """
    file = Path(str(args.output_dir)) / RECORD
    if str(args.resume_from_checkpoint).lower() != "auto" or not file.is_file():
        return None
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    trained = record["training"]
    if args.max_steps > 0:
        over = record["steps"] >= args.max_steps
    else:
        over = trained["max_steps"] <= 0 and trained["num_train_epochs"] >= args.num_train_epochs
    return record if over else None


def train_and_save(trainer: Any, model: Any, **record: Any) -> dict[str, Any]:
    """Train, from a checkpoint where one is wanted; save model, tokenizer, record and card; push.

    Args:
        trainer: A TRL trainer. All processes must call this, and part ways at its end.
        model: TRL's `ModelConfig`.
        **record: What is done: `recipe`, `method`, `dataset`, `options`; JSON-serialisable.

    Returns:
        The record with model, settings, metrics and versions; it is also in
        `<output_dir>/training.json`.

    Raises:
        ValueError: See `resume_point`.
    """
    output = Path(trainer.args.output_dir)
    checkpoint = resume_point(trainer.args)
    result = trainer.train(resume_from_checkpoint=checkpoint)
    record |= {
        "model": model.model_name_or_path,
        "training": _settings(TRAINING, trainer.args)
        | (_settings(LORA, model) if model.use_peft else {}),
        "resumed_from": checkpoint,
        "steps": trainer.state.global_step,
        "metrics": result.metrics,
        "processes": trainer.accelerator.num_processes,
        "output_dir": str(output),
        "hub_model_id": trainer.args.hub_model_id if trainer.args.push_to_hub else None,
        "versions": _versions(),
    }
    trainer.save_model(str(output))
    if trainer.is_world_process_zero():
        write_atomically(output / RECORD, json.dumps(record, indent=2) + "\n")
        write_card(output)
    if trainer.args.push_to_hub:
        # TRL would write its own card over ours before the upload.
        trainer.create_model_card = lambda **_: write_card(output)
        trainer.push_to_hub()
    take_down(trainer)
    return record


def take_down(trainer: Any) -> None:
    """End the process group: together, and after what talks through it is gone.

    A distributed wrapper that outlives its group can wait for ever in its destructor, and so can a
    process whose neighbour has left.
    """
    trainer.accelerator.wait_for_everyone()
    trainer.model_wrapped = trainer.model
    trainer.accelerator.free_memory()
    trainer.end()


def _settings(names: Iterable[str], source: Any) -> dict[str, Any]:
    """Collect the options that a config has and that are set."""
    found = {name: getattr(source, name, None) for name in names}
    return {name: value for name, value in found.items() if value is not None}


def _newest_checkpoint(output: Path) -> Path | None:
    """Return the complete checkpoint with the most steps, if there is any."""
    found = [
        (int(match.group(1)), folder)
        for folder in (output.iterdir() if output.is_dir() else ())
        if (match := re.fullmatch(r"checkpoint-(\d+)", folder.name))
        and (folder / "trainer_state.json").is_file()
    ]
    return max(found)[1] if found else None


def _versions() -> dict[str, str]:
    """Return the versions of what decides a run; a clone that is not installed has none."""
    found = {}
    for name in VERSIONS:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
