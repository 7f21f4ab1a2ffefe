"""Kernels: texts to similarity matrices."""

import pickle
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from diversify.counts import NgramCounts
from diversify.kernels import (
    EmbeddingKernel,
    EquivalenceKernel,
    Kernel,
    NgramKernel,
    SameMany,
    callable_name,
    check_integer,
    cross_similarity,
    ngrams,
    pair_similarity,
    words,
)


class Table:
    """An embedder that looks rows up and remembers what it was asked."""

    name = "table"

    def __init__(self, **rows: list[float]) -> None:
        self.rows = rows
        self.calls: list[list[str]] = []

    def __call__(self, texts: list[str]) -> np.ndarray:
        self.calls.append(list(texts))
        return np.array([self.rows[text] for text in texts])


def same_letter(first: str, second: str) -> bool:
    return first[0] == second[0]


def letter_embedder(texts: list[str]) -> ArrayLike:
    """Unit rows that depend on the letters of a text only."""
    counts = np.array([[text.count(letter) for letter in "abcdefgh"] for text in texts], float)
    counts += 0.1
    rows: ArrayLike = counts / np.linalg.norm(counts, axis=1, keepdims=True)
    return rows


KERNELS: list[Kernel] = [
    EmbeddingKernel(letter_embedder),
    NgramKernel(),
    NgramKernel(3, tokenize=list),
    EquivalenceKernel(same_letter),
]
TEXTS = ["abc", "b c d", "", "abc", "h h", "  ", "a b", "cab"]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.name)
class TestEveryKernel:
    def test_symmetric_unit_diagonal_in_range(self, kernel: Kernel) -> None:
        S = kernel(TEXTS)
        assert S.shape == (8, 8)
        assert S.dtype == np.float64
        assert np.array_equal(S, S.T)
        assert np.array_equal(np.diagonal(S), np.ones(8))
        assert np.abs(S).max() == 1.0

    def test_permutation_equivariant(self, kernel: Kernel) -> None:
        order = np.random.default_rng(0).permutation(len(TEXTS))
        permuted = kernel([TEXTS[i] for i in order])
        np.testing.assert_allclose(permuted, kernel(TEXTS)[np.ix_(order, order)], atol=1e-12)

    def test_identical_texts_are_exactly_alike(self, kernel: Kernel) -> None:
        assert kernel(TEXTS)[0, 3] == 1.0
        assert np.array_equal(kernel(["cab"] * 3), np.ones((3, 3)))

    def test_blank_texts_are_alike_and_unlike_the_rest(self, kernel: Kernel) -> None:
        S = kernel(TEXTS)
        assert S[2, 5] == 1.0
        assert np.array_equal(np.delete(S[2], [2, 5]), np.zeros(6))

    def test_one_text_and_none(self, kernel: Kernel) -> None:
        assert np.array_equal(kernel(["a"]), [[1.0]])
        assert np.array_equal(kernel([""]), [[1.0]])
        assert kernel([]).shape == (0, 0)

    def test_tells_different_texts_apart(self, kernel: Kernel) -> None:
        assert kernel(["abc", "h h"])[0, 1] < 0.9

    def test_refuses_what_is_not_a_list_of_texts(self, kernel: Kernel) -> None:
        with pytest.raises(ValueError, match="got one string"):
            kernel("abc")
        with pytest.raises(ValueError, match="got NoneType at 1"):
            kernel(["abc", None])  # type: ignore[list-item]

    def test_pickles(self, kernel: Kernel) -> None:
        assert np.array_equal(pickle.loads(pickle.dumps(kernel))(TEXTS), kernel(TEXTS))


