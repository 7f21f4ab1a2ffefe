"""The benchmark of scoring: it times the numbers that `evaluate` gives, and knows its limits."""

import json

import numpy as np
import pytest
from importing import imported

from diversify.kernels import EmbeddingKernel
from diversify.lexical import self_bleu
from diversify.measures import vendi


@pytest.fixture(scope="module")
def script():
    with imported("benchmarks/scoring.py") as module:
        yield module


def test_it_times_every_part_and_prints_the_numbers(script, capsys):
    arguments = ["--prompts", "4", "--samples", "5", "--text-prompts", "2", "--repeats", "1"]
    assert script.main(arguments) == 0
    told = capsys.readouterr().out.splitlines()
    found = json.loads(told[-1])
    floors = {"floor", "scored", "one_by_one"}
    words = {"lexical", "lexical_one_by_one", "compressed", "monitored", "reported"}
    assert set(found["took"]) == floors | words
    assert found["took"]["floor"]["ratio"] == 1.0 and found["took"]["scored"]["clock"] > 0
    assert "all measures, as evaluate does it" in "\n".join(told)


def test_a_broken_limit_is_told_and_only_fails_when_asked_to(script, monkeypatch, capsys):
    monkeypatch.setattr(script, "RATIO", 0.0)
    small = ["--prompts", "2", "--samples", "3", "--text-prompts", "1", "--repeats", "1"]
    assert script.main(small) == 0
    assert script.main([*small, "--check"]) == 1
    assert "above 0 times the floor" in capsys.readouterr().err


def test_its_answers_are_alike_but_not_the_same(script):
    answers = script.make_answers(2, 6, 384, 20, 0)
    again = script.make_answers(2, 6, 384, 20, 0)
    assert answers.texts == again.texts and np.array_equal(answers.rows, again.rows)
    assert np.array_equal(answers(answers.texts[1][2:4]), answers.rows[1, 2:4])
    assert len(set(answers.texts[0])) == 6
    S = EmbeddingKernel(answers)(answers.texts[0])
    assert 0.5 < S[0, 1] < 0.9 and 1.0 < vendi(S) < 6.0
    assert 0.1 < self_bleu(answers.texts[0]) < 0.95
