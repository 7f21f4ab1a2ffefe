"""Texts to a number, with no matrix and no model: counts of words and n-grams.

These are the field's own quantities under the field's own names, and two of them (`self_bleu`,
`compression_ratio`) *fall* as texts get more diverse. They are kept as published so that they can
be compared with published tables; `HIGHER_IS_BETTER` tells a report which way each one points.

All see wording and not meaning, depend on the number of texts, and are confounded with length:
compare them at equal n and similar length only. Words are cut at white space and lowercased
unless `tokenize` says otherwise; n-grams never cross from one text into the next.
"""

import gzip
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diversify.counts import NgramCounts
from diversify.kernels import Tokenize, check_integer, check_texts, ngrams, words

__all__ = [
    "HIGHER_IS_BETTER",
    "LEXICAL",
    "compression_ratio",
    "distinct_n",
    "exact_duplicate_rate",
    "expectation_adjusted_distinct",
    "lexical_all",
    "repetition",
    "self_bleu",
]

# What NLTK's "method 1" puts in the place of a numerator of 0.
SMOOTHING = 0.1


def distinct_n(texts: Sequence[str], n: int, *, tokenize: Tokenize = words) -> float:
    r"""Share of different n-grams among all n-grams of the pooled texts, in [0, 1].

    .. math:: |\mathrm{set}(g_1 \dots g_C)| / C

    Higher is more diverse. It falls as texts get longer or more.

    Args:
        texts: The set of texts.
        n: Length of the n-grams.
        tokenize: Cuts a text into tokens.

    Returns:
        The share; 0 if no text has n words.

    Raises:
        ValueError: If `texts` are not strings or `n` is not a positive integer.

    Example:
        >>> distinct_n(["a b c", "a b d"], 1), distinct_n(["a b c", "a b d"], 2)
        (0.6666666666666666, 0.75)

    Reference:
        J. Li et al., "A Diversity-Promoting Objective Function for Neural Conversation Models",
        arXiv 1510.03055.
    """
    n = check_integer("n", n, 1)
    return _distinct_n_of(_counted(texts, tokenize), n)


def expectation_adjusted_distinct(
    texts: Sequence[str], n: int, vocabulary: int, *, tokenize: Tokenize = words
) -> float:
    r"""Different n-grams over the number that as many random draws would give, 0 and up.

    .. math:: N / \big(V (1 - (1 - 1 / V)^C)\big)

    for N different among C n-grams. Higher is more diverse, 1 is what uniform draws give. It is
    distinct-n without the bias of length, in principle: with a vocabulary far larger than the set
    (30,522 and fifty answers) it corrects almost nothing.

    Args:
        texts: The set of texts.
        n: Length of the n-grams.
        vocabulary: V, the number of different n-grams to expect from. Papers use the size of a
            tokenizer's vocabulary for every n; pass that tokenizer as `tokenize`.
        tokenize: Cuts a text into tokens.

    Returns:
        The ratio; 0 if no text has n words.

    Raises:
        ValueError: If `texts` are not strings, `n` or `vocabulary` is not a positive integer, or
            there are more different words than the vocabulary has.

    Example:
        >>> round(expectation_adjusted_distinct(["a b", "a c"], 1, 4), 4)
        1.0971

    Reference:
        Liu et al., "Rethinking and Refining the Distinct Metric", arXiv 2202.13587. No deviation.
    """
    vocabulary = check_integer("vocabulary", vocabulary, 1)
    n = check_integer("n", n, 1)
    counts = _counted(texts, tokenize)
    unique, total = counts.of(n).different, counts.total(n)
    if n == 1 and unique > vocabulary:
        raise ValueError(
            f"vocabulary must be at least {unique}, the different words, got {vocabulary}"
        )
    if vocabulary == 1 or not total:
        return float(unique)
    # expm1 and log1p: with a large vocabulary the plain formula loses most of its digits.
    return unique / (-vocabulary * math.expm1(total * math.log1p(-1.0 / vocabulary)))


