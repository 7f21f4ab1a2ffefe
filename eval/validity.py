"""Is the instrument right? False alarms, power, order and rank agreement, on real generations.

    python eval/validity.py --config configs/validity/noveltybench.yaml

1. False alarms. The answers to every prompt are split at random into two halves, and the halves are
   compared as before and after. Nothing differs, so what is called a change at 5 % is a false alarm.
2. Coverage. Prompts are drawn with replacement from the differences of one planted split, whose mean
   is known, and the intervals must hold it.
3. Power. Copies, or answers of other recorded classes, are planted in the second half.
4. Order. The answers are shuffled: no measure may move; NoveltyBench's leader clustering does.
5. Rank agreement with the classes that the file records (column `partition`).
6. Unequal numbers. Three tenths of the answers to every prompt are compared with the others.
7. Standings. Points are placed against a curve of temperatures on which they lie: the same model at
   one of the temperatures, or each prompt at one of two neighbours by the toss of a coin, from other
   answers. So are whole curves against each other. Prompts are drawn with replacement from those of
   the runs, answers without. What is said to lie above or below is a false alarm; the quality is the
   share of valid answers (column `answers`).

The file holds `prompt`, `generations` and, for the planted classes and for 5, `partition`. Every
rate stands with its 95 % Wilson interval; 2 takes half of the splits, and each share of 3 a quarter.
Deterministic by the seed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from diversify.cli.studies import read_config
from diversify.embedders import load_embedder
from diversify.evaluation import load_run
from diversify.evaluation.generate import write_atomically
from diversify.evaluation.statistics.inference import bootstrap_interval, mean_interval
from diversify.evaluation.studies.classes import across, everything, leaders, within
from diversify.evaluation.studies.false_alarms import (
    Answers,
    compared,
    copied,
    halves,
    means,
    outside,
    rates,
    said,
    varied,
)
from diversify.evaluation.studies.standings import Sweep, misplaced
from diversify.evaluation.studies.unequal import taken_for_a_change
from diversify.kernels import EmbeddingKernel, NgramKernel
from diversify.lexical import HIGHER_IS_BETTER

PARTS = ("false_alarms", "coverage", "power", "order", "ranks", "unequal", "standings")


@dataclass(frozen=True)
class Study:
    """The config."""

    generations: str
    results: str
    embedder: str = "minilm"
    splits: int = 1000
    sizes: list[int] = field(default_factory=lambda: [10, 20, 50, 100])
    shares: list[float] = field(default_factory=lambda: [0.05, 0.1, 0.2, 0.4])
    coverage_share: float = 0.4
    sweep: list[str] = field(default_factory=list)
    sweep_splits: int = 300
    sweep_answers: int = 16
    shuffles: int = 20
    thresholds: list[float] = field(default_factory=lambda: [0.8, 0.85])
    resamples: int = 2000
    seed: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study, write the results and print them as tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="YAML file with the fields of `Study`")
    parser.add_argument("--generations", help="another file than the config's")
    parser.add_argument("--results", help="another place for the results")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, help="these parts; what others found before is kept"
    )
    options = parser.parse_args(arguments)
    try:
        study = read_study(Path(options.config))
        given = {"generations": options.generations, "results": options.results}
        study = replace(study, **{name: value for name, value in given.items() if value})
        place = Path(study.results)
        before = json.loads(place.read_text("utf-8")) if options.only and place.is_file() else {}
        found = before | run(study, only=options.only)
    except (ValueError, OSError, ImportError) as error:
        print(f"validity: {error}", file=sys.stderr)
        return 1
    place.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(place, json.dumps(found, indent=2) + "\n")
    print(table(found))
    return 0


def read_study(path: Path) -> Study:
    """Read a config and refuse keys that are none."""
    return read_config(path, Study)


def run(
    study: Study,
    embedder: Callable[[list[str]], Any] | None = None,
    *,
    only: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Return the results of all parts of the study, or of some."""
    asked = PARTS if only is None else only
    found: dict[str, Any] = {}
    if set(asked) - {"standings"}:
        found |= on_answers(study, embedder, asked)
    if "standings" in asked:
        found["sweep"] = {
            "runs": study.sweep,
            "splits": study.sweep_splits,
            "answers": study.sweep_answers,
            "resamples": study.resamples,
        }
        found["standings"] = timed("standings", lambda: standings(study))
    return found


