"""A folder of evaluation results: the names of its files, how they are written and how they are read.

    FOLDER/
      settings.json    how the completions were sampled, and every environment in which they were
      NAME.jsonl       one line per problem of the set NAME, each with its completions; written once all are graded
      NAME.jsonl.part  the lines until then; of several processes, number 1 writes NAME.jsonl.part1, and so on
      summary.json     {NAME: the measures of the set}, and those of `all` sets
      shares.json      {NAME: {problem: share of its completions that are correct}}
      table.md         the summary as a table

RUN/evaluation (`manypaths.run_folder`) has the same files but the table, one NAME.jsonl for each moment of the training
at which the run was evaluated. Nothing here imports torch.
"""

from __future__ import annotations

import glob
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from manypaths.files import as_json, atomic_write, content_of, read_json, read_jsonl

SETTINGS, SUMMARY, SHARES, TABLE = "settings.json", "summary.json", "shares.json", "table.md"


def lines_file(folder: Path, name: str) -> Path:
    """The file of a set of problems, or of a moment of a training."""
    return folder / f"{name}.jsonl"


def part_file(path: Path, process: int = 0) -> Path:
    """Where a process keeps the lines of an unfinished `path`."""
    return path.with_name(f"{path.name}.part{process or ''}")


def part_files(path: Path) -> list[Path]:
    """The files of `part_file` that exist, of all processes."""
    return sorted(path.parent.glob(f"{glob.escape(path.name)}.part*"))


def jsonl(lines: Iterable[dict[str, Any]]) -> str:
    """Lines as the text of a JSON lines file."""
    return "".join(as_json(line) + "\n" for line in lines)


def result_files(folder: Path) -> list[Path]:
    """The files of all finished sets."""
    return sorted(folder.glob("*.jsonl"))


def write_lines(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    """Write the lines of a finished set, and remove its part files."""
    atomic_write(path, jsonl(lines))
    for part in part_files(path):
        part.unlink()


def read_lines(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The lines of every finished set in a folder, by the name of the set.

    Raises:
        ValueError: A line is damaged.
    """
    return {path.stem: read_jsonl(path) for path in result_files(folder)}


def is_results(folder: Path) -> bool:
    """Whether a folder holds evaluation results, finished or not."""
    return (folder / SETTINGS).is_file()


def read_settings(folder: Path) -> dict[str, Any]:
    """How the completions were sampled; {} where it was not recorded. Raises ValueError for a damaged file."""
    return read_json(folder / SETTINGS)


def read_shares(folder: Path) -> dict[str, dict[str, float]]:
    """The shares of correct completions of every finished set: {set: {problem: share}}.

    Raises:
        ValueError: A file is damaged.
    """
    shares = read_json(folder / SHARES)  # an earlier version did not write it
    return {path.stem: shares.get(path.stem) or shares_by_problem(read_jsonl(path)) for path in result_files(folder)}


def share_correct(line: dict[str, Any]) -> float:
    """The share of a problem's completions that are correct, from its line."""
    return statistics.fmean(sample["correct"] for sample in line["samples"])


def shares_by_problem(lines: Iterable[dict[str, Any]]) -> dict[str, float]:
    """The share of correct completions of each problem, by its id."""
    return {line["id"]: share_correct(line) for line in lines}


def check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Check that a folder is new or holds results of the same settings.

    Raises:
        ValueError: The folder holds other files, or results of other settings.
    """
    path = folder / SETTINGS
    if not _has_results(folder):
        return
    if not (old := read_json(path)):
        raise ValueError(f"{str(folder)!r} is not empty and holds no results. Give --out a new or an empty folder.")
    differences = [
        f"{key} {repr(old[key]) if key in old else 'not recorded'} there, {value!r} here"
        for key, value in settings.items()
        if key not in old or old[key] != value
    ]
    if differences:
        raise ValueError(
            f"{str(folder)!r} holds results of other settings ({'; '.join(differences)}). Give another --out."
        )


def write_settings(folder: Path, settings: dict[str, Any], environment: dict[str, Any]) -> None:
    """Write settings.json: the settings, and under `environments` all in which the results of the folder were made.

    Args:
        folder: Where the results are, or will be.
        settings: What `manypaths.evaluation.sampling.settings_of` returns.
        environment: The device and the versions of now; the last of `environments`.

    Raises:
        ValueError: The settings.json of earlier results is damaged.
    """
    path = folder / SETTINGS
    old = read_json(path).get("environments", []) if _has_results(folder) else []
    environments = [*(other for other in old if other != environment), environment]
    atomic_write(path, as_json({**settings, "environments": environments}, indent=2))


def _has_results(folder: Path) -> bool:
    """Whether there is anything but settings, which are written before the first result."""
    return folder.exists() and any(path.name != SETTINGS for path in content_of(folder))
