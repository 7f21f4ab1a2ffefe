"""Labels to numbers: entropy, its estimate, classes in effect, and classes in k of n draws."""

import math
from itertools import combinations

import numpy as np
import pytest

from diversify.credit import (
    chao_shen_entropy,
    effective_classes,
    rarefied_classes,
    semantic_entropy,
    unseen_mass,
)
from diversify.measures import vendi

NUMBERS = [
    semantic_entropy,
    effective_classes,
    chao_shen_entropy,
    lambda labels: rarefied_classes(labels, size=1),
]


class TestEntropy:
    @pytest.mark.parametrize("n", [1, 2, 7, 50])
    def test_extremes(self, n: int) -> None:
        """One class: nothing to wonder about. All different: log n."""
        assert semantic_entropy(np.zeros(n, dtype=int)) == 0.0
        assert semantic_entropy(np.arange(n)) == pytest.approx(math.log(n))

    def test_by_hand(self) -> None:
        """Shares 1/2, 1/4, 1/4: (1/2) log 2 + 2 (1/4) log 4 = 1.5 log 2."""
        labels = np.array([5, 5, 2, 9])
        assert semantic_entropy(labels) == pytest.approx(1.5 * math.log(2))
        assert effective_classes(labels) == pytest.approx(2**1.5)

    def test_orders_by_hand(self) -> None:
        """Shares 3/4, 1/4: order 2 is 1 / (9/16 + 1/16) = 1.6, order inf is 4/3."""
        labels = np.array([0, 0, 0, 1])
        assert effective_classes(labels, order=2) == pytest.approx(1.6)
        assert effective_classes(labels, order=math.inf) == pytest.approx(4 / 3)
        assert effective_classes(labels, order=1e-9) == pytest.approx(2)

    def test_is_vendi_of_the_classes(self) -> None:
        labels = np.random.default_rng(0).integers(0, 5, size=20)
        S = np.equal.outer(labels, labels).astype(float)
        for order in (0.5, 1.0, 2.0, math.inf):
            assert effective_classes(labels, order=order) == pytest.approx(vendi(S, order=order))

    @pytest.mark.parametrize("number", NUMBERS)
    def test_neither_order_nor_names_of_classes_matter(self, number) -> None:
        labels = np.array([0, 3, 3, 1, 3, 0])
        assert number(labels[::-1] * 7 + 2) == pytest.approx(number(labels))

    @pytest.mark.parametrize("number", NUMBERS)
    def test_what_is_no_labels_is_refused(self, number) -> None:
        with pytest.raises(ValueError, match="got none"):
            number(np.array([], dtype=int))
        with pytest.raises(ValueError, match="vector of integers"):
            number(np.array([0.5, 1.0]))

    def test_an_order_of_zero_is_refused(self) -> None:
        with pytest.raises(ValueError, match="order must be"):
            effective_classes(np.array([0, 1]), order=0)


class TestChaoShen:
    def test_by_hand(self) -> None:
        """Sizes 2 and 1 of 3: f1 = 1, so shares shrink by 2/3 to 4/9 and 2/9.

        Terms (4/9) log(9/4) / (1 - (5/9)^3) = .4350 and (2/9) log(9/2) / (1 - (7/9)^3) = .6312.
        """
        first = 4 / 9 * math.log(9 / 4) / (1 - (5 / 9) ** 3)
        second = 2 / 9 * math.log(9 / 2) / (1 - (7 / 9) ** 3)
        assert chao_shen_entropy(np.array([0, 0, 1])) == pytest.approx(first + second)
        assert first + second == pytest.approx(1.0662, abs=1e-4)

    def test_without_classes_of_one_only_the_second_correction_is_left(self) -> None:
        """Two of each: shares stay 1/2; log 2 / (1 - (1/2)^4)."""
        assert chao_shen_entropy(np.array([0, 0, 1, 1])) == pytest.approx(math.log(2) * 16 / 15)

    def test_one_class_and_one_text_have_none(self) -> None:
        assert chao_shen_entropy(np.zeros(9, dtype=int)) == chao_shen_entropy(np.array([3])) == 0.0

    def test_all_different_is_finite_and_more_than_was_seen(self) -> None:
        """f1 = n would say that nothing was seen: n - 1 counts instead, shares 1 / n^2."""
        n = 10
        value = chao_shen_entropy(np.arange(n))
        share = 1 / n**2
        by_hand = n * -share * math.log(share) / (1 - (1 - share) ** n)
        assert value == pytest.approx(by_hand)
        assert value > math.log(n)

    def test_is_nearer_to_the_truth_than_the_sample(self) -> None:
        """Fifteen draws from 30 equal classes: log 30 = 3.40, and a sample cannot exceed 2.71."""
        draws = np.random.default_rng(1).integers(0, 30, size=(300, 15))
        sample = np.mean([semantic_entropy(row) for row in draws])
        estimate = np.mean([chao_shen_entropy(row) for row in draws])
        assert sample < 2.6
        assert abs(estimate - math.log(30)) < 0.3


