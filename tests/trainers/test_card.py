"""The model card, with and without a comparison."""

import json

import pytest
import yaml

from diversify.trainers.card import model_card, write_card

RECORD = {
    "recipe": "grpo",
    "method": "darling",
    "model": "me/base",
    "dataset": "someone/prompts",
    "options": {"floor": 0.1},
    "training": {"learning_rate": 1e-6},
    "versions": {"trl": "1.16.0"},
    "output_dir": "runs/qwen3-darling",
}
CHANGE = {"before": 2.5, "after": 4.25, "difference": 1.75, "ci95": [1.5, 2.0], "n_prompts": 72}
COMPARISON = {
    "measures": {"open-ended/vendi,all-MiniLM-L6-v2": CHANGE},
    "qualities": {"open-ended/relevance": CHANGE | {"ci95": None}},
    "verdict": {
        "collapse_fell": True,
        "quality_held": False,
        "beats_temperature": None,
        "reasons": {"beats_temperature": "no sweep was given"},
    },
}


def front_matter(card):
    _, head, _ = card.split("---\n", 2)
    return yaml.safe_load(head)


def test_the_hub_can_read_the_head():
    assert front_matter(model_card(RECORD)) == {
        "base_model": "me/base",
        "datasets": ["someone/prompts"],
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["diversify", "trl", "grpo", "darling"],
    }
    assert front_matter(model_card(RECORD, is_adapter=True))["library_name"] == "peft"


@pytest.mark.parametrize("name", ["/models/base", "./base", "smollm2-135m-instruct", "~/base"])
def test_a_local_model_is_no_link(name):
    head = front_matter(model_card(RECORD | {"model": name, "dataset": "open-ended"}))
    assert "base_model" not in head and "datasets" not in head


def test_without_a_comparison_nothing_is_claimed():
    card = model_card(RECORD)
    assert "Not evaluated yet" in card
    assert "**yes**" not in card


def test_the_comparison_becomes_a_table_and_three_answers():
    card = model_card(RECORD, COMPARISON)
    row = "| open-ended/vendi,all-MiniLM-L6-v2 | 2.50 | 4.25 | +1.75 | +1.50 to +2.00 | 72 |"
    assert row in card
    assert "| open-ended/relevance | 2.50 | 4.25 | +1.75 |  | 72 |" in card
    assert "- Did collapse fall? **yes**" in card
    assert "- Did quality hold? **no**" in card
    assert "temperature up? **not determined** (no sweep was given)" in card


def test_method_settings_versions_and_papers_are_named():
    card = model_card(RECORD)
    for line in ("# qwen3-darling", "| floor | `0.1` |", "| learning_rate | `1e-06` |"):
        assert line in card
    assert "arxiv.org/abs/2509.02534" in card and "arxiv.org/abs/2402.03300" in card


def test_an_empty_record_still_gives_a_card():
    assert model_card({}).startswith("---\n")


def test_a_file_that_is_no_comparison_is_refused():
    with pytest.raises(ValueError, match=r"\['measures', 'verdict'\] are missing"):
        model_card(RECORD, {"results": {}})


def test_the_card_is_written_from_what_lies_in_the_folder(tmp_path):
    (tmp_path / "training.json").write_text(json.dumps(RECORD))
    (tmp_path / "adapter_config.json").write_text("{}")
    (tmp_path / "comparison.json").write_text(json.dumps(COMPARISON))
    card = write_card(tmp_path, comparison=tmp_path / "comparison.json")
    assert card == tmp_path / "README.md"
    text = card.read_text()
    assert "A LoRA adapter for `me/base`" in text and "**yes**" in text


def test_no_record_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no training"):
        write_card(tmp_path)
