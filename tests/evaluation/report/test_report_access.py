"""What stands for a figure: tables and legends; and the numbers on the page are the comparison's."""

import itertools
import json
import re
from xml.etree import ElementTree

import numpy as np
import pytest

from diversify.evaluation import Change
from diversify.evaluation.report import render, write_figures
from diversify.evaluation.report.legend import heat_legend, model_legend
from diversify.evaluation.report.similarity_table import FEW, similarity_table
from diversify.evaluation.wording.written import style_of
from evaluation.pages import Page, comparison, sample, with_sweep

SVG = "{http://www.w3.org/2000/svg}"
FOUR = np.array([[1, 0.9, 0.2, 0.1], [0.9, 1, 0.3, 0], [0.2, 0.3, 1, 0.6], [0.1, 0, 0.6, 1]])


def test_every_pair_is_told_once_in_the_order_of_the_heat_map():
    """Order 3, 1, 2, 4: rows 1 (0.2), 2 (0.3, 0.9), 4 (0.6, 0.1, 0)."""
    table = similarity_table(FOUR, [2, 0, 1, 3])
    assert table.pairs and table.head == ["Answer", "3", "1", "2"]
    assert table.rows == [
        ["1", "0.20"],
        ["2", "0.30", "0.90"],
        ["4", "0.60", "0.10", "0.00"],
    ]


def test_many_answers_have_a_line_each():
    """Of answer 1: mean (0.9 + 0.2 + 0.1) / 3, most like 2, least like 4."""
    table = similarity_table(FOUR, [0, 1, 2, 3], few=3)
    assert not table.pairs and len(table.rows) == 4
    assert table.rows[0] == ["1", "0.40", "2 (0.90)", "4 (0.10)"]
    assert similarity_table(np.eye(FEW), range(FEW)).pairs
    assert not similarity_table(np.eye(FEW + 1), range(FEW + 1)).pairs
    assert similarity_table(np.eye(1), [0]) is None


def test_each_heat_map_and_the_dumbbells_have_a_table():
    page = Page(render(comparison()))
    heats = page.all("svg", "heat")
    tables = page.all("table", "pairs")
    assert len(tables) == len(heats) == 6
    assert "0.25" in tables[0]["text"]
    captions = [caption["text"] for caption in page.all("caption")]
    assert "Effective number of answers (Vendi) of each prompt" in captions


def cells(page, code):
    """The cells of the row of the main table with a code."""
    named = next(e for e in page.all("code") if e["text"] == code)
    after = page.elements[page.elements.index(named) :]
    row = itertools.takewhile(lambda element: element["tag"] not in ("tr", "tbody"), after)
    return [element["text"] for element in row if element["tag"] == "td"]


def told(text):
    """The numbers of a cell as (value, half of its last digit), shares as they are."""
    found = []
    for number in re.findall("[+\N{MINUS SIGN}]?[0-9.]+", text):
        decimals = len(number.partition(".")[2])
        value = float(number.replace("\N{MINUS SIGN}", "-"))
        scale = 100 if "%" in text or "points" in text else 1
        found.append((value / scale, 0.5001 * 10.0**-decimals / scale))
    return found


def test_the_numbers_on_the_page_are_those_of_the_file(tmp_path):
    found = with_sweep()
    record = json.loads(found.save(tmp_path).read_text("utf-8"))
    page = Page(render(found))
    checked = 0
    for section in ("measures", "qualities", "monitors"):
        for code, row in record[section].items():
            before, after, difference, _, improved = cells(page, code)
            expected = [row["before"], row["after"], row["difference"], *row["ci95"]]
            shown = told(before) + told(after) + told(difference)
            assert len(shown) == 5, code
            for value, (number, half) in zip(expected, shown, strict=True):
                assert abs(value - number) <= half, (code, value, number)
            assert f"of {row['n_prompts']}" in improved
            checked += 1
    assert checked == 8


@pytest.mark.parametrize(
    ("change", "decimals"),
    [
        (Change(14.1, 14.3, 0.16, (0.04, 0.34), 9, 0.5, True), 2),  # 0.04 must not read as 0.0
        (Change(14.1, 14.3, 0.16, (-0.04, 0.34), 9, 0.5, True), 1),  # nothing is certain here
        (Change(14.1, 14.1, 0.004, (-1.0, 1.0), 9, 0.5, True), 3),
        (Change(14.1, 14.1, 0.0, (0.0, 0.0), 9, 0.5, True), 1),
        (Change(1.0, 2.0, 1.0, (0.5, float("inf")), 9, 0.5, True), 2),
    ],
)
def test_what_is_certain_never_reads_as_zero(change, decimals):
    assert style_of(change).decimals == decimals


# Figures that leave the page


def test_legends_wrap_and_cut():
    models = [("before", "Before"), ("after", "After"), ("also-0", "w" * 90)]
    drawn = ElementTree.fromstring(model_legend(models, width=300).drawn)
    places = [entry.get("transform") for entry in drawn]
    assert len({place.split()[1] for place in places}) == 2  # the long name has its own line
    texts = [text.text for text in drawn.iter("text")]
    assert texts[:2] == ["Before", "After"] and texts[2].endswith("…") and len(texts[2]) < 40
    steps = ElementTree.fromstring(heat_legend("After", width=256).drawn)
    assert [text.text for text in steps.iter("text")] == ["After", "0", "1"]
    assert [path.get("class") for path in steps.iter("path")] == [f"h{n}" for n in range(10)]


def test_files_say_what_the_page_says_beside_the_figure(tmp_path):
    paths = write_figures(comparison(), tmp_path, also={"more": comparison()})
    named = {path.stem: ElementTree.fromstring(path.read_text("utf-8")) for path in paths}
    for name in ("dumbbells", "prompt-001-map"):
        texts = [text.text for text in named[name].iter(f"{SVG}text")]
        assert texts[-3:] == ["Before", "After", "more"]
    assert "Point at" not in (tmp_path / "prompt-001-map.svg").read_text("utf-8")
    texts = [text.text for text in named["prompt-001-similarity-after"].iter(f"{SVG}text")]
    assert texts[-3:] == ["After", "0", "1"]
    for root in named.values():
        box = root.get("viewBox").split()
        assert [root.get("width"), root.get("height")] == box[2:]
        (paper,) = [e for e in root.findall(f"{SVG}rect") if e.get("width") == "100%"]
        assert paper.get("fill") == "#ffffff"
    # The numbers of the axis may reach beyond its room.
    inner = named["dumbbells"].findall(f"{SVG}svg")
    assert inner and all(svg.get("overflow") == "visible" for svg in inner)


def test_many_answers_get_the_short_table_on_the_page():
    texts = [f"Answer {number}." for number in range(FEW + 1)]
    row = [sample("p1", "Tell.", texts, 2.0)]
    page = Page(render(comparison(samples=(row, row))))
    tables = page.all("table", "pairs")
    assert len(tables) == 2 and "Most alike" in tables[0]["text"]
