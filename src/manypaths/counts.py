"""Counts of the right completions of a problem, and the measures that follow from them. Standard library only.

A *measure* is a number per problem, whose mean over problems is compared: `accuracy`, `pass@K`, `distinct@K`,
`majority`. A name that is none of these is a plain number, such as a reward that another trainer logged.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

ACCURACY, MAJORITY = "accuracy", "majority"
AT_K = re.compile(r"(pass|distinct)@([1-9][0-9]{0,5})")


class Counts(NamedTuple):
    """The completions of one problem, counted."""

    samples: int  # completions
    right: int  # of them correct
    by_key: tuple[int, ...] | None = None  # correct completions by key, which add up to `right`; None if not recorded
    majority: float | None = None  # whether the most frequent answer is correct, 0 to 1; None if not recorded


def sizes(keys: Iterable[Hashable]) -> tuple[int, ...]:
    """How often each key occurs, the most frequent first: `Counts.by_key` of the keys of correct completions."""
    return tuple(sorted(Counter(keys).values(), reverse=True))


@dataclass(frozen=True)
class Measure:
    """How a measure is shown, and the range of its values."""

    name: str
    title: str
    top: float | None = 1.0  # the largest value: 1 of a share, K of distinct@K, None of a plain number

    @property
    def is_share(self) -> bool:
        """Whether values are shown as percentages, and differences in points."""
        return self.top == 1.0 and not self.name.startswith("distinct@")


def measure(name: str) -> Measure:
    """The measure of a name; a plain number for a name that manypaths does not define."""
    if match := AT_K.fullmatch(name):
        if match[1] == "pass":
            return Measure(name, name)
        return Measure(name, f"distinct right answers among {match[2]}", float(match[2]))
    return Measure(name, {MAJORITY: "majority vote"}.get(name, name), 1.0 if name in (ACCURACY, MAJORITY) else None)


def pass_at(samples: int, right: int, k: int) -> float:
    """The probability that k of the completions, drawn without replacement, contain a correct one.

    1 - C(n - c, k) / C(n, k), the unbiased estimate of Chen et al. (arXiv 2107.03374), Eq. 1.

    Args:
        samples: n, the number of completions; at least k.
        right: c, the number of correct ones.
    """
    return 1.0 - math.comb(samples - right, k) / math.comb(samples, k)


def distinct_at(samples: int, by_key: Sequence[int], k: int) -> float:
    """The expected number of distinct correct answers among k of the completions, drawn without replacement.

    The sum over keys of `pass_at` of the completions with that key: Coverage@k of arXiv 2606.29985.

    Args:
        samples: The number of completions; at least k.
        by_key: The number of correct completions by key.
    """
    return math.fsum(pass_at(samples, count, k) for count in by_key)


@functools.lru_cache(maxsize=100_000)
def value_of(counts: Counts, name: str) -> float | None:
    """The value of a measure for one problem; None where the counts do not allow it.

    That is so for more samples than were drawn, for keys or votes that were not recorded, and for a plain number.
    """
    if name == ACCURACY:
        return counts.right / counts.samples
    if name == MAJORITY:
        return counts.majority
    match = AT_K.fullmatch(name)
    if match is None or int(match[2]) > counts.samples:
        return None
    if match[1] == "pass":
        return pass_at(counts.samples, counts.right, int(match[2]))
    return None if counts.by_key is None else distinct_at(counts.samples, counts.by_key, int(match[2]))


def measures_of(counts: Sequence[Counts]) -> list[str]:
    """The measures that the completions of some problems allow: accuracy, pass@K, distinct@K, majority.

    K is 2, 4, 8, ... and the smallest number of completions of a problem; of distinct@K only that number.
    """
    samples = min(count.samples for count in counts)
    if samples < 2:
        return [ACCURACY]
    ks = sorted({2**power for power in range(1, samples.bit_length()) if 2**power <= samples} | {samples})
    names = [ACCURACY, *(f"pass@{k}" for k in ks)]
    names += [f"distinct@{samples}"] * all(count.by_key is not None for count in counts)
    return names + [MAJORITY] * all(count.majority is not None for count in counts)
