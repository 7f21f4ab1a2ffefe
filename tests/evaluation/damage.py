"""Files as they arrive: cut off, shuffled, retyped, hostile. Strategies for the fuzz tests."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

# The same examples on every machine: what is found once goes into a test of its own.
QUICK = settings(derandomize=True, max_examples=25, deadline=None, database=None)

HOSTILE = (
    *("", " ", "\x00", "\u2028", "\u202eevil\u202c", "\u2066x\u2069", "\ud800", "\ufffe"),
    *("<script>alert(1)</script>", "'\"><img src=x onerror=alert(1)>", "]]>", "{{ 7 }}", "%s"),
    *("1e999", "NaN", "../../etc/passwd", 'a,b\n"c', "😀" * 3, "مرحبا", "a" * 5000),
)

values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-3, 3),
        st.sampled_from(
            [0.5, 1e308, float("inf"), float("-inf"), float("nan"), 10**400, -(10**30)]
        ),
        st.sampled_from(HOSTILE),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.sampled_from(HOSTILE), inner, max_size=2)
    ),
    max_leaves=4,
)


def places(document: Any, path: tuple = ()) -> list[tuple]:
    """Return the paths of everything inside a document, itself included."""
    found = [path]
    pairs = document.items() if isinstance(document, dict) else ()
    pairs = enumerate(document) if isinstance(document, list) else pairs
    for name, inner in pairs:
        found += places(inner, (*path, name))
    return found


@st.composite
def damaged(draw, document: Any) -> Any:
    """A copy of a JSON document of which one or two places are something else, or missing."""
    found = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from([p for p in places(found) if p] or [("none",)]))
        holder = found
        for name in way:
            holder = holder[name]
        if draw(st.booleans()):
            holder[last] = draw(values)
        elif isinstance(holder, list):
            holder.insert(last, copy.deepcopy(holder[last]))
        else:
            holder.pop(last, None)
    return found


def lines(rows: list[Any]) -> bytes:
    """Return rows as JSON lines; lone surrogates are escaped."""
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def torn(content: bytes) -> st.SearchStrategy[bytes]:
    """A file that was cut off, has bytes of another one in it, or its lines in another order."""

    def spliced(at: int, noise: bytes) -> bytes:
        return content[:at] + noise + content[at + len(noise) :]

    place = st.integers(0, len(content))
    noise = st.sampled_from([b"\x00", b"\xff\xfe", b"\r", b"\n", b'"', b"[" * 2000, b"}", b"1e999"])
    rows = content.splitlines(keepends=True)
    return st.one_of(
        place.map(lambda at: content[:at]),
        st.builds(spliced, place, noise),
        st.permutations(rows).map(b"".join),
        st.lists(st.sampled_from(rows), max_size=len(rows) + 2).map(b"".join),
    )


def clear(function: Callable[[], Any], names: str | Path = "") -> Any:
    """Return what a function returns, or None where it says what is wrong, and with which file."""
    try:
        return function()
    except ValueError as error:
        message = str(error)
        assert message.strip() and str(names) in message, f"says nothing: {message!r}"
        assert "codec can't" not in message, f"no sentence: {message!r}"
        return None
