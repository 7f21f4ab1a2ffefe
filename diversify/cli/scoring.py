"""Reports, verdicts and pages: `evaluate`, `compare`, `report` and `prompts`."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from typing import TYPE_CHECKING, Any

from diversify.cli.checks import at_least, check_file_to_write, result_folders
from diversify.cli.parsing import add_command
from diversify.cli.processes import device_of, launched_shard
from diversify.cli.tables import report_table, verdict_table

if TYPE_CHECKING:
    from diversify.evaluation import Comparison
    from diversify.kernels import EmbeddingKernel
    from diversify.quality import Quality

__all__ = [
    "add_compare",
    "add_evaluate",
    "add_prompts",
    "add_report",
    "add_scoring",
    "qualities_of",
]

QUALITIES = (
    *("likelihood", "information", "relevance", "relevance_rank", "answers", "constraints"),
    *("all_constraints", "judge"),
)


def add_scoring(parser: argparse.ArgumentParser) -> None:
    """Add what compares texts and what scores them."""
    add = parser.add_argument
    add("--embedder", default="minilm", help="minilm, a sentence-transformers id or path, or none")
    add(
        "--quality",
        default="",
        help=f"comma-separated: {', '.join(QUALITIES)}, or a reward model id; of a strategy that "
        "gates also own, the information from the prompt under the model itself, and auto: own where "
        "the model runs here",
    )
    add(
        "--constraint",
        action="append",
        nargs="+",
        default=[],
        metavar=("ID", "NAME=VALUE"),
        help="constraint of every prompt, as in IFEval (qualities constraints and all_constraints): "
        'length_constraints:number_words num_words=50 relation="at most"; may come several times',
    )
    add("--judge-model", help="chat model that judges (quality judge)")
    add("--judge-url", help="address of its OpenAI-compatible server, up to /v1")
    add("--reference", help="frozen model for likelihood and information, normally the base model")
    add("--device", help="cpu, cuda, …; chosen if not given")


def qualities_of(options: argparse.Namespace) -> dict[str, Quality]:
    """Build the qualities that were asked for, by name."""
    from diversify.trainers.components import build_qualities, build_server

    names = [name.strip() for name in options.quality.split(",") if name.strip()]
    if {"likelihood", "information"} & set(names) and not options.reference:
        raise ValueError("likelihood and information need --reference, a frozen model")
    if {"relevance", "relevance_rank"} & set(names) and options.embedder == "none":
        raise ValueError("relevance needs an embedder, and --embedder is none")
    return build_qualities(
        names,
        reference=options.reference or "",
        embedder=options.embedder,
        device=options.device,
        server=build_server(options.judge_model, options.judge_url),
        constraints=[_constraint(*parts) for parts in options.constraint],
    )


def _constraint(name: str, *arguments: str) -> dict[str, Any]:
    """Read a constraint; a value is JSON where it can be read as such, and text where not."""
    read: dict[str, Any] = {"id": name}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not key or key in read:
            raise ValueError(f"an argument of a constraint is NAME=VALUE, each once: {argument!r}")
        try:
            read[key] = json.loads(value)
        except ValueError:
            read[key] = value
    return read


def add_evaluate(commands: Any) -> None:
    """Add the command that scores run folders."""
    parser = add_command(commands, "evaluate", _evaluate, "score run folders into reports")
    parser.add_argument("runs", nargs="+", help="run folders or generations files")
    add_scoring(parser)
    parser.add_argument(
        "--measures",
        default="",
        help="further measures beside the standard ones, comma-separated: semantic_entropy, "
        "chao_shen_entropy, effective_classes, unseen_mass, coverage@K and vendi@K (different "
        "answers among K, and their effective number)",
    )
    parser.add_argument("--output", help="report folder (only with one run); the run folder itself")


def _evaluate(options: argparse.Namespace) -> int:
    from diversify.embedders import load_embedder
    from diversify.evaluation import evaluate, load_run
    from diversify.evaluation.reports import REPORT, SAMPLES
    from diversify.evaluation.richness import measures_named
    from diversify.measures import MEASURES

    if options.output and len(options.runs) > 1:
        raise ValueError("--output goes with one run; each run's report lands in its own folder")
    folders = result_folders(options.runs, options.output, written=(REPORT, SAMPLES))
    further = [name.strip() for name in options.measures.split(",") if name.strip()]
    measures = MEASURES | measures_named(further)
    # Several processes divide the runs, each with a report of its own; nobody waits for anybody.
    own = launched_shard().of(options.runs)
    runs = [load_run(path) for path in own]
    if not runs:
        return 0
    options.device = device_of(options)
    embedder = (
        None
        if options.embedder == "none"
        else load_embedder(options.embedder, device=options.device)
    )
    qualities = list(qualities_of(options).values())
    for path, run in zip(own, runs, strict=True):
        report = evaluate(run, embedder=embedder, quality=qualities, measures=measures)
        print(f"{report.save(folders[path])}\n{report_table(report)}")
    return 0


def _add_pair(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("before", help="report folder of the base model")
    add("after", help="report folder of the changed model")
    add("--sweep", nargs="*", default=[], help="reports of the base model at several temperatures")
    add(
        "--after-sweep",
        nargs="*",
        default=[],
        help="reports of the changed model at several temperatures: both models at every quality",
    )
    add("--trained-kernel", help="kernel that training optimised; the first one if not given")
    add(
        "--margin", action="append", default=[], metavar="QUALITY=VALUE", help="margin of a quality"
    )
    add("--deciding", nargs="+", help="qualities that the verdict rests on; all if not given")
    add("--resamples", type=at_least(1), default=10_000)
    add("--seed", type=at_least(0), default=0)
    add(
        "--embedder",
        default="none",
        help="compare at equal length by this one too (minilm, a sentence-transformers id or path), and "
        "not by words alone; in a report it also places the answers on the maps and groups equal ones",
    )
    add("--device", help="where the embedder runs; chosen if not given")


def add_compare(commands: Any) -> None:
    """Add the command that compares two reports."""
    parser = add_command(commands, "compare", _compare, "compare two reports and print the verdict")
    _add_pair(parser)
    parser.add_argument("--output", help="folder for comparison.json")
    parser.add_argument("--markdown", action="store_true", help="print for model cards and CI logs")
    parser.add_argument(
        "--fail-unless",
        default="",
        help="exit with 3 unless these verdicts are true: collapse_fell, quality_held, beats_temperature",
    )


def _compare(options: argparse.Namespace) -> int:
    asked = [name.strip() for name in options.fail_unless.split(",") if name.strip()]
    known = ("collapse_fell", "quality_held", "beats_temperature")
    if unknown := [name for name in asked if name not in known]:
        raise ValueError(f"--fail-unless knows {', '.join(known)}, not {', '.join(unknown)}")
    comparison = _comparison(options, options.after, _embedding_kernel(options))
    if options.markdown:
        from diversify.evaluation import markdown_summary

        print(markdown_summary(comparison))
    else:
        print(verdict_table(comparison))
    if options.output:
        print(comparison.save(options.output))
    return 0 if all(comparison.verdict[name] is True for name in asked) else 3


def add_report(commands: Any) -> None:
    """Add the command that writes the page of a comparison."""
    parser = add_command(commands, "report", _report, "compare two reports into one HTML page")
    _add_pair(parser)
    parser.add_argument("--also", nargs="*", default=[], help="further reports against `before`")
    parser.add_argument("--title", help="heading of the page")
    add = parser.add_argument
    add("--output", default="report.html", help="the page to write")
    add("--figures", metavar="FOLDER", help="every figure as an SVG file, too")


def _report(options: argparse.Namespace) -> int:
    from diversify.evaluation.report import write_figures, write_report
    from diversify.evaluation.wording.apart import further

    check_file_to_write("--output", options.output)
    kernel = _embedding_kernel(options)
    comparison = _comparison(options, options.after, kernel)
    also = [_comparison(options, path, kernel) for path in options.also]
    named = further(comparison, also)
    title = options.title
    print(write_report(comparison, options.output, title=title, also=named, kernel=kernel))
    if options.figures:
        files = write_figures(comparison, options.figures, also=named, kernel=kernel)
        print(f"{len(files)} figures in {options.figures}")
    return 0


def _embedding_kernel(options: argparse.Namespace) -> EmbeddingKernel | None:
    from diversify.embedders import load_embedder
    from diversify.kernels import EmbeddingKernel

    if options.embedder == "none":
        return None
    return EmbeddingKernel(load_embedder(options.embedder, device=options.device))


def _comparison(
    options: argparse.Namespace, after: str, kernel: EmbeddingKernel | None
) -> Comparison:
    from diversify.evaluation import compare
    from diversify.kernels import NgramKernel

    margins = {}
    for text in options.margin:
        name, _, value = text.partition("=")
        try:
            margins[name] = float(value)
        except ValueError as error:
            raise ValueError(f"--margin takes QUALITY=NUMBER, got {text!r}") from error
    comparison = compare(
        options.before,
        after,
        sweep=options.sweep,
        after_sweep=options.after_sweep,
        trained_kernel=options.trained_kernel,
        margins=margins,
        deciding=options.deciding,
        length_kernels=[kernel, NgramKernel(2)] if kernel else None,
        resamples=options.resamples,
        seed=options.seed,
    )
    comparison.details["commands"] = shlex.join(["diversify", *sys.argv[1:]])
    return comparison


def add_prompts(commands: Any) -> None:
    """Add the command that lists prompt sets."""
    parser = add_command(commands, "prompts", _prompts, "list the prompt sets, or show one")
    parser.add_argument("name", nargs="?", help="set or file to show")
    parser.add_argument("--split", help="train or test")


def _prompts(options: argparse.Namespace) -> int:
    from diversify.evaluation.prompt_sets import HUB_SETS, load_prompts, shipped_sets

    if options.name:
        for row in load_prompts(options.name, split=options.split):
            print(json.dumps({"id": row.id, "category": row.category, "prompt": row.prompt}))
        return 0
    for name in shipped_sets():
        prompts = load_prompts(name)
        print(f"{name:24} {len(prompts):5} prompts  {prompts.description}")
    for name, (dataset, _, _) in HUB_SETS.items():
        print(f"{name:24}       on the Hub: {dataset}")
    return 0
