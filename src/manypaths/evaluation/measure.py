"""Measures of graded completions: mean@n with its interval, pass@k, majority vote, diversity.

Input are lines as `manypaths.evaluation.evaluate` writes them, one per problem. Its `samples` are the completions, each
with `text`, `answer` (None without a box), `correct`, and where the backend reports them `tokens` and `truncated`.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from manypaths.grading import number
from manypaths.results import share_correct
from manypaths.statistics import estimate, interval


def pass_curve(counts: Sequence[int], right: Sequence[int]) -> list[float]:
    """The mean of pass@k over problems, for every k from 1 to the smallest number of completions.

    Of a problem with n completions, c of them correct, pass@k is the probability that k of them, drawn without
    replacement, contain a correct one: 1 - C(n - c, k) / C(n, k), the unbiased estimate of Chen et al. (arXiv
    2107.03374), Eq. 1. Each binomial is computed from the one of k - 1, in integers, so none is rounded.

    Args:
        counts: The number of completions of each problem.
        right: The number of correct ones of each problem.

    Returns:
        The values for k = 1, 2, ..., min(counts).
    """
    last = min(counts)
    curve = [0.0] * last
    for (n, correct), problems in Counter(zip(counts, right, strict=True)).items():
        wrong, every = 1, 1
        for k in range(1, last + 1):
            wrong, every = wrong * (n - correct - k + 1) // k, every * (n - k + 1) // k
            curve[k - 1] += problems * (1.0 - wrong / every)
    return [total / len(counts) for total in curve]


def votes(samples: Sequence[dict[str, Any]]) -> Counter[str]:
    """Count the answers of a problem's completions.

    Args:
        samples: The completions; those whose `answer` is None are left out.

    Returns:
        The number of completions by answer. Numbers are equal by value, other answers by text without white space.
    """
    return Counter(_canonical(sample["answer"]) for sample in samples if sample["answer"] is not None)


def majority(samples: Sequence[dict[str, Any]]) -> float:
    """Majority vote over a problem's completions (maj@n).

    Args:
        samples: The completions.

    Returns:
        1 if the most frequent answer is correct, else 0; if several tie, the share of them that is correct. 0 without
        any answer.
    """
    counts = votes(samples)
    top = [answer for answer, count in counts.items() if count == max(counts.values())]
    right = {_canonical(sample["answer"]) for sample in samples if sample["correct"] and sample["answer"] is not None}
    return statistics.mean(answer in right for answer in top) if top else 0.0


@lru_cache(maxsize=100_000)
def _canonical(answer: str) -> str:
    """The text by which `votes` counts. `grading.canonical` joins more answers, and would change recorded results."""
    value = number(answer)
    return "".join(answer.split()) if value is None else str(value)


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
        - majority, distinct: means over problems of `majority` and of the number of distinct answers
        - similarity: the mean over problems of the mean similarity of two completions; None where it was not measured
        - boxed, truncated: shares of all completions that have an answer, and that reached the limit of new tokens
        - tokens: the mean length of all completions; this and `truncated` are None where the backend gave none
        - timed_out: verdicts that took too long; they count as wrong
    """
    counts = [len(line["samples"]) for line in lines]
    right = [sum(sample["correct"] for sample in line["samples"]) for line in lines]
    shares = [share_correct(line) for line in lines]
    low, high = interval(estimate(shares))
    samples = [sample for line in lines for sample in line["samples"]]
    return {
        "accuracy": statistics.mean(shares),
        "low": low,
        "high": high,
        "problems": len(lines),
        "samples": min(counts),
        "pass_at": {str(k): value for k, value in enumerate(pass_curve(counts, right), 1)},
        "majority": statistics.mean(majority(line["samples"]) for line in lines),
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
