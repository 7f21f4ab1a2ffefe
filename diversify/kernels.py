"""Texts to similarity: every kernel turns one group of texts into the matrix `S`.

`S` is symmetric with a unit diagonal and grows with likeness; it is the only form in which
measures, credits and selections see texts. Three rules hold for every kernel here:

- Identical texts have similarity exactly 1: each distinct text is scored once, its row reused.
- A *blank* text (empty, or white space only) is alike to every other blank text, 1, and to nothing
  else, 0. Embedders return zero or arbitrary rows for such texts, and judges were not made for
  them. Blank texts therefore look diverse: count them beside every number, and gate rewards on
  quality.
- No texts give a (0, 0) matrix.
"""

import logging
import operator
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import combinations
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diversify.counts import NgramCounts

__all__ = [
    "Embedder",
    "EmbeddingKernel",
    "EquivalenceKernel",
    "Kernel",
    "NgramKernel",
    "Pair",
    "Same",
    "SameMany",
    "Tokenize",
    "cross_similarity",
    "pair_similarity",
]

logger = logging.getLogger(__name__)

Embedder: TypeAlias = Callable[[list[str]], ArrayLike]
"""Any callable from n texts to n rows of unit length, (n, d)."""

Same: TypeAlias = Callable[[str, str], bool]
"""A judge: do these two texts say the same?"""

Tokenize: TypeAlias = Callable[[str], Sequence[str]]
"""Cuts one text into words or other tokens."""

Pair: TypeAlias = tuple[str, str]
"""Two texts, in the order in which a judge reads them."""

# Half precision (bfloat16) moves the norm of a unit row by less than this.
NORM_TOLERANCE = 1e-2
# And single precision by less than this, which is not worth a pass over all rows.
SINGLE_PRECISION = 1e-6


class Kernel(Protocol):
    """What measures, rewards and selections ask of a kernel: a name, and `texts -> S`."""

    @property
    def name(self) -> str:
        """Identifies the kernel and its options in reports."""

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Compare every text with every other: (n,) texts to the similarity matrix (n, n)."""


@runtime_checkable
class SameMany(Protocol):
    """A judge that answers many pairs at once, and may say that it does not know."""

    def judge(self, pairs: Sequence[Pair]) -> Sequence[bool | None]:
        """Say of each pair whether the texts say the same; None where that cannot be said."""


@dataclass(frozen=True)
class EmbeddingKernel:
    r"""Cosine similarity of embeddings, in [-1, 1].

    .. math:: s_{ij} = x_i \cdot x_j

    The level of the cosine depends on the embedder; never compare numbers of two embedders.

    Args:
        embedder: Callable from n texts to (n, d) unit rows. It sees each distinct text once.

    Raises:
        ValueError: When called, if the rows have the wrong shape, are not finite, or are not of
            unit length within 1 %. (Smaller errors, of half precision, are removed.)

    Example:
        >>> compass = {"north": [0.0, 1.0], "east": [1.0, 0.0], "northeast": [0.8, 0.6]}
        >>> kernel = EmbeddingKernel(lambda texts: [compass[text] for text in texts])
        >>> print(kernel(["north", "east", "northeast"]))
        [[1.  0.  0.6]
         [0.  1.  0.8]
         [0.6 0.8 1. ]]
    """

    embedder: Embedder

    @property
    def name(self) -> str:
        """The name of the embedder."""
        return callable_name(self.embedder)

    @property
    def revision(self) -> str:
        """The version of the embedder and its options, "" where it does not say: for reports."""
        return str(getattr(self.embedder, "revision", ""))

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Compare every text with every other: (n,) texts to (n, n) cosines."""
        distinct, index = _distinct(texts)
        rows = _unit_rows(self.embedder, distinct)
        cosine = np.clip(rows @ rows.T, -1.0, 1.0)
        cosine = (cosine + cosine.T) / 2
        np.fill_diagonal(cosine, 1.0)
        return cosine if len(distinct) == len(index) else cosine[np.ix_(index, index)]


def words(text: str) -> list[str]:
    """Cut a text into lowercase words at white space: the tokens of every lexical quantity.

    Example:
        >>> words("One fish,  two Fish")
        ['one', 'fish,', 'two', 'fish']
    """
    return text.lower().split()


