"""Demonstrations: the plain prompt with answers that differ, and many draws in one context."""

import json

import pytest
from transformers import AutoTokenizer

from diversify.demonstrations import (
    ANOTHER,
    direct_examples,
    spectrum_examples,
    spectrum_sequence,
)
from diversify.demonstrations.spectrum import IGNORED
from diversify.kernels import NgramKernel
from diversify.pools import merge_pools

KERNEL = NgramKernel(1)


def words(prompts, completions, **columns):
    return [float(len(messages[-1]["content"].split())) for messages in completions]


def no_kiwi(prompts, completions, **columns):
    texts = [messages[-1]["content"] for messages in completions]
    return [None if "kiwi" in text else 1.0 for text in texts]


def row(*generations, prompt="A fruit?", **more):
    return {"prompt": prompt, "generations": list(generations), **more}


def texts_of(examples):
    return [messages[0]["content"] for messages in examples["completion"]]


def counts_of(examples):
    return json.loads(examples.info.description)


# --- direct ---------------------------------------------------------------------------------


def test_the_plain_prompt_is_answered_by_answers_that_differ():
    """Of five different texts three: each shares no word with the others picked."""
    rows = [row("an apple", "an apple pie", "an apple", "the kiwi", "", "one fig", "an apple tart")]
    examples = direct_examples(rows, kernel=KERNEL, per_prompt=3)
    assert texts_of(examples) == ["an apple", "the kiwi", "one fig"]
    assert examples[0]["prompt"] == [{"role": "user", "content": "A fruit?"}]
    assert examples[0]["completion"] == [{"role": "assistant", "content": "an apple"}]
    assert counts_of(examples) == {
        "prompts": 1,
        "examples": 3,
        "dropped": {"too short": 1, "copies": 1, "good but not needed": 2},
    }


def test_runs_of_all_strategies_and_models_are_one_pool():
    """What the strategy asked is in its details; the row has the plain prompt."""
    rows = [
        row("a fig", "a fig ", model="a", details={"personas": [1, 2]}),
        row("the kiwi", model="b", config={"strategy": {"name": "verbalized"}}),
        row("Paris", prompt=[{"role": "user", "content": "A city?"}]),
    ]
    examples = direct_examples(rows, kernel=KERNEL)
    assert texts_of(examples) == ["a fig", "the kiwi", "Paris"]
    assert counts_of(examples)["prompts"] == 2


def test_the_gate_comes_before_difference():
    """Words 2, 3, 2, 3: the best half are those of three; a kiwi would have differed more."""
    rows = [row("an apple", "an apple pie", "the kiwi", "an apple tart")]
    examples = direct_examples(rows, kernel=KERNEL, quality=words, keep=0.5)
    assert texts_of(examples) == ["an apple pie", "an apple tart"]
    assert counts_of(examples)["dropped"] == {"not good enough": 2}


def test_quality_decides_among_equals_and_weighs_against_difference():
    """Three texts, two wanted: the best comes first, and then by weight difference or quality.

    Standing 0, .5, 1 by words: c d e is best. a b is as different from it as texts can be, c d
    shares two words of its three: without weight a b is picked, with a great one c d x.
    """
    rows = [row("a b", "c d x", "c d e y")]
    for weight, second in ((0.0001, "a b"), (100.0, "c d x")):
        options = {"quality": words, "keep": 1.0, "per_prompt": 2, "weight": weight}
        examples = direct_examples(rows, kernel=KERNEL, **options)
        assert texts_of(examples) == ["c d e y", second]


def test_an_answer_must_reach_what_is_asked_of_it():
    rows = [row("a", "b c", "d e f"), row("g", prompt="A city?")]
    options = {"quality": {"words": words}, "keep": 1.0}
    examples = direct_examples(rows, kernel=KERNEL, at_least={"words": 2.0}, **options)
    assert set(texts_of(examples)) == {"b c", "d e f"}
    dropped = {"not good enough": 2, "prompts without an example": 1}
    assert counts_of(examples)["dropped"] == dropped
    with pytest.raises(ValueError, match=r"at_least names \['length'\]; the qualities are"):
        direct_examples(rows, kernel=KERNEL, at_least={"length": 2.0}, **options)


def test_what_cannot_be_scored_or_was_cut_off_takes_no_part():
    rows = [row("a fig", "a kiwi", "an ap", truncated=[False, False, True])]
    examples = direct_examples(rows, kernel=KERNEL, quality={"k": no_kiwi, "w": words}, keep=1.0)
    assert texts_of(examples) == ["a fig"]
    assert counts_of(examples)["dropped"] == {"truncated": 1, "unscored": 1}
    kept = direct_examples(rows, kernel=KERNEL, keep_truncated=True)
    assert "an ap" in texts_of(kept)


