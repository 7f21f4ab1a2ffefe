"""Products and gates: numbers derived by hand, rows without quality, options, logging."""

import math
import pickle
import warnings
from collections import defaultdict

import numpy as np
import pytest
from reward_cases import CLASSES, TEXTS, compass, first_letter, from_column
from torch import nn

from diversify.credit import leave_one_out, nearest_credit
from diversify.kernels import EmbeddingKernel, EquivalenceKernel, NgramKernel
from diversify.rewards import (
    DiversityReward,
    GatedReward,
    LengthPenalty,
    MonitorReward,
    PartitionCredit,
    ProductReward,
    reference_gate,
)


def short(prompts, completions, **columns):
    return [-float(len(text)) for text in completions]


def by_letter():
    return DiversityReward(EquivalenceKernel(first_letter), PartitionCredit())


def by_distance():
    """Of `TEXTS`, the credits are .1, .2, .1 (cosines 0, .8, .6)."""
    return DiversityReward(EmbeddingKernel(compass), nearest_credit)


def product(q, texts=CLASSES, **options):
    reward = ProductReward(from_column, by_letter(), group_size=len(texts), **options)
    return reward(["p"] * len(texts), texts, q=q)


def gated(q, texts=TEXTS, *, threshold=1.0, columns=None, **options):
    reward = GatedReward(
        from_column, by_distance(), group_size=len(texts), threshold=threshold, **options
    )
    return reward(["p"] * len(texts), texts, q=q, **(columns or {}))


class TestProduct:
    def test_darling_example(self):
        """Classes a a b c have credits 2/3, 2/3, 1, 1."""
        values = product([1.0, 0.5, 0.8, 0.2], shift=None)
        assert values == pytest.approx([2 / 3, 1 / 3, 0.8, 0.2])
        advantages = np.array(values) - np.mean(values)
        np.testing.assert_allclose(advantages, [1 / 6, -1 / 6, 0.3, -0.3])

    def test_the_shift_makes_a_negative_quality_work(self):
        """Shifted by -3: 1, 2, 0, .5, times 2/3, 2/3, 1, 1."""
        assert product([-2, -1, -3, -2.5]) == pytest.approx([2 / 3, 4 / 3, 0.0, 0.5])

    def test_a_negative_quality_without_shift_is_warned_about(self):
        with pytest.warns(UserWarning, match="negative quality \\(-3\\)"):
            values = product([-2, -1, -3, -2.5], shift=None)
        assert values == pytest.approx([-4 / 3, -2 / 3, -3.0, -2.5])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            product([-2, -1, -3, -2.5])

    def test_the_floor_holds_where_all_are_alike(self):
        same = ["apple", "avocado", "ananas"]
        assert product([1.0, 2.0, 3.0], same, shift=None) == [0.0] * 3
        floored = product([1.0, 2.0, 3.0], same, shift=None, floor=0.1)
        assert floored == pytest.approx([0.1, 0.2, 0.3])
        assert product([1.0] * 4, shift=None, floor=0.1) == pytest.approx([2 / 3, 2 / 3, 1, 1])

    def test_a_negative_credit_counts_as_the_floor(self):
        diversity = DiversityReward(NgramKernel(), leave_one_out, group_size=4)
        reward = ProductReward(from_column, diversity, shift=None)
        values = reward(["p"] * 4, ["a", "a", "b", "c"], q=[1.0] * 4)
        assert diversity(["p"] * 4, ["a", "a", "b", "c"])[0] < 0
        assert values[:2] == [0.0, 0.0]

    def test_a_row_without_quality_has_no_reward_and_is_no_member(self):
        """Without avocado and corn: apple is alone in its class; the minimum is .5."""
        assert product([1.0, None, 0.5, None]) == [0.5, None, 0.0, None]
        assert product([None] * 4) == [None] * 4

    def test_a_group_of_one(self):
        assert product([0.7], ["apple"], shift=None) == [0.7]
        assert product([0.7], ["apple"]) == [0.0]

    def test_a_blank_answer_has_no_credit(self):
        assert product([1.0, 1.0], ["", "apple"], shift=None) == [0.0, 1.0]

    @pytest.mark.parametrize(
        "options",
        [{"shift": "mean"}, {"shift": True}, {"floor": -0.1}, {"floor": math.inf}],
    )
    def test_wrong_options_are_refused_at_once(self, options):
        with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
            ProductReward(short, by_letter(), **options)

    @pytest.mark.parametrize("quality", ["org/reward-model", None, nn.Linear(1, 1), NgramKernel])
    def test_a_quality_that_is_no_function_is_refused_at_once(self, quality):
        with pytest.raises(ValueError, match="quality must be a function"):
            ProductReward(quality, by_letter())

    @pytest.mark.parametrize("q", [[1.0], [1.0, 1.0, 1.0, math.nan], [1.0, 1.0, 1.0, math.inf]])
    def test_an_answer_that_is_not_one_number_a_row_is_refused(self, q):
        with pytest.raises(ValueError, match="quality must return one finite number or None"):
            product(q)

    def test_the_size_of_the_diversity_holds_unless_another_is_given(self):
        diversity = DiversityReward(NgramKernel(), nearest_credit, group_size=2)
        assert ProductReward(short, diversity).group_size == 2
        assert ProductReward(short, diversity, group_size=4).group_size == 4

    def test_the_quality_gets_what_trl_gives(self):
        seen = {}

        def spy(**given):
            seen.update(given)
            return [1.0, 2.0]

        ProductReward(spy, by_letter(), group_size=2)(
            ["p", "p"], ["a", "b"], [[1], [2]], answer=["x", "y"], trainer_state="state"
        )
        assert seen == {
            "prompts": ["p", "p"],
            "completions": ["a", "b"],
            "completion_ids": [[1], [2]],
            "answer": ["x", "y"],
            "trainer_state": "state",
        }


