"""Distance from what other models answered: the hivemind's second half as a reward."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from diversify.credit import Floats, repulsion_credit
from diversify.engines import Prompt, as_messages, text_of
from diversify.kernels import Embedder, EmbeddingKernel, check_integer, cross_similarity
from diversify.measures import mean_distance
from diversify.rewards.diversity import CreditReward, check_callable
from diversify.rewards.group import Group

__all__ = ["PeerReward", "peer_answers"]

PEERS = "peers"


class PeerReward(CreditReward):
    r"""Pay each completion for its distance from the stored answers of other models, in [0, 2].

    .. math:: c_i = 1 - \frac{1}{k} \sum \text{of the } k \text{ largest } s_{ij} \text{ over peers } j

    Off-topic text is far from every peer: put this behind a gate of quality (`repulsion`). Hold
    some peers out and judge by those.

    Some questions have one answer, and there the peers are right to agree. Where their answers are
    more alike than `closed` on average, nobody is paid: all credits are 0, as where there are no
    peers.

    Args:
        embedder: from texts to unit rows.
        column: column of the data set with each prompt's peer answers, a list of texts
            (`peer_answers`).
        nearest: k, how many of the nearest answers to average over.
        closed: mean similarity of the peers' answers from which on a question counts as closed;
            it belongs to the embedder. 1 or more: none does.
        group_size: see `GroupReward`.
        name: name in the logs.

    Raises:
        ValueError: If an option is impossible; when called, if the column is missing or holds
            something else than lists of texts.

    Example:
        >>> letters = {"a": [1.0, 0.0], "b": [0.0, 1.0], "c": [0.6, 0.8]}
        >>> reward = PeerReward(lambda texts: [letters[text] for text in texts], group_size=2)
        >>> [round(value, 2) for value in reward(["?", "?"], ["a", "c"], peers=[["a", "b"]] * 2)]
        [0.0, 0.2]

    Reference:
        Ours; see `repulsion_credit`.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        column: str = PEERS,
        nearest: int = 1,
        closed: float = 0.95,
        group_size: int | None = None,
        name: str = "peers",
    ) -> None:
        super().__init__(group_size=group_size, name=name)
        self.embedder = check_callable("embedder", embedder)
        self.column = column
        self.nearest = check_integer("nearest", nearest, 1)
        if not closed > -1.0:
            raise ValueError(f"closed must be a similarity above -1, got {closed}")
        self.closed = closed

    def credits(self, group: Group) -> tuple[Floats, dict[str, float]]:
        """Credit the n texts of one group: (n,), and how near they come to the peers."""
        peers = [text for text in group.columns[self.column][0] if text.strip()]
        answers = [row for row, text in enumerate(group.texts) if text.strip()]
        credit = np.zeros(len(group.texts))
        if not peers or not answers:
            return credit, {}
        cross = cross_similarity(self.embedder, [group.texts[row] for row in answers], peers)
        metrics = {"nearest_peer": float(cross.max(axis=1).mean())}
        agreement = 1.0 - mean_distance(EmbeddingKernel(self.embedder)(peers))
        closed = len(peers) > 1 and agreement >= self.closed
        if not closed:
            credit[answers] = repulsion_credit(cross, nearest=min(self.nearest, len(peers)))
        return credit, metrics | {"closed": float(closed)}

    def _describe_rows(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]] | None,
        columns: Mapping[str, Any],
    ) -> dict[str, list[Any]]:
        if self.column not in columns:
            raise ValueError(
                f"{self.__name__} needs the column {self.column!r} with the answers of peers; the "
                f"data set has {sorted(columns)}"
            )
        rows = [[] if row is None else row for row in columns[self.column]]
        for row in rows:
            if isinstance(row, str) or not all(isinstance(text, str) for text in row):
                raise ValueError(f"{self.column} must hold lists of texts, got {row!r:.200}")
        return {self.column: rows}


def peer_answers(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Collect the answers of other models to each prompt, from the rows of their runs.

    Args:
        rows: generation rows, `prompt` and `generations`, of any number of runs.

    Returns:
        Text of the prompt (of a chat, its last turn) -> all different answers, in order.

    Example:
        >>> peer_answers([{"prompt": "A fruit?", "generations": ["fig", "fig"]},
        ...               {"prompt": "A fruit?", "generations": ["kiwi"]}])
        {'A fruit?': ['fig', 'kiwi']}
    """
    found: dict[str, dict[str, None]] = {}
    for row in rows:
        prompt = text_of(as_messages(row["prompt"]))
        found.setdefault(prompt, {}).update(dict.fromkeys(row["generations"]))
    return {prompt: list(answers) for prompt, answers in found.items()}
