"""The map of answers and the classes beside it: distances, shares, representatives, counts."""

import re

import numpy as np
import pytest

from diversify.evaluation.report import render
from diversify.evaluation.report.answer_map import FRAME, Spot, answer_map
from diversify.evaluation.report.cut import longest_shown
from diversify.evaluation.report.scaling import classical_scaling
from diversify.evaluation.report.together import Told, together
from evaluation.pages import Page, comparison, sample


def distances(points):
    return np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))


# Classical scaling


def test_points_of_a_plane_are_found_again():
    """Unit rows in a plane: all distances are kept, and the plane holds everything."""
    angles = np.array([0.0, 0.4, 1.1, 2.9])
    rows = np.column_stack([np.cos(angles), np.sin(angles)])
    points, share = classical_scaling(rows @ rows.T)
    assert distances(points) == pytest.approx(np.sqrt(2 * (1 - np.clip(rows @ rows.T, -1, 1))))
    assert share == pytest.approx(1.0)
    assert points.mean(axis=0) == pytest.approx([0, 0])


def test_three_orthogonal_texts_make_a_triangle_and_four_do_not_fit():
    """The simplex of n points has n - 1 equal directions, of which the plane holds two."""
    points, share = classical_scaling(np.eye(3))
    assert distances(points)[np.triu_indices(3, 1)] == pytest.approx(np.sqrt(2))
    assert share == pytest.approx(1.0)
    assert classical_scaling(np.eye(5)).share == pytest.approx(2 / 4)


def test_impossible_similarities_lower_the_share():
    """a~b~c but not a~c: the centred matrix has the eigenvalues 1, -1/3 and 0.

    J S J of [[1,1,0],[1,1,1],[0,1,1]] is [[4,1,-5],[1,-2,1],[-5,1,4]] / 9, with (1, 0, -1) for the
    eigenvalue 1 and (1, -2, 1) for -1/3. The second direction is none, and 1 of 4/3 is held.
    """
    S = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    points, share = classical_scaling(S)
    assert share == pytest.approx(3 / 4)
    assert points[:, 0] == pytest.approx([np.sqrt(0.5), 0, -np.sqrt(0.5)])
    assert points[:, 1] == pytest.approx([0, 0, 0])


def test_equal_texts_and_single_ones_have_no_variation():
    for S in (np.ones((3, 3)), np.ones((1, 1)), np.ones((0, 0))):
        points, share = classical_scaling(S)
        assert share is None and points.shape == (len(S), 2) and not points.any()


def test_the_furthest_point_lies_on_the_positive_side_and_order_does_not_matter():
    S = np.array([[1, 0.9, 0.1, 0.3], [0.9, 1, 0.2, 0.4], [0.1, 0.2, 1, 0], [0.3, 0.4, 0, 1.0]])
    points, _ = classical_scaling(S)
    assert (points.max(axis=0) >= -points.min(axis=0)).all()
    order = [2, 0, 3, 1]
    assert classical_scaling(S[np.ix_(order, order)]).points == pytest.approx(points[order])


# The map


def spot(kind, x, y, copies=1, anchor="p1-before-1", text="An answer."):
    return Spot(kind, kind.capitalize(), anchor, text, copies, x, y)


def test_both_axes_have_one_scale_and_the_map_fills_its_frame():
    drawn = Page(answer_map([spot("before", 0, 0), spot("after", 4, 1), spot("after", 0, 1)]))
    places = [(float(e["cx"]), float(e["cy"])) for e in drawn.all("circle")]
    (x0, y0), (x1, y1), (x2, y2) = places
    assert (x1 - x0) / 4 == pytest.approx(y0 - y1, abs=0.02)
    assert (x2, y2) == pytest.approx((x0, y1))
    assert x0 == FRAME.left + 12 and x1 == FRAME.right - 12


def test_points_on_one_spot_are_drawn_and_an_empty_map_is_refused():
    drawn = Page(answer_map([spot("before", 1, 1), spot("after", 1, 1)]))
    ring, dot = drawn.all("circle")
    assert (ring["cx"], ring["cy"]) == (dot["cx"], dot["cy"])
    assert float(ring["r"]) > float(dot["r"])  # both show
    with pytest.raises(ValueError, match="at least one"):
        answer_map([])


def test_each_point_is_a_link_that_holds_its_text_safely():
    hostile = "</div></foreignObject></svg><script>alert(1)</script>\u202e"
    seventh = spot("also-1", 0, 0, copies=3, anchor="p2-also-1-7", text=hostile)
    drawn = Page(str(answer_map([seventh])))
    assert drawn.errors == [] and not drawn.all("script")
    (link,) = drawn.all("a")
    assert link["href"] == "#p2-also-1-7"
    assert "Also-1 7, given 3 times </div></foreignObject></svg><script>" in link["text"]
    assert "⟦RLO⟧" in link["text"] and "\N{MULTIPLICATION SIGN}3" in link["text"]


def test_each_link_is_named_by_the_beginning_of_its_answer():
    told = "word " * 40
    drawn = Page(str(answer_map([spot("also-1", 0, 0, copies=3, anchor="p2-also-1-7", text=told)])))
    (link,) = drawn.all("a")
    assert link["aria-label"] == "Also-1 7, given 3 times: " + "word " * 11 + "word…"


# The classes