def self_bleu(texts: Sequence[str], n: int = 4, *, tokenize: Tokenize = words) -> float:
    r"""Mean BLEU of each text against all others, in [0, 1]. Lower is more diverse.

    .. math::
        \frac{1}{m} \sum_i b_i \exp\Big(\frac{1}{n} \sum_{k=1}^{n} \log p_{ik}\Big)

    where :math:`p_{ik}` is the share of the k-grams of text i that another text has (each counted
    at most as often as in the text with the most of it), a numerator of 0 becoming 0.1, and
    :math:`b_i = e^{\min(0, 1 - r / c)}` for length c and r the nearest length of another text,
    the shorter of two equally near ones. A text that shares no word with the others has BLEU 0.
    The value grows with the number of texts.

    Args:
        texts: The set of texts.
        n: Longest n-gram, with equal weights for 1 to n.
        tokenize: Cuts a text into tokens; the value depends on it strongly.

    Returns:
        The mean; 0 for one text or none, which resembles nothing.

    Raises:
        ValueError: If `texts` are not strings or `n` is not a positive integer.

    Example:
        >>> round(self_bleu(["a b", "a c"], 2), 4)
        0.2236

    Reference:
        Zhu et al., "Texygen: A Benchmarking Platform for Text Generation Models", arXiv
        1802.01886; smoothing "method 1" of B. Chen and Cherry (WMT 2014). Equals NLTK's
        `sentence_bleu` averaged over texts, in one pass instead of one pass per pair.
    """
    n = check_integer("n", n, 1)
    return _self_bleu_of(_counted(texts, tokenize), n)


def compression_ratio(texts: Sequence[str]) -> float:
    r"""Bytes of the joined texts over their bytes after gzip. Lower is more diverse.

    .. math:: |t| / |\mathrm{gzip}(t)|, \quad t = t_1 \sqcup t_2 \sqcup \dots

    From 0.05 to about 1,000; ordinary prose of some length gives 2 to 3. Below two kilobytes
    the header of the file dominates. It grows with length, and beyond the 32 kB window of gzip
    the order of the texts matters.

    Args:
        texts: The set of texts, joined by single spaces and encoded as UTF-8.

    Returns:
        The ratio; 0 if there is nothing to compress.

    Raises:
        ValueError: If `texts` are not strings.

    Example:
        >>> compression_ratio(["the same answer"] * 50) > compression_ratio(["the same answer"])
        True

    Reference:
        Shaib et al., "Standardizing the Measurement of Text Diversity: A Tool and a Comparative
        Analysis of Scores", arXiv 2403.00553. Deviation: compressed in memory and not rounded.
    """
    content = " ".join(check_texts(texts)).encode("utf-8", errors="surrogatepass")
    return len(content) / len(gzip.compress(content, mtime=0))


def exact_duplicate_rate(texts: Sequence[str]) -> float:
    r"""Share of texts that repeat an earlier text of the set letter for letter.

    .. math:: 1 - |\mathrm{set}(t_1 \dots t_n)| / n

    From 0 to (n - 1) / n. A monitor to print beside every measure of diversity.

    Args:
        texts: The set of texts.

    Returns:
        The share; 0 for no texts.

    Raises:
        ValueError: If `texts` are not strings.

    Example:
        >>> exact_duplicate_rate(["yes", "yes", "no", "Yes"])
        0.25
    """
    texts = check_texts(texts)
    return 1.0 - len(set(texts)) / len(texts) if texts else 0.0


def repetition(text: str, n: int = 3, *, tokenize: Tokenize = words) -> float:
    r"""Share of a single text's n-grams that repeat an earlier one of that text.

    .. math:: 1 - |\mathrm{set}(g_1 \dots g_C)| / C

    From 0 to nearly 1. A monitor for degenerate text: loops raise it, and so does length, slowly.

    Args:
        text: One text.
        n: Length of the n-grams.
        tokenize: Cuts a text into tokens.

    Returns:
        The share; 0 if the text has fewer than n words.

    Raises:
        ValueError: If `text` is not a string or `n` is not a positive integer.

    Example:
        >>> repetition("no no no no", 1), repetition("to be or not to be", 2)
        (0.75, 0.19999999999999996)

    Reference:
        `rep-n` of Welleck et al., "Neural Text Generation with Unlikelihood Training", arXiv
        1908.04319, for n-grams of words.
    """
    n = check_integer("n", n, 1)
    (text,) = check_texts([text])
    grams = list(ngrams(tokenize(text), n))
    return 1.0 - len(set(grams)) / len(grams) if grams else 0.0


LEXICAL: dict[str, Callable[[Sequence[str]], float]] = {
    "distinct_1": partial(distinct_n, n=1),
    "distinct_2": partial(distinct_n, n=2),
    "self_bleu": self_bleu,
    "compression_ratio": compression_ratio,
}
"""Every lexical quantity that needs nothing but texts."""

