"""Do two texts say the same? Judges for `EquivalenceKernel`, `leader_partition` and reports.

Every judge here is asked about many pairs at once (`judge`) or about one (`judge(first, second)`),
asks its model about each distinct pair once, keeps the answers on disk, and loads the model at the
first call. Equal texts are the same and a blank text is only like another blank one, whatever a
model would say. What cannot be judged is None, and as a plain yes or no it is a yes: no failure may
look like diversity.

The judges with a threshold have `scores(pairs)`; `calibrate` finds the threshold from labelled
pairs and says how often it errs.

`JudgeGroups` is no judge of pairs: it asks a chat model once about all answers to a prompt.
"""

from diversify.equivalence.calibration import Calibration, Errors, Rate, calibrate, read_pairs
from diversify.equivalence.grouping import JudgeGroups
from diversify.equivalence.judge import JudgeSame
from diversify.equivalence.models import CrossEncoderSame, EmbeddingSame, EntailmentSame
from diversify.equivalence.short import ShortAnswers, share_words, short_answers_match

__all__ = [
    "Calibration",
    "CrossEncoderSame",
    "EmbeddingSame",
    "EntailmentSame",
    "Errors",
    "JudgeGroups",
    "JudgeSame",
    "Rate",
    "ShortAnswers",
    "calibrate",
    "read_pairs",
    "share_words",
    "short_answers_match",
]
