"""Part of the way from a base model to its tuned one: interpolation of weights (WiSE-FT).

Tuning trades what the base model could say for what it says well. Weights between the two often
keep more of the former than they lose of the latter, without any training.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from diversify.evaluation.generate import write_atomically
from diversify.models import EMBEDDED_MODEL, embedded_model_path
from diversify.trainers.card import RECORD, write_card

__all__ = ["interpolate"]

ADAPTER_CONFIG = "adapter_config.json"
ADAPTER = "adapter_model.safetensors"
INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"

PLAIN_STARTS = (True, False, "gaussian", "orthogonal", "eva")
"""Ways to begin a LoRA that leave the base weights as they are."""
LINEAR = {
    "use_dora": (False, None),
    "bias": ("none", None),
    "lora_bias": (False, None),
    "modules_to_save": (None, []),
    "trainable_token_indices": (None, [], {}),
    "layer_replication": (None, []),
    "init_lora_weights": (*PLAIN_STARTS, None),
    "use_qalora": (False, None),
    "use_bdlora": (None,),
    "arrow_config": (None,),
    "kasa_config": (None,),
    "monteclora_config": (None,),
}
"""What a LoRA may say if its distance to the base is to be its scaling times a product."""


def interpolate(
    tuned: str | Path, output: str | Path, *, alpha: float, base: str | Path | None = None
) -> Path:
    r"""Write the model that lies `alpha` of the way from the base to the tuned model.

    .. math:: \theta = (1 - \alpha)\, \theta_{base} + \alpha\, \theta_{tuned}

    For a LoRA adapter the base is where it stands, and its weights enter as one product times a
    scaling: multiplying the scaling by `alpha` is exact, and the result is an adapter again. Of
    whole models every tensor is interpolated in float32 and rounded to the type it has in the
    tuned model; at 0 and 1 the weights are those of base and tuned model, bit by bit.

    Args:
        tuned: folder of a LoRA adapter or of a whole model in safetensors.
        output: folder to write; must not exist or be empty.
        alpha: how far, in [0, 1].
        base: the model that `tuned` was trained from, where it is a whole model: a folder, or the
            embedded model.

    Returns:
        The path of `output`. Tokenizer and configuration go along; a training record says what was
        done and the model card is written anew, without the tuned model's results.

    Raises:
        ValueError: `alpha` is out of range, a folder is not what it should be, the adapter's
            weights are no scaled product (DoRA, trained biases or whole modules, …), or the
            two models do not have the same tensors.

    Reference:
        M. Wortsman et al., "Robust fine-tuning of zero-shot models", arXiv 2109.01903; for
        language models that reason, and their diversity, X. Dang et al., "Weight Ensembling
        Improves Reasoning in Language Models", arXiv 2504.10478.
    """
    tuned, output = Path(tuned), Path(output)
    if not (math.isfinite(alpha) and 0.0 <= alpha <= 1.0):
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    is_adapter = (tuned / ADAPTER_CONFIG).is_file()
    if not is_adapter and not (tuned / SINGLE).is_file() and not (tuned / INDEX).is_file():
        raise ValueError(f"{tuned} holds neither an adapter nor a model in safetensors")
    if output.exists() and any(output.iterdir()):
        raise ValueError(f"{output} is not empty: choose another folder")
    if is_adapter and base is not None:
        raise ValueError(f"{tuned} is an adapter, which knows its base: leave base out")
    if is_adapter:
        config = _scaled(json.loads((tuned / ADAPTER_CONFIG).read_text("utf-8")), alpha, tuned)
        _check_adapter_weights(tuned / ADAPTER)
        _copy(tuned, output, without=())
        write_atomically(output / ADAPTER_CONFIG, json.dumps(config, indent=2) + "\n")
    else:
        if base is None:
            raise ValueError(f"{tuned} is a whole model: name the base that it was trained from")
        source = embedded_model_path() if str(base) == EMBEDDED_MODEL else Path(base)
        _check_tensors(source, tuned)
        _copy(tuned, output, without=set(_files(tuned)))
        _mix_files(source, tuned, output, alpha)
    _record(tuned, output, alpha, base)
    return output


def _scaled(config: dict[str, Any], alpha: float, folder: Path) -> dict[str, Any]:
    """Return an adapter's configuration with its scaling multiplied."""
    if config.get("peft_type") != "LORA":
        raise ValueError(f"{folder} is no LoRA adapter but {config.get('peft_type')}")
    for name, allowed in LINEAR.items():
        value = config.get(name)
        if not any(value is each or value == each for each in allowed):
            raise ValueError(
                f"{folder} has {name}={value!r}: its weights are no scaled product, and scaling it "
                "would be no interpolation. Merge it into its base and interpolate whole models"
            )
    patterns = config.get("alpha_pattern") or {}
    return config | {
        "lora_alpha": _number(config["lora_alpha"] * alpha),
        "alpha_pattern": {name: _number(value * alpha) for name, value in patterns.items()},
    }


