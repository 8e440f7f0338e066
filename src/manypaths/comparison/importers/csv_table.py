"""A CSV table as `Run`s."""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

from manypaths.comparison.importers.values import LAST_STEP, short_text
from manypaths.comparison.runs import Run, Score
from manypaths.printable import shown

Row = dict[str, Any]
COLUMNS = {  # column -> the headers that it may have, the preferred one first
    "step": ("step", "global_step", "iteration"),
    "accuracy": ("accuracy", "score", "acc", "pass@1", "value"),
    "run": ("run", "name", "model", "method", "config", "configuration", "experiment"),
    "seed": ("seed",),
    "benchmark": ("benchmark", "task", "dataset"),
    "problem": ("problem", "id", "problem_id", "question_id"),
    "seconds": ("seconds", "time_s", "wall_time"),
    "hours": ("hours",),
}
DATE = 1e9  # seconds; larger times are dates since 1970, not the time since training began


def read_csv(path: Path) -> list[Run]:
    """Read a table with a header, separated by commas, semicolons or tabs, as a run for each `run` and `seed`.

    Args:
        path: A file whose headers are in `COLUMNS`; `step` and `accuracy` are required. Accuracies are shares, or
            percentages if any is above 1. Seconds or hours are of training until that step. With a problem column a row
            is one completion of that problem, otherwise the mean of a benchmark.

    Raises:
        ValueError: A line cannot be read; the message has its number.
    """
    (_, header), *lines = _table(path)
    columns, notes = _columns(path, header)
    rows = [_row(path, line, cells, len(header), columns) for line, cells in lines]
    if max(row["accuracy"] for row in rows) > 1:
        notes.append(f"{short_text(path.name)}: some accuracies are above 1, so all are read as percentages.")
        rows = [{**row, "accuracy": row["accuracy"] / 100} for row in rows]
    runs: defaultdict[tuple[str, int | None], list[Row]] = defaultdict(list)
    for row in rows:
        if row["accuracy"] > 1:
            raise _error(path, row["line"], "an accuracy of at most 100 percent", f"{100 * row['accuracy']:g}")
        runs[row["run"], row["seed"]].append(row)
    order = sorted(runs, key=lambda key: (key[0], -1 if key[1] is None else key[1]))
    return [_run(path, *key, runs[key], notes) for key in order]


def _run(path: Path, group: str, seed: int | None, rows: list[Row], notes: list[str]) -> Run:
    run = Run(group if seed is None else f"{group}-seed{seed}", group, seed, notes=list(notes))
    scores: defaultdict[tuple[int, str], defaultdict[str | None, list[float]]] = defaultdict(lambda: defaultdict(list))
    clock: dict[int, float] = {}
    for row in rows:
        samples = scores[row["step"], row["benchmark"]][row["problem"]]
        samples.append(row["accuracy"])
        if row["problem"] is None and len(samples) > 1:
            raise _error(path, row["line"], "a run, seed, step and benchmark of its own, or a problem", "a repetition")
        if row["seconds"] is not None:
            clock[row["step"]] = max(row["seconds"], clock.get(row["step"], 0.0))
    for (step, benchmark), problems in sorted(scores.items()):
        means = {problem: fmean(samples) for problem, samples in problems.items()}
        shares = {problem: mean for problem, mean in means.items() if problem is not None}
        run.results.setdefault(step, {})[benchmark] = (
            Score.of_shares(shares) if shares else Score.of_mean(fmean(means.values()))
        )
    times = [clock[step] for step in sorted(clock)]
    if times == sorted(times) and min(times, default=0) < DATE:
        run.clock = sorted(clock.items())
    else:
        run.notes.append(f"{run.name}: times are left out, because they are not seconds since training began.")
    return run


def _table(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of the header and of each row."""
    if not path.is_file():
        raise ValueError(f"{str(path)!r} must be a CSV file, got no file. Name one.")
    try:
        content = path.read_bytes().decode("utf-8-sig")
        separator = max(",;\t", key=content.lstrip().partition("\n")[0].count)
        reader = csv.reader(io.StringIO(content, newline=""), delimiter=separator, skipinitialspace=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (csv.Error, OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"{str(path)!r} must be a CSV file in UTF-8, got an error: {error}. Save it as one."
        ) from error
    filled = [(line, cells) for line, cells in rows if any(cells)]
    if len(filled) < 2:
        raise ValueError(f"{str(path)!r} must have a header and rows, got {len(filled)} lines. Leave it out.")
    return filled


def _columns(path: Path, header: list[str]) -> tuple[dict[str, int], list[str]]:
    """The index of each column, and a note for each header that is ignored because another one is preferred."""
    plain = [cell.lower().replace(" ", "_") for cell in header]
    present = {column: [name for name in names if name in plain] for column, names in COLUMNS.items()}
    for column in ("step", "accuracy"):
        if not present[column]:
            allowed, actual = " or ".join(COLUMNS[column]), short_text(", ".join(header))
            raise ValueError(f"{str(path)!r} must have a column {allowed}, got {actual}. Rename one.")
    ignored = [(column, names[0], other) for column, names in present.items() for other in names[1:]]
    notes = [
        f"{short_text(path.name)}: {column} is read from {used}, not from {other}." for column, used, other in ignored
    ]
    return {column: plain.index(names[0]) for column, names in present.items() if names}, notes


def _row(path: Path, line: int, cells: list[str], width: int, columns: dict[str, int]) -> Row:
    """The values of a row by the keys of `COLUMNS`, None for an empty cell, and its `line`."""
    if any(cells[width:]):
        raise _error(path, line, f"{width} cells, as the header has", str(len(cells)))
    row: Row = dict.fromkeys(COLUMNS) | {"run": short_text(path.stem), "benchmark": "accuracy", "line": line}
    row |= {column: cells[at][:200] for column, at in columns.items() if at < len(cells) and cells[at]}
    if "problem" in columns and row["problem"] is None:
        raise _error(path, line, "a problem", "none")
    for column in ("step", "accuracy", "seed", "seconds", "hours"):
        if row[column] is not None or column in ("step", "accuracy"):
            row[column] = _number(path, line, column, row[column] or "")
    if row["seconds"] is None and row["hours"] is not None:
        row["seconds"] = row["hours"] * 3600
    return row


def _number(path: Path, line: int, column: str, cell: str) -> float:
    is_whole = column in ("step", "seed")
    try:
        value = float(cell)
    except ValueError:
        value = -1.0
    if not 0 <= value <= LAST_STEP or (is_whole and value % 1):
        raise _error(path, line, f"a {'whole ' * is_whole}number of at least 0 as {column}", shown(cell))
    return int(value) if is_whole else value


def _error(path: Path, line: int, expected: str, actual: str) -> ValueError:
    return ValueError(f"Line {line} of {str(path)!r} must have {expected}, got {actual}. Correct or remove it.")
