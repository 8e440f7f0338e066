"""A CSV table as `Run`s: long, wide, or as wandb, TensorBoard, Lightning and Keras export it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from manypaths.comparison.importers.cells import Table, headers, label, read_table
from manypaths.comparison.importers.columns import Columns, columns_of
from manypaths.comparison.importers.completions import Completion, check_answers, check_keys, counts_of, note_numbers
from manypaths.comparison.importers.lines import Line, RunKey, chart_keys, lines_of, repetition
from manypaths.comparison.importers.named import choose_lines
from manypaths.comparison.importers.reading import Reading
from manypaths.comparison.importers.units import Cell, values_of
from manypaths.comparison.run_names import RunName, of_paths
from manypaths.comparison.runs import Run, Score
from manypaths.counts import ACCURACY, measure
from manypaths.printable import one_line

DATE = 1e9  # seconds; larger times are dates since 1970, not the time since training began
Place = tuple[int, str, str]  # step, benchmark, measure
Results = dict[Place, list[tuple[Line, float]]]


class TableRuns(NamedTuple):
    """The runs of a table, and the units that nothing but the values states, by measure."""

    path: Path
    runs: list[Run]
    assumed_units: dict[str, str]


def read_csv(path: Path, reading: Reading | None = None, name: RunName | None = None) -> TableRuns:
    """Read a table with a header, separated by commas, semicolons or tabs, as runs.

    A line holds the results of one run, seed, step and benchmark, or with a problem column of one problem of it: one
    completion if all accuracies are 0 or 1, else a share of completions. Several measures may stand side by side, and
    so may several benchmarks (`columns["benchmarks"]`), or several runs (`RUN - METRIC`, as wandb exports charts).
    Lines without a value are left out.

    Args:
        path: The table. Its headers are those of `columns.COLUMNS` and names of measures, such as `accuracy`, `pass@8`
            or `eval/accuracy`, unless `reading` names others. Without a step all results are of step 0; without a
            benchmark they are of the one that the header names; without a run they are of the file. Seconds or hours
            are of training until that step.
        reading: What the user says about the table; None says nothing.
        name: The name of the run where the table states none; None is made of the path.

    Returns:
        The runs by name, seed and cluster. Whatever was assumed or not read is a note of the first run.

    Raises:
        ValueError: The table cannot be read without a guess; the message names the file, and the line if it is one.
    """
    reading = reading or Reading()
    table = read_table(path, name.name if name else None)
    columns = columns_of(table, reading)
    choose_lines(table, reading)
    lines = lines_of(table, columns, name or of_paths([path.resolve()])[path.resolve()])
    by_run = _by_run(table, columns, lines, reading)
    clusters = Counter((key.group, key.seed) for key in by_run)
    runs = [_run(table, columns, key, results, clusters[key.group, key.seed] > 1) for key, results in by_run.items()]
    if "problem" in columns.places:
        _set_problems(table, columns, runs, by_run)
    _check_clocks(table, runs)
    seeded = [run for run in runs if run.seed is not None]
    if seeded and "seed" not in columns.places:
        table.note(f"seeds are read from the names of runs, such as {seeded[0].seed} of {seeded[0].name}.")
    runs[0].notes = table.notes
    return TableRuns(path, runs, table.assumed_units)


def _by_run(table: Table, columns: Columns, lines: Sequence[Line], reading: Reading) -> dict[RunKey, Results]:
    """The values by run, and those of a run by step, benchmark and measure."""
    keys = chart_keys(table, columns)
    by_run: defaultdict[RunKey, Results] = defaultdict(lambda: defaultdict(list))
    for name in sorted({value.measure for value in columns.values}):
        places = [value for value in columns.values if value.measure == name]
        filled = [(line, value) for line in lines for value in places if line.cells[value.place]]
        if not filled:
            raise ValueError(f"{str(table.path)!r} must have values of {one_line(name, 40)}, got blank cells only.")
        cells = [Cell(line.number, line.cells[value.place], value.unit) for line, value in filled]
        numbers = values_of(table, name, cells, reading.unit, name == ACCURACY and "problem" in columns.places)
        total = len(table.lines) * len(places)
        if len(filled) < total:
            table.note(f"{total - len(filled)} of {total} cells of {one_line(name, 40)} are blank and left out.")
        default = ACCURACY if measure(name).top is not None else label(name)
        for (line, value), number in zip(filled, numbers, strict=True):
            by_run[keys.get(value.run or "", line.key)][
                line.step, line.benchmark or value.benchmark or default, name
            ].append((line, number))
    return {key: by_run[key] for key in sorted(by_run, key=_order)}


def _run(table: Table, columns: Columns, key: RunKey, results: Results, in_clusters: bool) -> Run:
    name = f"{key.name}-{key.cluster}" if in_clusters else key.name
    run = Run(name if key.seed is None else f"{name}-seed{key.seed}", key.group, key.seed, cluster=key.cluster)
    clock: defaultdict[int, float] = defaultdict(float)
    for (step, benchmark, name), values in sorted(results.items()):
        for line, _ in values:
            if line.seconds is not None:
                clock[step] = max(line.seconds, clock[step])
        score = run.results.setdefault(step, {}).setdefault(benchmark, Score())
        if name != ACCURACY or "problem" not in columns.places:
            score.means[name] = fmean(_by_problem(table, columns, values).values())
    run.clock = sorted(clock.items())
    return run


def _by_problem(table: Table, columns: Columns, values: Sequence[tuple[Line, float]]) -> dict[str | None, float]:
    """The values by problem, None where there are no problems. Raises ValueError for a repetition."""
    lines: dict[str | None, Line] = {}
    for line, _ in values:
        if line.problem in lines:
            raise repetition(table, columns, lines[line.problem], line)
        lines[line.problem] = line
    return {line.problem: value for line, value in values}


def _order(key: RunKey) -> tuple[str, int, str]:
    return key.group, -1 if key.seed is None else key.seed, key.cluster or ""


def _set_problems(table: Table, columns: Columns, runs: Sequence[Run], by_run: dict[RunKey, Results]) -> None:
    """Set the accuracy of each problem: counts of completions if all values are 0 or 1, otherwise shares."""
    scores = [
        (run.results[step][benchmark], values)
        for run, results in zip(runs, by_run.values(), strict=True)
        for (step, benchmark, name), values in results.items()
        if name == ACCURACY
    ]
    others = sorted({name for results in by_run.values() for _, _, name in results} - {ACCURACY})
    if others:
        table.note(f"of {headers(others)} only the mean over problems is read.")
    if any(value not in (0, 1) for _, values in scores for _, value in values):
        for score, values in scores:
            score.shares = {str(problem): value for problem, value in _by_problem(table, columns, values).items()}
        for meaning in sorted({"answer", "key"} & set(columns.places)):
            table.note(f"{meaning} is not read, because a line with a share is not one completion.")
        return
    completions = [_completions(columns, values) for _, values in scores]
    problems = [problem for by_problem in completions for problem in by_problem.values()]
    if not problems:
        return
    note_numbers(table, problems)
    names = {meaning: one_line(table.header[at[0]], 40) for meaning, at in columns.places.items()}
    has_answers = "answer" in names and check_answers(table, problems, names["answer"])
    has_keys = "key" in names and check_keys(table, problems, names["key"])
    for (score, _), by_problem in zip(scores, completions, strict=True):
        score.counts = {name: counts_of(problem, has_answers, has_keys) for name, problem in by_problem.items()}


def _completions(columns: Columns, values: Sequence[tuple[Line, float]]) -> dict[str, list[Completion]]:
    by_problem: defaultdict[str, list[Completion]] = defaultdict(list)
    for line, value in values:
        answer, key = (
            "".join(line.cells[columns.places[meaning][0]].split()) if meaning in columns.places else ""
            for meaning in ("answer", "key")
        )
        by_problem[str(line.problem)].append(Completion(line.number, value == 1, answer, key))
    return dict(sorted(by_problem.items()))


def _check_clocks(table: Table, runs: Sequence[Run]) -> None:
    """Leave out clocks that are not the time since training began, with a note."""
    wrong = [run for run in runs if run.clock and not _is_since_the_beginning([time for _, time in run.clock])]
    for run in wrong:
        run.clock = []
    if wrong:
        table.note(
            f"times of {headers([run.name for run in wrong])} are left out: they are not of training until then."
        )


def _is_since_the_beginning(times: Sequence[float]) -> bool:
    return times == sorted(times) and times[0] < DATE
