"""The shipped prompt sets as Inspect tasks: `inspect eval diversify/open_ended`.

Inspect finds this module by the entry point of the package; nothing else here imports it, because
it needs the extra `inspect`. It knows an editable install by the name of the distribution only,
which is another one: from there give it this file, `inspect eval .../inspect.py@open_ended`.
"""

from __future__ import annotations

from typing import Any

try:
    from inspect_ai import Task, task
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import GenerateConfig, ModelOutput, get_model
    from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
    from inspect_ai.solver import Generate, Solver, TaskState, solver
    from inspect_ai.util import collect
except ImportError as error:
    raise ImportError(
        "Inspect tasks need the extra: pip install 'diversify-llm[inspect]'"
    ) from error

from diversify.evaluation.tasks.measuring import documents, measure_answers

__all__ = ["diversity", "draw", "enumerable", "open_ended"]


@solver
def draw(samples: int = 10, seed: int | None = None) -> Solver:
    """Draw several answers to each question, and leave them as the choices of one output.

    Inspect's epochs would do to draw them, but a scorer sees one epoch and diversity needs all.

    Args:
        samples: Answers a question.
        seed: Of the first answer, the others count on from it. Give it here and not as `--seed`:
            one seed for all of them may give one answer many times.

    Raises:
        ValueError: `samples` is below one.
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        model = get_model()
        configs = [
            GenerateConfig() if seed is None else GenerateConfig(seed=seed + number)
            for number in range(samples)
        ]
        drawn = await collect(*(model.generate(state.messages, config=c) for c in configs))
        choices = [output.choices[0] for output in drawn if output.choices]
        state.output = ModelOutput(model=drawn[0].model, choices=choices)
        state.messages.append(state.output.message)
        return state

    return solve


@scorer(metrics={"*": [mean(), stderr()]})
def diversity() -> Scorer:
    """Score the answers to one question together, as `measure_answers` does."""

    async def score(state: TaskState, target: Target) -> Score:
        texts = [choice.message.text for choice in state.output.choices]
        return Score(
            value=dict(measure_answers(texts, state.metadata.get("answers"))),
            explanation="\n---\n".join(texts),
        )

    return score


@task
def open_ended(
    samples: int = 10, temperature: float = 1.0, max_tokens: int = 256, seed: int | None = None
) -> Task:
    """Questions with many good answers: how much do a model's answers differ?

    Args:
        samples: Answers a question.
        temperature: Of sampling.
        max_tokens: Longest answer.
        seed: Of the first answer.
    """
    return _task("open-ended", samples, temperature, max_tokens, seed)


@task
def enumerable(
    samples: int = 10, temperature: float = 1.0, max_tokens: int = 256, seed: int | None = None
) -> Task:
    """Questions with a known list of answers: how many different *valid* ones does a model give?

    Args:
        samples: Answers a question.
        temperature: Of sampling.
        max_tokens: Longest answer.
        seed: Of the first answer.
    """
    return _task("enumerable", samples, temperature, max_tokens, seed)


def _task(name: str, samples: int, temperature: float, max_tokens: int, seed: int | None) -> Task:
    def sample(row: dict[str, Any]) -> Sample:
        kept = {key: row[key] for key in ("category", "answers") if key in row}
        return Sample(input=row["prompt"], id=row["id"], metadata=kept)

    return Task(
        dataset=MemoryDataset([sample(row) for row in documents(name)], name=name),
        solver=draw(samples, seed),
        scorer=diversity(),
        config=GenerateConfig(temperature=temperature, top_p=1.0, max_tokens=max_tokens),
        version=1,
    )
