"""All intervals and tests, of numpy arrays: every file holds one idea.

means.py has intervals of means over seeds and problems, and of their differences; student.py the percentiles of
Student's t; clusters.py seeds that share a start; independent.py means of single values, such as those of the groups of
a log. bootstrap.py has intervals and tests of other quantities, such as the steps to a target. hypotheses.py has p
values, Holm's correction, equivalence, and the difference that a design can detect. ranks.py has statistics by order.
"""

from manypaths.statistics.bootstrap import (
    DRAWS,
    bootstrap_curves,
    bootstrap_paces,
    curve_freedom,
    curve_shifts,
    percentile_interval,
    percentile_p,
)
from manypaths.statistics.clusters import average_clusters
from manypaths.statistics.hypotheses import (
    LEAST_P,
    at_most_worse,
    detectable,
    holm,
    p_at_most_worse,
    p_more_worse,
    p_value,
    p_within,
    within,
)
from manypaths.statistics.independent import Interval, difference, mean_of_numbers, mean_of_shares
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
from manypaths.statistics.ranks import (
    SPLITS,
    Halves,
    halves_correlation,
    interquartile_mean,
    probability_of_improvement,
    rank_correlation,
)
from manypaths.statistics.student import NORMAL, freedom_of, student

__all__ = [
    "DRAWS",
    "LEAST_P",
    "NORMAL",
    "SPLITS",
    "UNSEEN",
    "Array",
    "Estimate",
    "Halves",
    "Interval",
    "Part",
    "at_most_worse",
    "average_clusters",
    "bootstrap_curves",
    "bootstrap_paces",
    "curve_freedom",
    "curve_shifts",
    "detectable",
    "difference",
    "estimate",
    "freedom_of",
    "halves_correlation",
    "holm",
    "interquartile_mean",
    "interval",
    "mean_of_numbers",
    "mean_of_shares",
    "p_at_most_worse",
    "p_more_worse",
    "p_value",
    "p_within",
    "percentile_interval",
    "percentile_p",
    "probability_of_improvement",
    "problem_parts",
    "rank_correlation",
    "seed_parts",
    "student",
    "wilson_interval",
    "within",
]
