"""Quality from a reward model: a classifier with one output on chats."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from diversify.engines import Message, Prompt, as_messages, text_of
from diversify.models import best_device, chat_template_sha, load_tokenizer, resolve_dtype
from diversify.quality.rules import Completion, check_margin, check_pairs
from diversify.sources import missing_model_named, quiet_transformers, source_revision

if TYPE_CHECKING:
    import torch

__all__ = ["RewardModel"]


class RewardModel:
    """The first logit of a sequence-classification model on prompt and completion.

    The pair is formatted by the model's chat template; a tokenizer without one gets it as a pair of
    plain texts. A pair that is longer than the model's context is None: no text is judged by a part
    of it. Each distinct pair is judged once.

    Args:
        model: Hub id or local folder of a model with one label.
        margin: How far the mean may fall, in the model's own units. These differ between models by
            orders of magnitude, so the default allows no fall at all; say what yours deserves.
        revision: Branch, tag or commit on the hub.
        dtype: Of the weights; see `load_model`.
        device: Where it runs; see `load_model`.
        batch_size: Pairs at once.
        name: How reports call it; the default is `model`.

    Raises:
        ValueError: If an option is impossible; at the first call, if there is no such model or it
            has more than one label.
    """

    two_sided = False
    by_row = True

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        margin: float = 0.0,
        revision: str | None = None,
        dtype: str | torch.dtype = "auto",
        device: str | None = None,
        batch_size: int = 16,
        name: str | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}")
        self.model = os.fspath(model)
        self.margin = check_margin(margin)
        self.revision = revision
        self.dtype = dtype
        self.device = device
        self.batch_size = batch_size
        self.name = self.__name__ = name or self.model
        self._loaded: tuple[Any, Any] | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """The model, its revision, chat template and dtype; loads it."""
        model, tokenizer = self._load()
        return {
            "quality": "reward_model",
            "model": self.model,
            "revision": source_revision(self.model, self.revision),
            "chat_template_sha": chat_template_sha(tokenizer),
            "dtype": str(model.dtype).removeprefix("torch."),
        }

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        """Judge each completion of the prompt beside it."""
        import torch

        check_pairs(prompts, completions)
        model, tokenizer = self._load()
        pairs = [
            _encoded(tokenizer, as_messages(prompt), text_of(completion))
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        keys = [tuple(pair["input_ids"]) for pair in pairs]
        longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        fitting = {
            key: pair
            for key, pair in zip(keys, pairs, strict=True)
            if longest is None or len(key) <= longest
        }
        ordered = sorted(fitting, key=len)
        values: dict[tuple[int, ...], float] = {}
        for start in range(0, len(ordered), self.batch_size):
            some = ordered[start : start + self.batch_size]
            batch = tokenizer.pad([fitting[key] for key in some], return_tensors="pt")
            with torch.inference_mode():
                logits = model(**batch.to(model.device)).logits[:, 0]
            values.update(zip(some, logits.float().tolist(), strict=True))
        return [values.get(key) for key in keys]

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None}

    def _load(self) -> tuple[Any, Any]:
        from transformers import AutoModelForSequenceClassification

        if self._loaded is None:
            device = self.device or best_device()
            tokenizer = load_tokenizer(self.model, revision=self.revision)
            tokenizer.padding_side = "right"  # encoders count positions from the left
            with quiet_transformers(), missing_model_named(self.model):
                model: Any = AutoModelForSequenceClassification.from_pretrained(
                    self.model,
                    revision=self.revision or "main",
                    dtype=resolve_dtype(self.dtype, device),
                    device_map=device,
                    use_safetensors=True,
                )
            if model.config.num_labels != 1:
                raise ValueError(
                    f"a reward model has 1 label, {self.model!r} has {model.config.num_labels}"
                )
            model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
            self._loaded = model.eval().requires_grad_(False), tokenizer
        return self._loaded


def _encoded(tokenizer: Any, chat: list[Message], completion: str) -> dict[str, list[int]]:
    """Return the token ids of one pair, and what else the tokenizer gives the model."""
    if tokenizer.chat_template:
        whole = [*chat, {"role": "assistant", "content": completion}]
        return dict(tokenizer.apply_chat_template(whole, return_dict=True))
    return dict(tokenizer(text_of(chat), completion))
