"""The model card: what was trained and how, and whether it helped.

`write_card` writes `README.md` into the folder of a model or adapter, from the record that a
recipe left there (`training.json`) and, once there is one, the comparison of before and after.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCardData

from diversify.evaluation.markdown import markdown_summary

__all__ = ["RECORD", "model_card", "write_card"]

RECORD = "training.json"

PAPERS = {
    "darling": ("DARLING", "2509.02534"),
    "moda": ("MoDA", "2609.14896"),
    "dra": ("DRA-GRPO", "2505.09655"),
    "mmr": ("MMR-GRPO", "2601.09085"),
    "dqo": ("DQO", "2509.04784"),
    "uniqueness": ("Uniqueness-aware RL", "2601.08763"),
    "ips": ("IPS-GRPO", "2601.21669"),
    "gapo": ("GAPO", "2511.12596"),
    "polychromic": ("Polychromic objectives", "2509.25424"),
    "pass_at_k": ("Pass@k training", "2508.10751"),
    "pkpo": ("PKPO", "2505.15201"),
    "max_rl": ("MaxRL", "2602.02710"),
    "ucpo": ("UCPO", "2605.00365"),
    "unlikeliness": ("Rewarding the unlikely", "2506.02355"),
    "mara": ("MARA", "2510.20817"),
    "divpo": ("DivPO", "2501.18101"),
    "redipo": ("REDIPO", "2605.30021"),
    "ddpo": ("DDPO", "2503.17126"),
    "dorpo": ("DORPO", "2503.17126"),
    "crpo": ("CrPO", "2505.14442"),
    "spl": ("SPL", "2511.08594"),
    "h_dpo": ("H-DPO", "2411.07595"),
    "gem": ("GEM", "2408.16673"),
    "grpo": ("GRPO", "2402.03300"),
    "rloo": ("RLOO", "2402.14740"),
    "dpo": ("DPO", "2305.18290"),
    "orpo": ("ORPO", "2403.07691"),
}
"""Method, objective or trainer -> name and arXiv id of its paper."""


def write_card(
    folder: str | Path,
    *,
    record: Mapping[str, Any] | None = None,
    comparison: Mapping[str, Any] | str | Path | None = None,
) -> Path:
    """Write `README.md` into the folder of a trained model or adapter.

    Args:
        folder: where the model lies.
        record: what a recipe did; by default the `training.json` in the folder.
        comparison: a comparison of before and after, or the path of a `comparison.json`.

    Returns:
        The path of the card.

    Raises:
        ValueError: There is no record, or the comparison is not one.
    """
    folder = Path(folder)
    if record is None:
        if not (folder / RECORD).is_file():
            raise ValueError(f"{folder} holds no {RECORD}: give the record of the training")
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    found: Any = comparison
    if isinstance(comparison, str | Path):
        found = json.loads(Path(comparison).read_text(encoding="utf-8"))
    is_adapter = (folder / "adapter_config.json").is_file()
    card = folder / "README.md"
    card.write_text(model_card(record or {}, found, is_adapter=is_adapter), encoding="utf-8")
    return card


def model_card(
    record: Mapping[str, Any],
    comparison: Mapping[str, Any] | None = None,
    *,
    is_adapter: bool = False,
) -> str:
    """Return the Markdown of a model card.

    Args:
        record: what a recipe did: `recipe`, `method`, `model`, `dataset`, `options`, `training`,
            `versions`; what is missing is left out.
        comparison: `measures` and `qualities` (name -> before, after, difference, ci95, n_prompts)
            and `verdict`; None says that nobody has looked yet.
        is_adapter: whether the folder holds a PEFT adapter and no whole model.

    Raises:
        ValueError: The comparison lacks `measures` or `verdict`.

    Example:
        >>> card = model_card({"recipe": "grpo", "method": "darling", "model": "me/base"})
        >>> card.splitlines()[1:3]
        ['base_model: me/base', 'library_name: transformers']
    """
    return (
        "\n".join(
            [
                _front_matter(record, is_adapter),
                f"# {_title(record)}",
                "",
                _introduction(record, is_adapter),
                *_use(record),
                *_result(comparison),
                *_table("How it was trained", record.get("options", {})),
                *_table("Trainer", record.get("training", {})),
                *_table("Versions", record.get("versions", {})),
                *_papers(record),
            ]
        ).rstrip()
        + "\n"
    )


def _front_matter(record: Mapping[str, Any], is_adapter: bool) -> str:
    """What the Hub reads. A local folder is no base model that it could link to."""
    base, dataset = str(record.get("model") or ""), str(record.get("dataset") or "")
    data = ModelCardData(
        base_model=base if _is_hub_id(base) else None,
        datasets=[dataset] if _is_hub_id(dataset) else None,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["diversify", "trl", *(str(record[k]) for k in ("recipe", "method") if k in record)],
    )
    return f"---\n{data.to_yaml()}\n---\n"


def _title(record: Mapping[str, Any]) -> str:
    return Path(str(record.get("output_dir") or record.get("method") or "diversify")).name


def _is_hub_id(name: str) -> bool:
    return name.count("/") == 1 and not name.startswith((".", "/", "~")) and not Path(name).exists()


def _introduction(record: Mapping[str, Any], is_adapter: bool) -> str:
    what = "A LoRA adapter for" if is_adapter else "A fine-tuned version of"
    base = record.get("model") or "an unnamed model"
    method, recipe = record.get("method", "?"), record.get("recipe", "?")
    data = f" on {record['dataset']}" if record.get("dataset") else ""
    return (
        f"{what} `{base}`, trained with "
        "[diversify](https://github.com/diversify-llm/diversify) to answer open questions in more "
        f"than one way: method `{method}`, recipe `{recipe}`{data}."
    )


def _use(record: Mapping[str, Any]) -> Iterator[str]:
    where = record.get("hub_model_id") or record.get("output_dir") or "path/to/this"
    yield from ("", "```python", "from transformers import AutoModelForCausalLM, AutoTokenizer", "")
    yield f'model = AutoModelForCausalLM.from_pretrained("{where}")'
    yield f'tokenizer = AutoTokenizer.from_pretrained("{where}")'
    yield "```"


def _result(comparison: Mapping[str, Any] | None) -> Iterator[str]:
    yield from ("", "## Before and after", "")
    if comparison is None:
        yield "Not evaluated yet: the training says nothing about diversity or quality."
        return
    yield from markdown_summary(comparison).splitlines()


def _table(title: str, values: Mapping[str, Any]) -> Iterator[str]:
    if values:
        yield from ("", f"## {title}", "", "| option | value |", "|---|---|")
        yield from (f"| {name} | `{value}` |" for name, value in values.items())


def _papers(record: Mapping[str, Any]) -> Iterator[str]:
    said = [*str(record.get("method")).split(" + "), record.get("recipe")]
    said.append((record.get("options") or {}).get("objective"))
    named = [PAPERS[name] for name in dict.fromkeys(said) if name in PAPERS]
    if named:
        yield from ("", "## Papers", "")
        yield from (
            f"- {name}: [arXiv:{arxiv}](https://arxiv.org/abs/{arxiv})" for name, arxiv in named
        )
