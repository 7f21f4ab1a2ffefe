"""`diversify calibrate`: labelled pairs in, a threshold with its errors out."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from diversify import embedders
from diversify.cli import main

ANSWERS = ["a red fox runs", "the red fox runs", "a red fox ran", "blue whales sing", "blue whales"]
CLASSES = [0, 0, 0, 1, 1]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    path = tmp_path / "pairs.jsonl"
    labelled = list(zip(ANSWERS, CLASSES, strict=True))
    rows = [
        {"a": a, "b": b, "same": one == other, "prompt": f"p{number % 3}"}
        for number, ((a, one), (b, other)) in enumerate(combinations(labelled, 2))
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_prints_the_threshold_with_its_errors_and_writes_it(
    pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"
    assert main(["calibrate", str(pairs), "--ngram", "1", "--output", str(out)]) == 0
    shown = capsys.readouterr().out
    found = json.loads(out.read_text())
    assert found["scores"] == {"kernel": "ngram-1"}
    assert (found["pairs"], found["same"]) == (10, 4)
    assert 0 < found["threshold"] < 1 and found["fitted"]["error"]["value"] == 0.0
    assert f"threshold {found['threshold']:.4f}, from 10 pairs, 4 of them the same" in shown
    for line in ("different, called the same", "the same, called different", "95 % interval"):
        assert line in shown
    assert "without --group" in shown


def test_groups_are_held_out_as_a_whole(pairs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", str(pairs), "--ngram", "2", "--group", "prompt"]) == 0
    assert "without --group" not in capsys.readouterr().out


def test_the_threshold_is_the_embedders(
    pairs: Path, tmp_path: Path, tiny_embedder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def load(name: str, **options: Any) -> Any:
        asked.append(name)
        return tiny_embedder

    monkeypatch.setattr(embedders, "load_embedder", load)
    out = tmp_path / "found.json"
    assert main(["calibrate", str(pairs), "--output", str(out)]) == 0
    assert main(["calibrate", str(pairs), "--embedder", "other"]) == 0
    assert asked == ["minilm", "other"]
    scores = json.loads(out.read_text())["scores"]
    assert scores == {"equivalence": "embedding", "embedder": "hashing", "revision": "1"}


def test_classifiers_are_asked_with_their_options(
    pairs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from diversify.equivalence import CrossEncoderSame, EntailmentSame

    made: list[Any] = []

    def score_of_length(self: Any, some: list[tuple[str, str]]) -> Any:
        made.append(self)
        return [1.0 if a[0] == b[0] else 0.1 for a, b in some]

    class Scores(list[float]):
        def tolist(self) -> list[float]:
            return list(self)

    for kind in (CrossEncoderSame, EntailmentSame):
        monkeypatch.setattr(kind, "scores", lambda self, some: Scores(score_of_length(self, some)))
        monkeypatch.setattr(kind, "identity", {"model": "m", "threshold": 0.5})
    for flag in ("--cross-encoder", "--entailment"):
        assert main(["calibrate", str(pairs), flag, "owner/model", "--side-tokens", "64"]) == 0
    assert [type(same) for same in made] == [CrossEncoderSame, EntailmentSame]
    assert {same.classifier.side_tokens for same in made} == {64}


def test_other_columns_and_longer_answers(tmp_path: Path, capsys) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [
        {"u": "one two three", "v": "one two four", "equal": 1},
        {"u": "one two five", "v": "one two six", "equal": 1},
        {"u": "one two three", "v": "x y z", "equal": 0},
        {"u": "a b c", "v": "x y z", "equal": 0},
        {"u": "short", "v": "x", "equal": 1},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["calibrate", str(path), "--ngram", "1", "--columns", "u, v", "--label", "equal"]
    assert main([*command, "--longer-than", "1"]) == 0
    assert "from 4 pairs, 2 of them the same" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--columns", "a"], "--columns takes the names of two columns, got 'a'"),
        (["--columns", "a,x"], "has no column 'x'"),
        (["--label", "equal"], "has no column 'equal'"),
        (["--group", "topic"], "has no column 'topic'"),
        (["--longer-than", "9"], "needs at least 2 pairs"),
        (["--folds", "1"], "folds must be at least 2"),
        (["--ngram", "0"], "n must be at least 1"),
        (["--cross-encoder", "no/such"], "'no/such' is neither"),
    ],
)
def test_mistakes_get_one_sentence_and_a_code(
    pairs: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    ngram = [] if "--cross-encoder" in more or "--ngram" in more else ["--ngram", "1"]
    assert main(["calibrate", str(pairs), *ngram, *more]) == 1
    error = capsys.readouterr().err
    assert message in error and error.startswith("diversify: ") and error.count("\n") == 1


def test_a_missing_file_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["calibrate", "nowhere.jsonl"]) == 1
    assert "nowhere.jsonl" in capsys.readouterr().err


def test_one_score_at_a_time(pairs: Path) -> None:
    with pytest.raises(SystemExit):
        main(["calibrate", str(pairs), "--ngram", "1", "--embedder", "minilm"])
