"""What holds for every strategy, and how names become strategies."""

import json

import pytest
from answering import AnsweringEngine, listing

from diversify import decoding
from diversify.decoding import (
    STRATEGIES,
    Direct,
    DivergeClause,
    InContext,
    OverGenerate,
    Paraphrases,
    Personas,
    Specifications,
    Stratified,
    TitlesFirst,
    UntilSeen,
    Verbalized,
    build_strategy,
)
from diversify.decoding.records import DETAILS, Cost, Record
from diversify.decoding.strategies import read_options, strategy_parts
from diversify.engines import Sampling, as_messages, text_of
from diversify.kernels import NgramKernel

KERNEL = NgramKernel(1)
ALL = {
    "direct": Direct(),
    "in-context": InContext(),
    "verbalized": Verbalized(),
    "verbalized-cot": Verbalized(variant="cot"),
    "verbalized-multi-turn": Verbalized(variant="multi_turn"),
    "verbalized-resampled": Verbalized(resample=True, fill=True),
    "stratified": Stratified(),
    "titles-first": TitlesFirst(),
    "diverge": DivergeClause(Stratified()),
    "specifications": Specifications(),
    "personas": Personas(),
    "paraphrases": Paraphrases(),
    "over-generate": OverGenerate(2, kernel=KERNEL),
    "over-generate-around": OverGenerate(2, kernel=KERNEL, strategy=Personas()),
    "until-seen": UntilSeen(kernel=KERNEL, batch=2),
    "until-seen-around": UntilSeen(Paraphrases(), kernel=KERNEL, batch=4),
}
every_strategy = pytest.mark.parametrize("name", list(ALL))


def answer(prompt, i, sampling):
    """Answer whatever a strategy asks for as it wants it."""
    text = text_of(prompt)
    if "different ones" in text or "more answers" in text:
        return listing(*(f"{word} of {sampling.seed} {i}" for word in "abcde"))
    if "numbered from 1" in text:
        return "\n".join(f"{k}. direction {k}" for k in range(1, 9))
    return f"answer {i} at {sampling.seed} to {len(as_messages(prompt))} {text[-20:]}"


def nonsense(prompt, i, sampling):
    return ["", "No.", "1.", "<response>", "[[[", "</think>", "{}…"][i % 7]


def test_every_strategy_is_tried_here_and_exported():
    assert set(STRATEGIES) == {name for name in ALL if name in STRATEGIES}
    assert {each.__name__ for each in STRATEGIES.values()} <= set(decoding.__all__)
    assert all(hasattr(decoding, name) for name in decoding.__all__)


@every_strategy
def test_the_record_has_the_same_keys_and_the_cost_that_the_engine_saw(name):
    engine = AnsweringEngine(answer)
    prompts = ["A fruit?", as_messages("A city?"), "A fruit?"]
    columns = {"answers": [1, 2, 3]}
    drawn = ALL[name](engine, prompts, 6, Sampling(max_tokens=20), columns=columns)
    assert drawn.prompts == prompts
    assert all(tuple(row)[: len(DETAILS)] == DETAILS for row in drawn.details)
    assert json.loads(json.dumps(drawn.details)) == drawn.details
    assert sum((Record.of(row).cost for row in drawn.details), Cost()) == engine.spent
    for texts, flags, row in zip(drawn, drawn.truncated, drawn.details, strict=True):
        assert len(texts) == len(flags) == len(row["kept"])
        assert all(isinstance(note, str) and note for note in row["kept"])
        if name.startswith("until-seen"):
            assert len(texts) == 6 - row["spared"]
        else:
            assert len(texts) == 6 and row["missing"] == 0


@every_strategy
def test_every_draw_is_accounted_for(name):
    """What was drawn to be an answer was kept or dropped; lists and plans are neither."""
    drawn = ALL[name](AnsweringEngine(answer), ["A fruit?"], 6)
    row = drawn.details[0]
    seen = len(drawn[0]) + len(row["dropped"])
    if name.startswith("verbalized"):
        different = set(drawn[0]) | {each["text"] for each in row["dropped"]}
        assert len(different) == 5 * row["completions"]
    else:
        plans = {"stratified": 1, "titles-first": 1, "diverge": 1, "paraphrases": 4}
        around = {"until-seen-around": 3}  # one batch, of 4
        assert seen == row["completions"] - (plans | around).get(name, 0)


@every_strategy
def test_a_models_bad_text_never_raises(name):
    drawn = ALL[name](AnsweringEngine(nonsense), ["A fruit?", "A city?"], 9)
    for texts, row in zip(drawn, drawn.details, strict=True):
        spared = row.get("spared", 0)
        assert len(texts) == 9 - row["missing"] - spared


@every_strategy
def test_an_engine_that_says_little_is_enough(name):
    """No flags, no tokens."""
    drawn = ALL[name](AnsweringEngine(answer, flags=False, counts=False), ["A fruit?"], 4)
    assert drawn.truncated == [] and drawn.details[0]["tokens"] is None


@every_strategy
def test_the_same_seed_brings_the_same_and_no_prompts_bring_nothing(name):
    first, again = (ALL[name](AnsweringEngine(answer), ["A fruit?"], 5) for _ in range(2))
    assert first.texts == again.texts and first.details == again.details
    assert ALL[name](AnsweringEngine(answer), [], 5).texts == []
    with pytest.raises(ValueError, match="n must be"):
        ALL[name](AnsweringEngine(answer), ["A fruit?"], 0)


