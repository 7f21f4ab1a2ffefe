"""A talking engine and hand-made reports: the instrument is tested without any model."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from diversify.engines import Generations, Sampling
from diversify.evaluation import PromptRow, PromptSet, Report, evaluate, generate


@dataclass
class TalkingEngine:
    """Answers from a list, chosen by prompt, seed and position; the hotter, the more varied."""

    words: tuple[str, ...] = ("red fox", "blue whale", "green frog", "grey wolf", "pink crab")
    model: str = "talker"
    fail_after: int | None = None
    calls: list[Any] = field(default_factory=list)

    @property
    def identity(self) -> dict[str, Any]:
        return {"model": self.model, "revision": "1", "chat_template_sha": "none"}

    def generate(self, prompts, n: int, sampling: Sampling) -> Generations:
        if self.fail_after is not None and len(self.calls) >= self.fail_after:
            raise KeyboardInterrupt
        self.calls.append(list(prompts))
        variety = max(1, min(len(self.words), round(sampling.temperature * len(self.words))))
        texts = []
        for prompt in prompts:
            digest = hashlib.sha256(f"{prompt}{sampling.seed}".encode()).digest()
            texts.append([self.words[(digest[i] + i) % variety] for i in range(n)])
        return Generations(list(prompts), texts, [[False] * n for _ in prompts])


@dataclass
class LengthQuality:
    """Mean words: a quality whose value can be read off the answers."""

    name: str = "words"
    margin: float = 0.5
    two_sided: bool = False
    identity: dict[str, Any] = field(default_factory=dict)

    def __call__(self, prompts, completions, **columns):
        return [float(len(text.split())) if text else None for text in completions]


@pytest.fixture
def prompts() -> PromptSet:
    rows = tuple(PromptRow(f"p{i}", f"Name an animal, number {i}.", "animals") for i in range(12))
    return PromptSet("zoo", rows, version="3")


@pytest.fixture
def talking_engine():
    return TalkingEngine


@pytest.fixture
def length_quality():
    return LengthQuality


@pytest.fixture
def make_report(prompts, tmp_path, tiny_embedder):
    """Return a function (name, temperature, …) -> Report on the talking engine's answers."""

    def make(name: str, temperature: float, *, quality=None, samples: int = 6, **engine) -> Report:
        run = generate(
            TalkingEngine(**engine),
            prompts,
            samples,
            sampling=Sampling(temperature=temperature, max_tokens=8),
            output=tmp_path / name,
        )
        scorers = [LengthQuality()] if quality is None else quality
        report = evaluate(run, embedder=tiny_embedder, quality=scorers)
        report.save(tmp_path / name)
        return report

    return make


def planted(measure: np.ndarray, quality: np.ndarray, temperature: float, label: str) -> Report:
    """Return a report whose per-prompt numbers are given."""
    samples = [
        {
            "id": f"p{i}",
            "prompt": f"prompt {i}",
            "generations": ["a", "b"],
            "measures": {
                f"{name},{kernel}": float(m)
                for name in ("mean_distance", "vendi")
                for kernel in ("minilm", "ngram-2")
            },
            "qualities": {"likelihood": float(q)},
            "quality_values": {},
            "monitors": {},
            "similarity": [[1.0, 0.5], [0.5, 1.0]],
        }
        for i, (m, q) in enumerate(zip(measure, quality, strict=True))
    ]
    recipe = {"kernels": [{"name": "minilm", "revision": ""}, {"name": "ngram-2", "revision": ""}]}
    summary = {
        "results": {"set": {}},
        "higher_is_better": {"set": {name: True for name in samples[0]["measures"]}},
        "versions": {},
        "git_hash": None,
        "config": {
            "label": label,
            "run": label,
            "recipe": recipe,
            "settings": {"sampling": {"temperature": temperature}},
            "qualities": {"likelihood": {"margin": 0.1, "two_sided": True}},
        },
    }
    return Report(summary, samples)


@pytest.fixture
def plant():
    return planted
