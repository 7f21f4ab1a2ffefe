from collections import Counter

import pytest
import torch
from scipy.stats import chisquare, kstest
from sibling_cases import drawn_sets, enumerated
from torch import Tensor

from diversify.decoding.siblings import (
    ArithmeticProcessor,
    ArithmeticSampling,
    SiblingRepulsion,
    Together,
    arithmetic_codes,
    arithmetic_step,
)
from diversify.decoding.siblings.codes import BLOCK, LARGEST
from diversify.engines import Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.models import LoadedModel

PROMPT = "name a red animal"


def drawn(codes: Tensor, logits: list[Tensor]) -> Tensor:
    """Tokens (rows, steps), when the logits of a step depend on the last token alone."""
    table = torch.stack(logits)  # the start, then after each token
    tokens = []
    state = torch.zeros(len(codes), dtype=torch.long)
    for _ in range(2):
        step = arithmetic_step(table[state], codes)
        tokens.append(step.tokens)
        codes, state = step.codes, step.tokens + 1
    return torch.stack(tokens, 1)


class TestCodes:
    def test_they_are_evenly_spaced_and_wrap_around(self) -> None:
        """4 codes at offset 0.3: 0.3, 0.55, 0.8, 1.05 - 1."""
        codes = arithmetic_codes(4, offset=0.3)
        assert codes.dtype == torch.float64
        assert codes.tolist() == pytest.approx([0.3, 0.55, 0.8, 0.05])

    def test_several_offsets_give_a_row_each(self) -> None:
        offsets = torch.tensor([0.0, 0.3], dtype=torch.float64)
        assert torch.equal(
            arithmetic_codes(3, offset=offsets),
            torch.stack([arithmetic_codes(3, offset=0.0), arithmetic_codes(3, offset=0.3)]),
        )

    @pytest.mark.parametrize(("n", "offset"), [(0, 0.0), (2, 1.0), (2, -0.1)])
    def test_impossible_options(self, n: int, offset: float) -> None:
        with pytest.raises(ValueError, match="got"):
            arithmetic_codes(n, offset=offset)


