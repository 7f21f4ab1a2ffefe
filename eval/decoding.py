"""Every way to decode on one small model, at its own best temperature and by equal budgets.

    python eval/decoding.py --config configs/decoding/study.yaml

Each method of the config answers the same questions at several temperatures. Its point is the
temperature with the most diversity among those that keep the quality of plain sampling; each half of
the questions chooses it for the other half. The point is set beside plain sampling in two ways:

1. with the same number of answers: against plain sampling's own curve of temperatures, at the
   quality that the method has. What the method spent more stands beside it.
2. with the same number of written tokens: how many different valid answers the method's own hold,
   against what plain sampling finds in expectation when it may write as many tokens, plans, lists
   and answers that were not picked included. Where a method runs the model more than once a token
   (`passes`), its tokens count so often.

Results go to `results` one by one, then into the cells of docs/decoding.md, and into a figure.
Everything is kept in the output folder: the same command continues. These are short answers of a
model of 135 million parameters: methods that need a model to follow instructions have little to
work with here.
"""

from __future__ import annotations

import argparse
import json
import logging
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from diversify.cli.studies import add_result, exit_code, idle_lightly, read_config
from diversify.decoding import Direct, SamplingChain, Strategy, build_strategy
from diversify.decoding.prompting import PLAIN
from diversify.decoding.siblings import build_decoder, check_decoder
from diversify.decoding.strategies import strategy_parts
from diversify.embedders import load_embedder
from diversify.engines import Engine, Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.evaluation import Report, Run, evaluate, generate, load_prompts, load_run
from diversify.evaluation.generate import write_atomically
from diversify.evaluation.report.frontier_plot import Point, Swept
from diversify.evaluation.report.methods_plot import methods_plot
from diversify.evaluation.reports import load_report
from diversify.evaluation.statistics.inference import holm
from diversify.evaluation.studies.recorded import Recorded
from diversify.evaluation.studies.yardstick import Answered, Yardstick
from diversify.kernels import EmbeddingKernel
from diversify.measures import MEASURES
from diversify.models import LoadedModel, load_model
from diversify.trainers.components import build_qualities

PLAIN_NAME = "plain"
POOL = "pool"
MEASURED = ("vendi", "mean_distance")
WAYS = ("chain", "decoder", "strategy", "adapter_scale")
"""Keys of a method that say what it is; plain sampling has none of them."""

TUNED_NAME = "tuned"
"""What plain sampling of a model with an adapter is called on the page, beside that without one."""

FALLS_BACK = ("verbalized", "stratified", "titles-first")
"""Strategies that ask plainly where the model has not written the list it was asked for."""


@dataclass(frozen=True)
class Study:
    """The config; every field is a key of the YAML file."""

    output: str
    results: str
    page: str
    figure: str
    model: str
    prompts: str
    methods: dict[str, dict[str, Any]]
    temperatures: list[float]
    sweep: list[float]
    reference: float
    adapter: str | None = None
    split: str = "test"
    limit: int | None = None
    samples: int = 16
    pool: int = 64
    max_tokens: int = 16
    margin: float = 0.05
    measure: str = "distinct_valid,answers"
    qualities: list[str] = field(default_factory=lambda: ["answers"])
    gate: list[str] = field(default_factory=lambda: ["information"])
    embedder: str = "minilm"
    at_once: int = 8
    batch_size: int = 64
    seed: int = 0
    resamples: int = 10_000


