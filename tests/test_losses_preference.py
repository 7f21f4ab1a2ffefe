"""The preference losses: published formulas, their neutral settings, and what they refuse."""

import math

import pytest
import torch

from diversify.losses import h_dpo_loss, spl_loss, weighted_dpo_loss


def sigmoid_loss(argument):
    return math.log1p(math.exp(-argument))


def example(dtype=torch.float64):
    """One pair: log-ratio of the policy -10 + 12 = 2, of the reference -11 + 11.5 = .5."""
    return [torch.tensor([value], dtype=dtype) for value in (-10.0, -12.0, -11.0, -11.5)]


def batch(seed, size=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [-20 * torch.rand(size, generator=generator, dtype=dtype) for _ in range(4)]


def plain(pairs, beta):
    chosen, rejected, ref_chosen, ref_rejected = pairs
    return torch.nn.functional.softplus(-beta * (chosen - rejected - ref_chosen + ref_rejected))


def test_spl_by_hand():
    """.15 * 2 - .1 * .5 = .25; -log sigmoid(.25) = log(1 + e^-.25) = .575939."""
    [loss] = spl_loss(*example(), alpha=0.15, beta=0.1)
    assert loss.item() == pytest.approx(sigmoid_loss(0.25)) == pytest.approx(0.575939, abs=1e-6)


def test_h_dpo_by_hand():
    """.1 * (1.5 * 2 - .5) = .25, the same number: alpha counts relative to beta."""
    [loss] = h_dpo_loss(*example(), alpha=1.5, beta=0.1)
    assert loss.item() == pytest.approx(0.575939, abs=1e-6)
    [sharper] = h_dpo_loss(*example(), alpha=0.5, beta=0.1)
    assert sharper.item() == pytest.approx(sigmoid_loss(0.05))


def test_weighted_dpo_by_hand():
    """.1 * (2 - .5) = .15; log(1 + e^-.15) = .620957; three times that is 1.862871."""
    [loss] = weighted_dpo_loss(*example(), torch.tensor([3.0]), beta=0.1)
    assert loss.item() == pytest.approx(3 * sigmoid_loss(0.15)) == pytest.approx(1.862871, abs=3e-6)


@pytest.mark.parametrize("seed", range(5))
def test_neutral_settings_are_dpo(seed):
    pairs = batch(seed)
    expected = plain(pairs, 0.3)
    torch.testing.assert_close(spl_loss(*pairs, alpha=0.3, beta=0.3), expected)
    torch.testing.assert_close(h_dpo_loss(*pairs, alpha=1.0, beta=0.3), expected)
    torch.testing.assert_close(weighted_dpo_loss(*pairs, torch.ones(5), beta=0.3), expected)


@pytest.mark.parametrize("seed", range(5))
def test_every_pair_stands_alone(seed):
    """Order does not matter, and a pair by itself has the loss that it has in the batch."""
    pairs, weights = batch(seed), torch.rand(5, generator=torch.Generator().manual_seed(seed))
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    for loss in (
        lambda four, w: spl_loss(*four, alpha=0.2, beta=0.1),
        lambda four, w: h_dpo_loss(*four, alpha=0.9, beta=0.1),
        lambda four, w: weighted_dpo_loss(*four, w, beta=0.1),
    ):
        whole = loss(pairs, weights)
        assert whole.shape == (5,) and (whole > 0).all()
        moved = loss([values[order] for values in pairs], weights[order])
        torch.testing.assert_close(moved, whole[order])
        alone = loss([values[2:3] for values in pairs], weights[2:3])
        torch.testing.assert_close(alone, whole[2:3])
    assert spl_loss(*(values[:0] for values in pairs), alpha=1.0, beta=1.0).shape == (0,)


def test_a_weight_of_zero_has_exactly_no_loss_and_no_gradient():
    pairs = [values.requires_grad_() for values in batch(0, size=2)]
    loss = weighted_dpo_loss(*pairs, torch.tensor([0.0, 1.0]), beta=0.1)
    loss.sum().backward()
    assert loss[0] == 0 and pairs[0].grad[0] == 0
    assert pairs[0].grad[1] < 0 < pairs[1].grad[1]


def test_more_alpha_pushes_harder_at_the_same_log_ratio():
    """The gradient on log pi_w is -alpha * sigmoid(-argument): at argument 0, -alpha / 2."""
    zeros = [torch.zeros(1, dtype=torch.float64) for _ in range(3)]
    for alpha in (0.1, 0.4):
        chosen = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        spl_loss(chosen, *zeros, alpha=alpha, beta=0.1).backward()
        assert chosen.grad.item() == pytest.approx(-alpha / 2)


def test_single_and_double_precision_agree():
    double, single = batch(3), [values.float() for values in batch(3)]
    for options in ({"alpha": 0.12, "beta": 0.1}, {"alpha": 3.0, "beta": 2.0}):
        loss = spl_loss(*single, **options)
        assert loss.dtype == torch.float32
        torch.testing.assert_close(
            loss.double(), spl_loss(*double, **options), atol=1e-5, rtol=1e-5
        )


def test_a_hopeless_pair_has_a_finite_loss():
    """An argument of -2000 has the loss 2000 and not infinity."""
    pair = [torch.tensor([value]) for value in (-2000.0, 0.0, 0.0, 0.0)]
    assert spl_loss(*pair, alpha=1.0, beta=1.0).item() == 2000.0


@pytest.mark.parametrize("value", [0.0, -0.1, math.nan, math.inf])
def test_weights_of_the_terms_must_be_above_zero(value):
    for loss in (spl_loss, h_dpo_loss):
        with pytest.raises(ValueError, match="alpha must be a number above 0"):
            loss(*example(), alpha=value, beta=0.1)
        with pytest.raises(ValueError, match="beta must be a number above 0"):
            loss(*example(), alpha=0.1, beta=value)
    with pytest.raises(ValueError, match="beta must be a number above 0"):
        weighted_dpo_loss(*example(), torch.ones(1), beta=value)


@pytest.mark.parametrize("position", range(4))
def test_bad_log_probabilities_are_named(position):
    names = ("chosen", "rejected", "ref_chosen", "ref_rejected")
    for bad in (math.nan, -math.inf):
        pairs = example()
        pairs[position] = torch.tensor([bad], dtype=torch.float64)
        with pytest.raises(ValueError, match=f"^{names[position]} must be finite"):
            spl_loss(*pairs, alpha=0.1, beta=0.1)
    pairs = example()
    pairs[position] = torch.zeros(2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"one shape \(B,\)"):
        weighted_dpo_loss(*pairs, torch.ones(1), beta=0.1)


def test_tables_and_scalars_are_refused():
    with pytest.raises(ValueError, match=r"one shape \(B,\)"):
        spl_loss(*(torch.zeros(2, 2) for _ in range(4)), alpha=0.1, beta=0.1)
    with pytest.raises(ValueError, match=r"one shape \(B,\)"):
        spl_loss(*(torch.tensor(0.0) for _ in range(4)), alpha=0.1, beta=0.1)


@pytest.mark.parametrize("weight", [-0.5, math.nan, math.inf])
def test_bad_weights_are_refused(weight):
    with pytest.raises(ValueError, match="weights must be finite and 0 or more"):
        weighted_dpo_loss(*example(), torch.tensor([weight]), beta=0.1)
    with pytest.raises(ValueError, match=r"weights must be \(1,\), got \(2,\)"):
        weighted_dpo_loss(*example(), torch.ones(2), beta=0.1)
