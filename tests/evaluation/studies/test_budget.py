"""Equal budgets: rarefaction against counting by hand and against enumeration."""

from itertools import combinations

import pytest

from diversify.evaluation.studies.budget import found_for, rarefied


def test_rarefaction_is_the_mean_over_all_parts():
    """Every part of 3 from 3 texts of class a, 2 of b, 1 of c and 2 of none, enumerated."""
    sample = [0] * 3 + [1] * 2 + [2] + [None] * 2
    parts = list(combinations(range(8), 3))
    found = [len({sample[i] for i in part} - {None}) for part in parts]
    assert rarefied(sample, 3) == pytest.approx(sum(found) / len(parts))


def test_a_fraction_of_a_draw_lies_between_its_neighbours():
    """Of 4 texts, one of a class: one draw finds it in a quarter of the cases, two in a half."""
    assert rarefied([None, 0, None, None], 1.4) == pytest.approx(0.6 * 0.25 + 0.4 * 0.5)


def test_the_ends_are_nothing_and_everything():
    assert rarefied([0, 0, 1, None, None], 0) == 0
    assert rarefied([0, 0, 1, None, None], 5) == pytest.approx(2)
    assert rarefied([None] * 5, 3) == pytest.approx(0)


@pytest.mark.parametrize("size", [3, -1, 2.5, float("nan")])
def test_a_part_is_no_larger_than_the_sample(size):
    with pytest.raises(ValueError, match=r"size must be in \[0, 2\]"):
        rarefied([0, 1], size)


def pool(texts, written, answers=(("Peru",), ("Chile",))):
    return {
        "generations": texts,
        "answers": [list(each) for each in answers],
        "details": {"tokens": {"read": 9, "written": written}},
    }


def test_tokens_pay_for_draws_at_the_pools_price():
    """Four texts cost 20 tokens, 5 each: 10 tokens pay for 2 of Peru, Peru, Chile, junk."""
    found = found_for(10, pool(["Peru", "Peru!", "Chile", "junk"], 20))
    assert found.draws == 2 and not found.capped
    assert found.answers == pytest.approx((1 - 1 / 6) + (1 - 3 / 6))


def test_more_tokens_than_the_pool_has_are_capped_and_said():
    found = found_for(100, pool(["Peru", "Chile"], 10))
    assert found.capped and found.draws == 20 and found.answers == pytest.approx(2)


def test_what_cannot_be_reckoned_is_none():
    assert found_for(10, pool(["Peru"], 5, answers=())) is None
    assert found_for(10, pool(["Peru"], 5) | {"details": {"tokens": None}}) is None
    with pytest.raises(ValueError, match="tokens must be a number"):
        found_for(float("nan"), pool(["Peru"], 5))
