"""What needs TRL: thin trainers, one overridden method each, and what the recipes share.

The trainers are loaded when they are first used: whoever only scores answers need not wait for TRL.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diversify.trainers.gem import GEMTrainer
    from diversify.trainers.grpo import DiversityGRPOTrainer
    from diversify.trainers.preference import SPLTrainer, WeightedDPOTrainer

__all__ = ["DiversityGRPOTrainer", "GEMTrainer", "SPLTrainer", "WeightedDPOTrainer"]

HOMES = {
    "DiversityGRPOTrainer": "grpo",
    "GEMTrainer": "gem",
    "SPLTrainer": "preference",
    "WeightedDPOTrainer": "preference",
}


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(import_module(f"diversify.trainers.{HOMES[name]}"), name)
    raise AttributeError(f"module 'diversify.trainers' has no attribute {name!r}")
