"""diversify: train, decode and measure language models that stop answering with one voice.

Importing this package loads neither torch nor transformers. The light names below come from the
numpy core and are loaded when they are first used; everything else lives in the submodule that says
what it is (`diversify.rewards`, `diversify.decoding`, `diversify.evaluation`, …).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diversify.credit import leave_one_out, partition, select
    from diversify.kernels import EmbeddingKernel, EquivalenceKernel, NgramKernel
    from diversify.measures import (
        MEASURES,
        distinct,
        log_det,
        mean_distance,
        nearest_distance,
        vendi,
    )

__version__ = "0.1.0"

__all__ = [
    "MEASURES",
    "EmbeddingKernel",
    "EquivalenceKernel",
    "NgramKernel",
    "__version__",
    "distinct",
    "leave_one_out",
    "log_det",
    "mean_distance",
    "nearest_distance",
    "partition",
    "select",
    "vendi",
]


def __getattr__(name: str) -> Any:
    # SciPy costs a third of a second: a command that prints its help need not pay it.
    if name in __all__:
        for home in ("credit", "kernels", "measures"):
            module = import_module(f"diversify.{home}")
            if name in getattr(module, "__all__", vars(module)):
                return getattr(module, name)
    raise AttributeError(f"module 'diversify' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
