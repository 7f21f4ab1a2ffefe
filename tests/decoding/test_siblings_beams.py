from collections import Counter
from collections.abc import Iterable
from itertools import permutations
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from sibling_cases import drawn_sets, enumerated
from torch import Tensor
from transformers import MambaConfig, MambaForCausalLM

from diversify.decoding.siblings import (
    DiverseBeams,
    StochasticBeams,
    gumbel_children,
    hamming_choice,
)
from diversify.engines import Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.models import LoadedModel

PROMPTS = ["name a red animal", "the"]


@pytest.fixture(scope="module")
def batch(loaded: LoadedModel) -> dict[str, Tensor]:
    """Two prompts of different lengths, padded on the left."""
    rows = [TransformersEngine(loaded).token_ids(prompt) for prompt in PROMPTS]
    return dict(loaded.tokenizer.pad({"input_ids": rows}, return_tensors="pt"))


def frequent(loaded: LoadedModel, batch: dict[str, Tensor]) -> int:
    """A token that beams like, to end texts with."""
    out = loaded.model.generate(**batch, do_sample=False, max_new_tokens=6, eos_token_id=None)
    return int(out[0, batch["input_ids"].shape[1] + 1])


class TestHammingChoice:
    def test_by_hand(self) -> None:
        """log p of 2 beams and 3 tokens; token 0 was used twice, token 1 once, strength 0.5.

        Penalised (-2.0, -1.7, -3.0) and (-2.5, -2.1, -1.5): beam 1 token 2, then beam 0 token 1,
        then beam 0 token 0; their own log p is -1.5, -1.2, -1.0.
        """
        totals = torch.tensor([[[-1.0, -1.2, -3.0], [-1.5, -1.6, -1.5]]])
        used = torch.tensor([[2.0, 1.0, 0.0]])
        scores, beams, tokens = hamming_choice(totals, used, strength=0.5, size=3)
        assert scores[0].tolist() == pytest.approx([-1.5, -1.2, -1.0])
        assert (beams[0].tolist(), tokens[0].tolist()) == ([1, 0, 0], [2, 1, 0])

    def test_without_strength_it_is_the_best(self) -> None:
        totals = torch.tensor([[[-1.0, -1.2, -3.0]]])
        used = torch.tensor([[9.0, 0.0, 0.0]])
        assert hamming_choice(totals, used, strength=0.0, size=1)[2].item() == 0


