"""The `diversify` command: answers to a prompt or to many, reports, verdicts, thresholds."""

from __future__ import annotations

import argparse
import json
import logging
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diversify import __version__

if TYPE_CHECKING:
    from diversify.decoding import SamplingChain, Strategy
    from diversify.engines import Engine, Sampling
    from diversify.equivalence import Calibration
    from diversify.evaluation import Comparison, Report
    from diversify.models import LoadedModel
    from diversify.quality import Quality

# Heavy imports live inside the commands: `diversify --help` answers at once.

QUALITIES = ("likelihood", "information", "relevance", "answers", "judge")
STRATEGIES = (
    *("direct", "in-context", "verbalized", "stratified", "titles-first", "diverge"),
    *("specifications", "personas", "paraphrases", "over-generate", "until-seen"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code: 0, 1 for a failure, 130 for Ctrl-C."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except KeyboardInterrupt:
        print("\nstopped; what was written is kept, the same command continues it", file=sys.stderr)
        return 130
    except (ValueError, OSError, ImportError) as error:
        # One sentence for the person; the traceback only for those who ask for it.
        if options.traceback:
            raise
        print(f"diversify: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="diversify", description=__doc__)
    parser.add_argument("--version", action="version", version=f"diversify {__version__}")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    commands = parser.add_subparsers(required=True, metavar="command")
    _add_answers(commands)
    _add_generate(commands)
    _add_evaluate(commands)
    _add_compare(commands)
    _add_report(commands)
    _add_prompts(commands)
    _add_calibrate(commands)
    _add_interpolate(commands)
    return parser


def _command(
    commands: Any, name: str, function: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(command=function)
    return parser


def _add_answers(commands: Any) -> None:
    text = "give different good answers to one prompt, with what was tried, kept and dropped"
    parser = _command(commands, "answers", _answers, text)
    parser.add_argument("prompt", help="what to ask")
    _add_drawing(parser, samples=5, strategy="over-generate")
    parser.set_defaults(quality="own")


def _add_generate(commands: Any) -> None:
    parser = _command(commands, "generate", _generate, "draw answers into a run folder")
    add = parser.add_argument
    add("--prompts", default="open-ended", help="prompt set or file (see `diversify prompts`)")
    add("--column", default="prompt", help="column of a prompt file that holds the prompt")
    add("--split", help="train or test; all rows if not given")
    add("--limit", type=int, help="at most so many prompts, spread over the set")
    _add_drawing(parser, samples=16, strategy="direct")
    add("--output", required=True, help="run folder; an interrupted run is continued")


def _add_drawing(parser: argparse.ArgumentParser, *, samples: int, strategy: str) -> None:
    """Add what says who answers, how the answers are asked for and how they are sampled."""
    add = parser.add_argument
    add("--model", required=True, help="hub id, local path, adapter folder or embedded model")
    add("--adapter", help="PEFT adapter put on the model: folder or hub id")
    add("--revision", help="hub revision of the model")
    add("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    add("--samples", type=int, default=samples, help="answers a prompt")
    add(
        "--strategy",
        type=_strategy_name,
        default=strategy,
        help=f"how the answers are asked for: {', '.join(STRATEGIES)}; over-generate, until-seen and "
        "diverge go around another: over-generate+stratified",
    )
    add(
        "--with",
        dest="strategy_options",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="options of the strategy, as in Python: per_call=10 variant=cot; lists that cannot be "
        "read are filled up plainly unless fill=false",
    )
    add("--factor", type=float, help="over-generate: candidates per answer kept (4)")
    _add_scoring(parser)
    add("--temperature", type=float, default=1.0)
    add("--top-p", type=float, default=1.0)
    add("--top-k", type=int, default=0, help="0 keeps all tokens")
    add("--min-p", type=float)
    add("--sampler", help='all samplers in order, e.g. "temperature=0.8,top_n_sigma,xtc=0.1:0.5"')
    add("--max-tokens", type=int, default=512)
    add("--seed", type=int, default=0)


def _strategy_name(text: str) -> str:
    from diversify.decoding.strategies import strategy_parts

    try:
        strategy_parts(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _add_scoring(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--embedder", default="minilm", help="minilm, a sentence-transformers id or path, or none")
    add(
        "--quality",
        default="",
        help=f"comma-separated: {', '.join(QUALITIES)}, or a reward model id; of a strategy that "
        "gates also own: the information from the prompt under the model itself",
    )
    add("--judge-model", help="chat model that judges (quality judge)")
    add("--judge-url", help="address of its OpenAI-compatible server, up to /v1")
    add("--reference", help="frozen model for likelihood and information, normally the base model")
    add("--device", help="cpu, cuda, …; chosen if not given")


def _add_evaluate(commands: Any) -> None:
    parser = _command(commands, "evaluate", _evaluate, "score run folders into reports")
    parser.add_argument("runs", nargs="+", help="run folders or generations files")
    _add_scoring(parser)
    parser.add_argument("--output", help="report folder (only with one run); the run folder itself")


def _add_pair(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("before", help="report folder of the base model")
    add("after", help="report folder of the changed model")
    add("--sweep", nargs="*", default=[], help="reports of the base model at several temperatures")
    add("--trained-kernel", help="kernel that training optimised; the first one if not given")
    add(
        "--margin", action="append", default=[], metavar="QUALITY=VALUE", help="margin of a quality"
    )
    add("--deciding", nargs="+", help="qualities that the verdict rests on; all if not given")
    add("--resamples", type=int, default=10_000)
    add("--seed", type=int, default=0)


def _add_compare(commands: Any) -> None:
    parser = _command(commands, "compare", _compare, "compare two reports and print the verdict")
    _add_pair(parser)
    parser.add_argument("--output", help="folder for comparison.json")
    parser.add_argument(
        "--fail-unless",
        default="",
        help="exit with 3 unless these verdicts are true: collapse_fell, quality_held, beats_temperature",
    )


def _add_report(commands: Any) -> None:
    parser = _command(commands, "report", _report, "compare two reports into one HTML page")
    _add_pair(parser)
    parser.add_argument("--also", nargs="*", default=[], help="further reports against `before`")
    parser.add_argument("--title", help="heading of the page")
    parser.add_argument("--output", default="report.html", help="the page to write")


def _add_prompts(commands: Any) -> None:
    parser = _command(commands, "prompts", _prompts, "list the prompt sets, or show one")
    parser.add_argument("name", nargs="?", help="set or file to show")
    parser.add_argument("--split", help="train or test")


def _add_calibrate(commands: Any) -> None:
    text = "find the threshold from which two texts are the same, from labelled pairs"
    parser = _command(commands, "calibrate", _calibrate, text)
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


def _add_interpolate(commands: Any) -> None:
    text = "write the model that lies part of the way from a base to its tuned model (WiSE-FT)"
    add = _command(commands, "interpolate", _interpolate, text).add_argument
    add("tuned", help="folder of a LoRA adapter or of a whole model")
    add("--alpha", type=float, required=True, help="0 is the base, 1 the tuned model")
    add("--base", help="folder of the base, where the tuned one is a whole model")
    add("--output", required=True, help="folder to write")


def _answers(options: argparse.Namespace) -> int:
    from diversify.decoding import different

    sampling = _sampling(options)
    _check_strategy(options)
    model, engine = _engine(options, sampling)
    strategy = _strategy(options, model)
    found = different(
        options.prompt, options.samples, model=engine, strategy=strategy, sampling=sampling
    )
    for number, text in enumerate(found, start=1):
        print(f"{number}. {text}\n")
    print(found.table())
    return 0


def _generate(options: argparse.Namespace) -> int:
    from diversify.evaluation import generate, load_prompts

    # Options are checked before a model is loaded: a typo must not cost a minute.
    prompts = load_prompts(
        options.prompts, split=options.split, column=options.column, limit=options.limit
    )
    sampling = _sampling(options)
    _check_strategy(options)
    model, engine = _engine(options, sampling)
    run = generate(
        engine,
        prompts,
        options.samples,
        strategy=_strategy(options, model),
        sampling=sampling,
        output=options.output,
        progress=progress_line(),
    )
    print(f"{len(run.rows)} prompts, {options.samples} answers each, in {run.path}")
    return 0


def _sampling(options: argparse.Namespace) -> Sampling:
    from diversify.engines import Sampling

    return Sampling(
        temperature=options.temperature,
        top_p=options.top_p,
        top_k=options.top_k,
        min_p=options.min_p,
        max_tokens=options.max_tokens,
        seed=options.seed,
    )


def _engine(options: argparse.Namespace, sampling: Sampling) -> tuple[LoadedModel, Engine]:
    from diversify.engines.transformers import TransformersEngine
    from diversify.models import load_model

    sampler = _sampler(options, sampling)
    model = load_model(
        options.model, revision=options.revision, dtype=options.dtype, device=options.device
    )
    if sampler is not None:
        sampler = sampler.for_tokenizer(model.tokenizer)
        print(sampler)
    return model, TransformersEngine(model, adapter=options.adapter, decoder=sampler)


def _sampler(options: argparse.Namespace, sampling: Sampling) -> SamplingChain | None:
    from diversify.decoding import SamplingChain

    if options.sampler is None:
        return None
    sampler = SamplingChain.parse(options.sampler)
    sampler.check_sampling(sampling)
    return sampler


def _check_strategy(options: argparse.Namespace) -> None:
    """Refuse impossible options of a strategy, before anything is loaded."""
    from diversify.decoding import build_strategy
    from diversify.decoding.strategies import strategy_parts
    from diversify.kernels import NgramKernel

    build_strategy(options.strategy, _strategy_options(options), kernel=NgramKernel)
    if options.quality not in ("", "own"):
        if "over-generate" not in strategy_parts(options.strategy):
            raise ValueError(f"--quality goes with over-generate, not with {options.strategy}")
        _qualities(options)


def _strategy(options: argparse.Namespace, model: LoadedModel) -> Strategy:
    from diversify.decoding import build_strategy
    from diversify.embedders import load_embedder
    from diversify.kernels import EmbeddingKernel, Kernel, NgramKernel
    from diversify.quality import PromptInformation, ReferenceLikelihood

    def kernel() -> Kernel:
        if options.embedder == "none":
            return NgramKernel()
        return EmbeddingKernel(load_embedder(options.embedder, device=options.device))

    def quality() -> dict[str, Quality]:
        if options.quality != "own":
            return _qualities(options)
        own = PromptInformation(ReferenceLikelihood(model))
        return {own.name: own}

    return build_strategy(
        options.strategy, _strategy_options(options), kernel=kernel, quality=quality
    )


def _strategy_options(options: argparse.Namespace) -> dict[str, Any]:
    from diversify.decoding.strategies import read_options, strategy_parts

    given: dict[str, Any] = {}
    if "verbalized" in strategy_parts(options.strategy):
        given["fill"] = True  # a run folder has no place for prompts without answers
    if options.factor is not None:
        given["factor"] = options.factor
    return given | read_options(options.strategy_options)


def _qualities(options: argparse.Namespace) -> dict[str, Quality]:
    from diversify.trainers.components import build_qualities, build_server

    names = [name.strip() for name in options.quality.split(",") if name.strip()]
    if {"likelihood", "information"} & set(names) and not options.reference:
        raise ValueError("likelihood and information need --reference, a frozen model")
    if "relevance" in names and options.embedder == "none":
        raise ValueError("relevance needs an embedder, and --embedder is none")
    return build_qualities(
        names,
        reference=options.reference or "",
        embedder=options.embedder,
        device=options.device,
        server=build_server(options.judge_model, options.judge_url),
    )


def _evaluate(options: argparse.Namespace) -> int:
    from diversify.embedders import load_embedder
    from diversify.evaluation import evaluate, load_run

    if options.output and len(options.runs) > 1:
        raise ValueError("--output goes with one run; each run's report lands in its own folder")
    runs = [load_run(path) for path in options.runs]
    embedder = (
        None
        if options.embedder == "none"
        else load_embedder(options.embedder, device=options.device)
    )
    qualities = list(_qualities(options).values())
    for run in runs:
        report = evaluate(run, embedder=embedder, quality=qualities)
        folder = options.output or (run.path if run.path.is_dir() else run.path.parent)
        print(f"{report.save(folder)}\n{report_table(report)}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    asked = [name.strip() for name in options.fail_unless.split(",") if name.strip()]
    known = ("collapse_fell", "quality_held", "beats_temperature")
    if unknown := [name for name in asked if name not in known]:
        raise ValueError(f"--fail-unless knows {', '.join(known)}, not {', '.join(unknown)}")
    comparison = _comparison(options, options.after)
    print(verdict_table(comparison))
    if options.output:
        print(comparison.save(options.output))
    return 0 if all(comparison.verdict[name] is True for name in asked) else 3


def _report(options: argparse.Namespace) -> int:
    from diversify.evaluation.report import write_report

    comparison = _comparison(options, options.after)
    also = [_comparison(options, path) for path in options.also]
    named = {other.labels[1]: other for other in also}
    print(write_report(comparison, options.output, title=options.title, also=named))
    return 0


def _comparison(options: argparse.Namespace, after: str) -> Comparison:
    from diversify.evaluation import compare

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
        trained_kernel=options.trained_kernel,
        margins=margins,
        deciding=options.deciding,
        resamples=options.resamples,
        seed=options.seed,
    )
    comparison.details["commands"] = shlex.join(["diversify", *sys.argv[1:]])
    return comparison


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


def _interpolate(options: argparse.Namespace) -> int:
    from diversify.trainers.interpolate import interpolate

    print(interpolate(options.tuned, options.output, alpha=options.alpha, base=options.base))
    return 0


def progress_line(stream: Any = None) -> Callable[[str, int, int, float], None]:
    """Return a progress function that says how much is done and how long it will still take."""
    stream = stream or sys.stderr
    begun: dict[str, tuple[int, float]] = {}

    def show(name: str, done: int, total: int, seconds: float) -> None:
        first, _ = begun.setdefault(name, (done - 1, time.monotonic()))
        left = seconds / max(done - first, 1) * (total - done)
        end = "\n" if done == total or not stream.isatty() else ""
        start = "\r" if stream.isatty() else ""
        print(f"{start}{name}: {done}/{total} prompts, {clock(left)} left   ", end=end, file=stream)
        stream.flush()

    return show


def clock(seconds: float) -> str:
    """Return a duration as minutes and seconds.

    >>> clock(75.4)
    '1:15'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def report_table(report: Report) -> str:
    """Return the main numbers of one report as aligned text."""
    (results,) = report.summary["results"].values()
    rows = []
    for name, value in results.items():
        if "_stderr," in name or value is None:
            continue
        kind, _, rest = name.partition(",")
        error = results.get(f"{kind}_stderr,{rest}")
        rows.append((name, f"{value:.3f}", "" if error is None else f"± {error:.3f}"))
    return _aligned([("", "mean", "std. error"), *rows])


def verdict_table(comparison: Comparison) -> str:
    """Return the comparison as a short table and the verdict in words."""
    matched = {f"{name} (equal length)": c for name, c in comparison.length_matched.items()}
    rows = [("", "before", "after", "difference", "95 % interval", "improved")]
    for name, change in (comparison.measures | matched | comparison.qualities).items():
        low, high = change.ci95
        numbers = f"{change.before:.3f}", f"{change.after:.3f}", f"{change.difference:+.3f}"
        rows.append((name, *numbers, f"[{low:+.3f}, {high:+.3f}]", f"{change.improved:.0%}"))
    answers = {True: "yes", False: "no", None: "cannot be said"}
    lines = [f"before: {comparison.labels[0]}", f"after:  {comparison.labels[1]}"]
    lines += ["", _aligned(rows), ""]
    for name, reason in comparison.verdict["reasons"].items():
        lines.append(f"{name.replace('_', ' ')}: {answers[comparison.verdict[name]]}. {reason}")
    return "\n".join(lines)


def calibration_table(calibration: Calibration) -> str:
    """Return a threshold with its errors as aligned text."""
    rows = [("", "on these pairs", "held out", "95 % interval")]
    for name, text in (
        ("false_same", "different, called the same"),
        ("false_different", "the same, called different"),
        ("error", "wrong, of all"),
    ):
        fitted, held_out = getattr(calibration.fitted, name), getattr(calibration.held_out, name)
        interval = f"[{held_out.low:.3f}, {held_out.high:.3f}]"
        rows.append((text, f"{fitted.value:.3f}", f"{held_out.value:.3f}", interval))
    balanced = calibration.fitted.balanced, calibration.held_out.balanced
    fitted_text, held_out_text = (f"{value:.3f}" for value in balanced)
    rows.append(("mean of the first two", fitted_text, held_out_text, ""))
    of = f"{calibration.pairs} pairs, {calibration.same} of them the same"
    return f"threshold {calibration.threshold:.4f}, from {of}\n\n{_aligned(rows)}"


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
