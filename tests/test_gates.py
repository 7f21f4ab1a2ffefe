"""Qualities of one pool: asked in TRL's signature, ranked, gated."""

import numpy as np
import pytest

from diversify.gates import ask_qualities, best_share, standing


def length(prompts, completions, **columns):
    return [float(len(messages[-1]["content"])) for messages in completions]


def test_qualities_see_chat_messages_and_one_value_of_a_column_a_completion():
    seen = {}

    def quality(prompts, completions, **columns):
        seen.update(prompts=prompts, completions=completions, **columns)
        return [1.0, None]

    values = ask_qualities({"q": quality}, "Why?", ["a", "b"], {"answers": [["x"], ["y"]]})
    assert seen["prompts"] == [[{"role": "user", "content": "Why?"}]] * 2
    assert seen["completions"][1] == [{"role": "assistant", "content": "b"}]
    assert seen["answers"] == [[["x"], ["y"]]] * 2
    np.testing.assert_array_equal(values["q"], [1.0, np.nan])


def test_a_chat_prompt_arrives_as_it_is():
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    seen = []

    def quality(prompts, completions):
        seen.extend(prompts)
        return [0.0]

    ask_qualities({"q": quality}, chat, ["a"])
    assert seen == [chat]


def test_a_quality_that_miscounts_is_refused_by_name():
    with pytest.raises(ValueError, match="'q' returned 1 values for 2 completions"):
        ask_qualities({"q": lambda prompts, completions: [1.0]}, "Why?", ["a", "b"])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_is_no_way_to_say_unscored(bad):
    with pytest.raises(ValueError, match="finite numbers or None"):
        ask_qualities({"q": lambda prompts, completions: [bad]}, "Why?", ["a"])


def test_best_share_rounds_up_and_counts_only_the_scored():
    """0.6 of 4 scored is 2.4: three pass, 0.9, 0.8 and 0.5."""
    quality = np.array([0.5, np.nan, 0.9, 0.1, 0.8])
    np.testing.assert_array_equal(best_share(quality, keep=0.6), [True, False, True, False, True])


def test_best_share_is_not_fooled_by_rounding():
    """0.3 * 10 is 3.0000000000000004 in floating point, and still three of ten."""
    assert best_share(np.arange(10.0), keep=0.3).sum() == 3
    assert best_share(np.arange(100.0), keep=0.29).sum() == 29


def test_equals_stand_or_fall_together():
    """Half of four is two, but three are equally best: all three pass."""
    np.testing.assert_array_equal(
        best_share(np.array([1.0, 0.0, 1.0, 1.0]), keep=0.5), [True, False, True, True]
    )


def test_keeping_everything_drops_only_the_unscored():
    np.testing.assert_array_equal(best_share(np.array([3.0, np.nan]), keep=1.0), [True, False])
    assert not best_share(np.array([np.nan]), keep=1.0).any()


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_is_between_0_and_1(keep):
    with pytest.raises(ValueError, match="keep must be in"):
        best_share(np.ones(2), keep=keep)


def test_standing_is_the_mean_rank_and_ignores_scales():
    """Ranks by a: 1, 3, 2; by b (in thousands): 2, 3, 1. Means 1.5, 3, 1.5, on 0 to 1."""
    a, b = np.array([0.1, 0.3, 0.2]), np.array([2000.0, 3000.0, 1000.0])
    np.testing.assert_allclose(standing({"a": a, "b": b}, 3), [0.25, 1.0, 0.25])
    np.testing.assert_allclose(standing({"a": 7 * a - 4, "b": b**3}, 3), [0.25, 1.0, 0.25])


def test_the_unscored_stand_lowest_and_no_quality_ranks_all_alike():
    np.testing.assert_allclose(standing({"a": np.array([np.nan, -5.0])}, 2), [0.0, 1.0])
    np.testing.assert_array_equal(standing({}, 3), np.ones(3))
    np.testing.assert_array_equal(standing({"a": np.array([3.0])}, 1), np.ones(1))
