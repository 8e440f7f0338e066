"""Runs of which rows are left (`manypaths.result_rows`), beside run folders and in their place."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from manypaths import result_rows, results, run_folder
from manypaths.comparison.runs import Run, failure_of, of_row
from manypaths.printable import listed
from manypaths.result_rows import ROWS, Row


class RowFiles:
    """The rows that some paths name. The place of a row is where its run folder was.

    That is beside OUT/rows.jsonl.gz, the file of a sweep; for a file of another name, in a folder of that name.
    """

    def __init__(self) -> None:
        self.rows: dict[Path, Row] = {}  # by place, of the rows that are read
        self.notes: list[str] = []  # sentences on rows that are left out
        self.folders: set[Path] = set()  # run folders that are read
        self._repeated: list[str] = []  # names of rows of runs that are read from elsewhere
        self._read: dict[Path, dict[Path, Row]] = {}  # file -> its rows by place

    def places(self, path: Path) -> list[Path] | None:
        """The places that a path names: of a file of rows, of a folder with one, or of a single row.

        Args:
            path: An absolute path.

        Returns:
            Places of rows, and of a folder also its run folders; None where no row is left of the path.

        Raises:
            ValueError: A file of rows is damaged.
        """
        if result_rows.is_rows(path):
            self.rows |= self._of(path)
            return list(self._of(path))
        if path.is_dir() and (path / ROWS).is_file() and not run_folder.is_recorded(path):
            folders, rows = run_folder.runs_in(path), self._of(path / ROWS)
            left = {place: row for place, row in rows.items() if place not in folders}
            self.rows |= left
            self._name_failed({place: row for place, row in rows.items() if place in folders})
            self.folders.update(folders)
            return sorted([*folders, *left])
        is_read = path.is_file() or run_folder.is_recorded(path) or results.is_results(path)
        if not is_read and (path.parent / ROWS).is_file() and path in self._of(path.parent / ROWS):
            self.rows[path] = self._of(path.parent / ROWS)[path]
            return [path]
        return None

    def _of(self, file: Path) -> dict[Path, Row]:
        if file not in self._read:
            stem = next(file.name.removesuffix(end) for end in result_rows.ENDINGS[::-1] if file.name.endswith(end))
            folder = file.parent if file.name == ROWS else file.parent / stem
            self._read[file] = {folder / row.name: row for row in result_rows.read(file)}
        return self._read[file]

    def run(self, place: Path) -> list[Run]:
        """The run of a row; none, and a note, if it failed before it had a recipe."""
        row = self.rows[place]
        if row.recipe:
            return [of_row(row, place)]
        self.notes.append(failure_of(row))
        return []

    def give_way(self) -> None:
        """Leave out the rows whose run folders are read as well."""
        both = [place for place in self.rows if place in self.folders]
        self._name_failed({place: self.rows.pop(place) for place in both})
        self._repeated += [place.name for place in both]

    def _name_failed(self, rows: Mapping[Path, Row]) -> None:
        """Add a note on each run that failed and was not finished since; its folder is read."""
        self.notes += [
            failure_of(row)
            for place, row in rows.items()
            if row.failed is not None and not run_folder.is_finished(place)
        ]

    def without_repetitions(self, runs: Sequence[Run]) -> list[Run]:
        """Runs without those of rows that are equal, but for the name, to a run folder or to a row of another file.

        A note says how many rows that and `give_way` left out.
        """
        alike: defaultdict[tuple[str, int | None], list[Run]] = defaultdict(list)
        for run in sorted(runs, key=lambda run: run.folder in self.rows):
            alike[run.group, run.seed].append(run)
        repeated: set[int] = set()
        for members in alike.values():
            if len(members) == 1 or members[-1].folder not in self.rows:
                continue
            texts = [self._text(run) for run in members]
            for place, run in enumerate(members):
                if run.folder in self.rows and texts[place] in texts[:place]:
                    repeated.add(id(run))
                    self._repeated.append(run.name)
        if count := len(self._repeated):
            names = listed(sorted(self._repeated), most=5)
            rows = "1 row is" if count == 1 else f"{count} rows are"
            self.notes.append(f"{rows} left out, because the same run is read from elsewhere: {names}.")
        return [run for run in runs if id(run) not in repeated]

    def _text(self, run: Run) -> str:
        """What is compared of a run; "" for results of other software."""
        if run.folder is None:
            return ""
        row = self.rows.get(run.folder) or result_rows.of_folder(run.folder)
        return result_rows.to_json(dataclasses.replace(row, name="", failed=None))
