"""Advantages: hand-derived numbers, neutral settings, and what holds for every method."""

import itertools
import math

import numpy as np
import pytest
import torch

from diversify.advantages import (
    ADVANTAGES,
    AdvantageMethod,
    Anneal,
    group_advantages,
    mara,
    max_rl,
    pass_at_k,
    pkpo,
    ucpo,
    uniqueness,
    unlikeliness,
)

# name -> a call on (rewards of 0 and 1, log-probabilities, labels) that uses what the method needs
CALLS = {
    "group_advantages": lambda r, logps, labels: group_advantages(r, scale="group"),
    "pass_at_k": lambda r, logps, labels: pass_at_k(r, min(2, len(r))),
    "pkpo": lambda r, logps, labels: pkpo(r, min(3, len(r))),
    "max_rl": lambda r, logps, labels: max_rl(r),
    "ucpo": lambda r, logps, labels: ucpo(r, logps),
    "unlikeliness": lambda r, logps, labels: unlikeliness(r, logps),
    "mara": lambda r, logps, labels: mara(r, logps, tau=0.5, beta=0.1),
    "uniqueness": lambda r, logps, labels: uniqueness(r, labels, alpha=0.5),
}
R = np.array([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0])
LOGPS = np.array([-3.0, -1.0, -2.0, -8.0, -0.5, -4.0, -1.0, -6.0])
LABELS = np.array([0, 1, 0, 2, 3, 1, 1, 4])
every_method = pytest.mark.parametrize("name", list(ADVANTAGES))


def test_the_table_of_calls_covers_the_list():
    assert set(CALLS) == set(ADVANTAGES)


@every_method
class TestEveryMethod:
    def test_follows_its_completion(self, name):
        values = CALLS[name](R, LOGPS, LABELS)
        for seed in range(5):
            order = np.random.default_rng(seed).permutation(len(R))
            permuted = CALLS[name](R[order], LOGPS[order], LABELS[order])
            np.testing.assert_allclose(permuted, values[order], atol=1e-12)

    def test_copies_of_a_completion_get_the_same(self, name):
        twice = np.array([0, 0, 1, 1, 2, 3])
        values = CALLS[name](R[twice], LOGPS[twice], LABELS[twice])
        assert values[0] == pytest.approx(values[1]) and values[2] == pytest.approx(values[3])

    def test_a_group_of_one_and_of_none(self, name):
        alone = CALLS[name](R[:1], LOGPS[:1], LABELS[:1])
        assert alone.shape == (1,) and np.isfinite(alone).all()
        if ADVANTAGES[name].gives == "advantages":
            assert alone[0] == 0.0
        if name not in ("pass_at_k", "pkpo"):  # there is no k of 1 to 0
            assert CALLS[name](R[:0], LOGPS[:0], LABELS[:0]).shape == (0,)

    @pytest.mark.parametrize("value", [0.0, 1.0])
    def test_equal_rewards_move_nothing(self, name, value):
        """But by likelihood: `unlikeliness` and `mara` tell apart what the rewards do not."""
        if ADVANTAGES[name].gives == "rewards":
            return
        found = CALLS[name](np.full(6, value), LOGPS[:6], LABELS[:6])
        np.testing.assert_allclose(found, 0.0, atol=1e-9)

    def test_float32_tensors_and_float64_arrays_agree(self, name):
        exact = CALLS[name](R, LOGPS, LABELS)
        assert exact.dtype == np.float64
        single = CALLS[name](
            torch.tensor(R, dtype=torch.float32), torch.tensor(LOGPS, dtype=torch.float32), LABELS
        )
        assert isinstance(single, torch.Tensor) and single.dtype == torch.float32
        np.testing.assert_allclose(single.numpy(), exact, rtol=2e-5, atol=1e-6)
        if torch.cuda.is_available():
            on_gpu = CALLS[name](
                torch.tensor(R, dtype=torch.float32, device="cuda"),
                torch.tensor(LOGPS, dtype=torch.float32, device="cuda"),
                LABELS,
            )
            assert on_gpu.is_cuda
            np.testing.assert_allclose(on_gpu.cpu().numpy(), exact, rtol=2e-5, atol=1e-6)

    def test_what_came_in_is_left_alone(self, name):
        rewards, logps = R.copy(), LOGPS.copy()
        CALLS[name](rewards, logps, LABELS)
        np.testing.assert_array_equal(rewards, R)
        np.testing.assert_array_equal(logps, LOGPS)

    @pytest.mark.parametrize("bad", [[1.0, math.nan], [1.0, math.inf], [[1.0, 0.0]]])
    def test_refuses_what_is_no_finite_vector(self, name, bad):
        bad = np.array(bad)
        with pytest.raises(ValueError, match=r"must be (finite|a vector)"):
            CALLS[name](bad, LOGPS[:2], LABELS[:2])

    def test_refuses_another_length(self, name):
        if ADVANTAGES[name].needs:
            with pytest.raises(ValueError, match="one for each of 8"):
                CALLS[name](R, LOGPS[:5], LABELS[:5])


