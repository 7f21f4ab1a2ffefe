"""Names in a config become kernels, credits and qualities: the one list of what recipes know."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from diversify.credit import CREDITS, Credit, inverse_frequency, partition_credit, rarity_weight
from diversify.embedders import load_embedder
from diversify.kernels import EmbeddingKernel, Kernel, NgramKernel
from diversify.measures import DISTINCT_THRESHOLD
from diversify.quality import (
    AnswerList,
    PromptInformation,
    Quality,
    ReferenceLikelihood,
    Relevance,
    RewardModel,
)
from diversify.rewards import PartitionCredit

__all__ = ["KERNELS", "QUALITIES", "build_credit", "build_kernel", "build_qualities"]

KERNELS = ("embedding", "ngram")
QUALITIES = ("likelihood", "information", "relevance", "answers")
PARTITIONS = {
    "partition": partition_credit,
    "rarity": rarity_weight,
    "inverse_frequency": inverse_frequency,
}
"""Credits of classes, behind a partition at a threshold."""


def build_kernel(name: str, *, embedder: str = "minilm", device: str | None = None) -> Kernel:
    """Return `embedding` (cosine of an embedder) or `ngram` (wording; needs no model).

    Raises:
        ValueError: The name is unknown, or the embedder is not found.

    Example:
        >>> build_kernel("ngram").name
        'ngram-2'
    """
    if name == "embedding":
        return EmbeddingKernel(load_embedder(embedder, device=device))
    if name == "ngram":
        return NgramKernel()
    raise ValueError(f"kernel must be one of {list(KERNELS)}, got {name!r}")


def build_credit(name: str, *, threshold: float = DISTINCT_THRESHOLD) -> Credit:
    """Return a credit by name: one of `CREDITS`, or of classes at a threshold (`PARTITIONS`).

    Raises:
        ValueError: The name is unknown, or the threshold is outside [-1, 1].

    Example:
        >>> import numpy as np
        >>> print(build_credit("partition", threshold=0.5)(np.eye(2)))
        [1. 1.]
    """
    if name in PARTITIONS:
        return PartitionCredit(PARTITIONS[name], threshold=threshold)
    if name in CREDITS:
        return CREDITS[name]
    raise ValueError(f"credit must be one of {sorted([*CREDITS, *PARTITIONS])}, got {name!r}")


def build_qualities(
    names: Iterable[str], *, reference: str, embedder: str = "minilm", device: str | None = None
) -> dict[str, Quality]:
    """Turn names into qualities.

    Args:
        names: `likelihood`, `information`, `relevance`, `answers`; a reward model (a folder or a
            hub id, `owner/name`); or the dotted path of a function with TRL's reward signature,
            looked for in the working folder too.
        reference: frozen model for likelihood and information; loaded once, if at all.
        embedder: for relevance.
        device: where models run; on several GPUs that of the process.

    Returns:
        name -> quality, in the order given; of a path its last part is the name.

    Raises:
        ValueError: A name is none of these, or comes twice, or a model is not found.
    """
    found: dict[str, Quality] = {}
    likelihood: Any = None
    for name in names:
        if name in ("likelihood", "information"):
            likelihood = likelihood or ReferenceLikelihood(reference, device=device)
            quality = likelihood if name == "likelihood" else PromptInformation(likelihood)
        elif name == "relevance":
            quality = Relevance(load_embedder(embedder, device=device))
        elif name == "answers":
            quality = AnswerList()
        elif "/" in name or Path(name).is_dir():
            quality = RewardModel(name, margin=0.0, device=device)  # the margin is evaluation's
        else:
            quality = _imported(name)
        short = Path(name).name if "/" in name else name.rpartition(".")[2]
        if short in found:
            raise ValueError(f"two qualities are called {short!r}: {list(names)}")
        found[short] = quality
    return found


def _imported(path: str) -> Quality:
    """Return the object at a dotted path, which must be callable."""
    module, _, attribute = path.rpartition(".")
    if not module:
        raise ValueError(
            f"quality must be one of {list(QUALITIES)}, a reward model (owner/name) or the dotted "
            f"path of a function, got {path!r}"
        )
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    function = getattr(importlib.import_module(module), attribute, None)
    if not callable(function):
        raise ValueError(f"{module} has no function {attribute!r}")
    return cast("Quality", function)
