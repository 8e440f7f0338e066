"""All 95 % intervals: of means (means.py) and of other quantities, such as steps to a target (bootstrap.py)."""

from manypaths.statistics.bootstrap import (
    DRAWS,
    bootstrap_curves,
    bootstrap_paces,
    curve_freedom,
    curve_shifts,
    percentile_interval,
)
from manypaths.statistics.means import (
    UNSEEN,
    Array,
    Estimate,
    Part,
    estimate,
    interval,
    problem_parts,
    seed_parts,
    wilson_interval,
)
from manypaths.statistics.student import NORMAL, freedom_of, student

__all__ = [
    "DRAWS",
    "NORMAL",
    "UNSEEN",
    "Array",
    "Estimate",
    "Part",
    "bootstrap_curves",
    "bootstrap_paces",
    "curve_freedom",
    "curve_shifts",
    "estimate",
    "freedom_of",
    "interval",
    "percentile_interval",
    "problem_parts",
    "seed_parts",
    "student",
    "wilson_interval",
]
