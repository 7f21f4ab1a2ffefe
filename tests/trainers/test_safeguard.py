"""The safeguard beside real TRL trainers: it logs, stops, resumes, and leaves training as it is."""

import json
import logging
import os
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import TrainerCallback

from diversify.evaluation import Change, Comparison, PromptRow, PromptSet, load_report
from diversify.kernels import EmbeddingKernel, NgramKernel
from diversify.measures import vendi
from diversify.trainers.alarms import find_alarms
from diversify.trainers.live import is_sharded, live_model
from diversify.trainers.safeguard import Safeguard

HERE = Path(__file__).parent
QUESTIONS = [
    "Name a colour.",
    "Name a fruit.",
    "Tell me a story.",
    "Name a city.",
    "Name a river.",
    "Name a bird.",
]
PROMPTS = PromptSet("six", tuple(PromptRow(f"q{i}", text) for i, text in enumerate(QUESTIONS)))
SMALL = {"prompts": PROMPTS, "samples": 3, "max_tokens": 6, "batch_size": 16}


@dataclass
class Planted:
    """A quality with one value a check: whatever the answers, it says what it was told to."""

    values: list[float | None]
    name: str = "planted"
    margin: float = 0.1
    two_sided: bool = False
    calls: int = 0
    identity: dict = field(default_factory=dict)

    def __call__(self, prompts, completions, **columns):
        value = self.values[min(self.calls, len(self.values) - 1)]
        self.calls += 1
        return [value] * len(completions)


