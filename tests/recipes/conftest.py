"""Prompts and pairs to train on."""

import json

import pytest
from launching import PROMPTS


@pytest.fixture(autouse=True)
def no_cache_at_home(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")


@pytest.fixture
def prompt_file(tmp_path):
    path = tmp_path / "prompts.jsonl"
    rows = [{"id": f"p{i}", "prompt": p, "answers": [["red"]]} for i, p in enumerate(PROMPTS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def pair_file(tmp_path):
    path = tmp_path / "pairs.jsonl"
    rows = [
        {
            "prompt": [{"role": "user", "content": prompt}],
            "chosen": [{"role": "assistant", "content": "one wild fig"}],
            "rejected": [{"role": "assistant", "content": "the apple"}],
            "weight": weight,
        }
        for prompt, weight in zip(PROMPTS, [0.0, 0.5, 1.5, 2.0], strict=True)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
