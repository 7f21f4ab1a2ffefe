"""Every training method on one small model, by one budget: against the base and against a control.

    python eval/methods.py --config configs/methods/study.yaml

Each method of the config is trained by its own recipe, answers the held-out questions as the base
model does, and is compared with the base and with the quality-only control of its family, prompt by
prompt. Results go to `results` one by one, and with `--page` into the cells of docs/methods.md that
carry the method's name. Everything is kept in the output folder: the same command continues.

These are short runs of a model of 135 million parameters on questions with a known list of answers.
They show that a method runs, which way it pulls, and how strong its pull is beside its control's;
they say little about what a full run on your model will give.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diversify.cli.studies import add_result, exit_code, idle_lightly, read_config
from diversify.embedders import load_embedder
from diversify.engines import Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.evaluation import Comparison, Report, compare, evaluate, generate, load_prompts
from diversify.evaluation.generate import write_atomically
from diversify.evaluation.reports import load_report
from diversify.evaluation.studies.stages import command_digest, launch, scored_as_asked
from diversify.kernels import EmbeddingKernel, NgramKernel
from diversify.models import best_device, best_dtype
from diversify.trainers.components import build_qualities

SHOWN = {
    "valid_answer": "valid",
    "distinct_valid,answers": "different valid",
    "vendi,ngram-2": "n-gram Vendi",
    "vendi,all-MiniLM-L6-v2": "MiniLM Vendi",
}
"""What a cell of the page shows, and how it is called there."""


@dataclass(frozen=True)
class Study:
    """The config; in its strings `{folder}` is the method's own folder, `{output}` the study's."""

    output: str
    results: str
    page: str
    model: str
    prompts: str
    families: dict[str, dict[str, Any]]
    methods: dict[str, dict[str, Any]]
    shared: list[list[str]] = field(default_factory=list)
    split: str = "test"
    limit: int | None = None
    samples: int = 16
    max_tokens: int = 20
    temperature: float = 0.7
    seed: int = 0
    embedder: str = "minilm"
    qualities: list[str] = field(default_factory=lambda: ["answers", "information"])
    resamples: int = 10_000


def main() -> int:
    """Run the study, or one method of it, or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--config", required=True, help="YAML file with the fields of `Study`")
    parser.add_argument("--only", nargs="*", help="these methods and their controls")
    parser.add_argument("--page", action="store_true", help="write the results into the page, only")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    idle_lightly()

    def work() -> None:
        study = read_study(Path(options.config))
        if not options.page:
            run(study, options.only)
        write_page(Path(study.page), json.loads(Path(study.results).read_text("utf-8")))

    return exit_code("methods", work)


def read_study(path: Path) -> Study:
    """Read a config and check that its names hold together."""
    study = read_config(path, Study)
    for name, method in study.methods.items():
        if method["family"] not in study.families:
            raise ValueError(f"{name}: family must be one of {sorted(study.families)}")
    for name, family in study.families.items():
        if family["control"] not in study.methods:
            raise ValueError(f"{name}: there is no method {family['control']!r} for its control")
    return study


def run(study: Study, only: list[str] | None) -> None:
    """Train, answer and compare; controls first."""
    if only and (unknown := sorted(set(only) - set(study.methods))):
        raise ValueError(f"no methods {unknown}; there are {sorted(study.methods)}")
    wanted = [name for name in study.methods if not only or name in only]
    controls = [study.families[study.methods[name]["family"]]["control"] for name in wanted]
    order = list(dict.fromkeys([*controls, *wanted]))
    lab = Laboratory(study)
    base = lab.report("base", None)
    results = Path(study.results)
    for number, name in enumerate(order, start=1):
        begun = time.monotonic()
        family = study.families[study.methods[name]["family"]]
        adapter, seconds = lab.train(name)
        report = lab.report(name, adapter)
        against = {"base": compare_reports(study, base, report)}
        if name != family["control"]:
            against["control"] = compare_reports(study, lab.report(family["control"], None), report)
        row = result_row(study.methods[name], against, seconds, lab.steps(adapter))
        add_result(results, name, row)
        print(f"[{number}/{len(order)}] {name}: {time.monotonic() - begun:.0f} s. {cell(row)}")
        sys.stdout.flush()


