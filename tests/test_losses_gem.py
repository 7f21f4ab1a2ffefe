"""The GEM loss: its published form, its chunked form, and what it is at its neutral setting."""

import pytest
import torch
from torch.nn import functional as F

from diversify.losses import chunked_gem_losses, gem_loss, gem_token_losses
from diversify.losses.gem import IGNORED

LINKS = ["linear", "logsigmoid"]
Z = torch.tensor([2.0, 1.0, 0.0])


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0, scale=1.0):
    return scale * torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def gradient(loss, *leaves):
    return torch.autograd.grad(loss, leaves, retain_graph=True)


# --- the formula ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "link", "expected"),
    [
        (0, "linear", -0.273318),
        (1, "linear", 0.726682),
        (0, "logsigmoid", -0.135754),
        (1, "logsigmoid", 0.365379),
    ],
)
def test_three_tokens_by_hand(label, link, expected):
    """z = (2, 1, 0), beta .7: q = exp(z / .7) / sum = (17.412, 4.173, 1) / 22.585.

    q = (.770960, .184761, .044278). Linear: the mean logit by q is 2 * .770960 + .184761 =
    1.726682; minus the label's 2 or 1. Sigmoid, label 0: margins (0, -1, -2), weights (.5,
    sigmoid(-.01) = .497500, sigmoid(-.02) = .495000): -.184761 * .4975 - 2 * .044278 * .495 =
    -.135754. Label 1: margins (1, 0, -1), weights (.5025, .5, .4975): .770960 * .5025 - .044278 *
    .4975 = .365379.
    """
    loss = gem_loss(Z.unsqueeze(0), torch.tensor([label]), link=link)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_the_gradient_by_hand():
    """Linear, label 1: q - (0, 1, 0). Sigmoid: q w, and minus the sum of q w at the label.

    q w = (.770960 * .5025, .184761 * .5, .044278 * .4975) = (.387407, .092381, .022028), sum
    .501816.
    """
    logits = Z.unsqueeze(0).requires_grad_()
    (linear,) = gradient(gem_loss(logits, torch.tensor([1])), logits)
    assert linear[0].tolist() == pytest.approx([0.770960, -0.815239, 0.044278], abs=1e-5)
    (sigmoid,) = gradient(gem_loss(logits, torch.tensor([1]), link="logsigmoid"), logits)
    assert sigmoid[0].tolist() == pytest.approx([0.387407, -0.409435, 0.022028], abs=1e-5)


@pytest.mark.parametrize("beta", [0.3, 0.7, 1.0, 2.0])
def test_linear_has_the_gradient_of_cross_entropy_at_temperature_beta(beta):
    """And the value beta * (that cross-entropy - the entropy of q)."""
    logits = normal(5, 11, scale=3).requires_grad_()
    labels = torch.tensor([3, 0, 10, 7, 3])
    loss = gem_loss(logits, labels, beta=beta)
    other = beta * F.cross_entropy(logits / beta, labels)
    q = torch.softmax(logits / beta, -1)
    entropy = -(q * q.log()).sum(-1).mean()
    assert loss.item() == pytest.approx((other - beta * entropy).item(), abs=1e-12)
    torch.testing.assert_close(gradient(loss, logits), gradient(other, logits))


def test_at_beta_one_it_trains_as_cross_entropy():
    logits = normal(4, 9, scale=2).requires_grad_()
    labels = torch.tensor([1, 2, 3, 4])
    stock = gradient(F.cross_entropy(logits, labels), logits)
    torch.testing.assert_close(gradient(gem_loss(logits, labels, beta=1.0), logits), stock)
    halves = gradient(2 * gem_loss(logits, labels, beta=1.0, link="logsigmoid"), logits)
    with pytest.raises(AssertionError):  # the weights of the other link are near .5, not at it
        torch.testing.assert_close(halves, stock)
    torch.testing.assert_close(halves, stock, rtol=0.1, atol=1e-3)


def test_what_is_already_unlikely_is_pushed_less_than_by_cross_entropy():
    logits = torch.tensor([[4.0, 3.0, -4.0]], requires_grad=True)
    label = torch.tensor([1])
    (gem,) = gradient(gem_loss(logits, label), logits)
    (stock,) = gradient(F.cross_entropy(logits, label), logits)
    assert 0 < gem[0, 2] < stock[0, 2]
    assert gem[0, 0] > stock[0, 0]


@pytest.mark.parametrize("link", LINKS)
def test_a_constant_added_to_the_logits_changes_nothing(link):
    logits, labels = normal(3, 7), torch.tensor([1, 5, 0])
    shifted = logits + torch.tensor([[100.0], [-3.0], [0.5]])
    torch.testing.assert_close(
        gem_token_losses(shifted, labels, link=link), gem_token_losses(logits, labels, link=link)
    )