def test_words_are_counted_and_sentences_cut():
    rows = [row("A ripe fig. And then", "fig", truncated=[True, False])]
    examples = direct_examples(rows, kernel=KERNEL, first_sentence=True, min_words=2)
    assert texts_of(examples) == ["A ripe fig."]
    assert counts_of(examples)["dropped"] == {"too short": 1}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keep": 0.0}, "keep must be in"),
        ({"per_prompt": 0}, "per_prompt must be"),
        ({"min_words": 0}, "min_words must be"),
        ({"weight": -1.0}, "weight"),
    ],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        direct_examples([row("a fig")], kernel=KERNEL, **options)


def test_nothing_left_says_why():
    with pytest.raises(ValueError, match=r'no prompt yields an example: .*"too short": 2'):
        direct_examples([row("", " ")], kernel=KERNEL)


# --- spectrum -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer_path):
    return AutoTokenizer.from_pretrained(tiny_tokenizer_path)


@pytest.fixture(scope="module")
def without_template(tiny_tokenizer_path):
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_path)
    tokenizer.chat_template = None
    return tokenizer


def learned(tokenizer, example):
    """The runs of tokens that carry a label, as text."""
    runs, last = [], IGNORED
    for token, label in zip(example["input_ids"], example["labels"], strict=True):
        if label != IGNORED:
            assert label == token
            if last == IGNORED:
                runs.append([])
            runs[-1].append(token)
        last = label
    return [tokenizer.decode(run) for run in runs]


def test_exactly_the_draws_carry_a_loss(tokenizer):
    example, used = spectrum_sequence(
        tokenizer, "Name a colour.", ["red", "deep blue"], max_length=1000
    )
    assert used == 2
    assert learned(tokenizer, example) == ["red<|im_end|>", "deep blue<|im_end|>"]
    assert tokenizer.decode(example["input_ids"]) == (
        "<|im_start|>user\nName a colour.<|im_end|>\n"
        "<|im_start|>assistant\nred<|im_end|>\n"
        f"<|im_start|>user\n{ANOTHER}<|im_end|>\n"
        "<|im_start|>assistant\ndeep blue<|im_end|>\n"
    )


def test_without_the_prompt_the_first_draw_answers_the_short_turn(tokenizer):
    example, _ = spectrum_sequence(
        tokenizer, None, ["red", "blue"], max_length=1000, another="Again."
    )
    text = tokenizer.decode(example["input_ids"])
    assert text.count("Again.") == 2 and text.startswith("<|im_start|>user\nAgain.")
    assert learned(tokenizer, example) == ["red<|im_end|>", "blue<|im_end|>"]


def test_plain_text_has_draws_that_end(without_template):
    example, _ = spectrum_sequence(
        without_template, "Name a colour.", ["red", "blue"], max_length=1000
    )
    text = without_template.decode(example["input_ids"])
    assert text == "Name a colour.\n\nred<|im_end|>blue<|im_end|>"
    assert learned(without_template, example) == ["red<|im_end|>blue<|im_end|>"]
    bare, _ = spectrum_sequence(without_template, None, ["red", "blue"], max_length=1000)
    assert without_template.decode(bare["input_ids"]) == "red<|im_end|>blue<|im_end|>"


def test_a_row_ends_before_the_draw_that_does_not_fit(tokenizer):
    whole, _ = spectrum_sequence(tokenizer, "A fruit?", ["red"] * 3, max_length=1000)
    length = len(whole["input_ids"])
    for limit, expected in ((length, 3), (length - 1, 2), (5, 0)):
        example, used = spectrum_sequence(tokenizer, "A fruit?", ["red"] * 3, max_length=limit)
        assert used == expected == len(learned(tokenizer, example))
        assert len(example["input_ids"]) <= limit


def test_a_template_that_rewrites_the_beginning_gives_no_rows(tiny_tokenizer_path):
    """Such as one that drops earlier answers: the mask would be wrong, so there is none."""
    tokenizer = AutoTokenizer.from_pretrained(tiny_tokenizer_path)
    tokenizer.chat_template = "{{ messages | length }}{{ messages[-1]['content'] }}"
    _, used = spectrum_sequence(tokenizer, "A fruit?", ["fig", "kiwi"], max_length=1000)
    assert used == 0
    with pytest.raises(ValueError, match="too long, or left alone"):
        spectrum_examples([row("fig", "kiwi")], tokenizer)


