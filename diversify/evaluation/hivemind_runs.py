"""Runs to reports of the Artificial Hivemind protocol: one model, several models, wordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diversify.embedders import Embedder
from diversify.evaluation.generate import Run
from diversify.evaluation.hivemind import (
    MIN_P,
    PARAPHRASE_SAMPLES,
    SAMPLES,
    TOP_P,
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

__all__ = [
    "embed_models",
    "overlap_curves",
    "score_intra",
    "score_minilm",
    "score_models",
    "score_paraphrases",
]

Floats = NDArray[np.float64]


def score_minilm(
    run: Run, *, embedder: Embedder | None = None, device: str | None = None
) -> ProtocolReport:
    """Score by `hivemind@1-minilm`: mean cosine a prompt, and its histogram over prompts.

    Args:
        run: 50 answers a prompt, drawn as `TOP_P` or `MIN_P` says.
        embedder: all-MiniLM-L6-v2, if it is loaded already.
        device: Where it is loaded, if none is given.

    Raises:
        ValueError: The embedder is another one: its numbers need another name (`score_intra`).
    """
    return score_intra(run, embedder=minilm(embedder, device))


def score_intra(run: Run, *, embedder: Embedder) -> ProtocolReport:
    """Score the likeness of the answers to each prompt: `hivemind@1-` and the embedder's name.

    Args:
        run: Two or more answers a prompt; a prompt with one has no value.
        embedder: From texts to rows of length 1; it sees every answer, blank ones too.
    """
    rows = _embedded(run, embedder)
    found = [intra_similarity(E) if len(E) > 1 else None for E in rows]
    scored = [value for value in found if value is not None]
    histogram = similarity_histogram(scored) if scored else None
    extra = {
        "histogram": None if histogram is None else histogram.tolist(),
        "percent_above_0.7": None if histogram is None else float(histogram[7:].sum()),
        "percent_above_0.8": None if histogram is None else float(histogram[8:].sum()),
    }
    return protocol_report(
        f"hivemind@1-{_short(embedder)}",
        run,
        [{"intra_similarity": value} for value in found],
        extra=extra,
        config=_identity(embedder),
        departures=departures(run, samples=SAMPLES, samplings=[TOP_P, MIN_P]),
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
        order of `models`, and the mean `source_overlap` for N = 1 to `nearest`; a curve in each row.

    Raises:
        ValueError: There are fewer than two runs, or their prompts are not the same.
    """
    E_by_model = embed_models(runs, embedder=embedder)
    curves = overlap_curves(E_by_model, nearest=nearest)
    first = next(iter(runs.values()))
    extra = {
        "models": list(runs),
        "inter_similarity": inter_similarity(E_by_model).tolist(),
        "inter_similarity_with_self": inter_similarity(E_by_model, exclude_self=False).tolist(),
        "source_overlap_curve": np.mean(curves, axis=0).tolist(),
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


def score_paraphrases(
    run: Run, *, embedder: Embedder, column: str = "paraphrase_of"
) -> ProtocolReport:
    """Compare answers to one wording of each question with answers to its other wordings.

    Args:
        run: One row for each wording; the protocol has five, of 30 questions, and 20 answers each.
        embedder: From texts to rows of length 1.
        column: The id of the question; a row without it is a question itself.

    Returns:
        A report with one row a question, named by its first wording; `within` and `across` are
        None where it has one wording only, or one answer to a wording.
    """
    wordings: dict[str, list[int]] = {}
    for number, row in enumerate(run.rows):
        wordings.setdefault(str(row.get(column) or row["id"]), []).append(number)
    rows = _embedded(run, embedder)
    values: list[dict[str, float | None]] = []
    for numbers in wordings.values():
        whole = len(numbers) > 1 and all(len(rows[number]) > 1 for number in numbers)
        found = paraphrase_similarity([rows[number] for number in numbers]) if whole else None
        values.append(found._asdict() if found else {"within": None, "across": None})
    asked = [run.rows[numbers[0]] | {"id": name} for name, numbers in wordings.items()]
    return protocol_report(
        f"hivemind-paraphrases@1-{_short(embedder)}",
        Run(run.path, run.settings, asked),
        values,
        details=[{"wordings": len(numbers)} for numbers in wordings.values()],
        config=_identity(embedder),
        departures=departures(run, samples=PARAPHRASE_SAMPLES, samplings=[TOP_P, MIN_P]),
    )


def _embedded(run: Run, embedder: Embedder) -> list[Floats]:
    """Embed all answers of a run in one call, and cut the rows by prompt."""
    texts = [text for row in run.rows for text in row["generations"]]
    ends = np.cumsum([len(row["generations"]) for row in run.rows])[:-1]
    return np.split(np.asarray(embedder(texts), dtype=np.float64), ends)


def _identity(embedder: Embedder) -> dict[str, Any]:
    return {"embedder": {"name": embedder.name, "revision": embedder.revision}}


def _short(embedder: Embedder) -> str:
    return "minilm" if embedder.name == MINILM else embedder.name
