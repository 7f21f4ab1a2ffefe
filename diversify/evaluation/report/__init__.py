"""The report: a comparison as one HTML page that opens from a disk, with no network and no script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from diversify.evaluation.compare import Comparison
from diversify.evaluation.generate import write_atomically
from diversify.evaluation.report.cut import beginning
from diversify.evaluation.report.files import write_all
from diversify.evaluation.report.prompts import Ruler
from diversify.evaluation.report.view import page
from diversify.evaluation.wording.visible import visible
from diversify.kernels import Kernel, NgramKernel
from diversify.measures import DISTINCT_THRESHOLD

__all__ = ["render", "write_figures", "write_report"]


def write_report(
    comparison: Comparison,
    path: str | Path,
    *,
    title: str | None = None,
    also: Mapping[str, Comparison] | None = None,
    kernel: Kernel | None = None,
    threshold: float = DISTINCT_THRESHOLD,
) -> Path:
    """Write the report of a comparison as one self-contained HTML file.

    Args:
        comparison: what `compare` returned, with its samples.
        path: the file to write; missing folders are made, an existing file is replaced in one step.
        title: of the page; by default the two labels.
        also: label -> a further comparison from the same before model, shown beside the first.
        kernel: compares the answers of all the models to a prompt with each other, for the maps and
            the classes of equal answers; by default the overlap of word pairs, which needs no
            model. The numbers and the heat maps come from the comparison.
        threshold: from which of its similarities on two answers are the same.

    Returns:
        The path.

    Raises:
        ValueError: a further comparison starts from another model, or there are more than four, or
            the threshold is outside [-1, 1].
    """
    path = Path(path)
    told = render(comparison, title=title, also=also, kernel=kernel, threshold=threshold)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, told)
    return path


def render(
    comparison: Comparison,
    *,
    title: str | None = None,
    also: Mapping[str, Comparison] | None = None,
    kernel: Kernel | None = None,
    threshold: float = DISTINCT_THRESHOLD,
) -> str:
    """Return the report as HTML; see `write_report`."""
    environment = Environment(
        loader=PackageLoader("diversify.evaluation.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_spelt_out,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["beginning"] = beginning
    return environment.get_template("report.html.j2").render(
        page=page(comparison, title, also or {}, Ruler(kernel or NgramKernel(2), threshold))
    )


def write_figures(
    comparison: Comparison,
    folder: str | Path,
    *,
    also: Mapping[str, Comparison] | None = None,
    kernel: Kernel | None = None,
    threshold: float = DISTINCT_THRESHOLD,
) -> list[Path]:
    """Write each figure of the report as an SVG file of its own, in the colours of the light page.

    The plots against temperature are `frontier-<measure>-<quality>.svg`, numbered as on the page;
    `dumbbells.svg` has all prompts; `prompt-<number>-map.svg` and
    `prompt-<number>-similarity-<before or after>.svg` belong to the prompts in the page's order.

    Args:
        comparison: what `compare` returned, with its samples.
        folder: where to; it is made if missing, files of the same names are replaced.
        also: as for `write_report`.
        kernel: as for `write_report`.
        threshold: as for `write_report`.

    Returns:
        The paths, in the order of the page.

    Raises:
        ValueError: as `write_report`.
    """
    ruler = Ruler(kernel or NgramKernel(2), threshold)
    return write_all(page(comparison, None, also or {}, ruler), Path(folder))


def _spelt_out(value: Any) -> Any:
    """Spell out invisible characters in every text that the template writes."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
