"""Qualities of a pool of completions: ask for them, rank by them, gate on them.

A *quality* is any callable with TRL's reward signature: `(prompts, completions, **columns)` to one
number or None a completion, higher is better. The pair builder and the over-generating strategy ask
for qualities of one prompt's pool at a time and want arrays; here None has become NaN.

A gate keeps a *share* of the pool and not what lies above a threshold: a share needs no
calibration and means the same for a reward model, a log-likelihood and a rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from diversify.credit import TIE
from diversify.engines import Prompt, as_messages

__all__ = ["Quality", "ask_qualities", "best_share", "check_keep", "standing"]

Floats: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]
Quality: TypeAlias = Callable[..., Sequence[float | None]]
"""TRL's reward signature: `(prompts, completions, **columns)` to one number or None each."""


def ask_qualities(
    qualities: Mapping[str, Quality],
    prompt: Prompt,
    texts: Sequence[str],
    columns: Mapping[str, Any] | None = None,
) -> dict[str, Floats]:
    """Ask every quality about the completions of one prompt.

    Prompts and completions go in as chat messages, as TRL hands them over in training on chats:
    one form, so that a quality judges a pool as it judges a rollout.

    Args:
        qualities: name -> quality.
        prompt: the prompt of all the completions.
        texts: n completions.
        columns: what else the prompt's row says (`answers`, …): one value, repeated n times.

    Returns:
        name -> values (n,), NaN where the quality said None.

    Raises:
        ValueError: A quality returned the wrong number of values, or an infinite or NaN one. (None
            is the way to say that something cannot be scored.)

    Example:
        >>> def short(prompts, completions, **columns):
        ...     texts = [messages[-1]["content"] for messages in completions]
        ...     return [-float(len(text)) if text else None for text in texts]
        >>> print(ask_qualities({"short": short}, "Name a fruit.", ["fig", ""])["short"])
        [-3. nan]
    """
    prompts = [as_messages(prompt) for _ in texts]
    completions = [[{"role": "assistant", "content": text}] for text in texts]
    repeated = {name: [value] * len(texts) for name, value in (columns or {}).items()}
    answers: dict[str, Floats] = {}
    for name, quality in qualities.items():
        values = list(quality(prompts=prompts, completions=completions, **repeated))
        if len(values) != len(texts):
            raise ValueError(
                f"quality {name!r} returned {len(values)} values for {len(texts)} completions"
            )
        scored = [float(value) for value in values if value is not None]
        if not all(map(math.isfinite, scored)):
            raise ValueError(
                f"quality {name!r} must return finite numbers or None, got {values!r:.200}"
            )
        answers[name] = np.array([np.nan if value is None else value for value in values], float)
    return answers


def best_share(quality: Floats, *, keep: float) -> Mask:
    """Mark the best `keep` share of the scored completions, and all that are as good as the last.

    Args:
        quality: Values (n,); NaN is unscored and never passes.
        keep: Share in (0, 1]; at least one completion passes if any is scored.

    Returns:
        Mask (n,). More than the share pass only through ties: copies of one text stand or fall
        together, and a rule that all fulfil stops nobody.

    Raises:
        ValueError: `keep` is outside (0, 1].

    Example:
        >>> print(best_share(np.array([0.1, 0.9, 0.5, np.nan, 0.5]), keep=0.5))
        [False  True  True False  True]
    """
    check_keep("keep", keep)
    scored = quality[~np.isnan(quality)]
    if not len(scored):
        return np.zeros(len(quality), dtype=np.bool_)
    # The small number keeps 0.3 * 10 = 3.0000000000000004 from counting as four.
    count = max(1, math.ceil(keep * len(scored) - 1e-9))
    last = np.sort(scored)[-count]
    passing: Mask = np.nan_to_num(quality, nan=-np.inf) >= last - TIE * (1.0 + abs(last))
    return passing


def standing(qualities: Mapping[str, Floats], n: int) -> Floats:
    """Rank the completions by all qualities together, in [0, 1]: 1 is best by every one.

    The mean over the qualities of the rank within the pool, (rank - 1) / (n - 1), ties sharing
    their mean rank. Ranks because qualities have no common scale: this one is comparable to
    similarities whatever they were.

    Args:
        qualities: name -> values (n,), NaN for unscored, which ranks below everything.
        n: Number of completions.

    Returns:
        Values (n,); all 1 where there is no quality or only one completion.

    Example:
        >>> print(standing({"a": np.array([1.0, 5.0, 3.0]), "b": np.array([0.0, 0.0, 9.0])}, 3))
        [0.125 0.625 0.75 ]
    """
    if not qualities or n < 2:
        return np.ones(n)
    ranks = [rankdata(np.nan_to_num(values, nan=-np.inf)) for values in qualities.values()]
    mean: Floats = (np.mean(ranks, axis=0) - 1.0) / (n - 1)
    return mean


def check_keep(name: str, keep: float) -> None:
    """Accept a share in (0, 1].

    Raises:
        ValueError: It is not.
    """
    if not 0.0 < keep <= 1.0:
        raise ValueError(f"{name} must be in (0, 1], got {keep}")
