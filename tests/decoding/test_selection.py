"""Over-generate and select, on an engine whose completions are written down."""

import json
import math
from dataclasses import dataclass, field
from functools import partial
from typing import get_args

import numpy as np
import pytest
from answering import AnsweringEngine

from diversify.credit import cluster_and_best, facility_location
from diversify.decoding import Direct, OverGenerate, Verbalized
from diversify.decoding.selection import Selector, choose, pass_gates, set_aside
from diversify.engines import Engine, Generations, Sampling
from diversify.gates import standing
from diversify.kernels import EquivalenceKernel, NgramKernel


@dataclass
class ScriptedEngine:
    """Answers every prompt with the first n texts of its script."""

    script: dict[str, list[str]]
    asked: list[tuple[int, Sampling]] = field(default_factory=list)
    cut: bool = False

    @property
    def identity(self):
        return {"model": "scripted"}

    def generate(self, prompts, n, sampling):
        self.asked.append((n, sampling))
        texts = [self.script[prompt][:n] for prompt in prompts]
        flags = [["cut" in text for text in row] for row in texts] if self.cut else []
        return Generations(prompts=list(prompts), texts=texts, truncated=flags)


FRUIT = ["an apple", "an apple pie", "an apple", "the kiwi", "one wild fig", "", "an apple tart"]
KERNEL = NgramKernel(1)
SELECTORS = get_args(Selector)


def words(prompts, completions, **columns):
    return [float(len(messages[-1]["content"].split())) for messages in completions]


def draw(strategy, n, script=FRUIT, **options):
    engine = ScriptedEngine({"A fruit?": script})
    return strategy(engine, ["A fruit?"], n, **options), engine


def gated(drawn):
    """Text -> the gates that it did not pass."""
    gates = "below the gate: "
    dropped = [each for each in drawn.details[0]["dropped"] if each["why"].startswith(gates)]
    return {each["text"]: each["why"].removeprefix(gates) for each in dropped}


def test_the_scripted_engine_is_an_engine():
    assert isinstance(ScriptedEngine({}), Engine)


def test_direct_draws_what_is_asked():
    drawn, engine = draw(Direct(), 3, sampling=Sampling(temperature=0.5))
    assert drawn[0] == FRUIT[:3]
    assert engine.asked == [(3, Sampling(temperature=0.5))]
    assert Direct().describe() == {"name": "direct"}


def test_it_draws_factor_times_n_at_the_wanted_temperature():
    _, engine = draw(OverGenerate(3.5, kernel=KERNEL), 2)
    assert engine.asked == [(7, Sampling())]
    _, engine = draw(
        OverGenerate(2, kernel=KERNEL, temperature=1.5), 3, sampling=Sampling(top_p=0.9, seed=7)
    )
    assert engine.asked == [(6, Sampling(temperature=1.5, top_p=0.9, seed=7))]
    _, engine = draw(OverGenerate(1.1, kernel=KERNEL), 5)
    assert engine.asked == [(math.ceil(5.5), Sampling())]


def test_without_qualities_it_takes_texts_that_differ():
    """The first is as good as any; then those that share no word with the picked."""
    drawn, _ = draw(OverGenerate(7 / 3, kernel=KERNEL), 3)
    assert drawn[0] == ["an apple", "the kiwi", "one wild fig"]
    assert drawn.details == [
        {
            "calls": 1,
            "completions": 7,
            "tokens": None,
            "kept": ["plain"] * 3,
            "dropped": [
                {"text": "an apple pie", "why": "not selected"},
                {"text": "an apple", "why": "copy"},
                {"text": "", "why": "blank"},
                {"text": "an apple tart", "why": "not selected"},
            ],
            "failed": {},
            "missing": 0,
            "picked": [0, 3, 4],
        }
    ]


def test_the_gate_comes_before_difference():
    """Words 2, 3, 2, 3, 3 of the five candidates; the best 60 % are those of 3 words.

    The kiwi is the most different of all and does not pass.
    """
    strategy = OverGenerate(7 / 2, kernel=KERNEL, quality={"words": words}, keep=0.6)
    drawn, _ = draw(strategy, 2)
    assert drawn[0] == ["an apple pie", "one wild fig"]
    assert gated(drawn) == {"an apple": "words", "the kiwi": "words"}


