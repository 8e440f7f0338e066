"""A reward that rises while accuracy does not: what is learned is the reward, not the task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from manypaths.check.outcome import Outcome, number, outcome, unchecked
from manypaths.check.parts import (
    LEAST_GROUPS,
    Parts,
    by_prompt,
    clearest,
    group_parts,
    measured,
    scored,
    too_few_groups,
)
from manypaths.logs import Log, LoggedGroup
from manypaths.printable import listed
from manypaths.statistics import Interval, difference, mean_of_shares

RISE = 0.1  # of the range of the reward; a smaller rise is not worth a warning


@dataclass(frozen=True)
class Change:
    """How the mean of a reward moved from the first third to the last, in shares of its range."""

    name: str
    first: Interval
    last: Interval

    @property
    def value(self) -> Interval:
        return difference(self.last, self.first)


def components(log: Log) -> Outcome:
    """Whether a reward rose over the steps while the share of correct completions did not.

    Found where, from the first third to the last, the reward rose by more than `RISE` of the range that it has in the
    log, its interval lies above 0 and above the change of accuracy, and that of accuracy does not lie above 0. With
    several rewards the level is Bonferroni's, 1 - 0.05 / number of rewards.
    """
    if not log.groups:
        return unchecked("The log has no groups of completions.")
    if not any(group.correct for group in log.groups):
        return unchecked(
            "The log does not say which completions are correct; --correct NAME names the reward that does."
        )
    names = list(dict.fromkeys(name for group in log.groups for name in group.rewards))
    ranges = {name: _range(log, name) for name in names if not _is_verdict(log, name)}
    varied = {name: bounds for name, bounds in ranges.items() if bounds is not None}
    if not varied:
        return unchecked(
            "The log has no reward beside the one that says which completions are correct, or none that differs."
        )
    part = group_parts(log)
    level = 1 - 0.05 / len(varied)
    accuracy = _change("accuracy", log, part, _accuracy, level)
    if accuracy is None:
        fewest = min(_thirds(log, part, _accuracy), key=lambda third: len(by_prompt(log, third)))
        return unchecked(too_few_groups(log, fewest, "groups with verdicts in a third of the steps"))
    changes = [_change(name, log, part, _scaled(name, *bounds), level) for name, bounds in varied.items()]
    present = [change for change in changes if change is not None]
    if not present:
        return unchecked(
            f"No reward has {LEAST_GROUPS} groups of different prompts in the first and in the last third of the steps."
        )
    moving = [change for change in present if _outruns(change, accuracy)]
    shown = max(moving or present, key=lambda change: change.value.low)
    sentence = f"From the first third to the last, accuracy changed by {number(accuracy.value, sign=True)}"
    for change in moving or [shown]:
        low, high = varied[change.name]
        sentence += (
            f", and {listed([change.name])} by {number(change.value, sign=True)} of its range ({low:.4g} to {high:.4g})"
        )
    constant = [name for name, bounds in ranges.items() if bounds is None]
    if constant:
        sentence += f"; without any difference in the whole log: {listed(constant)}"
    scaled = _scaled(shown.name, *varied[shown.name])
    gaps = measured(log, part.last, lambda group: _gap(group, scaled))
    return outcome(bool(moving), f"{sentence}.", shown.value, clearest(gaps), _advice(moving))


def _outruns(change: Change, accuracy: Change) -> bool:
    apart = difference(change.value, accuracy.value)
    return change.value.value > RISE and change.value.low > 0 and apart.low > 0 and not accuracy.value.low > 0


def _is_verdict(log: Log, name: str) -> bool:
    """Whether a reward is above 0.5 exactly for the correct completions, so that it cannot part from accuracy."""
    pairs = [
        (reward > 0.5, right)
        for group in log.groups
        if group.correct is not None and name in group.rewards
        for reward, right in zip(group.rewards[name], group.correct, strict=True)
        if reward is not None and right is not None
    ]
    return bool(pairs) and all(above == right for above, right in pairs)


def _range(log: Log, name: str) -> tuple[float, float] | None:
    values = [value for group in log.groups for value in scored(group.rewards.get(name, []))]
    return (min(values), max(values)) if values and max(values) > min(values) else None


def _accuracy(group: LoggedGroup) -> float | None:
    verdicts = [right for right in group.correct or [] if right is not None]
    return sum(verdicts) / len(verdicts) if verdicts else None


def _scaled(name: str, low: float, high: float) -> Callable[[LoggedGroup], float | None]:
    """The mean of a reward in a group, as a share of its range."""

    def mean(group: LoggedGroup) -> float | None:
        values = scored(group.rewards.get(name, []))
        return min(1.0, sum((value - low) / (high - low) for value in values) / len(values)) if values else None

    return mean


def _thirds(log: Log, part: Parts, of: Callable[[LoggedGroup], float | None]) -> list[dict[int, float]]:
    return [measured(log, third, of) for third in (part.early, part.last)]


def _change(name: str, log: Log, part: Parts, of: Callable[[LoggedGroup], float | None], level: float) -> Change | None:
    early, last = (by_prompt(log, third) for third in _thirds(log, part, of))
    if min(len(early), len(last)) < LEAST_GROUPS:
        return None
    return Change(name, mean_of_shares(early, level), mean_of_shares(last, level))


def _gap(group: LoggedGroup, scaled: Callable[[LoggedGroup], float | None]) -> float | None:
    """By how much a reward exceeds the accuracy of a group, as shares."""
    reward, accuracy = scaled(group), _accuracy(group)
    return None if reward is None or accuracy is None else reward - accuracy


def _advice(found: Sequence[Change]) -> str:
    names = listed(change.name for change in found)
    return (
        f"Read the groups: what earns {names} without a right answer? Lower the weight of that reward, give it to "
        "right completions only, or stop it where it is reached."
    )
