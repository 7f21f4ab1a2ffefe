"""The papers' defaults, and the two rewards that `trl grpo --reward_funcs` finds by their path."""

import importlib
import math
import pickle

import pytest
from reward_cases import CLASSES, TEXTS, compass, first_letter, from_column

from diversify import rewards
from diversify.kernels import EmbeddingKernel, EquivalenceKernel, NgramKernel
from diversify.rewards.presets import LazyEmbedder, same_words


def score(reward, texts, q, ids=None, **columns):
    return reward(["What is it?"] * len(texts), texts, ids, q=q, **columns)


def test_darling():
    """Credits 2/3, 2/3, 1, 1; quality shifted by its minimum; the floor is .1."""
    reward = rewards.darling(from_column, kernel=EquivalenceKernel(first_letter), group_size=4)
    assert score(reward, CLASSES, [1.2, 0.7, 1.0, 0.2]) == pytest.approx([2 / 3, 1 / 3, 0.8, 0])
    assert score(reward, ["a", "as", "at", "an"], [0, 1, 2, 3]) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert reward.scale_rewards == "none"
    assert reward.__name__ == "darling"


def test_darling_without_its_extras():
    kernel = EquivalenceKernel(first_letter)
    reward = rewards.darling(from_column, kernel=kernel, floor=0.0, shift=None, group_size=4)
    assert score(reward, CLASSES, [1.0, 0.5, 0.8, 0.2]) == pytest.approx([2 / 3, 1 / 3, 0.8, 0.2])
    loose = rewards.darling(from_column, kernel=EmbeddingKernel(compass), threshold=0.7, shift=None)
    assert score(loose, TEXTS, [1.0] * 3) == pytest.approx([0.5, 1.0, 0.5])
    strict = rewards.darling(from_column, kernel=EmbeddingKernel(compass), shift=None)
    assert score(strict, TEXTS, [1.0] * 3) == [1.0] * 3


def test_moda():
    """c = .1, .2, .1; row 3 fails; row 1 is 100 tokens too long; row 2 is in another language."""
    reward = rewards.moda(from_column, kernel=EmbeddingKernel(compass), group_size=3)
    columns = {"tau": [1.0] * 3, "sigma": [2.0] * 3}
    ids = [[0] * 612, [0], [0]]
    t = 0.5 * math.tanh(0.5)
    values = score(reward, TEXTS, [1.0, 2.0, 0.0], ids, **columns)
    assert values == pytest.approx([10.0 - 1.0, 20.0 + t, -t])
    assert reward.scale_rewards == "group"

    foreign = EmbeddingKernel(
        lambda texts: [[0.0, 1.0] if t == "da" else [1.0, 0.0] for t in texts]
    )
    reward = rewards.moda(from_column, kernel=foreign, threshold=0.0, scale=1.0, group_size=2)
    assert score(reward, ["da", "да"], [0.0, 0.0], [[0], [0]]) == pytest.approx([50.0, 49.9])


def test_moda_without_penalties_needs_no_tokens():
    reward = rewards.moda(
        from_column,
        kernel=EmbeddingKernel(compass),
        threshold=0.0,
        scale=1.0,
        length_penalty=0.0,
        language_penalty=0.0,
        penalties=[lambda **given: [1.0, 0.0, 0.0]],
        group_size=3,
    )
    assert score(reward, TEXTS, [0.0] * 3) == pytest.approx([11.0, 20.0, 10.0])


def test_dra():
    """Row sums 1.8, 1.6, 2.4 of the cosines 0, .8, .6."""
    reward = rewards.dra(from_column, kernel=EmbeddingKernel(compass), group_size=3)
    assert score(reward, TEXTS, [1.0, 1.0, 0.0]) == pytest.approx([1 / 1.8, 1 / 1.6, 0.0])


def test_ips():
    """Frequencies 2/3, 2/3, 1/3: every correct answer earns 3 in all."""
    reward = rewards.ips(from_column, group_size=3)
    assert score(reward, ["a b", "A  b", "c"], [1, 1, 1]) == pytest.approx([1.5, 1.5, 3.0])
    assert score(reward, ["a b", "A  b", "c"], [1, 1, 0]) == pytest.approx([1.5, 1.5, 0.0])
    assert not same_words("a b", "b a")


def test_dqo():
    """Orthogonal and twice the same: log 6/4, log 6/3, log 6/4."""
    reward = rewards.dqo(kernel=NgramKernel(), group_size=3)
    expected = [math.log(1.5), math.log(2), math.log(1.5)]
    assert reward(["p"] * 3, ["a", "b", "a"]) == pytest.approx(expected)


def test_every_public_name_is_there_and_presets_have_names_of_their_own():
    assert all(hasattr(rewards, name) for name in rewards.__all__)
    names = ["darling", "moda", "dra", "ips", "mmr", "uniqueness", "polychromic", "novelty"]
    made = [getattr(rewards, name)(from_column) for name in [*names, "repulsion"]]
    made += [rewards.dqo(), rewards.gapo()]
    assert [reward.__name__ for reward in made] == [*names, "repulsion", "dqo", "gapo"]


@pytest.fixture
def without_minilm(monkeypatch):
    """Replace the loader of embedders: counts the loads."""
    loads = []

    def load_embedder(name, **options):
        loads.append(name)
        return compass

    monkeypatch.setattr("diversify.embedders.load_embedder", load_embedder)
    return loads


def test_an_embedder_is_loaded_once_when_first_asked(without_minilm):
    embedder = LazyEmbedder("some-model")
    assert without_minilm == []
    assert embedder(["north"]) == [(0.0, 1.0)]
    embedder(["east"])
    assert without_minilm == ["some-model"]
    copy = pickle.loads(pickle.dumps(embedder))
    assert copy == embedder
    copy(["east"])
    assert without_minilm == ["some-model"] * 2


@pytest.mark.parametrize("name", ["lexical_novelty", "semantic_novelty"])
def test_trl_finds_the_ready_rewards_by_their_path(name, without_minilm):
    """What `trl grpo` does with `--reward_funcs diversify.rewards.<name>`, then with a batch."""
    module, attribute = f"diversify.rewards.{name}".rsplit(".", 1)
    reward = getattr(importlib.import_module(module), attribute)
    assert reward.__name__ == name
    reward = pickle.loads(pickle.dumps(reward))  # the object of the module stays as it is
    texts = ["north", "north", "east"] * 2
    values = reward(prompts=["p"] * 3 + ["q"] * 3, completions=texts, completion_ids=[[1]] * 6)
    assert values[:3] == values[3:]
    assert values[0] == values[1] < 0 < values[2]


@pytest.mark.slow
def test_semantic_novelty_sees_meaning_where_the_words_differ():
    from diversify.embedders import embedded_embedder_path

    try:
        embedded_embedder_path()
    except ImportError as error:
        pytest.skip(str(error))
    texts = [
        "The weather is lovely today.",
        "Today is a day of beautiful weather.",
        "I sold a car.",
    ]
    first, second, third = rewards.semantic_novelty(["p"] * 3, texts)
    assert max(first, second) < third
    assert 0.9 < third < 1.2
