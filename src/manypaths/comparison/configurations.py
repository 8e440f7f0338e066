"""Runs as configurations: runs that differ by their seed alone, as arrays of one measure.

Runs of one seed are averaged first, as they are not independent; where runs name the start that several seeds share
(`Run.cluster`), those of one start are. The *units* of a configuration are its seeds, or else its starts.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy
from numpy.typing import NDArray

from manypaths.comparison.runs import Run, Score
from manypaths.counts import ACCURACY, Measure, measure
from manypaths.statistics import Array, Estimate, average_clusters, estimate


@dataclass
class Group:
    """Runs that differ by their seed alone."""

    name: str
    runs: list[Run]
    steps: list[int]  # at which all of them were evaluated


@dataclass
class Grouped:
    """Runs in groups, and what was left out."""

    groups: list[Group]
    benchmarks: list[str]  # that are compared
    notes: list[str]  # sentences about what counts
    left_out: list[str]  # a sentence for each run that is in no group


@dataclass
class Configuration:
    """The values of a measure in a group, as arrays: S units, T steps, P problems, B benchmarks.

    Values are divided by the largest value of the measure, so that they are from 0 to 1; those of a plain number are
    as they were logged.
    """

    name: str
    measure: Measure
    benchmarks: list[str]
    runs: list[Run]
    units: list[str | None]  # [S] names of the seeds, or of the starts; None for a run of unknown seed
    steps: Array  # [T] at which all of them were evaluated
    seconds: Array  # [S, T] of training until then; NaN where they were not measured
    values: Array  # [S, T, P] of the problems of all benchmarks, one after another
    blocks: NDArray[numpy.int64]  # [P] the benchmark of each problem, as a number
    means_only: NDArray[numpy.bool_]  # [B] whether of a benchmark only the mean over its problems was recorded
    first_half: NDArray[numpy.bool_]  # [P]
    errors: Array  # [T, B] standard error over problems of the means of those benchmarks; NaN if unknown; else 0

    @property
    def scale(self) -> float:
        """The largest value of the measure, 1 for a plain number: values times this are in the measure's own unit."""
        return self.measure.top or 1.0

    @property
    def unit(self) -> str:
        """What a unit is, "seed" or "start"."""
        return "seed" if self.runs[0].cluster is None else "start"

    @property
    def is_held_out(self) -> bool:
        """Whether a peak can be chosen and read on different problems."""
        return bool(self.first_half.any() and not self.first_half.all())

    @property
    def noise(self) -> Array:
        """[T] standard error over problems of the mean over benchmarks, of those of which only means were recorded."""
        noise: Array = numpy.sqrt((self.errors**2).sum(1)) / self.errors.shape[1]
        return noise

    @property
    def weights(self) -> Array:
        """[P] weights of the problems with which every benchmark counts the same; they add up to 1."""
        sizes = numpy.bincount(self.blocks)
        weights: Array = 1.0 / (sizes[self.blocks] * len(sizes))
        return weights

    @property
    def means(self) -> Array:
        """[T] the mean over units, and over benchmarks."""
        means: Array = self.values.mean(0) @ self.weights
        return means

    @cached_property
    def estimates(self) -> list[Estimate]:
        """The mean over benchmarks at each of the T steps, with what its interval needs."""
        steps = zip(numpy.moveaxis(self.values, 1, 0), self.noise.tolist(), strict=True)
        is_bounded = self.measure.top is not None
        return [estimate(cells, self.blocks, self.means_only, noise, bounded=is_bounded) for cells, noise in steps]

    @cached_property
    def curve(self) -> dict[float, Estimate]:
        """`estimates` by step."""
        return dict(zip(self.steps.tolist(), self.estimates, strict=True))


