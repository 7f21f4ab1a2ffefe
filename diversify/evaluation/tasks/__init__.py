"""The shipped prompt sets as tasks of other harnesses: lm-eval (`lm_eval/`) and Inspect (`inspect`)."""

from pathlib import Path

from diversify.evaluation.tasks.measuring import documents, measure_answers

__all__ = ["documents", "lm_eval_tasks", "measure_answers"]


def lm_eval_tasks() -> Path:
    """Return the folder that lm-eval is given as `--include_path`.

    Example:
        >>> sorted(path.name for path in lm_eval_tasks().glob("diversify*.yaml"))
        ['diversify_enumerable.yaml', 'diversify_open_ended.yaml']
    """
    return Path(__file__).parent / "lm_eval"
