import json
import re

import pytest
import yaml
from huggingface_hub import ModelCard

from diversify.evaluation import compare
from diversify.evaluation.exporters import (
    add_model_index,
    lm_eval_results,
    markdown_summary,
    model_index,
    write_lm_eval_results,
)
from diversify.quality import Rule


@pytest.fixture
def report(make_report):
    return make_report("base", 0.6)


def test_the_model_index_says_what_was_measured_and_how_well(report, tiny_embedder):
    report.summary["config"]["recipe"]["kernels"][0]["revision"] = "r7"
    (model,) = model_index(report, model_name="me/tuned")
    (block,) = model["results"]
    assert model["name"] == "me/tuned"
    assert block["task"] == {"type": "text-generation"}
    assert block["dataset"] == {"name": "zoo", "type": "zoo", "revision": "3"}
    metrics = {metric["name"]: metric for metric in block["metrics"]}
    kernel = tiny_embedder.name
    assert set(metrics) == {
        f"vendi,{kernel}",
        f"mean_distance,{kernel}",
        "vendi,ngram-2",
        "mean_distance,ngram-2",
        "words,quality",
    }
    results = report.summary["results"]["zoo"]
    vendi = metrics["vendi,ngram-2"]
    assert vendi["type"] == "vendi" and vendi["value"] == results["vendi,ngram-2"]
    assert vendi["args"] == {
        "stderr": results["vendi_stderr,ngram-2"],
        "higher_is_better": True,
        "kernel": "ngram-2",
        "prompts": 12,
        "samples": 6,
    }
    assert metrics[f"vendi,{kernel}"]["args"]["kernel_revision"] == "r7"


def test_only_prompts_with_a_value_are_counted(make_report):
    """The quality scores one prompt of twelve, and so its mean rests on one."""

    def check(prompt, text):
        return 1.0 if prompt.endswith("number 0.") else None

    scored = make_report("base", 0.6, quality=[Rule(check, "first", margin=0.1)])
    ((block,),) = (model["results"] for model in model_index(scored))
    prompts = {metric["name"]: metric["args"]["prompts"] for metric in block["metrics"]}
    assert prompts.pop("first,quality") == 1
    assert set(prompts.values()) == {12}
    del scored.summary["n-samples"]["zoo"]["unscored"]  # as an older report
    ((metric,),) = (
        m["results"][0]["metrics"] for m in model_index(scored, names=["first,quality"])
    )
    assert metric["args"]["prompts"] == 12


def test_results_can_be_chosen_and_must_exist(report):
    (model,) = model_index(report, names=["self_bleu,words"])
    assert model["name"] == report.label
    (metric,) = model["results"][0]["metrics"]
    assert metric["args"]["higher_is_better"] is False
    with pytest.raises(ValueError, match=r"no value for \['rouge,words'\]"):
        model_index(report, names=["rouge,words"])


def test_a_benchmark_of_the_hub_is_linked(report):
    summary = json.loads(json.dumps(report.summary).replace('"zoo"', '"hivemind"'))
    (model,) = model_index(type(report)(summary, report.samples))
    assert model["results"][0]["dataset"]["type"] == "liweijiang/infinite-chats-eval"


def test_a_card_gets_the_index_and_keeps_the_rest(report, tmp_path):
    card = tmp_path / "README.md"
    card.write_text("---\nlicense: apache-2.0\ntags:\n- diversify\n---\n# Mine\n\nText | text.\n")
    add_model_index(tmp_path, report, model_name="me/tuned")
    add_model_index(card, report, names=["vendi,ngram-2"])
    _, head, body = card.read_text().split("---\n", 2)
    found = yaml.safe_load(head)
    assert found["license"] == "apache-2.0" and found["tags"] == ["diversify"]
    assert body == "# Mine\n\nText | text.\n"
    ((metric,),) = (block["metrics"] for block in found["model-index"][0]["results"])
    assert metric["name"] == "vendi,ngram-2" and found["model-index"][0]["name"] == "me/tuned"
    (read,) = ModelCard.load(card).data.eval_results
    assert read.metric_value == report.summary["results"]["zoo"]["vendi,ngram-2"]


