"""How often each n-gram comes in each text of a group: counted once for everything made of it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

__all__ = ["NgramCounts", "Occurrences"]

Integers = NDArray[np.int64]

# Entries of a matrix that is kept whole, 8 MB: a product of whole matrices is several times as fast
# as one of sparse ones where it fits.
WHOLE = 1 << 20
LARGEST = np.iinfo(np.int64).max


class Occurrences(NamedTuple):
    """The n-grams of one length, as pairs of an n-gram and a text that has it.

    Args:
        gram: Number of the n-gram, from 0 and ascending, one entry a pair.
        text: Number of the text, ascending within an n-gram.
        times: How often the text has the n-gram, 1 or more.
        different: How many different n-grams there are.
    """

    gram: Integers
    text: Integers
    times: Integers
    different: int


class NgramCounts:
    """Counts of the n-grams of every length in the texts of one group.

    N-grams never cross from one text into the next. Tokens become integers, n-grams integers made
    of those, and counting is sorting; what has been counted is kept.

    Args:
        tokens: The tokens of each text.

    Attributes:
        lengths: Tokens of each text, (n,).

    Example:
        >>> counts = NgramCounts([["a", "b", "a"], ["a", "b"]])
        >>> counts.of(1).times.tolist(), counts.of(2).different, counts.total(2)
        ([2, 1, 1, 1], 2, 3)
    """

    def __init__(self, tokens: Sequence[Sequence[Hashable]]) -> None:
        flat = list(chain.from_iterable(tokens))
        number = {token: place for place, token in enumerate(dict.fromkeys(flat))}
        self.lengths: Integers = np.array([len(own) for own in tokens], dtype=np.int64)
        self._tokens = np.fromiter(map(number.__getitem__, flat), np.int64, len(flat))
        self._vocabulary = len(number)
        self._text = np.repeat(np.arange(len(tokens)), self.lengths)
        # How many tokens of its text are left at each place, its own included.
        self._left = np.repeat(np.cumsum(self.lengths), self.lengths) - np.arange(len(flat))
        self._codes = [(self._tokens, self._vocabulary)]
        self._found: dict[int, Occurrences] = {}

    def total(self, n: int) -> int:
        """Count the n-grams of all texts, repeated ones each time."""
        return int(self.per_text(n).sum())

    def per_text(self, n: int) -> Integers:
        """Count the n-grams of each text, (texts,)."""
        return np.maximum(self.lengths - (n - 1), 0)

    def of(self, n: int) -> Occurrences:
        """List which text has which n-gram how often."""
        if n not in self._found:
            self._found[n] = self._count(n)
        return self._found[n]

    def second_largest(self, n: int) -> Integers:
        """Find the second largest count of each n-gram over the texts, 0 if only one has it.

        Example:
            >>> NgramCounts([["a", "a", "a"], ["a", "a", "b"], ["a"]]).second_largest(1).tolist()
            [2, 0]
        """
        gram, _, times, different = self.of(n)
        if not different:
            return np.zeros(0, dtype=np.int64)
        # Sorted by n-gram and, within one, by count: the entry before the last is the second.
        base = int(times.max()) + 1
        ordered = np.sort(gram * base + times)
        ends = np.cumsum(np.bincount(gram, minlength=different)) - 1
        second = np.zeros(different, dtype=np.int64)
        several = np.flatnonzero(np.diff(ends, prepend=-1) > 1)
        second[several] = ordered[ends[several] - 1] % base
        return second

    def products(self, n: int) -> NDArray[np.float64]:
        """Multiply the counts of every two texts over all 1-grams to n-grams, (texts, texts).

        Whole numbers, exact in whatever order they are added.

        Example:
            >>> NgramCounts([["a", "b"], ["a", "c"]]).products(2).tolist()
            [[3.0, 1.0], [1.0, 3.0]]
        """
        texts = len(self.lengths)
        product = np.zeros((texts, texts))
        square = np.zeros(texts)
        for k in range(1, n + 1):
            gram, text, times, different = self.of(k)
            square += np.bincount(text, weights=times * times, minlength=texts)
            # What one text alone has adds to its own square and to nothing else.
            shared = np.bincount(gram, minlength=different) > 1
            column, kept = np.cumsum(shared) - 1, shared[gram]
            product += _gram_matrix(
                text[kept], column[gram[kept]], times[kept], (texts, int(shared.sum()))
            )
        np.fill_diagonal(product, square)
        return product

    def _count(self, n: int) -> Occurrences:
        texts = max(len(self.lengths), 1)
        codes, bound = self._coded(n)
        whole = self._left >= n
        if bound > LARGEST // texts:
            codes, bound = _compact(codes)
        pairs = np.sort(codes[whole] * texts + self._text[whole])
        first = np.flatnonzero(np.diff(pairs, prepend=-1))
        code, text = np.divmod(pairs[first], texts)
        gram = np.cumsum(np.diff(code, prepend=-1) != 0) - 1
        different = int(gram[-1]) + 1 if gram.size else 0
        return Occurrences(gram, text, np.diff(first, append=len(pairs)), different)

    def _coded(self, n: int) -> tuple[Integers, int]:
        """Give one integer to the n-gram that begins at each place, and what all are below.

        Where fewer than n tokens of the text are left, the integer means nothing.
        """
        while len(self._codes) < n:
            codes, bound = self._codes[-1]
            if bound > LARGEST // max(self._vocabulary, 1):
                codes, bound = _compact(codes)
            longer = codes * self._vocabulary
            reach = len(self._codes)
            longer[: max(len(longer) - reach, 0)] += self._tokens[reach:]
            self._codes.append((longer, bound * self._vocabulary))
        return self._codes[n - 1]


def _compact(codes: Integers) -> tuple[Integers, int]:
    """Number codes from 0, in order, so that there is room for further tokens."""
    different, numbers = np.unique(codes, return_inverse=True)
    return numbers.astype(np.int64), len(different)


def _gram_matrix(
    row: Integers, column: Integers, values: Integers, shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Multiply a matrix of these entries with its transpose."""
    rows, columns = shape
    if rows * columns <= WHOLE:
        flat = np.bincount(row * columns + column, weights=values, minlength=rows * columns)
        matrix = flat.reshape(shape).astype(np.float64)
        whole: NDArray[np.float64] = matrix @ matrix.T
        return whole
    sparse = csr_array((values.astype(np.float64), (row, column)), shape=shape)
    product: NDArray[np.float64] = (sparse @ sparse.T).toarray()
    return product