HIGHER_IS_BETTER: dict[str, bool] = {
    "distinct_1": True,
    "distinct_2": True,
    "self_bleu": False,
    "compression_ratio": False,
}
"""Whether a higher value means more diverse texts, for each name of `LEXICAL`."""


def lexical_all(
    texts: Sequence[str],
    quantities: Mapping[str, Callable[[Sequence[str]], float]] | None = None,
    *,
    counts: NgramCounts | None = None,
) -> dict[str, float]:
    """Take many lexical quantities of one set of texts; their n-grams are counted once.

    Quantities of this module serve themselves from one `NgramCounts`, whatever options
    `functools.partial` has bound to them, unless they cut texts by a `tokenize` of their own. Any
    other is called as it is.

    Args:
        texts: The set of texts.
        quantities: Name -> quantity; all of `LEXICAL` by default.
        counts: The counts of `words` of these texts, if they are at hand.

    Returns:
        Name -> value, what each quantity gives by itself.

    Raises:
        ValueError: If `texts` are not strings, or the counts are those of another number of texts.

    Example:
        >>> found = lexical_all(["a b c", "a b d"])
        >>> round(found["distinct_1"], 4), found["distinct_2"]
        (0.6667, 0.75)
    """
    texts = check_texts(texts)
    counts = _counted(texts, words) if counts is None else counts
    if len(counts.lengths) != len(texts):
        raise ValueError(f"counts must be those of {len(texts)} texts, got {len(counts.lengths)}")
    found = {}
    for name, quantity in (LEXICAL if quantities is None else quantities).items():
        function: Any = quantity
        options: dict[str, Any] = {}
        if isinstance(quantity, partial) and not quantity.args:
            function, options = quantity.func, quantity.keywords
        if function in _OF_COUNTS and "tokenize" not in options:
            found[name] = _OF_COUNTS[function](counts, **options)
        else:
            found[name] = float(quantity(texts))
    return found


def _counted(texts: Sequence[str], tokenize: Tokenize) -> NgramCounts:
    return NgramCounts([tokenize(text) for text in check_texts(texts)])


def _distinct_n_of(counts: NgramCounts, n: int) -> float:
    n = check_integer("n", n, 1)
    total = counts.total(n)
    return counts.of(n).different / total if total else 0.0


def _self_bleu_of(counts: NgramCounts, n: int = 4) -> float:
    n = check_integer("n", n, 1)
    lengths = counts.lengths
    texts = len(lengths)
    if texts < 2:
        return 0.0
    log_precision = np.zeros(texts)
    alone = np.zeros(texts, dtype=bool)
    for k in range(1, n + 1):
        gram, text, times, _ = counts.of(k)
        # The largest count among the *other* texts is needed. Where a text holds the largest
        # count of all, that is the second largest; where it does not, its own count is at most
        # the second largest. So one table serves every text.
        clipped = np.minimum(times, counts.second_largest(k)[gram])
        # As floats: of no n-grams at all NumPy counts whole numbers, weights or not.
        matches = np.bincount(text, weights=clipped, minlength=texts).astype(np.float64)
        if k == 1:
            alone = matches == 0
        matches[matches == 0] = SMOOTHING
        log_precision += np.log(matches / np.maximum(counts.per_text(k), 1)) / n
    # A text without words is alone, and its length no divisor.
    shortfall = np.minimum(0.0, 1.0 - _nearest_lengths(lengths) / np.maximum(lengths, 1))
    bleu = np.where(alone, 0.0, np.exp(log_precision + shortfall))
    return math.fsum(bleu.tolist()) / texts


# The part of a quantity that comes after counting.
_OF_COUNTS: dict[Any, Callable[..., float]] = {distinct_n: _distinct_n_of, self_bleu: _self_bleu_of}


def _nearest_lengths(lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Find for each of two or more lengths the nearest one of another text, ties to the shorter."""
    order = np.argsort(lengths)
    ascending = lengths[order].astype(np.float64)
    before = np.concatenate([[-np.inf], ascending[:-1]])
    after = np.concatenate([ascending[1:], [np.inf]])
    nearest = np.empty(len(lengths))
    nearest[order] = np.where(ascending - before <= after - ascending, before, after)
    return nearest
