"""What the scripts of studies share."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from diversify.cli.studies import add_result, exit_code, read_config


@dataclass
class Study:
    output: str
    steps: int = 3
    command: list[str] = field(default_factory=list)


def config(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(text)
    return path


def test_a_config_is_read_with_its_places(tmp_path):
    path = config(tmp_path, 'output: runs\ncommand: [go, "{output}/x", "{other}"]\n')
    assert read_config(path, Study) == Study("runs", 3, ["go", "{output}/x", "{other}"])
    found = read_config(path, Study, places={"output": "there"}, given={"output": "there"})
    assert found == Study("there", 3, ["go", "there/x", "{other}"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("output: a\nstpes: 4\n", r"unknown keys \['stpes'\]; the keys are \['command', 'output'"),
        ("steps: 4\n", r"it lacks \['output'\]"),
        ("- output\n", "a config is a mapping of keys, got list"),
        ("", "got NoneType"),
    ],
)
def test_a_config_that_is_none_is_refused(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_config(config(tmp_path, text), Study)


def test_a_missing_config_is_named(tmp_path):
    with pytest.raises(ValueError, match="no config file"):
        read_config(tmp_path / "none.yaml", Study)


def test_the_exit_code_says_how_it_went(capsys):
    def fails(error):
        def work():
            raise error

        return work

    assert exit_code("study", lambda: None) == 0
    assert exit_code("study", fails(ValueError("seven is odd"))) == 1
    assert exit_code("study", fails(KeyboardInterrupt())) == 130
    assert capsys.readouterr().err == (
        "\nstudy: seven is odd\n\nstopped; the same command continues where it was\n"
    )
    with pytest.raises(KeyError):  # a mistake of ours keeps its traceback
        exit_code("study", fails(KeyError("x")))


def test_results_are_added_and_replaced(tmp_path):
    path = tmp_path / "new" / "results.json"
    for name, row in (("a", {"x": 1}), ("b", {"x": 2}), ("a", {"x": 3})):
        add_result(path, name, row)
    assert json.loads(path.read_text()) == {"a": {"x": 3}, "b": {"x": 2}}
