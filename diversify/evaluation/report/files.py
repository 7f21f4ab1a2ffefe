"""The figures as SVG files that stand alone: for a paper, a slide or another page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from markupsafe import Markup

from diversify.evaluation.generate import write_atomically
from diversify.evaluation.report.answer_map import FRAME
from diversify.evaluation.report.answer_map import WIDTH as MAP_WIDTH
from diversify.evaluation.report.legend import Legend, heat_legend, model_legend
from diversify.evaluation.report.prompts import Prompts, Side
from diversify.evaluation.report.svg import shortened, tag
from diversify.evaluation.report.view import Page

__all__ = ["Figure", "figures_of", "standalone", "write_all"]

NAMESPACE = "http://www.w3.org/2000/svg"
# The dumbbells in one picture: a column for the prompts and one for the lines, a row each.
NAMES_WIDTH, LINES_WIDTH, ROW = 360.0, 520.0, 26.0
LETTERS = 52
# Room around a legend, and the colour behind a figure.
MARGIN, WHITE = 8.0, "#ffffff"


class Figure(NamedTuple):
    """A figure for a file.

    Args:
        name: of the file, without its ending.
        drawn: as on the page.
        legend: what the page says beside it, if anything.
        height: where the legend begins; below the whole figure if it is None.
    """

    name: str
    drawn: Markup
    legend: Legend | None = None
    height: float | None = None


def write_all(page: Page, folder: Path) -> list[Path]:
    """Write every figure of a page into a folder and return the paths, in the order of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for figure in figures_of(page):
        paths.append(folder / f"{figure.name}.svg")
        told = standalone(figure.drawn, legend=figure.legend, height=figure.height)
        write_atomically(paths[-1], told)
    return paths


def figures_of(page: Page) -> Iterator[Figure]:
    """Name the figures of a page: the plots of the sweep, the dumbbells, then those of each prompt.

    The names have no letters of a model or a file in them, so that they are safe on every disk;
    prompts are numbered as on the page, the greatest gain first.
    """
    for number, plots in enumerate(page.plots, start=1):
        for panel_number, panel in enumerate(plots.panels, start=1):
            yield Figure(f"frontier-{number}-{panel_number}", panel.figure)
    if page.prompts is None:
        return
    models = [(model.kind, model.role) for model in page.models]
    if page.prompts.axis is not None:
        legend = model_legend(models, width=LINES_WIDTH)
        yield Figure("dumbbells", _dumbbells(page.prompts, page.prompts.axis), legend)
    for number, view in enumerate(page.prompts.views, start=1):
        if view.together.map is not None:
            legend = model_legend(models, width=MAP_WIDTH - 2 * MARGIN)
            # Below the frame there is room for a text that is pointed at, which no file has.
            height = FRAME.bottom + MARGIN
            yield Figure(f"prompt-{number:03d}-map", view.together.map, legend, height)
        for side in view.sides:
            if side.heat is not None:
                yield _heat(f"prompt-{number:03d}-similarity-{side.kind}", side, side.heat)


def _heat(name: str, side: Side, drawn: Markup) -> Figure:
    width, _ = _size(ElementTree.fromstring(drawn))
    return Figure(name, drawn, heat_legend(side.label, width=width))


def _dumbbells(prompts: Prompts, axis: Markup) -> Markup:
    """Put the dumbbells of all prompts below each other, each with the beginning of its prompt."""
    width = NAMES_WIDTH + LINES_WIDTH + 2 * ROW
    height = ROW * (len(prompts.views) + 1)
    measured = tag("text", prompts.measure.title, x=NAMES_WIDTH - 8, y=13, text_anchor="end")
    rows = [measured, _at(axis, 0)]
    for number, view in enumerate(prompts.views, start=1):
        told = shortened(" ".join(view.text[: 4 * LETTERS].split()), LETTERS)
        middle = ROW * number + ROW / 2 + 4
        rows.append(tag("text", told, x=NAMES_WIDTH - 8, y=middle, text_anchor="end"))
        if view.figure is not None:
            rows.append(_at(view.figure, ROW * number))
    return tag(
        "svg",
        tag("title", f"{prompts.measure.title} of each prompt, before and after"),
        *rows,
        viewBox=f"0 0 {width:g} {height:g}",
    )


def _at(figure: Markup, top: float) -> Markup:
    """Place a figure that is as wide as its room into the column of lines."""
    room = {"x": NAMES_WIDTH + ROW, "y": top, "width": LINES_WIDTH, "height": ROW}
    place = tag("svg", **room, overflow="visible")
    opening = place.removesuffix("></svg>")
    return Markup(f"{opening} {figure.removeprefix('<svg ')}")


def standalone(figure: Markup, *, legend: Legend | None = None, height: float | None = None) -> str:
    """Return a figure as the text of an SVG file, in the colours of the light page on white.

    The picture is as wide as the figure, or as its legend where that is wider.

    The style is written out without variables, which many programs that draw SVG do not know, and
    what only works on the page, links and the texts behind points, is left out.

    Args:
        figure: as on the page.
        legend: what is drawn below it.
        height: where the legend begins; below the whole figure if it is None.

    Raises:
        ParseError: the figure is not well-formed.

    Example:
        >>> print(standalone(tag("svg", tag("circle", r=4, class_="dot"), viewBox="0 0 9 9"))[:74])
        <svg viewBox="0 0 9 9" xmlns="http://www.w3.org/2000/svg" width="9" height
    """
    root = ElementTree.fromstring(figure)
    for parent in root.iter():
        for child in list(parent):
            if child.tag == "foreignObject" or child.get("class") == "hint":
                parent.remove(child)
            elif child.tag == "a":
                child.tag = "g"
                child.attrib.clear()
    root.set("xmlns", NAMESPACE)
    root.attrib.pop("style", None)
    width, whole = _size(root)
    if legend is not None:
        top = whole if height is None else height
        drawn = tag("g", legend.drawn, transform=f"translate({MARGIN:g} {top + MARGIN / 2:g})")
        root.append(ElementTree.fromstring(drawn))
        whole = top + legend.height + MARGIN
        width = max(width, legend.width + 2 * MARGIN)
    root.attrib |= {"viewBox": f"0 0 {width:g} {whole:g}"}
    root.attrib |= {"width": f"{width:g}", "height": f"{whole:g}"}
    root.insert(0, ElementTree.Element("rect", {"width": "100%", "height": "100%", "fill": WHITE}))
    style = ElementTree.Element("style")
    style.text = light_style()
    root.insert(0, style)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _size(figure: ElementTree.Element) -> tuple[float, float]:
    """Return width and height of a figure that begins at the corner (0, 0)."""
    width, height = map(float, figure.get("viewBox", "0 0 0 0").split()[2:])
    return width, height


def light_style() -> str:
    """Return the style sheet of the figures, its variables replaced by the light palette on white."""
    templates = files("diversify.evaluation.report") / "templates"
    palette = (templates / "palette.css").read_text("utf-8").partition("@media")[0]
    colours = dict(re.findall(r"--([\w-]+):\s*([^;]+);", palette))
    colours |= {"paper": WHITE, "card": WHITE}
    style = (templates / "figures.css").read_text("utf-8")
    # The colour of a kind reaches its marks by inheritance, with a variable or without.
    style = style.replace("--tone:", "color:").replace("var(--tone)", "currentcolor")
    return re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], style)
