"""What the model answers before it is trained, drawn by all processes together.

The answers say about each prompt what a gate has to ask for: `reference_statistics`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState

from diversify.decoding import Strategy
from diversify.engines import Engine, Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.evaluation.generate import generate, load_run
from diversify.evaluation.prompt_sets import PromptSet
from diversify.gates import Quality, ask_qualities
from diversify.pairs import merge_pools
from diversify.rewards import reference_gate

__all__ = ["draw_reference", "draw_shares", "reference_statistics"]


def draw_shares(
    engine: Engine,
    prompts: PromptSet,
    samples: int,
    *,
    sampling: Sampling,
    output: str | Path,
    strategy: Strategy | None = None,
    progress: Callable[[str, int, int, float], None] | None = None,
) -> list[Path]:
    """Answer the prompts, each process its share, into one run folder a process.

    A single process writes the folder `output`; the second of three writes `<output>-2of3`. Every
    folder is resumable as long as the number of processes stays the same.

    Args:
        engine: what answers, on the device of this process.
        prompts: the prompts, the same on all processes.
        samples: answers a prompt.
        sampling: how they are drawn.
        output: path of the folder, or what the folders' names begin with.
        strategy: how they are asked for; plain sampling by default.
        progress: see `generate`.

    Returns:
        The folders of all processes. Those of the others are finished when every process has been
        here: `PartialState().wait_for_everyone()`.

    Raises:
        ValueError: A folder holds a run with other settings.
    """
    state, output = PartialState(), Path(output)
    parts = min(state.num_processes, len(prompts))
    folders = [
        output if parts == 1 else output.with_name(f"{output.name}-{part + 1}of{parts}")
        for part in range(parts)
    ]
    if state.process_index < parts:
        share = replace(prompts, rows=prompts.rows[state.process_index :: parts])
        folder = folders[state.process_index]
        generate(
            engine,
            share,
            samples,
            strategy=strategy,
            sampling=sampling,
            output=folder,
            progress=progress,
        )
    return folders


def draw_reference(
    model: str, prompts: PromptSet, samples: int, training: Any, split: str
) -> list[dict[str, Any]]:
    """Let the model answer before it is trained, as the trainer will sample from it.

    Args:
        model: what `load_model` takes.
        prompts: the prompts.
        samples: answers a prompt.
        training: TRL's GRPO config, for its sampling options, its device and its `output_dir`,
            which all processes must be able to read.
        split: name of the split; the answers lie in `<output_dir>/reference/<split>`.

    Returns:
        Generation rows of all processes.

    Raises:
        ValueError: A folder holds a run with other settings.
    """
    sampling = Sampling(
        temperature=training.temperature,
        top_p=training.top_p,
        top_k=max(training.top_k or 0, 0),
        min_p=training.min_p,
        max_tokens=training.max_completion_length,
        seed=training.seed,
    )
    engine = TransformersEngine(model, device=str(training.device))
    output = Path(training.output_dir) / "reference" / split
    folders = draw_shares(engine, prompts, samples, sampling=sampling, output=output)
    PartialState().wait_for_everyone()
    return [row for folder in folders for row in load_run(folder).rows]


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
