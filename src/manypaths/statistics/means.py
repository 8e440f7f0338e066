"""95 % intervals of a mean over seeds and problems, and of the difference of two such means.

The result of problem p in seed s is y[s, p], the share of its completions that are correct. Seeds and problems are both
random samples, so the variance of a mean is the one between seeds plus the one between problems, minus their
interaction (two-way random-effects ANOVA). Benchmarks have equal weights and their variances add. For the difference of
two configurations the differences on each problem take the place of the shares.

A share near 0 or 1 has more room on one side, so every part of the error has a variance below and one above the value
(MOVER, Zou and Donner 2008): over the problems of a benchmark these follow from Wilson's score interval (1927), with
the number of trials that has the observed variance. A few problems may be alike by chance; the variance is therefore
estimated with half a problem added, whose completions are all correct or all wrong. bench/intervals.py and
bench/comparison.py measure how often the intervals contain the truth.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from manypaths.statistics.student import NORMAL, student

Array = NDArray[numpy.float64]
UNSEEN = 0.5  # problems that are added to the estimate of a variance
ROUNDING = 1e-20  # a smaller variance is a rounding error


@dataclass
class Estimate:
    """A mean over B benchmarks, S seeds and P problems, in the parts that its interval needs."""

    value: float
    seeds: Array  # [S] the mean of each seed minus `value`
    problems: Array  # [P] deviation of each problem from its benchmark, scaled so that the squares add to a variance
    blocks: NDArray[numpy.int64]  # [P] the benchmark of each problem
    means: Array  # [B] of the benchmarks
    sizes: NDArray[numpy.int64]  # [B] number of problems; 0 where only the mean over problems was recorded
    shared: Array  # [B] variance of the interaction of seeds and problems
    constant: NDArray[numpy.bool_]  # [B] whether all problems of a benchmark have equal shares, in every seed
    binary: NDArray[numpy.bool_]  # [B] whether each problem has a single completion, correct or wrong
    noise: float = 0.0  # variance over problems of which only means and standard errors were recorded; NaN if unknown


@dataclass(frozen=True)
class Part:
    """One part of an error: its variance below the value and above it, and the degrees of freedom of both."""

    below: float
    above: float
    freedom: float = math.inf


def estimate(cells: Any, blocks: Any = None, means_only: Any = None, standard_error: float = 0.0) -> Estimate:
    """The mean over benchmarks of shares by seed and problem.

    Args:
        cells: [S, P] shares from 0 to 1, or [P] of one seed.
        blocks: [P] the benchmark of each problem, as a number from 0; None for one benchmark.
        means_only: [B] whether a cell is the mean over all problems of a benchmark. Such a benchmark has one cell, and
            its intervals over several seeds are for these problems only.
        standard_error: The standard error over the problems of the `means_only` benchmarks, as part of the whole mean;
            NaN if unknown.
    """
    cells = numpy.atleast_2d(numpy.asarray(cells, float))
    count, blocks = len(cells), numpy.zeros(cells.shape[1], int) if blocks is None else numpy.asarray(blocks, int)
    sizes = numpy.bincount(blocks)
    means_only = numpy.zeros(len(sizes), bool) if means_only is None else numpy.asarray(means_only, bool)
    by_benchmark = numpy.stack([cells[:, blocks == block].mean(1) for block in range(len(sizes))], 1)
    value = float(by_benchmark.mean())
    inside = cells - by_benchmark[:, blocks]
    scale = 1 / (numpy.sqrt(sizes * numpy.maximum(sizes - 1, 1)) * len(sizes))  # a sum of squares becomes a variance
    problems = inside.mean(0) * scale[blocks]
    interaction = ((inside - inside.mean(0)) * scale[blocks]) ** 2
    noise = 0.0 if count > 1 and math.isnan(standard_error) else standard_error**2
    if means_only.all() and numpy.ptp(by_benchmark.mean(1)) == noise == 0:
        noise = math.nan
    ranges = [float(numpy.ptp(inside[:, blocks == block])) for block in range(len(sizes))]
    is_binary = (cells == 0) | (cells == 1)
    zero_or_one = [bool(is_binary[:, blocks == block].all()) for block in range(len(sizes))]
    return Estimate(
        value=value,
        seeds=by_benchmark.mean(1) - value,
        problems=problems,
        blocks=blocks,
        means=by_benchmark.mean(0),
        sizes=numpy.where(means_only, 0, sizes),
        shared=numpy.bincount(blocks, interaction.sum(0)) / (count * max(count - 1, 1)),
        constant=numpy.array(ranges) < math.sqrt(ROUNDING),
        binary=numpy.array(zero_or_one) & (count == 1),
        noise=noise,
    )


def interval(first: Estimate, second: Estimate | None = None) -> tuple[float, float]:
    """The 95 % interval of an estimate, or of the first minus the second on the same problems.

    If either has one seed, the interval is for these seeds only. Its width is never 0; both ends are NaN where neither
    the variance between seeds nor that between problems is known.
    """
    value = first.value - (second.value if second else 0.0)
    down, up = (half_width(first, second, side) for side in ("below", "above"))
    if not down + up > 0:
        return math.nan, math.nan
    return max(value - down, -1.0 if second else 0.0), min(value + up, 1.0)


def half_width(first: Estimate, second: Estimate | None, side: str) -> float:
    """The distance from the value to the end of its interval on a side, "below" or "above".

    The degrees of freedom after Satterthwaite are an estimate too, and too high where one part has the few degrees of
    freedom of seeds and the other the many of problems. Therefore seeds and problems have a half-width each, and their
    squares add (MOVER). If both sides of a difference have several seeds, their two parts make up for that error, and
    one number of degrees of freedom serves all parts.
    """
    seeds, problems = seed_parts(first, second), problem_parts(first, second)
    groups = [seeds + problems] if len(seeds) > 1 else [seeds, problems]
    spreads = [variance_of(parts, side) for parts in groups]
    return math.sqrt(sum(student(freedom) ** 2 * variance for variance, freedom in spreads))


def variance_of(parts: Sequence[Part], side: str) -> tuple[float, float]:
    """The sum of the variances on a side, "below" or "above", and its degrees of freedom after Satterthwaite."""
    variances = [getattr(part, side) for part in parts]
    squares = sum(variance**2 / part.freedom for variance, part in zip(variances, parts, strict=True))
    total = sum(variances)
    return total, total**2 / squares if squares else math.inf


def seed_parts(first: Estimate, second: Estimate | None = None) -> list[Part]:
    """The error from the choice of seeds: a part for each estimate that has several."""
    parts = []
    for side in (first, second):
        if side is not None and (count := len(side.seeds)) > 1:
            between = float((side.seeds**2).sum()) / (count * (count - 1))
            parts.append(Part(between, between, count - 1))
    return parts


def problem_parts(first: Estimate, second: Estimate | None = None) -> list[Part]:
    """The error from the choice of problems: one part for all recorded standard errors, and one for each benchmark."""
    noise = first.noise + (0.0 if second is None else second.noise)
    benchmarks = numpy.flatnonzero(first.sizes).tolist()
    parts = [_single(first, b) if second is None else _difference(first, second, b) for b in benchmarks]
    return [Part(noise, noise), *parts]


def _single(mean: Estimate, benchmark: int) -> Part:
    """The error of a mean over the problems of a benchmark."""
    size, share, count = int(mean.sizes[benchmark]), float(mean.means[benchmark]), len(mean.sizes)
    if mean.constant[benchmark] or mean.binary[benchmark]:
        return wilson_part(share, size, count)
    observed = _observed([mean], benchmark) + _unseen(mean, benchmark)
    trials, freedom = share * (1 - share) / (observed * count**2), size - 1
    return wilson_part(share, trials, count, freedom)


def wilson_part(share: float, trials: float, count: int = 1, freedom: float = math.inf) -> Part:
    """The variances that give the ends of Wilson's interval, for one of `count` benchmarks."""
    t = student(freedom)
    low, high = wilson_interval(share, trials, t)
    return Part(((share - low) / (t * count)) ** 2, ((high - share) / (t * count)) ** 2, freedom)


