"""A row: what a comparison reads from a run folder, as one line of JSON of 5 to 10 KB compressed. No torch here.

`manypaths sweep` keeps the rows of its runs in OUT/rows.jsonl.gz, sorted by name. A row is a JSON object:

    manypaths_row  the version of this layout
    name           of the run folder
    finished       whether the training came to its end
    failed         null, or {code, last_line}: the exit code of a run that failed, and the last line of its log
    recipe         as in recipe.yaml, with the keys of today; {} of a run that failed before it wrote one
    script         whether `recipe` is what is known of a training by a script
    environment    as in environment.json
    metrics        blocks of lines of metrics.jsonl: {step: [...], metric: [...]}, the metrics that a comparison shows
    evaluations    [{step, settings, sets: {benchmark: {problem: [...], samples: [...], by_key: [...], ...}}}]
    notes          sentences about what could not be read

Logged metrics and seconds have five significant digits. Counts of completions are exact.
"""

from __future__ import annotations

import gzip
import itertools
import math
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, cast

from manypaths import recipe, results, run_folder
from manypaths.counts import Counts
from manypaths.files import as_json, atomic_write, only_writer, remove_partials, stream_jsonl
from manypaths.names import SECONDS, shown_metrics
from manypaths.printable import shown
from manypaths.results import Counted

ROWS = "rows.jsonl.gz"  # in the folder of a sweep
ENDINGS = (".jsonl", ".jsonl.gz")
VERSION_KEY, VERSION = "manypaths_row", 1
STEP_TIME = "step_time"  # of TRL's trainers: seconds of a step
DIGITS = 5
NOT_KEPT = ("model", "environments")  # settings of an evaluation: the path of the weights, the versions
PATIENCE = 600.0  # seconds to wait for another process that writes to the file
_in_this_process = threading.Lock()


@dataclass(frozen=True)
class Failure:
    """How a run failed."""

    code: int  # the exit code; a negative one is the signal that ended it
    last_line: str  # of its log


@dataclass
class Evaluation:
    """The counted completions of some benchmarks at one step."""

    step: int
    settings: dict[str, Any] | None  # how completions were sampled; None if only the recipe may say so
    sets: dict[str, Counted]  # benchmark -> problem -> its counts


@dataclass
class Row:
    """What a comparison reads from a run folder."""

    name: str
    finished: bool = False
    failed: Failure | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    script: bool = False
    environment: dict[str, Any] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)  # lines with a step, of a repeated step the last
    evaluations: list[Evaluation] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def of_folder(folder: Path) -> Row:
    """Read the row of a run folder, also of an unfinished run or of an earlier version.

    Raises:
        ValueError: A file is damaged.
    """
    row = Row(name_of(folder), run_folder.is_finished(folder))
    row.recipe, row.script = run_folder.read_recipe_content(folder), not run_folder.is_run(folder)
    try:
        row.environment = run_folder.read_environment(folder)
    except ValueError as error:
        row.notes.append(f"its machine is unknown, because {error}")
    lines = {line["step"]: line for line in run_folder.read_metrics(folder)}
    names = {"step", STEP_TIME, *SECONDS.values(), *shown_metrics(set().union(*lines.values()))}
    row.metrics = [{name: value for name, value in line.items() if name in names} for line in lines.values()]
    own = ((row.recipe.get("evaluation") or {}).get("problems") or {}).get("name") or "held-out"
    settings = _kept(results.read_settings(folder / run_folder.EVALUATION))
    counted = run_folder.read_evaluations(folder, Path(own).stem, max(lines, default=0))
    row.evaluations = [Evaluation(step, settings or None, sets) for step, sets in counted.items()]
    for step, added in run_folder.benchmark_folders(folder).items():
        row.evaluations.append(Evaluation(step, _kept(results.read_settings(added)), results.read_counts(added)))
    return row