@dataclass
class Wandering:
    """A kernel by which all texts are equally alike; how much so is planted for each check."""

    name: str
    similarities: list[float]
    calls: int = 0

    def __call__(self, texts):
        check = min(self.calls // len(QUESTIONS), len(self.similarities) - 1)
        self.calls += 1
        S = np.full((len(texts), len(texts)), self.similarities[check])
        np.fill_diagonal(S, 1.0)
        return S


class Reporter(TrainerCallback):
    """Stands for wandb and its kin, which come before any callback of the user."""

    def __init__(self):
        self.logs = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.logs.append({"step": state.global_step, **logs})


def make_trainer(method, model_path, output, *, callbacks=(), **options):
    """Return a tiny trainer that makes four steps."""
    import trl
    from datasets import Dataset

    peft = options.pop("peft_config", None)
    common = {
        "output_dir": str(output),
        "per_device_train_batch_size": 4,
        "max_steps": 4,
        "learning_rate": 1e-2,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "bf16": False,
        "use_cpu": True,
        "seed": 0,
        **options,
    }
    answers = [f" a {colour} day" for colour in ("red", "blue", "green", "long")] * 2
    questions = QUESTIONS[:4] * 2
    if method == "sft":
        rows = {"prompt": questions, "completion": answers}
        config, trainer, more = trl.SFTConfig(**common, max_length=32), trl.SFTTrainer, {}
    elif method == "dpo":
        rows = {"prompt": questions, "chosen": answers, "rejected": answers[::-1]}
        config, trainer, more = trl.DPOConfig(**common, max_length=32), trl.DPOTrainer, {}
    else:
        rows = {"prompt": questions}
        config = trl.GRPOConfig(**common, num_generations=4, max_completion_length=6)
        trainer, more = trl.GRPOTrainer, {"reward_funcs": length_reward}
    return trainer(
        model=str(model_path),
        args=config,
        train_dataset=Dataset.from_dict(rows),
        callbacks=list(callbacks),
        peft_config=peft,
        **more,
    )


def length_reward(prompts, completions, **columns):
    return [float(len(text)) for text in completions]


def weights(trainer):
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def entries(trainer):
    return [entry for entry in trainer.state.log_history if "safeguard/alarms" in entry]


@pytest.mark.parametrize("method", ["sft", "dpo", "grpo"])
def test_it_logs_and_leaves_training_as_it_is(method, tiny_model_path, tiny_embedder, tmp_path):
    """Weights with and without it are equal bit for bit; gradient checkpointing is on."""
    plain = make_trainer(method, tiny_model_path, tmp_path / "plain")
    plain.train()
    reporter = Reporter()
    trainer = make_trainer(method, tiny_model_path, tmp_path / "guarded", callbacks=[reporter])
    kernel = EmbeddingKernel(tiny_embedder)
    quality = Planted([1.0])
    safeguard = Safeguard(kernel, qualities=[quality], every=2, **SMALL).attach(trainer)
    assert safeguard.attach(trainer) is safeguard  # twice is once
    trainer.train()

    for (name, before), after in zip(
        weights(plain).items(), weights(trainer).values(), strict=True
    ):
        assert torch.equal(before, after), name
    assert trainer.state.global_step == 4
    assert trainer.model.training == plain.model.training
    # The trainer's own log has lost nothing: neither steps nor what TRL gathers for them.
    noise = {"train_runtime", "train_samples_per_second", "train_steps_per_second", "step_time"}
    logs = {}
    for each in (plain, trainer):
        own = [e for e in each.state.log_history if "safeguard/alarms" not in e]
        logs[each] = [{k: v for k, v in entry.items() if k not in noise} for entry in own]
    assert logs[plain] == logs[trainer]

    found = entries(trainer)
    assert [entry["step"] for entry in found] == [0, 2, 4]
    assert quality.calls == 3
    for entry in found:
        assert {
            "safeguard/vendi/hashing",
            "safeguard/vendi/ngram-2",
            "safeguard/mean_distance/hashing",
            "safeguard/mean_distance/ngram-2",
            "safeguard/quality/planted",
            "safeguard/monitor/length",
            "safeguard/monitor/gibberish",
            "safeguard/monitor/truncated",
            "safeguard/seconds",
        } <= set(entry)
    assert "safeguard/vendi/hashing/change" not in found[0]
    for name in ("vendi/hashing", "mean_distance/ngram-2"):
        change = found[2][f"safeguard/{name}"] - found[0][f"safeguard/{name}"]
        assert found[2][f"safeguard/{name}/change"] == pytest.approx(change)
    reported = [log for log in reporter.logs if "safeguard/alarms" in log]
    assert [log["step"] for log in reported] == [0, 2, 4]
    assert all(log.items() >= entry.items() for log, entry in zip(reported, found, strict=True))

    report = load_report(tmp_path / "guarded/safeguard/step-4")
    assert [sample["prompt"] for sample in report.samples] == QUESTIONS
    mean = np.mean([vendi(kernel(sample["generations"])) for sample in report.samples])
    assert found[2]["safeguard/vendi/hashing"] == pytest.approx(mean)
    record = json.loads((tmp_path / "guarded/safeguard.json").read_text())
    assert [check["step"] for check in record["checks"]] == [0, 2, 4]
    assert record["stopped"] is None


def test_it_asks_the_model_as_it_is(tiny_model_path, tmp_path):
    """After a few steps at a high rate the answers differ from those of the start, and what was
    trained with an adapter answers through it; gradient checkpointing and its hooks stay on."""
    from peft import LoraConfig

    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    options = {"peft_config": lora, "learning_rate": 0.1, "gradient_checkpointing": True}
    plain = make_trainer("sft", tiny_model_path, tmp_path / "plain", **options)
    plain.train()
    trainer = make_trainer("sft", tiny_model_path, tmp_path / "guarded", **options)
    Safeguard(NgramKernel(1), every=4, **SMALL).attach(trainer)
    trainer.train()
    for (name, before), after in zip(
        weights(plain).items(), weights(trainer).values(), strict=True
    ):
        assert torch.equal(before, after), name
    first, last = (load_report(tmp_path / f"guarded/safeguard/step-{n}") for n in (0, 4))
    assert first.samples[0]["generations"] != last.samples[0]["generations"]
    answers = [text for sample in last.samples for text in sample["generations"]]
    assert any("day" in text for text in answers)  # every training text ends with it


def stopped(model_path, output, *, kernels=None, **options):
    """Train by SFT beside a planted safeguard; return the steps made and the record."""
    trained, held_out = kernels or (Wandering("seen", [0.5]), Wandering("unseen", [0.5]))
    trainer = make_trainer("sft", model_path, output)
    safeguard = Safeguard(trained, held_out=held_out, every=1, **SMALL, **options).attach(trainer)
    trainer.train()
    record = json.loads((output / "safeguard.json").read_text())
    return trainer.state.global_step, record, safeguard


class TestStop:
    def test_a_quality_that_falls_beyond_its_margin(self, tiny_model_path, tmp_path, caplog):
        """Margin 0.1: a fall of 0.09 at step 1 is borne, one of 0.2 at step 2 is not."""
        quality = Planted([1.0, 0.91, 0.8])
        with caplog.at_level(logging.WARNING, logger="diversify"):
            steps, record, guard = stopped(tiny_model_path, tmp_path, qualities=[quality])
        assert steps == 2
        assert record["stopped"] == 2
        alarm = "quality fell beyond its margin: planted -0.200 [-0.200, -0.200], margin 0.1"
        assert guard.reasons == record["checks"][2]["alarms"] == [alarm]
        assert record["checks"][1]["alarms"] == []
        assert record["checks"][2]["changes"]["quality/planted"]["ci95"] == pytest.approx(
            [-0.2] * 2
        )
        assert f"safeguard, step 2: {alarm}" in caplog.text
        assert "training stops at step 2" in caplog.text

    def test_a_rise_only_where_it_is_suspicious(self, tiny_model_path, tmp_path):
        for two_sided, expected in ((True, 1), (False, 4)):
            quality = Planted([1.0, 1.2], two_sided=two_sided)
            folder = tmp_path / str(two_sided)
            steps, _, _ = stopped(tiny_model_path, folder, qualities=[quality])
            assert steps == expected

    def test_margins_that_are_given_replace_the_qualitys_own(self, tiny_model_path, tmp_path):
        quality = Planted([1.0, 0.8])
        options = {"qualities": [quality], "margins": {"planted": 0.3}}
        assert stopped(tiny_model_path, tmp_path, **options)[0] == 4

    def test_a_quality_that_falls_silent(self, tiny_model_path, tmp_path):
        quality = Planted([1.0, 1.0, 1.0, None])
        steps, _, guard = stopped(tiny_model_path, tmp_path, qualities=[quality])
        assert (steps, guard.reasons) == (3, ["quality planted can no longer be scored"])

    def test_kernels_that_part(self, tiny_model_path, tmp_path):
        """Alike 0.5 and 0.5; then less by the trained kernel alone; then more by the other."""
        kernels = Wandering("seen", [0.5, 0.4, 0.4]), Wandering("unseen", [0.5, 0.5, 0.6])
        steps, _, guard = stopped(tiny_model_path, tmp_path, kernels=kernels)
        assert steps == 2
        assert sorted(reason.partition(" (")[0] for reason in guard.reasons) == [
            "mean_distance rose by the trained kernel seen",
            "vendi rose by the trained kernel seen",
        ]

    def test_kernels_that_part_the_other_way_are_no_reason(self, tiny_model_path, tmp_path):
        kernels = Wandering("seen", [0.5, 0.6]), Wandering("unseen", [0.5, 0.4])
        assert stopped(tiny_model_path, tmp_path, kernels=kernels)[0] == 4

    def test_patience_counts_checks_in_a_row(self, tiny_model_path, tmp_path):
        """Bad at steps 1, 3 and 4: the second in a row is step 4."""
        quality = Planted([1.0, 0.5, 1.0, 0.5, 0.5])
        options = {"qualities": [quality], "patience": 2}
        steps, record, _ = stopped(tiny_model_path, tmp_path, **options)
        assert (steps, record["stopped"]) == (4, 4)
        assert [bool(check["alarms"]) for check in record["checks"]] == [0, 1, 0, 1, 1]


UP = Change(4.0, 5.0, 1.0, (0.5, 1.5), 16, 0.9, True)
DOWN = Change(4.0, 3.0, -1.0, (-1.5, -0.5), 16, 0.1, True)
OPEN = Change(4.0, 3.0, -1.0, (-2.5, 0.5), 16, 0.4, True)


def compared(measures, qualities=None, **margins):
    details = {
        "trained_kernel": "seen",
        "margins": {n: {"margin": m, "two_sided": t} for n, (m, t) in margins.items()},
    }
    return Comparison(("a", "b"), measures, qualities or {}, {}, {}, details=details)


class TestAlarms:
    @pytest.mark.parametrize(
        ("seen", "unseen", "alarm"),
        [
            (UP, DOWN, 1),
            (UP, OPEN, 0),
            (OPEN, DOWN, 0),
            (DOWN, UP, 0),
            (UP, UP, 0),
            (DOWN, DOWN, 0),
        ],
    )
    def test_kernels_part_where_both_intervals_are_clear_of_zero(self, seen, unseen, alarm):
        found = find_alarms(compared({"vendi,seen": seen, "vendi,unseen": unseen}))
        assert len(found) == alarm

    def test_only_the_primary_measures_decide(self):
        assert find_alarms(compared({"distinct,seen": UP, "distinct,unseen": DOWN})) == []
        assert find_alarms(compared({"mean_distance,seen": UP, "mean_distance,x": DOWN})) != []

    @pytest.mark.parametrize(
        ("change", "margin", "two_sided", "strict", "alarm"),
        [
            (DOWN, 0.4, False, False, 1),
            (DOWN, 0.5, False, False, 0),  # the interval reaches the margin
            (DOWN, 0.5, False, True, 1),  # the mean lies beyond it
            (DOWN, 1.0, False, True, 0),
            (OPEN, 0.5, False, False, 0),
            (UP, 0.4, False, False, 0),
            (UP, 0.4, True, False, 1),
            (UP, 0.5, True, False, 0),
            (UP, 0.5, True, True, 1),
        ],
    )
    def test_a_quality_is_lost_beyond_its_margin(self, change, margin, two_sided, strict, alarm):
        comparison = compared({}, {"good": change}, good=(margin, two_sided))
        assert len(find_alarms(comparison, strict=strict)) == alarm

    @pytest.mark.parametrize(
        ("prompts", "units", "strict", "alarm"),
        [
            (5, None, False, 0),
            (6, None, False, 1),
            (16, 5, False, 0),  # paraphrases of five questions
            (16, 6, False, 1),
            (2, 2, True, 1),  # by the mean, whatever the interval
        ],
    )
    def test_an_interval_of_fewer_than_six_shows_nothing(self, prompts, units, strict, alarm):
        """Two prompts that fall alike have the narrowest of intervals, and prove nothing."""
        change = DOWN._replace(n_prompts=prompts, n_units=units)
        comparison = compared({}, {"good": change}, good=(0.1, False))
        assert len(find_alarms(comparison, strict=strict)) == alarm
        up = UP._replace(n_prompts=prompts, n_units=units)
        comparison = compared({}, {"good": up}, good=(0.1, True))
        assert len(find_alarms(comparison, strict=strict)) == alarm

    def test_a_quality_that_is_missing_is_lost(self):
        assert find_alarms(compared({}, good=(0.1, False))) == [
            "quality good can no longer be scored"
        ]


class TestResume:
    def resume(self, tiny_model_path, output, steps, quality, **options):
        """Train up to so many steps, from the newest checkpoint if there is one."""
        saving = {"save_strategy": "steps", "save_steps": 2, "max_steps": steps}
        trainer = make_trainer("sft", tiny_model_path, output, **saving)
        guard = Safeguard(NgramKernel(1), qualities=[quality], every=2, **{**SMALL, **options})
        guard.attach(trainer)
        trainer.train(resume_from_checkpoint=bool(list(output.glob("checkpoint-*"))) or None)
        return trainer

    def test_the_baseline_and_the_row_of_alarms_survive(self, tiny_model_path, tmp_path):
        """Against the start (1.0) the 0.8 after resuming is a fall; against step 2 it is none.

        With a patience of two the alarm of step 2, before the interruption, counts.
        """
        self.resume(tiny_model_path, tmp_path, 2, Planted([1.0, 0.8]), patience=2)
        first = load_report(tmp_path / "safeguard/step-0")
        trainer = self.resume(tiny_model_path, tmp_path, 8, Planted([0.8]), patience=2)
        assert trainer.state.global_step == 4
        record = json.loads((tmp_path / "safeguard.json").read_text())
        assert [check["step"] for check in record["checks"]] == [0, 2, 4]
        assert record["checks"][2]["changes"]["quality/planted"]["before"] == 1.0
        assert load_report(tmp_path / "safeguard/step-0").samples == first.samples

    def test_checks_after_the_checkpoint_are_made_again(self, tiny_model_path, tmp_path):
        self.resume(tiny_model_path, tmp_path, 4, Planted([1.0]))
        (tmp_path / "checkpoint-4").rename(tmp_path / "lost")
        self.resume(tiny_model_path, tmp_path, 4, Planted([0.95]))
        record = json.loads((tmp_path / "safeguard.json").read_text())
        assert [check["step"] for check in record["checks"]] == [0, 2, 4]
        planted = [check["values"]["quality/planted"] for check in record["checks"]]
        assert planted == pytest.approx([1.0, 1.0, 0.95])

    def test_without_a_record_the_model_as_it_is_becomes_the_baseline(
        self, tiny_model_path, tmp_path, caplog
    ):
        self.resume(tiny_model_path, tmp_path, 2, Planted([1.0]))
        (tmp_path / "safeguard.json").unlink()
        with caplog.at_level(logging.WARNING, logger="diversify"):
            self.resume(tiny_model_path, tmp_path, 4, Planted([0.8]))
        assert "step 2 becomes it" in caplog.text
        record = json.loads((tmp_path / "safeguard.json").read_text())
        assert [check["step"] for check in record["checks"]] == [2, 4]
        assert record["stopped"] is None

    def test_other_settings_are_refused(self, tiny_model_path, tmp_path):
        self.resume(tiny_model_path, tmp_path, 2, Planted([1.0]))
        with pytest.raises(ValueError, match=r"other settings \(samples, qualities\)"):
            quality = Planted([1.0], identity={"model": "another"})
            self.resume(tiny_model_path, tmp_path, 4, quality, samples=4)

    def test_a_fresh_run_in_the_same_folder_starts_anew(self, tiny_model_path, tmp_path):
        stopped(tiny_model_path, tmp_path, qualities=[Planted([1.0, 0.5])])
        steps, record, _ = stopped(tiny_model_path, tmp_path, qualities=[Planted([0.5])])
        assert (steps, record["stopped"]) == (4, None)
        assert record["checks"][0]["values"]["quality/planted"] == 0.5


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"every": 0}, "every must be at least 1, got 0"),
            ({"limit": 1}, "limit must be at least 2, got 1"),
            ({"samples": 1}, "samples must be at least 2, got 1"),
            ({"patience": 0}, "patience must be at least 1, got 0"),
            ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
            ({"temperature": 0.0}, "temperature must be above 0"),
            ({"max_tokens": 0}, "max_tokens must be >= 1, got 0"),
            ({"prompts": "nowhere.jsonl"}, "'nowhere.jsonl'"),
            ({"split": "exam"}, "no split 'exam'"),
            (
                {"prompts": PROMPTS.select(limit=1)},
                "number of prompts in 'six' must be at least 2",
            ),
            ({"held_out": NgramKernel(1)}, "held_out must be another kernel"),
            ({"qualities": [length_reward]}, "a quality needs a name and a margin"),
            ({"margins": {"taste": 0.1}}, r"margins name \['taste'\], which are no qualities"),
        ],
    )
    def test_they_are_checked_at_once(self, options, message):
        with pytest.raises(ValueError, match=message):
            Safeguard(NgramKernel(1), **options)

    @pytest.mark.parametrize(
        ("limit", "groups", "strict", "told"),
        [
            (6, 6, False, ""),
            (5, 5, False, "5 independent prompts of 'few'"),
            (5, 5, True, "only the mean of a quality"),
            (6, 2, False, "2 independent prompts of 'few'"),
        ],
    )
    def test_too_few_prompts_for_an_interval_are_told_at_once(
        self, limit, groups, strict, told, caplog
    ):
        """Six is the fewest; six questions of two groups are two."""
        rows = [PromptRow(f"q{i}", f"Q {i}?", columns={"group": i % groups}) for i in range(limit)]
        with caplog.at_level(logging.WARNING, logger="diversify"):
            Safeguard(NgramKernel(1), prompts=PromptSet("few", tuple(rows)), strict=strict)
        assert told in caplog.text and bool(caplog.text) is bool(told)

    def test_the_defaults_are_the_shipped_prompts_and_words_held_out(self):
        safeguard = Safeguard(NgramKernel(1))
        assert (safeguard.prompts.name, len(safeguard.prompts)) == ("open-ended", 16)
        assert {row.split for row in safeguard.prompts} == {"test"}
        assert [kernel.name for kernel in safeguard.kernels] == ["ngram-1", "ngram-2"]

    def test_it_must_be_attached(self, tiny_model_path, tmp_path):
        safeguard = Safeguard(NgramKernel(1), **SMALL)
        trainer = make_trainer("sft", tiny_model_path, tmp_path, callbacks=[safeguard])
        with pytest.raises(ValueError, match=r"call safeguard.attach\(trainer\)"):
            trainer.train()

    def test_a_quality_that_scores_nothing_is_no_quality(self, tiny_model_path, tmp_path):
        with pytest.raises(
            ValueError, match=r"\['planted'\] scored no answer to the prompts of six"
        ):
            stopped(tiny_model_path, tmp_path, qualities=[Planted([None])])


