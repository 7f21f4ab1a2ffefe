"""DiversityReward as a function: numbers, blank answers, chats, pickling, logging, the trainer."""

import logging
import pickle
from collections import defaultdict
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from reward_cases import compass, first_letter
from torch import nn
from transformers import TrainerControl, TrainerState

from diversify.credit import leave_one_out, nearest_credit, partition_credit, rarity_weight
from diversify.kernels import EmbeddingKernel, EquivalenceKernel, NgramKernel
from diversify.rewards import MONITORS, DiversityReward, GroupReward, PartitionCredit


def by_letter(credit=partition_credit, **options):
    return DiversityReward(EquivalenceKernel(first_letter), PartitionCredit(credit), **options)


def by_distance(**options):
    return DiversityReward(EmbeddingKernel(compass), nearest_credit, **options)


class Log:
    """TRL's two logging functions."""

    def __init__(self):
        self.metrics = defaultdict(list)
        self.extras = {}

    def options(self):
        return {
            "log_metric": lambda name, value: self.metrics[name].append(value),
            "log_extra": lambda name, values: self.extras.update({name: values}),
        }


def test_pays_the_credit_of_each_group():
    """Cosines .0, .8, .6: half the distance to the nearest is .1, .2, .1; a lone pair has .5."""
    reward = by_distance(group_size=3)
    texts = ["north", "east", "northeast", "north", "north", "east"]
    values = reward(["a"] * 3 + ["b"] * 3, texts)
    assert values == pytest.approx([0.1, 0.2, 0.1, 0.0, 0.0, 0.5])
    assert all(type(value) is float for value in values)


def test_groups_do_not_see_each_other():
    reward = by_letter(group_size=2)
    assert reward(["p", "p", "q", "q"], ["a", "b", "a", "b"]) == [1.0] * 4


def test_credits_of_classes():
    """Classes a a b c: (4 - 2) / 3 and (4 - 1) / 3; with rarity 1 / 2 and 1."""
    texts = ["apple", "avocado", "beet", "corn"]
    assert by_letter(group_size=4)(["p"] * 4, texts) == pytest.approx([2 / 3, 2 / 3, 1, 1])
    assert by_letter(rarity_weight, group_size=4)(["p"] * 4, texts) == [0.5, 0.5, 1, 1]
    weak = by_letter(partial(rarity_weight, alpha=0.0), group_size=4)
    assert weak(["p"] * 4, texts) == [1.0] * 4


def test_the_threshold_of_the_classes_counts():
    S = np.array([[1.0, 0.5], [0.5, 1.0]])
    assert PartitionCredit(threshold=0.4)(S).tolist() == [0.0, 0.0]
    assert PartitionCredit(threshold=0.6)(S).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match=r"between -1 and 1, got 1\.5"):
        PartitionCredit(threshold=1.5)


def test_a_group_of_one_gets_what_one_text_gets():
    assert by_letter(group_size=1)(["p", "q"], ["a", "a"]) == [1.0, 1.0]
    novelty = DiversityReward(NgramKernel(), leave_one_out, group_size=1)
    assert novelty(["p"], ["some text"]) == pytest.approx([1.0])


def test_chats_and_strings_are_the_same():
    texts = ["north", "east", "northeast"]
    prompt = [{"role": "user", "content": "Where?"}]
    chats = [[{"role": "assistant", "content": text}] for text in texts]
    reward = by_distance(group_size=3)
    assert reward(prompts=[prompt] * 3, completions=chats) == reward(["Where?"] * 3, texts)


@pytest.mark.parametrize("nothing", ["", " \n", None, [], [{"role": "assistant", "content": None}]])
def test_a_blank_answer_is_not_compared_and_gets_the_least(nothing):
    reward = by_letter(group_size=3)
    assert reward(["p"] * 3, ["a", "b", nothing]) == [1.0, 1.0, 0.0]
    assert reward(["p"] * 3, [nothing] * 3) == [0.0] * 3
    novelty = DiversityReward(NgramKernel(), leave_one_out, group_size=4)
    copies = novelty(["p"] * 4, ["x y", "x y", "z", nothing])
    assert copies[3] == copies[0] < 0 < copies[2]  # a copy can have less than 0


def test_is_no_module_and_has_a_name_that_can_be_set():
    reward = by_distance(name="novelty")
    assert reward.__name__ == "novelty"
    reward.__name__ = "other"
    assert reward.__name__ == "other"
    assert by_distance().__name__ == "diversity"
    assert not isinstance(reward, nn.Module)


