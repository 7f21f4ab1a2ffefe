"""Benchmark protocols by name and version: a finished run to a report of one of them.

`score_protocol(run, name, …)` is the one door; `PROTOCOLS` is the list, and `SETTINGS` says how the
answers are drawn. No protocol calls the model that is measured.

What a number means never changes under its name and version: another definition, embedder or judge
is another version. A version may be given further numbers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from diversify.engines import Sampling
from diversify.evaluation import enumerable, hivemind
from diversify.evaluation import noveltybench as nb
from diversify.evaluation.generate import Run, load_run
from diversify.evaluation.protocol_report import ProtocolReport
from diversify.evaluation.protocols.hivemind_runs import score_minilm, score_paraphrases_minilm
from diversify.evaluation.protocols.noveltybench_runs import (
    noveltybench_classifier,
    noveltybench_judged,
    noveltybench_surrogate,
)

__all__ = ["PROTOCOLS", "SETTINGS", "Settings", "score_protocol"]


def score_protocol(run: Run | str | Path, protocol: str, **options: Any) -> ProtocolReport:
    """Score a run by a benchmark protocol.

    Args:
        run: A finished run folder, its path, or a bare generations file.
        protocol: One of `PROTOCOLS`.
        **options: Those of the protocol's own function, such as `embedder`, `quality` or `server`.

    Raises:
        ValueError: There is no such protocol, it has no such option, or the run is unfinished.
    """
    if protocol not in PROTOCOLS:
        raise ValueError(f"no protocol {protocol!r}; the protocols are {', '.join(PROTOCOLS)}")
    scorer = PROTOCOLS[protocol]
    allowed = [name for name in inspect.signature(scorer).parameters if name != "run"]
    if unknown := sorted(options.keys() - set(allowed)):
        raise ValueError(f"{protocol} has no option {', '.join(unknown)}; it has {allowed}")
    return scorer(run if isinstance(run, Run) else load_run(run), **options)


PROTOCOLS: dict[str, Callable[..., ProtocolReport]] = {
    "noveltybench@1.0-classifier": noveltybench_classifier,
    "noveltybench@1.0-surrogate": noveltybench_surrogate,
    "noveltybench@1.1": noveltybench_judged,
    "hivemind@1-minilm": score_minilm,
    "hivemind-paraphrases@1-minilm": score_paraphrases_minilm,
    "enumerable@1": enumerable.score_enumerable,
}
"""Name and version of each protocol, and the function that scores a run by it."""


class Settings(NamedTuple):
    """How a protocol wants answers drawn: the prompt set, answers a prompt, and the sampling."""

    prompts: str
    samples: int
    sampling: Sampling


SETTINGS = {
    "hivemind@1-top-p": Settings("hivemind", hivemind.SAMPLES, hivemind.TOP_P),
    "hivemind@1-min-p": Settings("hivemind", hivemind.SAMPLES, hivemind.MIN_P),
    "noveltybench@1.0": Settings("noveltybench-curated", nb.SAMPLES, nb.SAMPLING_1_0),
    "noveltybench@1.1": Settings("noveltybench-curated", nb.SAMPLES, nb.SAMPLING_1_1),
}
"""How the answers to be scored are drawn, as published: `diversify generate --protocol`."""