def grouped(runs: Sequence[Run], name: str = ACCURACY) -> Grouped:
    """Group the runs in which a measure was recorded.

    Args:
        name: The name of the measure.

    Returns:
        The groups, at the steps that all of their runs have.

    Raises:
        ValueError: The runs have no benchmark in common, none has the measure, or some of a group have a cluster.
    """
    notes = [note for run in runs for note in run.notes]
    left_out = [f"{run.name} has no results." for run in runs if not run.results]
    evaluated = [run for run in runs if any(_has(score, name) for score in _scores(run))]
    _check_measure(runs, evaluated, name)
    left_out += [f"{run.name} has no {measure(name).title}." for run in runs if run.results and run not in evaluated]
    benchmarks, more = benchmarks_of(evaluated, name)
    notes += more
    steps_of = {
        id(run): [
            step
            for step, scores in run.results.items()
            if all(benchmark in scores and _has(scores[benchmark], name) for benchmark in benchmarks)
        ]
        for run in evaluated
    }
    left_out += [
        f"{run.name} has no step at which all of {', '.join(benchmarks)} were evaluated."
        for run in evaluated
        if not steps_of[id(run)]
    ]
    groups = []
    for group, members in _by_configuration([run for run in evaluated if steps_of[id(run)]]).items():
        members = _at_the_end(group, members, steps_of, left_out)
        last = min(max(steps_of[id(run)]) for run in members)
        steps = sorted(set.intersection(*(set(steps_of[id(run)]) for run in members)))
        if not steps:
            left_out.append(f"{group}: its seeds were evaluated at different steps, none in common.")
            continue
        if longer := [run.name for run in members if max(steps_of[id(run)]) > last]:
            notes.append(
                f"{group}: step {last} is its end, which most seeds reach. Later steps of {', '.join(longer)} do not "
                "count."
            )
        if any(sum(step <= last for step in steps_of[id(run)]) > len(steps) for run in members):
            notes.append(f"{group}: only the {len(steps)} steps at which all of its seeds were evaluated count.")
        members = sorted(members, key=lambda run: (str(run.cluster), str(run.seed), run.name))
        groups.append(Group(group, members, steps))
    return Grouped(groups, benchmarks, notes, left_out)


def _at_the_end(group: str, members: list[Run], steps_of: dict[int, list[int]], left_out: list[str]) -> list[Run]:
    """The runs that reached the end of their group; a sentence for each of the others, which are left out.

    The end is the last step that half of the runs reached, where unfinished runs beside finished ones do not count. So
    a seed that still runs, or died, does not cut the others short, and neither does a seed that was trained longer.
    """
    ends = {id(run): max(steps_of[id(run)]) for run in members}
    is_any_finished = any(run.finished for run in members)
    counted = [run for run in members if run.finished or not (is_any_finished and run.finished is False)]
    last = sorted(ends[id(run)] for run in counted)[len(counted) // 2]
    kept = [run for run in counted if ends[id(run)] >= last]
    for run in members:
        if run not in kept:
            left_out.append(
                f"{run.name} ends at step {ends[id(run)]} and other seeds of {group} at step {last}, so it is left "
                "out. If it failed, the results of the others may be better than those of the configuration."
            )
    return kept


def _scores(run: Run) -> list[Score]:
    return [score for scores in run.results.values() for score in scores.values()]


def _has(score: Score, name: str) -> bool:
    return score.mean(name) is not None


def _check_measure(runs: Sequence[Run], evaluated: Sequence[Run], name: str) -> None:
    """Raises ValueError if there are results, but none of a measure."""
    names = sorted({other for run in runs for score in _scores(run) for other in score.measures})
    if names and not evaluated:
        raise ValueError(
            f"The metric must be one that was recorded, {', '.join(names)}, got {name!r}. Name one, such as "
            f"--metric {names[0]}; if it is an accuracy, also its --unit."
        )


def measures_in_common(
    groups: Sequence[Group], benchmarks: Sequence[str], wanted: Sequence[str]
) -> tuple[list[str], list[str]]:
    """The measures that all evaluations of some groups have.

    Args:
        wanted: Measures that are named, such as pass@3, even if `Score.measures` does not list them.

    Returns:
        The measures, those of `wanted` before the others; and sentences on those that only some evaluations have.
    """
    scores = [
        run.results[step][name] for group in groups for run in group.runs for step in group.steps for name in benchmarks
    ]
    counts = Counter(name for score in scores for name in score.measures)
    names = list(dict.fromkeys([*wanted, *counts]))
    common = [name for name in names if counts[name] == len(scores) or all(_has(score, name) for score in scores)]
    rest = ", ".join(name for name in names if name not in common)
    return common, [f"Not all evaluations have {rest}; only the measures that all have are compared."] * bool(rest)


def configured(
    groups: Sequence[Group], benchmarks: Sequence[str], name: str = ACCURACY
) -> tuple[list[Configuration], list[str]]:
    """The values of a measure in some groups -> a configuration for each, and sentences on what was left out.

    Raises:
        ValueError: The runs have no problem in common.
    """
    notes: list[str] = []
    problems = {benchmark: _problems(groups, benchmark, name, notes) for benchmark in benchmarks}
    return [_configuration(group, problems, name) for group in groups], notes


def benchmarks_of(runs: Sequence[Run], name: str = ACCURACY) -> tuple[list[str], list[str]]:
    """(the benchmarks in which a measure was recorded most often of those that all runs have, notes on the others).

    Raises:
        ValueError: There is no benchmark that all runs have.
    """
    by_run = [
        Counter(benchmark for scores in run.results.values() for benchmark in scores if _has(scores[benchmark], name))
        for run in runs
    ]
    common = sorted(set.intersection(*map(set, by_run))) if by_run else []
    if by_run and not common:
        listed = "; ".join(f"{run.name}: {', '.join(sorted(names))}" for run, names in zip(runs, by_run, strict=True))
        raise ValueError(f"The runs have no benchmark in common ({listed}). Evaluate them on the same problems.")
    count = sum(by_run, Counter[str]())
    most = [benchmark for benchmark in common if count[benchmark] == max(count[other] for other in common)]
    ignored = sorted(count.keys() - set(most))
    return most, [
        f"{benchmark} was not evaluated as often, or not for all runs; it is left out." for benchmark in ignored
    ]


def _problems(groups: Sequence[Group], benchmark: str, name: str, notes: list[str]) -> list[str] | None:
    """The problems of a benchmark in all evaluations; None if an evaluation has only the mean of the measure."""
    scores = [run.results[step][benchmark] for group in groups for run in group.runs for step in group.steps]
    by_score = [set(values) for score in scores if (values := score.by_problem(name)) is not None]
    if len(by_score) < len(scores):
        notes.append(
            f"{benchmark}: only means were recorded, so results on the same problem cannot be compared. Without a "
            "standard error the intervals are over seeds only, on these problems."
        )
        return None
    common = set.intersection(*by_score)
    if not common:
        raise ValueError(f"The runs have no problem of {benchmark} in common. Evaluate them on the same problems.")
    if any(len(problems) > len(common) for problems in by_score):
        notes.append(f"{benchmark}: the runs were evaluated on different problems; the {len(common)} in common count.")
    return sorted(common)


def _by_configuration(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Runs by configuration. Its name is the common start of the names of its runs, without their seeds."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.group, []).append(run)
    named: dict[str, list[Run]] = {}
    for members in groups.values():
        stems = [
            re.sub(rf"([-_ /]|[-_. /]?seed[-_ ]?){re.escape(str(run.seed))}$", "", run.name) or run.name
            for run in members
        ]
        same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*stems, strict=False))
        name = "".join(letters[0] for letters in same).rstrip("-_. /") or stems[0]
        numbered = (f"{name} ({number})" for number in itertools.count(2))
        free = (other for other in itertools.chain([name], numbered) if other not in named)
        named[next(free)] = members
    return named