def main() -> int:
    """Run the study, or some methods of it, or only write what it has found."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--config", required=True, help="YAML file with the fields of `Study`")
    parser.add_argument("--only", nargs="*", help="these methods; plain sampling comes with them")
    parser.add_argument("--page", action="store_true", help="write the results into the page, only")
    parser.add_argument("--plot", action="store_true", help="draw the figure, only")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    idle_lightly()

    def work() -> None:
        study = read_study(Path(options.config))
        if not (options.page or options.plot):
            run(study, options.only)
        if not options.plot:
            write_page(Path(study.page), page_results(study))
        if not options.page:
            write_figure(Path(study.figure), json.loads(Path(study.results).read_text("utf-8")))

    return exit_code("decoding", work)


def read_study(path: Path) -> Study:
    """Read a config and check that it holds together."""
    study = read_config(path, Study)
    if PLAIN_NAME not in study.methods:
        raise ValueError(f"methods must have {PLAIN_NAME!r}, what the others are compared with")
    if missing := {*study.temperatures, study.reference} - {*study.sweep}:
        raise ValueError(f"sweep must have every temperature, it lacks {sorted(missing)}")
    if len({*study.sweep}) < 2:
        raise ValueError(f"sweep needs two temperatures or more, got {study.sweep}")
    if study.pool < study.samples:
        raise ValueError(f"pool must be at least samples ({study.samples}), got {study.pool}")
    for name, method in study.methods.items():
        check_method(name, method)
    return study


def check_method(name: str, method: Mapping[str, Any]) -> None:
    """Accept a method of the config.

    Raises:
        ValueError: Its keys are unknown, it is no way or two ways at once, or its way is unknown.
    """
    if unknown := sorted(set(method) - {*WAYS, "options", "passes"}):
        raise ValueError(f"{name}: unknown keys {unknown}")
    ways = [way for way in WAYS if way in method]
    if len(ways) != (name != PLAIN_NAME):
        raise ValueError(f"{name}: a method is one of {WAYS}, and plain is none; got {ways}")
    if "decoder" in method:
        check_decoder(method["decoder"], method.get("options"))
    if "chain" in method:
        SamplingChain.parse(method["chain"].format(T=1.0))
    strategy_parts(method.get("strategy", "direct"))


def needs_adapter(method: Mapping[str, Any]) -> bool:
    """Say whether a method is nothing without an adapter on the model."""
    return "adapter_scale" in method or method.get("decoder") == "routing"


def run(study: Study, only: list[str] | None) -> None:
    """Let every method answer, choose its temperature, and set it beside plain sampling."""
    if only and (unknown := sorted(set(only) - set(study.methods))):
        raise ValueError(f"no methods {unknown}; there are {sorted(study.methods)}")
    wanted = [name for name in study.methods if not only or name in only]
    if left_out := [
        name for name in wanted if needs_adapter(study.methods[name]) and not study.adapter
    ]:
        print(f"left out, since the config names no adapter: {', '.join(left_out)}")
    order = [PLAIN_NAME, *(name for name in wanted if name not in {PLAIN_NAME, *left_out})]
    begun = time.monotonic()
    lab = Laboratory(study)
    yardstick = Yardstick(
        lab.answers(PLAIN_NAME),
        lab.pools(),
        reference=study.reference,
        measure=study.measure,
        quality=lab.quality,
        margin=study.margin,
        resamples=study.resamples,
        seed=study.seed,
    )
    print(f"plain sampling and its pools: {time.monotonic() - begun:.0f} s")
    results, failed = Path(study.results), []
    for number, name in enumerate(order, start=1):
        begun = time.monotonic()
        try:
            row = result_row(lab, yardstick, name)
        except ValueError as error:  # one method that cannot decode so must not end the hour
            failed.append(name)
            print(f"[{number}/{len(order)}] {name} failed: {error}")
            continue
        add_result(results, name, row)
        told = cell(row).replace("<br>", "; ")
        print(f"[{number}/{len(order)}] {name}: {time.monotonic() - begun:.0f} s. {told}")
        sys.stdout.flush()
    if failed:
        raise ValueError(f"failed: {', '.join(failed)}; what the others found is kept")


def result_row(lab: Laboratory, yardstick: Yardstick, name: str) -> dict[str, Any]:
    """Let one method answer and return what is kept of it."""
    method = lab.study.methods[name]
    passes = method.get("passes", 1)
    found = yardstick.row(lab.answers(name), passes=passes, is_plain=name == PLAIN_NAME)
    return {"kind": kind(method), "falls_back": falls_back(method)} | found


class Laboratory:
    """The model and the scorers, loaded once, and the folders of what has been drawn."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.prompts = load_prompts(study.prompts, split=study.split, limit=study.limit)
        self.embedder = load_embedder(study.embedder)
        self.qualities = self._built(study.qualities)
        self.quality: str = next(iter(self.qualities.values())).name
        self._gate: dict[str, Any] | None = None
        self._loaded: LoadedModel | None = None

    def answers(self, name: str) -> dict[float, Answered]:
        """Let a method answer at its temperatures, as far as that is not done already."""
        study, method = self.study, self.study.methods[name]
        found = {}
        for heat in sorted({*(study.sweep if name == PLAIN_NAME else study.temperatures)}):
            engine, strategy, sampling = self._set_up(method, heat)
            run = self._generate(f"{name}/{heat:g}", engine, strategy, sampling, study.samples)
            found[heat] = Answered(run, self._report(run))
        return found

    def pools(self) -> dict[float, Run]:
        """Draw a large plain sample at each temperature, to know what more tokens would find."""
        study = self.study
        return {
            heat: self._generate(
                f"{POOL}/{heat:g}", self._engine(), Direct(), self._sampling(heat), study.pool
            )
            for heat in sorted({*study.sweep})
        }

    def _generate(
        self, name: str, engine: Engine, strategy: Strategy, sampling: Sampling, samples: int
    ) -> Run:
        return generate(
            engine,
            self.prompts,
            samples,
            strategy=strategy,
            sampling=sampling,
            output=Path(self.study.output) / name,
            at_once=self.study.at_once,
        )

    def _report(self, run: Run) -> Report:
        report, answers = run.path / "report.json", run.path / "generations.jsonl"
        if not report.is_file() or report.stat().st_mtime_ns < answers.stat().st_mtime_ns:
            evaluate(
                run,
                embedder=self.embedder,
                measures={name: MEASURES[name] for name in MEASURED},
                quality=[*self.qualities.values()],
            ).save(run.path)
        return load_report(run.path)

    def _set_up(self, method: Mapping[str, Any], heat: float) -> tuple[Engine, Strategy, Sampling]:
        options, sampling = method.get("options", {}), self._sampling(heat)
        if chain := method.get("chain"):
            steps = SamplingChain.parse(chain.format(T=heat)).for_tokenizer(self.model.tokenizer)
            return self._engine(steps), Direct(), sampling.at(temperature=PLAIN.temperature)
        if name := method.get("decoder"):
            decoder = build_decoder(name, options, model=self.model)
            return self._engine(decoder), Direct(), sampling
        if "adapter_scale" in method:
            return self._engine(scale=method["adapter_scale"]), Direct(), sampling
        name = method.get("strategy", "direct")
        strategy = build_strategy(
            name, options, kernel=lambda: EmbeddingKernel(self.embedder), quality=self._gates
        )
        # The pools of selections are the large plain samples: drawn once for all of them.
        pool = Path(self.study.output) / POOL / f"{heat:g}"
        engine = self._engine()
        if name.startswith("over-generate") and (pool / "generations.jsonl").is_file():
            return Recorded(engine, load_run(pool)), strategy, sampling
        return engine, strategy, sampling

    @property
    def model(self) -> LoadedModel:
        """The model, with its adapter if the config names one."""
        if self._loaded is None:
            self._loaded = load_model(self.study.model, adapter=self.study.adapter)
        return self._loaded

    def _engine(self, decoder: Any = None, *, scale: float = 1.0) -> TransformersEngine:
        return TransformersEngine(
            self.model,
            decoder=decoder,
            adapter_scale=scale,
            batch_size=self.study.batch_size,
        )

    def _sampling(self, heat: float) -> Sampling:
        study = self.study
        return Sampling(temperature=heat, max_tokens=study.max_tokens, seed=study.seed)

    def _gates(self) -> dict[str, Any]:
        if self._gate is None:
            self._gate = self._built(self.study.gate)
        return self._gate

    def _built(self, names: Sequence[str]) -> dict[str, Any]:
        study = self.study
        return build_qualities(names, reference=study.model, embedder=study.embedder)


