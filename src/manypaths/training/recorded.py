"""The rows and the run folders of a sweep: whether they are those of its grid, and rows that are written as runs end.

A row is written while the sweep holds the run, so that one process at a time writes that of a run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from manypaths import recipe, result_rows, run_folder
from manypaths.files import DAMAGED
from manypaths.printable import one_line
from manypaths.result_rows import ROWS, Failure, Row
from manypaths.sections import Recipe
from manypaths.training import forked
from manypaths.training.grid import Job

MOST = 300  # characters of the last line of a log


def without_folder(jobs: Sequence[Job], out: Path) -> set[str]:
    """The names of the runs that are finished, and of which only the row is left.

    Args:
        jobs: The runs of the sweep.
        out: The folder of the sweep.

    Raises:
        ValueError: The file of rows is damaged, or has a run of another recipe, whose row training would replace.
    """
    by_name, names = {job.name: job for job in jobs}, set()
    for row in result_rows.read(out / ROWS):
        if row.name not in by_name or not row.finished:
            continue
        if complaint := _complaint(row, by_name[row.name].recipe, out):
            raise ValueError(complaint)
        if not run_folder.is_recorded(out / row.name):
            names.add(row.name)
    return names


def _complaint(row: Row, spec: Recipe, out: Path) -> str | None:
    """A sentence on the row of a run of another recipe; None for one of this recipe."""
    try:
        there = recipe.read_content(row.recipe)
        differences = [] if there == spec else run_folder.differences(asdict(there), asdict(spec))
    except DAMAGED as error:
        differences = [str(error)]
    if not differences:
        return None
    return (
        f"{str(out / ROWS)!r} has the run {row.name} of another recipe ({one_line('; '.join(differences[:3]), MOST)}). "
        f"Give another --out, or move {ROWS} away to train its runs again."
    )


def check_folder(job: Job, out: Path) -> None:
    """Raise ValueError where the folder of a run holds something else, begun or finished, and OSError where unreadable.

    Whatever a folder holds, `run_folder.is_finished` looks for summary.json alone.
    """
    folder = out / job.name
    if not folder.exists():
        return
    spec = job.recipe
    try:
        run_folder.check_holds(folder, spec, "or move that folder away to train this run")
    except ValueError as error:
        sentence = one_line(error, 2 * MOST)
        raise ValueError(sentence if str(folder) in sentence else f"{str(folder)!r} is damaged: {sentence}") from error


def failure(job: Job, out: Path, code: int) -> Failure:
    """How a run ended that is not finished: its exit code, and the last line of its log."""
    line = forked.last_line(out / f"{job.name}.log")
    if not code:
        line = f"it ended without {run_folder.SUMMARY}; {line}"
    return Failure(code, one_line(line, MOST))


def record(name: str, out: Path, locks: Path, failed: Failure | None = None) -> None:
    """Write the row of a run that ended; one that failed does not replace the row of a finished run.

    Args:
        name: The name of the run.
        out: The folder of the sweep.
        locks: The folder in which the sweep keeps its locks.
        failed: How it failed; None for a finished run.
    """
    if (row := _row(name, out)) is None:
        if failed is None:
            return
        row = Row(name)
    if failed is not None:
        if any(old.name == name and old.finished for old in result_rows.read(out / ROWS)):
            return
        row.failed = failed
    result_rows.write(out, [row], locks / ROWS)


def complete(names: Iterable[str], out: Path, locks: Path) -> None:
    """Write the rows that finished runs lack.

    These are the rows of runs whose process was killed before it wrote them, and of runs to which `manypaths evaluate`
    has added benchmarks since.
    """
    there = {row.name: result_rows.to_json(row) for row in result_rows.read(out / ROWS) if row.finished}
    doubtful = [
        name
        for name in names
        if run_folder.is_finished(out / name) and (name not in there or run_folder.benchmark_folders(out / name))
    ]
    rows = [row for name in doubtful if (row := _row(name, out)) is not None]
    if lacking := [row for row in rows if result_rows.to_json(row) != there.get(row.name)]:
        result_rows.write(out, lacking, locks / ROWS)


def _row(name: str, out: Path) -> Row | None:
    """The row of a run; None, perhaps with a note, where its folder is missing or damaged."""
    if not run_folder.is_recorded(out / name):
        return None
    try:
        return result_rows.of_folder(out / name)
    except DAMAGED as error:
        print(f"Note: {name} has no row, because of its folder: {one_line(error)}", file=sys.stderr)
        return None
