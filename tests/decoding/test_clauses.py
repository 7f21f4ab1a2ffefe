"""Sentences behind the request: the diverge clause and the seeded specifications."""

from collections import Counter

import numpy as np
import pytest
from answering import AnsweringEngine

from diversify.decoding import FACETS, DivergeClause, Personas, Specifications, Stratified
from diversify.decoding.clauses import CLAUSE, read_facets
from diversify.engines import Sampling, as_messages, text_of


def echo(prompt, i, sampling):
    return f"{text_of(prompt)} #{i}"


def stream(seed=0):
    return np.random.default_rng(seed)


# --- the clause -----------------------------------------------------------------------------


def test_the_clause_stands_behind_the_request():
    engine = AnsweringEngine(echo)
    drawn = DivergeClause()(engine, ["A fruit?"], 3, Sampling(seed=2))
    [(asked, n, sampling)] = engine.asked
    assert asked == [f"A fruit?\n\n{CLAUSE}"] and (n, sampling) == (3, Sampling(seed=2))
    assert drawn.prompts == ["A fruit?"] and drawn[0][2].endswith("#2")
    assert (drawn.details[0]["calls"], drawn.details[0]["completions"]) == (1, 3)


def test_the_clause_goes_around_other_strategies():
    chat = [{"role": "system", "content": "Be brief."}, *as_messages("A fruit?")]
    engine = AnsweringEngine(echo)
    drawn = DivergeClause(Personas(), clause="Be odd.")(engine, [chat], 2)
    assert [text_of(asked) for asked in engine.asked[0][0]] == ["A fruit?\n\nBe odd."] * 2
    assert drawn.prompts == [chat] and len(set(drawn.details[0]["kept"])) == 2
    described = DivergeClause(Personas(), clause="Be odd.").describe()
    assert described["strategy"] == Personas().describe()
    assert described != DivergeClause(clause="Be odd.").describe()


def test_columns_reach_the_strategy_within():
    seen = {}

    class Watching:
        def __call__(self, engine, prompts, n, sampling, *, columns=None):
            seen.update(columns)
            return engine.generate(prompts, n, sampling)

        def describe(self):
            return {"name": "watching"}

    DivergeClause(Watching())(AnsweringEngine(echo), ["A fruit?"], 1, columns={"answers": [7]})
    assert seen == {"answers": [7]}


def test_a_plan_is_made_and_answered_under_the_clause():
    def answer(prompt, i, sampling):
        return "1. sea\n2. air" if "numbered from 1" in text_of(prompt) else "fig"

    engine = AnsweringEngine(answer)
    DivergeClause(Stratified())(engine, ["A fruit?"], 2)
    assert all(CLAUSE in text for prompts, _, _ in engine.asked for text in prompts)


@pytest.mark.parametrize("clause", ["", "  ", 3])
def test_a_blank_clause_is_refused(clause):
    with pytest.raises(ValueError, match="clause must be"):
        DivergeClause(clause=clause)


# --- specifications -------------------------------------------------------------------------


def test_each_answer_gets_its_own_specification():
    engine = AnsweringEngine(echo)
    drawn = Specifications()(engine, ["A fruit?"], 12, Sampling(seed=5))
    notes = drawn.details[0]["kept"]
    assert len(set(notes)) == 12 and all(note.count(": ") == 2 for note in notes)
    assert (drawn.details[0]["calls"], drawn.details[0]["completions"]) == (12, 12)
    for note, text in zip(notes, drawn[0], strict=True):
        assert text.startswith("A fruit?\n\n") and all(
            f"- {part}" in text for part in note.split(", ") if ": " in part
        )


def test_the_choice_is_the_seeds_and_the_prompts():
    def notes(prompt, seed):
        drawn = Specifications()(AnsweringEngine(echo), [prompt], 6, Sampling(seed=seed))
        return drawn.details[0]["kept"]

    assert notes("A fruit?", 1) == notes("A fruit?", 1)
    assert notes("A fruit?", 1) != notes("A fruit?", 2)
    assert notes("A fruit?", 1) != notes("A city?", 1)


def test_choices_come_back_only_when_all_of_their_facet_came():
    """Five answers of both facets: the five tones once each, and each length twice or thrice."""
    facets = {"tone": list("abcde"), "length": ["short", "long"]}
    for seed in range(20):
        picked = Specifications(facets).pick(5, stream(seed))
        counts = Counter(choice for specification in picked for _, choice in specification)
        assert [counts[tone] for tone in "abcde"] == [1] * 5
        assert {counts["short"], counts["long"]} == {2, 3}


def test_facets_take_turns():
    """Three facets, one an answer: after six answers each has been asked for twice."""
    facets = {name: list("vwxyz") for name in "abc"}
    picked = Specifications(facets, count=1).pick(6, stream())
    assert Counter(name for ((name, _),) in picked) == {"a": 2, "b": 2, "c": 2}


@pytest.mark.parametrize("count", [1, 2])
def test_all_specifications_come_before_one_comes_again(count):
    """Two facets of two and three choices: 2 + 3 specifications of one, 2 * 3 of both."""
    facets = {"tone": ["dry", "warm"], "length": ["a word", "a line", "a page"]}
    possible = {1: 5, 2: 6}[count]
    for seed in range(10):
        picked = Specifications(facets, count=count).pick(possible + 3, stream(seed))
        assert len(set(picked[:possible])) == possible and len(picked) == possible + 3


def test_facets_stand_in_their_order_and_copies_count_once():
    facets = {"b": ["x", "x"], "a": ["y"]}
    assert Specifications(facets).pick(2, stream()) == [(("b", "x"), ("a", "y"))] * 2


def test_the_shipped_facets_are_many_and_different():
    assert len(FACETS) == 6
    assert all(
        len(choices) >= 8 and len(set(choices)) == len(choices) for choices in FACETS.values()
    )
    assert all("\n" not in choice for choices in FACETS.values() for choice in choices)


def test_facets_are_read_from_lines():
    assert read_facets("\ntone: dry, warm\n\nsize : one: two,\n") == {
        "tone": ["dry", "warm"],
        "size": ["one: two"],
    }
    for wrong in ("tone", "tone:", "tone: a\ntone: b"):
        with pytest.raises(ValueError, match="a facet is a line"):
            read_facets(wrong)


@pytest.mark.parametrize(
    ("facets", "count", "message"),
    [
        ({}, 1, "facets must map"),
        (["tone"], 1, "facets must map"),
        ({"tone": []}, 1, "facet 'tone' must have"),
        ({"tone": "dry"}, 1, "facet 'tone' must have"),
        ({"tone": ["dry", " "]}, 1, "facet 'tone' must have"),
        ({"tone": ["dry"]}, 2, "count must be between 1 and 1"),
        ({"tone": ["dry"]}, 0, "count must be"),
    ],
)
def test_impossible_facets_are_refused(facets, count, message):
    with pytest.raises(ValueError, match=message):
        Specifications(facets, count=count)


def test_descriptions_tell_facets_apart():
    described = Specifications().describe()
    assert described != Specifications(count=1).describe()
    assert described != Specifications(FACETS | {"tone": ["dry"]}).describe()
    assert described == Specifications(dict(FACETS)).describe()
