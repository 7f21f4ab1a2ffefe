"""Equivalence from a model and a threshold: embedder, cross-encoder, entailment."""

from __future__ import annotations

import math
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diversify.embedders import Embedder
from diversify.equivalence.classifiers import Floats, PairClassifier
from diversify.equivalence.settled import judge_open
from diversify.kernels import Pair, pair_similarity

__all__ = ["CrossEncoderSame", "EmbeddingSame", "EntailmentSame"]


class _ByThreshold(ABC):
    """What follows from a score for each pair and the threshold that it has to reach."""

    threshold: float

    @abstractmethod
    def scores(self, pairs: Sequence[Pair]) -> Floats:
        """Return the score of each pair, (n,)."""

    def judge(self, pairs: Sequence[Pair]) -> list[bool | None]:
        """Judge many pairs."""
        return judge_open(
            pairs, lambda open_: [bool(score >= self.threshold) for score in self.scores(open_)]
        )

    def __call__(self, first: str, second: str) -> bool:
        """Judge one pair."""
        return self.judge([(first, second)])[0] is not False


class EmbeddingSame(_ByThreshold):
    """Two texts are the same if the cosine of their embeddings reaches a threshold.

    The level of the cosine depends on the embedder: find the threshold of yours with `calibrate`.
    `EquivalenceKernel` of this has the classes that `partition` makes of `EmbeddingKernel`.

    Args:
        embedder: From n texts to (n, d) unit rows; each distinct text once. Its own cache keeps
            rows (`load_embedder`).
        threshold: In [-1, 1].

    Raises:
        ValueError: If the threshold is impossible; when called, if rows are.

    Example:
        >>> class Compass:
        ...     name, revision = "compass", "1"
        ...     def __call__(self, texts):
        ...         rows = {"north": [0.0, 1.0], "east": [1.0, 0.0], "northeast": [0.8, 0.6]}
        ...         return [rows[text] for text in texts]
        >>> same = EmbeddingSame(Compass(), 0.7)
        >>> same.judge([("east", "northeast"), ("north", "east")])
        [True, False]
        >>> same.name
        'compass>=0.7'
    """

    def __init__(self, embedder: Embedder, threshold: float) -> None:
        if not -1 <= threshold <= 1:
            raise ValueError(f"threshold must be in [-1, 1], got {threshold}")
        self.embedder = embedder
        self.threshold = threshold

    @property
    def name(self) -> str:
        """The embedder's name and the threshold."""
        return f"{self.embedder.name}>={self.threshold:g}"

    @property
    def identity(self) -> dict[str, Any]:
        """The embedder's name and revision, and the threshold."""
        found = {"embedder": self.embedder.name, "revision": self.embedder.revision}
        return {"equivalence": "embedding", **found, "threshold": self.threshold}

    def scores(self, pairs: Sequence[Pair]) -> Floats:
        """Return the cosine of each pair, (n,) in [-1, 1]."""
        return pair_similarity(self.embedder, pairs)


