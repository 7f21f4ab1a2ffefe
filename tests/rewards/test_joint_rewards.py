"""MMR, polychromic sets, sums, answers of a list and peers: numbers derived by hand, what is refused."""

import math
import pickle

import numpy as np
import pytest
from reward_cases import CLASSES, DIRECTIONS, compass, first_letter, from_column

from diversify import rewards
from diversify.credit import leave_one_out, nearest_credit, partition_credit
from diversify.kernels import EmbeddingKernel, EquivalenceKernel, NgramKernel
from diversify.quality import AnswerKernels
from diversify.rewards import (
    DiversityReward,
    GatedReward,
    JointReward,
    MarginalRelevance,
    PartitionCredit,
    PeerReward,
    PolychromicCredit,
    ProductReward,
    SumReward,
    UniformAnswers,
    peer_answers,
)

COUNTRIES = [["Peru"], ["Chile"], ["Brazil", "Brasil"], ["Cuba"]]


def score(reward, texts, q=None, **columns):
    given = columns if q is None else {**columns, "q": q}
    return reward(["What is it?"] * len(texts), texts, None, **given)


class TestMMR:
    def test_numbers(self):
        """Cosines north-east 0, north-northeast .8, east-northeast .6; rewards 1, .5, .9.

        north is picked first and keeps 1. Then northeast: .7 * .9 - .3 * .8 = .39 beats east:
        .7 * .5 - 0 = .35. Then east: .7 * .5 - .3 * .6 = .17.
        """
        reward = rewards.mmr(from_column, kernel=EmbeddingKernel(compass), group_size=3)
        texts = ["north", "east", "northeast"]
        assert score(reward, texts, [1.0, 0.5, 0.9]) == pytest.approx([1.0, 0.17, 0.39])

    def test_neutral_at_weight_one(self):
        reward = rewards.mmr(from_column, kernel=NgramKernel(), weight=1.0, group_size=3)
        assert score(reward, ["a", "a", "b"], [0.2, 0.4, 0.9]) == pytest.approx([0.2, 0.4, 0.9])

    def test_one_group_at_a_time(self):
        """The second group does not know the first: its best keeps its reward."""
        reward = rewards.mmr(from_column, kernel=NgramKernel(), group_size=2)
        values = reward(["p", "p", "q", "q"], ["a", "b", "a", "a"], q=[1.0, 0.9, 0.5, 0.4])
        assert values == pytest.approx([1.0, 0.63, 0.5, 0.7 * 0.4 - 0.3])

    def test_refuses_an_impossible_weight(self):
        with pytest.raises(ValueError, match="weight must be"):
            MarginalRelevance(weight=1.5)


class TestPolychromic:
    def test_numbers(self):
        """Classes a a b c, all of reward 1, sets of 2: six sets, one of worth 1/2, five of 1.

        An a is in three sets: (1/2 + 1 + 1)/3 = 5/6; b and c: 1. The mean set: 5.5/6 = 11/12.
        """
        reward = rewards.polychromic(
            from_column, kernel=EquivalenceKernel(first_letter), size=2, group_size=4
        )
        assert score(reward, CLASSES, [1.0] * 4) == pytest.approx([-1 / 12] * 2 + [1 / 12] * 2)
        assert reward.scale_rewards == "none"

    def test_sets_of_one_are_the_reward_alone(self):
        joint = PolychromicCredit(size=1)
        values = joint(np.ones((3, 3)), quality=np.array([0.0, 1.0, 0.5]))
        np.testing.assert_allclose(values, [-0.5, 0.5, 0.0])

    def test_a_group_smaller_than_the_set_is_one_set(self):
        joint = PolychromicCredit(size=4)
        np.testing.assert_allclose(joint(np.eye(2), quality=np.array([1.0, 0.0])), [0.0, 0.0])

    def test_refuses_negative_rewards_and_impossible_options(self):
        reward = rewards.polychromic(from_column, kernel=NgramKernel(), group_size=2)
        with pytest.raises(ValueError, match="rewards must be 0 or more, got -1"):
            score(reward, ["a", "b"], [-1.0, 1.0])
        with pytest.raises(ValueError, match="size must be"):
            PolychromicCredit(size=0)
        with pytest.raises(ValueError, match="threshold must be"):
            PolychromicCredit(threshold=2.0)


