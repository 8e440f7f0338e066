"""What graded samples say about a model, with intervals: mean@n, pass@k, majority, diversity. Standard library alone.

A problem is a line as `manypaths.evaluate` writes it: `samples`, each with `text`, `answer` (None without a box),
`correct`, and where the backend tells them `tokens` and `truncated`.
"""

from __future__ import annotations

import math
import random
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from manypaths.grading import number

RESAMPLES = 2000
Z = 1.959964  # 97.5 % of the normal distribution


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The chance that k of n samples, drawn without replacement, hold a correct one: 1 - C(n - c, k) / C(n, k).

    The unbiased estimate of Chen et al. (arXiv 2107.03374), Eq. 1. ValueError unless 0 <= correct <= n and 1 <= k <= n.
    """
    if not (0 <= correct <= n and 1 <= k <= n):
        raise ValueError(
            f"pass_at_k asks for 0 <= correct <= n and 1 <= k <= n; given n={n}, correct={correct}, k={k}."
        )
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def votes(samples: Sequence[dict[str, Any]]) -> Counter[str]:
    """How many samples gave each answer; numbers are the same by value, other answers by text, no box is no vote."""
    given = [sample["answer"] for sample in samples if sample["answer"] is not None]
    return Counter(_canonical(answer) for answer in given)


def majority(samples: Sequence[dict[str, Any]]) -> float:
    """1 if the answer given most often is correct; where several tie, the share of them that is. No answer: 0."""
    counted = votes(samples)
    top = [answer for answer, count in counted.items() if count == max(counted.values())]
    right = {_canonical(sample["answer"]) for sample in samples if sample["correct"] and sample["answer"] is not None}
    return statistics.mean(answer in right for answer in top) if top else 0.0


def _canonical(answer: str) -> str:
    value = number(answer)
    return "".join(answer.split()) if value is None else str(value)


def resample(values: Sequence[float], seed: int = 0) -> list[float]:
    """Means of `RESAMPLES` draws of as many values with replacement (bootstrap over problems)."""
    draw, count = random.Random(seed), len(values)
    return [math.fsum(draw.choices(values, k=count)) / count for _ in range(RESAMPLES)]


def interval(values: Sequence[float], drawn: Sequence[float] | None = None) -> tuple[float, float]:
    """95 % interval of the mean of `values`, one per problem: bootstrap percentiles, widened for few problems.

    The percentile bootstrap is too narrow by sqrt((n - 1) / n) and by what Student's t is wider than the normal
    distribution; its percentiles are moved out by that (Hesterberg 2015, the expanded percentile interval). Where every
    value is 0 or 1, as with one sample per problem, Wilson's score interval is nearer to its rate, and where all values
    are equal there is nothing to draw from: Wilson's then. `drawn` are the means that `resample` gave, if known.
    """
    count = len(values)
    if len(set(values)) < 2 or set(values) <= {0.0, 1.0}:
        return wilson_interval(statistics.mean(values), count)
    freedom = count - 1
    student = Z + (Z**3 + Z) / (4 * freedom) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * freedom**2)
    outside = statistics.NormalDist().cdf(-math.sqrt(count / freedom) * student)
    ordered = sorted(resample(values) if drawn is None else drawn)
    at = int(outside * len(ordered))
    return ordered[at], ordered[-1 - at]


def wilson_interval(share: float, count: int, z: float = Z) -> tuple[float, float]:
    """95 % score interval (Wilson, 1927) of a share observed in `count` trials; within [0, 1], never of width 0."""
    centre = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def share_correct(line: dict[str, Any]) -> float:
    """The share of a problem's samples that are correct."""
    return statistics.fmean(sample["correct"] for sample in line["samples"])


def measure(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Graded problems -> what is told of them; shares and means are over problems, so that each counts the same.

    `accuracy` is mean@n, the mean over problems of the share of correct samples (the papers' pass@1), [`low`, `high`]
    its 95 % interval; `pass_at` has every k up to n; `majority`, `distinct` answers and `similarity` of samples are per
    problem; `boxed`, `truncated` and `tokens` are of samples, None where the backend did not tell; `timed_out` counts
    verdicts that took too long, and so were wrong.
    """
    counts = [len(line["samples"]) for line in lines]
    right = [sum(sample["correct"] for sample in line["samples"]) for line in lines]
    shares = [share_correct(line) for line in lines]
    low, high = interval(shares)
    samples = [sample for line in lines for sample in line["samples"]]
    pairs = list(zip(counts, right, strict=True))
    known = [line["similarity"] for line in lines if line.get("similarity") is not None]
    return {
        "accuracy": statistics.mean(shares),
        "low": low,
        "high": high,
        "problems": len(lines),
        "samples": min(counts),
        "pass_at": {
            str(k): statistics.mean(pass_at_k(count, hits, k) for count, hits in pairs)
            for k in range(1, min(counts) + 1)
        },
        "majority": statistics.mean(majority(line["samples"]) for line in lines),
        "boxed": statistics.mean(sample["answer"] is not None for sample in samples),
        "truncated": _mean_of(samples, "truncated"),
        "tokens": _mean_of(samples, "tokens"),
        "timed_out": sum(line.get("timed_out", 0) for line in lines),
        "distinct": statistics.mean(len(votes(line["samples"])) for line in lines),
        "similarity": statistics.mean(known) if known else None,
    }


def _mean_of(samples: Sequence[dict[str, Any]], key: str) -> float | None:
    known = [sample[key] for sample in samples if sample.get(key) is not None]
    return statistics.mean(known) if known else None


def overall(benchmarks: Sequence[Sequence[float]]) -> dict[str, float]:
    """The mean of the benchmarks' means, as the papers average, with its 95 % interval.

    The errors of independent benchmarks add as squares, each side on its own, so that a benchmark without spread still
    brings the width of its own interval (Zou and Donner 2008, MOVER).
    """
    means, bounds = [statistics.mean(values) for values in benchmarks], [interval(values) for values in benchmarks]
    mean, count = statistics.mean(means), len(benchmarks)
    down = math.hypot(*(middle - low for middle, (low, _) in zip(means, bounds, strict=True))) / count
    up = math.hypot(*(high - middle for middle, (_, high) in zip(means, bounds, strict=True))) / count
    return {"accuracy": mean, "low": mean - down, "high": mean + up}
