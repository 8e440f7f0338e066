"""Completions in JSON lines, JSON or parquet of anybody, whose columns the user can name.

A row is one completion, or a group: then the completion, the rewards and all else of completions are lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from manypaths.files import stream_jsonl
from manypaths.logs import groups
from manypaths.logs.advantages import unexplained
from manypaths.logs.log import LINES, TABLE, Log, Options
from manypaths.logs.rows import (
    Row,
    completion_of,
    group_named,
    is_chat,
    length,
    number,
    prompt_of,
    total,
    verdict,
    whole,
)
from manypaths.printable import listed, shown
from manypaths.problems.columns import has, value_at
from manypaths.problems.rows import read_rows

LINE_SUFFIXES = (".jsonl", ".ndjson")
SUFFIXES = (*LINE_SUFFIXES, ".json", ".parquet")
Entry = dict[str, Any]


@dataclass(frozen=True)
class Columns:
    """The names of the columns of a file; None for what it does not have."""

    prompt: str
    completion: str
    weights: Mapping[str, float]  # of the rewards
    step: str | None
    group: str | None
    advantage: str | None
    correct: str | None
    tokens: str | None
    truncated: str | None

    def of_completions(self) -> list[str]:
        """The columns with a value for each completion."""
        names = [self.completion, *self.weights, self.advantage, self.correct, self.tokens, self.truncated]
        return list(dict.fromkeys(name for name in names if name is not None))

    def read(self) -> set[str | None]:
        """All columns that are read."""
        return {*self.of_completions(), self.prompt, self.step, self.group}


def stream(file: Path, notes: list[str]) -> Iterator[Entry]:
    """The objects of a JSON lines file. NaN and infinity are null.

    Args:
        file: the file.
        notes: gets a sentence on an incomplete last line, as a killed process leaves it.

    Raises:
        ValueError: another line is damaged; the message has its number.
    """
    size = 0
    for entry, line in stream_jsonl(file):
        size += len(line)
        yield entry
    if size < file.stat().st_size:
        notes.append(f"The last line of {file.name} is incomplete and left out.")


def files_in(folder: Path) -> list[Path]:
    """The files of JSON lines in a folder, by name."""
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in LINE_SUFFIXES)


def read_rows_of(path: Path, files: Sequence[Path], options: Options) -> Log:
    """Read completions by the names of their columns.

    The columns are those that the user names, else prompt, completion, reward, and, where they are there, step,
    advantage, correct (a truth value), tokens (a number) and truncated (a truth value). Of a group in one row,
    completions, rewards and so on are read, too.

    Args:
        path: what the user named, for the log.
        files: the files, one or more.
        options: what the user says.

    Raises:
        ValueError: a file is damaged, a column is missing or holds something else, or the groups are ambiguous.
    """
    notes: list[str] = []
    rows = [row for file in files for row in _of_file(file, options, notes)]
    if not rows:
        raise ValueError(f"{str(path)!r} holds no completion. {' '.join(notes)}".strip())
    without = next((row for row in rows if row.step is None), None)
    if without is not None and any(row.step is not None for row in rows):
        raise ValueError(f"{without.file} must have a step, as other files of {str(path)!r} do. Name one of the files.")
    groups_of_rows = groups.find(rows, options.group_size, consecutive=False, notes=notes)
    if count := unexplained(groups_of_rows):
        notes.append(f"In {count} of {len(groups_of_rows)} groups the advantages are not those of the total reward.")
    if all(row.step is None for row in rows):
        notes.append("The log has no step, so that all groups are of unknown steps.")
    kind = LINES if any(file.suffix.lower() != ".parquet" for file in files) else TABLE
    return Log(path, kind, groups_of_rows, [], notes)


def _of_file(file: Path, options: Options, notes: list[str]) -> list[Row]:
    lines = file.suffix.lower() in LINE_SUFFIXES
    entries = list(stream(file, notes)) if lines else read_rows(str(file), say=notes.append)
    if not entries:
        notes.append(f"{file.name} is empty.")
        return []
    columns = _columns(entries, str(file), options)
    rows: list[Row] = []
    for count, entry in enumerate(entries, 1):
        where = f"{file.name}, {'line' if lines else 'row'} {count}"
        rows += _rows(entry, where, file.name, len(rows), columns)
    return rows


def _columns(entries: Sequence[Entry], file: str, options: Options) -> Columns:
    """The columns of a file, by its first row: those that the user names, which must be there, else the usual ones.

    A usual column that may mean something else counts if the first row that has a value has one of the right type.
    """
    entry = entries[0]

    def column(requested: str | None, role: str, option: str | None = None) -> str | None:
        if requested is not None and not has(entry, requested):
            raise ValueError(f"{file} has no column {shown(requested)}. It has {listed(entry)}.")
        words = (role,) if role == "step" else (role, f"{role}s")  # "steps" may be those of a solution
        usual = next((name for name in words if name in entry), None)
        if option and requested is None and usual is None:
            raise ValueError(f"{file} has no column {role!r}. It has {listed(entry)}. Name it: {option} COLUMN.")
        return usual if requested is None else requested

    def optional(role: str, types: type | tuple[type, ...]) -> str | None:
        name = column(None, role)
        if name is None:
            return None
        rows = (row.get(name) for row in entries)
        values = (value for row in rows for value in (row if in_lists and isinstance(row, list) else [row]))
        first = next((value for value in values if value is not None), None)
        return name if isinstance(first, types) else None

    completion = column(options.completion, "completion", "--completion-column") or ""
    in_lists = _is_group(value_at(entry, completion))
    weights = dict(options.rewards) or {column(None, "reward", "--reward") or "": 1.0}
    for name in options.rewards:
        column(name, name)
    return Columns(
        prompt=column(options.prompt, "prompt", "--prompt-column") or "",
        completion=completion,
        weights=weights,
        step=column(options.step, "step"),
        group=None if options.group is None else column(options.group, options.group),
        advantage=optional("advantage", (int, float)),
        correct=optional("correct", bool) if options.correct is None else column(options.correct, options.correct),
        tokens=optional("tokens", int),
        truncated=optional("truncated", bool),
    )


def _is_group(completions: Any) -> bool:
    return isinstance(completions, list) and bool(completions) and not is_chat(completions)


def _rows(entry: Entry, where: str, file: str, place: int, columns: Columns) -> list[Row]:
    """The completions of a row: one, or those of a group, which the row itself makes a group."""
    value = _value(entry, columns.completion, where)
    if not _is_group(value):
        return [_row(entry, where, file, place, columns)]
    lists = {name: _value(entry, name, where) for name in columns.of_completions()}
    lists = {name: [None] * len(value) if values is None else values for name, values in lists.items()}
    for name, values in lists.items():
        if not isinstance(values, list) or len(values) != len(value):
            raise ValueError(f"{where}: {shown(name)} must be a list of {len(value)}, one for each completion.")
    parts = [{**entry, **{name: values[at] for name, values in lists.items()}} for at in range(len(value))]
    return [_row(part, where, file, place + at, columns, group=where) for at, part in enumerate(parts)]


def _row(entry: Entry, where: str, file: str, place: int, columns: Columns, group: str | None = None) -> Row:
    def value(name: str | None) -> Any:
        return None if name is None else _value(entry, name, where)

    if columns.step is not None and value(columns.step) is None:
        raise ValueError(f"{where}: {shown(columns.step)} must be a whole number, got null.")
    prompt, identity = prompt_of(value(columns.prompt), where)
    rewards = {name: number(value(name), where, name) for name in columns.weights}
    truncated = value(columns.truncated)
    right, read = value(columns.correct), {*columns.read()}
    if columns.correct not in columns.weights and right is not None and not isinstance(right, bool):
        read -= {columns.correct}  # a number is kept, because it may be no verdict
    return Row(
        where=where,
        file=file,
        place=place,
        step=whole(value(columns.step), where, columns.step or ""),
        prompt=prompt,
        identity=identity,
        completion=completion_of(value(columns.completion), where),
        rewards=rewards,
        total=total(rewards, columns.weights),
        advantage=number(value(columns.advantage), where, columns.advantage or ""),
        correct=verdict(right, where, columns.correct or ""),
        tokens=length(value(columns.tokens), where, columns.tokens or ""),
        truncated=None if truncated is None else bool(truncated),
        group=group if columns.group is None else group_named(value(columns.group), where, columns.group),
        extra={name: entry[name] for name in entry if name not in read},
    )


def _value(entry: Entry, name: str, where: str) -> Any:
    try:
        return value_at(entry, name)
    except KeyError as error:
        raise ValueError(f"{where} has no column {shown(name)}. It has {listed(entry)}.") from error
