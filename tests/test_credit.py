"""Credits, classes and selections. What all of them share is in test_contracts.py."""

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray

from diversify.credit import (
    dpp_select,
    facility_location,
    farthest_point,
    inverse_frequency,
    leader_partition,
    leave_one_out,
    log_det_credit,
    mmr_rewards,
    mmr_select,
    mutual_information_weight,
    nearest_credit,
    partition,
    partition_credit,
    polychromic_credit,
    rarity_weight,
    repulsion_credit,
    select,
    uniform_target,
)
from diversify.credit.marginal import CHUNK
from diversify.measures import (
    Measure,
    distinct,
    log_det,
    mean_distance,
    nearest_distance,
    vendi,
)

Floats = NDArray[np.float64]

# Worked example of MMR: two near copies that are both relevant, and two others.
MMR_S = np.array(
    [[1, 0.95, 0.2, 0.1], [0.95, 1, 0.25, 0.1], [0.2, 0.25, 1, 0.4], [0.1, 0.1, 0.4, 1]]
)
MMR_RELEVANCE = np.array([0.9, 0.88, 0.5, 0.3])
# Worked example of a greedy k-DPP, with qualities 1, 1, .8, .7 in the diagonal.
DPP_L = np.array(
    [[1, 0.9, 0.1, 0.2], [0.9, 1, 0.15, 0.1], [0.1, 0.15, 0.64, 0.3], [0.2, 0.1, 0.3, 0.49]]
)


def blocks(*labels: int) -> Floats:
    """Identical texts where the labels agree, orthogonal ones elsewhere."""
    vector = np.array(labels)
    S: Floats = (vector[:, None] == vector[None, :]).astype(np.float64)
    return S


def cosines(rng: np.random.Generator, n: int, d: int) -> Floats:
    rows = rng.normal(size=(n, d))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    cosine: Floats = rows @ rows.T
    return cosine


class TestLeaveOneOut:
    def test_a_pair_and_two_singles(self) -> None:
        """{a, a, b, c}: eigenvalues / 4 are .5, .25, .25, so vendi = 2^1.5 = 2.828427.

        Without an a three orthogonal texts remain, 3: credit -.171573. Without b, {a, a, c} with
        vendi 3 / 2^(2/3) = 1.889882: credit .938545.
        """
        credit = leave_one_out(blocks(0, 0, 1, 2))
        np.testing.assert_allclose(credit, [-0.171573, -0.171573, 0.938545, 0.938545], atol=1e-6)

    def test_copies_of_the_rarer_answer_still_add_evenness(self) -> None:
        """Classes of 2 and 3: H(.4) = .673012, vendi 1.960132.

        Without one of the 2: classes 1 and 3, exp(.562335) = 1.754765: credit .205367.
        Without one of the 3: classes 2 and 2, vendi 2: credit -.039868.
        """
        credit = leave_one_out(blocks(0, 0, 1, 1, 1))
        np.testing.assert_allclose(credit, [0.205367] * 2 + [-0.039868] * 3, atol=1e-6)

    def test_other_measures(self) -> None:
        """{a, a, b}: 2 answers; without an a still 2, without b 1. Mean distance 2/3; 1 and 0."""
        S = blocks(0, 0, 1)
        credit = leave_one_out(S, lambda S: distinct(S, threshold=0.5))
        assert credit.tolist() == [0.0, 0.0, 1.0]
        np.testing.assert_allclose(leave_one_out(S, mean_distance), [-1 / 3, -1 / 3, 2 / 3])

    @pytest.mark.parametrize("n", [1, 2, 8, CHUNK, CHUNK + 3])
    def test_the_batched_route_equals_the_plain_one(self, n: int) -> None:
        rng = np.random.default_rng(n)
        S = cosines(rng, n, 5)
        plain = [vendi(S) - vendi(np.delete(np.delete(S, i, 0), i, 1)) for i in range(n)]
        np.testing.assert_allclose(leave_one_out(S), plain, atol=1e-10)
        np.testing.assert_allclose(leave_one_out(S, lambda S: vendi(S)), plain, atol=1e-10)

    def test_a_single_text_gets_the_measure(self) -> None:
        assert leave_one_out(np.eye(1)).tolist() == [1.0]
        assert leave_one_out(np.eye(1), log_det).tolist() == [math.log(2)]
        assert leave_one_out(np.eye(1), nearest_distance).tolist() == [0.0]

    def test_refuses_what_the_measure_refuses(self) -> None:
        S = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
        with pytest.raises(ValueError, match=r"smallest eigenvalue of -0\.4142"):
            leave_one_out(S)
        assert leave_one_out(S, mean_distance).shape == (3,)


