"""Flat options become the rewards and the advantages of GRPO and RLOO: what their recipes share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeAlias

from diversify.advantages import AdvantageMethod, Anneal
from diversify.engines import text_of
from diversify.evaluation.generate import load_run
from diversify.evaluation.prompt_sets import PromptSet
from diversify.gates import Quality
from diversify.kernels import Kernel
from diversify.quality import AnswerKernels, WeightedQuality
from diversify.rewards import (
    ColumnKernel,
    DiversityReward,
    GatedReward,
    ProductReward,
    darling,
    dqo,
    dra,
    gapo,
    ips,
    mmr,
    moda,
    novelty,
    peer_answers,
    polychromic,
    repulsion,
    uniqueness,
)
from diversify.rewards.presets import LazyEmbedder
from diversify.trainers.components import (
    build_credit,
    build_kernel,
    build_qualities,
    build_server,
)

__all__ = [
    "REWARDS",
    "AdvantageArguments",
    "RewardArguments",
    "build_advantage",
    "build_reward",
    "build_reward_qualities",
    "given",
    "needs_reference",
    "peer_columns",
]

Qualities: TypeAlias = Mapping[str, Quality]

OF_ONE_QUALITY = (
    *("darling", "dra", "mmr", "ips", "uniqueness", "polychromic", "novelty", "product"),
)
GATED = ("moda", "gated", "repulsion")
REWARDS = (*OF_ONE_QUALITY, *GATED, "dqo", "gapo", "diversity", "quality")
"""What `reward` may be."""


@dataclass
class RewardArguments:
    """The reward. An option that is None is left to the method."""

    reward: str = field(default="gated", metadata={"help": f"one of {', '.join(REWARDS)}"})
    quality: list[str] = field(default_factory=lambda: ["likelihood", "relevance"])
    quality_weights: list[float] | None = field(
        default=None, metadata={"help": "several qualities as one: a weight for each"}
    )
    quality_model: str | None = field(default=None, metadata={"help": "default: the base model"})
    judge_model: str | None = field(default=None, metadata={"help": "chat model of a judge"})
    judge_url: str | None = field(default=None, metadata={"help": "its server's address"})
    kernel: str = field(
        default="embedding", metadata={"help": "embedding, ngram, answers, or a judge"}
    )
    embedder: str = "minilm"
    same_model: str | None = field(default=None, metadata={"help": "classifier of equivalence"})
    same_threshold: float | None = None
    short_answers: bool = field(default=False, metadata={"help": "compare those by words"})
    credit: str = "leave_one_out"
    class_threshold: float | None = field(default=None, metadata={"help": "alike is one answer"})
    shift: str | None = field(default=None, metadata={"help": "group_min or none"})
    floor: float | None = None
    mode: str | None = field(default=None, metadata={"help": "darling: product or sum"})
    weight: float | None = field(default=None, metadata={"help": "of mmr, novelty"})
    rarity: float | None = field(default=None, metadata={"help": "alpha of uniqueness"})
    set_size: int | None = field(default=None, metadata={"help": "of polychromic"})
    diversity_weight: float | None = None
    below: float | None = field(default=None, metadata={"help": "credit of what fails the gate"})
    threshold: list[float] | None = field(default=None, metadata={"help": "one for each quality"})
    scale: list[float] | None = field(default=None, metadata={"help": "one for each quality"})
    penalties: list[str] = field(
        default_factory=list, metadata={"help": "more terms behind a gate: dotted paths"}
    )
    role_penalty: float | None = field(
        default=None, metadata={"help": "of moda: what a text costs that talks of its role"}
    )
    peers: list[str] = field(default_factory=list, metadata={"help": "run folders of other models"})
    nearest: int | None = field(default=None, metadata={"help": "of repulsion: nearest peers"})
    closed: float | None = field(default=None, metadata={"help": "of repulsion: peers agree"})
    reference_samples: int = 5
    alpha: float = 1.0
    gamma: float = 1.0
    limit: int | None = field(default=None, metadata={"help": "at most so many prompts"})


@dataclass
class AdvantageArguments:
    """What becomes of the rewards of a group, where it is not what TRL does."""

    advantage: str | None = field(
        default=None,
        metadata={"help": "pass_at_k, pkpo, max_rl, ucpo, unlikeliness, mara, uniqueness"},
    )
    advantage_scale: str = field(default="none", metadata={"help": "none or group"})
    advantage_k: int | None = None
    advantage_k_last: int | None = field(default=None, metadata={"help": "k at the end"})
    advantage_tau: float | None = None
    advantage_beta: float | None = field(default=None, metadata={"help": "mara: beta of the KL"})
    advantage_alpha: float | None = None
    roles: bool = field(default=False, metadata={"help": "a role for every member of a group"})


def build_reward_qualities(options: RewardArguments, *, reference: str, device: str) -> Qualities:
    """Return the qualities by name; one alone where weights join several.

    Raises:
        ValueError: See `build_qualities`; or the weights do not fit.
    """
    server = build_server(options.judge_model, options.judge_url)
    names = options.quality if options.reward not in ("gapo", "diversity") else []
    found = build_qualities(
        names,
        reference=options.quality_model or reference,
        embedder=options.embedder,
        device=device,
        server=server,
    )
    if options.quality_weights is None:
        return found
    if len(options.quality_weights) != len(found):
        raise ValueError(
            f"{list(found)} need one weight each, got quality_weights={options.quality_weights}"
        )
    weights = dict(zip(found, options.quality_weights, strict=True))
    return {"weighted": WeightedQuality(found, weights=weights)}


def build_reward(options: RewardArguments, qualities: Qualities, device: str) -> list[Quality]:
    """Turn flat options into the reward functions of the trainer.

    Raises:
        ValueError: An option is unknown or impossible, or the qualities do not fit the reward.
    """
    if options.reward not in REWARDS:
        raise ValueError(f"reward must be one of {sorted(REWARDS)}, got {options.reward!r}")
    if options.reward == "quality":
        return list(qualities.values())
    if options.reward == "gapo":
        return [gapo()]
    if options.reward == "repulsion":
        return [_repulsion(options, qualities)]
    kernel = build_reward_kernel(options, device)
    if options.reward == "diversity":
        return [_diversity(options, kernel)]
    if options.reward == "dqo":
        return [*qualities.values(), dqo(kernel=kernel)]
    if options.reward in OF_ONE_QUALITY:
        if len(qualities) != 1:
            raise ValueError(
                f"{options.reward} takes one quality, got {list(qualities)}; quality_weights joins "
                "several into one"
            )
        (quality,) = qualities.values()
        return [_of_one_quality(options, quality, kernel)]
    gate = _gate(options, qualities)
    if options.reward == "moda":
        role = given(role_penalty=options.role_penalty)
        return [moda(qualities, kernel=kernel, **gate, **role)]
    below = given(below=options.below)
    return [GatedReward(qualities, _diversity(options, kernel), **gate, **below)]


def build_reward_kernel(options: RewardArguments, device: str) -> Kernel | ColumnKernel:
    """Return the kernel; `answers` compares by the answer that a text names of the prompt's list."""
    if options.kernel == "answers":
        return AnswerKernels()
    return build_kernel(
        options.kernel,
        embedder=options.embedder,
        device=device,
        same_model=options.same_model,
        same_threshold=options.same_threshold,
        short_answers=options.short_answers,
        server=build_server(options.judge_model, options.judge_url),
    )


