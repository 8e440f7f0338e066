"""Intervals and tests of quantities other than means, such as steps to a target: from 1,000 bootstrapped curves.

A curve has a mean (`Estimate`) at each step. A bootstrapped curve is that curve plus a random shift with the variance
and the correlation over steps that seeds and problems give it: a bootstrap by normal multipliers, one for each seed and
one for each problem, whose spread is widened to that of Student's t.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy

from manypaths.statistics.means import (
    Array,
    Estimate,
    Part,
    half_width,
    not_observed,
    problem_parts,
    seed_parts,
    shared_of,
    unseen_together,
    variance_of,
)
from manypaths.statistics.student import freedom_of

DRAWS = 1000  # bootstrapped curves
Curve = Mapping[float, Estimate]  # by step, in ascending order


def curve_shifts(
    curve: Curve, other: Curve, random: numpy.random.Generator, *, paired: bool = False, draws: int = DRAWS
) -> list[Array]:
    """How far seeds and problems move two curves, with a normal distribution.

    Both curves have the same problems: where both have a step, a problem moves them alike by what their means have in
    common, and apart by the rest.

    Args:
        curve: Means by step.
        other: Means of the same problems, by the same or other steps.
        random: The source of the multipliers.
        paired: Whether seed s of both is the same seed, and moves both curves in the same draw.
        draws: The number of bootstrapped curves, D.

    Returns:
        The shifts of each curve, [D, T]; equal where `curve is other`.

    Raises:
        ValueError: `paired` with different numbers of seeds.
    """
    if paired:
        seed_parts(next(iter(curve.values())), next(iter(other.values())), paired=True)  # refuses different numbers
    pair = (curve, other)
    on_problems = random.standard_normal((draws, len(next(iter(curve.values())).problems)))
    on_seeds: Array | None = None
    shifts, together = [], []
    for own, twins in (pair, pair[::-1]):
        at_steps = [(mean, None if curve is other else twins.get(step)) for step, mean in own.items()]
        count = len(at_steps[0][0].seeds)
        seeds = numpy.stack([mean.seeds for mean, _ in at_steps], 1) / math.sqrt(count * max(count - 1, 1))
        problems = [mean.problems if twin is None else _moves(mean, twin, paired) for mean, twin in at_steps]
        parts = [not_observed(mean, twin) for mean, twin in at_steps]
        below, above = (_spreads(parts, side, several=count > 1) for side in ("below", "above"))
        sign = random.standard_normal((draws, 1))
        if on_seeds is None or not paired:
            on_seeds = random.standard_normal((draws, count))
        common = [0.0 if twin is None else unseen_together(mean, twin) for mean, twin in at_steps]
        together.append(numpy.sqrt(common))
        observed = on_seeds @ seeds + on_problems @ numpy.stack(problems, 1)
        shifts.append(observed + numpy.where(sign < 0, sign * below, sign * above))
    if any(spreads.any() for spreads in together):
        on_both = random.standard_normal((draws, 1))
        shifts = [shift + on_both * spreads for shift, spreads in zip(shifts, together, strict=True)]
    return shifts if curve is not other else [shifts[0], shifts[0]]


def _spreads(parts: Sequence[Sequence[Part]], side: str, several: bool) -> Array:
    """[T] standard deviations of the parts at each step on a side, "below" or "above".

    Where only means were recorded, several seeds that are equal at a step show no variance there, as they do before
    training, when all of them are one model. If they differ at other steps, that step counts as one without variance:
    like every interval of such means, those of the curve are over seeds only.
    """
    variances = numpy.array([variance_of(of_step, side)[0] for of_step in parts])
    unknown = numpy.isnan(variances)
    return numpy.sqrt(numpy.where(unknown, 0.0, variances) if several and not unknown.all() else variances)


def _moves(mean: Estimate, twin: Estimate, paired: bool) -> Array:
    """[P] shift of the first of two means by each problem: the common part, and the rest without that of the seeds."""
    middle, apart = (mean.problems + twin.problems) / 2, (mean.problems - twin.problems) / 2
    among, shared = float((4 * apart**2).sum()), float(shared_of(mean, twin, paired=paired).sum())
    several = min(len(mean.seeds), len(twin.seeds)) > 1
    keep = math.sqrt(max(0.0, 1 - shared / among)) if among and several else 1.0
    moves: Array = middle + keep * apart
    return moves


def curve_freedom(curve: Curve, other: Curve | None = None, *, paired: bool = False) -> float:
    """The degrees of freedom of a Student's t as wide as the intervals of a curve at its steps.

    Args:
        curve: Means by step.
        other: Take the intervals of the difference from this curve, at the steps that both have; where there is no such
            step, the smaller freedom of the two counts.
        paired: Whether seed s of both is the same seed.
    """
    if other is not None and not curve.keys() & other.keys():
        return min(curve_freedom(curve), curve_freedom(other))
    widths = []
    for step, mean in curve.items():
        if other is not None and step not in other:
            continue
        pair = mean, None if other is None else other[step]
        parts = seed_parts(*pair, paired=paired) + problem_parts(*pair, paired=paired)
        spreads = {side: math.sqrt(variance_of(parts, side)[0]) for side in ("below", "above")}
        widths += [half_width(*pair, side, paired=paired) / spread for side, spread in spreads.items() if spread > 0]
    return freedom_of(float(numpy.median(widths))) if widths else 1.0


def bootstrap_curves(
    values: Sequence[Array], shifts: Sequence[Array], freedom: float, random: numpy.random.Generator
) -> list[Array]:
    """Curves with their shifts, widened to Student's t: for each [T] and [D, T] -> [1 + D, T], itself first."""
    widened = numpy.sqrt(freedom / random.chisquare(freedom, (len(shifts[0]), 1)))
    pairs = zip(values, shifts, strict=True)
    return [numpy.concatenate([curve[None], curve[None] + widened * shift]) for curve, shift in pairs]


