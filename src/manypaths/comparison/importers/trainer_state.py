"""A trainer state of transformers or TRL as a `Run`."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from manypaths.comparison.importers.values import finite_number, load_object, short_text, step_number
from manypaths.comparison.runs import Run, Score
from manypaths.names import SECONDS, current, shown_metrics


def read_trainer_state(path: Path) -> Run:
    """A trainer_state.json of transformers or TRL, its folder, or a folder of checkpoints -> a run, its seed unknown.

    Of several files the one with the largest global_step counts. Accuracies are shares, the clock is in seconds since
    training began, without evaluation where the log tells that apart. ValueError where no file can be used.
    """
    inside = [path / "trainer_state.json", *sorted(path.glob("checkpoint-*/trainer_state.json"))]
    files = [file for file in [path, *inside] if file.is_file()]
    if not files:
        raise ValueError(f"A trainer_state.json is asked for; {str(path)!r} is none and holds none: name its folder.")
    found, notes = [], []
    for file in files:
        try:
            found.append((file, *_history(file)))
        except ValueError as error:
            notes.append(str(error))
    if not found:
        raise ValueError(notes[0])
    file, _, lines, odd = max(found, key=lambda each: each[1])
    folder = file.resolve().parent
    name = short_text(folder.parent.name if re.fullmatch("checkpoint-[0-9]+", folder.name) else folder.name)
    run = Run(name, name, notes=notes)
    if odd:
        run.notes.append(f"{str(file)!r}: {odd} entries of log_history are without a step: left out.")
    told: defaultdict[str, dict[int, Any]] = defaultdict(dict)
    for step, line in lines.items():
        for key, value in current(line).items():
            if value is not None:
                told[key][step] = value
    run.curves = {key: curve for key in shown_metrics(told) if (curve := list(_numbers(told[key]).items()))}
    _take_time(run, lines)
    _take_accuracy(run, told)
    return run


def _numbers(told: dict[int, Any]) -> dict[int, float]:
    return {step: value for step, each in told.items() if (value := finite_number(each)) is not None}


def _history(file: Path) -> tuple[int, dict[int, dict[str, Any]], int]:
    """(global_step, what was logged by step, how many entries have no step)."""
    state = load_object(file)
    log = state.get("log_history")
    if not isinstance(log, list):
        raise ValueError(f"{str(file)!r} is asked for a list `log_history`; it has none: mend or remove it.")
    lines: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    odd = 0
    for entry in log:
        step = step_number(entry.get("step")) if isinstance(entry, dict) else None
        if step is None:
            odd += 1
        else:
            lines[step].update(entry)
    return step_number(state.get("global_step")) or 0, dict(sorted(lines.items())), odd


def _take_time(run: Run, lines: dict[int, dict[str, Any]]) -> None:
    """The clock, and the parts of a step where they are told. An entry holds means over the steps since the last."""
    ours = list(SECONDS.values())
    keys = ours if any(key in line for line in lines.values() for key in ours) else ["step_time"]
    before, spent = 0, dict.fromkeys(keys, 0.0)
    for step, line in lines.items():
        own = {key: value for key in keys if (value := finite_number(line.get(key))) is not None and value >= 0}
        if own and step > before:
            spent = {key: total + (step - before) * own.get(key, 0.0) for key, total in spent.items()}
            run.clock.append((step, sum(spent.values())))
            before = step
    if run.clock and keys == ours:
        run.parts = {part: spent[name] / before for part, name in SECONDS.items()}
    elif run.clock:
        run.notes.append(f"{run.name}: times are TRL's step_time, which leaves the optimiser's own part out.")
    if run.clock:
        return
    ends = [step for step, line in lines.items() if step and (finite_number(line.get("train_runtime")) or -1) > 0]
    if ends:
        whole = lines[ends[-1]]["train_runtime"]
        run.clock = [(step, whole * step / ends[-1]) for step in lines if 0 < step <= ends[-1]]
        run.notes.append(f"{run.name}: train_runtime is spread evenly over the steps, evaluation and saving included.")


def _take_accuracy(run: Run, told: dict[str, dict[int, Any]]) -> None:
    """From the evaluations, else from the training batches; the shortest key that has shares."""
    for start, benchmark, what in (
        ("eval_", "held-out", ""),
        ("rewards/", "training", ", of training batches, not held out"),
    ):
        for key in sorted((key for key in told if _tells_accuracy(key, start)), key=lambda key: (len(key), key)):
            shares = _numbers(told[key])
            if not shares or not all(0 <= value <= 1 for value in shares.values()):
                run.notes.append(
                    f"{run.name}: {short_text(key)} is no accuracy, its values are not shares from 0 to 1."
                )
                continue
            if len(shares) < len(told[key]):
                run.notes.append(f"{run.name}: {short_text(key)} is no number at {len(told[key]) - len(shares)} steps.")
            run.notes.append(f"{run.name}: accuracy is {short_text(key)}{what}.")
            run.results = {step: {benchmark: Score(value)} for step, value in shares.items()}
            return
    run.notes.append(f"{run.name}: no accuracy is logged, neither held out nor of training batches.")


def _tells_accuracy(key: str, start: str) -> bool:
    name = key.removeprefix(start).removesuffix("/mean").rpartition("rewards/")[2]
    return key.startswith(start) and "accuracy" in name.lower() and "/" not in name
