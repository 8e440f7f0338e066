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

Row = dict[str, Any]
COLUMNS = {
    "step": ("step", "global_step", "iteration"),
    "accuracy": ("accuracy", "score", "acc", "pass@1", "value"),
    "run": ("run", "name", "model", "method", "config", "configuration", "experiment"),
    "seed": ("seed",),
    "benchmark": ("benchmark", "task", "dataset"),
    "problem": ("problem", "id", "problem_id", "question_id"),
    "seconds": ("seconds", "time_s", "wall_time"),
    "hours": ("hours",),
}
DATE = 1e9  # seconds; what begins beyond is the time of day since 1970, not the time since training began


def read_csv(path: Path) -> list[Run]:
    """A table with a header, separated by comma, semicolon or tab -> a run per `run` and `seed`.

    `COLUMNS` has the names that a column may go by; `step` and `accuracy` must be there. Accuracy is a share, or
    percent where any is above 1; seconds (or hours) are of training until that step. With a problem column a row is a
    sample of that problem. ValueError, with the line, for what cannot be read.
    """
    (_, header), *lines = _table(path)
    columns, notes = _columns(path, header)
    rows = [_row(path, line, cells, len(header), columns) for line, cells in lines]
    if max(row["accuracy"] for row in rows) > 1:
        notes.append(f"{short_text(path.name)}: accuracies above 1 are there, so all are taken as percent.")
        rows = [{**row, "accuracy": row["accuracy"] / 100} for row in rows]
    runs: defaultdict[tuple[str, int | None], list[Row]] = defaultdict(list)
    for row in rows:
        if row["accuracy"] > 1:
            raise _wrong(path, row["line"], "an accuracy of at most 100 percent", f"{100 * row['accuracy']:g}")
        runs[row["run"], row["seed"]].append(row)
    order = sorted(runs, key=lambda key: (key[0], -1 if key[1] is None else key[1]))
    return [_csv_run(path, *key, runs[key], notes) for key in order]


def _csv_run(path: Path, group: str, seed: int | None, rows: list[Row], notes: list[str]) -> Run:
    run = Run(group if seed is None else f"{group}-seed{seed}", group, seed, notes=list(notes))
    found: defaultdict[tuple[int, str], defaultdict[str | None, list[float]]] = defaultdict(lambda: defaultdict(list))
    clock: dict[int, float] = {}
    for row in rows:
        samples = found[row["step"], row["benchmark"]][row["problem"]]
        samples.append(row["accuracy"])
        if row["problem"] is None and len(samples) > 1:
            raise _wrong(path, row["line"], "a run, seed, step and benchmark of its own, or a problem", "one once more")
        if row["seconds"] is not None:
            clock[row["step"]] = max(row["seconds"], clock.get(row["step"], 0.0))
    for (step, benchmark), problems in sorted(found.items()):
        means = {problem: fmean(samples) for problem, samples in problems.items()}
        shares = {problem: mean for problem, mean in means.items() if problem is not None}
        run.results.setdefault(step, {})[benchmark] = Score(fmean(means.values()), shares or None)
    times = [clock[step] for step in sorted(clock)]
    if times == sorted(times) and min(times, default=0) < DATE:
        run.clock = sorted(clock.items())
    else:
        run.notes.append(f"{run.name}: times are left out, they are not seconds since training began.")
    return run


def _table(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of the header and of each row."""
    if not path.is_file():
        raise ValueError(f"A CSV file is asked for; {str(path)!r} is no file: name one.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        separator = max(",;\t", key=text.lstrip().partition("\n")[0].count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (csv.Error, OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"A CSV file in UTF-8 is asked for; {str(path)!r} is none ({error}): save it as one."
        ) from error
    filled = [(line, cells) for line, cells in rows if any(cells)]
    if len(filled) < 2:
        raise ValueError(f"A header and rows are asked for; {str(path)!r} has {len(filled)} lines: leave it out.")
    return filled


def _columns(path: Path, header: list[str]) -> tuple[dict[str, int], list[str]]:
    """The place of each column that is there, and a note for each that is passed over for another."""
    plain = [cell.lower().replace(" ", "_") for cell in header]
    there = {column: [name for name in names if name in plain] for column, names in COLUMNS.items()}
    for column in ("step", "accuracy"):
        if not there[column]:
            asked, given = " or ".join(COLUMNS[column]), short_text(", ".join(header))
            raise ValueError(f"A column {asked} is asked for; {str(path)!r} has {given}: rename one.")
    over = [(column, names[0], other) for column, names in there.items() for other in names[1:]]
    notes = [
        f"{short_text(path.name)}: {column} is read from {first}, not from {other}." for column, first, other in over
    ]
    return {column: plain.index(names[0]) for column, names in there.items() if names}, notes


def _row(path: Path, line: int, cells: list[str], width: int, columns: dict[str, int]) -> Row:
    """A row by the keys of COLUMNS and its line; None for what is not told."""
    if any(cells[width:]):
        raise _wrong(path, line, f"{width} cells, as in the header", str(len(cells)))
    row: Row = dict.fromkeys(COLUMNS) | {"run": short_text(path.stem), "benchmark": "accuracy", "line": line}
    row |= {column: cells[at][:200] for column, at in columns.items() if at < len(cells) and cells[at]}
    if "problem" in columns and row["problem"] is None:
        raise _wrong(path, line, "a problem", "none")
    for column in ("step", "accuracy", "seed", "seconds", "hours"):
        if row[column] is not None or column in ("step", "accuracy"):
            row[column] = _cell(path, line, column, row[column] or "")
    if row["seconds"] is None and row["hours"] is not None:
        row["seconds"] = row["hours"] * 3600
    return row


def _cell(path: Path, line: int, column: str, cell: str) -> float:
    whole = column in ("step", "seed")
    try:
        value = float(cell)
    except ValueError:
        value = -1.0
    if not 0 <= value <= LAST_STEP or (whole and value % 1):
        raise _wrong(path, line, f"a {'whole ' * whole}number as {column}, 0 or more", repr(cell))
    return int(value) if whole else value


def _wrong(path: Path, line: int, asked: str, given: str) -> ValueError:
    return ValueError(f"Line {line} of {str(path)!r} is asked for {asked}; given {given}: mend or remove it.")
