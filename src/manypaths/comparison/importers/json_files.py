"""Which software wrote a JSON file, or the files of a folder, and the runs in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from manypaths.comparison.importers import metric_lines, results_file, trainer_state
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.importers.values import load_object, printed
from manypaths.comparison.run_names import RunName, of_paths
from manypaths.comparison.runs import Run
from manypaths.printable import listed

LINES = (".jsonl", ".ndjson")
METRICS = "metrics.jsonl"
KINDS = (
    "results of lighteval or lm-evaluation-harness, a trainer_state.json or all_results.json of transformers under any "
    "name, or metrics by step of verl or NeMo-RL"
)


def holds_json(path: Path) -> bool:
    """Whether a path is a JSON file, or a folder with files that `read_json` reads."""
    return path.suffix in (".json", *LINES) if path.is_file() else any(_in_folder(path).values())


def runs_in(path: Path) -> list[Path]:
    """The folders of runs in a folder that holds the states or metrics of none itself; [] where there is none."""
    if not path.is_dir() or _holds_run(path):
        return []
    inside = [folder for folder in sorted(path.iterdir()) if folder.is_dir()]
    return [folder for folder in inside if holds_json(folder)] if any(map(_holds_run, inside)) else []


def _holds_run(path: Path) -> bool:
    return any(_in_folder(path, deep=False).values())


def read_json(path: Path, reading: Reading | None = None, named: RunName | None = None) -> list[Run]:
    """Read the JSON of other software as runs.

    Args:
        path: A file, which is known by its content, or a folder. In a folder trainer_state.json, also of its
            checkpoints, goes before results_*.json at any depth, all_results.json, and metrics.jsonl.
        reading: What the user says about the file.
        named: The name of the run, as `run_names.of_paths` gives it beside others; None if nothing else is read.

    Raises:
        ValueError: Nothing can be read; the message names the file.
    """
    reading, alone = reading or Reading(), named is None
    named = named or of_paths([path.absolute()])[path.absolute()]
    if path.is_file():
        return _read_file(path, reading, named)
    files = _in_folder(path)
    kinds = [kind for kind, of_kind in files.items() if of_kind]
    if not kinds:
        raise ValueError(f"{str(path)!r} must be, or hold, {KINDS}, got none. Name a file or its folder.")
    if kinds[0] == trainer_state.STATE:
        runs = [trainer_state.read_states(files[kinds[0]], reading, named)]
    elif kinds[0] == results_file.FILES:
        runs = results_file.read_results(files[kinds[0]], path, reading, named, alone)
    else:
        runs = _read_file(files[kinds[0]][0], reading, named)
    summaries = {trainer_state.STATE, *trainer_state.SUMMARIES}
    others = [kind for kind in kinds[1:] if not {kinds[0], kind} <= summaries]
    if others:
        unread = f"{sum(len(files[kind]) for kind in others)} files {' and '.join(others)}"
        runs[0].notes.append(f"{str(path)!r}: {unread} are not read beside {kinds[0]}. Give them as well to read them.")
    return runs


def _in_folder(path: Path, deep: bool = True) -> dict[str, list[Path]]:
    """kind -> files of a folder that are of that kind by their names, in the order in which one is preferred.

    Args:
        deep: Whether results of evaluations, which may lie at any depth, count.
    """
    states = [path / trainer_state.STATE, *sorted(path.glob(f"checkpoint-*/{trainer_state.STATE}"))]
    found: dict[str, Sequence[Path]] = {
        trainer_state.STATE: states,
        results_file.FILES: sorted(path.rglob(results_file.FILES)) if deep and path.is_dir() else [],
        **{name: [path / name] for name in (*trainer_state.SUMMARIES, METRICS)},
    }
    return {kind: [file for file in files if file.is_file()] for kind, files in found.items()}


def _read_file(path: Path, reading: Reading, named: RunName) -> list[Run]:
    if path.suffix in LINES:
        return [metric_lines.read_lines(path, reading, named)]
    try:
        content = load_object(path)
    except ValueError:
        if _begins_with_list(path):
            return [metric_lines.read_lines(path, reading, named)]
        raise
    if trainer_state.is_state(content):
        return [trainer_state.read_states([path], reading, named)]
    if results_file.is_results(content):
        return results_file.read_results([path], path.parent, reading, named)
    if trainer_state.is_summary(content):
        return [trainer_state.read_summary(path, reading, named)]
    if metric_lines.is_by_step(content):
        return [metric_lines.read_by_step(content, reading, named)]
    keys = listed(map(printed, content), 12) or "an empty object"
    raise ValueError(f"{str(path)!r} must be {KINDS}, got JSON with {keys}. Leave it out.")


def _begins_with_list(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(100).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
