"""Completions that are cut off at the length limit: they are scored without their end."""

from __future__ import annotations

from collections.abc import Sequence

from manypaths.check.outcome import Outcome, outcome, percent, unchecked
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
    too_few_groups,
)
from manypaths.check.settings import Settings
from manypaths.logs import Log, LoggedGroup
from manypaths.names import CLIPPED_RATIO
from manypaths.preflight.pilot import CUT_OFF
from manypaths.statistics import mean_of_shares

METRICS = (CLIPPED_RATIO, "response_length/clip_ratio")  # of TRL, of verl


def cut_off(log: Log, settings: Settings) -> Outcome:
    """Whether more than a tenth of the completions are cut off at the limit.

    Found where the interval of the share of the last half lies above `CUT_OFF`: of groups whose completions say
    whether they are cut off, or have as many tokens as the limit of the run; else of the metrics.
    """
    part = group_parts(log)
    limit = settings.limit
    shares = measured(log, part.late, lambda group: _share(_cut_off(group, limit)))
    at = "" if limit is None else f" at {limit} tokens"
    if len(prompts := by_prompt(log, shares)) >= LEAST_GROUPS:
        share = mean_of_shares(prompts)
        verdicts = _verdicts([log.groups[position] for position in shares], limit)
        sentence = f"{percent(share)} of the completions are cut off{at} {part.late_words}{verdicts}."
        shown = clearest({position: value for position, value in shares.items() if value})
        return outcome(share.low > CUT_OFF, sentence, share, shown, _advice(settings))
    steps, values = series(log, METRICS)
    part = parts(steps)
    late = [min(1.0, max(0.0, values[position])) for position in part.late]
    if len(late) < LEAST_LINES:
        if late:
            return unchecked(
                too_few(len(late), LEAST_LINES, f"steps with the metric of cut off completions {part.late_words}")
            )
        if shares:
            return unchecked(
                too_few_groups(log, shares, f"groups that say what is cut off {group_parts(log).late_words}")
            )
        return unchecked("The log does not say which completions are cut off.")
    share = mean_of_shares(late)
    sentence = f"{percent(share)} of the completions are cut off{at} {part.late_words}, by the metrics of the log."
    return outcome(share.low > CUT_OFF, sentence, share, (), _advice(settings))


def _cut_off(group: LoggedGroup, limit: int | None) -> list[bool | None]:
    if group.truncated is not None:
        return group.truncated
    if group.tokens is None or limit is None:
        return []
    return [None if count is None else count >= limit for count in group.tokens]


def _share(verdicts: Sequence[bool | None]) -> float | None:
    present = [verdict for verdict in verdicts if verdict is not None]
    return sum(present) / len(present) if present else None


def _verdicts(groups: Sequence[LoggedGroup], limit: int | None) -> str:
    """How many of the completions that are cut off are correct, and of the others, where that is known."""
    pairs = [
        (cut, right)
        for group in groups
        if group.correct is not None
        for cut, right in zip(_cut_off(group, limit), group.correct, strict=True)
        if cut is not None and right is not None
    ]
    ended, stopped = ([right for cut, right in pairs if cut == which] for which in (False, True))
    if not ended or not stopped:
        return ""
    return f"; {sum(stopped) / len(stopped):.0%} of those are correct, and {sum(ended) / len(ended):.0%} of the others"


def _advice(settings: Settings) -> str:
    advice = "Raise the limit (trainer.max_completion_length in TRL)"
    if settings.masked:
        return f"{advice}; the loss leaves them out already, so they cost time alone."
    return f"{advice}, or leave cut off completions out of the loss (mask_truncated_completions=true in TRL)."
