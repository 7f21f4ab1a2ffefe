"""Monitors of single texts and of rows, and the rewards and gates made of them."""

import json
import math
import pickle
import random
import string
from pathlib import Path

import pytest

from diversify.credit import nearest_credit
from diversify.kernels import NgramKernel
from diversify.quality import Quality
from diversify.rewards import MONITORS, DiversityReward, GatedReward, LengthPenalty, MonitorReward
from diversify.rewards.monitors import (
    LengthDrift,
    MonitorGate,
    RowMonitor,
    Truncated,
    blank,
    completion_text,
    gibberish,
    language_drift,
    length,
    length_drift,
    loops,
    measure_rows,
    prompt_copy,
    refusal,
    role_leakage,
)

REAL = Path(__file__).parents[3] / "shared/data/noveltybench/gemini-1.5-pro.curated.scores.jsonl"

ENGLISH = "What is the best thing about the sea?"
ANSWERS = {
    "en": "It is the sound of the waves, and that you can walk for hours with the wind.",
    "fr": "Le bruit des vagues est une chose que vous aimez, et le vent qui passe sur les dunes.",
    "de": "Das Rauschen der Wellen ist schön, und man kann mit dem Wind auf der Düne gehen.",
    "es": "El ruido de las olas es una cosa que me gusta, pero más el viento y su fuerza.",
    "ru": "Шум волн и ветер.",
    "zh": "海浪的声音。",
}


@pytest.mark.parametrize("name", list(MONITORS))
@pytest.mark.parametrize("text", ["", "  ", "a", *ANSWERS.values(), "1 + 1 = 2", "🙂"])
@pytest.mark.parametrize("prompt", ["", ENGLISH, "海?"])
def test_every_monitor_answers_any_text_with_a_number(name, text, prompt):
    value = MONITORS[name](prompt, text)
    assert type(value) is float
    assert value >= 0
    assert name == "length" or value <= 1


def test_lengths_and_blanks():
    assert length("", "one  two\nthree") == 3
    assert (blank("", " \n"), blank("", "x")) == (1.0, 0.0)


def test_loops():
    """Five 3-grams of a b c a b c a: three kinds."""
    assert loops("", "a b c a b c a") == pytest.approx(2 / 5)
    assert loops("", "a b c d e") == 0.0


def test_prompt_copy():
    """Of the 4-grams (a b c d) and (b c d e) the first stands in the prompt."""
    assert prompt_copy("x a b c d y", "A b c d e") == 0.5
    assert prompt_copy("a b c", "a b c") == 0.0


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I\u2019m sorry, but no.",
        "I cannot write this.",
        "As an AI language model, I have no opinion.",
        "Unfortunately, I am unable to do so.",
        "I won't do that.",
    ],
)
def test_refusals(text):
    assert refusal("", text) == 1.0


@pytest.mark.parametrize(
    "text",
    ["I can help.", "I can't wait to see the sea!", "The AI was sorry.", "x" * 300 + " I cannot."],
)
def test_no_refusals(text):
    assert refusal("", text) == 0.0


class TestLanguageDrift:
    def test_the_language_of_the_prompt_is_no_drift(self):
        assert language_drift(ENGLISH, ANSWERS["en"]) < 0.1
        assert language_drift("Что лучше всего?", ANSWERS["ru"]) == 0.0
        assert language_drift("Qu'est-ce que vous aimez dans la mer ?", ANSWERS["fr"]) == 0.0

    @pytest.mark.parametrize("language", ["fr", "de", "es", "ru", "zh"])
    def test_another_language_is(self, language):
        assert language_drift(ENGLISH, ANSWERS[language]) > 0.6

    def test_letters_of_other_scripts_by_share(self):
        assert language_drift("abc", "aжщa") == 0.5
        assert language_drift("abc", "a1! 2?") == 0.0

    def test_kana_belong_to_han_and_full_width_forms_to_what_they_stand_for(self):
        assert language_drift("海?", "うみのオト") == 0.0
        assert language_drift("abc", "\uff21\uff22\U0001d41c") == 0.0
        assert language_drift("abc", "한국") == 1.0

    def test_a_few_foreign_words_and_a_prompt_without_letters_say_nothing(self):
        assert language_drift(ENGLISH, "La Vie est une Rose") == 0.0
        assert language_drift("1 + 1 = ?", ANSWERS["ru"]) == 0.0