def _number(value: float) -> float:
    """Return a whole number as one: not every reader of adapters expects another."""
    return int(value) if float(value).is_integer() else value


def _check_adapter_weights(file: Path) -> None:
    """Make sure that an adapter holds nothing but the factors of products."""
    if not file.is_file():
        raise ValueError(f"{file.parent} has no {ADAPTER}")
    with safe_open(file, "pt") as weights:
        others = [name for name in weights.keys() if ".lora_" not in name]
    if others:
        raise ValueError(f"{file} holds whole weights besides its LoRA, such as {others[0]}")


def _files(folder: Path) -> dict[str, list[str]]:
    """Return the weight files of a model and which tensors each holds."""
    if (folder / INDEX).is_file():
        index = json.loads((folder / INDEX).read_text("utf-8"))
        names = sorted(set(index["weight_map"].values()))
    elif (folder / SINGLE).is_file():
        names = [SINGLE]
    else:
        raise ValueError(f"{folder} holds no model in safetensors")
    found = {}
    for name in names:
        with safe_open(folder / name, "pt") as weights:
            found[name] = list(weights.keys())
    return found


def _places(folder: Path) -> dict[str, str]:
    """Return tensor -> the weight file that holds it."""
    return {tensor: file for file, tensors in _files(folder).items() for tensor in tensors}


def _check_tensors(base: Path, tuned: Path) -> None:
    """Make sure that two models have the same tensors, before anything is written."""
    places = {base: _places(base), tuned: _places(tuned)}
    if differing := sorted(places[base].keys() ^ places[tuned].keys()):
        raise ValueError(
            f"{base} and {tuned} have different tensors, {len(differing)} in all, such as "
            f"{differing[0]}"
        )
    for tensor in places[base]:
        shapes = [_shape(folder / places[folder][tensor], tensor) for folder in places]
        if shapes[0] != shapes[1]:
            raise ValueError(
                f"{tensor} has the shape {shapes[0]} in {base}, {shapes[1]} in {tuned}"
            )


def _shape(file: Path, tensor: str) -> list[int]:
    """Read the shape of a tensor, not the tensor."""
    weights: Any
    with safe_open(file, "pt") as weights:
        return list(weights.get_slice(tensor).get_shape())


def _mix_files(base: Path, tuned: Path, output: Path, alpha: float) -> None:
    """Write the interpolated weights, file by file as the tuned model has them."""
    places = _places(base)
    for name, tensors in _files(tuned).items():
        mixed = {}
        with safe_open(tuned / name, "pt") as weights:
            for tensor in tensors:
                with safe_open(base / places[tensor], "pt") as others:
                    start = others.get_tensor(tensor)
                mixed[tensor] = _mix(start, weights.get_tensor(tensor), alpha, tensor)
        save_file(mixed, output / name, metadata={"format": "pt"})
    if (tuned / INDEX).is_file():
        shutil.copy2(tuned / INDEX, output / INDEX)


def _mix(base: torch.Tensor, tuned: torch.Tensor, alpha: float, name: str) -> torch.Tensor:
    """Interpolate one tensor."""
    if not tuned.is_floating_point():
        if not torch.equal(base, tuned):
            raise ValueError(f"{name} is no floating-point tensor and differs: cannot interpolate")
        return tuned
    if alpha in (0.0, 1.0):
        return base.to(tuned.dtype) if alpha == 0.0 else tuned
    return torch.lerp(base.float(), tuned.float(), alpha).to(tuned.dtype)


def _copy(tuned: Path, output: Path, *, without: Iterable[str]) -> None:
    """Copy what makes a model loadable, and no checkpoints or results."""
    output.mkdir(parents=True, exist_ok=True)
    left_out = {*without, INDEX, RECORD, "README.md", "training_args.bin"}
    for path in sorted(tuned.iterdir()):
        if path.is_file() and path.name not in left_out:
            shutil.copy2(path, output / path.name)


def _record(tuned: Path, output: Path, alpha: float, base: str | Path | None) -> None:
    """Write what was done, beside what is known about the tuned model's training."""
    record: dict[str, Any] = {}
    if (tuned / RECORD).is_file():
        record = json.loads((tuned / RECORD).read_text("utf-8"))
    method = record.get("method")
    record["method"] = f"{method}, interpolated" if method else "interpolated"
    record["options"] = record.get("options", {}) | {"alpha": alpha, "tuned": str(tuned)}
    if base is not None:
        record["options"]["base"] = str(base)
    record["output_dir"] = str(output)
    record.pop("hub_model_id", None)
    write_atomically(output / RECORD, json.dumps(record, indent=2) + "\n")
    write_card(output)
