"""Constraints of length, format and wording: every check by hand, its arguments, and the quality."""

# ruff: noqa: RUF001 (texts of other scripts are meant)

import copy
import json
import pickle
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from tiny_grpo import tiny_grpo

from diversify.decoding import OverGenerate
from diversify.engines import Generations, Sampling
from diversify.evaluation.noveltybench import utility_k
from diversify.evaluation.prompt_sets import PromptRow, PromptSet
from diversify.evaluation.valid import distinct_valid
from diversify.kernels import NgramKernel
from diversify.quality import Constraints
from diversify.quality.constraints import CHECKS, read_constraint
from diversify.quality.languages import LANGUAGES, in_language
from diversify.quality.parts import (
    bullets_of,
    highlights_of,
    mentions,
    paragraphs_of,
    placeholders_of,
    sections_of,
    sentences_of,
    words_of,
)
from diversify.rewards import DiversityReward, GatedReward
from diversify.rewards.diversity import PartitionCredit
from diversify.trainers.prompts import prompt_dataset

NO_COMMA = {"id": "punctuation:no_comma"}
BRIEF = {"id": "length_constraints:number_words", "num_words": 2, "relation": "at most"}


class TestParts:
    def test_words(self) -> None:
        assert words_of('Well-known: "don\'t"—3.5 % of C++ *users* - ok…') == [
            *("Well-known", "don't\"—3.5", "of", "C", "users", "ok")
        ]
        assert words_of("यह हिन्दी है।") == ["यह", "हिन्दी", "है"]
        assert words_of(" \n *** -- ") == []

    @pytest.mark.parametrize(
        ("text", "count"),
        [
            ("", 0),
            ("...", 0),
            ("no stop at all", 1),
            ("One. Two! Three?", 3),
            ("hello there. how are you?", 2),  # no capital letter at all
            ("It costs $3.50. Fine.", 2),
            ("Mr. Fox met J. R. Ewing, e.g. at noon, vs. all others.", 1),
            ("It was you and I. Then he left.", 2),
            ("Wait... what? Yes.", 2),  # "what" goes on; its stop ends
            ('She said "Go!" and left. (Really.) Done', 3),
            ("A line\nthat goes on.\n\nAnother", 2),
            ("# Head\nText here\n- item one\n- item two\n2) item three", 5),
            ("今天很好。明天也好！", 2),
            ("यह घर है। वह बड़ा है।", 2),
        ],
    )
    def test_sentences(self, text: str, count: int) -> None:
        assert len(sentences_of(text)) == count, sentences_of(text)

    def test_paragraphs(self) -> None:
        assert paragraphs_of("***\nA\n***\n \n***\nB ***bold***\n***", "***") == [
            "A",
            "B ***bold***",
        ]
        assert paragraphs_of("A\n \nB\n\n\n\nC\nD\n\n", "blank line") == ["A", "B", "C\nD"]
        assert paragraphs_of("A\n******\nB", "***") == ["A\n******\nB"]

    def test_marks_of_markdown(self) -> None:
        text = "* one\n  + two\n• three\n*four* five\n-6\n---\n* * *\n**\n1. seven"
        assert bullets_of(text) == ["* one", "  + two", "• three"]
        assert highlights_of("* a\n* *b* and **c d**, ***e***; 2 * 3 * 4, ** f **") == [
            *("b", "c d", "e")
        ]
        assert placeholders_of("[a] [] [ ] [12] [b c][d](e) [f\ng] [[h]]") == [
            "[a]",
            "[b c]",
            "[h]",
        ]
        assert (
            len(sections_of("Section 1\n see Section 2\n**Section 3**\nSection X", "Section")) == 2
        )
        assert sections_of("SECTION 1", "Section") == []

    def test_mentions_are_whole_words(self) -> None:
        assert mentions("Café, CAFE; cafés and cafe-bar", "cafe") == 3
        assert mentions("the New York times, new\nyork", "New York") == 2
        assert mentions("anything (a.c)", "a.c") == 1 and mentions("abc", "a.c") == 0
        assert mentions("on 2024-05-01, 12024", "2024") == 1
        with pytest.raises(ValueError, match="must have a visible character"):
            mentions("a", " ")

    def test_long_and_odd_texts_take_no_time(self) -> None:
        """Patterns that go back and forth would need minutes for these; one second is usual."""
        started = time.process_time()
        for piece in ("<<a", "[a", "*a ", "a. ", "***", "\n", '"', "P.S. ", "{", "# ", "Dr. "):
            text = piece * 4000
            for name, arguments, _, _ in CASES:
                read_constraint(name, arguments)(text)
        assert time.process_time() - started < 30