@pytest.mark.parametrize("link", LINKS)
def test_the_order_of_tokens_and_of_the_vocabulary_does_not_matter(link):
    logits, labels = normal(6, 8), torch.tensor([1, 5, 0, 7, 2, 2])
    losses = gem_token_losses(logits, labels, link=link)
    rows = torch.randperm(6, generator=generator())
    torch.testing.assert_close(
        gem_token_losses(logits[rows], labels[rows], link=link), losses[rows]
    )
    columns = torch.randperm(8, generator=generator())
    moved = torch.argsort(columns)[labels]
    torch.testing.assert_close(gem_token_losses(logits[:, columns], moved, link=link), losses)


@pytest.mark.parametrize("link", LINKS)
def test_a_vocabulary_of_one_token_costs_nothing(link):
    assert gem_loss(torch.tensor([[3.0]]), torch.tensor([0]), link=link).item() == 0.0


# --- masks and reduction --------------------------------------------------------------------


@pytest.mark.parametrize("link", LINKS)
def test_ignored_tokens_count_in_neither_sum_nor_mean(link):
    logits, labels = normal(2, 3, 8), torch.tensor([[1, IGNORED, 0], [IGNORED, IGNORED, 7]])
    losses = gem_token_losses(logits, labels, link=link)
    assert (losses[labels == IGNORED] == 0).all()
    kept = labels != IGNORED
    torch.testing.assert_close(
        losses[kept], gem_token_losses(logits[kept], labels[kept], link=link)
    )
    mean = gem_loss(logits, labels, link=link)
    torch.testing.assert_close(mean, losses.sum() / 3)


def test_an_ignored_token_may_be_anything():
    logits = normal(2, 5)
    logits[1] = torch.nan
    logits.requires_grad_()
    (grad,) = gradient(gem_loss(logits, torch.tensor([2, IGNORED])), logits)
    assert torch.isfinite(grad).all() and (grad[1] == 0).all()


def test_nothing_to_learn_is_zero_with_a_graph():
    logits = normal(2, 5).requires_grad_()
    loss = gem_loss(logits, torch.tensor([IGNORED, IGNORED]))
    (grad,) = gradient(loss, logits)
    assert loss.item() == 0.0 and (grad == 0).all()


