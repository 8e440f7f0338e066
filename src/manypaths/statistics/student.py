"""The 97.5th percentile of Student's t, and its inverse."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy
from numpy.typing import NDArray

Array = NDArray[numpy.float64]
NORMAL = 1.959964  # the 97.5th percentile of the normal distribution


@lru_cache(maxsize=4096)
def student(freedom: float) -> float:
    """The t for which a variable with Student's t distribution is within [-t, t] with probability 0.95.

    With t = sqrt(freedom) * tan(angle), P(|T| < t) is proportional to the integral of cos(x)^(freedom - 1) from 0 to
    the angle. That integral is concave, so Newton's method, which starts at the angle of the normal distribution,
    approaches the angle from below.

    Args:
        freedom: Degrees of freedom, 1 or more; infinite for the normal distribution.
    """
    if freedom > 1e6:
        return NORMAL
    nodes, weights = _quadrature()
    whole = math.sqrt(math.pi) / 2 * math.exp(math.lgamma(freedom / 2) - math.lgamma((freedom + 1) / 2))
    angle = math.atan(NORMAL / math.sqrt(freedom))
    for _ in range(50):
        within = angle / 2 * float(weights @ numpy.cos(angle / 2 * (nodes + 1)) ** (freedom - 1))
        step = (0.95 * whole - within) / math.cos(angle) ** (freedom - 1)
        angle += step
        if step < 1e-13:
            break
    return math.sqrt(freedom) * math.tan(angle)


@lru_cache(maxsize=1)
def _quadrature() -> tuple[Array, Array]:
    """Nodes and weights of Gauss and Legendre for an integral from -1 to 1."""
    nodes, weights = numpy.polynomial.legendre.leggauss(40)
    return nodes, weights


def freedom_of(t: float) -> float:
    """The degrees of freedom, from 1 to a million, for which `student` is t."""
    inverses, values = _student_table()
    return float(1 / numpy.interp(t, values, inverses))


@lru_cache(maxsize=1)
def _student_table() -> tuple[Array, Array]:
    """Inverse degrees of freedom and the values of `student` for them, both ascending."""
    freedoms = numpy.geomspace(1e6, 1, 400)
    return 1 / freedoms, numpy.array([student(float(freedom)) for freedom in freedoms])