SAMPLES = {
    "ar": "هذا البيت كبير و هو في المدينة التي كان لا يعرفها كل من في العالم",
    "bg": "Това е къща и тя не е голяма, но се намира на улицата.",
    "de": "Das ist ein Haus, und es ist nicht groß.",
    "en": "This is a house and it is not big.",
    "es": "Esta es una casa y no es muy grande, pero está en el centro.",
    "fa": "این خانه بزرگ است و در شهر با آن که برای ما خوب است",
    "fi": "Tämä on talo, mutta se ei ole iso, ja hän asuu siellä.",
    "fr": "C'est une maison et elle est dans le centre, mais pas grande.",
    "hi": "यह घर है और यह शहर में है, पर बड़ा नहीं है।",
    "it": "Questo è un libro che non è della casa, per gli altri.",
    "mr": "हे घर आहे आणि ते मोठे नाही, पण शहरामध्ये आहे.",
    "ne": "यो घर हो र यो ठूलो छ तर शहरमा छ।",
    "nl": "Dit is het huis en het is niet groot, maar van een vriend.",
    "pl": "To jest dom i nie jest on duży, ale do niego idę.",
    "pt": "Esta não é uma casa para os outros, mas um lugar do mar.",
    "ru": "Это дом, и он не на улице, но как бы по пути к морю.",
    "sw": "Hii ni nyumba ya watu na pia ni kubwa kama ya mfalme.",
    "uk": "Це дім, і він не на вулиці, але як та хата для нас.",
    "ur": "یہ گھر ہے اور یہ شہر میں ہے، لیکن بڑا نہیں ہے",
    "vi": "Đây là một ngôi nhà và nó không được to trong thành phố của các bạn.",
}

OWN = {
    **{
        "ja": "これは家です。",
        "zh": "这是一个房子。",
        "ko": "이것은 집입니다.",
        "th": "นี่คือบ้าน",
    },
    **{"el": "Αυτό είναι σπίτι.", "he": "זה בית.", "bn": "এটি একটি বাড়ি।", "ta": "இது ஒரு வீடு"},
    **{"te": "ఇది ఒక ఇల్లు", "kn": "ಇದು ಮನೆ", "gu": "આ ઘર છે", "pa": "ਇਹ ਘਰ ਹੈ", "ml": "ഇത് വീടാണ്"},
}


class TestLanguages:
    def test_every_language_is_told_from_all_others(self) -> None:
        samples = SAMPLES | OWN
        assert tuple(sorted(samples)) == LANGUAGES
        for spoken, text in samples.items():
            assert in_language(text, spoken) is True, spoken
            for other in LANGUAGES:
                if other != spoken:
                    assert in_language(text, other) is False, (spoken, other)

    def test_what_cannot_be_told_is_none(self) -> None:
        for text in ("", "12 + 3", "Paris", "London, Paris, Rome"):
            assert in_language(text, "en") is None
        assert in_language("de la de la", "fr") is None  # as much Spanish
        with pytest.raises(ValueError, match=r"language must be one of .*'tlh'"):
            in_language("nuqneH", "tlh")

    def test_a_fifth_of_the_letters_may_be_foreign(self) -> None:
        """Eight of ten letters are Cyrillic, then seven of ten."""
        assert in_language("и не на что ab", "ru") is True
        assert in_language("и не на чт abc", "ru") is False


