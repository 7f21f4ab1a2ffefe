"""What decoding that sees its siblings costs, as a ratio to plain decoding in the same run.

    python benchmarks/siblings.py --rows 32 --steps 24

First the parts that only look at logits: at every step of one plain `generate` each is also called
on the real logits and thrown away; the ratio is to that step. Sibling repulsion is measured once
more on texts as long as `--length`, because it compares what has been written. Then whole token
loops: plain sampling and each decoder write so many tokens, in turns; the ratio is of the medians,
prefill included. Everything is one prompt with `--rows` samples.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor

from diversify.decoding.siblings import (
    ArithmeticProcessor,
    ArithmeticSampling,
    BaseAlignedRouting,
    DiverseBeams,
    Guidance,
    SiblingRepulsion,
    StochasticBeams,
    sibling_penalty,
)
from diversify.engines import Sampling
from diversify.engines.transformers import Decoder, TransformersEngine
from diversify.models import EMBEDDED_MODEL, LoadedModel, load_model

PROMPT = "Write a short story about somebody who finds a door where there was none yesterday."
OTHER = "Tell me about the weather on a mountain, in three sentences."
LIMIT = 0.10
"""Largest share of a step that sibling repulsion may take."""
WARM_UP = 2
"""Steps that are not counted: the first one reads the prompt."""


class Stopwatch(LogitsProcessor):
    """Times plain steps, and every part on the logits that it is shown at each of them."""

    def __init__(self, parts: dict[str, Callable[[torch.Tensor, torch.Tensor], Any]]) -> None:
        self.parts = parts
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.left: float | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the logits as they came."""
        came = now()
        if self.left is not None:
            self.seconds["step"].append(came - self.left)
        for name, part in self.parts.items():
            begun = now()
            part(input_ids, scores)
            self.seconds[name].append(now() - begun)
        self.left = now()
        return scores


def now() -> float:
    """Return the time at which everything asked for so far is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def parts_of_a_step(model: LoadedModel, rows: int, steps: int, length: int) -> dict[str, Any]:
    """Return the seconds of a plain step, and of each part with its share of that."""
    engine = TransformersEngine(model, batch_size=rows)
    special = model.tokenizer.all_special_ids
    common = torch.tensor(sorted(set(engine.token_ids(PROMPT + OTHER)) - set(special)))
    stream = torch.Generator().manual_seed(0)
    texts = common[torch.randint(len(common), (rows, length), generator=stream)]
    # Few words and no gate: far more is repeated than in real texts.
    options: dict[str, Any] = {"group_size": rows, "special": special, "min_entropy": 0.0}
    start = len(engine.token_ids(PROMPT))
    arithmetic = ArithmeticProcessor(rows, generator=torch.Generator().manual_seed(0))
    watch = Stopwatch(
        {
            "arithmetic sampling": arithmetic,
            "sibling repulsion": lambda ids, z: sibling_penalty(
                z, ids, prompt_length=start, **options
            ),
            f"sibling repulsion, {length} tokens": lambda ids, z: sibling_penalty(
                z, texts.to(ids.device), prompt_length=0, **options
            ),
        }
    )
    engine.with_decoder(lambda *_: {"logits_processor": [watch]}).generate(
        [PROMPT], rows, Sampling(max_tokens=steps)
    )
    median = {name: statistics.median(took[WARM_UP:]) for name, took in watch.seconds.items()}
    step = median.pop("step")
    shares = {name: {"seconds": took, "ratio": took / step} for name, took in median.items()}
    return {"step_seconds": step, "parts": shares}


def whole_loops(model: LoadedModel, rows: int, steps: int, repeats: int) -> dict[str, Any]:
    """Return, for plain sampling and each decoder, the seconds and the ratio to plain."""
    plain = TransformersEngine(model, batch_size=rows)
    ids, other = plain.token_ids(PROMPT), plain.token_ids(OTHER)
    decoders: dict[str, Decoder | None] = {
        "plain": None,
        "arithmetic sampling": ArithmeticSampling(),
        "sibling repulsion": SiblingRepulsion(special=model.tokenizer.all_special_ids),
        "stochastic beams": StochasticBeams(),
        "diverse beams": DiverseBeams(),
        "base-aligned routing": BaseAlignedRouting(model, threshold=0.5),
        "guidance": Guidance({tuple(ids): (other, ids)}),
    }
    seconds: dict[str, list[float]] = defaultdict(list)
    for repeat in range(repeats):
        for name, decoder in decoders.items():
            begun = now()
            sampling = Sampling(max_tokens=steps, seed=repeat)
            plain.with_decoder(decoder).generate([PROMPT], rows, sampling)
            seconds[name].append(now() - begun)
    median = {name: statistics.median(took) for name, took in seconds.items()}
    return {n: {"seconds": took, "ratio": took / median["plain"]} for n, took in median.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and, on the last line, the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=EMBEDDED_MODEL, help="hub id, folder or embedded model")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device")
    parser.add_argument("--rows", type=int, default=32, help="samples of the prompt")
    parser.add_argument("--steps", type=int, default=24, help="tokens written")
    parser.add_argument("--length", type=int, default=512, help="of the texts that repulsion reads")
    parser.add_argument("--repeats", type=int, default=3, help="of every whole loop")
    parser.add_argument(
        "--check", action="store_true", help="exit with 1 where the limit is broken"
    )
    options = parser.parse_args(arguments)
    if min(options.rows, options.length, options.repeats) < 1 or options.steps <= WARM_UP + 1:
        parser.error(f"numbers must be 1 or more and --steps more than {WARM_UP + 1}")
    model = load_model(options.model, dtype=options.dtype, device=options.device)
    found = {
        "model": options.model,
        "device": str(model.model.device),
        "dtype": str(model.model.dtype),
        "threads": torch.get_num_threads(),
        "rows": options.rows,
        "steps": options.steps,
        **parts_of_a_step(model, options.rows, options.steps, options.length),
        "loops": whole_loops(model, options.rows, options.steps, options.repeats),
    }
    print(table(found))
    print(json.dumps(found))
    repulsion = {n: v["ratio"] for n, v in found["parts"].items() if "repulsion" in n}
    over = [name for name, ratio in repulsion.items() if ratio > LIMIT]
    if over:
        print(f"above {LIMIT:.0%} of a step: {', '.join(over)}", file=sys.stderr)
    return 1 if over and options.check else 0


def table(found: dict[str, Any]) -> str:
    """Return the ratios as aligned text."""
    lines = [
        f"{found['model']} on {found['device']}, {found['dtype']}, {found['threads']} threads, "
        f"{found['rows']} samples: a plain step takes {1000 * found['step_seconds']:.1f} ms",
        "",
        f"{'part of a step':<32} {'ms':>9} {'of a step':>10}",
    ]
    for name, value in found["parts"].items():
        lines.append(f"{name:<32} {1000 * value['seconds']:>9.2f} {value['ratio']:>10.1%}")
    lines += ["", f"{'whole loop':<32} {'s':>9} {'to plain':>10}"]
    for name, value in found["loops"].items():
        lines.append(f"{name:<32} {value['seconds']:>9.2f} {value['ratio']:>9.2f}x")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
