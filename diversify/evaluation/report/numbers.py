"""All numbers of one prompt as plain data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from diversify.evaluation.recipe import whatever_number
from diversify.evaluation.report.names import measure_name, monitor_name, quality_name
from diversify.evaluation.wording.written import Style

SECTIONS = (("measures", measure_name), ("qualities", quality_name), ("monitors", monitor_name))


class Number(NamedTuple):
    """One line of a prompt's own table."""

    title: str
    code: str
    before: str
    after: str
    difference: str
    others: list[str]


def prompt_numbers(samples: Sequence[Mapping[str, Any] | None]) -> Iterator[Number]:
    """Return what was measured on the answers to one prompt.

    Where one model gave more answers than the other, only what does not depend on that number is
    there: what is left out of the comparison is not subtracted here either. A further model with
    another number of answers has a dash in such a row.

    Args:
        samples: one row of `samples.jsonl` a model, before and after first.
    """
    before = samples[0] or {}
    counts = [len(sample["generations"]) if sample else None for sample in samples]
    for section, named in SECTIONS:
        for code in before.get(section, {}):
            comparable = [count == counts[0] or whatever_number(section, code) for count in counts]
            if not comparable[1]:
                continue
            values = [
                sample[section].get(code) if sample and fit else None
                for sample, fit in zip(samples, comparable, strict=True)
            ]
            name = named(code)
            style = Style(1, share=True) if name.share else Style(3)
            old, new = values[:2]
            yield Number(
                title=name.title,
                code=code,
                before=style.number(old),
                after=style.number(new),
                difference=style.signed(None if old is None or new is None else new - old),
                others=[style.number(value) for value in values[2:]],
            )
