"""The problem: what is loaded, trained on and evaluated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """A question in words and its gold answer.

    `grader` names what decides which answers are right (`manypaths.verifiers`): mathematics compares them with the gold
    answer; for any other, `answer` is the condition that all right answers meet. `ways` are worked solutions, where the
    set has them; of a set with a verifier they are all right answers, the common one first.
    """

    id: str
    question: str
    answer: str
    ways: tuple[str, ...] = ()
    grader: str = "mathematics"
