"""The log that is checked: groups as `manypaths.logs` reads them, or the metrics of a trainer alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from manypaths import logs, run_folder
from manypaths.files import read_json
from manypaths.logs import RUN, Log, Options
from manypaths.names import current
from manypaths.printable import one_line

STATE = "trainer_state.json"
KIND = "metrics of a trainer"
OF_RUN = "The run has metrics and no groups, which most checks need. Its groups.jsonl has them."
NOTE = "The log has metrics and no groups, which most checks need. TRL writes groups with log_completions=True."


def read(path: Path, options: Options | None = None) -> Log:
    """Read a log, or the metrics of a run or a trainer that has no groups.

    Args:
        path: what `manypaths.logs.read` reads; else a run without groups.jsonl, a trainer_state.json, or the output
            folder of a trainer.
        options: what the user says about the log.

    Raises:
        ValueError: as `manypaths.logs.read`, or the file is damaged.
    """
    if path.name == STATE and path.is_file():
        return _metrics(path, [path])
    if path.is_dir() and run_folder.is_recorded(path) and not _has_groups(path):
        metrics = run_folder.read_metrics(path)
        metrics.sort(key=lambda line: line["step"])
        if metrics:
            return Log(path, RUN, [], metrics, [OF_RUN])
    files = [path / STATE, *path.glob(f"checkpoint-*/{STATE}")] if path.is_dir() else []
    files = [file for file in files if file.is_file()]
    if files and not run_folder.is_recorded(path) and not _has_groups(path):
        return _metrics(path, files)
    return logs.read(path, options)


def _has_groups(folder: Path) -> bool:
    completions = any(any(place.glob("completions_*.parquet")) for place in (folder, folder / "completions"))
    return completions or (folder / run_folder.GROUPS).is_file()


def _metrics(path: Path, files: list[Path]) -> Log:
    """The metrics of the file that reaches furthest; of a metric that a step has twice the later value counts."""
    histories = [_history(file) for file in files]
    longest = max(histories, key=lambda lines: max(lines, default=-1))
    return Log(path, KIND, [], [longest[step] for step in sorted(longest)], [NOTE])


def _history(file: Path) -> dict[int, dict[str, Any]]:
    lines: dict[int, dict[str, Any]] = {}
    try:
        for line in read_json(file)["log_history"]:
            lines.setdefault(int(line["step"]), {}).update(current(line))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise ValueError(f"{file} is damaged ({reason}). Restore it, or name another file.") from error
    return lines
