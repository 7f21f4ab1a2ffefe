"""The figures as files: well-formed, alone, without variables, and with hostile text inside."""

import re
from xml.etree import ElementTree

import pytest

from diversify.evaluation.report import write_figures
from diversify.evaluation.report.files import light_style, standalone
from diversify.evaluation.report.legend import heat_legend, model_legend
from diversify.evaluation.report.svg import LETTER, columns, tag
from evaluation.pages import HOSTILE, comparison, injected, sample, with_sweep

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


def test_prompts_in_wide_scripts_fit_beside_their_dumbbells(tmp_path):
    """A letter of a wide script takes two columns of 52: 25 of them, and one for the ellipsis."""
    text = "请写一首关于春天的短诗" * 9
    rows = [sample("p1", text, ["a", "b"], 1.0), sample("p2", text[:26], ["a", "b"], 1.0)]
    paths = write_figures(comparison(samples=(rows, rows)), tmp_path)
    root = ElementTree.fromstring(paths[0].read_text("utf-8"))
    assert [e.text for e in root.findall(f"{SVG}text")][1:] == [text[:25] + "…", text[:26]]


@pytest.mark.parametrize("count", [1, 2, 6, 30])
def test_a_picture_is_as_wide_as_its_legend(tmp_path, count):
    """The steps of colour begin 18 from the edge, take 120, and a "1" stands behind them."""
    rows = [sample("p1", "Q?", [f"answer {n}" for n in range(count)], 1.0)]
    write_figures(comparison(samples=(rows, rows)), tmp_path)
    root = ElementTree.fromstring((tmp_path / "prompt-001-similarity-before.svg").read_text())
    width = float(root.get("width"))
    last = max(float(e.get("x", 0)) for e in root.findall(f"{SVG}g")[-1].iter(f"{SVG}text"))
    assert last == 134 and root.get("viewBox").split()[2] == root.get("width")
    assert width >= 8 + last + LETTER
    assert (width < 160) == (count <= 6)  # a larger figure keeps its own width


def test_names_in_wide_scripts_fit_into_a_legend():
    """Of 152 units, 20 letters of 7.6 each: 9 wide ones and the ellipsis."""
    legend = heat_legend("请写一首关于春天的短诗", width=152.0)
    assert "请写一首关于春天的…" in legend.drawn and legend.width <= 152
    legend = model_legend([("before", "春" * 60), ("after", "诗" * 4)], width=200.0)
    told = re.findall("[春诗…]+", legend.drawn)
    assert told[0].endswith("…") and told[1] == "诗" * 4
    assert all(36 + LETTER * columns(text) <= 200 for text in told) and legend.width <= 200


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
