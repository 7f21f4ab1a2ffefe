"""Before and after training: the host's defaults, the parser, resuming, and the record."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from diversify.trainers import setup
from diversify.trainers.setup import (
    check_world,
    finished_before,
    host_defaults,
    make_parser,
    model_source,
    parse,
    resume_point,
)


@dataclass
class Host:
    bf16: bool | None = None
    use_cpu: bool = False


@dataclass
class Options:
    names: list[str] = field(default_factory=list)
    shares: list[float] | None = None
    rate: float = 1.0


@pytest.mark.parametrize(
    ("bfloat16", "accelerator", "expected"),
    [
        (True, True, {}),
        (False, True, {"bf16": False}),
        (False, False, {"bf16": False, "use_cpu": True}),
    ],
)
def test_precision_follows_the_machine(bfloat16, accelerator, expected, monkeypatch):
    monkeypatch.setattr(setup, "is_torch_bf16_gpu_available", lambda: bfloat16)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: accelerator)
    assert host_defaults() == expected


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(setup, "is_torch_bf16_gpu_available", lambda: False)
    monkeypatch.setattr("torch.accelerator.is_available", lambda: False)


def test_a_machine_without_gpu_trains_in_float32_on_the_cpu_unless_told_otherwise(no_gpu, tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("rate: 2.0\n")
    host, options = make_parser(Host, Options).parse_args_and_config(["--config", str(config)])
    assert (host.bf16, host.use_cpu, options.rate) == (False, True, 2.0)
    config.write_text("bf16: true\n")
    host, _ = make_parser(Host, Options).parse_args_and_config(["--config", str(config)])
    assert (host.bf16, host.use_cpu) == (True, True)
    host, _ = make_parser(Host, Options).parse_args_and_config(["--use_cpu", "false"])
    assert host.use_cpu is False


def test_trl_configs_are_made_on_any_machine(tmp_path):
    """TRL's own default, bfloat16, raises without a GPU."""
    from trl import DPOConfig

    (config,) = make_parser(DPOConfig).parse_args_and_config(["--output_dir", str(tmp_path)])
    assert config.output_dir == str(tmp_path)


def test_the_command_line_wins_and_a_file_may_give_one_value_for_a_list(tmp_path, no_gpu):
    config = tmp_path / "config.yaml"
    config.write_text("names: one\nshares: [1e-1, 1]\nrate: 1e-5\n")
    _, options = parse(Host, Options, argv=["--config", str(config), "--rate", "3"])
    assert options == Options(names=["one"], shares=[0.1, 1.0], rate=3.0)
    _, options = parse(Host, Options, argv=["--config", str(config)])
    assert options.rate == 1e-5


def test_a_config_with_an_equals_sign_is_refused(tmp_path):
    with pytest.raises(ValueError, match="with a space"):
        parse(Host, Options, argv=[f"--config={tmp_path}/config.yaml"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("rate: [", "the config cannot be read"),
        ("rate: {a: 1}", r"rate must be float, got \{'a': 1\}"),
        ("rate: [1.0]", r"rate must be float, got \[1.0\]"),
        ("rate: true", "rate must be float, got True"),
        ("shares: [x]", r"shares must hold float, got \['x'\]"),
        ("shares: [[1]]", r"shares must hold float, got \[\[1\]\]"),
        ("- rate", "must contain a YAML mapping"),
        ("", "must contain a YAML mapping"),
    ],
)
def test_a_config_that_says_something_else_is_refused(tmp_path, no_gpu, content, message):
    """What comes from a file has not been through argparse."""
    config = tmp_path / "config.yaml"
    config.write_text(content)
    with pytest.raises(ValueError, match=message):
        parse(Host, Options, argv=["--config", str(config)])


def test_a_whole_number_in_a_config_is_a_number(tmp_path, no_gpu):
    config = tmp_path / "config.yaml"
    config.write_text("rate: 2\n")
    _, options = parse(Host, Options, argv=["--config", str(config)])
    assert isinstance(options.rate, float) and options.rate == 2


def test_a_world_that_fell_apart_is_refused(monkeypatch):
    check_world()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match=r"started 2 processes, but this one sees 1"):
        check_world()


# --- checkpoints ----------------------------------------------------------------------------


def arguments(folder, resume, **options):
    defaults = {"max_steps": -1, "num_train_epochs": 3.0}
    return SimpleNamespace(
        output_dir=str(folder), resume_from_checkpoint=resume, **(defaults | options)
    )


@pytest.fixture
def checkpoints(tmp_path):
    """Steps 2 and 10 are complete; 12 was interrupted; another folder only sounds alike."""
    for name in ("checkpoint-2", "checkpoint-10", "checkpoint-12", "checkpoint-best"):
        (tmp_path / name).mkdir()
        if name not in ("checkpoint-12", "checkpoint-best"):
            (tmp_path / name / "trainer_state.json").write_text("{}")
    return tmp_path


@pytest.mark.parametrize("resume", ["auto", "true", True])
def test_the_newest_complete_checkpoint_is_taken(checkpoints, resume):
    assert resume_point(arguments(checkpoints, resume)) == str(checkpoints / "checkpoint-10")


def test_auto_begins_where_there_is_nothing_and_true_does_not(tmp_path):
    assert resume_point(arguments(tmp_path / "none", "auto")) is None
    with pytest.raises(ValueError, match="no complete checkpoint"):
        resume_point(arguments(tmp_path, "true"))


