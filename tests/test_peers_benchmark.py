"""The benchmark of peers: values agree or the reason is told, and what is told must still be true."""

import json

import numpy as np
import pytest
from importing import imported

from diversify.measures import mean_distance


@pytest.fixture(scope="module")
def script():
    """It imports the script beside it by name."""
    with imported("benchmarks/scoring.py"), imported("benchmarks/peers.py") as module:
        yield module


def told(script, **options):
    base = {"quantity": "q", "peer": "other f", "ours": lambda p: 1.0 + p}
    return script.compete(script.Case(**base | options), 3, 1)


def test_equal_values_are_as_told_until_a_difference_is_claimed(script):
    found = told(script, theirs=lambda p: 1.0 + p)
    assert (found["difference"], found["as_told"]) == (0.0, True)
    assert not told(script, theirs=lambda p: 1.0 + p, known="they round")["as_told"]


def test_a_difference_needs_a_reason_and_the_largest_is_shown(script):
    """1, 2, 3 against 1, 2, 3.5."""
    found = told(script, theirs=lambda p: (1.0, 2.0, 3.5)[p])
    assert (found["difference"], found["as_told"]) == (0.5, False)
    assert told(script, theirs=lambda p: 3.5, known="they add a half")["as_told"]


def test_nan_differs_from_every_number_and_is_none_on_disk(script):
    found = told(script, theirs=lambda p: float("nan"))
    assert (found["theirs"], found["difference"], found["as_told"]) == (None, None, False)
    found = told(script, theirs=lambda p: float("nan"), known="a string is wanted")
    assert found["as_told"] and "nan, differ by nan" in script.table([found])


def test_only_the_exception_that_is_known_is_caught(script):
    def broken(p):
        raise AttributeError("no .A")

    found = told(script, theirs=broken, known="gone", fails=(AttributeError,))
    assert (found["raised"], found["as_told"]) == ("AttributeError", True)
    with pytest.raises(AttributeError):
        told(script, theirs=broken, known="gone", fails=(KeyError,))
    with pytest.raises(AttributeError):
        told(script, theirs=broken)
    mended = told(script, theirs=lambda p: 1.0 + p, known="gone", fails=(AttributeError,))
    assert not mended["as_told"]


def test_shrinking_takes_distances_away(script):
    rows = script.make_answers(1, 8, 16, 10, 0).rows[0]
    near = script.shrink(rows, 0.1)
    far = script.shrink(rows, 1.0)
    np.testing.assert_allclose(np.linalg.norm(near, axis=1), 1.0)
    np.testing.assert_allclose(far, rows, atol=1e-6)
    assert mean_distance(near @ near.T) < 0.05 * mean_distance(far @ far.T)


def test_without_peers_it_says_so_and_compares_nothing(script, capsys, monkeypatch):
    monkeypatch.setattr(script, "installed", lambda module: None)
    assert script.main(["--check", "--prompts", "1", "--samples", "3"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["cases"] == []


def test_a_package_that_is_missing_gets_a_line(script, capsys):
    assert script.installed("no_such_package_anywhere") is None
    assert "not installed: no_such_package_anywhere" in capsys.readouterr().err


def test_an_unexplained_difference_fails_the_check(script, capsys, monkeypatch):
    case = script.Case("q", "other f", lambda p: 1.0, lambda p: 2.0)
    monkeypatch.setattr(script, "cases", lambda answers: [case])
    small = ["--prompts", "1", "--samples", "3", "--repeats", "1"]
    assert script.main(small) == 0
    assert script.main([*small, "--check"]) == 1
    captured = capsys.readouterr()
    assert "NOT AS TOLD (equal)" in captured.out and "1 of 1 are not as told" in captured.err
