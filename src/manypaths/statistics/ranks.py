"""Statistics by order: interquartile mean, probability of improvement, and rank correlations of configurations."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import numpy

from manypaths.statistics.means import Array

SPLITS = 500  # of the benchmarks into halves; of more, this many are drawn


def interquartile_mean(scores: Any) -> float:
    """The mean of the middle half of all scores (rliable, arXiv 2108.13264): a quarter is left out at either end.

    Of n scores, n / 4 rounded down are left out at each end, as `scipy.stats.trim_mean(scores, 0.25, axis=None)` does.

    Args:
        scores: Of any shape, such as [S, B] of seeds and benchmarks.

    Returns:
        NaN if there is no score, or one is NaN.
    """
    ordered = numpy.sort(numpy.asarray(scores, float), axis=None)
    aside = len(ordered) // 4
    if not len(ordered) or math.isnan(ordered[-1]):
        return math.nan
    return float(ordered[aside : len(ordered) - aside].mean())


def probability_of_improvement(first: Any, second: Any) -> float:
    """How often a run of the first configuration is better than one of the second (rliable, arXiv 2108.13264).

    It is Mann and Whitney's U of each benchmark over the number of pairs, where a tie counts half, and the mean of that
    over benchmarks.

    Args:
        first: [S, B] scores of seeds and benchmarks.
        second: [R, B] scores of the same benchmarks.

    Returns:
        A probability; NaN if there is no pair, or a score is NaN.
    """
    first, second = (numpy.atleast_2d(numpy.asarray(scores, float)) for scores in (first, second))
    if not (first.size and second.size) or numpy.isnan(first).any() or numpy.isnan(second).any():
        return math.nan
    return float(((numpy.sign(first[:, None] - second[None]) + 1) / 2).mean())


def rank_correlation(x: Any, y: Any) -> float:
    """Spearman's rank correlation of two lists [C]; equal values have the mean of their ranks.

    Returns:
        From -1 to 1; NaN if one side is constant, has a NaN, or has fewer than two values.
    """
    return float(_correlation(numpy.asarray(x, float)[None], numpy.asarray(y, float)[None])[0])


class Halves(NamedTuple):
    """The rank correlation of configurations between two halves of the benchmarks, over splits into halves."""

    mean: float
    low: float  # the least
    high: float  # the greatest
    splits: int  # of which it is defined


def halves_correlation(table: Any) -> Halves:
    """Whether one half of the benchmarks ranks configurations as the other half does.

    Each split gives one rank correlation between the configurations' means over either half. An odd number of
    benchmarks has halves that differ by one.

    Args:
        table: [C, B] scores of configurations and benchmarks.

    Returns:
        The mean and the range over all splits, or over `SPLITS` that are drawn with a fixed seed if there are more.
        Splits in which a half ranks no configuration above another are left out of `splits`; all NaN if none is left.
    """
    table = numpy.atleast_2d(numpy.asarray(table, float))
    halves = _halves(table.shape[1])
    if not len(halves):
        return Halves(math.nan, math.nan, math.nan, 0)
    # a sum in another order differs in its last digits, which must not decide a rank
    scale = numpy.nanmax(numpy.abs(table), initial=0.0) or 1.0
    means = [numpy.round(half @ table.T / scale / half.sum(1, keepdims=True), 12) for half in (halves, 1 - halves)]
    correlations = _correlation(*means)
    defined = correlations[~numpy.isnan(correlations)]
    if not len(defined):
        return Halves(math.nan, math.nan, math.nan, 0)
    return Halves(float(defined.mean()), float(defined.min()), float(defined.max()), len(defined))


def _halves(count: int) -> Array:
    """[N, B] for each of N splits 1 for the benchmarks of one half and 0 for those of the other."""
    size = count // 2
    number = math.comb(count, size) // (1 if count % 2 else 2)
    if not size:
        return numpy.empty((0, count))
    if number > SPLITS:
        orders = numpy.random.default_rng(0).permuted(numpy.tile(numpy.arange(count), (SPLITS, 1)), axis=1)
        halves: Array = (orders < size).astype(float)
        return halves
    chosen = list(itertools.islice(itertools.combinations(range(count), size), number))  # of an even B, with the first
    return numpy.array([[float(index in half) for index in range(count)] for half in chosen])


def _correlation(x: Array, y: Array) -> Array:
    """Spearman's rank correlation of each row: [N, C], [N, C] -> [N]; NaN where it is not defined."""
    deviations = [_ranks(values) - (values.shape[1] + 1) / 2 for values in (x, y)]
    squares = [(values**2).sum(1) for values in deviations]
    scale = numpy.sqrt(squares[0] * squares[1])
    unknown = (scale == 0) | numpy.isnan(x).any(1) | numpy.isnan(y).any(1)
    product = (deviations[0] * deviations[1]).sum(1)
    correlation: Array = numpy.divide(product, scale, out=numpy.full(len(x), math.nan), where=~unknown)
    return correlation


def _ranks(values: Array) -> Array:
    """The ranks in each row, from 1: [N, C] -> [N, C]."""
    less, equal = (compare(values[:, None], values[:, :, None]).sum(2) for compare in (numpy.less, numpy.equal))
    ranks: Array = less + (equal + 1) / 2
    return ranks
