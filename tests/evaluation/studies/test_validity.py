"""The validity study: it counts what it says, plants what it says, and repeats itself."""

import json
from pathlib import Path

import numpy as np
import pytest
from importing import imported
from scipy import stats

from diversify.evaluation.studies.classes import everything, within
from diversify.evaluation.studies.false_alarms import Answers, copied, halves, rates, varied
from diversify.evaluation.studies.standings import Sweep, misplaced
from diversify.evaluation.studies.unequal import few_and_many, taken_for_a_change
from diversify.kernels import EmbeddingKernel, NgramKernel
from diversify.measures import mean_distance, vendi

ROOT = Path(__file__).parents[3]
CONFIGS = sorted((ROOT / "configs/validity").glob("*.yaml"))
WORDS = "red blue green grey pink"


@pytest.fixture(scope="module")
def validity():
    with imported("eval/validity.py") as module:
        yield module


def rows(prompts=12, n=6):
    """Answers of two words out of five; the class is the first word, of which there are 1 to 4."""
    rng = np.random.default_rng(0)
    colours = WORDS.split()
    made = []
    for prompt in range(prompts):
        labels = rng.integers(0, 1 + prompt % 4, n).tolist()
        texts = [f"{colours[label]} {rng.choice(colours)}" for label in labels]
        made.append({"prompt": "Name two.", "generations": texts, "partition": labels})
    return made


@pytest.fixture
def answers(tiny_embedder):
    return Answers(rows(), [EmbeddingKernel(tiny_embedder), NgramKernel(2)])


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_configs_are_whole(validity, path):
    study = validity.read_study(path)
    assert study.splits >= 400
    assert path.read_text().startswith(
        f"# python eval/validity.py --config {path.relative_to(ROOT)}"
    )


def test_there_are_configs_and_unknown_keys_are_refused(validity, tmp_path):
    assert CONFIGS
    file = tmp_path / "c.yaml"
    file.write_text("generations: a\nresults: b\nsplit: 3\n")
    with pytest.raises(ValueError, match=r"unknown keys \['split'\]"):
        validity.read_study(file)


def test_the_values_of_halves_are_those_of_the_measures(answers):
    places = np.array([[0, 2, 5]] * 12)
    values = answers.values(places)
    for prompt in (0, 7):
        texts = [answers.texts[prompt][place] for place in (0, 2, 5)]
        for name, kernel in answers.kernels.items():
            S = kernel(texts)
            assert values[f"vendi,{name}"][prompt] == pytest.approx(vendi(S))
            assert values[f"mean_distance,{name}"][prompt] == pytest.approx(mean_distance(S))


def test_halves_share_no_answer(answers):
    first, second = halves(answers, np.random.default_rng(0))
    assert first.shape == second.shape == (12, 3)
    both = np.sort(np.concatenate([first, second], axis=1), axis=1)
    assert (both == np.arange(6)).all()


def test_planted_copies_and_classes(answers):
    """All copied: one answer is left. Classes only ever get more, and only other answers come in."""
    rng = np.random.default_rng(1)
    _, places = halves(answers, rng)
    assert (copied(answers, places, 1.0, rng) == places[:, :1]).all()
    assert (copied(answers, places, 0.0, rng) == places).all()
    planted = varied(answers, places, 1.0, rng)
    assert (planted != places).any() and (planted[:, 0] == places[:, 0]).all()
    for labels, old, new in zip(answers.classes, places, planted, strict=True):
        assert set(labels[old]) <= set(labels[new])
        replaced = new[old != new]
        assert not set(labels[replaced]) & set(labels[old])
    assert (varied(answers, places, 0.0, rng) == places).all()


def test_rates_are_shares_with_wilsons_interval():
    """One of four: (1/4 + z²/8 ± z sqrt(3/64 + z²/64)) / (1 + z²/4) with z = 1.96 is .046 to .699."""
    found = rates([{"kind": {"a": i == 0}} for i in range(4)])
    assert found == {"kind": {"a": {"rate": 0.25, "ci95": [0.0456, 0.6994]}}}


def test_the_study_repeats_itself_and_finds_what_is_planted(validity, tiny_embedder, tmp_path):
    file = tmp_path / "g.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows(prompts=20)))
    study = validity.Study(
        str(file), "none", splits=6, sizes=[6, 20, 99], shares=[1.0], shuffles=1, resamples=200
    )
    found = validity.run(study, tiny_embedder)
    answers = Answers(rows(prompts=20), [EmbeddingKernel(tiny_embedder), NgramKernel(2)])
    again = validity.false_alarms(answers, study, [6, 20]), validity.ranks(answers, study)
    assert (found["false_alarms"], found["ranks"]) == again
    assert list(found["false_alarms"]) == ["6", "20"]
    copies = found["power"]["copies"]["1.0"]
    assert copies["p_value"]["vendi,ngram-2"]["rate"] == 1.0
    assert copies["effect"]["vendi,ngram-2"] < 0 < copies["detectable"]["vendi,ngram-2"]
    assert found["power"]["classes"]["1.0"]["effect"]["vendi,ngram-2"] > 0
    moves = found["order"]["largest_move"]
    assert max(moves[name] for name in moves if name != "compression_ratio,words") < 1e-12
    columns = [everything(answers, texts)["vendi,hashing"] for texts in answers.texts]
    counts = [len(set(labels)) for labels in answers.classes.tolist()]
    assert found["ranks"]["across_prompts"]["vendi,hashing"]["spearman"] == pytest.approx(
        stats.spearmanr(columns, counts).statistic, abs=5e-4
    )
    told = validity.table(found)
    assert "false alarms" in told and "leader clustering" in told


