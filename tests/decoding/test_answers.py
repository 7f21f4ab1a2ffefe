"""The three-line call and its table."""

import pytest
from answering import AnsweringEngine, listing

from diversify.decoding import DifferentAnswers, OverGenerate, Personas, different
from diversify.engines import Sampling
from diversify.kernels import NgramKernel
from diversify.models import load_model

FRUIT = ["a fig", "a fig", "", "the kiwi", "a fig tart", "one lime"]


def fruit(prompt, i, sampling):
    return FRUIT[i % len(FRUIT)]


def test_three_lines():
    answers = different(
        "A fruit?", 3, model=AnsweringEngine(fruit), kernel=NgramKernel(1), factor=2
    )
    assert list(answers) == ["a fig", "the kiwi", "one lime"] == answers[:]
    assert len(answers) == 3 and answers[1] == "the kiwi" and "one lime" in answers
    assert answers.table().splitlines() == [
        "3 answers from 6 completions in 1 call; tokens: 2 read, 11 written",
        "",
        "kept     a fig       plain",
        "kept     the kiwi    plain",
        "kept     one lime    plain",
        "dropped  a fig       copy",
        "dropped              blank",
        "dropped  a fig tart  not selected",
    ]
    assert answers.strategy["name"] == "over_generate" and answers.strategy["quality"] == {}


def test_failures_and_what_is_missing_stand_in_the_table():
    def answer(prompt, i, sampling):
        return "No." if i else listing("fig", "kiwi")

    answers = different(
        "A fruit?", 5, model=AnsweringEngine(answer), strategy="verbalized", per_call=2, rounds=1
    )
    table = answers.table().splitlines()
    assert table[0].startswith("2 answers from 3 completions in 1 call; tokens: ")
    assert table[2:] == [
        "kept     fig                  list 1, said probability 0.1",
        "kept     kiwi                 list 1, said probability 0.1",
        "failed   2 x unreadable list",
        "missing  3 answers",
    ]


def test_long_texts_are_one_line_and_cut():
    details = {"kept": [""], "dropped": [{"text": "x" * 99, "why": "copy"}]}
    rows = DifferentAnswers("?", ["one\ntwo  three"], details).table(width=10).splitlines()
    assert rows[0] == "1 answer" and rows[2:] == [
        "kept     one two t…",
        "dropped  xxxxxxxxx…  copy",
    ]


def test_without_a_record_the_texts_are_shown():
    assert DifferentAnswers("?", ["fig"]).table().splitlines()[2:] == ["kept     fig"]
    assert DifferentAnswers("?", []).table() == "0 answers\n"


def test_a_strategy_and_a_sampling_may_be_given():
    engine = AnsweringEngine(fruit)
    answers = different("?", 2, model=engine, strategy=Personas(), sampling=Sampling(seed=4))
    assert len(answers) == 2 and engine.asked[0][2] == Sampling(seed=4)
    with pytest.raises(ValueError, match=r"\['factor'\] are options of the strategy"):
        different("?", 2, model=engine, strategy=Personas(), factor=2)
    with pytest.raises(ValueError, match="option 'window' is unknown"):
        different("?", 2, model=engine, kernel=NgramKernel(), window=2)


def test_a_quality_gates():
    def short(prompts, completions, **columns):
        return [-float(len(messages[-1]["content"])) for messages in completions]

    answers = different(
        *("A fruit?", 2),
        model=AnsweringEngine(fruit),
        kernel=NgramKernel(1),
        quality={"short": short},
        factor=3,
        keep=0.5,
    )
    assert set(answers) == {"a fig", "the kiwi"}
    assert "below the gate: short" in answers.table()


def test_a_model_of_ones_own_is_loaded_once_and_gates_itself(tiny_model_path, monkeypatch):
    loads = []

    def counted(*args, **options):
        loads.append(args)
        return load_model(*args, **options)

    monkeypatch.setattr("diversify.models.load_model", counted)
    answers = different(
        *("Name a colour.", 2),
        model=tiny_model_path,
        kernel=NgramKernel(),
        sampling=Sampling(max_tokens=6),
    )
    assert len(loads) == 1 and len(answers) == 2
    assert answers.strategy["quality"] == {"prompt_information": "prompt_information"}
    record = answers.details
    assert (record["calls"], record["completions"]) == (1, 8)
    assert record["tokens"]["read"] > 3 and 8 <= record["tokens"]["written"] <= 48
    ungated = different(
        *("Name a colour.", 2),
        model=load_model(tiny_model_path),
        quality={},
        strategy=OverGenerate(kernel=NgramKernel()),
        sampling=Sampling(max_tokens=6),
    )
    pool = {each["text"] for each in record["dropped"]} | set(answers)
    assert pool == {each["text"] for each in ungated.details["dropped"]} | set(ungated)
