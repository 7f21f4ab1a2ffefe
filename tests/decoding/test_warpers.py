"""The samplers of one row: their published formulas by hand, and what holds for every one of them."""

import math

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TopHLogitsWarper

from diversify.decoding.warpers import (
    DRY,
    EDT,
    XTC,
    MinK,
    Mirostat2,
    PLess,
    PLessNorm,
    TopH,
    TopNSigma,
    dry,
    edt,
    min_k,
    mirostat2,
    mirostat2_update,
    p_less,
    p_less_norm,
    token_ids_with,
    top_h,
    top_n_sigma,
    xtc,
)
from diversify.decoding.warpers.rows import leading

OUT = -math.inf


def always(z, ids):
    return xtc(z, probability=1.0, generator=None)


def bounded(z, ids):
    return mirostat2(z, torch.full((len(z),), 4.0))


TRUNCATING = {
    "top_n_sigma": lambda z, ids: top_n_sigma(z),
    "min_k": lambda z, ids: min_k(z),
    "p_less": lambda z, ids: p_less(z),
    "p_less_norm": lambda z, ids: p_less_norm(z),
    "top_h": lambda z, ids: top_h(z),
    "xtc": always,
    "mirostat2": bounded,
}
EVERY = TRUNCATING | {"edt": lambda z, ids: edt(z), "dry": lambda z, ids: dry(z, ids)}

PROCESSORS = [
    TopNSigma(),
    MinK(),
    PLess(),
    PLessNorm(),
    TopH(),
    XTC(probability=1.0),
    EDT(),
    DRY(),
    Mirostat2(),
]


def random_rows(seed, rows=6, vocabulary=40, dtype=torch.float64):
    """Rows from flat to peaked, and some history that repeats itself."""
    generator = torch.Generator().manual_seed(seed)
    widths = torch.linspace(0.3, 6.0, rows, dtype=dtype).unsqueeze(-1)
    z = widths * torch.randn(rows, vocabulary, generator=generator, dtype=dtype)
    ids = torch.randint(0, 3, (rows, 12), generator=generator)
    return z, ids


def kept(logits):
    return logits > OUT


def which(logits):
    return [row.nonzero().squeeze(-1).tolist() for row in kept(logits)]


def of(*p):
    return torch.tensor([p], dtype=torch.float64).log()


every = pytest.mark.parametrize("name", EVERY)
truncating = pytest.mark.parametrize("name", TRUNCATING)
seeds = pytest.mark.parametrize("seed", range(3))


