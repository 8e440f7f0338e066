"""The lines of a table: the run, step, benchmark and problem that the values of each belong to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from manypaths.comparison.importers.cells import Table, headers, label, number, option, shown_cell
from manypaths.comparison.importers.columns import Columns
from manypaths.comparison.importers.reading import JOIN
from manypaths.comparison.importers.values import LAST_STEP
from manypaths.comparison.run_names import SEED, RunName
from manypaths.printable import shown


class RunKey(NamedTuple):
    """What tells a run from others."""

    group: str
    name: str  # without the seed
    seed: int | None
    cluster: str | None


@dataclass
class Line:
    """A line with a value."""

    number: int
    cells: list[str]
    key: RunKey
    step: int
    seconds: float | None
    benchmark: str | None
    problem: str | None


def lines_of(table: Table, columns: Columns, file: RunName) -> list[Line]:
    """The lines that have a value.

    Args:
        columns: A column of `run`, `seed`, `step`, `benchmark` or `problem` must have a cell in each of these lines.
        file: The name of the run where there is no run column.

    Raises:
        ValueError: A cell is missing or cannot be read; the message names the line.
    """
    filled = [(line, cells) for line, cells in table.lines if any(cells[value.place] for value in columns.values)]
    if not any(cells[place] for place in columns.places.get("seed", ()) for _, cells in filled):
        columns.places.pop("seed", None)
    if "step" not in columns.places:
        table.note("no column is the step, so all results are of step 0.")
    places = [place for meaning in ("run", "seed", "cluster") for place in columns.places.get(meaning, ())]
    is_stated = _names_state_seeds(columns, filled)
    keys: dict[tuple[str, ...], RunKey] = {}
    names: dict[RunKey, str] = {}
    lines = []
    for line, cells in filled:
        key = tuple(cells[place] for place in places)
        if key not in keys:
            keys[key] = _key(table, columns, line, cells, file, is_stated)
            run = [cells[place] for place in columns.places.get("run", ())]
            _check_name(table, names, keys[key], "/".join(run))
        lines.append(_line(table, columns, line, cells, keys[key]))
    return lines


def chart_keys(table: Table, columns: Columns) -> dict[str, RunKey]:
    """The keys of the runs that the headers of columns name.

    Raises:
        ValueError: Two of them state the same run and seed.
    """
    keys: dict[str, RunKey] = {}
    names: dict[RunKey, str] = {}
    for name in sorted({value.run for value in columns.values if value.run is not None}):
        stated = _stated(label(name))
        keys[name] = RunKey(stated.group, stated.label, stated.seed, None)
        _check_name(table, names, keys[name], name)
    return keys


def _check_name(table: Table, names: dict[RunKey, str], key: RunKey, name: str) -> None:
    """Refuse a second name of a run, such as `grpo_seed1` beside `grpo-seed1`."""
    if (other := names.setdefault(key, name)) != name:
        raise ValueError(
            f"{str(table.path)!r} must have one name of a run and its seed, got {shown(other)} and {shown(name)}. "
            "Rename one."
        )


def _stated(text: str) -> RunName:
    """A name of a run, and the seed that it states, such as 1 of `grpo-seed1`."""
    match = SEED.search(text)
    group = text[: match.start()] if match else ""
    return RunName(f"{group}-seed{match[1]}", group, int(match[1])) if match and group else RunName(text, text, None)


def _key(table: Table, columns: Columns, line: int, cells: list[str], file: RunName, is_stated: bool) -> RunKey:
    """The run of a line.

    Without a seed column the seed is the one that the name of the run states (`grpo-seed1`). With both, the seed is cut
    from the name where `is_stated`: the two agree in all lines.
    """
    cluster = _joined(table, columns, line, cells, "cluster")
    run = _joined(table, columns, line, cells, "run")
    texts = [cells[place] for place in columns.places.get("run", ())]
    stated = file
    if run is not None:
        stated = _stated(run) if len(texts) == 1 else RunName(run, json.dumps(texts), None)
    if "seed" not in columns.places:
        return RunKey(stated.group, stated.label, stated.seed, cluster)
    seed = _whole(table, line, cells, "seed", columns)
    if stated.seed is None or is_stated:
        return RunKey(stated.group, stated.label, seed, cluster)
    return RunKey(f"{stated.group}-seed{stated.seed}", stated.name, seed, cluster)


def _names_state_seeds(columns: Columns, lines: Sequence[tuple[int, list[str]]]) -> bool:
    """Whether the names of runs state the seeds of the seed column, in all lines."""
    run, seed = columns.places.get("run", []), columns.places.get("seed", [])
    if len(run) != 1 or not seed:
        return False
    pairs = {(cells[run[0]], cells[seed[0]]) for _, cells in lines}
    return all(str(_stated(label(name)).seed) == seed for name, seed in pairs)


def _joined(table: Table, columns: Columns, line: int, cells: list[str], meaning: str) -> str | None:
    """The text of the columns with a meaning; None where there are none."""
    places = columns.places.get(meaning)
    if places is None:
        return None
    texts = [cells[place] for place in places if cells[place]]
    if not texts or any("\n" in text for text in texts):
        raise table.error(line, f"a {meaning} in one line", shown_cell("".join(texts)))
    return label("/".join(texts))


def _line(table: Table, columns: Columns, line: int, cells: list[str], key: RunKey) -> Line:
    step = _whole(table, line, cells, "step", columns) if "step" in columns.places else 0
    benchmark = _joined(table, columns, line, cells, "benchmark")
    problem = label(cells[columns.places["problem"][0]]) if "problem" in columns.places else None
    if problem == "":
        raise table.error(line, "a problem", "none")
    seconds = None
    for meaning, factor in (("hours", 3600), ("seconds", 1)):
        places = columns.places.get(meaning)
        if places and cells[places[0]]:
            value = number(cells[places[0]])
            if value is None or value.percent or value.value < 0:
                raise table.error(line, f"a number of at least 0 as {meaning}", shown_cell(cells[places[0]]))
            seconds = value.value * factor
    return Line(line, cells, key, step, seconds, benchmark, problem)


def _whole(table: Table, line: int, cells: list[str], meaning: str, columns: Columns) -> int:
    place = columns.places[meaning][0]
    value = number(cells[place])
    if value is None or value.percent or value.comma or not 0 <= value.value <= LAST_STEP or value.value % 1:
        raise table.error(line, f"a whole number of at least 0 as {meaning}", shown_cell(cells[place]))
    return int(value.value)


def repetition(table: Table, columns: Columns, first: Line, second: Line) -> ValueError:
    """The refusal of two lines with results of the same run, seed, step and benchmark, or problem."""
    meant = {place for places in columns.places.values() for place in places} | {v.place for v in columns.values}
    differing = {
        header: len({cells[place] for _, cells in table.lines})
        for place, header in enumerate(table.header)
        if header and place not in meant and first.cells[place] != second.cells[place]
    }
    if "problem" in columns.places:
        expected = "a run, seed, step, benchmark and problem of its own, unless all accuracies are 0 or 1"
    else:
        expected = "a run, seed, step and benchmark of its own, or a problem"
    advice = "Remove one of the lines."
    if differing:
        fewest = min(differing, key=lambda header: differing[header])
        runs = [table.header[place] for place in columns.places.get("run", ())]
        joined, value = JOIN.join([*runs, fewest]), first.cells[table.header.index(fewest)]
        advice = (
            f"They differ in {headers(list(differing))}. If runs differ by it, add "
            f"{option('--columns', f'run={joined}')}. To read some of the lines, add "
            f"{option('--where', f'{fewest}={value}')}."
        )
    return table.error(second.number, expected, f"those of line {first.number}", advice)
