"""The prompts of GRPO and RLOO: loaded, with what the reward needs beside each."""

from __future__ import annotations

from typing import Any

from datasets import Dataset

from diversify.trainers.prompts import load_set, prompt_dataset
from diversify.trainers.reference import draw_reference, reference_statistics
from diversify.trainers.rewards import Qualities, RewardArguments, needs_reference, peer_columns
from diversify.trainers.roles import role_dataset, role_prompts

__all__ = ["reward_data"]


def reward_data(
    script: Any,
    training: Any,
    options: RewardArguments,
    qualities: Qualities,
    *,
    model: str,
    chat: bool,
    roles: tuple[int, int] | None = None,
) -> tuple[Dataset, Dataset | None]:
    """Load the prompts to train on, and those to evaluate on if the trainer asks for it.

    Args:
        script: TRL's `ScriptArguments`.
        training: TRL's config.
        options: The reward; a gate without thresholds has the model answer first, `repulsion` adds
            the answers of the peers.
        qualities: Name -> quality, for the gate.
        model: What `load_model` takes.
        chat: Whether prompts become chat messages.
        roles: How many roles a group has in training and in evaluation.

    Raises:
        ValueError: There are no such prompts, or a run folder does not fit.
    """

    def load(split: str, count: int | None) -> Dataset:
        where = {"split": split, "config": script.dataset_config, "limit": options.limit}
        prompts = load_set(script.dataset_name, **where)
        columns: list[dict[str, dict[str, Any]]] = []
        if options.reward == "repulsion":
            columns.append(peer_columns(options.peers, prompts))
        if needs_reference(options):
            rows = draw_reference(model, prompts, options.reference_samples, training, split)
            levels = {"alpha": options.alpha, "gamma": options.gamma}
            columns.append(reference_statistics(rows, qualities, **levels))
        # A prompt that one of them says nothing about is left out.
        ids = set.intersection(*(set(each) for each in columns)) if columns else set()
        added = {id_: {k: v for each in columns for k, v in each[id_].items()} for id_ in ids}
        data = prompt_dataset(prompts, chat=chat, added=added if columns else None)
        return data if count is None else role_dataset(data, role_prompts(count))

    train = load(script.dataset_train_split, roles and roles[0])
    test = load(script.dataset_test_split, roles and roles[1]) if training.do_eval else None
    return train, test