class Table:
    """Similarities by heart."""

    name = "table"

    def __init__(self, similarity):
        self.similarity = np.array(similarity)

    def __call__(self, texts):
        assert len(texts) == len(self.similarity)
        return self.similarity


SIMILARITY = [
    [1.0, 0.9, 0.9, 0.2, 0.1],
    [0.9, 1.0, 0.6, 0.1, 0.1],
    [0.9, 0.6, 1.0, 0.1, 0.2],
    [0.2, 0.1, 0.1, 1.0, 0.5],
    [0.1, 0.1, 0.2, 0.5, 1.0],
]


def five(threshold):
    told = [Told("before", "p1-before-1", "hub"), Told("before", "p1-before-2", "left")]
    told += [Told("after", f"p1-after-{n}", text) for n, text in enumerate(["right", "x", "y"], 1)]
    names = {"before": "Before", "after": "After"}
    return together(told, names, kernel=Table(SIMILARITY), threshold=threshold)


def test_classes_count_both_models_and_are_represented_by_the_most_central():
    """hub joins left and right at 0.85; x and y stand alone, joined from 0.5 on."""
    found = five(0.85)
    assert [(group.text, group.anchor, group.counts) for group in found.classes] == [
        ("hub", "p1-before-1", [2, 1])
    ]
    assert found.alone == [0, 2]
    assert found.different == [1, 3]
    found = five(0.5)
    assert [(group.text, group.counts) for group in found.classes] == [
        ("hub", [2, 1]),
        ("x", [0, 2]),
    ]
    assert found.alone == [0, 0]
    assert five(0.95).classes == []


def test_equal_answers_need_no_map():
    told = [Told("before", f"p1-before-{n}", "same") for n in (1, 2)]
    found = together(told, {"before": "Before"}, kernel=Table(np.ones((2, 2))), threshold=0.85)
    assert found.map is None and found.share == ""
    assert found.classes[0].counts == [2]


# On the page


def test_the_page_has_a_map_and_classes_of_each_prompt():
    page = Page(render(comparison()))
    assert len(page.all("svg", "map")) == 3
    # "Name a fruit.": Fig twice and Plum before; Fig, Plum and Kiwi after.
    spots = [e["href"] for e in page.all("a", "spot")][:5]
    assert spots == ["#p1-before-1", "#p1-before-2", "#p1-after-1", "#p1-after-2", "#p1-after-3"]
    table = " ".join(page.all("table", "classes")[0]["text"].split())
    assert table.endswith("Fig.21 Plum.11 Like no other answer01 Different answers23")
    assert "The plane holds 100 % of the variation." in page.text
    assert "by shared word pairs (ngram-2): near points" in page.text
    assert "from a similarity of 0.85," in page.text


def test_another_kernel_and_threshold_reach_the_page():
    class Alike:
        name = "all-alike"

        def __call__(self, texts):
            return np.full((len(texts),) * 2, 0.7) + 0.3 * np.eye(len(texts))

    page = Page(render(comparison(), kernel=Alike(), threshold=0.6))
    assert "by meaning (all-alike): near points" in page.text
    assert "from a similarity of 0.6," in page.text
    assert "Different answers11" in " ".join(page.all("table", "classes")[0]["text"].split())
    with pytest.raises(ValueError, match="threshold"):
        render(comparison(), threshold=1.5)


def test_function_words_alone_are_no_phrase():
    rows = [sample(f"p{n}", "Tell.", [f"one of the {n}"], 1.0) for n in range(3)]
    assert "No phrase of three words or more" in Page(render(comparison(samples=(rows,) * 2))).text


def test_phrases_are_counted_before_and_after():
    often = [f"Once upon a time {n}" for n in ("a cat", "two dogs", "the fox", "my hen")]
    before = [sample("p1", "Tell.", often, 1.0)]
    after = [sample("p1", "Tell.", [*often[:1], "Night fell.", "Rain.", "Snow."], 2.0)]
    page = Page(render(comparison(samples=(before, after))))
    (table,) = page.all("table", "said")
    told = " ".join(table["text"].split())
    assert "Before of 4 answers After of 4 answers" in told
    assert told.endswith("once upon a time4 in 1 prompt1 in 1 prompt")
    plain = Page(render(comparison()))
    assert "No phrase of three words or more" in plain.text


# What is too long


def test_room_goes_to_the_longer_answers():
    """1000 for 10, 500 and 900: 10 stays whole, 990 are left for two, 495 each."""
    assert longest_shown([900, 10, 500], page=1000) == 495
    assert longest_shown([5, 5], page=10) == 20_000
    assert longest_shown([], page=10, most=7) == 7
    with pytest.raises(ValueError, match="at least 1"):
        longest_shown([1], page=0)


def test_an_answer_of_ten_megabytes_is_cut_with_a_note():
    huge = "tale " * 2_000_000
    html = render(comparison(samples=([sample("a", "?", [huge, "short"], 1.0)],) * 2))
    assert len(html) < 200_000
    page = Page(html)
    notes = [e["text"] for e in page.all("p", "empty")]
    assert notes == ["Cut here: the first 20,000 of 10,000,000 characters."] * 2
    assert "Answers longer than 20,000 characters are cut" in page.text
    assert max(len(e["text"]) for e in page.all("div", "text")) == 20_000
    assert not re.search("are cut", Page(render(comparison())).text)
