"""RLOO with a reward that pays answers for being good and for differing from their siblings.

    accelerate launch recipes/rloo.py --config configs/rloo/qwen3-darling.yaml

The same rewards as recipes/grpo.py, under REINFORCE with a leave-one-out baseline: no division by
the standard deviation of the group, which methods for diversity do not want, and the KL penalty
within the reward. `reward` says which; docs/methods.md has the equation and paper of each. TRL's RLOO
adds several rewards by `reward_weights`; it has neither another `advantage` nor `roles`.

Prompts, gates and fields are those of recipes/grpo.py, with TRL's `RLOOConfig`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import trl
from transformers import AutoTokenizer, TrainerCallback

from diversify.trainers.reward_prompts import reward_data
from diversify.trainers.rewards import (
    RewardArguments,
    build_reward,
    build_reward_kernel,
    build_reward_qualities,
    options_record,
)
from diversify.trainers.safeguarding import SafeguardArguments, attach_safeguard
from diversify.trainers.setup import finished_before, model_source, parse, train_and_save


@dataclass
class Arguments(RewardArguments, SafeguardArguments):
    """The reward, and what is watched."""


TYPES = (trl.ScriptArguments, trl.RLOOConfig, trl.ModelConfig, Arguments)


def main() -> None:
    """Train, save, and print one line of JSON that says what was done."""
    script, training, model, options = parse(*TYPES)
    if done := finished_before(training):
        print(f"finished before: {training.output_dir}\n{json.dumps(done)}")
        return
    name, source = model.model_name_or_path, model_source(model, training)
    device = str(training.device)
    qualities = build_reward_qualities(options, reference=name, device=device)
    reward = build_reward(options, qualities, device)
    chat = AutoTokenizer.from_pretrained(source).chat_template is not None
    train, test = reward_data(script, training, options, qualities, model=name, chat=chat)
    trainer = trl.RLOOTrainer(
        model=source,
        reward_funcs=reward,
        args=training,
        train_dataset=train,
        eval_dataset=test,
        callbacks=[each for each in reward if isinstance(each, TrainerCallback)],
        peft_config=trl.get_peft_config(model),
        quantization_config=trl.get_quantization_config(model),
    )
    watched = build_reward_kernel(options, device) if options.safeguard_every else None
    attach_safeguard(trainer, options, reference=name, kernel=watched, embedder=options.embedder)
    what = {"recipe": "rloo", "method": options.reward, "dataset": script.dataset_name}
    record = train_and_save(trainer, model, **what, options=options_record(options))
    if training.process_index == 0:
        print(f"{record['steps']} steps of {options.reward}: {training.output_dir}")
        print(json.dumps(record))


if __name__ == "__main__":
    main()