class TestGroupAdvantages:
    """DARLING's rewards (2/3, 1/3, 4/5, 1/5): mean 1/2, unbiased std 0.280212."""

    rewards = np.array([2 / 3, 1 / 3, 4 / 5, 1 / 5])

    def test_less_the_mean(self):
        np.testing.assert_allclose(group_advantages(self.rewards), [1 / 6, -1 / 6, 0.3, -0.3])

    def test_over_the_standard_deviation(self):
        found = group_advantages(self.rewards, scale="group")
        np.testing.assert_allclose(found, [0.594577, -0.594577, 1.070238, -1.070238], atol=1e-6)

    def test_refuses_another_scale(self):
        with pytest.raises(ValueError, match=r"one of \['none', 'group'\], got 'batch'"):
            group_advantages(self.rewards, scale="batch")


class TestPassAtK:
    def test_numbers(self):
        """4 answers, 1 right, k 2: 1 - R = C(3,2)/C(4,2) = 1/2, sigma 1/2, A+ = 1;
        A- = (1/2 - C(2,1)/C(3,1)) / (1/2) = (1/2 - 2/3) * 2 = -1/3."""
        found = pass_at_k(np.array([1.0, 0.0, 0.0, 0.0]), 2)
        np.testing.assert_allclose(found, [1.0, -1 / 3, -1 / 3, -1 / 3], rtol=1e-5)

    def test_k_of_one_is_standardisation_by_the_biased_deviation(self):
        expected = (R - R.mean()) / R.std()
        np.testing.assert_allclose(pass_at_k(R, 1), expected, rtol=1e-5)

    @pytest.mark.parametrize("k", range(1, 9))
    def test_equals_the_mean_over_all_sets(self, k):
        """The advantage of an answer is the mean standardised reward of the sets it is in."""
        sets = list(itertools.combinations(range(8), k))
        reward = np.array([R[list(members)].max() for members in sets])
        sigma = reward.std()
        centred = (reward - reward.mean()) / sigma if sigma > 0 else reward * 0.0
        expected = [
            np.mean([value for members, value in zip(sets, centred, strict=True) if i in members])
            for i in range(8)
        ]
        np.testing.assert_allclose(pass_at_k(R, k), expected, atol=1e-5)

    def test_takes_booleans(self):
        found = pass_at_k(torch.tensor([True, False, False, False]), 2)
        torch.testing.assert_close(found, torch.tensor([1.0, -1 / 3, -1 / 3, -1 / 3]))

    @pytest.mark.parametrize("k", [0, 9, 1.5])
    def test_refuses_an_impossible_k(self, k):
        with pytest.raises(ValueError, match="k must be"):
            pass_at_k(R, k)

    def test_refuses_what_is_not_right_or_wrong(self):
        with pytest.raises(ValueError, match="only 0 and 1"):
            pass_at_k(np.array([0.5, 1.0]), 1)


class TestPKPO:
    def test_numbers(self):
        """4 answers, 2 right, k 2: s = C(2,1)/C(3,1) = 2/3 for the right ones, sum 4/3;
        A = (4 * 2/3 - 4/3)/3 = 4/9 and -4/9."""
        found = pkpo(np.array([1.0, 1.0, 0.0, 0.0]), 2)
        np.testing.assert_allclose(found, [4 / 9, 4 / 9, -4 / 9, -4 / 9])

    def test_k_of_one_is_leave_one_out(self):
        rewards = np.array([0.3, 2.0, -1.0, 0.7])
        expected = [r - np.delete(rewards, i).mean() for i, r in enumerate(rewards)]
        np.testing.assert_allclose(pkpo(rewards, 1), expected)

    @pytest.mark.parametrize("k", [2, 3, 5, 6])
    def test_continuous_rewards_equal_the_sum_over_sets(self, k):
        rewards = np.array([0.3, 2.0, -1.0, 0.7, 0.7, 5.0])
        added = np.zeros(6)
        for i in range(6):
            others = [j for j in range(6) if j != i]
            sets = list(itertools.combinations(others, k - 1))
            added[i] = np.mean([max(rewards[i] - rewards[list(s)].max(), 0.0) for s in sets])
        expected = (6 * added - added.sum()) / 5
        np.testing.assert_allclose(pkpo(rewards, k), expected, atol=1e-12)

    @pytest.mark.parametrize("right", range(0, 9))
    def test_binary_rewards_equal_the_closed_form(self, right):
        rewards = (np.arange(8) < right).astype(float)
        added = rewards * math.comb(8 - right, 2) / math.comb(7, 2)
        np.testing.assert_allclose(pkpo(rewards, 3), (8 * added - added.sum()) / 7, atol=1e-12)