def kind(method: Mapping[str, Any]) -> str:
    """Return the family of a method: what it changes."""
    if "chain" in method:
        return "sampler"
    name = method.get("strategy", "")
    if name.startswith(("over-generate", "until-seen")):
        return "selection"
    if name and name != "g2":
        return "strategy"
    return "siblings" if {*WAYS} & {*method} else PLAIN_NAME


def falls_back(method: Mapping[str, Any]) -> bool:
    """Say whether a method asks plainly where the model does not write the list it is asked for."""
    return method.get("strategy", "").split("+")[-1] in FALLS_BACK


def title(key: str) -> str:
    """Name a measure as the page does."""
    name, _, kernel = key.partition(",")
    return {"distinct_valid": "different valid"}.get(name) or f"{kernel} {name.capitalize()}"


def cell(row: Mapping[str, Any], corrected: float | None = None) -> str:
    """Return a result as the page shows it.

    Args:
        row: what is kept of a method.
        corrected: Holm's p-value of its gap, among all methods of the page.
    """
    heats = dict.fromkeys(f"{heat:g}" for heat in row["temperatures"])
    quality, cost = row["quality"], row["cost"]
    parts = [
        f"T {' and '.join(heats)}: {quality['name'].replace('_', ' ')} {quality['after']:.2f} "
        f"{_interval(quality)}" + ("" if row["kept_quality"] else ", quality not kept")
    ]
    for key, change in row["measures"].items():
        text = f"{title(key)} {change['after']:.2f}"
        if gap := change.get("at_equal_quality"):
            text += f", at equal quality {_interval(gap, 'gap')}"
            if key == row["measure"] and corrected is not None:
                text += f" (p {corrected:.2f})"
        if key.partition(",")[2] in row["sees"]:
            text += ", which it selects by"
        if key == row["measure"] and (budget := row["budget"]):
            text += f"; at equal tokens {_interval(budget)}"
            if short := budget.get("capped"):
                text += f" (plain's pool ran out for {short} of {row['prompts']} questions)"
        parts.append(text)
    calls = "1 call" if cost["calls"] == 1 else f"{cost['calls']:g} calls"
    told = f"{cost['answers']:g} answers by {calls}; tokens: written {cost['written']:.2f}, "
    told += f"read {cost['read']:.2f}"
    if cost["passes"] != 1:
        told += f", {cost['passes']:g} passes a token"
    if row["falls_back"]:
        told += f"; {cost['asked_plainly']:.0%} of the answers asked for plainly"
    return "<br>".join([*parts, told])