def bootstrap_paces(seconds: Array, random: numpy.random.Generator, *, draws: int = DRAWS) -> Array:
    """The mean of the seconds of S runs, as other runs might have had it, divided by the mean that they had.

    Args:
        seconds: [S] of the runs of one configuration, or [K, S] of K configurations whose run s is paired: a draw then
            moves run s of all of them alike.
        random: The source of the draws.
        draws: Their number, D.

    Returns:
        [D] factors, or [K, D]; at least 0.1, and 1 where the mean is 0 or unknown.
    """
    count, mean = seconds.shape[-1], seconds.mean(-1, keepdims=True)
    pace = numpy.divide(seconds, mean, out=numpy.ones(seconds.shape), where=mean > 0) - 1
    freedom = max(count - 1, 1)
    widened = numpy.sqrt(freedom / random.chisquare(freedom, draws))
    shift: Array = pace @ random.standard_normal((draws, count)).T
    factors: Array = 1 + widened * shift / math.sqrt(count * freedom)
    return numpy.maximum(factors, 0.1)


def percentile_interval(least: Array, most: Array | None = None, *, level: float = 0.95) -> dict[str, float | None]:
    """The value and the range of the middle 95 % of its bootstrapped values, or of another level.

    Args:
        least: [1 + D] the value, then the bootstrapped ones; infinite for what is not reached, NaN if undefined.
        most: Where a bootstrapped value is only known to lie in a range, `least` is the lower end and this the upper.
        level: The share of the values in the range. Its ends are the (1 + D) alpha / 2-th values from either side
            (Davison and Hinkley, 1997, section 5.2), so that it excludes 0 exactly where `percentile_p` is at most
            alpha. Of 1,000 values, a level above 0.998 gives the whole range.

    Returns:
        `value`, `low` and `high`; None for what is not finite, so a bound of None is an unbounded end.
    """
    low, high = _ends(least, most)
    aside = max(0, int((1 - level) / 2 * (1 + len(low)) + 1e-9) - 1)
    ends = {"value": least[0], "low": numpy.sort(low)[aside], "high": numpy.sort(high)[-1 - aside]}
    return {key: float(value) if math.isfinite(value) else None for key, value in ends.items()}


def percentile_p(least: Array, most: Array | None = None) -> float:
    """The two-sided p value of 0 among bootstrapped values: twice the share on the rarer side of 0, and at most 1.

    The value itself counts as one draw on that side, (1 + b) / (1 + D), so that p is never 0 (Davison and Hinkley,
    1997, section 4.2). An undefined value counts on both sides, a value in a range on each side that the range reaches.

    With D = 1,000 the smallest p is 0.002. Holm's correction multiplies it by the number of comparisons, so that more
    than 25 of them can never be shown at 5 %, and with eight p = 0.006 (2 draws beyond 0) decides. Raise `draws` for
    them: 10,000 draws have a smallest p of 0.0002.

    Args:
        least: [1 + D] as for `percentile_interval`.
        most: As for `percentile_interval`.
    """
    low, high = _ends(least, most)
    beyond = min(int((low <= 0).sum()), int((high >= 0).sum()))
    return min(1.0, 2 * (1 + beyond) / (1 + len(low)))


def _ends(least: Array, most: Array | None) -> tuple[Array, Array]:
    """The lower and the upper ends of bootstrapped values, [D] each; an undefined value may be anything."""
    low, high = least[1:], (least if most is None else most)[1:]
    return numpy.where(numpy.isnan(low), -numpy.inf, low), numpy.where(numpy.isnan(high), numpy.inf, high)
