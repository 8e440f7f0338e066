"""Cover: a given number of items that together have all needed marks, no two of them excluded as a pair.

A condition is `2 of A13 B24 C3 need 1234, not AC`: an item is a letter and the digits of its marks; the list of pairs
may be empty. An answer is the letters of the items that are chosen, in any order.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from manypaths.printable import shown
from manypaths.verifiers.verifier import Verifier

_CONDITION = re.compile(r"([1-9]) of ((?:[A-Z][1-9]{1,9} )+)need ([1-9]{1,9}), not((?: [A-Z][A-Z])*)")
_ANSWER = re.compile(r"[A-Z](?:[\s,]{0,2}[A-Z])*")


class Choice(NamedTuple):
    """What is to be chosen."""

    size: int
    marks: dict[str, frozenset[str]]  # of each item
    need: frozenset[str]
    excluded: tuple[frozenset[str], ...]  # pairs


def condition(count: int, marks: Mapping[str, Iterable[str]], need: Iterable[str], excluded: Iterable[str]) -> str:
    """The text of a condition, equal for equal choices."""
    items = " ".join(f"{item}{''.join(sorted(own))}" for item, own in sorted(marks.items()))
    pairs = "".join(f" {pair}" for pair in sorted("".join(sorted(pair)) for pair in excluded))
    return f"{count} of {items} need {''.join(sorted(need))}, not{pairs}"


@functools.lru_cache(maxsize=10_000)
def choice(text: str) -> Choice:
    """The choice of a condition.

    Raises:
        ValueError: it is none, has an item twice, or excludes what is no pair of its items.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(f"A cover must be '2 of A13 B24 C3 need 1234, not AC', got {shown(text)}.")
    items = match[2].split()
    marks = {item[0]: frozenset(item[1:]) for item in items}
    excluded = tuple(frozenset(pair) for pair in match[4].split())
    if len(marks) < len(items) or any(len(pair) < 2 or not pair <= marks.keys() for pair in excluded):
        raise ValueError(f"A cover must have different items, and exclude pairs of them, got {shown(text)}.")
    return Choice(int(match[1]), marks, frozenset(match[3]), excluded)


def layout(text: str) -> str | None:
    """The letters of an answer in their order in the alphabet: ACE for `C, A, E`."""
    return "".join(sorted(re.sub(r"[\s,]", "", text))) if _ANSWER.fullmatch(text) else None


def meets(answer: str, condition: str) -> bool:
    """Whether so many different items are chosen, have every mark, and hold no excluded pair."""
    own, chosen = choice(condition), frozenset(answer)
    if len(answer) != own.size or len(chosen) != own.size or not chosen <= own.marks.keys():
        return False
    covered = frozenset().union(*(own.marks[item] for item in chosen))
    return own.need <= covered and not any(pair <= chosen for pair in own.excluded)


VERIFIER = Verifier(layout, meets)
