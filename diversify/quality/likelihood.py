"""Qualities from the log-probabilities of a frozen reference model."""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from diversify.engines import Message, Prompt, as_messages, text_of
from diversify.models import (
    LoadedModel,
    chat_token_ids,
    load_model,
    prefilled_cache,
    repeatable_cache,
)
from diversify.quality.rules import Completion, check_margin, check_pairs

if TYPE_CHECKING:
    import torch

__all__ = ["PromptInformation", "ReferenceLikelihood"]

_REMEMBERED = 1 << 16  # likelihoods kept for whoever asks again, 50 bytes each


class ReferenceLikelihood:
    r"""Mean log-probability per token of a completion under a frozen model, in nats, at most 0.

    .. math:: \frac{1}{|y|} \sum_t \log p_{ref}(y_t \mid x, y_{<t})

    It falls when texts become incoherent, as with a high temperature. It is not "the higher the
    better": typical, repetitive text is likely, so a rise beyond the margin is as suspicious as a
    fall (`two_sided`). The end of the turn is not counted. Blank completions are None.

    The chat template is the reference's own; without one, prompt and completion follow each other
    as plain text. Each prompt is read once, each distinct completion of it once.

    In bfloat16, which `"auto"` is where the device computes in it, rounding makes a value depend a
    little on the completions that are scored beside it. For the embedded model on a CPU that was
    0.03 nats for completions of up to three words (standard deviation; 0.07 was seen), 0.001 for
    ten or more and 0.0004 in the mean of 800; to float32 it was 0.03 (0.15 was seen), 0.01 and
    0.0002. In float32 nothing changed, in 2.6 times the time: take that where single short
    completions are compared.

    Args:
        model: Whatever `load_model` takes, or a `LoadedModel`; usually the model before training.
        adapter: PEFT adapter put on it.
        revision: Branch, tag or commit on the hub.
        dtype: Of the weights and of all steps up to the logits; the log-probabilities are computed
            from these in float32.
        device: Where it runs; see `load_model`.
        batch_tokens: Most completion tokens at once. Memory grows by the vocabulary times this.
        margin: How far the mean may fall, or rise, in nats per token.
        name: How reports call it.

    Raises:
        ValueError: If an option is impossible; at the first call, if there is no such model.
    """

    two_sided = True
    by_row = True

    def __init__(
        self,
        model: str | os.PathLike[str] | LoadedModel,
        *,
        adapter: str | os.PathLike[str] | None = None,
        revision: str | None = None,
        dtype: str | torch.dtype = "auto",
        device: str | None = None,
        batch_tokens: int = 2048,
        margin: float = 0.25,
        name: str = "reference_likelihood",
    ) -> None:
        if batch_tokens < 1:
            raise ValueError(f"batch_tokens must be >= 1, got {batch_tokens}")
        self.batch_tokens = batch_tokens
        self.margin = check_margin(margin)
        self.name = self.__name__ = name
        self._load: Callable[[], LoadedModel]
        if not isinstance(model, LoadedModel):
            self._load = partial(
                load_model, model, adapter=adapter, revision=revision, dtype=dtype, device=device
            )
        elif (adapter, revision, dtype, device) != (None, None, "auto", None):
            raise ValueError("adapter, revision, dtype and device of a LoadedModel are settled")
        else:
            self._load = partial(LoadedModel, *model)
        self._loaded: LoadedModel | None = None
        self._memo: dict[bytes, float | None] = {}

    @property
    def identity(self) -> dict[str, Any]:
        """The reference's identity; loads it."""
        return {"quality": "reference_likelihood"} | self._reference().identity

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        """Return the mean log-probability per token of each completion after its prompt."""
        check_pairs(prompts, completions)
        return self._means([as_messages(prompt) for prompt in prompts], completions)

    def unconditional(self, completions: Sequence[Completion]) -> list[float | None]:
        """Return the same without any prompt: after the bare header of an answer.

        The header is what the chat template opens an answer with; where there is none, it is the
        token that begins (else ends) a text.

        Raises:
            ValueError: If the tokenizer has neither header nor such a token.
        """
        return self._means([None] * len(completions), completions)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None, "_memo": {}}

    def _reference(self) -> LoadedModel:
        if self._loaded is None:
            self._loaded = self._load()
        return self._loaded

    def _means(
        self, chats: Sequence[list[Message] | None], completions: Sequence[Completion]
    ) -> list[float | None]:
        """Look up or compute the likelihood of each completion after its chat, or after none."""
        texts = [text_of(completion) for completion in completions]
        keys = [_key(chat, text) for chat, text in zip(chats, texts, strict=True)]
        known = {key: self._memo[key] for key in keys if key in self._memo}
        wanted: dict[str, dict[bytes, int]] = {}  # of each prompt the new texts, each once
        for i, key in enumerate(keys):
            if texts[i].strip() and key not in known:
                wanted.setdefault(json.dumps(chats[i]), {})[key] = i
        for new in wanted.values():
            chat = chats[next(iter(new.values()))]
            values = self._compute(chat, [texts[i] for i in new.values()])
            known.update(zip(new, values, strict=True))
        self._memo.update(known)
        while len(self._memo) > _REMEMBERED:
            del self._memo[next(iter(self._memo))]
        return [known.get(key) for key in keys]

    def _compute(self, chat: list[Message] | None, texts: list[str]) -> list[float | None]:
        """Run the reference over distinct completions of one prompt; None for one of no tokens."""
        model, tokenizer, _ = self._reference()
        before = _header_ids(tokenizer) if chat is None else chat_token_ids(tokenizer, chat)
        rows = [list(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]
        means = iter(
            mean_log_probabilities(
                model, before, [row for row in rows if row], batch_tokens=self.batch_tokens
            )
        )
        return [next(means) if row else None for row in rows]


class PromptInformation:
    r"""What a completion has to do with its prompt: nats per token that the prompt explains.

    .. math:: \frac{1}{|y|} \left(\log p_{ref}(y \mid x) - \log p_{ref}(y)\right)

    Near 0 the completion would be as good an answer to any prompt; below 0 it fits this one worse
    than none. Unlike likelihood it does not favour typical text. Blank completions are None. Both
    terms are rounded as `ReferenceLikelihood` says.

    Args:
        reference: A `ReferenceLikelihood`, whose model and results are then shared, or the name of
            a model.
        margin: How far the mean may fall, in nats per token.
        name: How reports call it.

    Raises:
        ValueError: If the margin is impossible; at the first call, if there is no such model.
    """

    two_sided = False
    by_row = True

    def __init__(
        self,
        reference: ReferenceLikelihood | str | os.PathLike[str],
        *,
        margin: float = 0.15,
        name: str = "prompt_information",
    ) -> None:
        if not isinstance(reference, ReferenceLikelihood):
            reference = ReferenceLikelihood(reference)
        self.reference = reference
        self.margin = check_margin(margin)
        self.name = self.__name__ = name

    @property
    def identity(self) -> dict[str, Any]:
        """The reference's identity; loads it."""
        return self.reference.identity | {"quality": "prompt_information"}

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        """Return the information per token that each prompt gives on its completion."""
        given = self.reference(prompts, completions)
        bare = self.reference.unconditional(completions)
        return [
            None if one is None or other is None else one - other
            for one, other in zip(given, bare, strict=True)
        ]


def mean_log_probabilities(
    model: Any, before: list[int], rows: list[list[int]], *, batch_tokens: int
) -> list[float]:
    """Return the mean log-probability of the tokens of each row, all after the same beginning.

    The beginning is read once and its keys and values are repeated, where the model's cache allows.

    Args:
        model: A causal language model.
        before: Token ids of the beginning, at least one.
        rows: Token ids of the rows, none empty.
        batch_tokens: Most tokens of rows, padding included, at once.
    """
    import torch

    means = [0.0] * len(rows)
    start = torch.tensor([before], device=model.device)
    with torch.inference_mode():
        cache = prefilled_cache(model, start) if repeatable_cache(model) else None
        for part in _parts(rows, batch_tokens):
            width = len(rows[part[-1]])
            padded = [rows[i] + [0] * (width - len(rows[i])) for i in part]
            tokens = torch.tensor(padded, device=model.device)
            shown = torch.cat([start.expand(len(part), -1), tokens[:, :-1]], dim=1)
            if cache is None:
                logits = model(shown).logits[:, len(before) - 1 :]
            else:
                repeated = copy.deepcopy(cache)
                repeated.batch_repeat_interleave(len(part))
                shown = shown[:, len(before) - 1 :]
                logits = model(shown, past_key_values=repeated, use_cache=True).logits
            for row, i in enumerate(part):  # row by row: float32 logits are large
                length = len(rows[i])
                logps = logits[row, :length].float().log_softmax(dim=-1)
                means[i] = logps.gather(1, tokens[row, :length, None]).mean().item()
    return means


def _parts(rows: Sequence[Sequence[int]], batch_tokens: int) -> Iterator[list[int]]:
    """Cut rows, by length, into parts of at most `batch_tokens` with padding, or of one row."""
    part: list[int] = []
    for i in sorted(range(len(rows)), key=lambda i: len(rows[i])):
        if part and (len(part) + 1) * len(rows[i]) > batch_tokens:
            yield part
            part = []
        part.append(i)
    if part:
        yield part


def _header_ids(tokenizer: Any) -> list[int]:
    """Return the ids that open an answer to nothing."""
    if tokenizer.chat_template:
        chat, bos = [{"role": "user", "content": "x"}], tokenizer.bos_token
        closed = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=False)
        opened = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        if opened != closed and opened.startswith(closed):
            header = opened.removeprefix(closed)
            if bos and opened.startswith(bos) and not header.startswith(bos):
                header = bos + header
            return list(tokenizer(header, add_special_tokens=False)["input_ids"])
    for start in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if start is not None:
            return [start]
    raise ValueError("the tokenizer has no header for answers, no bos token and no eos token")


def _key(chat: Sequence[Mapping[str, str]] | None, text: str) -> bytes:
    return hashlib.blake2b(json.dumps([chat, text]).encode(), digest_size=16).digest()