class TestSum:
    def test_darling_after_standardising(self):
        """q (1, .5, .8, .2): mean .625, std .35; credits 2/3, 2/3, 1, 1: mean 5/6, std 1/sqrt(27).

        z(q) = .375/.3501, ...; z(c) = -+ (1/6)/(.19245 + .0001); the sums to six digits.
        """
        reward = rewards.darling(
            from_column, kernel=EquivalenceKernel(first_letter), mode="sum", group_size=4
        )
        values = score(reward, CLASSES, [1.0, 0.5, 0.8, 0.2])
        assert values == pytest.approx([0.205547, -1.222616, 1.365433, -0.348363], abs=1e-6)
        assert reward.__name__ == "darling" and reward.scale_rewards == "none"

    def test_neutral_at_weight_zero(self):
        diversity = DiversityReward(NgramKernel(), leave_one_out, group_size=3)
        reward = SumReward(from_column, diversity, weight=0.0)
        expected = np.array([-1.0, 0.0, 1.0]) / (1.0 + 1e-4)
        assert score(reward, ["a", "a", "b"], [1.0, 2.0, 3.0]) == pytest.approx(expected.tolist())

    def test_novelty_pays_the_odd_one(self):
        reward = rewards.novelty(from_column, kernel=NgramKernel(), group_size=3)
        values = score(reward, ["a", "a", "b"], [1.0, 1.0, 1.0])
        assert values[2] > 0 > values[0] == pytest.approx(values[1])

    def test_refuses_a_negative_weight_and_an_unknown_mode(self):
        diversity = DiversityReward(NgramKernel(), leave_one_out)
        with pytest.raises(ValueError, match="weight must be"):
            SumReward(from_column, diversity, weight=-1.0)
        with pytest.raises(ValueError, match="mode must be 'product' or 'sum'"):
            rewards.darling(from_column, kernel=NgramKernel(), mode="max")


class TestUniqueness:
    def test_numbers(self):
        """Classes a a b c: weights 1/sqrt 2, 1/sqrt 2, 1, 1."""
        reward = rewards.uniqueness(
            from_column, kernel=EquivalenceKernel(first_letter), alpha=0.5, group_size=4
        )
        half = math.sqrt(0.5)
        assert score(reward, CLASSES, [1.0, 0.0, 1.0, 1.0]) == pytest.approx([half, 0.0, 1.0, 1.0])

    def test_neutral_at_alpha_zero(self):
        reward = rewards.uniqueness(from_column, kernel=NgramKernel(), alpha=0.0, group_size=2)
        assert score(reward, ["a", "a"], [0.3, 0.6]) == pytest.approx([0.3, 0.6])

    def test_it_travels_to_processes(self):
        reward = rewards.uniqueness(from_column, kernel=NgramKernel(), alpha=0.5, group_size=2)
        copy = pickle.loads(pickle.dumps(reward))
        assert score(copy, ["a", "a"], [1.0, 1.0]) == score(reward, ["a", "a"], [1.0, 1.0])


class TestGAPO:
    def test_numbers(self):
        """Three valid answers: Peru twice (f 2/3), Brazil once (f 1/3); the list has 4, so 1/4."""
        texts = ["Peru!", "It is Peru.", "brasil", "Paris"]
        values = score(rewards.gapo(group_size=4), texts, answers=[COUNTRIES] * 4)
        peru, brazil = 1 - (2 / 3 - 1 / 4), 1 - (1 / 3 - 1 / 4)
        assert values == pytest.approx([peru, peru, brazil, -1.0])

    def test_the_uniform_group_earns_the_most(self):
        texts = ["Peru", "Chile", "Brazil", "Cuba"]
        assert score(rewards.gapo(group_size=4), texts, answers=[COUNTRIES] * 4) == [1.0] * 4

    def test_it_needs_a_list_for_every_prompt(self):
        for columns in ({}, {"answers": [COUNTRIES, None]}):
            with pytest.raises(ValueError, match="needs the column 'answers'"):
                score(UniformAnswers(group_size=2), ["a", "b"], **columns)

    def test_its_log_says_how_many_are_valid(self):
        logged = {}
        reward = UniformAnswers(group_size=2)
        reward(
            ["?"] * 2,
            ["Peru", "Rome"],
            answers=[COUNTRIES] * 2,
            log_metric=lambda name, value: logged.update({name: value}),
        )
        assert logged["uniform/valid"] == 0.5 and logged["uniform/distinct_valid"] == 1.0


class TestAnswerKernels:
    def test_each_group_is_compared_by_its_own_list(self):
        """Peru and Brazil are answers to the first question only."""
        credit = PartitionCredit(partition_credit, threshold=0.5)
        reward = DiversityReward(AnswerKernels(), credit, group_size=3)
        texts = ["Peru", "It is Peru", "Brazil"] * 2
        lists = [COUNTRIES] * 3 + [[["red"]]] * 3
        assert reward(["p"] * 3 + ["q"] * 3, texts, answers=lists) == [0.5, 0.5, 1.0, 1.0, 1.0, 1.0]

    def test_inside_a_product(self):
        credit = PartitionCredit(partition_credit, threshold=0.5)
        reward = ProductReward(
            from_column, DiversityReward(AnswerKernels(), credit), group_size=3, shift=None
        )
        values = score(reward, ["Peru", "Peru!", "Cuba"], [1, 1, 1], answers=[COUNTRIES] * 3)
        assert values == [0.5, 0.5, 1.0]

    def test_the_column_must_be_there(self):
        reward = DiversityReward(AnswerKernels(), nearest_credit, group_size=2)
        with pytest.raises(ValueError, match="needs the column 'answers'; the data set has"):
            score(reward, ["a", "b"], level=[1, 1])


