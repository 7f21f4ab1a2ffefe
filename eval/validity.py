"""Is the instrument right? False alarms, power, order and rank agreement, on real generations.

    python eval/validity.py --config configs/validity/noveltybench.yaml

1. False alarms. The answers to every prompt are split at random into two halves, and the halves are
   compared as before and after. Nothing differs, so what is called a change at 5 % is a false alarm.
2. Coverage. Prompts are drawn with replacement from the differences of one planted split, whose mean
   is known, and the intervals must hold it.
3. Power. Copies, or answers of other recorded classes, are planted in the second half.
4. Order. The answers are shuffled: no measure may move; NoveltyBench's leader clustering does.
5. Rank agreement with the classes that the file records (column `partition`).
6. Standings. Points are placed against a curve of temperatures on which they lie: the same model at
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
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from diversify.cli.studies import read_config
from diversify.credit import leader_partition
from diversify.embedders import load_embedder
from diversify.evaluation import load_run, paired_change
from diversify.evaluation.generate import write_atomically
from diversify.evaluation.statistics.change import Change, with_holm
from diversify.evaluation.statistics.curves import prompt_offers, reach, reachable
from diversify.evaluation.statistics.gaps import curve_gap, point_gap, resampled_means
from diversify.evaluation.statistics.inference import bootstrap_interval, mean_interval
from diversify.evaluation.verdict import judge
from diversify.kernels import EmbeddingKernel, Kernel, NgramKernel
from diversify.lexical import HIGHER_IS_BETTER, LEXICAL
from diversify.measures import effective_number, measure_all, spectrum
from diversify.quality import named_answer

Floats = NDArray[np.float64]
Places = NDArray[np.int64]

Curve: TypeAlias = tuple[dict[str, Floats], Floats]
"""Measures and quality of a sweep, prompt by prompt (k, p)."""

LEVEL = 0.05
PARTS = ("false_alarms", "coverage", "power", "order", "ranks", "standings")


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


class Answers:
    """The texts of all prompts, their similarities by each kernel, and the recorded classes."""

    def __init__(self, rows: Sequence[dict[str, Any]], kernels: Sequence[Kernel]) -> None:
        counts = {len(row["generations"]) for row in rows}
        if len(counts) != 1 or min(counts) < 4:
            raise ValueError(f"every prompt needs equally many answers, 4 or more; got {counts}")
        self.texts = [row["generations"] for row in rows]
        self.n = counts.pop()
        self.kernels = {kernel.name: kernel for kernel in kernels}
        self.S = {k.name: np.stack([k(texts) for texts in self.texts]) for k in kernels}
        labels = [row.get("partition") for row in rows]
        self.classes = None if None in labels else np.array(labels)

    def values(self, places: Places) -> dict[str, Floats]:
        """Take the primary measures of the answers at these places of each prompt, (p, h)."""
        prompt = np.arange(len(places))[:, None, None]
        found = {}
        for name, S in self.S.items():
            part = S[prompt, places[:, :, None], places[:, None, :]]
            found |= {f"{measure},{name}": value for measure, value in primary(part).items()}
        return found


def primary(S: Floats) -> dict[str, Floats]:
    """Take the primary measures of stacked similarity matrices (..., h, h)."""
    h = S.shape[-1]
    distance = 1.0 - (S.sum(axis=(-2, -1)) - h) / (h * (h - 1))
    return {"mean_distance": distance, "vendi": effective_number(spectrum(S))}


class Sweep:
    """The answers of one model at several temperatures, coldest first, in larger pools than needed."""

    def __init__(self, runs: Sequence[str], answers: int) -> None:
        kernel, self.answers, self.name = NgramKernel(2), answers, NgramKernel(2).name
        rows = [load_run(path).rows for path in runs]
        if len({tuple(row["prompt"] for row in of) for of in rows}) != 1:
            raise ValueError(f"the runs of a sweep need the same prompts, in one order: {runs}")
        self.pool = min(len(row["generations"]) for of in rows for row in of)
        if self.pool < 2 * answers:
            raise ValueError(
                f"twice {answers} answers are needed, the smallest pool has {self.pool}"
            )
        self.S = np.stack([[kernel(row["generations"][: self.pool]) for row in of] for of in rows])
        self.valid = np.array(
            [
                [
                    [
                        named_answer(text, row["answers"]) is not None
                        for text in row["generations"][: self.pool]
                    ]
                    for row in of
                ]
                for of in rows
            ],
            dtype=float,
        )

    def draw(self, prompts: Places, rng: np.random.Generator) -> tuple[Curve, Curve]:
        """Draw two sweeps of the same prompts that share no answer."""
        k, size = len(self.S), len(prompts)
        places = rng.permuted(np.tile(np.arange(self.pool), (k, size, 1)), axis=2)
        first, second = places[..., : self.answers], places[..., self.answers : 2 * self.answers]
        return self._curve(prompts, first), self._curve(prompts, second)

    def _curve(self, prompts: Places, places: Places) -> Curve:
        heat, prompt = np.arange(len(self.S))[:, None, None], prompts[None, :, None]
        S = self.S[heat[..., None], prompt[..., None], places[..., :, None], places[..., None, :]]
        measures = {f"{name},{self.name}": value for name, value in primary(S).items()}
        return measures, self.valid[heat, prompt, places].mean(axis=2)


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
    }
    return found | {name: timed(name, part) for name, part in parts.items() if name in asked}


def timed(name: str, part: Callable[[], Any]) -> Any:
    """Run one part and say how long it took."""
    started = time.perf_counter()
    found = part()
    print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    return found


def halves(answers: Answers, rng: np.random.Generator) -> tuple[Places, Places]:
    """Split the answers to every prompt at random into two halves."""
    order = rng.permuted(np.tile(np.arange(answers.n), (len(answers.texts), 1)), axis=1)
    half = answers.n // 2
    return order[:, :half], order[:, half : 2 * half]


def false_alarms(answers: Answers, study: Study, sizes: Sequence[int]) -> dict[str, Any]:
    """Compare halves that do not differ: how often is a change seen, by what?"""
    rng = np.random.default_rng([study.seed, 1])
    seen: dict[int, list[dict[str, Any]]] = {size: [] for size in sizes}
    for split in range(study.splits):
        before, after = (answers.values(places) for places in halves(answers, rng))
        for size in sizes:
            some = rng.choice(len(answers.texts), size, replace=False)
            old, new = ({n: v[some] for n, v in values.items()} for values in (before, after))
            found: dict[str, Any] = said(compared(old, new, study.resamples, split))
            own = {"resamples": study.resamples, "seed": split}
            found["bootstrap"] = {
                n: outside(bootstrap_interval(new[n] - old[n], **own), 0.0) for n in old
            }
            seen[size].append(found)
    return {str(size): rates(found) for size, found in seen.items()}


def compared(
    before: dict[str, Floats], after: dict[str, Floats], resamples: int, seed: int
) -> dict[str, Change]:
    """Compare the primary measures as `compare` does."""
    options = {"resamples": resamples, "seed": seed}
    changes = {name: paired_change(before[name], after[name], **options) for name in before}
    return with_holm(changes, list(changes))


def said(changes: dict[str, Change]) -> dict[str, dict[str, bool]]:
    """Say of one comparison what each criterion calls a change, and what the verdict is."""
    trained = next(iter(changes)).partition(",")[2]
    below = {n: c.p_value is not None and c.p_value <= LEVEL for n, c in changes.items()}
    corrected = [c.p_holm is not None and c.p_holm <= LEVEL for c in changes.values()]
    fell = judge(changes, {}, {}, [], trained)["collapse_fell"] is True
    return {
        "p_value": below,
        "interval": {name: change.sign != 0 for name, change in changes.items()},
        "family": {
            "any_p_value": any(below.values()),
            "any_holm": any(corrected),
            "collapse_fell": fell,
        },
    }


def outside(interval: tuple[float, float], value: float) -> bool:
    """Say whether the interval certainly leaves the value out; NaN does not."""
    return interval[0] > value or interval[1] < value


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
            rows.append(misplaced(curve, other, rng, study.resamples, split))
        found[str(size)] = rates(rows)
    return found


def misplaced(
    curve: Curve, other: Curve, rng: np.random.Generator, resamples: int, seed: int
) -> dict[str, dict[str, bool]]:
    """Say where a gap is seen between a curve and points of its twin, and between the two."""
    found: dict[str, dict[str, bool]] = {}
    own: dict[str, Any] = {"resamples": resamples, "seed": seed}
    (measures, quality), (others, at) = curve, other
    heat, pair = rng.integers(len(quality)), rng.integers(len(quality) - 1)
    coin = rng.integers(0, 2, quality.shape[1])
    prompt = np.arange(quality.shape[1])
    for name, diversity in measures.items():
        for where, chosen in (("at a temperature", heat), ("between two", pair + coin)):
            point = others[name][chosen, prompt], at[chosen, prompt]
            for kind, (low, high) in intervals(diversity, quality, *point, **own).items():
                sides = found.setdefault(kind, {})
                sides[f"{name}, {where}, above"] = low > 0
                sides[f"{name}, {where}, below"] = high < 0
        if gap := curve_gap((diversity, quality), (others[name], at), **own):
            low, high = gap.mean.ci95
            lowest = min(gap.smallest.ci95[0], gap.weakest.ci95[0])
        curves = found.setdefault("curves", {})
        curves[f"{name}, mean gap"] = gap is not None and (low > 0 or high < 0)
        curves[f"{name}, dominates"] = gap is not None and low > 0 and lowest >= 0
    return found


def intervals(
    diversity: Floats, quality: Floats, own: Floats, at: Floats, *, resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    """Bound the gap of a point as printed, and by each of the two parts of that alone."""
    options: dict[str, Any] = {"resamples": resamples, "seed": seed}
    where = reach(diversity.mean(axis=1), quality.mean(axis=1), np.asarray(at.mean()))
    each = own - prompt_offers(diversity, quality, at, where)
    means = resampled_means(np.vstack([diversity, quality, own[None], at[None]]), **options)
    curves, levels, (mean, level) = np.split(means, [len(diversity), 2 * len(diversity)])
    low, high = np.quantile(mean - reachable(curves, levels, level), [LEVEL / 2, 1 - LEVEL / 2])
    return {
        "interval": point_gap(diversity, quality, own, at, **options).ci95,
        "linear": mean_interval(each, **options),
        "bootstrap": (float(low), float(high)),
    }


def copied(answers: Answers, places: Places, share: float, rng: np.random.Generator) -> Places:
    """Plant collapse: a share of the answers becomes a copy of the first one."""
    return np.where(rng.random(places.shape) < share, places[:, :1], places)


def varied(answers: Answers, places: Places, share: float, rng: np.random.Generator) -> Places:
    """Plant diversity: a share of those whose class was there before gets one of another class."""
    assert answers.classes is not None
    planted = places.copy()
    for prompt, row in enumerate(planted):
        classes = answers.classes[prompt]
        for position, place in enumerate(row):
            others = np.flatnonzero(~np.isin(classes, classes[row]))
            repeated = classes[place] in classes[row[:position]]
            if repeated and len(others) and rng.random() < share:
                row[position] = rng.choice(others)
    return planted


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
                changes = compared(before, after, study.resamples, split)
                rows.append(said(changes))
                moved.append({n: change.difference for n, change in changes.items()})
                detectable.append({n: c.detectable or np.nan for n, c in changes.items()})
            found[name][str(share)] = rates(rows) | {
                "effect": means(moved),
                "detectable": means(detectable),
            }
    return found


def rates(rows: Sequence[dict[str, dict[str, bool]]]) -> dict[str, Any]:
    """Return for each kind and name how often it was true, with the Wilson interval."""
    found: dict[str, Any] = {}
    for kind, names in rows[0].items():
        found[kind] = {}
        for name in names:
            count = sum(row[kind][name] for row in rows)
            interval = stats.binomtest(count, len(rows)).proportion_ci(method="wilson")
            bounds = [round(float(interval.low), 4), round(float(interval.high), 4)]
            found[kind][name] = {"rate": round(count / len(rows), 4), "ci95": bounds}
    return found


def means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each name over the rows."""
    return {name: round(float(np.nanmean([row[name] for row in rows])), 5) for name in rows[0]}


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


