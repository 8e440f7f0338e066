"""Which kind of log a file or a folder is, and its reader."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from manypaths import run_folder
from manypaths.logs import json_lines, runs, trl_completions, verl_rollouts
from manypaths.logs.log import RUN, TRL, VERL, Log, LoggedGroup, Options
from manypaths.logs.rows import VERDICT
from manypaths.printable import listed, shown
from manypaths.problems.rows import read_rows

READABLE = (
    "a run folder with groups.jsonl; TRL's completions_*.parquet, or the folder that they are in; verl's "
    "rollout_data_dir; JSON lines with prompt, completion and reward"
)
COLUMNS = {"prompt": "--prompt-column", "completion": "--completion-column", "step": "--step-column"}
UNUSED = {RUN: COLUMNS | {"group": "--group-column", "rewards": "--reward"}, TRL: COLUMNS, VERL: COLUMNS}


def read(path: Path, options: Options) -> Log:
    """Read a log of any kind. See `manypaths.logs.read`."""
    if not path.exists():
        raise ValueError(f"{shown(path, 200)} does not exist. What can be read: {READABLE}.")
    try:
        log = _folder(path, options) if path.is_dir() else _file(path, options)
    except OSError as error:
        raise ValueError(f"{shown(path, 200)} cannot be read: {error}.") from error
    unused = [word for name, word in UNUSED.get(log.kind, {}).items() if getattr(options, name)]
    if unused:
        log.notes.append(f"Not used: {listed(unused)}, because the log has columns of its own ({log.kind}).")
    if options.correct is not None:
        log.notes.extend(_graded(log.groups, options.correct))
    if not log.groups:
        raise ValueError(f"{shown(path, 200)} must have at least one group, got none. {' '.join(log.notes)}".strip())
    return log


def _graded(groups: Sequence[LoggedGroup], name: str) -> list[str]:
    """A sentence where the values by which a completion is correct are no verdicts: more than two, or on one side."""
    values: list[float] = []
    for group in groups:
        column = group.rewards.get(name) or group.extra.get(name)
        if isinstance(column, list):
            values += [float(value) for value in column if isinstance(value, int | float) and math.isfinite(value)]
    different, right = set(values), sum(value > VERDICT for value in values)
    if len(different) < 2 or (len(different) == 2 and 0 < right < len(values)):
        return []
    return [
        f"{listed([name])} has {len(different)} different values, {min(values):.4g} to {max(values):.4g}. Those above "
        f"{VERDICT} count as correct: {right} of {len(values)} completions. If that is not what it means, give "
        "--correct another column."
    ]


def is_run(path: Path) -> bool:
    """Whether a path is a run folder, with groups or still without; not one with TRL's completions in their place."""
    if not path.is_dir() or (path / run_folder.GROUPS).is_file():
        return path.is_dir()
    return run_folder.is_recorded(path) and not trl_completions.files_in(path)


def _folder(path: Path, options: Options) -> Log:
    if is_run(path):
        if not (path / run_folder.GROUPS).is_file():
            raise ValueError(f"{str(path)!r} is a run without {run_folder.GROUPS}. Wait for the first step.")
        return runs.read_run(path, options)
    completions, lines = trl_completions.files_in(path), json_lines.files_in(path)
    if completions and lines:
        raise ValueError(f"{str(path)!r} holds {completions[0].name} and {lines[0].name}. Name one of the files.")
    if completions:
        return trl_completions.read_completions(path, completions, options)
    if not lines:
        inner = run_folder.runs_in(path)
        names = listed((run.name for run in inner), 8)
        hint = f"It holds the runs {names}. Name one." if inner else f"What can be read: {READABLE}."
        raise ValueError(f"{str(path)!r} must be a log, got a folder without one. {hint}")
    rollouts = verl_rollouts.files_in(path)
    if rollouts and not _named(options) and _first_is_rollout(rollouts[0]):
        log = verl_rollouts.read_rollouts(path, rollouts, options)
        if others := [file.name for file in lines if file not in rollouts]:
            log.notes.append(f"Left out: {listed(others, 8)}, which is no file of rollouts.")
        return log
    return json_lines.read_rows_of(path, lines, options)


def _file(path: Path, options: Options) -> Log:
    if path.suffix.lower() not in json_lines.SUFFIXES:
        raise ValueError(f"{shown(path, 200)} cannot be read. What can be read: {READABLE}.")
    if _named(options):
        return json_lines.read_rows_of(path, [path], options)
    if path.suffix.lower() == ".parquet":
        if all(name in read_rows(str(path))[0] for name in trl_completions.COLUMNS):
            return trl_completions.read_completions(path, [path], options)
    elif path.suffix.lower() in json_lines.LINE_SUFFIXES:
        first = next(json_lines.stream(path, []), {})
        completions = first.get("completions")
        if isinstance(completions, list) and completions and isinstance(completions[0], dict) and "group" in first:
            return runs.read_run(path, options)
        if verl_rollouts.is_rollout(first):
            return verl_rollouts.read_rollouts(path, [path], options)
    return json_lines.read_rows_of(path, [path], options)


def _first_is_rollout(file: Path) -> bool:
    return verl_rollouts.is_rollout(next(json_lines.stream(file, []), {}))


def _named(options: Options) -> bool:
    """Whether the user names the columns of texts, so that the log is a table whatever it looks like."""
    return options.prompt is not None or options.completion is not None
