"""What each sampler costs, as a share of a plain decoding step of the same run.

    python benchmarks/samplers.py --rows 32 --steps 32

One plain `generate` runs (temperature 1, nothing truncated), from the logits to the drawn token and
the next logits. At every step each sampler is also called on the real logits and the real text, and
thrown away; its time is left out of the step's. Both are medians over the steps, so what else the
machine does falls on both. The samplers of transformers stand beside ours, for scale.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import LogitsProcessor

from diversify.decoding.chain import SamplingChain
from diversify.engines import Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.evaluation import load_prompts
from diversify.models import EMBEDDED_MODEL, load_model

OURS = tuple("top_n_sigma min_k p_less p_less_norm top_h xtc edt dry mirostat2".split())
THEIRS = ("temperature=0.8", "top_k=50", "top_p=0.9", "min_p=0.05", "typical=0.9")
WARM_UP = 2
"""Steps that are not counted: the first one reads the prompts."""


class Stopwatch(LogitsProcessor):
    """Times plain steps, and every sampler on the logits that it is shown at each of them."""

    def __init__(self, samplers: Mapping[str, SamplingChain], device: str) -> None:
        self.device = device
        self.processors = {name: chain.logits_processors() for name, chain in samplers.items()}
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.left: float | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the logits as they came."""
        came = self.now()
        if self.left is not None:
            self.seconds["step"].append(came - self.left)
        for name, processors in self.processors.items():
            begun = self.now()
            processors(input_ids, scores)
            self.seconds[name].append(self.now() - begun)
        self.left = self.now()
        return scores

    def decoder(self, siblings: int, length: int) -> dict[str, Any]:
        """Return itself for `TransformersEngine`."""
        return {"logits_processor": [self]}

    def now(self) -> float:
        """Return the time at which everything asked for so far is done."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()
        return time.perf_counter()


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and, on the last line, the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=EMBEDDED_MODEL, help="hub id, folder or embedded model")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--device")
    parser.add_argument("--rows", type=int, default=32, help="texts written at once")
    parser.add_argument("--steps", type=int, default=32, help="tokens written")
    parser.add_argument("--also", default="", help="a whole chain to measure, as text")
    parser.add_argument("--limit", type=float, default=0.05, help="largest share allowed to ours")
    parser.add_argument("--check", action="store_true", help="exit with 1 where one exceeds it")
    options = parser.parse_args(arguments)
    if options.rows < 1 or options.steps <= WARM_UP + 1:
        parser.error(f"--rows must be 1 or more and --steps more than {WARM_UP + 1}")
    shares = measure(options)
    print(table(shares, options.limit))
    print(json.dumps(shares))
    over = [name for name in OURS if shares["samplers"][name]["share"] > options.limit]
    if over:
        print(f"above {options.limit:.0%}: {', '.join(over)}", file=sys.stderr)
    return 1 if over and options.check else 0


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Return the seconds of a step, and of each sampler with its share of that."""
    model = load_model(options.model, dtype=options.dtype, device=options.device)
    texts = [text for text in (*OURS, *THEIRS, options.also) if text]
    chains = {text: SamplingChain.parse(text).for_tokenizer(model.tokenizer) for text in texts}
    watch = Stopwatch(chains, str(model.model.device))
    prompts = [row.prompt for row in load_prompts("open-ended", limit=options.rows)]
    prompts = [prompts[i % len(prompts)] for i in range(options.rows)]
    engine = TransformersEngine(model, batch_size=options.rows, decoder=watch.decoder)
    engine.generate(prompts, 1, Sampling(max_tokens=options.steps))
    median = {name: statistics.median(took[WARM_UP:]) for name, took in watch.seconds.items()}
    step = median.pop("step")
    return {
        "model": options.model,
        "device": watch.device,
        "dtype": str(model.model.dtype),
        "threads": torch.get_num_threads(),
        "rows": options.rows,
        "step_seconds": step,
        "samplers": {name: {"seconds": s, "share": s / step} for name, s in median.items()},
    }


def table(found: Mapping[str, Any], limit: float) -> str:
    """Return the shares as aligned text."""
    lines = [
        f"{found['model']} on {found['device']}, {found['dtype']}, {found['threads']} threads, "
        f"{found['rows']} rows: a plain step takes {1000 * found['step_seconds']:.1f} ms",
        "",
        f"{'sampler':<16} {'ms':>8} {'of a step':>10}",
    ]
    for name, value in found["samplers"].items():
        mark = f"  above {limit:.0%}" if name in OURS and value["share"] > limit else ""
        mark = "  (transformers)" if name in THEIRS else mark
        lines.append(f"{name:<16} {1000 * value['seconds']:>8.2f} {value['share']:>10.1%}{mark}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