def test_every_quality_is_a_gate():
    def no_fig(prompts, completions, **columns):
        return [-float("fig" in messages[-1]["content"]) for messages in completions]

    strategy = OverGenerate(7, kernel=KERNEL, quality={"w": words, "no fig": no_fig}, keep=0.6)
    drawn, _ = draw(strategy, 1)
    assert gated(drawn) == {"an apple": "w", "the kiwi": "w", "one wild fig": "no fig"}


def test_the_gate_leaves_at_least_n():
    """The best 10 % are one text; the best of the rest fill up to three, by their rank."""
    script = ["a", "a b", "a b c", "a b c d", "a b c d e"]
    strategy = OverGenerate(5 / 3, kernel=KERNEL, quality={"words": words}, keep=0.1)
    drawn, _ = draw(strategy, 3, script)
    assert sorted(drawn.details[0]["picked"]) == [2, 3, 4]
    assert gated(drawn) == {"a": "words", "a b": "words"}


def test_unscored_texts_pass_no_gate_and_fill_up_last():
    def only_short(prompts, completions, **columns):
        return [None if len(m[-1]["content"]) > 3 else 1.0 for m in completions]

    script = ["a b c d", "a b", "c d", "e f"]
    strategy = OverGenerate(4 / 3, kernel=KERNEL, quality={"short": only_short}, keep=0.5)
    assert set(draw(strategy, 3, script)[0][0]) == {"a b", "c d", "e f"}


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("quality", [None, {"words": words}])
def test_a_collapsed_pool_still_gives_n(selector, quality):
    strategy = OverGenerate(2, kernel=KERNEL, quality=quality, selector=selector)
    drawn, _ = draw(strategy, 3, ["same"] * 6)
    assert drawn[0] == ["same"] * 3
    assert drawn.details[0]["completions"] == 6


@pytest.mark.parametrize("selector", SELECTORS)
def test_every_selector_picks_one_text_of_each_cluster(selector):
    script = ["red fox", "red fox runs", "blue hen", "blue hen sits", "tall tree", "tall tree too"]
    drawn, _ = draw(OverGenerate(2, kernel=KERNEL, selector=selector), 3, script)
    assert {text.split()[0] for text in drawn[0]} == {"red", "blue", "tall"}


@pytest.mark.parametrize("selector", [s for s in SELECTORS if s != "cluster_and_best"])
def test_the_weight_of_quality_counts(selector):
    """With much weight the two long red texts win; with none difference does."""
    script = ["red fox runs very far", "red fox runs very fast", "blue hen", "tall"]
    heavy = 1.0 if selector == "mmr" else 20.0
    options = {"kernel": KERNEL, "quality": {"words": words}, "keep": 1.0, "selector": selector}
    good, _ = draw(OverGenerate(2, weight=heavy, **options), 2, script)
    assert set(good[0]) == set(script[:2])
    different, _ = draw(OverGenerate(2, weight=0.0, **options), 2, script)
    assert len({text.split()[0] for text in different[0]}) == 2


def test_truncation_flags_follow_their_texts():
    engine = ScriptedEngine({"A fruit?": ["an apple", "an apple pie", "a fig cut"]}, cut=True)
    drawn = OverGenerate(1.5, kernel=KERNEL)(engine, ["A fruit?"], 2)
    assert drawn.texts == [["an apple", "a fig cut"]]
    assert drawn.truncated == [[False, True]]


def test_every_prompt_gets_its_own_columns():
    seen = []

    def quality(prompts, completions, answers):
        seen.append((prompts[0][0]["content"], answers))
        return [1.0] * len(completions)

    engine = ScriptedEngine({"x": ["a", "b"], "y": ["c", "d"]})
    strategy = OverGenerate(2, kernel=KERNEL, quality={"q": quality})
    drawn = strategy(engine, ["x", "y"], 1, columns={"answers": [["one"], ["two"]]})
    assert seen == [("x", [["one"]] * 2), ("y", [["two"]] * 2)]
    assert drawn.prompts == ["x", "y"]
    assert [len(row) for row in drawn] == [1, 1]


def test_a_strategy_describes_itself_in_json():
    strategy = OverGenerate(kernel=KERNEL, quality={"length": partial(words)}, temperature=1.2)
    assert json.loads(json.dumps(strategy.describe())) == {
        "name": "over_generate",
        "factor": 4,
        "kernel": "ngram-1",
        "quality": {"length": "words"},
        "keep": 0.6,
        "selector": "mmr",
        "weight": 0.5,
        "threshold": None,
        "temperature": 1.2,
        "strategy": {"name": "direct"},
    }


