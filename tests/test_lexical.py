"""Lexical quantities: texts to numbers without a matrix."""

import math
import zlib
from collections import Counter
from functools import partial

import numpy as np
import pytest

from diversify.counts import NgramCounts
from diversify.kernels import words
from diversify.lexical import (
    HIGHER_IS_BETTER,
    LEXICAL,
    compression_ratio,
    distinct_n,
    exact_duplicate_rate,
    expectation_adjusted_distinct,
    lexical_all,
    repetition,
    self_bleu,
)

VARIED = [
    "a quiet harbour at dawn",
    "seven brass keys under glass",
    "nobody counted those winter stars",
    "green thunder over old rails",
]


def random_texts(rng: np.random.Generator, count: int) -> list[str]:
    return [" ".join(rng.choice(list("abcd"), size=rng.integers(0, 9))) for _ in range(count)]


def plain_self_bleu(texts: list[str], n: int) -> float:
    """Compute BLEU of each text against the others by its definition, recounting every pair."""
    total = 0.0
    tokens = [text.lower().split() for text in texts]
    for i, own in enumerate(tokens):
        others = tokens[:i] + tokens[i + 1 :]
        logs = []
        for k in range(1, n + 1):
            grams = Counter(tuple(own[s : s + k]) for s in range(len(own) - k + 1))
            matches = 0
            for gram, count in grams.items():
                most = max(
                    sum(tuple(t[s : s + k]) == gram for s in range(len(t) - k + 1)) for t in others
                )
                matches += min(count, most)
            if k == 1 and matches == 0:
                break
            logs.append(math.log((matches or 0.1) / max(sum(grams.values()), 1)))
        else:
            nearest = min((len(t) for t in others), key=lambda x: (abs(x - len(own)), x))
            penalty = 1.0 if len(own) > nearest else math.exp(1 - nearest / len(own))
            total += penalty * math.exp(sum(logs) / n)
    return total / len(texts)


class TestDistinct:
    def test_values(self) -> None:
        """Words a b c a b d: 4 different of 6. Pairs ab bc ab bd: 3 of 4."""
        texts = ["a b c", "A b d"]
        assert distinct_n(texts, 1) == pytest.approx(4 / 6)
        assert distinct_n(texts, 2) == pytest.approx(3 / 4)

    def test_ngrams_do_not_cross_texts(self) -> None:
        """Two texts "a b" give the pair ab twice; joined they would also give ba."""
        assert distinct_n(["a b", "a b"], 2) == 0.5

    def test_extremes(self) -> None:
        assert distinct_n(VARIED, 2) == 1.0
        assert distinct_n(["x"] * 10, 1) == pytest.approx(0.1)
        assert distinct_n([], 1) == distinct_n(["", "a"], 2) == 0.0

    def test_tokenize(self) -> None:
        """Letters a b a: 2 different of 3."""
        assert distinct_n(["aba"], 1, tokenize=list) == pytest.approx(2 / 3)


class TestExpectationAdjustedDistinct:
    def test_small_vocabulary(self) -> None:
        """N = 3 of C = 4 words, V = 4: 4 (1 - (3/4)^4) = 2.734375 expected, 3 / 2.734375."""
        value = expectation_adjusted_distinct(["a b", "a c"], 1, 4)
        assert value == pytest.approx(3 / 2.734375)

    def test_published_size(self) -> None:
        """23 different of 72 words are distinct-1 .3194; with V = 30,522 it becomes .3198."""
        texts = [" ".join(str(i % 23) for i in range(72))]
        assert distinct_n(texts, 1) == pytest.approx(0.3194, abs=5e-5)
        assert expectation_adjusted_distinct(texts, 1, 30522) == pytest.approx(0.3198, abs=5e-5)

    def test_tends_to_distinct_n(self) -> None:
        """To first order V (1 - (1 - 1/V)^C) = C (1 - (C - 1) / 2V): .9999999945 of C = 12 here."""
        texts = ["a b c d", "a b c e", "a b f g"]
        large = expectation_adjusted_distinct(texts, 1, 10**9)
        assert large == pytest.approx(distinct_n(texts, 1) * (1 + 5.5e-9), rel=1e-12)

    def test_edges(self) -> None:
        assert expectation_adjusted_distinct(["a a"], 1, 1) == 1.0
        assert expectation_adjusted_distinct([""], 1, 10) == 0.0
        assert expectation_adjusted_distinct(["a b c"], 2, 1) == 2.0

    def test_refuses_more_words_than_the_vocabulary_has(self) -> None:
        with pytest.raises(ValueError, match=r"vocabulary must be at least 3, .* got 2"):
            expectation_adjusted_distinct(["a b c"], 1, 2)
        with pytest.raises(ValueError, match="vocabulary must be at least 1, got 0"):
            expectation_adjusted_distinct(["a"], 1, 0)


