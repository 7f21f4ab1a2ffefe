"""Verbalized sampling: lists in many forms, and calls until there are enough answers."""

import numpy as np
import pytest
from answering import AnsweringEngine, listing

from diversify.decoding import Verbalized, read_answers
from diversify.decoding.asking import STRIDE
from diversify.decoding.lists import PLACEHOLDER, without_thinking
from diversify.decoding.verbalized import MORE, list_weights
from diversify.engines import Sampling, as_messages, text_of

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
        "calls": 1,
        "completions": 2,
        "tokens": {"read": len(text_of(asked[0]).split()), "written": 10 * 5},
        "kept": ["list 1, said probability 0.1"] * 5 + ["list 2, said probability 0.1"] * 5,
        "dropped": [],
        "failed": {},
        "missing": 0,
        "probabilities": [0.1] * 10,
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
        dropped = drawn.details[0]["dropped"]
        assert {each["why"] for each in dropped} == {"more than were wanted"}
        left = [int(each["text"].split()[1]) for each in dropped]
        assert sorted(numbers + left) == list(range(10))
        assert len(drawn.details[0]["probabilities"]) == 7
        seen.add(tuple(numbers))
    assert len(seen) > 5
    again = Verbalized()(AnsweringEngine(counting()), ["A fruit?"], 7, Sampling(seed=19))
    assert tuple(int(t.split()[1]) for t in again[0]) == tuple(numbers)


def test_unreadable_lists_are_asked_for_again_with_another_seed():
    lists = counting()

    def answer(prompt, i, sampling):
        return lists(prompt, i, sampling) if sampling.seed != 7 else "I would rather not."

    engine = AnsweringEngine(answer)
    drawn = Verbalized()(engine, ["A fruit?"], 10, Sampling(seed=7))
    assert [(n, sampling.seed) for _, n, sampling in engine.asked] == [(2, 7), (2, 7 + STRIDE)]
    assert len(drawn[0]) == 10
    assert drawn.details[0]["failed"] == {"unreadable list": 2}
    assert (drawn.details[0]["calls"], drawn.details[0]["completions"]) == (2, 4)


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
    record = drawn.details[0]
    assert (record["completions"], record["failed"]) == (2, {"unreadable list": 2})
    assert (record["kept"], record["probabilities"], record["missing"]) == ([], [], 5)
    assert [len(prompts) for prompts, _, _ in engine.asked] == [2, 1]


def test_what_is_missing_can_be_drawn_plainly():
    def answer(prompt, i, sampling):
        return f"plain {i}…" if prompt == "A fruit?" else listing("a", "b")

    engine = AnsweringEngine(answer)
    drawn = Verbalized(rounds=1, fill=True)(engine, ["A fruit?"], 5)
    assert drawn[0] == ["a", "b", "plain 0…", "plain 1…", "plain 2…"]
    assert drawn.truncated == [[False, False, True, True, True]]
    assert drawn.details[0]["kept"][1:] == ["list 1, said probability 0.1", *["plain"] * 3]
    assert drawn.details[0]["probabilities"] == [0.1, 0.1, None, None, None]
    assert drawn.details[0]["missing"] == 0
    assert drawn.details[0]["completions"] == engine.completions == 4


def test_an_engine_that_cannot_say_what_was_cut_off_says_nothing():
    engine = AnsweringEngine(counting(), flags=False)
    assert Verbalized()(engine, ["A fruit?"], 5).truncated == []


# --- variants -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "thought",
    [
        "<thinking>1. fig\n2. kiwi</thinking>",
        "<think>1. fig\n2. kiwi</think>",
        "1. fig\n2. kiwi\n</think>",  # the template began it
        "<THINKING>1. fig\n2. kiwi ",
    ],
)
def test_thoughts_are_no_part_of_the_list(thought):
    assert [a.text for a in read_answers(thought + listing("lime", "plum"))] == ["lime", "plum"]


def test_a_thought_that_never_ends_holds_no_list():
    assert read_answers("<think>1. fig\n2. kiwi", truncated=True) == []
    assert without_thinking("A fig.") == "A fig."


def test_cot_asks_to_think_first_and_has_room_for_it():
    def answer(prompt, i, sampling):
        return "<thinking>1. red 2. blue</thinking>\n" + listing("a", "b")

    engine = AnsweringEngine(answer)
    drawn = Verbalized(2, variant="cot")(engine, ["A fruit?"], 2, Sampling(max_tokens=10))
    [([asked], _, sampling)] = engine.asked
    assert "First think" in asked and sampling.max_tokens == 30
    assert drawn[0] == ["a", "b"]


def test_the_threshold_asks_for_the_tail():
    assert "below 0.01" in Verbalized(threshold=0.01).ask("A fruit?")
    plain = Verbalized().ask("A fruit?")
    assert "below" not in plain and "picked at random from everything you could answer" in plain


