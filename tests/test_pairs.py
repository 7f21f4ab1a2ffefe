"""Preference pairs: the published rule, ours, the weights, and the data set."""

import itertools
import json

import numpy as np
import pytest

from diversify.credit import mutual_information_weight
from diversify.kernels import NgramKernel
from diversify.pairs import (
    PairRule,
    build_pairs,
    deviation_weights,
    divpo_pairs,
    gated_pairs,
    match,
    merge_pools,
    pairable,
)
from diversify.quality import AnswerKernel, AnswerList

S4 = np.array(
    [
        [1.0, 0.9, 0.8, 0.1],
        [0.9, 1.0, 0.7, 0.2],
        [0.8, 0.7, 1.0, 0.0],
        [0.1, 0.2, 0.0, 1.0],
    ]
)


def words(prompts, completions, **columns):
    return [float(len(messages[-1]["content"].split())) for messages in completions]


def letters(n):
    return [chr(ord("a") + i) for i in range(n)]


# --- DivPO ----------------------------------------------------------------------------------


def test_divpo_takes_the_most_diverse_of_the_best_and_the_least_diverse_of_the_worst():
    """n = 8, fraction .25: k = 2. Best by quality: 6 (.9), 1 (.8); worst: 3 (.1), 4 (.2).

    Diversity .3 of 6 against .7 of 1: chosen 1. Diversity .5 of 3 against .4 of 4: rejected 4.
    That 0 is the most diverse of all and 7 the least plays no part: both are middling.
    """
    quality = [0.5, 0.8, 0.4, 0.1, 0.2, 0.6, 0.9, 0.3]
    diversity = [1.0, 0.7, 0.6, 0.5, 0.4, 0.6, 0.3, 0.0]
    assert divpo_pairs(letters(8), quality, diversity, fraction=0.25) == [(1, 4)]


def test_divpo_goes_down_both_lists():
    """The pools above: chosen 1 then 6, rejected 4 then 3."""
    quality = [0.5, 0.8, 0.4, 0.1, 0.2, 0.6, 0.9, 0.3]
    diversity = [1.0, 0.7, 0.6, 0.5, 0.4, 0.6, 0.3, 0.0]
    expected = [(1, 4), (6, 3)]
    assert divpo_pairs(letters(8), quality, diversity, fraction=0.25, pairs=2) == expected
    assert divpo_pairs(letters(8), quality, diversity, fraction=0.25, pairs=9) == expected


def test_divpo_counts_only_scored_completions():
    """Five of seven are scored: k = floor(.4 * 5) = 2, best 5 and 2, worst 4 and 0."""
    quality = [1.0, None, 4.0, 3.0, 2.0, 5.0, None]
    diversity = [0.1, 1.0, 0.9, 0.0, 0.2, 0.3, 0.0]
    assert divpo_pairs(letters(7), quality, diversity, fraction=0.4) == [(2, 0)]


def test_divpo_counts_a_share_that_floating_point_makes_a_hair_too_small():
    """0.29 * 100 is 28.999999999999996: 29 are meant, so the 29th best is eligible."""
    quality = np.arange(100.0)
    diversity = np.zeros(100)
    diversity[71] = 1.0
    [(chosen, _)] = divpo_pairs([str(i) for i in range(100)], quality, diversity, fraction=0.29)
    assert chosen == 71


def test_divpo_breaks_ties_by_position():
    assert divpo_pairs(letters(4), [1] * 4, [0] * 4, fraction=0.5, pairs=2) == [(0, 2), (1, 3)]


def test_divpo_at_one_half_splits_the_pool():
    """k = floor(.5 * 5) = 2: the middle one is on neither side."""
    found = divpo_pairs(letters(5), [5, 4, 3, 2, 1], [0.0] * 5, fraction=0.5, pairs=5)
    assert found == [(0, 3), (1, 4)]


def test_divpo_never_pairs_copies_nor_uses_a_text_twice():
    """Best 0 and 1 are both "a", worst 2 and 3 are "a" and "b"."""
    found = divpo_pairs(["a", "a", "a", "b"], [4, 3, 2, 1], [0.0] * 4, fraction=0.5, pairs=2)
    assert found == [(0, 3)]
    assert divpo_pairs(["a"] * 4, [4, 3, 2, 1], [0.0] * 4, fraction=0.5) == []


