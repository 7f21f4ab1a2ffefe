"""Train a few steps on fixed completions, on one process or several, and write what came out.

Usage: launched_grpo.py MODEL OUTPUT PER_DEVICE STEPS [METHOD] [resume]
"""

import json
import sys
from pathlib import Path

from diversify.advantages import AdvantageMethod, Anneal
from diversify.kernels import NgramKernel
from diversify.trainers.setup import take_down

PROMPTS = ["Name a colour.", "Name a fruit.", "Tell me a story.", "Name a city."]
ANSWERS = ["red", "the blue one", "green green", "two or more", "red", "how", "day and night", "no"]
METHODS = {
    "pass_at_k": AdvantageMethod("pass_at_k", options={"k": 2}),
    "pkpo": AdvantageMethod("pkpo", options={"k": Anneal(3, 1)}),
    "max_rl": AdvantageMethod("max_rl"),
    "ucpo": AdvantageMethod("ucpo"),
    "unlikeliness": AdvantageMethod("unlikeliness"),
    "mara": AdvantageMethod("mara", options={"tau": 0.5, "beta": 0.1}),
    "uniqueness": AdvantageMethod("uniqueness", options={"alpha": 0.5}),
    "group_advantages": AdvantageMethod("group_advantages", scale="none"),
}


def short(prompts, completions, **columns):
    """Right is what has fewer than six letters; blank answers cannot be judged."""
    return [float(len(text) < 6) if text.strip() else None for text in completions]


def fixed_answers(prompts, trainer):
    """Answer by the place of the row among all rows, whichever process has it."""
    tokenizer = trainer.processing_class
    start = trainer.accelerator.process_index * len(prompts)
    texts = [ANSWERS[(start + i) % len(ANSWERS)] for i in range(len(prompts))]
    return {
        "prompt_ids": [tokenizer(prompt)["input_ids"] for prompt in prompts],
        "completion_ids": [
            [*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts
        ],
        "logprobs": None,
    }


def make_trainer(model, output, *, method=None, per_device=8, steps=2, **options):
    from datasets import Dataset
    from trl import GRPOConfig

    from diversify.trainers import DiversityGRPOTrainer

    given = {
        "output_dir": str(output),
        "per_device_train_batch_size": per_device,
        "per_device_eval_batch_size": 4,
        "num_generations": 4,
        "max_completion_length": 8,
        "max_steps": steps,
        "learning_rate": 1e-3,
        "logging_steps": 1,
        "save_steps": 1,
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": False,
        "use_cpu": True,
        "gradient_checkpointing": False,
        "beta": 0.1,
        "scale_rewards": "none",
        "shuffle_dataset": False,
        "seed": 0,
    }
    extra = {
        name: options.pop(name) for name in ("rollout_func", "reward_funcs") if name in options
    }
    return DiversityGRPOTrainer(
        model=str(model),
        args=GRPOConfig(**given | options),
        train_dataset=Dataset.from_dict({"prompt": PROMPTS}),
        advantage=METHODS.get(method),
        kernel=NgramKernel() if method == "uniqueness" else None,
        **{"reward_funcs": short} | extra,
    )


def main() -> None:
    model, output, per_device, steps, method, *more = sys.argv[1:]
    trainer = make_trainer(
        model,
        output,
        method=method,
        per_device=int(per_device),
        steps=int(steps),
        rollout_func=fixed_answers,
    )
    trainer.train(resume_from_checkpoint=bool(more))
    if trainer.is_world_process_zero():
        steps = [entry for entry in trainer.state.log_history if "loss" in entry]
        kept = [{k: entry[k] for k in ("loss", "grad_norm", "reward")} for entry in steps]
        Path(output, "losses.json").write_text(json.dumps(kept))
    take_down(trainer)


if __name__ == "__main__":
    main()