class TestGate:
    def test_moda_by_hand(self):
        """.5 tanh(s - 1) + 100 [s >= 1] c: c = .1, .2, .1; s = 1, 2, 0."""
        t = 0.5 * math.tanh(1.0)
        assert gated([1.0, 2.0, 0.0]) == pytest.approx([10.0, 20.0 + t, -t])

    def test_each_weight_counts(self):
        t = math.tanh(0.5)
        values = gated(
            [1.0, 2.0, 0.0], scale=2.0, quality_weight=3.0, base=2.0, diversity_weight=10.0
        )
        assert values == pytest.approx([1.0, 2.0 + 6 * t, -6 * t])

    def test_neutral_weights_leave_one_term(self):
        assert gated([1.0, 2.0, 0.0], quality_weight=0.0) == pytest.approx([10.0, 20.0, 0.0])
        t = 0.5 * math.tanh(1.0)
        values = gated([1.0, 2.0, 0.0], diversity_weight=0.0)
        assert values == pytest.approx([0.0, t, -t])

    def test_below_stands_for_the_credit_of_what_does_not_pass(self):
        values = gated([1.0, 2.0, 0.0], quality_weight=0.0, below=-0.5)
        assert values == pytest.approx([10.0, 20.0, -50.0])

    def test_thresholds_and_scales_from_columns(self):
        """(s - tau) / sigma = 1, -1, 0."""
        t = 0.5 * math.tanh(1.0)
        columns = {"tau": [0.0, 3.0, 0.0], "sigma": [1.0, 1.0, 5.0]}
        values = gated([1.0, 2.0, 0.0], threshold="tau", scale="sigma", columns=columns)
        assert values == pytest.approx([10.0 + t, -t, 10.0])

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({}, r"threshold is the column 'tau', the rows have \['q', 'sigma'\]"),
            ({"tau": [1.0, None, 1.0]}, "'tau' must hold one finite number a row"),
            ({"tau": [1.0]}, "'tau' must hold one finite number a row"),
            ({"tau": [1.0] * 3, "sigma": [1.0, 0.0, 1.0]}, "scale must be above 0, got 0.0"),
        ],
    )
    def test_wrong_columns_are_refused(self, columns, message):
        with pytest.raises(ValueError, match=message):
            gated(
                [1.0, 2.0, 0.0],
                threshold="tau",
                scale="sigma",
                columns={"sigma": [1.0] * 3, **columns},
            )

    def test_a_row_without_quality_has_no_reward_and_is_no_member(self):
        """North and east alone are orthogonal: credit .5 each."""
        values = gated([1.0, 1.0, None])
        assert values == [pytest.approx(50.0), pytest.approx(50.0), None]
        assert gated([None] * 3) == [None] * 3

    def test_several_qualities_must_all_pass(self):
        """Mean of the two tanh terms; only the first row passes both."""
        reward = GatedReward(
            {"good": from_column, "safe": lambda safe, **given: safe},
            by_distance(),
            group_size=3,
            threshold={"good": 1.0, "safe": "limit"},
            scale={"good": 1.0, "safe": 2.0},
        )
        values = reward(
            ["p"] * 3, TEXTS, q=[1.0, 2.0, 0.0], safe=[0.5, 0.0, 0.5], limit=[0.5, 0.5, 0.5]
        )
        g, s = math.tanh(1.0), math.tanh(0.25)
        assert values == pytest.approx([10.0, 0.25 * (g - s), -0.25 * g])

    def test_one_missing_quality_makes_a_row_unscorable(self):
        reward = GatedReward(
            {"good": from_column, "safe": lambda safe, **given: safe},
            by_distance(),
            group_size=3,
            threshold={"good": 0.0, "safe": 0.0},
        )
        values = reward(["p"] * 3, TEXTS, q=[0.0, None, 0.0], safe=[0.0, 0.0, None])
        assert values == [pytest.approx(100.0), None, None]  # alone: credit 1

    def test_penalties_are_added_as_they_are(self):
        reward = GatedReward(
            from_column,
            by_distance(),
            group_size=3,
            threshold=1.0,
            quality_weight=0.0,
            penalties=[LengthPenalty(limit=2, weight=0.01), lambda **given: [None, -7.0, 0.0]],
        )
        values = reward(["p"] * 3, TEXTS, [[1] * 5, [1], [1] * 3], q=[1.0] * 3)
        assert values == pytest.approx([10.0 - 0.03, 20.0 - 7.0, 10.0 - 0.01])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"threshold": math.nan}, "threshold must be a finite number or"),
            ({"threshold": {"good": 1.0}}, r"threshold must name the qualities \[''\]"),
            ({"scale": 0.0}, "scale must be above 0"),
            ({"quality_weight": math.inf}, "quality_weight must be a finite"),
            ({"base": math.nan}, "base must be a finite"),
            ({"diversity_weight": math.nan}, "diversity_weight must be a finite"),
            ({"below": -math.inf}, "below must be a finite"),
            ({"quality": {"good": short}}, "several qualities need a threshold each, got 1.0"),
            ({"quality": {}, "threshold": {}}, "quality must name at least one"),
            (
                {"quality": {"good": short}, "threshold": {"bad": 1.0}},
                r"threshold must name the qualities \['good'\], got \['bad'\]",
            ),
        ],
    )
    def test_wrong_options_are_refused_at_once(self, options, message):
        given = {"quality": short, "diversity": by_distance(), "threshold": 1.0, **options}
        with pytest.raises(ValueError, match=message):
            GatedReward(**given)

    def test_logs_the_gate_and_the_share_of_diversity(self):
        """Times 3: credits -5, 5, 0 vary by 50; the gate 15, 15, 0 by 150; 0, t, -t by 2 t^2."""
        metrics, extras = defaultdict(list), {}
        gated(
            [1.0, 2.0, 0.0],
            name="gate",
            columns={
                "log_metric": lambda name, value: metrics[name].append(value),
                "log_extra": lambda name, values: extras.update({name: values}),
            },
        )
        t = 0.5 * math.tanh(1.0)
        assert metrics["gate/gate_rate"] == [pytest.approx(2 / 3)]
        assert metrics["gate/diversity_share"] == [pytest.approx(50 / (200 + 2 * t * t))]
        assert metrics["gate/quality"] == [1.0]
        assert metrics["gate/credit"] == [pytest.approx(0.4 / 3)]
        assert extras == {
            "gate/credit": pytest.approx([0.1, 0.2, 0.1]),
            "gate/quality": [1.0, 2.0, 0.0],
        }

    def test_passing_alone_is_no_diversity(self):
        """Both answers that pass have the credit .1: all that varies is the gate."""
        metrics = defaultdict(list)
        columns = {"log_metric": lambda name, value: metrics[name].append(value)}
        gated([1.0, 0.0, 1.0], quality_weight=0.0, columns=columns)
        gated([1.0, 1.0, 1.0], quality_weight=0.0, columns=columns)
        assert metrics["gated/diversity_share"] == [pytest.approx(0.0), pytest.approx(1.0)]

    def test_the_share_is_logged_only_where_something_varies(self):
        metrics = defaultdict(list)
        columns = {"log_metric": lambda name, value: metrics[name].append(value)}
        gated([1.0, 1.0], ["north", "east"], columns=columns)
        gated([None, None], ["north", "east"], columns=columns)
        assert "gated/diversity_share" not in metrics
        assert metrics["gated/gate_rate"] == [1.0]
        assert metrics["gated/unscored"] == [0.0, 1.0]

    def test_by_default_a_bad_answer_cannot_buy_its_way_with_distance(self):
        """The one answer that differs most fails the gate: it must come last."""
        values = gated([1.0, 0.9, 1.0], threshold=1.0)
        assert min(values) == values[1]


