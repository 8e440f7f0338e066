"""Intervals of a mean over seeds and problems, and of the difference of two such means.

The result of problem p in seed s is y[s, p], the share of its completions that are correct. Seeds and problems are both
random samples, so the variance of a mean is the one between seeds plus the one between problems, minus their
interaction (two-way random-effects ANOVA). Benchmarks have equal weights and their variances add. For the difference of
two configurations the differences on each problem take the place of the shares.

A share near 0 or 1 has more room on one side, so every part of the error has a variance below and one above the value
(MOVER, Zou and Donner 2008): over the problems of a benchmark these follow from Wilson's score interval (1927), with
the number of trials that has the observed variance. A few problems may be alike by chance; the variance is therefore
estimated with half a problem added, whose completions are all correct or all wrong; in a difference it counts as far
as `_share_apart` says. bench/intervals.py and bench/comparison.py measure how often the intervals contain the truth.

Two configurations are paired where seed s of both shares its luck, such as the order of the data. Their difference is
then taken seed by seed, y1[s, p] - y2[s, p], and is one such table: its seed part is the variance of the differences
over S, with S - 1 degrees of freedom instead of about 2 (S - 1), and the interaction is that of the differences.

A number of which no range is known, such as a logged reward, has no room that ends: its intervals are symmetric.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy
from numpy.typing import NDArray

from manypaths.statistics.student import NORMAL, normal, student

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
    interaction: Array  # [S, P] of seeds and problems, scaled like `problems`
    shared: Array  # [B] variance of `interaction` in the mean over seeds
    constant: NDArray[numpy.bool_]  # [B] whether all problems of a benchmark have equal shares, in every seed
    binary: NDArray[numpy.bool_]  # [B] whether each problem has a single completion, correct or wrong
    noise: float = 0.0  # variance over problems of which only means and standard errors were recorded; NaN if unknown
    bounded: bool = True  # whether the values lie between 0 and 1


@dataclass(frozen=True)
class Part:
    """One part of an error: its variance below the value and above it, and the degrees of freedom of both."""

    below: float
    above: float
    freedom: float = math.inf


def estimate(
    cells: Any, blocks: Any = None, means_only: Any = None, standard_error: float = 0.0, *, bounded: bool = True
) -> Estimate:
    """The mean over benchmarks of shares by seed and problem.

    Args:
        cells: [S, P] shares from 0 to 1, or [P] of one seed.
        blocks: [P] the benchmark of each problem, as a number from 0; None for one benchmark.
        means_only: [B] whether a cell is the mean over all problems of a benchmark. Such a benchmark has one cell, and
            its intervals over several seeds are for these problems only.
        standard_error: The standard error over the problems of the `means_only` benchmarks, as part of the whole mean;
            NaN if unknown.
        bounded: False for numbers of which no range is known; all benchmarks must then be `means_only`, and intervals
            are not clipped.

    Raises:
        ValueError: `bounded` is False and a benchmark has a number for each problem.
    """
    cells = numpy.atleast_2d(numpy.asarray(cells, float))
    count, blocks = len(cells), numpy.zeros(cells.shape[1], int) if blocks is None else numpy.asarray(blocks, int)
    sizes = numpy.bincount(blocks)
    means_only = numpy.zeros(len(sizes), bool) if means_only is None else numpy.asarray(means_only, bool)
    if not (bounded or means_only.all()):
        raise ValueError("Numbers without a range must be means over problems. Pass means_only for every benchmark.")
    by_benchmark = numpy.stack([cells[:, blocks == block].mean(1) for block in range(len(sizes))], 1)
    value = float(by_benchmark.mean())
    inside = cells - by_benchmark[:, blocks]
    scale = 1 / (numpy.sqrt(sizes * numpy.maximum(sizes - 1, 1)) * len(sizes))  # a sum of squares becomes a variance
    interaction = (inside - inside.mean(0)) * scale[blocks]
    noise = 0.0 if count > 1 and math.isnan(standard_error) else standard_error**2
    if means_only.all() and numpy.ptp(by_benchmark.mean(1)) == noise == 0:
        noise = math.nan
    ranges = [float(numpy.ptp(inside[:, blocks == block])) for block in range(len(sizes))]
    is_binary = (cells == 0) | (cells == 1)
    zero_or_one = [bool(is_binary[:, blocks == block].all()) for block in range(len(sizes))]
    return Estimate(
        value=value,
        seeds=by_benchmark.mean(1) - value,
        problems=inside.mean(0) * scale[blocks],
        blocks=blocks,
        means=by_benchmark.mean(0),
        sizes=numpy.where(means_only, 0, sizes),
        interaction=interaction,
        shared=_in_the_mean(interaction, blocks),
        constant=numpy.array(ranges) < math.sqrt(ROUNDING),
        binary=numpy.array(zero_or_one) & (count == 1),
        noise=noise,
        bounded=bounded,
    )


def _in_the_mean(interaction: Array, blocks: NDArray[numpy.int64]) -> Array:
    """[B] variance that an interaction [S, P] adds to the mean over seeds and problems."""
    count = len(interaction)
    variance: Array = numpy.bincount(blocks, (interaction**2).sum(0)) / (count * max(count - 1, 1))
    return variance


def interval(
    first: Estimate, second: Estimate | None = None, *, level: float = 0.95, paired: bool = False
) -> tuple[float, float]:
    """The interval of an estimate, or of the first minus the second on the same problems.

    If either has one seed, the interval is for these seeds only. Its width is never 0; both ends are NaN where neither
    the variance between seeds nor that between problems is known.

    Args:
        first: A mean.
        second: The mean that is subtracted; None for the interval of `first` itself.
        level: The share of such intervals that contain the truth, above 0 and below 1.
        paired: Whether seed s of both is the same seed, so that the difference is taken seed by seed.

    Returns:
        The lower and the upper end, within 0 and 1 for a share and within -1 and 1 for a difference of shares.

    Raises:
        ValueError: `paired` with different numbers of seeds, or a level out of range.
    """
    value = first.value - (second.value if second else 0.0)
    down, up = (half_width(first, second, side, level=level, paired=paired) for side in ("below", "above"))
    if not down + up > negligible(first, second):
        return math.nan, math.nan
    if not _is_bounded(first, second):
        return value - down, value + up
    return max(value - down, -1.0 if second else 0.0), min(value + up, 1.0)


def _is_bounded(first: Estimate, second: Estimate | None) -> bool:
    return first.bounded and (second is None or second.bounded)


def negligible(first: Estimate, second: Estimate | None = None) -> float:
    """A standard deviation that is a rounding error."""
    scale = 1.0 if _is_bounded(first, second) else max(abs(first.value), abs(second.value) if second else 0.0)
    return math.sqrt(ROUNDING) * scale


def half_width(
    first: Estimate, second: Estimate | None, side: str, *, level: float = 0.95, paired: bool = False
) -> float:
    """The distance from the value to the end of its interval on a side, "below" or "above"."""
    seeds, problems = seed_parts(first, second, paired=paired), problem_parts(first, second, level=level, paired=paired)
    spreads = [variance_of(parts, side) for parts in groups_of(seeds, problems)]
    return math.sqrt(sum(student(freedom, level) ** 2 * variance for variance, freedom in spreads))


def groups_of(seeds: list[Part], problems: list[Part]) -> list[list[Part]]:
    """The parts that have a half-width of their own; the squares of the half-widths add (MOVER).

    The degrees of freedom after Satterthwaite are an estimate too, and too high where one part has the few degrees of
    freedom of seeds and the other the many of problems. Therefore seeds and problems have a half-width each. If both
    sides of a difference have several seeds that are not paired, their two parts make up for that error, and one number
    of degrees of freedom serves all parts.
    """
    return [seeds + problems] if len(seeds) > 1 else [seeds, problems]


def variance_of(parts: Sequence[Part], side: str) -> tuple[float, float]:
    """The sum of the variances on a side, "below" or "above", and its degrees of freedom after Satterthwaite."""
    variances = [getattr(part, side) for part in parts]
    squares = sum(variance**2 / part.freedom for variance, part in zip(variances, parts, strict=True))
    total = sum(variances)
    return total, total**2 / squares if squares else math.inf


def seed_parts(first: Estimate, second: Estimate | None = None, *, paired: bool = False) -> list[Part]:
    """The error from the choice of seeds: a part for each estimate that has several, or one for a paired difference.

    Raises:
        ValueError: `paired` with different numbers of seeds.
    """
    if second is None:
        deviations = [first.seeds]
    elif not paired:
        deviations = [first.seeds, second.seeds]
    elif len(first.seeds) == len(second.seeds):
        deviations = [first.seeds - second.seeds]
    else:
        raise ValueError(
            f"Paired estimates must have the same seeds, got {len(first.seeds)} and {len(second.seeds)} seeds. "
            "Keep the seeds that both have, or do not pair them."
        )
    parts = []
    for by_seed in deviations:
        if (count := len(by_seed)) > 1:
            between = float((by_seed**2).sum()) / (count * (count - 1))
            parts.append(Part(between, between, count - 1))
    return parts


def problem_parts(
    first: Estimate, second: Estimate | None = None, *, level: float = 0.95, paired: bool = False
) -> list[Part]:
    """The error from the choice of problems: one part for all recorded standard errors, and one for each benchmark."""
    noise = first.noise + (0.0 if second is None else second.noise)
    shared = shared_of(first, second, paired=paired)
    parts = []
    for benchmark in numpy.flatnonzero(first.sizes).tolist():
        if second is None:
            parts.append(_single(first, benchmark, level))
        else:
            parts.append(_difference(first, second, benchmark, float(shared[benchmark]), level))
    return [Part(noise, noise), *parts]


def shared_of(first: Estimate, second: Estimate | None = None, *, paired: bool = False) -> Array:
    """[B] variance of the interaction of seeds and problems in a mean, or in the difference of two."""
    if second is None:
        return first.shared
    return (
        _in_the_mean(first.interaction - second.interaction, first.blocks) if paired else first.shared + second.shared
    )


def _single(mean: Estimate, benchmark: int, level: float) -> Part:
    """The error of a mean over the problems of a benchmark."""
    size, share, count = int(mean.sizes[benchmark]), float(mean.means[benchmark]), len(mean.sizes)
    if mean.constant[benchmark] or mean.binary[benchmark]:
        return wilson_part(share, size, count, level=level)
    observed = _observed(mean, None, benchmark, float(mean.shared[benchmark])) + _unseen(mean, benchmark)
    trials, freedom = share * (1 - share) / (observed * count**2), size - 1
    return wilson_part(share, trials, count, freedom, level)


def wilson_part(share: float, trials: float, count: int = 1, freedom: float = math.inf, level: float = 0.95) -> Part:
    """The variances that give the ends of Wilson's interval, for one of `count` benchmarks."""
    t = student(freedom, level)
    low, high = wilson_interval(share, trials, t)
    return Part(((share - low) / (t * count)) ** 2, ((high - share) / (t * count)) ** 2, freedom)