def test_in_turns_each_list_is_asked_for_in_sight_of_the_ones_before():
    """Five answers of lists of two: three turns, of which the city, at three a list, needs two."""
    state = iter(range(100))

    def answer(prompt, i, sampling):
        size = 2 if "fruit" in as_messages(prompt)[0]["content"] else 3
        return listing(*(f"answer {next(state)}" for _ in range(size)))

    engine = AnsweringEngine(answer)
    drawn = Verbalized(2, variant="multi_turn")(engine, ["A fruit?", "A city?"], 5)
    assert [len(row) for row in drawn] == [5, 5]
    assert [(len(prompts), n) for prompts, n, _ in engine.asked] == [(2, 1), (2, 1), (1, 1)]
    chat = engine.asked[2][0][0]
    assert [m["role"] for m in chat] == ["user", *["assistant", "user"] * 2]
    assert chat[1]["content"] == listing("answer 0", "answer 1")
    assert chat[2]["content"] == MORE.format(count=2) and "2 more answers" in MORE.format(count=2)
    assert (drawn.details[0]["calls"], drawn.details[1]["calls"]) == (3, 2)


def test_a_turn_that_cannot_be_read_is_asked_again_and_the_turns_have_a_limit():
    def answer(prompt, i, sampling):
        readable = "fruit" not in text_of(as_messages(prompt)[:1]) and sampling.seed
        return listing("a", "b") if readable else "No list."

    engine = AnsweringEngine(answer)
    drawn = Verbalized(2, variant="multi_turn", rounds=2)(engine, ["A fruit?", "A city?"], 4)
    assert [len(row) for row in drawn] == [0, 4]
    assert drawn.details[0]["failed"] == {"unreadable list": 4} and drawn.details[0]["missing"] == 4
    assert drawn.details[1]["failed"] == {"unreadable list": 1}
    assert engine.asked[0][0] == engine.asked[1][0]  # what could not be read is not in the chat
    seeds = [sampling.seed for _, _, sampling in engine.asked]
    assert len(set(seeds)) == len(seeds)


def test_resampling_goes_by_the_stated_probabilities():
    """One list of 0.9 and 0.1: of 2000 draws about 1800 (standard deviation 13) are the first."""
    text = listing("fig", probability=0.9) + listing("kiwi", probability=0.1)
    strategy = Verbalized(2, resample=True, rounds=1)
    drawn = strategy(AnsweringEngine(lambda *_: text), ["A fruit?"], 2000)
    assert abs(drawn[0].count("fig") - 1800) < 5 * 13
    assert len(drawn[0]) == 2000 == len(drawn.details[0]["probabilities"])
    again = strategy(AnsweringEngine(lambda *_: text), ["A fruit?"], 2000)
    assert again.texts == drawn.texts
    other = strategy(AnsweringEngine(lambda *_: text), ["A fruit?"], 2000, Sampling(seed=1))
    assert other.texts != drawn.texts


def test_what_is_not_drawn_again_is_on_record_and_nothing_needs_to_be_filled():
    text = listing("fig", probability=1) + listing("kiwi", probability=0)
    strategy = Verbalized(4, resample=True, rounds=1, fill=True)
    drawn = strategy(AnsweringEngine(lambda *_: text), ["A fruit?"], 4)
    assert drawn[0] == ["fig"] * 4 and drawn.details[0]["missing"] == 0
    assert drawn.details[0]["dropped"] == [{"text": "kiwi", "why": "not drawn by its probability"}]
    none = strategy(AnsweringEngine(lambda *_: "No."), ["A fruit?"], 4)
    assert none[0] == ["No."] * 4 and none.details[0]["kept"] == ["plain"] * 4


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        # 0.2, the mean of 0.1 and 0.3, stands in: 1/6, 3/6, 2/6.
        ([0.1, 0.3, None], [1 / 6, 1 / 2, 1 / 3]),
        ([0.5, 0.5, 1.0], [1 / 4, 1 / 4, 1 / 2]),  # they need not add up to 1
        ([None, None], [1 / 2, 1 / 2]),
        ([0.0, 0.0], [1 / 2, 1 / 2]),
        ([None], [1.0]),
    ],
)
def test_weights_of_a_list(stated, expected):
    np.testing.assert_allclose(list_weights(stated), expected)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Verbalized(0), "per_call must be"),
        (lambda: Verbalized(rounds=0), "rounds must be"),
        (lambda: Verbalized(variant="tree"), "variant must be one of .* got 'tree'"),
        (lambda: Verbalized(threshold=0.0), r"threshold must be in \(0, 1\]"),
        (lambda: Verbalized(threshold=1.5), "got 1.5"),
        (lambda: Verbalized(threshold=float("nan")), "got nan"),
        (lambda: Verbalized(threshold=0.1, probabilities=False), "need probabilities"),
        (lambda: Verbalized(resample=True, probabilities=False), "need probabilities"),
    ],
)
def test_impossible_options_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()
