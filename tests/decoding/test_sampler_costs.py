"""The benchmark of the samplers measures every one of them and can say no."""

import json

import pytest
from importing import imported

from diversify.decoding.steps import STEPS
from diversify.decoding.warpers import hosts


@pytest.fixture(scope="module")
def script():
    with imported("benchmarks/samplers.py") as module:
        yield module


def test_every_sampler_of_ours_has_a_share(script, tiny_model_path, capsys):
    ours = [name for name, kind in STEPS.items() if kind.__name__ not in hosts.__all__]
    assert sorted(script.OURS) == sorted(ours)
    where = ["--model", str(tiny_model_path), "--rows", "3", "--steps", "5"]
    assert script.main([*where, "--also", "temperature=2,top_h"]) == 0
    shown = capsys.readouterr().out
    found = json.loads(shown.splitlines()[-1])
    assert found["rows"] == 3
    assert list(found["samplers"]) == [*script.OURS, *script.THEIRS, "temperature=2,top_h"]
    for value in found["samplers"].values():
        assert value["share"] == pytest.approx(value["seconds"] / found["step_seconds"])
    assert "(transformers)" in shown and "top_h" in shown
    assert script.main([*where, "--check", "--limit", "0"]) == 1
    assert "above 0%: top_n_sigma, min_k," in capsys.readouterr().err


def test_too_few_steps_are_refused(script):
    with pytest.raises(SystemExit):
        script.main(["--steps", "3"])
