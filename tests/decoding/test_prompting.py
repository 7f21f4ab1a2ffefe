"""Strategies that choose what is asked, on an engine that answers by a function."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from diversify.decoding import PERSONAS, Direct, Paraphrases, Personas, Verbalized, read_answers
from diversify.decoding.asking import (
    Answers,
    collected,
    draw_each,
    stream_of,
    with_system,
    with_user_text,
)
from diversify.decoding.prompting import MANNER, REPHRASE, usable_paraphrases
from diversify.decoding.verbalized import PLACEHOLDER
from diversify.engines import Generations, Sampling, as_messages, text_of


@dataclass
class AnsweringEngine:
    """Answers by `answer(prompt, number of the answer, sampling)`; a trailing … means cut off."""

    answer: Callable
    asked: list = field(default_factory=list)
    flags: bool = True

    @property
    def identity(self):
        return {"model": "answering"}

    def generate(self, prompts, n, sampling):
        self.asked.append((list(prompts), n, sampling))
        texts = [[self.answer(prompt, i, sampling) for i in range(n)] for prompt in prompts]
        cut = [[text.endswith("…") for text in row] for row in texts] if self.flags else []
        return Generations(list(prompts), texts, cut)

    @property
    def completions(self):
        return sum(len(prompts) * n for prompts, n, _ in self.asked)


def listing(*answers, probability=0.1):
    return "\n".join(
        f"<response>\n<text>{a}</text>\n<probability>{probability}</probability>\n</response>"
        for a in answers
    )


# --- reading lists --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        (listing("fig", "kiwi"), [("fig", 0.1), ("kiwi", 0.1)]),
        ("Sure! Here:\n" + listing("fig") + "\nEnjoy.", [("fig", 0.1)]),
        ("<response><text>a\nb</text></response>", [("a\nb", None)]),
        ("<Response id=1><TEXT>fig</TEXT><Probability>30 %</Probability>", [("fig", 0.3)]),
        # Tags that a model forgets.
        ("<response>fig<probability>0.5</probability></response>", [("fig", 0.5)]),
        ("<response><probability>0.5</probability>fig</response>", [("fig", 0.5)]),
        ("<response><text>fig<probability>0.5</probability></response>", [("fig", 0.5)]),
        ("<response>fig\n<response>kiwi", [("fig", None), ("kiwi", None)]),
        ("<text>fig</text><text>kiwi</text><probability>.2</probability>", [("fig", None), ("kiwi", 0.2)]),
        # JSON, in prose and in fences.
        ('```json\n[{"text": "fig", "probability": 0.2}]\n```', [("fig", 0.2)]),
        ('{"responses": [{"response": "fig"}, {"answer": "kiwi"}]}', [("fig", None), ("kiwi", None)]),
        ('As a list: ["fig", "kiwi"].', [("fig", None), ("kiwi", None)]),
        ('{"text": "fig", "probability": "20%"}\n{"text": "kiwi"}', [("fig", 0.2), ("kiwi", None)]),
        # Numbered lists.
        ("1. fig\n2. kiwi", [("fig", None), ("kiwi", None)]),
        ("Here:\n1) a fig,\nripe\n\n2) **a kiwi** (Probability: 0.3)", [("a fig,\nripe", None), ("a kiwi", 0.3)]),
        ("**1.** fig - probability: 12%\n**2.** kiwi", [("fig", 0.12), ("kiwi", None)]),
        ("1. In 1999\n1999. was a year\n2. fig", [("In 1999\n1999. was a year", None), ("fig", None)]),
        # No lists.
        ("A fig.", []),
        ("1. only one item", []),
        ("I was born in [1] and {2}.", []),
        ("", []),
        ("[" * 5000, []),
    ],
)  # fmt: skip
def test_lists_are_read_in_many_forms(completion, expected):
    assert read_answers(completion) == expected


def test_what_is_cut_off_is_left_out_and_what_came_before_is_kept():
    whole = listing("fig", "kiwi")
    assert [a.text for a in read_answers(whole, truncated=True)] == ["fig", "kiwi"]
    cut = listing("fig") + "\n<response>\n<text>an unfinished thou"
    assert [a.text for a in read_answers(cut, truncated=True)] == ["fig"]
    assert [a.text for a in read_answers(cut)] == ["fig", "an unfinished thou"]
    assert [a.text for a in read_answers("1. fig\n2. kiwi\n3. an", truncated=True)] == [
        "fig",
        "kiwi",
    ]
    cut = '[{"text": "fig", "probability": 0.2}, {"text": "kiwi"}, {"text": "an unf'
    assert [a.text for a in read_answers(cut, truncated=True)] == ["fig", "kiwi"]


def test_blank_answers_and_the_form_itself_are_no_answers():
    assert [a.text for a in read_answers(listing("", "fig", PLACEHOLDER, "  "))] == ["fig"]
    assert read_answers(listing(PLACEHOLDER)) == []


@pytest.mark.parametrize("said", ["likely", "1.5", "-0.2", "150%", "", "0.1.2"])
def test_a_probability_that_is_none_is_not_made_up(said):
    assert read_answers(listing("fig", probability=said)) == [("fig", None)]


# --- verbalized -----------------------------------------------------------------------------


def counting(per_call=5):
    """Every list is new: the answers are numbered through."""
    state = iter(range(1000))
    return lambda prompt, i, sampling: listing(*(f"answer {next(state)}" for _ in range(per_call)))


def test_verbalized_asks_for_lists_behind_the_users_text():
    engine = AnsweringEngine(counting())
    prompts = ["A fruit?", [{"role": "system", "content": "Be brief."}, *as_messages("A city?")]]
    drawn = Verbalized()(engine, prompts, 10, Sampling(max_tokens=40, seed=3))
    [(asked, n, sampling)] = engine.asked
    assert n == 2 and sampling == Sampling(max_tokens=200, seed=3)
    assert text_of(asked[0]).startswith("A fruit?\n\n") and "5 different" in text_of(asked[0])
    assert "<probability>" in text_of(asked[0])
    assert asked[1][0] == {"role": "system", "content": "Be brief."}
    assert drawn.prompts == prompts
    assert [len(row) for row in drawn] == [10, 10]
    assert drawn.truncated == [[False] * 10] * 2
    assert drawn.details[0] == {
        "completions": 2,
        "unreadable": 0,
        "surplus": 0,
        "probabilities": [0.1] * 10,
        "filled": 0,
        "missing": 0,
    }


def test_without_probabilities_it_asks_for_none():
    assert "<probability>" not in text_of(Verbalized(probabilities=False).ask("A fruit?"))
    assert "3 different" in text_of(Verbalized(3).ask("A fruit?"))


def test_a_surplus_is_left_out_by_chance_and_in_order():
    """Seven of two lists of five: not always the first seven, never out of order."""
    seen = set()
    for seed in range(20):
        drawn = Verbalized()(AnsweringEngine(counting()), ["A fruit?"], 7, Sampling(seed=seed))
        numbers = [int(text.split()[1]) for text in drawn[0]]
        assert numbers == sorted(numbers) and len(set(numbers)) == 7
        assert drawn.details[0]["surplus"] == 3
        assert len(drawn.details[0]["probabilities"]) == 7
        seen.add(tuple(numbers))
    assert len(seen) > 5
    again = Verbalized()(AnsweringEngine(counting()), ["A fruit?"], 7, Sampling(seed=19))
    assert tuple(int(t.split()[1]) for t in again[0]) == tuple(numbers)


def test_unreadable_lists_are_asked_for_again_with_another_seed():
    lists = counting()

    def answer(prompt, i, sampling):
        return lists(prompt, i, sampling) if sampling.seed == 8 else "I would rather not."

    engine = AnsweringEngine(answer)
    drawn = Verbalized()(engine, ["A fruit?"], 10, Sampling(seed=7))
    assert [(n, sampling.seed) for _, n, sampling in engine.asked] == [(2, 7), (2, 8)]
    assert len(drawn[0]) == 10
    assert drawn.details[0]["unreadable"] == 2 and drawn.details[0]["completions"] == 4


def test_only_what_is_missing_is_asked_for_again():
    """Lists of two: ten answers need five lists, and the second round asks for three more."""
    engine = AnsweringEngine(counting(2))
    drawn = Verbalized()(engine, ["A fruit?"], 10)
    assert [n for _, n, _ in engine.asked] == [2, 2, 1]
    assert len(drawn[0]) == 10 and drawn.details[0]["missing"] == 0


def test_after_the_limit_there_are_fewer_and_the_others_are_whole():
    def answer(prompt, i, sampling):
        return "No list." if "fruit" in text_of(prompt) else listing("a", "b", "c", "d", "e")

    engine = AnsweringEngine(answer)
    drawn = Verbalized(rounds=2)(engine, ["A fruit?", "A city?"], 5)
    assert [len(row) for row in drawn] == [0, 5]
    assert drawn.details[0] == {
        "completions": 2,
        "unreadable": 2,
        "surplus": 0,
        "probabilities": [],
        "filled": 0,
        "missing": 5,
    }
    assert [len(prompts) for prompts, _, _ in engine.asked] == [2, 1]


def test_what_is_missing_can_be_drawn_plainly():
    def answer(prompt, i, sampling):
        return f"plain {i}…" if prompt == "A fruit?" else listing("a", "b")

    engine = AnsweringEngine(answer)
    drawn = Verbalized(rounds=1, fill=True)(engine, ["A fruit?"], 5)
    assert drawn[0] == ["a", "b", "plain 0…", "plain 1…", "plain 2…"]
    assert drawn.truncated == [[False, False, True, True, True]]
    assert drawn.details[0]["filled"] == 3 and drawn.details[0]["missing"] == 0
    assert drawn.details[0]["completions"] == engine.completions == 4


def test_an_engine_that_cannot_say_what_was_cut_off_says_nothing():
    engine = AnsweringEngine(counting(), flags=False)
    assert Verbalized()(engine, ["A fruit?"], 5).truncated == []


# --- personas -------------------------------------------------------------------------------


def speaker(prompt, i, sampling):
    return as_messages(prompt)[0]["content"].split(".")[0] + f" #{i}"


def test_every_answer_is_by_another_persona():
    engine = AnsweringEngine(speaker)
    drawn = Personas()(engine, ["A fruit?"], 16, Sampling(seed=1))
    assert len(set(drawn[0])) == 16 and engine.completions == 16
    said = drawn.details[0]["personas"]
    assert [f"{PERSONAS[who].split('.')[0]} #0" for who in said] == drawn[0]
    assert drawn.details[0]["completions"] == 16
    [(asked, n, _)] = engine.asked
    assert n == 1 and asked[0][0]["role"] == "system"
    assert asked[0][0]["content"].endswith(MANNER)
    assert asked[0][1:] == as_messages("A fruit?")


def test_the_order_is_the_seeds_and_the_prompts():
    def order(prompt, seed):
        drawn = Personas()(AnsweringEngine(speaker), [prompt], 8, Sampling(seed=seed))
        return drawn.details[0]["personas"]

    assert order("A fruit?", 1) == order("A fruit?", 1)
    assert order("A fruit?", 1) == order(as_messages("A fruit?"), 1)
    assert order("A fruit?", 1) != order("A fruit?", 2)
    assert order("A fruit?", 1) != order("A city?", 1)
    heard = {who for i in range(60) for who in order(f"Question {i}?", 0)}
    assert len(heard) > 90


def test_few_personas_answer_more_than_once():
    """Two personas and five answers: three of the first in the order, two of the other."""
    drawn = Personas(["You are A.", "You are B."])(AnsweringEngine(speaker), ["A fruit?"], 5)
    assert sorted(text.split()[2] for text in drawn[0]) in (list("AAABB"), list("AABBB"))
    assert len(set(drawn[0])) == 5


def test_a_system_message_of_the_prompt_stays():
    prompt = [{"role": "system", "content": "Be brief."}, *as_messages("A fruit?")]
    messages = with_system(prompt, "You are A.")
    assert messages[0]["content"] == "You are A.\n\nBe brief." and len(messages) == 2
    assert prompt[0]["content"] == "Be brief."


def test_the_shipped_personas_are_many_short_and_different():
    assert len(PERSONAS) == 100 == len(set(PERSONAS))
    assert all(p.startswith("You are a") and p.endswith(".") for p in PERSONAS)
    assert all(len(p.split()) <= 20 for p in PERSONAS)
    occupations = {" ".join(p.split()[3:6]) for p in PERSONAS}
    assert len(occupations) == 100


@pytest.mark.parametrize("personas", [[], "You are A.", ["You are A.", " "], [3]])
def test_unusable_personas_are_refused(personas):
    with pytest.raises(ValueError, match="persona"):
        Personas(personas)


# --- paraphrases ----------------------------------------------------------------------------


def rephrasing(*versions):
    def answer(prompt, i, sampling):
        text = text_of(prompt)
        return versions[i % len(versions)] if text.startswith(REPHRASE) else f"{text} -> {i}"

    return answer


def test_answers_spread_over_the_prompt_and_its_paraphrases():
    """Two of three paraphrases are usable: seven answers are dealt 3, 2, 2."""
    engine = AnsweringEngine(rephrasing("Which fruit?", "A FRUIT", "Some fruit, please."))
    drawn = Paraphrases(3)(engine, ["A fruit?"], 7, Sampling(seed=5))
    assert drawn[0] == [
        *("A fruit? -> 0", "A fruit? -> 1", "A fruit? -> 2"),
        *("Which fruit? -> 0", "Which fruit? -> 1"),
        *("Some fruit, please. -> 0", "Some fruit, please. -> 1"),
    ]
    assert drawn.details == [
        {
            "completions": 10,
            "paraphrases": ["Which fruit?", "Some fruit, please."],
            "failed": 0,
            "copied": 1,
            "answers": [3, 2, 2],
        }
    ]
    assert engine.completions == 10
    assert all(sampling == Sampling(seed=5) for _, _, sampling in engine.asked)


def test_without_usable_paraphrases_it_is_plain_sampling():
    engine = AnsweringEngine(rephrasing("", "cut…", "a fruit"))
    drawn = Paraphrases(3)(engine, ["A fruit?"], 4)
    assert drawn[0] == [f"A fruit? -> {i}" for i in range(4)]
    assert (drawn.details[0]["failed"], drawn.details[0]["copied"]) == (2, 1)


def test_no_more_paraphrases_are_asked_for_than_can_be_used():
    engine = AnsweringEngine(rephrasing("Which fruit?", "What fruit?"))
    drawn = Paraphrases(4)(engine, ["A fruit?"], 3)
    assert engine.completions == 5 and drawn.details[0]["answers"] == [1, 1, 1]
    engine = AnsweringEngine(rephrasing("never"))
    drawn = Paraphrases(4)(engine, ["A fruit?"], 1)
    assert engine.completions == 1 and drawn[0] == ["A fruit? -> 0"]


def test_the_last_turn_of_a_chat_is_rephrased_and_the_rest_stays():
    chat = [
        *as_messages("Hello."),
        {"role": "assistant", "content": "Hi."},
        *as_messages("A fruit?"),
    ]
    engine = AnsweringEngine(rephrasing("Which fruit?"))
    drawn = Paraphrases(1)(engine, [chat], 2)
    assert drawn[0] == ["A fruit? -> 0", "Which fruit? -> 0"]
    variants = engine.asked[-1][0]
    assert [len(v) for v in variants] == [3, 3] and variants[1][0] == chat[0]
    with pytest.raises(ValueError, match="a turn of the user"):
        Paraphrases()(engine, [[{"role": "system", "content": "Be."}]], 2)


def test_quotes_and_labels_around_a_paraphrase_are_no_part_of_it():
    attempts = ["“Which fruit?”", "which fruit", "The request:\nThe request: A fruit?"]
    attempts.append("The request: Say which fruit.")
    used, counts = usable_paraphrases("A fruit?", Answers(attempts, []))
    assert used == ["Which fruit?", "Say which fruit."] and counts == {"failed": 0, "copied": 2}


# --- what they share ------------------------------------------------------------------------

STRATEGIES = [Direct(), Verbalized(), Personas(), Paraphrases()]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: s.describe()["name"])
def test_strategies_answer_several_prompts_and_describe_themselves(strategy):
    def answer(prompt, i, sampling):
        lists = "different ones" in text_of(prompt)
        return listing(*"abcde") if lists else f"{text_of(prompt)[-9:]} {i}"

    prompts = ["A fruit?", as_messages("A city?"), "A fruit?"]
    columns = {"answers": [1, 2, 3]}
    drawn = strategy(AnsweringEngine(answer), prompts, 6, Sampling(), columns=columns)
    assert drawn.prompts == prompts and [len(row) for row in drawn] == [6, 6, 6]
    assert all(len(flags) == 6 for flags in drawn.truncated)
    described = strategy.describe()
    assert json.loads(json.dumps(described)) == described
    assert len(json.dumps(described)) < 300  # it stands in every row of a run
    if strategy != Direct():
        assert all(row["completions"] >= 2 for row in drawn.details)
        with pytest.raises(ValueError, match="n must be"):
            strategy(AnsweringEngine(answer), prompts, 0)


def test_descriptions_tell_options_apart():
    described = [
        *(s.describe() for s in STRATEGIES),
        *(Verbalized(4).describe(), Verbalized(probabilities=False).describe()),
        *(Verbalized(rounds=1).describe(), Verbalized(fill=True).describe()),
        *(Personas(["You are A."]).describe(), Personas(["You are B."]).describe()),
        Paraphrases(2).describe(),
    ]
    assert len({json.dumps(d) for d in described}) == len(described)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Verbalized(0), "per_call must be"),
        (lambda: Verbalized(rounds=0), "rounds must be"),
        (lambda: Paraphrases(0), "count must be"),
    ],
)
def test_impossible_options_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_draw_each_calls_the_engine_once_a_count():
    engine = AnsweringEngine(lambda prompt, i, sampling: f"{prompt}{i}")
    drawn = draw_each(engine, [("a", 2), ("b", 0), ("c", 1), ("d", 2)], Sampling())
    assert [row.texts for row in drawn] == [["a0", "a1"], [], ["c0"], ["d0", "d1"]]
    assert [(prompts, n) for prompts, n, _ in engine.asked] == [(["c"], 1), (["a", "d"], 2)]
    assert collected(["a"], [drawn[0]], [{}]).truncated == [[False, False]]


def test_streams_belong_to_seed_and_prompt():
    first, again = (stream_of(1, "A?").random(3) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, stream_of(2, "A?").random(3))
    assert with_user_text("A?", "B?") == "B?"
