import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from diversify.evaluation.cliches import Phrase, shared_phrases
from diversify.evaluation.generate import Run
from diversify.evaluation.hivemind import inter_similarity
from diversify.evaluation.panel import panel
from diversify.evaluation.panel.echoes import echoes

FILE = Path(__file__).parents[4] / "shared/data/noveltybench/gemini-1.5-pro.curated.scores.jsonl"

AXES = {"east": [1.0, 0.0], "north": [0.0, 1.0], "northeast": [0.6, 0.8]}


@dataclass(frozen=True)
class Axes:
    """Texts are directions, so that every cosine can be read off."""

    name: str = "axes"
    revision: str = "1"

    def __call__(self, texts):
        return np.array([AXES[text] for text in texts])


def run(name, **answers):
    rows = [
        {"id": prompt, "prompt": f"Which way, {prompt}?", "generations": list(texts)}
        for prompt, texts in answers.items()
    ]
    return Run(Path(f"runs/{name}"), {"engine": {"model": f"me/{name}"}}, rows)


@pytest.fixture
def runs():
    return [
        run("a", p=["east", "north"], q=["east", "east"]),
        run("b", p=["east", "east"], q=["east", "east"]),
        run("c", p=["north", "north"], q=["north", "northeast"]),
    ]


def test_the_matrix_index_and_echoes_are_those_worked_out_by_hand(runs):
    """Mean rows: a (.5, .5) and (1, 0); b (1, 0) and (1, 0); c (0, 1) and (.3, .9).

    Prompt p: ab .5, ac .5, bc 0, mean 1/3. Prompt q: ab 1, ac .3, bc .3, mean 1.6/3. The diagonal
    without self-pairs: a (0 + 1) / 2, b 1, c (1 + .8) / 2.
    """
    found = panel(runs, embedder=Axes())
    assert found.models == ["a", "b", "c"]
    expected = [[0.5, 0.75, 0.4], [0.75, 1.0, 0.15], [0.4, 0.15, 0.9]]
    assert found.similarity == pytest.approx(np.array(expected))
    mean, error = found.index
    assert mean == pytest.approx(1.3 / 3)
    assert error == pytest.approx((0.6 / 3) / math.sqrt(2) / math.sqrt(2))
    assert {name: echo.nearest for name, echo in found.echoes.items()} == {
        "a": "b",
        "b": "a",
        "c": "a",
    }
    assert found.echoes["c"].similarity == pytest.approx(0.4)
    assert [(p["id"], p["closest"]) for p in found.prompts] == [
        ("q", ["a", "b"]),
        ("p", ["a", "b"]),
    ]
    assert found.prompts[0]["similarity"] == pytest.approx(1.6 / 3)


def test_floors_and_published_diagonals_are_those_worked_out_by_hand(runs):
    """Different prompts: ab (.5, .5)(1, 0) and (1, 0)(1, 0), mean .75; ac (.5, .5)(.3, .9) = .6 and
    (1, 0)(0, 1) = 0, mean .3; bc .3 and 0, mean .15. Mean of the three .4.

    The diagonal with self-pairs: a (.5 + 1) / 2, b 1, c (1 + .9) / 2.
    """
    found = panel(runs, embedder=Axes(), resamples=99)
    assert found.floor == pytest.approx(0.4)
    assert [found.echoes[name].floor for name in "abc"] == pytest.approx([0.75, 0.75, 0.3])
    assert found.with_self.diagonal() == pytest.approx([0.75, 1.0, 0.95])
    assert [prompt["own"] for prompt in found.prompts] == pytest.approx([2.8 / 3, 2 / 3])
    assert found.histograms["a"] == [50.0, *[0.0] * 8, 50.0]
    # Prompt p: 0, 1 and 1; prompt q: 1, 1 and 0.8 (rounding decides whether .8 is in the 8th).
    assert found.as_json()["mean_histogram"][9] == pytest.approx((50 + 100 + 50) / 3)
    assert found.details["resamples"] == 99


def test_the_formula_is_the_protocols_own(runs):
    E = [[Axes()(row["generations"]) for row in one.rows] for one in runs]
    found = panel(runs, embedder=Axes())
    assert found.similarity == pytest.approx(inter_similarity(E))
    assert found.with_self == pytest.approx(inter_similarity(E, exclude_self=False))
    other = panel(runs, embedder=Axes(), resamples=7, seed=5)
    means = np.array([[rows.mean(axis=0) for rows in own] for own in E])
    assert other.echoes == echoes(means, ["a", "b", "c"], resamples=7, seed=5)


