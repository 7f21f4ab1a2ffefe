"""ORPO on preference pairs, drawn by their weight: DORPO (arXiv 2503.17126).

    accelerate launch recipes/orpo.py --config configs/orpo/qwen3-dorpo.yaml

ORPO (arXiv 2403.07691) adds the odds ratio of chosen to rejected, `beta` times, to the likelihood
loss of the chosen; there is no reference model. DORPO weighs both terms of a pair by how far its
chosen completion deviates from its siblings (`deviation` in recipes/pairs.py). Here as many pairs
are drawn with replacement, in proportion to their `weight`: the expected gradient is that of the
weighted loss, on both terms as in the paper; single pairs then come several times or never. The
authors' code weighs inside the sigmoid instead.

TRL's ORPO is experimental: it may change or go in any version. `dataset_name` and `test_file` as in
recipes/dpo.py. Fields are TRL's (ScriptArguments, ORPOConfig, ModelConfig) and those of
`PairArguments`; the command line wins over the file. `resume_from_checkpoint: auto` begins a run or
continues it.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field

import trl
from datasets import Dataset
from transformers import AutoTokenizer

from diversify.trainers.preference_rows import load_pairs, plain, resample
from diversify.trainers.row_files import is_file
from diversify.trainers.safeguarding import SafeguardArguments, attach_safeguard
from diversify.trainers.setup import finished_before, model_source, parse, train_and_save

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # said above
try:
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer
except ImportError as error:
    raise ImportError(
        f"TRL {trl.__version__} has no experimental ORPO any more; TRL 1.16 has it. Or train with "
        "recipes/dpo.py and `objective: weighted` (DDPO)"
    ) from error


@dataclass
class PairArguments(SafeguardArguments):
    """What the pairs are."""

    test_file: str | None = field(default=None, metadata={"help": "pairs to evaluate on"})
    resample: bool | None = field(
        default=None,
        metadata={"help": "draw pairs by their weight; by default where weights differ"},
    )
    method: str = field(default="dorpo", metadata={"help": "for the record"})


TYPES = (trl.ScriptArguments, ORPOConfig, trl.ModelConfig, PairArguments)


def weights_differ(pairs: Dataset) -> bool:
    """Whether the pairs have weights that tell them apart."""
    return "weight" in pairs.column_names and len(set(pairs["weight"])) > 1


def main() -> None:
    """Train, save, and print one line of JSON that says what was done."""
    script, training, model, options = parse(*TYPES)
    if done := finished_before(training):
        print(f"finished before: {training.output_dir}\n{json.dumps(done)}")
        return
    source = model_source(model, training)
    # TRL's default, "auto", would spread every process's model over all devices.
    training.model_init_kwargs |= {"device_map": None}
    if quantization := trl.get_quantization_config(model):
        training.model_init_kwargs |= {"quantization_config": quantization}
    training.remove_unused_columns = False  # TRL's collator wants it so
    train = load_pairs(script.dataset_name, script.dataset_config, script.dataset_train_split)
    test = None
    if training.do_eval:
        name = options.test_file if is_file(script.dataset_name) else script.dataset_name
        test = load_pairs(name, script.dataset_config, script.dataset_test_split)
    drawn = weights_differ(train) if options.resample is None else options.resample
    if drawn:
        train = resample(train, training.seed)
    tokenizer = AutoTokenizer.from_pretrained(source, revision=model.model_revision)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    if tokenizer.chat_template is None:
        train, test = train.map(plain), test and test.map(plain)
    trainer = ORPOTrainer(
        model=source,
        args=training,
        train_dataset=train.select_columns(["prompt", "chosen", "rejected"]),
        eval_dataset=test and test.select_columns(["prompt", "chosen", "rejected"]),
        processing_class=tokenizer,
        peft_config=trl.get_peft_config(model),
    )
    attach_safeguard(trainer, options, reference=model.model_name_or_path)
    what = {"recipe": "orpo", "method": options.method, "dataset": script.dataset_name}
    what["options"] = {"pairs": len(train), "resample": drawn}
    record = train_and_save(trainer, model, **what)
    if training.process_index == 0:
        print(f"{record['steps']} steps on {len(train)} pairs: {training.output_dir}")
        print(json.dumps(record))


if __name__ == "__main__":
    main()