def test_half_precision_is_computed_in_float32():
    logits = normal(4, 9, scale=4).bfloat16()
    labels = torch.tensor([1, 2, 3, 4])
    loss = gem_loss(logits, labels)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(gem_loss(logits.double(), labels).item(), abs=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta": 0.0}, "beta must be a number above 0, got 0.0"),
        ({"beta": float("nan")}, "beta must be"),
        ({"link": "cubic"}, r"link must be one of \['linear', 'logsigmoid'\], got 'cubic'"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        gem_loss(Z.unsqueeze(0), torch.tensor([0]), **options)
    with pytest.raises(ValueError, match=message):
        chunked_gem_losses(normal(1, 2), torch.tensor([0]), normal(3, 2), **options)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"labels must have the shape .* \(1,\), got \(2,\)"):
        gem_loss(Z.unsqueeze(0), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"\(4,\), got \(3,\)"):
        chunked_gem_losses(normal(4, 2), torch.tensor([0, 1, 2]), normal(3, 2))
    for options in ({"tile": (0, 3)}, {"softcap": 0.0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            chunked_gem_losses(normal(1, 2), torch.tensor([0]), normal(3, 2), **options)


# --- chunks ---------------------------------------------------------------------------------

TILES = [(1, 1), (3, 3), (2, 5), (1000, 1000)]


def leaves(bias=True):
    hidden = normal(2, 5, 6, scale=2, seed=1).requires_grad_()
    weight = normal(11, 6, seed=2).requires_grad_()
    labels = torch.tensor([[1, IGNORED, 0, 10, 4], [IGNORED, IGNORED, 7, 3, 3]])
    return hidden, labels, weight, normal(11, seed=3).requires_grad_() if bias else None


@pytest.mark.parametrize("tile", TILES, ids=str)
@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize(
    "head", [{}, {"scale": 0.3}, {"softcap": 4.0}, {"scale": 2.0, "softcap": 3.0}], ids=str
)
@pytest.mark.parametrize("bias", [True, False])
def test_chunks_equal_the_dense_formula_in_value_and_gradient(tile, link, head, bias):
    hidden, labels, weight, offset = leaves(bias)
    inputs = [leaf for leaf in (hidden, weight, offset) if leaf is not None]
    logits = F.linear(hidden, weight, offset) * head.get("scale", 1.0)
    if cap := head.get("softcap"):
        logits = cap * torch.tanh(logits / cap)
    dense = gem_token_losses(logits, labels, link=link)
    chunked = chunked_gem_losses(hidden, labels, weight, offset, link=link, tile=tile, **head)
    torch.testing.assert_close(chunked, dense)
    # Every token has a pull of its own, so that a mean cannot hide a mistake.
    pull = normal(2, 5, seed=4)
    expected = gradient((dense * pull).sum(), *inputs)
    torch.testing.assert_close(gradient((chunked * pull).sum(), *inputs), expected)


def test_a_tied_head_gets_the_gradients_of_both_its_uses():
    weight = normal(9, 4).requires_grad_()
    tokens, labels = torch.tensor([1, 2, 8]), torch.tensor([2, 8, 1])
    hidden = torch.tanh(F.embedding(tokens, weight))
    expected = gradient(gem_loss(hidden @ weight.t(), labels), weight)
    chunked = chunked_gem_losses(hidden, labels, weight, tile=(2, 4)).mean()
    torch.testing.assert_close(gradient(chunked, weight), expected)


@pytest.mark.parametrize("link", LINKS)
def test_logits_of_any_size_do_not_overflow(link):
    hidden = (normal(3, 4, scale=500)).float()
    weight, labels = normal(7, 4).float(), torch.tensor([0, 3, 6])
    dense = gem_token_losses(hidden @ weight.t(), labels, link=link)
    assert torch.isfinite(dense).all()
    chunked = chunked_gem_losses(hidden, labels, weight, link=link, tile=(2, 2))
    torch.testing.assert_close(chunked, dense)


def test_a_frozen_head_gets_no_gradient_and_hidden_states_do():
    hidden, labels, weight, _ = leaves(bias=False)
    losses = chunked_gem_losses(hidden, labels, weight.detach(), tile=(3, 3))
    expected = gem_token_losses(hidden @ weight.detach().t(), labels)
    torch.testing.assert_close(gradient(losses.sum(), hidden), gradient(expected.sum(), hidden))


def test_a_batch_without_labels_is_zero_with_a_graph_that_reaches_the_head():
    hidden, labels, weight, _ = leaves(bias=False)
    losses = chunked_gem_losses(hidden, torch.full_like(labels, IGNORED), weight)
    grads = gradient(losses.sum(), hidden, weight)
    assert losses.shape == labels.shape and (losses == 0).all()
    assert all((grad == 0).all() for grad in grads)


def test_ignored_tokens_are_not_projected():
    hidden, labels, weight, _ = leaves(bias=False)
    broken = hidden.detach().clone()
    broken[labels == IGNORED] = torch.nan
    broken.requires_grad_()
    losses = chunked_gem_losses(broken, labels, weight)
    torch.testing.assert_close(losses, chunked_gem_losses(hidden, labels, weight))
    assert torch.isfinite(gradient(losses.sum(), weight)[0]).all()


def test_autocast_multiplies_in_half_precision_and_sums_in_float32():
    """What a dense head under autocast gives, to the rounding of bfloat16."""
    hidden, labels, weight, _ = (
        x if x is None or x.dtype == torch.int64 else x.detach().float() for x in leaves()
    )
    hidden.requires_grad_(), weight.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        chunked = chunked_gem_losses(hidden, labels, weight, tile=(3, 4))
        dense = gem_token_losses(F.linear(hidden, weight), labels)
    assert chunked.dtype == torch.float32
    torch.testing.assert_close(chunked, dense, rtol=0.01, atol=0.02)
    assert (chunked != chunked_gem_losses(hidden, labels, weight)).any()
    found, expected = (gradient(x.sum(), hidden, weight) for x in (chunked, dense))
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.05)


def test_sharded_heads_are_gathered_around_both_passes():
    entered = []

    class Gathered:
        def __init__(self, *parameters):
            entered.append(len(parameters))

        def __enter__(self):
            entered.append("in")

        def __exit__(self, *error):
            entered.append("out")

    hidden, labels, weight, bias = leaves()
    chunked_gem_losses(hidden, labels, weight, bias, gather=Gathered).sum().backward()
    assert entered == [2, "in", "out"] * 2


def test_no_more_than_a_tile_of_logits_is_ever_held(monkeypatch):
    """The products of forward and backward, by their size."""
    sizes = []
    multiply = torch.mm

    def watched(a, b, **options):
        sizes.append((len(a), b.shape[1]))
        return multiply(a, b, **options)

    monkeypatch.setattr(torch, "mm", watched)
    hidden, labels, weight, _ = leaves(bias=False)
    chunked_gem_losses(hidden, labels, weight, tile=(3, 4)).sum().backward()
    # Seven tokens in 3 + 3 + 1, eleven entries in 4 + 4 + 3, twice.
    assert sizes == [(rows, columns) for rows in (3, 3, 1) for columns in (4, 4, 3)] * 2