def test_reference_gate_by_hand():
    """min 1, mean 3, max 6: tau = 1 + .5 * 3, sigma = 2 (2 + .5)."""
    assert reference_gate([1.0, 2.0, 6.0], alpha=0.5, gamma=2.0, epsilon=0.5) == (2.5, 5.0)
    tau, sigma = reference_gate([4.0, 4.0])
    assert tau == 4.0 and sigma > 0


@pytest.mark.parametrize(
    ("qualities", "options"),
    [([], {}), ([math.nan], {}), ([1.0], {"alpha": -1}), ([1.0], {"gamma": 0})],
)
def test_reference_gate_refuses(qualities, options):
    with pytest.raises(ValueError, match="must be"):
        reference_gate(qualities, **options)


def test_composites_pickle_and_are_no_modules():
    diversity = DiversityReward(NgramKernel(), nearest_credit, group_size=2)
    rewards = [
        ProductReward(short, diversity, name="times"),
        GatedReward(short, diversity, threshold=-3.0, penalties=[MonitorReward(monitor=_words)]),
    ]
    rows = (["p"] * 4, ["a b", "c", "d d d", "e"])
    for reward in rewards:
        copy = pickle.loads(pickle.dumps(reward))
        assert copy(*rows) == reward(*rows)
        assert copy.__name__ == reward.__name__
        assert not isinstance(reward, nn.Module)


def _words(prompt, text):
    return float(len(text.split()))