def _difference(first: Estimate, second: Estimate, benchmark: int, shared: float, level: float) -> Part:
    """The error of a difference over the problems of a benchmark; two constant sides are independent (MOVER)."""
    if first.constant[benchmark] and second.constant[benchmark]:
        own, others = (_single(side, benchmark, level) for side in (first, second))
        return Part(own.below + others.above, own.above + others.below)
    if _is_constant(first, second, benchmark):
        return _rare(first, second, benchmark, level)
    observed = _observed(first, second, benchmark, shared)
    unseen = _unseen(first, benchmark) + _unseen(second, benchmark)
    variance = observed + _share_apart(first, second, benchmark) * unseen
    return Part(variance, variance, int(first.sizes[benchmark]) - 1)


def _is_constant(first: Estimate, second: Estimate, benchmark: int) -> bool:
    """Whether the difference is the same on every problem of a benchmark."""
    differences = (first.problems - second.problems)[first.blocks == benchmark]
    return float((differences**2).sum()) < ROUNDING


def _rare(first: Estimate, second: Estimate, benchmark: int, level: float) -> Part:
    """The error of a difference that was the same on all n problems.

    Another difference, between -1 and 1, was observed on 0 of n problems, so its rate is at most Wilson's upper end.
    """
    z = normal(level)
    rate = wilson_interval(0.0, int(first.sizes[benchmark]), z)[1] / (z * len(first.sizes))
    value = float(first.means[benchmark] - second.means[benchmark])
    return Part((rate * (1 + value)) ** 2, (rate * (1 - value)) ** 2)


