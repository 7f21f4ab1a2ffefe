"""GRPO with a reward that pays answers for being good and for differing from their siblings.

    accelerate launch recipes/grpo.py --config configs/grpo/qwen3-darling.yaml

The policy draws `num_generations` answers a prompt; one reward sees the whole group, however it is
split over processes. `reward` says which:

- `darling`  quality times the share of the group that says something else (arXiv 2509.02534); needs
             `scale_rewards: none`. Deviation: a cosine replaces their trained classifier.
- `moda`     distance to the nearest sibling behind a gate of quality (arXiv 2609.14896). Deviations:
             no role prompts; alpha and gamma are ours, as the paper does not state them.
- `product`, `gated` the same two forms with any kernel and credit; `diversity`, `quality` controls:
             credit alone (off-topic text is diverse), qualities alone.

A gate asks for what the model gave before training. Unless `threshold` says it in numbers,
`reference_samples` answers a prompt are drawn once into `<output_dir>/reference`, where the same
command, with as many processes, continues if it was interrupted.

Prompts: a shipped set (`open-ended`, `enumerable`), a file, or a Hub data set with a column
`prompt`; other columns are handed to the qualities. Fields are TRL's and those of
`RewardArguments`; the command line wins. `resume_from_checkpoint: auto` begins or continues.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

import trl
from datasets import Dataset
from transformers import AutoTokenizer, TrainerCallback

from diversify.gates import Quality
from diversify.rewards import DiversityReward, GatedReward, ProductReward, darling, moda
from diversify.trainers.components import build_credit, build_kernel, build_qualities
from diversify.trainers.prompts import load_set, prompt_dataset
from diversify.trainers.reference import draw_reference, reference_statistics
from diversify.trainers.setup import finished_before, model_source, parse, train_and_save


@dataclass
class RewardArguments:
    """The reward. An option that is None is left to the method."""

    reward: Literal["darling", "moda", "product", "gated", "diversity", "quality"] = "gated"
    quality: list[str] = field(default_factory=lambda: ["likelihood", "relevance"])
    quality_model: str | None = field(default=None, metadata={"help": "default: the base model"})
    kernel: str = "embedding"
    embedder: str = "minilm"
    credit: str = "leave_one_out"
    class_threshold: float | None = field(default=None, metadata={"help": "alike is one answer"})
    shift: str | None = field(default=None, metadata={"help": "group_min or none"})
    floor: float | None = None
    diversity_weight: float | None = None
    below: float | None = field(default=None, metadata={"help": "credit of what fails the gate"})
    threshold: list[float] | None = field(default=None, metadata={"help": "one for each quality"})
    scale: list[float] | None = field(default=None, metadata={"help": "one for each quality"})
    reference_samples: int = 5
    alpha: float = 1.0
    gamma: float = 1.0
    limit: int | None = field(default=None, metadata={"help": "at most so many prompts"})


Qualities: TypeAlias = dict[str, Quality]
TYPES = (trl.ScriptArguments, trl.GRPOConfig, trl.ModelConfig, RewardArguments)


def build_reward(options: RewardArguments, qualities: Qualities, device: str) -> list[Quality]:
    """Turn flat options into the reward functions of the trainer."""
    if options.reward == "quality":
        return list(qualities.values())
    kernel = build_kernel(options.kernel, embedder=options.embedder, device=device)
    classes = given(threshold=options.class_threshold)
    diversity = DiversityReward(kernel, build_credit(options.credit, **classes))
    if options.reward == "diversity":
        return [diversity]
    if options.reward in ("darling", "product"):
        if len(qualities) != 1:
            raise ValueError(f"{options.reward} multiplies one quality, got {list(qualities)}")
        (quality,) = qualities.values()
        product = given(floor=options.floor, shift=options.shift)
        product |= {"shift": None} if options.shift == "none" else {}
        if options.reward == "darling":
            return [darling(quality, kernel=kernel, **classes, **product)]
        return [ProductReward(quality, diversity, **product)]
    gate = given(diversity_weight=options.diversity_weight)
    gate["threshold"] = levels("tau", options.threshold, qualities)
    gate["scale"] = levels("sigma", options.scale or (options.threshold and [1.0]), qualities)
    if options.reward == "moda":
        return [moda(qualities, kernel=kernel, **gate)]
    if options.reward == "gated":
        return [GatedReward(qualities, diversity, **gate, **given(below=options.below))]
    raise ValueError(f"unknown reward {options.reward!r}")


def given(**options: Any) -> dict[str, Any]:
    """Return the options that are set."""
    return {name: value for name, value in options.items() if value is not None}


def levels(column: str, numbers: list[float] | None, qualities: Qualities) -> dict[str, Any]:
    """Give each quality its number (one may serve all), or its column of reference statistics."""
    if numbers is None:
        return {name: f"{column}_{name}" for name in qualities}
    if len(numbers) not in (1, len(qualities)):
        raise ValueError(f"{list(qualities)} need one number each or one for all, got {numbers}")
    return dict(zip(qualities, numbers * len(qualities), strict=False))


def main() -> None:
    """Train, save, and print one line of JSON that says what was done."""
    script, training, model, options = parse(*TYPES)
    if done := finished_before(training):
        print(f"finished before: {training.output_dir}\n{json.dumps(done)}")
        return
    name, source, device = model.model_name_or_path, model_source(model, training), training.device
    where = {"embedder": options.embedder, "device": str(device)}
    qualities = build_qualities(options.quality, reference=options.quality_model or name, **where)
    reward = build_reward(options, qualities, where["device"])
    chat = AutoTokenizer.from_pretrained(source).chat_template is not None

    def load_data(split: str) -> Dataset:
        there = {"split": split, "config": script.dataset_config, "limit": options.limit}
        prompts = load_set(script.dataset_name, **there)
        if options.reward not in ("moda", "gated") or options.threshold:
            return prompt_dataset(prompts, chat=chat)
        rows = draw_reference(name, prompts, options.reference_samples, training, split)
        gates = reference_statistics(rows, qualities, alpha=options.alpha, gamma=options.gamma)
        return prompt_dataset(prompts, chat=chat, added=gates)

    trainer = trl.GRPOTrainer(
        model=source,
        reward_funcs=reward,
        args=training,
        train_dataset=load_data(script.dataset_train_split),
        eval_dataset=load_data(script.dataset_test_split) if training.do_eval else None,
        callbacks=[each for each in reward if isinstance(each, TrainerCallback)],
        peft_config=trl.get_peft_config(model),
        quantization_config=trl.get_quantization_config(model),
    )
    what = {"recipe": "grpo", "method": options.reward, "dataset": script.dataset_name}
    record = train_and_save(trainer, model, **what, options=given(**asdict(options)))
    if training.process_index == 0:
        print(f"{record['steps']} steps of {options.reward}: {training.output_dir}")
        print(json.dumps(record))


if __name__ == "__main__":
    main()
