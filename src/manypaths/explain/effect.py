"""What a method made of the groups of a log, as numbers, without torch."""

from __future__ import annotations

from dataclasses import dataclass

from manypaths.explain.choices import Choice


@dataclass(frozen=True)
class Neighbour:
    """The sibling that is most like a completion: its index in the group, and their similarity."""

    index: int
    similarity: float


@dataclass(frozen=True)
class OfGroup:
    """What a method made of one group of G completions.

    Args:
        adjusted: the rewards after the reweighting; None for an unscored completion.
        advantages: those of the update, 0 for an unscored completion.
        share: of the advantages, what the method put there, 0 to 1 (`manypaths.methods.measures.share_of_advantage` of
            GRPO's advantages and of these, both scaled); None where all are equal.
        neighbours: of each completion, among those that the method compares; None where there is none, as for an
            unscored completion.
        ways: a number for each completion, equal where the keys that the method compares are; None without keys.
    """

    adjusted: list[float | None]
    advantages: list[float]
    share: float | None
    neighbours: list[Neighbour | None]
    ways: list[int] | None


@dataclass(frozen=True)
class Effect:
    """What a method made of all groups, in the order of the log."""

    choice: Choice
    groups: list[OfGroup]