class TestEmbeddingKernel:
    def test_cosine(self) -> None:
        """(1, 0) . (0.6, 0.8) = 0.6; (0.6, 0.8) . (-0.8, 0.6) = 0; (1, 0) . (-0.8, 0.6) = -0.8."""
        table = Table(a=[1, 0], b=[0.6, 0.8], c=[-0.8, 0.6])
        expected = [[1, 0.6, -0.8], [0.6, 1, 0], [-0.8, 0, 1]]
        np.testing.assert_allclose(EmbeddingKernel(table)(["a", "b", "c"]), expected, atol=1e-12)

    def test_embeds_each_distinct_text_once_and_never_a_blank_one(self) -> None:
        table = Table(a=[1, 0], b=[0, 1])
        EmbeddingKernel(table)(["b", "", "a", "b", " \n", "a"])
        assert table.calls == [["b", "a"]]

    def test_a_group_of_blanks_needs_no_embedder(self) -> None:
        table = Table()
        assert np.array_equal(EmbeddingKernel(table)(["", " "]), np.ones((2, 2)))
        assert table.calls == []

    def test_removes_the_error_of_half_precision(self) -> None:
        rng = np.random.default_rng(1)
        rows = rng.normal(size=(40, 384))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        rows[20:] = rows[:20]
        half = rows.astype(np.float16)
        assert np.abs(np.linalg.norm(half.astype(float), axis=1) - 1).max() > 1e-6
        S = EmbeddingKernel(lambda texts: half)([str(i) for i in range(40)])
        assert np.array_equal(S, S.T)
        assert np.abs(S).max() == 1.0
        np.testing.assert_allclose(np.diagonal(S[:20, 20:]), 1.0, atol=1e-12)
        assert np.linalg.eigvalsh(S).min() > -1e-12

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([[1.0, 0.0], [0.0, 0.0]], "length 0 for the text 'second'"),
            ([[3.0, 4.0], [0.0, 1.0]], "length 5 for the text 'first'"),
            ([[1.0, 0.0], [np.nan, 1.0]], "length nan for the text 'second'"),
            ([[np.inf, 0.0], [0.0, 1.0]], "length inf for the text 'first'"),
            ([[1.0, 0.0]], r"\(2, d\), got \(1, 2\)"),
            ([1.0, 1.0], r"\(2, d\), got \(2,\)"),
            ([[], []], "length 0 for the text 'first'"),
        ],
    )
    def test_refuses_wrong_rows(self, rows: ArrayLike, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            EmbeddingKernel(lambda texts: rows)(["first", "second"])

    def test_has_the_name_of_its_embedder(self) -> None:
        assert EmbeddingKernel(Table()).name == "table"
        assert EmbeddingKernel(letter_embedder).name == "letter_embedder"


class TestNgramKernel:
    def test_words_and_pairs(self) -> None:
        """Counts of "a b" are {a, b, ab}, of "a c" {a, c, ac}: 1 / (sqrt 3 sqrt 3) = 1/3.

        "a a b" counts {a: 2, b: 1, aa: 1, ab: 1}, length sqrt 7; with "a b" 2 + 1 + 1 = 4, so
        4 / sqrt 21 = 0.872872; with "a c" 2, so 2 / sqrt 21 = 0.436436.
        """
        expected = [[1, 1 / 3, 0.872872], [1 / 3, 1, 0.436436], [0.872872, 0.436436, 1]]
        np.testing.assert_allclose(NgramKernel()(["a b", "a c", "a a b"]), expected, atol=1e-6)

    def test_longest_ngram_changes_the_result(self) -> None:
        """With words alone "a b" and "a c" share one of two: 1/2."""
        assert NgramKernel(1)(["a b", "a c"])[0, 1] == pytest.approx(1 / 2)
        assert NgramKernel(2)(["a b", "b a"])[0, 1] == pytest.approx(2 / 3)
        assert NgramKernel(1)(["a b", "b a"])[0, 1] == 1.0

    def test_case_and_spacing_do_not_matter(self) -> None:
        assert NgramKernel()(["The  Cat\n", "the cat"])[0, 1] == 1.0

    def test_another_tokenizer(self) -> None:
        assert NgramKernel(1)(["ab", "ba"])[0, 1] == 0.0
        assert NgramKernel(1, tokenize=list)(["ab", "ba"])[0, 1] == 1.0

    def test_a_text_without_tokens_is_like_a_blank_one(self) -> None:
        def only_letters(text: str) -> list[str]:
            return [character for character in text if character.isalpha()]

        S = NgramKernel(tokenize=only_letters)(["?!", "", "a"])
        assert np.array_equal(S, [[1, 1, 0], [1, 1, 0], [0, 0, 1]])

    def test_positive_semidefinite(self) -> None:
        rng = np.random.default_rng(2)
        for _ in range(20):
            texts = [" ".join(rng.choice(list("abc"), size=rng.integers(0, 6))) for _ in range(12)]
            assert np.linalg.eigvalsh(NgramKernel()(texts)).min() > -1e-12

    def test_counts_at_hand_give_the_same(self) -> None:
        texts = ["the red fox", "", "The Red  fox", " ", "a blue hen", "the red hen the red"]
        counts = NgramCounts([words(text) for text in texts])
        for n in (1, 2, 4):
            assert np.array_equal(NgramKernel(n).of_counts(counts), NgramKernel(n)(texts))

    def test_equals_the_definition(self) -> None:
        """The cosine of the counts of all n-grams, pooled in one dictionary a text."""
        rng = np.random.default_rng(4)
        for n in (1, 2, 3):
            texts = [" ".join(rng.choice(list("abcd"), rng.integers(1, 9))) for _ in range(12)]
            pooled = [
                Counter(gram for k in range(1, n + 1) for gram in ngrams(text.split(), k))
                for text in texts
            ]
            dot = np.array([[sum(a[g] * b[g] for g in a) for b in pooled] for a in pooled])
            length = np.sqrt(np.diagonal(dot))
            expected = dot / np.outer(length, length)
            np.testing.assert_allclose(NgramKernel(n)(texts), expected, atol=1e-12)

    def test_names(self) -> None:
        assert NgramKernel().name == "ngram-2"
        assert NgramKernel(3).name == "ngram-3"
        assert NgramKernel(3, tokenize=list).name == "ngram-3-list"

    @pytest.mark.parametrize("n", [0, -1, 1.5, "2"])
    def test_refuses_an_impossible_n(self, n: object) -> None:
        with pytest.raises(ValueError, match="n must be"):
            NgramKernel(n)  # type: ignore[arg-type]


class TestEquivalenceKernel:
    def test_either_direction_makes_texts_equal(self) -> None:
        """The judge accepts ("a", "b") only, and is asked about it in whatever order they come."""
        kernel = EquivalenceKernel(lambda first, second: (first, second) == ("a", "b"))
        assert kernel(["a", "b"])[0, 1] == 1.0
        assert kernel(["b", "a"])[0, 1] == 1.0
        assert kernel(["a", "c"])[0, 1] == 0.0

    def test_never_asks_about_identical_or_blank_texts(self) -> None:
        asked: list[tuple[str, str]] = []

        def judge(first: str, second: str) -> bool:
            asked.append((first, second))
            return False

        EquivalenceKernel(judge)(["x", "y", "x", "", " ", "y"])
        assert sorted(asked) == [("x", "y"), ("y", "x")]

    def test_keeps_verdicts_that_are_not_transitive(self) -> None:
        near = EquivalenceKernel(lambda first, second: abs(int(first) - int(second)) <= 1)
        assert np.array_equal(near(["1", "2", "3"]), [[1, 1, 0], [1, 1, 1], [0, 1, 1]])

    @pytest.mark.parametrize("answer", [None, "yes", 1, 0.3])
    def test_refuses_an_answer_that_is_no_verdict(self, answer: object) -> None:
        with pytest.raises(ValueError, match="must return a bool, got"):
            EquivalenceKernel(lambda first, second: answer)(["a", "b"])  # type: ignore[arg-type, return-value]

    def test_takes_numpy_verdicts(self) -> None:
        assert EquivalenceKernel(lambda a, b: np.bool_(True))(["a", "b"])[0, 1] == 1.0  # type: ignore[arg-type, return-value]

    def test_a_failing_judge_is_not_a_verdict(self) -> None:
        def broken(first: str, second: str) -> bool:
            raise RuntimeError("server down")

        with pytest.raises(RuntimeError, match="server down"):
            EquivalenceKernel(broken)(["a", "b"])

    def test_name(self) -> None:
        assert EquivalenceKernel(same_letter).name == "equivalence-same_letter"


class Verdicts:
    """A judge by a table of ordered pairs, asked about many at once."""

    name = "table"

    def __init__(self, table: dict[tuple[str, str], bool | None]) -> None:
        self.table = table
        self.calls: list[list[tuple[str, str]]] = []

    def judge(self, pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
        self.calls.append(list(pairs))
        return [self.table[pair] for pair in pairs]


class TestManyAtOnce:
    def random_table(self, seed: int, answers: list[bool | None]) -> dict[Any, Any]:
        rng = np.random.default_rng(seed)
        pairs = [(a, b) for a in "abcdef" for b in "abcdef" if a != b]
        return {pair: answers[int(rng.integers(len(answers)))] for pair in pairs}

    def test_equals_asking_one_by_one(self) -> None:
        texts = ["c", "a", "", "b", "f", "a", " ", "e", "d"]
        for seed in range(30):
            judge = Verdicts(self.random_table(seed, [True, False, False, False]))
            many = EquivalenceKernel(judge)(texts)
            one_by_one = EquivalenceKernel(lambda a, b, t=judge.table: t[a, b])(texts)  # type: ignore[misc]
            assert np.array_equal(many, one_by_one)
            assert 0.2 < many.mean() < 0.8, "the test could not fail"

    def test_all_pairs_in_one_call_and_the_noes_the_other_way_round_in_another(self) -> None:
        judge = Verdicts({("a", "b"): True, ("a", "c"): False, ("b", "c"): False})
        judge.table |= {("c", "a"): True, ("c", "b"): False}
        S = EquivalenceKernel(judge)(["a", "b", "a", "", "c"])
        assert judge.calls == [[("a", "b"), ("a", "c"), ("b", "c")], [("c", "a"), ("c", "b")]]
        assert S[0].tolist() == [1, 1, 1, 0, 1] and S[1].tolist() == [1, 1, 1, 0, 0]

    def test_nothing_to_compare_asks_nothing(self) -> None:
        judge = Verdicts({})
        assert np.array_equal(EquivalenceKernel(judge)(["a", "a", " "])[0], [1, 1, 0])
        assert judge.calls == []

    def test_an_unknown_pair_counts_as_the_same_and_is_counted(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """a-b: unknown at once. a-c: no, then unknown. b-c: no both ways."""
        judge = Verdicts({("a", "b"): None, ("a", "c"): False, ("b", "c"): False})
        judge.table |= {("c", "a"): None, ("c", "b"): False}
        kernel = EquivalenceKernel(judge)
        assert np.array_equal(kernel(["a", "b", "c"]), [[1, 1, 1], [1, 1, 0], [1, 0, 1]])
        assert kernel.counts == {"pairs": 3, "unknown": 2}
        (record,) = caplog.records
        assert record.getMessage() == (
            "equivalence-table: 2 of 3 pairs could not be judged; they count as the same"
        )

    def test_a_failure_never_adds_diversity(self) -> None:
        for seed in range(20):
            table = self.random_table(seed, [True, False, False])
            known = EquivalenceKernel(Verdicts(table))(list("abcdef"))
            holes = self.random_table(seed + 100, [True, None, True, True])
            table = {pair: table[pair] if holes[pair] else None for pair in table}
            assert (EquivalenceKernel(Verdicts(table))(list("abcdef")) >= known).all()

    @pytest.mark.parametrize(
        ("answer", "message"),
        [
            (lambda pairs: ["yes"], "must return bools or None, got 'yes'"),
            (lambda pairs: [1], "must return bools or None, got 1"),
            (lambda pairs: [], "gave 0 verdicts for 1 pairs"),
        ],
    )
    def test_refuses_what_is_no_verdict(self, answer: Any, message: str) -> None:
        judge = Verdicts({})
        judge.judge = answer  # type: ignore[method-assign]
        with pytest.raises(ValueError, match=message):
            EquivalenceKernel(judge)(["a", "b"])

    def test_numpy_verdicts_and_the_protocol(self) -> None:
        judge = Verdicts({("a", "b"): np.bool_(True)})  # type: ignore[dict-item]
        assert isinstance(judge, SameMany) and not isinstance(same_letter, SameMany)
        assert EquivalenceKernel(judge)(["a", "b"])[0, 1] == 1.0

    def test_counts_are_no_part_of_what_the_kernel_is(self) -> None:
        one, other = EquivalenceKernel(same_letter), EquivalenceKernel(same_letter)
        one(["a", "b"])
        assert one.counts["pairs"] == 1 and one == other and hash(one) == hash(other)


class TestPairSimilarity:
    def test_equals_the_kernel_on_each_pair(self) -> None:
        pairs = [(a, b) for a in TEXTS for b in TEXTS]
        found = pair_similarity(letter_embedder, pairs)
        expected = [EmbeddingKernel(letter_embedder)([a, b])[0, 1] for a, b in pairs]
        np.testing.assert_allclose(found, expected, atol=1e-12)
        assert pair_similarity(letter_embedder, []).shape == (0,)

    def test_embeds_each_distinct_text_once(self) -> None:
        table = Table(a=[1, 0], b=[0.6, 0.8])
        found = pair_similarity(table, [("a", "b"), ("b", "a"), ("a", ""), ("", " "), ("a", "a")])
        np.testing.assert_allclose(found, [0.6, 0.6, 0, 1, 1], atol=1e-12)
        assert table.calls == [["a", "b"]]

    def test_refuses_wrong_rows(self) -> None:
        with pytest.raises(ValueError, match="length 2 for the text 'a'"):
            pair_similarity(Table(a=[2, 0]), [("a", "a")])


class TestCrossSimilarity:
    def test_values(self) -> None:
        """Rows a = (1, 0), b = (0, 1), c = (0.6, 0.8): a.c = 0.6, b.c = 0.8, a.b = 0."""
        table = Table(a=[1, 0], b=[0, 1], c=[0.6, 0.8])
        cross = cross_similarity(table, ["a", "b"], ["c", "b", "", "a"])
        np.testing.assert_allclose(cross, [[0.6, 0, 0, 1], [0.8, 1, 0, 0]], atol=1e-12)
        assert table.calls == [["a", "b", "c"]]

    def test_blank_against_blank(self) -> None:
        table = Table(a=[1, 0])
        assert np.array_equal(cross_similarity(table, ["", "a"], [" "]), [[1.0], [0.0]])

    def test_equals_the_kernel_on_one_set(self) -> None:
        cross = cross_similarity(letter_embedder, TEXTS, TEXTS)
        np.testing.assert_allclose(cross, EmbeddingKernel(letter_embedder)(TEXTS), atol=1e-12)
        assert np.array_equal(np.diagonal(cross), np.ones(8))

    def test_empty_sides(self) -> None:
        assert cross_similarity(letter_embedder, [], ["a", "b"]).shape == (0, 2)
        assert cross_similarity(letter_embedder, ["a"], []).shape == (1, 0)

    def test_refuses_wrong_rows(self) -> None:
        with pytest.raises(ValueError, match="length 2 for the text 'a'"):
            cross_similarity(Table(a=[2, 0]), ["a"], ["a"])


def test_words_and_ngrams() -> None:
    assert words(" The cat,\tThe ") == ["the", "cat,", "the"]
    assert list(ngrams(["x", "y", "z"], 2)) == [("x", "y"), ("y", "z")]
    assert list(ngrams(["x"], 2)) == []


@pytest.mark.parametrize(
    ("function", "name"),
    [(same_letter, "same_letter"), (partial(partial(same_letter)), "same_letter"), (len, "len")],
)
def test_callable_name(function: Callable[..., object], name: str) -> None:
    assert callable_name(function) == name


def test_callable_name_of_objects() -> None:
    class Judge:
        def __call__(self) -> None: ...

    assert callable_name(Judge()) == "Judge"
    assert callable_name(Table()) == "table"


def test_check_integer() -> None:
    assert check_integer("size", np.int64(3), 1, 3) == 3  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="size must be between 1 and 3, got 4"):
        check_integer("size", 4, 1, 3)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        check_integer("size", 0, 1)
    with pytest.raises(ValueError, match=r"size must be an integer, got 2\.0"):
        check_integer("size", 2.0, 1)  # type: ignore[arg-type]