class TestEverySampler:
    @every
    @seeds
    def test_leaves_something_to_draw_and_the_best_unless_it_is_xtc(self, name, seed):
        z, ids = random_rows(seed)
        left = EVERY[name](z, ids)
        assert kept(left).any(-1).all()
        if name == "xtc":
            assert (kept(left).sum(-1) < z.shape[-1]).any()
        else:
            assert kept(left).gather(-1, z.argmax(-1, keepdim=True)).all()

    @every
    @seeds
    def test_does_not_know_the_order_of_the_vocabulary(self, name, seed):
        z, ids = random_rows(seed)
        order = torch.randperm(z.shape[-1], generator=torch.Generator().manual_seed(seed))
        moved = EVERY[name](z[:, order], order.argsort()[ids])
        torch.testing.assert_close(moved, EVERY[name](z, ids)[:, order])

    @every
    @seeds
    def test_a_constant_added_to_the_logits_changes_nothing(self, name, seed):
        z, ids = random_rows(seed)
        plain, shifted = EVERY[name](z, ids), EVERY[name](z + 17.0, ids)
        assert torch.equal(kept(plain), kept(shifted))
        torch.testing.assert_close(plain.softmax(-1), shifted.softmax(-1))

    @every
    @seeds
    def test_what_is_out_stays_out_and_disturbs_nothing(self, name, seed):
        z, ids = random_rows(seed)
        wider = torch.cat([z, torch.full((len(z), 70), OUT, dtype=z.dtype)], dim=-1)
        left = EVERY[name](wider, ids)
        torch.testing.assert_close(left[:, : z.shape[-1]], EVERY[name](z, ids))
        assert not kept(left)[:, z.shape[-1] :].any()

    @every
    def test_rows_stand_alone(self, name):
        z, ids = random_rows(3)
        z[2, ::2] = OUT
        alone = [EVERY[name](z[i : i + 1], ids[i : i + 1]) for i in range(len(z))]
        torch.testing.assert_close(EVERY[name](z, ids), torch.cat(alone))

    @every
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
    def test_keeps_the_type_and_decides_as_in_double(self, name, dtype):
        z, ids = random_rows(4, dtype=torch.float64)
        z = z.to(dtype)
        before = z.clone()
        left = EVERY[name](z, ids)
        assert left.dtype == dtype
        assert torch.equal(z, before), "the logits given are not written to"
        assert torch.equal(kept(left), kept(EVERY[name](z.double(), ids)))

    @every
    def test_of_equal_tokens_none_is_preferred(self, name):
        left = EVERY[name](torch.full((2, 8), 1.5), torch.tensor([[0], [1]]))
        assert torch.equal(left, torch.full((2, 8), 1.5))

    @pytest.mark.parametrize("name", ["top_n_sigma", "p_less", "top_h", "xtc"])
    def test_nor_of_more_than_a_look_at_the_best_can_see(self, name):
        z = torch.zeros(1, 300)
        z[0, 50:200] = 4.0
        kept_of = {"xtc": 300}.get(name, 150)  # none of them is likely enough for XTC
        assert kept(EVERY[name](z, torch.tensor([[0]]))).sum() == kept_of

    @every
    def test_one_token_left_is_the_one_drawn(self, name):
        z = torch.full((2, 9), OUT)
        z[0, 3], z[1, 5] = 2.0, -40.0
        assert torch.equal(EVERY[name](z, torch.tensor([[0], [1]])), z)

    @every
    def test_one_word_vocabularies(self, name):
        z = torch.tensor([[0.3]])
        assert torch.equal(EVERY[name](z, torch.tensor([[0, 0]])), z)

    @truncating
    @seeds
    def test_what_is_kept_is_kept_bit_for_bit(self, name, seed):
        z, ids = random_rows(seed, dtype=torch.float32)
        left = TRUNCATING[name](z, ids)
        assert torch.equal(left[kept(left)], z[kept(left)])

    @truncating
    def test_nan_is_not_taken_for_a_removed_token(self, name):
        z, ids = random_rows(0)
        z[1, 4] = math.nan
        left = TRUNCATING[name](z, ids)
        assert left[1, 4].isnan()
        assert kept(left)[[0, 2]].any(-1).all()

    @every
    @pytest.mark.parametrize("shape", [(8,), (2, 3, 8)])
    def test_refuses_other_shapes(self, name, shape):
        with pytest.raises(ValueError, match=r"of shape \(rows, vocabulary\)"):
            EVERY[name](torch.zeros(shape), torch.zeros(1, 2, dtype=torch.long))

    @every
    def test_refuses_what_is_no_logits(self, name):
        with pytest.raises(ValueError, match=r"got torch\.int64"):
            EVERY[name](torch.zeros(2, 3, dtype=torch.long), torch.zeros(2, 2, dtype=torch.long))


NEUTRAL = {
    "top_n_sigma": lambda z, ids: top_n_sigma(z, n=math.inf),
    "min_k": lambda z, ids: min_k(z, tau=math.inf),
    "top_h": lambda z, ids: top_h(z, alpha=1),
    "xtc": lambda z, ids: xtc(z, probability=0.0, generator=None),
    "edt": lambda z, ids: edt(z, base=1.0, theta=0.0),
    "edt, n": lambda z, ids: edt(z, base=1.0, n=1.0),
    "dry": lambda z, ids: dry(z, ids, multiplier=0.0),
    "mirostat2": lambda z, ids: mirostat2(z, torch.full((len(z),), math.inf)),
}


@pytest.mark.parametrize("name", NEUTRAL)
def test_at_the_neutral_setting_nothing_happens(name):
    z, ids = random_rows(5)
    z[0, 3:6] = OUT
    assert torch.equal(NEUTRAL[name](z, ids), z)


def test_p_less_keeps_all_of_a_uniform_distribution():
    """It has no setting; where all tokens are alike, 1/V >= sum 1/V^2 = 1/V holds for each."""
    z = torch.zeros(1, 49_152)
    assert kept(p_less(z)).all() and kept(p_less_norm(z)).all()