def on_answers(
    study: Study, embedder: Callable[[list[str]], Any] | None, asked: Sequence[str]
) -> dict[str, Any]:
    """Return what is found on the file of generations."""
    embedder = load_embedder(study.embedder) if embedder is None else embedder
    rows = load_run(study.generations).rows
    answers = Answers(rows, [EmbeddingKernel(embedder), NgramKernel(2)])
    sizes = [size for size in study.sizes if size <= len(rows)]
    recipe = asdict(study) | {"sizes": sizes, "generations": Path(study.generations).name}
    del recipe["results"]
    found: dict[str, Any] = {
        "study": recipe,
        "prompts": len(rows),
        "answers": answers.n,
        "half": answers.n // 2,
    }
    parts: dict[str, Callable[[], Any]] = {
        "false_alarms": lambda: false_alarms(answers, study, sizes),
        "coverage": lambda: coverage(answers, study, sizes),
        "power": lambda: power(answers, study),
        "order": lambda: order(answers, study),
        "ranks": lambda: ranks(answers, study),
        "unequal": lambda: taken_for_a_change(
            answers, sizes, splits=study.splits, resamples=study.resamples, seed=study.seed
        ),
    }
    return found | {name: timed(name, part) for name, part in parts.items() if name in asked}


def timed(name: str, part: Callable[[], Any]) -> Any:
    """Run one part and say how long it took."""
    started = time.perf_counter()
    found = part()
    print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return found


def false_alarms(answers: Answers, study: Study, sizes: Sequence[int]) -> dict[str, Any]:
    """Compare halves that do not differ: how often is a change seen, by what?"""
    rng = np.random.default_rng([study.seed, 1])
    seen: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    for split in range(study.splits):
        before, after = (answers.values(places) for places in halves(answers, rng))
        for size in sizes:
            some = rng.choice(len(answers.texts), size, replace=False)
            old, new = ({n: v[some] for n, v in values.items()} for values in (before, after))
            own = {"resamples": study.resamples, "seed": split}
            found: dict[str, Any] = said(compared(old, new, **own))
            found["bootstrap"] = {
                n: outside(bootstrap_interval(new[n] - old[n], **own), 0.0) for n in old
            }
            seen[size].append(found)
    return {str(size): rates(found) for size, found in seen.items()}