class TestNearestCredit:
    def test_values(self) -> None:
        """Nearest others .8, .8, -.5 (of -.5 and -1): (1 - s) / 2 = .1, .1, .75."""
        S = np.array([[1.0, 0.8, -0.5], [0.8, 1.0, -1.0], [-0.5, -1.0, 1.0]])
        np.testing.assert_allclose(nearest_credit(S), [0.1, 0.1, 0.75])

    def test_averages_to_half_the_nearest_distance(self) -> None:
        S = cosines(np.random.default_rng(0), 9, 4)
        assert nearest_credit(S).mean() == pytest.approx(nearest_distance(S) / 2)


class TestMutualInformationWeight:
    def test_three_texts(self) -> None:
        """Row sums of S with itself are 2, 2.2 and 1.6: 1/2, 1/2.2 = .454545, 1/1.6 = .625."""
        S = np.array([[1, 0.8, 0.2], [0.8, 1, 0.4], [0.2, 0.4, 1]])
        weights = mutual_information_weight(S)
        np.testing.assert_allclose(weights, [0.5, 0.454545, 0.625], atol=1e-6)

    def test_negative_similarity_counts_as_none(self) -> None:
        """Unclipped, the sum of the first row would be 1 - .9 = .1 and its weight 10."""
        S = np.array([[1.0, -0.9], [-0.9, 1.0]])
        assert mutual_information_weight(S).tolist() == [1.0, 1.0]

    def test_bounds(self) -> None:
        weights = mutual_information_weight(cosines(np.random.default_rng(1), 12, 3))
        assert weights.min() >= 1 / 12
        assert weights.max() <= 1.0


class TestLogDetCredit:
    def test_three_embeddings(self) -> None:
        """e = (1,0), (0,1), (1,0): det(S + I) = 6. Without a copy 2 * 2 = 4; without the other 3.

        ln(6/4) = .405465 for each copy, ln(6/3) = .693147.
        """
        credit = log_det_credit(blocks(0, 1, 0))
        np.testing.assert_allclose(credit, [0.405465, 0.693147, 0.405465], atol=1e-6)

    def test_equals_leave_one_out_of_log_det(self) -> None:
        rng = np.random.default_rng(2)
        for n in (1, 2, 7, 16):
            S = cosines(rng, n, 4)
            np.testing.assert_allclose(log_det_credit(S), leave_one_out(S, log_det), atol=1e-10)

    def test_refuses_verdicts_that_are_not_transitive(self) -> None:
        with pytest.raises(ValueError, match="positive semi-definite"):
            log_det_credit(np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]))