@pytest.mark.parametrize("fraction", [0.0, -0.1, 0.51, 1.0, float("nan")])
def test_divpo_refuses_an_impossible_fraction(fraction):
    with pytest.raises(ValueError, match="fraction must be in"):
        divpo_pairs(letters(4), [1, 2, 3, 4], [0.0] * 4, fraction=fraction)


def test_divpo_refuses_too_few_completions_and_says_how_many_it_needs():
    with pytest.raises(ValueError, match=r"3 scored completions.*at least 4"):
        divpo_pairs(letters(4), [1, 2, 3, None], [0.0] * 4, fraction=0.25)


@pytest.mark.parametrize(
    ("quality", "diversity", "message"),
    [
        ([1, 2, 3], [0.0] * 4, "quality has 3 values for 4"),
        ([1, 2, 3, 4], [0.0] * 3, "diversity must have one value"),
        ([1, 2, 3, float("nan")], [0.0] * 4, "quality must be finite"),
        ([1, 2, 3, 4], [0, 0, 0, float("inf")], "diversity must be finite"),
    ],
)
def test_divpo_refuses_bad_numbers(quality, diversity, message):
    with pytest.raises(ValueError, match=message):
        divpo_pairs(letters(4), quality, diversity, fraction=0.5)


def test_divpo_refuses_less_than_one_pair():
    with pytest.raises(ValueError, match="pairs must be at least 1"):
        divpo_pairs(letters(4), [1, 2, 3, 4], [0.0] * 4, fraction=0.5, pairs=0)


@pytest.mark.parametrize("seed", range(20))
def test_divpo_properties(seed):
    """Chosen and rejected come from the k best and k worst, and follow their texts."""
    generator = np.random.default_rng(seed)
    n, fraction = int(generator.integers(4, 20)), float(generator.uniform(0.25, 0.5))
    quality, diversity = generator.normal(size=n), generator.normal(size=n)
    k = int(fraction * n)
    found = divpo_pairs([str(i) for i in range(n)], quality, diversity, fraction=fraction, pairs=n)
    order = np.argsort(-quality)
    assert {c for c, _ in found} == set(order[:k].tolist())
    assert {r for _, r in found} == set(order[-k:].tolist())
    assert all(diversity[a[0]] >= diversity[b[0]] for a, b in itertools.pairwise(found))
    assert all(diversity[a[1]] <= diversity[b[1]] for a, b in itertools.pairwise(found))
    shuffle = generator.permutation(n)
    moved = divpo_pairs(
        [str(i) for i in shuffle], quality[shuffle], diversity[shuffle], fraction=fraction, pairs=n
    )
    assert [(shuffle[c], shuffle[r]) for c, r in moved] == found


# --- gated ----------------------------------------------------------------------------------


def test_gated_chooses_what_differs_and_rejects_the_typical():
    """Mean similarity to the other three: .6, .6, .5, .1. The odd one is 3, the mode 0 (or 1)."""
    found = gated_pairs(letters(4), S4, np.ones(4, dtype=bool), 1 - S4.mean(axis=1))
    assert found == [(3, 0)]


def test_gated_chooses_only_what_passes():
    """Without 3 the least typical is 2; it is paired with the mode, 0."""
    passing = np.array([True, True, True, False])
    assert gated_pairs(letters(4), S4, passing, 1 - S4.mean(axis=1)) == [(2, 0)]


def test_gated_chosen_ones_differ_from_each_other():
    """Credits equal: the first pick is 0; the next is 3, least like it (.1), and not 1 or 2.

    Texts 4 to 6 are the mode (mean similarity to the others above .5) and are rejected.
    """
    S = np.full((7, 7), 0.3)
    S[:4, :4] = S4
    S[4:, 4:] = 0.95
    np.fill_diagonal(S, 1.0)
    S[0, :4] = S[:4, 0] = [1.0, 0.3, 0.3, 0.1]
    passing = np.array([True] * 4 + [False] * 3)
    found = gated_pairs(letters(7), S, passing, np.zeros(7), pairs=2)
    assert [chosen for chosen, _ in found] == [0, 3]
    assert {rejected for _, rejected in found} <= {4, 5, 6}


