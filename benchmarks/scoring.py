"""What scoring a run costs, beside the least it can cost.

    python benchmarks/scoring.py --prompts 1000 --samples 50

First all answers of a run with given embeddings are scored as `evaluate` does it, by all of `MEASURES`,
against the floor: reading the rows, one Gram matrix and one eigenvalue call a prompt. Then, on fewer
prompts and scaled up, what the words cost: the n-gram kernel with its measures and the lexical
quantities, from one count of words and each by itself; the monitors; the whole report of `evaluate`.
Compressing the answers is a floor of its own, which no counting makes faster. Times are the least of
several rounds, of the clock and of the processor, which a busy machine does not touch; the ratios are
what to quote. The texts and rows are drawn from a seed. Other packages: benchmarks/peers.py.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diversify.counts import NgramCounts
from diversify.evaluation import Run, evaluate
from diversify.evaluation.ahead import embedded_ahead
from diversify.kernels import EmbeddingKernel, NgramKernel, words
from diversify.lexical import LEXICAL, compression_ratio, lexical_all
from diversify.measures import MEASURES, measure_all
from diversify.rewards.monitors import MONITORS

SECONDS = 2.0
"""What a thousand prompts with fifty answers may take."""
RATIO = 3.0
"""What scoring may take, as a multiple of the floor."""

Rows = NDArray[np.float32]


class Answers:
    """Texts of all prompts, and their rows as an embedder would give them."""

    def __init__(self, texts: list[list[str]], rows: Rows) -> None:
        self.texts, self.rows = texts, rows
        self.flat = rows.reshape(-1, rows.shape[-1])
        everything = (text for own in texts for text in own)
        self.place = {text: number for number, text in enumerate(everything)}

    def __call__(self, texts: list[str]) -> Rows:
        """Look the rows up: an embedder that costs next to nothing."""
        found: Rows = self.flat[[self.place[text] for text in texts]]
        return found


def make_answers(prompts: int, samples: int, dimension: int, length: int, seed: int) -> Answers:
    """Draw answers that share a frame, as a collapsed model's do: mean cosine about .7."""
    stream = np.random.default_rng(seed)
    shared = stream.normal(size=(prompts, 1, dimension))
    rows = shared + 0.65 * stream.normal(size=(prompts, samples, dimension))
    rows /= np.linalg.norm(rows, axis=-1, keepdims=True)
    words = np.array([f"word{number}" for number in range(800)])
    odds = 1.0 / np.arange(1, 801)
    texts = []
    for prompt in range(prompts):
        frame = [f"prompt{prompt}", *stream.choice(words, length // 2, p=odds / odds.sum())]
        tails = stream.choice(words, (samples, length - length // 2), p=odds / odds.sum())
        texts.append([" ".join([*frame, str(n), *tail]) for n, tail in enumerate(tails.tolist())])
    return Answers(texts, rows.astype(np.float32))


def floor(answers: Answers) -> None:
    """Read the rows, and take one Gram matrix and its eigenvalues a prompt."""
    for rows in answers.rows:
        wide = rows.astype(np.float64)
        np.linalg.eigvalsh(wide @ wide.T)


def scored(answers: Answers) -> None:
    """Score every prompt by every measure, embedded ahead as `evaluate` does it."""
    run = [{"generations": texts} for texts in answers.texts]
    for row, (kernel,) in embedded_ahead(run, [EmbeddingKernel(answers)]):
        measure_all(kernel(row["generations"]))


def one_by_one(answers: Answers) -> None:
    """Score every prompt by calling each measure by itself."""
    kernel = EmbeddingKernel(answers)
    for texts in answers.texts:
        similarity = kernel(texts)
        for measure in MEASURES.values():
            measure(similarity)


def lexically(answers: Answers) -> None:
    """Score the texts: the n-gram kernel with all measures, and every lexical quantity, at once."""
    kernel = NgramKernel(2)
    for texts in answers.texts:
        counts = NgramCounts([words(text) for text in texts])
        measure_all(kernel.of_counts(counts))
        lexical_all(texts, counts=counts)


def lexically_one_by_one(answers: Answers) -> None:
    """Score the texts, with the words cut and counted anew for every number."""
    kernel = NgramKernel(2)
    for texts in answers.texts:
        measure_all(kernel(texts))
        for quantity in LEXICAL.values():
            quantity(texts)


def compressed(answers: Answers) -> None:
    """Compress the answers: part of the lexical quantities that cannot be shared."""
    for texts in answers.texts:
        compression_ratio(texts)


def monitored(answers: Answers) -> None:
    """Look at every answer with every monitor."""
    for prompt, texts in enumerate(answers.texts):
        for monitor in MONITORS.values():
            for text in texts:
                monitor(f"Tell me something about number {prompt}.", text)


def reported(answers: Answers) -> None:
    """Take the whole report, no quality."""
    rows = [
        {"id": str(n), "prompt": f"Tell me something about number {n}.", "generations": texts}
        for n, texts in enumerate(answers.texts)
    ]
    evaluate(Run(Path("run"), {}, rows), embedder=answers)


class Took(NamedTuple):
    """Seconds by the clock and of the processor."""

    clock: float
    processor: float


def in_turns(parts: dict[str, Callable[[], Any]], repeats: int) -> dict[str, Took]:
    """Return the least time of each part, one after the other in every round."""
    rounds: dict[str, list[Took]] = {name: [] for name in parts}
    for _ in range(repeats):
        for name, part in parts.items():
            begun, used = time.perf_counter(), time.process_time()
            part()
            rounds[name].append(Took(time.perf_counter() - begun, time.process_time() - used))
    return {name: Took(*map(min, zip(*took, strict=True))) for name, took in rounds.items()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and, on the last line, the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=50, help="answers a prompt")
    parser.add_argument("--dimension", type=int, default=384, help="of the embeddings")
    parser.add_argument("--length", type=int, default=60, help="words of an answer")
    parser.add_argument("--text-prompts", type=int, default=20, help="that words are timed on")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a limit is broken")
    options = parser.parse_args(arguments)
    if min(options.prompts, options.text_prompts, options.repeats) < 1 or options.samples < 2:
        parser.error("numbers must be 1 or more, and --samples 2 or more")
    shape = options.samples, options.dimension, options.length, options.seed
    answers = make_answers(options.prompts, *shape)
    few = make_answers(options.text_prompts, *shape)
    parts = {
        "floor": lambda: floor(answers),
        "scored": lambda: scored(answers),
        "one_by_one": lambda: one_by_one(answers),
    }
    of_few = {
        "lexical": lambda: lexically(few),
        "lexical_one_by_one": lambda: lexically_one_by_one(few),
        "compressed": lambda: compressed(few),
        "monitored": lambda: monitored(few),
        "reported": lambda: reported(few),
    }
    took = in_turns(parts | of_few, options.repeats)
    scale = options.prompts / options.text_prompts
    took |= {name: Took(*(scale * seconds for seconds in took[name])) for name in of_few}
    found: dict[str, Any] = {
        "prompts": options.prompts,
        "samples": options.samples,
        "dimension": options.dimension,
        "took": {
            name: own._asdict() | {"ratio": own.processor / took["floor"].processor}
            for name, own in took.items()
        },
    }
    print(table(found))
    print(json.dumps(found))
    allowed = SECONDS * options.prompts * options.samples / 50_000
    broken = found["took"]["scored"]["ratio"] > RATIO or took["scored"].clock > allowed
    if broken:
        print(f"above {RATIO:g} times the floor or {allowed:.2g} s", file=sys.stderr)
    return 1 if broken and options.check else 0


def table(found: dict[str, Any]) -> str:
    """Return the times and ratios as aligned text."""
    lines = [
        f"{found['prompts']} prompts, {found['samples']} answers, rows of {found['dimension']}; "
        "ratios of processor time",
        "",
        f"{'':<38} {'clock':>10} {'processor':>10} {'to floor':>9}",
    ]
    for name, told in (
        ("floor", "reading, Gram matrix, eigenvalues"),
        ("scored", "all measures, as evaluate does it"),
        ("one_by_one", "all measures, each by itself"),
        ("lexical", "n-gram kernel and lexical quantities"),
        ("lexical_one_by_one", "the same, each by itself"),
        ("compressed", "of that, compressing"),
        ("monitored", "monitors of every answer"),
        ("reported", "the whole report"),
    ):
        own = found["took"][name]
        cells = f"{own['clock']:>8.2f} s {own['processor']:>8.2f} s {own['ratio']:>8.1f}x"
        lines.append(f"{told:<38} {cells}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