def not_observed(mean: Estimate, other: Estimate | None = None) -> list[Part]:
    """The parts of the error of `mean`, compared with `other`, that neither seeds nor problems show by their spread."""
    parts = [Part(mean.noise, mean.noise)]
    for benchmark in numpy.flatnonzero(mean.sizes).tolist():
        if mean.constant[benchmark]:
            parts.append(_single(mean, benchmark, 0.95))
            continue
        unseen = _unseen(mean, benchmark) * (1.0 if other is None else _share_apart(mean, other, benchmark))
        parts.append(Part(unseen, unseen))
        if other is not None and _is_constant(mean, other, benchmark):
            rare = _rare(mean, other, benchmark, 0.95)
            parts.append(Part(rare.below / 2, rare.above / 2))  # the other half is a part of `other`
    return parts


def unseen_together(mean: Estimate, other: Estimate) -> float:
    """The variance that half a problem more adds to `mean` and, by the same draw, to `other`."""
    benchmarks = numpy.flatnonzero(mean.sizes * ~mean.constant).tolist()
    return sum(_unseen(mean, number) * (1 - _share_apart(mean, other, number)) for number in benchmarks)


def _share_apart(first: Estimate, second: Estimate, benchmark: int) -> float:
    """The share of the variance of half a problem more, on either side, that is in the difference of two means.

    Sides that are all correct or all wrong independently of one another differ more than sides do on the problems that
    were observed. Of two sides with several seeds the half problem therefore has the geometric mean of both variances.
    With one seed the difference may lie in a few rare problems that only the whole half problem accounts for.
    """
    sides = (first, second)
    if min(len(side.seeds) for side in sides) == 1 or any(side.constant[benchmark] for side in sides):
        return 1.0
    among = float(((first.problems - second.problems)[first.blocks == benchmark] ** 2).sum())
    scale = int(first.sizes[benchmark]) * len(first.sizes) ** 2
    greatest = sum(float(side.means[benchmark] * (1 - side.means[benchmark])) for side in sides) / scale
    return math.sqrt(min(1.0, among / greatest))


def _observed(first: Estimate, second: Estimate | None, benchmark: int, shared: float) -> float:
    """The variance between the problems of a benchmark without that of the seeds, of one mean or a difference of two.

    It is scaled for an estimate with `UNSEEN` problems more.
    """
    size = int(first.sizes[benchmark])
    problems = first.problems - (0.0 if second is None else second.problems)
    among = float((problems[first.blocks == benchmark] ** 2).sum())
    return max(0.0, among - shared) * (size - 1) / (size - 1 + UNSEEN)


def _unseen(mean: Estimate, benchmark: int) -> float:
    """The variance that `UNSEEN` problems more would add, whose completions are all correct or all wrong."""
    size, share, count = int(mean.sizes[benchmark]), float(mean.means[benchmark]), len(mean.sizes)
    return UNSEEN * share * (1 - share) / (size * (size - 1 + UNSEEN) * count**2)


def wilson_interval(share: float, trials: float, z: float = NORMAL) -> tuple[float, float]:
    """The score interval (Wilson, 1927) of a share observed in `trials`; within [0, 1], never of width 0.

    Args:
        share: From 0 to 1.
        trials: Their number, or the number that has the observed variance.
        z: The percentile of the level, 1.96 for 95 %.
    """
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