def test_answers_of_different_number_are_refused():
    with pytest.raises(ValueError, match="equally many answers"):
        Answers([*rows(2, 6), *rows(1, 5)], [NgramKernel(2)])


def test_what_needs_recorded_classes_says_so():
    bare = [{"generations": row["generations"]} for row in rows(2)]
    answers, rng = Answers(bare, [NgramKernel(2)]), np.random.default_rng(0)
    for asked in (
        lambda: varied(answers, halves(answers, rng)[0], 1.0, rng),
        lambda: within(answers, rng),
    ):
        with pytest.raises(ValueError, match="the column 'partition'"):
            asked()


@pytest.fixture
def pools(tmp_path):
    """Three temperatures, hotter with more colours and fewer that are right; one run a temperature."""
    rng = np.random.default_rng(5)
    colours = WORDS.split()
    paths = []
    for heat, share in enumerate((0.9, 0.6, 0.3)):
        made = []
        for prompt in range(8):
            texts = [
                "red" if rng.random() < share else str(rng.choice(colours[1:])) for _ in range(12)
            ]
            made.append({"id": prompt, "prompt": f"{prompt}?", "generations": texts})
            made[-1]["answers"] = [["red"]]
        paths.append(tmp_path / f"{heat}.jsonl")
        paths[-1].write_text("".join(json.dumps(row) + "\n" for row in made))
    return [str(path) for path in paths]


def test_two_sweeps_of_one_pool_share_no_answer_and_lie_on_one_curve(pools):
    sweep = Sweep(pools, 6)
    one, other = sweep.draw(np.array([0, 3, 3]), np.random.default_rng(0))
    assert one[1].shape == (3, 3) and one[0]["vendi,ngram-2"].shape == (3, 3)
    # Six and six of twelve are all of them: together they have the mean of the pool.
    assert (one[1] + other[1]) / 2 == pytest.approx(sweep.valid.mean(axis=2)[:, [0, 3, 3]])
    with pytest.raises(ValueError, match="the smallest pool has 12"):
        Sweep(pools, 7)


def test_a_real_gap_is_seen_and_none_between_a_sweep_and_itself(pools):
    sweep = Sweep(pools, 6)
    curve, other = sweep.draw(np.arange(8).repeat(3), np.random.default_rng(0))
    own = {"resamples": 300, "seed": 0}
    found = misplaced(curve, curve, np.random.default_rng(1), **own)
    at = {name: hit for name, hit in found["interval"].items() if "at a temperature" in name}
    assert len(at) == 4 and not any(at.values()) and not any(found["curves"].values())
    better = {name: values + 1.0 for name, values in other[0].items()}, other[1]
    found = misplaced(curve, better, np.random.default_rng(1), **own)
    assert found["curves"]["vendi,ngram-2, dominates"]
    for kind in ("interval", "linear", "bootstrap"):
        assert found[kind]["vendi,ngram-2, between two, above"]
        assert not found[kind]["vendi,ngram-2, between two, below"]


def test_one_part_alone_needs_no_generations(validity, pools, tmp_path):
    study = validity.Study("none", "none", sizes=[6], sweep=pools, sweep_splits=2, sweep_answers=6)
    found = validity.run(study, only=["standings"])
    assert list(found) == ["sweep", "standings"] and found["sweep"]["runs"] == pools
    assert found["standings"] == validity.run(study, only=["standings"])["standings"]
    assert "at a temperature, above" in validity.table(found)
    assert validity.standings(validity.Study("none", "none")) is None


def test_few_against_many_is_no_change_but_for_what_grows(answers):
    """Of 6 answers a prompt 2 stand against 4: Vendi grows with their number, the mean does not."""
    few, many = few_and_many(answers, np.random.default_rng(0))
    assert few.shape == (12, 2) and many.shape == (12, 4)
    both = np.sort(np.concatenate([few, many], axis=1), axis=1)
    assert (both == np.arange(6)).all()
    found = taken_for_a_change(answers, [12], splits=30, resamples=200, seed=0)["12"]
    called, moved = found["p_value"], found["difference"]
    assert set(called) == {
        f"{measure},{kernel}"
        for measure in ("mean_distance", "vendi", "coverage@2", "vendi@2")
        for kernel in ("hashing", "ngram-2")
    }
    for kernel in ("hashing", "ngram-2"):
        assert called[f"vendi,{kernel}"]["rate"] > 0.8 and moved[f"vendi,{kernel}"] > 0.2
        for measure in ("mean_distance", "coverage@2", "vendi@2"):
            assert called[f"{measure},{kernel}"]["rate"] < 0.3
            assert abs(moved[f"{measure},{kernel}"]) < 0.1
