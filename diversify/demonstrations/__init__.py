"""Pools of completions to demonstrations: data for SFT that shows more than one answer.

`direct_examples` distils: whatever strategy or model drew the answers (verbalized sampling,
personas, paraphrases, a base model), the plain prompt is answered by several good ones that
differ. `spectrum_examples` shows many draws of one prompt in one context, as Spectrum Tuning does.

A model imitates what it is shown: answers of a collapsed model teach its collapse. Draw from
something that says more than the model to be trained, or by a strategy that makes it say more.
"""

from diversify.demonstrations.direct import check_direct_options, direct_examples
from diversify.demonstrations.spectrum import (
    ANOTHER,
    check_spectrum_options,
    spectrum_examples,
    spectrum_sequence,
)

__all__ = [
    "ANOTHER",
    "check_direct_options",
    "check_spectrum_options",
    "direct_examples",
    "spectrum_examples",
    "spectrum_sequence",
]
