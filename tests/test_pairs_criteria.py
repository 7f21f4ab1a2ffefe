"""Pairs of similar quality, what is unusual besides distance, and the weights of creativity."""

import itertools
import json
import math

import numpy as np
import pytest

from diversify.kernels import NgramKernel
from diversify.pairs import (
    Improbability,
    PairRule,
    build_pairs,
    creativity_weights,
    deviation_weights,
    rare_words,
    similar_pairs,
    word_rarity,
)


def letters(n):
    return [chr(ord("a") + i) for i in range(n)]


# --- REDIPO ---------------------------------------------------------------------------------


def test_similar_pairs_take_the_greatest_difference_within_the_band():
    """Quality .9 .8 .5 .45; band .15 lets (0, 1) and (2, 3) meet. Differences .4 and .6.

    Without the band 3 against 0 would come first: .9 - .1 = .8.
    """
    quality, diversity = [0.9, 0.8, 0.5, 0.45], [0.1, 0.5, 0.3, 0.9]
    found = similar_pairs(letters(4), quality, diversity, band=0.15, pairs=2)
    assert found == [(3, 2), (1, 0)]
    assert similar_pairs(letters(4), quality, diversity, band=1.0) == [(3, 0)]
    assert similar_pairs(letters(4), quality, diversity, band=0.0) == []


def test_the_band_includes_its_edge():
    """.3 - .1 is .19999999999999998 and .8 - .6 is .20000000000000007: both are .2."""
    assert similar_pairs(["a", "b"], [0.8, 0.6], [1.0, 0.0], band=0.2) == [(0, 1)]
    assert similar_pairs(["a", "b"], [0.3, 0.1], [1.0, 0.0], band=0.2) == [(0, 1)]


def test_similar_pairs_may_choose_the_worse_of_the_two_but_never_the_more_common():
    assert similar_pairs(["a", "b"], [0.5, 0.6], [1.0, 0.0], band=0.1) == [(0, 1)]
    assert similar_pairs(["a", "b"], [0.5, 0.6], [0.5, 0.5], band=0.1) == []


def test_similar_pairs_leave_out_what_has_no_quality_and_use_no_text_twice():
    texts, quality = ["a", "a", "b", "c"], [0.5, 0.5, 0.5, None]
    found = similar_pairs(texts, quality, [0.9, 0.8, 0.1, 1.0], band=1.0, pairs=4)
    assert found == [(0, 2)]


@pytest.mark.parametrize("n", [0, 1])
def test_similar_pairs_of_too_few_are_none(n):
    assert similar_pairs(letters(n), [0.5] * n, [0.5] * n, band=1.0) == []


@pytest.mark.parametrize("seed", range(20))
def test_similar_pairs_properties(seed):
    """Within the band, more diverse, greatest difference first, none left over, order-free."""
    generator = np.random.default_rng(seed)
    n, band = int(generator.integers(2, 15)), float(generator.uniform(0, 1))
    quality, diversity = generator.random(n), generator.random(n)
    texts = [str(i) for i in range(n)]
    found = similar_pairs(texts, quality, diversity, band=band, pairs=n)
    gains = [diversity[c] - diversity[r] for c, r in found]
    assert all(gain > 0 for gain in gains) and gains == sorted(gains, reverse=True)
    assert all(abs(quality[c] - quality[r]) <= band + 1e-9 for c, r in found)
    left = set(range(n)) - set(itertools.chain.from_iterable(found))
    assert all(
        abs(quality[i] - quality[j]) > band for i, j in itertools.combinations(sorted(left), 2)
    )
    shuffle = generator.permutation(n)
    moved = similar_pairs(
        [texts[i] for i in shuffle], quality[shuffle], diversity[shuffle], band=band, pairs=n
    )
    assert [(shuffle[c], shuffle[r]) for c, r in moved] == found


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"band": -0.1}, "band must be a number of 0 or more"),
        ({"band": math.nan}, "band must be a number"),
        ({"band": 0.1, "pairs": 0}, "pairs must be at least 1"),
    ],
)
def test_similar_pairs_refuse_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        similar_pairs(["a", "b"], [1, 2], [1.0, 2.0], **options)


def test_similar_pairs_refuse_bad_numbers():
    with pytest.raises(ValueError, match="diversity must be finite"):
        similar_pairs(["a", "b"], [1, 2], [1.0, math.nan], band=1)
    with pytest.raises(ValueError, match="quality has 1 values for 2"):
        similar_pairs(["a", "b"], [1], [1.0, 2.0], band=1)


# --- word rarity ----------------------------------------------------------------------------


