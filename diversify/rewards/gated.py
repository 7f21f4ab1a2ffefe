"""Diversity behind a gate of quality: an answer that is good enough is paid for differing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from diversify.credit import Floats
from diversify.engines import Prompt
from diversify.rewards.composite import CreditedReward, Quality, ask
from diversify.rewards.diversity import CreditReward
from diversify.rewards.group import Group

__all__ = ["GatedReward", "Level", "reference_gate"]

Level: TypeAlias = float | str
"""A number, or the name of the dataset column that holds one for each row."""


class GatedReward(CreditedReward):
    r"""Credit behind a gate of quality: an answer that is good enough is paid for differing.

    .. math::
        r_i = w_q\, \mu \tanh\frac{s_i - \tau}{\sigma}
            + w_d \,(s_i \ge \tau\ ?\ c_i : \text{below}) + \text{penalties}_i

    Quality beyond the threshold earns little more and a lack of it cannot be bought back, so a
    policy gains nothing by trading one for the other. *What differs within a group is what
    trains.* The gate pays all passing answers alike, and the group's mean takes that away again:
    if the quality term varies more than the credits do, the policy walks to the one safest answer
    and diversity falls, although every answer is paid for it. So the weight of the diversity term
    is large by default, and two shares are logged: `<name>/gate_rate`, of answers that pass, and
    `<name>/diversity_share`, of the variance within a group that comes from different credits of
    passing answers, and not from the gate, the quality or the penalties. Where most answers pass,
    it should be near 1; if it is not, raise `diversity_weight`.

    Thresholds are best taken from what the model answered before training, prompt by prompt: see
    `reference_gate`.

    Args:
        quality: any TRL reward, or several by name. An answer passes if it passes each; the first
            term is their mean.
        diversity: kernel and credit. All answers count as members of the group, also those that
            do not pass.
        group_size: completions of one prompt; None if the trainer is to say.
        threshold: tau, a number or the name of a dataset column that holds one for each row. For
            several qualities one by the name of each.
        quality_weight: w_q.
        base: mu, the size of the quality term.
        diversity_weight: w_d.
        scale: sigma above 0, given like `threshold`: how far around the threshold quality still
            makes a difference. One for all is fine here.
        below: what stands for the credit of an answer that does not pass. 0 suits credits of 0
            and more; lower it for those that can be negative, such as `leave_one_out`.
        penalties: TRL rewards that are added as they are, such as `LengthPenalty` or a
            `MonitorReward`. Their None adds nothing.
        name: name in the logs.
        scale_rewards: see `GroupReward`.

    Raises:
        ValueError: If an option is not one of those, or when called, if a column is missing or
            holds something else than numbers.

    Example:
        >>> from diversify import NgramKernel
        >>> from diversify.credit import nearest_credit
        >>> from diversify.rewards import DiversityReward
        >>> def sweet(prompts, completions, **columns):
        ...     return [float(text != "lemon") for text in completions]
        >>> diversity = DiversityReward(NgramKernel(), nearest_credit)
        >>> reward = GatedReward(sweet, diversity, group_size=4, threshold=1.0)
        >>> values = reward(["Name a fruit."] * 4, ["fig", "fig", "lemon", "pear"])
        >>> [round(value, 3) for value in values]
        [0.0, 0.0, -0.381, 50.0]

    Reference:
        MoDA, mode-conditioned diversity alignment, arXiv 2609.14896. Ours: `below`, several
        qualities, free penalties.
    """

    def __init__(
        self,
        quality: Quality | Mapping[str, Quality],
        diversity: CreditReward,
        *,
        group_size: int | None = None,
        threshold: Level | Mapping[str, Level],
        quality_weight: float = 1.0,
        base: float = 0.5,
        diversity_weight: float = 100.0,
        scale: Level | Mapping[str, Level] = 1.0,
        below: float = 0.0,
        penalties: Sequence[Quality] = (),
        name: str = "gated",
        scale_rewards: str | None = None,
    ) -> None:
        several = quality if isinstance(quality, Mapping) else {"": quality}
        logged = {key: f"quality/{key}" if key else "quality" for key in several}
        super().__init__(
            {logged[key]: each for key, each in several.items()},
            diversity,
            group_size=group_size,
            name=name,
            scale_rewards=scale_rewards,
        )
        for option, value in {
            "quality_weight": quality_weight,
            "base": base,
            "diversity_weight": diversity_weight,
            "below": below,
        }.items():
            if not math.isfinite(value):
                raise ValueError(f"{option} must be a finite number, got {value}")
        if "" not in several and not isinstance(threshold, Mapping):
            raise ValueError(f"several qualities need a threshold each, got {threshold!r}")
        self.threshold = _levels("threshold", threshold, logged)
        self.scale = _levels("scale", scale, logged)
        if any(not isinstance(sigma, str) and sigma <= 0 for sigma in self.scale.values()):
            raise ValueError(f"scale must be above 0, got {scale}")
        self.quality_size = quality_weight * base
        self.diversity_weight = diversity_weight
        self.below = below
        self.penalties = tuple(penalties)

    def _describe_rows(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None,
        columns: Mapping[str, Any],
    ) -> dict[str, list[Any]]:
        """Do here all that needs no group: the quality term, the penalties, who passes."""
        rows = super()._describe_rows(prompts, completions, completion_ids, columns)
        n = len(prompts)
        terms, passed = [], np.ones(n, dtype=np.bool_)
        for name in self.qualities:
            quality = np.array(rows[name], dtype=np.float64)  # None becomes NaN
            threshold = _level("threshold", self.threshold[name], columns, n)
            scale = _level("scale", self.scale[name], columns, n)
            if (scale <= 0).any():
                raise ValueError(f"scale must be above 0, got {scale.min()} in {self.scale[name]}")
            terms.append(np.tanh((quality - threshold) / scale))
            passed &= quality >= threshold
        total = self.quality_size * np.mean(terms, axis=0)
        given = {"prompts": prompts, "completions": completions, "completion_ids": completion_ids}
        for penalty in self.penalties:
            added = ask("penalty", penalty, n, {**columns, **given})
            total = total + [value or 0.0 for value in added]
        return {**rows, "gate/term": total.tolist(), "gate/passed": passed.tolist()}

    def _pay(self, group: Group, credit: Floats) -> tuple[Floats, dict[str, float]]:
        others = np.array(group.columns["gate/term"], dtype=np.float64)
        passed = np.array(group.columns["gate/passed"], dtype=np.bool_)
        diversity = self.diversity_weight * np.where(passed, credit, self.below)
        metrics = {"gate_rate": float(passed.mean())} if len(passed) else {}
        if passed.any():
            # Each passing answer at the mean of those that pass: what the gate alone would pay.
            gate = np.where(passed, diversity[passed].mean(), diversity)
            variances = [(diversity - gate).var(), gate.var(), others.var()]
            if sum(variances) > 0:
                metrics["diversity_share"] = float(variances[0] / sum(variances))
        return others + diversity, metrics


def reference_gate(
    qualities: Sequence[float], *, alpha: float = 1.0, gamma: float = 1.0, epsilon: float = 1e-6
) -> tuple[float, float]:
    r"""Threshold and scale of one prompt from the qualities of a frozen model's answers.

    .. math::
        \tau = s_{\min} + \alpha (s_{\max} - \bar s), \qquad
        \sigma = \gamma (\bar s - s_{\min} + \epsilon)

    Compute both once, before training, and store them as columns of the dataset.

    Args:
        qualities: Qualities of the reference answers, such as five samples of the model before
            training.
        alpha: Strictness, 0 or more: 0 lets pass what is as good as the worst reference answer.
        gamma: Width above 0 of the range in which quality makes a difference.
        epsilon: Above 0; keeps sigma above 0 when all answers are equally good.

    Returns:
        tau and sigma, for `GatedReward(threshold="tau", scale="sigma")`.

    Raises:
        ValueError: If there are no finite qualities, or an option is out of its range.

    Example:
        >>> reference_gate([1.0, 2.0, 6.0], epsilon=1.0)
        (4.0, 3.0)

    Reference:
        MoDA, arXiv 2609.14896, which uses five samples and does not state alpha, gamma and
        epsilon; the defaults are ours.
    """
    values = np.asarray(qualities, dtype=np.float64)
    if values.ndim != 1 or not values.size or not np.isfinite(values).all():
        raise ValueError(f"qualities must be one or more finite numbers, got {qualities!r:.200}")
    if not (math.isfinite(alpha + gamma + epsilon) and alpha >= 0 and gamma > 0 and epsilon > 0):
        raise ValueError(
            "alpha must be 0 or more, gamma and epsilon above 0, got "
            f"alpha={alpha}, gamma={gamma}, epsilon={epsilon}"
        )
    lowest, mean, highest = values.min(), values.mean(), values.max()
    return float(lowest + alpha * (highest - mean)), float(gamma * (mean - lowest + epsilon))


def _levels(
    option: str, given: Level | Mapping[str, Level], logged: Mapping[str, str]
) -> dict[str, Level]:
    """Give each quality its level, under the name in the logs."""
    levels = dict(given) if isinstance(given, Mapping) else dict.fromkeys(logged, given)
    if set(levels) != set(logged):
        raise ValueError(f"{option} must name the qualities {list(logged)}, got {list(levels)}")
    for level in levels.values():
        if not isinstance(level, str) and not math.isfinite(level):
            raise ValueError(f"{option} must be a finite number or a column's name, got {level}")
    return {logged[key]: level for key, level in levels.items()}


def _level(option: str, level: Level, columns: Mapping[str, Any], n: int) -> Floats:
    """Return one level a row: the number, or what the column says."""
    if not isinstance(level, str):
        return np.full(n, level, dtype=np.float64)
    if level not in columns:
        raise ValueError(f"{option} is the column {level!r}, the rows have {sorted(columns)}")
    values = np.array(columns[level], dtype=np.float64)
    if values.shape != (n,) or not np.isfinite(values).all():
        raise ValueError(
            f"the column {level!r} must hold one finite number a row to be the {option}, got "
            f"{columns[level]!r:.200}"
        )
    return values
