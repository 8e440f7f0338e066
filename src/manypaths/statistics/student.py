"""Student's t at 95 %."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy
from numpy.typing import NDArray

Array = NDArray[numpy.float64]
NORMAL = 1.959964  # the 97.5th percentile of the normal distribution
NODES, WEIGHTS = numpy.polynomial.legendre.leggauss(40)  # of an integral from -1 to 1


@lru_cache(maxsize=4096)
def student(freedom: float) -> float:
    """The t that a Student's t of so many degrees of freedom, 1 or more, exceeds in size in 5 % of cases.

    With t = sqrt(freedom) * tan(angle), P(|T| < t) is the integral of cos(angle)^(freedom - 1), but for a factor.
    Newton's method, from the normal distribution's, comes to the angle from below, for the integral is concave.
    """
    if freedom > 1e6:
        return NORMAL
    whole = math.sqrt(math.pi) / 2 * math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))
    angle = math.atan(NORMAL / math.sqrt(freedom))
    for _ in range(50):
        within = angle / 2 * float(WEIGHTS @ numpy.cos(angle / 2 * (NODES + 1)) ** (freedom - 1))
        step = (0.95 * whole - within) / math.cos(angle) ** (freedom - 1)
        angle += step
        if step < 1e-13:
            break
    return math.sqrt(freedom) * math.tan(angle)


def freedom_of(t: float) -> float:
    """The degrees of freedom, from 1 to a million, at which Student's t has this value."""
    inverses, values = _student_table()
    return float(1 / numpy.interp(t, values, inverses))


@lru_cache(maxsize=1)
def _student_table() -> tuple[Array, Array]:
    """Inverses of degrees of freedom, and Student's t at them, both rising."""
    freedoms = numpy.geomspace(1e6, 1, 400)
    return 1 / freedoms, numpy.array([student(float(freedom)) for freedom in freedoms])
