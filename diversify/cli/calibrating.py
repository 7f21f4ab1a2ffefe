"""Thresholds from labelled pairs: `calibrate`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from diversify.cli.parsing import add_command
from diversify.cli.tables import calibration_table

__all__ = ["add_calibrate"]


def add_calibrate(commands: Any) -> None:
    """Add the command that finds a threshold."""
    text = "find the threshold from which two texts are the same, from labelled pairs"
    parser = add_command(commands, "calibrate", _calibrate, text)
    add = parser.add_argument
    add("pairs", help="file of JSON lines with two texts and whether they are the same")
    scores = parser.add_mutually_exclusive_group()
    scores.add_argument("--embedder", help="cosine of this embedder; minilm if nothing is given")
    scores.add_argument("--cross-encoder", metavar="MODEL", help="classifier of pairs: id or path")
    scores.add_argument("--entailment", metavar="MODEL", help="inference model, asked both ways")
    scores.add_argument("--ngram", type=int, metavar="N", help="overlap of word 1- to N-grams")
    add("--side-tokens", type=int, default=128, help="tokens that a classifier reads of each text")
    add("--columns", metavar="A,B", help="columns of the texts; a,b or text1,text2 if not given")
    add("--label", default="same", help="column of the label: true or false, 1 or 0")
    add("--group", help="column of what pairs belong to (the prompt), held out as a whole")
    add("--longer-than", type=int, metavar="WORDS", help="leave out pairs of shorter answers")
    add("--folds", type=int, default=5, help="parts that are held out in turn")
    add("--seed", type=int, default=0)
    add("--device", help="cpu, cuda, …; chosen if not given")
    add("--output", help="JSON file to write")


def _calibrate(options: argparse.Namespace) -> int:
    from diversify.equivalence import calibrate, read_pairs

    columns = options.columns and tuple(name.strip() for name in options.columns.split(","))
    if columns and len(columns) != 2:
        raise ValueError(f"--columns takes the names of two columns, got {options.columns!r}")
    labelled = read_pairs(options.pairs, columns=columns, label=options.label, group=options.group)
    if options.longer_than is not None:
        labelled = labelled.longer_than(options.longer_than)
    identity, scores = _pair_scores(options, labelled.pairs)
    calibration = calibrate(
        scores, labelled.labels, groups=labelled.groups, folds=options.folds, seed=options.seed
    )
    print(calibration_table(calibration))
    if labelled.groups is None and len({*chain(*labelled.pairs)}) < 2 * len(labelled.pairs):
        print("\nTexts come in several pairs: without --group the held-out errors are too small.")
    if options.output:
        found = {"scores": identity, "pairs_file": options.pairs} | calibration.to_dict()
        Path(options.output).write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        print(options.output)
    return 0


def _pair_scores(
    options: argparse.Namespace, pairs: list[tuple[str, str]]
) -> tuple[dict[str, Any], Sequence[float]]:
    """Return what compares the texts, and its score of each pair."""
    from diversify.embedders import load_embedder
    from diversify.equivalence import CrossEncoderSame, EmbeddingSame, EntailmentSame
    from diversify.kernels import NgramKernel

    if options.ngram is not None:
        kernel = NgramKernel(options.ngram)
        return {"kernel": kernel.name}, [kernel(pair)[0, 1] for pair in pairs]
    where = {"side_tokens": options.side_tokens, "device": options.device}
    same: CrossEncoderSame | EntailmentSame | EmbeddingSame
    if options.cross_encoder:
        same = CrossEncoderSame(options.cross_encoder, **where)
    elif options.entailment:
        same = EntailmentSame(options.entailment, **where)
    else:
        embedder = load_embedder(options.embedder or "minilm", device=options.device)
        same = EmbeddingSame(embedder, 1.0)
    identity = {name: value for name, value in same.identity.items() if name != "threshold"}
    return identity, same.scores(pairs).tolist()