def test_completion_text():
    assert completion_text("x") == completion_text([{"role": "assistant", "content": "x"}]) == "x"
    assert completion_text(None) == completion_text([]) == completion_text("") == ""
    assert completion_text([{"role": "assistant", "content": None}]) == ""


PROSE = {
    "verse": "Tiger, tiger, burning bright\nIn the forests of the night,\nWhat immortal hand or eye\n"
    "Could frame thy fearful symmetry?",
    "list": "1. Oak\n2. Ash\n3. Elm\n" + "\n".join(f"{n}. Tree-{n}" for n in range(4, 40)),
    "names": ", ".join(
        "Anna Bela Carla Dora Eva Fiona Greta Hanna Ida Jana Klara Lena Maria Nora "
        "Olga Petra Rosa Sara Tina Ulla Vera Wanda Xenia Yara Zita Adam Ben".split()
    ),
    "code": '```python\nfor i in range(10):\n    print(f"{i:>3} {names[i]!r}")\n```',
    "address": "See https://example.org/q?x=1&y=2#top or write to j.strnbrtz@example.org.",
    "table": "| a | b |\n|-----|-----|\n| 1 | 2 |\n" + "=" * 70,
    "money": "It costs $1,299.00 (incl. 19% VAT), i.e. 1.09 EUR/USD.",
    "noise": "Hmm... Psst! Nooo, that's a rhythm?! :-) 🎉🎉🎉",
    "german": "Die Rechtsschutzversicherungsgesellschaft schrumpft im Herbst; Angst herrscht.",
    "czech": "Strč prst skrz krk, řekl vlk a zmrzl. Čtvrtek byl smrt.",
    "greek": "\u0397 θάλασσα είναι ήρεμη το πρωί, και το βράδυ φυσάει.",
    "japanese": "海はとても静かで、Tシャツだけで歩けます。",
    "chinese": "我喜欢用Python编程。" * 2 + "海浪的声音很好听、风也很温柔、沙滩上没有人。",
    "arabic": "البحر هادئ في الصباح والريح لطيفة في المساء.",
    "formula": "The Δt is 3 μm, so E = mc² and 6CO₂ + 6H₂O → C₆H₁₂O₆ + 6O₂.",
}


