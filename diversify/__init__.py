"""diversify: train, decode and measure language models that stop answering with one voice.

Importing this package loads neither torch nor transformers. The light names below come from the
numpy core; everything else lives in the submodule that says what it is (`diversify.rewards`,
`diversify.decoding`, `diversify.evaluation`, …).
"""

from diversify.credit import leave_one_out, partition, select
from diversify.kernels import EmbeddingKernel, EquivalenceKernel, NgramKernel
from diversify.measures import MEASURES, distinct, log_det, mean_distance, nearest_distance, vendi

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
