"""GRPO with other advantages than those of the reward alone, and with a role for every answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.grpo_trainer import GRPOTrainer

from diversify.advantages import AdvantageMethod
from diversify.credit import partition
from diversify.kernels import Kernel
from diversify.measures import DISTINCT_THRESHOLD
from diversify.rewards.base import GROUP_COLUMN
from diversify.rewards.diversity import KERNEL_COLUMN, ColumnKernel, kernel_column
from diversify.rewards.group import Group, gather_groups
from diversify.rewards.monitors import completion_text
from diversify.trainers.roles import RoleSampler, check_groups
from diversify.trainers.seams import check_seam

__all__ = ["DiversityGRPOTrainer"]

SEAM = {
    "_calculate_rewards": ("inputs", "prompts", "completions", "completion_ids_list"),
    "_generate_and_score_completions": ("inputs",),
    "_get_train_sampler": ("dataset",),
    "_get_eval_sampler": ("eval_dataset",),
    "_get_per_token_logps_and_entropies": (
        *("model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"),
    ),
}
"""What is overridden or called of TRL's trainer; TRL has no hook for advantages (#7291)."""


@dataclass
class _Batch:
    """What this process generated last, as far as advantages need it."""

    prompts: list[Any]
    texts: list[str]
    rewards: list[float | None]
    keys: list[Any] | None
    columns: dict[str, list[Any]] = field(default_factory=dict)


