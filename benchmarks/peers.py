"""Our numbers beside those of other packages, on the same answers in one run: values and time.

    python -m venv /tmp/peers && /tmp/peers/bin/pip install -r requirements/benchmarks.txt
    /tmp/peers/bin/pip install --no-deps -e .
    /tmp/peers/bin/python benchmarks/peers.py --samples 50

For each quantity of a package that is installed: do the values agree? Where they do not, the table
says what is known of the reason, and a difference that nobody has explained is an error (with
`--check`, exit 1), as is an explanation that no longer holds. Times are of the processor, taken in
turns, the least of several rounds; the ratios are what to quote. The answers are drawn from a seed,
those of benchmarks/scoring.py.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scoring import Answers, in_turns, make_answers

from diversify.kernels import EmbeddingKernel, NgramKernel
from diversify.lexical import compression_ratio, distinct_n, self_bleu
from diversify.measures import mean_distance, nearest_distance, vendi

EQUAL = 1e-6
"""What rounding explains."""
NOTHING_SHARED = ["a quiet harbour", "seven brass keys", "nobody counted stars"]

OfPrompt = Callable[[int], float]


@dataclass(frozen=True)
class Case:
    """One quantity of ours and what another package gives for it.

    Args:
        quantity: Ours.
        peer: The package and its function.
        ours: Number of a prompt -> value.
        theirs: The same of the other package.
        known: Why the values differ; "" where they must not.
        fails: The exceptions one of which is known to come instead of a value.
    """

    quantity: str
    peer: str
    ours: OfPrompt
    theirs: OfPrompt
    known: str = ""
    fails: tuple[type[Exception], ...] = ()


def vendi_score_cases(answers: Answers, peer: Any) -> list[Case]:
    """List what vendi-score defines as we do."""
    kernel, texts = EmbeddingKernel(answers), answers.texts
    rows = answers.rows.astype(np.float64)
    inf = float("inf")

    def of_order(order: float) -> OfPrompt:
        return lambda p: vendi(kernel(texts[p]), order=order)

    def by_words(p: int) -> float:
        return float(
            importlib.import_module("vendi_score.text_utils").ngram_vendi_score(
                texts[p], ns=[1], tokenizer=str.split
            )
        )

    return [
        Case("vendi", "vendi-score score_X", of_order(1), lambda p: peer.score_X(rows[p])),
        Case("vendi", "vendi-score score_dual", of_order(1), lambda p: peer.score_dual(rows[p])),
        Case("vendi of rows in single precision", "vendi-score score_dual", of_order(1),
             lambda p: peer.score_dual(answers.rows[p]),
             "computes in the precision of the rows: rounding error counts as modes"),
        Case("vendi, order 2", "vendi-score score_dual", of_order(2),
             lambda p: peer.score_dual(rows[p], q=2)),
        Case("vendi, order 2", "vendi-score score_X", of_order(2),
             lambda p: peer.score_X(rows[p], q=2), "does not pass q on: gives order 1"),
        Case("vendi, order inf", "vendi-score score_dual", of_order(inf),
             lambda p: peer.score_dual(rows[p], q=inf), "nan: knows the string 'inf' only"),
        Case("vendi, order 0.1", "vendi-score score_dual", of_order(0.1),
             lambda p: peer.score_dual(rows[p], q=0.1),
             "eigenvalues that are rounding error count as modes"),
        Case("vendi of words", "vendi-score ngram_vendi_score",
             lambda p: vendi(NgramKernel(1)(texts[p])), by_words,
             "calls .A of a sparse matrix, which SciPy has removed", (AttributeError,)),
    ]  # fmt: skip


def emb_diversity_cases(answers: Answers) -> list[Case]:
    """List what emb-diversity defines as we do, and the first of its defaults."""
    kernel, rows, texts = EmbeddingKernel(answers), answers.rows, answers.texts

    def theirs(name: str, p: int, shrunk: float = 1.0) -> float:
        function = getattr(importlib.import_module(f"emb_diversity.measures.{name}"), name)
        return float(function(shrink(rows[p], shrunk))["value"])

    def left(p: int) -> float:
        near, far = shrink(rows[p], 0.1), shrink(rows[p], 1.0)
        return mean_distance(near @ near.T) / mean_distance(far @ far.T)

    return [
        Case("vendi", "emb-diversity vendi_score",
             lambda p: vendi(kernel(texts[p])), lambda p: theirs("vendi_score", p)),
        Case("mean_distance", "emb-diversity mean_pw_dist",
             lambda p: mean_distance(kernel(texts[p])), lambda p: theirs("mean_pw_dist", p)),
        Case("nearest_distance", "emb-diversity chamfer_dist",
             lambda p: nearest_distance(kernel(texts[p])), lambda p: theirs("chamfer_dist", p)),
        Case("left of mean_distance when answers close up to a tenth", "emb-diversity graph_entropy",
             left, lambda p: theirs("graph_entropy", p, 0.1) / theirs("graph_entropy", p),
             "divides all distances by their sum: blind to how far apart answers are"),
    ]  # fmt: skip


def shrink(rows: Any, factor: float) -> Any:
    """Pull unit rows towards their mean direction, to a share of the distance."""
    wide = rows.astype(np.float64)
    centre = wide.mean(axis=0)
    near = centre + factor * (wide - centre)
    return near / np.linalg.norm(near, axis=1, keepdims=True)


def nltk_cases(answers: Answers, bleu: Any) -> list[Case]:
    """List what NLTK defines as we do."""

    def theirs(p: int) -> float:
        """Take self-BLEU-4 as Texygen does: each text against all others, smoothed by method 1."""
        tokens = [text.lower().split() for text in answers.texts[p]]
        smooth = bleu.SmoothingFunction().method1
        return statistics.fmean(
            bleu.sentence_bleu(tokens[:n] + tokens[n + 1 :], own, smoothing_function=smooth)
            for n, own in enumerate(tokens)
        )

    return [Case("self_bleu", "nltk sentence_bleu", lambda p: self_bleu(answers.texts[p]), theirs)]


def diversity_cases(answers: Answers, peer: Any) -> list[Case]:
    """List what the package `diversity` calls by the names of quantities of ours."""
    texts, words = answers.texts, NgramKernel(2)
    return [
        Case("compression_ratio", "diversity compression_ratio",
             lambda p: compression_ratio(texts[p]), lambda p: peer.compression_ratio(texts[p]),
             "compresses the compressed once more, and rounds to three digits"),
        Case("distinct_n, sum of n = 1 to 4", "diversity ngram_diversity_score",
             lambda p: sum(distinct_n(texts[p], n) for n in (1, 2, 3, 4)),
             lambda p: peer.ngram_diversity_score(texts[p]),
             "n-grams run on from one text into the next; rounded to three digits"),
        Case("overlap of words", "diversity homogenization_score",
             lambda p: 1 - mean_distance(words(texts[p])),
             lambda p: peer.homogenization_score(texts[p], verbose=False),
             "another quantity: longest common subsequences; rounded to three digits"),
        Case("overlap of words where nothing is shared", "diversity homogenization_score",
             lambda p: 1 - mean_distance(words(NOTHING_SHARED)),
             lambda p: peer.homogenization_score(NOTHING_SHARED, verbose=False),
             "takes a sum of 0 for texts that are all the same, and gives 1"),
    ]  # fmt: skip


def cases(answers: Answers) -> list[Case]:
    """List the cases of the packages that are installed."""
    found: list[Case] = []
    if peer := installed("vendi_score.vendi"):
        found += vendi_score_cases(answers, peer)
    if installed("emb_diversity"):
        found += emb_diversity_cases(answers)
    if bleu := installed("nltk.translate.bleu_score"):
        found += nltk_cases(answers, bleu)
    if peer := installed("diversity"):
        found += diversity_cases(answers, peer)
    return found


def installed(module: str) -> Any:
    """Return a module of another package, or None where it is not installed."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        print(f"not installed: {module} ({error})", file=sys.stderr)
        return None


