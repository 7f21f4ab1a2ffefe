"""What every measure, credit and selection of the public lists must do.

The tables name what is expected of each entry; a new entry without a row fails.
"""

import inspect
import math
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

from diversify import credit, kernels, lexical, measures
from diversify.credit import CREDITS
from diversify.measures import MEASURES

Floats = NDArray[np.float64]

# name -> value for n identical texts, value for n orthogonal texts
EXTREMES: dict[str, tuple[Callable[[int], float], Callable[[int], float]]] = {
    "vendi": (lambda n: 1.0, lambda n: n),
    "mean_distance": (lambda n: 0.0, lambda n: float(n > 1)),
    "nearest_distance": (lambda n: 0.0, lambda n: float(n > 1)),
    "distinct": (lambda n: 1.0, lambda n: n),
    "log_det": (lambda n: math.log(n + 1), lambda n: n * math.log(2)),
}

# Every function that gives each text of a group a value, as S -> (n,).
PER_TEXT: dict[str, Callable[[Floats], Floats]] = {
    **CREDITS,
    "leave_one_out-log_det": partial(credit.leave_one_out, measure=measures.log_det),
    "leave_one_out-distance": partial(credit.leave_one_out, measure=measures.mean_distance),
    "mmr_rewards": lambda S: credit.mmr_rewards(np.ones(len(S)), S),
    "repulsion_credit": lambda S: credit.repulsion_credit(S),
    "partition_credit": lambda S: credit.partition_credit(credit.partition(S, threshold=0.5)),
    "rarity_weight": lambda S: credit.rarity_weight(credit.partition(S, threshold=0.5)),
    "inverse_frequency": lambda S: credit.inverse_frequency(credit.partition(S, threshold=0.5)),
    "polychromic_credit": lambda S: credit.polychromic_credit(
        np.ones(len(S)), credit.partition(S, threshold=0.5), size=min(3, len(S)) or 1
    ),
    "uniform_target": lambda S: credit.uniform_target(
        credit.partition(S, threshold=0.5), np.ones(len(S), dtype=bool), size=len(S) or 1
    ),
}

# Every selection, as (S, size) -> indices.
SELECTIONS: dict[str, Callable[[Floats, int], NDArray[np.intp]]] = {
    "select": credit.select,
    "select-quality": lambda S, size: credit.select(S, size, quality=np.zeros(len(S))),
    "select-distance": partial(credit.select, measure=measures.mean_distance),
    "mmr_select": lambda S, size: credit.mmr_select(np.zeros(len(S)), S, size),
    "dpp_select": credit.dpp_select,
    "facility_location": credit.facility_location,
    "facility_location-quality": lambda S, size: credit.facility_location(
        S, size, quality=np.zeros(len(S))
    ),
    "cluster_and_best-threshold": lambda S, size: credit.cluster_and_best(
        np.zeros(len(S)), S, size, threshold=0.5
    ),
    "farthest_point": credit.farthest_point,
}

# Credits that see the whole group at once. `mmr_rewards` goes by rank and pays the first of
# several copies in full; `repulsion_credit` looks at peers, not at the group.
OF_GROUPS = sorted(set(PER_TEXT) - {"mmr_rewards", "repulsion_credit"})
# Of these, equal credits of all texts are 0, whether they are identical or orthogonal.
CENTRED = {"leave_one_out-distance", "polychromic_credit"}

# name -> credit of the one text of a group
ALONE = {
    "leave_one_out": 1.0,
    "leave_one_out-log_det": math.log(2),
    "leave_one_out-distance": 0.0,
    "nearest_credit": 1.0,
    "mutual_information_weight": 1.0,
    "log_det_credit": math.log(2),
    "partition_credit": 1.0,
    "rarity_weight": 1.0,
    "inverse_frequency": 1.0,
    "polychromic_credit": 0.0,
    "uniform_target": 1.0,
}

BAD: dict[str, Floats] = {
    "nan": np.array([[1.0, np.nan], [np.nan, 1.0]]),
    "infinite": np.array([[1.0, np.inf], [np.inf, 1.0]]),
    "not square": np.ones((2, 3)),
    "vector": np.ones(4),
    "stack": np.ones((2, 2, 2)),
    "asymmetric": np.array([[1.0, 0.5], [0.1, 1.0]]),
    "diagonal": np.array([[1.0, 0.5], [0.5, 0.8]]),
    "range": np.array([[1.0, 1.7], [1.7, 1.0]]),
}

