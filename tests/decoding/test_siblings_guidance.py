from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from diversify.decoding.asking import later
from diversify.decoding.siblings import G2, Guidance, SiblingRepulsion, guided_logits
from diversify.decoding.siblings.g2 import DIFFER, REPEAT, guide_prompt
from diversify.engines import Generations, Prompt, Sampling
from diversify.engines.transformers import TransformersEngine
from diversify.models import LoadedModel

PROMPTS: list[Prompt] = ["name a red animal", "the"]
SEEDED = Sampling(max_tokens=6, seed=4)


@pytest.fixture(scope="module")
def engine(loaded: LoadedModel) -> TransformersEngine:
    return TransformersEngine(loaded)


class TestGuidedLogits:
    def test_by_hand(self) -> None:
        """z = (1, 0) has .5822 nats; w = 0.5: 1 + .5 (2 - 1) = 1.5 and 0 + .5 (0 - 4) = -2."""
        z, toward, away = (torch.tensor([row]) for row in ([1.0, 0.0], [2.0, 0.0], [1.0, 4.0]))
        found = guided_logits(z, toward, away, weight=0.5, min_entropy=0.58)
        assert found.tolist() == [[1.5, -2.0]]
        assert torch.equal(guided_logits(z, toward, away, weight=0.5, min_entropy=0.59), z)

    def test_neutral_settings(self) -> None:
        z, guide = torch.tensor([[1.0, 0.0, 3.0]]), torch.tensor([[5.0, 1.0, 0.0]])
        assert torch.equal(guided_logits(z, guide, -guide, weight=0.0), z)
        assert torch.equal(guided_logits(z, guide, guide, weight=9.0), z)

    @pytest.mark.parametrize(
        "options", [{"weight": -1}, {"weight": float("inf")}, {"min_entropy": -1}]
    )
    def test_impossible_options(self, options: dict[str, Any]) -> None:
        z = torch.zeros(1, 2)
        with pytest.raises(ValueError, match="got"):
            guided_logits(z, z, z, **options)
        with pytest.raises(ValueError, match="got"):
            Guidance({(1,): ([1], [1])}, **options)
        with pytest.raises(ValueError, match="got"):
            G2(**options)


class TestGuidance:
    def guides(self, engine: TransformersEngine) -> dict[tuple[int, ...], Any]:
        """Guides of several lengths."""
        return {
            tuple(engine.token_ids(prompt)): (
                engine.token_ids(f"{prompt} but another {'word ' * i}"),
                engine.token_ids("the same again"),
            )
            for i, prompt in enumerate(PROMPTS)
        }

    @pytest.mark.parametrize("n", [2, 9], ids=["padded batch", "shared prefix"])
    @pytest.mark.parametrize("min_entropy", [0.0, 4.85], ids=["always", "gated"])
    def test_greedy_texts_are_those_of_the_formula(
        self, loaded: LoadedModel, engine: TransformersEngine, n: int, min_entropy: float
    ) -> None:
        """Recomputed text by text without a cache; the gate is shut at some steps."""
        guides = self.guides(engine)
        decoder = Guidance(guides, weight=1.5, min_entropy=min_entropy)
        sampling = Sampling(temperature=0, max_tokens=8)
        found = engine.with_decoder(decoder).generate(PROMPTS, n, sampling)
        shut = turned = 0
        for prompt, texts in zip(PROMPTS, found, strict=True):
            ids = engine.token_ids(prompt)
            toward, away = guides[tuple(ids)]
            written: list[int] = []
            for _ in range(sampling.max_tokens):
                z, more, less = (read(loaded, start + written) for start in (ids, toward, away))
                entropy = float(torch.distributions.Categorical(logits=z).entropy())
                shut += entropy < min_entropy
                guided = z + 1.5 * (more - less) if entropy >= min_entropy else z
                turned += int(guided.argmax() != z.argmax())
                written.append(int(guided.argmax()))
            text = loaded.tokenizer.decode(written, skip_special_tokens=True).strip()
            assert texts == [text] * n
        assert turned > 0
        assert (shut > 0) == (min_entropy > 0)

    def test_equal_guides_change_nothing(self, engine: TransformersEngine) -> None:
        ids = engine.token_ids(PROMPTS[0])
        guided = engine.with_decoder(Guidance({tuple(ids): ([5, 6], [5, 6])}, weight=3.0))
        for n in (2, 9):
            plain = engine.generate(PROMPTS[:1], n, SEEDED)
            assert guided.generate(PROMPTS[:1], n, SEEDED).texts == plain.texts

    def test_a_prompt_without_guides_is_refused(self, engine: TransformersEngine) -> None:
        with pytest.raises(ValueError, match="no guides were given"):
            engine.with_decoder(Guidance({(1, 2): ([1], [1])})).generate(PROMPTS, 1, SEEDED)
        with pytest.raises(ValueError, match="at least one token"):
            Guidance({(1, 2): ([1], [])})


