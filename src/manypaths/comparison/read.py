"""Paths as `Run`s: run folders, rows of sweeps, results of `manypaths evaluate`, and files of other software."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from manypaths import results, run_folder
from manypaths.comparison import importers, run_names
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.row_files import RowFiles
from manypaths.comparison.run_names import RunName
from manypaths.comparison.runs import Run, read_evaluation, read_run
from manypaths.files import DAMAGED


def read(paths: Iterable[Path], reading: Reading | None = None) -> tuple[list[Run], list[str]]:
    """Read runs and results.

    Args:
        paths: Run folders, folders of them, files of rows (`manypaths.result_rows`), and results of
            `manypaths evaluate` and of other software.
        reading: What the user says about files of other software.

    Returns:
        The runs, and a sentence for each path that cannot be read.

    Raises:
        ValueError: `reading` names columns or lines, and no path is a table.
    """
    runs: list[Run] = []
    tables = importers.Tables()
    refused: list[str] = []
    roots = list(dict.fromkeys(path.resolve() for path in paths))
    rows, parts = _parts(roots, refused)
    _check_options(parts, reading or Reading())
    names = run_names.of_paths(parts)
    for path in parts:
        try:
            if path in rows.rows:
                runs += rows.run(path)
            else:
                runs += _read(path, reading or Reading(), names[path] if len(parts) > 1 else None, tables)
        except DAMAGED as error:
            refused.append(_complaint(path, error))
    runs = rows.without_repetitions(runs)
    _name_by_path([run for run in runs if run.folder is not None], names)
    if runs:
        runs[0].notes += [*(note for root in roots for note in _not_read(root, parts)), *rows.notes]
    else:
        refused += rows.notes
    return runs, refused


def _parts(roots: Sequence[Path], refused: list[str]) -> tuple[RowFiles, list[Path]]:
    """The rows that some paths name, and the paths of single runs, those of rows among them."""
    rows, parts = RowFiles(), list[Path]()
    for root in roots:
        try:
            places = rows.places(root)
        except DAMAGED as error:
            refused.append(_complaint(root, error))
            if not root.is_dir():
                continue
            places = None
        if places is None:
            places = _expanded(root)
            rows.folders.update(places)
        parts += [place if place in rows.rows else place.resolve() for place in places]  # a link is its target
    rows.give_way()
    return rows, list(dict.fromkeys(parts))


def _name_by_path(runs: Sequence[Run], names: Mapping[Path, RunName]) -> None:
    """Name runs whose folders have one name, such as grpo/1 and mmr/1, by what differs in their paths."""
    count = Counter(run.name for run in runs)
    for run in runs:
        if run.folder is not None and count[run.name] > 1:
            old, run.name = run.name, names[run.folder].name
            run.notes = [
                run.name + note.removeprefix(old) if note.startswith(f"{old} ") else note for note in run.notes
            ]


def _not_read(root: Path, parts: Collection[Path]) -> list[str]:
    """Sentences on results that lie beside the run folders in a folder, and are none of the paths that are read."""
    if run_folder.is_recorded(root) or not run_folder.runs_in(root):
        return []
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and path.resolve() not in parts]
    return [
        f"{folder.name!r} is not read, because its folder holds run folders. Give it as well to read it."
        for folder in folders
        if results.is_results(folder) or importers.holds_json(folder)
    ]


def _check_options(paths: Sequence[Path], reading: Reading) -> None:
    if (reading.columns or reading.where) and not any(_is_table(path) for path in paths):
        raise ValueError("--columns and --where must be for a .csv or .tsv table, got none. Leave them out.")


def _is_table(path: Path) -> bool:
    return path.suffix.lower() in (".csv", ".tsv")


def _complaint(path: Path, error: Exception) -> str:
    """A sentence that names the path and the error."""
    reason = str(error) if isinstance(error, (OSError, ValueError)) else f"{type(error).__name__}: {error}"
    sentence = reason if str(path) in reason else f"{str(path)!r} cannot be read: {reason}"
    return sentence.removesuffix(".") + "."


def _expanded(path: Path) -> list[Path]:
    """The run folders in a folder of them, otherwise the path itself."""
    return [path] if run_folder.is_recorded(path) else run_folder.runs_in(path) or importers.runs_in(path) or [path]


def _read(path: Path, reading: Reading, named: RunName | None, tables: importers.Tables) -> list[Run]:
    if _is_table(path):
        return importers.join(tables, importers.read_csv(path, reading, named))
    if run_folder.is_recorded(path):
        return [read_run(path)]
    if results.is_results(path):
        return [read_evaluation(path)]
    if path.exists() and importers.holds_json(path):
        return importers.read_json(path, reading, named)
    reason = f"it has no {run_folder.RECIPE} and no results" if path.exists() else "it does not exist"
    raise ValueError(
        f"{str(path)!r} is no run: {reason}. Give a run folder, the rows of a sweep, a .csv file, or the JSON of "
        "lighteval, lm-evaluation-harness, transformers, TRL, verl or NeMo-RL."
    )
