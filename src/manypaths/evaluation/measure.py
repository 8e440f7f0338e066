"""What graded samples say about a model: mean@n with its interval, pass@k, majority, diversity.

A problem is a line as `manypaths.evaluation.evaluate` writes it: `samples`, each with `text`, `answer` (None without a
box), `correct`, and where the backend tells them `tokens` and `truncated`.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from manypaths.grading import number
from manypaths.results import share_correct
from manypaths.statistics import estimate, interval


def pass_at_k(n: int, correct: int, k: int) -> float:
    """The chance that k of n samples, drawn without replacement, hold a correct one: 1 - C(n - c, k) / C(n, k).

    The unbiased estimate of Chen et al. (arXiv 2107.03374), Eq. 1. ValueError unless 0 <= correct <= n and 1 <= k <= n.
    """
    if not (0 <= correct <= n and 1 <= k <= n):
        raise ValueError(
            f"pass_at_k asks for 0 <= correct <= n and 1 <= k <= n; given n={n}, correct={correct}, k={k}."
        )
    return 1.0 - math.comb(n - correct, k) / math.comb(n, k)


def pass_curve(counts: Sequence[int], right: Sequence[int]) -> list[float]:
    """pass@k of problems with so many samples and so many correct ones, for k from 1 to the least of the counts.

    The binomials of `pass_at_k` follow from those of the k before, in whole numbers, so the values are the same.
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
    """How many samples gave each answer; numbers are the same by value, other answers by text, no box is no vote."""
    given = [sample["answer"] for sample in samples if sample["answer"] is not None]
    return Counter(_canonical(answer) for answer in given)


def majority(samples: Sequence[dict[str, Any]]) -> float:
    """1 if the answer given most often is correct; where several tie, the share of them that is. No answer: 0."""
    counted = votes(samples)
    top = [answer for answer, count in counted.items() if count == max(counted.values())]
    right = {_canonical(sample["answer"]) for sample in samples if sample["correct"] and sample["answer"] is not None}
    return statistics.mean(answer in right for answer in top) if top else 0.0


@lru_cache(maxsize=100_000)
def _canonical(answer: str) -> str:
    value = number(answer)
    return "".join(answer.split()) if value is None else str(value)


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
    low, high = interval(estimate(shares))
    samples = [sample for line in lines for sample in line["samples"]]
    known = [line["similarity"] for line in lines if line.get("similarity") is not None]
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
        "similarity": statistics.mean(known) if known else None,
    }


def _mean_of(samples: Sequence[dict[str, Any]], key: str) -> float | None:
    known = [sample[key] for sample in samples if sample.get(key) is not None]
    return statistics.mean(known) if known else None


def overall(benchmarks: Sequence[Sequence[float]]) -> dict[str, float]:
    """Shares correct by problem -> the mean of the benchmarks' means, as the papers average, with its 95 % interval."""
    blocks = [block for block, shares in enumerate(benchmarks) for _ in shares]
    mean = estimate([share for shares in benchmarks for share in shares], blocks)
    low, high = interval(mean)
    return {"accuracy": mean.value, "low": low, "high": high}
