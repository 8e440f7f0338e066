"""The log of a trainer of transformers or TRL, trainer_state.json under any name, as a `Run`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from manypaths.comparison.importers.logged import set_results
from manypaths.comparison.importers.metric_names import in_trainer
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.importers.values import finite_number, load_object, printed, step_number
from manypaths.comparison.run_names import RunName
from manypaths.comparison.runs import Run
from manypaths.names import SECONDS, current, shown_metrics

STATE = "trainer_state.json"
SUMMARIES = ("all_results.json", "eval_results.json")
NO_METRIC = ("step", "epoch", "elapsed_seconds", "timestamp", "_step", "_runtime", "_timestamp")
Lines = dict[int, dict[str, Any]]  # step -> logged metrics


def is_state(content: dict[str, Any]) -> bool:
    """Whether the content of a JSON file is the state of a trainer."""
    return "log_history" in content


def is_summary(content: dict[str, Any]) -> bool:
    """Whether the content of a JSON file is that of all_results.json or eval_results.json of transformers."""
    return any(name.startswith("eval_") for name in content) or "train_runtime" in content


def read_states(files: Sequence[Path], reading: Reading, named: RunName) -> Run:
    """Read the log of a trainer as a run of unknown seed.

    Args:
        files: States of one training. That with the largest global_step counts, and all_results.json or
            eval_results.json beside it adds the evaluation after the training.
        reading: What the user says: the metric that is accuracy, and its unit.
        named: The name of the run.

    Returns:
        A run whose seconds are without evaluation where the log has the parts of a step, or TRL's step_time.

    Raises:
        ValueError: No file can be used.
    """
    histories, notes = [], []
    for file in files:
        try:
            histories.append((file, *_history(file)))
        except ValueError as error:
            notes.append(str(error))
    if not histories:
        raise ValueError(notes[0])
    file, last, lines, more = max(histories, key=lambda history: history[1])
    run = Run(*named, notes=[*notes, *more])
    for name in SUMMARIES:
        _add_summary(run, file.with_name(name), last, lines)
    set_log(run, lines, reading)
    return run


def read_summary(file: Path, reading: Reading, named: RunName) -> Run:
    """Read all_results.json or eval_results.json of transformers, without a state beside it, as a run with step 0."""
    run = Run(*named, notes=[f"{named.name}: {file.name} states no step, so it counts as step 0."])
    set_log(run, {0: _evaluation(load_object(file))}, reading)
    return run


def set_log(run: Run, lines: Lines, reading: Reading) -> None:
    """Set the curves, the times and the results of a run from what a trainer logged."""
    logged: defaultdict[str, dict[int, Any]] = defaultdict(dict)  # metric -> step -> value
    for step, line in lines.items():
        for metric, value in current(line).items():
            if value is not None:
                logged[metric][step] = value
    run.curves = {
        metric: curve for metric in shown_metrics(logged) if (curve := list(_numbers(logged[metric]).items()))
    }
    _set_times(run, lines)
    numbers = {
        name: values
        for name, values in logged.items()
        if name not in NO_METRIC and any(type(value) in (int, float) for value in values.values())
    }
    set_results(run, numbers, in_trainer(numbers), reading)


def _evaluation(content: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name.startswith(("eval_", "test_", "predict_"))}


def _add_summary(run: Run, file: Path, last: int, lines: Lines) -> None:
    """Add the evaluation after the training, where the log has no value of that metric at the last step."""
    if not file.is_file():
        return
    try:
        evaluation = _evaluation(load_object(file))
    except ValueError as error:
        run.notes.append(str(error))
        return
    line = lines.setdefault(last, {})
    added = {name: value for name, value in evaluation.items() if name not in line}
    line.update(added)
    if any("accuracy" in name for name in added):
        run.notes.append(f"{run.name}: {file.name} is the evaluation at step {last}, the last one.")


def _numbers(values: dict[int, Any]) -> dict[int, float]:
    return {step: number for step, value in values.items() if (number := finite_number(value)) is not None}


def _history(file: Path) -> tuple[int, Lines, list[str]]:
    """(global_step, the log by step, notes)."""
    state = load_object(file)
    log = state.get("log_history")
    if not isinstance(log, list):
        raise ValueError(f"{str(file)!r} must have a list `log_history`, got none. Repair or remove it.")
    lines, notes = by_step(log, str(file))
    return step_number(state.get("global_step")) or max(lines, default=0), lines, notes


def by_step(log: Sequence[Any], source: str) -> tuple[Lines, list[str]]:
    """The entries of a log by step, and notes on entries without a step and on values that a later entry replaces."""
    lines: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    without_step, replaced = 0, dict[str, int]()
    for entry in log:
        step = step_number(entry.get("step")) if isinstance(entry, dict) else None
        if step is None:
            without_step += 1
            continue
        entry = _with_set(entry)
        for name in [name for name in entry if name.startswith("eval_") and entry[name] != lines[step].get(name)]:
            if name in lines[step] and "accura" in name:
                replaced[name] = replaced.get(name, 0) + 1
        lines[step].update(entry)
    notes = [f"{source!r}: {without_step} entries of its log have no step, so they are left out."] * bool(without_step)
    notes += [
        f"{source!r}: {printed(name)} stands more than once at {count} steps; the last value counts."
        for name, count in sorted(replaced.items())
    ]
    return dict(sorted(lines.items())), notes


def _with_set(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of an evaluation on a named set S, which has `eval_S_runtime`, with S in the name of every metric.

    TRL logs the rewards of an evaluation without the name of the set.
    """
    sets = [match[1] for name in entry if (match := re.fullmatch("eval_(.+)_runtime", name))]
    if len(sets) != 1:
        return entry
    start = f"eval_{sets[0]}_"
    return {
        f"{start}{name.removeprefix('eval_')}"
        if name.startswith("eval_") and not name.startswith(start)
        else name: value
        for name, value in entry.items()
    }


def _set_times(run: Run, lines: Lines) -> None:
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


def _spread_runtime(run: Run, lines: Lines) -> None:
    """Set the clock from the seconds of the whole training, if they were logged."""
    ends = [step for step, line in lines.items() if step and (finite_number(line.get("train_runtime")) or -1) > 0]
    if ends:
        runtime = lines[ends[-1]]["train_runtime"]
        run.clock = [(step, runtime * step / ends[-1]) for step in lines if 0 < step <= ends[-1]]
        run.notes.append(
            f"{run.name}: train_runtime is spread evenly over the steps; it includes evaluation and saving."
        )