class TestSelfBleu:
    def test_smoothing(self) -> None:
        """Against "a c", "a b" has p1 = 1/2, p2 = 0.1/1 and no penalty: sqrt(.05); so has "a c"."""
        assert self_bleu(["a b", "a c"], 2) == pytest.approx(math.sqrt(0.05))

    def test_brevity_penalty(self) -> None:
        """Against "a b c d", "a b" has p1 = p2 = 1, penalty exp(1 - 4/2) = .367879.

        "a b c d" has p1 = 2/4, p2 = 1/3, and is longer, so no penalty: sqrt(1/6) = .408248.
        """
        expected = (math.exp(-1) + math.sqrt(1 / 6)) / 2
        assert self_bleu(["a b", "a b c d"], 2) == pytest.approx(expected)

    def test_clips_to_the_most_in_any_other_text(self) -> None:
        """Counts of a: 3, 2, 1. First: min(3, 2)/3. Second: min(2, 3)/3. Third: 1/1.

        Nearest lengths: of 3 is 3, no penalty; of 1 is 3, exp(1 - 3).
        """
        expected = (2 / 3 + 2 / 3 + math.exp(-2)) / 3
        assert self_bleu(["a a a", "a a b", "a"], 1) == pytest.approx(expected)

    def test_nearest_length_ties_go_to_the_shorter(self) -> None:
        """Lengths 2, 3, 4. The middle one is nearest to 2 (a tie with 4): longer, no penalty.

        All its words are in the last text: 1. First: 1, exp(1 - 3/2). Last: "a b c x" has 3/4, and
        4 > 3. Mean (.606531 + 1 + .75) / 3.
        """
        expected = (math.exp(-0.5) + 1 + 0.75) / 3
        assert self_bleu(["a b", "a b c", "a b c x"], 1) == pytest.approx(expected)

    def test_extremes(self) -> None:
        assert self_bleu(["one two three four five"] * 3) == pytest.approx(1.0)
        assert self_bleu(VARIED) == 0.0
        assert self_bleu(["alone"]) == self_bleu([]) == self_bleu(["", ""]) == 0.0

    def test_texts_shorter_than_n_are_smoothed(self) -> None:
        """Two texts "a", n = 2: p1 = 1, p2 = 0.1/1 since there are no pairs: sqrt(.1)."""
        assert self_bleu(["a", "a"], 2) == pytest.approx(math.sqrt(0.1))

    def test_equals_the_definition(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(60):
            texts = random_texts(rng, int(rng.integers(2, 7)))
            for n in (1, 2, 4):
                assert self_bleu(texts, n) == pytest.approx(plain_self_bleu(texts, n), abs=1e-12)

    def test_options_change_the_result(self) -> None:
        texts = ["ab cd ef", "ab cd gh"]
        assert self_bleu(texts, 2) != self_bleu(texts, 4)
        assert self_bleu(texts, 2) != self_bleu(texts, 2, tokenize=list)


class TestCompressionRatio:
    def test_size_of_the_container(self) -> None:
        """Gzip is deflate in a container of 18 bytes, zlib the same in one of 6."""
        texts = ["the same answer", "another one", "the same answer"]
        joined = " ".join(texts).encode()
        assert compression_ratio(texts) == len(joined) / (len(zlib.compress(joined, 9)) + 12)

    def test_repetition_raises_it(self) -> None:
        assert compression_ratio(["the same answer"] * 40) > 2 * compression_ratio(VARIED)

    def test_nothing(self) -> None:
        assert compression_ratio([]) == compression_ratio([""]) == 0.0

    def test_lone_surrogates_are_text_too(self) -> None:
        assert compression_ratio(["\ud800 broken"]) > 0


class TestMonitors:
    def test_exact_duplicate_rate(self) -> None:
        """Of yes, yes, no, Yes one repeats an earlier text: 1/4."""
        assert exact_duplicate_rate(["yes", "yes", "no", "Yes"]) == 0.25
        assert exact_duplicate_rate(["x"] * 4) == 0.75
        assert exact_duplicate_rate(VARIED) == exact_duplicate_rate([]) == 0.0

    def test_repetition(self) -> None:
        """3-grams of "a b a b a b": aba bab aba bab, 2 of 4 repeat; words 4 of 6 repeat."""
        assert repetition("a b a b a b") == pytest.approx(0.5)
        assert repetition("a b a b a b", 1) == pytest.approx(4 / 6)
        assert repetition("a b") == repetition("") == 0.0
        assert repetition("aaab", 1, tokenize=list) == pytest.approx(0.5)


class TestList:
    def test_every_name_has_a_direction(self) -> None:
        assert set(LEXICAL) == set(HIGHER_IS_BETTER)
        assert len(LEXICAL) == 4

    @pytest.mark.parametrize("name", list(LEXICAL))
    def test_the_direction_is_true(self, name: str) -> None:
        collapsed, varied = LEXICAL[name]([VARIED[0]] * 4), LEXICAL[name](VARIED)
        assert (varied > collapsed) if HIGHER_IS_BETTER[name] else (varied < collapsed)

    # Gzip reads from left to right, so the compression ratio is not in this list.
    @pytest.mark.parametrize("name", sorted(set(LEXICAL) - {"compression_ratio"}))
    def test_order_does_not_matter(self, name: str) -> None:
        texts = random_texts(np.random.default_rng(1), 8)
        assert LEXICAL[name](texts[::-1]) == pytest.approx(LEXICAL[name](texts))

    @pytest.mark.parametrize("name", list(LEXICAL))
    def test_one_text_and_none(self, name: str) -> None:
        assert LEXICAL[name]([]) == 0.0
        assert math.isfinite(LEXICAL[name](["one"]))

    @pytest.mark.parametrize("name", list(LEXICAL))
    def test_refuses_what_is_not_a_list_of_texts(self, name: str) -> None:
        with pytest.raises(ValueError, match="got one string"):
            LEXICAL[name]("abc")
        with pytest.raises(ValueError, match="got int at 0"):
            LEXICAL[name]([3])  # type: ignore[list-item]


class TestAllAtOnce:
    def test_equals_each_by_itself(self) -> None:
        rng = np.random.default_rng(2)
        for count in (0, 1, 2, 7):
            texts = random_texts(rng, count)
            found = lexical_all(texts)
            assert found == {name: quantity(texts) for name, quantity in LEXICAL.items()}
            assert lexical_all(texts, counts=NgramCounts([words(t) for t in texts])) == found

    def test_options_and_foreign_quantities(self) -> None:
        """The letters of "ab ab" and "ba" are not its words: 3 of 7 against 2 of 3."""
        quantities = {
            "letters": partial(distinct_n, n=1, tokenize=list),
            "words": partial(distinct_n, n=1),
            "bleu": partial(self_bleu, n=1),
            "texts": len,
            "bound": partial(partial(distinct_n, n=1)),
        }
        found = lexical_all(["ab ab", "ba"], quantities)
        assert found["letters"] == pytest.approx(3 / 7)
        assert found["words"] == found["bound"] == pytest.approx(2 / 3)
        assert found["bleu"] == self_bleu(["ab ab", "ba"], 1) and found["texts"] == 2.0

    def test_the_counts_are_what_is_measured(self) -> None:
        other = NgramCounts([["x"], ["x"]])
        assert lexical_all(["a b", "c d"], counts=other)["distinct_1"] == 0.5
        with pytest.raises(ValueError, match="counts must be those of 3 texts, got 2"):
            lexical_all(["a", "b", "c"], counts=other)

    def test_refuses_what_is_not_a_list_of_texts(self) -> None:
        with pytest.raises(ValueError, match="got one string"):
            lexical_all("abc")


@pytest.mark.parametrize("n", [0, -2, 1.0])
def test_refuses_an_impossible_n(n: int) -> None:
    with pytest.raises(ValueError, match="n must be"):
        distinct_n(["a"], n)
    with pytest.raises(ValueError, match="n must be"):
        self_bleu(["a", "b"], n)
    with pytest.raises(ValueError, match="n must be"):
        repetition("a", n)
    with pytest.raises(ValueError, match="n must be"):
        expectation_adjusted_distinct(["a"], n, 10)