class TestGibberish:
    @pytest.mark.parametrize("text", [*PROSE.values(), *ANSWERS.values()], ids=[*PROSE, *ANSWERS])
    def test_language_code_and_lists_are_none(self, text):
        assert gibberish(ENGLISH, text) == 0.0

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("blue xkqzvbrt", 8 / 12),  # no vowel in eight letters
            ("a strengthsk", 0.0),  # ng, th and k: four consonants on end, as written
            ("caf\u00c3\u00a9 ok", 5 / 7),  # UTF-8 read as Windows-1252
            ("a\ufffdb ok", 3 / 5),
            ("ok \x1b[2J", 4 / 6),
            ("aaaaaa b", 6 / 7),
            ("aaaaa b", 0.0),
            ("hahahahahahahaha b", 16 / 17),
            ("ok !!!!!", 5 / 7),
            ("ok !!!!", 0.0),
            ("=" * 80, 0.0),
            ("=" * 81, 1.0),
            ("ok " + "ab" * 15 + "c", 31 / 33),
            ("ok #$%&*@", 6 / 8),
            ("ok x9#K$2m@Q!7p", 0.0),  # four different signs
            ("ok x9#K$2m@Q!7^p", 13 / 15),
            ("\u043f\u0440иvet ok", 6 / 8),  # two alphabets in one word
        ],
    )
    def test_it_is_a_share_of_characters(self, text, expected):
        assert gibberish("", text) == pytest.approx(expected)

    def test_words_that_never_recur(self):
        """Twenty-eight in a row are gibberish, and twenty-seven, or a comma between, are not."""
        once = [f"{a}{b}o" for a in "bdfgklm" for b in "aeiu"]
        assert gibberish("", " ".join(once)) == 1.0
        assert gibberish("", " ".join(once[1:])) == 0.0
        assert gibberish("", " ".join([*once[:14], "no,", *once[14:]])) == 0.0
        assert gibberish("", " ".join([once[0], *once])) == 0.0
        # The last two recur, the 28 before them do not: 84 of 90 letters.
        assert gibberish("", " ".join([*once, "yes", "yes"])) == pytest.approx(84 / 90)

    def test_an_odd_word_stands_for_six(self):
        """Three odd ones and ten others: 28. With one less of either it is not enough."""
        others = [f"{a}{b}o" for a in "bdfgk" for b in "ai"]
        odd = ["rayerScreen", "knotsAre", "cellLine"]
        assert gibberish("", " ".join(others + odd)) == 1.0
        assert gibberish("", " ".join(others[1:] + odd)) == 0.0
        assert gibberish("", " ".join(others + odd[1:])) == 0.0

    def test_sentences_of_a_script_without_spaces_are_not_words(self):
        clauses = [f"海{chr(0x4E00 + 7 * n)}声{chr(0x5000 + 11 * n)}" for n in range(40)]
        assert gibberish("", " ".join(clauses)) == 0.0

    def test_random_signs_are_found(self):
        draw = random.Random(0)
        kinds = {
            "letters": string.ascii_lowercase + " " * 5,
            "symbols": "#$%&*@!^~|<>{}[]()=+?/",
            "bytes": "".join(map(chr, range(256))),
            "planes": "".join(map(chr, range(0x250, 0x2000, 7))),
        }
        for name, signs in kinds.items():
            texts = ["".join(draw.choices(signs, k=200)) for _ in range(50)]
            assert min(gibberish("", text) for text in texts) > 0.1, name

    def test_real_generations_are_not_gibberish_and_shuffled_ones_often_are(self):
        """Measured: none of 1000 answers lies above 0.3, 1.5 % above 0.

        Of the longer ones with all their characters shuffled 78 % lie above 0, half above 0.1.
        """
        texts = real_generations()
        values = [gibberish("", text) for _, text in texts]
        assert sum(value > 0.3 for value in values) == 0
        assert sum(value > 0 for value in values) <= 0.02 * len(values)
        draw = random.Random(0)
        long = [text for _, text in texts if len(text) > 60][:100]
        shuffled = [gibberish("", "".join(draw.sample(text, len(text)))) for text in long]
        assert sum(value > 0 for value in shuffled) > 0.7 * len(long)


def real_generations() -> list[tuple[str, str]]:
    if not REAL.is_file():
        pytest.skip(f"the NoveltyBench generations are not on this machine ({REAL})")
    rows = map(json.loads, REAL.read_text("utf-8").splitlines())
    return [(row["prompt"], text) for row in rows for text in row["generations"]]


class TestRoleLeakage:
    @pytest.mark.parametrize(
        "text",
        [
            "You are role 3. Blue.",
            "As role 3, I name blue.",
            "I'm role 12 and I like blue.",
            "Role 3: blue",
            "**Role #2** - blue",
            "Blue.\n[Role 4] Red.",
            "Blue.<|im_end|>\n<|im_start|>user",
            "<|start_header_id|>assistant",
            "[INST] Name a colour. [/INST] Blue.",
            "### Response: Blue.",
            "Blue.</s>",
            "Blue.\nUser: Another?\nAssistant: Red.",
            "**Assistant:** Blue.",
            "Blue.\nuser\nAnother?",
            "assistant\n\nBlue.",
        ],
    )
    def test_a_leak(self, text):
        assert role_leakage("Name a colour.", text) == 1.0

    @pytest.mark.parametrize(
        "text",
        [
            "Blue.",
            "The role of the sea in chapter 3 is blue.",
            "Her role: the queen.",
            "As a pirate, I love blue.",
            "Operating system: Linux",
            "user",
            "Use a < b || c > d, or x <- 3.",
            "The user: a person. My assistant: kind.",
            "",
        ],
    )
    def test_no_leak(self, text):
        assert role_leakage("Name a colour.", text) == 0.0

    def test_what_the_prompt_names_is_no_leak_but_a_role_is(self):
        talk = "Assistant: Hello."
        assert role_leakage("Go on.\nUser: Hello.", talk) == 0.0
        assert role_leakage("What does <|im_start|> mean?", "<|im_start|> begins a turn.") == 0.0
        assert role_leakage("You are role 3.", "I am role 3.") == 1.0

    def test_real_generations_show_no_role(self):
        assert sum(role_leakage(prompt, text) for prompt, text in real_generations()) == 0


