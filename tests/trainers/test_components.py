"""Names become kernels, credits, qualities, prompts and reference statistics."""

import json
import os
from types import SimpleNamespace

import numpy as np
import pytest

from diversify.credit import CREDITS
from diversify.engines import Generations, Sampling
from diversify.evaluation.prompt_sets import PromptRow, PromptSet
from diversify.measures import DISTINCT_THRESHOLD
from diversify.quality import (
    AnswerList,
    Judge,
    PromptInformation,
    ReferenceLikelihood,
    RewardModel,
)
from diversify.rewards import reference_gate
from diversify.trainers.components import (
    JUDGES,
    KERNELS,
    build_credit,
    build_kernel,
    build_qualities,
    build_server,
)
from diversify.trainers.prompts import load_set, prompt_dataset
from diversify.trainers.reference import draw_reference, draw_shares, reference_statistics

S = np.array([[1.0, 0.9, 0.1], [0.9, 1.0, 0.1], [0.1, 0.1, 1.0]])


def length(prompts, completions, **columns):
    return [float(len(m[-1]["content"])) for m in completions]


# --- kernels, credits, qualities ------------------------------------------------------------


@pytest.mark.parametrize("name", sorted([*CREDITS, "partition", "rarity", "inverse_frequency"]))
def test_every_credit_by_name_prefers_the_odd_one(name):
    credit = build_credit(name)(S)
    assert credit[2] > credit[0]


def test_the_threshold_is_the_partitions():
    """At 0.95 nothing is alike; at 0.05 everything is."""
    assert build_credit("partition", threshold=0.95)(S).tolist() == [1.0, 1.0, 1.0]
    assert build_credit("partition", threshold=0.05)(S).tolist() == [0.0, 0.0, 0.0]


def test_unknown_names_are_answered_with_the_known_ones():
    with pytest.raises(ValueError, match=r"kernel must be one of .*'bleu'"):
        build_kernel("bleu")
    with pytest.raises(ValueError, match=r"credit must be one of .*'novelty'"):
        build_credit("novelty")
    with pytest.raises(ValueError, match=r"quality must be one of .*'nice'"):
        build_qualities(["nice"], reference="x")


def test_qualities_by_name_share_the_reference_model():
    found = build_qualities(
        ["likelihood", "information", "answers", "owner/reward-model-1.7B"], reference="base"
    )
    assert list(found) == ["likelihood", "information", "answers", "reward-model-1.7B"]
    assert isinstance(found["likelihood"], ReferenceLikelihood)
    assert isinstance(found["information"], PromptInformation)
    assert found["information"].reference is found["likelihood"]
    assert isinstance(found["answers"], AnswerList)
    assert isinstance(found["reward-model-1.7B"], RewardModel)


def test_every_kernel_by_name_compares_texts_or_says_what_it_needs(tmp_path, tiny_embedder):
    server = build_server("m", "http://localhost:1/v1")
    for name in KERNELS:
        kernel = build_kernel(name, server=server)
        assert kernel.name
        if name in JUDGES:
            assert build_kernel(name, server=server, short_answers=True).same.otherwise
    texts = ["the red fox", "The  red fox", "a blue whale"]
    assert build_kernel("same-words")(texts)[0].tolist() == [1, 1, 0]
    with pytest.raises(ValueError, match="a judge needs a server"):
        build_kernel("judge")
    with pytest.raises(ValueError, match="a judge needs a model and an address"):
        build_server("m", None)
    assert build_server(None, None) is None


def test_thresholds_and_models_of_equivalence_reach_their_judges():
    assert build_kernel("same-embedding").same.threshold == DISTINCT_THRESHOLD
    assert build_kernel("same-embedding", same_threshold=0.7).same.threshold == 0.7
    default = build_kernel("cross-encoder").same
    assert (default.threshold, default.classifier.side_tokens) == (0.102, 128)
    assert default.classifier.model == "yimingzhang/deberta-v3-large-generation-similarity"
    own = build_kernel("cross-encoder", same_model="own/model", same_threshold=0.4, device="cpu")
    assert (own.same.classifier.model, own.same.threshold) == ("own/model", 0.4)
    assert own.same.classifier.device == "cpu"
    assert build_kernel("entailment", same_threshold=0.9).same.threshold == 0.9
    with pytest.raises(ValueError, match="no threshold is known for 'own/model'"):
        build_kernel("cross-encoder", same_model="own/model")