class TestModel:
    @pytest.mark.parametrize(
        ("fsdp", "zero", "sharded"),
        [(False, None, 0), (True, None, 1), (False, 3, 1), (False, 2, 0)],
    )
    def test_sharded_models_are_refused(self, fsdp, zero, sharded):
        plugin = None if zero is None else SimpleNamespace(zero_stage=zero)
        trainer = SimpleNamespace(
            is_fsdp_enabled=fsdp,
            accelerator=SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=plugin)),
            model=torch.nn.Linear(1, 1),
        )
        assert is_sharded(trainer) == bool(sharded)
        if sharded:
            with pytest.raises(ValueError, match=r"sharded over processes \(FSDP"):
                Safeguard(NgramKernel(1), **SMALL).attach(trainer)

    def test_every_module_gets_its_own_mode_back_even_after_an_error(self, tiny_model_path):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(tiny_model_path).train()
        tokenizer = AutoTokenizer.from_pretrained(tiny_model_path)
        tokenizer.pad_token = None
        model.model.layers[0].eval()
        before = {name: module.training for name, module in model.named_modules()}
        assert Counter(before.values())[False] > 1
        trainer = SimpleNamespace(
            accelerator=SimpleNamespace(unwrap_model=lambda given: given),
            model=model,
            processing_class=SimpleNamespace(tokenizer=tokenizer),  # as of a processor
        )
        with pytest.raises(KeyError), live_model(trainer) as loaded:
            assert not any(module.training for module in model.modules())
            assert loaded.tokenizer.pad_token_id == tokenizer.eos_token_id
            raise KeyError
        assert {name: module.training for name, module in model.named_modules()} == before
        assert tokenizer.pad_token is None


@pytest.mark.slow
@pytest.mark.parametrize("case", ["agree", "answer fails", "score fails"])
def test_several_processes(case, tiny_model_path, tmp_path):
    """Both log the same and stop at the same step; one that fails takes the other with it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    command += ["--num_processes", "2", "--main_process_port", str(port)]
    command += [str(HERE / "launched_safeguard.py"), str(tmp_path), str(tiny_model_path), case]
    path = os.pathsep.join([str(HERE.parents[1]), str(HERE), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": path}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    if case == "agree":
        assert ranks[0]["log"] == ranks[1]["log"]
        assert [entry["step"] for entry in ranks[0]["log"]] == [0, 1, 2]
        assert [rank["step"] for rank in ranks] == [2, 2]
        report = load_report(tmp_path / "run/safeguard/step-2")
        assert [sample["prompt"] for sample in report.samples] == QUESTIONS
    else:
        failing = {"answer fails": 1, "score fails": 0}[case]
        assert ranks[failing]["error"] == "OSError: no memory"
        assert ranks[1 - failing]["error"].startswith(f"RuntimeError: process {failing} failed")
        assert ranks[1 - failing]["error"].endswith("OSError: no memory")