class TestDiverseBeams:
    @pytest.mark.parametrize("length_penalty", [1.0, 0.0, -0.5])
    @pytest.mark.parametrize("ends", [True, False])
    def test_one_group_is_the_beam_search_of_transformers(
        self, loaded: LoadedModel, batch: dict[str, Tensor], length_penalty: float, ends: bool
    ) -> None:
        end = frequent(loaded, batch) if ends else None
        options: dict[str, Any] = {
            "do_sample": False,
            "max_new_tokens": 10,
            "eos_token_id": end,
            "num_return_sequences": 4,
        }
        expected = loaded.model.generate(
            **batch, num_beams=4, length_penalty=length_penalty, **options
        )
        beams = DiverseBeams(1, length_penalty=length_penalty)
        options["do_sample"], options["top_k"] = True, 0  # or it refuses four rows
        found = loaded.model.generate(**batch, **options, **beams(4, 0))
        start = batch["input_ids"].shape[1]
        texts = texts_of(found, start, end)
        assert texts == texts_of(expected, start, end)
        assert (len({len(text) for text in texts}) > 1) == ends

    def test_groups_without_strength_are_alike_and_equal_smaller_searches(
        self, loaded: LoadedModel
    ) -> None:
        sampling = Sampling(temperature=0, max_tokens=6)
        groups = TransformersEngine(loaded, decoder=DiverseBeams(3, strength=0.0))
        alone = TransformersEngine(loaded, decoder=DiverseBeams(1))
        for texts, plain in zip(
            groups.generate(PROMPTS, 6, sampling), alone.generate(PROMPTS, 2, sampling), strict=True
        ):
            assert texts == plain * 3

    def test_a_group_avoids_the_tokens_of_earlier_groups(self, loaded: LoadedModel) -> None:
        """With a huge strength and groups of one, step by step every token is another."""
        ids = run(loaded, DiverseBeams(strength=1000.0), n=5, tokens=4)
        for step in range(4):
            assert len(set(ids[:, step].tolist())) == 5
        plain = run(loaded, DiverseBeams(strength=0.0), n=5, tokens=4)
        assert ids[0].tolist() == plain[0].tolist()

    def test_each_step_takes_the_penalised_best(self, loaded: LoadedModel) -> None:
        """Groups of one are greedy with a penalty: recomputed text by text without a cache."""
        strength, tokens = 2.0, 4
        found = run(loaded, DiverseBeams(strength=strength), n=4, tokens=tokens)
        prompt = torch.tensor(TransformersEngine(loaded).token_ids(PROMPTS[0]))
        texts = [prompt] * 4
        for _ in range(tokens):
            used = torch.zeros(loaded.model.config.vocab_size)
            for group in range(4):
                with torch.inference_mode():
                    log_p = loaded.model(texts[group][None]).logits[0, -1].log_softmax(-1)
                token = (log_p - strength * used).argmax()
                used[token] += 1
                texts[group] = torch.cat([texts[group], token[None]])
        assert found.tolist() == [text[len(prompt) :].tolist() for text in texts]
        assert len({tuple(text.tolist()) for text in texts}) > 1

    def test_prompts_do_not_see_each_other_and_padding_plays_no_part(
        self, loaded: LoadedModel
    ) -> None:
        engine = TransformersEngine(loaded, decoder=DiverseBeams(2, strength=1.0))
        sampling = Sampling(max_tokens=6)
        together = engine.generate(PROMPTS, 4, sampling)
        assert together.texts == [engine.generate([p], 4, sampling).texts[0] for p in PROMPTS]

    def test_a_prompt_read_once_for_all_gives_the_same(self, loaded: LoadedModel) -> None:
        shared, plain = (
            TransformersEngine(loaded, decoder=DiverseBeams(4), share_prefix=share).generate(
                PROMPTS, 8, Sampling(max_tokens=6)
            )
            for share in (True, False)
        )
        assert shared.texts == plain.texts

    def test_options_and_record(self, loaded: LoadedModel) -> None:
        for options, name in (
            ({"groups": 0}, "groups"),
            ({"strength": -1.0}, "strength"),
            ({"length_penalty": float("nan")}, "length_penalty"),
        ):
            with pytest.raises(ValueError, match=name):
                DiverseBeams(**options)
        with pytest.raises(ValueError, match="groups must divide the 4 samples"):
            DiverseBeams(3)(4, 0)
        engine = TransformersEngine(loaded, decoder=DiverseBeams(2))
        assert engine.identity["decoder"] == (
            "DiverseBeams(groups=2, strength=0.5, length_penalty=1.0)"
        )

    def test_more_texts_than_are_possible(self, loaded: LoadedModel) -> None:
        engine = TransformersEngine(loaded, decoder=DiverseBeams(1))
        with pytest.raises(ValueError, match="the search found 1 of 4 texts"):
            engine.generate(PROMPTS[:1], 4, Sampling(top_k=1, max_tokens=3))


