"""Before and after: one study from the untouched model to the verdict, resumable at any point.

    python eval/before_after.py --config configs/demo/demo.yaml

What happens, in this order:

1. the base model answers the held-out prompts at several temperatures (the baseline to beat);
2. the training commands of the config run, each through `accelerate launch`;
3. the tuned model answers the same prompts, plainly and with one diversity-aware strategy;
   controls (other adapters, trained by their own commands) answer them too;
4. everything is scored, compared and written as `comparison.json` and `report.html`.

Every stage keeps what it has done in the output folder and is passed over when it is complete, so
the same command continues an interrupted study. A training command that has changed is run again
with all that come after it, and a report is made again where other qualities or another embedder
are asked for. Nothing here is a measure: it only calls the
instrument in `diversify.evaluation`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import shlex
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diversify import __version__
from diversify.cli.studies import exit_code, idle_lightly, read_config
from diversify.cli.tables import clock, verdict_table
from diversify.decoding import Direct, OverGenerate
from diversify.embedders import load_embedder
from diversify.engines import Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.evaluation import (
    Comparison,
    Report,
    compare,
    evaluate,
    generate,
    load_prompts,
    load_report,
)
from diversify.evaluation.generate import write_atomically
from diversify.evaluation.report import write_report
from diversify.evaluation.studies.stages import command_digest, launch, scored_as_asked
from diversify.kernels import EmbeddingKernel, Kernel, NgramKernel
from diversify.models import best_device, best_dtype
from diversify.trainers.card import write_card
from diversify.trainers.components import build_qualities


@dataclass(frozen=True)
class Study:
    """The config of a study; every field is a key of the YAML file."""

    output: str
    model: str
    adapter: str
    train: list[list[str]]
    prompts: str
    split: str = "test"
    limit: int | None = None
    samples: int = 16
    max_tokens: int = 40
    temperature: float = 1.0
    sweep: list[float] = field(default_factory=list)
    seed: int = 0
    embedder: str = "minilm"
    qualities: str = "likelihood,information,relevance"
    margins: dict[str, float] = field(default_factory=dict)
    deciding: list[str] | None = None
    trained_kernel: str | None = None
    over_generate: dict[str, Any] = field(default_factory=dict)
    controls: dict[str, dict[str, Any]] = field(default_factory=dict)
    resamples: int = 10_000
    # Seconds that each kind of stage took where the config was written; only their ratio matters,
    # and only for the estimate of the time left.
    seconds: dict[str, float] = field(default_factory=dict)


class Progress:
    """One line that says which stage runs, how far it is, and how long everything will still take."""

    def __init__(self, weights: Sequence[float]) -> None:
        self.weights = list(weights)
        self.stage = -1
        self.name = ""
        self.done_weight = 0.0
        self.skipped = 0.0
        self.started = time.monotonic()
        self.shown = 0.0

    def begin(self, name: str) -> None:
        """Enter the next stage."""
        self.stage += 1
        self.name = name
        self.stage_started = time.monotonic()
        self.show(0.0, "")

    def end(self, *, skipped: bool = False) -> None:
        """Leave the stage; a skipped one says nothing about the speed of this machine."""
        weight = self.weights[self.stage]
        if skipped:
            self.skipped += weight
            self.show(1.0, "already there", final=True)
        else:
            self.done_weight += weight
            self.show(
                1.0, f"{clock(time.monotonic() - self.stage_started)}", final=True, whole=True
            )

    def show(self, share: float, detail: str, *, final: bool = False, whole: bool = False) -> None:
        """Print the line; on a terminal in place, elsewhere at most every 15 seconds."""
        now = time.monotonic()
        if not final and now - self.shown < (0.2 if sys.stdout.isatty() else 15):
            return
        self.shown = now
        left = self._left(0.0 if whole or final else share)
        line = f"[{self.stage + 1}/{len(self.weights)}] {self.name}: {detail or f'{share:.0%}'}"
        line += f" · {clock(now - self.started)} passed"
        if left is not None:
            line += f" · about {clock(left)} left"
        if sys.stdout.isatty():
            print(f"\r\x1b[2K{line}", end="\n" if final else "", flush=True)
        else:
            print(line, flush=True)

    def _left(self, share: float) -> float | None:
        total = sum(self.weights)
        done = self.done_weight + share * self.weights[self.stage] if share else self.done_weight
        if done <= 0:
            # Nothing measured yet: the config's own seconds are the best guess.
            return (total - self.skipped) if total > len(self.weights) else None
        pace = (time.monotonic() - self.started) / done
        return pace * max(total - self.skipped - done, 0.0)


def main() -> int:
    """Run the study named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--config", required=True, help="YAML file with the fields of `Study`")
    parser.add_argument("--output", help="another output folder than the config's")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    idle_lightly()
    return exit_code("before_after", lambda: run(read_study(Path(options.config), options.output)))