@pytest.mark.parametrize(
    ("kernel", "option"),
    [
        ("embedding", {"same_threshold": 0.8}),
        ("same-words", {"same_threshold": 0.8}),
        ("same-embedding", {"same_model": "m"}),
        ("ngram", {"short_answers": True}),
    ],
)
def test_an_option_that_would_do_nothing_is_refused(kernel, option):
    (name,) = option
    with pytest.raises(ValueError, match=rf"{name} goes with \[.*\], not with kernel '{kernel}'"):
        build_kernel(kernel, **option)


def test_the_judge_is_a_quality_with_a_server():
    server = build_server("m", "http://localhost:1/v1")
    judge = build_qualities(["judge"], reference="x", server=server)["judge"]
    assert isinstance(judge, Judge) and judge.server is server
    with pytest.raises(ValueError, match="a judge needs a server"):
        build_qualities(["judge"], reference="x")


def test_a_dotted_path_finds_functions_also_in_the_working_folder(tmp_path, monkeypatch):
    assert build_qualities(["os.getcwd"], reference="x") == {"getcwd": os.getcwd}
    (tmp_path / "my_quality_of_test.py").write_text("def nice(prompts, completions): ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", list(__import__("sys").path))
    assert build_qualities(["my_quality_of_test.nice"], reference="x")["nice"].__name__ == "nice"
    with pytest.raises(ValueError, match="has no function 'nasty'"):
        build_qualities(["my_quality_of_test.nasty"], reference="x")


def test_one_name_for_two_qualities_is_refused():
    with pytest.raises(ValueError, match="two qualities are called 'getcwd'"):
        build_qualities(["os.getcwd", "posix.getcwd"], reference="x")


# --- prompts --------------------------------------------------------------------------------


def test_sets_have_splits_and_files_are_taken_whole(tmp_path):
    assert {row.split for row in load_set("enumerable", split="test")} == {"test"}
    assert len(load_set("open-ended", split="train", limit=5)) == 5
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "A?"}\n{"prompt": "B?", "answers": [["x"]]}\n')
    assert [row.text for row in load_set(str(file), split="train")] == ["A?", "B?"]


def test_what_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match="dataset_name is not set"):
        load_set(None, split="train")
    with pytest.raises(ValueError, match="no prompt set or file"):
        load_set(str(tmp_path / "none.jsonl"), split="train")


def test_hub_rows_become_prompts_with_their_columns(monkeypatch):
    rows = [{"prompt": "A?", "topic": "x"}, {"prompt": "B?", "topic": "y"}]
    dataset = type("Rows", (list,), {"column_names": ["prompt", "topic"], "_fingerprint": "f"})
    asked = []

    def load(*arguments, **options):
        asked.append((arguments, options))
        return dataset(rows)

    monkeypatch.setattr("datasets.load_dataset", load)
    found = load_set("me/prompts", split="train", config="small", limit=1)
    assert asked == [(("me/prompts", "small"), {"split": "train"})]
    assert [(row.id, row.text, row.columns) for row in found] == [
        ("me/prompts-0", "A?", {"topic": "x"})
    ]
    rows[:] = [{"question": "A?"}]
    with pytest.raises(ValueError, match=r"no column 'prompt'; the columns are .*'question'"):
        load_set("me/prompts", split="train")


def test_columns_reach_the_data_set_and_prompts_without_a_gate_do_not():
    prompts = PromptSet(
        "mine",
        (PromptRow("a", "A?", columns={"answers": [["x"]]}), PromptRow("b", "B?")),
    )
    rows = prompt_dataset(prompts).to_list()
    assert rows[0]["prompt"] == [{"role": "user", "content": "A?"}]
    assert [row["answers"] for row in rows] == [[["x"]], None]
    gated = prompt_dataset(prompts, added={"b": {"tau_q": 1.0}}).to_list()
    assert [(row["id"], row["tau_q"]) for row in gated] == [("b", 1.0)]
    with pytest.raises(ValueError, match="no prompt of 'mine' is left"):
        prompt_dataset(prompts, added={})