def _interval(change: Mapping[str, Any], name: str = "difference") -> str:
    low, high = (
        f"{sign}∞" if bound is None else f"{bound:+.2f}"
        for sign, bound in zip("-+", change["ci95"], strict=True)
    )
    return f"{change[name]:+.2f} [{low}, {high}]"


def corrected_values(results: Mapping[str, Any]) -> dict[str, float]:
    """Return Holm's p-value of each method's gap by the measure that decides, over all of them."""
    raw = {}
    for name, row in results.items():
        gap = row["measures"][row["measure"]].get("at_equal_quality")
        if gap and gap["p_value"] is not None:
            raw[name] = gap["p_value"]
    return dict(zip(raw, holm([*raw.values()]), strict=True))


def page_results(study: Study) -> dict[str, Any]:
    """Return what a study has found, by the names that the page has for its methods."""
    results = json.loads(Path(study.results).read_text("utf-8"))
    return {TUNED_NAME if study.adapter and n == PLAIN_NAME else n: results[n] for n in results}


def write_page(page: Path, results: Mapping[str, Any]) -> None:
    """Write every result between the marks that carry its name: `<!-- name -->…<!-- / -->`."""
    text = page.read_text("utf-8")
    corrected = corrected_values(results)

    def fill(match: re.Match[str]) -> str:
        name = match[1]
        told = cell(results[name], corrected.get(name)) if name in results else match[2]
        return f"<!-- {name} -->{told}<!-- / -->"

    write_atomically(page, re.sub(r"<!-- ([\w-]+) -->(.*?)<!-- / -->", fill, text, flags=re.S))
    print(page)


def write_figure(path: Path, results: Mapping[str, Any]) -> None:
    """Draw every method beside plain sampling's curve.

    Raises:
        ValueError: There is no curve yet.
    """
    if PLAIN_NAME not in results:
        raise ValueError(f"the figure needs the curve of {PLAIN_NAME!r}: run the study first")
    plain = results[PLAIN_NAME]
    measure = plain["measure"]
    sweep = [
        Swept(point["temperature"], point["quality"], point[measure])
        for point in plain["by_temperature"]
    ]
    points = [
        Point(row["kind"], name, row["quality"]["after"], row["measures"][measure]["after"])
        for name, row in results.items()
        if name != PLAIN_NAME
    ]
    drawn = methods_plot(
        sweep,
        points,
        quality=plain["quality"]["name"].replace("_", " "),
        measure=title(measure),
        summary=f"{len(points)} ways to decode beside plain sampling at several temperatures",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, f"{drawn}\n")
    print(path)


if __name__ == "__main__":
    sys.exit(main())