def test_one_answer_a_prompt_has_no_diagonal_and_still_a_panel():
    found = panel([run("a", p=["east"]), run("b", p=["northeast"])], embedder=Axes())
    assert np.isnan(found.similarity.diagonal()).all()
    assert found.index == (pytest.approx(0.6), None)
    assert found.overlap == [1.0]
    assert found.as_json()["similarity"][0] == [None, pytest.approx(0.6)]
    assert found.floor is found.echoes["a"].p_value is found.prompts[0]["own"] is None
    assert found.histograms == {"a": None, "b": None}
    assert found.mean_histogram is None and "| a | b | 0.600 |" in found.markdown()


def test_the_nearest_answers_are_of_how_many_models():
    """Of equally near answers the earlier come first.

    a's nearest two are a and c, b's are b and a, c's are a and a: (4 * 2 + 2 * 1) / 6.
    """
    runs = [run("a", p=["east"] * 2), run("b", p=["north"] * 2), run("c", p=["east"] * 2)]
    found = panel(runs, embedder=Axes(), nearest=2)
    assert found.overlap == pytest.approx([1.0, 10 / 6])
    # Of five others one is of the same model: two of them are of one model in 2 of 10 pairs.
    assert found.prompts[0]["source_overlap"] == found.overlap[-1]
    assert found.overlap_if_alike == pytest.approx([1.0, 1.8])
    assert len(panel(runs, embedder=Axes()).overlap) == 5


def test_rows_pair_by_id_whatever_their_order(runs):
    turned = Run(runs[1].path, runs[1].settings, runs[1].rows[::-1])
    assert panel([runs[0], turned, runs[2]], embedder=Axes()).as_json() == (
        panel(runs, embedder=Axes()).as_json()
    )


def test_names_come_from_the_mapping_the_model_or_the_folder(runs):
    assert panel(dict(zip("xyz", runs, strict=True)), embedder=Axes()).models == ["x", "y", "z"]
    twins = [Run(Path(f"runs/{n}"), runs[0].settings, runs[0].rows) for n in ("cold", "hot")]
    assert panel(twins, embedder=Axes()).models == ["a (cold)", "a (hot)"]
    bare = Run(Path("f.jsonl"), {}, [row | {"model": "me/d"} for row in runs[1].rows])
    assert panel([runs[0], bare], embedder=Axes()).models == ["a", "d"]
    with pytest.raises(ValueError, match="two runs have one name"):
        panel([runs[0], runs[0]], embedder=Axes())


def test_what_cannot_be_a_panel_is_refused(runs):
    with pytest.raises(ValueError, match="two or more models, got 1"):
        panel(runs[:1], embedder=Axes())
    with pytest.raises(ValueError, match="different prompts"):
        panel([runs[0], run("d", p=["east"])], embedder=Axes())
    with pytest.raises(ValueError, match="got one path"):
        panel("runs/a", embedder=Axes())
    with pytest.raises(ValueError, match="least_models must be between 2 and 3, got 4"):
        panel(runs, embedder=Axes(), least_models=4)
    with pytest.raises(ValueError, match="nearest must be at least 1"):
        panel(runs, embedder=Axes(), nearest=0)
    with pytest.raises(ValueError, match="resamples must be at least 1"):
        panel(runs, embedder=Axes(), resamples=0)


def test_it_is_saved_and_told(tmp_path, tiny_embedder):
    prompt = "Write about time | now."
    texts = {
        "me/one": ["Time is a river, they say.", "The old clock stopped at noon."],
        "me/two": ["I know: time is a river.", ""],
        "me/three": ["Time is a river!", "Nothing at all."],
    }
    folders = []
    for name, answers in texts.items():
        path = tmp_path / f"{name[3:]}.jsonl"
        path.write_text(json.dumps({"prompt": prompt, "model": name, "generations": answers}))
        folders.append(path)
    found = panel(folders, embedder=tiny_embedder)
    (phrase,) = found.phrases
    assert phrase == {
        "phrase": "time is a river",
        "models": ["one", "two", "three"],
        "answers": 3,
        "prompts": ["row-0001"],
    }
    assert found.prompts[0]["phrase"] == "time is a river"
    assert (found.prompts[0]["phrase_models"], found.prompts[0]["phrase_answers"]) == (3, 3)
    assert found.details["runs"]["two"]["blank"] == 1
    saved = json.loads(found.save(tmp_path / "out").read_text())
    assert saved == json.loads(json.dumps(found.as_json(), allow_nan=False))
    text = found.markdown(rows=1)
    assert (tmp_path / "out" / "panel.md").read_text().startswith("Similarity of different models")
    assert "| time is a river | 3 | 3 | 1 |" in text
    assert "Write about time \\| now." in text and "hashing" in text
    with pytest.raises(ValueError, match="rows must be at least 1"):
        found.markdown(rows=0)
    assert panel(folders, embedder=tiny_embedder, phrases=0).details["phrases_in_all"] == 1