class TestStep:
    def test_two_steps_by_hand(self) -> None:
        """p = (.5, .3, .2), cumulative .5, .8, 1; codes .1, .35, .6, .85.

        Step 1: A (.1/.5 = .2), A (.35/.5 = .7), B ((.6 - .5)/.3 = 1/3), C ((.85 - .8)/.2 = .25).
        Step 2: A (.2/.5 = .4), B ((.7 - .5)/.3 = 2/3), A ((1/3)/.5 = 2/3), A (.25/.5 = .5).
        """
        logits = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64).log().expand(4, -1)
        first = arithmetic_step(logits, arithmetic_codes(4, offset=0.1))
        assert first.tokens.tolist() == [0, 0, 1, 2]
        assert first.codes.tolist() == pytest.approx([0.2, 0.7, 1 / 3, 0.25])
        assert first.widths.tolist() == pytest.approx([0.5, 0.5, 0.3, 0.2])
        second = arithmetic_step(logits, first.codes)
        assert second.tokens.tolist() == [0, 1, 0, 0]
        assert second.codes.tolist() == pytest.approx([2 / 5, 2 / 3, 2 / 3, 1 / 2])

    def test_a_removed_token_is_never_taken_even_at_the_edges(self) -> None:
        logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf]]).expand(2, -1)
        step = arithmetic_step(logits, torch.tensor([0.0, LARGEST], dtype=torch.float64))
        assert step.tokens.tolist() == [1, 3]
        assert bool((step.codes < 1).all())

    def test_a_code_on_an_edge_belongs_to_the_token_above(self) -> None:
        step = arithmetic_step(torch.zeros(1, 4), torch.tensor([0.5], dtype=torch.float64))
        assert (step.tokens.tolist(), step.codes.tolist()) == ([2], [0.0])

    @pytest.mark.parametrize("vocabulary", [BLOCK - 1, BLOCK, BLOCK + 1, 5 * BLOCK + 3])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_blocks_do_not_show(self, vocabulary: int, dtype: torch.dtype) -> None:
        """The same as one running sum over the vocabulary, a third of which is removed."""
        stream = torch.Generator().manual_seed(vocabulary)
        logits = 3 * torch.randn(4, vocabulary, generator=stream, dtype=dtype)
        logits[:, ::3] = -torch.inf
        logits[2, BLOCK:] = -torch.inf
        logits[3, :-1], logits[3, -1] = -torch.inf, 0.0
        for code in torch.rand(50, generator=stream, dtype=torch.float64).tolist():
            codes = torch.full((4,), code, dtype=torch.float64)
            step = arithmetic_step(logits, codes)
            mass = logits.softmax(-1).cumsum(-1, dtype=torch.float64)
            target = code * mass[:, -1:]
            tokens = torch.searchsorted(mass, target, right=True)
            assert step.tokens.tolist() == tokens.squeeze(-1).tolist()
            high = mass.gather(-1, tokens)
            low = (mass - mass.diff(dim=-1, prepend=torch.zeros(4, 1))).gather(-1, tokens)
            torch.testing.assert_close(step.widths, (high - low).squeeze(-1) / mass[:, -1])
            rest = ((target - low) / (high - low)).squeeze(-1)
            torch.testing.assert_close(step.codes, rest, rtol=1e-9, atol=1e-9)

    def test_rounding_at_the_end_of_a_block_takes_no_removed_token(self) -> None:
        """The sum of a block and its running sum need not agree in the last bit."""
        stream = torch.Generator().manual_seed(2)
        logits = 5 * torch.randn(200, 4 * BLOCK, generator=stream)
        logits[:, BLOCK // 2 :: BLOCK // 2] = -torch.inf
        logits.unflatten(-1, (-1, BLOCK))[..., BLOCK - 5 :] = -torch.inf
        p = logits.softmax(-1).double()
        ends = p.unflatten(-1, (-1, BLOCK)).sum(-1).cumsum(-1)
        for block in range(4):
            edge = ends[:, block] / ends[:, -1]
            for codes in (edge, edge.nextafter(torch.zeros_like(edge)), edge.clamp(max=LARGEST)):
                step = arithmetic_step(logits, codes.clamp(max=LARGEST))
                assert bool((p.gather(-1, step.tokens.unsqueeze(-1)) > 0).all())
                assert bool(((step.codes >= 0) & (step.codes < 1)).all())

    @pytest.mark.parametrize("bad", [torch.nan, -torch.inf])
    def test_a_row_without_a_distribution(self, bad: float) -> None:
        with pytest.raises(ValueError, match="finite logit"):
            arithmetic_step(torch.full((1, 3), bad), torch.zeros(1, dtype=torch.float64))

    def test_any_set_of_samples_is_stratified(self) -> None:
        """Of n samples floor(n p) or ceil(n p) take a token, whatever p, n and the offset."""
        stream = torch.Generator().manual_seed(0)
        for n in (1, 2, 5, 8, 33):
            for _ in range(20):
                logits = 2 * torch.randn(6, generator=stream, dtype=torch.float64)
                offset = float(torch.rand(1, generator=stream))
                codes = arithmetic_codes(n, offset=offset)
                found = arithmetic_step(logits.expand(n, -1), codes).tokens.bincount(minlength=6)
                wanted = n * logits.softmax(-1)
                assert bool(((found - wanted).abs() < 1).all())

    def test_each_sample_is_an_exact_draw_from_the_model(self) -> None:
        """Over all offsets, a row's share of each text is the text's probability.

        The texts that a code gives are intervals, 9 of them: on a grid of M offsets every share is
        off by less than one point of the grid at each end.
        """
        stream = torch.Generator().manual_seed(1)
        logits = [torch.randn(3, generator=stream, dtype=torch.float64) for _ in range(4)]
        grid = 2000
        offsets = (torch.arange(grid, dtype=torch.float64) + 0.5) / grid
        codes = arithmetic_codes(4, offset=offsets)
        for row in range(4):
            texts = drawn(codes[:, row], logits)
            for first in range(3):
                for second in range(3):
                    share = float(((texts[:, 0] == first) & (texts[:, 1] == second)).sum()) / grid
                    p = logits[0].softmax(-1)[first] * logits[1 + first].softmax(-1)[second]
                    assert share == pytest.approx(float(p), abs=3 / grid), (row, first, second)


class TestProcessor:
    def test_it_leaves_one_token(self) -> None:
        last = ArithmeticProcessor(4, offset=0.1)
        scores = torch.tensor([0.5, 0.3, 0.2]).log().expand(4, -1)
        left = last(torch.zeros(4, 1), scores)
        assert left.dtype == scores.dtype
        assert left.argmax(-1).tolist() == [0, 0, 1, 2]
        assert (left == 0).sum() == 4 and torch.isneginf(left).sum() == 8

    def test_prompts_have_offsets_of_their_own(self) -> None:
        last = ArithmeticProcessor(2, generator=torch.Generator().manual_seed(0))
        last(torch.zeros(4, 1), torch.zeros(4, 3))
        a, b = torch.rand(2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        again = ArithmeticProcessor(2, generator=torch.Generator().manual_seed(0))
        codes = again._first_codes(4)
        assert codes.tolist() == pytest.approx(
            [float(a), float(a + 0.5) % 1, float(b), float(b + 0.5) % 1]
        )

    def test_codes_stay_uniform_when_float64_would_run_out(self) -> None:
        """200 steps of 4 bits each; the codes of 2 000 rows stay uniform, and so do the tokens."""
        last = ArithmeticProcessor(1, generator=torch.Generator().manual_seed(0))
        scores = torch.zeros(2000, 16)
        counts = torch.zeros(16)
        for _ in range(200):
            counts += last(torch.zeros(2000, 1), scores).argmax(-1).bincount(minlength=16)
        assert last._codes is not None
        assert kstest(last._codes.numpy(), "uniform").pvalue > 0.001
        assert chisquare(counts.numpy()).pvalue > 0.001
        assert float(last._mass.min()) >= 2.0**-26

    def test_a_spent_code_is_replaced_from_the_stream(self) -> None:
        """A token of probability near 2^-30 spends the code; the row beside it keeps its own."""
        last = ArithmeticProcessor(2, offset=0.0, generator=torch.Generator().manual_seed(3))
        scores = torch.tensor([[2.0**-30, 1 - 2.0**-30], [0.5, 0.5]], dtype=torch.float64).log()
        last(torch.zeros(2, 1), scores)
        fresh = torch.rand(1, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        assert last._codes is not None
        assert last._codes.tolist() == [float(fresh), 0.0]
        assert last._mass.tolist() == [1.0, 0.5]

    def test_rows_must_be_whole_groups(self) -> None:
        with pytest.raises(ValueError, match="whole groups of 3"):
            ArithmeticProcessor(3)(torch.zeros(4, 1), torch.zeros(4, 2))


class TestInGenerate:
    def test_marginals_and_strata_through_the_warpers_of_generate(
        self, loaded: LoadedModel
    ) -> None:
        """600 sets of 4 samples of 2 tokens, at temperature 1.3 and top_k 3.

        Every row's texts follow the probabilities that enumeration gives, and in every set the
        first tokens are stratified.
        """
        ids = torch.tensor([TransformersEngine(loaded).token_ids(PROMPT)])
        settings = {"temperature": 1.3, "k": 3}
        probability = enumerated(loaded.model, ids, **settings)
        texts = drawn_sets(loaded.model, ids, ArithmeticSampling(), sets=600, size=4, **settings)
        for row in range(4):
            counts = Counter(map(tuple, texts[:, row].tolist()))
            assert set(counts) <= set(probability)
            found = [counts[text] for text in probability]
            assert chisquare(found, [600 * p for p in probability.values()]).pvalue > 0.001
        first: Counter[int] = Counter()
        for text, p in probability.items():
            first[text[0]] += p
        for group in texts[..., 0].tolist():
            assert all(abs(group.count(token) - 4 * p) < 1 + 1e-6 for token, p in first.items())

    def test_a_fixed_offset_gives_the_tokens_of_the_codes(self, loaded: LoadedModel) -> None:
        engine = TransformersEngine(loaded, decoder=ArithmeticSampling(offset=0.25))
        sampling = Sampling(max_tokens=6)
        once, other_seed = (engine.generate([PROMPT], 9, sampling.at(seed=s)) for s in (0, 1))
        assert once.texts == other_seed.texts
        assert len(set(once[0])) > 1

    def test_the_engine_seeds_it_and_keeps_it_on_record(self, loaded: LoadedModel) -> None:
        engine = TransformersEngine(loaded, decoder=ArithmeticSampling())
        before = torch.random.get_rng_state()
        first, again, other = (
            engine.generate([PROMPT, "the"], 4, Sampling(max_tokens=6, seed=s)) for s in (0, 0, 1)
        )
        assert torch.equal(before, torch.random.get_rng_state())
        assert first.texts == again.texts != other.texts
        assert engine.identity["decoder"] == "ArithmeticSampling(offset=None)"

    def test_greedy_decoding_is_refused(self, loaded: LoadedModel) -> None:
        engine = TransformersEngine(loaded, decoder=ArithmeticSampling())
        with pytest.raises(ValueError, match="temperature above 0"):
            engine.generate([PROMPT], 2, Sampling(temperature=0, max_tokens=2))
        with pytest.raises(ValueError, match="temperature above 0"):
            ids = torch.tensor([[5, 6]])
            loaded.model.generate(
                ids, do_sample=False, max_new_tokens=2, **ArithmeticSampling()(1, 2)
            )

    @pytest.mark.parametrize("offset", [1.0, -0.5, float("nan")])
    def test_an_impossible_offset(self, offset: float) -> None:
        with pytest.raises(ValueError, match="offset must be a number"):
            ArithmeticSampling(offset=offset)

    def test_it_runs_together_with_repulsion(self, loaded: LoadedModel) -> None:
        """A ban on what siblings said changes the texts; the codes still draw them."""
        repulsion = SiblingRepulsion(
            special=loaded.tokenizer.all_special_ids, n=1, weight=50.0, min_entropy=0.0
        )
        arithmetic = ArithmeticSampling(offset=0.25)
        engine = TransformersEngine(loaded, decoder=Together(repulsion, arithmetic))
        sampling = Sampling(max_tokens=6)
        alone = engine.with_decoder(arithmetic).generate([PROMPT], 4, sampling)
        both = engine.generate([PROMPT], 4, sampling)
        assert both.texts != alone.texts
        assert both.texts == engine.generate([PROMPT], 4, sampling.at(seed=9)).texts
        assert "ArithmeticSampling" in engine.identity["decoder"]
        with pytest.raises(ValueError, match="temperature above 0"):
            engine.generate([PROMPT], 2, sampling.at(temperature=0))

    def test_two_token_loops_are_refused(self) -> None:
        with pytest.raises(ValueError, match="two decoders set custom_generate"):
            Together(ArithmeticSampling(), ArithmeticSampling())(2, 5)
        with pytest.raises(ValueError, match="two decoders or more"):
            Together(ArithmeticSampling())
