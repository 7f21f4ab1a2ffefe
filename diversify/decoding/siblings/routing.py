"""Base-aligned collaboration: at each word the base model or the aligned one has the say."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor
from transformers import LogitsProcessor

from diversify.decoding.siblings.loops import (
    Stream,
    check_host,
    groups_of,
    opened,
    refuse_sharded,
    sample_between,
)
from diversify.decoding.siblings.words import punctuation_ids, word_starts
from diversify.decoding.warpers.rows import (
    check_number,
    check_token_ids,
    entropy,
    ids_within,
    log_probabilities,
    wide,
)
from diversify.models import LoadedModel, inner_model

__all__ = ["BaseAlignedRouting", "Router", "base_speaks"]

Router: TypeAlias = Literal["probability", "entropy"]


def base_speaks(
    base_logits: Tensor,
    *,
    router: Router = "probability",
    threshold: float,
    style_tokens: Sequence[int] = (),
) -> Tensor:
    r"""Say for each row whether the base model should choose the next token.

    It should where it is unsure, and where it expects no token of style:

    .. math::
        \max_v p_{\text{base}}(v) < \gamma \quad (\text{"probability"}) \qquad \text{or} \qquad
        H(p_{\text{base}}) > \gamma \quad (\text{"entropy"}), \qquad
        \arg\max_v p_{\text{base}}(v) \notin \text{style}

    Args:
        base_logits: Logits (rows, vocabulary) of the base model, untempered.
        router: Which uncertainty; a larger threshold gives the base more with `"probability"` and
            less with `"entropy"`.
        threshold: gamma, 0 or more: a probability (0 is never, above 1 always), or nats.
        style_tokens: Ids that stay with the aligned model.

    Returns:
        Booleans (rows,).

    Raises:
        ValueError: If an option is impossible.

    Example:
        >>> p = torch.tensor([[0.9, 0.05, 0.05], [0.4, 0.3, 0.3], [0.3, 0.4, 0.3]])
        >>> base_speaks(p.log(), threshold=0.5, style_tokens=[0])
        tensor([False, False,  True])

    Reference:
        Y. Wang et al., "Optimizing Diversity and Quality through Base-Aligned Model Collaboration",
        arXiv 2511.05650: routers -P and -H, combined with -PUNC or -FC. We take the prediction that
        style is read from to be the base model's, as everything else is.
    """
    _check_options(router, threshold, style_tokens)
    log_p = log_probabilities(wide(base_logits))
    best, token = log_p.max(-1)
    unsure = best.exp() < threshold if router == "probability" else entropy(log_p)[:, 0] > threshold
    return unsure & ~torch.isin(token, ids_within(style_tokens, log_p))


class BaseAlignedRouting:
    """Write one text with two models: the base where it is unsure, the aligned one elsewhere.

    Alignment makes a model choose one of many good continuations; its base still spreads over them.
    At the start of each word `base_speaks` decides from the base's prediction which of the two
    models the next token is drawn from; within a word the model that began it goes on. The engine's
    model is the aligned one.

    With one set of weights in memory, the base is the model with its adapter switched off::

        tuned = load_model(name, adapter=folder)
        engine = TransformersEngine(tuned, decoder=BaseAlignedRouting(tuned, threshold=0.4))

    Cost: one more forward pass of the base for each token, and its cache; a prompt is read once by
    each model. Both see the same token ids, so they must share their tokenizer; the base reads the
    chat template, too, which it may never have seen. In scripts without spaces between words the
    models change only at punctuation.

    Args:
        base: The base model. Adapters on it are switched off while it speaks; merge one that
            belongs to the base.
        threshold: gamma of `base_speaks`. At 0 with `"probability"` the aligned model is alone;
            above 1, with `style_tokens=()`, the base is. No value is published: sweep it, as one
            would the temperature.
        router: See `base_speaks`.
        style_tokens: Ids that stay with the aligned model when the base expects one of them; None
            for punctuation, white space and special tokens, which gives the paper's best router.

    Raises:
        ValueError: If an option is impossible; when called, if the vocabularies differ in size or
            the base has a cache that cannot be repeated.
        ImportError: If transformers has no sampling loop to call.

    Reference:
        See `base_speaks`. Deviation: the paper switches at word boundaries without saying how they
        are told; here a word goes on where the most likely token of the model that has the say
        continues one.
    """

    def __init__(
        self,
        base: LoadedModel,
        *,
        threshold: float,
        router: Router = "probability",
        style_tokens: Sequence[int] | None = None,
    ) -> None:
        check_host()
        if not isinstance(base, LoadedModel):
            raise ValueError(f"base must be a LoadedModel, got {type(base).__name__}")
        _check_options(router, threshold, style_tokens or ())
        self.base, self.threshold, self.router = base, threshold, router
        self.style = "punctuation" if style_tokens is None else str(sorted(set(style_tokens)))
        if style_tokens is None:
            style_tokens = punctuation_ids(base.tokenizer)
        self.style_tokens = tuple(style_tokens)
        self._starts = torch.tensor(word_starts(base.tokenizer))

    def __repr__(self) -> str:
        """Name everything that decides the distribution: the engine keeps it on record."""
        bare = self.base.identity
        if isinstance(self.base.model, PeftModel):
            bare = bare | {"adapter": None, "adapter_hash": None}
        return (
            f"BaseAlignedRouting(base={bare}, threshold={self.threshold}, router={self.router!r}, "
            f"style_tokens={self.style})"
        )

    def __call__(self, siblings: int, length: int) -> Mapping[str, Any]:
        """Return the token loop for groups of `siblings` rows."""
        del length
        return {"custom_generate": partial(self._generate, siblings=siblings)}

    def _generate(self, model: Any, input_ids: Tensor, *, siblings: int, **given: Any) -> Any:
        refuse_sharded(model)
        groups_of(len(input_ids), siblings)
        mask = given.get("attention_mask")
        mask = torch.ones_like(input_ids) if mask is None else mask
        base = inner_model(self.base.model)
        stream = opened(
            base,
            input_ids[::siblings],
            mask[::siblings],
            copies=siblings,
            within=_adapters_off(base),
        )
        return sample_between(model, input_ids, before=[_Routing(self, stream)], **given)


def _adapters_off(model: Any) -> Callable[[], AbstractContextManager[None]]:
    """Return what switches the adapters on a model off for a while, if there are any.

    `PeftModel.disable_adapter` does the same, but looks through the whole model each time, which
    would take a fifth of a step.
    """
    kinds = (BaseTunerLayer, AuxiliaryTrainingWrapper)
    layers = [layer for layer in model.modules() if isinstance(layer, kinds)]

    @contextlib.contextmanager
    def switched_off() -> Iterator[None]:
        on = [layer for layer in layers if not layer.disable_adapters]
        for layer in on:
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in on:
                layer.enable_adapters(True)

    return switched_off


class _Routing(LogitsProcessor):
    """Put the base's logits in the place of the aligned model's, in some rows; first in its list."""

    def __init__(self, options: BaseAlignedRouting, stream: Stream) -> None:
        self.options, self.stream = options, stream
        self.base_has_the_say: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        base = self.stream.logits(input_ids)
        if base.shape != scores.shape:
            raise ValueError(
                f"base and aligned model must share their vocabulary, got {base.shape[-1]} and "
                f"{scores.shape[-1]} tokens"
            )
        says = base_speaks(
            base,
            router=self.options.router,
            threshold=self.options.threshold,
            style_tokens=self.options.style_tokens,
        )
        if self.base_has_the_say is not None:
            spoken = torch.where(self.base_has_the_say, base.argmax(-1), scores.argmax(-1))
            says = torch.where(self._starts_word(spoken), says, self.base_has_the_say)
        self.base_has_the_say = says
        return torch.where(says.unsqueeze(-1), base, scores)

    def _starts_word(self, tokens: Tensor) -> Tensor:
        """A token beyond the tokenizer, as a padded vocabulary has them, starts a word."""
        starts = self.options._starts.to(tokens.device)
        known = tokens < len(starts)
        return ~known | starts[tokens.clamp(max=len(starts) - 1)]


def _check_options(router: str, threshold: float, style_tokens: Sequence[int]) -> None:
    if router not in get_args(Router):
        raise ValueError(f"router must be one of {list(get_args(Router))}, got {router!r}")
    check_number("threshold", threshold, low=0.0, low_included=True)
    check_token_ids("style_tokens", style_tokens)