class TestTopNSigma:
    L = torch.tensor([[4.0, 3.0, 2.0, 1.0, 0.0, -2.0]])

    @pytest.mark.parametrize(("n", "count"), [(0.5, 1), (1.0, 2), (1.5, 3), (2.0, 4)])
    def test_by_hand(self, n, count):
        """Mean 8/6, squares 34/6 - 64/36 = 3.888889, sigma 1.972027: cuts 3.01, 2.03, 1.04, .06."""
        assert which(top_n_sigma(self.L, n=n)) == [list(range(count))]
        assert which(top_n_sigma(self.L / 3, n=n)) == [list(range(count))]

    @seeds
    def test_the_temperature_changes_nothing(self, seed):
        z, _ = random_rows(seed)
        for temperature in (0.1, 0.7, 2.0, 10.0):
            assert which(top_n_sigma(z / temperature)) == which(top_n_sigma(z))


def sorted_min_k(z, tau):
    """The formula on a full sort of one row of finite logits; returns how many stay."""
    best = sorted(z.tolist(), reverse=True)
    span = best[0] - best[-1]
    steepest = max(range(1, len(best)), key=lambda i: (best[i - 1] - best[i]) / (span * i))
    return max(steepest, math.floor(tau / span))


class TestMinK:
    def test_by_hand(self):
        """Range 5; falls .2, 3.8, 1 by 1, 2, 3: .2, 1.9, .33, so two stay; and 3/5 floors to 0."""
        z = torch.tensor([[5.0, 4.8, 1.0, 0.0]])
        assert which(min_k(z)) == [[0, 1]]
        assert which(min_k(z, tau=14.9)) == [[0, 1]]  # floor(14.9 / 5) = 2
        assert which(min_k(z, tau=15.0)) == [[0, 1, 2]]

    def test_the_first_of_equal_falls_counts(self):
        """Falls 1 and 2 by 1 and 2 are both 1; after the first, one token stays."""
        assert which(min_k(torch.tensor([[3.0, 2.0, 0.0]]), tau=0.0)) == [[0]]

    @seeds
    def test_the_temperature_changes_nothing_but_the_floor(self, seed):
        z, _ = random_rows(seed)
        for temperature in (0.1, 0.7, 2.0, 10.0):
            assert which(min_k(z / temperature, tau=0.0)) == which(min_k(z, tau=0.0))
            assert which(min_k(z / temperature, tau=50 / temperature)) == which(min_k(z, tau=50.0))

    @pytest.mark.parametrize("vocabulary", [1500, 64 * 300])
    @pytest.mark.parametrize("tau", [0.0, 3.0, 900.0])
    def test_equals_the_full_sort(self, tau, vocabulary):
        """Where the head is flat, the fall lies far down: the short look must find it, too."""
        generator = torch.Generator().manual_seed(0)
        z = torch.rand(8, vocabulary, generator=generator, dtype=torch.float64)
        for row, size in enumerate((1, 60, 64, 65, 200, 512, 700, 1499)):
            z[row, torch.randperm(vocabulary, generator=generator)[:size]] += 0.3 * 10**row
        found = kept(min_k(z, tau=tau)).sum(-1).tolist()
        assert found == [sorted_min_k(row, tau) for row in z]
        assert max(found) > 512


class TestPLess:
    def test_by_hand(self):
        """.16 + .16 + .04 = .36: two of .4 pass; .25 + 2 * .0625 = .375: one of .5 does."""
        assert which(p_less(of(0.4, 0.4, 0.2))) == [[0, 1]]
        assert which(p_less(of(0.5, 0.25, 0.25))) == [[0]]

    def test_norm_by_hand(self):
        """(3 * .375 - 1) / 2 = .0625: all pass; of .7 .2 .1, (3 * .54 - 1) / 2 = .31: one does."""
        assert which(p_less_norm(of(0.5, 0.25, 0.25))) == [[0, 1, 2]]
        assert which(p_less_norm(of(0.7, 0.2, 0.1))) == [[0]]

    def test_norm_counts_only_what_is_still_there(self):
        """.6 .22 .18: sum .4408, (3 * .4408 - 1) / 2 = .1612 keeps all; V = 100 would ask .435."""
        z = torch.cat([of(0.6, 0.22, 0.18), torch.full((1, 97), OUT)], dim=-1)
        assert which(p_less_norm(z)) == [[0, 1, 2]]

    @seeds
    def test_norm_is_looser(self, seed):
        z, _ = random_rows(seed)
        plain, norm = kept(p_less(z)), kept(p_less_norm(z))
        assert (norm | ~plain).all() and norm.sum() > plain.sum()


