"""A trainer_state.json of transformers or TRL as a `Run`."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from manypaths.comparison.importers.values import finite_number, load_object, short_text, step_number
from manypaths.comparison.runs import Run, Score
from manypaths.names import SECONDS, current, shown_metrics

STATE = "trainer_state.json"


def is_trainer_state(path: Path) -> bool:
    """Whether a path is such a file, its folder, or a folder of checkpoints."""
    return path.name == STATE or (path / STATE).is_file() or any(path.glob(f"checkpoint-*/{STATE}"))


def read_trainer_state(path: Path) -> Run:
    """Read the log of a trainer as a run of unknown seed.

    Args:
        path: A trainer_state.json, its folder, or a folder of checkpoints. Of several files the one with the largest
            global_step counts.

    Returns:
        A run whose seconds are without evaluation where the log has the parts of a step, or TRL's step_time.

    Raises:
        ValueError: No file can be used.
    """
    inside = [path / STATE, *sorted(path.glob(f"checkpoint-*/{STATE}"))]
    files = [file for file in [path, *inside] if file.is_file()]
    if not files:
        raise ValueError(f"{str(path)!r} must be a {STATE} or hold one, got none. Name its folder.")
    histories, notes = [], []
    for file in files:
        try:
            histories.append((file, *_history(file)))
        except ValueError as error:
            notes.append(str(error))
    if not histories:
        raise ValueError(notes[0])
    file, _, lines, without_step = max(histories, key=lambda history: history[1])
    folder = file.resolve().parent
    name = short_text(folder.parent.name if re.fullmatch("checkpoint-[0-9]+", folder.name) else folder.name)
    run = Run(name, name, notes=notes)
    if without_step:
        run.notes.append(f"{str(file)!r}: {without_step} entries of log_history have no step, so they are left out.")
    logged: defaultdict[str, dict[int, Any]] = defaultdict(dict)  # metric -> step -> value
    for step, line in lines.items():
        for metric, value in current(line).items():
            if value is not None:
                logged[metric][step] = value
    run.curves = {
        metric: curve for metric in shown_metrics(logged) if (curve := list(_numbers(logged[metric]).items()))
    }
    _set_times(run, lines)
    _set_accuracy(run, logged)
    return run


def _numbers(values: dict[int, Any]) -> dict[int, float]:
    return {step: number for step, value in values.items() if (number := finite_number(value)) is not None}


def _history(file: Path) -> tuple[int, dict[int, dict[str, Any]], int]:
    """(global_step, {step: logged metrics}, number of entries without a step)."""
    state = load_object(file)
    log = state.get("log_history")
    if not isinstance(log, list):
        raise ValueError(f"{str(file)!r} must have a list `log_history`, got none. Repair or remove it.")
    lines: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    without_step = 0
    for entry in log:
        step = step_number(entry.get("step")) if isinstance(entry, dict) else None
        if step is None:
            without_step += 1
        else:
            lines[step].update(entry)
    return step_number(state.get("global_step")) or 0, dict(sorted(lines.items())), without_step


def _set_times(run: Run, lines: dict[int, dict[str, Any]]) -> None:
    """Set the clock, and the parts of a step if they were logged, from means over the steps since the entry before."""
    ours = list(SECONDS.values())
    keys = ours if any(key in line for line in lines.values() for key in ours) else ["step_time"]
    before, spent = 0, dict.fromkeys(keys, 0.0)
    for step, line in lines.items():
        means = {key: value for key in keys if (value := finite_number(line.get(key))) is not None and value >= 0}
        if means and step > before:
            spent = {key: total + (step - before) * means.get(key, 0.0) for key, total in spent.items()}
            run.clock.append((step, sum(spent.values())))
            before = step
    if run.clock and keys == ours:
        run.parts = {part: spent[metric] / before for part, metric in SECONDS.items()}
    elif run.clock:
        run.notes.append(f"{run.name}: times are TRL's step_time, which excludes the optimiser.")
    else:
        _spread_runtime(run, lines)


def _spread_runtime(run: Run, lines: dict[int, dict[str, Any]]) -> None:
    """Set the clock from the seconds of the whole training, if they were logged."""
    ends = [step for step, line in lines.items() if step and (finite_number(line.get("train_runtime")) or -1) > 0]
    if ends:
        runtime = lines[ends[-1]]["train_runtime"]
        run.clock = [(step, runtime * step / ends[-1]) for step in lines if 0 < step <= ends[-1]]
        run.notes.append(
            f"{run.name}: train_runtime is spread evenly over the steps; it includes evaluation and saving."
        )


def _set_accuracy(run: Run, logged: dict[str, dict[int, Any]]) -> None:
    """Set the results, of evaluations or else of training batches, from the shortest metric whose values are shares."""
    for start, benchmark, source in (
        ("eval_", "held-out", ""),
        ("rewards/", "training", ", of training batches, not held out"),
    ):
        for metric in sorted((key for key in logged if _is_accuracy(key, start)), key=lambda key: (len(key), key)):
            shares, shown = _numbers(logged[metric]), short_text(metric)
            if not shares or not all(0 <= value <= 1 for value in shares.values()):
                run.notes.append(f"{run.name}: {shown} is no accuracy, because its values are not from 0 to 1.")
                continue
            if len(shares) < len(logged[metric]):
                run.notes.append(f"{run.name}: {shown} is not a number at {len(logged[metric]) - len(shares)} steps.")
            run.notes.append(f"{run.name}: accuracy is {shown}{source}.")
            run.results = {step: {benchmark: Score.of_mean(value)} for step, value in shares.items()}
            return
    run.notes.append(f"{run.name}: no accuracy was logged, neither held out nor of training batches.")


def _is_accuracy(metric: str, start: str) -> bool:
    name = metric.removeprefix(start).removesuffix("/mean").rpartition("rewards/")[2]
    return metric.startswith(start) and "accuracy" in name.lower() and "/" not in name
