"""Names in a config become kernels, credits and qualities: the one list of what recipes know."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from diversify.credit import CREDITS, Credit, inverse_frequency, partition_credit, rarity_weight
from diversify.embedders import load_embedder
from diversify.equivalence import (
    CrossEncoderSame,
    EmbeddingSame,
    EntailmentSame,
    JudgeSame,
    ShortAnswers,
)
from diversify.kernels import (
    EmbeddingKernel,
    EquivalenceKernel,
    Kernel,
    NgramKernel,
    Same,
    SameMany,
)
from diversify.measures import DISTINCT_THRESHOLD
from diversify.quality import (
    AnswerList,
    Constraints,
    Judge,
    PromptInformation,
    Quality,
    ReferenceLikelihood,
    Relevance,
    RelevanceRank,
    RewardModel,
)
from diversify.rewards import PartitionCredit
from diversify.rewards.presets import same_words
from diversify.server import ChatModel, ChatServer

__all__ = [
    "KERNELS",
    "QUALITIES",
    "build_credit",
    "build_kernel",
    "build_qualities",
    "build_server",
]

SAME_MODELS = {
    "cross-encoder": "yimingzhang/deberta-v3-large-generation-similarity",
    "entailment": "cross-encoder/nli-deberta-v3-base",
}
"""Judges of equivalence that are classifiers, and the models that they take by default."""

JUDGES = ("same-words", "same-embedding", *SAME_MODELS, "judge")
KERNELS = ("embedding", "ngram", *JUDGES)
QUALITIES = (
    *("likelihood", "information", "relevance", "relevance_rank", "answers", "constraints"),
    *("all_constraints", "judge"),
)
_GOES: dict[str, tuple[str, ...]] = {
    "same_threshold": ("same-embedding", *SAME_MODELS),
    "same_model": tuple(SAME_MODELS),
    "short_answers": JUDGES,
}
"""Which kernels an option goes with."""

PARTITIONS = {
    "partition": partition_credit,
    "rarity": rarity_weight,
    "inverse_frequency": inverse_frequency,
}
"""Credits of classes, behind a partition at a threshold."""


def build_server(
    model: str | None, base_url: str | None, *, api_key_env: str = "OPENAI_API_KEY"
) -> ChatServer | None:
    """Return the server that judges ask, or None where none is named.

    Raises:
        ValueError: Only one of model and address is given, or the address is none.

    Example:
        >>> build_server(None, None) is None
        True
        >>> build_server("qwen3", "http://localhost:8000/v1").model
        'qwen3'
    """
    if model is None and base_url is None:
        return None
    if model is None or base_url is None:
        raise ValueError(f"a judge needs a model and an address, got {model!r} and {base_url!r}")
    return ChatServer(model, base_url=base_url, api_key_env=api_key_env)


def build_kernel(
    name: str,
    *,
    embedder: str = "minilm",
    device: str | None = None,
    same_model: str | None = None,
    same_threshold: float | None = None,
    short_answers: bool = False,
    server: ChatModel | None = None,
) -> Kernel:
    """Return a kernel by name.

    Args:
        name: `embedding` (cosine of an embedder), `ngram` (wording; needs no model), or a judge of
            equivalence: `same-words`, `same-embedding` (cosine from a threshold up),
            `cross-encoder`, `entailment` (both ways) or `judge` (a chat model).
        embedder: for `embedding` and `same-embedding`.
        device: where models run.
        same_model: for `cross-encoder` and `entailment`, instead of `SAME_MODELS`.
        same_threshold: the score from which texts are the same, for judges that have one.
            A cross-encoder of your own has no default: `diversify calibrate` finds it.
        short_answers: whether answers of at most five words are compared by their words instead.
        server: who the `judge` asks; see `build_server`.

    Raises:
        ValueError: The name is unknown, an option does not go with it or is missing, or the
            embedder is not found.

    Example:
        >>> build_kernel("ngram").name, build_kernel("same-words", short_answers=True).name
        ('ngram-2', 'equivalence-same_words-short-5')
    """
    given = {"same_threshold": same_threshold is not None, "same_model": same_model is not None}
    given |= {"short_answers": short_answers}
    if wrong := [
        option for option, is_set in given.items() if is_set and name not in _GOES[option]
    ]:
        raise ValueError(f"{wrong[0]} goes with {list(_GOES[wrong[0]])}, not with kernel {name!r}")
    if name == "embedding":
        return EmbeddingKernel(load_embedder(embedder, device=device))
    if name == "ngram":
        return NgramKernel()
    same: Same | SameMany
    if name == "same-words":
        same = same_words
    elif name == "same-embedding":
        threshold = DISTINCT_THRESHOLD if same_threshold is None else same_threshold
        same = EmbeddingSame(load_embedder(embedder, device=device), threshold)
    elif name in SAME_MODELS:
        same = _classifier(name, same_model, same_threshold, device)
    elif name == "judge":
        same = JudgeSame(_required(server))
    else:
        raise ValueError(f"kernel must be one of {list(KERNELS)}, got {name!r}")
    return EquivalenceKernel(ShortAnswers(same) if short_answers else same)


def _classifier(
    name: str, model: str | None, threshold: float | None, device: str | None
) -> CrossEncoderSame | EntailmentSame:
    """Return a judge that reads both texts, with the threshold that its model is known to need."""
    chosen = model or SAME_MODELS[name]
    options: dict[str, Any] = {} if threshold is None else {"threshold": threshold}
    if name == "entailment":
        return EntailmentSame(chosen, device=device, **options)
    if chosen != SAME_MODELS[name] and threshold is None:
        raise ValueError(f"no threshold is known for {chosen!r}: calibrate it, give same_threshold")
    return CrossEncoderSame(chosen, device=device, **options)


def _required(server: ChatModel | None) -> ChatModel:
    if server is None:
        raise ValueError("a judge needs a server: the model's name and the server's address")
    return server


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
    names: Iterable[str],
    *,
    reference: str,
    embedder: str = "minilm",
    device: str | None = None,
    server: ChatModel | None = None,
    constraints: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Quality]:
    """Turn names into qualities.

    Args:
        names: `likelihood`, `information`, `relevance`, `relevance_rank`, `answers`, `constraints`
            (the share of them that holds), `all_constraints` (whether all do), `judge`; a reward
            model (a folder or a hub id, `owner/name`); or the dotted path of a function with TRL's
            reward signature, looked for in the working folder too.
        reference: frozen model for likelihood and information; loaded once, if at all.
        embedder: for relevance and its rank.
        device: where models run; on several GPUs that of the process.
        server: who the judge asks; see `build_server`.
        constraints: of every prompt, beside those of its row; see `Constraints`.

    Returns:
        name -> quality, in the order given; of a path its last part is the name.

    Raises:
        ValueError: A name is none of these, or comes twice, or a model is not found, or there is
            a judge and no server, or a constraint that cannot be read or that nothing verifies.
    """
    names = list(names)
    if constraints and not {"constraints", "all_constraints"} & {*names}:
        raise ValueError(f"constraints go with the quality constraints, not with {names}")
    found: dict[str, Quality] = {}
    likelihood: Any = None
    for name in names:
        if name in ("likelihood", "information"):
            if not reference:
                raise ValueError(f"{name} is that of a frozen reference model, and none is named")
            likelihood = likelihood or ReferenceLikelihood(reference, device=device)
            quality = likelihood if name == "likelihood" else PromptInformation(likelihood)
        elif name == "relevance":
            quality = Relevance(load_embedder(embedder, device=device))
        elif name == "relevance_rank":
            quality = RelevanceRank(load_embedder(embedder, device=device))
        elif name == "answers":
            quality = AnswerList()
        elif name == "constraints":
            quality = Constraints(constraints)
        elif name == "all_constraints":
            quality = Constraints(constraints, require="all", name=name)
        elif name == "judge":
            quality = Judge(_required(server))
        elif "/" in name or Path(name).is_dir():
            quality = RewardModel(name, margin=0.0, device=device)  # the margin is evaluation's
        else:
            quality = _imported(name)
        short = Path(name).name if "/" in name else name.rpartition(".")[2]
        if short in found:
            raise ValueError(f"two qualities are called {short!r}: {names}")
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
