"""Which words several models say to the same question: shared phrases, as long as they are shared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, TypeAlias

from diversify.evaluation.phrases import sentences
from diversify.kernels import check_integer, ngrams

__all__ = ["FUNCTION_WORDS", "Phrase", "phrases_over_prompts", "shared_phrases"]

FUNCTION_WORDS = frozenset(
    """
    a about after all also am an and any are as at be because been before being but by can could did
    do does done down each for from had has have he her here hers him his how i if in into is it
    it's its just like may me might more most must my no nor not now of off on once one only or
    other our out over own shall she should so some such than that the their them then there these
    they this those through to too under until up upon us very was we were what when where which
    while who whom whose why will with within without would you your
    didn't doesn't don't i'd i'll i'm i've isn't let's that's there's they're we're you'll you're
    """.split()
)
"""English words that carry grammar and no content."""


APOSTROPHE = "\u2019"


class Phrase(NamedTuple):
    """A phrase, the models that say it, and in how many answers it occurs."""

    text: str
    models: tuple[str, ...]
    answers: int


class _Support(NamedTuple):
    words: tuple[str, ...]
    models: set[str]
    by: set[tuple[str, int]]


def shared_phrases(
    answers: Mapping[str, Sequence[str]],
    *,
    prompt: str = "",
    least_models: int = 2,
    shortest: int = 3,
    content: int = 2,
) -> list[Phrase]:
    """List the phrases that answers of several models to one prompt have in common.

    A phrase is a run of words within a sentence, whatever its case. Only maximal ones are listed:
    one that is part of a longer phrase of as many models says nothing new. Two kinds are no clichés
    and are left out: runs of little but function words ("it is one of the"), which all English
    answers share, and runs that the prompt itself contains, which an answer may well repeat.

    Function words are known for English only; elsewhere all words count as content. Scripts without
    spaces between words have no phrases here.

    Args:
        answers: For each model its answers to the prompt.
        prompt: The question.
        least_models: How many models must say a phrase.
        shortest: Fewest words of a phrase.
        content: Fewest words of it that are no function words.

    Returns:
        The phrases, those of the most models first, then those in the most answers.

    Raises:
        ValueError: `least_models` is below two, or `shortest` or `content` below one.

    Example:
        >>> said = {"a": ["Time is a river.", "Clocks!"], "b": ["I think time is a river, truly."]}
        >>> shared_phrases(said)
        [Phrase(text='time is a river', models=('a', 'b'), answers=2)]
        >>> shared_phrases(said, prompt="Is it true that time is a river?")
        []
    """
    check_integer("least_models", least_models, 2)
    check_integer("shortest", shortest, 1)
    check_integer("content", content, 1)
    asked = _sentences(prompt)
    names: dict[object, int] = {}
    runs: _Runs = [
        ((model, number), [names.setdefault(word, len(names)) for word in words], words)
        for model, texts in answers.items()
        for number, text in enumerate(texts)
        for words in _sentences(text)
    ]
    found = []
    level = 1
    support = _supports(runs, level, least_models)
    while support:
        longer = [(who, _joined(places, support, names), words) for who, places, words in runs]
        above = _supports(longer, level + 1, least_models)
        covered = _covered(runs, support, longer, above)
        found += [
            Phrase(
                " ".join(said.words), tuple(m for m in answers if m in said.models), len(said.by)
            )
            for place, said in support.items()
            if level >= shortest
            and place not in covered
            and sum(word not in FUNCTION_WORDS for word in said.words) >= content
            and not any(said.words in ngrams(sentence, level) for sentence in asked)
        ]
        runs, support, level = longer, above, level + 1
    return sorted(found, key=lambda p: (-len(p.models), -p.answers, -len(p.text), p.text))


def phrases_over_prompts(
    ids: Sequence[str], said: Sequence[Sequence[Phrase]]
) -> list[dict[str, Any]]:
    """Add up each phrase over the prompts that brought it, the most shared first.

    Args:
        ids: The prompts.
        said: For each one what `shared_phrases` found.

    Returns:
        One dictionary a phrase: `phrase`, `models` (of all its prompts), `answers` and `prompts`.

    Raises:
        ValueError: There are not as many ids as lists of phrases.

    Example:
        >>> found = phrases_over_prompts(["p1", "p2"], [[Phrase("time is a river", ("a", "b"), 3)],
        ...                                             [Phrase("time is a river", ("b", "c"), 2)]])
        >>> found[0]["models"], found[0]["answers"], found[0]["prompts"]
        (['a', 'b', 'c'], 5, ['p1', 'p2'])
    """
    found: dict[str, dict[str, Any]] = {}
    for name, phrases in zip(ids, said, strict=True):
        for phrase in phrases:
            entry = found.setdefault(
                phrase.text, {"phrase": phrase.text, "models": [], "answers": 0, "prompts": []}
            )
            entry["models"] += [model for model in phrase.models if model not in entry["models"]]
            entry["answers"] += phrase.answers
            entry["prompts"].append(name)
    return sorted(
        found.values(),
        key=lambda e: (-len(e["models"]), -e["answers"], -len(e["phrase"]), e["phrase"]),
    )


# Who says it, the number of the run of words that begins at each place, and the words.
_Runs: TypeAlias = list[tuple[tuple[str, int], list[int | None], list[str]]]


def _sentences(text: str) -> list[list[str]]:
    """Cut a text into the words of its sentences, one way of writing apostrophes."""
    return sentences(text.replace(APOSTROPHE, "'"))


def _supports(runs: _Runs, level: int, least_models: int) -> dict[int, _Support]:
    """Collect who says each run of `level` words, and keep what enough models say."""
    found: dict[int, _Support] = {}
    for who, places, words in runs:
        for position, place in enumerate(places):
            if place is not None:
                if place not in found:
                    found[place] = _Support(tuple(words[position : position + level]), set(), set())
                found[place].models.add(who[0])
                found[place].by.add(who)
    return {place: own for place, own in found.items() if len(own.models) >= least_models}


def _joined(
    places: list[int | None], support: Mapping[int, _Support], names: dict[object, int]
) -> list[int | None]:
    """Number the runs that are one word longer: two neighbours, both shared, make one."""
    return [
        names.setdefault((first, second), len(names))
        if first in support and second in support
        else None
        for first, second in pairwise(places)
    ]


def _covered(
    runs: _Runs, support: Mapping[int, _Support], longer: _Runs, above: Mapping[int, _Support]
) -> set[int]:
    """Find the runs that are part of a run one word longer which as many models say."""
    return {
        place
        for (_, places, _), (_, joined, _) in zip(runs, longer, strict=True)
        for position, key in enumerate(joined)
        if key is not None and key in above
        for place in places[position : position + 2]
        if place is not None and len(support[place].models) == len(above[key].models)
    }