def test_word_rarity_by_hand():
    """Of four texts all have "a", two "fig", one "kiwi", one "plum", one "ripe".

    "a fig": (0 + ln 2) / 2. "a kiwi": (0 + ln 4) / 2. "a ripe plum": (0 + 2 ln 4) / 3.
    """
    found = word_rarity(["a fig", "a fig", "a kiwi", "a ripe plum"])
    expected = [math.log(2) / 2, math.log(2) / 2, math.log(4) / 2, 2 * math.log(4) / 3]
    np.testing.assert_allclose(found, expected)


def test_word_rarity_counts_a_word_once_a_text_and_ignores_case():
    once = word_rarity(["A kiwi", "a fig"])
    np.testing.assert_array_equal(word_rarity(["a kiwi Kiwi kiwi", "a fig"]), once)


def test_word_rarity_at_its_ends():
    """A text of its own words has log n, one that all share 0, one without words 0."""
    np.testing.assert_allclose(word_rarity(["x", "y", "z"]), np.log([3, 3, 3]))
    np.testing.assert_array_equal(word_rarity(["same"] * 4), np.zeros(4))
    np.testing.assert_array_equal(word_rarity(["one"]), [0.0])
    assert word_rarity([]).shape == (0,)
    assert word_rarity(["", "x"])[0] == 0.0
    with pytest.raises(ValueError, match="sequence of strings"):
        word_rarity("one text")


@pytest.mark.parametrize("seed", range(10))
def test_word_rarity_follows_its_texts_and_a_pool_said_twice_is_the_pool(seed):
    generator = np.random.default_rng(seed)
    texts = [" ".join(generator.choice(list("abcdefgh"), 4)) for _ in range(6)]
    rarity = word_rarity(texts)
    shuffle = generator.permutation(6)
    np.testing.assert_allclose(word_rarity([texts[i] for i in shuffle]), rarity[shuffle])
    np.testing.assert_allclose(word_rarity(texts + texts), np.tile(rarity, 2))


def test_word_rarity_cuts_words_as_it_is_told():
    assert word_rarity(["ab", "ac"], tokenize=list)[0] == pytest.approx(math.log(2) / 2)


# --- CrPO -----------------------------------------------------------------------------------


def test_creativity_weights_by_hand():
    """Novelty 0 5 10 becomes 0 .5 1; quality 3 3 1 becomes 1 1 0; shares 1 and 2.

    0 + 2, .5 + 2, 1 + 0.
    """
    signals = {"novelty": [0, 5, 10], "quality": [3, 3, 1]}
    found = creativity_weights(signals, {"novelty": 1.0, "quality": 2.0})
    np.testing.assert_allclose(found, [2.0, 2.5, 1.0])


def test_one_signal_alone_is_its_place_between_the_extremes():
    """And the units of a signal do not matter, nor its level."""
    values = np.array([3.0, -1.0, 1.0])
    expected = [1.0, 0.0, 0.5]
    np.testing.assert_allclose(creativity_weights({"a": values}, {"a": 1.0}), expected)
    np.testing.assert_allclose(creativity_weights({"a": 7 * values - 2}, {"a": 1.0}), expected)


def test_a_signal_that_tells_nothing_apart_counts_one_half_for_all():
    flat = creativity_weights({"a": [2, 2], "b": [0, 1]}, {"a": 3.0, "b": 1.0})
    np.testing.assert_allclose(flat, [1.5, 2.5])
    np.testing.assert_allclose(creativity_weights({"a": [7]}, {"a": 4.0}), [2.0])
    assert creativity_weights({"a": []}, {"a": 1.0}).shape == (0,)


def test_a_share_of_zero_switches_a_signal_off():
    both = creativity_weights({"a": [0, 1], "b": [1, 0]}, {"a": 1.0, "b": 0.0})
    np.testing.assert_array_equal(both, creativity_weights({"a": [0, 1]}, {"a": 1.0}))


def test_diversity_alone_ranks_as_deviation_weights_of_one_kernel():
    """Both are min-max of the mean distance; DDPO then divides by the mean."""
    S = np.array([[1.0, 0.8, 0.2], [0.8, 1.0, 0.4], [0.2, 0.4, 1.0]])
    distance = 1 - (S.sum(axis=1) - 1) / 2
    found = creativity_weights({"diversity": distance}, {"diversity": 1.0})
    np.testing.assert_allclose(found / found.mean(), deviation_weights(S))


