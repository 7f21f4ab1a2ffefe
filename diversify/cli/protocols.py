"""Benchmarks by their own rules: `score`, and how `generate` draws for one."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diversify.cli.checks import at_least, result_folders
from diversify.cli.parsing import add_command
from diversify.cli.tables import aligned, protocol_table

if TYPE_CHECKING:
    from diversify.evaluation.protocol_report import ProtocolReport

__all__ = ["PROTOCOLS", "SETTINGS", "add_score", "add_settings"]

PROTOCOLS = (
    *("noveltybench@1.0-classifier", "noveltybench@1.0-surrogate", "noveltybench@1.1"),
    *("hivemind@1-minilm", "hivemind-paraphrases@1-minilm", "enumerable@1"),
)
SETTINGS = ("hivemind@1-top-p", "hivemind@1-min-p", "noveltybench@1.0", "noveltybench@1.1")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the option that sets prompts, answers a prompt and sampling as a benchmark asks."""
    parser.add_argument(
        "--protocol",
        choices=SETTINGS,
        action=_Settings,
        help="prompts, samples and sampling as a benchmark asks; give it first, options that follow "
        "change what it set",
    )


class _Settings(argparse.Action):
    """Sets other options to a protocol's; those that were given before it are refused."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        from diversify.evaluation.protocols import SETTINGS

        asked = SETTINGS[values]
        wanted = {"prompts": asked.prompts, "samples": asked.samples} | asdict(asked.sampling)
        del wanted["seed"]
        setattr(namespace, self.dest, values)
        for name, value in wanted.items():
            if getattr(namespace, name) != parser.get_default(name):
                flag = f"--{name.replace('_', '-')}"
                parser.error(f"{flag} came before --protocol, which sets it: give --protocol first")
            setattr(namespace, name, value)


def add_score(commands: Any) -> None:
    """Add the command that scores runs by a benchmark's protocol."""
    text = "score runs by a benchmark, by the rules of one of its versions"
    add = add_command(commands, "score", _score, text).add_argument
    add("runs", nargs="+", help="run folders or generations files")
    add("--protocol", required=True, choices=PROTOCOLS)
    add(
        "--leaderboard",
        action="store_true",
        help="noveltybench: join two runs of one model, CURATED then WILDCHAT, as its leaderboard "
        "does; needs --output",
    )
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
    add("--grader-model", help="noveltybench@1.1: grades in the place of the judge that sorts")
    add("--grader-url", help="address of its server")
    add(
        "--column",
        help="enumerable@1: column of the rows with the list of right answers; "
        "hivemind-paraphrases@1-minilm: that with the id of the question",
    )
    add(
        "--seed",
        type=at_least(0),
        help="hivemind@1-minilm: of the pairs of answers to different prompts",
    )
    add("--device", help="cpu, cuda, …; chosen if not given")
    add("--output", help="folder for the results; the run's own if not given")


def _score(options: argparse.Namespace) -> int:
    from diversify.evaluation.generate import load_run
    from diversify.evaluation.protocols import score_protocol
    from diversify.evaluation.protocols.leaderboard import leaderboard

    _check(options)
    folders = _folders(options)
    runs = [load_run(path) for path in options.runs]
    given = _given(options)
    reports = [score_protocol(run, options.protocol, **given) for run in runs]
    for path, report in zip(options.runs, reports, strict=True):
        print("\n".join([protocol_table(report), *_more(report)]))
        print(report.save(folders[path]))
    if options.leaderboard:
        joined = leaderboard(*reports)
        print(protocol_table(joined))
        print(joined.save(options.output))
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse impossible options before anything is loaded."""
    if options.leaderboard:
        if len(options.runs) != 2 or not options.output:
            raise ValueError("--leaderboard needs two runs, CURATED WILDCHAT, and --output")
        if not options.protocol.startswith("noveltybench@"):
            raise ValueError(f"--leaderboard is NoveltyBench's, not that of {options.protocol}")
    elif options.output and len(options.runs) > 1:
        raise ValueError("--output goes with one run; each run's results land in its own folder")


def _more(report: ProtocolReport) -> list[str]:
    """Return what a table of means has no place for: histograms, and agreement on classes."""
    results, answers = report.summary["results"], report.summary["answers"]
    lines = []
    for kind, told in (("blank", "blank"), ("truncated", "cut off at the token limit")):
        if answers[kind]:
            lines.append(f"{answers[kind]} of {answers['number']} answers are {told}")
    if results.get("histogram"):
        floor = results["random_histogram"] or [None] * 10
        rows = [("similarity", "prompts", "different prompts")]
        for tenth, (share, random) in enumerate(zip(results["histogram"], floor, strict=True)):
            shown = "" if random is None else f"{random:.0f} %"
            rows.append((f"{tenth / 10:.1f} to {(tenth + 1) / 10:.1f}", f"{share:.0f} %", shown))
        lines += ["", aligned(rows), ""]
    if found := results.get("recorded_partition"):
        ranks = [f"{name.capitalize()} {_rank(found[name])}" for name in ("spearman", "kendall")]
        lines += [
            "",
            f"against the classes recorded for {found['prompts']} prompts: {', '.join(ranks)}; mean "
            f"{found['mean']:.2f} for {found['other_mean']:.2f}; the same number for "
            f"{found['equal']:.0%}",
        ]
    return lines


def _rank(found: Any) -> str:
    if found["value"] is None:
        return "none"
    interval = "" if found["ci95"] is None else " [{:.2f}, {:.2f}]".format(*found["ci95"])
    return f"{found['value']:.2f}{interval}"


def _folders(options: argparse.Namespace) -> dict[str, Path]:
    """Return where the results of every run go; with a leaderboard `--output` is that of the joint ones."""
    from diversify.evaluation.protocol_report import SCORES, SUMMARY

    own = options.protocol.replace("/", "-")
    output = options.output if len(options.runs) == 1 else None
    written = [f"{own}/{name}" for name in (SCORES, SUMMARY)]
    return result_folders(options.runs, output, written=written)


def _given(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of the protocol that were given, built."""
    given: dict[str, Any] = {}
    for name in ("device", "column", "thresholds", "seed"):
        if getattr(options, name) is not None:
            given[name] = getattr(options, name)
    if options.reward_model is not None:
        from diversify.quality import RewardModel

        given["quality"] = RewardModel(options.reward_model, device=options.device)
    judges = (options.judge_model, options.judge_url, options.grader_model, options.grader_url)
    if any(judges) or options.protocol == "noveltybench@1.1":
        from diversify.trainers.components import build_server

        given["server"] = build_server(options.judge_model, options.judge_url)
        if given["server"] is None:
            raise ValueError(f"{options.protocol} needs --judge-model and --judge-url")
        if grader := build_server(options.grader_model, options.grader_url):
            given["grader"] = grader
    return given
