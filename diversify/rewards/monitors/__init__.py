"""What a policy does instead of getting diverse: cheap looks at single texts.

A *monitor* is a pure function `(prompt, text) -> float`, from 0 upwards, where more means more of
what its name says. One that needs more of a row, its tokens or a column of the data set, is an
object with `measure_rows` (`RowMonitor`). Either becomes a TRL reward: `MonitorReward` is a penalty,
`MonitorGate` a limit. Every reward here logs all `MONITORS` while training. They are alarms and no
judges: each docstring says what it overlooks.

Exact duplicates belong to a set of texts: `diversify.lexical.exact_duplicate_rate`.
"""

from diversify.rewards.monitors.gibberish import gibberish
from diversify.rewards.monitors.language import language_drift
from diversify.rewards.monitors.rewards import LengthPenalty, MonitorGate, MonitorReward
from diversify.rewards.monitors.roles import role_leakage
from diversify.rewards.monitors.rows import (
    LengthDrift,
    Monitor,
    RowMonitor,
    Truncated,
    length_drift,
    measure_rows,
)
from diversify.rewards.monitors.texts import (
    blank,
    completion_text,
    length,
    loops,
    prompt_copy,
    refusal,
)

__all__ = [
    "MONITORS",
    "LengthDrift",
    "LengthPenalty",
    "Monitor",
    "MonitorGate",
    "MonitorReward",
    "RowMonitor",
    "Truncated",
    "blank",
    "completion_text",
    "gibberish",
    "language_drift",
    "length",
    "length_drift",
    "loops",
    "measure_rows",
    "prompt_copy",
    "refusal",
    "role_leakage",
]

MONITORS: dict[str, Monitor] = {
    "blank": blank,
    "length": length,
    "loops": loops,
    "prompt_copy": prompt_copy,
    "refusal": refusal,
    "language_drift": language_drift,
    "gibberish": gibberish,
    "role_leakage": role_leakage,
}
"""Every monitor of one text."""