def test_gated_can_reject_the_worst_or_half_and_half():
    """Worst first: 1 (.0), then 2 (.1). Mixed: first the mode, 0, then the worst left, 1."""
    quality = np.array([0.5, 0.0, 0.1, 0.9])
    everyone, credit = np.ones(4, dtype=bool), 1 - S4.mean(axis=1)
    worst = gated_pairs(letters(4), S4, everyone, credit, quality=quality, rejected="worst")
    assert worst == [(3, 1)]
    mixed = gated_pairs(
        letters(4), S4, everyone, credit, quality=quality, rejected="mixed", pairs=2
    )
    assert mixed == [(3, 0), (2, 1)]


def test_gated_never_prefers_the_more_typical_text():
    """Only 0 passes, and nothing is more typical than it: no pair."""
    passing = np.array([True, False, False, False])
    assert gated_pairs(letters(4), S4, passing, 1 - S4.mean(axis=1)) == []


def test_gated_never_prefers_the_worse_text():
    passing = np.array([False, False, False, True])
    quality = np.array([0.5, 0.6, 0.7, 0.1])
    found = gated_pairs(letters(4), S4, passing, np.ones(4), quality=quality, rejected="worst")
    assert found == []


def test_gated_finds_nothing_in_a_collapsed_or_tiny_pool():
    assert gated_pairs(["a"] * 3, np.ones((3, 3)), np.ones(3, dtype=bool), np.ones(3)) == []
    assert gated_pairs(["a"], np.ones((1, 1)), np.ones(1, dtype=bool), np.ones(1)) == []
    assert gated_pairs(letters(4), S4, np.zeros(4, dtype=bool), np.ones(4)) == []


@pytest.mark.parametrize("rejected", ["worst", "mixed"])
def test_gated_needs_a_quality_to_know_the_worst(rejected):
    with pytest.raises(ValueError, match="needs a quality"):
        gated_pairs(letters(4), S4, np.ones(4, dtype=bool), np.ones(4), rejected=rejected)


def test_gated_refuses_an_unknown_side():
    with pytest.raises(ValueError, match=r"rejected must be one of.*'best'"):
        gated_pairs(letters(4), S4, np.ones(4, dtype=bool), np.ones(4), rejected="best")


def test_match_skips_what_may_not_meet_and_what_is_taken():
    """0 may not meet 2 and takes 3; 1 meets 2; 4 finds nobody left."""
    allowed = np.ones((5, 5), dtype=bool)
    allowed[0, 2] = False
    assert match([0, 1, 4], [2, 3], 3, texts=letters(5), allowed=allowed) == [(0, 3), (1, 2)]
    assert match([0, 1], [2, 3], 2, texts=letters(5), taken=[(0, 2)]) == [(1, 3)]


# --- length and weights ---------------------------------------------------------------------


def test_pairable_limits_the_length_ratio_both_ways():
    """Lengths 2, 4 and 8 characters: 2 against 8 is a ratio of 4."""
    mask = pairable(["aa", "bbbb", "c" * 8], max_length_ratio=2)
    expected = [[False, True, False], [True, False, True], [False, True, False]]
    np.testing.assert_array_equal(mask, expected)


def test_pairable_wants_words_of_the_chosen_only():
    mask = pairable(["one", "one two"], min_words=2)
    np.testing.assert_array_equal(mask, [[False, False], [True, False]])
    assert not pairable(["", "a"])[0].any()
    assert pairable(["", "a"], min_words=0)[0, 1]


def test_pairable_works_for_no_texts_and_refuses_bad_options():
    assert pairable([]).shape == (0, 0)
    with pytest.raises(ValueError, match="max_length_ratio"):
        pairable([], max_length_ratio=0.5)
    with pytest.raises(ValueError, match="min_words"):
        pairable([], min_words=-1)


