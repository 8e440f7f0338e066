"""Length that drifts with the reward: completions become longer, or shorter, because that alone earns more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from manypaths.check.outcome import Outcome, number, outcome, unchecked
from manypaths.check.parts import LEAST_GROUPS, by_prompt, clearest, group_parts, measured, too_few_groups
from manypaths.logs import Log, LoggedGroup
from manypaths.statistics import Interval, difference, mean_of_numbers, mean_of_shares, rank_correlation

CORRELATION = 0.1  # a small effect (Cohen 1988); below it length says next to nothing about the reward
DRIFT = 1.1  # or its inverse: a tenth longer or shorter
LEAST_STRATUM = 3  # completions of one verdict in a group, for a correlation among them


def length(log: Log) -> Outcome:
    """Whether length goes with the reward within groups, and moved in that direction over the steps.

    Found where three things hold: the interval of the mean rank correlation of length and reward within groups lies
    beyond `CORRELATION`; the interval of the ratio of the mean length of the last third to that of the first lies
    beyond `DRIFT` on the same side; and, where verdicts are known, the correlation among completions of equal verdict
    lies beyond `CORRELATION`, too, because longer completions may be right more often.
    """
    in_tokens = all(group.tokens is not None for group in log.groups)
    if not in_tokens:  # lengths of some groups in tokens and of others in characters could not be compared
        log = replace(log, groups=[replace(group, tokens=None) for group in log.groups])
    unit = "tokens" if in_tokens else "characters"
    correlations = measured(log, range(len(log.groups)), _correlation)
    values = by_prompt(log, correlations)
    if len(values) < LEAST_GROUPS:
        return unchecked(too_few_groups(log, correlations, "groups in which length and reward both differ"))
    part = group_parts(log)
    thirds = [measured(log, third, _log_length) for third in (part.early, part.last)]
    early, last = (by_prompt(log, third) for third in thirds)
    if min(len(early), len(last)) < LEAST_GROUPS:
        fewest = min(thirds, key=lambda third: len(by_prompt(log, third)))
        return unchecked(too_few_groups(log, fewest, "groups in a third of the steps"))
    along = _mean(values)
    ratio = Interval(*map(math.exp, difference(mean_of_numbers(last), mean_of_numbers(early))))
    before, after = (math.exp(mean_of_numbers(values).value) for values in (early, last))
    sentence = (
        f"Within groups the rank correlation of length and reward is {number(along, sign=True)}, and completions of "
        f"the last third are {number(ratio)} times as long as those of the first ({before:.0f} to {after:.0f} {unit})"
    )
    side = _side(along, CORRELATION, -CORRELATION)
    drifts = side != 0 and side == _side(ratio, DRIFT, 1 / DRIFT)
    words, explained = _at_equal_verdict(log, side) if drifts else ("", False)
    shown = clearest({position: side * value for position, value in correlations.items()})
    return outcome(drifts and not explained, f"{sentence}{words}.", along, shown, _advice(side, log))


def _mean(correlations: Sequence[float]) -> Interval:
    """The mean of correlations, which may all be 1: the interval of shares, from 0 to 1, on the scale of -1 to 1."""
    return Interval(*(2 * end - 1 for end in mean_of_shares([(value + 1) / 2 for value in correlations])))


def _side(figure: Interval, above: float, below: float) -> int:
    """1 where the whole interval lies above a bound, -1 where it lies below the other, else 0."""
    return int(figure.low > above) - int(figure.high < below)


def _lengths(group: LoggedGroup) -> Sequence[int | None]:
    return group.tokens if group.tokens is not None else [len(text) for text in group.completions]


def _log_length(group: LoggedGroup) -> float | None:
    lengths = [count for count in _lengths(group) if count is not None]
    return math.log(sum(lengths) / len(lengths)) if sum(lengths) else None


def _correlation(group: LoggedGroup, verdict: bool | None = None) -> float | None:
    """The rank correlation of length and reward in a group, or among one verdict; None for constants."""
    verdicts: Sequence[bool | None] = group.correct or [None] * len(group.completions)
    pairs = [
        (count, reward)
        for count, reward, right in zip(_lengths(group), group.total, verdicts, strict=True)
        if count is not None and reward is not None and math.isfinite(reward) and (verdict is None or right is verdict)
    ]
    value = rank_correlation(*zip(*pairs, strict=True)) if len(pairs) > 1 else math.nan
    return None if math.isnan(value) else value


def _of_equal_verdict(group: LoggedGroup) -> float | None:
    """The mean over right and wrong completions of the correlation among them, of those that are enough and differ."""
    verdicts = group.correct or []
    strata = [_correlation(group, verdict) for verdict in (True, False) if verdicts.count(verdict) >= LEAST_STRATUM]
    present = [value for value in strata if value is not None]
    return sum(present) / len(present) if present else None


def _at_equal_verdict(log: Log, side: int) -> tuple[str, bool]:
    """(the end of the sentence, whether the verdict explains the correlation)."""
    if not any(group.correct for group in log.groups):
        return "", False
    values = by_prompt(log, measured(log, range(len(log.groups)), _of_equal_verdict))
    if len(values) < LEAST_GROUPS:
        return "; among completions of equal verdict, length or reward hardly ever differs", True
    among = _mean(values)
    return (
        f"; among completions of equal verdict the correlation is {number(among, sign=True)}",
        _side(among, CORRELATION, -CORRELATION) != side,
    )


def _advice(side: int, log: Log) -> str:
    which = "long" if side > 0 else "short"
    has_verdicts = any(group.correct for group in log.groups)
    unknown = (
        ""
        if has_verdicts
        else " If such completions are also right more often, that is no fault: --correct NAME says which reward tells."
    )
    return (
        f"Look for the reward that {which} completions get for their length, and bound or remove it; a loss that is "
        f"normalised by a constant (dr_grpo in TRL) does not favour length by itself.{unknown}"
    )
