"""Adaptive stopping: the estimate of what is unseen, and when a prompt is finished."""

import numpy as np
import pytest
from answering import AnsweringEngine

from diversify.credit import unseen_mass
from diversify.decoding import Direct, OverGenerate, UntilSeen, Verbalized
from diversify.engines import Generations, Sampling
from diversify.kernels import NgramKernel

KERNEL = NgramKernel(1)

# --- the estimate ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        # Of seven draws, 3 and 9 came once: 2 / 7.
        ([5, 5, 3, 5, 9, 1, 1], 2 / 7),
        ([0, 1, 2, 3], 1.0),  # nothing has come twice
        ([4, 4, 4], 0.0),
        ([0, 0, 1, 1], 0.0),
        ([0], 1.0),
        ([], 1.0),  # nothing is known
    ],
)
def test_the_share_of_draws_that_came_once(labels, expected):
    assert unseen_mass(np.array(labels, dtype=int)) == pytest.approx(expected)


def test_the_estimate_depends_on_neither_order_nor_numbers_of_the_classes():
    labels = np.array([0, 0, 1, 2, 2, 3])
    assert unseen_mass(labels[::-1]) == unseen_mass(labels) == unseen_mass(labels * 7 + 3) == 1 / 3


def test_the_estimate_is_right_on_average():
    """Ten classes at 1/10, eight draws: the mean unseen mass is 0.9 ** 8 = 0.430.

    Good-Turing estimates it with the mean 0.9 ** 7 = 0.478, the mass that is unseen one draw
    earlier: f_1 / n has the mean 8 * 0.1 * 0.9 ** 7 * 10 / 8.
    """
    draws = np.random.default_rng(0).integers(0, 10, size=(20_000, 8))
    assert np.mean([unseen_mass(row) for row in draws]) == pytest.approx(0.9**7, abs=0.005)


def test_labels_that_are_none_are_refused():
    with pytest.raises(ValueError, match="labels must be"):
        unseen_mass(np.array([0.5, 1.0]))


# --- the strategy ---------------------------------------------------------------------------


def numbered(prompt, i, sampling):
    """The city has two answers, the fruit a new one each time."""
    return f"{prompt}{i % 2}" if "city" in prompt else f"fruit{sampling.seed}n{i}"


def test_a_prompt_that_repeats_itself_is_finished_early():
    engine = AnsweringEngine(numbered)
    strategy = UntilSeen(kernel=KERNEL, batch=4)
    drawn = strategy(engine, ["city", "fruit"], 10)
    assert drawn[0] == ["city0", "city1"] * 2
    assert len(drawn[1]) == 10 == len(set(drawn[1]))  # the seeds of the batches differ
    assert [(prompts, n) for prompts, n, _ in engine.asked] == [
        (["city", "fruit"], 4),
        (["fruit"], 4),
        (["fruit"], 2),
    ]
    city, fruit = drawn.details
    assert (city["unseen"], city["answers"], city["spared"], city["missing"]) == (0.0, 2, 6, 0)
    assert (fruit["unseen"], fruit["answers"], fruit["spared"]) == (1.0, 10, 0)
    assert (city["calls"], city["completions"]) == (1, 4)
    assert (fruit["calls"], fruit["completions"]) == (3, 10)
    assert city["kept"] == ["plain"] * 4 and drawn.truncated == [[False] * 4, [False] * 10]


def test_the_bound_decides():
    """Batches of four with one answer that came once: 1/4 is above 0.2 and not above 0.25."""
    state = iter("aaab" * 4)
    engine = AnsweringEngine(lambda *_: next(state))
    assert len(UntilSeen(kernel=KERNEL, batch=4, unseen=0.25)(engine, ["?"], 16)[0]) == 4
    state = iter("aaab" * 4)
    drawn = UntilSeen(kernel=KERNEL, batch=4, unseen=0.2)(engine, ["?"], 16)
    assert len(drawn[0]) == 8 and drawn.details[0]["unseen"] == 0.0


def test_the_threshold_decides_what_is_the_same():
    """One of two words is shared: word overlap 0.5, by cosine."""
    state = iter([f"fig {i}" for i in range(100)])
    engine = AnsweringEngine(lambda *_: next(state))
    assert len(UntilSeen(kernel=KERNEL, threshold=0.4, batch=4)(engine, ["?"], 8)[0]) == 4
    assert len(UntilSeen(kernel=KERNEL, threshold=0.9, batch=4)(engine, ["?"], 8)[0]) == 8


def test_a_strategy_that_gives_nothing_comes_to_an_end():
    engine = AnsweringEngine(lambda *_: "No list.")
    drawn = UntilSeen(Verbalized(2, rounds=1), kernel=KERNEL, batch=4)(engine, ["?"], 8)
    assert drawn[0] == [] and drawn.details[0]["missing"] == 8
    assert drawn.details[0]["unseen"] == 1.0 and drawn.details[0]["failed"]["unreadable list"] == 4


def test_it_goes_around_strategies_without_a_record():
    class Bare:
        def __call__(self, engine, prompts, n, sampling, *, columns=None):
            assert columns == {"answers": [7] * len(prompts)}
            return Generations(list(prompts), [["x"] * n for _ in prompts])

        def describe(self):
            return {"name": "bare"}

    strategy = UntilSeen(Bare(), kernel=KERNEL, batch=4)
    drawn = strategy(AnsweringEngine(numbered), ["?"], 8, columns={"answers": [7]})
    assert drawn[0] == ["x"] * 4 and drawn.details[0]["calls"] is None
    assert drawn.truncated == [] and strategy.describe()["strategy"] == {"name": "bare"}


def test_selection_from_a_pool_that_stopped():
    engine = AnsweringEngine(numbered)
    pool = UntilSeen(kernel=KERNEL, batch=4)
    drawn = OverGenerate(4, kernel=KERNEL, strategy=pool)(engine, ["city"], 2, Sampling())
    assert sorted(drawn[0]) == ["city0", "city1"] and engine.completions == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.5}, "threshold must be"),
        ({"unseen": 1.0}, "unseen must be"),
        ({"unseen": -0.1}, "unseen must be"),
        ({"batch": 1}, "batch must be"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        UntilSeen(Direct(), kernel=KERNEL, **options)
    with pytest.raises(ValueError, match="n must be"):
        UntilSeen(kernel=KERNEL)(AnsweringEngine(numbered), ["?"], 0)