def test_deviation_weights_of_one_kernel():
    """Mean distances to the others: (.2 + .8)/2 = .5, (.2 + .6)/2 = .4, (.8 + .6)/2 = .7.

    Min-max: 1/3, 0, 1; their mean is 4/9, so the weights are .75, 0, 2.25.
    """
    S = np.array([[1.0, 0.8, 0.2], [0.8, 1.0, 0.4], [0.2, 0.4, 1.0]])
    np.testing.assert_allclose(deviation_weights(S), [0.75, 0.0, 2.25])


def test_deviation_weights_of_two_kernels_are_geometric_means():
    """First kernel 1/3, 0, 1 as above. Second: distances .45, .3, .35: min-max 1, 0, 1/3.

    Products 1/3, 0, 1/3; square roots equal, so the weights are 1.5, 0, 1.5.
    """
    first = np.array([[1.0, 0.8, 0.2], [0.8, 1.0, 0.4], [0.2, 0.4, 1.0]])
    second = np.array([[1.0, 0.6, 0.5], [0.6, 1.0, 0.8], [0.5, 0.8, 1.0]])
    np.testing.assert_allclose(deviation_weights(first, second), [1.5, 0.0, 1.5])
    np.testing.assert_allclose(deviation_weights(first, first), deviation_weights(first))


def test_a_kernel_that_tells_nothing_apart_changes_nothing():
    S = np.array([[1.0, 0.8, 0.2], [0.8, 1.0, 0.4], [0.2, 0.4, 1.0]])
    ranking = deviation_weights(S, np.eye(3))
    # The root of the geometric mean still counts both kernels.
    np.testing.assert_allclose(ranking, np.sqrt([1 / 3, 0, 1]) * 3 / np.sqrt([1 / 3, 0, 1]).sum())
    for flat in (np.eye(3), np.ones((3, 3)), np.ones((1, 1))):
        np.testing.assert_array_equal(deviation_weights(flat), np.ones(len(flat)))
    assert deviation_weights(np.empty((0, 0))).shape == (0,)


def test_kernels_that_agree_on_nobody_weigh_all_alike():
    """Deviant by the first: only 2. By the second: only 0. No product is above 0."""
    first = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    second = first[::-1, ::-1]
    np.testing.assert_array_equal(deviation_weights(first, second), np.ones(3))


def test_deviation_weights_refuse_none_and_unequal_sizes():
    with pytest.raises(ValueError, match="at least one"):
        deviation_weights()
    with pytest.raises(ValueError, match=r"one size, got \[2, 3\]"):
        deviation_weights(np.eye(2), np.eye(3))


@pytest.mark.parametrize("seed", range(10))
def test_deviation_weights_have_mean_1_and_follow_their_texts(seed):
    generator = np.random.default_rng(seed)
    matrices = []
    for _ in range(int(generator.integers(1, 4))):
        rows = generator.normal(size=(6, 4))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        matrices.append(rows @ rows.T)
    weights = deviation_weights(*matrices)
    assert weights.min() >= 0
    assert weights.mean() == pytest.approx(1.0)
    shuffle = generator.permutation(6)
    moved = deviation_weights(*(S[np.ix_(shuffle, shuffle)] for S in matrices))
    np.testing.assert_allclose(moved, weights[shuffle])


# --- pools and the data set -----------------------------------------------------------------


ROWS = [
    {
        "id": "fruit",
        "prompt": "Name a fruit.",
        "model": "tuned",
        "generations": ["an apple", "an apple", "the apple", "an apple please"],
        "config": {"temperature": 1.0},
        "key": "1",
    },
    {
        "id": "fruit",
        "prompt": [{"role": "user", "content": "Name a fruit."}],
        "model": "base",
        "generations": ["a kiwi", "one wild fig maybe"],
        "config": {"temperature": 1.5},
        "key": "2",
    },
]


def test_rows_of_one_prompt_become_one_pool():
    [pool] = merge_pools(ROWS)
    assert len(pool.completions) == 6
    assert pool.columns == {"id": "fruit"}