def build_advantage(options: AdvantageArguments, *, beta: float) -> AdvantageMethod | None:
    """Turn flat options into a method; None leaves TRL's advantages.

    Args:
        options: The options.
        beta: The trainer's KL coefficient, which MARA takes unless told otherwise.

    Raises:
        ValueError: The method is unknown; what its options are worth `AdvantageMethod.check` tells.
    """
    if options.advantage is None:
        return None
    k: int | Anneal | None = options.advantage_k
    if options.advantage_k is not None and options.advantage_k_last is not None:
        k = Anneal(options.advantage_k, options.advantage_k_last)
    found = given(
        k=k,
        tau=options.advantage_tau,
        beta=options.advantage_beta,
        alpha=options.advantage_alpha,
    )
    if options.advantage == "mara":
        found.setdefault("beta", beta)
    scale: Any = options.advantage_scale
    return AdvantageMethod(options.advantage, scale=scale, options=found)


def needs_reference(options: RewardArguments) -> bool:
    """Whether the gate asks what the model answers before it is trained."""
    return options.reward in GATED and not options.threshold


def peer_columns(runs: Sequence[str], prompts: PromptSet) -> dict[str, dict[str, Any]]:
    """Return id -> `{"peers": [...]}` for the prompts that some run of another model answered.

    Raises:
        ValueError: There are no runs, one is unusable, or no prompt was answered.
    """
    if not runs:
        raise ValueError("repulsion needs peers: run folders of other models on the same prompts")
    answers = peer_answers(row for run in runs for row in load_run(run).rows)
    found = {
        row.id: {"peers": answers[text_of(row.text)]} for row in prompts if row.text in answers
    }
    if not found:
        raise ValueError(f"none of {len(prompts)} prompts was answered in {list(runs)}")
    return found


