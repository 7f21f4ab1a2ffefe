"""The figure of many methods: a well-formed file that stands alone and says what it shows."""

import re
from xml.etree import ElementTree

import pytest

from diversify.evaluation.report.frontier_plot import Point, Swept
from diversify.evaluation.report.methods_plot import KINDS, methods_plot

SVG = "{http://www.w3.org/2000/svg}"
SWEEP = [Swept(0.5, 0.4, 1.0), Swept(1.0, 0.2, 2.0)]


def plot(points, sweep=SWEEP):
    return str(methods_plot(sweep, points, quality="valid", measure="different", summary="said"))


def test_every_method_is_where_its_numbers_are():
    """More quality lies to the right, more diversity higher up, and equal ones on one height."""
    points = [Point("sampler", "a", 0.2, 1.0), Point("selection", "b & c", 0.4, 2.0)]
    root = ElementTree.fromstring(plot(points))
    marks = {each.get("data-method"): each for each in root.iter() if each.get("data-method")}
    assert set(marks) == {"a", "b & c"}
    spots = {
        name: tuple(map(float, re.findall(r"[\d.]+", mark.get("transform"))))
        for name, mark in marks.items()
    }
    assert spots["a"][0] < spots["b & c"][0] and spots["a"][1] > spots["b & c"][1]
    dots = [(float(dot.get("cx")), float(dot.get("cy"))) for dot in root.iter(f"{SVG}circle")]
    assert dots[0] == pytest.approx((spots["b & c"][0], spots["a"][1]), abs=0.1)
    told = [text.text for text in root.iter(f"{SVG}text")]
    assert {"a", "b & c", "T 0.5", "T 1", "valid →", "different →"} <= set(told)


def test_the_legend_names_the_kinds_that_there_are():
    told = plot([Point("strategy", "a", 0.3, 1.5)])
    assert KINDS["strategy"][0] in told and KINDS["sampler"][0] not in told


def test_the_file_needs_nothing_else():
    root = ElementTree.fromstring(plot([Point(kind, kind, 0.3, 1.5) for kind in KINDS]))
    assert root.tag == f"{SVG}svg" and root.find(f"{SVG}style") is not None
    links = [name for each in root.iter() for name in each.attrib if "href" in name]
    assert links == [] and "url(" not in plot([])


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match="kind must be one of"):
        plot([Point("other", "a", 0.3, 1.5)])
    with pytest.raises(ValueError, match="needs a curve"):
        plot([], sweep=[])
