"""Every interval that is printed, at 95 %: of a mean over seeds and problems, and of the difference of two means.

The answers to problem p in seed s are y[s, p], the share of samples that are correct. Seeds and problems are both drawn
from more of their kind, so the variance of a mean is the one between seeds plus the one between problems, minus their
interaction (two-way random-effects ANOVA). Benchmarks count the same and their variances add. Between two
configurations only the difference on each problem counts.

A share near 0 or 1 has more room on one side, so every part of the error has a variance below and one above the value
(MOVER, Zou and Donner 2008): over the problems of a benchmark they are those of Wilson's score interval (1927), with as
many trials as would have the variance that was observed. Few problems may happen to be alike; the variance is therefore
estimated as if half a problem more had been seen, whose answers are all right or all wrong. bench/intervals.py and
bench/comparison.py measure how often the intervals hold the truth.
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
SAME = 1e-20  # a variance below it is rounding


@dataclass
class Estimate:
    """A mean over B benchmarks, S seeds and P problems, in the parts that its interval needs."""

    value: float
    seeds: Array  # [S] distance of each seed's mean from it
    problems: Array  # [P] what each problem adds to its distance from the truth
    blocks: NDArray[numpy.int64]  # [P] the benchmark of each problem
    means: Array  # [B] of each benchmark
    sizes: NDArray[numpy.int64]  # [B] problems that are known one by one; 0 where only a mean is known
    shared: Array  # [B] variance that seeds and problems both hold
    constant: NDArray[numpy.bool_]  # [B] whether no two problems of a benchmark differ, in any seed
    binary: NDArray[numpy.bool_]  # [B] whether each problem is one answer, right or wrong
    noise: float = 0.0  # variance over problems of which only means and standard errors are known; NaN if unknown


@dataclass(frozen=True)
class Part:
    """One part of an error: its variance below the value and above it, and the degrees of freedom of both."""

    below: float
    above: float
    freedom: float = math.inf


def estimate(cells: Any, blocks: Any = None, means_only: Any = None, standard_error: float = 0.0) -> Estimate:
    """The mean over benchmarks of cells [S, P], shares from 0 to 1, with `blocks` [P] the benchmark of each (all one).

    Of the benchmarks for which `means_only` [B] is true a cell is a mean over problems; `standard_error`, NaN where it
    is unknown, is what they bring to the whole. Several seeds then stand for themselves, on these problems.
    """
    cells = numpy.atleast_2d(numpy.asarray(cells, float))
    count, blocks = len(cells), numpy.zeros(cells.shape[1], int) if blocks is None else numpy.asarray(blocks, int)
    sizes = numpy.bincount(blocks)
    means_only = numpy.zeros(len(sizes), bool) if means_only is None else numpy.asarray(means_only, bool)
    by_benchmark = numpy.stack([cells[:, blocks == block].mean(1) for block in range(len(sizes))], 1)
    value = float(by_benchmark.mean())
    inside = cells - by_benchmark[:, blocks]
    widen = 1 / (numpy.sqrt(sizes * numpy.maximum(sizes - 1, 1)) * len(sizes))  # a sum of squares becomes a variance
    problems = inside.mean(0) * widen[blocks]
    both = ((inside - inside.mean(0)) * widen[blocks]) ** 2
    noise = 0.0 if count > 1 and math.isnan(standard_error) else standard_error**2
    if means_only.all() and numpy.ptp(by_benchmark.mean(1)) == noise == 0:
        noise = math.nan
    ranges = [float(numpy.ptp(inside[:, blocks == block])) for block in range(len(sizes))]
    zero_or_one = [bool(numpy.isin(cells[:, blocks == block], (0.0, 1.0)).all()) for block in range(len(sizes))]
    return Estimate(
        value=value,
        seeds=by_benchmark.mean(1) - value,
        problems=problems,
        blocks=blocks,
        means=by_benchmark.mean(0),
        sizes=numpy.where(means_only, 0, sizes),
        shared=numpy.bincount(blocks, both.sum(0)) / (count * max(count - 1, 1)),
        constant=numpy.array(ranges) < math.sqrt(SAME),
        binary=numpy.array(zero_or_one) & (count == 1),
        noise=noise,
    )


def interval(one: Estimate, other: Estimate | None = None) -> tuple[float, float]:
    """95 % interval of an estimate, or of the first minus the second on the same problems.

    With one seed on a side it says nothing of other seeds. It is never of width 0; NaN where neither seeds nor problems
    are known.
    """
    value = one.value - (other.value if other else 0.0)
    down, up = (half_width(one, other, side) for side in ("below", "above"))
    if not down + up > 0:
        return math.nan, math.nan
    return max(value - down, -1.0 if other else 0.0), min(value + up, 1.0)


def half_width(one: Estimate, other: Estimate | None, side: str) -> float:
    """From the value to the end of its interval on a side, "below" or "above".

    Satterthwaite's freedom is itself an estimate, and too high where one part has the few degrees of freedom of seeds
    and the other the many of problems. So the two have a distance of their own, and the squares of those add (MOVER).
    Where both sides of a difference have several seeds, their parts make up for that, and one freedom serves all.
    """
    seeds, problems = seed_parts(one, other), problem_parts(one, other)
    groups = [seeds + problems] if len(seeds) > 1 else [seeds, problems]
    spreads = [variance_of(parts, side) for parts in groups]
    return math.sqrt(sum(student(freedom) ** 2 * variance for variance, freedom in spreads))


def variance_of(parts: Sequence[Part], side: str) -> tuple[float, float]:
    """The sum of the parts on a side, and its degrees of freedom after Satterthwaite."""
    variances = [getattr(part, side) for part in parts]
    below = sum(variance**2 / part.freedom for variance, part in zip(variances, parts, strict=True))
    total = sum(variances)
    return total, total**2 / below if below else math.inf


def seed_parts(one: Estimate, other: Estimate | None = None) -> list[Part]:
    """What seeds add to the error of an estimate, or of the difference of two: a part for each that has several."""
    parts = []
    for side in (one, other):
        if side is not None and (count := len(side.seeds)) > 1:
            between = float((side.seeds**2).sum()) / (count * (count - 1))
            parts.append(Part(between, between, count - 1))
    return parts


def problem_parts(one: Estimate, other: Estimate | None = None) -> list[Part]:
    """What the choice of problems adds: a part for each benchmark, and the standard errors that came with means."""
    noise = one.noise + (0.0 if other is None else other.noise)
    known = numpy.flatnonzero(one.sizes).tolist()
    over = [_single(one, b) if other is None else _difference(one, other, b) for b in known]
    return [Part(noise, noise), *over]


def _single(one: Estimate, benchmark: int) -> Part:
    """The error over the problems of a benchmark."""
    size, mean, count = int(one.sizes[benchmark]), float(one.means[benchmark]), len(one.sizes)
    if one.constant[benchmark] or one.binary[benchmark]:
        return wilson_part(mean, size, count)
    observed = _observed([one], benchmark) + _unseen(one, benchmark)
    trials, freedom = mean * (1 - mean) / (observed * count**2), size - 1
    return wilson_part(mean, trials, count, freedom)


def wilson_part(share: float, trials: float, count: int = 1, freedom: float = math.inf) -> Part:
    """The variances that lead to the bounds of Wilson's interval, for one of `count` benchmarks."""
    t = student(freedom)
    low, high = wilson_interval(share, trials, t)
    return Part(((share - low) / (t * count)) ** 2, ((high - share) / (t * count)) ** 2, freedom)


