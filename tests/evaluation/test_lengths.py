"""Equal length: what is cut, by how much, and that nothing else changes the numbers."""

import numpy as np
import pytest

from diversify.evaluation import paired_change
from diversify.evaluation.lengths import Cuts, length_matched
from diversify.evaluation.verdict import PRIMARY
from diversify.kernels import EmbeddingKernel, NgramKernel
from diversify.measures import MEASURES
from evaluation.counting import Counting


def rows(*prompts):
    return [{"generations": list(texts)} for texts in prompts]


def measured(before, after, kernel, **options):
    """The changes of whole answers, with no thought of length."""
    found = {}
    for name in PRIMARY:
        sides = [[MEASURES[name](kernel(row["generations"])) for row in r] for r in (before, after)]
        found[f"{name},{kernel.name}"] = paired_change(*map(np.array, sides), **options)
    return found


def random_rows(seed):
    """Twelve prompts with a blank answer and five of 1 to 9 words of six, in odd white space."""
    rng = np.random.default_rng(seed)

    def answer():
        words = rng.choice(list("abcdef"), rng.integers(1, 10))
        return "".join(f"{rng.choice(['', ' ', chr(10)])} {word}" for word in words) + " "

    return rows(*([" ", *(answer() for _ in range(5))] for _ in range(12)))


# The first prompt: medians 2 and 3.5; the second one: 3 and 1.5.
BEFORE = rows(["a b", "a c"], ["a b c", "a b d"])
AFTER = rows(["a b x y", "c d e"], ["e", "f g"])


def test_two_prompts_by_hand():
    """Caps 2 and int(1.5) = 1.

    First prompt. Before: "a b", "a c" share one of three grams, so s = 1/3: distance 2/3, and the
    eigenvalues of S/2 are 2/3 and 1/3: vendi exp(log 3 - 2/3 log 2) = 3 / 2^(2/3). After: "a b",
    "c d": 1 and 2. Second prompt. Before: "a" twice: 0 and 1. After: "e", "f": 1 and 2.

    Before, 0 and 2 answers of four were longer than their cap; after, 2 and 1.
    """
    changes, cuts = length_matched(BEFORE, AFTER)
    assert list(changes) == ["mean_distance,ngram-2", "vendi,ngram-2"]
    distance, vendi = changes.values()
    assert (distance.before, distance.after) == (pytest.approx(1 / 3), 1.0)
    assert distance.difference == pytest.approx(2 / 3)
    assert (vendi.before, vendi.after) == (pytest.approx((3 / 2 ** (2 / 3) + 1) / 2), 2.0)
    assert (vendi.improved, vendi.n_prompts, vendi.higher_is_better) == (1.0, 2, True)
    assert cuts == Cuts(cap=1.5, before=0.5, after=0.75, left_out=0)


def test_answers_of_one_length_have_the_numbers_of_the_whole_answers(tiny_embedder):
    """Three words each, in odd white space that a cut would not leave as it is."""
    rng = np.random.default_rng(0)
    before, after = (
        rows(*([f" {x}\n{y}  {z} " for x, y, z in rng.choice(words, (4, 3))] for _ in range(9)))
        for words in (list("ab"), list("abcdef"))
    )
    seen = Counting(tiny_embedder)
    kernels = [EmbeddingKernel(seen), NgramKernel(2)]
    changes, cuts = length_matched(before, after, kernels=kernels, resamples=300, seed=3)
    options = {"resamples": 300, "seed": 3}
    whole = [measured(before, after, kernel, **options) for kernel in kernels]
    assert changes == whole[0] | whole[1]
    assert (cuts.cap, cuts.before, cuts.after) == (3.0, 0.0, 0.0)
    assert set(seen.calls[0]) == {text for row in before + after for text in row["generations"]}


