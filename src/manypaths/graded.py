"""The completions of a problem as a line of a results file has them, and what is counted of them.

A line has `samples`, the completions, each with `text`, `answer` (None without a box) and `correct`
(`manypaths.evaluation.evaluate`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from manypaths.counts import Counts, sizes
from manypaths.grading import canonical, number


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
    return sum(answer in right for answer in top) / len(top) if top else 0.0


@lru_cache(maxsize=100_000)
def _canonical(answer: str) -> str:
    """The text by which `votes` counts. `grading.canonical` joins more answers, and would change recorded results."""
    value = number(answer)
    return "".join(answer.split()) if value is None else str(value)


_key = lru_cache(maxsize=100_000)(canonical)


def count(line: dict[str, Any]) -> Counts:
    """Count the completions of a problem, the right ones by the key `manypaths.keys.answer`.

    Args:
        line: The line. Where a completion lacks `answer`, there are no counts by key and no majority.
    """
    samples = line["samples"]
    right = sum(bool(sample["correct"]) for sample in samples)
    if not all("answer" in sample for sample in samples):
        return Counts(len(samples), right)
    keys = (_key(sample["answer"] or "") for sample in samples if sample["correct"])  # empty: no key
    return Counts(len(samples), right, sizes(keys), majority(samples))


def count_all(lines: Iterable[dict[str, Any]]) -> dict[str, Counts]:
    """The counts of each problem, by its id."""
    return {line["id"]: count(line) for line in lines}