class TestMaxRL:
    def test_numbers(self):
        """Mean 1/4: (1 - 1/4)/(1/4) = 3 and -1; all wrong: 0 over 1e-6."""
        np.testing.assert_allclose(max_rl(np.array([1.0, 0, 0, 0])), [3, -1, -1, -1], rtol=1e-5)
        assert max_rl(np.zeros(4)).tolist() == [0.0] * 4

    def test_refuses_negative_rewards(self):
        with pytest.raises(ValueError, match="0 or more, got -1"):
            max_rl(np.array([1.0, -1.0]))


class TestUCPO:
    def test_numbers(self):
        """Two of four right, q = softmax(log .6, log .2) = (3/4, 1/4), 1/q = (4/3, 4), shares
        (1/4, 3/4); tau .2: w = .4 + .2 * share = (.45, .55), times n_c = 2: (.9, 1.1).
        Standardised reward: .5 / (0.577350 + 1e-4) = 0.865875."""
        rewards, logps = np.array([1.0, 0.0, 1.0, 0.0]), np.log([0.6, 0.9, 0.2, 0.9])
        unit = 0.5 / (math.sqrt(1 / 3) + 1e-4)
        found = ucpo(rewards, logps, tau=0.2)
        np.testing.assert_allclose(found, [0.9 * unit, -unit, 1.1 * unit, -unit])

    def test_neutral_at_tau_zero(self):
        np.testing.assert_allclose(ucpo(R, LOGPS, tau=0.0), group_advantages(R, scale="group"))

    @pytest.mark.parametrize("tau", [0.2, 1.0])
    def test_the_right_answers_keep_their_sum(self, tau):
        plain = group_advantages(R, scale="group")
        assert ucpo(R, LOGPS, tau=tau)[R > 0].sum() == pytest.approx(plain[R > 0].sum())

    def test_the_less_likely_right_answer_gets_more(self):
        found = ucpo(R, LOGPS)
        assert found[0] > found[2] > found[4]

    def test_an_answer_of_no_probability_gets_no_infinite_weight(self):
        found = ucpo(np.array([1.0, 1.0, 0.0]), np.array([-1.0, -500.0, -1.0]), tau=1.0)
        assert np.isfinite(found).all()

    def test_refuses_tau_outside_its_range(self):
        with pytest.raises(ValueError, match=r"tau must be in \[0, 1\], got 1.1"):
            ucpo(R, LOGPS, tau=1.1)


class TestUnlikeliness:
    def test_numbers(self):
        """Ranks of -3, -1, -2, -9 are 1, 3, 2, 0: factors 1 - .25 rank/4."""
        found = unlikeliness(np.array([1.0, 1.0, 0.0, 1.0]), np.array([-3.0, -1.0, -2.0, -9.0]))
        assert found.tolist() == [1 - 1 / 16, 1 - 3 / 16, 0.0, 1.0]

    def test_neutral_at_beta_zero(self):
        np.testing.assert_array_equal(unlikeliness(R, LOGPS, beta=0.0), R)

    def test_equal_likelihoods_share_their_rank(self):
        """Ranks 0 and 1 are shared: .5 each, factor 1 - .5 * .5/2."""
        found = unlikeliness(np.ones(2), np.array([-1.0, -1.0]), beta=0.5)
        assert found.tolist() == [0.875, 0.875]

    def test_refuses_negative_rewards_and_an_impossible_beta(self):
        with pytest.raises(ValueError, match="0 or more"):
            unlikeliness(-R, LOGPS)
        with pytest.raises(ValueError, match="beta must be"):
            unlikeliness(R, LOGPS, beta=2.0)