def test_words_are_cut_as_by_splitting_and_joining():
    """A second way to cut, which loses white space: n-grams of words never see the difference."""
    before, after = random_rows(1), random_rows(2)
    shorter = [], []
    for pair in zip(before, after, strict=True):
        words = [[text.split() for text in row["generations"]] for row in pair]
        cap = int(min(np.median([len(text) for text in texts]) for texts in words))
        for side, texts in zip(shorter, words, strict=True):
            side.append({"generations": [" ".join(text[:cap]) for text in texts]})
    clusters = [number // 2 for number in range(12)]
    options = {"clusters": clusters, "resamples": 300, "seed": 1}
    found, cuts = length_matched(before, after, **options)
    assert found == measured(*shorter, NgramKernel(2), **options)
    assert found["vendi,ngram-2"].n_units == 6
    assert 0 < cuts.before < 1 and 0 < cuts.after < 1


def test_the_order_of_answers_and_of_prompts_does_not_matter():
    before, after = random_rows(3), random_rows(4)
    expected, cuts = length_matched(before, after, resamples=100)
    for r in (before, after):
        r.reverse()
        for row in r:
            row["generations"] = row["generations"][2:] + row["generations"][:2]
    found, found_cuts = length_matched(before, after, resamples=100)
    assert found_cuts == cuts
    for name, change in expected.items():
        moved = found[name]
        assert (moved.before, moved.after) == pytest.approx((change.before, change.after))
        assert moved.improved == change.improved


def test_one_prompt_has_numbers_and_no_interval():
    changes, cuts = length_matched(BEFORE[:1], AFTER[:1])
    vendi = changes["vendi,ngram-2"]
    assert vendi.difference == pytest.approx(2 - 3 / 2 ** (2 / 3))
    assert (vendi.ci95, vendi.n_prompts) == ((-np.inf, np.inf), 1)
    assert cuts == Cuts(cap=2.0, before=0.0, after=1.0, left_out=0)


def test_the_cut_answers_of_all_prompts_go_to_the_embedder_in_one_call(tiny_embedder):
    """Distinct ones in their order, and never what was cut away."""
    counting = Counting(tiny_embedder)
    kernels = [NgramKernel(1), EmbeddingKernel(counting)]
    changes, _ = length_matched(BEFORE, AFTER, kernels=kernels)
    assert counting.calls == [["a b", "a c", "c d", "a", "e", "f"]]
    cut = rows(["a b", "a c"], ["a", "a"]), rows(["a b", "c d"], ["e", "f"])
    plain = EmbeddingKernel(tiny_embedder)
    for name, change in measured(*cut, plain).items():
        assert changes[name.replace("hashing", "counting")] == change
    assert list(changes)[:3] == ["mean_distance,ngram-1", "vendi,ngram-1", "mean_distance,counting"]


def test_rows_are_read_once_and_in_step():
    read = []

    def reading(side, prompts):
        for number, row in enumerate(prompts):
            read.append((side, number))
            yield row

    lazy = length_matched(reading("before", BEFORE), reading("after", AFTER))
    assert lazy == length_matched(BEFORE, AFTER)
    assert read == [("before", 0), ("after", 0), ("before", 1), ("after", 1)]


def test_a_prompt_of_which_nothing_would_be_left_is_no_evidence():
    """Two of three answers blank: the median is 0 words. The other prompts have their own labels."""
    before = [*BEFORE, *rows(["a b", "c d", "e f"])]
    after = [*AFTER, *rows(["", " \n", "a b c"])]
    before.insert(0, before.pop())
    after.insert(0, after.pop())
    changes, cuts = length_matched(before, after, clusters=["x", "y", "y"])
    alone, alone_cuts = length_matched(BEFORE, AFTER, clusters=["y", "y"])
    assert changes == alone and changes["vendi,ngram-2"].n_units == 1
    assert cuts == alone_cuts._replace(left_out=1)


def test_where_every_prompt_is_blank_there_are_no_numbers():
    blank = rows([" ", ""], ["", "a"])
    assert length_matched(BEFORE, blank) == ({}, Cuts(None, None, None, 2))


def test_scripts_without_spaces_are_cut_by_letters():
    """Two letters before, four and three after: cut to two, all answers after say the same."""
    changes, cuts = length_matched(
        rows(["红色", "蓝色"], ["สี", "กา"]), rows(["红色的花", "红色的"], ["กาแฟ", "กาว"])
    )
    assert cuts == Cuts(cap=2.0, before=0.0, after=1.0, left_out=0)
    assert changes["mean_distance,ngram-2"].before == 1.0
    assert changes["mean_distance,ngram-2"].after == 0.0


def test_mixed_scripts_are_counted_piece_by_piece_and_korean_by_words():
    """ "GPT", 很, 好 and "한국어 단어 셋" are three each; of five, 好 and what follows it go."""
    _, cuts = length_matched(rows(["한국어 단어 셋"]), rows(["GPT很好 ok ok"]))
    assert cuts == Cuts(cap=3.0, before=0.0, after=1.0, left_out=0)
    _, cuts = length_matched(rows(["한국어 단어 셋"]), rows(["GPT 很好"]))
    assert cuts == Cuts(cap=3.0, before=0.0, after=0.0, left_out=0)


@pytest.mark.parametrize(
    ("before", "after", "options", "told"),
    [
        (BEFORE, AFTER[:1], {}, "after ends after 1"),
        (BEFORE[:1], AFTER, {}, "before ends after 1"),
        ([], [], {}, "no prompts"),
        (BEFORE, rows(["a"], []), {}, "prompt 1 needs answers before and after, got 2 and 0"),
        (BEFORE, AFTER, {"clusters": ["x"]}, "a label a prompt, got 1 for 2 prompts"),
        (BEFORE, AFTER, {"kernels": []}, r"need a kernel, .* got \[\]"),
        (BEFORE, AFTER, {"kernels": [NgramKernel(2)] * 2}, "no two of one name"),
    ],
)
def test_what_cannot_be_compared_is_refused(before, after, options, told):
    with pytest.raises(ValueError, match=told):
        length_matched(before, after, **options)
