"""Peak memory and time of one training step: the stock loss against GEM, in chunks and dense.

    python eval/gem_memory.py --batch 4 --length 512

Each loss runs in a process of its own on the same model and the same random tokens: a short step to
warm up, then one forward and backward that are measured, with TRL's defaults (gradient
checkpointing, all parameters trained). The peak of the step is what it takes on top of model and
gradients: the allocator's on a GPU, resident memory on a CPU under Linux.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from diversify.evaluation.generate import write_atomically
from diversify.models import EMBEDDED_MODEL, embedded_model_path

LOSSES = ("stock", "gem-linear", "gem-logsigmoid", "gem-dense")
RETURNING = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Makes the C library return the memory of a freed tensor at once, so that resident means in use."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every loss, print the table and, on the last line, the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=EMBEDDED_MODEL, help="hub id or folder")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--length", type=int, default=512, help="tokens a row")
    parser.add_argument("--dtype", default="float32", help="of the weights")
    parser.add_argument("--losses", nargs="+", choices=LOSSES, default=list(LOSSES))
    parser.add_argument("--output", help="file for the numbers")
    parser.add_argument("--only", choices=LOSSES, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.only:
        print(json.dumps(measure(options, options.only)))
        return
    given = sys.argv[1:] if arguments is None else list(arguments)
    found = {}
    for loss in options.losses:
        command = [sys.executable, __file__, *given, "--only", loss]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=os.environ | RETURNING
        )
        if done.returncode:
            raise SystemExit(f"{loss} failed:\n{done.stderr}")
        found[loss] = json.loads(done.stdout.splitlines()[-1])
        print(f"measured {loss}", file=sys.stderr)
    print(table(found))
    record = {name: getattr(options, name) for name in ("model", "batch", "length", "dtype")}
    record |= {"torch": torch.__version__, "losses": found}
    if options.output:
        write_atomically(Path(options.output), json.dumps(record, indent=2) + "\n")
    print(json.dumps(record))


def measure(options: argparse.Namespace, loss: str) -> dict[str, Any]:
    """Take one step with one loss; return peak, total and time."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(options, loss, folder)
        step(trainer, loss, batch(trainer, 1, 32))
        # The gradients exist from here on: the step accumulates into them, for every loss alike.
        trainer.model.zero_grad(set_to_none=False)
        inputs = batch(trainer, options.batch, options.length)
        gc.collect()
        before = reset_peak()
        started = time.perf_counter()
        value = step(trainer, loss, inputs)
        return {
            "device": trainer.model.device.type,
            "loss": value,
            "step_bytes": peak() - before,
            "total_bytes": peak(),
            "seconds": time.perf_counter() - started,
        }


def make_trainer(options: argparse.Namespace, loss: str, folder: str) -> Any:
    """Return a trainer that is never run: only its loss is asked for."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from diversify.trainers.gem import GEMTrainer
    from diversify.trainers.setup import host_defaults

    name = str(embedded_model_path()) if options.model == EMBEDDED_MODEL else options.model
    training = SFTConfig(
        output_dir=folder,
        report_to="none",
        model_init_kwargs={"dtype": options.dtype},
        **host_defaults(),
    )
    kinds = {"gem-linear": {"link": "linear"}, "gem-logsigmoid": {"link": "logsigmoid"}}
    kind = GEMTrainer if loss in kinds else SFTTrainer
    rows = Dataset.from_list([{"input_ids": [1, 2], "labels": [1, 2]}])
    trainer = kind(model=name, args=training, train_dataset=rows, **kinds.get(loss, {}))
    trainer.model.train()
    trainer.model.gradient_checkpointing_enable()
    return trainer


def batch(trainer: Any, rows: int, length: int) -> dict[str, torch.Tensor]:
    """Return random tokens, all of which carry a label; the same for every loss."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = trainer.model.config.get_text_config().vocab_size
    ids = torch.randint(vocabulary, (rows, length), generator=generator).to(trainer.model.device)
    return {"input_ids": ids, "labels": ids.clone(), "attention_mask": torch.ones_like(ids)}


def step(trainer: Any, loss: str, inputs: dict[str, torch.Tensor]) -> float:
    """Go forward and backward once, under the trainer's precision; return the loss."""
    from diversify.losses import gem_loss

    with trainer.compute_loss_context_manager(), trainer.accelerator.autocast():
        if loss == "gem-dense":
            ids, mask = inputs["input_ids"], inputs["attention_mask"]
            logits = trainer.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
            value = gem_loss(logits[:, :-1], inputs["labels"][:, 1:])
        else:
            value = trainer.compute_loss(trainer.model, dict(inputs))
    value.backward()
    return float(value.item())


def reset_peak() -> int:
    """Forget the peak so far; return the memory in use, in bytes."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return resident("VmRSS")


def peak() -> int:
    """Return the greatest use of memory since `reset_peak`, in bytes."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated()
    return resident("VmHWM")


def resident(field: str) -> int:
    """Read one of the kernel's counts of this process's resident memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {field}: on a CPU this runs under Linux only")


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return the numbers beside those of the first loss."""
    first = next(iter(found.values()))
    lines = [f"{'':16}{'step':>10}{'ratio':>8}{'whole':>10}{'ratio':>8}{'time':>9}{'ratio':>8}"]
    for name, row in found.items():
        cells = [f"{name:16}"]
        for key in ("step_bytes", "total_bytes"):
            cells.append(f"{row[key] / 2**20:>7.0f} MB{row[key] / first[key]:>8.2f}")
        cells.append(f"{row['seconds']:>7.1f} s{row['seconds'] / first['seconds']:>8.2f}")
        lines.append("".join(cells))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
