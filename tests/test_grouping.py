"""A judge that sorts all answers to a prompt: what it is shown, and what counts as a partition."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from diversify.equivalence import JudgeGroups
from diversify.equivalence.grouping import in_order, parse_groups


class Sorter:
    """Replies by a function of the question."""

    identity = {"model": "sorter"}  # noqa: RUF012

    def __init__(self, reply: Callable[[str], str | None]) -> None:
        self.reply = reply
        self.asked: list[str] = []

    def ask(self, chats: Sequence[Any]) -> list[str | None]:
        questions = [chat[-1]["content"] for chat in chats]
        self.asked += questions
        return [self.reply(question) for question in questions]


class TestParsing:
    @pytest.mark.parametrize(
        ("reply", "labels"),
        [
            ("[[1, 3], [2]]", [0, 1, 0]),
            ("[[2],[1,3]]", [1, 0, 1]),
            ("Alike: 1 and 3.\n[[1, 3], [2]]\n", [0, 1, 0]),
            ("```json\n[[1, 3],\n [2]]\n```", [0, 1, 0]),
            ('{"groups": [[1, 3], [2]]}', [0, 1, 0]),
            ("<think>[[1], [2], [3]]</think>\n[[1, 2, 3]]", [0, 0, 0]),
            ("First [[1], [2], [3]], but no: [[1, 2], [3]]", [0, 0, 1]),
            ("**[[1], [], [2, 3]]**", [0, 2, 2]),
        ],
    )
    def test_a_partition_at_the_end_is_taken(self, reply: str, labels: list[int]) -> None:
        assert parse_groups(reply, 3) == labels

    @pytest.mark.parametrize(
        "reply",
        [
            *("", "1, 2, 3", "[1, 2, 3]", "[[1, 2]]", "[[1, 2], [2, 3]]", "[[1, 2], [3, 4]]"),
            *(
                "[[0, 1], [2]]",
                "[[1, 2], [3, 3]]",
                "[[1, 2], 3]",
                "[[[1]], [2], [3]]",
                "[[1, 2, 3]",
            ),
            *("[[1, 2], [03]]", "[[1, 2], [3]] are the groups", "[[1,, 2], [3]]", "[[], []]"),
            "[[1], [2, 3]]\n[[1, 2], [3]]",  # two lists and no word between them: which one?
        ],
    )
    def test_nothing_is_mended(self, reply: str) -> None:
        assert parse_groups(reply, 3) is None


class TestJudge:
    def test_shows_each_distinct_answer_once_in_full(self) -> None:
        server = Sorter(lambda question: "[[1, 2]]")
        long = "word " * 3000
        (labels,) = JudgeGroups(server)(["A place?"], [["Rome", long, "Rome"]])
        assert labels is not None and labels.tolist() == [0, 0, 0]
        (question,) = server.asked
        assert question.count("\nRome\n") == 1 and long in question
        assert "A place?" in question and "number from 1 to 2" in question

    def test_labels_come_in_order_of_first_appearance(self) -> None:
        server = Sorter(lambda question: "[[3], [2], [1]]")
        (labels,) = JudgeGroups(server)(["?"], [["a", "b", "a", "c"]])
        assert labels is not None and labels.tolist() == [0, 1, 0, 2]

    def test_what_is_plain_is_not_asked(self) -> None:
        """Copies are one class, blank texts are another, whatever a model would say."""
        server = Sorter(lambda question: pytest.fail("asked"))
        groups = [["a", "a"], ["", " "], ["", "a", "a", "\n"], []]
        found = JudgeGroups(server)(["?"] * 4, groups)
        assert [row.tolist() for row in found if row is not None] == [
            [0, 0],
            [0, 0],
            [0, 1, 1, 0],
            [],
        ]

    def test_failures_are_none_and_counted(self) -> None:
        replies = iter([None, "They are all different.", "[[1], [2]]"])
        judge = JudgeGroups(Sorter(lambda question: next(replies)))
        found = judge(["?"] * 3, [["a", "b"]] * 3)
        assert found[:2] == [None, None] and found[2] is not None
        assert judge.failures == 2

    def test_an_answer_with_braces_is_text(self) -> None:
        server = Sorter(lambda question: "[[1], [2]]")
        JudgeGroups(server)(["{answers}"], [["{size}", "{prompt}"]])
        assert "\n{size}\n" in server.asked[0] and "\n{prompt}\n" in server.asked[0]

    def test_options_and_shapes_are_checked(self) -> None:
        server = Sorter(lambda question: "[[1]]")
        with pytest.raises(ValueError, match="no place for"):
            JudgeGroups(server, template="{prompt}")
        with pytest.raises(ValueError, match="1 prompts for 2 groups"):
            JudgeGroups(server)(["?"], [["a"], ["b"]])

    def test_identity_tells_templates_apart(self) -> None:
        server = Sorter(lambda question: "[[1]]")
        other = JudgeGroups(server, template="{prompt} {answers}")
        assert JudgeGroups(server).identity["template_sha"] != other.identity["template_sha"]
        assert other.identity["model"] == "sorter"


def test_keys_of_any_kind_are_numbered() -> None:
    assert in_order(["b", 3, "b", None, 3]).tolist() == [0, 1, 0, 2, 1]
    assert in_order([]).tolist() == []
