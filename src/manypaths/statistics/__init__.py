"""Every interval that is printed, at 95 %."""

from manypaths.statistics.means import (
    UNSEEN,
    Array,
    Estimate,
    Part,
    estimate,
    half_width,
    interval,
    not_observed,
    problem_parts,
    seed_parts,
    variance_of,
    wilson_interval,
)
from manypaths.statistics.student import NORMAL, freedom_of, student

__all__ = [
    "NORMAL",
    "UNSEEN",
    "Array",
    "Estimate",
    "Part",
    "estimate",
    "freedom_of",
    "half_width",
    "interval",
    "not_observed",
    "problem_parts",
    "seed_parts",
    "student",
    "variance_of",
    "wilson_interval",
]