all_measures = pytest.mark.parametrize("name", list(MEASURES))
all_credits = pytest.mark.parametrize("name", OF_GROUPS)
all_selections = pytest.mark.parametrize("name", list(SELECTIONS))


def cosines(seed: int, n: int, *, d: int = 5, positive: bool = False) -> Floats:
    rows = np.random.default_rng(seed).normal(size=(n, d))
    rows = np.abs(rows) if positive else rows
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def test_the_tables_cover_the_lists() -> None:
    assert set(EXTREMES) == set(MEASURES)
    assert set(ALONE) == set(OF_GROUPS)
    walked = {name.split("-")[0] for name in [*PER_TEXT, *SELECTIONS]}
    numbers = {"unseen_mass", "semantic_entropy", "effective_classes", "chao_shen_entropy"}
    others = {"partition", "leader_partition", "rarefied_classes", "CREDITS", *numbers}
    assert walked | others == set(credit.__all__)


@pytest.mark.parametrize("module", [kernels, measures, credit, lexical])
def test_every_public_name_is_documented_with_an_example(module: ModuleType) -> None:
    public = [getattr(module, name) for name in module.__all__]
    defined = [item for item in public if inspect.isfunction(item) or inspect.isclass(item)]
    assert len(defined) >= 4
    for item in defined:
        protocol = getattr(item, "_is_protocol", False)
        assert protocol or ">>>" in (item.__doc__ or ""), item


@all_measures
class TestMeasures:
    @pytest.mark.parametrize("n", [1, 2, 7, 50])
    def test_identical_is_the_minimum_and_orthogonal_the_maximum(self, name: str, n: int) -> None:
        low, high = EXTREMES[name]
        assert MEASURES[name](np.ones((n, n))) == pytest.approx(low(n), abs=1e-9)
        assert MEASURES[name](np.eye(n)) == pytest.approx(high(n), abs=1e-9)
        for seed in range(10):
            value = MEASURES[name](cosines(seed, n, positive=True))
            assert low(n) - 1e-9 <= value <= high(n) + 1e-9

    def test_grows_as_similarity_falls(self, name: str) -> None:
        S = cosines(0, 6, positive=True)
        values = [MEASURES[name](S * t + (1 - t) * np.eye(6)) for t in (1.0, 0.6, 0.2, 0.0)]
        assert all(before <= after for before, after in pairwise(values))
        assert values[0] < values[-1]

    def test_order_of_texts_does_not_matter(self, name: str) -> None:
        for seed in range(5):
            S = cosines(seed, 9)
            order = np.random.default_rng(seed).permutation(9)
            assert MEASURES[name](S[np.ix_(order, order)]) == pytest.approx(MEASURES[name](S))

    def test_no_texts_give_zero(self, name: str) -> None:
        assert MEASURES[name](np.empty((0, 0))) == 0.0

    def test_returns_a_float(self, name: str) -> None:
        assert type(MEASURES[name](np.eye(3))) is float

    @pytest.mark.parametrize("bad", list(BAD))
    def test_refuses_what_is_no_similarity_matrix(self, name: str, bad: str) -> None:
        with pytest.raises(ValueError, match=r"^S must"):
            MEASURES[name](BAD[bad])


@all_credits
class TestCredits:
    def test_follows_its_text(self, name: str) -> None:
        for seed in range(5):
            S = cosines(seed, 8)
            order = np.random.default_rng(seed).permutation(8)
            permuted = PER_TEXT[name](S[np.ix_(order, order)])
            np.testing.assert_allclose(permuted, PER_TEXT[name](S)[order], atol=1e-10)

    def test_copies_are_equal_and_get_less_than_the_text_that_differs(self, name: str) -> None:
        S = np.ones((4, 4))
        S[3, :3] = S[:3, 3] = 0.0
        values = PER_TEXT[name](S)
        np.testing.assert_allclose(values[:3], values[0], atol=1e-10)
        assert values[2] < values[3]

    def test_equal_for_identical_texts_and_for_orthogonal_ones(self, name: str) -> None:
        identical, orthogonal = PER_TEXT[name](np.ones((5, 5))), PER_TEXT[name](np.eye(5))
        assert identical.shape == orthogonal.shape == (5,)
        np.testing.assert_allclose(identical, identical[0], atol=1e-10)
        np.testing.assert_allclose(orthogonal, orthogonal[0], atol=1e-10)
        if name in CENTRED:
            np.testing.assert_allclose([identical, orthogonal], 0.0, atol=1e-10)
        else:
            assert identical[0] < orthogonal[0]

    def test_one_text_and_none(self, name: str) -> None:
        alone = PER_TEXT[name](np.eye(1))
        assert alone.shape == (1,)
        assert alone[0] == pytest.approx(ALONE[name])
        assert PER_TEXT[name](np.empty((0, 0))).shape == (0,)

    @pytest.mark.parametrize("bad", list(BAD))
    def test_refuses_what_is_no_similarity_matrix(self, name: str, bad: str) -> None:
        with pytest.raises(ValueError, match=r"^S must"):
            PER_TEXT[name](BAD[bad])


