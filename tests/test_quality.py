import pickle
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from diversify.models import LoadedModel, load_tokenizer
from diversify.quality import (
    AnswerList,
    Constraints,
    FromReward,
    PromptInformation,
    Quality,
    ReferenceLikelihood,
    Relevance,
    RelevanceRank,
    RewardModel,
    Rule,
    likelihood,
    named_answer,
)

PROMPTS = ["name a red animal", "tell a long story of the people in Paris", "the"]
COMPLETIONS = ["a fruit", "the people who look for water", "red", "zq!? é", " no space", "a fruit"]
PAIRS = [(p, c) for p in PROMPTS for c in COMPLETIONS]


@pytest.fixture(scope="module")
def reference(tiny_model_path: Path) -> ReferenceLikelihood:
    return ReferenceLikelihood(tiny_model_path, dtype="float32", device="cpu")


def by_hand(loaded: LoadedModel, before: str, completion: str) -> float:
    """The mean log-probability of a text after another, from one plain pass over both."""
    start = loaded.tokenizer(before, add_special_tokens=False)["input_ids"]
    tokens = loaded.tokenizer(completion, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logits = loaded.model(torch.tensor([start + tokens])).logits[0]
    total = 0.0
    for position, token in enumerate(tokens, start=len(start)):
        total += torch.log_softmax(logits[position - 1].double(), dim=-1)[token].item()
    return total / len(tokens)


def chat(prompt: str) -> str:
    return f"<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"


class TestReferenceLikelihood:
    def test_equals_a_plain_pass_over_prompt_and_completion(
        self, reference: ReferenceLikelihood, loaded: LoadedModel
    ) -> None:
        values = reference([p for p, _ in PAIRS], [c for _, c in PAIRS])
        expected = [by_hand(loaded, chat(p), c) for p, c in PAIRS]
        np.testing.assert_allclose(np.array(values, dtype=float), expected, atol=1e-4)
        assert max(expected) < 0
        assert np.ptp(expected) > 0.5, "the test could not fail"

    @pytest.mark.parametrize("batch_tokens", [1, 9, 100_000])
    def test_does_not_depend_on_batches(
        self, tiny_model_path: Path, loaded: LoadedModel, batch_tokens: int
    ) -> None:
        reference = ReferenceLikelihood(
            tiny_model_path, dtype="float32", device="cpu", batch_tokens=batch_tokens
        )
        values = reference(PROMPTS[:1] * len(COMPLETIONS), COMPLETIONS)
        expected = [by_hand(loaded, chat(PROMPTS[0]), c) for c in COMPLETIONS]
        np.testing.assert_allclose(np.array(values, dtype=float), expected, atol=1e-4)

    def test_a_model_without_a_repeatable_cache_gives_the_same(
        self, tiny_model_path: Path, loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(likelihood, "repeatable_cache", lambda model: False)
        reference = ReferenceLikelihood(tiny_model_path, dtype="float32", device="cpu")
        values = reference(PROMPTS[:1] * len(COMPLETIONS), COMPLETIONS)
        expected = [by_hand(loaded, chat(PROMPTS[0]), c) for c in COMPLETIONS]
        np.testing.assert_allclose(np.array(values, dtype=float), expected, atol=1e-4)

    def test_without_a_chat_template_texts_follow_each_other(
        self, tiny_model_path: Path, loaded: LoadedModel, tmp_path: Path
    ) -> None:
        loaded.model.save_pretrained(tmp_path)
        tokenizer = load_tokenizer(tiny_model_path)
        tokenizer.chat_template = None
        tokenizer.save_pretrained(tmp_path)
        plain = ReferenceLikelihood(tmp_path, dtype="float32", device="cpu")
        expected = by_hand(loaded, "name a", " red animal")
        assert plain(["name a"], [" red animal"])[0] == pytest.approx(expected, abs=1e-4)
        expected -= by_hand(loaded, tokenizer.bos_token, " red animal")
        information = PromptInformation(plain)(["name a"], [" red animal"])[0]
        assert information == pytest.approx(expected, abs=1e-4)
        assert plain.identity["chat_template_sha"] is None

    def test_takes_a_model_that_is_loaded_already(
        self, tiny_model_path: Path, loaded: LoadedModel
    ) -> None:
        by_name = ReferenceLikelihood(tiny_model_path, dtype="float32", device="cpu")
        shared = ReferenceLikelihood(loaded)
        assert shared._reference().model is loaded.model
        asked = PROMPTS[:1] * len(COMPLETIONS), COMPLETIONS
        assert shared(*asked) == by_name(*asked) and shared.identity == by_name.identity
        with pytest.raises(ValueError, match="of a LoadedModel are settled"):
            ReferenceLikelihood(loaded, device="cpu")

    def test_reads_each_prompt_once_and_each_completion_once(
        self, tiny_model_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[tuple[int, int]] = []
        compute = likelihood.mean_log_probabilities

        def spy(model: Any, before: list[int], rows: list[list[int]], **options: Any) -> Any:
            calls.append((len(before), len(rows)))
            return compute(model, before, rows, **options)

        monkeypatch.setattr(likelihood, "mean_log_probabilities", spy)
        reference = ReferenceLikelihood(tiny_model_path, dtype="float32", device="cpu")
        mixed = random.Random(0).sample(PAIRS, len(PAIRS))
        first = reference([p for p, _ in mixed], [c for _, c in mixed])
        assert sorted(rows for _, rows in calls) == [5, 5, 5]
        assert reference([p for p, _ in mixed], [c for _, c in mixed]) == first
        PromptInformation(reference)([p for p, _ in mixed], [c for _, c in mixed])
        assert [rows for _, rows in calls[3:]] == [5], "only the pass without prompts is new"

    def test_remembers_a_bounded_number(
        self, tiny_model_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(likelihood, "_REMEMBERED", 3)
        reference = ReferenceLikelihood(tiny_model_path, dtype="float32", device="cpu")
        values = reference(["the"] * 6, COMPLETIONS)
        assert None not in values
        assert values[0] == values[-1]
        assert len(reference._memo) == 3

    def test_blank_completions_are_none(self, reference: ReferenceLikelihood) -> None:
        values = reference(["the"] * 4, ["", " \n", "red", "\t"])
        assert [value is None for value in values] == [True, True, False, True]
        assert reference.unconditional(["", " "]) == [None, None]

    def test_speaks_of_the_completion_and_not_of_its_place(
        self, reference: ReferenceLikelihood
    ) -> None:
        values = reference(["the", "name", "the"], ["red", "red", "blue"])
        assert reference(["the", "the", "name"], ["blue", "red", "red"]) == [
            values[2],
            values[0],
            values[1],
        ]
        assert len(set(values)) == 3

    def test_an_adapter_changes_the_reference(
        self, tiny_model_path: Path, reference: ReferenceLikelihood, tmp_path: Path
    ) -> None:
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        config = LoraConfig(r=2, task_type="CAUSAL_LM", init_lora_weights=False)
        base = AutoModelForCausalLM.from_pretrained(tiny_model_path)
        get_peft_model(base, config).save_pretrained(tmp_path)
        adapted = ReferenceLikelihood(
            tiny_model_path, adapter=tmp_path, dtype="float32", device="cpu"
        )
        assert adapted(["the"], ["red"]) != reference(["the"], ["red"])
        assert adapted.identity["adapter"] == str(tmp_path)


class TestPromptInformation:
    def test_is_the_gain_over_the_bare_header(
        self, reference: ReferenceLikelihood, loaded: LoadedModel
    ) -> None:
        values = PromptInformation(reference)([p for p, _ in PAIRS], [c for _, c in PAIRS])
        expected = [
            by_hand(loaded, chat(p), c) - by_hand(loaded, "<|im_start|>assistant\n", c)
            for p, c in PAIRS
        ]
        np.testing.assert_allclose(np.array(values, dtype=float), expected, atol=2e-4)
        assert np.ptp(expected) > 0.1, "the test could not fail"

    def test_a_name_makes_its_own_reference(self, tiny_model_path: Path) -> None:
        information = PromptInformation(tiny_model_path)
        assert information(["the"], [""]) == [None]
        assert information.identity["quality"] == "prompt_information"

    @pytest.mark.parametrize(
        ("template", "header"),
        [
            ("{{ bos_token }}U:{{ messages[0].content }}{% if add_generation_prompt %}A:{% endif %}",
             "<|im_start|>A:"),
            ("U:{{ messages[0].content }}{% if add_generation_prompt %}A:{% endif %}", "A:"),
            ("[{{ messages[0].content }}]", "<|im_start|>"),
        ],
        ids=["bos and header", "header", "no header"],
    )  # fmt: skip
    def test_the_header_is_what_the_template_opens_an_answer_with(
        self, tiny_tokenizer_path: Path, template: str, header: str
    ) -> None:
        tokenizer = load_tokenizer(tiny_tokenizer_path)
        tokenizer.chat_template = template
        assert tokenizer.decode(likelihood._header_ids(tokenizer)) == header

    def test_a_tokenizer_that_cannot_begin_a_text_is_refused(
        self, tiny_tokenizer_path: Path
    ) -> None:
        tokenizer = load_tokenizer(tiny_tokenizer_path)
        tokenizer.chat_template = tokenizer.bos_token = None
        assert tokenizer.decode(likelihood._header_ids(tokenizer)) == "<|im_end|>"
        tokenizer.eos_token = None
        with pytest.raises(ValueError, match="no header for answers"):
            likelihood._header_ids(tokenizer)


class TestNamedAnswer:
    COUNTRIES = (
        ["Guinea"],
        ["Papua New Guinea", "PNG"],
        ["Guinea-Bissau"],
        ["Côte d'Ivoire", "Ivory Coast"],
        ["Niger"],
        ["Nigeria"],
        ["Georgia", "Sakartvelo"],
        ["C++"],
    )

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("Guinea", 0),
            ("I would say papua new guinea.", 1),
            ("Guinea-Bissau", 2),
            ("guinea\N{NON-BREAKING HYPHEN}bissau", 2),
            ("COTE D\N{RIGHT SINGLE QUOTATION MARK}IVOIRE!", 3),
            ("the Ivory\n  Coast", 3),
            ("Nigeria, not Niger", 5),
            ("Niger, not Nigeria", 4),
            ("(Niger)", 4),
            ("Nigerian", None),
            ("", None),
            ("Guineas", None),
            ("PNG and Georgia", 1),
            ("Georgia and PNG", 6),
            ("write it in c++, please", 7),
            ("c+", None),
            ("Papua New Guinea or Guinea", 1),
            ("Guinea or Papua New Guinea", 0),
        ],
    )
    def test_finds_the_first_whole_name(self, text: str, expected: int | None) -> None:
        assert named_answer(text, self.COUNTRIES) == expected

    def test_of_two_that_overlap_the_longer_counts(self) -> None:
        answers = [["new york"], ["york city council"], ["york"]]
        assert named_answer("the New York City Council", answers) == 1
        assert named_answer("the New York city", answers) == 0

    def test_only_what_itself_counts_takes_a_place_away(self) -> None:
        """The longest stands; the second overlaps it and is gone; the first overlaps only that."""
        assert named_answer("a b c d e f", [["a b"], ["b c d"], ["c d e f"]]) == 0
        assert named_answer("a b c d e f", [["b c d"], ["c d e f"]]) == 1

    @pytest.mark.parametrize(
        ("text", "alias"),
        [
            *(("Lodz", "Łódź"), ("ŁÓDŹ", "Lodz"), ("Kobenhavn", "København")),
            *(("Djorde", "Djorđe"), ("Aegir and Hoenir", "Ægir"), ("STRASSE", "Straße")),
            *(("Diyarbakir", "Diyarbak\N{LATIN SMALL LETTER DOTLESS I}r"), ("Thorr", "Þorr")),
        ],
    )
    def test_letters_that_do_not_decompose_are_folded(self, text: str, alias: str) -> None:
        assert named_answer(text, [[alias]]) == 0
        assert named_answer(alias, [[text.split()[0]]]) == 0

    # 2 to 9, 10, 11, 64 and 1024 in figures and, as far as they are one word, in words.
    WORDS = "two three four five six seven eight nine ten eleven".split()
    NUMBERS: ClassVar = [
        *([str(number), word] for number, word in enumerate(WORDS, start=2)),
        *(["64", "sixty-four", "sixty four"], ["1024"]),
    ]

    @pytest.mark.parametrize(
        "text",
        [
            *("4,294,967,296", "10,000", "5,000 or so", "10\N{NARROW NO-BREAK SPACE}000"),
            *("4.5", "3.14", "11.5", "$100.50", "$5.50", ".5", "5.0", "5.6.7", "1,024.5"),
            *("-5", "\N{MINUS SIGN}5", "It is -5.", "(-5)", "minus five", "negative 5.5"),
            *("3-5", "3\N{EN DASH}5", "3-5 km", "2005-11-10", "555-1234"),
            *("1/2", "\N{VULGAR FRACTION ONE HALF}", "3\N{VULGAR FRACTION ONE HALF}", "5:30pm"),
            *("2^10", "5\N{SUPERSCRIPT TWO}", "10'000", "5th", "5km", "v5", "COVID-11"),
            *("a 2-digit one", "a two-digit one", "5-minute", "eleven-year-old"),
            *(
                "forty-five",
                "forty five",
                "five hundred",
                "two hundred and six",
                "a hundred and six",
            ),
            *("two point five", "twenty-fifth", "three thousand", "31,024", "1,024,000", "512,512"),
        ],
    )
    def test_a_part_of_a_number_names_none(self, text: str) -> None:
        assert named_answer(text, self.NUMBERS) is None

    @pytest.mark.parametrize(
        ("text", "number"),
        [
            *(
                ("5.", "5"),
                ("5, 7", "5"),
                ("7,5", "7"),
                ("2,4,8", "2"),
                ("5!", "5"),
                ("**5**", "5"),
            ),
            *(("answer: 5", "5"), ("answer - 5", "5"), ("answer \N{EN DASH} 5", "5"), ("x=5", "5")),
            *(("answer--5", "5"), ("answer\N{EM DASH}5", "5"), ("well...5", "5"), ("No.5", "5")),
            *(("#5", "5"), ("5%", "5"), ("$5", "5"), ("5 km", "5"), ("5-", "5"), ("(5)", "5")),
            *(("4.5, so 5", "5"), ("-5? No, 7", "7"), ("5 - 7", "5"), ("3-5, say 4", "4")),
            *(("1,024", "1024"), ("1024", "1024"), ("1\N{NO-BREAK SPACE}024.", "1024")),
            *(("Sixty four", "64"), ("SIXTY-FOUR", "64"), ("Seven.", "7"), ("six or seven", "6")),
            *(("one and two", "2"), ("twenty, five", "5"), ("forty-five; nine", "9")),
        ],
    )
    def test_a_whole_number_is_named(self, text: str, number: str) -> None:
        found = named_answer(text, self.NUMBERS)
        assert found is not None and self.NUMBERS[found][0] == number

    def test_an_alias_may_write_its_number_otherwise(self) -> None:
        assert named_answer("1024", [["1,024"]]) == named_answer("1,024", [["1,024"]]) == 0
        assert named_answer("-5", [["5"], ["-5"]]) == 1
        assert (
            named_answer("3.14", [["3"], ["3.14"]]) == 1
            and named_answer("3.141", [["3.14"]]) is None
        )

    def test_names_with_numbers_are_found_as_other_names_are(self) -> None:
        names = ["Windows 10", "Modula-2", "18-wheeler", "1920s", "July 4", "a hundred", "100 m"]
        answers = [[name] for name in names]
        for place, name in enumerate(names):
            for text in (
                name,
                f"({name})",
                f"well-{name}",
                f"{name}-Peru",
                f"3: {name}",
                f"5 {name}",
            ):
                assert named_answer(text, answers) == place, text
        assert named_answer("Windows 10.1", answers) == 0
        assert named_answer("1-Peru, 2-Chile", [["Chile"], ["Peru"]]) == 1
        assert named_answer("Peru-2024", [["Peru"]]) == 0
        assert named_answer("$5.50 or 4.5%", [["$5"], ["5%"]]) is None

    def test_many_numbers_take_no_time(self) -> None:
        """Each mention against each other would need minutes; this takes a tenth of a second."""
        started = time.process_time()
        for piece in ("1 ", "1-", "1.", "-", "1,000", "twenty ", "hundred and ", "point one "):
            named_answer(piece * 20_000 + " 1", [["1"], ["twenty"], ["hundred"]])
        assert time.process_time() - started < 30

    def test_finds_the_first_of_many_whatever_their_order(self) -> None:
        answers = [["one"], ["twenty two", "22"], ["twenty"], ["three hundred"], ["four"]]
        generator = random.Random(0)
        for _ in range(200):
            some = generator.sample(range(5), generator.randint(1, 5))
            filler = ["and", "well,", "(", "answer:", "TWO"]
            spoken = [
                generator.choice([str.upper, str.title, str.lower])(generator.choice(answers[i]))
                for i in some
            ]
            parts = [part for name in spoken for part in (generator.choice(filler), name, ".")]
            assert named_answer(" ".join(parts), answers) == some[0], parts

    def test_refuses_answers_without_alias_lists_and_blank_aliases(self) -> None:
        with pytest.raises(ValueError, match="got the bare string 'Peru'"):
            named_answer("Peru", ["Peru"])
        with pytest.raises(ValueError, match="must have a visible character, got ' '"):
            named_answer("Peru", [["Peru", " "]])
        with pytest.raises(ValueError, match=r"prompt 'Where\?': .* got the bare string 'Peru'"):
            AnswerList()(["Here?", "Where?"], ["Peru"] * 2, answers=[[["Peru"]], ["Peru"]])


class TestAnswerList:
    def test_none_where_a_row_has_no_list(self) -> None:
        lists = [[["Peru"]], None, [], [["Peru"], ["Chile"]], [["Chile"]]]
        completions = ["Peru", "Peru", "Peru", "Chile, Peru", ""]
        values = AnswerList()(["?"] * 5, completions, answers=lists, other=[1] * 5)
        assert values == [1.0, None, None, 1.0, 0.0]
        assert AnswerList("valid")(["?"] * 5, completions, answers=lists) == [None] * 5
        assert AnswerList("valid")(["?"], ["Peru"], valid=[[["Peru"]]]) == [1.0]

    def test_refuses_a_column_of_another_length(self) -> None:
        with pytest.raises(ValueError, match="column 'answers' has 1 rows for 2 completions"):
            AnswerList()(["?"] * 2, ["a", "b"], answers=[[["a"]]])


class TestRelevance:
    def test_is_the_cosine_and_embeds_each_text_once(self, tiny_embedder: Any) -> None:
        seen: list[str] = []

        def embed(texts: list[str]) -> Any:
            seen.extend(texts)
            return tiny_embedder(texts)

        values = Relevance(embed)(["a b", "a b", "c d"], ["b a", "c d", "c d"])
        rows = tiny_embedder(["a b", "c d"])
        assert values == pytest.approx([1.0, float(rows[0] @ rows[1]), 1.0], abs=1e-6)
        assert sorted(seen) == ["a b", "b a", "c d"]

    def test_blank_completions_are_none_and_nothing_is_embedded_for_them(self) -> None:
        def fails(texts: list[str]) -> Any:
            raise AssertionError(texts)

        assert Relevance(fails)(["a", "b"], ["", " \n"]) == [None, None]


class TestRelevanceRank:
    PLACES: ClassVar = {
        **{"north": (0.0, 1.0), "east": (1.0, 0.0), "south": (0.0, -1.0), "northeast": (0.6, 0.8)},
        **{"up north": (0.0, 1.0), "middle": (0.5**0.5, 0.5**0.5)},
    }

    def embed(self, texts: list[str]) -> Any:
        return [self.PLACES[text] for text in texts]

    def test_is_the_share_of_other_prompts_that_fit_less(self) -> None:
        """Cosines of northeast: .8 to north, .6 to east, -.8 to south."""
        prompts = ["north", "east", "south"]
        values = RelevanceRank(self.embed)(prompts, ["northeast"] * 3)
        assert values == [1.0, 0.5, 0.0]

    def test_ties_count_half(self) -> None:
        """The middle is as near to north as to east, and nearer than to south."""
        prompts = ["north", "east", "south", "up north"]
        values = RelevanceRank(self.embed)(prompts, ["middle"] * 4)
        assert values == pytest.approx([2 / 3, 2 / 3, 0.0, 2 / 3])

    def test_a_prompt_counts_once_and_not_against_itself(self) -> None:
        """Of two prompts, five rows: east is the only other one of north."""
        prompts = ["north"] * 4 + ["east"]
        completions = ["northeast", "north", "east", " ", "northeast"]
        assert RelevanceRank(self.embed)(prompts, completions) == [1.0, 1.0, 0.0, None, 0.0]

    def test_it_is_not_tied_to_how_far_the_answers_are_apart(self) -> None:
        """Answers that move away from their prompt, and from each other, still fit it best."""
        prompts = ["north", "north", "south"]
        close, apart = ["north", "up north", "south"], ["northeast", "middle", "south"]
        assert RelevanceRank(self.embed)(prompts, close) == [1.0, 1.0, 1.0]
        assert RelevanceRank(self.embed)(prompts, apart) == [1.0, 1.0, 1.0]
        cosines = Relevance(self.embed)(prompts, apart)
        assert cosines == pytest.approx([0.8, 0.5**0.5, 1.0])

    def test_the_others_can_be_fixed(self) -> None:
        """Against east and south, whatever is in the call; its own prompt is no other one."""
        rank = RelevanceRank(self.embed, others=["east", "south", "east"])
        assert rank(["north"], ["northeast"]) == [1.0]
        # East is nearer to itself than to north, and south is as far.
        assert rank(["north", "east"], ["east", "east"]) == [0.25, 1.0]
        assert (
            rank.identity["others_sha"] != RelevanceRank(self.embed).identity["others_sha"] is None
        )
        other = RelevanceRank(self.embed, others=["east"])
        assert other.identity["others_sha"] != rank.identity["others_sha"]

    def test_embeds_each_text_once_and_blank_ones_never(self) -> None:
        seen: list[str] = []

        def embed(texts: list[str]) -> Any:
            seen.extend(texts)
            return self.embed(texts)

        RelevanceRank(embed)(["north", "north", "east"], ["northeast", "", "northeast"])
        assert sorted(seen) == ["east", "north", "northeast"]
        assert RelevanceRank(embed)(["north", "east"], ["", " "]) == [None, None]
        assert len(seen) == 3

    def test_a_single_prompt_has_nothing_to_be_compared_with(self) -> None:
        for rank in (RelevanceRank(self.embed), RelevanceRank(self.embed, others=["north"])):
            with pytest.raises(ValueError, match="there is only 'north': give others"):
                rank(["north"] * 2, ["northeast", "east"])


class TestFunctions:
    def test_a_rule_may_abstain(self) -> None:
        rule = Rule(lambda prompt, text: None if not text else len(text) > len(prompt), "longer")
        assert rule(["abc", "abc", "abc"], ["abcd", "a", ""]) == [1.0, 0.0, None]

    def test_what_is_not_finite_is_a_fault_and_not_a_number(self) -> None:
        with pytest.raises(ValueError, match="odd returned nan"):
            Rule(lambda prompt, text: float("nan"), "odd")(["a"], ["b"])
        with pytest.raises(ValueError, match="odd returned inf"):
            FromReward(lambda prompts, completions: [np.inf], "odd", margin=1)(["a"], ["b"])

    def test_a_reward_gets_everything_as_it_came(self) -> None:
        got: dict[str, Any] = {}

        def reward(**everything: Any) -> list[float | None]:
            got.update(everything)
            return [1, None]

        messages = [[{"role": "assistant", "content": "b"}]] * 2
        values = FromReward(reward, "reward", margin=2, two_sided=True)(
            ["a", "a"], messages, kind=["x", "y"]
        )
        assert values == [1.0, None]
        assert got == {"prompts": ["a", "a"], "completions": messages, "kind": ["x", "y"]}

    def test_a_reward_must_be_plain_and_complete(self) -> None:
        async def later(**everything: Any) -> list[float]:
            return [1.0]

        with pytest.raises(ValueError, match="asynchronous rewards are not supported"):
            FromReward(later, "later", margin=1)
        with pytest.raises(ValueError, match="short returned 1 values for 2 completions"):
            FromReward(lambda **_: [1.0], "short", margin=1)(["a"] * 2, ["b"] * 2)


@pytest.fixture(scope="module")
def reward_model_path(tiny_tokenizer_path: Path, tmp_path_factory) -> Path:
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_path)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
        num_labels=1,
        pad_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = LlamaForSequenceClassification(config)
    folder = tmp_path_factory.mktemp("reward_model")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


class TestRewardModel:
    def test_is_the_logit_of_the_chat(self, reward_model_path: Path) -> None:
        quality = RewardModel(
            reward_model_path, margin=1, dtype="float32", device="cpu", batch_size=4
        )
        values = quality([p for p, _ in PAIRS], [c for _, c in PAIRS])
        model = LlamaForSequenceClassification.from_pretrained(reward_model_path)
        tokenizer = AutoTokenizer.from_pretrained(reward_model_path)
        model.config.pad_token_id = tokenizer.pad_token_id
        for (prompt, completion), value in zip(PAIRS, values, strict=True):
            text = (
                f"<|im_start|>user\n{prompt}<|im_end|>\n"
                f"<|im_start|>assistant\n{completion}<|im_end|>\n"
            )
            ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]
            assert value == pytest.approx(model(ids).logits[0, 0].item(), abs=1e-4)
        assert np.ptp(values) > 0.1, "the test could not fail"

    def test_an_encoder_without_a_chat_template_reads_a_pair(
        self, tiny_tokenizer_path: Path, tmp_path: Path
    ) -> None:
        tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_path)
        tokenizer.chat_template = None
        config = BertConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            initializer_range=0.5,
            num_labels=1,
        )
        model = BertForSequenceClassification(config).eval()
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        quality = RewardModel(tmp_path, margin=1, dtype="float32", device="cpu")
        values = quality(["the", "the"], ["red", "a long story of the people"])
        for completion, value in zip(["red", "a long story of the people"], values, strict=True):
            encoded = tokenizer("the", completion, return_tensors="pt")
            with torch.inference_mode():
                assert value == pytest.approx(model(**encoded).logits.item(), abs=1e-4)

    def test_what_does_not_fit_the_context_is_not_judged_by_a_part(
        self, reward_model_path: Path
    ) -> None:
        quality = RewardModel(reward_model_path, margin=1, dtype="float32", device="cpu")
        values = quality(["the"] * 2, ["red", "red animal " * 60])
        assert values[0] is not None
        assert values[1] is None

    def test_refuses_a_model_of_several_labels(
        self, reward_model_path: Path, tmp_path: Path
    ) -> None:
        config = LlamaConfig.from_pretrained(reward_model_path, num_labels=3)
        LlamaForSequenceClassification(config).save_pretrained(tmp_path)
        AutoTokenizer.from_pretrained(reward_model_path).save_pretrained(tmp_path)
        with pytest.raises(ValueError, match=r"a reward model has 1 label, .* has 3"):
            RewardModel(tmp_path, margin=1)(["a"], ["b"])

    def test_an_unknown_model_gives_one_sentence(self) -> None:
        quality = RewardModel("no/such", margin=1)
        with pytest.raises(ValueError, match="'no/such' is neither a folder with a model nor"):
            quality(["a"], ["b"])


