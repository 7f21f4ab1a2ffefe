"""Qualities by name on the command line: constraints from the rows or the options, and relevance."""

import json
from pathlib import Path
from typing import Any

import pytest

from diversify.cli import main, scoring
from diversify.evaluation.prompt_sets import load_prompts
from diversify.quality import Constraints, RelevanceRank
from diversify.trainers import components
from diversify.trainers.prompts import prompt_dataset

ROWS = [
    {
        "key": 1000,
        "prompt": "Name a fruit, without a comma and in at most two words.",
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [{}, {"relation": "at most", "num_words": 2}],
    },
    {
        "key": 1001,
        "prompt": "Name a sea and write tide, moon.",
        "instruction_id_list": ["keywords:existence"],
        "kwargs": [{"keywords": ["tide", "moon"]}],
    },
]
ANSWERS = [["fig", "fig, ripe", "a very ripe fig"], ["tide and moon", "tide", "the moon"]]


@pytest.fixture
def ifeval(tmp_path: Path) -> Path:
    """Rows as IFEval has them."""
    path = tmp_path / "ifeval.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    path = tmp_path / "generations.jsonl"
    rows = [row | {"generations": texts} for row, texts in zip(ROWS, ANSWERS, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def results(folder: Path) -> dict[str, Any]:
    (found,) = json.loads((folder / "report.json").read_text())["results"].values()
    return found


def test_both_lists_of_names_are_one() -> None:
    assert scoring.QUALITIES == components.QUALITIES


def test_qualities_of_form_and_relevance_by_name(tiny_embedder: Any) -> None:
    always = [{"id": "punctuation:no_comma"}]
    names = ["constraints", "all_constraints", "relevance_rank"]
    found = components.build_qualities(names, reference="", constraints=always)
    assert list(found) == names
    share, strict, rank = found.values()
    assert isinstance(share, Constraints) and share.require == "share"
    assert isinstance(strict, Constraints) and strict.require == "all"
    assert share.always == strict.always == always
    assert [quality.name for quality in found.values()] == names
    assert isinstance(rank, RelevanceRank)
    with pytest.raises(ValueError, match="constraints go with the quality constraints, not with"):
        components.build_qualities(["answers"], reference="", constraints=always)


def test_ifeval_from_the_prompts_to_the_report(
    tiny_model_path: Path, ifeval: Path, tmp_path: Path
) -> None:
    """Its own rows are prompts, its columns stay with the answers and are read as they are."""
    folder = tmp_path / "run"
    drawing = ["--samples", "2", "--max-tokens", "4", "--output", str(folder)]
    model = ["generate", "--model", str(tiny_model_path), "--prompts", str(ifeval)]
    assert main([*model, *drawing]) == 0
    scoring_ = ["--embedder", "none", "--quality", "constraints,all_constraints"]
    assert main(["evaluate", str(folder), *scoring_]) == 0
    found = results(folder)
    assert {"constraints,quality", "all_constraints,quality", "distinct_valid,ngram-2"} <= {*found}


def test_constraints_of_the_rows_and_of_the_options(run: Path, tmp_path: Path) -> None:
    """Shares 1, .5, .5 and 1, 0, 0; with a third that the first and the fifth keep to."""
    out = ["--embedder", "none", "--output", str(tmp_path)]
    assert main(["evaluate", str(run), "--quality", "constraints,all_constraints", *out]) == 0
    found = results(tmp_path)
    assert found["constraints,quality"] == pytest.approx((2 / 3 + 1 / 3) / 2)
    assert found["all_constraints,quality"] == pytest.approx(1 / 3)
    assert found["distinct_valid,ngram-2"] == 1.0
    brief = ["--constraint", "length_constraints:number_words", "num_words=1", "relation=exactly"]
    calm = ["--constraint", "keywords:forbidden_words", 'forbidden_words=["stone"]']
    arguments = ["evaluate", str(run), "--quality", "all_constraints", *brief, *calm, *out]
    assert main(arguments) == 0
    assert results(tmp_path)["all_constraints,quality"] == pytest.approx((1 / 3 + 0) / 2)


def test_the_rank_of_relevance(
    run: Path,
    tmp_path: Path,
    tiny_embedder: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for module in ("diversify.embedders", "diversify.trainers.components"):
        monkeypatch.setattr(f"{module}.load_embedder", lambda *_, **__: tiny_embedder)
    asked = ["--quality", "relevance_rank", "--output", str(tmp_path)]
    assert main(["evaluate", str(run), *asked]) == 0
    prompts = [row["prompt"] for row in ROWS for _ in range(3)]
    by_hand = RelevanceRank(tiny_embedder)(prompts, [*ANSWERS[0], *ANSWERS[1]])
    assert len({*by_hand}) > 1, "the test could not fail"
    assert results(tmp_path)["relevance_rank,quality"] == pytest.approx(sum(by_hand) / 6)
    single = tmp_path / "single.jsonl"
    single.write_text(run.read_text().splitlines()[0] + "\n")
    assert main(["evaluate", str(single), *asked]) == 1
    assert (
        "compares a prompt with others, and there is only 'Name a fruit" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quality", "constraints", "--constraint", "no:such"], "got 'no:such'"),
        (["--quality", "constraints", "--constraint", "startend:quotation", "a"], "NAME=VALUE"),
        (["--quality", "constraints", "--constraint", "startend:quotation", "a=1"], "takes []"),
        (["--quality", "answers", "--constraint", "startend:quotation"], "not with ['answers']"),
        (["--constraint", "startend:quotation"], "constraints go with the quality constraints"),
        (["--quality", "relevance_rank"], "relevance needs an embedder"),
    ],
)
def test_mistakes_are_one_sentence(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["evaluate", str(run), "--embedder", "none", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quality", "relevance_rank"], "a gate sees one at a time"),
        (["--constraint", "startend:quotation"], "--constraint goes with the quality constraints"),
    ],
)
def test_a_gate_that_could_not_judge_is_refused_before_a_model_is_loaded(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    asked = ["answers", "A fruit?", "--model", "nowhere/at-all", "--strategy", "over-generate"]
    assert main([*asked, *arguments]) == 1
    assert message in capsys.readouterr().err


def test_rows_in_a_data_set_are_read_as_they_are(ifeval: Path) -> None:
    """Arrow gives every row every argument, None where it had none."""
    data = prompt_dataset(load_prompts(ifeval), chat=False)
    columns = {name: list(data[name]) for name in ("instruction_id_list", "kwargs")}
    texts = ["fig", "The moon makes the tide."]
    assert Constraints()(list(data["prompt"]), texts, **columns) == [1.0, 1.0]
    assert Constraints()(list(data["prompt"]), texts[::-1], **columns) == [0.5, 0.0]


def test_an_imported_log_of_lm_eval_keeps_its_constraints(tmp_path: Path) -> None:
    log = tmp_path / "samples_ifeval_2026-01-01T00-00-00.000000.jsonl"
    lines = [
        {
            "doc_id": number,
            "doc": row,
            "arguments": [[row["prompt"], {"temperature": 0.0}]],
            "resps": [texts],
            "filter": "none",
        }
        for number, (row, texts) in enumerate(zip(ROWS, ANSWERS, strict=True))
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    folder = tmp_path / "theirs"
    assert main(["import", str(log), "--output", str(folder)]) == 0
    scoring_ = ["--embedder", "none", "--quality", "all_constraints"]
    assert main(["evaluate", str(folder), *scoring_]) == 0
    assert results(folder)["all_constraints,quality"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("name", ["samples.jsonl", "report.json"])
def test_a_report_does_not_replace_the_answers_it_is_made_of(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    path = run.rename(tmp_path / name)
    before = path.read_bytes()
    arguments = ["evaluate", str(path), "--embedder", "none"]
    for more in ([], ["--output", str(tmp_path)]):
        assert main([*arguments, *more]) == 1
        error = capsys.readouterr().err
        assert f"{path} would be overwritten by its own results" in error and "--output" in error
        assert path.read_bytes() == before and [*tmp_path.iterdir()] == [path]
    if name == "samples.jsonl":
        assert main([*arguments, "--output", str(tmp_path / "report")]) == 0
        assert path.read_bytes() == before and "constraint" not in results(tmp_path / "report")


def test_reports_of_two_files_do_not_replace_each_other(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "b.jsonl"
    other.write_bytes(run.read_bytes())
    assert main(["evaluate", str(run), str(other), "--embedder", "nowhere/at-all"]) == 1
    error = capsys.readouterr().err
    assert f"the results of {run} and {other} would both be written into {tmp_path}" in error
    assert "one at a time with --output" in error
    assert not (tmp_path / "report.json").exists()
    # A missing run is told as that.
    assert main(["evaluate", str(tmp_path / "x"), str(tmp_path / "y"), "--embedder", "none"]) == 1
    assert "holds no generations.jsonl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", "a", "b", "--seed", "-1"], "argument --seed: must be at least 0, got -1"),
        (["report", "a", "b", "--resamples", "0"], "--resamples: must be at least 1, got 0"),
        (["compare", "a", "b", "--seed", "x"], "argument --seed: must be a whole number, got 'x'"),
    ],
)
def test_numbers_out_of_range_are_named_by_their_option(
    capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert message in capsys.readouterr().err


def test_a_page_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Told before a report is looked for: there is none."""
    assert main(["report", "no", "none", "--output", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert told == f"diversify: --output names the file to write, and {tmp_path} is a folder\n"
