"""Flat options become a safeguard: which kernels it watches, what it refuses."""

from types import SimpleNamespace

import pytest

from diversify.kernels import EmbeddingKernel, EquivalenceKernel, NgramKernel
from diversify.quality import AnswerKernels, AnswerList
from diversify.trainers import safeguarding
from diversify.trainers.safeguarding import SafeguardArguments, attach_safeguard


@pytest.fixture
def attached(monkeypatch, tiny_embedder):
    """Attach to a trainer that only has a device; return the safeguard."""
    monkeypatch.setattr(safeguarding.Safeguard, "attach", lambda self, trainer: self)
    monkeypatch.setattr(
        "diversify.trainers.components.load_embedder", lambda name, **options: tiny_embedder
    )
    trainer = SimpleNamespace(args=SimpleNamespace(device="cpu"))

    def attach(kernel=None, **options):
        given = {"safeguard_every": 5, "safeguard_quality": ["answers"]} | options
        arguments = SafeguardArguments(**given)
        return attach_safeguard(trainer, arguments, reference="", kernel=kernel)

    return attach


def test_without_steps_there_is_none(attached):
    assert attached(safeguard_every=0) is None


def test_the_trained_cosine_is_watched_and_the_other_one_is_held_out(attached, tiny_embedder):
    mine = EmbeddingKernel(tiny_embedder)
    assert [kernel.name for kernel in attached(mine).kernels] == ["hashing", "ngram-2"]
    assert [kernel.name for kernel in attached(NgramKernel()).kernels] == ["ngram-2", "hashing"]


@pytest.mark.parametrize("kernel", [None, AnswerKernels(), EquivalenceKernel(str.__eq__)])
def test_embeddings_stand_where_a_kernel_has_no_effective_number(attached, kernel):
    assert [each.name for each in attached(kernel).kernels] == ["hashing", "ngram-2"]


def test_options_arrive(attached):
    guard = attached(safeguard_margin=[0.3], safeguard_patience=4, safeguard_limit=3)
    assert (guard.every, guard.patience) == (5, 4)
    assert isinstance(guard.qualities[0], AnswerList)
    assert guard.margins == {"valid_answer": 0.3}


def test_margins_and_qualities_must_fit(attached):
    with pytest.raises(ValueError, match="one margin each"):
        attached(safeguard_margin=[0.3, 0.1])
    with pytest.raises(ValueError, match="qualities with a margin"):
        attached(safeguard_quality=["trl.rewards.think_format_reward"])
