"""Flat options become the guard beside a training run: what the recipes share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from diversify.kernels import EmbeddingKernel, Kernel, NgramKernel
from diversify.quality import Quality
from diversify.trainers.components import build_kernel, build_qualities
from diversify.trainers.safeguard import Safeguard

__all__ = ["SafeguardArguments", "attach_safeguard"]


@dataclass
class SafeguardArguments:
    """Whether, and on what, the model is watched while it is trained."""

    safeguard_every: int = field(
        default=0, metadata={"help": "steps between two checks; 0: no safeguard"}
    )
    safeguard_prompts: str = field(default="open-ended", metadata={"help": "a prompt set or file"})
    safeguard_split: str = "test"
    safeguard_limit: int = field(default=16, metadata={"help": "at most so many prompts"})
    safeguard_samples: int = field(default=8, metadata={"help": "answers a prompt"})
    safeguard_max_tokens: int = 256
    safeguard_temperature: float = 1.0
    safeguard_quality: list[str] = field(default_factory=lambda: ["information"])
    safeguard_margin: list[float] | None = field(
        default=None, metadata={"help": "how far each quality may move; default: its own margin"}
    )
    safeguard_patience: int = field(default=2, metadata={"help": "alarms in a row that stop"})


def attach_safeguard(
    trainer: Any,
    options: SafeguardArguments,
    *,
    reference: str,
    kernel: Any = None,
    embedder: str = "minilm",
) -> Safeguard | None:
    """Put a safeguard on a trainer, if the options ask for one.

    Args:
        trainer: A TRL trainer, built.
        options: The options.
        reference: Frozen model for likelihood and information, normally the base.
        kernel: What training optimises. A cosine of embeddings or of words is watched itself and
            the other one is held out; in place of anything else (judges, lists of answers, nothing)
            the embeddings stand.
        embedder: For that cosine, and for relevance.

    Raises:
        ValueError: An option is impossible (`Safeguard`, `build_qualities`), or the margins are not
            one for each quality.
    """
    if not options.safeguard_every:
        return None
    device = str(trainer.args.device)
    built = build_qualities(
        options.safeguard_quality, reference=reference, embedder=embedder, device=device
    )
    qualities = [each for each in built.values() if isinstance(each, Quality)]
    if len(qualities) < len(built):
        raise ValueError(
            f"safeguard_quality takes qualities with a margin, got {options.safeguard_quality}; "
            "wrap a reward in diversify.quality.FromReward"
        )
    margins = options.safeguard_margin
    if margins is not None and len(margins) != len(qualities):
        raise ValueError(f"{[*built]} need one margin each, got safeguard_margin={margins}")
    semantic: Kernel = build_kernel("embedding", embedder=embedder, device=device)
    trained = kernel if isinstance(kernel, EmbeddingKernel | NgramKernel) else semantic
    held_out = semantic if isinstance(trained, NgramKernel) else None
    guard = Safeguard(
        trained,
        held_out=held_out,
        qualities=qualities,
        margins={q.name: m for q, m in zip(qualities, margins or [], strict=margins is not None)},
        every=options.safeguard_every,
        prompts=options.safeguard_prompts,
        split=options.safeguard_split,
        limit=options.safeguard_limit,
        samples=options.safeguard_samples,
        max_tokens=options.safeguard_max_tokens,
        temperature=options.safeguard_temperature,
        patience=options.safeguard_patience,
    )
    return guard.attach(trainer)
