"""Runs to reports of the Artificial Hivemind protocol: one model, several models, wordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diversify.embedders import Embedder
from diversify.evaluation.checks import row_id
from diversify.evaluation.generate import Run
from diversify.evaluation.hivemind import (
    MIN_P,
    PARAPHRASE_SAMPLES,
    PARAPHRASED,
    PROMPTS,
    SAMPLES,
    TOP_P,
    WORDINGS,
    inter_similarity,
    intra_similarity,
    paraphrase_similarity,
    similarity_histogram,
    source_overlap,
)
from diversify.evaluation.protocol_report import (
    MINILM,
    ProtocolReport,
    departures,
    minilm,
    protocol_report,
)
from diversify.evaluation.protocols.chance import random_groups, random_similarity

__all__ = [
    "embed_models",
    "intra_histograms",
    "overlap_curves",
    "score_intra",
    "score_minilm",
    "score_models",
    "score_paraphrases",
    "score_paraphrases_minilm",
]

Floats = NDArray[np.float64]


def score_minilm(
    run: Run, *, embedder: Embedder | None = None, device: str | None = None, seed: int = 0
) -> ProtocolReport:
    """Score by `hivemind@1-minilm`: mean cosine a prompt, and its histogram over prompts.

    Args:
        run: 50 answers a prompt, drawn as `TOP_P` or `MIN_P` says.
        embedder: all-MiniLM-L6-v2, if it is loaded already.
        device: Where it is loaded, if none is given.
        seed: Of `random_groups`.

    Raises:
        ValueError: The embedder is another one: its numbers need another name (`score_intra`).
    """
    return score_intra(run, embedder=minilm(embedder, device), seed=seed)


def score_intra(run: Run, *, embedder: Embedder, seed: int = 0) -> ProtocolReport:
    """Score the likeness of the answers to each prompt: `hivemind@1-` and the embedder's name.

    Args:
        run: Two or more answers a prompt; a prompt with one has no value.
        embedder: From texts to rows of length 1; it sees every answer, blank ones too.
        seed: Of `random_groups`.

    Returns:
        Under `results` the mean, the `histogram` and the two shares that the paper quotes; and the
        floor on which they stand, the likeness of answers to different prompts: `random_similarity`
        and `random_histogram`, of `random_groups`. One prompt has no floor.
    """
    rows = _embedded(run, embedder)
    found = [intra_similarity(E) if len(E) > 1 else None for E in rows]
    scored = [value for value in found if value is not None]
    histogram = similarity_histogram(scored) if scored else None
    extra: dict[str, Any] = {
        "histogram": None if histogram is None else histogram.tolist(),
        "percent_above_0.7": None if histogram is None else float(histogram[7:].sum()),
        "percent_above_0.8": None if histogram is None else float(histogram[8:].sum()),
        "random_similarity": None,
        "random_histogram": None,
    }
    if len(rows) > 1:
        extra["random_similarity"] = random_similarity(rows)
        extra["random_histogram"] = similarity_histogram(random_groups(rows, seed=seed)).tolist()
    return protocol_report(
        f"hivemind@1-{_short(embedder)}",
        run,
        [{"intra_similarity": value} for value in found],
        extra=extra,
        config=_identity(embedder) | {"seed": seed},
        departures=departures(run, prompts=[PROMPTS], samples=SAMPLES, samplings=[TOP_P, MIN_P]),
    )


def score_models(
    runs: Mapping[str, Run], *, embedder: Embedder, nearest: int = 50
) -> ProtocolReport:
    """Compare the answers of several models to the same prompts: matrix and overlap of sources.

    Args:
        runs: Name of each model and its run.
        embedder: From texts to rows of length 1.
        nearest: Largest N of `source_overlap`.

    Returns:
        Under `results` the matrices `inter_similarity` and `inter_similarity_with_self`, in the
        order of `models`, the `histograms` of their intra-model similarity with the unweighted mean
        of these, and the mean `source_overlap` for N = 1 to `nearest`; a curve in each row.

    Raises:
        ValueError: There are fewer than two runs, or their prompts are not the same.
    """
    E_by_model = embed_models(runs, embedder=embedder)
    curves = overlap_curves(E_by_model, nearest=nearest)
    first = next(iter(runs.values()))
    histograms = intra_histograms(E_by_model)
    known = [histogram for histogram in histograms if histogram is not None]
    extra = {
        "models": list(runs),
        "inter_similarity": inter_similarity(E_by_model).tolist(),
        "inter_similarity_with_self": inter_similarity(E_by_model, exclude_self=False).tolist(),
        "source_overlap_curve": np.mean(curves, axis=0).tolist(),
        "histograms": [None if one is None else one.tolist() for one in histograms],
        "mean_histogram": np.mean(known, axis=0).tolist() if known else None,
    }
    asked_rows = [{"id": row["id"], "prompt": row["prompt"]} for row in first.rows]
    return protocol_report(
        f"hivemind-models@1-{_short(embedder)}",
        Run(first.path, {}, asked_rows),
        [{"source_overlap": float(curve[-1])} for curve in curves],
        details=[{"source_overlap_curve": curve.tolist()} for curve in curves],
        extra=extra,
        config=_identity(embedder) | {"runs": [str(run.path) for run in runs.values()]},
    )


def embed_models(runs: Mapping[str, Run], *, embedder: Embedder) -> list[list[Floats]]:
    """Embed the answers of several models to the same prompts.

    Args:
        runs: Name of each model and its run.
        embedder: From texts to rows of length 1; it sees every answer, blank ones too.

    Returns:
        For each model and each prompt, in the order of the first run, the rows (n, d) of its
        answers.

    Raises:
        ValueError: There are fewer than two runs, or their prompts are not the same.
    """
    if len(runs) < 2:
        raise ValueError(f"need the runs of two or more models, got {len(runs)}")
    questions = {name: {row["id"]: row["prompt"] for row in run.rows} for name, run in runs.items()}
    first_name, first = next(iter(runs.items()))
    for name, asked in questions.items():
        if asked != questions[first_name]:
            raise ValueError(f"the runs {first_name} and {name} hold different prompts")
    E_by_model = []
    for run in runs.values():
        of_row = dict(zip([row["id"] for row in run.rows], _embedded(run, embedder), strict=True))
        E_by_model.append([of_row[row["id"]] for row in first.rows])
    return E_by_model


def intra_histograms(E_by_model: Sequence[Sequence[Floats]]) -> list[Floats | None]:
    """Return for each model the histogram of `intra_similarity` over its prompts, in percent.

    Args:
        E_by_model: As `embed_models` gives them.

    Returns:
        One histogram (10,) a model, over the prompts with two answers or more; None where there is
        none.
    """
    found: list[Floats | None] = []
    for own in E_by_model:
        values = [intra_similarity(E) for E in own if len(E) > 1]
        found.append(similarity_histogram(values) if values else None)
    return found


def overlap_curves(E_by_model: Sequence[Sequence[Floats]], *, nearest: int) -> list[Floats]:
    """Count for each prompt the models near an answer: `source_overlap` over all of its answers.

    Args:
        E_by_model: As `embed_models` gives them.
        nearest: Largest N, less than there are answers to any prompt.

    Returns:
        One curve (nearest,) a prompt.

    Raises:
        ValueError: `nearest` does not fit.
    """
    return [
        source_overlap(
            np.concatenate(own),
            np.repeat(range(len(own)), [len(E) for E in own]).tolist(),
            nearest=nearest,
        )
        for own in zip(*E_by_model, strict=True)
    ]


def score_paraphrases_minilm(
    run: Run,
    *,
    embedder: Embedder | None = None,
    device: str | None = None,
    column: str = "paraphrase_of",
) -> ProtocolReport:
    """Score by `hivemind-paraphrases@1-minilm`: does another wording bring other answers?

    Args:
        run: As for `score_paraphrases`.
        embedder: all-MiniLM-L6-v2, if it is loaded already.
        device: Where it is loaded, if none is given.
        column: As for `score_paraphrases`.

    Raises:
        ValueError: The embedder is another one: its numbers need another name
            (`score_paraphrases`).
    """
    return score_paraphrases(run, embedder=minilm(embedder, device), column=column)


def score_paraphrases(
    run: Run, *, embedder: Embedder, column: str = "paraphrase_of"
) -> ProtocolReport:
    """Compare answers to one wording of each question with answers to its other wordings.

    Args:
        run: One row for each wording; the protocol has five, of 30 questions, and 20 answers each.
        embedder: From texts to rows of length 1.
        column: The id of the question, text or a number; a row without it is a question itself.

    Returns:
        A report with one row a question, named by its first wording: `within`, `across`, and their
        `difference`, whose standard error is the paired one. All are None where the question has
        one wording only, or one answer to a wording.

    Raises:
        ValueError: The column names a question by something else.
    """
    wordings: dict[str, list[int]] = {}
    for number, row in enumerate(run.rows):
        wordings.setdefault(_question_of(row, column), []).append(number)
    rows = _embedded(run, embedder)
    values: list[dict[str, float | None]] = []
    for numbers in wordings.values():
        whole = len(numbers) > 1 and all(len(rows[number]) > 1 for number in numbers)
        found = paraphrase_similarity([rows[number] for number in numbers]) if whole else None
        if found is None:
            values.append({"within": None, "across": None, "difference": None})
        else:
            values.append(found._asdict() | {"difference": found.within - found.across})
    asked = [run.rows[numbers[0]] | {"id": name} for name, numbers in wordings.items()]
    told = departures(run, samples=PARAPHRASE_SAMPLES, samplings=[TOP_P, MIN_P])
    if len(wordings) != PARAPHRASED:
        told.insert(0, f"{len(wordings)} questions instead of {PARAPHRASED}")
    if other := sum(len(numbers) != WORDINGS for numbers in wordings.values()):
        told.insert(0, f"other than {WORDINGS} wordings of {other} questions")
    return protocol_report(
        f"hivemind-paraphrases@1-{_short(embedder)}",
        Run(run.path, run.settings, asked),
        values,
        details=[{"wordings": len(numbers)} for numbers in wordings.values()],
        config=_identity(embedder),
        departures=told,
    )


def _question_of(row: Mapping[str, Any], column: str) -> str:
    """Return the id of the question that a row words: its own, where the column is empty."""
    named = row.get(column)
    question = None if named == "" else row_id(named, f"prompt {row['id']!r}, column {column!r}")
    return str(row["id"]) if question is None else question


def _embedded(run: Run, embedder: Embedder) -> list[Floats]:
    """Embed all answers of a run in one call, and cut the rows by prompt."""
    texts = [text for row in run.rows for text in row["generations"]]
    ends = np.cumsum([len(row["generations"]) for row in run.rows])[:-1]
    return np.split(np.asarray(embedder(texts), dtype=np.float64), ends)


def _identity(embedder: Embedder) -> dict[str, Any]:
    return {"embedder": {"name": embedder.name, "revision": embedder.revision}}


def _short(embedder: Embedder) -> str:
    return "minilm" if embedder.name == MINILM else embedder.name