def everything(answers: Answers, texts: list[str]) -> dict[str, float]:
    """Take every measure by every kernel, and every lexical quantity, of one set of texts."""
    found = {
        f"{measure},{name}": value
        for name, kernel in answers.kernels.items()
        for measure, value in measure_all(kernel(texts)).items()
    }
    return found | {f"{name},words": float(index(texts)) for name, index in LEXICAL.items()}


def leaders(answers: Answers, texts: list[str], thresholds: Sequence[float]) -> dict[str, int]:
    """Count the classes of leader clustering by the first kernel, at each threshold."""
    name, kernel = next(iter(answers.kernels.items()))
    S = kernel(texts)
    place = {text: number for number, text in enumerate(texts)}
    found = {}
    for threshold in thresholds:
        labels = leader_partition(texts, lambda a, b, t=threshold: bool(S[place[a], place[b]] >= t))
        found[f"{name} >= {threshold:g}"] = int(labels.max() + 1)
    return found


def ranks(answers: Answers, study: Study) -> dict[str, Any] | None:
    """Correlate ranks with the number of recorded classes, across prompts and within them."""
    if answers.classes is None:
        return None
    recorded = np.array([len(set(labels)) for labels in answers.classes.tolist()])
    columns = [everything(answers, texts) for texts in answers.texts]
    across = {}
    for name in columns[0]:
        sign = 1.0 if HIGHER_IS_BETTER.get(name.partition(",")[0], True) else -1.0
        values = sign * np.array([column[name] for column in columns])
        across[name] = correlation(values, recorded, study)
    return {"across_prompts": across, "within_prompts": within(answers, study)}


