"""Generation with vLLM in this process.

Fifty answers to one prompt are fifty requests with a seed each; vLLM's prefix cache reads what they
have in common once. Nothing comes from the model's `generation_config.json` but its end tokens.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from transformers import AutoConfig, GenerationConfig

from diversify.engines import (
    Generations,
    Prompt,
    Sampling,
    as_messages,
    stable_seed,
    with_system_message,
)
from diversify.models import (
    FoundModel,
    adapter_identity,
    bare_identity,
    best_device,
    chat_token_ids,
    find_adapter,
    find_model,
    load_tokenizer,
    resolve_dtype,
)

__all__ = ["RequestSampler", "VLLMEngine"]

COLDEST = 0.01
"""vLLM raises a temperature between 0 and this one to it."""

RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Room for LoRA weights that vLLM offers."""

OWN_OPTIONS = frozenset(
    {"model", "tokenizer", "revision", "tokenizer_revision", "dtype", "seed", "generation_config"}
    | {"override_generation_config", "logits_processors", "enable_lora", "skip_tokenizer_init"}
)
"""Arguments of `vllm.LLM` that the engine decides."""


@runtime_checkable
class RequestSampler(Protocol):
    """What draws the tokens inside vLLM: named once, and told the rest with every request."""

    vllm_processor: ClassVar[str]
    """`module:class` of a logits processor, which vLLM loads when it starts."""

    def check_sampling(self, sampling: Sampling) -> None:
        """Raise ValueError for a sampling that it does not go with."""

    def vllm_requests(
        self, n: int, sampling: Sampling, *, tokenizer: Any, seed: int
    ) -> list[dict[str, Any]]:
        """Return arguments of `SamplingParams` for each of `n` samples of a prompt."""


