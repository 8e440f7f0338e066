"""Measures of graded completions: mean@n with its interval, pass@k, distinct@k, majority vote, diversity.

Input are lines as `manypaths.evaluation.evaluate` writes them, one per problem. Its `samples` are the completions, each
with `text`, `answer` (None without a box), `correct`, and where the backend reports them `tokens` and `truncated`.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from manypaths.counts import Counts
from manypaths.graded import count, votes
from manypaths.statistics import estimate, interval


def pass_at(counts: Sequence[Counts]) -> dict[str, float]:
    """The mean of pass@k over problems, as `manypaths.counts.pass_at` defines it, for every k.

    Args:
        counts: Those of each problem.

    Returns:
        {"k": pass@k} for k from 1 to the smallest number of completions of a problem.
    """
    return _means(Counter((own.samples, own.right) for own in counts), counts)


def distinct_at(counts: Sequence[Counts]) -> dict[str, float] | None:
    """The mean of distinct@k over problems, as `manypaths.counts.distinct_at` defines it, for every k.

    Args:
        counts: Those of each problem.

    Returns:
        {"k": distinct@k} for k as in `pass_at`; None where keys were not recorded.
    """
    if any(own.by_key is None for own in counts):
        return None
    return _means(Counter((own.samples, size) for own in counts for size in own.by_key or ()), counts)


def _means(chances: Counter[tuple[int, int]], counts: Sequence[Counts]) -> dict[str, float]:
    """The sum of 1 - C(n - c, k) / C(n, k) over pairs (n, c), divided by the number of problems, by k.

    Each binomial is computed from the one of k - 1, in integers, so that none is rounded and a thousand completions of
    a problem take milliseconds.
    """
    totals = [0.0] * min(own.samples for own in counts)
    for (n, correct), times in chances.items():
        wrong, every = 1, 1
        for k in range(1, len(totals) + 1):
            wrong, every = wrong * (n - correct - k + 1) // k, every * (n - k + 1) // k
            totals[k - 1] += times * (1.0 - wrong / every)
    return {str(k): total / len(counts) for k, total in enumerate(totals, 1)}


def measure(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Measure graded problems.

    Args:
        lines: One per problem.

    Returns:
        A dict with these keys. Means over problems give every problem the same weight.

        - accuracy: mean@n, the mean over problems of the share of correct completions (the papers' pass@1)
        - low, high: its 95 % interval
        - problems, samples: the number of problems, and the smallest number of completions of a problem
        - pass_at: {"k": pass@k}, for k from 1 to `samples`
        - distinct_at: {"k": distinct@k}, the expected number of distinct correct answers among k completions, likewise;
          answers are distinct by the key `manypaths.keys.answer`
        - majority, distinct: means over problems of `manypaths.graded.majority` and of the number of distinct answers,
          correct or not
        - similarity: the mean over problems of the mean similarity of two completions; None where it was not measured
        - boxed, truncated: shares of all completions that have an answer, and that reached the limit of new tokens
        - tokens: the mean length of all completions; this and `truncated` are None where the backend gave none
        - timed_out: verdicts that took too long; they count as wrong
    """
    counts = [count(line) for line in lines]
    shares = [own.right / own.samples for own in counts]
    low, high = interval(estimate(shares))
    samples = [sample for line in lines for sample in line["samples"]]
    return {
        "accuracy": statistics.mean(shares),
        "low": low,
        "high": high,
        "problems": len(lines),
        "samples": min(own.samples for own in counts),
        "pass_at": pass_at(counts),
        "distinct_at": distinct_at(counts),
        "majority": statistics.mean(own.majority or 0.0 for own in counts),
        "boxed": statistics.mean(sample["answer"] is not None for sample in samples),
        "truncated": _mean_of(samples, "truncated"),
        "tokens": _mean_of(samples, "tokens"),
        "timed_out": sum(line.get("timed_out", 0) for line in lines),
        "distinct": statistics.mean(len(votes(line["samples"])) for line in lines),
        "similarity": _mean_of(lines, "similarity"),
    }


def _mean_of(records: Sequence[dict[str, Any]], key: str) -> float | None:
    """The mean of the values that are there; None where there are none."""
    values = [record[key] for record in records if record.get(key) is not None]
    return statistics.mean(values) if values else None


def overall(benchmarks: Sequence[Sequence[float]]) -> dict[str, float]:
    """The mean of the benchmarks' means, as the papers average, with its 95 % interval.

    Args:
        benchmarks: For each benchmark the share of correct completions of each problem.

    Returns:
        {accuracy, low, high}.
    """
    blocks = [block for block, shares in enumerate(benchmarks) for _ in shares]
    mean = estimate([share for shares in benchmarks for share in shares], blocks)
    low, high = interval(mean)
    return {"accuracy": mean.value, "low": low, "high": high}
