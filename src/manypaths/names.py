"""The names under which functions are logged and spoken of."""

from __future__ import annotations

import difflib
import functools
import itertools
from collections.abc import Iterable, Sequence
from typing import Any


def name_of(function: Any) -> str:
    """The name of a function beneath `functools.partial` and wrappers; of an object that is called, its class's."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return str(getattr(function, "__name__", type(function).__name__))


def distinct(names: Sequence[str]) -> list[str]:
    """The same names, of which a later one of the same name is NAME_2, NAME_3, ..."""
    result: list[str] = []
    for name in names:
        numbered = (f"{name}_{number}" for number in itertools.count(2))
        free = (other for other in numbered if other not in names and other not in result)
        result.append(name if name not in result else next(free))
    return result


def nearest(word: str, known: Iterable[str]) -> str:
    """A sentence that names the nearest known word, or all of them when none is near."""
    close = difflib.get_close_matches(word, known := list(dict.fromkeys(known)), n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(sorted(known))}."
