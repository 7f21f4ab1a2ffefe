"""Short answers: compared by their words, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from diversify.equivalence.settled import judge_open
from diversify.kernels import Pair, Same, SameMany, ask_many, callable_name, check_integer, words

__all__ = ["ShortAnswers", "share_words", "short_answers_match"]


def share_words(first: str, second: str) -> bool:
    r"""Whether two texts share at least half as many words as the longer one has.

    .. math:: 2 \, |W_a \cap W_b| \ge \max(|a|, |b|)

    W are the sets of words, |a| and |b| count words with their repetitions; words are cut at white
    space and lowercased, so punctuation belongs to them.

    Args:
        first: A text.
        second: Another one; the order does not matter.

    Example:
        >>> share_words("The Nile", "nile"), share_words("a a a", "a b c")
        (True, False)

    Reference:
        Y. Zhang et al., "NoveltyBench: Evaluating Language Models for Humanlike Diversity", arXiv
        2504.05228, v1.0; T. Li et al., "Jointly Reinforcing Diversity and Quality in Language Model
        Generations", arXiv 2509.02534. No deviation.
    """
    one, other = words(first), words(second)
    return 2 * len({*one} & {*other}) >= max(len(one), len(other))


def short_answers_match(first: str, second: str, *, limit: int = 5) -> bool | None:
    """Whether two short answers say the same by `share_words`; None where either is longer.

    Args:
        first: A text.
        second: Another one; the order does not matter.
        limit: Words of the longest short answer.

    Example:
        >>> short_answers_match("Nile", "the Nile"), short_answers_match("Nile", "Amazon")
        (True, False)
        >>> short_answers_match("Nile", "It is the Nile, of course") is None
        True

    Reference:
        As `share_words`. Both limit short answers to five words.
    """
    short = max(len(words(first)), len(words(second))) <= limit
    return share_words(first, second) if short else None


@dataclass(frozen=True)
class ShortAnswers:
    """Compare answers of a few words by `share_words`, and ask a judge about all others.

    Classifiers and embedders were made for sentences: between names and numbers they err. "Paris"
    and "Paris." are different words here, as in the rule's origin.

    Args:
        otherwise: The judge of pairs of which at least one text is longer.
        words: The longest short answer.

    Raises:
        ValueError: If `words` is not a positive integer.

    Example:
        >>> same = ShortAnswers(lambda first, second: True)
        >>> same("Nile", "the Nile"), same("Nile", "Amazon"), same("Nile", "It is the Nile, of course")
        (True, False, True)

    Reference:
        As `short_answers_match`.
    """

    otherwise: Same | SameMany
    words: int = field(default=5, kw_only=True)

    def __post_init__(self) -> None:
        check_integer("words", self.words, 1)

    @property
    def name(self) -> str:
        """The judge's name and the limit."""
        return f"{callable_name(self.otherwise)}-short-{self.words}"

    @property
    def identity(self) -> dict[str, Any]:
        """The judge's identity and the limit."""
        known = {"equivalence": callable_name(self.otherwise)}
        return getattr(self.otherwise, "identity", known) | {"short_answers": self.words}

    def judge(self, pairs: Sequence[Pair]) -> list[bool | None]:
        """Judge many pairs; those for the judge in one call."""
        return judge_open(pairs, lambda still: ask_many(self.otherwise, still), rule=self._rule)

    def __call__(self, first: str, second: str) -> bool:
        """Judge one pair; what cannot be judged is the same."""
        return self.judge([(first, second)])[0] is not False

    def _rule(self, first: str, second: str) -> bool | None:
        return short_answers_match(first, second, limit=self.words)