def given(**options: Any) -> dict[str, Any]:
    """Return the options that are set."""
    return {name: value for name, value in options.items() if value is not None}


def options_record(options: Any) -> dict[str, Any]:
    """Return the options that are set, for the record of a run."""
    return given(**asdict(options))


def _of_one_quality(
    options: RewardArguments, quality: Quality, kernel: Kernel | ColumnKernel
) -> Quality:
    """Build one of the rewards that take exactly one quality."""
    classes = given(threshold=options.class_threshold)
    product = given(floor=options.floor, shift=options.shift)
    product |= {"shift": None} if options.shift == "none" else {}
    weight = given(weight=options.weight)
    if options.reward == "darling":
        return darling(quality, kernel=kernel, **classes, **product, **given(mode=options.mode))
    if options.reward == "dra":
        return dra(quality, kernel=kernel)
    if options.reward == "mmr":
        return mmr(quality, kernel=kernel, **weight)
    if options.reward == "ips":
        return ips(quality, kernel=kernel, **classes)
    if options.reward == "uniqueness":
        return uniqueness(quality, kernel=kernel, **classes, **given(alpha=options.rarity))
    if options.reward == "polychromic":
        return polychromic(quality, kernel=kernel, **classes, **given(size=options.set_size))
    if options.reward == "novelty":
        return novelty(quality, kernel=kernel, **weight)
    return ProductReward(quality, _diversity(options, kernel), **product)


def _diversity(options: RewardArguments, kernel: Kernel | ColumnKernel) -> DiversityReward:
    classes = given(threshold=options.class_threshold)
    return DiversityReward(kernel, build_credit(options.credit, **classes))


def _repulsion(options: RewardArguments, qualities: Qualities) -> GatedReward:
    more = given(nearest=options.nearest, closed=options.closed)
    embedder = LazyEmbedder(options.embedder)
    return repulsion(qualities, embedder=embedder, **_gate(options, qualities), **more)


def _gate(options: RewardArguments, qualities: Qualities) -> dict[str, Any]:
    """Return the options of a gate."""
    gate = given(diversity_weight=options.diversity_weight)
    gate["threshold"] = _levels("tau", options.threshold, qualities)
    gate["scale"] = _levels("sigma", options.scale or (options.threshold and [1.0]), qualities)
    if options.penalties:
        built = build_qualities(options.penalties, reference="")
        gate["penalties"] = list(built.values())
    return gate


def _levels(
    column: str, numbers: list[float] | None, qualities: Iterable[str]
) -> Mapping[str, Any]:
    """Give each quality its number (one may serve all), or its column of reference statistics."""
    names = list(qualities)
    if numbers is None:
        return {name: f"{column}_{name}" for name in names}
    if len(numbers) not in (1, len(names)):
        raise ValueError(f"{names} need one number each or one for all, got {numbers}")
    return dict(zip(names, numbers * len(names), strict=False))