class VLLMEngine:
    """Draw completions from a model that runs in vLLM.

    What is read and what comes back is that of `TransformersEngine`: the same chat template, the
    same end tokens, texts without special tokens and surrounding white space. The random numbers
    are vLLM's, so the same seed gives other texts. Every sample has a seed of its own: it depends on
    `Sampling.seed`, on the prompt, on how often the same prompt came before it in the call, and on
    the sample's number, and not on `n`. Even so a text may change with the load: sums in another
    order round differently, and now and then another token wins.

    vLLM starts processes of its own. A script that makes an engine needs
    `if __name__ == "__main__":` around it.

    Args:
        model: Hub id, local folder, PEFT adapter (with its base), or `EMBEDDED_MODEL`.
        adapter: LoRA adapter put on the model.
        revision: Branch, tag or commit on the hub.
        dtype: "auto", "float32", "bfloat16" or "float16"; "auto" as in `load_model`.
        system: System message put before prompts that have none.
        template_options: Handed to the chat template, e.g. `{"enable_thinking": False}`.
        sampler: What draws the tokens: a `SamplingChain` or `ArithmeticSampling()`. None is vLLM's
            own sampling.
        options: More arguments of `vllm.LLM`, such as `{"gpu_memory_utilization": 0.8}`. They are
            part of the engine's identity.

    Raises:
        ImportError: If vLLM is not installed.
        ValueError: If an option is impossible, the model is not found, the adapter is none that vLLM
            takes, or the sampler cannot run there.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        *,
        adapter: str | os.PathLike[str] | None = None,
        revision: str | None = None,
        dtype: str | torch.dtype = "auto",
        system: str | None = None,
        template_options: Mapping[str, Any] | None = None,
        sampler: RequestSampler | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        options = dict(options or {})
        _check_sampler(sampler)
        _check_options(options, sampler)
        wanted = resolve_dtype(dtype, best_device())
        vllm = _vllm()
        found = find_model(model, adapter=adapter, revision=revision)
        self.tokenizer = load_tokenizer(found.path, revision=found.revision)
        self._ends = _end_tokens(found, self.tokenizer)
        self._identity = bare_identity(found, self.tokenizer, wanted)
        self._lora, room = None, {}
        if found.adapter is not None:
            folder, rank = _plain_lora(found.adapter)
            self._identity |= adapter_identity(found.adapter, folder)
            self._lora = _lora_request(folder)
            room = {"enable_lora": True, "max_lora_rank": rank}
        self._loaded = None if sampler is None else sampler.vllm_processor
        self._llm = vllm.LLM(
            model=found.path,
            revision=found.revision,
            dtype=self._identity["dtype"],
            generation_config="vllm",
            seed=0,
            logits_processors=None if self._loaded is None else [self._loaded],
            **room | options,
        )
        self._params = vllm.SamplingParams
        self._longest = int(self._llm.llm_engine.vllm_config.model_config.max_model_len)
        self.system = system
        self.template_options = dict(template_options or {})
        self.sampler = sampler
        self.options = options

    @property
    def identity(self) -> dict[str, Any]:
        """What decides the distribution: model, adapter, chat template, sampler, vLLM's options."""
        identity = self._identity | {"engine": "vllm", "system": self.system}
        if self.template_options:
            identity["template_options"] = self.template_options
        if self.options:
            identity["options"] = self.options
        if self.sampler is not None:
            identity["sampler"] = repr(self.sampler)
        return identity

    def with_sampler(self, sampler: RequestSampler | None) -> VLLMEngine:
        """Return an engine with another sampler, or with none, on the same running model.

        Raises:
            ValueError: If it cannot run there, or the model was started without its processor.
        """
        _check_sampler(sampler)
        if sampler is not None and sampler.vllm_processor != self._loaded:
            raise ValueError(
                f"{sampler!r} needs {sampler.vllm_processor} in vLLM, which was started with "
                f"{self._loaded}: make the engine with a sampler of that kind"
            )
        other = copy(self)
        other.sampler = sampler
        return other

    def token_ids(self, prompt: Prompt) -> list[int]:
        """Return the token ids after which the answer to a prompt begins, as `generate` reads it.

        Raises:
            ValueError: If the prompt has no messages.
        """
        messages = with_system_message(as_messages(prompt), self.system)
        return chat_token_ids(self.tokenizer, messages, **self.template_options)

    def generate(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> Generations:
        """Draw `n` completions for each prompt.

        Args:
            prompts: Texts, each one user turn, or chats.
            n: Completions a prompt. Greedy ones (`temperature=0`) are n copies of one text.
            sampling: How they are drawn.

        Returns:
            The texts; their `details` have under `tokens` also how many `cached` ones the samples
            of the prompt did not read because the prefix cache held them.

        Raises:
            ValueError: If `n` is not positive, a prompt has no messages or no room for
                `max_tokens` behind it, or vLLM or the sampler would not draw as `sampling` says.
            RuntimeError: If vLLM gives a request up.
        """
        if n < 1:
            raise ValueError(f"n must be >= 1, got {n}")
        if self.sampler is not None:
            self.sampler.check_sampling(sampling)
        elif 0 < sampling.temperature < COLDEST:
            raise ValueError(
                f"vLLM would draw at {COLDEST}, got temperature={sampling.temperature}: take 0, or "
                "a SamplingChain as the sampler"
            )
        ids = [self.token_ids(prompt) for prompt in prompts]
        if ids and (longest := max(map(len, ids))) + sampling.max_tokens > self._longest:
            raise ValueError(
                f"{longest} tokens of a prompt and max_tokens={sampling.max_tokens} are more than "
                f"the {self._longest} that vLLM holds: raise options={{'max_model_len': ...}}"
            )
        copies = n if sampling.temperature == 0 else 1
        outputs = self._llm.generate(
            [{"prompt_token_ids": row} for row in ids for _ in range(n // copies)],
            self._requests(prompts, n // copies, sampling),
            use_tqdm=False,
            lora_request=self._lora,
        )
        drawn = [outputs[at : at + n // copies] for at in range(0, len(outputs), n // copies)]
        return self._collected(prompts, ids, drawn, copies)

    def _requests(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> list[Any]:
        """Return vLLM's `SamplingParams` of every request; a prompt's are neighbours."""
        seen: Counter[str] = Counter()
        requests = []
        for prompt in prompts:
            key = json.dumps(with_system_message(as_messages(prompt), self.system))
            seeds = [stable_seed(sampling.seed, key, seen[key], i) for i in range(n)]
            if self.sampler is None:
                given = [_sampling_arguments(sampling)] * n
            else:
                own = stable_seed(sampling.seed, key, seen[key])
                given = self.sampler.vllm_requests(n, sampling, tokenizer=self.tokenizer, seed=own)
            seen[key] += 1
            requests += [
                self._params(
                    **arguments,
                    max_tokens=sampling.max_tokens,
                    seed=seed,
                    stop_token_ids=sorted(self._ends),
                    detokenize=False,
                )
                for arguments, seed in zip(given, seeds, strict=True)
            ]
        return requests

    def _collected(
        self,
        prompts: Sequence[Prompt],
        ids: Sequence[list[int]],
        drawn: Sequence[Sequence[Any]],
        copies: int,
    ) -> Generations:
        texts, truncated, details = [], [], []
        for read, outputs in zip(ids, drawn, strict=True):
            rows, flags = [], []
            for output in outputs:
                (completion,) = output.outputs
                if completion.finish_reason not in ("stop", "length"):
                    raise RuntimeError(f"vLLM ended a text with {completion.finish_reason!r}")
                rows.append(list(completion.token_ids))
                flags.append(completion.finish_reason == "length")
            cached = sum(output.num_cached_tokens or 0 for output in outputs)
            written = sum(map(len, rows))  # the end of a text is a token, too
            texts.append([text for text in self._texts(rows) for _ in range(copies)])
            truncated.append([flag for flag in flags for _ in range(copies)])
            details.append({"tokens": {"read": len(read), "written": written, "cached": cached}})
        return Generations(list(prompts), texts, truncated, details)

    def _texts(self, rows: Iterable[list[int]]) -> list[str]:
        texts: list[str] = self.tokenizer.batch_decode(
            [row[:-1] if row and row[-1] in self._ends else row for row in rows],
            skip_special_tokens=True,
            clean_up_tokenization_spaces=False,
        )
        return [text.strip() for text in texts]


def _vllm() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise ImportError("VLLMEngine needs vLLM: pip install vllm") from error
    return vllm


def _sampling_arguments(sampling: Sampling) -> dict[str, Any]:
    """Spell out every option that decides a token; what is left out is neutral in vLLM."""
    return {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p or 0.0,
    }


def _check_sampler(sampler: Any) -> None:
    if sampler is not None and not isinstance(sampler, RequestSampler):
        raise ValueError(
            f"{sampler!r} cannot run inside vLLM, where samples share no memory and need not be "
            "drawn in step: a SamplingChain and ArithmeticSampling can, all others are for "
            "TransformersEngine"
        )


def _check_options(options: Mapping[str, Any], sampler: RequestSampler | None) -> None:
    if taken := sorted(OWN_OPTIONS & options.keys()):
        raise ValueError(f"options must not have {taken}: the engine sets them")
    if sampler is not None and options.get("speculative_config") is not None:
        raise ValueError("a sampler does not go with speculative_config: drafts are not its draws")


def _end_tokens(found: FoundModel, tokenizer: Any) -> set[int]:
    """Return the ids that end a completion: the model's own and the tokenizer's."""
    at = found.revision or "main"
    try:
        own: Any = GenerationConfig.from_pretrained(found.path, revision=at).eos_token_id
    except OSError:  # as transformers does it for a model without a generation config
        own = AutoConfig.from_pretrained(found.path, revision=at).eos_token_id
    ends = own if isinstance(own, list) else [own]
    return {int(i) for i in [*ends, tokenizer.eos_token_id] if i is not None}


def _plain_lora(adapter: str) -> tuple[Path, int]:
    """Return the folder of an adapter that vLLM takes, and the rank to make room for."""
    folder, config = find_adapter(adapter)
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if kind != "LORA":
        raise ValueError(f"vLLM takes LoRA adapters, {adapter!r} is of type {kind}")
    plain = {"use_dora": False, "bias": "none", "modules_to_save": None}
    strange = [name for name, value in plain.items() if (getattr(config, name) or value) != value]
    if strange:
        raise ValueError(f"vLLM takes plain LoRA, {adapter!r} sets {', '.join(strange)}")
    highest = max([config.r, *(config.rank_pattern or {}).values()])
    room = next((rank for rank in RANKS if rank >= highest), None)
    if room is None:
        raise ValueError(f"vLLM takes LoRA up to rank {RANKS[-1]}, {adapter!r} has {highest}")
    return folder, room


def _lora_request(folder: Path) -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest("adapter", 1, os.fspath(folder))