def name_of(folder: Path) -> str:
    """The name of a run or of results, that of their folder."""
    return folder.resolve().name.encode("utf-8", "replace").decode()


def _kept(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if key not in NOT_KEPT}


def to_json(row: Row) -> str:
    """The row as one line of JSON, without its end."""
    content = {
        VERSION_KEY: VERSION,
        "name": row.name,
        "finished": row.finished,
        "failed": None if row.failed is None else {"code": row.failed.code, "last_line": row.failed.last_line},
        "recipe": row.recipe,
        "script": row.script,
        "environment": row.environment,
        "metrics": _blocks(row.metrics),
        "evaluations": [
            {"step": own.step, "settings": own.settings, "sets": {name: _columns(own.sets[name]) for name in own.sets}}
            for own in row.evaluations
        ],
        "notes": row.notes,
    }
    return as_json(content)


def _blocks(lines: Iterable[Mapping[str, Any]]) -> list[dict[str, list[Any]]]:
    """Lines as columns; lines that follow one another and have the same metrics are one block."""
    blocks = []
    for names, members in itertools.groupby(lines, key=lambda line: sorted(line)):
        block = list(members)
        blocks.append({name: [_rounded(line[name]) for line in block] for name in names})
    return blocks


def _rounded(value: Any) -> Any:
    """A number with `DIGITS` significant digits; null for what is no finite number."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
    return value if isinstance(value, int) else None


def _columns(counted: Counted) -> dict[str, list[Any]]:
    """The counts of a benchmark by column, which compresses better than by problem."""
    values = [own for own in counted.values() if isinstance(own, Counts)]
    if len(values) < len(counted):
        return {"problem": list(counted), "share": list(counted.values())}
    columns: dict[str, list[Any]] = {
        "problem": list(counted),
        "samples": [own.samples for own in values],
        "by_key": [own.by_key for own in values],
        "majority": [own.majority for own in values],
    }
    if any(own.by_key is None for own in values):  # otherwise it is the sum
        columns["right"] = [own.right for own in values]
    return columns


def from_json(content: Mapping[str, Any], source: Path) -> Row:
    """The row of a JSON object.

    Args:
        content: The object.
        source: Its file, for messages.

    Raises:
        ValueError: It is no row, the row of another version, or damaged.
    """
    if content.get(VERSION_KEY) != VERSION:
        raise ValueError(f"{VERSION_KEY} must be {VERSION}, got {shown(content.get(VERSION_KEY))}")
    name = content.get("name")
    if not isinstance(name, str) or not name or name in (".", "..") or PurePath(name).name != name or "\0" in name:
        raise ValueError(f"name must be that of a run folder, got {shown(name)}")
    types = {"finished": bool, "recipe": dict, "script": bool, "environment": dict, "metrics": list}
    for key, expected in {**types, "evaluations": list, "notes": list}.items():
        if not isinstance(content.get(key), expected):
            raise ValueError(f"{key} must be a JSON {expected.__name__}, got {shown(content.get(key))}")
    try:
        row = Row(
            name,
            content["finished"],
            _failure(content.get("failed")),
            content["recipe"]
            if content["script"] or not content["recipe"]
            else recipe.with_added_keys(content["recipe"]),
            content["script"],
            content["environment"],
            [line for block in content["metrics"] for line in _lines(block)],
            notes=[str(note) for note in content["notes"]],
        )
        for own in content["evaluations"]:
            if not isinstance(own["settings"], dict | None):
                raise ValueError(f"settings must be a JSON dict, got {shown(own['settings'])}")
            sets = {name: _counted(columns, source) for name, columns in own["sets"].items()}
            row.evaluations.append(Evaluation(_step(own["step"]), own["settings"], sets))
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    return row


def _failure(content: Any) -> Failure | None:
    """How a run failed. Raises ValueError for another code than an integer."""
    if content is None:
        return None
    if type(content["code"]) is not int:
        raise ValueError(f"code must be an integer, got {shown(content['code'])}")
    return Failure(content["code"], str(content["last_line"]))


def _lines(block: Mapping[str, list[Any]]) -> list[dict[str, Any]]:
    """The lines of a block. Raises ValueError for columns of different lengths, or a step that is no integer."""
    lines = [dict(zip(block, values, strict=True)) for values in zip(*block.values(), strict=True)]
    for line in lines:
        _step(line["step"])
    return lines


def _step(step: Any) -> int:
    if type(step) is not int:
        raise ValueError(f"a step must be an integer, got {shown(step)}")
    return step


def _counted(columns: Mapping[str, list[Any]], source: Path) -> Counted:
    """The counts of a benchmark. Raises ValueError for unequal columns, a repeated problem, or impossible counts."""
    problems = columns["problem"]
    if not all(isinstance(problem, str) for problem in problems):
        raise ValueError(f"problem must hold names, got {shown(problems)}")
    if len(set(problems)) < len(problems):
        raise ValueError(f"problem must hold different names, got {shown(problems)}")
    if "share" in columns:
        return dict(zip(problems, columns["share"], strict=True))
    right = columns["right"] if "right" in columns else [sum(by_key) for by_key in columns["by_key"]]
    values = zip(columns["samples"], right, columns["by_key"], columns["majority"], strict=True)
    return {problem: results.checked(source, problem, own) for problem, own in zip(problems, values, strict=True)}


def is_rows(path: Path) -> bool:
    """Whether a file holds rows, by its name and its first line."""
    if not path.name.endswith(ENDINGS) or not path.is_file():
        return False
    is_of_sweep = path.name == ROWS  # whose damage is to be named
    try:
        return any(VERSION_KEY in content for content, _ in itertools.islice(stream_jsonl(path), 1)) or is_of_sweep
    except (OSError, ValueError):
        return is_of_sweep


def read(path: Path) -> list[Row]:
    """The rows of a file, [] where it is missing.

    Raises:
        ValueError: The file is empty, a line is damaged or of a newer version, or a run is there twice; the message
            names the file and the line.
    """
    rows: dict[str, Row] = {}
    if not path.exists():
        return []
    for number, (content, _) in enumerate(stream_jsonl(path, is_whole=True), 1):
        version = content.get(VERSION_KEY)
        if isinstance(version, int) and version > VERSION:
            raise ValueError(f"{path}, line {number}, was written by a newer manypaths. Update manypaths.")
        try:
            row = from_json(content, path)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}, is damaged ({error}). Mend or remove that line.") from error
        if row.name in rows:
            raise ValueError(f"{path}, line {number}, is a second row of {shown(row.name)}. Remove one of them.")
        rows[row.name] = row
    if not rows:
        raise ValueError(f"{path} is damaged (it is empty). Restore it from a copy, or remove it.")
    return list(rows.values())


def write(out: Path, rows: Iterable[Row], locks: Path) -> None:
    """Add rows to OUT/rows.jsonl.gz, in the place of those of the same name.

    Several processes may do so at a time, and each may be killed at any moment: the file is replaced as a whole.

    Args:
        out: The folder of a sweep.
        rows: Rows of its runs.
        locks: A folder whose lock is held meanwhile.

    Raises:
        ValueError: The file is damaged, or another process did not release the lock.
    """
    path = out / ROWS
    new = {row.name: to_json(row).encode() + b"\n" for row in rows}
    with _in_this_process, only_writer(locks, patience=PATIENCE):
        remove_partials(out.glob(f".{ROWS}.*"))
        lines = stream_jsonl(path, is_whole=True) if path.exists() else ()
        old = {cast(str, content.get("name")): line for content, line in lines}
        merged = old | new
        text = b"".join(merged[name] for name in sorted(merged))
        atomic_write(path, gzip.compress(text, compresslevel=6, mtime=0))  # 9 takes four times as long for 3 %
