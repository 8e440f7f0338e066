"""The parts of a log that checks look at: its last half, and its last third beside its first.

What holds now is measured over the last half of the steps, because a run that began badly may have recovered. A change
is measured between the first and the last third. The prompts of a part are its independent values: groups of one
prompt, which come in several epochs, share its difficulty. Steps count, not groups, so that a step is never divided.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from manypaths.logs import Log, LoggedGroup

T = TypeVar("T")

LEAST_GROUPS = 10  # of different prompts of a part; with fewer, a 95 % interval of a share may be 60 points wide
LEAST_LINES = 5  # of metrics of a part, each of them a mean over a step or more
SHOWN = 5  # groups that an outcome names


@dataclass(frozen=True)
class Parts:
    """Positions of groups or lines in the parts of a log, each in the order of the log.

    Where there are no steps, or one, `late` has all positions, and the thirds are empty.
    """

    early: list[int]  # the first third
    late: list[int]  # the last half
    last: list[int]  # the last third
    late_words: str  # such as "in the last half (steps 13 to 24)"


def parts(steps: Sequence[int | None]) -> Parts:
    """The parts of values by their steps, [N]; values without a step are in no part where others have one."""
    distinct = sorted({step for step in steps if step is not None})
    if len(distinct) < 2:
        return Parts([], list(range(len(steps))), [], "in the log")
    third, half = max(1, round(len(distinct) / 3)), len(distinct) // 2

    def within(chosen: list[int]) -> list[int]:
        return [position for position, step in enumerate(steps) if step is not None and step in set_of(chosen)]

    def set_of(chosen: list[int]) -> range:
        return range(chosen[0], chosen[-1] + 1)

    words = f"in the last half (steps {distinct[half]} to {distinct[-1]})"
    return Parts(within(distinct[:third]), within(distinct[half:]), within(distinct[-third:]), words)


def group_parts(log: Log) -> Parts:
    """The parts of the groups of a log."""
    return parts([group.step for group in log.groups])


def measured(log: Log, positions: Iterable[int], of: Callable[[LoggedGroup], T | None]) -> dict[int, T]:
    """{position: value} of the groups at these positions that have the value."""
    values = {position: of(log.groups[position]) for position in positions}
    return {position: value for position, value in values.items() if value is not None}


def by_prompt(log: Log, values: Mapping[int, float]) -> list[float]:
    """One independent value for each prompt, with the mean of the values of all groups.

    The mean m of N groups of C prompts is a ratio, the sum of the values over the number of groups. Prompt c, whose n
    groups have the sum s, therefore has the value m + C/N (s - n m): the variance of the mean of these values is that
    of the ratio with clusters (Cochran 1977, Eq. 6.9, without the correction for a finite population). Where all
    prompts have as many groups, it is the mean of the prompt's groups.

    Args:
        log: the log.
        values: {position of a group: its value}. A group whose prompt the log does not say is a prompt of its own.

    Returns:
        The values, one for each prompt, in the order of the log.
    """
    clusters: dict[str | int, list[float]] = {}
    for position, value in values.items():
        clusters.setdefault(log.groups[position].prompt or position, []).append(value)
    if len(set(map(len, clusters.values()))) <= 1:
        return [sum(cluster) / len(cluster) for cluster in clusters.values()]
    mean, scale = sum(values.values()) / len(values), len(clusters) / len(values)
    return [mean + scale * sum(value - mean for value in cluster) for cluster in clusters.values()]


def series(log: Log, names: Iterable[str]) -> tuple[list[int | None], list[float]]:
    """(steps, values) of the first of these metrics that some line of the log has; lines without it are left out."""
    for name in names:
        pairs = [(_step(line), value) for line in log.metrics if (value := _finite(line.get(name))) is not None]
        if pairs:
            return [step for step, _ in pairs], [value for _, value in pairs]
    return [], []


def _step(line: dict[str, object]) -> int | None:
    step = line.get("step")
    return step if isinstance(step, int) and not isinstance(step, bool) else None


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def scored(values: Iterable[float | None]) -> list[float]:
    """The rewards of completions that have one."""
    return [value for value in values if value is not None and math.isfinite(value)]


def clearest(values: dict[int, float]) -> tuple[int, ...]:
    """Up to `SHOWN` positions by descending value, of equal ones the last of the log first."""
    return tuple(sorted(values, key=lambda position: (-values[position], -position))[:SHOWN])


def too_few_groups(log: Log, values: Mapping[int, float], of: str) -> str:
    """As `too_few`, of the groups that have values; it says where they are enough, but not their prompts.

    Args:
        log: the log.
        values: {position of a group: its value}.
        of: words for the groups, such as "groups with rewards in the log".
    """
    prompts = len(by_prompt(log, values))
    if len(values) < LEAST_GROUPS or prompts == len(values):
        return too_few(prompts, LEAST_GROUPS, of)
    return (
        f"Too few prompts: {prompts}, where {LEAST_GROUPS} are needed, in {len(values)} {of}. Groups of one prompt are "
        "alike, and count as one value."
    )


def too_few(count: int, least: int, of: str) -> str:
    """A sentence for a part with fewer values than an interval needs."""
    return f"Too few {of}: {count}, where {least} are needed."
