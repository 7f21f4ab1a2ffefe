"""lm-eval: `samples_<task>_<date>.jsonl`, which `--log_samples` writes, and the results beside it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from diversify.evaluation.checks import row_id
from diversify.evaluation.importers.answers import Answers, Source, as_prompt
from diversify.reading import read_json, read_jsonl, read_text

__all__ = ["read_lm_eval"]

NAME = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d{2}-\d{2}T.+)\.jsonl")
KEPT = ("category", "split", "answers", "instruction_id_list", "kwargs")
"""What is taken over from a document: names that mean the same in a prompt set."""
SAMPLING = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "max_gen_toks": "max_tokens",
}
"""lm-eval's name of an option -> ours."""


def read_lm_eval(path: Path, *, prompt: str | None = None) -> Source:
    """Read the logged samples of one generation task.

    `repeats: n` in the task's YAML gives n answers a document. A document that was logged once for
    each filter is read once, since its answers are the same.

    Args:
        path: The samples file.
        prompt: Column of the document with the question; by default its `prompt` if it has one,
            else the context that the model saw, chat template included.

    Raises:
        ValueError: A row is malformed, its task generates nothing, a document comes twice with
            another prompt or other answers, or the rows were not all drawn in one way.
    """
    answers: dict[str, Answers] = {}
    sampling: dict[str, Any] | None = None
    for number, row in read_jsonl(read_text(path), str(path)):
        where = f"{path}, line {number}"
        context, options = _request(row, where)
        texts, doc = _texts(row, where), row.get("doc")
        doc = doc if isinstance(doc, dict) else {}
        if prompt is not None and prompt not in doc:
            raise ValueError(f"{where}: the document has no {prompt!r}; it has {sorted(doc)}")
        question = doc[prompt] if prompt is not None else doc.get("prompt") or context
        name = row_id(doc.get("id"), where) or f"doc-{row.get('doc_id', number)}"
        columns = {key: doc[key] for key in KEPT if key in doc}
        found = Answers(where, as_prompt(question, where), texts, name, columns=columns)
        known = answers.setdefault(name, found)
        if (known.texts, known.prompt) != (texts, found.prompt):
            other = "other answers" if known.prompt == found.prompt else "another prompt"
            raise ValueError(f"{where}: the document {name!r} was logged before, with {other}")
        drawn = _sampling(options)
        sampling = drawn if sampling is None else sampling
        if drawn != sampling:
            raise ValueError(f"{where}: drawn with {drawn}, and rows before with {sampling}")
    if not answers:
        raise ValueError(f"{path} holds no samples")
    return _with_results(path, Source(list(answers.values()), sampling=sampling or {}))


def _request(row: dict[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """Return the context and the generation options of a row, of the new layout or the old one."""
    arguments = row.get("arguments")
    if isinstance(arguments, dict):
        first = arguments.get("gen_args_0")
        arguments = [[first[key] for key in sorted(first)]] if isinstance(first, dict) else []
    if not isinstance(arguments, list) or not arguments:
        raise ValueError(f"{where}: no usable 'arguments'; the columns are {sorted(row)}")
    request = arguments[0]
    if not (isinstance(request, list) and len(request) > 1 and isinstance(request[1], dict)):
        raise ValueError(f"{where}: the task generates no text: only generate_until tasks do")
    return str(request[0]), request[1]


def _texts(row: dict[str, Any], where: str) -> list[str]:
    found = row.get("resps")
    if not (
        isinstance(found, list)
        and len(found) == 1
        and isinstance(found[0], list)
        and found[0]
        and all(isinstance(text, str) for text in found[0])
    ):
        raise ValueError(f"{where}: 'resps' must hold one list of texts, got {found!r:.80}")
    return list(found[0])


def _sampling(options: dict[str, Any]) -> dict[str, Any]:
    found = {ours: options[theirs] for theirs, ours in SAMPLING.items() if theirs in options}
    # Without do_sample the host is greedy, whatever temperature stands beside it.
    return found | {"temperature": 0.0} if options.get("do_sample") is False else found


def _with_results(path: Path, source: Source) -> Source:
    """Add what the results file of the same run says of the model and the task."""
    match = NAME.fullmatch(path.name)
    if match is None:
        return source
    task = match["task"]
    source = replace(source, prompts={"name": task})
    file = path.with_name(f"results_{match['date']}.json")
    if not file.is_file():
        return source
    results = read_json(file)
    config, versions = results.get("config", {}), results.get("versions", {})
    if not isinstance(config, dict) or not isinstance(versions, dict):
        raise ValueError(f"{file}: 'config' and 'versions' are objects in a results file")
    engine = {
        "revision": config.get("model_sha") or config.get("model_revision"),
        "chat_template_sha": results.get("chat_template_sha"),
        "system": results.get("system_instruction"),
        "harness": f"lm-eval {results.get('lm_eval_version', '')}".strip(),
    }
    return replace(
        source,
        model=str(results.get("model_name") or ""),
        engine=engine,
        prompts={"name": task, "version": str(versions.get(task, "unknown"))},
    )
