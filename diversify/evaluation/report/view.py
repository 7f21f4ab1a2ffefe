"""From a comparison to the plain data that the template writes down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from markupsafe import Markup

from diversify.evaluation.compare import Comparison
from diversify.evaluation.report import method
from diversify.evaluation.report.figures import SHAPES, legend_marker
from diversify.evaluation.report.names import lead_measure
from diversify.evaluation.report.prompts import Prompts, Ruler, prompt_views
from diversify.evaluation.report.sweep import Plots, sweep_plots
from diversify.evaluation.report.table import Group, table
from diversify.evaluation.report.verdict import Badge, badges, deck, headline
from diversify.evaluation.wording.apart import labels_apart, run_of


class Model(NamedTuple):
    """One compared model: its role in the report, its label and its marker."""

    role: str
    kind: str
    label: str
    marker: Markup


class Further(NamedTuple):
    """The verdict on a further comparison from the same model."""

    label: str
    headline: str
    badges: list[Badge]


class Page(NamedTuple):
    """Everything on the page."""

    title: str
    headline: str
    deck: str
    models: list[Model]
    markers: dict[str, Markup]
    badges: list[Badge]
    further: list[Further]
    groups: list[Group]
    tested: bool
    corrected: bool
    swept: bool
    plots: list[Plots]
    prompts: Prompts | None
    settings: list[method.Setting]
    facts: list[method.Fact]
    notes: tuple[str, ...]
    commands: list[str]


def page(
    comparison: Comparison, title: str | None, also: Mapping[str, Comparison], ruler: Ruler
) -> Page:
    """Return the content of the report.

    Raises:
        ValueError: a further comparison starts from another model, or there are too many.
    """
    if len(also) > len(SHAPES):
        raise ValueError(f"at most {len(SHAPES)} further comparisons fit, got {len(also)}")
    before = comparison.labels[0]
    for label, other in also.items():
        if other.labels[0] != before:
            raise ValueError(
                f"the comparison {label!r} starts from {other.labels[0]!r}, the report from {before!r}"
            )
    lead = lead_measure(comparison)
    models = _models(comparison, also)
    return Page(
        title=title or f"{models[0].label} → {models[1].label}",
        headline=headline(comparison),
        deck=deck(comparison),
        models=models,
        markers={model.kind: model.marker for model in models},
        badges=badges(comparison.verdict),
        further=[Further(n, headline(c), badges(c.verdict)) for n, c in also.items()],
        groups=table(comparison, also),
        tested=any(change.p_value is not None for change in comparison.measures.values()),
        corrected=any(change.p_holm is not None for change in comparison.measures.values()),
        swept=comparison.frontier is not None,
        plots=sweep_plots(comparison, also),
        prompts=(
            prompt_views(comparison, also, lead, ruler) if lead and comparison.samples[0] else None
        ),
        settings=method.settings(comparison, also),
        facts=method.facts(comparison),
        notes=method.NOTES,
        commands=method.commands(comparison),
    )


def _models(comparison: Comparison, also: Mapping[str, Comparison]) -> list[Model]:
    models = [comparison, *also.values()]
    labels = [comparison.labels[0], *(model.labels[1] for model in models)]
    runs = [run_of(comparison.details, "before")]
    runs += [run_of(model.details, "after") for model in models]
    roles = ["Before", "After", *also]
    kinds = ["before", "after", *(f"also-{number}" for number in range(len(also)))]
    found = zip(roles, kinds, labels_apart(labels, runs), strict=True)
    return [Model(role, kind, label, legend_marker(kind)) for role, kind, label in found]
