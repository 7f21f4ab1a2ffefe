"""DPO trainers whose pairs have weights, or whose entropy has one: thin subclasses of TRL's.

No loss is copied. `SPLTrainer` hands TRL scaled reference log-probabilities, `WeightedDPOTrainer`
hands it the weights where it expects those of WPO. Both lean on what TRL's loss does with them, so
both try it on a made-up pair when they are built: a TRL that has moved is refused, not trained with.
"""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from types import SimpleNamespace
from typing import Any

import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from diversify.losses import spl_loss
from diversify.trainers.seams import SUPPORTED

__all__ = ["SPLTrainer", "WeightedDPOTrainer"]

WEIGHT = "weight"
REFERENCE = ("ref_chosen_logps", "ref_rejected_logps")

UNWEIGHTABLE = {
    "aot": "sorts the pairs",
    "aot_unpaired": "sorts the pairs",
    "sft": "has one value for the whole batch",
    "hinge": "cannot be scaled in place, as TRL scales it",
}
"""Losses of TRL that know no weight of a pair, and why."""

# A pair that TRL's loss is tried on: log-probabilities of policy and reference, chosen first.
POLICY_PAIR, REFERENCE_PAIR = (-10.0, -12.0), (-11.0, -11.5)
EXACT = 1e-6


