"""Means of independent values, such as one for each group of a log, and the difference of two such means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from manypaths.statistics.means import estimate, interval


class Interval(NamedTuple):
    """A value and the ends of its interval; both are NaN where the variance is unknown."""

    value: float
    low: float
    high: float


def mean_of_shares(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of numbers from 0 to 1, which may all be equal (Wilson's score interval, see `means`).

    Raises:
        ValueError: There is no value, or the level is out of range.
    """
    mean = estimate([_not_empty(values)])
    return Interval(mean.value, *interval(mean, level=level))


def mean_of_numbers(values: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of numbers of any range, by Student's t; one value, or equal ones, have no interval.

    Raises:
        ValueError: There is no value, or the level is out of range.
    """
    mean = estimate([[value] for value in _not_empty(values)], means_only=[True], bounded=False)
    if len(values) == 1:
        return Interval(mean.value, math.nan, math.nan)
    return Interval(mean.value, *interval(mean, level=level))


def difference(first: Interval, second: Interval) -> Interval:
    """The first minus the second of two independent means: MOVER (Zou and Donner 2008), of any two intervals.

    The squared distances from the values to the ends add, on the sides that make the difference small and large.
    """
    value = first.value - second.value
    down = math.hypot(first.value - first.low, second.high - second.value)
    up = math.hypot(first.high - first.value, second.value - second.low)
    return Interval(value, value - down, value + up)


def _not_empty(values: Sequence[float]) -> list[float]:
    if not values:
        raise ValueError("A mean must have a value or more, got none.")
    return list(values)
