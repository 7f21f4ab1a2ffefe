"""Losses on preference pairs: sequence log-probabilities in, one value a pair out.

A sequence log-probability is the sum over the tokens of a completion given its prompt. Every
function takes four tensors (B,): the chosen and the rejected completions under the policy, then
under the frozen reference. TRL's trainers compute these numbers themselves; the functions say what
`diversify.trainers.preference` makes them compute.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

__all__ = ["h_dpo_loss", "spl_loss", "weighted_dpo_loss"]


def spl_loss(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    ref_chosen: torch.Tensor,
    ref_rejected: torch.Tensor,
    *,
    alpha: float,
    beta: float,
) -> torch.Tensor:
    r"""Diverse preference learning: DPO with entropy and divergence weighed apart, above 0.

    .. math::
        -\log \sigma\big(\alpha (\log \pi_w - \log \pi_l)
        - \beta (\log \pi^{ref}_w - \log \pi^{ref}_l)\big)

    The objective behind it pays :math:`\alpha` for the entropy of the policy and :math:`\beta` for
    staying near the reference. Its optimum is that of DPO raised to the power
    :math:`\beta / \alpha`: with :math:`\alpha > \beta` a flatter one, as if sampled hotter, but
    learned sequence by sequence and not token by token. With :math:`\alpha = \beta` it is DPO.

    Args:
        chosen: Log-probabilities (B,) of the chosen completions under the policy.
        rejected: Of the rejected ones, (B,).
        ref_chosen: Of the chosen ones under the reference, (B,).
        ref_rejected: Of the rejected ones under the reference, (B,).
        alpha: Weight of the policy's own log-ratio, above 0. More keeps more entropy.
        beta: Weight of the reference's log-ratio, above 0. More stays closer to the reference.

    Returns:
        Losses (B,).

    Raises:
        ValueError: Shapes differ or are not (B,), a value is not finite, or a weight not above 0.

    Example:
        >>> pair = (torch.tensor([-10.0]), torch.tensor([-12.0]))
        >>> reference = (torch.tensor([-11.0]), torch.tensor([-11.5]))
        >>> round(spl_loss(*pair, *reference, alpha=0.15, beta=0.1).item(), 6)
        0.575939

    Reference:
        S. Slocum, A. Parker-Sartori and D. Hadfield-Menell, "Diverse Preference Learning for
        Capabilities and Alignment" (ICLR 2025), arXiv 2511.08594. No deviation.
    """
    policy, reference = _log_ratios(chosen, rejected, ref_chosen, ref_rejected)
    _check_positive(alpha=alpha, beta=beta)
    return -functional.logsigmoid(alpha * policy - beta * reference)


def h_dpo_loss(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    ref_chosen: torch.Tensor,
    ref_rejected: torch.Tensor,
    *,
    alpha: float,
    beta: float,
) -> torch.Tensor:
    r"""Entropy-controllable DPO: the same loss as `spl_loss`, with alpha relative to beta.

    .. math::
        -\log \sigma\Big(\beta \big(\alpha (\log \pi_w - \log \pi_l)
        - (\log \pi^{ref}_w - \log \pi^{ref}_l)\big)\Big)

    With :math:`\alpha < 1` the policy becomes sharper than that of DPO, which is what the paper
    uses it for; with :math:`\alpha > 1` flatter. With :math:`\alpha = 1` it is DPO.

    Args:
        chosen: Log-probabilities (B,) of the chosen completions under the policy.
        rejected: Of the rejected ones, (B,).
        ref_chosen: Of the chosen ones under the reference, (B,).
        ref_rejected: Of the rejected ones under the reference, (B,).
        alpha: Weight of the entropy, above 0.
        beta: Weight of both log-ratios, above 0.

    Returns:
        Losses (B,).

    Raises:
        ValueError: Shapes differ or are not (B,), a value is not finite, or a weight not above 0.

    Example:
        >>> pair = (torch.tensor([-10.0]), torch.tensor([-12.0]))
        >>> reference = (torch.tensor([-11.0]), torch.tensor([-11.5]))
        >>> round(h_dpo_loss(*pair, *reference, alpha=1.5, beta=0.1).item(), 6)
        0.575939

    Reference:
        M. Omura, Y. Fujita and T. Kataoka, "Entropy Controllable Direct Preference Optimization",
        arXiv 2411.07595. No deviation.
    """
    _check_positive(alpha=alpha, beta=beta)
    return spl_loss(chosen, rejected, ref_chosen, ref_rejected, alpha=alpha * beta, beta=beta)


def weighted_dpo_loss(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    ref_chosen: torch.Tensor,
    ref_rejected: torch.Tensor,
    weights: torch.Tensor,
    *,
    beta: float,
) -> torch.Tensor:
    r"""DPO in which every pair counts by its weight, 0 and up.

    .. math::
        -w \log \sigma\Big(\beta \big((\log \pi_w - \log \pi_l)
        - (\log \pi^{ref}_w - \log \pi^{ref}_l)\big)\Big)

    With weights of 1 it is DPO. A mean over pairs divides by their number and not by the sum of
    their weights: let weights have mean 1 over a data set.

    Args:
        chosen: Log-probabilities (B,) of the chosen completions under the policy.
        rejected: Of the rejected ones, (B,).
        ref_chosen: Of the chosen ones under the reference, (B,).
        ref_rejected: Of the rejected ones under the reference, (B,).
        weights: Weights (B,), 0 or more: of how much use the chosen completion is as an example
            (`deviation_weights` of DDPO, `creativity_weights` of CrPO).
        beta: Weight of both log-ratios, above 0.

    Returns:
        Losses (B,).

    Raises:
        ValueError: Shapes differ or are not (B,), a value is not finite, a weight is negative, or
            beta is not above 0.

    Example:
        >>> pair = (torch.tensor([-10.0]), torch.tensor([-12.0]))
        >>> reference = (torch.tensor([-11.0]), torch.tensor([-11.5]))
        >>> loss = weighted_dpo_loss(*pair, *reference, torch.tensor([2.0]), beta=0.1)
        >>> round(loss.item(), 6)
        1.241914

    Reference:
        J. Chung et al., "Modifying Large Language Model Post-Training for Diverse Creative
        Writing", arXiv 2503.17126 (DDPO); M. Ismayilzada et al., "Creative Preference
        Optimization", arXiv 2505.14442 (CrPO). No deviation.
    """
    policy, reference = _log_ratios(chosen, rejected, ref_chosen, ref_rejected)
    _check_positive(beta=beta)
    if weights.shape != chosen.shape:
        raise ValueError(f"weights must be {tuple(chosen.shape)}, got {tuple(weights.shape)}")
    if not torch.isfinite(weights).all() or (weights < 0).any():
        raise ValueError(f"weights must be finite and 0 or more, got {weights.tolist()!r:.200}")
    return weights * -functional.logsigmoid(beta * (policy - reference))


def _log_ratios(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    ref_chosen: torch.Tensor,
    ref_rejected: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return chosen minus rejected under the policy and under the reference, checked."""
    named = {"chosen": chosen, "rejected": rejected}
    named |= {"ref_chosen": ref_chosen, "ref_rejected": ref_rejected}
    shapes = {name: tuple(values.shape) for name, values in named.items()}
    if chosen.ndim != 1 or len(set(shapes.values())) > 1:
        raise ValueError(f"log-probabilities must share one shape (B,), got {shapes}")
    for name, values in named.items():
        if not torch.isfinite(values).all():
            raise ValueError(f"{name} must be finite, got {values.tolist()!r:.200}")
    return chosen - rejected, ref_chosen - ref_rejected


def _check_positive(**options: float) -> None:
    """Accept numbers above 0, or raise ValueError."""
    for name, value in options.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be a number above 0, got {value}")
