"""The figures as SVG files that stand alone: for a paper, a slide or another page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

from markupsafe import Markup

from diversify.evaluation.generate import write_atomically
from diversify.evaluation.report.prompts import Prompts
from diversify.evaluation.report.svg import tag
from diversify.evaluation.report.view import Page

__all__ = ["figures_of", "standalone", "write_all"]

NAMESPACE = "http://www.w3.org/2000/svg"
# The dumbbells in one picture: a column for the prompts and one for the lines, a row each.
NAMES_WIDTH, LINES_WIDTH, ROW = 360.0, 520.0, 26.0
LETTERS = 52


def write_all(page: Page, folder: Path) -> list[Path]:
    """Write every figure of a page into a folder and return the paths, in the order of the page."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in figures_of(page):
        paths.append(folder / f"{name}.svg")
        write_atomically(paths[-1], standalone(figure))
    return paths


def figures_of(page: Page) -> Iterator[tuple[str, Markup]]:
    """Name the figures of a page: the plots of the sweep, the dumbbells, then those of each prompt.

    The names have no letters of a model or a file in them, so that they are safe on every disk;
    prompts are numbered as on the page, the greatest gain first.
    """
    for number, plots in enumerate(page.plots, start=1):
        for panel_number, panel in enumerate(plots.panels, start=1):
            yield f"frontier-{number}-{panel_number}", panel.figure
    if page.prompts is None:
        return
    if page.prompts.axis is not None:
        yield "dumbbells", _dumbbells(page.prompts, page.prompts.axis)
    for number, view in enumerate(page.prompts.views, start=1):
        if view.together.map is not None:
            yield f"prompt-{number:03d}-map", view.together.map
        for side in view.sides:
            if side.heat is not None:
                yield f"prompt-{number:03d}-similarity-{side.kind}", side.heat


def _dumbbells(prompts: Prompts, axis: Markup) -> Markup:
    """Put the dumbbells of all prompts below each other, each with the beginning of its prompt."""
    width = NAMES_WIDTH + LINES_WIDTH + 2 * ROW
    height = ROW * (len(prompts.views) + 1)
    measured = tag("text", prompts.measure.title, x=NAMES_WIDTH - 8, y=13, text_anchor="end")
    rows = [measured, _at(axis, 0)]
    for number, view in enumerate(prompts.views, start=1):
        told = " ".join(view.text[: 4 * LETTERS].split())
        told = told if len(told) <= LETTERS else told[: LETTERS - 1] + "…"
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
    place = tag("svg", x=NAMES_WIDTH + ROW, y=top, width=LINES_WIDTH, height=ROW)
    opening = place.removesuffix("></svg>")
    return Markup(f"{opening} {figure.removeprefix('<svg ')}")


def standalone(figure: Markup) -> str:
    """Return a figure as the text of an SVG file, in the colours of the light page.

    The style is written out without variables, which many programs that draw SVG do not know, and
    what only works on the page, links and the texts behind points, is left out.

    Raises:
        ParseError: the figure is not well-formed.

    Example:
        >>> print(standalone(tag("svg", tag("circle", r=4, class_="dot"), viewBox="0 0 9 9"))[:73])
        <svg viewBox="0 0 9 9" xmlns="http://www.w3.org/2000/svg"><style>.mark, .
    """
    root = ElementTree.fromstring(figure)
    for parent in root.iter():
        for child in list(parent):
            if child.tag == "foreignObject":
                parent.remove(child)
            elif child.tag == "a":
                child.tag = "g"
                child.attrib.clear()
    root.set("xmlns", NAMESPACE)
    root.attrib.pop("style", None)
    style = ElementTree.Element("style")
    style.text = light_style()
    root.insert(0, style)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def light_style() -> str:
    """Return the style sheet of the figures with the light palette in the place of variables."""
    templates = files("diversify.evaluation.report") / "templates"
    palette = (templates / "palette.css").read_text("utf-8").partition("@media")[0]
    colours = dict(re.findall(r"--([\w-]+):\s*([^;]+);", palette))
    style = (templates / "figures.css").read_text("utf-8")
    # The colour of a kind reaches its marks by inheritance, with a variable or without.
    style = style.replace("--tone:", "color:").replace("var(--tone)", "currentcolor")
    return re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], style)