def test_a_named_checkpoint_must_be_complete(checkpoints):
    named = str(checkpoints / "checkpoint-2")
    assert resume_point(arguments(checkpoints, named)) == named
    with pytest.raises(ValueError, match="no complete checkpoint"):
        resume_point(arguments(checkpoints, str(checkpoints / "checkpoint-12")))


@pytest.mark.parametrize("resume", [None, "false", False])
def test_a_fresh_start_beside_checkpoints_is_warned_about(checkpoints, resume, caplog):
    assert resume_point(arguments(checkpoints, resume)) is None
    assert "checkpoint-10 exists and is not used" in caplog.text


def record(folder, **changes):
    content = {"steps": 4, "training": {"num_train_epochs": 3.0, "max_steps": -1}} | changes
    (folder / "training.json").write_text(json.dumps(content))
    return content


@pytest.mark.parametrize(
    ("options", "steps", "done"),
    [
        ({"max_steps": 4}, 4, True),
        ({"max_steps": 5}, 4, False),
        ({"num_train_epochs": 3.0}, 4, True),
        ({"num_train_epochs": 4.0}, 4, False),
    ],
)
def test_a_finished_run_is_not_trained_again(tmp_path, options, steps, done):
    content = record(tmp_path, steps=steps)
    found = finished_before(arguments(tmp_path, "auto", **options))
    assert found == (content if done else None)


def test_a_run_that_stopped_at_steps_is_not_taken_for_whole_epochs(tmp_path):
    record(tmp_path, training={"num_train_epochs": 3.0, "max_steps": 4})
    assert finished_before(arguments(tmp_path, "auto", num_train_epochs=3.0)) is None


def test_only_auto_asks_whether_a_run_is_over(tmp_path):
    record(tmp_path)
    assert finished_before(arguments(tmp_path, None, max_steps=4)) is None
    assert finished_before(arguments(tmp_path / "none", "auto", max_steps=4)) is None


# --- models ---------------------------------------------------------------------------------


def model_config(name):
    return SimpleNamespace(
        model_name_or_path=name,
        model_revision="main",
        dtype="float32",
        attn_implementation=None,
    )


def test_a_model_is_loaded_as_its_config_says():
    training = SimpleNamespace(model_init_kwargs={"dtype": "bfloat16"})
    assert model_source(model_config("me/model"), training) == "me/model"
    assert training.model_init_kwargs == {
        "revision": "main",
        "dtype": "bfloat16",
        "attn_implementation": None,
    }


def test_the_embedded_model_is_a_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(setup, "embedded_model_path", lambda name: tmp_path / name)
    training = SimpleNamespace(model_init_kwargs=None)
    found = model_source(model_config("smollm2-135m-instruct"), training)
    assert found == str(tmp_path / "smollm2-135m-instruct")


def test_no_model_is_an_error():
    with pytest.raises(ValueError, match="model_name_or_path is not set"):
        model_source(model_config(None), SimpleNamespace(model_init_kwargs=None))


# --- the end of a run -----------------------------------------------------------------------


class FakeTrainer:
    """What `train_and_save` touches of a trainer; it writes TRL's card when it pushes."""

    def __init__(self, output, push):
        self.args = SimpleNamespace(
            output_dir=str(output),
            resume_from_checkpoint=None,
            push_to_hub=push,
            hub_model_id="me/model" if push else None,
            learning_rate=1e-3,
        )
        self.state = SimpleNamespace(global_step=7)
        self.accelerator = SimpleNamespace(
            num_processes=1,
            wait_for_everyone=lambda: self.calls.append("wait"),
            free_memory=lambda: self.calls.append("free"),
        )
        self.model, self.model_wrapped = "model", "wrapper"
        self.calls = []

    def train(self, resume_from_checkpoint):
        self.calls.append("train")
        return SimpleNamespace(metrics={"train_loss": 0.5})

    def save_model(self, folder):
        self.calls.append("save")

    def is_world_process_zero(self):
        return True

    def create_model_card(self, **options):
        (Path(self.args.output_dir) / "README.md").write_text("TRL's card")

    def push_to_hub(self):
        self.create_model_card(model_name="model")
        self.calls.append("push")

    def end(self):
        self.calls.append("end")


@pytest.mark.parametrize("push", [False, True])
def test_a_run_ends_with_model_record_and_our_card(tmp_path, push):
    trainer = FakeTrainer(tmp_path, push)
    model = model_config("me/base")
    model.use_peft, model.lora_r = True, 8
    record = setup.train_and_save(trainer, model, recipe="grpo", method="moda", options={"a": 1})
    pushed = ["push"] if push else []
    assert trainer.calls == ["train", "save", *pushed, "wait", "free", "end"]
    assert trainer.model_wrapped == "model"  # no wrapper outlives the process group
    assert json.loads((tmp_path / "training.json").read_text()) == record
    assert record["steps"] == 7 and record["metrics"] == {"train_loss": 0.5}
    assert record["training"] == {"learning_rate": 1e-3, "lora_r": 8}
    assert record["versions"]["trl"].startswith("1.")
    card = (tmp_path / "README.md").read_text()
    assert "method `moda`" in card
    assert ('from_pretrained("me/model")' in card) is push
