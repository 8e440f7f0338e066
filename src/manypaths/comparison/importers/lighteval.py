"""Results of lighteval as `Run`s."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from manypaths.comparison.importers.values import finite_number, load_object, short_text
from manypaths.comparison.runs import Run, Score

STEP = re.compile(r"(?<![a-z])(?:checkpoint|step)[-_]([0-9]{1,12})(?![a-z0-9]|\.[0-9])", re.IGNORECASE)
PASS_AT_1 = re.compile(r"pass@(?:k:[^@]*k=)?1(?![0-9])")
BENCHMARKS = ("aime24", "amc23", "math500", "minerva")


def read_lighteval(folder: Path) -> Run:
    """A tree with lighteval's results_*.json, or one such file -> a run with a score per step and benchmark.

    Accuracies are shares, errors are lighteval's standard errors; there is no clock. A file that cannot be read is a
    note; ValueError where nothing in the tree can be used.
    """
    root = folder.parent if folder.is_file() else folder
    files = [folder] if folder.is_file() else [path for path in folder.rglob("results_*.json") if path.is_file()]
    if not files:
        raise ValueError(f"Results of lighteval are asked for; {str(folder)!r} has no results_*.json: name its folder.")
    name = short_text(root.resolve().name)
    seed = re.search(r"[-_]?seed([0-9]{1,12})$", name)
    run = Run(name, name[: seed.start()] if seed else name, int(seed[1]) if seed else None)
    notes: list[str] = []
    stepless = again = 0
    for path in sorted(files, key=lambda path: (path.name, path)):
        try:
            step, scores = _lighteval_file(path, root, notes)
        except ValueError as error:
            notes.append(str(error))
            continue
        stepless += step is None
        for benchmark, score in scores:
            known = run.results.setdefault(step or 0, {})
            again += benchmark in known
            known[benchmark] = score
    if not run.results:
        raise ValueError(notes[0])
    if stepless:
        notes.append(f"{run.name}: no step is named by {stepless} of {len(files)} files: taken as step 0.")
    if again:
        notes.append(f"{run.name}: {again} scores are of a step and benchmark that has one: the newest file counts.")
    run.results = dict(sorted(run.results.items()))
    run.notes = list(dict.fromkeys(notes))
    return run


def _lighteval_file(path: Path, root: Path, notes: list[str]) -> tuple[int | None, list[tuple[str, Score]]]:
    """The step that a file is of, None where that is not told, and its scores by benchmark."""
    content = load_object(path)
    general, results = content.get("config_general"), content.get("results")
    if not isinstance(results, dict):
        raise ValueError(f"{str(path)!r} is asked for `results` by task; it has none: mend or remove it.")
    model = general.get("model_name") if isinstance(general, dict) else None
    step = _lighteval_step(model if isinstance(model, str) else "", root.resolve().name, path.relative_to(root))
    scores = []
    for name, metrics in results.items():
        task = ([part for part in name.split("|") if part and not part.isdecimal()] or [""])[-1]
        if task in ("", "all", "average") or "_average" in task:
            continue
        try:
            scores.append((_benchmark(task), _lighteval_score(short_text(task), metrics, notes)))
        except ValueError as error:
            notes.append(f"{str(path)!r}: {error}")
    if not scores:
        notes.append(f"{str(path)!r} has no accuracy of a task: evaluate again, or leave it out.")
    return step, scores


def _lighteval_step(model: str, folder: str, inside: Path) -> int | None:
    named = STEP.findall(model) or STEP.findall(f"{folder}/{inside}")
    bare = [part for part in (*model.split("/"), *inside.parts) if re.fullmatch("[0-9]{1,12}", part)]
    return int((named or bare)[-1]) if named or bare else None


def _lighteval_score(task: str, metrics: Any, notes: list[str]) -> Score:
    known = metrics if isinstance(metrics, dict) else {}
    names = [name for name in known if type(known[name]) in (int, float) and not name.endswith("_stderr")]
    if not names:
        raise ValueError(f"{task!r} has no metric that is a number: left out.")
    at_1 = [name for name in names if PASS_AT_1.search(name)]
    metric = "extractive_match" if "extractive_match" in names else (at_1 or names)[0]
    if len(names) > 1:
        notes.append(f"{task}: {short_text(metric)} is taken, of {short_text(', '.join(names))}.")
    accuracy, error = finite_number(known[metric]), finite_number(known.get(f"{metric}_stderr"))
    if accuracy is None or not 0 <= accuracy <= 1:
        raise ValueError(
            f"{short_text(metric)} of {task!r} is {short_text(known[metric])}, not a share from 0 to 1: left out."
        )
    return Score(accuracy, error=error if error is not None and error >= 0 else None)


def _benchmark(task: str) -> str:
    plain = re.sub("[-_]", "", task.lower())
    return "olympiadbench" if plain.startswith("olympiad") else plain if plain in BENCHMARKS else short_text(task)