def read_study(path: Path, output: str | None) -> Study:
    """Read a config.

    In its strings `{output}` stands for the output folder, `{dtype}` for the number format that
    suits this machine, `{bf16}` for whether that is bfloat16.
    """
    dtype = str(best_dtype(best_device())).removeprefix("torch.")
    given = {} if output is None else {"output": output}
    folder = read_config(path, Study, given=given).output
    places = {"output": folder, "dtype": dtype, "bf16": str(dtype == "bfloat16").lower()}
    return read_config(path, Study, places=places, given={"output": folder})


def run(study: Study) -> Comparison:
    """Run every stage that is not complete yet and return the comparison."""
    folder = Path(study.output)
    folder.mkdir(parents=True, exist_ok=True)
    temperatures = sorted({*study.sweep, study.temperature})
    weights = stage_weights(study, temperatures)
    progress = Progress(weights)
    lab = Laboratory(study, progress)

    before = [lab.answer(f"base-T{t:g}", temperature=t) for t in temperatures]
    lab.train("train", study.train, study.adapter)
    names = ["tuned", *([] if not study.over_generate else ["tuned-over-generate"])]
    lab.answer("tuned", adapter=study.adapter)
    if study.over_generate:
        lab.answer("tuned-over-generate", adapter=study.adapter, over_generate=True)
    for name, control in study.controls.items():
        lab.train(f"train-{name}", control["train"], control["adapter"])
        lab.answer(name, adapter=control["adapter"])
        names.append(name)
    reports = {name: lab.score(name) for name in [*before, *names]}

    base = reports[f"base-T{study.temperature:g}"]
    sweep = [reports[name] for name in before]
    comparisons = {
        name: compare(
            base,
            reports[name],
            sweep=sweep if len(sweep) > 1 else (),
            margins=study.margins,
            deciding=study.deciding,
            trained_kernel=study.trained_kernel,
            length_kernels=lab.kernels,
            resamples=study.resamples,
            seed=study.seed,
        )
        for name in names
    }
    main_comparison = comparisons.pop("tuned")
    for name, other in comparisons.items():
        other.save(folder / name)
    main_comparison.details["commands"] = shlex.join(["python", *sys.argv])
    main_comparison.save(folder)
    write_card(study.adapter, comparison=main_comparison.as_json())
    page = write_report(main_comparison, folder / "report.html", also=comparisons)
    print(f"\n{verdict_table(main_comparison)}\n")
    for name, other in comparisons.items():
        print(summary_line(name, other))
    print(f"\n{folder / 'comparison.json'}\n{page}")
    return main_comparison


def stage_weights(study: Study, temperatures: Sequence[float]) -> list[float]:
    """Return the weight of every stage in the order in which `run` enters them."""
    seconds = study.seconds
    answer, score = seconds.get("answer", 1.0), seconds.get("score", 1.0)
    over = answer * float(study.over_generate.get("factor", 4))
    trained = [seconds.get("train", 1.0)] * len(study.train)
    controls = [
        weight
        for control in study.controls.values()
        for weight in (*[seconds.get("train", 1.0)] * len(control["train"]), answer)
    ]
    answers = [answer, *([over] if study.over_generate else [])]
    scores = [score] * (len(temperatures) + len(answers) + len(study.controls))
    return [*[answer] * len(temperatures), *trained, *answers, *controls, *scores]