def _difference(one: Estimate, other: Estimate, benchmark: int) -> Part:
    """The error of a difference over the problems of a benchmark; two constant sides are independent (MOVER)."""
    if one.constant[benchmark] and other.constant[benchmark]:
        own, theirs = _single(one, benchmark), _single(other, benchmark)
        return Part(own.below + theirs.above, own.above + theirs.below)
    if _alike(one, other, benchmark):
        return _rare(one, other, benchmark)
    variance = _observed([one, other], benchmark) + _unseen(one, benchmark) + _unseen(other, benchmark)
    return Part(variance, variance, int(one.sizes[benchmark]) - 1)


def _alike(one: Estimate, other: Estimate, benchmark: int) -> bool:
    """Whether the difference is the same on each problem of a benchmark."""
    apart = (one.problems - other.problems)[one.blocks == benchmark]
    return float((apart**2).sum()) < SAME


def _rare(one: Estimate, other: Estimate, benchmark: int) -> Part:
    """The error of a difference that was the same on all n problems.

    Another one was seen 0 times of n. Its rate is at most Wilson's upper bound, and it lies between -1 and 1.
    """
    rate = wilson_interval(0.0, int(one.sizes[benchmark]))[1] / (NORMAL * len(one.sizes))
    value = float(one.means[benchmark] - other.means[benchmark])
    return Part((rate * (1 + value)) ** 2, (rate * (1 - value)) ** 2)


def not_observed(one: Estimate, other: Estimate | None = None) -> list[Part]:
    """The parts of the error of `one`, beside `other`, that no spread between seeds or problems shows."""
    parts = [Part(one.noise, one.noise)]
    for benchmark in numpy.flatnonzero(one.sizes).tolist():
        if one.constant[benchmark]:
            parts.append(_single(one, benchmark))
            continue
        unseen = _unseen(one, benchmark)
        parts.append(Part(unseen, unseen))
        if other is not None and _alike(one, other, benchmark):
            rare = _rare(one, other, benchmark)
            parts.append(Part(rare.below / 2, rare.above / 2))  # the other brings the other half
    return parts


def _observed(pair: Sequence[Estimate], benchmark: int) -> float:
    """Variance over the problems of a benchmark, without what is seeds' doing, as part of an estimate of it."""
    size = int(pair[0].sizes[benchmark])
    problems = pair[0].problems - (pair[1].problems if len(pair) > 1 else 0.0)
    among = float((problems[pair[0].blocks == benchmark] ** 2).sum())
    shared = sum(float(side.shared[benchmark]) for side in pair if len(side.seeds) > 1)
    return max(0.0, among - shared) * (size - 1) / (size - 1 + UNSEEN)


def _unseen(one: Estimate, benchmark: int) -> float:
    """Variance that half a problem more would bring, whose answers are all right or all wrong."""
    size, mean, count = int(one.sizes[benchmark]), float(one.means[benchmark]), len(one.sizes)
    return UNSEEN * mean * (1 - mean) / (size * (size - 1 + UNSEEN) * count**2)


def wilson_interval(share: float, trials: float, z: float = NORMAL) -> tuple[float, float]:
    """95 % score interval (Wilson, 1927) of a share observed in `trials`; within [0, 1], never of width 0."""
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