def test_results_on_other_data_sets_stay_in_the_card(report, tmp_path):
    card = tmp_path / "README.md"
    card.write_text("# No head yet\n")
    add_model_index(card, report, names=["vendi,ngram-2"])
    summary = json.loads(json.dumps(report.summary).replace('"zoo"', '"park"'))
    add_model_index(card, type(report)(summary, report.samples), names=["vendi,ngram-2"])
    names = [result.dataset_name for result in ModelCard.load(card).data.eval_results]
    assert names == ["zoo", "park"] and card.read_text().endswith("# No head yet\n")
    with pytest.raises(ValueError, match="no model card"):
        add_model_index(tmp_path / "none.md", report)


def test_the_summary_is_the_comparison(make_report, tmp_path):
    make_report("base", 0.4)
    make_report("tuned", 1.0)
    comparison = compare(tmp_path / "base", tmp_path / "tuned", resamples=100)
    text = markdown_summary(comparison)
    change = comparison.measures["vendi,ngram-2"]
    assert f"| vendi,ngram-2 | {change.before:.2f} | {change.after:.2f} |" in text
    assert "| vendi,ngram-2 (equal length) |" in text and "| words |" in text
    assert "Before: talker · T 0.4. After: talker · T 1." in text
    assert text == markdown_summary(comparison.as_json())
    assert text == markdown_summary(comparison.save(tmp_path / "verdict"))
    # Every table has as many cells in each line as in its head.
    for table in re.findall(r"(?:^\|.*\n?)+", text, re.M):
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_a_name_cannot_leave_its_cell():
    change = {"before": 1.0, "after": 1.0, "difference": 0.0, "ci95": None, "n_prompts": 1}
    text = markdown_summary({"measures": {"a|b\n# c": change}, "verdict": {}})
    assert "| a\\|b # c | 1.00 | 1.00 | 0.00 |  | 1 |" in text
    assert "- Did quality hold? **not determined**" in text


@pytest.mark.parametrize("content", ['{"results": {}}', "[1]"])
def test_what_is_no_comparison_is_refused(tmp_path, content):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(
        ValueError, match=r"a comparison has measures|c\.json: expected a JSON object"
    ):
        markdown_summary(tmp_path / "c.json")


def test_a_summary_of_no_file_or_no_json_names_the_path(tmp_path):
    with pytest.raises(ValueError, match=r"there is no file .*none\.json"):
        markdown_summary(tmp_path / "none.json")
    with pytest.raises(ValueError, match="there is no file"):
        markdown_summary(str(tmp_path))
    (tmp_path / "c.json").write_text("{x")
    with pytest.raises(ValueError, match=r"c\.json: not valid JSON"):
        markdown_summary(tmp_path / "c.json")


def test_lm_evals_readers_find_their_keys(report):
    found = lm_eval_results(report)
    (task,) = found["results"]
    assert task == "zoo" and found["results"]["zoo"]["alias"] == "zoo"
    assert found["results"]["zoo"]["sample_len"] == 12
    assert found["versions"] == {"zoo": "3"} and found["n-shot"] == {"zoo": 0}
    assert found["n-samples"] == {"zoo": {"original": 12, "effective": 12}}
    assert found["higher_is_better"]["zoo"]["vendi"] is True
    assert found["higher_is_better"]["zoo"]["self_bleu"] is False
    assert found["configs"]["zoo"]["repeats"] == 6
    for name, value in found["results"]["zoo"].items():
        if "," in name:
            error = name.replace(",", "_stderr,", 1)
            assert isinstance(value, float) or value == "N/A", name
            assert "_stderr," in name or error in found["results"]["zoo"]
    json.dumps(found, allow_nan=False)


def test_a_number_that_is_missing_is_left_out(report):
    results = report.summary["results"]["zoo"]
    results["words,quality"] = None
    results["vendi_stderr,ngram-2"] = None
    found = lm_eval_results(report)["results"]["zoo"]
    assert "words,quality" not in found and "words_stderr,quality" not in found
    assert found["vendi_stderr,ngram-2"] == "N/A"


def test_the_file_lies_where_lm_eval_would_put_it(make_report, tmp_path):
    report = make_report("base", 0.6, model="me/base model?")
    path = write_lm_eval_results(report, tmp_path / "out")
    assert path.parent == tmp_path / "out" / "me__base model__"
    assert re.fullmatch(r"results_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d+\.json", path.name)
    assert json.loads(path.read_text())["model_name"] == "me/base model?"
    assert write_lm_eval_results(report, tmp_path / "out") == path
