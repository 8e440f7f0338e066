"""Metrics by step as JSON lines, of verl, NeMo-RL and others, and NeMo-RL's JSON of a TensorBoard log, as a `Run`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from manypaths.comparison.importers.logged import set_results
from manypaths.comparison.importers.metric_names import in_trainer, in_verl
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.importers.trainer_state import NO_METRIC, Lines, by_step, set_log
from manypaths.comparison.importers.values import finite_number, json_lines, step_number
from manypaths.comparison.run_names import RunName
from manypaths.comparison.runs import Run
from manypaths.printable import listed

STEPS = ("step", "_step", "global_step", "training/global_step", "train/global_step", "progress/batch")
WHOLE = ("timing_s/step", "timing/train/total_step_time")  # seconds of a step of verl, of NeMo-RL
BESIDE = ("timing_s/testing", "timing_s/save_checkpoint")  # in verl's seconds of a step, and not of the training


def is_by_step(content: dict[str, Any]) -> bool:
    """Whether the content of a JSON file is NeMo-RL's {metric: {step: value}}."""
    series = [value for value in content.values() if isinstance(value, dict) and value]
    return bool(series) and len(series) == len(content) and all(_is_series(values) for values in series)


def _is_series(values: dict[str, Any]) -> bool:
    return all(re.fullmatch("[0-9]{1,12}", step) and not isinstance(value, dict) for step, value in values.items())


def read_by_step(content: dict[str, Any], reading: Reading, named: RunName) -> Run:
    """Read {metric: {step: value}} as a run."""
    lines: Lines = {}
    for metric, values in content.items():
        for step, value in values.items():
            lines.setdefault(int(step), {})[metric] = value
    run = Run(*named)
    _set(run, dict(sorted(lines.items())), reading)
    return run


def read_lines(file: Path, reading: Reading, named: RunName) -> Run:
    """Read metrics by step as a run.

    Args:
        file: JSON lines, or a JSON list, of {"step": number, "data": {metric: value}} as verl writes them, or of
            {"step": number, metric: value, ...}.
        reading: What the user says: the metric that is accuracy, and its unit.
        named: The name of the run.

    Raises:
        ValueError: No line has a step.
    """
    objects, broken = json_lines(file)
    lines, notes = by_step([_flat(line) for line in objects], str(file))
    if not lines:
        keys = listed(dict.fromkeys(key for line in objects[:5] for key in line), 12) or "nothing that is JSON"
        raise ValueError(f"{str(file)!r} must be metrics as JSON lines, each with a step, got {keys}. Leave it out.")
    run = Run(*named, notes=notes)
    if broken:
        run.notes.append(f"{str(file)!r}: {broken} lines are not JSON objects, so they are left out.")
    _set(run, lines, reading)
    return run


def _flat(line: dict[str, Any]) -> dict[str, Any]:
    """The metrics of a line, with its `step`; without one where the line states none."""
    data = line.get("data")
    metrics = {**line, **data} if isinstance(data, dict) else dict(line)
    steps = (_whole(line.get(name, metrics.get(name))) for name in STEPS)
    return {**metrics, "step": next((step for step in steps if step is not None), None)}


def _whole(value: Any) -> int | None:
    return step_number(int(value) if isinstance(value, float) and value.is_integer() else value)


def _set(run: Run, lines: Lines, reading: Reading) -> None:
    names = {name for line in lines.values() for name in line}
    if reading.metric not in names and not any(in_verl(name) for name in names):
        set_log(run, {step: {_plain(name): line[name] for name in line} for step, line in lines.items()}, reading)
        return
    logged: dict[str, dict[int, Any]] = {}
    for step, line in lines.items():
        for name, value in line.items():
            if name not in NO_METRIC and type(value) in (int, float):
                logged.setdefault(name, {})[step] = value
    _set_times(run, logged)
    of_trainer = in_trainer(map(_plain, names))
    set_results(run, logged, lambda name: in_verl(name) or of_trainer(_plain(name)), reading)


def _plain(name: str) -> str:
    """The trainer's own name of a metric that `wandb` calls `eval/accuracy` or `train/reward`."""
    return re.sub("^eval/", "eval_", name).removeprefix("train/")


def _set_times(run: Run, logged: dict[str, dict[int, Any]]) -> None:
    """Set the clock from the seconds of every step, without evaluation and saving where the log has them."""
    whole = next((logged[name] for name in WHOLE if name in logged), {})
    total, missing = 0.0, 0
    for before, step in zip([0, *whole], whole, strict=False):
        beside = sum(finite_number(logged.get(name, {}).get(step)) or 0.0 for name in BESIDE)
        seconds = finite_number(whole[step])
        if step == 0 or seconds is None or seconds < beside:
            continue
        missing += step - before - 1
        total += (seconds - beside) * (step - before)
        run.clock.append((step, total))
    if missing:
        run.notes.append(f"{run.name}: {missing} steps have no seconds; those of the step after them stand for them.")