class TestRarefaction:
    @pytest.mark.parametrize(
        "labels", [[0, 0, 1, 2], [0, 0, 0, 0], [0, 1, 2, 3], [1, 0, 1, 0, 1, 2]]
    )
    def test_is_the_mean_over_all_subsets(self, labels: list[int]) -> None:
        for size in range(1, len(labels) + 1):
            counts = [len(set(some)) for some in combinations(labels, size)]
            found = rarefied_classes(np.array(labels), size=size)
            assert found == pytest.approx(np.mean(counts), abs=1e-12)

    def test_two_of_four_by_hand(self) -> None:
        """One pair of six is equal: 1 + 5/6."""
        assert rarefied_classes(np.array([0, 0, 1, 2]), size=2) == pytest.approx(11 / 6)

    def test_all_of_them_is_the_number_of_classes(self) -> None:
        labels = np.random.default_rng(0).integers(0, 40, size=2000)
        assert rarefied_classes(labels, size=2000) == 40
        assert rarefied_classes(labels, size=1) == 1
        assert 39.99 < rarefied_classes(labels, size=1000) < 40

    def test_makes_runs_of_different_length_comparable(self) -> None:
        """The same source, 10 and 50 draws: counts differ, counts in 10 do not."""
        draws = np.random.default_rng(2).geometric(0.2, size=(400, 50))
        few = np.mean([rarefied_classes(row[:10], size=10) for row in draws])
        many = np.mean([rarefied_classes(row, size=10) for row in draws])
        assert few == pytest.approx(many, abs=0.15)
        assert np.mean([rarefied_classes(row, size=50) for row in draws]) > few + 4

    def test_texts_without_a_class_are_drawn_and_not_counted(self) -> None:
        """Labels 4, 4, 7 and one of none: of six pairs 44 and 4-, 4-, 7- hold one, 47, 47 two."""
        labels = np.array([4, 4, -1, 7])
        assert rarefied_classes(labels, size=2, without=-1) == pytest.approx(8 / 6)
        assert rarefied_classes(labels, size=1, without=-1) == pytest.approx(3 / 4)
        assert rarefied_classes(labels, size=4, without=-1) == 2
        assert rarefied_classes(np.full(3, -1), size=2, without=-1) == 0
        assert rarefied_classes(labels, size=2, without=9) == rarefied_classes(labels, size=2)

    @pytest.mark.parametrize("size", [0, 5, 1.5])
    def test_impossible_sizes_are_refused(self, size) -> None:
        with pytest.raises(ValueError, match="size must be"):
            rarefied_classes(np.array([0, 0, 1, 2]), size=size)

    def test_the_last_step_is_the_unseen_mass(self) -> None:
        """What the n-th draw adds on average is the share of classes that came once."""
        labels = np.array([0, 0, 1, 2, 2, 2, 3])
        step = rarefied_classes(labels, size=7) - rarefied_classes(labels, size=6)
        assert step == pytest.approx(unseen_mass(labels))
