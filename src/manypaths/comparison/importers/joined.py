"""The runs of several tables, of which each may hold a part of the results of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from manypaths.comparison.importers.csv_table import TableRuns
from manypaths.comparison.runs import Run


@dataclass
class Tables:
    """The tables that were read."""

    runs: dict[tuple[str, int | None, str | None], Run] = field(default_factory=dict)  # by group, seed and cluster
    units: dict[str, tuple[str, Path]] = field(default_factory=dict)  # measure -> assumed unit, first table with it


def join(tables: Tables, table: TableRuns) -> list[Run]:
    """Add a table to the tables before it.

    Args:
        tables: Their runs get the results and times that the new table has of them; its other runs are added.
        table: The new table.

    Returns:
        The runs that no table had before.

    Raises:
        ValueError: A result stands in two tables, so that it would count twice, or the units of two tables are assumed
            and differ; nothing is added.
    """
    for measure, unit in table.assumed_units.items():
        other_unit, other_path = tables.units.get(measure, (unit, table.path))
        if unit != other_unit:
            raise ValueError(
                f"{str(table.path)!r} must have {measure} in the unit of {str(other_path)!r}, got values that look "
                f"like {unit} beside {other_unit}. State the unit with --unit, or in the headers ({measure}_percent)."
            )
    for run in table.runs:
        other = tables.runs.get(_key(run))
        for step, benchmark, measure in sorted(_results(run) & _results(other)) if other else []:
            raise ValueError(
                f"{str(table.path)!r} must have results that no other table has, got {measure} of {run.name} on "
                f"{benchmark} at step {step} again. Leave it out, or give its runs seeds or names of their own."
            )
    new = [run for run in table.runs if _key(run) not in tables.runs]
    for run in table.runs:
        if (other := tables.runs.setdefault(_key(run), run)) is not run:
            _add(other, run)
    tables.units = {measure: (unit, table.path) for measure, unit in table.assumed_units.items()} | tables.units
    return new


def _key(run: Run) -> tuple[str, int | None, str | None]:
    return run.group, run.seed, run.cluster


def _results(run: Run) -> set[tuple[int, str, str]]:
    return {
        (step, benchmark, measure)
        for step, scores in run.results.items()
        for benchmark, score in scores.items()
        for measure in score.measures
    }


def _add(run: Run, more: Run) -> None:
    """Add the results, times and notes that another table has of a run."""
    for step, scores in more.results.items():
        for benchmark, score in scores.items():
            joined = run.results.setdefault(step, {}).setdefault(benchmark, score)
            joined.means |= score.means
            joined.shares, joined.counts = joined.shares or score.shares, joined.counts or score.counts
    run.results = dict(sorted(run.results.items()))
    run.notes += more.notes
    clock = dict(run.clock)
    if any(clock.get(step, seconds) != seconds for step, seconds in more.clock):
        run.notes.append(f"{run.name}: two tables have different times of a step; the first counts.")
    run.clock = sorted({**dict(more.clock), **clock}.items())