@pytest.mark.parametrize("selector", SELECTORS)
def test_of_a_pool_that_is_too_small_all_is_kept_and_the_rest_is_missing(selector):
    drawn, _ = draw(OverGenerate(2, kernel=KERNEL, selector=selector), 3, ["a", "b"])
    assert sorted(drawn[0]) == ["a", "b"] and drawn.details[0]["missing"] == 1
    drawn, _ = draw(OverGenerate(2, kernel=KERNEL, quality={"words": words}), 3, [])
    assert drawn[0] == [] and drawn.details[0]["missing"] == 3
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        draw(OverGenerate(2, kernel=KERNEL), 0)


def test_the_pool_may_come_from_another_strategy():
    """Its cost, its notes and what it dropped stay on record."""
    lists = '["a fig", "the kiwi", "a fig tart"]'
    strategy = OverGenerate(2, kernel=KERNEL, strategy=Verbalized(2, rounds=1))
    engine = AnsweringEngine(lambda *_: lists)
    drawn = strategy(engine, ["A fruit?"], 1)
    assert engine.completions == 1
    assert drawn[0][0] in ("a fig", "the kiwi", "a fig tart")
    record = drawn.details[0]
    assert (record["calls"], record["completions"], record["kept"]) == (1, 1, ["list 1"])
    assert sorted(each["why"] for each in record["dropped"]) == [
        "more than were wanted",
        "not selected",
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factor": 0.5}, "factor must be a number >= 1, got 0.5"),
        ({"factor": float("inf")}, "factor"),
        ({"keep": 0.0}, "keep must be in"),
        ({"keep": 1.5}, "keep must be in"),
        ({"selector": "best"}, "selector must be one of .* got 'best'"),
        ({"weight": -0.1}, "weight must be"),
        ({"weight": 1.5}, "weight must be"),
        ({"weight": float("inf"), "selector": "facility_location"}, "weight must be"),
        ({"threshold": 0.5}, "threshold goes with 'cluster_and_best', not with 'mmr'"),
        ({"threshold": 1.5, "selector": "cluster_and_best"}, "threshold must be in"),
        ({"temperature": -1.0}, "temperature must be"),
    ],
)
def test_options_are_checked_at_once(options, message):
    with pytest.raises(ValueError, match=message):
        OverGenerate(kernel=KERNEL, **options)


def test_a_dpp_may_weigh_quality_beyond_1():
    assert OverGenerate(kernel=KERNEL, selector="dpp", weight=3.0).weight == 3.0


def test_verdicts_that_are_not_transitive_are_refused_by_name_where_they_must_be():
    kernel = EquivalenceKernel(lambda a, b: abs(ord(a) - ord(b)) == 1)
    with pytest.raises(ValueError, match="positive semi-definite"):
        draw(OverGenerate(1, kernel=kernel, selector="leave_one_out"), 3, ["a", "b", "c"])
    assert len(draw(OverGenerate(1, kernel=kernel), 3, ["a", "b", "c"])[0][0]) == 3


def test_copies_are_told_by_their_words_not_the_white_space_around():
    candidates, spares = set_aside(["fig", " fig", "kiwi", "  "], 1)
    assert (candidates.tolist(), spares.tolist()) == ([0, 2], [1, 3])
    candidates, spares = set_aside(["fig", " fig", "kiwi", "  "], 3)
    assert (candidates.tolist(), spares.tolist()) == ([0, 2, 1], [3])


@pytest.mark.parametrize("seed", range(10))
def test_gate_and_choice_properties(seed):
    """Between n and the pool pass; the chosen are among them, and no index comes twice."""
    generator = np.random.default_rng(seed)
    pool, n = 12, int(generator.integers(1, 12))
    qualities = {"a": generator.normal(size=pool), "b": generator.normal(size=pool)}
    rank = standing(qualities, pool)
    good = pass_gates(qualities, rank, n, keep=float(generator.uniform(0.1, 1.0)))
    assert n <= len(good) <= pool
    rows = generator.normal(size=(pool, 20))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    S = (rows @ rows.T)[np.ix_(good, good)]
    for selector in SELECTORS:
        chosen = choose(S, rank[good], n, selector=selector, weight=0.5)
        assert len(set(chosen.tolist())) == n