class TestRows:
    def test_length_drift_is_the_log_of_a_ratio(self):
        """Four words against two and against eight: log 2 both ways; no word counts as one."""
        assert length_drift("a b c d", 2) == pytest.approx(math.log(2))
        assert length_drift("a b c d", 8) == pytest.approx(math.log(2))
        assert length_drift("a b c d", 4) == 0.0
        assert length_drift(" ", 3) == pytest.approx(math.log(3))

    @pytest.mark.parametrize("reference", [0, -1.0, float("nan"), float("inf")])
    def test_a_reference_is_a_number_above_0(self, reference):
        with pytest.raises(ValueError, match="reference_length must be a number above 0"):
            length_drift("a", reference)

    def test_length_drift_reads_a_column(self):
        drift = LengthDrift("words")
        rows = (["p"] * 2, ["a b", [{"role": "assistant", "content": "a"}]])
        assert drift.measure_rows(*rows, words=[2, None]) == [0.0, None]
        assert drift.measure_rows(*rows, reference_length=[2, 2]) == [None, None]

    def test_truncated_by_the_end_or_by_the_limit(self):
        rows = (["p"] * 4, ["x"] * 4, [[1, 2, 3], [1, 9], [], [1, 2, 9]])
        assert Truncated(ends=(9, 8)).measure_rows(*rows) == [1.0, 0.0, 1.0, 0.0]
        assert Truncated(limit=3).measure_rows(*rows) == [1.0, 0.0, 0.0, 1.0]
        with pytest.raises(ValueError, match="needs completion_ids, got None"):
            Truncated(limit=3).measure_rows(["p"], ["x"])

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({}, "takes limit or ends, got limit=None"),
            ({"limit": 3, "ends": (9,)}, "takes limit or ends, got limit=3"),
            ({"limit": 0}, "limit must be at least 1, got 0"),
        ],
    )
    def test_truncated_checks_its_options(self, options, message):
        with pytest.raises(ValueError, match=message):
            Truncated(**options)

    def test_monitors_of_both_kinds_are_asked_the_same_way(self):
        assert isinstance(LengthDrift(), RowMonitor)
        assert not isinstance(length, RowMonitor)
        rows = (["p"] * 2, ["a b c", None], [[1, 2], [9]])
        assert measure_rows(length, *rows, other=["x", "y"]) == [3.0, 0.0]
        assert measure_rows(Truncated(ends=(9,)), *rows) == [1.0, 0.0]


def test_a_monitor_as_a_reward():
    reward = MonitorReward(length, weight=0.5)
    prompt = [{"role": "user", "content": "p"}]
    assert reward([prompt], [[{"role": "assistant", "content": "a b c"}]], kind=["x"]) == [1.5]
    assert MonitorReward(length)(["p", "p"], ["a", None]) == [-1.0, 0.0]
    assert pickle.loads(pickle.dumps(reward)) == reward


def test_a_row_monitor_as_a_reward_keeps_what_cannot_be_measured():
    reward = MonitorReward(LengthDrift(), weight=-2.0)
    drift = -2.0 * math.log(2)
    assert reward(["p"] * 2, ["a b", "a"], reference_length=[1, None]) == [drift, None]
    assert pickle.loads(pickle.dumps(reward)) == reward


