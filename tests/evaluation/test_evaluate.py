import numpy as np
import pytest

from diversify.evaluation import evaluate, generate, load_run
from diversify.kernels import EmbeddingKernel, NgramKernel
from diversify.measures import mean_distance, vendi


def test_numbers_are_those_of_the_core(make_report, tiny_embedder):
    report = make_report("base", 0.6)
    sample = report.samples[3]
    semantic, lexical = EmbeddingKernel(tiny_embedder), NgramKernel(2)
    texts = sample["generations"]
    assert sample["measures"][f"vendi,{semantic.name}"] == pytest.approx(vendi(semantic(texts)))
    assert sample["measures"]["mean_distance,ngram-2"] == pytest.approx(
        mean_distance(lexical(texts))
    )
    assert sample["qualities"]["words"] == 2.0
    (results,) = report.summary["results"].values()
    column = report.column("measures", "mean_distance,ngram-2")
    assert results["mean_distance,ngram-2"] == pytest.approx(column.mean())
    assert results["mean_distance_stderr,ngram-2"] == pytest.approx(
        column.std(ddof=1) / np.sqrt(len(column))
    )
    assert results["words,quality"] == 2.0


def test_the_report_is_shaped_like_lm_evals(make_report):
    summary = make_report("base", 0.6).summary
    assert {
        "results",
        "higher_is_better",
        "n-samples",
        "versions",
        "config",
        "git_hash",
        "date",
    } <= (set(summary))
    assert summary["n-samples"]["zoo"] == {"original": 12, "effective": 12, "unscored": {}}
    assert summary["higher_is_better"]["zoo"]["self_bleu,words"] is False
    assert summary["higher_is_better"]["zoo"]["vendi,ngram-2"] is True


def test_what_cannot_be_scored_is_none_and_counted(
    prompts, talking_engine, length_quality, tmp_path
):
    run = generate(talking_engine(words=("",)), prompts, 4, output=tmp_path / "empty")
    report = evaluate(run, quality=[length_quality()])
    assert report.samples[0]["qualities"]["words"] is None
    assert report.summary["n-samples"]["zoo"]["unscored"]["words"] == 12
    assert report.samples[0]["monitors"]["blank"] == 1.0


def test_answer_lists_give_the_number_of_distinct_valid_answers(tmp_path):
    file = tmp_path / "g.jsonl"
    file.write_text(
        '{"prompt": "Name a pet.", "answers": [["cat", "cats"], ["dog"]],'
        ' "generations": ["A cat.", "Cats!", "I like tea", "the dog"]}\n'
    )
    report = evaluate(load_run(file))
    assert report.samples[0]["measures"]["distinct_valid,answers"] == 2.0


def test_a_scorer_that_loses_values_is_caught(make_report):
    class Short:
        name, margin, two_sided, identity = "short", 0.1, False, {}

        def __call__(self, prompts, completions, **columns):
            return [1.0]

    with pytest.raises(ValueError, match="short gave 1 values for 72 answers"):
        make_report("base", 0.6, quality=[Short()])


def test_nothing_to_measure_with_is_an_error(prompts, talking_engine, tmp_path):
    run = generate(talking_engine(), prompts, 2, output=tmp_path / "run")
    with pytest.raises(ValueError, match="at least one kernel"):
        evaluate(run, kernels=[])


def test_real_generations_have_the_recorded_number_of_rows_and_bounds():
    from pathlib import Path

    file = Path("../shared/data/noveltybench/gemini-1.5-pro.curated.scores.jsonl")
    if not file.is_file():
        pytest.skip("the NoveltyBench generations are not on this machine")
    report = evaluate(load_run(file))
    vendis = report.column("measures", "vendi,ngram-2")
    assert len(vendis) == 100 and vendis.min() >= 1.0 and vendis.max() <= 10.0
    # Ten times "Mexico": one effective answer, whatever the kernel.
    mexico = next(s for s in report.samples if s["prompt"] == "Name a Spanish speaking country.")
    assert mexico["measures"]["vendi,ngram-2"] == pytest.approx(1.0)
