"""Strategies that choose what is asked, on an engine that answers by a function."""

import json

import numpy as np
import pytest
from answering import AnsweringEngine

from diversify.decoding import PERSONAS, Direct, Paraphrases, Personas
from diversify.decoding.asking import (
    Answers,
    collected,
    draw_each,
    later,
    stream_of,
    with_system,
    with_user_text,
)
from diversify.decoding.prompting import MANNER, REPHRASE, usable_paraphrases
from diversify.decoding.records import DETAILS, Cost, Record
from diversify.engines import Sampling, as_messages, text_of

# --- personas -------------------------------------------------------------------------------


def speaker(prompt, i, sampling):
    return as_messages(prompt)[0]["content"].split(".")[0] + f" #{i}"


def test_every_answer_is_by_another_persona():
    engine = AnsweringEngine(speaker)
    drawn = Personas()(engine, ["A fruit?"], 16, Sampling(seed=1))
    assert len(set(drawn[0])) == 16 and engine.completions == 16
    said = drawn.details[0]["kept"]
    assert [f"{who.split('.')[0]} #0" for who in said] == drawn[0]
    assert (drawn.details[0]["calls"], drawn.details[0]["completions"]) == (16, 16)
    [(asked, n, _)] = engine.asked
    assert n == 1 and asked[0][0]["role"] == "system"
    assert asked[0][0]["content"].endswith(MANNER)
    assert asked[0][1:] == as_messages("A fruit?")


def test_the_order_is_the_seeds_and_the_prompts():
    def order(prompt, seed):
        drawn = Personas()(AnsweringEngine(speaker), [prompt], 8, Sampling(seed=seed))
        return drawn.details[0]["kept"]

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
    record = drawn.details[0]
    assert (record["calls"], record["completions"]) == (4, 10)
    assert record["failed"] == {"copied paraphrase": 1}
    assert record["kept"] == [
        *["original"] * 3,
        *["in other words: Which fruit?"] * 2,
        *["in other words: Some fruit, please."] * 2,
    ]
    assert engine.completions == 10
    assert all(sampling == Sampling(seed=5) for _, _, sampling in engine.asked)


def test_without_usable_paraphrases_it_is_plain_sampling():
    engine = AnsweringEngine(rephrasing("", "cut…", "a fruit"))
    drawn = Paraphrases(3)(engine, ["A fruit?"], 4)
    assert drawn[0] == [f"A fruit? -> {i}" for i in range(4)]
    failed = {"blank or cut off paraphrase": 2, "copied paraphrase": 1}
    assert drawn.details[0]["failed"] == failed


def test_no_more_paraphrases_are_asked_for_than_can_be_used():
    engine = AnsweringEngine(rephrasing("Which fruit?", "What fruit?"))
    drawn = Paraphrases(4)(engine, ["A fruit?"], 3)
    assert engine.completions == 5 and len(set(drawn.details[0]["kept"])) == 3
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
    assert used == ["Which fruit?", "Say which fruit."] and counts == {"copied paraphrase": 2}


# --- what they share ------------------------------------------------------------------------


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
    assert later(Sampling(seed=5), 0) == Sampling(seed=5)
    assert (
        len({later(Sampling(seed=s), step).seed for s in range(50) for step in range(50)}) == 2500
    )


def test_too_few_paraphrases_are_refused():
    with pytest.raises(ValueError, match="count must be"):
        Paraphrases(0)


# --- records --------------------------------------------------------------------------------


def test_costs_add_up_and_what_is_unknown_stays_unknown():
    assert Cost(1, 2, 3, 4) + Cost(10, 20, 30, 40) == Cost(11, 22, 33, 44)
    assert Cost(1, 2, 3, None) + Cost(1, 1, 1, 1) == Cost(2, 3, 4, None)
    assert Cost() + Cost(1, 2, None, 4) == Cost(1, 2, None, 4)


def test_a_record_says_the_same_after_a_round_trip():
    record = Record(Cost(1, 4, 10, 20))
    record.drop(["fig"], "copy")
    record.fail("unreadable list", 2)
    record.fail("never", 0)
    details = record.details(["plain"], 3, more=[1])
    assert tuple(details) == (*DETAILS, "more")
    assert details["missing"] == 2 and details["failed"] == {"unreadable list": 2}
    assert Record.of(json.loads(json.dumps(details))) == record
    both = Record.of(details) + record
    assert both.cost == Cost(2, 8, 20, 40) and both.failed == {"unreadable list": 4}
    assert len(both.dropped) == 2 and len(record.dropped) == 1


def test_a_foreign_record_is_unknown_and_not_made_up():
    assert Record.of({}).cost == Cost(None, None, None, None)
    assert Record.of({}).details([], 0)["tokens"] is None


def test_without_counts_of_the_engine_tokens_are_unknown():
    drawn = Direct()(AnsweringEngine(speaker, counts=False), ["A fruit?"], 3)
    assert drawn.details[0]["tokens"] is None and drawn.details[0]["completions"] == 3
