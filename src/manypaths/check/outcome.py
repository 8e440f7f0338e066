"""What a check says about a log: found, not shown, or not checkable, in one sentence with its figure."""

from __future__ import annotations

import math
from dataclasses import dataclass

from manypaths.statistics import Interval

FOUND, NOT_SHOWN, UNCHECKED = "found", "not shown", "not checkable"


@dataclass(frozen=True)
class Outcome:
    """What one check says about one log.

    Args:
        state: `FOUND`, `NOT_SHOWN` or `UNCHECKED`.
        sentence: what was measured, with the figure in it; of `UNCHECKED`, what the log lacks.
        figure: the number that the state depends on, with its interval; None where nothing was measured.
        groups: positions in `log.groups` of groups that show it, the clearest first.
        advice: what to do; empty where nothing was found.
    """

    state: str
    sentence: str
    figure: Interval | None = None
    groups: tuple[int, ...] = ()
    advice: str = ""


def unchecked(lacking: str) -> Outcome:
    """The outcome of a check that a log does not allow; `lacking` is a sentence about what the log lacks."""
    return Outcome(UNCHECKED, lacking)


def outcome(found: bool, sentence: str, figure: Interval, groups: tuple[int, ...], advice: str) -> Outcome:
    """`FOUND` with groups and advice, or `NOT_SHOWN` with the sentence and the figure alone."""
    if not found:
        return Outcome(NOT_SHOWN, sentence, figure)
    return Outcome(FOUND, sentence, figure, groups, advice)


def percent(share: Interval) -> str:
    """A share with its interval, such as 62% [45%, 77%], or 3.1% [2.9%, 3.4%] where that is narrow."""
    form = ".1%" if share.high - share.low < 0.02 else ".0%"
    return f"{share.value:{form}} [{share.low:{form}}, {share.high:{form}}]"


def number(figure: Interval, sign: bool = False) -> str:
    """A number with its interval, such as 0.41 [0.30, 0.52]; without ends that are unknown."""
    form = "+.2f" if sign else ".2f"
    if math.isnan(figure.low):
        return format(figure.value, form)
    return f"{figure.value:{form}} [{figure.low:{form}}, {figure.high:{form}}]"
