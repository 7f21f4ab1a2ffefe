"""Reports and comparisons for other programs: model cards, CI logs, readers of lm-eval's results."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from huggingface_hub.repocard_data import eval_results_to_model_index

from diversify.evaluation.generate import write_atomically
from diversify.evaluation.markdown import markdown_summary
from diversify.evaluation.prompt_sets import HUB_SETS
from diversify.evaluation.reports import Report, load_report
from diversify.evaluation.verdict import PRIMARY

__all__ = [
    "add_model_index",
    "lm_eval_results",
    "markdown_summary",
    "model_index",
    "write_lm_eval_results",
]


def model_index(
    report: Report | str | Path,
    *,
    model_name: str | None = None,
    names: Sequence[str] | None = None,
) -> list[dict[str, Any]]:
    """Return the `model-index` block with which a model card on the Hub says what was measured.

    Args:
        report: The report of the model, or its folder.
        model_name: The model as the Hub shows it; by default the report's label.
        names: Which results (`vendi,ngram-2`, …); by default the measures that decide, by every
            kernel, `distinct_valid`, and all qualities.

    Returns:
        The value for `model-index` in the card's head. Each metric carries its standard error, its
        kernel and revision, and how many prompts (those with a value) and answers it rests on.

    Raises:
        ValueError: There is no report, or it has no such result.
    """
    report = report if isinstance(report, Report) else load_report(report)
    return eval_results_to_model_index(model_name or report.label, _eval_results(report, names))


def add_model_index(
    card: str | Path,
    report: Report | str | Path,
    *,
    model_name: str | None = None,
    names: Sequence[str] | None = None,
) -> Path:
    """Write a report's `model-index` into the head of a model card; the rest of the card stays.

    Results on other data sets stay too, those on the same prompts are replaced.

    Args:
        card: The card, `README.md`, or the folder that it lies in.
        report: As in `model_index`, like the other options.
        model_name: By default what the card says, else the report's label.
        names: Which results.

    Returns:
        The path of the card.

    Raises:
        ValueError: There is no card.
    """
    path = Path(card) / "README.md" if Path(card).is_dir() else Path(card)
    if not path.is_file():
        raise ValueError(f"there is no model card {path}")
    report = report if isinstance(report, Report) else load_report(report)
    found = ModelCard(path.read_text("utf-8"))
    data = found.data
    assert isinstance(data, ModelCardData)
    new = _eval_results(report, names)
    taken = {result.unique_identifier for result in new}
    kept = [r for r in data.eval_results or [] if r.unique_identifier not in taken]
    data.eval_results = [*kept, *new]
    data.model_name = model_name or data.model_name or report.label
    write_atomically(path, str(found))
    return path


def _eval_results(report: Report, names: Sequence[str] | None) -> list[EvalResult]:
    ((dataset, results),) = report.summary["results"].items()
    recipe = report.summary["config"]["recipe"]
    higher = report.summary["higher_is_better"][dataset]
    if names is None:
        scored = [name for name, value in results.items() if value is not None]
        names = [name for name in scored if _is_main(name, recipe)]
    elif unknown := [name for name in names if results.get(name) is None]:
        raise ValueError(f"the report has no value for {unknown}; it has {sorted(results)}")
    kernels = {kernel["name"]: kernel["revision"] for kernel in recipe["kernels"]}
    unscored = report.summary["n-samples"][dataset].get("unscored", {})
    found = []
    for name in names:
        kind, _, by = name.partition(",")
        details = {
            "stderr": results.get(f"{kind}_stderr,{by}"),
            "higher_is_better": higher.get(name),
            "kernel": by if by in kernels else None,
            "kernel_revision": kernels.get(by) or None,
            # Qualities and monitors are on record by their bare names.
            "prompts": len(report.samples) - unscored.get(name, unscored.get(kind, 0)),
            "samples": recipe["samples"],
        }
        found.append(
            EvalResult(
                task_type="text-generation",
                dataset_type=HUB_SETS[dataset][0] if dataset in HUB_SETS else dataset,
                dataset_name=dataset,
                dataset_revision=str(report.summary["versions"].get(dataset, "unknown")),
                metric_type=kind,
                metric_name=name,
                metric_value=results[name],
                metric_args={key: value for key, value in details.items() if value is not None},
            )
        )
    return found


def _is_main(name: str, recipe: Mapping[str, Any]) -> bool:
    kind, _, by = name.partition(",")
    kernels = {kernel["name"] for kernel in recipe["kernels"]}
    if kind in PRIMARY:
        return by in kernels
    return kind == "distinct_valid" or (by == "quality" and not kind.endswith("_stderr"))


def lm_eval_results(report: Report | str | Path) -> dict[str, Any]:
    """Return a report as the results of lm-eval, to the letter, for what reads those.

    Our `report.json` has their shape and says more than theirs may: a number that is missing, and a
    direction for each kernel. Here a result without a value is left out, an unknown standard error
    is `"N/A"`, a direction belongs to the bare name, and the keys that their readers ask for
    (`alias`, `n-shot`, `configs`, …) are there. `config` keeps our recipe.

    Args:
        report: A report or its folder.

    Raises:
        ValueError: There is no report.
    """
    report = report if isinstance(report, Report) else load_report(report)
    summary, config = report.summary, report.summary["config"]
    ((task, results),) = summary["results"].items()
    settings, recipe = config["settings"], config["recipe"]
    engine, sampling = settings.get("engine", {}), settings.get("sampling", {})
    scored = {name for name, value in results.items() if value is not None}
    errors = {name for name in results if name.partition(",")[0].endswith("_stderr")}
    values = {name: results[name] for name in results if name in scored - errors}
    for name in values:
        error = f"{name.partition(',')[0]}_stderr,{name.partition(',')[2]}"
        if error in errors:
            values = values | {error: "N/A" if results[error] is None else results[error]}
    model = str(engine.get("model") or report.label)
    counts = summary["n-samples"][task]
    return {
        "results": {task: {"alias": task, "sample_len": counts["effective"]} | values},
        "group_subtasks": {},
        "configs": {
            task: {
                "task": task,
                "output_type": "generate_until",
                "repeats": recipe["samples"],
                "generation_kwargs": sampling,
                "num_fewshot": 0,
            }
        },
        "versions": {task: summary["versions"].get(task, "unknown")},
        "n-shot": {task: 0},
        "higher_is_better": {
            task: {
                name.partition(",")[0]: better
                for name, better in summary["higher_is_better"][task].items()
            }
        },
        "n-samples": {task: {name: counts[name] for name in ("original", "effective")}},
        "config": {"model": model, "model_args": engine, "gen_kwargs": sampling, "recipe": recipe},
        "git_hash": summary["git_hash"],
        "date": summary["date"],
        "model_source": "diversify",
        "model_name": model,
        "model_name_sanitized": _sanitized(model),
        "chat_template_sha": engine.get("chat_template_sha"),
        "system_instruction": engine.get("system"),
        "total_evaluation_time_seconds": str(summary["total_evaluation_time_seconds"]),
        "diversify_version": summary["versions"]["diversify"],
    }


def write_lm_eval_results(report: Report | str | Path, folder: str | Path) -> Path:
    """Write a report where lm-eval would: `<folder>/<model>/results_<date>.json`.

    Args:
        report: A report or its folder.
        folder: What lm-eval calls `--output_path`; made if missing.

    Returns:
        The path of the file. Its date is that of the report, so writing again replaces it.

    Raises:
        ValueError: There is no report.
    """
    results = lm_eval_results(report)
    date = datetime.datetime.fromtimestamp(results["date"], datetime.UTC).replace(tzinfo=None)
    target = Path(folder) / str(results["model_name_sanitized"])
    target.mkdir(parents=True, exist_ok=True)
    file = target / f"results_{date.isoformat().replace(':', '-')}.json"
    write_atomically(file, json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    return file


def _sanitized(model: str) -> str:
    return re.sub(r'["<>:/|\\?*\[\]]+', "__", model)