class TestMmrRewards:
    def test_values(self) -> None:
        """Rewards .9 .88 .5 .3, weight .5, on the worked example (order 0, 2, 1, 3).

        0 keeps .9. 2: .25 - .5 * .2 = .15 (1: .44 - .475 = -.035, 3: .15 - .05 = .1).
        Then 1: .44 - .475 = -.035 and 3: .15 - .5 * .4 = -.05.
        """
        values = mmr_rewards(MMR_RELEVANCE, MMR_S, weight=0.5)
        np.testing.assert_allclose(values, [0.9, -0.035, 0.15, -0.05], atol=1e-12)

    def test_default_weight(self) -> None:
        """w = .7: 1: .616 - .285 = .331 first (2: .35 - .06 = .29), then 2: .35 - .075 = .275.

        3: .21 - .3 * .4 = .09.
        """
        values = mmr_rewards(MMR_RELEVANCE, MMR_S)
        np.testing.assert_allclose(values, [0.9, 0.331, 0.275, 0.09], atol=1e-12)

    def test_weight_one_changes_nothing(self) -> None:
        rng = np.random.default_rng(3)
        rewards = rng.normal(size=8)
        np.testing.assert_allclose(mmr_rewards(rewards, cosines(rng, 8, 3), weight=1.0), rewards)

    def test_negative_similarity_earns_nothing(self) -> None:
        """Opposed texts: .7 * .5 - .3 * max(-1, 0) = .35."""
        S = np.array([[1.0, -1.0], [-1.0, 1.0]])
        np.testing.assert_allclose(mmr_rewards(np.array([1.0, 0.5]), S), [1.0, 0.35])

    def test_copies_fall_behind_the_first_of_them(self) -> None:
        values = mmr_rewards(np.array([0.4, 1.0, 1.0]), blocks(0, 1, 1))
        np.testing.assert_allclose(values, [0.28, 1.0, 0.4])

    @pytest.mark.parametrize("weight", [-0.1, 1.1, np.nan])
    def test_refuses_an_impossible_weight(self, weight: float) -> None:
        with pytest.raises(ValueError, match=r"weight must be finite and between 0 and 1"):
            mmr_rewards(np.ones(2), np.eye(2), weight=weight)

    def test_refuses_rewards_that_do_not_fit(self) -> None:
        with pytest.raises(ValueError, match=r"one value per text, \(2,\), got shape \(3,\)"):
            mmr_rewards(np.ones(3), np.eye(2))
        with pytest.raises(ValueError, match="rewards must be finite"):
            mmr_rewards(np.array([1.0, np.nan]), np.eye(2))