def says_red(prompt: str, completion: str) -> bool:
    return "red" in completion


def lengths(prompts: Sequence[Any], completions: Sequence[Any], **_: Any) -> list[float | None]:
    return [float(len(completion)) for completion in completions]


QUALITIES = [
    "ReferenceLikelihood",
    "PromptInformation",
    "Relevance",
    "RelevanceRank",
    "AnswerList",
    "Constraints",
    "Rule",
    "FromReward",
    "RewardModel",
]


@pytest.fixture(params=QUALITIES)
def quality(
    request: pytest.FixtureRequest,
    tiny_model_path: Path,
    reward_model_path: Path,
    tiny_embedder: Any,
) -> Quality:
    makers = {
        "ReferenceLikelihood": lambda: ReferenceLikelihood(tiny_model_path, device="cpu"),
        "PromptInformation": lambda: PromptInformation(
            ReferenceLikelihood(tiny_model_path, device="cpu")
        ),
        "Relevance": lambda: Relevance(tiny_embedder),
        "RelevanceRank": lambda: RelevanceRank(tiny_embedder, others=["the people", "name a"]),
        "AnswerList": lambda: AnswerList(),
        "Constraints": lambda: Constraints([{"id": "punctuation:no_comma"}]),
        "Rule": lambda: Rule(says_red, "says_red"),
        "FromReward": lambda: FromReward(lengths, "lengths", margin=3),
        "RewardModel": lambda: RewardModel(reward_model_path, margin=0.5, device="cpu"),
    }
    made: Quality = makers[request.param]()
    return made