def test_the_data_set_is_what_dpo_reads():
    pairs = build_pairs(ROWS, kernel=NgramKernel(1), method="gated")
    assert pairs.column_names == ["prompt", "chosen", "rejected", "weight"]
    [row] = pairs
    assert row["prompt"] == [{"role": "user", "content": "Name a fruit."}]
    assert row["chosen"][0]["role"] == row["rejected"][0]["role"] == "assistant"
    assert row["chosen"][0]["content"] in ("a kiwi", "one wild fig maybe")
    assert row["rejected"][0]["content"] == "an apple"
    assert row["weight"] == 1.0
    assert json.loads(pairs.info.description) == {"prompts": 1, "pairs": 1, "dropped": {}}


def test_divpo_on_rows():
    """More words are better. fraction .5 of 6: best are the texts of 4, 3 and 2 words (0).

    The kiwi is among the worst by position and the most diverse there, so it is not rejected.
    """
    [row] = build_pairs(ROWS, kernel=NgramKernel(1), quality=words, fraction=0.5)
    assert row["chosen"][0]["content"] == "one wild fig maybe"
    assert row["rejected"][0]["content"] in ("an apple", "the apple")


def test_several_qualities_are_gates_of_their_own():
    """By words the fig passes, by its own verdict everything but the fig: the kiwi is left."""

    def no_fig(prompts, completions, **columns):
        return [-float("fig" in messages[-1]["content"]) for messages in completions]

    [row] = build_pairs(
        ROWS,
        kernel=NgramKernel(1),
        quality={"words": words, "no_fig": no_fig},
        method="gated",
        keep={"words": 1.0, "no_fig": 0.5},
    )
    assert row["chosen"][0]["content"] == "a kiwi"
    with pytest.raises(ValueError, match="keep must name the quality 'no_fig'"):
        build_pairs(
            ROWS,
            kernel=NgramKernel(1),
            quality={"words": words, "no_fig": no_fig},
            method="gated",
            keep={"words": 1.0},
        )


def test_a_chosen_completion_reaches_what_at_least_asks_for():
    """The fig has four words and the kiwi two: with three wanted, only the fig is left."""
    options = {"kernel": NgramKernel(1), "quality": {"words": words}, "method": "gated"}
    [row] = build_pairs(ROWS, keep=1.0, at_least={"words": 4.0}, **options)
    assert row["chosen"][0]["content"] == "one wild fig maybe"
    with pytest.raises(ValueError, match="no prompt yields a pair"):
        build_pairs(ROWS, keep=1.0, at_least={"words": 5.0}, **options)


def test_every_prompt_may_have_a_kernel_of_its_own():
    seen = []

    def kernel_of(columns):
        seen.append(columns["id"])
        return NgramKernel(1)

    [row] = build_pairs(ROWS, kernel_of=kernel_of, method="gated")
    assert seen == ["fruit"]
    assert row["rejected"][0]["content"] == "an apple"
    for both in ({}, {"kernel": NgramKernel(1), "kernel_of": kernel_of}):
        with pytest.raises(ValueError, match="either kernel or kernel_of"):
            build_pairs(ROWS, method="gated", **both)


def test_unscored_and_truncated_completions_take_no_part():
    def no_kiwi(prompts, completions, **columns):
        return [None if "kiwi" in m[-1]["content"] else 1.0 for m in completions]

    cut = [ROWS[0], ROWS[1] | {"truncated": [False, True]}]
    options = {"kernel": NgramKernel(1), "quality": no_kiwi, "method": "gated"}
    [row] = build_pairs(cut, **options)
    assert "apple" in row["chosen"][0]["content"]
    dropped = json.loads(build_pairs(cut, **options).info.description)["dropped"]
    assert dropped == {"truncated completions": 1, "unscored completions": 1}
    [kept] = build_pairs(cut, keep_truncated=True, **options)
    assert kept["chosen"][0]["content"] == "one wild fig maybe"


