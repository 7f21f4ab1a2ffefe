"""Phrases that come again and again: what counts, how often, and which parts are left out."""

import pytest

from diversify.evaluation.phrases import frequent_phrases, maximal, occurrences, sentences


def told(phrases):
    return sorted(" ".join(words) for words in phrases)


def test_a_phrase_of_many_answers_to_one_prompt():
    """Four of five answers share three words; two words are too short, three answers too few."""
    answers = ["Time is a river."] * 3 + ["but time is a thief", "is a river deep"]
    assert told(frequent_phrases([answers])) == ["is a river", "time is a"]
    assert told(frequent_phrases([answers], shortest=2)) == [
        "a river",
        "is a",
        "is a river",
        "time is",
        "time is a",
    ]
    assert told(frequent_phrases([answers], least_answers=3)) == [
        "is a river",
        "time is a",
        "time is a river",
    ]
    assert told(frequent_phrases([answers], least_answers=3, longest=3)) == [
        "is a river",
        "time is a",
    ]


def test_a_phrase_of_many_prompts_needs_one_answer_in_each():
    groups = [["deep in the forest", "x"], ["it was deep in the"], ["deep in the sea"]]
    assert told(frequent_phrases(groups)) == ["deep in the"]
    assert frequent_phrases(groups, least_prompts=4) == set()


def test_saying_it_twice_in_one_answer_counts_once():
    assert frequent_phrases([["a b c. a b c. a b c. a b c."]]) == set()
    assert occurrences([("a", "b")], [["a b. a b", "b a"]]) == {("a", "b"): [1]}


def test_a_sentence_ends_a_phrase_and_punctuation_does_not():
    assert sentences("One two. Three") == [["one", "two"], ["three"]]
    assert sentences("one\ntwo") == [["one"], ["two"]]
    assert sentences("“One,” (two) — *three* don't…") == [["one", "two", "three", "don't"]]
    assert sentences("3.14 and e.g.x") == [["3.14", "and", "e.g.x"]]
    assert sentences(" ... ") == []


def test_a_phrase_of_the_prompt_does_not_count_there():
    phrase = ("a", "poem", "about")
    groups = [["a poem about tea", "a poem about rain"], ["a poem about tea"]]
    prompts = ["Write a poem about tea.", "Write."]
    assert occurrences([phrase], groups) == {phrase: [2, 1]}
    assert occurrences([phrase], groups, prompts=prompts) == {phrase: [0, 1]}


def test_long_and_short_phrases_are_found_at_every_place():
    phrases = [("a",), ("a", "b"), ("b", "c", "d", "e")]
    assert occurrences(phrases, [["b c d e", "x a b c d e", "e d"]]) == {
        ("a",): [1],
        ("a", "b"): [1],
        ("b", "c", "d", "e"): [2],
    }


def test_parts_go_where_a_longer_phrase_is_nearly_as_frequent():
    """Three quarters of 8 are 6: the longer phrase with 6 stands for its parts, with 5 not."""
    whole, part, other = ("a", "b", "c"), ("a", "b"), ("b", "c")
    assert maximal({part: 8, whole: 6, other: 9}) == [whole, other]
    assert maximal({part: 8, whole: 5}) == [part, whole]
    assert maximal({part: 8, whole: 7}, share=1.0) == [part, whole]
    assert maximal({part: 7, whole: 7}, share=1.0) == [whole]


def test_a_phrase_is_not_dropped_for_one_that_is_itself_dropped():
    """ab 10 is in abc 8, which abcd 6 stands for; abcd has too few of the 10 to stand for ab."""
    ab, abc, abcd = ("a", "b"), ("a", "b", "c"), ("a", "b", "c", "d")
    assert maximal({ab: 10, abc: 8, abcd: 6}) == [ab, abcd]


@pytest.mark.parametrize(
    "options", [{"least_answers": 0}, {"least_prompts": 0}, {"shortest": 0}, {"longest": 2}]
)
def test_impossible_limits_are_refused(options):
    with pytest.raises(ValueError, match="at least 1"):
        frequent_phrases([["a b c"]], **options)


def test_impossible_shares_and_missing_prompts_are_refused():
    for share in (0, 1.1):
        with pytest.raises(ValueError, match="share"):
            maximal({}, share=share)
    with pytest.raises(ValueError, match="got 1 for 2"):
        occurrences([("a",)], [["a"], ["a"]], prompts=["x"])