# --- reference ------------------------------------------------------------------------------


class Fixed:
    """An engine that answers everything alike, and counts."""

    identity = {"model": "fixed"}  # noqa: RUF012

    def __init__(self):
        self.asked = []

    def generate(self, prompts, n, sampling):
        self.asked.append((list(prompts), n, sampling))
        return Generations(list(prompts), [["fig", "kiwi", "banana"][:n] for _ in prompts])


def test_statistics_are_those_of_the_gate():
    """Lengths 3, 4, 6: lowest 3, mean 13/3, highest 6."""
    rows = [{"id": "a", "prompt": "A?", "generations": ["fig", "kiwi", "banana"]}]
    tau, sigma = reference_gate([3.0, 4.0, 6.0], alpha=0.5, gamma=2.0)
    found = reference_statistics(rows, {"length": length}, alpha=0.5, gamma=2.0)
    assert found == {"a": {"tau_length": tau, "sigma_length": sigma}}
    assert tau == pytest.approx(3 + 0.5 * (6 - 13 / 3))


def test_a_prompt_that_cannot_be_scored_has_no_statistics():
    def only_a(prompts, completions, **columns):
        return [1.0 if "A" in chat[-1]["content"] else None for chat in prompts]

    rows = [{"id": name, "prompt": f"{name}?", "generations": ["x", "y"]} for name in "AB"]
    found = reference_statistics(rows, {"length": length, "only_a": only_a})
    assert list(found) == ["A"]
    assert set(found["A"]) == {"tau_length", "sigma_length", "tau_only_a", "sigma_only_a"}


PROMPTS = PromptSet("mine", tuple(PromptRow(name, f"{name}?") for name in "ABCDE"))


def test_one_process_writes_one_folder(tmp_path):
    engine = Fixed()
    folders = draw_shares(engine, PROMPTS, 2, sampling=Sampling(), output=tmp_path / "pool")
    assert folders == [tmp_path / "pool"]
    assert len((tmp_path / "pool" / "generations.jsonl").read_text().splitlines()) == 5
    draw_shares(engine, PROMPTS, 2, sampling=Sampling(), output=tmp_path / "pool")
    assert len(engine.asked) == 5


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_processes_share_the_prompts_and_leave_none_out(tmp_path, monkeypatch, processes):
    for rank in range(processes):
        state = SimpleNamespace(num_processes=processes, process_index=rank)
        monkeypatch.setattr("diversify.trainers.reference.PartialState", lambda state=state: state)
        folders = draw_shares(Fixed(), PROMPTS, 2, sampling=Sampling(), output=tmp_path / "pool")
    assert len(folders) == min(processes, 5)
    assert folders[1].name == f"pool-2of{min(processes, 5)}"
    lines = [line for f in folders for line in (f / "generations.jsonl").read_text().splitlines()]
    assert sorted(json.loads(line)["id"] for line in lines) == list("ABCDE")


def test_the_reference_is_sampled_as_the_trainer_will(tmp_path, monkeypatch):
    engine = Fixed()
    monkeypatch.setattr(
        "diversify.trainers.reference.TransformersEngine", lambda model, device: engine
    )
    training = SimpleNamespace(
        temperature=0.7, top_p=0.9, top_k=0, min_p=None, max_completion_length=32, seed=3,
        device="cpu", output_dir=str(tmp_path),
    )  # fmt: skip
    rows = draw_reference("base", PROMPTS, 3, training, "train")
    assert [row["id"] for row in rows] == list("ABCDE")
    assert (tmp_path / "reference" / "train" / "generations.jsonl").is_file()
    expected = Sampling(temperature=0.7, top_p=0.9, max_tokens=32, seed=3)
    assert {(n, sampling) for _, n, sampling in engine.asked} == {(3, expected)}


def test_a_likelihood_of_no_model_is_refused_at_once():
    with pytest.raises(
        ValueError, match="information is that of a frozen reference model, and none"
    ):
        build_qualities(["answers", "information"], reference="")
