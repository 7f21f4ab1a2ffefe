"""The report: a comparison as one HTML page that opens from a disk, with no network and no script."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from diversify.evaluation.compare import Comparison
from diversify.evaluation.generate import write_atomically
from diversify.evaluation.report.view import page
from diversify.evaluation.report.visible import visible

__all__ = ["render", "write_report"]


def write_report(
    comparison: Comparison,
    path: str | Path,
    *,
    title: str | None = None,
    also: Mapping[str, Comparison] | None = None,
) -> Path:
    """Write the report of a comparison as one self-contained HTML file.

    Args:
        comparison: what `compare` returned, with its samples.
        path: the file to write; missing folders are made, an existing file is replaced in one step.
        title: of the page; by default the two labels.
        also: label -> a further comparison from the same before model, shown beside the first.

    Returns:
        The path.

    Raises:
        ValueError: a further comparison starts from another model, or there are more than four.
    """
    path = Path(path)
    told = render(comparison, title=title, also=also)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, told)
    return path


def render(
    comparison: Comparison,
    *,
    title: str | None = None,
    also: Mapping[str, Comparison] | None = None,
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
    return environment.get_template("report.html.j2").render(
        page=page(comparison, title, also or {})
    )


def _spelt_out(value: Any) -> Any:
    """Spell out invisible characters in every text that the template writes."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