def test_all_draws_are_shown_once_copies_too(tokenizer):
    """Ten draws, four a row: rows of 4, 4 and 2, shuffled, nothing lost."""
    drawn = ["red", "red", "red", *(f"colour {i}" for i in range(7))]
    examples = spectrum_examples([row(*drawn)], tokenizer, draws=4, keep_description=1.0)
    shown = [[t.removesuffix("<|im_end|>") for t in learned(tokenizer, e)] for e in examples]
    assert [len(each) for each in shown] == [4, 4, 2]
    flat = [text for each in shown for text in each]
    assert sorted(flat) == sorted(drawn) and flat != drawn
    assert counts_of(examples) == {"prompts": 1, "examples": 3, "dropped": {}, "without_prompt": 0}
    assert set(examples.column_names) == {"input_ids", "labels"}


def test_the_seed_decides_and_nothing_else(tokenizer):
    rows = [row(*(f"colour {i}" for i in range(8)), prompt=f"Name {j}.") for j in range(4)]
    first, again, other = (
        spectrum_examples(rows, tokenizer, draws=4, seed=seed)["input_ids"][:] for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize(("share", "expected"), [(0.0, 0), (1.0, 200), (0.8, 160)])
def test_the_prompt_is_kept_in_its_share_of_rows(tokenizer, share, expected):
    rows = [row(*(f"{i}" for i in range(4)), prompt=f"Name {j}.") for j in range(100)]
    examples = spectrum_examples(rows, tokenizer, draws=2, keep_description=share)
    with_prompt = sum("Name" in tokenizer.decode(ids) for ids in examples["input_ids"])
    assert with_prompt == pytest.approx(expected, abs=0 if share in (0.0, 1.0) else 20)
    assert counts_of(examples)["without_prompt"] == 200 - with_prompt


def test_blank_cut_off_and_lonely_draws_are_counted(tokenizer):
    """Three draws left, two a row: the third is alone. Another is longer than a row may be."""
    rows = [row("red", "", "blue", "gre", "pink", truncated=[False] * 3 + [True, False])]
    rows.append(row("a", "b " * 200, "c", prompt="Name another."))
    examples = spectrum_examples(rows, tokenizer, draws=2, max_length=120, seed=3)
    dropped = counts_of(examples)["dropped"]
    assert (dropped["truncated"], dropped["blank"]) == (1, 1)
    used = sum(len(learned(tokenizer, example)) for example in examples)
    assert used + dropped["too long, or left alone"] == 6 and used in (2, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 1}, "draws must be"),
        ({"keep_description": 1.5}, r"keep_description must be in \[0, 1\]"),
        ({"max_length": 0}, "max_length must be"),
    ],
)
def test_impossible_spectrum_options_are_refused(tokenizer, options, message):
    with pytest.raises(ValueError, match=message):
        spectrum_examples([row("a", "b")], tokenizer, **options)


def test_a_prompt_must_be_a_question_and_an_answer_must_end(tokenizer, tiny_tokenizer_path):
    chat = [{"role": "user", "content": "A?"}, {"role": "assistant", "content": "Well,"}]
    with pytest.raises(ValueError, match="must end with a turn of the user"):
        spectrum_sequence(tokenizer, chat, ["a"], max_length=100)
    endless = AutoTokenizer.from_pretrained(tiny_tokenizer_path)
    endless.eos_token = None
    with pytest.raises(ValueError, match="no end-of-sequence token"):
        spectrum_sequence(endless, "A?", ["a"], max_length=100)


def test_trl_trains_on_these_labels_and_no_others(tokenizer, tiny_model_path, tmp_path):
    """What reaches the model: the labels of the rows, padded."""
    from trl import SFTConfig, SFTTrainer

    rows = [row("red", "deep blue", "green"), row("Paris", "city", prompt="Name a city.")]
    examples = spectrum_examples(rows, tokenizer, draws=3)
    config = SFTConfig(
        *(str(tmp_path),), bf16=False, use_cpu=True, report_to="none", per_device_train_batch_size=2
    )
    trainer = SFTTrainer(str(tiny_model_path), config, train_dataset=examples)
    batch = next(iter(trainer.get_train_dataloader()))
    found = sorted(
        [label for label in labels if label != IGNORED] for labels in batch["labels"].tolist()
    )
    assert found == sorted([x for x in labels if x != IGNORED] for labels in examples["labels"])


def test_pools_are_where_pairs_and_demonstrations_meet():
    import diversify.pairs

    assert diversify.pairs.merge_pools is merge_pools
