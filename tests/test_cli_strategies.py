"""Strategies on the command line: by name, around each other, with options, for one prompt."""

import json

import pytest

from diversify.cli import main, strategies
from diversify.decoding import STRATEGIES
from diversify.decoding.records import DETAILS
from diversify.decoding.strategies import LATER


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "questions.txt"
    path.write_text("Name a colour.\nName a fruit.\n")
    return path


def draw(model, questions, output, strategy, *more):
    arguments = ["generate", "--model", str(model), "--prompts", str(questions), "--samples", "3"]
    arguments += ["--max-tokens", "4", "--embedder", "none", "--strategy", strategy]
    assert main([*arguments, *more, "--output", str(output)]) == 0
    return [json.loads(line) for line in (output / "generations.jsonl").read_text().splitlines()]


def test_the_command_line_knows_every_strategy():
    assert set(strategies.STRATEGIES) == {*STRATEGIES, *LATER}


@pytest.mark.parametrize(
    ("strategy", "more", "name"),
    [
        ("in-context", ["--with", "window=1"], "in_context"),
        ("verbalized", ["--with", "per_call=2", "variant=multi_turn"], "verbalized"),
        ("stratified", [], "stratified"),
        ("diverge+titles-first", [], "diverge"),
        ("specifications", ["--with", "count=1"], "specifications"),
        ("over-generate+personas", ["--factor", "2"], "over_generate"),
        ("until-seen", ["--with", "batch=2", "threshold=0.5"], "until_seen"),
    ],
)
def test_strategies_fill_run_folders(tiny_model_path, questions, tmp_path, strategy, more, name):
    rows = draw(tiny_model_path, questions, tmp_path / "run", strategy, *more)
    described = rows[0]["config"]["strategy"]
    assert described["name"] == name and len(rows) == 2
    for row in rows:
        assert tuple(row["details"])[: len(DETAILS)] == DETAILS
        assert row["details"]["tokens"]["written"] > 0
        assert len(row["generations"]) == len(row["details"]["kept"])
        assert len(row["generations"]) == 3 - row["details"].get("spared", 0)
    for option in more[1:] if more[:1] == ["--with"] else []:
        key, value = option.split("=")
        assert json.dumps(described[key]).strip('"') == value


def test_a_gate_on_the_command_line(tiny_model_path, questions, tmp_path):
    rows = draw(
        *(tiny_model_path, questions, tmp_path / "run", "over-generate"),
        *("--quality", "own", "--with", "selector=cluster_and_best", "keep=0.5"),
    )
    described = rows[0]["config"]["strategy"]
    assert described["quality"] == {"prompt_information": "prompt_information"}
    assert (described["selector"], described["kernel"]) == ("cluster_and_best", "ngram-2")
    why = {each["why"] for row in rows for each in row["details"]["dropped"]}
    assert "below the gate: prompt_information" in why


def test_answers_prints_answers_and_what_became_of_the_rest(tiny_model_path, capsys):
    arguments = ["answers", "Name a colour.", "--model", str(tiny_model_path), "--samples", "2"]
    arguments += ["--embedder", "none", "--max-tokens", "5", "--seed", "3"]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("1. ") and "\n2. " in shown
    assert "2 answers from 8 completions in 1 call; tokens: " in shown
    assert shown.count("\nkept ") == 2 and shown.count("\ndropped ") == 6
    assert main(arguments) == 0 and capsys.readouterr().out == shown
    assert main([*arguments, "--strategy", "in-context", "--with", "window=1"]) == 0
    shown = capsys.readouterr().out
    assert "2 completions in 2 calls" in shown and "turn 2" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--with", "window=2"], "option 'window' is unknown"),
        (["--with", "keep"], "an option is NAME=VALUE"),
        (["--factor", "0"], "factor must be"),
        (["--strategy", "direct", "--factor", "2"], "option 'factor' is unknown"),
        (["--strategy", "direct", "--quality", "answers"], "--quality goes with over-generate"),
        (["--quality", "likelihood"], "--reference"),
    ],
)
def test_mistakes_are_found_before_a_model_is_loaded(capsys, arguments, message):
    assert main(["answers", "A fruit?", "--model", "nowhere/at-all", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize("strategy", ["magic", "direct+personas", "over-generate+magic"])
def test_unknown_strategies_are_refused_with_the_known_ones(capsys, strategy):
    with pytest.raises(SystemExit) as stopped:
        main(["answers", "A fruit?", "--model", "m", "--strategy", strategy])
    assert stopped.value.code == 2 and "over-generate" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--siblings", "arithmetic"], "ArithmeticSampling"),
        (["--siblings", "repulsion", "--siblings-with", "n=2", "weight=3"], "n=2, weight=3"),
        (["--sampler", "min_p=0.1", "--siblings", "arithmetic"], "Together(SamplingChain(["),
    ],
)
def test_samples_that_see_each_other(tiny_model_path, questions, tmp_path, more, said):
    rows = draw(tiny_model_path, questions, tmp_path / "run", "direct", *more)
    assert [len(row["generations"]) for row in rows] == [3, 3]
    assert said in json.loads((tmp_path / "run" / "run.json").read_text())["engine"]["decoder"]


def test_g2_is_a_strategy_like_any_other(tiny_model_path, questions, tmp_path):
    rows = draw(tiny_model_path, questions, tmp_path / "run", "g2", "--with", "shown=1")
    assert [row["details"]["kept"] for row in rows] == [["plain", "guided", "guided"]] * 2


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--siblings", "beams"], "decoder must be one of"),
        (["--siblings-with", "n=2"], "--siblings-with are options of --siblings"),
        (["--siblings", "arithmetic", "--temperature", "0"], "greedy"),
        (["--siblings", "routing", "--siblings-with", "threshold=2"], "no adapter to switch off"),
    ],
)
def test_impossible_decoders_are_refused(tiny_model_path, tmp_path, capsys, more, said):
    arguments = ["generate", "--model", str(tiny_model_path), "--output", str(tmp_path / "run")]
    assert main([*arguments, *more]) == 1
    assert said in capsys.readouterr().err
