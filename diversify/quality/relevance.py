r"""Is an answer to the point? Qualities from an embedder.

There are three witnesses of relevance, none of which sees whether an answer is good:

- `Relevance`, the cosine of an answer and its prompt. It needs nothing else, but is tied to what
  diversity is measured by: two answers with cosine c to their prompt have at least
  :math:`2c^2 - 1` to each other, so answers that differ more *must* be less "relevant" in time. It
  compares answers to one prompt, as a gate does; a fall of its mean beside a rise of diversity is
  no proof of a fault.
- `RelevanceRank` asks instead whether an answer is nearer to its own prompt than to the others.
  Answers may differ as they like and keep 1, and 0.5 is what answers get that have nothing to do
  with their prompts. It needs a set of prompts, best of one kind, for among very different ones
  a single word of the subject gives 1. It suits the report before and after.
- `PromptInformation` needs a frozen language model and no embedder, so nothing ties it to the
  similarities; it is the witness for gates and for reports where such a model can be run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from diversify.credit import TIE
from diversify.engines import Prompt, text_of
from diversify.quality.rules import Completion, check_margin, check_pairs, function_name

__all__ = ["Relevance", "RelevanceRank"]

Embedder: TypeAlias = Callable[[list[str]], ArrayLike]


class Relevance:
    """Cosine of prompt and completion, in [-1, 1]: does the answer stay on the subject?

    A completion that repeats its prompt gets 1, so this guards against drifting away and not
    against bad answers. Blank completions are None. The module says when to take another witness.

    Args:
        embedder: Callable from n texts to (n, d) unit rows; hold one out from training.
        margin: How far the mean may fall.
        name: How reports call it.

    Raises:
        ValueError: If the margin is impossible.

    Example:
        >>> compass = {"north": [0.0, 1.0], "northeast": [0.8, 0.6]}
        >>> relevance = Relevance(lambda texts: [compass[text] for text in texts])
        >>> relevance(["north", "north"], ["northeast", ""])
        [0.6, None]
    """

    two_sided = False
    by_row = True

    def __init__(
        self, embedder: Embedder, *, margin: float = 0.05, name: str = "relevance"
    ) -> None:
        self.embedder = embedder
        self.margin = check_margin(margin)
        self.name = self.__name__ = name

    @property
    def identity(self) -> dict[str, Any]:
        """The embedder's name and revision."""
        return {"quality": "relevance", **_identity(self.embedder)}

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        """Compare each completion with its prompt; each distinct text is embedded once."""
        check_pairs(prompts, completions)
        pairs = [(text_of(p), text_of(c)) for p, c in zip(prompts, completions, strict=True)]
        of = _embedded(self.embedder, (text for pair in pairs if pair[1].strip() for text in pair))
        return [float(of[p] @ of[c]) if c.strip() else None for p, c in pairs]


class RelevanceRank:
    r"""Share of the other prompts that an answer fits less well than its own, in [0, 1].

    .. math:: \frac{1}{m} \sum_{q \ne p} 1[\cos(y, p) > \cos(y, q)] + \tfrac12 1[\cos(y, p) = \cos(y, q)]

    over the m other prompts q: the chance that an answer y, shown its own prompt p and another one,
    is nearer to its own. 1 is best, 0.5 is what an answer to nothing in particular gets. All other
    prompts are asked, so nothing is drawn at random. With few of them the value is coarse. A prompt
    that comes twice is one; of a chat the last turn counts. Blank completions are None.

    Args:
        embedder: Callable from n texts to (n, d) unit rows; hold one out from training.
        others: The prompts to compare with. By default those of the call, which suits an
            evaluation; a gate or a reward sees few prompts at a time, often one, and needs them.
        margin: How far the mean may fall.
        name: How reports call it.

    Raises:
        ValueError: If the margin is impossible; when called, if there is no prompt to compare with.

    Example:
        >>> at = {"sea": [0.0, 1.0], "sky": [1.0, 0.0], "a fish": [0.28, 0.96], "fog": [0.8, 0.6]}
        >>> rank = RelevanceRank(lambda texts: [at[text] for text in texts])
        >>> rank(["sea", "sea", "sky"], ["a fish", "fog", "fog"])
        [1.0, 0.0, 1.0]

    Reference:
        The value is the area under the ROC curve of one answer's own prompt against the others, as
        in H. B. Mann and D. R. Whitney (1947), with ties counted half.
    """

    two_sided = False

    def __init__(
        self,
        embedder: Embedder,
        *,
        others: Sequence[Prompt] = (),
        margin: float = 0.05,
        name: str = "relevance_rank",
    ) -> None:
        self.embedder = embedder
        self.others = list(dict.fromkeys(map(text_of, others)))
        self.by_row = bool(self.others)
        self.margin = check_margin(margin)
        self.name = self.__name__ = name

    @property
    def identity(self) -> dict[str, Any]:
        """The embedder's name and revision, and a hash of the prompts if they are fixed."""
        joined = json.dumps(self.others).encode()
        sha = hashlib.sha256(joined).hexdigest() if self.others else None
        return {"quality": "relevance_rank", **_identity(self.embedder), "others_sha": sha}

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        """Compare each completion with its prompt and with all others."""
        check_pairs(prompts, completions)
        pairs = [(text_of(p), text_of(c)) for p, c in zip(prompts, completions, strict=True)]
        others = self.others or list(dict.fromkeys(prompt for prompt, _ in pairs))
        for prompt in dict.fromkeys(prompt for prompt, _ in pairs):
            if not {*others} - {prompt}:
                raise ValueError(
                    f"{self.name} compares a prompt with others, and there is only "
                    f"{prompt[:80]!r}: give others, or take relevance or prompt_information"
                )
        answered = [pair for pair in pairs if pair[1].strip()]
        if not answered:
            return [None] * len(pairs)
        texts = [*others, *(text for pair in answered for text in pair)]
        of = _embedded(self.embedder, texts)
        null = np.stack([of[prompt] for prompt in others])
        place = {prompt: number for number, prompt in enumerate(others)}
        return [
            _rank(float(of[p] @ of[c]), np.delete(null @ of[c], [place[p]] if p in place else []))
            if c.strip()
            else None
            for p, c in pairs
        ]


def _rank(own: float, others: NDArray[np.float64]) -> float:
    """Share of the others that are lower, ties counting half."""
    tied = np.abs(others - own) <= TIE
    return float(np.mean(np.where(tied, 0.5, others < own)))


def _embedded(embedder: Embedder, texts: Iterable[str]) -> dict[str, NDArray[np.float64]]:
    """Embed each distinct text once; nothing at all where there is none."""
    distinct = list(dict.fromkeys(texts))
    if not distinct:
        return {}
    return dict(zip(distinct, np.asarray(embedder(distinct), dtype=np.float64), strict=True))


def _identity(embedder: Embedder) -> dict[str, Any]:
    named = getattr(embedder, "name", None) or function_name(embedder)
    return {"embedder": named, "revision": getattr(embedder, "revision", None)}