class TestCreditsByRankAndByPeers:
    def test_follow_their_text(self) -> None:
        rewards = np.linspace(0.1, 0.9, 8)
        for seed in range(5):
            S = cosines(seed, 8)
            order = np.random.default_rng(seed).permutation(8)
            permuted = credit.mmr_rewards(rewards[order], S[np.ix_(order, order)])
            np.testing.assert_allclose(permuted, credit.mmr_rewards(rewards, S)[order])
            np.testing.assert_allclose(
                credit.repulsion_credit(S[order]), credit.repulsion_credit(S)[order]
            )

    def test_only_the_first_copy_keeps_its_reward(self) -> None:
        """Three copies and a fourth text, all of reward 1: 1, then .7 for the other, .7 - .3."""
        S = np.ones((4, 4))
        S[3, :3] = S[:3, 3] = 0.0
        np.testing.assert_allclose(PER_TEXT["mmr_rewards"](S), [1.0, 0.4, 0.4, 0.7])

    def test_one_text_and_none(self) -> None:
        assert credit.mmr_rewards(np.array([0.3]), np.eye(1)).tolist() == [0.3]
        assert credit.mmr_rewards(np.empty(0), np.empty((0, 0))).shape == (0,)

    @pytest.mark.parametrize("bad", list(BAD))
    def test_refuses_what_is_no_similarity_matrix(self, bad: str) -> None:
        with pytest.raises(ValueError, match=r"^S must"):
            credit.mmr_rewards(np.ones(2), BAD[bad])


@all_selections
class TestSelections:
    def test_picks_distinct_indices_of_the_pool(self, name: str) -> None:
        for seed in range(5):
            picks = SELECTIONS[name](cosines(seed, 9, d=12), 6)
            assert picks.dtype == np.intp
            assert len(set(picks.tolist())) == 6
            assert set(picks.tolist()) <= set(range(9))

    def test_a_larger_selection_extends_a_smaller_one(self, name: str) -> None:
        S = cosines(1, 9, d=12)
        assert SELECTIONS[name](S, 6)[:3].tolist() == SELECTIONS[name](S, 3).tolist()

    def test_takes_one_text_of_each_class_before_any_copy(self, name: str) -> None:
        labels = np.array([0, 0, 1, 0, 2, 1])
        S = (labels[:, None] == labels[None, :]).astype(np.float64)
        picks = SELECTIONS[name](S, 3)
        assert sorted(labels[picks].tolist()) == [0, 1, 2]

    def test_ties_go_to_the_lowest_index(self, name: str) -> None:
        assert SELECTIONS[name](np.eye(5), 4).tolist() == [0, 1, 2, 3]
        noise = np.random.default_rng(2).normal(scale=1e-15, size=(5, 5))
        almost = np.eye(5) + noise + noise.T
        assert SELECTIONS[name](almost, 4).tolist() == [0, 1, 2, 3]

    def test_a_pool_of_one(self, name: str) -> None:
        assert SELECTIONS[name](np.eye(1), 1).tolist() == [0]

    @pytest.mark.parametrize("size", [0, -1, 4, 1.5])
    def test_refuses_an_impossible_size(self, name: str, size: int) -> None:
        with pytest.raises(ValueError, match="size must be"):
            SELECTIONS[name](np.eye(3), size)
        with pytest.raises(ValueError, match="size must be"):
            SELECTIONS[name](np.empty((0, 0)), 1)

    @pytest.mark.parametrize("bad", ["nan", "infinite", "not square", "vector", "asymmetric"])
    def test_refuses_what_is_no_matrix(self, name: str, bad: str) -> None:
        with pytest.raises(ValueError, match=r"^[SL] must"):
            SELECTIONS[name](BAD[bad], 1)
