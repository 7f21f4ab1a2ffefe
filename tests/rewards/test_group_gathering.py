"""Cutting rows into groups in one process; more processes are in `test_reward_processes.py`."""

import pytest
from torch import distributed

from diversify.rewards.group import gather_groups, raise_together


def cut(prompts, group_size=None):
    gathered = gather_groups(prompts, [str(i) for i in range(len(prompts))], group_size=group_size)
    return [len(group.texts) for group in gathered.groups]


def test_groups_hold_their_rows_in_order_with_their_columns():
    columns = {"quality": [1.0, 2.0, 3.0, 4.0]}
    gathered = gather_groups(list("aabb"), list("wxyz"), group_size=2, columns=columns)
    assert [(g.prompt, g.texts, g.columns["quality"], g.first) for g in gathered.groups] == [
        ("a", ["w", "x"], [1.0, 2.0], True),
        ("b", ["y", "z"], [3.0, 4.0], True),
    ]
    assert gathered.local([["p", "q"], ["r", "s"]]) == ["p", "q", "r", "s"]


def test_nothing_distributed_is_started():
    gather_groups(["a"], ["x"], group_size=1)
    assert not distributed.is_initialized()


def test_a_kept_part_keeps_its_columns():
    gathered = gather_groups(list("aaa"), list("xyz"), columns={"q": [1, 2, 3]})
    part = gathered.groups[0].keep([2, 0])
    assert (part.texts, part.columns) == (["z", "x"], {"q": [3, 1]})


def test_one_prompt_twice_in_a_batch_is_two_groups():
    assert cut(list("aaaabb"), group_size=2) == [2, 2, 2]


def test_groups_of_one_and_no_rows():
    assert cut(["a", "b", "b"], group_size=1) == [1, 1, 1]
    assert cut([], group_size=4) == []
    assert cut([]) == []


def test_values_must_fit_the_groups():
    gathered = gather_groups(list("aabb"), list("wxyz"), group_size=2)
    with pytest.raises(ValueError, match=r"\[2, 2\].*\[2, 1\]"):
        gathered.local([[1, 2], [3]])


@pytest.mark.parametrize(
    ("prompts", "size"),
    [
        (["a"] * 4 + ["b"] * 4, 4),
        (["a"] * 4, 4),
        (["a"] * 8 + ["b"] * 4, 4),  # the same prompt twice in a row, beside one that stands alone
        (["a", "b", "c"], 1),
        (["a"] * 2 + ["b"] * 2 + ["a"] * 2, 2),
    ],
)
def test_the_size_is_read_off_the_runs(prompts, size):
    assert set(cut(prompts)) == {size}


@pytest.mark.parametrize(
    "prompts", [["a"] * 3 + ["b"] * 4, ["a", "b", "a", "b"], ["a"] * 8 + ["b"] * 12]
)
def test_a_size_that_cannot_be_read_off_is_refused(prompts):
    with pytest.raises(ValueError, match="give group_size"):
        cut(prompts)


def test_a_batch_that_is_no_multiple_is_refused():
    with pytest.raises(ValueError, match="12 completions cannot be cut into groups of 8"):
        cut(["a"] * 12, group_size=8)


def test_different_prompts_in_a_group_are_refused():
    with pytest.raises(ValueError, match=r"rows 2 to 3 .* group of 2, but hold 2 prompts: b, c"):
        cut(list("aabc"), group_size=2)


@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_an_impossible_size_is_refused(size):
    with pytest.raises(ValueError, match="group_size must be"):
        cut(list("aa"), group_size=size)


def test_lists_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"2 prompts: \{'texts': 1\}"):
        gather_groups(["a", "a"], ["x"], group_size=2)
    with pytest.raises(ValueError, match=r"2 prompts: \{'quality': 3\}"):
        gather_groups(["a", "a"], ["x", "y"], group_size=2, columns={"quality": [1, 2, 3]})


def test_all_turns_of_a_chat_tell_prompts_apart():
    def chat(system):
        return [{"role": "system", "content": system}, {"role": "user", "content": "Go on."}]

    assert cut([chat("one"), chat("one"), chat("two"), chat("two")]) == [2, 2]
    with pytest.raises(ValueError, match="hold 2 prompts"):
        cut([chat("one"), chat("two")], group_size=2)
    assert gather_groups([chat("one")], ["x"]).groups[0].prompt == "Go on."


def test_an_exception_passes_through_unchanged():
    error = KeyError("gone")
    with pytest.raises(KeyError) as caught, raise_together():
        raise error
    assert caught.value is error
