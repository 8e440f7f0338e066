"""What a log of a training holds, whichever software wrote it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

RUN, TRL, VERL, LINES, TABLE = "manypaths run", "TRL completions", "verl rollouts", "JSON lines", "table"


@dataclass(frozen=True)
class Options:
    """What the user says about a log, as the command line gives it; None where the log itself must say it.

    Args:
        prompt: the column of the prompts.
        completion: the column of the completions.
        step: the column of the step.
        group: a column that is equal for the completions of one group, within a step.
        rewards: the weight of each reward by its column; empty for those that the log says are rewards.
        correct: the reward, or the column, by which a completion is correct: above 0.5, or true.
        group_size: the number of completions of a group.
    """

    prompt: str | None = None
    completion: str | None = None
    step: str | None = None
    group: str | None = None
    rewards: Mapping[str, float] = field(default_factory=dict)
    correct: str | None = None
    group_size: int | None = None


@dataclass(frozen=True)
class LoggedGroup:
    """The G completions of one prompt that were compared with one another.

    Args:
        step: the update or the generation step, as the log numbers it; None where it has none.
        prompt: its text.
        completions: G texts, the model's own part.
        rewards: by the name of a reward, of each completion, unweighted; None for an unscored completion.
        total: of each completion the sum of the rewards, weighted as the log or the user says; before any method of
            ours. None for an unscored completion, and for all where the weights are unknown.
        advantages: of each completion; None where the log has none.
        correct: of each completion, only where the log says it or the user names a reward.
        tokens: the length of each completion in tokens, only where the log has it.
        truncated: whether a completion was cut off at the length limit, only where the log has it.
        extra: whatever else the log held of this group, such as the adjusted rewards and similarity of a run.
    """

    step: int | None
    prompt: str
    completions: list[str]
    rewards: dict[str, list[float | None]]
    total: list[float | None]
    advantages: list[float | None] | None = None
    correct: list[bool | None] | None = None
    tokens: list[int | None] | None = None
    truncated: list[bool | None] | None = None
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Log:
    """The groups and metrics of one training.

    Args:
        path: the file or folder that was read.
        kind: `RUN`, `TRL`, `VERL`, `LINES`, or `TABLE` for parquet with columns that the user names.
        groups: by ascending step, in the order of the log.
        metrics: one dict per logged step, by ascending step; empty where none lie beside the groups.
        notes: one sentence for each thing that was left out or assumed.
    """

    path: Path
    kind: str
    groups: list[LoggedGroup]
    metrics: list[dict[str, object]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
