"""Plans first: one call for directions or titles, then an answer along each."""

import pytest
from answering import AnsweringEngine

from diversify.decoding import Stratified, TitlesFirst
from diversify.decoding.asking import Answers
from diversify.decoding.planned import (
    DIRECTION,
    DIRECTIONS,
    LINE_TOKENS,
    TITLE,
    TITLES,
    read_plan,
)
from diversify.engines import Sampling, as_messages, text_of


def planning(*items):
    """Answer a wish for a plan by a numbered list, and a request by its last line."""

    def answer(prompt, i, sampling):
        text = text_of(prompt)
        if "numbered from 1" in text:
            return "\n".join(f"{number}. {item}" for number, item in enumerate(items, start=1))
        return f"{text.splitlines()[-1]} #{i}"

    return answer


@pytest.mark.parametrize(
    ("strategy", "plan", "along"),
    [(Stratified(), DIRECTIONS, DIRECTION), (TitlesFirst(), TITLES, TITLE)],
)
def test_one_call_for_the_plan_and_one_for_each_answer(strategy, plan, along):
    engine = AnsweringEngine(planning("sea", "air", "land"))
    drawn = strategy(engine, ["A {beast}?"], 3, Sampling(seed=4, max_tokens=500))
    assert drawn[0] == [f"{along.format(item=item)} #0" for item in ("sea", "air", "land")]
    [(plans, one, _), (asked, n, _)] = engine.asked
    assert plans == [plan.format(count=3) + "A {beast}?"] and (one, n) == (1, 1)
    assert [text.split("\n\n")[0] for text in asked] == ["A {beast}?"] * 3
    assert all(sampling == Sampling(seed=4, max_tokens=500) for _, _, sampling in engine.asked)
    record = drawn.details[0]
    assert record["kept"] == ["sea", "air", "land"] and record["failed"] == {}
    assert (record["calls"], record["completions"]) == (4, 4)


def test_a_plan_has_room_for_its_lines_where_answers_are_short():
    engine = AnsweringEngine(planning("sea", "air"))
    Stratified()(engine, ["A beast?"], 2, Sampling(max_tokens=5))
    assert [sampling.max_tokens for _, _, sampling in engine.asked] == [2 * LINE_TOKENS, 5]


def test_a_short_plan_is_dealt_out_and_counted():
    """Two directions for five answers: three and two; three directions are missing."""
    engine = AnsweringEngine(planning("sea", "air"))
    drawn = Stratified()(engine, ["A beast?"], 5)
    assert drawn.details[0]["kept"] == ["sea"] * 3 + ["air"] * 2
    assert drawn.details[0]["failed"] == {"missing from the plan": 3}
    assert (drawn.details[0]["calls"], drawn.details[0]["completions"]) == (3, 6)


def test_without_a_plan_the_prompt_is_asked_plainly():
    engine = AnsweringEngine(lambda prompt, i, sampling: f"I would rather not {i}.")
    drawn = TitlesFirst()(engine, ["A poem?"], 3)
    assert engine.asked[1][0] == ["A poem?"] and engine.asked[1][1] == 3
    assert drawn.details[0]["kept"] == ["plain"] * 3
    assert drawn.details[0]["failed"] == {"missing from the plan": 3}


def test_a_long_plan_is_cut_and_many_answers_share_the_most_directions():
    engine = AnsweringEngine(planning("sea", "air", "land", "fire"))
    drawn = Stratified(2)(engine, ["A beast?"], 4)
    assert engine.asked[0][0][0].startswith(DIRECTIONS.format(count=2))
    assert drawn.details[0]["kept"] == ["sea", "sea", "air", "air"]
    assert drawn.details[0]["failed"] == {}


def test_a_single_answer_needs_no_plan():
    engine = AnsweringEngine(planning("never"))
    drawn = Stratified()(engine, ["A beast?"], 1)
    assert engine.asked[0][0] == ["A beast?"] and engine.completions == 1
    assert drawn.details[0]["failed"] == {}


def test_the_rest_of_a_chat_stays():
    chat = [{"role": "system", "content": "Be brief."}, *as_messages("A beast?")]
    engine = AnsweringEngine(planning("sea", "air"))
    Stratified()(engine, [chat], 2)
    assert all(asked[0] == chat[0] for prompts, _, _ in engine.asked for asked in prompts)
    with pytest.raises(ValueError, match="a turn of the user"):
        Stratified()(engine, [chat[:1]], 2)


def test_items_are_read_once_and_what_is_cut_off_is_none():
    cut = Answers(["1. by the sea\n2. By the Sea.\n3. in a\n dream\n4. in a dr"], [True])
    assert read_plan(cut) == ["by the sea", "in a dream"]
    assert read_plan(Answers(['["sea", "…", "air"]'], [])) == ["sea", "air"]
    assert read_plan(Answers([], [])) == []


@pytest.mark.parametrize(
    ("build", "message"),
    [(lambda: Stratified(1), "directions must be"), (lambda: TitlesFirst(0), "titles must be")],
)
def test_impossible_options_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