class TestRepulsionCredit:
    CROSS = np.array([[1.0, 0.2, 0.6], [0.5, -0.4, 0.3]])

    def test_values(self) -> None:
        """Largest: 1, .5. Two largest: (1 + .6)/2 = .8, (.5 + .3)/2 = .4. All: .6, .4/3."""
        np.testing.assert_allclose(repulsion_credit(self.CROSS), [0.0, 0.5])
        np.testing.assert_allclose(repulsion_credit(self.CROSS, nearest=2), [0.2, 0.6])
        np.testing.assert_allclose(repulsion_credit(self.CROSS, nearest=3), [0.4, 1 - 0.4 / 3])

    def test_order_of_texts_and_peers(self) -> None:
        credit = repulsion_credit(self.CROSS[::-1, ::-1], nearest=2)
        np.testing.assert_allclose(credit, [0.6, 0.2])

    def test_one_text_and_none(self) -> None:
        np.testing.assert_allclose(repulsion_credit(np.array([[-1.0, -1.0]])), [2.0])
        assert repulsion_credit(np.empty((0, 3))).shape == (0,)

    @pytest.mark.parametrize("nearest", [0, 4, 1.0])
    def test_refuses_an_impossible_number_of_peers(self, nearest: int) -> None:
        with pytest.raises(ValueError, match="nearest must be"):
            repulsion_credit(self.CROSS, nearest=nearest)

    @pytest.mark.parametrize(
        ("cross", "message"),
        [
            (np.empty((2, 0)), r"m > 0, got shape \(2, 0\)"),
            (np.ones(3), r"got shape \(3,\)"),
            (np.array([[0.1, np.nan]]), "cross must be finite"),
            (np.array([[0.1, 1.2]]), r"in \[-1, 1\], got one of size 1.2"),
        ],
    )
    def test_refuses_what_is_no_similarity(self, cross: Floats, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            repulsion_credit(cross)


class TestPartition:
    def test_closure(self) -> None:
        """Pairs (0,1) and (1,2) reach the threshold, 3 none: classes 0 0 0 1."""
        S = np.eye(4)
        S[0, 1] = S[1, 0] = S[1, 2] = S[2, 1] = 0.9
        assert partition(S, threshold=0.85).tolist() == [0, 0, 0, 1]
        assert partition(S, threshold=0.95).tolist() == [0, 1, 2, 3]

    def test_counts_what_distinct_counts(self) -> None:
        rng = np.random.default_rng(4)
        for threshold in (-0.5, 0.0, 0.4, 0.8):
            S = cosines(rng, 14, 3)
            labels = partition(S, threshold=threshold)
            assert len(set(labels.tolist())) == distinct(S, threshold=threshold)

    def test_no_texts(self) -> None:
        assert partition(np.empty((0, 0)), threshold=0.5).shape == (0,)


class TestLeaderPartition:
    def test_compares_with_heads_only(self) -> None:
        """Neighbours are alike. In the order 1 2 3 the head 1 is unlike 3; led by 2 all join."""

        def near(first: str, second: str) -> bool:
            return abs(int(first) - int(second)) <= 1

        assert leader_partition(["1", "2", "3"], near).tolist() == [0, 0, 1]
        assert leader_partition(["2", "1", "3"], near).tolist() == [0, 0, 0]

    def test_asks_the_head_first_and_stops_at_the_first_match(self) -> None:
        asked = []

        def judge(head: str, text: str) -> bool:
            asked.append(head + text)
            return head.lower() == text.lower()

        assert leader_partition(["a", "b", "A", "B"], judge).tolist() == [0, 1, 0, 1]
        assert asked == ["ab", "aA", "aB", "bB"]

    def test_joins_the_first_matching_class(self) -> None:
        texts = ["ab", "cd", "bc"]
        labels = leader_partition(texts, lambda head, text: bool(set(head) & set(text)))
        assert labels.tolist() == [0, 1, 0]

    def test_the_judge_decides_about_identical_texts_too(self) -> None:
        assert leader_partition(["a", "a"], lambda head, text: False).tolist() == [0, 1]

    def test_equals_the_closure_for_an_equivalence(self) -> None:
        rng = np.random.default_rng(5)
        for _ in range(20):
            texts = [str(number) for number in rng.integers(0, 6, size=10)]
            labels = leader_partition(texts, lambda head, text: head == text)
            expected = partition(blocks(*map(int, texts)), threshold=0.5)
            assert labels.tolist() == expected.tolist()

    def test_no_texts(self) -> None:
        assert leader_partition([], lambda head, text: True).shape == (0,)

    def test_refuses_an_answer_that_is_no_verdict(self) -> None:
        with pytest.raises(ValueError, match="must return a bool, got None"):
            leader_partition(["a", "b"], lambda head, text: None)  # type: ignore[arg-type, return-value]


class TestPartitionCredit:
    def test_four_texts(self) -> None:
        """Classes a a b c: (4 - 2)/3, (4 - 2)/3, (4 - 1)/3, (4 - 1)/3."""
        credit = partition_credit(np.array([0, 0, 1, 2]))
        np.testing.assert_allclose(credit, [2 / 3, 2 / 3, 1, 1])

    def test_rewards_and_advantages_of_the_published_example(self) -> None:
        """Quality 1, .5, .8, .2 times 2/3, 2/3, 1, 1: .666667 .333333 .8 .2, mean .5."""
        reward = np.array([1.0, 0.5, 0.8, 0.2]) * partition_credit(np.array([0, 0, 1, 2]))
        advantage = reward - reward.mean()
        np.testing.assert_allclose(advantage, [1 / 6, -1 / 6, 0.3, -0.3])

    def test_the_closure_and_the_pairwise_mean_differ(self) -> None:
        """Pairs (0,1), (1,2) equal. Closure: (4 - 3)/3 thrice, then 1; pairs: 2/3, 1/3, 2/3, 1."""
        S = np.eye(4)
        S[0, 1] = S[1, 0] = S[1, 2] = S[2, 1] = 1.0
        credit = partition_credit(partition(S, threshold=0.5))
        np.testing.assert_allclose(credit, [1 / 3, 1 / 3, 1 / 3, 1])
        np.testing.assert_allclose((S == 0).sum(axis=1) / 3, [2 / 3, 1 / 3, 2 / 3, 1])

    def test_extremes(self) -> None:
        assert partition_credit(np.zeros(5, dtype=int)).tolist() == [0.0] * 5
        assert partition_credit(np.arange(5)).tolist() == [1.0] * 5
        assert partition_credit(np.array([3])).tolist() == [1.0]


class TestRarityAndFrequency:
    LABELS = np.array([7, 2, 7, 7, 7, 2])

    def test_rarity(self) -> None:
        """Sizes 4, 2, 4, 4, 4, 2: inverse 1/4 and 1/2; inverse square root 1/2 and .707107."""
        np.testing.assert_allclose(rarity_weight(self.LABELS), [0.25, 0.5, 0.25, 0.25, 0.25, 0.5])
        half = rarity_weight(self.LABELS, alpha=0.5)
        np.testing.assert_allclose(half, [0.5, 0.707107, 0.5, 0.5, 0.5, 0.707107], atol=1e-6)

    def test_alpha_zero_changes_nothing(self) -> None:
        assert rarity_weight(self.LABELS, alpha=0).tolist() == [1.0] * 6

    @pytest.mark.parametrize("alpha", [-1.0, np.nan, np.inf])
    def test_refuses_an_impossible_alpha(self, alpha: float) -> None:
        with pytest.raises(ValueError, match="alpha must be finite and between 0 and inf"):
            rarity_weight(self.LABELS, alpha=alpha)

    def test_inverse_frequency(self) -> None:
        """6/4 = 1.5 and 6/2 = 3."""
        assert inverse_frequency(self.LABELS).tolist() == [1.5, 3.0, 1.5, 1.5, 1.5, 3.0]

    def test_every_class_weighs_the_same(self) -> None:
        labels = np.random.default_rng(6).integers(0, 4, size=30)
        weights = inverse_frequency(labels)
        totals = [weights[labels == label].sum() for label in np.unique(labels)]
        np.testing.assert_allclose(totals, 30.0)
        np.testing.assert_allclose(weights, 30 * rarity_weight(labels))


class TestUniformTarget:
    def test_values(self) -> None:
        """Valid classes 0 0 0 1 of 5 allowed: f = 3/4, 1/4; 1 - .55 = .45 and 1 - .05 = .95."""
        labels = np.array([0, 9, 0, 1, 0])
        valid = np.array([True, False, True, True, True])
        reward = uniform_target(labels, valid, size=5)
        np.testing.assert_allclose(reward, [0.45, -1, 0.45, 0.95, 0.45])

    def test_invalid_texts_do_not_count_in_the_frequency(self) -> None:
        """Class 0 is half of the valid, whatever the third text, labelled 0 as well, says."""
        reward = uniform_target(np.array([0, 1, 0]), np.array([True, True, False]), size=2)
        assert reward.tolist() == [1.0, 1.0, -1.0]

    def test_uniform_is_the_maximum(self) -> None:
        assert uniform_target(np.arange(4), np.ones(4, dtype=bool), size=4).tolist() == [1.0] * 4

    def test_no_valid_text_one_text_and_none(self) -> None:
        """A single valid text of 4 allowed: 1 - |1 - 1/4| = 1/4."""
        assert uniform_target(np.array([0, 1]), np.zeros(2, dtype=bool), size=3).tolist() == [
            -1,
            -1,
        ]
        assert uniform_target(np.array([0]), np.array([True]), size=4).tolist() == [0.25]
        assert uniform_target(np.array([]), np.array([]), size=4).shape == (0,)

    def test_refuses(self) -> None:
        with pytest.raises(ValueError, match="valid must be booleans of shape"):
            uniform_target(np.array([0, 1]), np.array([True]), size=2)
        with pytest.raises(ValueError, match="valid must be booleans of shape"):
            uniform_target(np.array([0, 1]), np.array([0.5, 1.0]), size=2)
        with pytest.raises(ValueError, match="size must be at least 1, got 0"):
            uniform_target(np.array([0]), np.array([True]), size=0)


@pytest.mark.parametrize("labels", [[0.5, 1.0], [[0, 1]], ["a", "b"], [np.nan, 0], 3])
def test_labels_must_be_a_vector_of_integers(labels: object) -> None:
    for function in (partition_credit, rarity_weight, inverse_frequency):
        with pytest.raises(ValueError, match="labels must be a vector of integers, got"):
            function(np.array(labels))


class TestSelect:
    S = np.array(
        [[1.0, 0.9, 0.1, 0.5], [0.9, 1.0, 0.2, 0.5], [0.1, 0.2, 1.0, 0.5], [0.5] * 3 + [1]]
    )

    def test_first_without_quality_then_the_most_different(self) -> None:
        """0 first. Vendi of a pair falls with its similarity, so 2 (at .1) follows."""
        assert select(self.S, 2).tolist() == [0, 2]

    def test_quality_starts_and_weight_decides(self) -> None:
        """Quality starts with 1. Then 2 (at .2) is most different; 100 * .1 buys 0 instead."""
        quality = np.array([0.1, 0.9, 0.0, 0.0])
        assert select(self.S, 2, quality=quality).tolist() == [1, 2]
        assert select(self.S, 2, quality=quality, weight=100).tolist() == [1, 0]
        assert select(self.S, 2, quality=quality, weight=0).tolist() == [0, 2]

    def test_measure_decides(self) -> None:
        """Farthest by distances .9 .5 1 from 0: text 2. Classes at .05: everything is one, so 1."""
        assert select(self.S, 2, measure=nearest_distance).tolist() == [0, 2]
        one = select(self.S, 2, measure=lambda S: distinct(S, threshold=0.05))
        assert one.tolist() == [0, 1]

    @pytest.mark.parametrize("measure", [vendi, log_det, mean_distance])
    def test_every_step_is_the_best_step(self, measure: Measure) -> None:
        rng = np.random.default_rng(7)
        for _ in range(10):
            S, quality = cosines(rng, 9, 4), rng.uniform(size=9)
            picks = select(S, 5, measure=measure, quality=quality, weight=0.3).tolist()
            for step in range(5):
                values = {}
                for i in set(range(9)) - set(picks[:step]):
                    trial = [*picks[:step], i]
                    worth = 0.3 * quality[trial].sum()
                    values[i] = measure(S[np.ix_(trial, trial)]) + worth
                assert values[picks[step]] == pytest.approx(max(values.values()), abs=1e-12)

    def test_refuses(self) -> None:
        with pytest.raises(ValueError, match=r"quality must have one value per text, \(4,\)"):
            select(self.S, 2, quality=np.ones(3))
        with pytest.raises(ValueError, match="weight must be finite and between 0 and inf"):
            select(self.S, 2, weight=-1)


class TestMmrSelect:
    def test_worked_example(self) -> None:
        """w = .5: 0 (.45); 2: .25 - .1 = .15; 1: .44 - .475 = -.035; 3: .15 - .2 = -.05."""
        assert mmr_select(MMR_RELEVANCE, MMR_S, 4).tolist() == [0, 2, 1, 3]

    def test_weight(self) -> None:
        """1 ranks by relevance. 0: the least similar to 0 is 3 (.1), then 2 (.4), then 1 (.95)."""
        assert mmr_select(MMR_RELEVANCE, MMR_S, 4, weight=1).tolist() == [0, 1, 2, 3]
        assert mmr_select(MMR_RELEVANCE, MMR_S, 4, weight=0).tolist() == [0, 3, 2, 1]

    def test_opposed_texts_beat_orthogonal_ones(self) -> None:
        S = np.array([[1.0, 0.0, -0.5], [0.0, 1.0, 0.0], [-0.5, 0.0, 1.0]])
        assert mmr_select(np.ones(3), S, 2).tolist() == [0, 2]

    def test_agrees_with_mmr_rewards_where_nothing_is_negative(self) -> None:
        rng = np.random.default_rng(8)
        S, relevance = np.abs(cosines(rng, 8, 3)), rng.uniform(size=8)
        values = mmr_rewards(relevance, S, weight=0.6)[mmr_select(relevance, S, 8, weight=0.6)]
        assert values[0] == relevance.max()
        assert (np.diff(values[1:]) <= 1e-12).all()


class TestDppSelect:
    def test_worked_example(self) -> None:
        """Greedy takes 0 (ties with 1), 2, 3, 1.

        det of {0, 2} is 1 * .64 - .1^2 = .63, more than with 3: .49 - .04 = .45, or 1: .19.
        det of {0, 2, 3} = .205100, though {1, 2, 3} would have .215175: greedy is not optimal.
        """
        assert dpp_select(DPP_L, 4).tolist() == [0, 2, 3, 1]
        greedy, best = np.array([0, 2, 3]), np.array([1, 2, 3])
        assert np.linalg.det(DPP_L[np.ix_(greedy, greedy)]) == pytest.approx(0.205100, abs=1e-6)
        assert np.linalg.det(DPP_L[np.ix_(best, best)]) == pytest.approx(0.215175, abs=1e-6)

    def test_every_step_has_the_greatest_determinant(self) -> None:
        rng = np.random.default_rng(9)
        for _ in range(20):
            quality = np.exp(rng.normal(size=10))
            L = quality[:, None] * cosines(rng, 10, 6) * quality[None, :]
            picks = dpp_select(L, 5).tolist()
            for step in range(5):
                trials = [[*picks[:step], i] for i in range(10) if i not in picks[:step]]
                best = max(np.linalg.det(L[np.ix_(trial, trial)]) for trial in trials)
                chosen = picks[: step + 1]
                assert np.linalg.det(L[np.ix_(chosen, chosen)]) == pytest.approx(best)

    def test_stops_at_the_rank(self) -> None:
        L = cosines(np.random.default_rng(10), 12, 4)
        assert len(set(dpp_select(L, 4).tolist())) == 4
        with pytest.raises(ValueError, match="size must not exceed the rank of L, 4, got 5"):
            dpp_select(L, 5)
        with pytest.raises(ValueError, match="the rank of L, 1, got 2"):
            dpp_select(np.ones((3, 3)), 2)
        with pytest.raises(ValueError, match="the rank of L, 0, got 1"):
            dpp_select(np.zeros((3, 3)), 1)

    def test_tiny_qualities_are_not_rounding_error(self) -> None:
        """Orthogonal texts of quality 1e6, 1 and 1e-6 have variances 1e12, 1 and 1e-12: rank 3."""
        assert dpp_select(np.diag([1e-12, 1e12, 1.0]), 3).tolist() == [1, 2, 0]

    def test_refuses(self) -> None:
        with pytest.raises(ValueError, match="positive semi-definite"):
            dpp_select(np.array([[1.0, 2.0], [2.0, 1.0]]), 2)
        with pytest.raises(ValueError, match="diagonal of 0 or more, got -1"):
            dpp_select(np.diag([1.0, -1.0]), 1)
        with pytest.raises(ValueError, match=r"symmetric, got entries that differ by 0\.2"):
            dpp_select(np.array([[1.0, 0.3], [0.1, 1.0]]), 1)
        with pytest.raises(ValueError, match="L must be finite"):
            dpp_select(np.array([[1.0, np.nan], [np.nan, 1.0]]), 1)
        with pytest.raises(ValueError, match=r"L must be a square matrix \(n, n\), got shape"):
            dpp_select(np.ones((2, 3)), 1)


class TestFacilityLocation:
    def test_medoid_first(self) -> None:
        """Row sums 2, 2.1, 1.3: 1 first. Then 0 adds .1 and 2 adds .8."""
        S = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
        assert facility_location(S, 3).tolist() == [1, 2, 0]

    def test_prefers_modes_to_outliers(self) -> None:
        """Three a, two b, one c: one of each class, the largest first."""
        assert facility_location(blocks(2, 1, 0, 1, 0, 0), 3).tolist() == [2, 1, 0]

    def test_every_step_is_the_best_step(self) -> None:
        rng = np.random.default_rng(11)
        for _ in range(10):
            S = cosines(rng, 8, 3)
            picks = facility_location(S, 4).tolist()
            for step in range(4):
                trials = [[*picks[:step], i] for i in range(8) if i not in picks[:step]]
                best = max(S[:, trial].max(axis=1).sum() for trial in trials)
                assert S[:, picks[: step + 1]].max(axis=1).sum() == pytest.approx(best)


class TestFarthestPoint:
    def test_values(self) -> None:
        """From 0 the farthest is 2 (.1). From 2 it is 0 (.1), then 1."""
        S = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.2], [0.1, 0.2, 1.0]])
        assert farthest_point(S, 3).tolist() == [0, 2, 1]
        assert farthest_point(S, 3, first=2).tolist() == [2, 0, 1]

    def test_is_at_least_half_as_spread_as_the_best(self) -> None:
        """Gonzalez' guarantee, in a metric: Euclidean distance is sqrt(2 - 2 cos)."""
        rng = np.random.default_rng(12)
        for _ in range(10):
            S = cosines(rng, 9, 3)
            distance = np.sqrt(np.maximum(2 - 2 * S, 0))

            def spread(chosen: tuple[int, ...], distance: Floats = distance) -> float:
                return min(float(distance[i, j]) for i, j in itertools.combinations(chosen, 2))

            best = max(spread(chosen) for chosen in itertools.combinations(range(9), 4))
            assert spread(tuple(farthest_point(S, 4).tolist())) >= best / 2

    @pytest.mark.parametrize("first", [-1, 3, 0.0])
    def test_refuses_an_impossible_first(self, first: int) -> None:
        with pytest.raises(ValueError, match="first must be"):
            farthest_point(np.eye(3), 2, first=first)