def correlation(values: Floats, recorded: Places, study: Study) -> dict[str, Any]:
    """Return Spearman's correlation with a bootstrap interval over prompts."""

    def spearman(places: Places, axis: int = -1) -> Floats:
        ours, theirs = (stats.rankdata(v[places], axis=axis) for v in (values, recorded))
        ours, theirs = (rank - rank.mean(axis=axis, keepdims=True) for rank in (ours, theirs))
        spread = np.sqrt((ours**2).sum(axis=axis) * (theirs**2).sum(axis=axis))
        together = (ours * theirs).sum(axis=axis)
        return np.divide(together, spread, out=np.full_like(spread, np.nan), where=spread > 0)

    everyone = np.arange(len(values))
    interval = stats.bootstrap(
        (everyone,),
        spearman,
        vectorized=True,
        n_resamples=1000,
        method="percentile",
        rng=np.random.default_rng([study.seed, 5]),
    ).confidence_interval
    # No number where a resample was constant.
    bounds = [round(float(b), 3) if np.isfinite(b) else None for b in interval]
    return {"spearman": round(float(spearman(everyone)), 3), "ci95": bounds}


def within(answers: Answers, study: Study) -> dict[str, Any]:
    """Correlate over random halves of one prompt's answers; mean over prompts whose halves differ."""
    assert answers.classes is not None
    rng = np.random.default_rng([study.seed, 6])
    taken = [places for _ in range(100) for places in halves(answers, rng)]
    values = [answers.values(places) for places in taken]
    rows = np.arange(len(answers.texts))[:, None]
    counts = np.array([[len(set(r)) for r in answers.classes[rows, p].tolist()] for p in taken])
    differ = np.flatnonzero(np.ptp(counts, axis=0) > 0)
    found: dict[str, Any] = {"prompts": len(differ)}
    for name in values[0]:
        column = np.array([value[name] for value in values])
        each = [stats.spearmanr(column[:, p], counts[:, p]).statistic for p in differ]
        found[name] = round(float(np.mean(each)), 3) if each else None
    return found


def table(found: dict[str, Any]) -> str:
    """Return the results as aligned text."""
    lines = ["rates are of what happens at a nominal 5 %, and at 2.5 % of either side"]
    if "study" in found:
        lines.append(
            f"{found['prompts']} prompts, halves of {found['half']} answers, "
            f"{found['study']['splits']} splits"
        )
    for section in ("false_alarms", "coverage", "standings"):
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
        for name in names:
            cells = [f"{n:>4}: {told(found[n][kind][name]):<20}" for n in found]
            lines.append(f"{kind:<10} {name:<46}" + "".join(cells).rstrip())
    return lines


def told(rate: dict[str, Any]) -> str:
    """Say a rate and its interval in percent."""
    low, high = rate["ci95"]
    return f"{rate['rate']:.1%} [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    sys.exit(main())
