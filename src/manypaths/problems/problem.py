"""The problem: what is loaded, trained on and evaluated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """A question in words and its gold answer."""

    id: str
    question: str
    answer: str
    ways: tuple[str, ...] = ()  # worked solutions, where the set has them
