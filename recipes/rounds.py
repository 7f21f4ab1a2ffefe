"""Pairs and DPO in turns: each round's pool comes from the policy that the last round trained.

    python recipes/rounds.py --config configs/rounds/qwen3-divpo.yaml

Every round starts recipes/pairs.py and recipes/dpo.py through `accelerate launch`, in a folder of
its own (`<output>/round-2`: `pairs.jsonl`, the pool, `model`). The policy is the first of `models`,
in later rounds the adapter or model of the round before; the other models are sources in every
round. What judges quality stays: the first policy, unless the pairs' config names another model.

`reference: previous` measures DPO's divergence from the policy that a round starts with, `first`
from that of the first round (with an adapter this loads a second copy of the model).

The same command continues an interrupted run: both recipes go on where they were. Settings that
changed in between are refused; more `rounds` are not, but with `new_prompts`. A kill must hit the
whole process group, as Ctrl-C does: a recipe that lives on would write beside its successor.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from diversify.evaluation.generate import write_atomically
from diversify.trainers.card import RECORD
from diversify.trainers.setup import parse


@dataclass
class RoundArguments:
    """What happens in every round."""

    output: str = "runs/rounds"
    rounds: int = 3
    pairs_config: str = "configs/pairs/qwen3-divpo.yaml"
    dpo_config: str = "configs/dpo/qwen3-divpo.yaml"
    accelerate_config: str = "configs/accelerate/multi-gpu.yaml"
    num_processes: int | None = field(default=None, metadata={"help": "default: the config's"})
    models: list[str] = field(
        default_factory=list,
        metadata={"help": "the policy, then other sources; default: the pairs'"},
    )
    dataset_name: str | None = field(
        default=None, metadata={"help": "prompts; default: the pairs'"}
    )
    reference: Literal["previous", "first"] = "previous"
    new_prompts: bool = field(default=False, metadata={"help": "a share of the prompts each round"})
    pairs_options: str = field(default="", metadata={"help": "words added to the pairs' command"})
    dpo_options: str = field(default="", metadata={"help": "words added to the command of DPO"})


TYPES = (RoundArguments,)


def settings(options: RoundArguments) -> dict[str, Any]:
    """Return what decides a run: the options, and the content of the configs."""
    decided = asdict(options)
    del decided["output"]
    if not options.new_prompts:
        del decided["rounds"]  # may grow
    for name in ("pairs_config", "dpo_config"):
        content = Path(decided[name]).read_bytes()
        decided[f"{name}_sha256"] = hashlib.sha256(content).hexdigest()
    return decided


def claim(options: RoundArguments) -> None:
    """Write the settings of a new run, or insist that an old one has the same."""
    file, wanted = Path(options.output) / "rounds.json", settings(options)
    if file.is_file():
        found = json.loads(file.read_text("utf-8"))
        if changed := sorted(k for k in found | wanted if found.get(k) != wanted.get(k)):
            raise ValueError(f"{options.output} was begun with other settings: {changed}")
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(file, json.dumps(wanted, indent=2) + "\n")


def plan(options: RoundArguments, number: int, policy: str) -> dict[str, list[str]]:
    """Return the commands of a round, each by the file that it leaves when it is done."""
    folder = Path(options.output) / f"round-{number}"
    config = yaml.safe_load(Path(options.pairs_config).read_text("utf-8"))
    first, *others = options.models or config["models"]
    pairs = ["pairs.py", "--config", options.pairs_config, "--models", policy, *others]
    pairs += ["--output_file", f"{folder}/pairs.jsonl"]
    pairs += ["--seed", str(config.get("seed", 0) + number)]
    if "quality_model" not in config:
        pairs += ["--quality_model", first]
    if options.dataset_name:
        pairs += ["--dataset_name", options.dataset_name]
    if options.new_prompts:
        pairs += ["--part", str(number - 1), "--parts", str(options.rounds)]
    adapter = (Path(policy) / "adapter_config.json").is_file()
    dpo = ["dpo.py", "--config", options.dpo_config, "--resume_from_checkpoint", "auto"]
    dpo += ["--model_name_or_path", first if adapter else policy]
    dpo += ["--dataset_name", f"{folder}/pairs.jsonl", "--output_dir", f"{folder}/model"]
    dpo += ["--adapter", policy] if adapter else []
    if options.reference == "first" and policy != first:
        dpo += ["--reference_model", first]
    pairs += shlex.split(options.pairs_options)
    return {
        f"{folder}/pairs.jsonl": pairs,
        f"{folder}/model/{RECORD}": dpo + shlex.split(options.dpo_options),
    }


def launch(options: RoundArguments, command: list[str]) -> None:
    """Run a recipe through `accelerate launch`."""
    words = [sys.executable, "-m", "accelerate.commands.launch"]
    words += ["--config_file", options.accelerate_config]
    if options.num_processes:
        words += ["--num_processes", str(options.num_processes)]
    recipe, *arguments = command
    words += [str(Path(__file__).with_name(recipe)), *arguments]
    if code := subprocess.run(words, check=False).returncode:
        raise SystemExit(f"{recipe} ended with {code}; the same command continues: {command}")


def main() -> None:
    """Run every round that is not done, and print one line of JSON that says what was done."""
    (options,) = parse(*TYPES)
    if options.rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {options.rounds}")
    if "WORLD_SIZE" in os.environ:
        raise ValueError("start rounds.py with python: it launches the other recipes itself")
    claim(options)
    models = options.models or yaml.safe_load(Path(options.pairs_config).read_text())["models"]
    policy, done = models[0], []
    for number in range(1, options.rounds + 1):
        for file, command in plan(options, number, policy).items():
            state = "already there" if Path(file).is_file() else command[0]
            print(f"round {number} of {options.rounds}: {file}, {state}", flush=True)
            if not Path(file).is_file():
                launch(options, command)
        policy = f"{options.output}/round-{number}/model"
        record = json.loads((Path(policy) / RECORD).read_text("utf-8"))
        kept = {name: record[name] for name in ("steps", "metrics", "output_dir")}
        done.append({"pairs": record["options"]["pairs"], **kept})
    print(json.dumps({"recipe": "rounds", "model": policy, "rounds": done}))


if __name__ == "__main__":
    main()
