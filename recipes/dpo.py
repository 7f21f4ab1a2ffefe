"""DPO on preference pairs that pull a model towards difference.

    accelerate launch recipes/dpo.py --config configs/dpo/qwen3-divpo.yaml

Stock `DPOTrainer`: the method is in the pairs (`recipes/pairs.py`). `dataset_name` is a file of
pairs (.jsonl or .parquet) or a Hub data set with `prompt`, `chosen` and `rejected`; `test_file` is
what a file is evaluated on.

Weights (DDPO, arXiv 2503.17126) without a trainer of our own: with `resample: true` as many pairs
are drawn with replacement, in proportion to their `weight`. The expected gradient is that of the
weighted loss; single pairs then come several times or never. Otherwise weights are ignored.

Fields are TRL's (ScriptArguments, DPOConfig, ModelConfig) and those of `PairArguments`; the command
line wins over the file. `resume_from_checkpoint: auto` begins a run or continues it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import trl
from datasets import Dataset, load_dataset
from peft import PeftConfig, PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from diversify.engines import as_messages, text_of
from diversify.trainers.setup import finished_before, model_source, parse, train_and_save


@dataclass
class PairArguments:
    """What the pairs are."""

    test_file: str | None = field(default=None, metadata={"help": "pairs to evaluate on"})
    adapter: str | None = field(
        default=None,
        metadata={"help": "train this LoRA further (a second round); it is the reference"},
    )
    resample: bool = field(default=False, metadata={"help": "draw pairs by their weight"})
    method: str = field(default="dpo", metadata={"help": "how the pairs were made, for the record"})


TYPES = (trl.ScriptArguments, trl.DPOConfig, trl.ModelConfig, PairArguments)


def load_pairs(name: str | None, config: str | None, split: str) -> Dataset:
    """Load a file of pairs whole, or one split of a data set of the Hub."""
    if not name:
        raise ValueError("no pairs: dataset_name (to evaluate on a file, test_file) is not set")
    readers = {".jsonl": "json", ".json": "json", ".parquet": "parquet"}
    if Path(name).suffix in readers:
        if not Path(name).is_file():
            raise ValueError(f"there is no file {name!r}; recipes/pairs.py makes one")
        pairs = load_dataset(readers[Path(name).suffix], data_files=name, split="train")
    else:
        pairs = load_dataset(name, config, split=split)
    if missing := {"prompt", "chosen", "rejected"} - set(pairs.column_names):
        raise ValueError(f"{name} lacks {sorted(missing)}; its columns are {pairs.column_names}")
    return pairs


def resample(pairs: Dataset, seed: int) -> Dataset:
    """Draw as many pairs with replacement, in proportion to their weight."""
    if "weight" not in pairs.column_names:
        raise ValueError(f"resample needs a column weight; the columns are {pairs.column_names}")
    weight = np.array(pairs["weight"], dtype=np.float64)
    if not (np.isfinite(weight).all() and (weight >= 0).all() and weight.sum() > 0):
        raise ValueError("weights must be finite, 0 or more, and not all 0")
    drawn = np.random.default_rng(seed).choice(len(weight), len(weight), p=weight / weight.sum())
    return pairs.select(np.sort(drawn))


def plain(row: dict[str, object]) -> dict[str, str]:
    """Turn chat messages into text, for a model without a chat template."""
    prompt = as_messages(row["prompt"])  # type: ignore[arg-type]
    texts = {side: text_of(row[side]) for side in ("chosen", "rejected")}  # type: ignore[arg-type]
    return {"prompt": "\n\n".join(turn["content"] for turn in prompt), **texts}


def load_policy(
    source: str, training: trl.DPOConfig, model: trl.ModelConfig, adapter: str | None
) -> tuple[str | PeftModel, PeftConfig | None]:
    """Return what to train and the LoRA to put on it: a new one, or an adapter trained before."""
    if adapter is None:
        return source, trl.get_peft_config(model)
    base = AutoModelForCausalLM.from_pretrained(source, **training.model_init_kwargs)
    training.model_init_kwargs = None  # TRL takes them only with a name
    return PeftModel.from_pretrained(base, adapter, is_trainable=True), None


def main() -> None:
    """Train, save, and print one line of JSON that says what was done."""
    script, training, model, options = parse(*TYPES)
    if done := finished_before(training):
        print(f"finished before: {training.output_dir}\n{json.dumps(done)}")
        return
    source = model_source(model, training)
    train = load_pairs(script.dataset_name, script.dataset_config, script.dataset_train_split)
    test = None
    if training.do_eval:
        is_file = Path(script.dataset_name).suffix in (".jsonl", ".json", ".parquet")
        name = options.test_file if is_file else script.dataset_name
        test = load_pairs(name, script.dataset_config, script.dataset_test_split)
    if options.resample:
        train = resample(train, training.seed)
    if AutoTokenizer.from_pretrained(source).chat_template is None:
        train, test = train.map(plain), test and test.map(plain)
    policy, lora = load_policy(source, training, model, options.adapter)
    trainer = trl.DPOTrainer(
        model=policy,
        args=training,
        train_dataset=train.select_columns(["prompt", "chosen", "rejected"]),
        eval_dataset=test and test.select_columns(["prompt", "chosen", "rejected"]),
        peft_config=lora,
        quantization_config=trl.get_quantization_config(model),
    )
    what = {"recipe": "dpo", "method": options.method, "dataset": script.dataset_name}
    what["options"] = {"pairs": len(train), "resample": options.resample}
    record = train_and_save(trainer, model, **what)
    if training.process_index == 0:
        print(f"{record['steps']} steps on {len(train)} pairs: {training.output_dir}")
        print(json.dumps(record))


if __name__ == "__main__":
    main()
