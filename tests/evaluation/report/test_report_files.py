"""The figures as files: well-formed, alone, without variables, and with hostile text inside."""

import re
from xml.etree import ElementTree

import pytest

from diversify.evaluation.report import write_figures
from diversify.evaluation.report.files import light_style, standalone
from diversify.evaluation.report.svg import tag
from evaluation.pages import HOSTILE, comparison, injected, with_sweep

SVG = "{http://www.w3.org/2000/svg}"


def test_every_figure_becomes_a_file_in_the_order_of_the_page(tmp_path):
    paths = write_figures(with_sweep(), tmp_path / "new")
    assert sorted(paths) == sorted((tmp_path / "new").iterdir())
    names = [path.name for path in paths]
    assert names[:6] == [
        "frontier-1-1.svg",
        "frontier-2-1.svg",
        "dumbbells.svg",
        "prompt-001-map.svg",
        "prompt-001-similarity-before.svg",
        "prompt-001-similarity-after.svg",
    ]
    assert len(names) == 2 + 1 + 3 * 3
    for path in paths:
        root = ElementTree.fromstring(path.read_text("utf-8"))
        assert root.tag == f"{SVG}svg" and root.get("viewBox")
        assert root.find(f"{SVG}style") is not None


def test_the_dumbbells_name_their_prompts(tmp_path):
    paths = write_figures(comparison(), tmp_path)
    root = ElementTree.fromstring(paths[0].read_text("utf-8"))
    texts = [element.text for element in root.findall(f"{SVG}text")]
    assert texts == [
        "Effective number of answers (Vendi)",
        "Name a fruit.",
        "Name a colour.",
        "Name a river.",
    ]
    assert len(root.findall(f"{SVG}svg")) == 4  # the axis and a line for each prompt


def test_files_use_no_variables_links_or_page_texts(tmp_path):
    for path in write_figures(with_sweep(), tmp_path, also={"more": comparison()}):
        text = path.read_text("utf-8")
        for foreign in ("var(", "--", "foreignObject", "<a", "href"):
            assert foreign not in text, (path.name, foreign)
    style = light_style()
    assert ".before { color: #6f6a60; }" in style
    assert re.search(r"\.heat path[^}]*stroke: rgb\(10, 99, 168\)", style)


@pytest.mark.parametrize("text", [*HOSTILE, "a\x00\u202e\ufffeb"])
def test_hostile_text_leaves_files_well_formed(tmp_path, text):
    for path in write_figures(injected(text), tmp_path):
        root = ElementTree.fromstring(path.read_text("utf-8"))
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
            *("svg", "style", "title", "desc", "text", "tspan"),
            *("g", "path", "line", "circle", "rect"),
        }
        assert not [name for e in root.iter() for name in e.attrib if name.startswith("on")]


def test_links_become_groups_and_hidden_texts_go():
    figure = tag("svg", tag("a", tag("circle", r=1), tag("foreignObject", "told"), href="#x"))
    root = ElementTree.fromstring(standalone(figure))
    (group,) = root.findall(f"{SVG}g")
    assert [child.tag for child in group] == [f"{SVG}circle"] and not group.attrib


def test_a_comparison_without_answers_has_no_figures(tmp_path):
    assert write_figures(comparison(samples=([], [])), tmp_path) == []