@dataclass(frozen=True)
class NgramKernel:
    r"""Overlap of word n-grams, in [0, 1]: no model, no download, the same on every machine.

    A text becomes the vector of counts `c` of all its 1-grams to n-grams, pooled into one vector;
    words are cut at white space and lowercased. The similarity is the cosine:

    .. math:: s_{ij} = c_i \cdot c_j / (\|c_i\| \|c_j\|)

    This sees wording and not meaning: paraphrases count as different, and frequent words
    (articles, prepositions) give unrelated English texts a similarity well above 0. A text in a
    script without spaces is one long word; pass `tokenize=list` there to count characters.

    Args:
        n: Longest n-gram. More makes the kernel stricter about word order.
        tokenize: Cuts a text into words; the default is `text.lower().split()`.

    Raises:
        ValueError: If `n` is not a positive integer.

    Example:
        >>> kernel = NgramKernel()
        >>> print(kernel(["the red fox", "The red fox", "the red hen", "a blue hen"]).round(3))
        [[1.  1.  0.6 0. ]
         [1.  1.  0.6 0. ]
         [0.6 0.6 1.  0.2]
         [0.  0.  0.2 1. ]]
    """

    n: int = 2
    tokenize: Tokenize = field(default=words, kw_only=True)

    def __post_init__(self) -> None:
        check_integer("n", self.n, 1)

    @property
    def name(self) -> str:
        """`ngram-2`, followed by the tokenizer when it is not the default one."""
        suffix = "" if self.tokenize is words else f"-{callable_name(self.tokenize)}"
        return f"ngram-{self.n}{suffix}"

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Compare every text with every other: (n,) texts to (n, n) cosines of counts."""
        distinct, index = _distinct(texts)
        cosine = self.of_counts(NgramCounts([self.tokenize(text) for text in distinct]))
        return cosine if len(distinct) == len(index) else cosine[np.ix_(index, index)]

    def of_counts(self, counts: NgramCounts) -> NDArray[np.float64]:
        """Compare texts that have been cut into tokens and counted already: (n, n) cosines.

        What the call gives, if the counts are those of the same tokens; so one count of a prompt's
        answers serves this kernel and every lexical quantity.

        Example:
            >>> counts = NgramCounts([words("the red fox"), words("the red hen")])
            >>> print(NgramKernel().of_counts(counts))
            [[1.  0.6]
             [0.6 1. ]]
        """
        product = counts.products(self.n)
        # A text without words gets one n-gram of its own, so that it has a direction: equal to
        # other texts without words, orthogonal to everything else.
        empty = counts.lengths == 0
        product[np.ix_(empty, empty)] = 1.0
        # Counts are whole numbers, so texts with equal counts give exactly 1 here.
        square = product.diagonal()
        return np.minimum(product / np.sqrt(np.outer(square, square)), 1.0)


@dataclass(frozen=True)
class EquivalenceKernel:
    r"""A judge's verdict as similarity: 1 where two texts say the same, else 0.

    .. math:: s_{ij} = \mathrm{same}(t_i, t_j) \lor \mathrm{same}(t_j, t_i)

    The judge is asked both ways and *either* yes makes the texts equal. A judge that errs in one
    direction then costs diversity and never creates it, so a policy that is paid for differing
    cannot live on the judge's blind side. The second question is asked only after a no. Where the
    judge is one-sided by design (entailment), let `same` itself ask for both directions.

    A judge with a method `judge` (`SameMany`) gets all pairs in one call, and those that it did not
    find equal, the other way round, in a second one; the result is that of asking one by one.

    A pair that such a judge cannot judge (None) counts as the same: no failure may look like
    diversity. It is counted, and a warning says how many there were.

    Verdicts need not be transitive, and then `S` is not positive semi-definite: use `distinct`,
    `partition` or the distances; `vendi` and `log_det` refuse such a matrix.

    Args:
        same: Callable from two texts to a bool, or a `SameMany`. It sees each pair of distinct,
            non-blank texts.

    Attributes:
        counts: How many `pairs` of texts were compared so far, and how many of them were `unknown`.

    Raises:
        ValueError: When called, if the judge answers anything but a bool (or None, many at once). A
            judge that fails should raise: a failure that becomes an answer becomes a false number.

    Example:
        >>> kernel = EquivalenceKernel(lambda a, b: a[0] == b[0])
        >>> print(kernel(["apple", "avocado", "beet"]))
        [[1. 1. 0.]
         [1. 1. 0.]
         [0. 0. 1.]]
    """

    same: Same | SameMany
    counts: Counter[str] = field(default_factory=Counter, init=False, repr=False, compare=False)

    @property
    def name(self) -> str:
        """`equivalence-` and the name of the judge."""
        return f"equivalence-{callable_name(self.same)}"

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """Compare every text with every other: (n,) texts to (n, n) zeros and ones."""
        distinct, index = _distinct(texts)
        content = [number for number, text in enumerate(distinct) if text]
        pairs = list(combinations(content, 2))
        verdicts: dict[tuple[int, int], bool | None] = dict.fromkeys(pairs, False)
        for forward in (True, False):
            # An unknown pair is not asked about again: it counts as the same already.
            asked = [pair for pair in pairs if verdicts[pair] is False]
            ordered = [
                (distinct[i], distinct[j]) if forward else (distinct[j], distinct[i])
                for i, j in asked
            ]
            verdicts |= zip(asked, ask_many(self.same, ordered), strict=True)
        unknown = sum(verdict is None for verdict in verdicts.values())
        self.counts.update(pairs=len(pairs), unknown=unknown)
        if unknown:
            logger.warning(
                "%s: %d of %d pairs could not be judged; they count as the same",
                self.name,
                unknown,
                len(pairs),
            )
        equal = np.eye(len(distinct))
        for (i, j), verdict in verdicts.items():
            equal[i, j] = equal[j, i] = float(verdict is not False)
        return equal[np.ix_(index, index)]


def cross_similarity(
    embedder: Embedder, texts: Sequence[str], others: Sequence[str]
) -> NDArray[np.float64]:
    r"""Compare texts with other texts, such as the answers of peer models.

    Cosine in [-1, 1], by the rules of `EmbeddingKernel`: :math:`s_{ij} = x_i \cdot y_j`.

    Args:
        embedder: Callable from texts to (n, d) unit rows; called once with all distinct texts.
        texts: n texts.
        others: m texts to compare them with.

    Returns:
        Similarities, shape (n, m).

    Raises:
        ValueError: If the rows of the embedder have the wrong shape, length or values.

    Example:
        >>> axis = {"north": [0.0, 1.0], "east": [1.0, 0.0]}
        >>> print(cross_similarity(lambda texts: [axis[t] for t in texts], ["north"],
        ...                        ["north", "east", " "]))
        [[1. 0. 0.]]
    """
    texts, others = check_texts(texts), check_texts(others)
    distinct, index = _distinct([*texts, *others])
    rows = _unit_rows(embedder, distinct)
    own, other = index[: len(texts)], index[len(texts) :]
    cosine = np.clip(rows[own] @ rows[other].T, -1.0, 1.0)
    cosine[own[:, None] == other[None, :]] = 1.0
    return cosine


def pair_similarity(embedder: Embedder, pairs: Sequence[Pair]) -> NDArray[np.float64]:
    r"""Compare the two texts of each pair, by the rules of `EmbeddingKernel`.

    Cosine in [-1, 1], :math:`s_k = x_k \cdot y_k`: what the kernel says of a pair, without all the
    other pairs of the same texts.

    Args:
        embedder: Callable from texts to (n, d) unit rows; called once with all distinct texts.
        pairs: n pairs of texts.

    Returns:
        Similarities, shape (n,).

    Raises:
        ValueError: If the rows of the embedder have the wrong shape, length or values.

    Example:
        >>> axis = {"north": [0.0, 1.0], "east": [1.0, 0.0], "northeast": [0.8, 0.6]}
        >>> print(pair_similarity(lambda texts: [axis[t] for t in texts],
        ...                       [("north", "northeast"), ("east", "north"), ("east", "east")]))
        [0.6 0.  1. ]
    """
    distinct, index = _distinct([text for pair in pairs for text in pair])
    rows = _unit_rows(embedder, distinct)
    first, second = index[0::2], index[1::2]
    cosine = np.clip((rows[first] * rows[second]).sum(axis=1), -1.0, 1.0)
    return np.where(first == second, 1.0, cosine)


def ngrams(tokens: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """List the runs of `n` neighbouring tokens; there are none in a shorter text.

    Example:
        >>> list(ngrams(["a", "b", "c"], 2))
        [('a', 'b'), ('b', 'c')]
    """
    return zip(*(tokens[start:] for start in range(n)), strict=False)


def ask(same: Same, first: str, second: str) -> bool:
    """Ask the judge one question, and accept nothing but a bool.

    Raises:
        ValueError: If the answer is of another type: a parsing failure is not a verdict.
    """
    verdict = same(first, second)
    if not isinstance(verdict, bool | np.bool_):
        raise ValueError(f"same(a, b) must return a bool, got {verdict!r}")
    return bool(verdict)


def ask_many(same: Same | SameMany, pairs: Sequence[Pair]) -> list[bool | None]:
    """Ask a judge about many pairs: at once where it can, else one by one.

    Raises:
        ValueError: If an answer is neither a bool nor, from many at once, None; or if there are
            not as many answers as pairs.

    Example:
        >>> ask_many(lambda first, second: first == second, [("a", "a"), ("a", "b")])
        [True, False]
    """
    if not isinstance(same, SameMany):
        return [ask(same, first, second) for first, second in pairs]
    if not pairs:
        return []
    verdicts = list(same.judge(pairs))
    if len(verdicts) != len(pairs):
        raise ValueError(f"judge(pairs) gave {len(verdicts)} verdicts for {len(pairs)} pairs")
    for verdict in verdicts:
        if verdict is not None and not isinstance(verdict, bool | np.bool_):
            raise ValueError(f"judge(pairs) must return bools or None, got {verdict!r}")
    return [None if verdict is None else bool(verdict) for verdict in verdicts]


def callable_name(function: Any) -> str:
    """Name a callable for reports: its `name`, else its `__name__`, else its type."""
    while isinstance(function, partial):
        function = function.func
    fallback = getattr(function, "__name__", type(function).__name__)
    return str(getattr(function, "name", fallback))


def check_texts(texts: Sequence[str]) -> list[str]:
    """Return the texts as a list.

    Raises:
        ValueError: If `texts` is one string, which would be read as a list of letters, or if an
            entry is not a string.
    """
    if isinstance(texts, str):
        raise ValueError("texts must be a sequence of strings, got one string")
    texts = list(texts)
    for position, text in enumerate(texts):
        if not isinstance(text, str):
            raise ValueError(f"texts must be strings, got {type(text).__name__} at {position}")
    return texts


def check_integer(name: str, value: int, low: int, high: int | None = None) -> int:
    """Return `value` as an int.

    Raises:
        ValueError: If it is not a whole number between `low` and `high`, both included.
    """
    try:
        whole = operator.index(value)
    except TypeError:
        raise ValueError(f"{name} must be an integer, got {value!r}") from None
    if whole < low or (high is not None and whole > high):
        allowed = f"at least {low}" if high is None else f"between {low} and {high}"
        raise ValueError(f"{name} must be {allowed}, got {whole}")
    return whole


def _distinct(texts: Sequence[str]) -> tuple[list[str], NDArray[np.intp]]:
    """List the distinct texts, blank ones as "", and the position of each text among them."""
    keys = [text if text.strip() else "" for text in check_texts(texts)]
    position = {key: number for number, key in enumerate(dict.fromkeys(keys))}
    return list(position), np.array([position[key] for key in keys], dtype=np.intp)


def _unit_rows(embedder: Embedder, distinct: list[str]) -> NDArray[np.float64]:
    """Embed distinct texts as unit rows (n, d); a blank one gets an axis of its own, (n, d + 1)."""
    content = [text for text in distinct if text]
    rows: NDArray[np.float64] = (
        np.asarray(embedder(content), dtype=np.float64) if content else np.empty((0, 0))
    )
    if rows.ndim != 2 or len(rows) != len(content):
        raise ValueError(
            f"the embedder must return one row per text, ({len(content)}, d), got {rows.shape}"
        )
    norm = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    # Written so that a norm of NaN or infinity is caught too.
    wrong = ~(np.abs(norm - 1.0) <= NORM_TOLERANCE)
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ValueError(
            f"the embedder must return rows of length 1, got length {norm[first]:.4g} "
            f"for the text {content[first][:60]!r}"
        )
    if not (np.abs(norm - 1.0) <= SINGLE_PRECISION).all():
        rows = np.divide(rows, norm[:, None])
    if len(content) == len(distinct):
        return rows
    unit = np.zeros((len(distinct), rows.shape[1] + 1))
    has_content = np.array([bool(text) for text in distinct], dtype=bool)
    unit[has_content, :-1] = rows
    unit[~has_content, -1] = 1.0
    return unit