class TestContract:
    def call(self, quality: Quality, prompts: list[Any], completions: list[Any]) -> Any:
        answers = [[["red"], ["water"]]] * len(completions)
        return quality(prompts, completions, answers=answers, completion_ids=[[1]] * 3)

    def test_has_trls_signature_and_a_name(self, quality: Quality) -> None:
        assert isinstance(quality, Quality)
        assert not isinstance(quality, torch.nn.Module)
        assert quality.name == quality.__name__ != ""
        assert quality.margin > 0
        assert quality.two_sided is isinstance(quality, ReferenceLikelihood)
        values = self.call(quality, ["the"] * 3, ["red", "water is red", "blue"])
        assert [type(value) for value in values] == [float] * 3
        assert self.call(quality, [], []) == []

    def test_keeps_the_order(self, quality: Quality) -> None:
        prompts, completions = ["the", "name", "a"], ["red", "water is red", "blue"]
        values = self.call(quality, prompts, completions)
        reverse = self.call(quality, prompts[::-1], completions[::-1])
        assert reverse[::-1] == pytest.approx(values, abs=1e-2)

    def test_chats_are_judged_like_texts(self, quality: Quality) -> None:
        if isinstance(quality, FromReward):
            pytest.skip("a reward gets its completions as they came")
        prompts, completions = ["the", "name", "a"], ["red", "water is red", "blue"]
        values = self.call(quality, prompts, completions)
        chats = self.call(
            quality,
            [[{"role": "user", "content": prompt}] for prompt in prompts],
            [[{"role": "assistant", "content": completion}] for completion in completions],
        )
        assert chats == pytest.approx(values, abs=1e-2)

    def test_travels_by_pickle_without_its_model(self, quality: Quality) -> None:
        values = self.call(quality, ["the"] * 3, ["red", "water is red", "blue"])
        packed = pickle.dumps(quality)
        assert len(packed) < 2000
        travelled = pickle.loads(packed)
        assert self.call(travelled, ["the"] * 3, ["red", "water is red", "blue"]) == values
        assert travelled.name == quality.name
        assert travelled.identity == quality.identity

    def test_identity_is_for_reports(self, quality: Quality) -> None:
        import json

        assert "quality" in json.loads(json.dumps(quality.identity))

    def test_refuses_prompts_of_another_number(self, quality: Quality) -> None:
        with pytest.raises(ValueError, match="got 1 prompts for 2 completions"):
            quality(["the"], ["a", "b"])


