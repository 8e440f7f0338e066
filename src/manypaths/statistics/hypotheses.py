"""Tests that follow from the intervals of means: p values, Holm's correction, equivalence, and detectable differences.

A test here is a reading of an interval. A p value below alpha means that the interval of level 1 - alpha excludes 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy

from manypaths.statistics.means import (
    Array,
    Estimate,
    Part,
    groups_of,
    half_width,
    interval,
    negligible,
    problem_parts,
    seed_parts,
    shared_of,
    variance_of,
)
from manypaths.statistics.student import student

LEAST_P = 1e-6  # smaller p values are not distinguished: they depend on tails that no sample shows


def p_value(first: Estimate, second: Estimate | None = None, *, paired: bool = False) -> float:
    """The smallest alpha at which the interval of level 1 - alpha excludes 0, by bisection.

    Args:
        first: A mean.
        second: The mean that is subtracted; None to test `first` itself.
        paired: Whether seed s of both is the same seed.

    Returns:
        A probability, `LEAST_P` for any smaller one; NaN where there is no interval.

    Raises:
        ValueError: `paired` with different numbers of seeds.
    """
    value = first.value - (second.value if second else 0.0)
    if math.isnan(interval(first, second, paired=paired)[0]):
        return math.nan
    side = "below" if value > 0 else "above"

    def excludes_0(alpha: float) -> bool:
        return abs(value) > half_width(first, second, side, level=1 - alpha, paired=paired)

    if excludes_0(LEAST_P):
        return LEAST_P
    low, high = math.log(LEAST_P), 0.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if excludes_0(math.exp(middle)) else (middle, high)
    return math.exp(high)


def holm(p_values: Sequence[float]) -> Array:
    """Adjusted p values of Holm's step-down procedure (1979): reject those of at most alpha.

    The probability of any false rejection among the M hypotheses is then at most alpha, however they depend on one
    another.

    Args:
        p_values: [M]; NaN where a hypothesis could not be tested. It counts as one of the M, and stays NaN.

    Returns:
        [M] The i-th smallest p value, from i = 0, times M - i; at least the adjusted value before it, and at most 1.
    """
    values = numpy.asarray(p_values, float)
    order = numpy.argsort(values, kind="stable")  # NaN last
    steps = numpy.maximum.accumulate(values[order] * numpy.arange(len(values), 0, -1))
    adjusted = numpy.empty(len(values))
    adjusted[order] = numpy.minimum(steps, 1.0)
    return adjusted


def detectable(
    first: Estimate, second: Estimate | None = None, *, paired: bool = False, power: float = 0.8, level: float = 0.95
) -> float:
    """The smallest true difference whose interval excludes 0 with a probability of `power`, in a design like this one.

    It is (t of 1 - alpha / 2 + t of `power`) times the standard error (Bloom 1995), with the parts and the degrees of
    freedom of the interval. The standard error comes from these data, so with few seeds this is a rough number. Seeds
    may be alike by chance; the variance between their means counts as at least the one that their interaction with the
    problems gives, and the result is NaN where there is none.

    Args:
        first: A mean.
        second: The mean that is subtracted; None for a distance of `first` from a number that is not random.
        paired: Whether seed s of both is the same seed.
        power: A probability, above 0.5 and below 1.
        level: That of the interval.

    Returns:
        A difference above 0, in the unit of the means; above 1, no difference of shares is detected with this power.
        NaN if a variance is not known.

    Raises:
        ValueError: The power or the level is out of range, or `paired` with different numbers of seeds.
    """
    if not 0.5 < power < 1:
        raise ValueError(f"power must be above 0.5 and below 1, got {power}. Pass 0.8 for 80 %.")
    seeds = _seeds_not_alike_by_chance(first, second, paired)
    groups = groups_of(seeds, problem_parts(first, second, level=level, paired=paired))
    widths = []
    for side in ("below", "above"):
        spreads = [variance_of(parts, side) for parts in groups]
        at_level, at_power = (
            math.sqrt(sum(student(freedom, share) ** 2 * variance for variance, freedom in spreads))
            for share in (level, 2 * power - 1)
        )
        widths.append(at_level + at_power)
    return max(widths) if max(widths) > negligible(first, second) else math.nan


def _seeds_not_alike_by_chance(first: Estimate, second: Estimate | None, paired: bool) -> list[Part]:
    """`seed_parts` of at least the variance of the interaction; NaN where that is 0 and not all shares are equal."""
    tables = [[first]] if second is None else [[first, second]] if paired else [[first], [second]]
    several = [sides for sides in tables if len(sides[0].seeds) > 1]
    parts = []
    for part, sides in zip(seed_parts(first, second, paired=paired), several, strict=True):
        variance = max(part.below, float(shared_of(*sides, paired=True).sum()))
        all_equal = all(bool((side.constant & (side.sizes > 0)).all()) for side in sides)
        if variance <= negligible(*sides) ** 2 and not all_equal:
            variance = math.nan
        parts.append(Part(variance, variance, part.freedom))
    return parts


def within(first: Estimate, second: Estimate, margin: float, *, paired: bool = False, alpha: float = 0.05) -> bool:
    """Whether two means are equivalent: their difference is shown to lie within -margin and margin.

    Two one-sided tests of level alpha (Schuirmann 1987): the interval of level 1 - 2 alpha, 90 % by default, lies
    within the margins. False where there is no interval.

    Args:
        first: A mean.
        second: The mean that is subtracted.
        margin: A difference above 0, in the unit of the means: 0.02 for 2 points of shares.
        paired: Whether seed s of both is the same seed.
        alpha: At most this is the probability of True where the true difference is not within the margins.

    Raises:
        ValueError: The margin is not above 0, alpha is out of range, or `paired` with different numbers of seeds.
    """
    low, high = _one_sided(first, second, margin, paired, alpha)
    return -margin < low and high < margin


def at_most_worse(
    first: Estimate, second: Estimate, margin: float, *, paired: bool = False, alpha: float = 0.05
) -> bool:
    """Whether the first mean is not inferior: shown to be more than the second minus the margin.

    A one-sided test of level alpha: the lower end of the interval of level 1 - 2 alpha, 90 % by default, lies above
    -margin. The arguments and what is raised are those of `within`.
    """
    return _one_sided(first, second, margin, paired, alpha)[0] > -margin


def p_within(first: Estimate, second: Estimate, margin: float, *, paired: bool = False) -> float:
    """The smallest alpha at which `within` is True; `LEAST_P` for any smaller one, 1 where none below 0.5 is."""
    return _least_alpha(lambda alpha: within(first, second, margin, paired=paired, alpha=alpha))


def p_at_most_worse(first: Estimate, second: Estimate, margin: float, *, paired: bool = False) -> float:
    """The smallest alpha at which `at_most_worse` is True; as `p_within`."""
    return _least_alpha(lambda alpha: at_most_worse(first, second, margin, paired=paired, alpha=alpha))


def p_more_worse(first: Estimate, second: Estimate, margin: float, *, paired: bool = False) -> float:
    """The smallest alpha at which the first mean is shown to be less than the second minus the margin; as `p_within`.

    The opposite of `at_most_worse`: the upper end of the interval of level 1 - 2 alpha lies below -margin.
    """
    return _least_alpha(lambda alpha: _one_sided(first, second, margin, paired, alpha)[1] < -margin)


def _least_alpha(is_shown: Callable[[float], bool]) -> float:
    """The smallest alpha at which a one-sided test rejects, by bisection on its logarithm."""
    low, high = math.log(LEAST_P), math.log(0.5 - 1e-5)  # nearer to 0.5 an interval is its own rounding, or NaN
    if is_shown(LEAST_P):
        return LEAST_P
    if not is_shown(math.exp(high)):
        return 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if is_shown(math.exp(middle)) else (middle, high)
    return math.exp(high)


def _one_sided(first: Estimate, second: Estimate, margin: float, paired: bool, alpha: float) -> tuple[float, float]:
    """The interval of which each end is exceeded with probability alpha."""
    if not margin > 0:
        raise ValueError(f"A margin must be above 0, got {margin}. Pass 0.02 for 2 points of accuracy.")
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha must be above 0 and below 0.5, got {alpha}. Pass 0.05 for 5 %.")
    return interval(first, second, level=1 - 2 * alpha, paired=paired)