class Laboratory:
    """The stages, with the models they share loaded once and only when needed."""

    def __init__(self, study: Study, progress: Progress) -> None:
        self.study = study
        self.progress = progress
        self.prompts = load_prompts(study.prompts, split=study.split, limit=study.limit)
        self.embedder = load_embedder(study.embedder)
        self.kernels: list[Kernel] = [EmbeddingKernel(self.embedder), NgramKernel(2)]
        self._engine: TransformersEngine | None = None
        self._qualities: list[Any] | None = None

    @property
    def engine(self) -> TransformersEngine:
        """The base model; adapters are put on it without a second copy."""
        if self._engine is None:
            self._engine = TransformersEngine(self.study.model)
        return self._engine

    def qualities(self) -> list[Any]:
        """The scorers; the frozen reference is the untouched base model."""
        if self._qualities is None:
            names = self.study.qualities.split(",")
            built = build_qualities(names, reference=self.study.model, embedder=self.study.embedder)
            self._qualities = list(built.values())
        return self._qualities

    def answer(
        self,
        name: str,
        *,
        temperature: float | None = None,
        adapter: str | None = None,
        over_generate: bool = False,
    ) -> str:
        """Draw the answers of one condition into `<output>/<name>`."""
        study = self.study
        self.progress.begin(f"answers, {name}")
        folder = Path(study.output) / name
        ready = (folder / "generations.jsonl").is_file()
        strategy: Any = Direct()
        if over_generate:
            strategy = OverGenerate(kernel=EmbeddingKernel(self.embedder), **self._gate())
        generate(
            self.engine.with_adapter(adapter),
            self.prompts,
            study.samples,
            strategy=strategy,
            sampling=Sampling(
                temperature=study.temperature if temperature is None else temperature,
                max_tokens=study.max_tokens,
                seed=study.seed,
            ),
            output=folder,
            progress=lambda _, done, total, __: self.progress.show(
                done / total, f"{done}/{total} prompts"
            ),
        )
        self.progress.end(skipped=ready)
        return name

    def _gate(self) -> dict[str, Any]:
        """Options of the decoding strategy: `quality` names scorers of the study."""
        options = dict(self.study.over_generate)
        wanted = options.pop("quality", [])
        named = {scorer.name: scorer for scorer in self.qualities()}
        if missing := sorted(set(wanted) - set(named)):
            raise ValueError(f"over_generate.quality names {missing}; there are {sorted(named)}")
        return options | ({"quality": {name: named[name] for name in wanted}} if wanted else {})

    def train(self, name: str, commands: Sequence[Sequence[str]], adapter: str) -> None:
        """Run the training commands, each once for its content, its config's and that of all before."""
        done = Path(self.study.output) / ".done" / name
        if not Path(adapter, "adapter_config.json").is_file():
            shutil.rmtree(done, ignore_errors=True)
        digest = ""
        for number, command in enumerate(commands, start=1):
            label = f"training, {Path(command[0]).stem}" + (f" ({name[6:]})" if name[6:] else "")
            self.progress.begin(label)
            marker = done / f"{number}.sha256"
            digest = command_digest(command, after=digest)
            ready = marker.is_file() and marker.read_text() == digest
            if not ready:
                # What comes after read what this one is about to write, and must not count as done
                # wherever the study is interrupted.
                for later in range(number, len(commands) + 1):
                    (done / f"{later}.sha256").unlink(missing_ok=True)
                log = Path(self.study.output) / "logs" / f"{name}-{number}.log"
                launch(command, log, self.progress.show)
                marker.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(marker, digest)
            self.progress.end(skipped=ready)

    def score(self, name: str) -> Report:
        """Score one condition, or read its report if it is of these answers and what is asked."""
        folder = Path(self.study.output) / name
        self.progress.begin(f"scores, {name}")
        report, answers = folder / "report.json", folder / "generations.jsonl"
        ready = report.is_file() and report.stat().st_mtime_ns > answers.stat().st_mtime_ns
        marker = Path(self.study.output) / ".done" / "scores" / f"{name}.sha256"
        if not (ready and marker.is_file() and marker.read_text() == self._scoring(report)):
            ready = ready and scored_as_asked(folder, self.kernels, self.qualities())
            if not ready:
                marker.unlink(missing_ok=True)
                evaluate(folder, kernels=self.kernels, quality=self.qualities()).save(folder)
            marker.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(marker, self._scoring(report))
        self.progress.end(skipped=ready)
        return load_report(folder)

    def _scoring(self, report: Path) -> str:
        """Return a hash of what scores and of what came of it: no model is loaded to compare it."""
        study = self.study
        asked = [study.model, study.qualities, study.embedder, __version__]
        revisions = [(each.name, str(getattr(each, "revision", ""))) for each in self.kernels]
        told = json.dumps([asked, revisions]).encode()
        return hashlib.sha256(told + report.read_bytes()).hexdigest()


def summary_line(name: str, comparison: Comparison) -> str:
    """Return one line on a further condition against the same base."""
    parts = [
        f"{measure} {change.before:.3f} → {change.after:.3f}"
        for measure, change in comparison.measures.items()
        if measure.startswith(("mean_distance", "vendi"))
    ]
    answers = {True: "yes", False: "no", None: "cannot be said"}
    verdict = ", ".join(
        f"{key.replace('_', ' ')}: {answers[comparison.verdict[key]]}"
        for key in ("collapse_fell", "quality_held", "beats_temperature")
    )
    return f"{name}: {'; '.join(parts)}. {verdict}."


if __name__ == "__main__":
    sys.exit(main())
