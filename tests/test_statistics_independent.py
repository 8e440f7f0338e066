"""Laws of means of independent values and of their differences: closed forms, and how often the truth is inside."""

import math

import numpy
import pytest

from manypaths.statistics import Interval, difference, mean_of_numbers, mean_of_shares, student, wilson_interval


def test_a_mean_of_numbers_is_students():
    values = [3.0, -1.0, 7.5, 4.0]
    half = student(3) * numpy.std(values, ddof=1) / 2
    mean = numpy.mean(values)
    assert mean_of_numbers(values) == pytest.approx((mean, mean - half, mean + half))
    assert mean_of_numbers(values, level=0.99).high > mean_of_numbers(values).high


def test_equal_numbers_have_no_interval_and_equal_shares_have_wilsons():
    for values in ([2.0], [2.0, 2.0, 2.0]):
        mean = mean_of_numbers(values)
        assert mean.value == 2 and math.isnan(mean.low) and math.isnan(mean.high)
    assert mean_of_shares([1.0] * 12) == pytest.approx((1.0, *wilson_interval(1.0, 12)))
    assert mean_of_shares([0.0, 1.0] * 6) == pytest.approx((0.5, *wilson_interval(0.5, 12)))


def test_a_difference_adds_the_squares_of_the_sides():
    first, second = Interval(0.8, 0.5, 0.9), Interval(0.3, 0.26, 0.7)
    assert difference(first, second) == pytest.approx((0.5, 0.0, 0.5 + math.hypot(0.1, 0.04)))
    low, high = difference(first, second)[1:]
    assert difference(second, first) == pytest.approx((-0.5, -high, -low))
    assert math.isnan(difference(first, Interval(1.0, math.nan, math.nan)).low)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.05, 0.2), (0.02, 0.02)])
def test_a_difference_of_shares_contains_the_truth(shares):
    draw = numpy.random.default_rng(0)
    inside = 0
    for _ in range(1000):
        first, second = (mean_of_shares((draw.binomial(8, share, 16) / 8).tolist()) for share in shares)
        apart = difference(first, second)
        inside += apart.low <= shares[0] - shares[1] <= apart.high
    assert inside >= 940


def test_no_value_is_refused():
    for mean in (mean_of_numbers, mean_of_shares):
        with pytest.raises(ValueError, match="a value or more"):
            mean([])
