"""The groups of a run folder of ours, or of its groups.jsonl alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from manypaths import run_folder
from manypaths.logs.log import RUN, Log, LoggedGroup, Options
from manypaths.logs.rows import VERDICT
from manypaths.printable import counted

Entry = dict[str, Any]
Parsed = TypeVar("Parsed")
MISTAKES = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)  # of JSON with other content


def read_run(path: Path, options: Options) -> Log:
    """Read a run folder, or the file of its groups.

    Args:
        path: the folder, or a file with the lines of groups.jsonl.
        options: `correct` counts, and `group_size` leaves out other groups.

    Raises:
        ValueError: a file is damaged, or no group has the reward `correct`.
    """
    folder, file = (path, path / run_folder.GROUPS) if path.is_dir() else (path.parent, path)
    notes: list[str] = []
    correct = correct_of(folder, options)
    groups = [with_correct(group, correct) for group in stream_groups(file, notes)]
    if options.correct and not any(group.correct is not None for group in groups):
        raise ValueError(f"--correct must be a reward of {str(file)!r}, got {options.correct!r}, which no group has.")
    if options.group_size:
        kept = [group for group in groups if len(group.completions) == options.group_size]
        if len(kept) < len(groups):
            others = counted(len(groups) - len(kept), "group")
            notes.append(f"Left out: {others} of another size than {options.group_size}.")
        groups = kept
    metrics = run_folder.read_metrics(folder) if path.is_dir() or path.name == run_folder.GROUPS else []
    metrics.sort(key=lambda line: line["step"])
    return Log(path, RUN, sorted(groups, key=lambda group: group.step or 0), metrics, notes)


def with_correct(group: LoggedGroup, name: str | None) -> LoggedGroup:
    """The group with `correct` by the reward of a name, above 0.5, if it has that reward."""
    if name is None or name not in group.rewards:
        return group
    verdicts = [None if reward is None else reward > VERDICT for reward in group.rewards[name]]
    return LoggedGroup(**{**vars(group), "correct": verdicts})


def correct_of(folder: Path, options: Options) -> str | None:
    """The reward by which a completion is correct: the user's, that of the recipe, or the shipped one, accuracy.

    It is None for a run of a script, which may have any function under the name accuracy. Raises ValueError for a
    damaged recipe.
    """
    if options.correct or not run_folder.is_run(folder):
        return options.correct
    method = run_folder.read_recipe_content(folder).get("method")
    correct = method.get("correct") if isinstance(method, dict) else None
    return correct if isinstance(correct, str) else "accuracy"


def stream_groups(file: Path, notes: list[str] | None = None) -> Iterator[LoggedGroup]:
    """The groups of groups.jsonl one after another, for they may exceed the memory.

    `extra` has, as far as the line has them: `number` of the group in its step, `answer`, `method`, `diagnostics` of
    the group, `similarity` of all pairs, and by completion `adjusted`, `nearest`, `nearest_similarity` and
    `completion_diagnostics`.

    Args:
        file: the file.
        notes: gets a sentence on an incomplete last line, as a killed run leaves it.

    Raises:
        ValueError: a line is damaged; the message has its number.
    """
    size = 0

    def lines() -> Iterator[Entry]:
        nonlocal size
        for line, content in run_folder.lines_with_steps(file):
            size += len(content)
            yield line

    yield from parsed(lines(), _group, file)
    if notes is not None and size < file.stat().st_size:
        notes.append(f"The last line of {file.name} is incomplete and left out.")


def parsed(lines: Iterable[Entry], parse: Callable[[Entry], Parsed | None], file: Path) -> Iterator[Parsed]:
    """The results of `parse` that are not None. ValueError names the file and the line that `parse` fails on."""
    for number, line in enumerate(lines, 1):
        try:
            result = parse(line)
        except MISTAKES as error:
            where = f"{file}, line {number}, is damaged ({type(error).__name__}: {error})"
            raise ValueError(f"{where}. Mend or remove that line.") from error
        if result is not None:
            yield result


def _group(line: Entry) -> LoggedGroup:
    completions, lam = line["completions"], line.get("lam")
    names = list(dict.fromkeys(name for completion in completions for name in completion.get("rewards") or {}))
    matrix = line.get("similarity")
    extra = {
        "number": int(line["group"]),
        "answer": None if line.get("answer") is None else _text(line["answer"]),
        "method": line.get("method"),
        "diagnostics": _numbers(line.get("diagnostics") or ({} if lam is None else {"lam": lam})),  # of old versions
        "similarity": None if matrix is None else [[finite(value) for value in row] for row in matrix],
        "adjusted": [finite(completion.get("adjusted")) for completion in completions],
        "nearest": [completion.get("nearest") for completion in completions],
        "nearest_similarity": [finite(completion.get("similarity")) for completion in completions],
        "completion_diagnostics": [_numbers(completion.get("diagnostics") or {}) for completion in completions],
    }
    return LoggedGroup(
        step=line["step"],
        prompt=_text(line["prompt"]),
        completions=[_text(completion["text"]) for completion in completions],
        rewards={name: [finite((row.get("rewards") or {}).get(name)) for row in completions] for name in names},
        total=[finite(completion.get("raw")) for completion in completions],
        advantages=[finite(completion.get("advantage")) for completion in completions],
        extra=extra,
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text must be a string, got {type(value).__name__}")
    return value


def _numbers(values: Entry) -> dict[str, float | None]:
    return {name: finite(value) for name, value in values.items()}


def finite(value: Any) -> float | None:
    """A number as it is; None for null, NaN and infinity. Raises TypeError for anything else."""
    return value if value is not None and math.isfinite(value) else None
