"""GRPO with a reward that pays answers for being good and for differing from their siblings.

    accelerate launch recipes/grpo.py --config configs/grpo/qwen3-darling.yaml

The policy draws `num_generations` answers a prompt; one reward sees the whole group, however it is
split over processes. `reward` says which; docs/methods.md has the equation and paper of each:

- of one quality: `darling`, `dra`, `mmr`, `ips`, `uniqueness`, `polychromic`, `novelty`, `product`;
- behind a gate of quality: `moda`, `gated`, and `repulsion` from stored answers of other models
  (`peers`);
- `dqo` adds a determinant to the qualities (`reward_weights`); `gapo` needs a list of answers;
- controls: `quality` alone, and `diversity` alone (off-topic text is diverse).

`advantage` replaces what TRL makes of the rewards (`pass_at_k`, `pkpo`, `max_rl`, `ucpo`,
`unlikeliness`, `mara`, `uniqueness`); `roles` asks every member of a group in a role of its own.
`safeguard_every` has the model answer held-out prompts now and then, and stops a run gone bad.

A gate asks for what the model gave before training. Unless `threshold` says it in numbers,
`reference_samples` answers a prompt are drawn once into `<output_dir>/reference`, where the same
command, with as many processes, continues if it was interrupted.

Prompts: a shipped set (`open-ended`, `enumerable`), a file, or a Hub data set with a column
`prompt`; other columns are handed to the qualities. Fields are TRL's and those of `Arguments`; the
command line wins. `resume_from_checkpoint: auto` begins or continues.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import trl
from transformers import AutoTokenizer, TrainerCallback

from diversify.trainers import DiversityGRPOTrainer
from diversify.trainers.reward_prompts import reward_data
from diversify.trainers.rewards import (
    AdvantageArguments,
    RewardArguments,
    build_advantage,
    build_reward,
    build_reward_kernel,
    build_reward_qualities,
    given,
    options_record,
)
from diversify.trainers.safeguarding import SafeguardArguments, attach_safeguard
from diversify.trainers.setup import finished_before, model_source, parse, train_and_save


@dataclass
class Arguments(RewardArguments, AdvantageArguments, SafeguardArguments):
    """The reward, what becomes of it, and what is watched."""


TYPES = (trl.ScriptArguments, trl.GRPOConfig, trl.ModelConfig, Arguments)


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
    groups = training.num_generations, training.num_generations_eval or training.num_generations
    train, test = reward_data(
        *(script, training, options, qualities),
        **{"model": name, "chat": chat, "roles": groups if options.roles else None},
    )
    kernel = build_reward_kernel(options, device) if options.advantage == "uniqueness" else None
    trainer = DiversityGRPOTrainer(
        model=source,
        reward_funcs=reward,
        args=training,
        train_dataset=train,
        eval_dataset=test,
        callbacks=[each for each in reward if isinstance(each, TrainerCallback)],
        peft_config=trl.get_peft_config(model),
        quantization_config=trl.get_quantization_config(model),
        advantage=build_advantage(options, beta=training.beta),
        kernel=kernel,
        **given(threshold=options.class_threshold),
        roles=options.roles,
    )
    watched = build_reward_kernel(options, device) if options.safeguard_every else None
    attach_safeguard(trainer, options, reference=name, kernel=watched, embedder=options.embedder)
    method = options.reward + (f" + {options.advantage}" if options.advantage else "")
    what = {"recipe": "grpo", "method": method, "dataset": script.dataset_name}
    record = train_and_save(trainer, model, **what, options=options_record(options))
    if training.process_index == 0:
        print(f"{record['steps']} steps of {method}: {training.output_dir}")
        print(json.dumps(record))


if __name__ == "__main__":
    main()