class TestGumbelChildren:
    def test_the_maximum_is_the_given_one(self) -> None:
        stream = torch.Generator().manual_seed(0)
        log_p = torch.randn(50, 7, dtype=torch.float64, generator=stream).log_softmax(-1)
        maximum = torch.randn(50, dtype=torch.float64, generator=stream)
        found = gumbel_children(log_p, maximum, generator=stream)
        assert torch.allclose(found.amax(-1), maximum, rtol=0, atol=1e-12)
        assert bool(torch.isfinite(found).all())

    def test_the_noise_is_that_of_the_generator_and_the_order_stays(self) -> None:
        log_p = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log()
        noise = torch.empty(3, dtype=torch.float64)
        noise.exponential_(generator=torch.Generator().manual_seed(5))
        free = log_p - noise.log()
        found = gumbel_children(
            log_p, torch.tensor(0.0).double(), generator=torch.Generator().manual_seed(5)
        )
        assert found.argsort().tolist() == free.argsort().tolist()
        # exp(-G) is exp(-free) shifted so that the smallest is exp(-T): the definition.
        shifted = torch.exp(-free) - torch.exp(-free).min() + 1.0
        assert torch.allclose(torch.exp(-found), shifted)

    def test_what_is_impossible_or_absent_stays_out(self) -> None:
        log_p = torch.tensor([[0.0, -torch.inf], [0.0, 0.0], [-torch.inf, -torch.inf]]).double()
        maximum = torch.tensor([0.5, -torch.inf, -torch.inf]).double()
        found = gumbel_children(log_p, maximum)
        assert found[0].tolist() == [pytest.approx(0.5), -torch.inf]
        assert bool(torch.isneginf(found[1:]).all())

    def test_a_tree_of_two_levels_is_sampled_without_replacement(self) -> None:
        """p(a) = .6 with leaves .5/.3/.2, p(b) = .4 with .7/.2/.1: ordered pairs of leaves.

        The first leaf i has probability p_i, the second then p_j / (1 - p_i).
        """
        stream = torch.Generator().manual_seed(0)
        root = torch.tensor([0.6, 0.4], dtype=torch.float64)
        leaves = torch.tensor([[0.5, 0.3, 0.2], [0.7, 0.2, 0.1]], dtype=torch.float64)
        p = (root[:, None] * leaves).flatten()
        draws = 20_000
        upper = gumbel_children(
            root.log().expand(draws, 2), torch.zeros(draws).double(), generator=stream
        )
        lower = gumbel_children(p.log().view(2, 3).expand(draws, 2, 3), upper, generator=stream)
        pairs = Counter(map(tuple, lower.flatten(1).topk(2).indices.tolist()))
        wanted = {(i, j): p[i] * p[j] / (1 - p[i]) for i, j in permutations(range(6), 2)}
        found = [pairs[pair] for pair in wanted]
        assert chisquare(found, [draws * float(q) for q in wanted.values()]).pvalue > 0.001


