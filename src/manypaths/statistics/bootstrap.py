"""Intervals of quantities other than means, such as steps to a target: percentiles of 1,000 bootstrapped curves.

A curve has a mean (`Estimate`) at each step. A bootstrapped curve is that curve plus a random shift with the variance
and the correlation over steps that seeds and problems give it: a bootstrap by normal multipliers, one for each seed and
one for each problem, whose spread is widened to that of Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy

from manypaths.statistics.means import Array, Estimate, half_width, not_observed, problem_parts, seed_parts, variance_of
from manypaths.statistics.student import freedom_of

DRAWS = 1000  # bootstrapped curves
Curve = Mapping[float, Estimate]  # by step, in ascending order


def curve_shifts(curve: Curve, other: Curve, random: numpy.random.Generator) -> list[Array]:
    """How far seeds and problems move two curves, with a normal distribution.

    Both curves have the same problems: where both have a step, a problem moves them alike by what their means have in
    common, and apart by the rest.

    Returns:
        The shifts of each curve, [DRAWS, T]; equal where `curve is other`.
    """
    pair = (curve, other)
    on_problems = random.standard_normal((DRAWS, len(next(iter(curve.values())).problems)))
    shifts = []
    for own, twins in (pair, pair[::-1]):
        at_steps = [(mean, None if curve is other else twins.get(step)) for step, mean in own.items()]
        count = len(at_steps[0][0].seeds)
        seeds = numpy.stack([mean.seeds for mean, _ in at_steps], 1) / math.sqrt(count * max(count - 1, 1))
        problems = numpy.stack([mean.problems if twin is None else _moves(mean, twin) for mean, twin in at_steps], 1)
        parts = [not_observed(mean, twin) for mean, twin in at_steps]
        below, above = (numpy.sqrt([variance_of(part, side)[0] for part in parts]) for side in ("below", "above"))
        sign = random.standard_normal((DRAWS, 1))
        observed = random.standard_normal((DRAWS, count)) @ seeds + on_problems @ problems
        shifts.append(observed + numpy.where(sign < 0, sign * below, sign * above))
    return shifts if curve is not other else [shifts[0], shifts[0]]


def _moves(mean: Estimate, twin: Estimate) -> Array:
    """[P] shift of the first of two means by each problem: the common part, and the rest without that of the seeds."""
    middle, apart = (mean.problems + twin.problems) / 2, (mean.problems - twin.problems) / 2
    among, shared = float((4 * apart**2).sum()), float((mean.shared + twin.shared).sum())
    several = min(len(mean.seeds), len(twin.seeds)) > 1
    keep = math.sqrt(max(0.0, 1 - shared / among)) if among and several else 1.0
    moves: Array = middle + keep * apart
    return moves


def curve_freedom(curve: Curve, other: Curve | None = None) -> float:
    """The degrees of freedom of a Student's t as wide as the intervals of a curve at its steps.

    Args:
        other: Take the intervals of the difference from this curve, at the steps that both have; where there is no such
            step, the smaller freedom of the two counts.
    """
    if other is not None and not curve.keys() & other.keys():
        return min(curve_freedom(curve), curve_freedom(other))
    widths = []
    for step, mean in curve.items():
        if other is not None and step not in other:
            continue
        pair = mean, None if other is None else other[step]
        parts = seed_parts(*pair) + problem_parts(*pair)
        spreads = {side: math.sqrt(variance_of(parts, side)[0]) for side in ("below", "above")}
        widths += [half_width(*pair, side) / spread for side, spread in spreads.items() if spread > 0]
    return freedom_of(float(numpy.median(widths))) if widths else 1.0


def bootstrap_curves(
    values: Sequence[Array], shifts: Sequence[Array], freedom: float, random: numpy.random.Generator
) -> list[Array]:
    """Curves with their shifts, widened to Student's t: for each [T] and [DRAWS, T] -> [1 + DRAWS, T], itself first."""
    widened = numpy.sqrt(freedom / random.chisquare(freedom, (DRAWS, 1)))
    pairs = zip(values, shifts, strict=True)
    return [numpy.concatenate([curve[None], curve[None] + widened * shift]) for curve, shift in pairs]


def bootstrap_paces(seconds: Array, random: numpy.random.Generator) -> Array:
    """The mean of the seconds of S runs, as other runs might have had it: [S] -> [DRAWS] factors, 0.1 at least."""
    count, mean = len(seconds), seconds.mean()
    pace = numpy.divide(seconds, mean, out=numpy.ones(count), where=mean > 0) - 1
    freedom = max(count - 1, 1)
    widened = numpy.sqrt(freedom / random.chisquare(freedom, DRAWS))
    factors: Array = 1 + widened * (random.standard_normal((DRAWS, count)) @ pace) / math.sqrt(count * freedom)
    return numpy.maximum(factors, 0.1)


def percentile_interval(least: Array, most: Array | None = None) -> dict[str, float | None]:
    """The value and the range of the middle 95 % of its bootstrapped values.

    Args:
        least: [1 + DRAWS] the value, then the bootstrapped ones; infinite for what is not reached, NaN if undefined.
        most: Where a bootstrapped value is only known to lie in a range, `least` is the lower end and this the upper.

    Returns:
        `value`, `low` and `high`; None for what is not finite, so a bound of None is an unbounded end.
    """
    low, high = least[1:], (least if most is None else most)[1:]
    aside = int(0.025 * len(low))
    ends = {
        "value": least[0],
        "low": numpy.sort(numpy.where(numpy.isnan(low), -numpy.inf, low))[aside],
        "high": numpy.sort(numpy.where(numpy.isnan(high), numpy.inf, high))[-1 - aside],
    }
    return {key: float(value) if math.isfinite(value) else None for key, value in ends.items()}
