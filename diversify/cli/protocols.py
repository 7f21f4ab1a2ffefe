"""Benchmarks by their own rules: `score`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from diversify.cli.parsing import add_command
from diversify.cli.tables import protocol_table

if TYPE_CHECKING:
    from diversify.evaluation.generate import Run

__all__ = ["PROTOCOLS", "add_score"]

PROTOCOLS = (
    *("noveltybench@1.0-classifier", "noveltybench@1.0-surrogate", "noveltybench@1.1"),
    *("hivemind@1-minilm", "enumerable@1"),
)


def add_score(commands: Any) -> None:
    """Add the command that scores a run by a benchmark's protocol."""
    text = "score a run by a benchmark, by the rules of one of its versions"
    add = add_command(commands, "score", _score, text).add_argument
    add("run", help="run folder or generations file")
    add("--protocol", required=True, choices=PROTOCOLS)
    add("--reward-model", help="noveltybench@1.0: what scores the classes; none, no utility_k")
    add(
        "--thresholds",
        nargs=9,
        type=float,
        metavar="REWARD",
        help="noveltybench@1.0: nine ascending rewards from which the scores 2 to 10 are given; "
        "known for the two Skywork models",
    )
    add("--judge-model", help="noveltybench@1.1: chat model that sorts and grades the answers")
    add("--judge-url", help="address of its OpenAI-compatible server, up to /v1")
    add("--column", help="enumerable@1: column of the rows with the list of right answers")
    add("--device", help="cpu, cuda, …; chosen if not given")
    add("--output", help="folder for the results; the run's own if not given")


def _score(options: argparse.Namespace) -> int:
    from diversify.evaluation.generate import load_run
    from diversify.evaluation.protocols import score_protocol

    run = load_run(options.run)
    report = score_protocol(run, options.protocol, **_given(options))
    print(protocol_table(report))
    print(report.save(options.output or _folder(run)))
    return 0


def _folder(run: Run) -> Any:
    return run.path if run.path.is_dir() else run.path.parent


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of the protocol that were given, built."""
    given: dict[str, Any] = {}
    for name in ("device", "column", "thresholds"):
        if getattr(options, name) is not None:
            given[name] = getattr(options, name)
    if options.reward_model is not None:
        from diversify.quality import RewardModel

        given["quality"] = RewardModel(options.reward_model, device=options.device)
    if options.judge_model or options.judge_url or options.protocol == "noveltybench@1.1":
        from diversify.trainers.components import build_server

        given["server"] = build_server(options.judge_model, options.judge_url)
        if given["server"] is None:
            raise ValueError(f"{options.protocol} needs --judge-model and --judge-url")
    return given
