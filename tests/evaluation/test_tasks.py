"""The tasks of other harnesses: parsed and called as these call them, and run where they are installed."""

import json
import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from diversify.evaluation import load_prompts
from diversify.evaluation.importers import import_run
from diversify.evaluation.tasks import documents, lm_eval_tasks, measure_answers
from diversify.evaluation.tasks.lm_eval import functions
from diversify.kernels import EmbeddingKernel, NgramKernel
from diversify.measures import mean_distance, vendi

TASKS = {"diversify_open_ended": "open-ended", "diversify_enumerable": "enumerable"}
PETS = [["cat", "cats"], ["dog"]]
TEXTS = ["A cat.", "Cats!", "I like tea", "the dog", ""]


class FunctionLoader(yaml.SafeLoader):
    """YAML as lm-eval reads it: `!function module.name` is a function of a file beside it."""


FunctionLoader.add_constructor(
    "!function", lambda loader, node: tuple(loader.construct_scalar(node).split("."))
)


def task(name):
    folder = lm_eval_tasks()
    own = yaml.load((folder / f"{name}.yaml").read_text(), FunctionLoader)
    return yaml.load((folder / own.pop("include")).read_text(), FunctionLoader) | own


def test_numbers_are_those_of_the_core(tiny_embedder):
    found = measure_answers(TEXTS, PETS, embedder=tiny_embedder)
    lexical, semantic = NgramKernel(2)(TEXTS), EmbeddingKernel(tiny_embedder)(TEXTS)
    assert found["vendi_ngram_2"] == pytest.approx(vendi(lexical))
    assert found["mean_distance_ngram_2"] == pytest.approx(mean_distance(lexical))
    assert found["vendi_hashing"] == pytest.approx(vendi(semantic))
    assert found["valid_rate"] == 0.6 and found["distinct_valid"] == 2.0
    assert found["blank"] == 0.2 and found["exact_duplicates"] == 0.0


def test_without_a_model_or_a_list_their_numbers_are_missing(monkeypatch):
    monkeypatch.setattr("diversify.evaluation.tasks.measuring._minilm", lambda: None)
    assert set(measure_answers(["a", "b"])) == {
        "mean_distance_ngram_2",
        "vendi_ngram_2",
        "exact_duplicates",
        "blank",
    }
    with pytest.raises(ValueError, match="at least one answer"):
        measure_answers([])


@pytest.mark.parametrize("name", TASKS.values())
def test_documents_are_the_test_split(name):
    rows = documents(name)
    expected = load_prompts(name, split="test")
    assert [row["prompt"] for row in rows] == [row.prompt for row in expected]
    assert ("answers" in rows[0]) == (name == "enumerable")


@pytest.mark.parametrize("name", TASKS)
def test_the_yaml_keeps_all_answers_and_names_what_exists(name, monkeypatch, no_cache_at_home):
    config = task(name)
    assert config["task"] == name and config["generation_kwargs"]["do_sample"] is True
    (kept,) = config["filter_list"]
    assert kept["filter"] == [{"function": "take_first_k", "k": config["repeats"]}]
    module, dataset = config["custom_dataset"]
    assert (lm_eval_tasks() / f"{module}.py").is_file()
    data = getattr(functions, dataset)(version=1.0)[config["test_split"]]
    assert data[0]["id"].startswith(TASKS[name]) and config["doc_to_text"] in data.column_names
    process = getattr(functions, config["process_results"][1])
    metrics = {entry["metric"] for entry in config["metric_list"]}
    monkeypatch.setattr("diversify.evaluation.tasks.measuring._minilm", lambda: None)
    found = process(data[0], [TEXTS])
    assert set(found) == {metric for metric in metrics if not metric.endswith("_minilm")}
    assert {"vendi_minilm", "mean_distance_minilm"} < metrics


def test_another_filter_is_refused():
    with pytest.raises(ValueError, match="take_first_k"):
        functions.process_results({}, ["one answer"])


def test_the_entry_point_names_the_module_of_the_tasks():
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    found = re.search(r'entry-points\.inspect_ai\]\ndiversify = "([\w.]+)"', project)
    assert found and find_spec(found[1]) is not None


@pytest.mark.skipif(find_spec("inspect_ai") is None, reason="the extra inspect is not installed")
class TestInspect:
    @pytest.fixture
    def log(self, tmp_path, monkeypatch):
        from inspect_ai import eval as run_tasks
        from inspect_ai.model import ModelOutput, ModelUsage, get_model

        from diversify.evaluation.tasks.inspect import enumerable

        monkeypatch.setattr("diversify.evaluation.tasks.measuring._minilm", lambda: None)
        outputs = [
            ModelOutput.from_content("mockllm/model", text) for text in ["Peru", "Chile", "no"]
        ]
        for output in outputs:
            output.usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        model = get_model("mockllm/model", custom_outputs=outputs * 2)
        options = {"limit": 2, "log_dir": str(tmp_path), "display": "none", "max_samples": 1}
        (found,) = run_tasks(enumerable(samples=3, temperature=0.5), model=model, **options)
        return found

    def test_a_run_scores_all_answers_together_and_imports(self, log):
        assert log.status == "success", log.error
        scores = {score.name: score.metrics["mean"].value for score in log.results.scores}
        # The first question asks for a country of South America, the second for something else.
        assert scores["vendi_ngram_2"] == pytest.approx(3.0)
        assert scores["exact_duplicates"] == 0.0 and scores["distinct_valid"] == 1.0
        run = import_run(log.location)
        assert [len(row["generations"]) for row in run.rows] == [3, 3]
        assert run.rows[0]["prompt"] == "Name a country in South America."
        assert sorted(run.rows[0]["generations"]) == ["Chile", "Peru", "no"]
        assert run.settings["sampling"]["temperature"] == 0.5
        assert run.settings["engine"]["harness"] == f"inspect_ai {version('inspect_ai')}"

    def test_no_answers_are_refused(self):
        from diversify.evaluation.tasks.inspect import draw

        with pytest.raises(ValueError, match="samples must be at least 1, got 0"):
            draw(samples=0)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")
def test_lm_eval_runs_the_task_and_its_samples_import(tiny_model_path, tmp_path, no_cache_at_home):
    from lm_eval import simple_evaluate
    from lm_eval.loggers import EvaluationTracker
    from lm_eval.tasks import TaskManager

    tracker = EvaluationTracker(output_path=str(tmp_path))
    results = simple_evaluate(
        model="hf",
        model_args={"pretrained": str(tiny_model_path)},
        tasks=["diversify_enumerable"],
        task_manager=TaskManager(include_path=str(lm_eval_tasks())),
        device="cpu",
        limit=2,
        gen_kwargs={"max_gen_toks": 8},
        apply_chat_template=True,
        evaluation_tracker=tracker,
        log_samples=True,
    )
    samples = results.pop("samples")
    assert 1.0 <= results["results"]["diversify_enumerable"]["vendi_ngram_2,first-10"] <= 10.0
    tracker.save_results_aggregated(results=results, samples=samples)
    tracker.save_results_samples("diversify_enumerable", samples["diversify_enumerable"])
    (path,) = tmp_path.rglob("samples_*.jsonl")
    run = import_run(path)
    assert [len(row["generations"]) for row in run.rows] == [10, 10]
    assert run.rows[0]["prompt"] == "Name a country in South America."
    assert run.settings["engine"]["model"] == str(tiny_model_path)
    assert run.settings["sampling"]["max_tokens"] == 8
    assert json.dumps(run.settings)
