"""A reward at its ceiling: nearly all completions have the highest one, so there is nothing left to learn from it."""

from __future__ import annotations

from manypaths.check.outcome import Outcome, outcome, percent, unchecked
from manypaths.check.parts import LEAST_GROUPS, by_prompt, clearest, group_parts, measured, scored, too_few_groups
from manypaths.logs import Log, LoggedGroup
from manypaths.statistics import mean_of_shares

CEILING = 0.9  # a group of 8 then has fewer than one completion on average that is not at the top
ADVICE = "Take harder problems, or end the training here."


def ceiling(log: Log) -> Outcome:
    """Whether nearly all completions have the highest reward of the log.

    Found where the interval of their share in the last half lies above `CEILING`. A reward that has one value in the
    whole log is not checkable: whether that is its highest, the log does not say.
    """
    rewards = [reward for group in log.groups for reward in scored(group.total)]
    part = group_parts(log)
    if not rewards:
        return unchecked("The log has no rewards of completions.")
    top = max(rewards)
    shares = measured(log, part.late, lambda group: _share(group, top))
    values = by_prompt(log, shares)
    if len(values) < LEAST_GROUPS:
        return unchecked(too_few_groups(log, shares, f"groups with rewards {part.late_words}"))
    if top == min(rewards):
        return unchecked(f"All rewards of the log are {top:.4g}, so whether that is their highest is unknown.")
    share = mean_of_shares(values)
    late = [log.groups[position] for position in shares]
    sentence = f"{percent(share)} of the completions have the highest reward of the log, {top:.4g}, {part.late_words}"
    sentence += f"{_verdicts(late, top)}."
    shown = clearest({position: value for position, value in shares.items() if value == 1})
    return outcome(share.low > CEILING, sentence, share, shown, _advice(late, top))


def _share(group: LoggedGroup, top: float) -> float | None:
    rewards = scored(group.total)
    return sum(reward == top for reward in rewards) / len(rewards) if rewards else None


def _right_at_the_top(groups: list[LoggedGroup], top: float) -> list[bool]:
    return [
        right
        for group in groups
        if group.correct is not None
        for reward, right in zip(group.total, group.correct, strict=True)
        if reward == top and right is not None
    ]


def _verdicts(groups: list[LoggedGroup], top: float) -> str:
    right = _right_at_the_top(groups, top)
    return f"; {sum(right) / len(right):.0%} of those are correct" if right else ""


def _advice(groups: list[LoggedGroup], top: float) -> str:
    right = _right_at_the_top(groups, top)
    if not right:
        return f"{ADVICE} If {top:.4g} is not the highest reward possible, no completion ever got more than the others."
    if sum(right) / len(right) < CEILING:
        return "The highest reward goes to wrong completions: mend the reward, and read the groups."
    return ADVICE