def coverage(answers: Answers, study: Study, sizes: Sequence[int]) -> dict[str, Any]:
    """Draw prompts from differences whose mean is known: how often do intervals miss it?"""
    rng = np.random.default_rng([study.seed, 2])
    share = study.coverage_share
    missed: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    for split in range(max(1, study.splits // 2)):
        first, second = halves(answers, rng)
        before, after = answers.values(first), answers.values(copied(answers, second, share, rng))
        for size in sizes:
            drawn = rng.integers(len(answers.texts), size=size)
            found: dict[str, Any] = {"interval": {}, "bootstrap": {}}
            for name in before:
                population = after[name] - before[name]
                own = {"resamples": study.resamples, "seed": split}
                mean = float(population.mean())
                for kind, bounds in (
                    ("interval", mean_interval),
                    ("bootstrap", bootstrap_interval),
                ):
                    found[kind][name] = outside(bounds(population[drawn], **own), mean)
            missed[size].append(found)
    return {str(size): rates(found) for size, found in missed.items()}


def standings(study: Study) -> dict[str, Any] | None:
    """Place points on a curve against it, and a curve against itself: how often is a gap seen?"""
    if not study.sweep:
        return None
    sweep = Sweep(study.sweep, study.sweep_answers)
    found = {}
    for size in study.sizes:
        rng = np.random.default_rng([study.seed, 7, size])
        rows = []
        for split in range(study.sweep_splits):
            prompts = rng.integers(sweep.S.shape[1], size=size)
            curve, other = sweep.draw(prompts, rng)
            own = {"resamples": study.resamples, "seed": split}
            rows.append(misplaced(curve, other, rng, **own))
        found[str(size)] = rates(rows)
    return found


def power(answers: Answers, study: Study) -> dict[str, Any]:
    """Plant effects of growing size: how often is each found, on all prompts?"""
    plants = {"copies": copied} | ({} if answers.classes is None else {"classes": varied})
    found: dict[str, Any] = {}
    for number, (name, plant) in enumerate(plants.items()):
        found[name] = {}
        for share in study.shares:
            rng = np.random.default_rng([study.seed, 3, number])
            rows, moved, detectable = [], [], []
            for split in range(max(1, study.splits // 4)):
                first, second = halves(answers, rng)
                before = answers.values(first)
                after = answers.values(plant(answers, second, share, rng))
                changes = compared(before, after, resamples=study.resamples, seed=split)
                rows.append(said(changes))
                moved.append({n: change.difference for n, change in changes.items()})
                detectable.append({n: c.detectable or np.nan for n, c in changes.items()})
            found[name][str(share)] = rates(rows) | {
                "effect": means(moved),
                "detectable": means(detectable),
            }
    return found


def order(answers: Answers, study: Study) -> dict[str, Any]:
    """Shuffle the answers: the largest move of each measure, and how often classes move."""
    rng = np.random.default_rng([study.seed, 4])
    largest: dict[str, float] = {}
    moved: dict[str, list[int]] = {}
    for texts in answers.texts:
        first, heads = everything(answers, texts), leaders(answers, texts, study.thresholds)
        for _ in range(study.shuffles):
            shuffled = [texts[place] for place in rng.permutation(len(texts))]
            for name, value in everything(answers, shuffled).items():
                largest[name] = max(largest.get(name, 0.0), abs(value - first[name]))
            for name, count in leaders(answers, shuffled, study.thresholds).items():
                moved.setdefault(name, []).append(abs(count - heads[name]))
    return {
        "largest_move": {name: float(f"{value:.2g}") for name, value in largest.items()},
        "leader_clustering": {
            name: {"moved": float(np.mean(np.array(by) > 0)), "by": float(np.mean(by))}
            for name, by in moved.items()
        },
    }


def ranks(answers: Answers, study: Study) -> dict[str, Any] | None:
    """Correlate ranks with the number of recorded classes, across prompts and within them."""
    if answers.classes is None:
        return None
    recorded = np.array([len(set(labels)) for labels in answers.classes.tolist()])
    columns = [everything(answers, texts) for texts in answers.texts]
    correlations = {}
    for name in columns[0]:
        sign = 1.0 if HIGHER_IS_BETTER.get(name.partition(",")[0], True) else -1.0
        values = sign * np.array([column[name] for column in columns])
        rng = np.random.default_rng([study.seed, 5])
        correlations[name] = across(values, recorded, rng)
    inner = within(answers, np.random.default_rng([study.seed, 6]))
    return {"across_prompts": correlations, "within_prompts": inner}


def table(found: dict[str, Any]) -> str:
    """Return the results as aligned text."""
    lines = ["rates are of what happens at a nominal 5 %, and at 2.5 % of either side"]
    if "study" in found:
        lines.append(
            f"{found['prompts']} prompts, halves of {found['half']} answers, "
            f"{found['study']['splits']} splits"
        )
    for section in ("false_alarms", "coverage", "unequal", "standings"):
        if by_size := found.get(section):
            lines += ["", f"{section.replace('_', ' ')}, by number of prompts"]
            lines += by_sizes(by_size)
    for plant, shares in found.get("power", {}).items():
        lines += ["", f"power against planted {plant}, on all prompts, by share"]
        for name in next(iter(shares.values()))["p_value"]:
            for share, row in shares.items():
                rate, effect = told(row["p_value"][name]), row["effect"][name]
                size = f"{effect:+.4f} (detectable {row['detectable'][name]:.4f})"
                lines.append(f"{name:<34} {share:>5}  effect {size}  found {rate}")
    if moves := found.get("order"):
        lines += ["", "largest move when the answers are shuffled"]
        lines += [f"{name:<34} {value:g}" for name, value in moves["largest_move"].items()]
        for name, row in moves["leader_clustering"].items():
            lines.append(f"leader clustering, {name}: {row['moved']:.1%} moved, by {row['by']:.2f}")
    if found.get("ranks"):
        lines += ["", "rank correlation with the recorded classes, across prompts | within"]
        inner = found["ranks"]["within_prompts"]
        for name, row in found["ranks"]["across_prompts"].items():
            low, high = (np.nan if bound is None else bound for bound in row["ci95"])
            rest = f"   | {inner[name]:.3f}" if name in inner else ""
            lines.append(f"{name:<34} {row['spearman']:.3f} [{low:.3f}, {high:.3f}]{rest}")
        lines.append(f"within: mean over {inner['prompts']} prompts")
    return "\n".join(lines)


def by_sizes(found: dict[str, Any]) -> list[str]:
    """Return a line for each kind and name, a cell for each number of prompts."""
    lines = []
    for kind, names in next(iter(found.values())).items():
        for name in names if kind != "difference" else ():
            cells = [f"{n:>4}: {told(found[n][kind][name]):<20}" for n in found]
            lines.append(f"{kind:<10} {name:<46}" + "".join(cells).rstrip())
    return lines


def told(rate: dict[str, Any]) -> str:
    """Say a rate and its interval in percent."""
    low, high = rate["ci95"]
    return f"{rate['rate']:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    sys.exit(main())
