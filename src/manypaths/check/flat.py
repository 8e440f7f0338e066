"""Zero-variance groups: all completions have the same reward, so GRPO's advantage is 0 and nothing is learned."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from manypaths.check.outcome import Outcome, outcome, percent, unchecked
from manypaths.check.parts import (
    LEAST_GROUPS,
    LEAST_LINES,
    by_prompt,
    clearest,
    group_parts,
    measured,
    parts,
    scored,
    series,
    too_few_groups,
)
from manypaths.logs import Log, LoggedGroup
from manypaths.names import ZERO_STD
from manypaths.preflight.pilot import FLAT
from manypaths.printable import counted
from manypaths.statistics import mean_of_shares

METRICS = (ZERO_STD, "frac_reward_zero_std")


def flat(log: Log) -> Outcome:
    """Whether more than half of the groups have equal rewards, and at which reward.

    Found where the interval of their share lies above `FLAT`, over the groups of the last half, or over the share that
    the metrics hold if too few groups were logged.
    """
    part = group_parts(log)
    equal = measured(log, part.late, _is_flat)
    values = by_prompt(log, equal)
    if len(values) < LEAST_GROUPS:
        return _by_metrics(log, equal)
    share = mean_of_shares(values)
    groups = [position for position in equal if equal[position]]
    of = counted(len(equal), "group") + (f" of {counted(len(values), 'prompt')}" if len(values) < len(equal) else "")
    sentence = f"{percent(share)} of {of} {part.late_words} have equal rewards{_where(log, groups)}."
    shown = clearest(dict.fromkeys(groups, 1.0))
    return outcome(share.low > FLAT, sentence, share, shown, _advice([log.groups[group] for group in groups]))


def _by_metrics(log: Log, equal: Mapping[int, float]) -> Outcome:
    steps, values = series(log, METRICS)
    part = parts(steps)
    late = [min(1.0, max(0.0, values[position])) for position in part.late]
    if len(late) < LEAST_LINES:
        return unchecked(too_few_groups(log, equal, f"groups with two rewards or more {group_parts(log).late_words}"))
    share = mean_of_shares(late)
    sentence = f"{percent(share)} of the groups have equal rewards {part.late_words}, by the metrics of the log."
    return outcome(share.low > FLAT, sentence, share, (), _advice([]))


def _is_flat(group: LoggedGroup) -> bool | None:
    rewards = scored(group.total)
    return None if len(rewards) < 2 else max(rewards) == min(rewards)


def _where(log: Log, groups: Sequence[int]) -> str:
    """The rewards at which groups are flat, the most frequent two, and how many are all right or all wrong."""
    if not groups:
        return ""
    rewards = Counter(f"{scored(log.groups[group].total)[0]:.4g}" for group in groups).most_common(2)
    words = ", ".join(f"{count} at reward {reward}" for reward, count in rewards)
    right, wrong = _verdicts([log.groups[group] for group in groups])
    return f" ({words}" + (f"; {wrong} all wrong, {right} all right)" if right + wrong else ")")


def _verdicts(groups: Sequence[LoggedGroup]) -> tuple[int, int]:
    """(groups that are all right, groups that are all wrong) of those whose verdicts are all known."""
    verdicts = [group.correct for group in groups if group.correct and None not in group.correct]
    return sum(all(row) for row in verdicts), sum(not any(row) for row in verdicts)


def _advice(groups: Sequence[LoggedGroup]) -> str:
    right, wrong = _verdicts(groups)
    problems = "problems that the model solves sometimes"
    if max(right, wrong) >= 2 * min(right, wrong) + 1:
        problems = "harder problems" if right > wrong else "easier problems"
    return (
        f"Take {problems}, or more prompts with smaller groups; or sample other prompts in their place "
        "(dynamic_sampling.reward of a recipe), or pass over them when they come again (history.target)."
    )