@pytest.mark.parametrize("margin", [-0.1, float("nan"), float("inf")])
def test_impossible_options_are_refused_before_anything_is_loaded(margin: float) -> None:
    for make in (
        lambda: ReferenceLikelihood("no/such", margin=margin),
        lambda: PromptInformation("no/such", margin=margin),
        lambda: Relevance(lambda texts: [], margin=margin),
        lambda: RelevanceRank(lambda texts: [], margin=margin),
        lambda: AnswerList(margin=margin),
        lambda: Constraints(margin=margin),
        lambda: Rule(says_red, "red", margin=margin),
        lambda: FromReward(lengths, "lengths", margin=margin),
        lambda: RewardModel("no/such", margin=margin),
    ):
        with pytest.raises(ValueError, match="margin must be a number >= 0"):
            make()
    with pytest.raises(ValueError, match="batch_tokens must be >= 1"):
        ReferenceLikelihood("no/such", batch_tokens=0)
    with pytest.raises(ValueError, match="batch_size must be >= 1"):
        RewardModel("no/such", margin=1, batch_size=0)


@pytest.mark.slow
def test_the_embedded_model_prefers_sense() -> None:
    reference = ReferenceLikelihood("smollm2-135m-instruct")
    prompts = ["What is the capital of France?"] * 4
    texts = [
        "The capital of France is Paris.",
        "Paris capital the of is the France.",
        "Bananas are rich in potassium.",
        " ",
    ]
    likelihoods = reference(prompts, texts)
    assert likelihoods[0] > likelihoods[2] > likelihoods[1]
    assert likelihoods[3] is None
    information = PromptInformation(reference)(prompts, texts)
    assert information[0] > 0.5 > information[2]