def _configuration(group: Group, problems: dict[str, list[str] | None], name: str) -> Configuration:
    runs, steps, scale = group.runs, group.steps, measure(name).top or 1.0
    variance = numpy.zeros((len(steps), len(problems)))
    values: list[list[list[float]]] = [[[] for _ in steps] for _ in runs]
    for (seed, run), (index, step) in itertools.product(enumerate(runs), enumerate(steps)):
        for number, (benchmark, ids) in enumerate(problems.items()):
            score = run.results[step][benchmark]
            by_problem = score.by_problem(name) or {}
            values[seed][index] += [by_problem[id] for id in ids] if ids is not None else [score.mean(name) or 0.0]
            if ids is None:  # a standard error of 0 was not computed
                error = (score.errors.get(name) or math.nan) / scale
                variance[index, number] += error**2 / len(runs)
    sizes = [1 if ids is None else len(ids) for ids in problems.values()]
    table, units = _by_unit(group, numpy.array(values) / scale)
    seconds, _ = _by_unit(group, numpy.array([[run.seconds_at(step) for step in steps] for run in runs]))
    return Configuration(
        name=group.name,
        measure=measure(name),
        benchmarks=list(problems),
        runs=runs,
        units=units,
        steps=numpy.array(steps, dtype=float),
        seconds=seconds,
        values=table,
        blocks=numpy.repeat(numpy.arange(len(sizes)), sizes),
        means_only=numpy.array([ids is None for ids in problems.values()]),
        first_half=numpy.concatenate([_first_half(benchmark, ids) for benchmark, ids in problems.items()]),
        errors=numpy.sqrt(variance),
    )


def _by_unit(group: Group, rows: Array) -> tuple[Array, list[str | None]]:
    """Rows of runs -> rows of units, means over the runs of a seed or start, and the names of the units."""
    clusters = [run.cluster for run in group.runs]
    if None not in clusters:
        return average_clusters(rows, clusters)
    if any(cluster is not None for cluster in clusters):
        raise ValueError(
            f"Every run of {group.name} must have a cluster, or none, got {len(clusters) - clusters.count(None)} of "
            f"{len(clusters)}. Name the start of each."
        )
    return average_clusters(rows, [None if run.seed is None else str(run.seed) for run in group.runs])


def _first_half(benchmark: str, ids: list[str] | None) -> NDArray[numpy.bool_]:
    """Which of the problems of a benchmark are in the first of two halves, by a hash of their names."""
    if ids is None:
        return numpy.array([True])
    order = sorted(ids, key=lambda id: hashlib.sha256(f"{benchmark} {id}".encode()).digest())
    first = set(order[::2])
    return numpy.array([id in first for id in ids])
