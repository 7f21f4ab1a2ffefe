"""The study script: its config, its marks of what is done, and its sense of time."""

from pathlib import Path

import pytest
from importing import imported

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def study():
    with imported("eval/before_after.py") as module:
        yield module


def configs():
    found = sorted((ROOT / "configs/demo").glob("demo*.yaml"))
    assert found
    return found


@pytest.mark.parametrize("path", configs(), ids=lambda path: path.name)
def test_the_demo_configs_are_whole(study, path, tmp_path):
    read = study.read_study(path, str(tmp_path / "out"))
    assert read.output == str(tmp_path / "out") and read.adapter.startswith(read.output)
    commands = [*read.train, *(c for control in read.controls.values() for c in control["train"])]
    for command in commands:
        assert (ROOT / command[0]).is_file()
        assert not any("{" in word for word in command)
    assert len(study.stage_weights(read, sorted({*read.sweep, read.temperature}))) >= 10
    first_line = path.read_text().splitlines()[0]
    assert first_line == f"# python eval/before_after.py --config {path.relative_to(ROOT)}"


def test_unknown_keys_are_named(study, tmp_path):
    path = tmp_path / "s.yaml"
    path.write_text("output: o\nmodle: m\n")
    with pytest.raises(ValueError, match="modle"):
        study.read_study(path, None)
    with pytest.raises(ValueError, match="no config file"):
        study.read_study(tmp_path / "none.yaml", None)


def test_the_time_left_follows_the_pace(study, monkeypatch, capsys):
    """Weights 1, 1, 2: after the first stage took 10 s, three times 10 s are left; a skipped
    stage neither counts as pace nor stays on the bill, so after it 20 s are left."""
    now = [0.0]
    monkeypatch.setattr(study.time, "monotonic", lambda: now[0])
    progress = study.Progress([1, 1, 2])
    progress.begin("one")
    now[0] = 10.0
    progress.end()
    assert "about 0:30 left" in capsys.readouterr().out
    progress.begin("two")
    progress.end(skipped=True)
    assert "about 0:20 left" in capsys.readouterr().out