class SPLTrainer(DPOTrainer):
    r"""DPO with the policy's log-ratio and the reference's weighed apart (SPL, H-DPO).

    .. math::
        -\log \sigma\big(\alpha (\log \pi_w - \log \pi_l)
        - \beta (\log \pi^{ref}_w - \log \pi^{ref}_l)\big)

    That is DPO at :math:`\alpha` with the reference's log-probabilities times
    :math:`\beta / \alpha`. They are computed once before training (`precompute_ref_log_probs`) and
    scaled batch by batch: what TRL caches stays unscaled, so runs that differ in alpha or beta, and
    plain DPO, share one cache and never each other's scale. H-DPO with its alpha is SPL with
    alpha times beta.

    The rewards and margins in the log are in the loss's own units,
    :math:`\alpha \log \pi - \beta \log \pi^{ref}`; with alpha unlike beta they are not 0 at the
    start, and not those of a DPO run.

    Args:
        model: What `DPOTrainer` takes, full or with an adapter.
        args: TRL's config; its `beta` is beta. Its copy gets `precompute_ref_log_probs`.
        alpha: Weight of the policy's log-ratio, above 0; beta makes it plain DPO.
        **options: The other arguments of `DPOTrainer`.

    Raises:
        ValueError: alpha or beta is not above 0, or an option makes the loss another one than the
            formula: a `loss_type` other than `sigmoid`, an `f_divergence_type` other than
            `reverse_kl`, `use_weighting`, or `sync_ref_model`.
        RuntimeError: TRL's loss no longer is what this class builds on.

    Reference:
        S. Slocum, A. Parker-Sartori and D. Hadfield-Menell, "Diverse Preference Learning for
        Capabilities and Alignment", arXiv 2511.08594; M. Omura, Y. Fujita and T. Kataoka, "Entropy
        Controllable Direct Preference Optimization", arXiv 2411.07595.
    """

    def __init__(self, model: Any, *, args: DPOConfig, alpha: float, **options: Any) -> None:
        for name, value in (("alpha", alpha), ("beta", args.beta)):
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a number above 0, got {value}")
        _insist(
            "SPL",
            args,
            loss_type=["sigmoid"],
            f_divergence_type="reverse_kl",
            use_weighting=False,
            sync_ref_model=False,
        )
        args = copy.copy(args)
        args.precompute_ref_log_probs = True
        super().__init__(model, args=args, **options)
        self.beta = alpha
        self.reference_scale = args.beta / alpha
        found = _try_loss(self, self.compute_loss)
        pair = [torch.tensor([value]) for value in (*POLICY_PAIR, *REFERENCE_PAIR)]
        expected = spl_loss(*pair, alpha=alpha, beta=args.beta).item()
        _insist_on_loss(self, {"the formula": (found, expected)})

    def compute_loss(
        self,
        model: Any,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Scale the batch's reference log-probabilities; the loss is TRL's."""
        scaled = {name: self.reference_scale * inputs[name] for name in REFERENCE}
        batch = {**inputs, **scaled}
        return super().compute_loss(model, batch, return_outputs, num_items_in_batch)

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Keep the reference log-probabilities as they were computed.

        With DeepSpeed the host casts every float of a batch to the precision of the weights: in
        bfloat16 a log-probability of -300.7 would become -300.
        """
        prepared: dict[str, Any] = super()._prepare_inputs(inputs)
        return prepared | {name: inputs[name].to(self.args.device) for name in REFERENCE}


class WeightedDPOTrainer(DPOTrainer):
    r"""DPO in which every pair counts by the number in its column `weight` (DDPO, CrPO).

    .. math:: \frac{1}{B} \sum_i w_i \, \ell_i

    for the per-pair loss of any `loss_type` but a few. At weight 1 loss and gradients are TRL's bit
    for bit; at weight 0 both are exactly 0. The evaluation loss is weighted too; the other metrics
    are not.

    TRL multiplies the loss of a pair by the factor of WPO, where `use_weighting` is on: the
    exponential of the mean over tokens of log p minus a statistic of the model, for the chosen
    times for the rejected completion. Here the statistic is log p minus half the logarithm of the
    weight, so that the factor is the weight. It is computed in double precision, for the
    subtraction would otherwise round the weight.

    Args:
        model: What `DPOTrainer` takes, full or with an adapter.
        args: TRL's config.
        **options: The other arguments of `DPOTrainer`. The data sets have a column `weight`, 0 or
            more; let it have mean 1 over the training set, or it scales the learning rate.

    Raises:
        ValueError: A data set has no `weight`, a weight is negative or not finite, `use_weighting`
            is on (there is one place for weights), or a `loss_type` knows no weight of a pair:
            `aot`, `aot_unpaired`, `sft`, `hinge`.
        RuntimeError: TRL's loss no longer is what this class builds on.

    Reference:
        J. Chung et al., "Modifying Large Language Model Post-Training for Diverse Creative
        Writing", arXiv 2503.17126; M. Ismayilzada et al., "Creative Preference Optimization",
        arXiv 2505.14442. The hook is that of W. Zhou et al., "WPO: Enhancing RLHF with Weighted
        Preference Optimization", arXiv 2406.11827.
    """

    def __init__(self, model: Any, *, args: DPOConfig, **options: Any) -> None:
        _insist("a weight of each pair", args, use_weighting=False)
        for loss_type in args.loss_type:
            if loss_type in UNWEIGHTABLE:
                raise ValueError(
                    f"loss_type {loss_type!r} {UNWEIGHTABLE[loss_type]} and knows no weight of a "
                    f"pair; got loss_type={args.loss_type}"
                )
        for name in ("train_dataset", "eval_dataset"):
            _check_dataset(name, options.get(name))
        super().__init__(model, args=args, **options)
        self.data_collator: Any = _WithWeights(self.data_collator)
        plain = _try_loss(self, super()._compute_loss)
        self.use_weighting = True  # after TRL's constructor: its own statistic is not computed
        one, two, none = (
            _try_loss(self, self._compute_loss, **{WEIGHT: [weight]}) for weight in (1.0, 2.0, 0.0)
        )
        _insist_on_loss(
            self,
            {"weight 1": (one, plain), "weight 2": (two, 2 * plain), "weight 0": (none, 0.0)},
        )

    def compute_ref_log_probs(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        """Compute the reference log-probabilities, which need no weights."""
        batch = {name: value for name, value in inputs.items() if name != WEIGHT}
        return super().compute_ref_log_probs(model, batch)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: Any = self._signature_columns
        if WEIGHT not in columns:
            columns.append(WEIGHT)

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any], return_outputs: bool) -> Any:
        batch = dict(inputs)
        device = batch["completion_mask"].device
        double = torch.float32 if device.type == "mps" else torch.float64
        weights = torch.tensor(batch.pop(WEIGHT), dtype=double, device=device)
        half = (weights.log() / 2).repeat(2).unsqueeze(1)  # -inf at weight 0, and exp(-inf) = 0
        mask = batch["completion_mask"][:, 1:].bool()

        def weighted(**arguments: Any) -> Any:
            outputs = model(**arguments)
            if arguments.get("fused_lm_head"):
                logps = outputs.log_probs[:, -mask.size(1) :].detach().to(double)
                outputs.log_sum_sq_probs = torch.where(mask, logps - half, 0.0)
            return outputs

        return super()._compute_loss(weighted, batch, return_outputs)


