"""A guard beside training: the model answers some prompts now and then, and a run gone bad stops.

    safeguard = Safeguard(EmbeddingKernel(load_embedder("minilm")), qualities=[relevance], every=50)
    safeguard.attach(trainer)  # any TRL trainer
    trainer.train()

Training optimises one kernel. Whether answers really differ more, and are still good, is asked here
of another one and of qualities, with the instrument of the evaluation and against the model as it
was at the start.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers import (
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from diversify.decoding import Direct
from diversify.engines import Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.evaluation.compare import compare
from diversify.evaluation.evaluate import evaluate
from diversify.evaluation.generate import Run, prompts_digest, run_settings, write_atomically
from diversify.evaluation.prompt_sets import PromptSet
from diversify.evaluation.reports import Report, load_report
from diversify.evaluation.statistics.clusters import clusters_of, count_units
from diversify.evaluation.statistics.inference import FEWEST
from diversify.evaluation.verdict import PRIMARY
from diversify.kernels import Kernel, NgramKernel, check_integer
from diversify.measures import MEASURES
from diversify.quality import Quality
from diversify.rewards.group import raise_together
from diversify.trainers.alarms import find_alarms, means, watched
from diversify.trainers.live import is_sharded, live_model
from diversify.trainers.prompts import load_set

__all__ = ["SAFEGUARD", "Safeguard"]

logger = logging.getLogger(__name__)

SAFEGUARD = "safeguard"
"""In the output folder: `safeguard.json`, and a folder with the report of every check."""


class _Found(NamedTuple):
    """What a check found: numbers for the log, what is wrong, whether to stop."""

    values: dict[str, float]
    alarms: list[str]
    stop: bool = False


class Safeguard(TrainerCallback):
    """Let the model answer prompts while it is trained; log how it does, and stop it if it goes bad.

    At the start and every so many steps the model as it is then, adapters included, answers a
    small set of prompts. The answers are scored by two kernels, the one that training sees and one
    that it does not, by qualities and by all monitors, and compared with those of the start, prompt
    by prompt. Every number goes to whatever the trainer reports to, under `safeguard/`, and to
    `state.log_history`. The run is stopped when `patience` checks in a row find

    - a quality lost: the whole 95 % interval of its change lies beyond its margin (for a two-sided
      one, on either side), or it cannot be scored at all any more;
    - the kernels parted: by Vendi or the mean distance the answers differ more by the trained
      kernel, and less by the held-out one, both intervals clear of zero.

    An interval of fewer than six independent prompts (paraphrases, rows of one `group`, count as
    one) shows nothing: such a safeguard logs its numbers, but stops a run only over a quality that
    cannot be scored any more, or that fell by its mean alone if it is `strict`; a warning says so.

    `reasons` then says why. The output folder gets `safeguard.json` (settings, checks, alarms) and
    `safeguard/step-<n>` with a report each, which `diversify compare` reads. The baseline is read
    back from there when a run is resumed; where it is missing, the model at that point becomes the
    baseline and a warning says so.

    Training is not disturbed: random state, training mode and gradients are left as they were.
    A check costs `limit * samples` answers of up to `max_tokens` tokens, shared out over processes.
    The other processes wait while the first one scores; what it decides holds for all.

    Args:
        kernel: what training optimises.
        held_out: what it does not; words by default.
        qualities: what must not be lost.
        margins: name of a quality -> how far its mean may move, instead of its own margin.
        every: steps between two checks.
        prompts: a prompt set, or what `load_set` takes: its name, a file, a data set of the Hub.
        split: which part of it; a `PromptSet` is taken whole.
        limit: at most so many prompts, with equal shares of the categories; six or more where
            intervals are to decide.
        samples: answers a prompt.
        max_tokens: longest answer, in tokens.
        temperature: of the answers, above 0.
        patience: so many checks with an alarm, one after the other, stop the run.
        strict: whether a mean change beyond the margin is enough, whatever its interval.
        batch_size: most answers generated at once.
        template_options: handed to the chat template, e.g. `{"enable_thinking": False}`.

    Raises:
        ValueError: If an option is impossible; in `attach`, if the model is sharded; when training
            starts, if nothing is attached, a quality scores no answer, or a run is resumed with
            other settings.
        RuntimeError: If another process raised.
    """

    def __init__(
        self,
        kernel: Kernel,
        *,
        held_out: Kernel | None = None,
        qualities: Sequence[Quality] = (),
        margins: Mapping[str, float] | None = None,
        every: int = 50,
        prompts: str | PromptSet = "open-ended",
        split: str = "test",
        limit: int = 16,
        samples: int = 8,
        max_tokens: int = 256,
        temperature: float = 1.0,
        patience: int = 1,
        strict: bool = False,
        batch_size: int = 64,
        template_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.kernels = (kernel, NgramKernel(2) if held_out is None else held_out)
        names = [each.name for each in self.kernels]
        if names[0] == names[1]:
            raise ValueError(f"held_out must be another kernel than the trained one, got {names}")
        for each in qualities:
            if not isinstance(each, Quality):
                raise ValueError(
                    f"a quality needs a name and a margin, got {each!r:.200}; wrap a reward in "
                    "diversify.quality.FromReward"
                )
        self.qualities = tuple(qualities)
        self.margins = dict(margins or {})
        if unknown := sorted(set(self.margins) - {each.name for each in qualities}):
            raise ValueError(f"margins name {unknown}, which are no qualities")
        self.every = check_integer("every", every, 1)
        check_integer("limit", limit, 2)  # one prompt has no interval
        self.samples = check_integer("samples", samples, 2)
        self.patience = check_integer("patience", patience, 1)
        check_integer("batch_size", batch_size, 1)
        if not temperature > 0:
            raise ValueError(
                f"temperature must be above 0 for answers to differ, got {temperature}"
            )
        self.sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
        if isinstance(prompts, PromptSet):
            self.prompts = prompts.select(limit=limit)
        else:
            self.prompts = load_set(prompts, split=split, limit=limit)
        check_integer(f"the number of prompts in {self.prompts.name!r}", len(self.prompts), 2)
        _warn_of_few(self.prompts, strict)
        self.strict = strict
        self.batch_size = batch_size
        self.template_options = dict(template_options or {})
        self.reasons: list[str] = []
        self._trainer: Any = None
        self._baseline: Report | None = None
        self._checks: list[dict[str, Any]] = []
        self._settings: dict[str, Any] = {}

    def attach(self, trainer: Any) -> Safeguard:
        """Watch a trainer: become one of its callbacks, and know where its logs go.

        Args:
            trainer: a TRL trainer, or another one of transformers.

        Returns:
            The safeguard itself.

        Raises:
            ValueError: The model is sharded over processes.
        """
        if is_sharded(trainer):
            raise ValueError(
                "Safeguard lets every process answer by itself, which a model that is sharded over "
                "processes (FSDP, DeepSpeed ZeRO-3, tensor parallelism) cannot do: train without "
                "it and evaluate the checkpoints with `diversify generate`"
            )
        self._trainer = trainer
        if self not in trainer.callback_handler.callbacks:
            trainer.add_callback(self)
        return self

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Take the baseline, or read it back when the run is a resumed one."""
        if self._trainer is None:
            raise ValueError("Safeguard has no trainer: call safeguard.attach(trainer)")
        self.reasons, self._baseline, self._checks = [], None, []
        with raise_together():
            main = PartialState().is_main_process
            restored = [self._restore(state.global_step)] if main and state.global_step else []
        if not any(gather_object(restored)):
            self._check(state.global_step, control)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Check every so many steps."""
        if state.global_step % self.every == 0:
            self._check(state.global_step, control)

    def _check(self, step: int, control: TrainerControl) -> None:
        """Answer; score and decide on the first process; log and obey on all."""
        started = time.monotonic()
        with torch.random.fork_rng(range(torch.cuda.device_count())):  # qualities may load models
            with raise_together():
                own = self._answer()
            rows = gather_object(own)
            with raise_together():
                scored = [self._score(rows, step)] if PartialState().is_main_process else []
            found: _Found
            (found,) = gather_object(scored)
        values = found.values | {"alarms": float(len(found.alarms))}
        values["seconds"] = time.monotonic() - started
        # Not the trainer's own `log`: TRL's adds what it has gathered since the last one, and
        # forgets it. And logging calls off the log that this step may be due.
        should_log = control.should_log
        Trainer.log(self._trainer, {f"{SAFEGUARD}/{name}": v for name, v in values.items()})
        control.should_log = should_log
        if found.stop:
            self.reasons = found.alarms
            control.should_training_stop = True

    def _answer(self) -> list[dict[str, Any]]:
        """Draw this process's share of the answers from the model as it is."""
        state = PartialState()
        rows = self.prompts.rows[state.process_index :: state.num_processes]
        if not rows:
            return []
        with live_model(self._trainer) as loaded:
            engine = TransformersEngine(
                loaded,
                batch_size=self.batch_size,
                share_prefix=False,  # all prompts together: a check is to be over soon
                template_options=self.template_options,
            )
            self._settings = run_settings(
                engine, self.prompts, self.samples, Direct(), self.sampling
            )
            drawn = engine.generate([row.prompt for row in rows], self.samples, self.sampling)
        return [
            {**row.columns, "id": row.id, "prompt": row.prompt, "category": row.category}
            | {"generations": texts, "truncated": truncated}
            for row, texts, truncated in zip(rows, drawn.texts, drawn.truncated, strict=True)
        ]

    def _score(self, rows: list[dict[str, Any]], step: int) -> _Found:
        """Turn the answers of all processes into a report, compare it with the first, decide."""
        by_id = {row["id"]: row for row in rows}
        folder = self._folder / f"step-{step}"
        report = evaluate(
            Run(folder, self._settings, [by_id[row.id] for row in self.prompts]),
            kernels=self.kernels,
            measures={name: MEASURES[name] for name in PRIMARY},
            quality=self.qualities,
        )
        report.save(folder)
        found = _Found(means(report), [])
        check: dict[str, Any] = {"step": step, "values": found.values}
        if self._baseline is None:
            self._baseline = report
            silent = [q.name for q in self.qualities if f"quality/{q.name}" not in found.values]
            if silent:
                raise ValueError(f"{silent} scored no answer to the prompts of {self.prompts.name}")
        else:
            trained = self.kernels[0].name
            comparison = compare(
                self._baseline, report, trained_kernel=trained, margins=self.margins
            )
            changes = watched(comparison)
            moved = {f"{name}/change": each.difference for name, each in changes.items()}
            found = _Found(found.values | moved, find_alarms(comparison, strict=self.strict))
            check["changes"] = {name: each.as_json() for name, each in changes.items()}
        self._checks.append(check | {"alarms": found.alarms})
        last = self._checks[-self.patience :]
        stop = len(last) == self.patience and all(each["alarms"] for each in last)
        self._write(step if stop else None)
        if found.alarms:
            logger.warning("safeguard, step %d: %s", step, "; ".join(found.alarms))
        if stop:
            logger.warning("safeguard: training stops at step %d", step)
        return found._replace(stop=stop)

    @property
    def _folder(self) -> Path:
        return Path(self._trainer.args.output_dir) / SAFEGUARD

    @property
    def _ruler(self) -> dict[str, Any]:
        """What must be equal before numbers of two checks are compared, as JSON gives it back."""
        ruler = {
            "prompts": prompts_digest((row.id, row.prompt) for row in self.prompts),
            "samples": self.samples,
            "sampling": asdict(self.sampling),
            "template_options": self.template_options,
            "kernels": [each.name for each in self.kernels],
            "qualities": [each.identity | {"name": each.name} for each in self.qualities],
        }
        read: dict[str, Any] = json.loads(json.dumps(ruler))
        return read

    def _write(self, stopped: int | None) -> None:
        """Keep the record of the run so far."""
        record = {"settings": self._ruler, "checks": self._checks, "stopped": stopped}
        write_atomically(self._folder.with_suffix(".json"), json.dumps(record, indent=2) + "\n")

    def _restore(self, step: int) -> bool:
        """Read back what was found up to a step; say whether there was a baseline."""
        file = self._folder.with_suffix(".json")
        record = json.loads(file.read_text("utf-8")) if file.is_file() else {"checks": []}
        checks = [check for check in record["checks"] if check["step"] <= step]
        if not checks:
            logger.warning("safeguard: no baseline in %s; step %d becomes it", file, step)
            return False
        ruler = self._ruler
        if changed := [name for name in ruler if ruler[name] != record["settings"].get(name)]:
            raise ValueError(
                f"{file} was begun with other settings ({', '.join(changed)}): give the same ones, "
                "or move it away to make the model as it is now the baseline"
            )
        self._checks = checks
        self._baseline = load_report(self._folder / f"step-{checks[0]['step']}")
        return True


def _warn_of_few(prompts: PromptSet, strict: bool) -> None:
    """Say at once that the intervals of so few prompts cannot stop a run."""
    units = count_units(
        clusters_of([row.columns | {"id": row.id} for row in prompts]), len(prompts)
    )
    if units < FEWEST:
        logger.warning(
            "safeguard: %d independent prompts of %r; with fewer than %d no interval stops a run%s. "
            "Raise limit, or give more prompts",
            units,
            prompts.name,
            FEWEST,
            ", only the mean of a quality" if strict else " (strict=True goes by the mean alone)",
        )
