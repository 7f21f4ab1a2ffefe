"""Preference pairs from pools of answers: the data for recipes/dpo.py.

    accelerate launch recipes/pairs.py --config configs/pairs/qwen3-divpo.yaml

1. Every model of `models` answers every prompt `samples` times at every temperature; finished run
   folders (`runs`) join in. All answers to a prompt are one pool. A tuned model has lost what it no
   longer says: add its base model or hotter sampling, and let the `rewriter` rewrite the answers of
   `rewrite_models` (REDIPO, arXiv 2605.30021).
2. `method` chooses the pairs: `divpo` (arXiv 2501.18101: the most diverse of the best against the
   least diverse of the worst), `similar` (REDIPO: the more diverse of two about equally good) or
   `gated` (ours: good by every quality and unlike the pool, against the most typical or the worst).
   `diversity` says what is diverse, `deviation` (DDPO, arXiv 2503.17126) or `creativity` (CrPO,
   arXiv 2505.14442) what a pair weighs.

The pool is written row by row into run folders beside `output_file`; the same command, with as many
processes, continues an interrupted one. Prompts as in recipes/grpo.py; the command line wins.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from accelerate import PartialState
from trl import ScriptArguments

from diversify.cli.tables import progress_line
from diversify.engines import Sampling
from diversify.evaluation.generate import load_run
from diversify.pairs import build_pairs
from diversify.trainers.components import build_qualities, build_server
from diversify.trainers.pairing import build_criterion, build_rule, build_signals
from diversify.trainers.pools import draw_pool
from diversify.trainers.prompts import load_set
from diversify.trainers.row_files import FORMATS, write_rows
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
    part: int = field(default=0, metadata={"help": "of these every `parts`-th, from this one on"})
    parts: int = 1
    rewrite_models: list[str] = field(default_factory=list, metadata={"help": "of the models"})
    rewriter: str | None = field(default=None, metadata={"help": "default: the first other model"})
    rewrite_temperature: float = 0.0
    method: Literal["divpo", "similar", "gated", "quality"] = "divpo"
    quality: list[str] = field(default_factory=lambda: ["likelihood"])
    quality_model: str | None = field(default=None, metadata={"help": "default: the first model"})
    diversity: str = field(
        default="credit", metadata={"help": "probability, words, judge, quality"}
    )
    policy: str | None = field(default=None, metadata={"help": "of probability; the first model"})
    judge_model: str | None = field(default=None, metadata={"help": "as its server calls it"})
    judge_url: str | None = field(default=None, metadata={"help": "http://localhost:8000/v1"})
    kernel: str = field(default="embedding", metadata={"help": "or ngram, or answers"})
    embedder: str = "minilm"
    credit: str = "leave_one_out"
    fraction: float = 0.25
    band: float = field(default=0.1, metadata={"help": "similar: share of the ranks"})
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
    creativity: list[str] = field(default_factory=list, metadata={"help": "signals of weights"})
    creativity_weights: list[float] = field(default_factory=list, metadata={"help": "default: 1"})


TYPES = (ScriptArguments, PairArguments)


def draw(script: ScriptArguments, options: PairArguments, device: str) -> list[str]:
    """Draw this process's share of the pool; return the run folders of all processes."""
    there = {"split": script.dataset_train_split, "config": script.dataset_config}
    prompts = load_set(script.dataset_name, **there, limit=options.limit)
    if not 0 <= options.part < options.parts <= len(prompts):
        raise ValueError(f"no part {options.part} of {options.parts} of {len(prompts)} prompts")
    sampling = {name: getattr(options, name) for name in ("top_p", "min_p", "max_tokens", "seed")}
    return draw_pool(
        options.models,
        replace(prompts, rows=prompts.rows[options.part :: options.parts]),
        options.samples,
        sampling=Sampling(**sampling),
        temperatures=options.temperatures,
        output=Path(options.output_file).with_suffix(""),
        rewrite=options.rewrite_models,
        rewriter=options.rewriter,
        rewrite_temperature=options.rewrite_temperature,
        progress=progress_line(),
        device=device,
        batch_size=options.batch_size,
    )


def main() -> None:
    """Draw, choose, write, and print one line of JSON that says what was done."""
    script, options = parse(*TYPES)
    state, file = PartialState(), Path(options.output_file)
    if file.suffix not in FORMATS:
        raise ValueError(f"output_file must end in one of {FORMATS}, got {options.output_file!r}")
    if not options.models and not options.runs:
        raise ValueError("neither models nor runs are given: there is nothing to choose from")
    where = {"embedder": options.embedder, "device": str(state.device)}
    asking = where | {"server": build_server(options.judge_model, options.judge_url)}
    first = next(iter(options.models), "")
    reference = options.quality_model or first
    qualities = build_qualities(options.quality, reference=reference, **asking)
    how = build_rule(options, [*qualities], **where)
    how["diversity"] = build_criterion(options.diversity, policy=options.policy or first, **asking)
    surprise = qualities.get("likelihood")  # one reference, if any
    if surprise is None and "surprise" in options.creativity:
        [surprise] = build_qualities(["likelihood"], reference=reference, **where).values()
    how |= build_signals(options.creativity, options.creativity_weights, surprise)
    folders = list(options.runs)
    if options.models:
        folders += draw(script, options, where["device"])
    state.wait_for_everyone()
    if state.is_main_process:
        rows = [row for folder in dict.fromkeys(folders) for row in load_run(folder).rows]
        pairs = build_pairs(rows, quality=qualities, **how)
        write_rows(pairs, file)
        counts = json.loads(pairs.info.description)
        record = {"recipe": "pairs", **counts, "runs": folders, "options": asdict(options)}
        print(f"{counts['pairs']} pairs of {counts['prompts']} prompts: {file}")
        print(json.dumps(record))
    state.destroy_process_group()


if __name__ == "__main__":
    main()
