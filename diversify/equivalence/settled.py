"""Pairs that need no judge, and the way of the others to one."""

from collections.abc import Callable, Sequence

from diversify.kernels import Pair


def settled(first: str, second: str) -> bool | None:
    """Say whether two texts are the same where that is plain; None where a judge must be asked.

    Equal texts are the same, and so are two blank ones; a blank text is like no other.

    Example:
        >>> settled("a", "a"), settled("a", " "), settled("a", "b")
        (True, False, None)
    """
    if first == second:
        return True
    blanks = (not first.strip()) + (not second.strip())
    return blanks == 2 if blanks else None


def judge_open(
    pairs: Sequence[Pair],
    ask: Callable[[list[Pair]], Sequence[bool | None]],
    *,
    rule: Callable[[str, str], bool | None] = settled,
) -> list[bool | None]:
    """Judge pairs: by a rule where it decides, else by asking about each distinct pair once.

    Example:
        >>> judge_open([("a", "a"), ("a", "b"), ("a", "b")], lambda open: [None for _ in open])
        [True, None, None]
    """
    verdicts = {(first, second): rule(first, second) for first, second in pairs}
    still = [pair for pair, verdict in verdicts.items() if verdict is None]
    if still:
        verdicts |= zip(still, ask(still), strict=True)
    return [verdicts[first, second] for first, second in pairs]