class CrossEncoderSame(_ByThreshold):
    """Two texts are the same if a classifier that reads both says so.

    Of a model with two labels the score is the probability of label 1 (softmax); of one with a
    single label it is what the model's own activation gives, by default its sigmoid.

    The classifier reads the pair in its order, and without the prompt.

    Args:
        model: Hub id or local folder.
        threshold: The score from which texts are the same; 0.102 is that of
            `yimingzhang/deberta-v3-large-generation-similarity` and of no other model.
        side_tokens: Tokens read of each text, at most.
        batch_size: Pairs at once.
        revision: Branch, tag or commit on the hub.
        device: "cpu", "cuda", …; the default is sentence-transformers' choice.
        dtype: Of the weights: "float32", "bfloat16" or "float16".
        cache: Whether scores are kept in `cache_dir()`, or the file that keeps them.
        name: How reports call it, before the threshold; the default is the end of `model`.

    Raises:
        ValueError: If an option is impossible; when called, if there is no such model, it has more
            than two labels, its context is too short, or a score is not finite.

    Example:
        >>> same = CrossEncoderSame("yimingzhang/deberta-v3-large-generation-similarity")
        >>> same.name
        'deberta-v3-large-generation-similarity>=0.102'

    Reference:
        Y. Zhang et al., "NoveltyBench: Evaluating Language Models for Humanlike Diversity", arXiv
        2504.05228, v1.0, for the model, its threshold and 128 tokens a side. Deviations: theirs
        asks for more than the threshold and we for no less; a text that is cut inside a word may
        end in other tokens than theirs.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        threshold: float = 0.102,
        side_tokens: int = 128,
        batch_size: int = 32,
        revision: str | None = None,
        device: str | None = None,
        dtype: str = "float32",
        cache: bool | str | os.PathLike[str] = True,
        name: str | None = None,
    ) -> None:
        if not math.isfinite(threshold):
            raise ValueError(f"threshold must be a number, got {threshold}")
        self.threshold = threshold
        self.classifier = PairClassifier(
            model,
            revision=revision,
            device=device,
            batch_size=batch_size,
            dtype=dtype,
            side_tokens=side_tokens,
            cache=cache,
        )
        self.name = f"{name or Path(self.classifier.model).name}>={threshold:g}"

    @property
    def identity(self) -> dict[str, Any]:
        """The model, its revision with the options, and the threshold."""
        found = {"model": self.classifier.model, "revision": self.classifier.revision}
        return {"equivalence": "cross_encoder", **found, "threshold": self.threshold}

    def scores(self, pairs: Sequence[Pair]) -> Floats:
        """Return the score of each pair in its order, (n,)."""
        return self.classifier.kept("same", pairs, self._compute)

    def _compute(self, pairs: list[Pair]) -> Floats:
        labels = len(self.classifier.labels)
        if labels > 2:
            raise ValueError(
                f"a cross-encoder has 1 or 2 labels, {self.classifier.model!r} has {labels}; "
                "entailment models go into EntailmentSame"
            )
        if labels == 1:
            return self.classifier.outputs(pairs, softmax=False)
        return self.classifier.outputs(pairs, softmax=True)[:, 1]


class EntailmentSame(_ByThreshold):
    r"""Two texts are the same if each entails the other.

    .. math:: \min(p(a \Rightarrow b), p(b \Rightarrow a)) \ge \tau

    A text that says more than another entails it and is not entailed by it: they differ. Entailment
    is about statements; between poems, questions or plans it means little.

    Args:
        model: Hub id or local folder of a model for natural language inference with a label
            called "entailment".
        threshold: τ, in [0, 1].
        side_tokens: Tokens read of each text, at most.
        batch_size: Pairs at once.
        revision: Branch, tag or commit on the hub.
        device: "cpu", "cuda", …; the default is sentence-transformers' choice.
        dtype: Of the weights: "float32", "bfloat16" or "float16".
        cache: Whether probabilities are kept in `cache_dir()`, or the file that keeps them.
        name: How reports call it, before the threshold; the default is the end of `model`.

    Raises:
        ValueError: If an option is impossible; when called, if there is no such model, none of its
            labels is "entailment", its context is too short, or a probability is not finite.

    Example:
        >>> EntailmentSame("cross-encoder/nli-deberta-v3-base", threshold=0.8).name
        'nli-deberta-v3-base>=0.8'

    Reference:
        L. Kuhn, Y. Gal, S. Farquhar, "Semantic Uncertainty: Linguistic Invariances for Uncertainty
        Estimation in Natural Language Generation", arXiv 2302.09664. Deviations: they put the
        question before each answer, and take the most likely label instead of a threshold.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        threshold: float = 0.5,
        side_tokens: int = 128,
        batch_size: int = 32,
        revision: str | None = None,
        device: str | None = None,
        dtype: str = "float32",
        cache: bool | str | os.PathLike[str] = True,
        name: str | None = None,
    ) -> None:
        if not 0 <= threshold <= 1:
            raise ValueError(f"threshold must be in [0, 1], got {threshold}")
        self.threshold = threshold
        self.classifier = PairClassifier(
            model,
            revision=revision,
            device=device,
            batch_size=batch_size,
            dtype=dtype,
            side_tokens=side_tokens,
            cache=cache,
        )
        self.name = f"{name or Path(self.classifier.model).name}>={threshold:g}"

    @property
    def identity(self) -> dict[str, Any]:
        """The model, its revision with the options, and the threshold."""
        found = {"model": self.classifier.model, "revision": self.classifier.revision}
        return {"equivalence": "entailment", **found, "threshold": self.threshold}

    def scores(self, pairs: Sequence[Pair]) -> Floats:
        """Return the smaller of both probabilities of entailment of each pair, (n,) in [0, 1]."""
        both = [*pairs, *((second, first) for first, second in pairs)]
        probability = self.classifier.kept("entailment", both, self._compute)
        return np.minimum(probability[: len(pairs)], probability[len(pairs) :])

    def _compute(self, pairs: list[Pair]) -> Floats:
        labels = [label.lower() for label in self.classifier.labels]
        if "entailment" not in labels or len(labels) < 2:
            raise ValueError(
                f"{self.classifier.model!r} has no label 'entailment' beside another one, but "
                f"{self.classifier.labels}"
            )
        return self.classifier.outputs(pairs, softmax=True)[:, labels.index("entailment")]
