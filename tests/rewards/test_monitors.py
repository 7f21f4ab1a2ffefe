"""Monitors of single texts, and the two rewards made of them."""

import pickle

import pytest

from diversify.rewards import MONITORS, LengthPenalty, MonitorReward
from diversify.rewards.monitors import (
    blank,
    completion_text,
    language_drift,
    length,
    loops,
    prompt_copy,
    refusal,
)

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


def test_a_monitor_as_a_reward():
    reward = MonitorReward(length, weight=0.5)
    prompt = [{"role": "user", "content": "p"}]
    assert reward([prompt], [[{"role": "assistant", "content": "a b c"}]], kind=["x"]) == [1.5]
    assert MonitorReward(length)(["p", "p"], ["a", None]) == [-1.0, 0.0]
    assert pickle.loads(pickle.dumps(reward)) == reward


def test_the_length_penalty_counts_tokens_beyond_the_limit():
    penalty = LengthPenalty(limit=2, weight=0.5)
    assert penalty(["p"] * 3, ["x"] * 3, completion_ids=[[1], [1, 2], [1] * 6]) == [0, 0, -2.0]
    with pytest.raises(ValueError, match="needs completion_ids"):
        penalty(["p"], ["x"])
    with pytest.raises(ValueError, match="limit must be at least 0, got -1"):
        LengthPenalty(limit=-1)
