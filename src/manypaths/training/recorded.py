"""The rows of a sweep (`manypaths.result_rows`): written as runs end, read where run folders are gone.

A row is written while the sweep holds the run, so that one process at a time writes that of a run.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from manypaths import recipe, result_rows, run_folder
from manypaths.files import DAMAGED
from manypaths.printable import one_line
from manypaths.result_rows import ROWS, Failure, Row
from manypaths.training import forked

MOST = 300  # characters of the last line of a log


def without_folder(words: Mapping[str, Sequence[str]], out: Path) -> set[str]:
    """The runs that are finished, and of which only the row is left.

    Args:
        words: The arguments of `manypaths train` of each run, by its name.
        out: The folder of the sweep.

    Raises:
        ValueError: The file of rows is damaged, or has a run of another recipe, whose row training would replace.
    """
    names = set()
    for row in result_rows.read(out / ROWS):
        if row.name not in words or not row.finished or run_folder.is_recorded(out / row.name):
            continue
        own = words[row.name]
        spec = recipe.read([word for word in own if "=" not in word], [word for word in own if "=" in word])
        try:
            differences = run_folder.differences(asdict(recipe.read_content(row.recipe)), asdict(spec))
        except DAMAGED as error:
            differences = [str(error)]
        if differences:
            raise ValueError(
                f"{str(out / ROWS)!r} has the run {row.name} of another recipe "
                f"({one_line('; '.join(differences[:3]), MOST)}). Give another --out, or move {ROWS} away to train its "
                "runs again."
            )
        names.add(row.name)
    return names


def record(name: str, out: Path, locks: Path, code: int = 0) -> None:
    """Write the row of a run that ended; one that failed does not replace the row of a finished run.

    Args:
        name: The name of the run.
        out: The folder of the sweep.
        locks: The folder in which the sweep keeps its locks.
        code: The exit code of the run; any but 0 is that of a run that failed.
    """
    if (row := _row(name, out)) is None:
        if not code:
            return
        row = Row(name)
    if code:
        if any(old.name == name and old.finished for old in result_rows.read(out / ROWS)):
            return
        row.failed = Failure(code, one_line(forked.last_line(out / f"{name}.log"), MOST))
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
