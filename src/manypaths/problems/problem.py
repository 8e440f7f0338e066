"""A problem."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """A question in words and its gold answer; `ways` are worked solutions where the set has them."""

    id: str
    question: str
    answer: str
    ways: tuple[str, ...] = ()
