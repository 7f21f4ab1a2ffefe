"""Pools of answers for preference pairs: drawn from several models, and rewritten by another one.

A base model says more things than the model tuned from it, and says them badly. REDIPO lets the
tuned model rewrite the base model's answers, so that what they say is kept and how they say it is
no longer what tells the two apart.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from accelerate import PartialState

from diversify.decoding.prompting import PLAIN, Strategy
from diversify.engines import Engine, Generations, Prompt, Sampling, as_messages
from diversify.engines.transformers import TransformersEngine
from diversify.evaluation.generate import generate, load_run
from diversify.evaluation.prompt_sets import PromptSet
from diversify.trainers.reference import draw_shares

__all__ = ["REWRITE", "Rewriting", "draw_pool", "rewrite_runs"]

Progress = Callable[[str, int, int, float], None]

REWRITE = (
    "Your last answer was only a draft. Write it again as a finished answer to what I asked. Keep "
    "what it says: its ideas, its examples, its point of view, its form. Mend the language, and "
    "whatever is cut off, muddled, beside the point or unsafe. Reply with the finished answer and "
    "nothing else."
)
"""What the rewriter is asked for, after the conversation and the draft. The wording is ours."""


@dataclass(frozen=True)
class Rewriting:
    """A strategy whose completions are rewritten drafts: one for each draft of a prompt, in order.

    The rewriter sees the conversation, the draft as its own answer, and the instruction. A blank
    draft stays blank, for there is nothing to keep. Drafts are on record in the `details` of a row.

    Cost: one completion a draft.

    Args:
        drafts: prompt, as `draft_key` writes it -> its drafts.
        instruction: What to do with a draft.

    Raises:
        ValueError: When called, if a prompt has no drafts, or not as many as are asked for.

    Reference:
        Samuel et al., "Recovering Diversity Without Losing Alignment: A DPO Recipe for Post-Trained
        LLMs" (REDIPO), arXiv 2605.30021.
    """

    drafts: Mapping[str, Sequence[str]]
    instruction: str = REWRITE

    def __call__(
        self,
        engine: Engine,
        prompts: Sequence[Prompt],
        n: int,
        sampling: Sampling = PLAIN,
        *,
        columns: Mapping[str, Sequence[Any]] | None = None,
    ) -> Generations:
        """Rewrite the `n` drafts of each prompt."""
        del columns
        found = Generations([], [], [], [])
        for prompt in prompts:
            drafts = list(self.drafts.get(draft_key(prompt), ()))
            if len(drafts) != n:
                raise ValueError(f"there are {len(drafts)} drafts to rewrite, got n={n}: {prompt}")
            wanted = [i for i, draft in enumerate(drafts) if draft.strip()]
            asked: list[Prompt] = [self.ask(prompt, drafts[i]) for i in wanted]
            texts, truncated = [""] * n, [False] * n
            drawn = engine.generate(asked, 1, sampling) if asked else Generations([], [])
            for place, i in enumerate(wanted):
                texts[i] = drawn[place][0]
                truncated[i] = bool(drawn.truncated and drawn.truncated[place][0])
            found.prompts.append(prompt)
            found.texts.append(texts)
            found.truncated.append(truncated)
            found.details.append({"drafts": drafts})
        return found

    def ask(self, prompt: Prompt, draft: str) -> list[dict[str, str]]:
        """Return the conversation that ends with the wish to have the draft rewritten."""
        return [
            *as_messages(prompt),
            {"role": "assistant", "content": draft},
            {"role": "user", "content": self.instruction},
        ]

    def describe(self) -> dict[str, Any]:
        """Return what decides the rewriting besides model and sampling."""
        content = json.dumps(sorted((key, list(texts)) for key, texts in self.drafts.items()))
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        return {"name": "rewriting", "instruction": self.instruction, "drafts": digest}


def draft_key(prompt: Prompt) -> str:
    """Return a prompt as one string, the same for plain text and for the chat that it becomes.

    Example:
        >>> draft_key("A fruit?") == draft_key([{"role": "user", "content": "A fruit?"}])
        True
    """
    return json.dumps(as_messages(prompt), sort_keys=True)


def draw_pool(
    models: Sequence[str],
    prompts: PromptSet,
    samples: int,
    *,
    sampling: Sampling,
    temperatures: Sequence[float],
    output: str | Path,
    strategy: Strategy | None = None,
    rewrite: Sequence[str] = (),
    rewriter: str | None = None,
    rewrite_temperature: float = 0.0,
    progress: Progress | None = None,
    **engine: Any,
) -> list[str]:
    """Draw this process's share of a pool; return the run folders of all processes.

    Every model answers every prompt `samples` times at every temperature, into a run folder each,
    row by row: the same call, with as many processes, continues an interrupted one.

    Args:
        models: What `load_model` takes.
        prompts: The prompts, the same on all processes.
        samples: Answers a prompt.
        sampling: How they are drawn, but for the temperature.
        temperatures: Those to draw at.
        output: Where the run folders lie.
        strategy: How the answers are asked for; plain sampling by default.
        rewrite: Which of the models only write drafts: what counts are rewritten answers, in
            folders of their own.
        rewriter: The model that rewrites them; the first of the others by default.
        rewrite_temperature: How it is sampled; 0 keeps closest to the draft.
        progress: See `generate`.
        **engine: Options of `TransformersEngine`.

    Returns:
        Run folders, those of the drafts left out. What other processes draw is finished when every
        process has been here.

    Raises:
        ValueError: A model to rewrite is not among the models, there is nobody to rewrite, or a
            folder holds a run with other settings.
    """
    if unknown := [model for model in rewrite if model not in models]:
        raise ValueError(f"what is to be rewritten must be drawn: {unknown} is not in {models}")
    rewriter = rewriter or next((model for model in models if model not in rewrite), None)
    if rewrite and not rewriter:
        raise ValueError(f"there is no rewriter: none is named, and all of {models} are rewritten")
    folders: list[str] = []
    drafts: list[list[Path]] = []
    for model in models:
        answering = TransformersEngine(model, **engine)
        for temperature in dict.fromkeys(temperatures):
            name = re.sub(r"[^\w.-]+", "_", f"{model}-T{temperature}").strip("_.")
            drawn = draw_shares(
                answering,
                prompts,
                samples,
                sampling=sampling.at(temperature=temperature),
                output=Path(output) / name,
                strategy=strategy,
                progress=progress,
            )
            if model in rewrite:
                drafts.append(drawn)
            else:
                folders += map(str, drawn)
        del answering  # before the next one is loaded
    if drafts and rewriter:
        rewriting = TransformersEngine(rewriter, **engine)
        cool = sampling.at(temperature=rewrite_temperature)
        for runs in drafts:
            folders += rewrite_runs(rewriting, runs, prompts, sampling=cool, progress=progress)
    return folders


def rewrite_runs(
    engine: Engine,
    runs: Sequence[Path],
    prompts: PromptSet,
    *,
    sampling: Sampling,
    progress: Progress | None = None,
) -> list[str]:
    """Rewrite the answers in the run folder of this process; return the folders of all processes.

    Args:
        engine: The rewriter.
        runs: Run folders of all processes, as `draw_shares` returns them; of this process's the
            answers must be there.
        prompts: The prompts that were answered; their columns go along.
        sampling: How rewriting is sampled.
        progress: See `generate`.

    Returns:
        Run folders, each beside its drafts: `<folder>-rewritten`.

    Raises:
        ValueError: A folder holds a run with other settings.
    """
    folders = [run.with_name(f"{run.name}-rewritten") for run in runs]
    index = PartialState().process_index
    if index < len(runs):
        rows = load_run(runs[index]).rows
        drafts = {draft_key(row["prompt"]): row["generations"] for row in rows}
        once = {draft_key(row.prompt): row for row in prompts}  # a prompt that came twice, once
        share = replace(prompts, rows=tuple(row for key, row in once.items() if key in drafts))
        generate(
            engine,
            share,
            len(rows[0]["generations"]),
            strategy=Rewriting(drafts),
            sampling=sampling,
            output=folders[index],
            progress=progress,
        )
    return [str(folder) for folder in folders]