class TestG2:
    def test_without_weight_it_is_plain_draws(self, engine: TransformersEngine) -> None:
        found = G2(weight=0.0)(engine, PROMPTS, 3, SEEDED)
        plain = [engine.generate(PROMPTS, 1, later(SEEDED, turn)) for turn in range(3)]
        for row, texts in enumerate(found):
            assert texts == [draw[row][0] for draw in plain]

    def test_the_first_answer_is_plain_and_later_ones_are_guided(
        self, engine: TransformersEngine
    ) -> None:
        plain, guided = (G2(weight=w)(engine, PROMPTS, 3, SEEDED) for w in (0.0, 3.0))
        for row in range(len(PROMPTS)):
            assert guided[row][0] == plain[row][0]
            assert guided[row][1:] != plain[row][1:]
            assert guided.details[row]["kept"] == ["plain", "guided", "guided"]
            assert guided.details[row]["calls"] == guided.details[row]["completions"] == 3

    def test_the_guides_are_those_of_the_answers_so_far(self, engine: TransformersEngine) -> None:
        found = G2(weight=2.0)(engine, PROMPTS[:1], 2, SEEDED)[0]
        prompt = PROMPTS[0]
        toward, away = (guide_prompt(prompt, found[:1], how) for how in (DIFFER, REPEAT))
        guides = {
            tuple(engine.token_ids(prompt)): (engine.token_ids(toward), engine.token_ids(away))
        }
        by_hand = engine.with_decoder(Guidance(guides, weight=2.0, min_entropy=0.1))
        assert by_hand.generate([prompt], 1, later(SEEDED, 1))[0] == found[1:]

    def test_prompts_that_repeat_keep_their_own_answers(self, engine: TransformersEngine) -> None:
        twice = G2(weight=2.0)(engine, [PROMPTS[0], PROMPTS[0]], 2, SEEDED)
        assert [len(texts) for texts in twice] == [2, 2]

    def test_what_is_shown_differs_most_and_holds_the_last(self) -> None:
        answers = ["a red fox", "a red fox", "the blue whale sings", "a red fox cub"]
        assert G2(shown=2).choose(answers) == ["the blue whale sings", "a red fox cub"]
        assert G2(shown=4).choose(answers) == answers

    def test_blank_answers_are_not_shown(self, loaded: LoadedModel) -> None:
        """With only blank answers before it, an answer is guided nowhere."""
        silent = Silent(loaded)
        assert G2(weight=2.0)(silent, PROMPTS[:1], 2, SEEDED).texts == [["", ""]]
        (guides,) = silent.guided
        ids = tuple(silent.token_ids(PROMPTS[0]))
        assert guides.guides == {ids: (ids, ids)}

    def test_a_chat_keeps_its_turns(self) -> None:
        chat: Prompt = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "A fruit?"},
        ]
        guide = guide_prompt(chat, ["Fig."], DIFFER)
        assert [m["role"] for m in guide] == ["system", "user"]  # type: ignore[index]
        assert "Fig." in guide[1]["content"] and "A fruit?" in guide[1]["content"]  # type: ignore

    def test_it_needs_this_engine_and_no_other_decoder(self, engine: TransformersEngine) -> None:
        busy = engine.with_decoder(SiblingRepulsion(special=[0]))
        for wrong in (busy, object()):
            with pytest.raises(ValueError, match="needs a TransformersEngine"):
                G2()(wrong, PROMPTS, 2, SEEDED)  # type: ignore[arg-type]

    def test_options(self) -> None:
        assert G2().describe() == {
            "name": "g2",
            "shown": 3,
            "weight": 0.3,
            "min_entropy": 0.1,
            "kernel": G2().kernel.name,
        }
        with pytest.raises(ValueError, match="shown"):
            G2(shown=0)


class Silent(TransformersEngine):
    """Answers nothing, and remembers its decoders."""

    def __init__(self, loaded: LoadedModel) -> None:
        super().__init__(loaded)
        self.guided: list[Guidance] = []

    def with_decoder(self, decoder: Any) -> TransformersEngine:
        self.guided.append(decoder)
        return self

    def generate(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> Generations:
        return Generations(list(prompts), [[""] * n for _ in prompts])


def read(loaded: LoadedModel, ids: list[int]) -> Tensor:
    with torch.inference_mode():
        return loaded.model(torch.tensor([ids])).logits[0, -1].clone()