# A constraint, a text within it and one outside it.
CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("change_case:capital_word_frequency",
     {"capital_frequency": 2, "capital_relation": "at least"}, "THE Fox RAN", "THE Fox ran"),
    ("change_case:english_capital", {}, "IT IS A FOX.", "IT IS A fox."),
    ("change_case:english_lowercase", {}, "it is a fox.", "It is a fox."),
    ("combination:repeat_prompt", {"prompt_to_repeat": "A fruit?"}, "A  fruit? Fig.", "Fig."),
    ("combination:two_responses", {}, "a\n******\nb", "a\n******\n******\nb"),
    ("detectable_content:number_placeholders", {"num_placeholders": 1}, "[me]", "[1]"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "a\nP.P.S. b", "a P.P.S. b"),
    ("detectable_format:constrained_response", {}, "My answer is yes.", "yes"),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', '{"a": NaN}'),
    ("detectable_format:multiple_sections",
     {"section_spliter": "Part", "num_sections": 2}, "Part 1\na\nPart 2", "Part 1 and Part 2"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}, "- a", "- a\n- b"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* *b*", "**a**"),
    ("detectable_format:title", {}, "<<a>>", "<a>"),
    ("keywords:existence", {"keywords": ["red", "fox"]}, "Fox: red.", "redder fox"),
    ("keywords:forbidden_words", {"forbidden_words": ["c++", "red"]}, "c, redder", "In C++."),
    ("keywords:frequency",
     {"keyword": "red", "frequency": 2, "relation": "less than"}, "red", "red Red"),
    ("keywords:letter_frequency",
     {"letter": "!", "let_frequency": 2, "let_relation": "at least"}, "a!!", "a!"),
    ("language:response_language", {"language": "de"}, "Das ist ein Haus.", "море"),
    ("length_constraints:nth_paragraph_first_word",
     {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "b"}, "a\n\n\n\n'B' c", "a\n\ncb"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
    ("length_constraints:number_sentences",
     {"num_sentences": 2, "relation": "exactly"}, "Ah. Bo!", "Ah."),
    ("length_constraints:number_words",
     {"num_words": 2, "relation": "more than"}, "a b-c d", "a b-c"),
    ("multi-turn:constrained_start", {"starter": "I think"}, '"I think so."', "So\nI think"),
    ("punctuation:no_comma", {}, "a; b", "a、b"),
    ("startend:end_checker", {"end_phrase": "The end."}, "So. THE END.", "The end. So."),
    ("startend:quotation", {}, "“a”", "a “b”"),
]  # fmt: skip