@every_strategy
def test_one_answer_is_enough(name):
    drawn = ALL[name](AnsweringEngine(answer), ["A fruit?"], 1)
    assert len(drawn[0]) == 1


@every_strategy
def test_the_docstring_states_the_cost(name):
    assert "    Cost: " in (type(ALL[name]).__doc__ or "")


def test_descriptions_are_json_short_and_tell_options_apart():
    described = [each.describe() for each in ALL.values()]
    described += [
        *(InContext(3).describe(), InContext(again="Another.").describe()),
        *(Verbalized(4).describe(), Verbalized(probabilities=False).describe()),
        *(Verbalized(rounds=1).describe(), Verbalized(fill=True).describe()),
        *(Verbalized(threshold=0.1).describe(), Verbalized(resample=True).describe()),
        *(Stratified(3).describe(), TitlesFirst(3).describe(), Paraphrases(2).describe()),
        *(Personas(["You are A."]).describe(), Personas(["You are B."]).describe()),
        *(DivergeClause().describe(), DivergeClause(clause="Be odd.").describe()),
        *(UntilSeen(kernel=KERNEL, unseen=0.3).describe(), UntilSeen(kernel=KERNEL).describe()),
        UntilSeen(kernel=KERNEL, threshold=0.3).describe(),
        OverGenerate(kernel=KERNEL, selector="cluster_and_best", threshold=0.3).describe(),
    ]
    lines = [json.dumps(each) for each in described]
    assert [json.loads(line) for line in lines] == described
    assert len(set(lines)) == len(lines)
    assert max(map(len, lines)) < 600  # it stands in every row of a run


# --- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list(STRATEGIES))
def test_every_name_builds_its_strategy(name):
    assert type(build_strategy(name, kernel=lambda: KERNEL)) is STRATEGIES[name]


def test_kernels_and_qualities_are_made_only_where_they_are_needed():
    def never():
        raise AssertionError

    build_strategy("diverge+verbalized", kernel=never, quality=never)
    build_strategy("until-seen+direct", kernel=lambda: KERNEL, quality=never)
    quality = {"length": len}
    built = build_strategy("over-generate", kernel=lambda: KERNEL, quality=lambda: quality)
    assert built.quality == quality and built.kernel is KERNEL


def test_names_go_around_each_other():
    built = build_strategy(
        "over-generate+until-seen+diverge+stratified",
        {
            "factor": 3,
            "threshold": 0.7,
            "batch": 4,
            "directions": 5,
            "selector": "cluster_and_best",
        },
        kernel=lambda: KERNEL,
    )
    # An option belongs to the outermost strategy that has it.
    assert (built.factor, built.threshold, built.strategy.threshold) == (3, 0.7, 0.85)
    assert built.strategy.batch == 4
    assert built.strategy.strategy == DivergeClause(Stratified(5))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("magic", {}, "strategy must be one of .* got 'magic'"),
        ("over-generate+magic", {}, "got 'magic'"),
        ("", {}, "got ''"),
        ("personas+direct", {}, "'personas' goes around no other strategy"),
        ("direct", {"factor": 3}, "option 'factor' is unknown; there are .*'direct': \\[\\]"),
        ("over-generate", {"kernel": "ngram"}, "option 'kernel' is unknown"),
        ("verbalized", {"per_call": "five"}, "per_call must be an integer"),
        ("over-generate", {"factor": "many"}, "over-generate: .* got {'factor': 'many'"),
        ("verbalized", {"threshold": "low"}, "verbalized: "),
    ],
)
def test_what_cannot_be_built_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        build_strategy(name, options, kernel=lambda: KERNEL)


def test_personas_and_facets_may_be_files(tmp_path):
    (tmp_path / "people.txt").write_text("You are A.\n\n You are B.\n")
    built = build_strategy(
        "personas", {"personas": str(tmp_path / "people.txt")}, kernel=lambda: KERNEL
    )
    assert built == Personas(["You are A.", "You are B."])
    (tmp_path / "facets.txt").write_text("tone: dry, warm\n")
    options = {"facets": str(tmp_path / "facets.txt"), "count": 1}
    built = build_strategy("specifications", options, kernel=lambda: KERNEL)
    assert built == Specifications({"tone": ["dry", "warm"]}, count=1)
    with pytest.raises(FileNotFoundError):
        build_strategy("personas", {"personas": "nowhere.txt"}, kernel=lambda: KERNEL)


def test_options_are_read_as_they_are_written():
    pairs = ["a=1", "b=0.5", "c=TRUE", "d=none", "clause=Be odd: 1=1", "per-call=3", "e=-2"]
    assert read_options(pairs) == {
        "a": 1,
        "b": 0.5,
        "c": True,
        "d": None,
        "clause": "Be odd: 1=1",
        "per_call": 3,
        "e": -2,
    }
    for wrong in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(ValueError, match="an option is NAME=VALUE"):
            read_options(wrong)


def test_parts_may_be_spaced():
    assert strategy_parts("diverge + direct") == ["diverge", "direct"]