class TestPeers:
    def test_numbers(self):
        """Peers north and east: north 0, east 0, northeast 1 - .8, south 1 - 0."""
        reward = PeerReward(compass, group_size=4)
        values = score(reward, list(DIRECTIONS), peers=[["north", "east"]] * 4)
        assert values == pytest.approx([0.0, 0.0, 0.2, 1.0])
        both = PeerReward(compass, nearest=2, group_size=4)
        values = score(both, list(DIRECTIONS), peers=[["north", "east"]] * 4)
        assert values == pytest.approx([0.5, 0.5, 0.3, 1.5])

    def test_more_neighbours_than_peers_are_all_of_them(self):
        reward = PeerReward(compass, nearest=5, group_size=1)
        assert score(reward, ["northeast"], peers=[["north"]]) == pytest.approx([0.2])

    def test_nobody_is_paid_where_the_peers_agree_or_are_silent(self):
        reward = PeerReward(compass, closed=0.79, group_size=2)
        assert score(reward, ["south", "east"], peers=[["north", "northeast"]] * 2) == [0.0, 0.0]
        open_ = PeerReward(compass, closed=0.81, group_size=2)
        assert score(open_, ["south", "east"], peers=[["north", "northeast"]] * 2)[0] > 1
        for silent in ([], [" "], None):
            assert score(reward, ["south", "east"], peers=[silent] * 2) == [0.0, 0.0]

    def test_a_blank_completion_earns_nothing(self):
        reward = PeerReward(compass, group_size=2)
        assert score(reward, ["", "south"], peers=[["north"]] * 2) == pytest.approx([0.0, 2.0])

    def test_behind_a_gate(self):
        """Weight 10 times the distance where the quality is 1, nothing where it is 0."""
        reward = rewards.repulsion(
            from_column, embedder=compass, threshold=1.0, scale=1.0, group_size=2
        )
        values = score(reward, ["south", "south"], [1.0, 0.0], peers=[["north"]] * 2)
        assert isinstance(reward, GatedReward)
        assert values == pytest.approx([20.0, -0.5 * math.tanh(1.0)])

    def test_what_is_not_a_list_of_texts_is_refused(self):
        reward = PeerReward(compass, group_size=1)
        with pytest.raises(ValueError, match="needs the column 'peers'"):
            score(reward, ["north"])
        with pytest.raises(ValueError, match="must hold lists of texts, got 'east'"):
            score(reward, ["north"], peers=["east"])
        with pytest.raises(ValueError, match="closed must be"):
            PeerReward(compass, closed=-1.0)

    def test_answers_of_several_runs_are_one_list(self):
        chat = [{"role": "user", "content": "A?"}]
        rows = [
            {"prompt": "A?", "generations": ["x", "y"]},
            {"prompt": chat, "generations": ["y", "z"]},
            {"prompt": "B?", "generations": ["x"]},
        ]
        assert peer_answers(rows) == {"A?": ["x", "y", "z"], "B?": ["x"]}


class TestJoint:
    def test_blank_completions_are_left_out(self):
        """The two answers know nothing of the blank one, which gets the lowest, at most 0."""
        reward = JointReward(from_column, NgramKernel(), MarginalRelevance(), group_size=3)
        values = score(reward, ["a", " ", "b"], [1.0, 1.0, 0.5])
        assert values == pytest.approx([1.0, 0.0, 0.35])

    def test_rows_without_quality_are_no_members(self):
        reward = JointReward(from_column, NgramKernel(), MarginalRelevance(), group_size=3)
        assert score(reward, ["a", "a", "b"], [1.0, None, 0.5]) == pytest.approx([1.0, None, 0.35])

    def test_a_wrong_answer_of_the_function_is_named(self):
        reward = JointReward(from_column, NgramKernel(), lambda S, quality: [1.0], group_size=2)
        with pytest.raises(ValueError, match="2 finite numbers for 2 texts"):
            score(reward, ["a", "b"], [1.0, 1.0])
        with pytest.raises(ValueError, match="joint must be a function"):
            JointReward(from_column, NgramKernel(), "mmr")


def test_rows_of_a_group_may_be_asked_in_different_words():
    """The column `group_id` says what belongs together; prompts are not looked at then."""
    reward = DiversityReward(NgramKernel(), leave_one_out, group_size=2)
    prompts, texts = ["You are 1. A?", "You are 2. A?", "B?", "B?"], ["x", "x", "y", "z"]
    with pytest.raises(ValueError, match="hold 2 prompts"):
        reward(prompts, texts)
    values = reward(prompts, texts, group_id=[7, 7, 8, 8])
    assert values == pytest.approx(reward(["A?", "A?", "B?", "B?"], texts))
    with pytest.raises(ValueError, match=r"hold 2 prompts: 7, 8"):
        reward(prompts, texts, group_id=[7, 8, 8, 8])


def test_a_gate_takes_nothing_but_credits():
    with pytest.raises(ValueError, match="diversity must be a DiversityReward"):
        ProductReward(from_column, NgramKernel())