def sorted_top_h(z, alpha):
    """Algorithm 1 on one row: add the best tokens while the entropy of the set allows it."""
    p = np.sort(np.exp(z.numpy() - z.max().item()))[::-1]
    p = p / p.sum()
    bound, size = -alpha * (p * np.log(p)).sum(), 1
    while size < len(p):
        q = p[: size + 1] / p[: size + 1].sum()
        if -(q * np.log(q)).sum() > bound:
            break
        size += 1
    return size


class TestTopH:
    @pytest.mark.parametrize(("alpha", "count"), [(0.4, 1), (0.6, 2), (0.85, 2), (0.86, 3), (1, 4)])
    def test_by_hand(self, alpha, count):
        """p = 8 4 3 1 of 16, H = 1.7028 bits. Of two, (2/3, 1/3): .9183; of three, (8 4 3)/15: 1.4566.

        The bounds are .681, 1.022, 1.447, 1.464 and 1.703 bits.
        """
        assert which(top_h(of(8, 4, 3, 1), alpha=alpha)) == [list(range(count))]

    @pytest.mark.parametrize(("temperature", "paper", "shipped"), [(1, 9, 5), (1.5, 50, 13)])
    def test_is_the_paper_s_and_not_the_shipped_one(self, temperature, paper, shipped):
        """Zipf's law, p ~ rank^-1.3 over 32 000 tokens: transformers keeps a fraction of it."""
        z = -1.3 * torch.arange(1, 32_001, dtype=torch.float64).log()[None] / temperature
        assert kept(top_h(z, alpha=0.4)).sum() == paper == sorted_top_h(z[0], 0.4)
        assert kept(TopHLogitsWarper(0.4)(None, z)).sum() == shipped

    @pytest.mark.parametrize("vocabulary", [1500, 64 * 300])
    @pytest.mark.parametrize("alpha", [0.1, 0.4, 0.8, 0.95])
    def test_equals_the_full_sort(self, alpha, vocabulary):
        z, _ = random_rows(1, rows=8, vocabulary=vocabulary)
        found = kept(top_h(z, alpha=alpha)).sum(-1).tolist()
        assert found == [sorted_top_h(row, alpha) for row in z]
        assert alpha < 0.9 or max(found) > 512


