"""What a frozen model's answers say about each prompt: the threshold of a gate, and its width."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diversify.engines import Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.evaluation.generate import generate, load_run
from diversify.evaluation.prompt_sets import PromptSet
from diversify.gates import Quality, ask_qualities
from diversify.pairs import merge_pools
from diversify.rewards import reference_gate

__all__ = ["draw_reference", "reference_statistics"]


def draw_reference(
    model: str, prompts: PromptSet, samples: int, training: Any, folder: str | Path
) -> list[dict[str, Any]]:
    """Let the model answer before it is trained, as the trainer will sample from it.

    The first process draws and the others wait; a run that was interrupted is continued, and a
    finished one is only read.

    Args:
        model: what `load_model` takes.
        prompts: the prompts.
        samples: answers a prompt.
        training: TRL's GRPO config: sampling options, and who the first process is.
        folder: run folder, which all processes can read.

    Returns:
        Generation rows.

    Raises:
        ValueError: The folder holds a run with other settings.
    """
    with training.main_process_first(local=False, desc="reference answers"):
        if training.process_index == 0:
            sampling = Sampling(
                temperature=training.temperature,
                top_p=training.top_p,
                top_k=max(training.top_k or 0, 0),
                min_p=training.min_p,
                max_tokens=training.max_completion_length,
                seed=training.seed,
            )
            engine = TransformersEngine(model, device=str(training.device))
            generate(engine, prompts, samples, sampling=sampling, output=folder)
    return load_run(folder).rows


def reference_statistics(
    rows: Iterable[Mapping[str, Any]],
    qualities: Mapping[str, Quality],
    *,
    alpha: float = 1.0,
    gamma: float = 1.0,
) -> dict[str, dict[str, float]]:
    """Compute the threshold and the scale of each prompt, for the data set of a gated reward.

    Args:
        rows: generation rows of the model before training, with `id` (MoDA: five answers each).
        qualities: name -> quality.
        alpha: strictness of the threshold, see `reference_gate`.
        gamma: width of the scale, see `reference_gate`.

    Returns:
        id -> `{"tau_<name>": ..., "sigma_<name>": ...}`. A prompt of which some quality scores no
        answer is left out: it has no threshold.

    Raises:
        ValueError: A row is unusable, or an option is out of its range.

    Example:
        >>> def length(prompts, completions, **columns):
        ...     return [float(len(messages[-1]["content"])) for messages in completions]
        >>> rows = [{"id": "fruit", "prompt": "A fruit?", "generations": ["fig", "kiwi", "banana"]}]
        >>> statistics = reference_statistics(rows, {"length": length})["fruit"]
        >>> {name: round(value, 2) for name, value in statistics.items()}
        {'tau_length': 4.67, 'sigma_length': 1.33}

    Reference:
        MoDA, arXiv 2609.14896.
    """
    found: dict[str, dict[str, float]] = {}
    for pool in merge_pools(rows, keep_truncated=True):
        columns: dict[str, float] = {}
        asked = ask_qualities(qualities, pool.prompt, pool.completions, pool.columns)
        for name, values in asked.items():
            scored = values[~np.isnan(values)].tolist()
            if not scored:
                break
            tau, sigma = reference_gate(scored, alpha=alpha, gamma=gamma)
            columns |= {f"tau_{name}": tau, f"sigma_{name}": sigma}
        else:
            found[str(pool.columns["id"])] = columns
    return found
