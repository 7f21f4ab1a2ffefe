"""Equal length: diversity measured again with the answers before and after cut to one length."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import compress, zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from diversify.evaluation.ahead import embedded_ahead
from diversify.evaluation.statistics.change import Change, paired_change
from diversify.evaluation.verdict import PRIMARY
from diversify.kernels import Kernel, NgramKernel
from diversify.measures import MEASURES, measure_all

# Letters of scripts that put no space between words: Thai, Lao, Tibetan, Burmese, Khmer, kana,
# bopomofo and Han. Korean is written with spaces.
_ALONE = (
    r"\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff"
    r"\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_WORD = re.compile(rf"[{_ALONE}]|[^\s{_ALONE}]+")


class Cuts(NamedTuple):
    """How much was cut: numbers at equal length say nothing new where nothing was.

    Args:
        cap: words that an answer may keep, the median over the prompts that were compared; None
            where there was none.
        before: share of the answers before that were longer and so were cut; None likewise.
        after: share of the answers after, likewise.
        left_out: prompts that cannot be compared: so many answers on one side are blank that the
            median is below one word, and nothing would be left of the others.
    """

    cap: float | None
    before: float | None
    after: float | None
    left_out: int


def length_matched(
    before: Iterable[Mapping[str, Any]],
    after: Iterable[Mapping[str, Any]],
    *,
    kernels: Sequence[Kernel] | None = None,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 10_000,
    seed: int = 0,
) -> tuple[dict[str, Change], Cuts]:
    """Measure the change of diversity that is left when the answers are equally long.

    Long answers differ in more places than short ones. So the answers to each prompt are cut to
    the shorter of the two median lengths, before and after, and the primary measures are taken
    again. A cut answer is the beginning of the answer, with its white space; a shorter one stays as
    it is. Where no answer is longer than the cap, the numbers are those of the whole answers.

    Words are cut at white space. In scripts without spaces (Chinese, Japanese, Thai, …), where such
    a word would be a sentence and nothing would be cut, every letter counts as a word; a text that
    mixes scripts is counted piece by piece.

    A prompt with a cap of 0 words is left out and counted: nothing would be compared with nothing,
    and that this does not differ is no evidence that the models do not.

    Args:
        before: rows with `generations`, gone through once and in step with `after`.
        after: the same prompts in the same order.
        kernels: which similarities to use; by default `NgramKernel(2)`, which needs no model. The
            embedder of an `EmbeddingKernel` gets the cut answers to many prompts in one call.
        clusters: a label a prompt; prompts of one label are one piece of evidence.
        resamples: bootstrap resamples, and random flips of signs.
        seed: of both.

    Returns:
        "measure,kernel" -> `Change`, empty where every prompt was left out; and how much was cut.

    Raises:
        ValueError: one side has more prompts, there is no prompt at all or one without answers,
            the labels are not as many as the prompts, or there is no kernel or two of one name.

    >>> changes, cuts = length_matched(
    ...     [{"generations": ["a cat", "a dog"]}],
    ...     [{"generations": ["a cat that sleeps", "a cat that eats"]}],
    ... )
    >>> changes["vendi,ngram-2"].after, cuts
    (1.0, Cuts(cap=2.0, before=0.0, after=1.0, left_out=0))
    """
    kernels = [NgramKernel(2)] if kernels is None else kernels
    names = [kernel.name for kernel in kernels]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"need a kernel, and no two of one name, got {names}")
    measures = {name: MEASURES[name] for name in PRIMARY}
    values: dict[str, tuple[list[float], list[float]]] = {
        f"{name},{kernel}": ([], []) for kernel in names for name in measures
    }
    caps: list[int] = []
    counts = np.zeros((2, 2), dtype=np.int64)
    for row, prepared in embedded_ahead(_cut_rows(before, after), kernels):
        caps.append(row["cap"])
        counts += row["counts"]
        for side, texts in enumerate(row["sides"]):
            for kernel in prepared:
                for name, value in measure_all(kernel(texts), measures).items():
                    values[f"{name},{kernel.name}"][side].append(value)
    if not caps:
        raise ValueError("before and after hold no prompts, so there is nothing to compare")
    if clusters is not None:
        if len(clusters) != len(caps):
            raise ValueError(f"need a label a prompt, got {len(clusters)} for {len(caps)} prompts")
        clusters = list(compress(clusters, caps))
    cuts = _cuts(caps, counts)
    if cuts.left_out == len(caps):
        return {}, cuts
    options: dict[str, Any] = {"clusters": clusters, "resamples": resamples, "seed": seed}
    changes = {
        name: paired_change(np.array(old), np.array(new), **options)
        for name, (old, new) in values.items()
    }
    return changes, cuts


def _cut_rows(
    before: Iterable[Mapping[str, Any]], after: Iterable[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Make one row of each prompt: its answers cut, both sides one after the other and apart."""
    for number, (old, new) in enumerate(zip_longest(before, after)):
        if old is None or new is None:
            short = "before" if old is None else "after"
            raise ValueError(f"both sides need the same prompts; {short} ends after {number}")
        sides: list[list[str]] = [row["generations"] for row in (old, new)]
        if not all(sides):
            got = " and ".join(str(len(texts)) for texts in sides)
            raise ValueError(f"prompt {number} needs answers before and after, got {got}")
        ends = [[_word_ends(text) for text in texts] for texts in sides]
        cap = int(min(np.median([len(own) for own in side]) for side in ends))
        if not cap:
            yield {"generations": [], "sides": (), "cap": 0, "counts": 0}
            continue
        cut = [
            [_beginning(text, own, cap) for text, own in zip(texts, side, strict=True)]
            for texts, side in zip(sides, ends, strict=True)
        ]
        longer = [sum(len(own) > cap for own in side) for side in ends]
        counts = np.array([longer, [len(texts) for texts in sides]])
        yield {"generations": cut[0] + cut[1], "sides": cut, "cap": cap, "counts": counts}


def _word_ends(text: str) -> list[int]:
    """Return where each word of a text ends.

    >>> _word_ends("a red  fox"), _word_ends("GPT 很好")
    ([1, 5, 10], [3, 5, 6])
    """
    return [word.end() for word in _WORD.finditer(text)]


def _beginning(text: str, ends: Sequence[int], cap: int) -> str:
    return text[: ends[cap - 1]] if len(ends) > cap else text


def _cuts(caps: Sequence[int], counts: NDArray[np.int64]) -> Cuts:
    compared = [cap for cap in caps if cap]
    if not compared:
        return Cuts(None, None, None, len(caps))
    before, after = counts[0] / counts[1]
    left_out = len(caps) - len(compared)
    return Cuts(float(np.median(compared)), float(before), float(after), left_out)
