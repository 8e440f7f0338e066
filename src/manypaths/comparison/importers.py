"""Results that other software made, as `Run`s: lighteval's, a trainer state of transformers or TRL, a CSV table."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from pathlib import Path
from statistics import fmean
from typing import Any

from manypaths.comparison.runs import Run, Score
from manypaths.names import SECONDS, current, shown_metrics

Row = dict[str, Any]
STEP = re.compile(r"(?<![a-z])(?:checkpoint|step)[-_]([0-9]{1,12})(?![a-z0-9]|\.[0-9])", re.IGNORECASE)
PASS_AT_1 = re.compile(r"pass@(?:k:[^@]*k=)?1(?![0-9])")
BENCHMARKS = ("aime24", "amc23", "math500", "minerva")
COLUMNS = {
    "step": ("step", "global_step", "iteration"),
    "accuracy": ("accuracy", "score", "acc", "pass@1", "value"),
    "run": ("run", "name", "model", "method", "config", "configuration", "experiment"),
    "seed": ("seed",),
    "benchmark": ("benchmark", "task", "dataset"),
    "problem": ("problem", "id", "problem_id", "question_id"),
    "seconds": ("seconds", "time_s", "wall_time"),
    "hours": ("hours",),
}
LAST_STEP = 10**12
DATE = 1e9  # seconds; what begins beyond is the time of day since 1970, not the time since training began


def read_lighteval(folder: Path) -> Run:
    """A tree with lighteval's results_*.json, or one such file -> a run with a score per step and benchmark.

    Accuracies are shares, errors are lighteval's standard errors; there is no clock. A file that cannot be read is a
    note; ValueError where nothing in the tree can be used.
    """
    root = folder.parent if folder.is_file() else folder
    files = [folder] if folder.is_file() else [path for path in folder.rglob("results_*.json") if path.is_file()]
    if not files:
        raise ValueError(f"Results of lighteval are asked for; {str(folder)!r} has no results_*.json: name its folder.")
    name = _text(root.resolve().name)
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
    content = _load(path)
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
            scores.append((_benchmark(task), _lighteval_score(_text(task), metrics, notes)))
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
        notes.append(f"{task}: {_text(metric)} is taken, of {_text(', '.join(names))}.")
    accuracy, error = _number(known[metric]), _number(known.get(f"{metric}_stderr"))
    if accuracy is None or not 0 <= accuracy <= 1:
        raise ValueError(f"{_text(metric)} of {task!r} is {_text(known[metric])}, not a share from 0 to 1: left out.")
    return Score(accuracy, error=error if error is not None and error >= 0 else None)


def _benchmark(task: str) -> str:
    plain = re.sub("[-_]", "", task.lower())
    return "olympiadbench" if plain.startswith("olympiad") else plain if plain in BENCHMARKS else _text(task)


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
    name = _text(folder.parent.name if re.fullmatch("checkpoint-[0-9]+", folder.name) else folder.name)
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
    return {step: value for step, each in told.items() if (value := _number(each)) is not None}


def _history(file: Path) -> tuple[int, dict[int, dict[str, Any]], int]:
    """(global_step, what was logged by step, how many entries have no step)."""
    state = _load(file)
    log = state.get("log_history")
    if not isinstance(log, list):
        raise ValueError(f"{str(file)!r} is asked for a list `log_history`; it has none: mend or remove it.")
    lines: defaultdict[int, dict[str, Any]] = defaultdict(dict)
    odd = 0
    for entry in log:
        step = _whole(entry.get("step")) if isinstance(entry, dict) else None
        if step is None:
            odd += 1
        else:
            lines[step].update(entry)
    return _whole(state.get("global_step")) or 0, dict(sorted(lines.items())), odd


def _take_time(run: Run, lines: dict[int, dict[str, Any]]) -> None:
    """The clock, and the parts of a step where they are told. An entry holds means over the steps since the last."""
    ours = list(SECONDS.values())
    keys = ours if any(key in line for line in lines.values() for key in ours) else ["step_time"]
    before, spent = 0, dict.fromkeys(keys, 0.0)
    for step, line in lines.items():
        own = {key: value for key in keys if (value := _number(line.get(key))) is not None and value >= 0}
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
    ends = [step for step, line in lines.items() if step and (_number(line.get("train_runtime")) or -1) > 0]
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
                run.notes.append(f"{run.name}: {_text(key)} is no accuracy, its values are not shares from 0 to 1.")
                continue
            if len(shares) < len(told[key]):
                run.notes.append(f"{run.name}: {_text(key)} is no number at {len(told[key]) - len(shares)} steps.")
            run.notes.append(f"{run.name}: accuracy is {_text(key)}{what}.")
            run.results = {step: {benchmark: Score(value)} for step, value in shares.items()}
            return
    run.notes.append(f"{run.name}: no accuracy is logged, neither held out nor of training batches.")


def _tells_accuracy(key: str, start: str) -> bool:
    name = key.removeprefix(start).removesuffix("/mean").rpartition("rewards/")[2]
    return key.startswith(start) and "accuracy" in name.lower() and "/" not in name


def read_csv(path: Path) -> list[Run]:
    """A table with a header, separated by comma, semicolon or tab -> a run per `run` and `seed`.

    `COLUMNS` has the names that a column may go by; `step` and `accuracy` must be there. Accuracy is a share, or
    percent where any is above 1; seconds (or hours) are of training until that step. With a problem column a row is a
    sample of that problem. ValueError, with the line, for what cannot be read.
    """
    (_, header), *lines = _table(path)
    columns, notes = _columns(path, header)
    rows = [_row(path, line, cells, len(header), columns) for line, cells in lines]
    if max(row["accuracy"] for row in rows) > 1:
        notes.append(f"{_text(path.name)}: accuracies above 1 are there, so all are taken as percent.")
        rows = [{**row, "accuracy": row["accuracy"] / 100} for row in rows]
    runs: defaultdict[tuple[str, int | None], list[Row]] = defaultdict(list)
    for row in rows:
        if row["accuracy"] > 1:
            raise _wrong(path, row["line"], "an accuracy of at most 100 percent", f"{100 * row['accuracy']:g}")
        runs[row["run"], row["seed"]].append(row)
    order = sorted(runs, key=lambda key: (key[0], -1 if key[1] is None else key[1]))
    return [_csv_run(path, *key, runs[key], notes) for key in order]


def _csv_run(path: Path, group: str, seed: int | None, rows: list[Row], notes: list[str]) -> Run:
    run = Run(group if seed is None else f"{group}-seed{seed}", group, seed, notes=list(notes))
    found: defaultdict[tuple[int, str], defaultdict[str | None, list[float]]] = defaultdict(lambda: defaultdict(list))
    clock: dict[int, float] = {}
    for row in rows:
        samples = found[row["step"], row["benchmark"]][row["problem"]]
        samples.append(row["accuracy"])
        if row["problem"] is None and len(samples) > 1:
            raise _wrong(path, row["line"], "a run, seed, step and benchmark of its own, or a problem", "one once more")
        if row["seconds"] is not None:
            clock[row["step"]] = max(row["seconds"], clock.get(row["step"], 0.0))
    for (step, benchmark), problems in sorted(found.items()):
        means = {problem: fmean(samples) for problem, samples in problems.items()}
        shares = {problem: mean for problem, mean in means.items() if problem is not None}
        run.results.setdefault(step, {})[benchmark] = Score(fmean(means.values()), shares or None)
    times = [clock[step] for step in sorted(clock)]
    if times == sorted(times) and min(times, default=0) < DATE:
        run.clock = sorted(clock.items())
    else:
        run.notes.append(f"{run.name}: times are left out, they are not seconds since training began.")
    return run


def _table(path: Path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of the header and of each row."""
    if not path.is_file():
        raise ValueError(f"A CSV file is asked for; {str(path)!r} is no file: name one.")
    try:
        text = path.read_bytes().decode("utf-8-sig")
        separator = max(",;\t", key=text.lstrip().partition("\n")[0].count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (csv.Error, OSError, UnicodeDecodeError) as error:
        raise ValueError(
            f"A CSV file in UTF-8 is asked for; {str(path)!r} is none ({error}): save it as one."
        ) from error
    filled = [(line, cells) for line, cells in rows if any(cells)]
    if len(filled) < 2:
        raise ValueError(f"A header and rows are asked for; {str(path)!r} has {len(filled)} lines: leave it out.")
    return filled


def _columns(path: Path, header: list[str]) -> tuple[dict[str, int], list[str]]:
    """The place of each column that is there, and a note for each that is passed over for another."""
    plain = [cell.lower().replace(" ", "_") for cell in header]
    there = {column: [name for name in names if name in plain] for column, names in COLUMNS.items()}
    for column in ("step", "accuracy"):
        if not there[column]:
            asked, given = " or ".join(COLUMNS[column]), _text(", ".join(header))
            raise ValueError(f"A column {asked} is asked for; {str(path)!r} has {given}: rename one.")
    over = [(column, names[0], other) for column, names in there.items() for other in names[1:]]
    notes = [f"{_text(path.name)}: {column} is read from {first}, not from {other}." for column, first, other in over]
    return {column: plain.index(names[0]) for column, names in there.items() if names}, notes


def _row(path: Path, line: int, cells: list[str], width: int, columns: dict[str, int]) -> Row:
    """A row by the keys of COLUMNS and its line; None for what is not told."""
    if any(cells[width:]):
        raise _wrong(path, line, f"{width} cells, as in the header", str(len(cells)))
    row: Row = dict.fromkeys(COLUMNS) | {"run": _text(path.stem), "benchmark": "accuracy", "line": line}
    row |= {column: cells[at][:200] for column, at in columns.items() if at < len(cells) and cells[at]}
    if "problem" in columns and row["problem"] is None:
        raise _wrong(path, line, "a problem", "none")
    for column in ("step", "accuracy", "seed", "seconds", "hours"):
        if row[column] is not None or column in ("step", "accuracy"):
            row[column] = _cell(path, line, column, row[column] or "")
    if row["seconds"] is None and row["hours"] is not None:
        row["seconds"] = row["hours"] * 3600
    return row


def _cell(path: Path, line: int, column: str, cell: str) -> float:
    whole = column in ("step", "seed")
    try:
        value = float(cell)
    except ValueError:
        value = -1.0
    if not 0 <= value <= LAST_STEP or (whole and value % 1):
        raise _wrong(path, line, f"a {'whole ' * whole}number as {column}, 0 or more", repr(cell))
    return int(value) if whole else value


def _wrong(path: Path, line: int, asked: str, given: str) -> ValueError:
    return ValueError(f"Line {line} of {str(path)!r} is asked for {asked}; given {given}: mend or remove it.")


def _load(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, RecursionError, ValueError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{str(path)!r} is asked for JSON; it cannot be read ({what}): mend or remove it.") from error
    if not isinstance(found, dict):
        raise ValueError(f"{str(path)!r} is asked for a JSON object; it holds a {type(found).__name__}: leave it out.")
    return found


def _number(value: Any) -> float | None:
    """As float where it is a number and sums of it stay finite."""
    return float(value) if type(value) in (int, float) and abs(value) < 1e100 else None


def _whole(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= LAST_STEP else None


def _text(value: Any) -> str:
    """As text that is short and that UTF-8 can hold."""
    return str(value)[:200].encode("utf-8", "replace").decode()
