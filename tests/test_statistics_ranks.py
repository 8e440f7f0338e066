"""Interquartile mean, probability of improvement and rank correlations, against scipy and naive loops."""

import itertools
import math
from statistics import fmean

import numpy
import pytest
import scipy.stats

from manypaths.statistics import (
    SPLITS,
    halves_correlation,
    interquartile_mean,
    probability_of_improvement,
    rank_correlation,
)

RANDOM = numpy.random.default_rng(0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (3, 1), (2, 2), (5, 3), (10, 7), (4, 25)])
def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end(shape):
    scores = RANDOM.integers(0, 9, shape) / 8
    ordered = sorted(scores.flatten())
    aside = math.floor(0.25 * len(ordered))
    expected = fmean(ordered[aside : len(ordered) - aside])
    assert interquartile_mean(scores) == pytest.approx(expected)
    assert interquartile_mean(scores) == pytest.approx(scipy.stats.trim_mean(scores, 0.25, axis=None))


@pytest.mark.parametrize("counts", [(1, 1), (3, 5), (10, 10)])
def test_the_probability_of_improvement_counts_pairs(counts):
    first, second = (RANDOM.integers(0, 5, (count, 4)) / 4 for count in counts)
    by_benchmark = []
    for b in range(4):
        pairs = itertools.product(first[:, b], second[:, b])
        by_benchmark.append(fmean(1.0 if own > other else 0.5 if own == other else 0.0 for own, other in pairs))
        statistic = scipy.stats.mannwhitneyu(first[:, b], second[:, b]).statistic
        assert by_benchmark[-1] == pytest.approx(statistic / (counts[0] * counts[1]))
    assert probability_of_improvement(first, second) == pytest.approx(fmean(by_benchmark))
    assert probability_of_improvement(second, first) == pytest.approx(1 - fmean(by_benchmark))


def test_the_rank_correlation_is_spearmans():
    for count in (2, 3, 5, 40):
        for _ in range(10):
            x, y = RANDOM.integers(0, 6, (2, count)) / 7
            if numpy.ptp(x) and numpy.ptp(y):
                assert rank_correlation(x, y) == pytest.approx(scipy.stats.spearmanr(x, y).statistic)


def halves(count):
    """Each split of benchmarks into halves once."""
    for half in itertools.combinations(range(count), count // 2):
        if count % 2 or 0 in half:
            yield half, [b for b in range(count) if b not in half]


@pytest.mark.parametrize("count", [2, 3, 4, 7, 10])
def test_the_correlation_of_halves_is_over_all_splits(count):
    table = RANDOM.random((6, count))
    expected = []
    for split in halves(count):
        means = [[fmean(row[b] for b in half) for row in table] for half in split]
        expected.append(scipy.stats.spearmanr(*means).statistic)
    mean, low, high, splits = halves_correlation(table)
    assert splits == len(expected) == math.comb(count, count // 2) // (1 if count % 2 else 2)
    assert (mean, low, high) == pytest.approx((fmean(expected), min(expected), max(expected)))


def test_of_many_benchmarks_splits_are_drawn():
    table = RANDOM.random((6, 14))
    found = halves_correlation(table)
    assert found.splits == SPLITS and found == halves_correlation(table)
    means = [
        scipy.stats.spearmanr(table[:, list(half)].mean(1), table[:, rest].mean(1)).statistic
        for half, rest in halves(14)
    ]
    assert found.mean == pytest.approx(fmean(means), abs=0.06)
    assert min(means) <= found.low < found.mean < found.high <= max(means)
    alike = numpy.arange(5.0)[:, None] + numpy.zeros(20)
    assert halves_correlation(alike) == (1, 1, 1, SPLITS)


def test_rounding_decides_no_rank():
    """Two configurations with the same scores in another order are tied in every half that has them all."""
    table = numpy.array([[0.1, 0.2, 0.3, 0.3, 0.1, 0.2], [0.3, 0.2, 0.1, 0.1, 0.2, 0.3], [0.0] * 6])
    assert table[0, :3].mean() != table[1, :3].mean()
    expected = []
    for split in halves(6):
        means = [[round(sum(round(10 * row[b]) for b in half)) for row in table] for half in split]
        expected.append(scipy.stats.spearmanr(*means).statistic)
    mean, low, high, _ = halves_correlation(table)
    assert (mean, low, high) == pytest.approx((fmean(expected), min(expected), max(expected)))


@pytest.mark.filterwarnings("error")
def test_where_nothing_is_ranked_the_answer_is_nan():
    nan = math.nan
    for scores in ([], [nan], [nan, 1.0]):
        assert math.isnan(interquartile_mean(scores))
    for first, second in (([[nan]], [[1.0]]), ([[1.0]], [[nan]]), (numpy.empty((0, 2)), [[1.0, 2.0]])):
        assert math.isnan(probability_of_improvement(first, second))
    for x, y in (([], []), ([1], [2]), ([1, 1], [1, 2]), ([1, 2], [3, 3]), ([1, nan], [1, 2]), ([1, 2], [nan, 1])):
        assert math.isnan(rank_correlation(x, y))
    empty = numpy.empty((0, 4))
    for table in ([], [[1.0]], [[1.0], [2.0]], [[1.0, 2.0]], empty, [[0, 0], [0, 0]], [[nan, 1], [2, 3]], [[nan, nan]]):
        found = halves_correlation(table)
        assert numpy.isnan(found[:3]).all() and found.splits == 0
    assert halves_correlation([[1.0, 2.0, 2.0], [1.0, 3.0, 4.0]]).splits == 2  # one half ranks nothing in a third
