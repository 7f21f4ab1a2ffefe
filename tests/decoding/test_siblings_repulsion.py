import math
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LogitsProcessor

from diversify.decoding.siblings import SiblingRepulsion, Together, sibling_penalty
from diversify.engines import Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.models import LoadedModel

END, PAD = 0, 9
PLAIN: dict[str, Any] = {
    "group_size": 3,
    "prompt_length": 1,
    "special": [END, PAD],
    "n": 2,
    "weight": 1.5,
    "min_entropy": 0.0,
}


def lowered(ids: list[list[int]], **options: Any) -> dict[tuple[int, int], float]:
    """What was taken from uniform logits: (row, token) -> amount."""
    flat = torch.zeros(len(ids), 10)
    found = sibling_penalty(flat, torch.tensor(ids), **(PLAIN | options))
    assert not flat.any()
    return {(r, t): -float(found[r, t]) for r, t in found.nonzero().tolist()}


class TestSiblingPenalty:
    def test_by_hand(self) -> None:
        """Prompt 7. Row 0 ends with 1: sibling 1 went on with 2 twice, sibling 2 with 2 and 3.

        So 2 was said by two siblings and loses 2 * 1.5, 3 by one. Row 1 ends with 2: only sibling
        2 has a 2 with something behind it, 1. Row 2 ends with 3, which nobody else has.
        """
        ids = [[7, 4, 4, 4, 4, 1], [7, 1, 2, 1, 1, 2], [7, 1, 2, 1, 1, 3]]
        found = lowered(ids)
        assert found == {(0, 1): 3.0, (0, 2): 3.0, (0, 3): 1.5, (1, 1): 1.5}

    def test_longer_ngrams_need_the_whole_context(self) -> None:
        ids = [[7, 4, 1, 2], [7, 1, 2, 5], [7, 3, 2, 6]]
        assert lowered(ids, n=3) == {(0, 5): 1.5}
        assert lowered(ids, n=2) == {(0, 5): 1.5, (0, 6): 1.5}
        assert lowered(ids, n=4) == {}

    def test_single_tokens(self) -> None:
        """n = 1 lowers what siblings said at all, once for each of them."""
        found = lowered([[7, 1, 1], [7, 1, 2], [7, 3, 3]], n=1)
        assert found == {
            (0, 1): 1.5, (0, 2): 1.5, (0, 3): 1.5,
            (1, 1): 1.5, (1, 3): 1.5,
            (2, 1): 3.0, (2, 2): 1.5,
        }  # fmt: skip

    def test_the_prompt_does_not_count(self) -> None:
        """Siblings went from 1 on to 2 in the prompt alone, so row 0 may do so."""
        ids = [[1, 2, 3, 1], [1, 2, 4, 4], [1, 2, 4, 4]]
        assert lowered(ids, prompt_length=2) == {(1, 4): 1.5, (2, 4): 1.5}
        assert lowered(ids, prompt_length=0)[0, 2] == 3.0

    def test_a_finished_sibling_counts_but_is_left_alone(self) -> None:
        """Row 1 said 1 2 and ended; rows 0 and 2 avoid it. Nothing follows END or padding."""
        ids = [[7, 4, 4, 4, 1], [7, 1, 2, END, PAD], [7, 4, 4, 4, 1]]
        assert lowered(ids) == {(0, 2): 1.5, (2, 2): 1.5}
        assert lowered(ids, n=1)[0, 2] == 1.5
        assert not {row for row, _ in lowered(ids, n=1)} & {1}
        assert not {token for _, token in lowered(ids, n=1)} & {END, PAD}

    def test_ends_are_never_lowered(self) -> None:
        ids = [[7, 1, 4, 1], [7, 1, END, PAD], [7, 5, 5, 5]]
        assert lowered(ids) == {}

    def test_protected_tokens_are_never_lowered(self) -> None:
        ids = [[7, 4, 4, 1], [7, 1, 2, 5], [7, 1, 3, 5]]
        assert lowered(ids) == {(0, 2): 1.5, (0, 3): 1.5}
        assert lowered(ids, protected=[2, 88]) == {(0, 3): 1.5}

    def test_prompts_do_not_see_each_other(self) -> None:
        ids = [[7, 4, 1], [7, 5, 5], [7, 1, 2], [7, 6, 6]]
        assert lowered(ids, group_size=2) == {}
        assert lowered(ids, group_size=4) == {(0, 2): 1.5}

    def test_siblings_may_come_in_any_order(self) -> None:
        stream = torch.Generator().manual_seed(0)
        ids = torch.randint(1, 5, (5, 12), generator=stream)
        logits = torch.randn(5, 10, generator=stream)
        order = torch.randperm(5, generator=stream)
        options = PLAIN | {"group_size": 5}
        found = sibling_penalty(logits, ids, **options)
        assert not torch.equal(found, logits)
        assert torch.equal(sibling_penalty(logits[order], ids[order], **options), found[order])

    def test_a_copied_sibling_counts_again(self) -> None:
        ids = [[7, 4, 1], [7, 1, 2], [7, 1, 2]]
        assert lowered(ids) == {(0, 2): 3.0}

    def test_the_entropy_gate_is_each_rows_own(self) -> None:
        """Two tokens of equal probability have log 2 nats; a sure row has nearly none."""
        ids = torch.tensor([[7, 4, 1], [7, 4, 1], [7, 1, 2]])
        logits = torch.tensor([[50.0, 0.0, 50.0], [50.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
        options = PLAIN | {"special": [9], "min_entropy": 0.6}
        found = sibling_penalty(logits, ids, **options) - logits
        assert found.nonzero().tolist() == [[0, 2]]
        closed = sibling_penalty(logits, ids, **(options | {"min_entropy": math.log(2) + 0.01}))
        assert torch.equal(closed, logits)
        unsure = sibling_penalty(logits, ids, **(options | {"min_entropy": math.inf}))
        assert torch.equal(unsure, logits)

    def test_removed_tokens_stay_removed(self) -> None:
        ids = torch.tensor([[7, 4, 1], [7, 4, 4], [7, 1, 2]])
        logits = torch.zeros(3, 4)
        logits[0, 2] = -torch.inf
        assert sibling_penalty(logits, ids, **PLAIN)[0, 2] == -torch.inf

    @pytest.mark.parametrize(
        "options", [{"weight": 0.0}, {"group_size": 1}, {"prompt_length": 3}, {"prompt_length": 9}]
    )
    def test_neutral_settings_return_the_logits(self, options: dict[str, Any]) -> None:
        logits = torch.zeros(3, 4)
        ids = torch.tensor([[7, 4, 1], [7, 4, 4], [7, 1, 2]])
        assert sibling_penalty(logits, ids, **(PLAIN | options)) is logits

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("n", 0),
            ("weight", -1.0),
            ("weight", math.nan),
            ("min_entropy", -0.1),
            ("special", []),
            ("special", [-1]),
            ("protected", [0.5]),
            ("group_size", 2),
            ("group_size", 0),
            ("prompt_length", -1),
        ],
    )
    def test_impossible_options(self, name: str, value: Any) -> None:
        with pytest.raises(ValueError, match="got"):
            sibling_penalty(
                torch.zeros(3, 4), torch.ones(3, 4, dtype=torch.long), **(PLAIN | {name: value})
            )


class TestInTheEngine:
    def decoder(self, loaded: LoadedModel, **options: Any) -> SiblingRepulsion:
        defaults = {"special": loaded.tokenizer.all_special_ids, "min_entropy": 0.0}
        return SiblingRepulsion(**(defaults | options))

    @pytest.mark.parametrize("samples", [5, 9], ids=["padded batch", "shared prefix"])
    def test_logits_are_those_of_the_model_less_the_penalty(
        self, loaded: LoadedModel, samples: int
    ) -> None:
        """Every step of two prompts, recomputed text by text, without a cache, with plain sets."""
        seen: list[tuple[Tensor, Tensor]] = []
        prompts = ["name a red animal", "the"]
        engine = TransformersEngine(
            loaded,
            decoder=Together(
                self.decoder(loaded, n=2, weight=2.0), lambda *_: {"logits_processor": [spy(seen)]}
            ),
        )
        engine.generate(prompts, samples, Sampling(top_k=6, max_tokens=9))
        penalties = 0
        for ids, scores in seen:
            for start in range(0, len(ids), samples):
                group = ids[start : start + samples].tolist()
                prompt, begin = found_in(group[0], [engine.token_ids(p) for p in prompts])
                texts = [row[begin:] for row in group]
                for row, text in enumerate(texts):
                    with torch.no_grad():
                        z = loaded.model(torch.tensor([prompt + text])).logits[0, -1].clone()
                    for token, count in self.said(loaded, texts, row).items():
                        z[token] -= 2.0 * count
                        penalties += 1
                    if not set(text) & set(loaded.tokenizer.all_special_ids):
                        assert torch.allclose(scores[start + row], z, atol=1e-4)
        assert penalties > 10

    def said(self, loaded: LoadedModel, texts: list[list[int]], row: int) -> Counter[int]:
        """How many siblings went on with each token after the last of this row."""
        special = set(loaded.tokenizer.all_special_ids)
        counts: Counter[int] = Counter()
        for other, text in enumerate(texts):
            pairs = {p for p in pairwise(text) if not special & set(p)}
            if other != row and texts[row]:
                counts.update(token for before, token in pairs if before == texts[row][-1])
        return counts

    def test_it_is_neutral_at_weight_zero(self, loaded: LoadedModel) -> None:
        sampling = Sampling(max_tokens=6)
        engine = TransformersEngine(loaded, decoder=self.decoder(loaded, weight=0.0))
        plain = engine.with_decoder(None)
        for n in (4, 9):
            assert (
                engine.generate(["the"], n, sampling).texts
                == plain.generate(["the"], n, sampling).texts
            )

    def test_it_is_on_record_and_checked(self, loaded: LoadedModel) -> None:
        engine = TransformersEngine(loaded, decoder=SiblingRepulsion(special=[2, 0, 2], n=2))
        assert engine.identity["decoder"] == (
            "SiblingRepulsion(special=(0, 2), n=2, weight=1.5, min_entropy=0.5, protected=())"
        )
        for options in ({"special": []}, {"special": [0], "n": 0}, {"special": [0], "weight": -1}):
            with pytest.raises(ValueError, match="got"):
                SiblingRepulsion(**options)

    def test_one_decoder_serves_many_calls(self, loaded: LoadedModel) -> None:
        engine = TransformersEngine(loaded, decoder=self.decoder(loaded, n=2, weight=9.0))
        sampling = Sampling(max_tokens=6)
        first = engine.generate(["the", "name a fruit"], 9, sampling)
        assert first.texts == engine.generate(["the", "name a fruit"], 9, sampling).texts


def test_cost_is_that_of_a_few_comparisons() -> None:
    """No dense tensor of rows x siblings x vocabulary: 32 rows of 400 tokens stay small."""
    ids = torch.randint(1, 40, (32, 400), generator=torch.Generator().manual_seed(0))
    logits: Tensor = torch.zeros(32, 50_000)
    found = sibling_penalty(logits, ids, **(PLAIN | {"group_size": 32, "prompt_length": 0}))
    assert int((found != 0).sum()) <= 32 * 40


def found_in(row: list[int], prompts: list[list[int]]) -> tuple[list[int], int]:
    """The prompt of a row, behind its padding, and where the completion begins."""
    unpadded = row[next(i for i, token in enumerate(row) if token) :]
    (prompt,) = (p for p in prompts if unpadded[: len(p)] == p)
    return prompt, len(row) - len(unpadded) + len(prompt)


def spy(seen: list[tuple[Tensor, Tensor]]) -> LogitsProcessor:
    """A processor that only looks."""

    class Spy(LogitsProcessor):
        def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
            seen.append((input_ids.clone(), scores.clone()))
            return scores

    return Spy()
