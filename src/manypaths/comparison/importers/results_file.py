"""Results of lighteval and lm-evaluation-harness, results_*.json, as `Run`s: one for each model that was evaluated."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from manypaths.comparison.importers import lighteval, lm_eval
from manypaths.comparison.importers.logged import keys_and_option
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.importers.values import load_object, printed
from manypaths.comparison.run_names import RunName, of_model
from manypaths.comparison.runs import Run, Score

FILES = "results_*.json"
STEP = re.compile(r"(?<![a-z])(?:checkpoint|step)[-_]([0-9]{1,12})(?![a-z0-9]|\.[0-9])", re.IGNORECASE)


class Evaluated(NamedTuple):
    """What one file holds: the scores of one model."""

    model: str  # without the step; empty where the file does not state it
    folder: str  # in which the file lies, without the step
    step: int | None  # None where no name states it
    scores: dict[str, Score]  # by benchmark
    metrics: set[str]  # the names of the metrics of its tasks


def is_results(content: dict[str, Any]) -> bool:
    """Whether the content of a JSON file is results by task."""
    return isinstance(content.get("results"), dict)


def read_results(files: Sequence[Path], root: Path, reading: Reading, named: RunName, alone: bool = False) -> list[Run]:
    """Read results as one run for each model, with a score per step and benchmark.

    Files of one model in several folders are one run, such as one folder for each task; but not where two folders have
    the same step and benchmark, or where the files do not name the model.

    Args:
        files: Files of lighteval or of lm-evaluation-harness, in any order.
        root: The folder in which they lie, at any depth.
        reading: What the user says: the metric that is accuracy.
        named: The name of the run if there is one model; several are named by model.
        alone: Whether nothing else is read.

    Returns:
        Runs without a clock, with the standard errors that the files state. A file that cannot be read is a note.

    Raises:
        ValueError: No file can be used.
    """
    notes: list[str] = []
    found: list[Evaluated] = []
    for file in sorted(files, key=lambda file: (file.name, file)):
        try:
            evaluated = _read_file(file, root, reading, notes)
        except ValueError as error:
            notes.append(str(error))
            continue
        if evaluated.scores:
            found.append(evaluated)
    if not found:
        raise ValueError(_first_sentences(notes))
    measures = {name for evaluated in found for score in evaluated.scores.values() for name in score.measures}
    if not any(reading.metric in evaluated.metrics for evaluated in found) and reading.measure not in {None, *measures}:
        there = sorted({name for evaluated in found for name in evaluated.metrics})
        raise ValueError(f"{str(root)!r} has no {printed(reading.metric)}. {keys_and_option(there)}")
    models = _models(found)
    labels = _labels(list(models))
    runs = []
    for model, evaluations in models.items():
        name = named if len(models) == 1 else of_model(named, labels[model], alone)
        runs.append(_run(name, evaluations))
    runs[0].notes = list(dict.fromkeys([*notes, *runs[0].notes]))
    return runs


def _first_sentences(notes: Sequence[str], most: int = 600) -> str:
    """The first of the notes, without repetitions, as far as they fit into a number of characters."""
    text, *others = dict.fromkeys(notes)
    for note in others:
        if len(text) + len(note) < most:
            text += f" {note}"
    return text


def _models(found: Sequence[Evaluated]) -> dict[tuple[str, str], list[Evaluated]]:
    """The files of each run by (model, folder); the folder is empty where it does not matter."""
    folders: defaultdict[tuple[str, int | None, str], set[str]] = defaultdict(set)
    for evaluated in found:
        for benchmark in evaluated.scores:
            folders[evaluated.model, evaluated.step, benchmark].add(evaluated.folder)
    split = {"", *(model for (model, _, _), places in folders.items() if len(places) > 1)}
    models: defaultdict[tuple[str, str], list[Evaluated]] = defaultdict(list)
    for evaluated in found:
        models[evaluated.model, evaluated.folder if evaluated.model in split else ""].append(evaluated)
    return models


def _run(name: RunName, evaluations: list[Evaluated]) -> Run:
    run = Run(*name)
    replaced = 0
    for evaluated in evaluations:
        at_step = run.results.setdefault(evaluated.step or 0, {})
        replaced += len(at_step.keys() & evaluated.scores.keys())
        at_step.update(evaluated.scores)
    run.results = dict(sorted(run.results.items()))
    if without_step := sum(evaluated.step is None for evaluated in evaluations):
        files = f"{without_step} of {len(evaluations)} files"
        run.notes.append(f"{run.name}: {files} name no step, so they count as step 0.")
    if replaced:
        run.notes.append(f"{run.name}: {replaced} scores repeat a step and benchmark; the newest file counts.")
    return run


def _read_file(path: Path, root: Path, reading: Reading, notes: list[str]) -> Evaluated:
    content = load_object(path)
    if not is_results(content):
        raise ValueError(
            f"{str(path)!r} must be results of lighteval or lm-evaluation-harness, got no `results` by task. "
            "Leave it out."
        )
    software = lm_eval if lm_eval.is_lm_eval(content) else lighteval
    model = software.model_of(content)
    inside = path.relative_to(root)
    step = _step(model, root.resolve().name, inside)
    scores = software.scores_of(path, content, reading, notes)
    tasks = [metrics for metrics in content["results"].values() if isinstance(metrics, dict)]
    names = {name for metrics in tasks for name in metrics if "_stderr" not in name}
    return Evaluated(_without_step(model), _without_step(inside.parent.as_posix()), step, scores, names)


def _step(model: str, folder: str, inside: Path) -> int | None:
    """The last step that a name states: of the model, else of the path; else the last part that is a bare number."""
    named = STEP.findall(model) or STEP.findall(f"{folder}/{inside}")
    bare = [part for part in (*model.split("/"), *inside.parts) if re.fullmatch("[0-9]{1,12}", part)]
    return int((named or bare)[-1]) if named or bare else None


def _without_step(name: str) -> str:
    parts = [STEP.sub("", part).strip("-_ ") for part in name.split("/") if not re.fullmatch("[0-9]{1,12}", part)]
    return printed("/".join(part for part in parts if part not in ("", ".", "global")))


def _labels(models: list[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """A name for each model: its own, or its folder, or both, whichever differs."""
    for label in (lambda model: model[0], lambda model: model[1], lambda model: f"{model[0]} in {model[1]}"):
        labels = {model: label(model) for model in models}
        if all(labels.values()) and len(set(labels.values())) == len(models):
            return labels
    return labels