class TestMARA:
    def test_numbers(self):
        """Good from .5 on: the first two; anchor the second (-3 > -5), reward .9:
        .9 + .1 * (-3 + 5) = 1.1 and .9; the third keeps .2 though it is likelier."""
        found = mara(np.array([1.0, 0.9, 0.2]), np.array([-5.0, -3.0, -1.0]), tau=0.5, beta=0.1)
        np.testing.assert_allclose(found, [1.1, 0.9, 0.2])

    def test_good_answers_are_level_under_the_penalised_objective(self):
        """What is optimised is r' - beta log(pi / ref): the same for all good answers of pi equal."""
        rewards, beta = np.array([0.8, 1.0, 0.9, 0.1]), 0.3
        likely = np.array([-2.0, -7.0, -4.0, -1.0])
        objective = mara(rewards, likely, tau=0.5, beta=beta) + beta * likely
        np.testing.assert_allclose(objective[:3], objective[0])

    def test_at_beta_zero_the_good_get_the_reward_of_the_anchor(self):
        rewards = np.array([0.8, 1.0, 0.1])
        found = mara(rewards, np.array([-2.0, -7.0, -1.0]), tau=0.5, beta=0.0)
        assert found.tolist() == [0.8, 0.8, 0.1]

    def test_unchanged_where_nothing_is_good(self):
        np.testing.assert_array_equal(mara(R, LOGPS, tau=2.0, beta=0.1), R)

    def test_refuses_impossible_options(self):
        with pytest.raises(ValueError, match="tau must be"):
            mara(R, LOGPS, tau=math.nan, beta=0.1)
        with pytest.raises(ValueError, match="beta must be"):
            mara(R, LOGPS, tau=0.5, beta=-0.1)


class TestUniqueness:
    def test_numbers(self):
        """Rewards 1 1 1 0: mean 3/4, unbiased std 1/2; classes of 2, 2, 1, 1: weights 1/2, 1/2, 1, 1."""
        unit = 1 / (0.5 + 1e-4)
        found = uniqueness(np.array([1.0, 1.0, 1.0, 0.0]), [0, 0, 1, 2])
        np.testing.assert_allclose(found, np.array([0.125, 0.125, 0.25, -0.75]) * unit)

    def test_neutral_at_alpha_zero(self):
        plain = group_advantages(R, scale="group")
        np.testing.assert_allclose(uniqueness(R, LABELS, alpha=0.0), plain)

    def test_the_rare_wrong_answer_is_punished_most(self):
        """What the paper's rule does, and why the reward preset weighs rewards instead."""
        found = uniqueness(np.array([1.0, 0.0, 0.0, 0.0]), [0, 1, 1, 2])
        assert found[3] < found[1] < 0


class TestAdvantageMethod:
    def test_rewards_are_centred_and_scaled(self):
        for scale in ("none", "group"):
            method = AdvantageMethod("unlikeliness", scale=scale, options={"beta": 0.5})
            expected = group_advantages(unlikeliness(R, LOGPS, beta=0.5), scale=scale)
            np.testing.assert_array_equal(method(R, logps=LOGPS), expected)

    def test_options_are_annealed(self):
        method = AdvantageMethod("pkpo", options={"k": Anneal(4, 1)})
        np.testing.assert_array_equal(method(R), pkpo(R, 4))
        np.testing.assert_array_equal(method(R, progress=0.5), pkpo(R, 3))  # 2.5, rounded up
        np.testing.assert_array_equal(method(R, progress=1.0), pkpo(R, 1))

    def test_annealing_upwards_and_beyond_the_end(self):
        assert [Anneal(1, 4).at(p) for p in (-1.0, 0.0, 0.4, 1.0, 3.0)] == [1, 1, 2, 4, 4]
        assert Anneal(8, 1).at(3 / 7) == 5

    @pytest.mark.parametrize("name", list(ADVANTAGES))
    def test_every_method_passes_its_check(self, name):
        options = {"pass_at_k": {"k": 2}, "pkpo": {"k": 8}, "mara": {"tau": 0.5, "beta": 0.1}}
        method = AdvantageMethod(name, options=options.get(name, {}))
        method.check(8)
        assert method.needs == ADVANTAGES[name].needs

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("pass_at_k", {}, "missing 1 required positional argument: 'k'"),
            ("pass_at_k", {"k": 9}, "k must be between 1 and 8, got 9"),
            ("pkpo", {"k": Anneal(8, 0)}, "k must be between 1 and 8, got 0"),
            ("ucpo", {"tau": 3.0}, "tau must be in"),
            ("max_rl", {"k": 2}, "unexpected keyword argument 'k'"),
        ],
    )
    def test_impossible_options_are_refused_before_training(self, name, options, message):
        with pytest.raises(ValueError, match=message):
            AdvantageMethod(name, options=options).check(8)

    def test_refuses_an_unknown_name_and_scale(self):
        with pytest.raises(ValueError, match="advantage must be one of"):
            AdvantageMethod("best")
        with pytest.raises(ValueError, match="scale must be"):
            AdvantageMethod("ucpo", scale="batch")