def test_columns_reach_the_qualities_and_unknown_ones_are_named():
    seen = {}

    def quality(prompts, completions, **columns):
        seen.update(columns)
        return [1.0] * len(completions)

    rows = [row | {"answers": [["apple"]]} for row in ROWS]
    build_pairs(rows, kernel=NgramKernel(1), quality=quality, method="gated")
    assert seen == {"id": ["fruit"] * 6, "answers": [[["apple"]]] * 6}
    with pytest.raises(ValueError, match=r"row 0 \(id 'fruit'\) has no column 'persona'"):
        build_pairs(rows, kernel=NgramKernel(1), quality=quality, columns=["persona"])


def test_rows_that_contradict_each_other_are_named():
    rows = [ROWS[0] | {"answers": ["x"]}, ROWS[1] | {"answers": ["y"]}]
    with pytest.raises(ValueError, match=r"row 1 .* differ in \['answers'\]"):
        merge_pools(rows)
    assert len(merge_pools(rows, columns=["id"])) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "Why?", "id": "p7"}, r"row 1 \(id 'p7'\) has no generations"),
        ({"prompt": "Why?", "generations": []}, "row 1 has no generations"),
        ({"generations": ["a"]}, "row 1 has no prompt"),
        ({"prompt": "Why?", "generations": "abc"}, "row 1: generations must be a list of texts"),
        ({"prompt": "Why?", "generations": ["a", None]}, "row 1: generations must be a list"),
    ],
)
def test_an_unusable_row_is_named(row, message):
    with pytest.raises(ValueError, match=message):
        build_pairs([ROWS[0], row], kernel=NgramKernel(1), method="gated")


def test_no_pair_at_all_is_an_error_that_counts_the_prompts():
    collapsed = [{"prompt": "Why?", "generations": ["so"] * 4}]
    with pytest.raises(ValueError, match=r"no prompt yields a pair.*prompts without a pair\": 1"):
        build_pairs(collapsed, kernel=NgramKernel(1), method="gated")


def test_prompts_without_a_pair_are_counted():
    rows = [*ROWS, {"id": "why", "prompt": "Why?", "generations": ["so"] * 4}]
    pairs = build_pairs(rows, kernel=NgramKernel(1), method="gated")
    assert json.loads(pairs.info.description) == {
        "prompts": 2,
        "pairs": 1,
        "dropped": {"prompts without a pair": 1},
    }


def test_deviation_weights_reach_the_pairs_with_mean_1():
    """Without the kernel every pair weighs 1; with it the orange, which shares "an", less."""
    options = {"kernel": NgramKernel(1), "method": "gated", "pairs": 2}
    rows = [ROWS[0], ROWS[1] | {"generations": ["one wild fig maybe", "an orange"]}]
    weighted = build_pairs(rows, deviation=[NgramKernel(1)], **options)
    assert np.mean(weighted["weight"]) == pytest.approx(1.0)
    assert weighted["weight"][0] > weighted["weight"][1] > 0
    assert set(build_pairs(rows, **options)["weight"]) == {1.0}


def test_length_control_changes_the_pairs():
    options = {"kernel": NgramKernel(1), "method": "gated"}
    [free] = build_pairs(ROWS, min_words=3, **options)
    assert free["chosen"][0]["content"] == "one wild fig maybe"
    [limited] = build_pairs(ROWS, max_length_ratio=1.5, **options)
    assert limited["chosen"][0]["content"] == "a kiwi"


def test_building_is_deterministic():
    first = build_pairs(ROWS, kernel=NgramKernel(1), quality=words, fraction=0.5, pairs=3)
    again = build_pairs(ROWS, kernel=NgramKernel(1), quality=words, fraction=0.5, pairs=3)
    assert first.to_list() == again.to_list()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "best"}, "method must be one of"),
        ({"rejected": "best"}, "rejected must be one of"),
        ({"fraction": 0.6}, "fraction must be in"),
        ({"pairs": 0}, "pairs must be at least 1"),
        ({"keep": 0.0}, "keep must be in"),
        ({"keep": {"likelihood": 2.0}}, "likelihood must be in"),
        ({"max_length_ratio": 0.9}, "max_length_ratio"),
        ({"min_words": -1}, "min_words"),
    ],
)
def test_a_rule_checks_its_options(options, message):
    with pytest.raises(ValueError, match=message):
        PairRule(**options)


