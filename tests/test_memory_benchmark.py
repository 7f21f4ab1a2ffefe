"""The benchmark of memory scores and compares what it writes, and tells how memory grows."""

import json

import numpy as np
import pytest
from importing import imported

from diversify.evaluation import load_report, load_run


@pytest.fixture(scope="module")
def memory():
    with imported("benchmarks/memory.py") as module:
        yield module


def test_the_run_is_one_and_the_same_for_a_seed(memory, tmp_path):
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        contents.append(memory.write_run(tmp_path / name, 3, 4, 10, 0).read_bytes())
    assert contents[0] == contents[1]
    rows = load_run(tmp_path / "a").rows
    assert [len(row["generations"]) for row in rows] == [4, 4, 4]
    assert {len(text.split()) for row in rows for text in row["generations"]} == {10}


def test_directions_are_unit_rows_of_the_text_alone(memory):
    rows = memory.directions(["a", "b", "a"])
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1, 1], abs=1e-6)
    assert (rows[0] == rows[2]).all() and abs(rows[0] @ rows[1]) < 0.3


def test_it_scores_and_compares(memory, tmp_path):
    memory.write_run(tmp_path, 6, 3, 10, 0)
    assert memory.work("evaluate", tmp_path) > 0
    assert len(load_report(tmp_path).samples) == 6
    assert memory.work("compare", tmp_path) > 0


def test_growth_is_memory_over_answers(memory, monkeypatch, capsys):
    """From 10 to 110 MB of answers the one grows by 30 MB and the other by 5: .3 and .05 a byte."""
    sizes = {10: (10.0, 200.0, 300.0), 20: (110.0, 230.0, 305.0)}
    monkeypatch.setattr(
        memory,
        "peaks",
        lambda n, _: (
            {"prompts": n} | dict(zip(("answers", "evaluate", "compare"), sizes[n], strict=True))
        ),
    )
    assert memory.main(["--prompts", "20", "10"]) == 0
    assert memory.main(["--prompts", "10", "20", "--check"]) == 1
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["growth"] == pytest.approx({"evaluate": 0.3, "compare": 0.05})
    with pytest.raises(SystemExit):
        memory.main(["--prompts", "10", "10"])
