"""Constraints that a program can verify: does an answer keep to what its prompt asks for?"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, TypeAlias

from diversify.engines import Prompt, text_of
from diversify.quality import checks, forms
from diversify.quality.rules import Completion, check_margin, check_pairs

__all__ = ["CHECKS", "Constraint", "Constraints", "read_constraint"]

Constraint: TypeAlias = Callable[[str], bool | None]
"""Whether a text keeps to one constraint; None where that cannot be told."""

CHECKS: dict[str, Callable[..., bool | None]] = {
    "change_case:capital_word_frequency": checks.capital_word_frequency,
    "change_case:english_capital": forms.english_capital,
    "change_case:english_lowercase": forms.english_lowercase,
    "combination:repeat_prompt": forms.repeat_prompt,
    "combination:two_responses": forms.two_responses,
    "detectable_content:number_placeholders": checks.number_placeholders,
    "detectable_content:postscript": forms.postscript,
    "detectable_format:constrained_response": forms.constrained_response,
    "detectable_format:json_format": forms.json_format,
    "detectable_format:multiple_sections": checks.multiple_sections,
    "detectable_format:number_bullet_lists": checks.number_bullet_lists,
    "detectable_format:number_highlighted_sections": checks.number_highlighted_sections,
    "detectable_format:title": forms.title,
    "keywords:existence": checks.keyword_existence,
    "keywords:forbidden_words": checks.forbidden_words,
    "keywords:frequency": checks.keyword_frequency,
    "keywords:letter_frequency": checks.letter_frequency,
    "language:response_language": forms.response_language,
    "length_constraints:nth_paragraph_first_word": checks.nth_paragraph_first_word,
    "length_constraints:number_paragraphs": checks.number_paragraphs,
    "length_constraints:number_sentences": checks.number_sentences,
    "length_constraints:number_words": checks.number_words,
    "multi-turn:constrained_start": forms.constrained_start,
    "punctuation:no_comma": forms.no_comma,
    "startend:end_checker": forms.end_checker,
    "startend:quotation": forms.quotation,
}
"""IFEval's name of an instruction -> the check, whose arguments have IFEval's names too."""


def read_constraint(name: str, arguments: Mapping[str, Any] | None = None) -> Constraint:
    """Return the check of one instruction with its arguments.

    Args:
        name: One of `CHECKS`.
        arguments: Those of the check by name. None stands for one that is not given, as in a table
            in which every row has every column.

    Raises:
        ValueError: If there is no such instruction, or an argument is missing, unknown or
            impossible.

    Example:
        >>> short = read_constraint(
        ...     "length_constraints:number_words", {"num_words": 4, "relation": "less than"})
        >>> short("Three words only."), short("These are four words.")
        (True, False)
    """
    if name not in CHECKS:
        raise ValueError(f"a constraint is one of {sorted(CHECKS)}, got {name!r}")
    given = {key: value for key, value in (arguments or {}).items() if value is not None}
    constraint = partial(CHECKS[name], **given)
    taken = list(inspect.signature(CHECKS[name]).parameters)[1:]
    try:
        constraint("")  # so that a check refuses its arguments before it is asked for a verdict
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"the constraint {name!r} takes {taken}, got {given!r:.300}: {error}"
        ) from error
    return constraint


class Constraints:
    """Share of a prompt's constraints that an answer keeps to, in [0, 1], or whether it does to all.

    The constraints are IFEval's: rules of length, format and wording, each verified by a program.
    Two columns of a prompt's row name them and their arguments, as in IFEval's own data; others may
    hold for every prompt. A prompt without any is None, and so is an answer of which one cannot be
    told, unless all are required and another fails. A blank answer keeps to none. There is one way
    to keep to a constraint, IFEval's strict one: what a chat model puts around its answer counts.

    It asks nothing about the content, so a text of rubbish with the right number of words passes:
    put a quality of the content beside it. As a gate or a reward it works on any data set with the
    two columns.

    Args:
        always: Constraints of every prompt: for each its name, as `id`, and its arguments.
        require: `"share"` for the share that holds, `"all"` for 1 where every one does, else 0.
        names: The column with, for each prompt, the names of its constraints.
        arguments: The column with, for each prompt, their arguments, a mapping each.
        margin: How far the mean may fall.
        name: How reports call it.

    Raises:
        ValueError: If an option is impossible or a constraint of `always` cannot be read; when
            called, if one of a row cannot (the prompt is named), before anything is judged, or a
            column has the wrong length.

    Example:
        >>> row = {"instruction_id_list": [["punctuation:no_comma", "startend:end_checker"]] * 2,
        ...        "kwargs": [[{}, {"end_phrase": "Bye."}]] * 2}
        >>> Constraints()(["Say goodbye."] * 2, ["So long. Bye.", "So long, friend. Bye."], **row)
        [1.0, 0.5]
        >>> brief = {"id": "length_constraints:number_words", "num_words": 3, "relation": "at most"}
        >>> Constraints([brief])(["A fruit?"] * 2, ["A fig.", "It is a fig."])
        [1.0, 0.0]

    Reference:
        J. Zhou et al., "Instruction-Following Evaluation for Large Language Models", arXiv
        2311.07911. Where its code does not do what its instructions say, the checks follow the
        instructions, and say so.
    """

    two_sided = False
    by_row = True

    def __init__(
        self,
        always: Sequence[Mapping[str, Any]] = (),
        *,
        require: str = "share",
        names: str = "instruction_id_list",
        arguments: str = "kwargs",
        margin: float = 0.05,
        name: str = "constraints",
    ) -> None:
        if require not in ("share", "all"):
            raise ValueError(f"require must be 'share' or 'all', got {require!r}")
        self.always = [dict(each) for each in always]
        self.require = require
        self.names = names
        self.arguments = arguments
        self.margin = check_margin(margin)
        self.name = self.__name__ = name
        self._of_every_prompt()

    @property
    def identity(self) -> dict[str, Any]:
        """The columns, the constraints of every prompt and what is required."""
        columns = [self.names, self.arguments]
        asked = {"columns": columns, "always": self.always, "require": self.require}
        return {"quality": "constraints", **asked}

    def __call__(
        self, prompts: Sequence[Prompt], completions: Sequence[Completion], **columns: Any
    ) -> list[float | None]:
        """Verify the constraints of each completion's prompt."""
        check_pairs(prompts, completions)
        count = len(completions)
        rows = zip(
            self._column(self.names, columns, count),
            self._column(self.arguments, columns, count),
            strict=True,
        )
        always = self._of_every_prompt()
        constraints = [
            always + self._of_row(prompt, *row) for prompt, row in zip(prompts, rows, strict=True)
        ]
        texts = [text_of(completion) for completion in completions]
        return [self._judge(text, own) for text, own in zip(texts, constraints, strict=True)]

    def _judge(self, text: str, constraints: Sequence[Constraint]) -> float | None:
        if not constraints:
            return None
        if not text.strip():
            return 0.0
        verdicts = [constraint(text) for constraint in constraints]
        if self.require == "all" and False in verdicts:
            return 0.0
        if None in verdicts:
            return None
        return sum(map(bool, verdicts)) / len(verdicts)

    def _of_every_prompt(self) -> list[Constraint]:
        read = []
        for each in self.always:
            if "id" not in each:
                raise ValueError(f"a constraint has an id and its arguments, got {each!r}")
            rest = {key: value for key, value in each.items() if key != "id"}
            read.append(_read(each["id"], rest))
        return read

    def _of_row(self, prompt: Prompt, names: Any, arguments: Any) -> list[Constraint]:
        """Read the constraints of one prompt."""
        try:
            return self._read_row(names, arguments)
        except ValueError as error:
            raise ValueError(f"prompt {text_of(prompt)!r:.60}: {error}") from error

    def _read_row(self, names: Any, arguments: Any) -> list[Constraint]:
        names = [] if names is None else names
        arguments = [None] * len(names) if arguments is None else arguments
        for column, value in ((self.names, names), (self.arguments, arguments)):
            if not isinstance(value, list | tuple):
                raise ValueError(f"column {column!r} has a list for each prompt, got {value!r:.80}")
        if names and len(names) != len(arguments):
            raise ValueError(
                f"a prompt has {len(names)} constraints in {self.names!r} but arguments for "
                f"{len(arguments)} in {self.arguments!r}: {names}"
            )
        return [_read(name, given) for name, given in zip(names, arguments, strict=bool(names))]

    @staticmethod
    def _column(name: str, columns: Mapping[str, Any], count: int) -> Sequence[Any]:
        values: Sequence[Any] | None = columns.get(name)
        if values is None:
            return [None] * count
        if len(values) != count:
            raise ValueError(f"column {name!r} has {len(values)} rows for {count} completions")
        return values


def _read(name: Any, arguments: Any) -> Constraint:
    """Read a constraint, or return it as it was read before."""
    if not isinstance(name, str) or not isinstance(arguments, Mapping | None):
        raise ValueError(f"a constraint is a name and a mapping, got {name!r} and {arguments!r}")
    try:
        key = json.dumps(arguments, sort_keys=True)
    except TypeError as error:
        raise ValueError(
            f"the arguments of {name!r} are no JSON, {error}: {arguments!r}"
        ) from error
    return _remembered(name, key)


@lru_cache(maxsize=1 << 14)
def _remembered(name: str, arguments: str) -> Constraint:
    return read_constraint(name, json.loads(arguments))
