"""The view over several models: how alike they are, who echoes whom, which clichés they share."""

from diversify.evaluation.panel.report import Panel
from diversify.evaluation.panel.scoring import panel

__all__ = ["Panel", "panel"]
