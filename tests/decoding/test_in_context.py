"""In-context regeneration: every answer in sight of the ones before, all prompts in step."""

import pytest
from answering import AnsweringEngine

from diversify.decoding import InContext
from diversify.decoding.in_context import AGAIN
from diversify.engines import Generations, Sampling, as_messages, text_of


def turns(prompt, i, sampling):
    """Say how many answers are in sight, and of what."""
    chat = as_messages(prompt)
    return f"{chat[0]['content']} {sum(m['role'] == 'assistant' for m in chat)}"


def test_each_answer_sees_those_before_and_all_prompts_go_in_step():
    engine = AnsweringEngine(turns)
    drawn = InContext()(engine, ["A fruit?", "A city?"], 4, Sampling(seed=3))
    assert drawn.texts == [[f"{p} {i}" for i in range(4)] for p in ("A fruit?", "A city?")]
    assert [(len(prompts), n) for prompts, n, _ in engine.asked] == [(2, 1)] * 4
    assert engine.asked[0][0] == ["A fruit?", "A city?"]  # the first answer is a plain one
    assert engine.asked[2][0][0] == [
        {"role": "user", "content": "A fruit?"},
        {"role": "assistant", "content": "A fruit? 0"},
        {"role": "user", "content": AGAIN},
        {"role": "assistant", "content": "A fruit? 1"},
        {"role": "user", "content": AGAIN},
    ]
    record = drawn.details[0]
    assert (record["calls"], record["completions"], record["missing"]) == (4, 4, 0)
    assert record["kept"] == ["turn 1", "turn 2", "turn 3", "turn 4"]


def test_the_window_bounds_what_is_in_sight():
    """Of five answers the last two stay in sight: 0, 1, 2, 2, 2."""
    state = iter("abcde")
    engine = AnsweringEngine(lambda *_: next(state))
    InContext(2)(engine, ["A fruit?"], 5)
    shown = [
        [m["content"] for m in as_messages(prompts[0]) if m["role"] == "assistant"]
        for prompts, _, _ in engine.asked
    ]
    assert shown == [[], ["a"], ["a", "b"], ["b", "c"], ["c", "d"]]


def test_a_chat_is_continued_and_not_changed():
    chat = [{"role": "system", "content": "Be brief."}, *as_messages("A fruit?")]
    engine = AnsweringEngine(lambda *_: "fig")
    InContext(again="Another!")(engine, [chat], 2)
    assert engine.asked[1][0][0][:2] == chat and len(chat) == 2
    assert text_of(engine.asked[1][0][0]) == "Another!"


def test_blank_answers_are_not_shown_and_copies_are_counted():
    state = iter(["fig", " ", "Fig!", "kiwi"])
    engine = AnsweringEngine(lambda *_: next(state))
    drawn = InContext()(engine, ["A fruit?"], 4)
    assert drawn[0] == ["fig", " ", "Fig!", "kiwi"]
    assert drawn.details[0]["failed"] == {"blank answer": 1, "copy of an earlier answer": 1}
    assert drawn.details[0]["kept"][1:3] == [
        "turn 2, blank answer",
        "turn 3, copy of an earlier answer",
    ]
    assert len(engine.asked[3][0][0]) == 5  # the request, fig, Fig!


def test_thoughts_are_not_shown():
    engine = AnsweringEngine(lambda *_: "<think>fruits grow</think>fig")
    drawn = InContext()(engine, ["A fruit?"], 2)
    assert drawn[0][0].startswith("<think>")
    assert engine.asked[1][0][0][1]["content"] == "fig"


def test_an_engine_that_loses_answers_leaves_them_missing():
    class Losing(AnsweringEngine):
        def generate(self, prompts, n, sampling):
            drawn = super().generate(prompts, n, sampling)
            if len(self.asked) != 2:
                return drawn
            return Generations(drawn.prompts, [[] for _ in prompts], [[] for _ in prompts])

    drawn = InContext()(Losing(turns), ["A fruit?"], 3)
    assert drawn[0] == ["A fruit? 0", "A fruit? 1"] and drawn.details[0]["missing"] == 1


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: InContext(0), "window must be"),
        (lambda: InContext(again=" "), "again must"),
        (lambda: InContext(again=3), "again must"),
    ],
)
def test_impossible_options_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
