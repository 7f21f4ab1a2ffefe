"""Several processes for one command: which share of the work is this one's, and on which device.

Nothing is asked of the other processes: a launcher says in the environment who is who, and files
do the rest. So no process can wait for one that is dead.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diversify.evaluation.runs.parts import Shard

__all__ = ["add_shard", "check_engine", "device_of", "launched_shard", "shard_of"]


def add_shard(parser: argparse.ArgumentParser) -> None:
    """Add what says which share of the prompts is drawn."""
    parser.add_argument(
        "--shard",
        metavar="I/N",
        help="draw the I-th of N shares of the prompts, for instance in a job array; what draws the "
        "last missing row makes the run folder whole, and `diversify merge` does it for folders on "
        "several machines; processes of a launcher (accelerate, torchrun) divide a share again",
    )


def launched_shard() -> Shard:
    """Return the share of this process among those that a launcher started, or the whole.

    Raises:
        ValueError: `RANK` and `WORLD_SIZE` make no sense.
    """
    from diversify.evaluation.runs.parts import Shard

    return Shard(_number("RANK", 0) + 1, _number("WORLD_SIZE", 1))


def shard_of(options: argparse.Namespace) -> Shard:
    """Return the share of this process: of all prompts, or of those that `--shard` names.

    Raises:
        ValueError: `--shard`, or what the launcher says, is no share.
    """
    from diversify.evaluation.runs.parts import Shard

    launched = launched_shard()
    named = Shard() if options.shard is None else Shard.parse(options.shard)
    return named.divided(launched.number, launched.count)


def check_engine(options: argparse.Namespace) -> None:
    """Refuse several processes on one machine that would all load vLLM onto the same GPU.

    Raises:
        ValueError: They would.
    """
    if options.engine == "vllm" and _number("LOCAL_WORLD_SIZE", 1) > 1:
        raise ValueError(
            "--engine vllm takes its GPUs itself, and a launcher started "
            f"{_number('LOCAL_WORLD_SIZE', 1)} processes on this machine; start each process by "
            "itself, with --shard and a CUDA_VISIBLE_DEVICES of its own"
        )


def device_of(options: argparse.Namespace) -> str | None:
    """Return where this process computes: where `--device` says, else on a GPU of its own.

    Raises:
        ValueError: The launcher started more processes on this machine than it has GPUs.
    """
    given: str | None = options.device
    count = _number("LOCAL_WORLD_SIZE", 1)
    if given is not None or count == 1:
        return given
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes"):
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        return None
    if count > torch.cuda.device_count():
        raise ValueError(
            f"{count} processes were started on this machine, which has "
            f"{torch.cuda.device_count()} GPUs; say with --device where they are to run"
        )
    return f"cuda:{_number('LOCAL_RANK', 0)}"


def _number(name: str, default: int) -> int:
    text = os.environ.get(name, "")
    if not text:
        return default
    if not text.isdecimal():
        raise ValueError(f"the environment has {name}={text!r}, which is no number of processes")
    return int(text)