@pytest.mark.parametrize("seed", range(10))
def test_creativity_weights_properties(seed):
    generator = np.random.default_rng(seed)
    signals = {name: generator.normal(size=6) for name in "abc"}
    shares = {name: float(generator.random()) for name in "abc"}
    found = creativity_weights(signals, shares)
    assert (found >= 0).all() and (found <= sum(shares.values()) + 1e-12).all()
    shuffle = generator.permutation(6)
    moved = creativity_weights({name: x[shuffle] for name, x in signals.items()}, shares)
    np.testing.assert_allclose(moved, found[shuffle])
    doubled = creativity_weights({name: np.tile(x, 2) for name, x in signals.items()}, shares)
    np.testing.assert_allclose(doubled, np.tile(found, 2))


@pytest.mark.parametrize(
    ("signals", "weights", "message"),
    [
        ({}, {}, r"got signals \[\]"),
        ({"a": [1, 2]}, {"b": 1.0}, r"signals \['a'\] and weights for \['b'\]"),
        ({"a": [1, 2]}, {"a": -1.0}, "weights must be finite and 0 or more"),
        ({"a": [1, 2]}, {"a": math.nan}, "weights must be finite and 0 or more"),
        ({"a": [1, 2]}, {"a": 0.0}, "at least one weight must be above 0"),
        ({"a": [1, math.nan]}, {"a": 1.0}, "a must be finite"),
        ({"a": [1, 2], "b": [1]}, {"a": 1.0, "b": 1.0}, "one value per completion"),
        ({"a": [[1, 2]]}, {"a": 1.0}, "one value per completion"),
    ],
)
def test_creativity_weights_refuse(signals, weights, message):
    with pytest.raises(ValueError, match=message):
        creativity_weights(signals, weights)


# --- in the data set ------------------------------------------------------------------------

TEXTS = ["a fig", "a fig", "a fig please", "a kiwi", "one wild plum", "the fig"]
ROWS = [{"id": "fruit", "prompt": "Name a fruit.", "generations": TEXTS}]


def contents(pairs):
    return [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in pairs]


def length(prompts, completions, **columns):
    return [float(len(messages[-1]["content"])) for messages in completions]


def even(prompts, completions, **columns):
    return [1.0] * len(completions)


def test_a_criterion_takes_the_place_of_the_credit_and_no_kernel_is_needed():
    """Longer is better, fraction .5: best are the plum, the fig please and the fig (7 letters).

    By words the plum is the rarest of them; of the rest the figs are the least rare.
    """
    options = {"quality": length, "fraction": 0.5}
    assert contents(build_pairs(ROWS, diversity=rare_words, **options)) == [
        ("one wild plum", "a fig")
    ]

    def kiwi(prompts, completions, **columns):
        """A judge that finds kiwis and pleases unusual."""
        return [
            float("please" in m[-1]["content"]) - ("kiwi" in m[-1]["content"]) for m in completions
        ]

    assert contents(build_pairs(ROWS, diversity=kiwi, **options)) == [("a fig please", "a kiwi")]


def test_the_probability_criterion_chooses_the_improbable():
    def likelihood(prompts, completions, **columns):
        return [-float("plum" in m[-1]["content"]) for m in completions]

    [(chosen, rejected)] = contents(
        build_pairs(ROWS, quality=length, fraction=0.5, diversity=Improbability(likelihood))
    )
    assert chosen == "one wild plum" and rejected != "one wild plum"


def test_what_the_criterion_cannot_judge_takes_no_part_and_is_counted():
    """Rarity is then that among the texts that are left."""

    def no_kiwi(prompts, completions, **columns):
        return [None if "kiwi" in m[-1]["content"] else 1.0 for m in completions]

    pairs = build_pairs(ROWS, quality=length, fraction=0.5, diversity=no_kiwi)
    assert "kiwi" not in str(contents(pairs))
    dropped = json.loads(pairs.info.description)["dropped"]
    assert dropped == {"unscored completions": 1}

    seen = []

    def watch(prompts, completions, **columns):
        seen.append(len(completions))
        return rare_words(prompts, completions)

    build_pairs(ROWS, quality=no_kiwi, fraction=0.5, diversity=watch)
    assert seen == [5]


def test_similar_quality_in_the_data_set():
    """Lengths 5 5 12 6 13 7: with a band of a fifth of the ranks the plum meets the long fig."""
    options = {"kernel": NgramKernel(1), "quality": length, "method": "similar", "keep": 1.0}
    assert contents(build_pairs(ROWS, band=0.2, **options)) == [("one wild plum", "a fig please")]
    [(chosen, rejected)] = contents(build_pairs(ROWS, band=1.0, **options))
    assert chosen == "one wild plum" and rejected == "a fig"