@pytest.mark.parametrize(
    "options", [{"kernel": "ngram"}, {"credit": None}, {"kernel": NgramKernel}]
)
def test_wrong_parts_are_refused_at_once(options):
    with pytest.raises(ValueError, match="must be a function or a callable object"):
        DiversityReward(**{"kernel": NgramKernel(), "credit": nearest_credit, **options})


def test_a_wrong_group_size_is_refused_at_once():
    with pytest.raises(ValueError, match="group_size must be at least 1, got 0"):
        by_distance(group_size=0)


@pytest.mark.parametrize("answer", [[1.0], [[1.0], [2.0]], [np.nan, 1.0]])
def test_a_credit_that_is_not_one_number_a_text_is_refused(answer):
    reward = DiversityReward(NgramKernel(), lambda S: np.array(answer), group_size=2)
    with pytest.raises(ValueError, match="credit must return 2 finite numbers"):
        reward(["p", "p"], ["a", "b"])


def test_logs_once_a_group_and_under_its_name():
    """Cosines 0, .8, .6 and 1, 0, 0: means 1.4 / 3 and 1 / 3; at .85 three answers and two."""
    log = Log()
    texts = ["north", "east", "northeast", "north", "north", "east"]
    reward = by_distance(group_size=3, name="far")
    values = reward(["where is it"] * 3 + ["q"] * 3, texts, **log.options())
    assert dict(log.metrics) == {
        "far/distinct": [3.0, 2.0],
        "far/mean_similarity": [pytest.approx(1.4 / 3), pytest.approx(1 / 3)],
        "far/duplicates": [0.0, pytest.approx(1 / 3)],
        **{f"far/{name}": [0.0, 0.0] for name in MONITORS},
        "far/length": [1.0, 1.0],
        "far/unscored": [0.0, 0.0],
        "far/credit": [pytest.approx(0.4 / 3), pytest.approx(0.5 / 3)],
    }
    assert log.extras == {"far/credit": values}


def test_each_logging_function_is_optional():
    log = Log()
    for name in ("log_metric", "log_extra"):
        by_distance(group_size=1)(["p"], ["north"], **{name: log.options()[name]})
    assert log.metrics["diversity/distinct"] == [1.0]
    assert "diversity/mean_similarity" not in log.metrics  # there is no pair
    assert log.extras == {"diversity/credit": [1.0]}


def start(reward, *, training=True, **options):
    """Introduce the reward to a trainer: what transformers does at the end of its constructor."""
    model = SimpleNamespace(training=training)
    args = SimpleNamespace(**options)
    reward.on_init_end(args, TrainerState(), TrainerControl(), model=model)
    return model


def test_learns_both_sizes_from_the_trainer():
    reward = by_letter()
    model = start(reward, num_generations=4, num_generations_eval=2)
    assert reward(["p"] * 4, ["a", "a", "b", "b"]) == pytest.approx([2 / 3] * 4)
    model.training = False
    assert reward(["p"] * 4, ["a", "a", "b", "b"]) == [0.0] * 4


def test_evaluation_has_the_training_size_unless_it_says_otherwise():
    reward = by_letter(group_size=4)
    start(reward, training=False, num_generations=4, num_generations_eval=None)
    assert reward(["p"] * 4, ["a", "a", "b", "b"]) == pytest.approx([2 / 3] * 4)


def test_a_size_that_contradicts_the_trainer_is_refused_at_the_start():
    with pytest.raises(ValueError, match=r"group_size=8, but the trainer has num_generations=4"):
        start(by_letter(group_size=8), num_generations=4, num_generations_eval=None)
    with pytest.raises(ValueError, match="needs a trainer with num_generations"):
        start(by_letter())


def test_the_wrong_scaling_is_warned_about(caplog):
    class Unscaled(GroupReward):
        pass

    reward = Unscaled(group_size=None, name="unscaled", scale_rewards="none")
    with caplog.at_level(logging.WARNING):
        start(reward, num_generations=4, scale_rewards="none")
        start(reward, num_generations=4)  # RLOO has no such option
        start(by_letter(), num_generations=4, scale_rewards="group")
    assert not caplog.records
    start(reward, num_generations=4, scale_rewards="group")
    assert "set scale_rewards='none'" in caplog.text


def test_pickles_also_after_it_met_a_trainer():
    reward = DiversityReward(NgramKernel(), PartitionCredit(partial(rarity_weight, alpha=0.5)))
    model = start(reward, num_generations=2, num_generations_eval=1)
    model.unpicklable = lambda: None
    copy = pickle.loads(pickle.dumps(reward))
    rows = (["p"] * 4, ["a b", "a b", "a b", "c"])
    assert copy(*rows) == reward(*rows)
    assert copy.__name__ == reward.__name__
    with pytest.raises(ValueError, match="cannot be cut into groups of 2"):
        copy(["p"], ["a"])