class DiversityGRPOTrainer(GRPOTrainer):
    """TRL's `GRPOTrainer` whose advantages are those of a function of whole groups.

    Without `advantage` and `roles` it is TRL's trainer. Everything else, the sampling, the loss,
    the logging, stays TRL's; `advantages` in the table of completions are the ones that train. A
    completion without a reward (None) takes no part in its group and gets 0.

    Args:
        *args: As for `GRPOTrainer`.
        advantage: The method; None leaves TRL's. It replaces the whole computation: TRL's
            `scale_rewards` then counts for nothing (a method has a `scale` of its own).
        kernel: Says how alike two texts are, for methods that need classes.
        threshold: Texts at least this similar, or joined by a chain of such pairs, are one class.
        roles: Whether the rows of a group are `num_generations` rows of the data set, one a role
            (`role_dataset`), and not one row repeated.
        **kwargs: As for `GRPOTrainer`.

    Raises:
        ValueError: If the method needs what the trainer has not got (classes without a kernel, a
            reference without `beta`), its options do not fit `num_generations`, the rewards are
            not simply added, or roles do not fit the data set or the generation backend.
        RuntimeError: If TRL has moved (`check_seam`).
    """

    _tag_names: ClassVar = ["trl", "grpo", "diversify"]

    def __init__(
        self,
        *args: Any,
        advantage: AdvantageMethod | None = None,
        kernel: Kernel | ColumnKernel | None = None,
        threshold: float = DISTINCT_THRESHOLD,
        roles: bool = False,
        **kwargs: Any,
    ) -> None:
        check_seam(GRPOTrainer, SEAM)
        self.advantage = advantage
        self.kernel = kernel
        self.threshold = threshold
        self.roles = roles
        self._batch: _Batch | None = None
        super().__init__(*args, **kwargs)
        if advantage is not None:
            self._check_advantage(advantage)
        if roles:
            self._check_roles()

    # --- advantages -------------------------------------------------------------------------

    def _calculate_rewards(
        self,
        inputs: list[dict[str, Any]],
        prompts: list[Any],
        completions: list[Any],
        completion_ids_list: list[list[int]],
    ) -> torch.Tensor:
        """Keep what this process was rewarded for; the result is that of all processes."""
        everyone: torch.Tensor = super()._calculate_rewards(
            inputs, prompts, completions, completion_ids_list
        )
        if self.advantage is not None:
            start = self.accelerator.process_index * len(prompts)
            own = everyone[start : start + len(prompts)].double().cpu()
            weights = self.reward_weights.double().cpu()
            total = (own * weights).nansum(dim=1).tolist()
            unscored = own.isnan().all(dim=1).tolist()
            columns = {name: [row[name] for row in inputs] for name in inputs[0]}
            self._batch = _Batch(
                prompts=list(prompts),
                texts=[completion_text(completion) for completion in completions],
                rewards=[None if n else r for n, r in zip(unscored, total, strict=True)],
                keys=columns.get(GROUP_COLUMN),
                columns=kernel_column(self.kernel, columns) if self.kernel else {},
            )
        return everyone

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Put the method's advantages in the place of TRL's."""
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.advantage is None:
            return output
        advantages = torch.tensor(self._advantages(output), dtype=torch.float32)
        advantages = advantages.to(output["advantages"])
        output["advantages"] = advantages
        logged = self._logs["advantages"]
        everyone = self.accelerator.gather(advantages).tolist()
        for _ in range(min(len(everyone), len(logged))):
            logged.pop()
        logged.extend(everyone)
        return output

    def _advantages(self, output: dict[str, Any]) -> list[float]:
        """Return the advantage of each row of this process, from its whole group."""
        batch, method = self._batch, self.advantage
        assert batch is not None and method is not None  # set by _calculate_rewards
        columns = {"reward": batch.rewards, **batch.columns, **self._quantities(output)}
        gathered = gather_groups(
            batch.prompts,
            batch.texts,
            group_size=self.num_generations if self.model.training else self.num_generations_eval,
            columns=columns,
            keys=batch.keys,
        )
        return gathered.local([self._score_group(method, group) for group in gathered.groups])

    def _score_group(self, method: AdvantageMethod, group: Group) -> list[float]:
        """Return the advantages of one group; 0 where there is no reward."""
        scored = [row for row, reward in enumerate(group.columns["reward"]) if reward is not None]
        part = group.keep(scored)
        given: dict[str, Any] = {}
        for name, quantity in method.needs.items():
            given[name] = self._labels(part) if quantity == "labels" else part.columns[quantity]
        progress = self.state.global_step / max(self.state.max_steps, 1)
        found = np.zeros(len(group.texts))
        if scored:
            rewards = np.array(part.columns["reward"], dtype=np.float64)
            found[scored] = method(rewards, progress=progress, **given)
        return [float(value) for value in found]

    def _labels(self, group: Group) -> Any:
        """Return the classes of the texts of a group."""
        kernel = self.kernel
        if isinstance(kernel, ColumnKernel):
            kernel = kernel.of(group.columns[KERNEL_COLUMN][0])
        assert kernel is not None  # checked by the constructor
        return partition(kernel(group.texts), threshold=self.threshold)

    def _quantities(self, output: dict[str, Any]) -> dict[str, list[float]]:
        """Return the log-probabilities that the method asks for, one a row."""
        assert self.advantage is not None
        wanted = {*self.advantage.needs.values()} - {"labels"}
        if not wanted:
            return {}
        mask = output["completion_mask"] * output.get("tool_mask", 1)
        found = {}
        if "ref_logps" in wanted:
            found["ref_logps"] = (output["ref_per_token_logps"] * mask).sum(1).tolist()
        if wanted & {"logps", "mean_logps"}:
            total = (self._policy_logps(output) * mask).sum(1)
            found["logps"] = total.tolist()
            found["mean_logps"] = (total / mask.sum(1).clamp(min=1)).tolist()
        return found

    def _policy_logps(self, output: dict[str, Any]) -> torch.Tensor:
        """Return the policy's log-probability of every token (rows, tokens), TRL's or our own."""
        if "old_per_token_logps" in output:
            return torch.as_tensor(output["old_per_token_logps"])
        if "pixel_values" in output:
            raise ValueError(f"{self.advantage} needs log-probabilities, which are for text alone")
        ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
        seen = torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1)
        options = self.args.gradient_checkpointing_kwargs
        size = self.args.per_device_train_batch_size
        with torch.no_grad(), disable_gradient_checkpointing(self.model, options):
            logps, *_ = self._get_per_token_logps_and_entropies(
                self.model, ids, seen, output["completion_ids"].size(1), batch_size=size
            )
        return torch.as_tensor(logps)

    def _check_advantage(self, method: AdvantageMethod) -> None:
        method.check(self.num_generations)
        needs = set(method.needs.values())
        if "labels" in needs and self.kernel is None:
            raise ValueError(f"advantage {method.name!r} needs classes: give a kernel")
        if "ref_logps" in needs and not self.beta:
            raise ValueError(
                f"advantage {method.name!r} needs the reference model: beta must be above 0, got "
                f"{self.beta}"
            )
        if self.args.multi_objective_aggregation != "sum_then_normalize":
            raise ValueError(
                f"advantage {method.name!r} starts from the sum of the rewards, got "
                f"multi_objective_aggregation={self.args.multi_objective_aggregation!r}"
            )

    # --- roles ------------------------------------------------------------------------------

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        """Hand out groups of rows where TRL repeats one row."""
        if not self.roles:
            return super()._get_train_sampler(dataset)
        rows = self.train_dataset if dataset is None else dataset
        groups = range(len(rows) // self.num_generations)
        return RoleSampler(super()._get_train_sampler(groups), self.num_generations)

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        """Do the same in evaluation."""
        if not self.roles:
            return super()._get_eval_sampler(eval_dataset)
        groups = range(len(eval_dataset) // self.num_generations_eval)
        return RoleSampler(super()._get_eval_sampler(groups), self.num_generations_eval)

    def _check_roles(self) -> None:
        if self.args.use_vllm and self.args.vllm_mode == "server":
            raise ValueError(
                "roles do not go with vllm_mode='server', which sends one prompt a group and would "
                "drop the other roles; use vllm_mode='colocate'"
            )
        check_groups(self.train_dataset, self.num_generations)
        if self.eval_dataset is not None:
            check_groups(self.eval_dataset, self.num_generations_eval)
