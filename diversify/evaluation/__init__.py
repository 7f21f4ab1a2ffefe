"""The instrument: prompts → run folder → report → comparison with a verdict."""

from diversify.evaluation.change import Change, paired_change
from diversify.evaluation.compare import Comparison, compare
from diversify.evaluation.evaluate import Report, evaluate, load_report
from diversify.evaluation.exporters import model_index
from diversify.evaluation.frontier import Frontier, Standing, frontier
from diversify.evaluation.generate import Run, generate, load_run
from diversify.evaluation.importers import import_run
from diversify.evaluation.markdown import markdown_summary
from diversify.evaluation.panel import Panel, panel
from diversify.evaluation.prompt_sets import PromptRow, PromptSet, load_prompts, shipped_sets

__all__ = [
    "Change",
    "Comparison",
    "Frontier",
    "Panel",
    "PromptRow",
    "PromptSet",
    "Report",
    "Run",
    "Standing",
    "compare",
    "evaluate",
    "frontier",
    "generate",
    "import_run",
    "load_prompts",
    "load_report",
    "load_run",
    "markdown_summary",
    "model_index",
    "paired_change",
    "panel",
    "shipped_sets",
]
