"""How much memory it takes to score and to compare a run, as the number of prompts grows.

    python benchmarks/memory.py --prompts 250 1000 4000 --samples 50

For each number a run folder is written, then scored in a process of its own (an embedder of random
directions, word n-grams, all measures and monitors, a quality), saved, and compared with itself in
another one. The largest resident size of each process is told beside the size of the answers, and by
how much it grows for each byte of answers that is added: 1 or more for a program that holds them all.
Texts are drawn from a seed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diversify.evaluation import compare, evaluate, load_run
from diversify.quality import Rule

GROWTH = 0.25
"""Bytes of memory for each further byte of answers that `--check` allows."""


def write_run(folder: Path, prompts: int, samples: int, length: int, seed: int) -> Path:
    """Write a run of answers that share half of their words with each other."""
    stream = np.random.default_rng(seed)
    vocabulary = np.array([f"word{number}" for number in range(800)])
    file = folder / "generations.jsonl"
    with file.open("w", encoding="utf-8") as lines:
        for number in range(prompts):
            frame = " ".join(stream.choice(vocabulary, length // 2))
            tails = stream.choice(vocabulary, (samples, length - length // 2)).tolist()
            texts = [f"{frame} {' '.join(tail)}" for tail in tails]
            row = {"id": f"p{number}", "prompt": f"Tell me about {number}.", "generations": texts}
            lines.write(json.dumps(row) + "\n")
    return file


def directions(texts: list[str]) -> NDArray[np.float32]:
    """Embed each text in a direction of its own: nothing has to be held for it."""
    rows = np.stack(
        [np.random.default_rng(zlib.crc32(text.encode())).normal(size=384) for text in texts]
    )
    found: NDArray[np.float32] = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype("f4")
    return found


def work(task: str, folder: Path) -> float:
    """Score the run of a folder, or compare its report with itself; return the peak in MB."""
    import resource

    if task == "evaluate":
        said = Rule(lambda prompt, text: len(text) > 3, "said")
        evaluate(load_run(folder), embedder=directions, quality=[said]).save(folder)
    else:
        compare(folder, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def peaks(prompts: int, options: argparse.Namespace) -> dict[str, Any]:
    """Return the size of a run and what the two processes took, in MB."""
    with tempfile.TemporaryDirectory() as folder:
        shape = prompts, options.samples, options.length, options.seed
        file = write_run(Path(folder), *shape)
        found: dict[str, Any] = {"prompts": prompts, "answers": file.stat().st_size / (1 << 20)}
        for task in ("evaluate", "compare"):
            command = [sys.executable, __file__, "--work", task, folder]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[task] = float(done.stdout)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and, on the last line, the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, nargs="+", default=[250, 1000, 4000])
    parser.add_argument("--samples", type=int, default=50, help="answers a prompt")
    parser.add_argument("--length", type=int, default=100, help="words of an answer")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a limit is broken")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.work:
        print(work(options.work[0], Path(options.work[1])))
        return 0
    if len(set(options.prompts)) < 2 or min(*options.prompts, options.length) < 2:
        parser.error("--prompts takes two or more different numbers, each 2 or more")
    rows = [peaks(prompts, options) for prompts in sorted(set(options.prompts))]
    first, last = rows[0], rows[-1]
    growth = {
        task: (last[task] - first[task]) / (last["answers"] - first["answers"])
        for task in ("evaluate", "compare")
    }
    print(f"{'prompts':>8} {'answers':>10} {'evaluate':>10} {'compare':>10}")
    for row in rows:
        cells = (f"{row[name]:>7.0f} MB" for name in ("answers", "evaluate", "compare"))
        print(f"{row['prompts']:>8} " + " ".join(cells))
    told = (f"{growth[task]:>7.2f}   " for task in ("evaluate", "compare"))
    print(f"{'growth, a byte of answers':>19} " + " ".join(told).rstrip())
    print(json.dumps({"samples": options.samples, "rows": rows, "growth": growth}))
    broken = max(growth.values()) > GROWTH
    if broken:
        print(f"more than {GROWTH:g} bytes a byte of answers", file=sys.stderr)
    return 1 if broken and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