class TestXTC:
    P = of(0.5, 0.3, 0.15, 0.05)

    def test_by_hand(self):
        """Likely enough are .5 .3 .15: all but the last go. From .2 on two are: the first goes."""
        left = xtc(self.P, probability=1.0, generator=None)
        assert which(left) == [[2, 3]]
        assert which(xtc(self.P, threshold=0.2, probability=1.0, generator=None)) == [[1, 2, 3]]
        assert which(xtc(self.P, threshold=0.4, probability=1.0, generator=None)) == [[0, 1, 2, 3]]

    def test_what_reaches_the_threshold_exactly_counts(self):
        assert which(xtc(of(0.5, 0.25, 0.25), threshold=0.25, probability=1.0, generator=None)) == [
            [1, 2]
        ]

    def test_protected_tokens_are_neither_removed_nor_counted(self):
        """Without the first the choices are .3 .15, without the third .5 .3; with one, there is none."""
        for protected, expected in (
            ((0,), [0, 2, 3]),
            ((2,), [1, 2, 3]),
            ((0, 1), [0, 1, 2, 3]),
            ((3,), [2, 3]),
            ((0, 99), [0, 2, 3]),
        ):
            left = xtc(self.P, probability=1.0, protected=protected, generator=None)
            assert which(left) == [expected], protected

    def test_every_row_has_a_coin_of_its_own(self):
        z = self.P.expand(4000, -1)
        left = xtc(z, probability=0.3, generator=torch.Generator().manual_seed(1))
        share = (~kept(left)[:, 0]).double().mean().item()
        assert share == pytest.approx(0.3, abs=0.03)

    def test_the_same_generator_gives_the_same_and_the_global_stream_is_left_alone(self):
        z, _ = random_rows(1, rows=40)
        before = torch.random.get_rng_state()
        first, again, other = (
            xtc(z, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
        )
        assert torch.equal(first, again) and not torch.equal(first, other)
        assert torch.equal(torch.random.get_rng_state(), before)

    def test_rows_draw_one_after_another_whatever_is_in_the_others(self):
        """A finished row tosses its coin, too: what happens in it is of no matter to the next."""
        z, _ = random_rows(1, rows=40)
        together = xtc(z, generator=torch.Generator().manual_seed(1))
        generator = torch.Generator().manual_seed(1)
        alone = torch.cat([xtc(row[None], generator=generator) for row in z])
        assert torch.equal(together, alone)
        finished = z.clone()
        finished[:5] = OUT
        finished[:5, 0] = 0.0
        left = xtc(finished, generator=torch.Generator().manual_seed(1))
        assert torch.equal(left[5:], together[5:])


class TestEDT:
    def test_by_hand(self):
        """Of 1/2 1/4 1/4, H = 1.5 ln 2 = 1.039721, T = .8^(1 / 1.039721) = e^-.214619 = .806849.

        The gap ln 2 becomes .693147 / .806849 = .859079.
        """
        left = edt(of(0.5, 0.25, 0.25))[0]
        assert (left[0] - left[1]).item() == pytest.approx(0.859079, abs=1e-6)
        half = edt(of(0.5, 0.25, 0.25), base=0.5)[0]
        assert (half[0] - half[1]).item() == pytest.approx(2 * 0.859079, abs=1e-6)

    @seeds
    def test_without_theta_it_is_a_temperature(self, seed):
        z, _ = random_rows(seed)
        torch.testing.assert_close(edt(z, base=1.7, theta=0).softmax(-1), (z / 1.7).softmax(-1))

    def test_the_surer_the_cooler(self):
        """H of (.99, .01) is .056 nats: T = .8^17.86 = .0186; of (.5, .5), .693: T = .725."""
        sure, unsure = edt(torch.cat([of(0.99, 0.01), of(0.6, 0.4)]))
        assert (sure[0] - sure[1]).item() == pytest.approx(math.log(99) / 0.0186, rel=0.01)
        assert 1 < (unsure[0] - unsure[1]).item() / math.log(1.5) < 1.5

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
    def test_certainty_is_no_division_by_zero(self, dtype):
        z = torch.tensor([[500.0, 0.0, OUT], [0.0, OUT, OUT]], dtype=dtype)
        left = edt(z)
        assert not left.isnan().any()
        assert torch.equal(left.softmax(-1)[:, 0], torch.ones(2, dtype=dtype))


def slow_dry(z, ids, *, allowed, breakers):
    """The rule word for word, for one row."""
    longest = {}
    for j in range(1, len(ids)):
        length = 0
        while (
            length < j
            and length < 50
            and ids[j - 1 - length] == ids[-1 - length]
            and ids[-1 - length] not in breakers
        ):
            length += 1
        if length >= allowed and ids[j] not in breakers:
            longest[ids[j]] = max(longest.get(ids[j], 0), length)
    for token, length in longest.items():
        z[token] -= 0.8 * 1.75 ** (length - allowed)
    return z


class TestDRY:
    def lowered(self, ids, **options):
        return (-dry(torch.zeros(1, 8), torch.tensor([ids]), **options)[0]).tolist()

    def test_by_hand(self):
        """0 1 2 . 0 1: two tokens match, .8 * 1.75^0 on 2. With one more before, .8 * 1.75 = 1.4."""
        assert self.lowered([0, 1, 2, 5, 0, 1])[2] == pytest.approx(0.8)
        assert self.lowered([6, 0, 1, 2, 6, 0, 1])[2] == pytest.approx(1.4)
        assert self.lowered([1, 2, 5, 0, 1]) == [0.0] * 8  # one token only
        assert self.lowered([1, 2, 5, 0, 1], allowed=1)[2] == pytest.approx(0.8)

    def test_the_longest_match_counts_for_each_token(self):
        """0 1 came twice: after 6 it went on with 2 (three tokens match), after 5 with 3 (two)."""
        found = self.lowered([6, 0, 1, 2, 5, 0, 1, 3, 6, 0, 1])
        assert found[2] == pytest.approx(1.4) and found[3] == pytest.approx(0.8)
        assert sum(value > 0 for value in found) == 2

    def test_breakers_end_a_match_and_are_never_lowered(self):
        ids = [6, 0, 1, 2, 6, 0, 1]
        assert self.lowered(ids, breakers=(6,))[2] == pytest.approx(0.8)
        assert self.lowered(ids, breakers=(0,)) == [0.0] * 8
        assert self.lowered(ids, breakers=(2,)) == [0.0] * 8
        assert self.lowered(ids, breakers=(1, 77)) == [0.0] * 8

    def test_the_window_forgets(self):
        ids = [0, 1, 2, 5, 0, 1]
        assert self.lowered(ids, window=6)[2] == pytest.approx(0.8)
        assert self.lowered(ids, window=5) == [0.0] * 8

    def test_long_repetitions_stay_finite(self):
        """All of one token: 50 tokens count, and 1.75^48 is cut at 1e4."""
        assert self.lowered([3] * 400)[3] == pytest.approx(8000)
        half = dry(torch.zeros(1, 4, dtype=torch.float16), torch.tensor([[3] * 400]))
        assert half.isfinite().all()

    @pytest.mark.parametrize("breakers", [(), (2,)])
    @pytest.mark.parametrize("length", [1, 2, 3, 7, 30])
    def test_equals_the_rule_word_for_word(self, breakers, length):
        generator = torch.Generator().manual_seed(length)
        ids = torch.randint(0, 3, (20, length), generator=generator)
        z = torch.randn(20, 5, generator=generator, dtype=torch.float64)
        found = dry(z, ids, breakers=breakers)
        expected = [
            slow_dry(row.clone(), row_ids.tolist(), allowed=2, breakers=breakers)
            for row, row_ids in zip(z, ids, strict=True)
        ]
        torch.testing.assert_close(found, torch.stack(expected))

    def test_a_finished_row_costs_and_disturbs_nothing(self):
        ids = torch.tensor([[0, 1, 2, 5, 0, 1], [0, 1, 7, 7, 7, 7]])
        both = dry(torch.zeros(2, 8), ids, breakers=(7,))
        assert torch.equal(both[0], dry(torch.zeros(1, 8), ids[:1])[0])
        assert torch.equal(both[1], torch.zeros(8))

    def test_refuses_a_history_of_other_rows(self):
        with pytest.raises(ValueError, match=r"input_ids must have shape \(2, length\)"):
            dry(torch.zeros(2, 8), torch.zeros(3, 4, dtype=torch.long))


class TestMirostat2:
    def test_by_hand(self):
        """Surprises 1 2 3 3 bits; below 2.5 are two, renormalised 2/3 1/3.

        Drawn the first: log2 1.5 = .584963, mu = 2.5 - .1 (.584963 - 5) = 2.941504. The second:
        log2 3 = 1.584963, mu = 2.841504.
        """
        z = of(0.5, 0.25, 0.125, 0.125)
        mu = torch.tensor([2.5], dtype=torch.float64)
        left = mirostat2(z, mu)
        assert which(left) == [[0, 1]]
        for token, expected in ((0, 2.941504), (1, 2.841504)):
            moved = mirostat2_update(mu, left, torch.tensor([token]))
            assert moved.item() == pytest.approx(expected, abs=1e-6)

    def test_the_processor_starts_at_twice_the_target_and_follows_the_text(self):
        z = of(0.5, 0.25, 0.125, 0.125)
        sampler = Mirostat2(tau=1.25)  # mu = 2.5
        assert which(sampler(torch.tensor([[9, 9]]), z)) == [[0, 1]]
        sampler(torch.tensor([[9, 9, 1]]), z)
        assert sampler.state.item() == pytest.approx(2.5 - 0.1 * (1.584963 - 1.25), abs=1e-6)

    @pytest.mark.parametrize("ids", [[[9, 9]], [[9, 8, 1]], [[9, 9, 1, 0]], [[9, 9, 1]] * 2])
    def test_another_text_starts_afresh(self, ids):
        sampler = Mirostat2(tau=1.25)
        z = of(0.5, 0.25, 0.125, 0.125)
        sampler(torch.tensor([[9, 9]]), z)
        ids = torch.tensor(ids)
        sampler(ids, z.expand(len(ids), -1))
        assert sampler.state.tolist() == [2.5] * len(ids)

    def test_padding_leaves_the_state_of_its_row(self):
        z = of(0.5, 0.25, 0.125, 0.125).expand(2, -1)
        mu = torch.tensor([2.5, 2.5], dtype=torch.float64)
        moved = mirostat2_update(mu, mirostat2(z, mu), torch.tensor([0, 3]))
        assert moved[1] == 2.5 and moved[0] > 2.9

    def test_holds_the_surprise_at_its_target(self):
        """Zipf's law has 6.6 bits; asked for 3, the mean over 1500 draws comes close."""
        z = -torch.arange(1, 1001, dtype=torch.float64).log()[None]
        mu, total = torch.tensor([6.0]), 0.0
        generator = torch.Generator().manual_seed(0)
        for _ in range(1500):
            left = mirostat2(z, mu)
            token = left.softmax(-1).multinomial(1, generator=generator)[:, 0]
            total -= left.log_softmax(-1)[0, token].item() / math.log(2)
            mu = mirostat2_update(mu, left, token, tau=3.0)
        assert total / 1500 == pytest.approx(3.0, abs=0.1)

    def test_an_endless_target_is_plain_sampling(self):
        sampler = Mirostat2(tau=math.inf)
        z, _ = random_rows(0, rows=1)
        for ids in ([[1]], [[1, 2]]):
            assert torch.equal(sampler(torch.tensor(ids), z), z)

    def test_refuses_the_state_of_other_rows(self):
        with pytest.raises(ValueError, match=r"state must have shape \(2,\), got \(3,\)"):
            mirostat2(torch.zeros(2, 8), torch.zeros(3))


IMPOSSIBLE = [
    (TopNSigma, {"n": 0.0}, "n must be a number in (0.0, inf]"),
    (TopNSigma, {"n": math.nan}, "n must be a number"),
    (TopNSigma, {"n": True}, "n must be a number"),
    (MinK, {"tau": -1}, "tau must be a number in [0.0, inf], got -1"),
    (TopH, {"alpha": 0}, "alpha must be a number in (0.0, 1.0], got 0"),
    (TopH, {"alpha": 1.1}, "alpha must be a number in (0.0, 1.0]"),
    (XTC, {"threshold": 2}, "threshold must be a number in (0.0, 0.5], got 2"),
    (XTC, {"threshold": 0}, "threshold must be a number in (0.0, 0.5]"),
    (XTC, {"probability": 1.5}, "probability must be a number in [0.0, 1.0]"),
    (XTC, {"protected": (-1,)}, "each of protected must be at least 0, got -1"),
    (XTC, {"protected": ("a",)}, "each of protected must be an integer, got 'a'"),
    (EDT, {"base": 0}, "base must be a number in (0.0, inf)"),
    (EDT, {"theta": -1}, "theta must be a number in [0.0, inf)"),
    (EDT, {"n": 1.2}, "n must be a number in (0.0, 1.0]"),
    (DRY, {"multiplier": -1}, "multiplier must be a number in [0.0, inf)"),
    (DRY, {"base": 0.5}, "base must be a number in [1.0, inf)"),
    (DRY, {"allowed": 0}, "allowed must be at least 1, got 0"),
    (DRY, {"window": 1}, "window must be at least 2, got 1"),
    (DRY, {"breakers": (1.5,)}, "each of breakers must be an integer, got 1.5"),
    (Mirostat2, {"tau": 0}, "tau must be a number in (0.0, inf]"),
    (Mirostat2, {"eta": -0.1}, "eta must be a number in [0.0, inf)"),
]
FUNCTIONS = {
    TopNSigma: top_n_sigma,
    MinK: min_k,
    TopH: top_h,
    XTC: lambda z, **options: xtc(z, generator=None, **options),
    EDT: edt,
    DRY: lambda z, **options: dry(z, torch.zeros(1, 3, dtype=torch.long), **options),
    Mirostat2: lambda z, **options: mirostat2_update(
        torch.zeros(1), z, torch.zeros(1, dtype=torch.long), **options
    ),
}


@pytest.mark.parametrize(("kind", "options", "message"), IMPOSSIBLE)
def test_impossible_options_are_refused_at_once(kind, options, message):
    for build in (kind, lambda **given: FUNCTIONS[kind](torch.zeros(1, 4), **given)):
        with pytest.raises(ValueError) as caught:
            build(**options)
        assert message in str(caught.value)


class TestProcessors:
    @pytest.fixture(scope="class")
    def model(self, tiny_model_path):
        return AutoModelForCausalLM.from_pretrained(tiny_model_path)

    @pytest.mark.parametrize("processor", PROCESSORS, ids=lambda p: type(p).__name__)
    def test_generate_takes_them(self, processor, model):
        """Two prompts of one batch, the first padded; nobody's ends stop the other."""
        pad = model.config.pad_token_id
        ids = torch.tensor([[pad, pad, 5, 6, 5, 6], [5, 6, 7, 5, 6, 7]])
        with torch.random.fork_rng():
            torch.manual_seed(0)
            out = model.generate(
                ids,
                attention_mask=(ids != pad).long(),
                logits_processor=[processor],
                do_sample=True,
                top_k=0,
                max_new_tokens=6,
                output_scores=True,
                return_dict_in_generate=True,
            )
        assert len(out.scores) == out.sequences.shape[1] - 6
        for scores in out.scores:
            assert kept(scores).any(-1).all() and not scores.isnan().any()

    @pytest.mark.parametrize(
        ("processor", "function"),
        [
            (TopNSigma(0.7), lambda z, ids: top_n_sigma(z, n=0.7)),
            (MinK(40.0), lambda z, ids: min_k(z, tau=40.0)),
            (PLess(), lambda z, ids: p_less(z)),
            (PLessNorm(), lambda z, ids: p_less_norm(z)),
            (TopH(0.7), lambda z, ids: top_h(z, alpha=0.7)),
            (
                XTC(0.05, 1.0, (3, 4)),
                lambda z, ids: xtc(
                    z, threshold=0.05, probability=1.0, protected=(3, 4), generator=None
                ),
            ),
            (EDT(0.9, 0.5, 0.7), lambda z, ids: edt(z, base=0.9, theta=0.5, n=0.7)),
            (
                DRY(2.0, 1.5, 1, 9, (2,)),
                lambda z, ids: dry(
                    z, ids, multiplier=2.0, base=1.5, allowed=1, window=9, breakers=(2,)
                ),
            ),
            (Mirostat2(2.0), lambda z, ids: mirostat2(z, torch.full((len(z),), 4.0))),
        ],
        ids=lambda value: type(value).__name__,
    )
    def test_are_their_functions_with_every_option(self, processor, function):
        z, ids = random_rows(6)
        left = processor(ids, z)
        assert torch.equal(left, function(z, ids))
        assert not torch.equal(left, z)


@pytest.mark.parametrize("vocabulary", [64 * 48, 64 * 48 + 1, 7])
@pytest.mark.parametrize("size", [1, 3, 12, 400])
def test_the_leading_entries_are_those_of_topk(vocabulary, size):
    """In blocks of 64, in one piece, and more than there are; the best of a block may crowd it."""
    z, _ = random_rows(2, vocabulary=vocabulary)
    z[0, :5] = 50.0 + torch.arange(5)
    z[1, 9:] = OUT
    z[2] = z[2].round()
    values, places = leading(z, size)
    torch.testing.assert_close(values, z.topk(min(size, vocabulary)).values)
    assert torch.equal(values, z.gather(-1, places))
    assert all(len(set(row)) == len(row) for row in places.tolist())


def test_token_ids_with_some_text(tiny_tokenizer_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_path)
    found = token_ids_with(tokenizer, ["\n", "Par"])
    assert list(found) == sorted(found)
    assert set(tokenizer.all_special_ids) <= set(found)
    assert tokenizer.convert_tokens_to_ids("ĠParis") in found
    assert tokenizer("\n")["input_ids"][0] in found
    assert tokenizer.convert_tokens_to_ids("Ġred") not in found
