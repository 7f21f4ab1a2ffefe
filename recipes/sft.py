"""SFT on demonstrations that show more than one answer, or with a loss that keeps others alive.

    accelerate launch recipes/sft.py --config configs/sft/qwen3-gem.yaml

`dataset_name` is a file of examples (.jsonl or .parquet, `recipes/demonstrations.py` makes them) or
a Hub data set, with `prompt` and `completion`, `messages`, `text`, or tokenized with `input_ids` and
`labels`; `test_file` is what a file is evaluated on. `objective`:

- `nll`: TRL's trainer as it is.
- `gem`: GEM (arXiv 2408.16673). It pushes down what rivals the answer and leaves alone what is
  unlikely already. `gem_beta` and `gem_link` are its options. The loss may be negative; `eval_loss`
  stays the negative log-likelihood.

With prompt and completion the completion alone carries the loss; `last_turn: true` makes that of
conversations, too. `method` says in the record how the examples were made.

Fields are TRL's (ScriptArguments, SFTConfig, ModelConfig) and those of `SFTArguments`; the command
line wins over the file. `resume_from_checkpoint: auto` begins a run or continues it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import trl
from datasets import Dataset
from transformers import AutoTokenizer

from diversify.trainers import GEMTrainer
from diversify.trainers.examples import load_examples, plain_example, split_last_turn
from diversify.trainers.row_files import is_file
from diversify.trainers.safeguarding import SafeguardArguments, attach_safeguard
from diversify.trainers.setup import finished_before, model_source, parse, train_and_save


@dataclass
class SFTArguments(SafeguardArguments):
    """What the examples are, and the loss on them."""

    objective: Literal["nll", "gem"] = "nll"
    gem_beta: float = 0.7
    gem_link: Literal["linear", "logsigmoid"] = "linear"
    last_turn: bool = field(default=False, metadata={"help": "of messages, train on the last"})
    limit: int | None = field(default=None, metadata={"help": "at most so many examples"})
    test_file: str | None = field(default=None, metadata={"help": "examples to evaluate on"})
    method: str | None = field(default=None, metadata={"help": "how the examples were made"})


TYPES = (trl.ScriptArguments, trl.SFTConfig, trl.ModelConfig, SFTArguments)


def choose_trainer(options: SFTArguments) -> tuple[type, dict[str, Any]]:
    """Return the trainer of the objective, and the arguments that it takes besides TRL's."""
    if options.objective == "gem":
        return GEMTrainer, {"beta": options.gem_beta, "link": options.gem_link}
    if options.objective != "nll":
        raise ValueError(f"objective must be 'nll' or 'gem', got {options.objective!r}")
    return trl.SFTTrainer, {}


def prepare(examples: Dataset, options: SFTArguments, chat: bool) -> Dataset:
    """Bring the examples into the form that this model can be trained on."""
    if options.limit is not None:
        examples = examples.select(range(min(options.limit, len(examples))))
    if options.last_turn and "messages" in examples.column_names:
        examples = examples.map(split_last_turn, remove_columns="messages")
    if not chat and "messages" in examples.column_names:
        raise ValueError("the model has no chat template: conversations need last_turn: true")
    if not chat and "prompt" in examples.column_names:
        examples = examples.map(plain_example)
    return examples


def main() -> None:
    """Train, save, and print one line of JSON that says what was done."""
    script, training, model, options = parse(*TYPES)
    if done := finished_before(training):
        print(f"finished before: {training.output_dir}\n{json.dumps(done)}")
        return
    kind, arguments = choose_trainer(options)
    source = model_source(model, training)
    chat = AutoTokenizer.from_pretrained(source).chat_template is not None
    train = load_examples(script.dataset_name, script.dataset_config, script.dataset_train_split)
    test = None
    if training.do_eval:
        name = options.test_file if is_file(script.dataset_name) else script.dataset_name
        test = load_examples(name, script.dataset_config, script.dataset_test_split)
    train = prepare(train, options, chat)
    trainer = kind(
        model=source,
        args=training,
        train_dataset=train,
        eval_dataset=test and prepare(test, options, chat),
        peft_config=trl.get_peft_config(model),
        quantization_config=trl.get_quantization_config(model),
        **arguments,
    )
    attach_safeguard(trainer, options, reference=model.model_name_or_path)
    what = {"recipe": "sft", "method": options.objective, "dataset": script.dataset_name}
    what["options"] = {"examples": len(train), **arguments}
    what["options"] |= {"examples made by": options.method} if options.method else {}
    record = train_and_save(trainer, model, **what)
    if training.process_index == 0:
        print(f"{record['steps']} steps on {len(train)} examples: {training.output_dir}")
        print(json.dumps(record))


if __name__ == "__main__":
    main()
