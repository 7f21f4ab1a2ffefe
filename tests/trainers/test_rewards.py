"""Flat options become rewards and advantages; what does not go together is refused before training."""

import json

import pytest

from diversify.advantages import Anneal
from diversify.evaluation.prompt_sets import PromptRow, PromptSet
from diversify.quality import AnswerKernels, WeightedQuality
from diversify.rewards import DiversityReward, PeerReward
from diversify.trainers.rewards import (
    REWARDS,
    AdvantageArguments,
    RewardArguments,
    build_advantage,
    build_reward,
    build_reward_kernel,
    build_reward_qualities,
    needs_reference,
    peer_columns,
)


def good(prompts, completions, **columns):
    return [1.0] * len(completions)


def build(qualities=None, **options):
    arguments = RewardArguments(**{"kernel": "ngram"} | options)
    return build_reward(arguments, {"good": good} if qualities is None else qualities, "cpu")


# reward -> (more options, attributes of the reward that they set)
CASES = {
    "darling": ({"class_threshold": 0.5, "floor": 0.3, "shift": "none"}, {"floor": 0.3, "shift": None}),
    "dra": ({}, {"shift": None}),
    "mmr": ({"weight": 0.4}, {"joint.weight": 0.4}),
    "ips": ({"class_threshold": 0.7}, {"diversity.credit.threshold": 0.7}),
    "uniqueness": ({"rarity": 0.5}, {"diversity.credit.credit.keywords": {"alpha": 0.5}}),
    "polychromic": ({"set_size": 3}, {"joint.size": 3}),
    "novelty": ({"weight": 2.0}, {"weight": 2.0}),
    "product": ({"floor": 0.2}, {"floor": 0.2}),
    "moda": ({"diversity_weight": 7.0}, {"diversity_weight": 7.0}),
    "gated": ({"threshold": [0.5], "below": -1.0}, {"below": -1.0}),
    "repulsion": ({"nearest": 2, "closed": 0.9}, {"diversity.nearest": 2, "diversity.closed": 0.9}),
    "dqo": ({}, {}),
    "gapo": ({}, {"column": "answers"}),
    "diversity": ({"credit": "partition"}, {}),
}  # fmt: skip


def test_every_reward_has_a_case():
    assert {*CASES, "quality"} == set(REWARDS)


@pytest.mark.parametrize("name", list(CASES))
def test_options_become_a_reward(name):
    options, expected = CASES[name]
    reward = build(reward=name, **options)[-1]
    assert reward.__name__ == name
    for path, value in expected.items():
        found = reward
        for attribute in path.split("."):
            found = getattr(found, attribute)
        assert found == value


def test_darling_has_a_mode():
    [reward] = build(reward="darling", mode="sum")
    assert type(reward).__name__ == "SumReward" and reward.__name__ == "darling"
    with pytest.raises(ValueError, match="mode must be"):
        build(reward="darling", mode="both")


def test_the_gate_reads_reference_columns_or_the_numbers_given():
    qualities = {"a": good, "b": good}
    [columns] = build(qualities)
    assert columns.threshold == {"quality/a": "tau_a", "quality/b": "tau_b"}
    assert columns.scale == {"quality/a": "sigma_a", "quality/b": "sigma_b"}
    [numbers] = build(qualities, threshold=[0.5, 0.7], diversity_weight=3.0)
    assert numbers.threshold == {"quality/a": 0.5, "quality/b": 0.7}
    assert numbers.scale == {"quality/a": 1.0, "quality/b": 1.0}
    assert numbers.diversity_weight == 3.0
    with pytest.raises(ValueError, match="one number each"):
        build(qualities, threshold=[1.0, 2.0, 3.0])


def test_only_a_gate_without_numbers_needs_a_reference():
    assert needs_reference(RewardArguments(reward="moda"))
    assert not needs_reference(RewardArguments(reward="moda", threshold=[1.0]))
    assert not needs_reference(RewardArguments(reward="darling"))


def test_penalties_are_found_by_their_path():
    [reward] = build(reward="gated", penalties=["trl.rewards.think_format_reward"])
    assert [penalty.__name__ for penalty in reward.penalties] == ["think_format_reward"]


def test_the_controls_and_sums_keep_the_qualities():
    assert build({"a": good, "b": good}, reward="quality") == [good, good]
    found = build({"a": good, "b": good}, reward="dqo")
    assert found[:2] == [good, good] and isinstance(found[2], DiversityReward)


def test_answers_are_compared_by_the_list_of_the_prompt():
    assert build_reward_kernel(RewardArguments(kernel="answers"), "cpu") == AnswerKernels()


def test_qualities_are_joined_by_weights():
    options = RewardArguments(quality=["answers", f"{__name__}.good"], quality_weights=[1.0, 0.5])
    found = build_reward_qualities(options, reference="", device="cpu")
    assert isinstance(found["weighted"], WeightedQuality)
    values = found["weighted"](["?"], ["Peru"], answers=[[["Peru"]]])
    assert values == [1.5]
    with pytest.raises(ValueError, match="one weight each"):
        wrong = RewardArguments(quality=["answers"], quality_weights=[1.0, 0.5])
        build_reward_qualities(wrong, reference="", device="cpu")


def test_a_reward_without_qualities_loads_none():
    options = RewardArguments(reward="gapo", quality=["likelihood"])
    assert build_reward_qualities(options, reference="no such model", device="cpu") == {}


@pytest.mark.parametrize("name", ["darling", "mmr", "product"])
def test_one_quality_where_there_is_one_factor(name):
    with pytest.raises(ValueError, match=r"takes one quality, got \['a', 'b'\]"):
        build({"a": good, "b": good}, reward=name)


def test_an_unknown_reward_says_which_there_are():
    with pytest.raises(ValueError, match=r"reward must be one of .* got 'best'"):
        build(reward="best")


# --- advantages -----------------------------------------------------------------------------


def test_options_become_a_method():
    assert build_advantage(AdvantageArguments(), beta=0.1) is None
    annealed = build_advantage(
        AdvantageArguments(advantage="pkpo", advantage_k=8, advantage_k_last=1), beta=0.0
    )
    assert annealed.options == {"k": Anneal(8, 1)}
    arguments = AdvantageArguments(advantage="mara", advantage_tau=0.5, advantage_scale="group")
    mara = build_advantage(arguments, beta=0.04)
    assert (mara.options, mara.scale) == ({"tau": 0.5, "beta": 0.04}, "group")
    with pytest.raises(ValueError, match="advantage must be one of"):
        build_advantage(AdvantageArguments(advantage="best"), beta=0.0)


# --- peers ----------------------------------------------------------------------------------


def test_peers_are_found_by_prompt(tmp_path):
    runs = []
    for name, answers in {"a": ["fig", "kiwi"], "b": ["plum", "fig"]}.items():
        path = tmp_path / f"{name}.jsonl"
        row = {"id": "x", "prompt": "A fruit?", "generations": answers}
        path.write_text(json.dumps(row) + "\n")
        runs.append(str(path))
    prompts = PromptSet("mine", (PromptRow("1", "A fruit?"), PromptRow("2", "A city?")))
    assert peer_columns(runs, prompts) == {"1": {"peers": ["fig", "kiwi", "plum"]}}
    with pytest.raises(ValueError, match="needs peers"):
        peer_columns([], prompts)
    with pytest.raises(ValueError, match="none of 1 prompts"):
        peer_columns(runs, PromptSet("mine", (PromptRow("2", "A city?"),)))


def test_repulsion_is_a_gate_on_peers():
    [reward] = build(reward="repulsion", threshold=[0.5])
    assert isinstance(reward.diversity, PeerReward)
