"""What makes a completion unusual in its pool, besides its distance to the others.

A criterion has the form of a quality, TRL's reward signature, asked about the completions of one
prompt together; it grows with how unusual a text is. `word_rarity` is the pure function behind one
of them. A judge of one's own is any quality whose value says the same.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from diversify.engines import Message, Prompt, text_of
from diversify.gates import Quality
from diversify.kernels import Tokenize, check_texts, words
from diversify.pairs.rules import Floats

__all__ = ["Improbability", "rare_words", "word_rarity"]


def word_rarity(texts: Sequence[str], *, tokenize: Tokenize = words) -> Floats:
    r"""Say how rare the words of each text are among the texts of its pool, from 0 to log n.

    .. math::
        r_i = \frac{1}{|V_i|} \sum_{v \in V_i} -\log \frac{n_v}{n}

    where :math:`V_i` are the different words of text i, and :math:`n_v` of the n texts have the
    word v. Words that every text has count 0, words of this text alone log n. Copies of a text
    share its words, so they are less rare than a text of its own.

    Args:
        texts: n texts of one prompt.
        tokenize: Cuts a text into words.

    Returns:
        Values (n,); 0 for a text without words, as if it said what all say.

    Raises:
        ValueError: `texts` are not strings.

    Example:
        >>> print(word_rarity(["a fig", "a fig", "a kiwi", "a plum"]).round(3))
        [0.347 0.347 0.693 0.693]

    Reference:
        Inverse word frequency as a criterion: J. Lanchantin et al., "Diverse Preference
        Optimization", arXiv 2501.18101. The definition is ours: the logarithm keeps one misspelt
        word from outweighing the rest, and a word counts once a text, so that repeating it does
        not help.
    """
    vocabularies = [set(tokenize(text)) for text in check_texts(texts)]
    holders = Counter(word for vocabulary in vocabularies for word in vocabulary)
    n = len(vocabularies)
    return np.array(
        [
            math.fsum(math.log(n / holders[word]) for word in vocabulary) / len(vocabulary)
            if vocabulary
            else 0.0
            for vocabulary in vocabularies
        ],
        dtype=np.float64,
    )


def rare_words(
    prompts: Sequence[Prompt], completions: Sequence[str | Sequence[Message]], **columns: Any
) -> list[float]:
    """Return the `word_rarity` of the completions of one prompt, as a criterion."""
    del prompts, columns
    rarity: list[float] = word_rarity([text_of(completion) for completion in completions]).tolist()
    return rarity


class Improbability:
    """Turn a likelihood into a criterion: the less likely, the more unusual; None stays None.

    With `ReferenceLikelihood` of the policy this is the mean negative log-probability of a token.

    Args:
        likelihood: A quality that grows with probability.

    Example:
        >>> improbable = Improbability(lambda prompts, completions, **columns: [-1.5, None])
        >>> improbable(prompts=["A fruit?"] * 2, completions=["fig", ""])
        [1.5, None]

    Reference:
        Inverse model probability as a criterion: J. Lanchantin et al., "Diverse Preference
        Optimization", arXiv 2501.18101. Deviation, with `ReferenceLikelihood`: the mean over the
        tokens, not the sum, which would call every long text diverse.
    """

    def __init__(self, likelihood: Quality) -> None:
        self.likelihood = likelihood

    def __call__(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[str | Sequence[Message]],
        **columns: Any,
    ) -> list[float | None]:
        """Return minus the likelihood of each completion."""
        values = self.likelihood(prompts=prompts, completions=completions, **columns)
        return [None if value is None else -value for value in values]