def test_similar_quality_is_gated_on_both_sides():
    """Only the two longest pass: the best third of six."""
    options = {"kernel": NgramKernel(1), "quality": length, "method": "similar", "band": 1.0}
    assert contents(build_pairs(ROWS, keep=1 / 3, pairs=3, **options)) == [
        ("one wild plum", "a fig please")
    ]
    with pytest.raises(ValueError, match="no prompt yields a pair"):
        build_pairs(ROWS, keep=1.0, at_least={"quality": 13.0}, **options)


def test_creativity_reaches_the_weights_with_mean_1():
    """Two pairs of equal quality: chosen are the rarest texts; by novelty the plum weighs more.

    Rarity of the plum log 6; of the kiwi (log 6 + log 1.5) / 2, for four of six say "a". The least
    rare is "a fig": (log 1.5 + log 1.5) / 2.
    """
    options = {"quality": even, "method": "similar", "pairs": 2, "keep": 1.0}
    options |= {"diversity": rare_words}
    rarity = {"plum": math.log(6), "kiwi": (math.log(6) + math.log(1.5)) / 2, "low": math.log(1.5)}
    plum, kiwi = (
        (rarity[name] - rarity["low"]) / (rarity["plum"] - rarity["low"])
        for name in ("plum", "kiwi")
    )
    pairs = build_pairs(ROWS, creativity={"novelty": 1.0}, **options)
    assert [chosen for chosen, _ in contents(pairs)] == ["one wild plum", "a kiwi"]
    expected = np.array([plum, kiwi]) * 2 / (plum + kiwi)
    np.testing.assert_allclose(pairs["weight"], expected)
    flat = build_pairs(ROWS, creativity={"quality": 1.0}, **options)
    np.testing.assert_allclose(flat["weight"], [1.0, 1.0])


def test_all_four_signals_meet_in_one_weight():
    """Each signal by itself, then together: the weights before division by their mean add up."""

    def surprising(prompts, completions, **columns):
        return [float("kiwi" in m[-1]["content"]) for m in completions]

    options = {"kernel": NgramKernel(1), "quality": length, "method": "divpo", "fraction": 0.5}
    options |= {"pairs": 2, "surprise": surprising}
    S = NgramKernel(1)(TEXTS)
    signals = {
        "diversity": 1 - (S.sum(axis=1) - 1) / 5,
        "novelty": word_rarity(TEXTS),
        "surprise": [float("kiwi" in text) for text in TEXTS],
        "quality": [float(len(text)) for text in TEXTS],
    }
    shares = {"diversity": 1.0, "novelty": 0.5, "surprise": 2.0, "quality": 0.25}
    pairs = build_pairs(ROWS, creativity=shares, **options)
    weights = dict(zip(TEXTS, creativity_weights(signals, shares), strict=True))
    expected = np.array([weights[chosen] for chosen, _ in contents(pairs)])
    np.testing.assert_allclose(pairs["weight"], expected / expected.mean())
    assert len(pairs) == 2 and expected[0] != pytest.approx(expected[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "gated", "diversity": rare_words}, "diversity is for divpo and similar"),
        ({"creativity": {"beauty": 1.0}}, r"knows the signals .* got \['beauty'\]"),
        ({"creativity": {"surprise": 1.0}}, "needs the criterion surprise"),
        (
            {"creativity": {"novelty": 1.0}, "deviation": [NgramKernel(1)]},
            "either deviation or creativity",
        ),
        (
            {"method": "gated", "quality": None, "creativity": {"quality": 1.0}},
            "the signal 'quality' needs a quality",
        ),
        ({"method": "similar", "quality": None}, "needs a quality"),
        ({"kernel": None}, "either kernel or kernel_of"),
        (
            {"kernel": None, "diversity": rare_words, "creativity": {"diversity": 1}},
            "either kernel",
        ),
        ({"creativity": {"novelty": -1.0}}, "weights must be finite and 0 or more"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, message):
    plain = {"kernel": NgramKernel(1), "quality": length, "fraction": 0.5}
    with pytest.raises(ValueError, match=message):
        build_pairs(ROWS, **plain | options)


@pytest.mark.parametrize("band", [-0.1, 1.1, math.nan])
def test_a_rule_checks_its_band(band):
    with pytest.raises(ValueError, match=r"band must be in \[0, 1\]"):
        PairRule(method="similar", band=band)


def test_a_rule_says_when_it_needs_similarities():
    for method in ("divpo", "gated"):
        with pytest.raises(ValueError, match="needs similarities"):
            PairRule(method=method)(letters(8), None, {"q": np.arange(8.0)})
