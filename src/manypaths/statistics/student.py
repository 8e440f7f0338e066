"""The percentiles of Student's t, and the inverse of the 97.5th."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

import numpy
from numpy.typing import NDArray

Array = NDArray[numpy.float64]
NORMAL = 1.959964  # the 97.5th percentile of the normal distribution


def normal(level: float) -> float:
    """The z for which a variable with the standard normal distribution is within [-z, z] with probability `level`.

    Raises:
        ValueError: The level is 0 or less, or above 1 - 1e-9.
    """
    if not 0 < level <= 1 - 1e-9:
        raise ValueError(f"A level must be above 0 and at most 1 - 1e-9, got {level}. Pass 0.95 for 95 %.")
    return NORMAL if level == 0.95 else NormalDist().inv_cdf((1 + level) / 2)


@lru_cache(maxsize=16384)
def student(freedom: float, level: float = 0.95) -> float:
    """The t for which a variable with Student's t distribution is within [-t, t] with probability `level`.

    With t = sqrt(freedom) * tan(angle), P(|T| < t) is proportional to the integral of cos(x)^(freedom - 1) from 0 to
    the angle. That integral is concave, so Newton's method, which starts at the angle of the normal distribution,
    approaches the angle from below. With many degrees of freedom, t at other levels than 95 % is a series in their
    inverse (Abramowitz and Stegun, 26.7.5), because the integral is then a small difference of large logarithms.

    Args:
        freedom: Degrees of freedom, 1 or more; infinite for the normal distribution.
        level: The probability, above 0 and at most 1 - 1e-9; 0.95 gives the 97.5th percentile.

    Raises:
        ValueError: The level is out of range.
    """
    z = normal(level)
    if freedom > 1e6 or math.isnan(freedom):
        return z if freedom > 1e6 else math.nan
    if freedom > 1000 and level != 0.95:
        first, second, third = z**3 + z, 5 * z**5 + 16 * z**3 + 3 * z, 3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z
        return z + first / (4 * freedom) + second / (96 * freedom**2) + third / (384 * freedom**3)
    nodes, weights = _quadrature(crowded=level > 0.95)
    whole = math.sqrt(math.pi) / 2 * math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))
    angle = math.atan(z / math.sqrt(freedom))
    for _ in range(50):
        within = angle / 2 * float(weights @ numpy.cos(angle / 2 * (nodes + 1)) ** (freedom - 1))
        step = (level * whole - within) / math.cos(angle) ** (freedom - 1)
        angle += step
        if step < 1e-13:
            break
    return math.sqrt(freedom) * math.tan(angle)


@lru_cache(maxsize=2)
def _quadrature(crowded: bool) -> tuple[Array, Array]:
    """Nodes and weights of Gauss and Legendre for an integral from -1 to 1.

    Args:
        crowded: Crowd the nodes near 1, by x = 1 - 2 y^4. Above the 97.5th percentile the integrand may end close to
            the zero of the cosine, where a power below 1 has an infinite slope.
    """
    nodes, weights = numpy.polynomial.legendre.leggauss(60 if crowded else 40)
    if not crowded:
        return nodes, weights
    apart = (1 - nodes) / 2
    return 1 - 2 * apart**4, 4 * apart**3 * weights


def freedom_of(t: float) -> float:
    """The degrees of freedom, from 1 to a million, for which `student` is t at 95 %."""
    inverses, values = _student_table()
    return float(1 / numpy.interp(t, values, inverses))


@lru_cache(maxsize=1)
def _student_table() -> tuple[Array, Array]:
    """Inverse degrees of freedom and the values of `student` for them, both ascending."""
    freedoms = numpy.geomspace(1e6, 1, 400)
    return 1 / freedoms, numpy.array([student(float(freedom)) for freedom in freedoms])
