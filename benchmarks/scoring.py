"""What scoring a run costs: beside the least it can cost, and beside other packages, in one run.

    python benchmarks/scoring.py --prompts 1000 --samples 50

First all answers of a run with given embeddings are scored as `evaluate` does it, by all of `MEASURES`,
against the floor: reading the rows, one Gram matrix and one eigenvalue call a prompt. Then single
quantities against the packages of requirements/benchmarks.txt that are installed, on the same prompts,
in turns; the largest difference of the values is shown where both define the same quantity. Times are
the least of several rounds, of the clock and of the processor, which a busy machine does not touch;
the ratios are what to quote. The texts and rows are drawn from a seed.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diversify.evaluation.ahead import embedded_ahead
from diversify.kernels import EmbeddingKernel, NgramKernel
from diversify.lexical import LEXICAL, compression_ratio, self_bleu
from diversify.measures import MEASURES, mean_distance, measure_all, nearest_distance, vendi

SECONDS = 2.0
"""What a thousand prompts with fifty answers may take."""
RATIO = 3.0
"""What scoring may take, as a multiple of the floor."""

Rows = NDArray[np.float32]
OfPrompt = Callable[[int], float]


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
    """Score the texts: the n-gram kernel with all measures, and every lexical quantity."""
    kernel = NgramKernel(2)
    for texts in answers.texts:
        measure_all(kernel(texts))
        for quantity in LEXICAL.values():
            quantity(texts)


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


@dataclass
class Contest:
    """One quantity: how we take it of a prompt, and how others do; `same` says who defines it so."""

    ours: OfPrompt
    others: dict[str, OfPrompt]
    same: tuple[str, ...] = ()


def contests(answers: Answers) -> dict[str, Contest]:
    """Build the contests for which some other package is installed."""
    kernel, words = EmbeddingKernel(answers), NgramKernel(2)
    rows, texts = answers.rows, answers.texts
    found = {
        "vendi": Contest(lambda p: vendi(kernel(texts[p])), {}),
        "mean_distance": Contest(lambda p: mean_distance(kernel(texts[p])), {}),
        "nearest_distance": Contest(lambda p: nearest_distance(kernel(texts[p])), {}),
        "self_bleu": Contest(lambda p: self_bleu(texts[p]), {}),
        "compression_ratio": Contest(lambda p: compression_ratio(texts[p]), {}),
        "overlap of words": Contest(lambda p: 1 - mean_distance(words(texts[p])), {}),
    }
    if peer := installed("vendi_score.vendi"):
        found["vendi"].others["vendi-score, score_X"] = lambda p: peer.score_X(rows[p])
        found["vendi"].others["vendi-score, score_dual"] = lambda p: peer.score_dual(rows[p])
    if installed("emb_diversity"):
        for ours, theirs in (
            ("vendi", "vendi_score"),
            ("mean_distance", "mean_pw_dist"),
            ("nearest_distance", "chamfer_dist"),
        ):
            module = importlib.import_module(f"emb_diversity.measures.{theirs}")
            function = getattr(module, theirs)
            found[ours].others[f"emb-diversity, {theirs}"] = lambda p, function=function: function(
                rows[p].astype(float)
            )["value"]
    if bleu := installed("nltk.translate.bleu_score"):
        found["self_bleu"].others["nltk"] = lambda p: nltk_self_bleu(bleu, texts[p])
    if other := installed("diversity"):
        # Compressed twice, and rounded; longest common subsequences: other quantities than ours.
        found["compression_ratio"].others["diversity"] = lambda p: other.compression_ratio(texts[p])
        found["overlap of words"].others["diversity, homogenization_score"] = lambda p: (
            other.homogenization_score(texts[p], verbose=False)
        )
    for name in ("vendi", "mean_distance", "nearest_distance", "self_bleu"):
        found[name].same = tuple(found[name].others)
    return {name: contest for name, contest in found.items() if contest.others}


def installed(module: str) -> Any:
    """Return a module of another package, or None where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        print(f"not installed: {module} ({error})", file=sys.stderr)
        return None


def nltk_self_bleu(bleu: Any, texts: Sequence[str]) -> float:
    """Take self-BLEU-4 as Texygen does: each text against all others, smoothed by method 1."""
    tokens = [text.lower().split() for text in texts]
    smooth = bleu.SmoothingFunction().method1
    return statistics.fmean(
        bleu.sentence_bleu(tokens[:n] + tokens[n + 1 :], own, smoothing_function=smooth)
        for n, own in enumerate(tokens)
    )


def compete(contest: Contest, prompts: int, repeats: int) -> dict[str, Any]:
    """Return seconds a prompt of ours and of each other, their ratio, and how far values differ."""
    everyone = {"ours": contest.ours, **contest.others}
    values = {name: [float(take(p)) for p in range(prompts)] for name, take in everyone.items()}
    parts = {
        name: lambda take=take: [take(prompt) for prompt in range(prompts)]
        for name, take in everyone.items()
    }
    took = in_turns(parts, repeats)
    ours = np.array(values["ours"])
    return {
        name: {
            "seconds": took[name].clock / prompts,
            "ratio": took[name].processor / took["ours"].processor,
            "difference": float(np.abs(np.array(values[name]) - ours).max())
            if name in contest.same
            else None,
        }
        for name in everyone
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and, on the last line, the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=50, help="answers a prompt")
    parser.add_argument("--dimension", type=int, default=384, help="of the embeddings")
    parser.add_argument("--length", type=int, default=60, help="words of an answer")
    parser.add_argument("--peer-prompts", type=int, default=5, help="that others are timed on")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", action="store_true", help="exit with 1 where a limit is broken")
    options = parser.parse_args(arguments)
    if min(options.prompts, options.peer_prompts, options.repeats) < 1 or options.samples < 2:
        parser.error("numbers must be 1 or more, and --samples 2 or more")
    shape = options.samples, options.dimension, options.length, options.seed
    answers = make_answers(options.prompts, *shape)
    few = make_answers(options.peer_prompts, *shape)
    parts = {
        "floor": lambda: floor(answers),
        "scored": lambda: scored(answers),
        "one_by_one": lambda: one_by_one(answers),
        "lexical": lambda: lexically(few),
    }
    took = in_turns(parts, options.repeats)
    scale = options.prompts / options.peer_prompts
    took["lexical"] = Took(*(scale * seconds for seconds in took["lexical"]))
    found: dict[str, Any] = {
        "prompts": options.prompts,
        "samples": options.samples,
        "dimension": options.dimension,
        "took": {
            name: own._asdict() | {"ratio": own.processor / took["floor"].processor}
            for name, own in took.items()
        },
        "others": {
            name: compete(contest, options.peer_prompts, options.repeats)
            for name, contest in contests(few).items()
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
    ):
        own = found["took"][name]
        cells = f"{own['clock']:>8.2f} s {own['processor']:>8.2f} s {own['ratio']:>8.1f}x"
        lines.append(f"{told:<38} {cells}")
    for name, rows in found["others"].items():
        lines.append(f"\n{name:<38} {'ms a prompt':>12} {'to ours':>9}  values differ by")
        for other, row in rows.items():
            gap = "another quantity" if row["difference"] is None else f"{row['difference']:.1e}"
            gap = "" if other == "ours" else gap
            cells = f"{1000 * row['seconds']:>12.2f} {row['ratio']:>8.1f}x  {gap}"
            lines.append(f"  {other:<36} {cells}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
