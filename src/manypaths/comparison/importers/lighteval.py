"""Results of lighteval as a `Run`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from manypaths.comparison.importers.values import finite_number, load_object, short_text
from manypaths.comparison.runs import Run, Score

STEP = re.compile(r"(?<![a-z])(?:checkpoint|step)[-_]([0-9]{1,12})(?![a-z0-9]|\.[0-9])", re.IGNORECASE)
PASS_AT_1 = re.compile(r"pass@(?:k:[^@]*k=)?1(?![0-9])")
BENCHMARKS = ("aime24", "amc23", "math500", "minerva")


def read_lighteval(path: Path) -> Run:
    """Read results of lighteval as one run with a score per step and benchmark.

    Args:
        path: A results_*.json, or a folder with any number of them at any depth.

    Returns:
        A run whose scores have lighteval's standard errors, and no clock. A file that cannot be read becomes a note.

    Raises:
        ValueError: No file can be used.
    """
    root = path.parent if path.is_file() else path
    files = [path] if path.is_file() else [file for file in path.rglob("results_*.json") if file.is_file()]
    if not files:
        raise ValueError(f"{str(path)!r} must hold results of lighteval, got no results_*.json. Name their folder.")
    name = short_text(root.resolve().name)
    seed = re.search(r"[-_]?seed([0-9]{1,12})$", name)
    run = Run(name, name[: seed.start()] if seed else name, int(seed[1]) if seed else None)
    notes: list[str] = []
    without_step = replaced = 0
    for file in sorted(files, key=lambda file: (file.name, file)):
        try:
            step, scores = _read_file(file, root, notes)
        except ValueError as error:
            notes.append(str(error))
            continue
        without_step += step is None
        for benchmark, score in scores:
            at_step = run.results.setdefault(step or 0, {})
            replaced += benchmark in at_step
            at_step[benchmark] = score
    if not run.results:
        raise ValueError(notes[0])
    if without_step:
        notes.append(f"{run.name}: {without_step} of {len(files)} files name no step, so they count as step 0.")
    if replaced:
        notes.append(f"{run.name}: {replaced} scores repeat a step and benchmark; the newest file counts.")
    run.results = dict(sorted(run.results.items()))
    run.notes = list(dict.fromkeys(notes))
    return run


def _read_file(path: Path, root: Path, notes: list[str]) -> tuple[int | None, list[tuple[str, Score]]]:
    """(step of the weights, None if no name has it; scores by benchmark) of one file."""
    content = load_object(path)
    general, results = content.get("config_general"), content.get("results")
    if not isinstance(results, dict):
        raise ValueError(f"{str(path)!r} must have `results` by task, got none. Repair or remove it.")
    model = general.get("model_name") if isinstance(general, dict) else None
    step = _step(model if isinstance(model, str) else "", root.resolve().name, path.relative_to(root))
    scores = []
    for name, metrics in results.items():
        task = ([part for part in name.split("|") if part and not part.isdecimal()] or [""])[-1]
        if task in ("", "all", "average") or "_average" in task:
            continue
        try:
            scores.append((_benchmark(task), _score(short_text(task), metrics, notes)))
        except ValueError as error:
            notes.append(f"{str(path)!r}: {error}")
    if not scores:
        notes.append(f"{str(path)!r} has no accuracy of a task. Evaluate again, or leave it out.")
    return step, scores


def _step(model: str, folder: str, inside: Path) -> int | None:
    """The last step that a name states: of the model, else of the path; else the last part that is a bare number."""
    named = STEP.findall(model) or STEP.findall(f"{folder}/{inside}")
    bare = [part for part in (*model.split("/"), *inside.parts) if re.fullmatch("[0-9]{1,12}", part)]
    return int((named or bare)[-1]) if named or bare else None


def _score(task: str, metrics: Any, notes: list[str]) -> Score:
    """The score of a task: extractive_match, else pass@1, else the first metric."""
    values = metrics if isinstance(metrics, dict) else {}
    names = [name for name in values if type(values[name]) in (int, float) and not name.endswith("_stderr")]
    if not names:
        raise ValueError(f"{task!r} has no metric that is a number; it is left out.")
    at_1 = [name for name in names if PASS_AT_1.search(name)]
    metric = "extractive_match" if "extractive_match" in names else (at_1 or names)[0]
    if len(names) > 1:
        notes.append(f"{task}: accuracy is {short_text(metric)}, of {short_text(', '.join(names))}.")
    accuracy, error = finite_number(values[metric]), finite_number(values.get(f"{metric}_stderr"))
    if accuracy is None or not 0 <= accuracy <= 1:
        raise ValueError(
            f"{short_text(metric)} of {task!r} must be from 0 to 1, got {short_text(values[metric])}; it is left out."
        )
    return Score.of_mean(accuracy, error if error is not None and error >= 0 else None)


def _benchmark(task: str) -> str:
    """The name by which manypaths calls a benchmark; the name of the task for another one."""
    plain = re.sub("[-_]", "", task.lower())
    return "olympiadbench" if plain.startswith("olympiad") else plain if plain in BENCHMARKS else short_text(task)