@dataclass
class _WithWeights:
    """A collator that carries the weights as a list: a tensor would lose digits to DeepSpeed."""

    collator: Callable[[list[Any]], dict[str, Any]]

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        weights = [_check_weight("the batch", example) for example in examples]
        return self.collator(examples) | {WEIGHT: weights}


def _check_weight(where: str, example: Mapping[str, Any]) -> float:
    """Return the weight of a pair, or raise ValueError."""
    if WEIGHT not in example:
        raise ValueError(f"{where} has no column {WEIGHT!r}; its columns are {sorted(example)}")
    weight = example[WEIGHT]
    if weight is None or not (math.isfinite(weight) and weight >= 0):
        raise ValueError(f"{where}: weights must be finite and 0 or more, got {weight}")
    return float(weight)


def _check_dataset(name: str, dataset: Any) -> None:
    """Check all weights of a data set, or of several; of a stream those of the first example."""
    if isinstance(dataset, Mapping):
        for key, one in dataset.items():
            _check_dataset(f"{name}[{key!r}]", one)
    elif isinstance(dataset, Dataset) and WEIGHT in dataset.column_names:
        for weight in dataset[WEIGHT]:
            _check_weight(name, {WEIGHT: weight})
    elif dataset is not None:
        _check_weight(name, next(iter(dataset)))


def _insist(what: str, args: DPOConfig, **wanted: Any) -> None:
    """Accept a config whose options have these values, or raise ValueError."""
    for name, value in wanted.items():
        if (found := getattr(args, name)) != value:
            raise ValueError(f"{what} needs {name}={value!r}, got {found!r}")


def _try_loss(trainer: Any, loss: Callable[..., Any], **columns: Sequence[float]) -> float:
    """Return what a trainer's loss makes of the made-up pair; no model runs, nothing is logged."""
    device = trainer.accelerator.device

    def model(**_: Any) -> SimpleNamespace:
        nothing = torch.zeros(2, 1, device=device)
        return SimpleNamespace(
            log_probs=torch.tensor(POLICY_PAIR, device=device).unsqueeze(1),
            entropy=nothing,
            mean_logits=nothing,
            is_top1=nothing.bool(),
            aux_loss=torch.zeros((), device=device),
        )

    row = torch.ones(2, 2, dtype=torch.long, device=device)
    batch: dict[str, Any] = {"input_ids": row, "attention_mask": row}
    batch["completion_mask"] = torch.tensor([[0, 1], [0, 1]], device=device)
    for name, value in zip(REFERENCE, REFERENCE_PAIR, strict=True):
        batch[name] = torch.tensor([value], device=device)
    replaced: dict[str, Any] = {
        "precompute_ref_logps": True,
        "_metrics": {"train": defaultdict(list), "eval": defaultdict(list)},
        "_total_train_tokens": 0,
    }
    try:
        kept = {name: getattr(trainer, name) for name in replaced}
        vars(trainer).update(replaced)
        try:
            return float(loss(model, batch | columns, False))
        finally:
            vars(trainer).update(kept)
    except (AttributeError, KeyError, TypeError) as error:
        raise RuntimeError(_moved(trainer, f"{type(error).__name__}: {error}")) from error


def _insist_on_loss(trainer: Any, values: Mapping[str, tuple[float, float]]) -> None:
    """Accept pairs of equal numbers (found, expected), or raise RuntimeError."""
    for what, (found, expected) in values.items():
        if not abs(found - expected) <= EXACT * max(1.0, abs(expected)):
            raise RuntimeError(_moved(trainer, f"by {what} a loss is {expected}, TRL's is {found}"))


def _moved(trainer: Any, why: str) -> str:
    return (
        f"{type(trainer).__name__} builds on the loss of {SUPPORTED}, and TRL {version('trl')} "
        f"computes another one ({why})"
    )