@pytest.mark.parametrize("options", [{}, {"method": "gated", "rejected": "worst"}])
def test_a_rule_that_needs_a_quality_says_so(options):
    with pytest.raises(ValueError, match="needs a quality"):
        build_pairs(ROWS, kernel=NgramKernel(1), **options)


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="temperature"):
        build_pairs(ROWS, kernel=NgramKernel(1), temperature=1.0)


# --- the control and the answer kernel ------------------------------------------------------


def valid_first(prompts, completions, **columns):
    return [float(messages[-1]["content"] != "no") for messages in completions]


def test_quality_only_pairs_the_best_with_the_worst_whatever_their_diversity():
    """Values 1, 1, 0, 1: the first valid text meets the invalid one; copies are not used again."""
    rows = [{"prompt": "?", "generations": ["a", "a", "no", "b"]}]
    options = {"kernel": NgramKernel(1), "quality": valid_first, "method": "quality", "pairs": 3}
    pairs = build_pairs(rows, **options)
    texts = [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in pairs]
    assert texts == [("a", "no")]
    with pytest.raises(ValueError, match="needs a quality"):
        build_pairs(rows, kernel=NgramKernel(1), method="quality")


def test_pairs_by_named_answer_take_rare_answers_once_and_reject_the_mode():
    """Peru 3, Chile 1, Cuba 1, none 1. Credits 1/3, 1, 1: chosen Chile and Cuba, one text each;
    mixed: the first pair rejects Peru (typical), the second the text that names nothing (worst)."""
    answers = [["Peru"], ["Chile"], ["Cuba"]]
    texts = ["Peru.", "It is Peru", "Peru!", "Chile it is", "Cuba", "dunno"]
    rows = [{"prompt": "A country?", "generations": texts, "answers": answers}]
    pairs = build_pairs(
        rows,
        kernel_of=lambda columns: AnswerKernel(columns["answers"]),
        quality={"answers": AnswerList()},
        method="gated",
        keep=1.0,
        at_least={"answers": 1.0},
        credit=mutual_information_weight,
        rejected="mixed",
        pairs=2,
    )
    chosen = [row["chosen"][0]["content"] for row in pairs]
    rejected = [row["rejected"][0]["content"] for row in pairs]
    assert chosen == ["Chile it is", "Cuba"]
    assert "Peru" in rejected[0] and rejected[1] == "dunno"


def test_first_sentences_are_whole_even_where_the_limit_cut_later():
    texts = ["It is Peru. Or is it", "1. Chile\n2. Bra", "St. Lucia has no", "Cuba", "Mali!) Yes"]
    rows = [{"prompt": "?", "generations": texts, "truncated": [True, True, True, False, True]}]
    (pool,) = merge_pools(rows, first_sentence=True)
    assert pool.completions == ["It is Peru.", "1. Chile", "Cuba", "Mali!)"]
    assert pool.truncated == 1
    (pool,) = merge_pools(rows)
    assert pool.completions == ["Cuba"]


def test_what_was_cut_off_can_be_rejected_and_never_chosen():
    """'c d' is truncated and the odd one out: choosable only with keep_truncated."""
    rows = [{"prompt": "?", "generations": ["a b", "a b e", "c d"], "truncated": [0, 0, 1]}]
    options = {"kernel": NgramKernel(1), "method": "gated", "credit": rarest}
    with pytest.raises(ValueError, match="no prompt yields a pair"):
        build_pairs(rows, **options)
    kept = build_pairs(rows, keep_truncated=True, **options)
    assert kept["chosen"][0][0]["content"] == "c d"
    texts = ["x y", "x y z", "w v"]
    rows = [{"prompt": "?", "generations": texts, "truncated": [True, False, False]}]
    pairs = build_pairs(rows, reject_truncated=True, **options)
    assert (pairs["chosen"][0][0]["content"], pairs["rejected"][0][0]["content"]) == ("w v", "x y")


def rarest(S):
    return 1.0 - S.mean(axis=1)