def test_rewards_are_logged_under_the_name_of_their_monitor():
    """TRL averages rewards of one name."""
    rewards = [MonitorReward(loops), MonitorGate(loops, 0.1), MonitorReward(LengthDrift())]
    assert [each.__name__ for each in rewards] == ["loops", "loops_gate", "LengthDrift"]


class TestGate:
    @pytest.mark.parametrize("name", list(MONITORS))
    def test_every_monitor_makes_a_gate_that_is_a_quality(self, name):
        gate = MonitorGate(MONITORS[name], 0.5)
        assert isinstance(gate, Quality)
        assert (gate.name, gate.__name__) == (f"{name}_gate", f"{name}_gate")
        assert (gate.margin, gate.two_sided) == (0.05, False)
        assert gate.identity == {
            "quality": "monitor_gate",
            "monitor": name,
            "at_most": 0.5,
            "failed": 0.0,
        }
        copy = pickle.loads(pickle.dumps(gate))
        rows = ([ENGLISH] * 6, list(ANSWERS.values()))
        assert copy(*rows) == gate(*rows)
        assert set(gate(*rows)) <= {0.0, 1.0}

    def test_it_is_open_up_to_the_limit(self):
        rows = (["p"] * 3, ["a b", "a b c", None])
        assert MonitorGate(length, 2)(*rows) == [1.0, 0.0, 1.0]
        assert MonitorGate(length, 2, failed=None)(*rows) == [1.0, None, 1.0]

    def test_of_row_monitors(self):
        gate = MonitorGate(Truncated(limit=2), 0.0, name="whole", margin=0.2)
        assert gate(["p"] * 2, ["x"] * 2, completion_ids=[[1, 2], [1]]) == [0.0, 1.0]
        assert (gate.name, gate.margin) == ("whole", 0.2)
        assert gate.identity["monitor"] == "Truncated(limit=2, ends=())"
        drift = MonitorGate(LengthDrift(), 0.5)
        assert drift(["p"] * 2, ["a"] * 2, reference_length=[2, None]) == [0.0, None]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"monitor": "length", "at_most": 1}, "monitor must be a function or a RowMonitor"),
            ({"monitor": length, "at_most": float("nan")}, "at_most must be a finite number"),
            ({"monitor": length, "at_most": 1, "failed": 0.5}, "failed must be 0.0 or None, got"),
            ({"monitor": length, "at_most": 1, "margin": -1}, "margin must be a number >= 0"),
        ],
    )
    def test_options_are_checked(self, options, message):
        with pytest.raises(ValueError, match=message):
            MonitorGate(**options)

    def test_in_a_gated_reward_it_decides_who_is_paid_or_who_counts(self):
        """Of three answers the long one fails. Zero: it is not paid, tanh(-1) times 0.5 is lost.

        None: it has no reward, and the others are as if it had not been written.
        """
        diversity = DiversityReward(NgramKernel(), nearest_credit, group_size=3)
        rows = (["Name a fruit."] * 3, ["a fig", "pear", "one very long plum"])
        closed = GatedReward(MonitorGate(length, 2), diversity, threshold=1.0)(*rows)
        assert closed[:2] == pytest.approx([50.0, 50.0])
        assert closed[2] == pytest.approx(0.5 * math.tanh(-1))
        masked = MonitorGate(length, 2, failed=None)
        assert GatedReward(masked, diversity, threshold=1.0)(*rows) == [50.0, 50.0, None]


def test_the_length_penalty_counts_tokens_beyond_the_limit():
    penalty = LengthPenalty(limit=2, weight=0.5)
    assert penalty(["p"] * 3, ["x"] * 3, completion_ids=[[1], [1, 2], [1] * 6]) == [0, 0, -2.0]
    with pytest.raises(ValueError, match="needs completion_ids"):
        penalty(["p"], ["x"])
    with pytest.raises(ValueError, match="limit must be at least 0, got -1"):
        LengthPenalty(limit=-1)