def compete(case: Case, prompts: int, repeats: int) -> dict[str, Any]:
    """Return the largest difference, whether it is as told, and both times with their ratio."""
    found: dict[str, Any] = {"quantity": case.quantity, "peer": case.peer, "known": case.known}
    try:
        theirs = [float(case.theirs(p)) for p in range(prompts)]
    except case.fails as error:
        return found | {"as_told": True, "raised": type(error).__name__}
    ours = [float(case.ours(p)) for p in range(prompts)]
    gap = float(np.abs(np.array(theirs) - np.array(ours)).max())
    equal = gap <= EQUAL
    parts = {
        name: lambda take=take: [take(prompt) for prompt in range(prompts)]
        for name, take in (("ours", case.ours), ("theirs", case.theirs))
    }
    took = in_turns(parts, repeats)
    return found | {
        "ours": ours[0],
        # JSON has no NaN.
        "theirs": None if np.isnan(theirs[0]) else theirs[0],
        "difference": None if np.isnan(gap) else gap,
        "as_told": equal != bool(case.known) and not case.fails,
        "seconds": took["ours"].processor / prompts,
        "ratio": took["theirs"].processor / max(took["ours"].processor, 1e-9),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return what was found as aligned text."""
    lines = []
    for row in rows:
        head = f"{row['quantity']}  |  {row['peer']}"
        if "raised" in row:
            lines.append(f"{head}\n    raises {row['raised']}: {row['known']}")
            continue
        theirs, gap = (
            "nan" if row[name] is None else f"{row[name]:{form}}"
            for name, form in (("theirs", ".6g"), ("difference", ".1e"))
        )
        verdict = row["known"] or "equal"
        if not row["as_told"]:
            verdict = f"NOT AS TOLD ({verdict})"
        lines.append(
            f"{head}\n    {row['ours']:.6g} | {theirs}, differ by {gap}; theirs takes "
            f"{row['ratio']:.1f} times as long: {verdict}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print the table and, on the last line, the numbers as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prompts", type=int, default=3)
    parser.add_argument("--samples", type=int, default=50, help="answers a prompt")
    parser.add_argument("--dimension", type=int, default=384, help="of the embeddings")
    parser.add_argument("--length", type=int, default=60, help="words of an answer")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--check", action="store_true", help="exit with 1 where all is not as told")
    options = parser.parse_args(arguments)
    if min(options.prompts, options.repeats) < 1 or options.samples < 3:
        parser.error("numbers must be 1 or more, and --samples 3 or more")
    answers = make_answers(
        options.prompts, options.samples, options.dimension, options.length, options.seed
    )
    with warnings.catch_warnings():
        # Of the other packages' divisions by zero, which the table tells of.
        warnings.simplefilter("ignore")
        rows = [compete(case, options.prompts, options.repeats) for case in cases(answers)]
    print(table(rows))
    print(json.dumps({"samples": options.samples, "prompts": options.prompts, "cases": rows}))
    wrong = [row for row in rows if not row["as_told"]]
    if wrong:
        print(f"{len(wrong)} of {len(rows)} are not as told", file=sys.stderr)
    return 1 if wrong and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
