"""Run by `test_reward_processes.py` on several processes: score a cut batch, write what comes back.

Usage: launched_reward.py FOLDER ROWS_OF_RANK_0 ROWS_OF_RANK_1 ...
"""

import json
import sys
from pathlib import Path

from diversify.credit import leave_one_out, nearest_credit
from diversify.kernels import EquivalenceKernel, NgramKernel
from diversify.rewards import (
    DiversityReward,
    GatedReward,
    JointReward,
    MarginalRelevance,
    PartitionCredit,
    ProductReward,
    SumReward,
    UniformAnswers,
)

PROMPTS = ["one"] * 4 + ["two"] * 4 + ["three"] * 4
TEXTS = "a b|a b|a c|d||e f|e f g|h|i j k|i j|l|m n".split("|")
ANSWERS = [[["a b"], ["c"]]] * 4 + [[["e f"], ["h"]]] * 4 + [[["l"], ["i j"]]] * 4
QUALITY = [0.5, None, 1.0, 2.0, 0.0, 1.0, 1.0, 3.0, -1.0, 2.0, None, 0.5]


def first_letter(a, b):
    return a[0] == b[0]


def from_column(prompts, completions, completion_ids, *, q, **columns):
    return q


def failing_on_m(prompts, completions, completion_ids, **columns):
    if "m n" in completions:
        raise KeyError("no judge")
    return [1.0] * len(completions)


def failing_kernel(texts):
    if "m n" in texts:
        raise OSError("no memory")
    return NgramKernel()(texts)


def rewards():
    novelty = DiversityReward(NgramKernel(), leave_one_out, group_size=4)
    classes = DiversityReward(EquivalenceKernel(first_letter), PartitionCredit())
    nearest = DiversityReward(NgramKernel(), nearest_credit, group_size=4)
    return {
        "novelty": novelty,
        "inferred": DiversityReward(NgramKernel(), leave_one_out),
        "product": ProductReward(from_column, classes, group_size=4),
        "gated": GatedReward(from_column, nearest, threshold=1.0),
        "sum": SumReward(from_column, nearest),
        "joint": JointReward(from_column, NgramKernel(), MarginalRelevance(), group_size=4),
        "uniform": UniformAnswers(group_size=4),
    }


def failures():
    diversity = DiversityReward(NgramKernel(), nearest_credit, group_size=4)
    return {
        "quality": ProductReward(failing_on_m, diversity),
        "kernel": DiversityReward(failing_kernel, nearest_credit, group_size=4),
        "size": DiversityReward(NgramKernel(), nearest_credit, group_size=5),
        "prompts": DiversityReward(NgramKernel(), nearest_credit, group_size=6),
    }


def run(rows: slice) -> dict:
    """Call every reward on some rows of the batch."""
    given = {
        "prompts": PROMPTS[rows],
        "completions": TEXTS[rows],
        "q": QUALITY[rows],
        "answers": ANSWERS[rows],
    }
    answers = {}
    for name, reward in rewards().items():
        metrics, extras = [], {}
        values = reward(
            **given,
            log_metric=lambda name, value, found=metrics: found.append((name, value)),
            log_extra=lambda name, values, found=extras: found.update({name: values}),
        )
        answers[name] = {"values": values, "metrics": metrics, "extras": extras}
    errors = {}
    for name, reward in failures().items():
        try:
            reward(**given)
        except Exception as error:
            errors[name] = f"{type(error).__name__}: {error}"
    # Still in step after all those failures?
    answers["after"] = {"values": rewards()["novelty"](**given), "metrics": [], "extras": {}}
    return {"answers": answers, "errors": errors}


def main() -> None:
    from accelerate import PartialState

    state = PartialState(cpu=True)
    sizes = [int(size) for size in sys.argv[2:]]
    if state.num_processes != len(sizes):
        raise SystemExit(f"{state.num_processes} processes run for {len(sizes)} sizes")
    start = sum(sizes[: state.process_index])
    found = run(slice(start, start + sizes[state.process_index]))
    path = Path(sys.argv[1]) / f"{state.process_index}.json"
    path.write_text(json.dumps(found))
    state.destroy_process_group()


if __name__ == "__main__":
    main()
