"""Accuracies, peaks and races: equations as loops, closed forms, made-up worlds whose truth is known."""

import math
from statistics import fmean

import numpy
import pytest

from manypaths.compare import configurations
from manypaths.curves import (
    arrival,
    at,
    estimate,
    interval,
    level_of,
    noise_free,
    peak,
    race,
    rise_of,
    rising,
    student,
    variance_of,
)
from manypaths.runs import Run, Score

T_TABLE = {  # of Student's t, two-sided, 95 %
    1: 12.706205,
    2: 4.302653,
    3: 3.182446,
    4: 2.776445,
    10: 2.228139,
    30: 2.042272,
    120: 1.979930,
}
SIZES = [(1, 7), (2, 2), (3, 5), (5, 40)]


def plain(cells):
    """The weights and blocks of a table of one benchmark."""
    return numpy.full(cells.shape[1], 1 / cells.shape[1]), numpy.zeros(cells.shape[1])


def several(*tables):
    """Tables [S, P] of benchmarks as one: cells, weights, blocks."""
    sizes = [table.shape[1] for table in tables]
    weights = numpy.concatenate([numpy.full(size, 1 / size / len(sizes)) for size in sizes])
    return numpy.concatenate(tables, 1), weights, numpy.repeat(numpy.arange(len(sizes)), sizes).astype(float)


def mean_squares(cells):
    """Of seeds, of problems, and what is left, as in any textbook on two-way tables."""
    seeds, problems = len(cells), len(cells[0])
    whole = fmean(value for row in cells for value in row)
    rows, columns = [fmean(row) for row in cells], [fmean(column) for column in zip(*cells, strict=True)]
    left = sum(
        (cells[s][p] - rows[s] - columns[p] + whole) ** 2 for s in range(seeds) for p in range(problems)
    )
    return (
        problems * sum((row - whole) ** 2 for row in rows) / max(seeds - 1, 1),
        seeds * sum((column - whole) ** 2 for column in columns) / (problems - 1),
        left / max((seeds - 1) * (problems - 1), 1),
    )


def made_up(curves, *, name="run", benchmark="made-up", clock=None, steps=None):
    """Runs of one configuration: curves [S, T, P] or [S, T] (then only means are known)."""
    curves = numpy.asarray(curves, dtype=float)
    steps = list(range(0, 10 * curves.shape[1], 10)) if steps is None else steps
    runs = []
    for seed, rows in enumerate(curves):
        results = {
            step: {benchmark: Score(float(numpy.mean(row)), dict(enumerate(map(float, row))) if row.ndim else None)}
            for step, row in zip(steps, rows, strict=True)
        }
        for scores in results.values():
            for score in scores.values():
                score.shares = score.shares and {str(key): value for key, value in score.shares.items()}
        runs.append(Run(f"{name}-{seed}", name, seed, clock=clock or [], results=results))
    return runs


def only(runs):
    (found,), notes = configurations(runs)
    return found
