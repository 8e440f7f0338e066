"""The runs of several tables, of which each may hold a part of the results of a run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from manypaths.comparison.runs import Run

RunsOfTables = dict[tuple[str, int | None, str | None], Run]


def join(of_tables: RunsOfTables, path: Path, runs: Sequence[Run]) -> list[Run]:
    """Add the results of a table to the runs of the tables before it.

    Args:
        of_tables: The runs of these tables by group, seed and cluster. Runs that they have get the results and times of
            the new table; its other runs are added.
        path: The new table.
        runs: Its runs.

    Returns:
        The runs that no table had before.

    Raises:
        ValueError: A result stands in two tables, so that it would count twice; nothing is added.
    """
    for run in runs:
        other = of_tables.get((run.group, run.seed, run.cluster))
        for step, benchmark, measure in sorted(_results(run) & _results(other)) if other else []:
            raise ValueError(
                f"{str(path)!r} must have results that no other table has, got {measure} of {run.name} on {benchmark} "
                f"at step {step} again. Leave it out, or give its runs seeds or names of their own."
            )
    new = []
    for run in runs:
        other = of_tables.setdefault((run.group, run.seed, run.cluster), run)
        if other is run:
            new.append(run)
        else:
            _add(other, run)
    return new


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
