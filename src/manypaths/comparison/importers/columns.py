"""Which column of a table means what: as the user says, else by well-known headers; two candidates are refused."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from manypaths.comparison.importers.cells import Table, headers, label, number, option
from manypaths.comparison.importers.named import named_columns, plain
from manypaths.comparison.importers.reading import JOIN, Reading, measure_and_set, metric_and_unit
from manypaths.counts import ACCURACY
from manypaths.printable import one_line, shown

COLUMNS = {  # meaning -> the headers that have it; the first one counts alone where it is there
    "run": (
        *("run", "run_id", "run_name", "name", "model", "method", "config", "configuration", "experiment", "arm"),
        *("variant", "algorithm"),
    ),
    "seed": ("seed",),
    "cluster": ("cluster",),
    "step": ("step", "steps", "global_step", "train/global_step", "trainer/global_step", "_step", "iteration", "epoch"),
    "benchmark": ("benchmark", "task", "dataset"),
    "problem": ("problem", "problem_id", "question_id", "id"),
    "seconds": ("seconds", "time_s", "wall_time", "_runtime"),
    "hours": ("hours",),
    "answer": ("answer",),
    "key": ("key",),
}
JOINED = ("run", "cluster", "benchmarks")  # meanings that several columns may have together
CHART = re.compile(r"(?P<run>.+) - (?P<metric>.+?)(?P<range>__MIN|__MAX)?")  # a header of a chart that wandb exported


class Value(NamedTuple):
    """A column that holds values of a measure."""

    place: int
    measure: str
    benchmark: str | None = None  # None: the benchmark that the line names
    run: str | None = None  # None: the run that the line names
    unit: str | None = None  # that the header states


@dataclass
class Columns:
    """The places of the columns by their meaning, and the columns with values."""

    places: dict[str, list[int]]
    values: list[Value]


def columns_of(table: Table, reading: Reading) -> Columns:
    """Assign meanings to the columns of a table; what was assumed and what is not read become notes of the table.

    Raises:
        ValueError: No column holds a measure, two columns may have one meaning, or a column of `reading` is missing.
    """
    places = {
        meaning: named_columns(table, f"--columns {meaning}", text, meaning in JOINED)
        for meaning, text in reading.columns.items()
    }
    where = [named_columns(table, "--where", header, False)[0] for header in reading.where]
    if "benchmark" in places and "benchmarks" in places:
        raise ValueError("--columns must have benchmark or benchmarks, got both. Name one of them.")
    values, assumed = _values(table, reading, places)
    for place, value in enumerate(values):
        twins = [
            other.place
            for other in values[:place]
            if (other.measure, other.benchmark, other.run) == (value.measure, value.benchmark, value.run)
        ]
        if twins:
            meaning = one_line(f"{value.measure} of {value.run or value.benchmark or ''}")
            raise _two(table, meaning, [*twins, value.place])
    used = {*(place for at in places.values() for place in at), *(value.place for value in values)}
    free = [place for place in range(len(table.header)) if place not in used]
    for meaning, names in COLUMNS.items():
        needed = {"benchmark": "benchmarks" not in places, "answer": "problem" in places, "key": "problem" in places}
        if meaning in places or not needed.get(meaning, True):
            continue
        chosen = _by_header(table, meaning, names, free)
        if chosen is not None:
            places[meaning] = [chosen]
            if plain(table.header[chosen]) != meaning:
                assumed.append(f"{meaning} is read from {one_line(table.header[chosen], 40)}")
    if "seconds" in places:
        places.pop("hours", None)
    columns = Columns({meaning: at for meaning, at in places.items() if meaning in COLUMNS}, values)
    if assumed:
        table.note(f"{', '.join(sorted(assumed))}.")
    read = {*where, *(place for at in columns.places.values() for place in at), *(value.place for value in values)}
    unread = [place for place in range(len(table.header)) if place not in read]
    unread = [place for place in unread if not _is_index(table, place) and not _repeats(table, place)]
    if unread:
        table.note(f"not read: {headers(sorted(table.header[place] for place in unread))}.")
    return columns


def _by_header(table: Table, meaning: str, names: Sequence[str], free: Sequence[int]) -> int | None:
    """The column that has a meaning by its header; a header that is literally the meaning goes before others."""
    literal = [place for place in free if plain(table.header[place]) == meaning]
    candidates = literal or [place for place in free if plain(table.header[place]) in names]
    if len(candidates) > 1:
        raise _two(table, meaning, candidates)
    return candidates[0] if candidates else None


def _two(table: Table, meaning: str, candidates: Sequence[int]) -> ValueError:
    """The refusal of several columns that may have one meaning, with the options that choose."""
    names = [one_line(table.header[place], 60) for place in candidates]
    if len(set(names)) < len(names):
        advice = "Rename one"
    else:
        joined = JOIN.join(names)
        sets = {stated[1] for name in names if (stated := measure_and_set(name))}
        advice = f"Choose one, such as {option('--columns', f'{meaning}={names[0]}')}"
        advice += f", or join them: {option('--columns', f'{meaning}={joined}')}" * (meaning in JOINED)
        of_benchmarks = option("--columns", f"benchmarks={joined}")
        advice += f"; if each is of a benchmark: {of_benchmarks}" * (len(sets) == len(names))
    listed = " and ".join(names) if len(names) < 6 else headers(names)
    return ValueError(f"{str(table.path)!r} must have one column that is the {meaning}, got {listed}. {advice}.")


def _values(table: Table, reading: Reading, places: dict[str, list[int]]) -> tuple[list[Value], list[str]]:
    """The columns that hold measures, and what was assumed about them, as parts of a sentence."""
    if "benchmarks" in places:
        measure = reading.measure or ACCURACY
        return [
            Value(
                place,
                measure,
                label(metric_and_unit(table.header[place])[0]),
                unit=metric_and_unit(table.header[place])[1],
            )
            for place in places["benchmarks"]
        ], []
    named = {meaning: at[0] for meaning, at in places.items() if meaning not in (*COLUMNS, "benchmarks")}
    values = [Value(place, measure, unit=metric_and_unit(table.header[place])[1]) for measure, place in named.items()]
    taken = {place for at in places.values() for place in at}
    if reading.metric is not None and reading.measure and reading.measure not in named:
        values += _of_metric(table, reading.metric, reading.measure, taken)
    by_measure: dict[str, list[Value]] = {}
    for place, header in enumerate(table.header):
        stated, unit = measure_and_set(header), metric_and_unit(header)[1]
        is_chart = CHART.fullmatch(header) is not None
        if stated and not is_chart and place not in taken and stated[0] not in {value.measure for value in values}:
            by_measure.setdefault(stated[0], []).append(Value(place, stated[0], label(stated[1]) or None, unit=unit))
    assumed = []
    for measure, candidates in by_measure.items():
        if len(candidates) > 1:
            raise _two(table, measure, [value.place for value in candidates])
        values += candidates
        if plain(header := table.header[candidates[0].place]) != measure:
            assumed.append(f"{measure} is read from {one_line(header, 40)}")
    values = values or _of_chart(table, reading)
    if not values:
        raise _no_measure(table, taken, reading)
    return values, assumed


def _of_metric(table: Table, metric: str, measure: str, taken: set[int]) -> list[Value]:
    """The column of a metric that the user named, by its header, or else the only column `value`."""
    stated = measure_and_set(metric)
    places = [place for place, header in enumerate(table.header) if header == metric and place not in taken]
    if not places and stated is None:
        places = [place for place, header in enumerate(table.header) if plain(header) == plain(metric)]
    if not places and not any(measure_and_set(header) for header in table.header):
        places = [place for place, header in enumerate(table.header) if plain(header) == "value"]
    if len(places) > 1:
        raise _two(table, metric, places)
    benchmark = label(stated[1] if stated else metric) or None
    return [Value(place, measure, benchmark, unit=metric_and_unit(table.header[place])[1]) for place in places]


def _of_chart(table: Table, reading: Reading) -> list[Value]:
    """The columns `RUN - METRIC` of a chart that wandb exported; none in another table.

    Columns `RUN - METRIC__MIN` and `__MAX` are not read. A note says where they differ from the value, which then is
    the mean over several runs or steps.
    """
    matches = {place: match for place, header in enumerate(table.header) if (match := CHART.fullmatch(header))}
    metrics = list(dict.fromkeys(match["metric"] for match in matches.values() if not match["range"]))
    chosen = {name: stated for name in metrics if (stated := measure_and_set(name)) is not None}
    if reading.metric in metrics and reading.metric and reading.measure:
        benchmark = chosen[reading.metric][1] if reading.metric in chosen else reading.metric
        chosen = {reading.metric: (reading.measure, benchmark)}
    if metrics and not chosen:
        raise ValueError(
            f"{str(table.path)!r} must have {_wanted(reading)}, got {headers(metrics)}. Name one with --metric."
        )
    for measure in {measure for measure, _ in chosen.values()}:
        rivals = [one_line(name, 60) for name in metrics if name in chosen and chosen[name][0] == measure]
        if len(rivals) > 1:
            raise ValueError(
                f"{str(table.path)!r} must have one metric that is the {measure}, got {' and '.join(rivals)}. Name one "
                "with --metric."
            )
    values = [
        Value(place, *chosen[metric], match["run"], metric_and_unit(metric)[1])
        for place, match in matches.items()
        if (metric := match["metric"]) in chosen and not match["range"]
    ]
    _check_range(table, values)
    return values


def _wanted(reading: Reading) -> str:
    return "an accuracy" if reading.metric is None else shown(reading.metric)


def _check_range(table: Table, values: Sequence[Value]) -> None:
    """Note the runs of a chart whose values are means, because their minimum or maximum differs."""
    of_values = {table.header[value.place]: value.run or "" for value in values}
    means = {
        of_values[header.removesuffix(end)]: None
        for place, header in enumerate(table.header)
        for end in ("__MIN", "__MAX")
        if header.endswith(end) and header.removesuffix(end) in of_values and not _repeats(table, place)
    }
    if means:
        table.note(
            f"values of {headers(sorted(means))} are means over several runs or steps, because minimum and maximum "
            "differ. To have the runs, export them without grouping."
        )


def _repeats(table: Table, place: int) -> bool:
    """Whether a column is the minimum or maximum of another column and equals it in every line."""
    match = CHART.fullmatch(table.header[place])
    if match is None or not match["range"]:
        return False
    value = table.header[place].removesuffix(match["range"])
    return value in table.header and all(cells[place] == cells[table.header.index(value)] for _, cells in table.lines)


def _no_measure(table: Table, taken: set[int], reading: Reading) -> ValueError:
    """The refusal of a table without a column of a measure, with the option that would help."""
    if "value" in map(plain, table.header):
        advice = "If the value is an accuracy, add --metric accuracy, else --metric with its name"
    else:
        well_known = {name for of_meaning in COLUMNS.values() for name in of_meaning}
        numeric = [
            one_line(header, 40)
            for place, header in enumerate(table.header)
            if header and place not in taken and plain(header) not in well_known and _is_numeric(table, place)
        ]
        first = numeric[0] if numeric else "HEADER"
        advice = f"Name it, such as {option('--columns', f'accuracy={first}')}"
        if len(numeric) > 1:
            joined = option("--columns", f"benchmarks={JOIN.join(numeric[:20])}")
            advice += f"; or, if each is the accuracy of a benchmark, {joined}"
    return ValueError(
        f"{str(table.path)!r} must have a column that is {_wanted(reading)}, got {headers(table.header, 30)}. {advice}."
    )


def _is_numeric(table: Table, place: int) -> bool:
    cells = [cells[place] for _, cells in table.lines if cells[place]]
    return bool(cells) and all(number(cell) for cell in cells)


def _is_index(table: Table, place: int) -> bool:
    """Whether a column without a header numbers the lines, as pandas writes it."""
    cells = [cells[place] for _, cells in table.lines]
    return not table.header[place] and cells in ([str(line) for line in range(len(cells))], [""] * len(cells))
