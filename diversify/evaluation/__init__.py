"""The instrument: prompts → run folder → report → comparison with a verdict."""

from diversify.evaluation.compare import Comparison, compare
from diversify.evaluation.evaluate import evaluate
from diversify.evaluation.exporters import model_index
from diversify.evaluation.frontier import Frontier, Standing, frontier
from diversify.evaluation.frontiers import FrontierGap, compare_frontiers
from diversify.evaluation.generate import Run, generate, load_run
from diversify.evaluation.importers import import_run
from diversify.evaluation.markdown import markdown_summary
from diversify.evaluation.panel import Panel, panel
from diversify.evaluation.prompt_sets import PromptRow, PromptSet, load_prompts, shipped_sets
from diversify.evaluation.reports import Report, load_report
from diversify.evaluation.richness import measures_named
from diversify.evaluation.runs.drawing import draw_rows
from diversify.evaluation.runs.merging import merge_runs, merge_samples
from diversify.evaluation.runs.parts import Shard
from diversify.evaluation.statistics.change import Change, paired_change

__all__ = [
    "Change",
    "Comparison",
    "Frontier",
    "FrontierGap",
    "Panel",
    "PromptRow",
    "PromptSet",
    "Report",
    "Run",
    "Shard",
    "Standing",
    "compare",
    "compare_frontiers",
    "draw_rows",
    "evaluate",
    "frontier",
    "generate",
    "import_run",
    "load_prompts",
    "load_report",
    "load_run",
    "markdown_summary",
    "measures_named",
    "merge_runs",
    "merge_samples",
    "model_index",
    "paired_change",
    "panel",
    "shipped_sets",
]
