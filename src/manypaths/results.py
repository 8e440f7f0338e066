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

from manypaths.counts import Counts
from manypaths.files import as_json, atomic_write, content_of, read_json, read_jsonl
from manypaths.printable import shown

SETTINGS, SUMMARY, COUNTS, TABLE = "settings.json", "summary.json", "counts.json", "table.md"
SHARES = "shares.json"  # of an earlier version
KEYS, ANSWER = "keys", "answer"  # the setting that names the keys function, and its value in an earlier version

Counted = dict[str, Counts] | dict[str, float]  # problem -> its counts; its share where nothing else is left


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
    """How completions were sampled and counted; {} where it was not recorded. Raises ValueError for a damaged file."""
    settings = read_json(folder / SETTINGS)
    return {KEYS: ANSWER, **settings} if settings else {}


def read_counts(folder: Path) -> dict[str, Counted]:
    """The counted completions of every finished set, by the name of the set.

    Raises:
        ValueError: A file is damaged.
    """
    counts, shares = read_json(folder / COUNTS), read_json(folder / SHARES)
    names = sorted({*counts, *shares, *(path.stem for path in result_files(folder))})
    return {name: counted(folder, name, counts.get(name), shares.get(name, {})) for name in names}


def counted(folder: Path, name: str, counts: Any, shares: dict[str, float]) -> Counted:
    """The counts of a set, or of a moment of a training: those that were written, else of its lines, else its shares.

    Args:
        folder: The folder of the results.
        name: The name of the set or of the moment.
        counts: What counts.json has; None for an earlier version.
        shares: What shares.json of an earlier version has.

    Raises:
        ValueError: A file is damaged.
    """
    if counts is not None:
        return {problem: checked(folder / COUNTS, problem, values) for problem, values in counts.items()}
    if (path := lines_file(folder, name)).exists():
        from manypaths.graded import count_all  # imports the grader, which takes 0.05 seconds

        return count_all(read_jsonl(path))
    return shares


def checked(source: Path, problem: str, values: Any) -> Counts:
    """The counts of a problem in a file. Raises ValueError, which names the file, where they are impossible."""
    try:
        samples, right, by_key, majority = values
        counts = Counts(samples, right, None if by_key is None else tuple(by_key), majority)
        is_sound = (
            all(type(number) is int for number in (samples, right, *(counts.by_key or ())))
            and 0 <= right <= samples > 0
            and (by_key is None or (sum(by_key) == right and min(by_key, default=1) > 0))
            and (majority is None or 0 <= majority <= 1)
        )
    except (TypeError, ValueError):
        is_sound = False
    if not is_sound:
        raise ValueError(
            f"{source}: the counts of a problem must be [completions, correct, [correct by key], majority], "
            f"got {shown(values)} for the problem {shown(problem)}. Evaluate again, or leave it out."
        )
    return counts


def share_correct(line: dict[str, Any]) -> float:
    """The share of a problem's completions that are correct, from its line."""
    return statistics.fmean(sample["correct"] for sample in line["samples"])


def check_settings(folder: Path, settings: dict[str, Any]) -> None:
    """Check that a folder is new or holds results of the same settings.

    The keys may be others, because the lines of finished results are counted again.

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
        if key != KEYS and (key not in old or old[key] != value)
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
