"""Entropy beside diversity: the policy's entropy collapses, and the completions of a group become alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

from manypaths.check.copies import repeated
from manypaths.check.outcome import Outcome, number, outcome, unchecked
from manypaths.check.parts import (
    LEAST_GROUPS,
    LEAST_LINES,
    by_prompt,
    clearest,
    group_parts,
    measured,
    parts,
    series,
    too_few,
)
from manypaths.logs import Log
from manypaths.names import ENTROPY, VENDI_SCORE
from manypaths.statistics import Interval, difference, mean_of_numbers, mean_of_shares

METRICS = (ENTROPY, "actor/entropy")  # of TRL, of verl
COLLAPSED = 0.5  # of the entropy of the first third
ADVICE = (
    "Exploration is ending: lower the learning rate, raise the upper clipping bound (epsilon_high in TRL), add a KL "
    "penalty or sample at a higher temperature, or reward what differs (docs/methods.md: which one?)."
)


def entropy(log: Log) -> Outcome:
    """Whether entropy fell below half of what it was, and the different texts of a group became fewer.

    Found where the interval of the ratio of the geometric mean of the last third to that of the first lies below
    `COLLAPSED`, and that of the change of diversity below 0. Diversity is the Vendi score where the log has it, else
    the share of different texts in a group.
    """
    steps, values = series(log, METRICS)
    part = parts(steps)
    early, last = ([values[position] for position in third] for third in (part.early, part.last))
    if min(len(early), len(last)) < LEAST_LINES:
        return unchecked(too_few(len(values), 3 * LEAST_LINES, "steps with the metric entropy"))
    if min(*early, *last) <= 0:
        return unchecked("The metric entropy of the log is not above 0 throughout, so it is not one of a policy.")
    ratio = _ratio(early, last)
    sentence = (
        f"entropy is {number(ratio)} times what it was "
        f"({math.exp(_log(early).value):.2g} in the first third, {math.exp(_log(last).value):.2g} in the last)"
    )
    diversity = _vendi(log) or _texts(log)
    collapsed = ratio.high < COLLAPSED
    if diversity is None:
        if collapsed:
            return unchecked(
                f"The {sentence}, but the log does not say whether the completions of a group became alike."
            )
        return outcome(False, f"The {sentence}.", ratio, (), "")
    words, change = diversity
    shares = measured(log, group_parts(log).last, repeated)
    return outcome(collapsed and change.high < 0, f"The {sentence}, and {words}.", ratio, clearest(shares), ADVICE)


def _log(values: Sequence[float]) -> Interval:
    return mean_of_numbers([math.log(value) for value in values])


def _ratio(early: Sequence[float], last: Sequence[float]) -> Interval:
    """The geometric mean of the last values over that of the early ones."""
    return Interval(*(math.exp(value) for value in difference(_log(last), _log(early))))


def _vendi(log: Log) -> tuple[str, Interval] | None:
    steps, values = series(log, [VENDI_SCORE])
    part = parts(steps)
    if min(len(part.early), len(part.last)) < LEAST_LINES:
        return None
    early, last = (mean_of_numbers([values[position] for position in third]) for third in (part.early, part.last))
    words = f"the Vendi score of a group went from {early.value:.2f} to {last.value:.2f} completions"
    return words, difference(last, early)


def _texts(log: Log) -> tuple[str, Interval] | None:
    """The change of the share of different texts; None where groups are too few, or all texts differ throughout."""
    part = group_parts(log)
    thirds = [by_prompt(log, measured(log, third, repeated)) for third in (part.early, part.last)]
    if min(map(len, thirds)) < LEAST_GROUPS or not any(map(sum, thirds)):
        return None
    early, last = (mean_of_shares([1 - share for share in shares]) for shares in thirds)
    words = f"the share of different texts in a group went from {early.value:.0%} to {last.value:.0%}"
    return words, difference(last, early)