class TestPolychromicCredit:
    def test_numbers(self) -> None:
        """Rewards 1 0, two classes, sets of 2: one set, both credits 0; sets of 1: r - mean."""
        rewards, labels = np.array([1.0, 0.0]), np.array([0, 1])
        np.testing.assert_allclose(polychromic_credit(rewards, labels, size=2), [0.0, 0.0])
        np.testing.assert_allclose(polychromic_credit(rewards, labels, size=1), [0.5, -0.5])

    @pytest.mark.parametrize("n", [1, 2, 5, 8])
    def test_the_closed_form_equals_all_sets(self, n: int) -> None:
        rng = np.random.default_rng(n)
        for size in range(1, n + 1):
            rewards, labels = rng.random(n), rng.integers(0, 3, n)
            sets = [list(s) for s in itertools.combinations(range(n), size)]
            worth = np.array(
                [rewards[s].mean() * len(set(labels[s].tolist())) / size for s in sets]
            )
            expected = [
                np.mean([w for s, w in zip(sets, worth, strict=True) if i in s]) - worth.mean()
                for i in range(n)
            ]
            found = polychromic_credit(rewards, labels, size=size)
            np.testing.assert_allclose(found, expected, atol=1e-12)

    def test_refuses_what_has_no_meaning(self) -> None:
        labels = np.array([0, 1, 1])
        with pytest.raises(ValueError, match="rewards must be 0 or more"):
            polychromic_credit(np.array([1.0, -0.1, 0.0]), labels)
        with pytest.raises(ValueError, match="one value per text"):
            polychromic_credit(np.ones(2), labels)
        with pytest.raises(ValueError, match="size must be between 1 and 3"):
            polychromic_credit(np.ones(3), labels)