def _difference(first: Estimate, second: Estimate, benchmark: int) -> Part:
    """The error of a difference over the problems of a benchmark; two constant sides are independent (MOVER)."""
    if first.constant[benchmark] and second.constant[benchmark]:
        own, others = _single(first, benchmark), _single(second, benchmark)
        return Part(own.below + others.above, own.above + others.below)
    if _is_constant(first, second, benchmark):
        return _rare(first, second, benchmark)
    variance = _observed([first, second], benchmark) + _unseen(first, benchmark) + _unseen(second, benchmark)
    return Part(variance, variance, int(first.sizes[benchmark]) - 1)


def _is_constant(first: Estimate, second: Estimate, benchmark: int) -> bool:
    """Whether the difference is the same on every problem of a benchmark."""
    differences = (first.problems - second.problems)[first.blocks == benchmark]
    return float((differences**2).sum()) < ROUNDING


def _rare(first: Estimate, second: Estimate, benchmark: int) -> Part:
    """The error of a difference that was the same on all n problems.

    Another difference, between -1 and 1, was observed on 0 of n problems, so its rate is at most Wilson's upper end.
    """
    rate = wilson_interval(0.0, int(first.sizes[benchmark]))[1] / (NORMAL * len(first.sizes))
    value = float(first.means[benchmark] - second.means[benchmark])
    return Part((rate * (1 + value)) ** 2, (rate * (1 - value)) ** 2)


def not_observed(mean: Estimate, other: Estimate | None = None) -> list[Part]:
    """The parts of the error of `mean`, compared with `other`, that neither seeds nor problems show by their spread."""
    parts = [Part(mean.noise, mean.noise)]
    for benchmark in numpy.flatnonzero(mean.sizes).tolist():
        if mean.constant[benchmark]:
            parts.append(_single(mean, benchmark))
            continue
        unseen = _unseen(mean, benchmark)
        parts.append(Part(unseen, unseen))
        if other is not None and _is_constant(mean, other, benchmark):
            rare = _rare(mean, other, benchmark)
            parts.append(Part(rare.below / 2, rare.above / 2))  # the other half is a part of `other`
    return parts


def _observed(means: Sequence[Estimate], benchmark: int) -> float:
    """The variance between the problems of a benchmark without that of the seeds, of one mean or a difference of two.

    It is scaled for an estimate with `UNSEEN` problems more.
    """
    size = int(means[0].sizes[benchmark])
    problems = means[0].problems - (means[1].problems if len(means) > 1 else 0.0)
    among = float((problems[means[0].blocks == benchmark] ** 2).sum())
    shared = sum(float(mean.shared[benchmark]) for mean in means if len(mean.seeds) > 1)
    return max(0.0, among - shared) * (size - 1) / (size - 1 + UNSEEN)


def _unseen(mean: Estimate, benchmark: int) -> float:
    """The variance that `UNSEEN` problems more would add, whose completions are all correct or all wrong."""
    size, share, count = int(mean.sizes[benchmark]), float(mean.means[benchmark]), len(mean.sizes)
    return UNSEEN * share * (1 - share) / (size * (size - 1 + UNSEEN) * count**2)


def wilson_interval(share: float, trials: float, z: float = NORMAL) -> tuple[float, float]:
    """The 95 % score interval (Wilson, 1927) of a share observed in `trials`; within [0, 1], never of width 0."""
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