class TestStochasticBeams:
    @pytest.mark.parametrize("ends", [False, True], ids=["of one length", "with ends"])
    def test_the_order_of_drawing_is_exact(
        self, loaded: LoadedModel, batch: dict[str, Tensor], ends: bool
    ) -> None:
        """3 texts for each of 800 copies of a prompt, at temperature 1.3 and top_k 3.

        All differ; the first two are i, then j with probability p_i p_j / (1 - p_i), over all 9
        texts of two tokens (7, when one first token ends the text).
        """
        ids = batch["input_ids"][:1]
        second_best = int(loaded.model(ids).logits[0, -1].topk(2).indices[1])
        end = second_best if ends else None
        settings = {"temperature": 1.3, "k": 3, "end": end}
        p = enumerated(loaded.model, ids, **settings)
        assert len(p) == (7 if ends else 9)
        drawn = drawn_sets(
            loaded.model, ids, StochasticBeams(), sets=800, size=3, seed=1, **settings
        )
        pairs: Counter[tuple[Any, ...]] = Counter()
        for group in drawn.tolist():
            texts = [tuple(text[:1] if text[0] == end else text) for text in group]
            assert len(set(texts)) == 3
            assert set(texts) <= set(p)
            pairs[texts[0], texts[1]] += 1
        wanted = {(a, b): p[a] * p[b] / (1 - p[a]) for a, b in permutations(p, 2)}
        rare = [pair for pair, q in wanted.items() if 800 * q < 5]  # the test needs five of each
        found = [pairs[pair] for pair in wanted if pair not in rare]
        expected = [800 * q for pair, q in wanted.items() if pair not in rare]
        found.append(sum(pairs[pair] for pair in rare))
        expected.append(800 * sum(wanted[pair] for pair in rare))
        assert chisquare(found, expected).pvalue > 0.001

    def test_texts_are_seeded_distinct_and_independent_of_padding(
        self, loaded: LoadedModel
    ) -> None:
        engine = TransformersEngine(loaded, decoder=StochasticBeams())
        before = torch.random.get_rng_state()
        first, again, other = (
            engine.generate(PROMPTS, 8, Sampling(max_tokens=6, seed=s)) for s in (0, 0, 1)
        )
        assert torch.equal(before, torch.random.get_rng_state())
        assert first.texts == again.texts != other.texts
        alone = engine.generate(PROMPTS[1:], 8, Sampling(max_tokens=6))
        assert alone.texts[0] == first.texts[1]  # from eight on each prompt has its own stream
        assert engine.identity["decoder"] == "StochasticBeams()"

    def test_rows_follow_their_caches(self, loaded: LoadedModel) -> None:
        """With top_k 2 every token must be among the two best after its own text."""
        for share in (True, False):
            engine = TransformersEngine(loaded, decoder=StochasticBeams(), share_prefix=share)
            prompt = engine.token_ids(PROMPTS[0])
            ids = run(loaded, StochasticBeams(), n=8, tokens=5, top_k=2, share=share)
            for text in ids.tolist():
                for step, token in enumerate(text):
                    so_far = torch.tensor([prompt + text[:step]])
                    with torch.inference_mode():
                        best = loaded.model(so_far).logits[0, -1].topk(2).indices
                    assert token in best.tolist()
            assert len(set(map(tuple, ids.tolist()))) == 8

    def test_one_row_is_a_plain_sample_and_all_texts_can_be_drawn(
        self, loaded: LoadedModel
    ) -> None:
        """With top_k 2 there are 4 texts of 2 tokens: all four come, a fifth is impossible."""
        ids = run(loaded, StochasticBeams(), n=4, tokens=2, top_k=2)
        assert len(set(map(tuple, ids.tolist()))) == 4
        with pytest.raises(ValueError, match="5 different texts were asked for"):
            run(loaded, StochasticBeams(), n=5, tokens=2, top_k=2)
        assert run(loaded, StochasticBeams(), n=1, tokens=2, top_k=1).shape == (1, 2)

    def test_greedy_decoding_is_refused(self, loaded: LoadedModel) -> None:
        engine = TransformersEngine(loaded, decoder=StochasticBeams())
        with pytest.raises(ValueError, match="temperature above 0"):
            engine.generate(PROMPTS, 2, Sampling(temperature=0, max_tokens=2))

    @pytest.mark.parametrize("decoder", [StochasticBeams(), DiverseBeams()])
    def test_what_cannot_be_searched_is_refused(self, loaded: LoadedModel, decoder: Any) -> None:
        config = MambaConfig(vocab_size=50, hidden_size=16, num_hidden_layers=1, state_size=4)
        mamba = MambaForCausalLM(config).eval()
        options: dict[str, Any] = {"do_sample": True, "max_new_tokens": 2, "pad_token_id": 0}
        ids = torch.tensor([[5, 6, 7]])
        with pytest.raises(ValueError, match="cannot be repeated or reordered"):
            mamba.generate(ids, num_return_sequences=2, **options, **decoder(2, 3))
        with pytest.raises(ValueError, match="whole groups of 2"):
            loaded.model.generate(ids, num_return_sequences=3, **options, **decoder(2, 3))
        for name in ("return_dict_in_generate", "inputs_embeds"):
            value: Any = True if "dict" in name else torch.zeros(1, 3, 32)
            with pytest.raises(ValueError, match=name):
                loaded.model.generate(
                    ids, num_return_sequences=2, **{name: value}, **options, **decoder(2, 3)
                )
        with pytest.raises(ValueError, match="DynamicCache"):
            loaded.model.generate(
                ids,
                num_return_sequences=2,
                cache_implementation="static",
                **options,
                **decoder(2, 3),
            )


def run(
    loaded: LoadedModel,
    decoder: Any,
    *,
    n: int,
    tokens: int,
    top_k: int = 0,
    share: bool = False,
) -> Tensor:
    """The new token ids (n, tokens) for the first prompt, as the engine draws them."""
    engine = TransformersEngine(loaded, decoder=decoder, share_prefix=share)
    seen: list[Tensor] = []
    cut, engine._texts = engine._texts, lambda rows: seen.append(rows) or cut(rows)  # type: ignore
    engine.generate(PROMPTS[:1], n, Sampling(max_tokens=tokens, top_k=top_k))
    return torch.tensor(seen[0])


def texts_of(rows: Iterable[Tensor], start: int, end: int | None) -> list[list[int]]:
    """Completions up to their end; transformers pads with the end where padding has the id 0."""
    texts = [row[start:].tolist() for row in rows]
    return [text[: text.index(end) + 1] if end in text else text for text in texts]
