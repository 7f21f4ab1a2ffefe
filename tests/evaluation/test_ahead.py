"""Embedding ahead: few calls, few rows held, and the numbers of embedding prompt by prompt."""

import numpy as np
import pytest

from diversify.evaluation import evaluate, load_run
from diversify.evaluation.ahead import embedded_ahead
from diversify.kernels import EmbeddingKernel, NgramKernel
from evaluation.counting import Counting

ROWS = [{"generations": texts} for texts in (["a", "b", "a"], ["c", " "], ["", "  "], ["a", "d"])]


def test_each_batch_is_one_call_with_each_text_once_and_no_blank_one(tiny_embedder):
    """Batches close at four texts or more: 3 + 2, then 2 + 2, of which three are blank."""
    counting = Counting(tiny_embedder)
    plain, words = EmbeddingKernel(tiny_embedder), NgramKernel(2)
    for row, kernels in embedded_ahead(ROWS, [EmbeddingKernel(counting), words], at_once=4):
        assert [kernel.name for kernel in kernels] == ["counting", "ngram-2"]
        assert kernels[1] is words
        np.testing.assert_allclose(kernels[0](row["generations"]), plain(row["generations"]))
    assert counting.calls == [["a", "b", "c"], ["a", "d"]]


def test_only_the_rows_of_one_batch_are_held(tiny_embedder):
    seen = [
        len(kernel.embedder.rows)
        for _, (kernel,) in embedded_ahead(ROWS, [EmbeddingKernel(tiny_embedder)], at_once=1)
    ]
    assert seen == [2, 1, 0, 2]


def test_a_generator_is_read_no_further_than_the_next_batch(tiny_embedder):
    """Batches of two texts; a row without answers counts as one, so that few of them wait."""
    read = []

    def reading():
        for number, texts in enumerate([["a", "b"], [], [], ["c"], ["d"]]):
            read.append(number)
            yield {"generations": texts}

    seen = [
        (row["generations"], read[-1])
        for row, _ in embedded_ahead(reading(), [EmbeddingKernel(tiny_embedder)], at_once=2)
    ]
    assert seen == [(["a", "b"], 0), ([], 2), ([], 2), (["c"], 4), (["d"], 4)]


def test_an_embedder_that_loses_rows_is_caught():
    with pytest.raises(ValueError, match=r"must return one row per text, \(3, d\), got \(1, 4\)"):
        list(embedded_ahead(ROWS, [EmbeddingKernel(lambda texts: np.eye(1, 4))], at_once=4))


def test_a_whole_run_is_embedded_in_one_call(tmp_path, tiny_embedder):
    file = tmp_path / "g.jsonl"
    lines = ['{"prompt": "Name a pet.", "group": "pets", "generations": ["a cat", "a dog"]}']
    lines.append('{"prompt": "Name a fish.", "generations": ["a cod", "a dog"]}')
    file.write_text("\n".join(lines) + "\n")
    counting = Counting(tiny_embedder)
    report = evaluate(load_run(file), embedder=counting)
    assert counting.calls == [["a cat", "a dog", "a cod"]]
    # The column that `compare` takes for one piece of evidence.
    assert [sample.get("group") for sample in report.samples] == ["pets", None]