class Laboratory:
    """The stages, with the base model and the scorers loaded once and only when needed."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.output = Path(study.output)
        self.prompts = load_prompts(study.prompts, split=study.split, limit=study.limit)
        self.embedder = load_embedder(study.embedder)
        self._engine: TransformersEngine | None = None
        self._scorers: list[Any] | None = None

    def train(self, name: str) -> tuple[Path, float]:
        """Run the commands of a method that have not been run; return its model and the seconds."""
        study, method = self.study, self.study.methods[name]
        family = study.families[method["family"]]
        folder = self.output / name
        template = method.get("train", family.get("train", []))
        more = method.get("options", [])
        commands = [
            [*command, *map(str, more[i] if i < len(more) else [])]
            for i, command in enumerate(template)
        ]
        digest, seconds = "", 0.0
        for number, command in enumerate(family.get("shared", []), start=1):
            label = f"{method['family']}-shared-{number}"
            _, digest = self._once(label, self._filled(command, folder), after=digest)
        for number, command in enumerate(commands, start=1):
            own, digest = self._once(
                f"{name}-{number}", self._filled(command, folder), after=digest
            )
            seconds += own
        return folder / method.get("model", family.get("model", "model")), seconds

    def report(self, name: str, adapter: Path | None) -> Report:
        """Answer the questions and score the answers, unless that is done already."""
        study, folder = self.study, self.output / name / "answers"
        report, answers = folder / "report.json", folder / "generations.jsonl"
        trained = adapter and adapter / "adapter_model.safetensors"
        if trained and answers.is_file() and answers.stat().st_mtime < trained.stat().st_mtime:
            answers.unlink()  # the model was trained again
        if not answers.is_file():
            generate(
                self._base().with_adapter(adapter),
                self.prompts,
                study.samples,
                sampling=Sampling(
                    temperature=study.temperature, max_tokens=study.max_tokens, seed=study.seed
                ),
                output=folder,
            )
        kernels = [EmbeddingKernel(self.embedder), NgramKernel(2)]
        newer = report.is_file() and report.stat().st_mtime_ns >= answers.stat().st_mtime_ns
        if not (newer and scored_as_asked(folder, kernels, self._qualities())):
            evaluate(folder, kernels=kernels, quality=self._qualities()).save(folder)
        return load_report(folder)

    def steps(self, adapter: Path) -> int | None:
        """Return how many steps the model was trained, where its recipe says it."""
        record = adapter / "training.json"
        return json.loads(record.read_text("utf-8"))["steps"] if record.is_file() else None

    def _once(self, name: str, command: list[str], *, after: str) -> tuple[float, str]:
        """Run a command unless it, and all before it, has been run as it is.

        Returns:
            The seconds it took, and its digest, for the command that comes after it.
        """
        marker = self.output / ".done" / f"{name}.json"
        digest = command_digest(command, after=after)
        if marker.is_file() and (done := json.loads(marker.read_text()))["digest"] == digest:
            return float(done["seconds"]), digest
        begun = time.monotonic()
        launch(command, self.output / "logs" / f"{name}.log", lambda share, text: None)
        seconds = time.monotonic() - begun
        marker.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(marker, json.dumps({"digest": digest, "seconds": seconds}))
        return seconds, digest

    def _filled(self, command: list[str], folder: Path) -> list[str]:
        dtype = str(best_dtype(best_device())).removeprefix("torch.")
        places = {"folder": str(folder), "output": str(self.output), "dtype": dtype}
        places["bf16"] = str(dtype == "bfloat16").lower()
        return [re.sub(r"\{(\w+)\}", lambda match: places[match[1]], str(w)) for w in command]

    def _base(self) -> TransformersEngine:
        if self._engine is None:
            self._engine = TransformersEngine(self.study.model)
        return self._engine

    def _qualities(self) -> list[Any]:
        if self._scorers is None:
            names, study = self.study.qualities, self.study
            built = build_qualities(names, reference=study.model, embedder=study.embedder)
            self._scorers = list(built.values())
        return self._scorers


def compare_reports(study: Study, before: Report, after: Report) -> Comparison:
    """Compare two reports over the prompts."""
    return compare(
        before, after, trained_kernel="answers", resamples=study.resamples, seed=study.seed
    )


def result_row(
    method: Mapping[str, Any], against: Mapping[str, Comparison], seconds: float, steps: int | None
) -> dict[str, Any]:
    """Return what is kept of a method: every primary number, with its interval."""
    row: dict[str, Any] = {"family": method["family"], "steps": steps, "seconds": round(seconds)}
    for name, comparison in against.items():
        changes = comparison.measures | comparison.qualities
        row[name] = {
            key: {
                "before": round(changes[key].before, 4),
                "after": round(changes[key].after, 4),
                "difference": round(changes[key].difference, 4),
                "ci95": [round(bound, 4) for bound in changes[key].ci95],
            }
            for key in [*SHOWN, "prompt_information", "mean_distance,ngram-2"]
            if key in changes
        }
    monitors = against["base"].monitors
    row["monitors"] = {
        key: [round(monitors[key].before, 4), round(monitors[key].after, 4)]
        for key in ("length", "truncated", "exact_duplicates")
        if key in monitors
    }
    row["prompts"] = against["base"].measures["vendi,ngram-2"].n_prompts
    return row


def cell(row: Mapping[str, Any]) -> str:
    """Return a result as the page shows it: after, and the difference to base and control."""
    parts = []
    for key, label in SHOWN.items():
        if key not in row["base"]:
            continue
        change = row["base"][key]
        text = f"{label} {change['before']:.2f} → {change['after']:.2f} {_interval(change)}"
        if "control" in row:
            text += f"; control {_interval(row['control'][key])}"
        parts.append(text)
    return "<br>".join(parts)


def _interval(change: Mapping[str, Any]) -> str:
    low, high = change["ci95"]
    return f"{change['difference']:+.2f} [{low:+.2f}, {high:+.2f}]"


def write_page(page: Path, results: Mapping[str, Any]) -> None:
    """Write every result between the marks that carry its name: `<!-- name -->…<!-- / -->`."""
    text = page.read_text("utf-8")

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        return f"<!-- {name} -->{cell(results[name]) if name in results else match[2]}<!-- / -->"

    write_atomically(page, re.sub(r"<!-- ([\w-]+) -->(.*?)<!-- / -->", fill, text, flags=re.S))
    print(page)


if __name__ == "__main__":
    sys.exit(main())
