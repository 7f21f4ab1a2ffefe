"""Preference pairs from pools of answers: the data for recipes/dpo.py.

    accelerate launch recipes/pairs.py --config configs/pairs/qwen3-divpo.yaml

1. Every model of `models` answers every prompt `samples` times at every temperature; finished run
   folders (`runs`) join in. All answers to a prompt are one pool. A tuned model has lost what it no
   longer says: add its base model or hotter sampling (REDIPO, arXiv 2605.30021, which also lets the
   tuned model rewrite the base model's answers; we do not).
2. `method` chooses the pairs: `divpo` (arXiv 2501.18101: the most diverse of the best against the
   least diverse of the worst) or `gated` (ours: good by every quality and unlike the pool, against
   the most typical or the worst). `deviation` adds weights (DDPO, arXiv 2503.17126).

The pool is written row by row into run folders beside `output_file`; the same command, with as many
processes, continues an interrupted one. Prompts as in recipes/grpo.py; the command line wins.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from accelerate import PartialState
from trl import ScriptArguments

from diversify.cli import progress_line
from diversify.engines import Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.evaluation.generate import load_run
from diversify.evaluation.prompt_sets import PromptSet
from diversify.pairs import PairRule, build_pairs
from diversify.quality import AnswerKernel
from diversify.trainers.components import build_credit, build_kernel, build_qualities
from diversify.trainers.prompts import load_set
from diversify.trainers.reference import draw_shares
from diversify.trainers.setup import parse


@dataclass
class PairArguments:
    """Where the pool comes from, and how its pairs are chosen."""

    output_file: str = field(default="pairs.jsonl", metadata={"help": ".jsonl or .parquet"})
    models: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list, metadata={"help": "finished run folders"})
    samples: int = 16
    temperatures: list[float] = field(default_factory=lambda: [1.0])
    top_p: float = 1.0
    min_p: float | None = None
    max_tokens: int = 512
    batch_size: int = 64
    seed: int = 0
    limit: int | None = field(default=None, metadata={"help": "at most so many prompts"})
    method: Literal["divpo", "gated", "quality"] = "divpo"
    quality: list[str] = field(default_factory=lambda: ["likelihood"])
    quality_model: str | None = field(default=None, metadata={"help": "default: the first model"})
    kernel: str = field(default="embedding", metadata={"help": "or ngram, or answers"})
    embedder: str = "minilm"
    credit: str = "leave_one_out"
    fraction: float = 0.25
    pairs: int = 1
    keep: list[float] = field(default_factory=lambda: [0.6])
    at_least: list[float] = field(default_factory=list, metadata={"help": "one for each quality"})
    rejected: Literal["typical", "worst", "mixed"] = "typical"
    max_length_ratio: float | None = None
    min_words: int = 1
    keep_truncated: bool = False
    reject_truncated: bool = field(default=False, metadata={"help": "but never choose it"})
    first_sentence: bool = field(default=False, metadata={"help": "cut answers behind it"})
    deviation: list[str] = field(default_factory=list, metadata={"help": "kernels of weights"})


TYPES = (ScriptArguments, PairArguments)
FORMATS = (".jsonl", ".parquet")


def build_rule(options: PairArguments, names: list[str], **where: str) -> dict[str, Any]:
    """Turn flat options into those of `build_pairs`."""
    same = ("method", "fraction", "pairs", "rejected", "max_length_ratio", "min_words")
    same += ("keep_truncated", "reject_truncated", "first_sentence")
    rule = {name: getattr(options, name) for name in same}
    if len(options.keep) not in (1, len(names)):
        raise ValueError(f"{names} need one share each or one for all, got keep={options.keep}")
    rule["keep"] = dict(zip(names, options.keep * len(names), strict=False))
    if options.at_least and len(options.at_least) != len(names):
        raise ValueError(f"{names} need one value each, got at_least={options.at_least}")
    rule["at_least"] = dict(zip(names, options.at_least, strict=False))
    rule["credit"] = build_credit(options.credit)
    rule["deviation"] = [build_kernel(name, **where) for name in options.deviation]
    PairRule(**rule)  # refuses an impossible option before anything is drawn
    return rule


def draw_pool(options: PairArguments, prompts: PromptSet, device: str) -> list[str]:
    """Draw this process's share of the pool; return the run folders of all processes."""
    sampling = Sampling(
        top_p=options.top_p, min_p=options.min_p, max_tokens=options.max_tokens, seed=options.seed
    )
    folders: list[str] = []
    for model in options.models:
        engine = TransformersEngine(model, device=device, batch_size=options.batch_size)
        for temperature in dict.fromkeys(options.temperatures):
            name = re.sub(r"[^\w.-]+", "_", f"{model}-T{temperature}").strip("_.")
            output = Path(options.output_file).with_suffix("") / name
            how = {"sampling": sampling.at(temperature=temperature), "progress": progress_line()}
            drawn = draw_shares(engine, prompts, options.samples, output=output, **how)
            folders += map(str, drawn)
    return folders


def main() -> None:
    """Draw, choose, write, and print one line of JSON that says what was done."""
    script, options = parse(*TYPES)
    state, file = PartialState(), Path(options.output_file)
    if file.suffix not in FORMATS:
        raise ValueError(f"output_file must end in one of {FORMATS}, got {options.output_file!r}")
    if not options.models and not options.runs:
        raise ValueError("neither models nor runs are given: there is nothing to choose from")
    where = {"embedder": options.embedder, "device": str(state.device)}
    reference = options.quality_model or (options.models[0] if options.models else "")
    qualities = build_qualities(options.quality, reference=reference, **where)
    rule = build_rule(options, [*qualities], **where)
    alike: dict[str, Any] = {"kernel_of": lambda columns: AnswerKernel(columns["answers"])}
    if options.kernel != "answers":
        alike = {"kernel": build_kernel(options.kernel, **where)}
    folders = list(options.runs)
    if options.models:
        there = {"split": script.dataset_train_split, "config": script.dataset_config}
        prompts = load_set(script.dataset_name, **there, limit=options.limit)
        folders += draw_pool(options, prompts, where["device"])
    state.wait_for_everyone()
    if state.is_main_process:
        rows = [row for folder in dict.fromkeys(folders) for row in load_run(folder).rows]
        pairs = build_pairs(rows, quality=qualities, **alike, **rule)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(file.name + ".partial")
        write = pairs.to_parquet if file.suffix == ".parquet" else pairs.to_json
        write(str(partial))
        partial.replace(file)
        counts = json.loads(pairs.info.description)
        record = {"recipe": "pairs", **counts, "runs": folders, "options": asdict(options)}
        print(f"{counts['pairs']} pairs of {counts['prompts']} prompts: {file}")
        print(json.dumps(record))
    state.destroy_process_group()


if __name__ == "__main__":
    main()