# --- one of each kind -----------------------------------------------------------------------

# Two clusters of similarity 0.9 (0 and 1; 2, 3 and 4), 0.2 between them.
BLOCKS = np.full((5, 5), 0.2)
BLOCKS[:2, :2] = BLOCKS[2:, 2:] = 0.9
np.fill_diagonal(BLOCKS, 1.0)


@pytest.mark.parametrize("threshold", [None, 0.5])
def test_the_best_of_each_cluster_comes_first(threshold):
    """Bests: 3 (0.9) and 1 (0.6); then the seconds 2 (0.8) and 0 (0.5); then 4 (0.7).

    Two are asked for, so two clusters are made; by threshold there are two whatever is asked for.
    """
    quality = np.array([0.5, 0.6, 0.8, 0.9, 0.7])
    assert cluster_and_best(quality, BLOCKS, 2, threshold=threshold).tolist() == [3, 1]
    assert cluster_and_best(quality, BLOCKS, 5, threshold=0.5).tolist() == [3, 1, 2, 0, 4]


def test_as_many_clusters_as_are_asked_for_by_mean_similarity():
    """0-1 join at 0.8, 2-3 at 0.7. Of the three clusters {0, 1}, {2, 3}, {4} then the means to 4
    are 0.4 and 0.5, between the others 0.3: {2, 3} and 4 join, though 0 and 4 are at 0.6.
    """
    S = np.array(
        [
            [1.0, 0.8, 0.3, 0.3, 0.6],
            [0.8, 1.0, 0.3, 0.3, 0.2],
            [0.3, 0.3, 1.0, 0.7, 0.5],
            [0.3, 0.3, 0.7, 1.0, 0.5],
            [0.6, 0.2, 0.5, 0.5, 1.0],
        ]
    )
    quality = np.array([0.1, 0.2, 0.3, 0.4, 0.9])
    assert cluster_and_best(quality, S, 2).tolist() == [4, 1]
    assert cluster_and_best(quality, S, 3).tolist() == [4, 3, 1]
    assert cluster_and_best(quality, S, 5).tolist() == [4, 3, 2, 1, 0]


def test_clusters_of_copies_and_of_one():
    assert cluster_and_best(np.array([0.1, 0.3, 0.2]), np.ones((3, 3)), 2).tolist()[0] == 1
    assert cluster_and_best(np.ones(1), np.ones((1, 1)), 1).tolist() == [0]
    with pytest.raises(ValueError, match="size"):
        cluster_and_best(np.ones(2), np.eye(2), 3)
    with pytest.raises(ValueError, match="one value per text"):
        cluster_and_best(np.ones(3), np.eye(2), 1)
    with pytest.raises(ValueError, match="threshold"):
        cluster_and_best(np.ones(2), np.eye(2), 1, threshold=2.0)


@pytest.mark.parametrize("seed", range(5))
def test_clusters_do_not_depend_on_the_order(seed):
    generator = np.random.default_rng(seed)
    rows = generator.normal(size=(9, 6))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    S, quality = rows @ rows.T, generator.normal(size=9)
    order = generator.permutation(9)
    for threshold in (None, 0.3):
        picked = cluster_and_best(quality, S, 4, threshold=threshold)
        again = cluster_and_best(quality[order], S[np.ix_(order, order)], 4, threshold=threshold)
        assert order[again].tolist() == picked.tolist()


def test_coverage_and_quality_add_up():
    """Of the two blocks, columns sum to 1.9 + 0.6 = 2.5 for 0 and 1 and 2.8 + 0.4 = 3.2 for 2 to 4.

    A quality of 1 on text 0 lifts it to 3.5 at weight 1 and to 3.0 at weight 0.5.
    """
    quality = np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    assert facility_location(BLOCKS, 1).tolist() == [2]
    assert facility_location(BLOCKS, 1, quality=quality).tolist() == [0]
    assert facility_location(BLOCKS, 1, quality=quality, weight=0.5).tolist() == [2]
    assert facility_location(BLOCKS, 2, quality=quality, weight=0.0).tolist() == [2, 0]
    with pytest.raises(ValueError, match="one value per text"):
        facility_location(BLOCKS, 1, quality=np.ones(2))
    with pytest.raises(ValueError, match="weight"):
        facility_location(BLOCKS, 1, weight=-1.0)
