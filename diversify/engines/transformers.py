"""Generation with transformers on this machine's CPU or GPU.

Fifty answers to one prompt share one reading of it: the prompt goes through the model once and its
keys and values are repeated. The token loop is `model.generate`, with every option spelt out.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from peft import PeftModel
from peft.helpers import rescale_adapter_scale
from transformers import GenerationConfig

from diversify.engines import (
    Generations,
    Message,
    Prompt,
    Sampling,
    as_messages,
    stable_seed,
    with_system_message,
)
from diversify.engines.pieces import Pieces
from diversify.models import (
    LoadedModel,
    attach_adapter,
    chat_token_ids,
    inner_model,
    load_model,
    prefilled_cache,
    repeatable_cache,
)

__all__ = ["SHARE_FROM", "Decoder", "TransformersEngine"]

SHARE_FROM = 8
"""From this many samples a prompt on, prompts are generated one by one and read once."""

Decoder: TypeAlias = Callable[[int, int], Mapping[str, Any]]
"""`(siblings, prompt length in tokens) -> more arguments of model.generate`, asked at each call.

For instance `{"logits_processor": [...]}` or `{"custom_generate": function}`. The siblings of one
prompt are neighbouring rows. A decoder with a method `check_sampling(sampling)` is asked first
whether it goes with the sampling, and raises ValueError where it does not.
"""


class TransformersEngine:
    """Draw completions from a transformers model.

    Nothing is inherited from the model's `generation_config.json` but the ids of its special
    tokens; the tokenizer's end-of-sequence token ends a completion too. Texts come without special
    tokens and without surrounding white space.

    From eight samples a prompt on, each prompt is read once and its samples are drawn together from
    a random stream of its own: it depends on `Sampling.seed`, on the prompt, and on how often the
    same prompt came before it in the call. With fewer samples, prompts of similar length are
    generated together; that is faster and reproducible call for call, but a prompt's texts then
    depend on its neighbours. Either way the global random state is left as it was. One thread at a
    time.

    Args:
        model: What `load_model` takes, or a `LoadedModel`, whose layers carry the adapters.
        adapter: PEFT adapter put on the model.
        adapter_scale: What the adapter's update of the weights is multiplied by, LoRA only: 0 is the
            base, 1 the adapter as trained, between them less of it, above 1 more.
        revision: Branch, tag or commit on the hub.
        dtype: "auto", "float32", "bfloat16", "float16" or a torch dtype.
        device: Where it runs; see `load_model`.
        batch_size: Most rows generated at once. More is faster until memory ends; above it the
            samples of a prompt are drawn in parts.
        share_prefix: Whether a prompt is read once for all its samples; "auto" does so from eight
            samples on, where the model's cache allows it.
        system: System message put before prompts that have none.
        template_options: Handed to the chat template, e.g. `{"enable_thinking": False}`.
        decoder: Asked for more arguments of `model.generate` before each call.

    Raises:
        ValueError: If an option is impossible, or sharing is demanded of a model that cannot, or an
            `adapter_scale` of a model without LoRA.
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | LoadedModel,
        *,
        adapter: str | os.PathLike[str] | None = None,
        adapter_scale: float = 1.0,
        revision: str | None = None,
        dtype: str | torch.dtype = "auto",
        device: str | None = None,
        batch_size: int = 64,
        share_prefix: bool | Literal["auto"] = "auto",
        system: str | None = None,
        template_options: Mapping[str, Any] | None = None,
        decoder: Decoder | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be >= 1, got {batch_size}")
        if share_prefix not in (True, False, "auto"):
            raise ValueError(f"share_prefix must be True, False or 'auto', got {share_prefix!r}")
        if not math.isfinite(adapter_scale):
            raise ValueError(f"adapter_scale must be a finite number, got {adapter_scale}")
        if not isinstance(model, LoadedModel):
            model = load_model(model, revision=revision, dtype=dtype, device=device)
        elif (revision, dtype, device) != (None, "auto", None):
            raise ValueError("revision, dtype and device of a LoadedModel are settled already")
        can_share = repeatable_cache(model.model)
        if share_prefix is True and not can_share:
            raise ValueError(f"share_prefix: the cache of {model.identity['model']} has no copies")
        self._weights = _Weights(model)
        self._label = self._weights.label if adapter is None else self._weights.add(adapter)
        self.adapter_scale = adapter_scale
        if adapter_scale != 1:
            self._weights.check_scalable(self._label)
        at = {True: 1, "auto": SHARE_FROM, False: None}[share_prefix]
        self._share_from = at if can_share else None
        self.batch_size = batch_size
        self.system = system
        self.template_options = dict(template_options or {})
        self.decoder = decoder

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the distribution: model, revision, adapter, chat template, system prompt."""
        identity = self._weights.identities[self._label] | {"system": self.system}
        if self.adapter_scale != 1 and self._label is not None:
            identity["adapter_scale"] = self.adapter_scale
        if self.template_options:
            identity["template_options"] = self.template_options
        if self.decoder is not None:
            identity["decoder"] = getattr(self.decoder, "__name__", None) or repr(self.decoder)
        return identity

    def with_adapter(self, adapter: str | os.PathLike[str] | None) -> TransformersEngine:
        """Return an engine with another adapter, or with none, on the same base weights.

        Both engines stay usable in turns: each call makes its own adapter the active one.

        Raises:
            ValueError: If it is no adapter or does not fit.
        """
        other = self._copy()
        other._label = None if adapter is None else self._weights.add(adapter)
        if other.adapter_scale != 1 and other._label is not None:
            self._weights.check_scalable(other._label)
        return other

    def with_decoder(self, decoder: Decoder | None) -> TransformersEngine:
        """Return an engine with another decoder, or with none, on the same weights and adapter."""
        other = self._copy()
        other.decoder = decoder
        return other

    def token_ids(self, prompt: Prompt) -> list[int]:
        """Return the token ids after which the answer to a prompt begins, as `generate` reads it.

        Raises:
            ValueError: If the prompt has no messages.
        """
        tokenizer = self._weights.loaded.tokenizer
        return chat_token_ids(tokenizer, self._messages(prompt), **self.template_options)

    def generate(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> Generations:
        """Draw `n` completions for each prompt.

        Args:
            prompts: Texts, each one user turn, or chats.
            n: Completions a prompt. Greedy ones (`temperature=0`) are n copies of one text.
            sampling: How they are drawn.

        Raises:
            ValueError: If `n` is not positive, a prompt has no messages, or the decoder does not go
                with the sampling.
        """
        if n < 1:
            raise ValueError(f"n must be >= 1, got {n}")
        if check := getattr(self.decoder, "check_sampling", None):
            check(sampling)
        chats = [self._messages(prompt) for prompt in prompts]
        ids = [self.token_ids(prompt) for prompt in prompts]
        copies = n if sampling.temperature == 0 and self.decoder is None else 1
        rows: list[list[list[int]]] = [[] for _ in prompts]
        with self._weights.active(self._label, self.adapter_scale) as model, torch.inference_mode():
            for part in self._plan(chats, ids, n // copies, sampling.seed):
                drawn = self._draw(model, [ids[i] for i in part.prompts], part, sampling)
                for position, row in enumerate(drawn):
                    rows[part.prompts[position // part.siblings]].extend([row] * copies)
        ends = self._weights.ends
        cut = [[_until(row, ends) for row in group] for group in rows]
        truncated = [[ends.isdisjoint(row) for row in group] for group in rows]
        written = [  # the end of a text is a token, too; copies are written once
            sum(len(row) + (not flag) for row, flag in zip(*both, strict=True)) // copies
            for both in zip(cut, truncated, strict=True)
        ]
        return Generations(
            list(prompts),
            [[text.strip() for text in self._texts(group)] for group in cut],
            truncated,
            [
                {"tokens": {"read": len(row), "written": count}}
                for row, count in zip(ids, written, strict=True)
            ],
        )

    def stream(self, prompt: Prompt, sampling: Sampling) -> Generator[str, None, bool]:
        """Yield the pieces of one completion while it is drawn, on a thread of its own.

        Together they are the text of `generate([prompt], 1, sampling)`, but for white space around
        it. (Tokenizers of the SentencePiece kind lose the spaces that begin a line.) An iterator
        that is closed early ends the drawing.

        Args:
            prompt: Text, or a chat.
            sampling: How it is drawn.

        Returns:
            As the generator's value, whether the text was cut off at `max_tokens`.

        Raises:
            ValueError: At the first piece, if the prompt has no messages, or the decoder does not
                go with the sampling or has a token loop of its own, which no stream can follow.
        """
        if check := getattr(self.decoder, "check_sampling", None):
            check(sampling)
        ids = self.token_ids(prompt)
        (part,) = self._plan([self._messages(prompt)], [ids], 1, sampling.seed)
        pieces = Pieces(self._weights.loaded.tokenizer, self._weights.ends)

        def draw() -> list[list[int]]:
            with (
                self._weights.active(self._label, self.adapter_scale) as model,
                torch.inference_mode(),
            ):
                return self._draw(model, [ids], part, sampling, pieces)

        with ThreadPoolExecutor(1) as pool, pieces:
            drawing = pool.submit(draw)
            drawing.add_done_callback(lambda _: pieces.finish())  # also after a failure
            yield from filter(None, pieces)
            (row,) = drawing.result()
        return self._weights.ends.isdisjoint(row)

    def _copy(self) -> TransformersEngine:
        other = object.__new__(TransformersEngine)
        other.__dict__.update(self.__dict__)
        return other

    def _messages(self, prompt: Prompt) -> list[Message]:
        return with_system_message(as_messages(prompt), self.system)

    def _plan(
        self, chats: list[list[Message]], ids: list[list[int]], n: int, seed: int
    ) -> Iterator[_Part]:
        """Cut the work into calls of `model.generate`, each with a seed of its own."""
        if n >= self.batch_size or (self._share_from is not None and n >= self._share_from):
            seen: Counter[str] = Counter()
            for i, chat in enumerate(chats):
                key = json.dumps(chat)
                for start in range(0, n, self.batch_size):
                    count = min(self.batch_size, n - start)
                    yield _Part([i], count, stable_seed(seed, key, seen[key], start))
                seen[key] += 1
            return
        by_length = sorted(range(len(chats)), key=lambda i: len(ids[i]))
        step = self.batch_size // n
        for start in range(0, len(by_length), step):
            some = by_length[start : start + step]
            yield _Part(some, n, stable_seed(seed, [chats[i] for i in some]))

    def _draw(
        self,
        model: Any,
        ids: list[list[int]],
        part: _Part,
        sampling: Sampling,
        pieces: Pieces | None = None,
    ) -> list[list[int]]:
        """Generate the rows of one part; siblings are neighbours. One row can also be streamed."""
        length = max(map(len, ids))
        pad = self._weights.loaded.tokenizer.pad_token_id
        padded = torch.tensor([[pad] * (length - len(row)) + row for row in ids])
        mask = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in ids])
        more: dict[str, Any] = dict(self.decoder(part.siblings, length)) if self.decoder else {}
        if pieces is not None:
            if "custom_generate" in more:  # `generate` would drop the streamer without a word
                raise ValueError(f"a decoder with a loop of its own has no stream: {self.decoder}")
            more["streamer"] = pieces
        if self._share_from is not None and len(ids) == 1 and part.siblings > 1:
            cache = prefilled_cache(model, padded.to(model.device))
            cache.batch_repeat_interleave(part.siblings)
            more["past_key_values"] = cache
        with _own_random_state(part.seed):
            generated = model.generate(
                input_ids=padded.repeat_interleave(part.siblings, 0).to(model.device),
                attention_mask=mask.repeat_interleave(part.siblings, 0).to(model.device),
                generation_config=_generation_config(sampling, self._weights),
                **more,
            )
        rows: list[list[int]] = generated[:, length:].tolist()
        return rows

    def _texts(self, rows: list[list[int]]) -> list[str]:
        texts: list[str] = self._weights.loaded.tokenizer.batch_decode(
            rows, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return texts


class _Part(NamedTuple):
    """One call of `model.generate`: so many siblings for each of these prompts."""

    prompts: list[int]
    siblings: int
    seed: int


class _Weights:
    """One model in memory and the adapters on it; engines that share it take turns."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.label: str | None = None
        bare = loaded.identity | {"adapter": None, "adapter_hash": None}
        self.identities: dict[str | None, dict[str, Any]] = {None: bare}
        if isinstance(loaded.model, PeftModel):
            self.label = str(loaded.model.active_adapter)
            self.identities[self.label] = loaded.identity
        own = inner_model(loaded.model).generation_config.eos_token_id
        ends = own if isinstance(own, list) else [own]
        self.ends = {int(i) for i in [*ends, loaded.tokenizer.eos_token_id] if i is not None}

    def add(self, adapter: str | os.PathLike[str]) -> str:
        """Put one more adapter on the model and return its label."""
        label = f"adapter{len(self.identities)}"
        self.loaded = attach_adapter(self.loaded, adapter, label=label)
        self.identities[label] = self.loaded.identity
        return label

    def check_scalable(self, label: str | None) -> None:
        """Accept an adapter whose update of the weights can be scaled.

        Raises:
            ValueError: If there is none, or it is no LoRA.
        """
        if label is None:
            raise ValueError("adapter_scale needs an adapter on the model, got none")
        kind = str(self.loaded.model.peft_config[label].peft_type.value)
        if kind != "LORA":
            raise ValueError(f"adapter_scale is for LoRA, got an adapter of type {kind}")

    @contextlib.contextmanager
    def active(self, label: str | None, scale: float = 1.0) -> Iterator[Any]:
        """Give the model with one adapter switched on and scaled, or none, and no defaults."""
        model = self.loaded.model
        with contextlib.ExitStack() as stack:
            if isinstance(model, PeftModel):
                if label is None:
                    stack.enter_context(model.disable_adapter())
                elif model.active_adapter != label:
                    model.set_adapter(label, inference_mode=True)
                if label is not None and scale != 1:
                    stack.enter_context(rescale_adapter_scale(model, scale))
            inner = inner_model(model)
            # `generate` fills every option that is None from here, even into an explicit config.
            own = inner.generation_config
            inner.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
            stack.callback(setattr, inner, "generation_config", own)
            yield inner


def _generation_config(sampling: Sampling, weights: _Weights) -> GenerationConfig:
    """Spell out every option that decides a token."""
    tokenizer = weights.loaded.tokenizer
    options: dict[str, Any] = {
        "max_new_tokens": sampling.max_tokens,
        "eos_token_id": sorted(weights.ends),
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "do_sample": sampling.temperature > 0,
    }
    if sampling.temperature > 0:
        options |= {
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,  # absent it would be 50
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
        }
    return GenerationConfig(**options)  # type: ignore[no-untyped-call]


def _until(row: list[int], ends: set[int]) -> list[int]:
    """Cut a row before its first end token; what follows is padding."""
    return row[: next((at for at, token in enumerate(row) if token in ends), len(row))]


@contextlib.contextmanager
def _own_random_state(seed: int) -> Iterator[None]:
    """Seed torch for a while and put the global state (CPU and CUDA) back afterwards."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(seed)
        yield