class TestChecks:
    def test_every_check_has_a_case(self) -> None:
        assert [name for name, *_ in CASES] == sorted(CHECKS)

    @pytest.mark.parametrize(("name", "arguments", "within", "outside"), CASES)
    def test_by_hand(self, name: str, arguments: dict[str, Any], within: str, outside: str) -> None:
        constraint = read_constraint(name, arguments)
        assert constraint(within) is True
        assert constraint(outside) is False

    @pytest.mark.parametrize(
        ("relation", "held"),
        [
            ("less than", [True, False, False]),
            ("at most", [True, True, False]),
            ("exactly", [False, True, False]),
            ("at least", [False, True, True]),
            ("more than", [False, False, True]),
        ],
    )
    def test_relations(self, relation: str, held: list[bool]) -> None:
        arguments = {"num_words": 2, "relation": relation}
        constraint = read_constraint("length_constraints:number_words", arguments)
        assert [constraint(text) for text in ("a", "a b", "a b c")] == held

    def test_nothing_is_drawn_where_the_number_is_0(self) -> None:
        arguments = {"keyword": "red", "frequency": 0, "relation": "exactly"}
        constraint = read_constraint("keywords:frequency", arguments)
        assert (constraint("blue"), constraint("red")) == (True, False)

    @pytest.mark.parametrize(
        ("text", "valid"),
        [
            ("[1, 2]", True),
            ("```\n[]\n```", True),
            ('"a"', False),
            ("12", False),
            ('{"a": 1} so', False),
            ("[" * 100_000, False),
        ],
    )
    def test_json(self, text: str, valid: bool) -> None:
        assert read_constraint("detectable_format:json_format")(text) is valid

    def test_options_of_a_constrained_response(self) -> None:
        chosen = read_constraint(
            "detectable_format:constrained_response", {"options": ["a1", "b2"]}
        )
        assert [chosen(text) for text in ("I take B2.", "a1 or b2", "c3")] == [True, False, False]

    @pytest.mark.parametrize(
        ("name", "arguments", "message"),
        [
            ("count:levels", {}, r"a constraint is one of \[.*got 'count:levels'"),
            ("length_constraints:number_words", {"num_words": 3}, "missing .*'relation'"),
            ("punctuation:no_comma", {"num_words": 3}, r"takes \[\], got {'num_words': 3}"),
            ("length_constraints:number_words", {"num_words": 3, "relation": "about"},
             "a relation must be one of .*got 'about'"),
            ("length_constraints:number_words", {"num_words": 2.5, "relation": "exactly"},
             "num_words must be an integer, got 2.5"),
            ("length_constraints:number_words", {"num_words": -1, "relation": "exactly"},
             "num_words must be at least 0, got -1"),
            ("length_constraints:number_paragraphs", {"num_paragraphs": 1, "divider": "---"},
             "divider must be one of"),
            ("length_constraints:nth_paragraph_first_word",
             {"num_paragraphs": 2, "nth_paragraph": 3, "first_word": "a"},
             "nth_paragraph must be between 1 and 2, got 3"),
            ("keywords:existence", {"keywords": "red"}, "keywords must be a list of texts"),
            ("keywords:existence", {"keywords": []}, "keywords must be a list of texts"),
            ("keywords:forbidden_words", {"forbidden_words": ["a", " "]}, "is not blank, got ' '"),
            ("keywords:letter_frequency",
             {"letter": "ab", "let_frequency": 1, "let_relation": "at least"}, "one character"),
            ("startend:end_checker", {"end_phrase": 3}, "end_phrase must be text"),
            ("language:response_language", {"language": "xx"}, "language must be one of"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_read_is_named(
        self, name: str, arguments: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ValueError, match=message):
            read_constraint(name, arguments)

    def test_every_argument_changes_a_verdict_or_is_refused(self) -> None:
        """Without any one of IFEval's arguments a check says which is missing."""
        for name, arguments, _, _ in CASES:
            for left_out in arguments:
                with pytest.raises(ValueError, match=f"missing .*'{left_out}'"):
                    read_constraint(name, {k: v for k, v in arguments.items() if k != left_out})


class TestConstraints:
    ROW: ClassVar = {
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        # As a table of the Hub has it: every argument in every row.
        "kwargs": [
            {"num_words": None, "relation": None, "keywords": None},
            {"num_words": 3, "relation": "less than", "keywords": None},
        ],
    }
    TEXTS: ClassVar = ["a fig", "a, fig", "a fig, or two", "", " \n"]

    def judge(self, quality: Constraints, row: dict[str, Any], texts: list[str]) -> Any:
        columns = {name: [value] * len(texts) for name, value in row.items()}
        return quality(["A fruit?"] * len(texts), texts, **columns)

    def test_the_share_that_holds_and_whether_all_do(self) -> None:
        """Both hold, one of two, none of two; a blank answer keeps to none."""
        assert self.judge(Constraints(), self.ROW, self.TEXTS) == [1.0, 0.5, 0.0, 0.0, 0.0]
        strict = Constraints(require="all")
        assert self.judge(strict, self.ROW, self.TEXTS) == [1.0, 0.0, 0.0, 0.0, 0.0]

    def test_constraints_of_every_prompt_come_on_top(self) -> None:
        calm = {"id": "change_case:english_lowercase"}
        assert self.judge(Constraints([calm]), self.ROW, ["A fig"]) == [pytest.approx(2 / 3)]
        assert Constraints([calm])(["?"] * 2, ["a fig", "Fig"]) == [1.0, 0.0]

    def test_a_prompt_without_constraints_is_none(self) -> None:
        assert Constraints()(["?"], ["a"]) == [None]
        columns = {"instruction_id_list": [None, [], ["punctuation:no_comma"]]}
        assert Constraints()(["?"] * 3, ["a"] * 3, **columns) == [None, None, 1.0]
        columns |= {"kwargs": [None, [], None]}
        assert Constraints()(["?"] * 3, ["a"] * 3, **columns) == [None, None, 1.0]

    def test_what_cannot_be_told_is_none_unless_something_else_fails(self) -> None:
        row = {"instruction_id_list": ["language:response_language", "punctuation:no_comma"],
               "kwargs": [{"language": "en"}, {}]}  # fmt: skip
        assert self.judge(Constraints(), row, ["Rome", "Rome, Paris"]) == [None, None]
        strict = Constraints(require="all")
        assert self.judge(strict, row, ["Rome", "Rome, Paris"]) == [None, 0.0]

    def test_columns_may_have_other_names(self) -> None:
        row = {"rules": ["punctuation:no_comma"], "how": [{}], "instruction_id_list": ["x"]}
        quality = Constraints(names="rules", arguments="how")
        assert self.judge(quality, row, ["a", "a, b"]) == [1.0, 0.0]
        assert quality.identity["columns"] == ["rules", "how"]

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ({"instruction_id_list": ["no:such"], "kwargs": [{}]}, "got 'no:such'"),
            ({"instruction_id_list": ["startend:end_checker"], "kwargs": [{}]}, "end_phrase"),
            ({"instruction_id_list": ["startend:quotation"], "kwargs": [{}, {}]},
             "1 constraints in 'instruction_id_list' but arguments for 2"),
            ({"instruction_id_list": "['startend:quotation']"}, "has a list for each prompt"),
            ({"instruction_id_list": [3]}, "a name and a mapping, got 3"),
            ({"instruction_id_list": ["startend:end_checker"],
              "kwargs": [{"end_phrase": np.int64(3)}]}, "are no JSON"),
        ],
    )  # fmt: skip
    def test_a_row_that_cannot_be_read_is_no_zero(self, row: dict[str, Any], message: str) -> None:
        """Whatever the answer is: also where it is blank. The prompt is named."""
        with pytest.raises(ValueError, match=f"^prompt '.*{message}"):
            self.judge(Constraints(), row, [""])

    def test_options_are_checked_when_it_is_made(self) -> None:
        with pytest.raises(ValueError, match="require must be"):
            Constraints(require="most")
        with pytest.raises(ValueError, match="got 'no:such'"):
            Constraints([{"id": "no:such"}])
        with pytest.raises(ValueError, match="a constraint has an id"):
            Constraints([{"num_words": 3}])
        with pytest.raises(ValueError, match="'kwargs' has 1 rows for 2 completions"):
            Constraints()(["?"] * 2, ["a"] * 2, kwargs=[[]])

    def test_what_it_was_given_stays_as_it_was(self) -> None:
        given = [dict(BRIEF)]
        quality = Constraints(given)
        row = copy.deepcopy(self.ROW)
        self.judge(quality, row, ["a"])
        assert (given, row) == ([BRIEF], self.ROW)
        assert json.loads(json.dumps(quality.identity))["always"] == [BRIEF]
        assert pickle.loads(pickle.dumps(quality))(["?"], ["a b c"]) == [0.0]


class Fixed:
    """An engine that answers every prompt with the same texts."""

    identity: ClassVar = {"model": "fixed"}

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts

    def generate(self, prompts: list[Any], n: int, sampling: Sampling) -> Generations:
        return Generations(list(prompts), [self.texts[:n] for _ in prompts])


class TestWhereQualitiesGo:
    TEXTS: ClassVar = ["fig", "a ripe fig, I say", "pear", "many pears, of course"]
    ROWS: ClassVar = {"instruction_id_list": [["punctuation:no_comma"]] * 4, "kwargs": [[{}]] * 4}

    def test_as_a_gate_of_over_generate(self) -> None:
        strategy = OverGenerate(2, kernel=NgramKernel(), quality={"form": Constraints()}, keep=0.5)
        columns = {name: values[:1] for name, values in self.ROWS.items()}
        found = strategy(Fixed(self.TEXTS), ["A fruit?"], 2, columns=columns)
        assert sorted(found[0]) == ["fig", "pear"]

    def test_as_a_gate_of_a_reward_and_as_a_reward(self) -> None:
        """Outside the constraint an answer has the credit `below`, -5 and not 100 times 0 to 1."""
        diversity = DiversityReward(NgramKernel(), PartitionCredit())
        reward = GatedReward(Constraints(), diversity, group_size=4, threshold=1.0, below=-5.0,
                             quality_weight=0.0, diversity_weight=1.0)  # fmt: skip
        given = {
            "prompts": ["A fruit?"] * 4,
            "completions": self.TEXTS,
            "completion_ids": [[1]] * 4,
        }
        values = reward(**given, **self.ROWS)
        assert [value == -5.0 for value in values] == [False, True, False, True]
        assert Constraints()(**given, **self.ROWS, log_metric=None) == [1.0, 0.0, 1.0, 0.0]


@pytest.mark.slow
def test_a_trainer_hands_over_the_columns(tiny_model_path: Path, tmp_path: Path) -> None:
    """A step of GRPO: the column that is called `kwargs` is no trouble to it."""
    from trl import GRPOTrainer

    row = {"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"num_words": None}]}
    rows = tuple(PromptRow(str(i), f"Name thing {i}.", columns=row) for i in range(2))
    trainer = GRPOTrainer(
        model=str(tiny_model_path),
        args=tiny_grpo(tmp_path, max_steps=1),
        reward_funcs=Constraints(),
        train_dataset=prompt_dataset(PromptSet("mine", rows)),
    )
    trainer.train()
    logged = trainer.state.log_history[0]["rewards/constraints/mean"]
    assert 0.0 <= logged <= 1.0  # NaN where the columns did not arrive


class TestUtilityCountsValidAnswersOnly:
    ROW: ClassVar = {
        "prompt": "Name a fruit without commas.",
        "generations": ["fig", "fig, ripe", "pear, ripe", "plum", "Fig", "stone"],
        "answers": [["fig"], ["pear"], ["plum"]],
        "instruction_id_list": ["punctuation:no_comma"],
        "kwargs": [{}],
    }
    # fig twice and what only sounds like it; pear and plum alike; the stone alone.
    LABELS = np.array([0, 0, 1, 1, 0, 2])

    def test_of_the_list(self) -> None:
        """Fig, pear and plum are named; the only pear breaks the rule."""
        assert distinct_valid(self.ROW, {}) == {"answers": 3.0}
        assert distinct_valid(self.ROW, {}, constraints=Constraints()) == {"answers": 2.0}
        rest = {key: value for key, value in self.ROW.items() if key != "instruction_id_list"}
        assert distinct_valid(rest, {}, constraints=Constraints()) == {"answers": 3.0}

    def test_of_a_kernel(self) -> None:
        """Within: fig, plum, Fig, stone, of the classes 0, 1, 0, 2."""
        S = np.equal.outer(self.LABELS, self.LABELS).astype(float)
        found = distinct_valid(self.ROW, {"classes": S}, constraints=Constraints())
        assert found == {"answers": 2.0, "classes": 3.0}
        wordy = Constraints([{**BRIEF, "num_words": 0}])
        assert distinct_valid(self.ROW, {"classes": S}, constraints=wordy)["classes"] == 0.0

    def test_an_invalid_answer_joins_no_valid_ones(self) -> None:
        """a-b and b-c are alike and a-c are not: without b there are two."""
        S = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.9], [0.0, 0.9, 1.0]])
        row = {"prompt": "?", "generations": ["a", "b, b", "c"]}
        assert distinct_valid(row, {"s": S}, constraints=Constraints([NO_COMMA])) == {"s": 2.0}

    def test_of_utility(self) -> None:
        """Four places, p = .5: the valid heads at 0 and 3 are worth 1 and .125, times 8 / 15.

        The second class is new at place 1 and invalid there, so it is worth nothing.
        """
        texts = ["fig", "pear, ripe", "pear", "plum"]
        columns = {name: [self.ROW[name]] * 4 for name in ("instruction_id_list", "kwargs")}
        scores = Constraints(require="all")(["?"] * 4, texts, **columns)
        assert scores == [1.0, 0.0, 1.0, 1.0]
        value = utility_k(np.array([0, 1, 1, 2]), scores, patience=0.5)
        assert value == pytest.approx(8 / 15 * 1.125)

    def test_in_a_report(self, tmp_path: Path) -> None:
        from diversify.evaluation import evaluate, load_run

        file = tmp_path / "generations.jsonl"
        file.write_text(json.dumps(self.ROW) + "\n")
        plain = evaluate(load_run(file)).samples[0]["measures"]
        assert plain["distinct_valid,answers"] == 3.0 and "distinct_valid,ngram-2" not in plain
        report = evaluate(load_run(file), quality=[Constraints()])
        assert report.samples[0]["measures"]["distinct_valid,answers"] == 2.0
        assert report.samples[0]["measures"]["distinct_valid,ngram-2"] == 3.0  # fig, plum, stone
        assert report.samples[0]["qualities"] == {"constraints": pytest.approx(4 / 6)}
