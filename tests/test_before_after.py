"""The study script: its config, its marks of what is done, and its sense of time."""

import json
from pathlib import Path

import pytest
from importing import imported

from diversify.kernels import NgramKernel
from diversify.quality import Rule

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


def laboratory(study, output, *, train=(), **options):
    """Return the stages of a study on the shipped prompts, its models never needed."""
    fields = {"output": str(output), "model": "m", "adapter": str(output / "adapter")}
    given = study.Study(**fields, train=[*train], prompts="open-ended", **options)
    lab = study.Laboratory(given, study.Progress([1.0] * 20))
    lab.kernels = [NgramKernel(2)]
    return lab


@pytest.fixture
def light(study, monkeypatch, tiny_embedder):
    """The study script with an embedder that needs no model."""
    monkeypatch.setattr(study, "load_embedder", lambda name: tiny_embedder)
    return study


def test_a_changed_step_is_run_again_with_all_after_it(light, tmp_path):
    """Three steps hand on a number. Only the first one's script changes, from 1 to 2: all three
    run again, and the adapter knows of it. Nothing changed, nothing runs."""
    scripts = {
        "one": "text = '1'",
        "two": f"text = Path({str(tmp_path / 'one.txt')!r}).read_text()",
        "three": f"text = Path({str(tmp_path / 'two.txt')!r}).read_text()",
    }
    head = f"from pathlib import Path\nfolder = Path({str(tmp_path)!r})\n"
    for name, script in scripts.items():
        tail = f"\n(folder / '{name}.txt').write_text(text)\n"
        tail += f"(folder / 'ran').open('a').write('{name} ')\n"
        tail += "(folder / 'adapter').mkdir(exist_ok=True)\n"
        tail += "(folder / 'adapter' / 'adapter_config.json').write_text('{}')\n"
        (tmp_path / f"{name}.py").write_text(head + script + tail)
    commands = [["python", str(tmp_path / f"{name}.py")] for name in scripts]
    lab = laboratory(light, tmp_path, train=commands)

    def ran():
        (tmp_path / "ran").unlink(missing_ok=True)
        lab.train("train", commands, lab.study.adapter)
        return (tmp_path / "ran").read_text().split() if (tmp_path / "ran").is_file() else []

    assert ran() == [*scripts]
    assert ran() == []
    script = tmp_path / "one.py"
    script.write_text(script.read_text().replace("'1'", "'2'"))
    assert ran() == [*scripts]
    assert (tmp_path / "three.txt").read_text() == "2"
    assert ran() == []
    # The middle one is made to run again: what it writes is read by the last one alone.
    (tmp_path / ".done" / "train" / "2.sha256").unlink()
    assert ran() == ["two", "three"]


def test_a_study_that_stopped_between_two_steps_has_the_later_one_to_do(light, tmp_path):
    """The first step fails after the change; the second one must not count as done from before."""
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    commands = [["python", str(tmp_path / f"{name}.py")] for name in ("one", "two")]
    for command in commands:
        Path(command[1]).write_text("")
    lab = laboratory(light, tmp_path, train=commands)
    lab.train("train", commands, lab.study.adapter)
    Path(commands[0][1]).write_text("raise SystemExit('no memory')")
    with pytest.raises(ValueError, match="no memory"):
        lab.train("train", commands, lab.study.adapter)
    assert not [*(tmp_path / ".done" / "train").iterdir()]


def test_answers_are_scored_again_where_something_else_is_asked(light, tmp_path, monkeypatch):
    """Scored with `short`; asked for `long`, the old report is none. The same again is passed over
    without building a quality; so is a report from before there were markers, once it is checked."""
    (tmp_path / "base").mkdir()
    row = {"id": "a", "prompt": "A pet?", "generations": ["cat", "dog"]}
    (tmp_path / "base" / "generations.jsonl").write_text(json.dumps(row) + "\n")
    built, scored = [], []

    def build(names, **options):
        built.append([*names])
        return {name: Rule(lambda prompt, text: 1.0, name) for name in names}

    def evaluate(*arguments, **options):
        scored.append(options)
        return real(*arguments, **options)

    real = light.evaluate
    monkeypatch.setattr(light, "build_qualities", build)
    monkeypatch.setattr(light, "evaluate", evaluate)

    def names(asked):
        built.clear(), scored.clear()
        return laboratory(light, tmp_path, qualities=asked).score("base").names("qualities")

    assert names("short") == ["short"] and len(scored) == 1
    assert names("short") == ["short"] and not built and not scored
    assert names("long,short") == ["long", "short"] and len(scored) == 1
    (tmp_path / ".done" / "scores" / "base.sha256").unlink()
    assert names("long,short") == ["long", "short"] and built and not scored
    assert names("long,short") == ["long", "short"] and not built
    # Somebody else's report in its place, newer than the marker.
    real(tmp_path / "base", kernels=[NgramKernel(2)]).save(tmp_path / "base")
    assert names("long,short") == ["long", "short"] and len(scored) == 1
