"""Demonstrations from pools of answers: the data for recipes/sft.py.

    accelerate launch recipes/demonstrations.py --config configs/demonstrations/qwen3-verbalized.yaml

1. Every model of `models` answers every prompt `samples` times at every temperature, asked by a
   `strategy`: `direct`, `verbalized` (several answers with probabilities at once, arXiv 2510.01171),
   `personas` (another person each time), `paraphrases` (in other words) or another that
   `diversify generate --help` names; `over-generate+stratified` puts one around another. Finished
   run folders (`runs`) join in. All answers to a prompt are one pool.
2. `method` makes examples of them: `direct` distils, the plain prompt with up to `per_prompt` good
   answers that differ; `spectrum` (arXiv 2510.06084) shows many draws of a prompt in one context,
   with a loss on the draws alone. It tokenizes, for the model `tokenizer`.

The pool is written row by row into run folders beside `output_file`; the same command, with as many
processes, continues an interrupted one. Prompts as in recipes/grpo.py; the command line wins.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from accelerate import PartialState
from trl import ScriptArguments

from diversify.cli.tables import progress_line
from diversify.engines import Sampling
from diversify.evaluation.generate import load_run
from diversify.trainers.demonstrating import build_examples, build_strategy
from diversify.trainers.pools import draw_pool
from diversify.trainers.prompts import load_set
from diversify.trainers.row_files import FORMATS, write_rows
from diversify.trainers.setup import parse


@dataclass
class DemonstrationArguments:
    """Where the answers come from, and how they become examples."""

    output_file: str = field(default="demonstrations.jsonl", metadata={"help": "or .parquet"})
    models: list[str] = field(default_factory=list)
    runs: list[str] = field(default_factory=list, metadata={"help": "finished run folders"})
    strategy: str = field(default="direct", metadata={"help": "see `diversify generate --help`"})
    strategy_options: list[str] = field(default_factory=list, metadata={"help": "NAME=VALUE …"})
    per_call: int = field(default=5, metadata={"help": "verbalized: answers a call"})
    fill: bool = field(default=False, metadata={"help": "verbalized: draw plainly what is missing"})
    personas: str | None = field(default=None, metadata={"help": "a text file, one a line"})
    paraphrases: int = field(default=4, metadata={"help": "paraphrases a prompt"})
    samples: int = 16
    temperatures: list[float] = field(default_factory=lambda: [1.0])
    top_p: float = 1.0
    min_p: float | None = None
    max_tokens: int = 512
    batch_size: int = 64
    seed: int = 0
    limit: int | None = field(default=None, metadata={"help": "at most so many prompts"})
    method: Literal["direct", "spectrum"] = "direct"
    keep_truncated: bool = False
    quality: list[str] = field(default_factory=list)
    quality_model: str | None = field(default=None, metadata={"help": "default: the first model"})
    at_least: list[float] = field(default_factory=list, metadata={"help": "one for each quality"})
    keep: float = 0.6
    kernel: str = "embedding"
    embedder: str = "minilm"
    per_prompt: int = 4
    weight: float = field(default=0.5, metadata={"help": "of quality against difference"})
    min_words: int = 1
    first_sentence: bool = field(default=False, metadata={"help": "cut answers behind it"})
    draws: int = field(default=16, metadata={"help": "spectrum: draws an example"})
    keep_description: float = field(default=0.8, metadata={"help": "spectrum: share with prompt"})
    max_length: int = field(default=1024, metadata={"help": "spectrum: tokens an example"})
    tokenizer: str | None = field(default=None, metadata={"help": "default: of the first model"})


TYPES = (ScriptArguments, DemonstrationArguments)


def main() -> None:
    """Draw, distil, write, and print one line of JSON that says what was done."""
    script, options = parse(*TYPES)
    state, file = PartialState(), Path(options.output_file)
    if file.suffix not in FORMATS:
        raise ValueError(f"output_file must end in one of {FORMATS}, got {options.output_file!r}")
    if not options.models and not options.runs:
        raise ValueError("neither models nor runs are given: there is nothing to learn from")
    where = {"embedder": options.embedder, "device": str(state.device)}
    strategy = build_strategy(options, **where)
    make = build_examples(options, **where)
    folders = list(options.runs)
    if options.models:
        there = {"split": script.dataset_train_split, "config": script.dataset_config}
        same = ("top_p", "min_p", "max_tokens", "seed")
        folders += draw_pool(
            options.models,
            load_set(script.dataset_name, **there, limit=options.limit),
            options.samples,
            sampling=Sampling(**{option: getattr(options, option) for option in same}),
            temperatures=options.temperatures,
            strategy=strategy,
            output=file.with_suffix("") / options.strategy,
            progress=progress_line(),
            device=str(state.device),
            batch_size=options.batch_size,
        )
    state.wait_for_everyone()
    if state.is_main_process:
        rows = [row for folder in dict.fromkeys(folders) for row in load_run(folder).rows]
        examples = make(rows)
        write_rows(examples, file)
        counts = json.loads(examples.info.description)
        record = {"recipe": "demonstrations", **counts, "runs": folders, "options": asdict(options)}
        print(f"{counts['examples']} examples of {counts['prompts']} prompts: {file}")
        print(json.dumps(record))
    state.destroy_process_group()


if __name__ == "__main__":
    main()