def test_halves_of_real_answers_echo_each_other_and_misplaced_ones_nothing(tiny_embedder):
    """Answers of gemini-1.5-pro: 1 to 5, 6 to 10, and those to the prompt five places on."""
    if not FILE.is_file():
        pytest.skip(f"the NoveltyBench generations are not on this machine ({FILE})")
    rows = [json.loads(line) for line in FILE.read_text("utf-8").splitlines()][:40]
    texts = [row["generations"] for row in rows]
    halves = [[own[:5] for own in texts], [own[5:] for own in texts]]
    misplaced = [own[:5] for own in texts[5:] + texts[:5]]
    runs = {
        name: run(name, **{f"p{i}": own for i, own in enumerate(groups)})
        for name, groups in zip(("one", "two", "off"), [*halves, misplaced], strict=True)
    }
    found = panel(runs, embedder=tiny_embedder, resamples=1000)
    assert (found.echoes["one"].nearest, found.echoes["two"].nearest) == ("two", "one")
    one, _, off = found.echoes.values()
    assert one.support == 1.0 and one.p_value == pytest.approx(3 / 1001)
    assert one.similarity == pytest.approx(found.similarity[0, 0], abs=0.03)
    assert off.p_value > 0.05 and off.similarity == pytest.approx(off.floor, abs=0.03)


class TestPhrases:
    def test_the_longest_is_told_and_its_parts_are_not(self):
        said = {"a": ["The old lighthouse keeper sighed."], "b": ["An old lighthouse keeper wept."]}
        assert shared_phrases(said) == [Phrase("old lighthouse keeper", ("a", "b"), 2)]

    def test_a_part_that_more_models_say_is_told_too(self):
        """Three models say "time is a river"; two of them go on with "of stars"."""
        said = {
            "a": ["time is a river of stars"],
            "b": ["Time is a river of stars."],
            "c": ["time is a river", "time is a river, I say"],
        }
        assert shared_phrases(said) == [
            Phrase("time is a river", ("a", "b", "c"), 4),
            Phrase("time is a river of stars", ("a", "b"), 2),
        ]

    def test_answers_of_one_model_are_no_sharing(self):
        assert shared_phrases({"a": ["time is a river"] * 3, "b": ["clocks melt"]}) == []

    def test_an_answer_counts_once_however_often_it_says_it(self):
        said = {"a": ["red fox runs. Red fox runs."], "b": ["A red fox runs"]}
        assert shared_phrases(said) == [Phrase("red fox runs", ("a", "b"), 2)]

    def test_function_words_and_echoes_of_the_prompt_are_no_cliches(self):
        both = ["It is one of the things that you should see in Paris."]
        said = {"a": both, "b": ["This is one of the things that I like."]}
        assert shared_phrases(said) == []
        assert [p.text for p in shared_phrases(said, content=1)] == ["is one of the things that"]
        said = {"a": ["My favourite red animal is a fox"], "b": ["My favourite red animal: an ant"]}
        assert shared_phrases(said, prompt="What is my favourite red animal?") == []
        assert len(shared_phrases(said)) == 1

    def test_a_phrase_ends_with_its_sentence(self):
        said = {"a": ["Red fox. Blue whale."], "b": ["Red fox\nblue whale"]}
        assert shared_phrases(said) == []
        assert [p.text for p in shared_phrases(said, shortest=2)] == ["blue whale", "red fox"]

    def test_fewer_models_shorter_or_more_change_the_list(self):
        said = {"a": ["red fox cub"], "b": ["red fox cub"], "c": ["red fox den"]}
        assert [p.text for p in shared_phrases(said, least_models=3)] == []
        assert [p.text for p in shared_phrases(said, least_models=3, shortest=2)] == ["red fox"]
        with pytest.raises(ValueError, match="least_models must be at least 2"):
            shared_phrases(said, least_models=1)
        with pytest.raises(ValueError, match="shortest must be at least 1"):
            shared_phrases(said, shortest=0)
        with pytest.raises(ValueError, match="content must be at least 1"):
            shared_phrases(said, content=0)

    def test_typographic_quotes_and_case_make_no_difference(self):
        said = {"a": ["Life’s hidden GARDEN"], "b": ["life's hidden garden"]}  # noqa: RUF001
        assert shared_phrases(said) == [Phrase("life's hidden garden", ("a", "b"), 2)]

    def test_long_equal_answers_are_one_phrase(self):
        long = " ".join(f"word{i}" for i in range(300))
        assert shared_phrases({"a": [long], "b": [long]}) == [Phrase(long, ("a", "b"), 2)]
