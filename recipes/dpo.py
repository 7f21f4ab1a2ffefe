"""DPO on preference pairs that pull a model towards difference, or with a loss that keeps it.

    accelerate launch recipes/dpo.py --config configs/dpo/qwen3-divpo.yaml

`dataset_name` is a file of pairs (.jsonl or .parquet, `recipes/pairs.py` makes them) or a Hub data
set with `prompt`, `chosen` and `rejected`; `test_file` is what a file is evaluated on. `objective`:

- `dpo`: TRL's trainer as it is. Its own fields choose IPO and others (`loss_type`) and the
  divergences of f-DPO (`f_divergence_type`).
- `weighted`: every pair counts by its column `weight` (DDPO, arXiv 2503.17126; CrPO, 2505.14442).
- `spl` (arXiv 2511.08594): `alpha` weighs the policy's log-ratio as `beta` does the reference's;
  alpha above beta keeps entropy.
- `h_dpo` (arXiv 2411.07595): the same with alpha relative to beta.

Weights with any objective: with `resample: true` as many pairs are drawn with replacement, in
proportion to their `weight`. The expected gradient is that of the weighted loss; single pairs then
come several times or never. Otherwise only `weighted` reads them.

Fields are TRL's (ScriptArguments, DPOConfig, ModelConfig) and those of `PairArguments`; the command
line wins over the file. `resume_from_checkpoint: auto` begins a run or continues it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any, Literal

import trl
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from diversify.models import EMBEDDED_MODEL, embedded_model_path
from diversify.trainers import SPLTrainer, WeightedDPOTrainer
from diversify.trainers.preference_rows import load_pairs, plain, resample
from diversify.trainers.row_files import is_file
from diversify.trainers.safeguarding import SafeguardArguments, attach_safeguard
from diversify.trainers.setup import finished_before, model_source, parse, train_and_save


@dataclass
class PairArguments(SafeguardArguments):
    """What the pairs are, and what is made of them."""

    objective: Literal["dpo", "weighted", "spl", "h_dpo"] = "dpo"
    alpha: float | None = field(default=None, metadata={"help": "of spl and h_dpo"})
    test_file: str | None = field(default=None, metadata={"help": "pairs to evaluate on"})
    adapter: str | None = field(
        default=None,
        metadata={"help": "train this LoRA further (a second round); it is the reference"},
    )
    reference_model: str | None = field(
        default=None,
        metadata={"help": "the frozen reference, instead of what is trained as it is before"},
    )
    resample: bool = field(default=False, metadata={"help": "draw pairs by their weight"})
    method: str = field(default="dpo", metadata={"help": "how the pairs were made, for the record"})


TYPES = (trl.ScriptArguments, trl.DPOConfig, trl.ModelConfig, PairArguments)


def choose_trainer(options: PairArguments, beta: float) -> tuple[type, dict[str, Any]]:
    """Return the trainer of the objective, and the argument that it takes besides TRL's."""
    entropy = options.objective in ("spl", "h_dpo")
    if entropy != (options.alpha is not None):
        does = "needs an alpha" if entropy else "knows no alpha"
        raise ValueError(f"objective {options.objective!r} {does}, got alpha={options.alpha}")
    if options.alpha is not None:
        scale = beta if options.objective == "h_dpo" else 1.0
        return SPLTrainer, {"alpha": options.alpha * scale}
    if options.objective == "weighted" and options.resample:
        raise ValueError("weights count once: either objective: weighted or resample: true")
    return (WeightedDPOTrainer if options.objective == "weighted" else trl.DPOTrainer), {}


def load_policy(
    source: str, training: trl.DPOConfig, options: PairArguments
) -> tuple[str | PeftModel, PreTrainedModel | None]:
    """Return what to train, a name or an adapter trained before, and the reference if it is one."""
    kwargs = dict(training.model_init_kwargs)
    reference = None
    if name := options.reference_model:
        path = embedded_model_path() if name == EMBEDDED_MODEL else name
        reference = AutoModelForCausalLM.from_pretrained(path, **kwargs | {"revision": "main"})
    if options.adapter is None:
        return source, reference
    base = AutoModelForCausalLM.from_pretrained(source, **kwargs)
    training.model_init_kwargs = None  # TRL takes them only with a name
    return PeftModel.from_pretrained(base, options.adapter, is_trainable=True), reference


def select(pairs: Dataset, *, weighted: bool, text: bool) -> Dataset:
    """Keep the columns that are trained on."""
    names = ["prompt", "chosen", "rejected"]
    if weighted and "weight" in pairs.column_names:
        names.append("weight")  # that it is missing is for the trainer to say
    return (pairs.map(plain) if text else pairs).select_columns(names)


def main() -> None:
    """Train, save, and print one line of JSON that says what was done."""
    script, training, model, options = parse(*TYPES)
    if done := finished_before(training):
        print(f"finished before: {training.output_dir}\n{json.dumps(done)}")
        return
    kind, more = choose_trainer(options, training.beta)
    source = model_source(model, training)
    train = load_pairs(script.dataset_name, script.dataset_config, script.dataset_train_split)
    test = None
    if training.do_eval:
        name = options.test_file if is_file(script.dataset_name) else script.dataset_name
        test = load_pairs(name, script.dataset_config, script.dataset_test_split)
    if options.resample:
        train = resample(train, training.seed)
    how = {"weighted": options.objective == "weighted"}
    how["text"] = AutoTokenizer.from_pretrained(source).chat_template is None
    policy, reference = load_policy(source, training, options)
    trainer = kind(
        model=policy,
        ref_model=reference,
        args=training,
        train_dataset=select(train, **how),
        eval_dataset=test and select(test, **how),
        peft_config=None if options.adapter else trl.get_peft_config(model),
        quantization_config=trl.get_quantization_config(model),
        **more,
    )
    attach_safeguard(trainer, options, reference=model.model_name_or_path)
    what = {"recipe": "dpo", "method": options.method, "dataset": script.dataset_name}
    what["options"] = {"pairs": len(train), "resample": options.resample}
    what["options"] |= {"objective": options.objective, "alpha": options.alpha}
    what["options"]["divergence"] = training.f_divergence_type
    record = train_and_save(trainer, model, **what)
    if training.process_index == 0:
        print(f"{record['steps']} steps on {len(train)} pairs: {training.output_dir}")
        print(json.dumps(record))


if __name__ == "__main__":
    main()
