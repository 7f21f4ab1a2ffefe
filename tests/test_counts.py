"""Counts of n-grams: what counting one by one gives, in sorted arrays."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from diversify import counts as counts_module
from diversify.counts import NgramCounts
from diversify.kernels import ngrams

Tokens = list[list[Any]]


def random_tokens(seed: int, *, letters: str = "abcd", longest: int = 9) -> Tokens:
    rng = np.random.default_rng(seed)
    texts = int(rng.integers(0, 8))
    return [rng.choice(list(letters), size=rng.integers(0, longest)).tolist() for _ in range(texts)]


def counted(tokens: Tokens, n: int) -> list[Counter[tuple[Any, ...]]]:
    return [Counter(ngrams(own, n)) for own in tokens]


def as_multisets(found: NgramCounts, n: int) -> list[list[tuple[int, int]]]:
    """For each n-gram its (text, times), in an order that does not depend on its number."""
    gram, text, times, different = found.of(n)
    rows: list[list[tuple[int, int]]] = [[] for _ in range(different)]
    for number, own, often in zip(gram.tolist(), text.tolist(), times.tolist(), strict=True):
        rows[number].append((own, often))
    return sorted(rows)


def expected_multisets(tokens: Tokens, n: int) -> list[list[tuple[int, int]]]:
    each = counted(tokens, n)
    everything = set().union(*each)
    return sorted(
        [(i, own[gram]) for i, own in enumerate(each) if own[gram]] for gram in everything
    )


def expected_products(tokens: Tokens, n: int) -> list[list[int]]:
    each = [sum((counted([own], k)[0] for k in range(1, n + 1)), Counter()) for own in tokens]
    return [[sum(a[gram] * b[gram] for gram in a) for b in each] for a in each]


def test_by_hand() -> None:
    """Pairs ab, ba, ab and ab: ab three times in two texts, ba once; four pairs in all."""
    found = NgramCounts([["a", "b", "a", "b"], [], ["a", "b"], ["c"]])
    assert found.lengths.tolist() == [4, 0, 2, 1]
    assert as_multisets(found, 2) == [[(0, 1)], [(0, 2), (2, 1)]]
    assert (found.total(2), found.per_text(2).tolist()) == (4, [3, 0, 1, 0])
    assert (found.total(5), found.of(5).different) == (0, 0)
    assert sorted(found.second_largest(2).tolist()) == [0, 1]


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_equals_counting_one_by_one(n: int) -> None:
    for seed in range(40):
        tokens = random_tokens(seed)
        found = NgramCounts(tokens)
        assert as_multisets(found, n) == expected_multisets(tokens, n)
        assert found.products(n).tolist() == expected_products(tokens, n)
        assert found.total(n) == sum(own.total() for own in counted(tokens, n))


def test_second_largest_is_the_largest_of_the_others_or_what_clips_the_same() -> None:
    for seed in range(40):
        tokens = random_tokens(seed, letters="ab")
        gram, text, times, _ = NgramCounts(tokens).of(1)
        second = NgramCounts(tokens).second_largest(1)
        each = counted(tokens, 1)
        for number, own, often in zip(gram, text, times, strict=True):
            said = next(g for g in each[own] if as_number(tokens, g) == number)
            others = max((c[said] for i, c in enumerate(each) if i != own), default=0)
            assert min(often, second[number]) == min(often, others)


def as_number(tokens: Tokens, gram: tuple[Any, ...]) -> int:
    """Number words in order of their first appearance, as the counts do."""
    return list(dict.fromkeys(token for own in tokens for token in own)).index(gram[0])


def test_codes_that_do_not_fit_are_numbered_anew() -> None:
    """Five of 8,000 words are 3e19 codes, more than the 9e18 that an integer holds; four are not."""
    rng = np.random.default_rng(0)
    words = rng.permutation(8000)
    tokens = [[*words.tolist(), *words[:300].tolist()], words[:500].tolist(), words[::-1].tolist()]
    found = NgramCounts(tokens)
    for n in (4, 5, 6):
        assert as_multisets(found, n) == expected_multisets(tokens, n)


def test_large_groups_take_sparse_matrices_and_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    groups = [random_tokens(seed) for seed in range(20)]
    whole = [NgramCounts(tokens).products(2) for tokens in groups]
    monkeypatch.setattr(counts_module, "WHOLE", -1)
    for tokens, product in zip(groups, whole, strict=True):
        assert np.array_equal(NgramCounts(tokens).products(2), product)


def test_what_has_been_counted_is_kept() -> None:
    found = NgramCounts([["a", "b"], ["a"]])
    assert found.of(2) is found.of(2)
    assert found.of(1) is not found.of(2)
