"""Verdicts: which differences from the baseline are shown, after Holm's correction over the configurations.

With several configurations, some interval excludes 0 by chance. Therefore a difference is "better" or "worse", a saving
"faster" or "slower", only where its p value after Holm (1979) is at most 5 %: then the probability of any false one
among the configurations is at most 5 %, for each measure and each of the quantities in `ENDPOINTS`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from manypaths.comparison.contents import DIFFERENCE, PLAIN_DIFFERENCE, UNTESTED, Comparison
from manypaths.counts import measure
from manypaths.statistics import holm

ALPHA = 0.05
ENDPOINTS = {  # (part of a compared measure, its key) -> the verdict on a difference above 0, and below
    ("against", "last"): DIFFERENCE,
    ("against", "peak"): DIFFERENCE,
    ("against", "equal_accuracy"): DIFFERENCE,
    ("to_target", "steps_saved"): ("faster", "slower"),
    ("to_target", "hours_saved"): ("faster", "slower"),
}


def judge(comparison: Comparison, arms: Collection[str] | None = None) -> None:
    """Add `p_holm` and `verdict` to every difference and saving of a comparison.

    A verdict is one of the words of `ENDPOINTS`, "not shown", "one seed" or "one start" where a side has a single one,
    or "unknown" where there is no interval. A plain number is "higher" or "lower", as nothing says which is better.
    Differences at the end also have `equivalent` and `at_most_worse`: whether that is shown, after the same correction,
    by the margin; None without a margin and where it could not be tested.

    Args:
        comparison: With `p` in every difference; it is changed.
        arms: The configurations of a protocol, which are corrected for among themselves, whether they are there or not;
            the others are too. None for all.
    """
    base, *others = comparison["configurations"]
    planned = [other for other in others if arms is None or other["name"] in arms]
    missing = len(set(arms or ()) - {other["name"] for other in planned} - {base["name"]})
    for family, more in ((planned, missing), ([other for other in others if other not in planned], 0)):
        for name in comparison["measures"]:
            for (part, key), words in ENDPOINTS.items():
                judged = [configuration["measures"][name][part].get(key) for configuration in family]
                if None in judged:  # no accuracy to be equal, or accuracy itself
                    continue
                singles = [_single(configuration, base) for configuration in family]
                if words == DIFFERENCE and measure(name).top is None:
                    words = PLAIN_DIFFERENCE
                adjusted = corrected([item["p"] for item in judged], comparison["correction"], more)
                for item, single, p in zip(judged, singles, adjusted, strict=True):
                    item["p_holm"] = p if comparison["correction"] == "holm" else None
                    item["verdict"] = single or _verdict(item, p, words)
            last = [configuration["measures"][name]["against"]["last"] for configuration in family]
            _judge_margins(last, comparison["correction"], more)


def _single(configuration: Comparison, base: Comparison) -> str | None:
    """The verdict on a side with a single seed or start; None if there is none."""
    return next((f"one {side['unit']}" for side in (configuration, base) if side["units"] == 1), None)


def _judge_margins(last: list[Comparison], correction: str, missing: int) -> None:
    """Add `equivalent` and `at_most_worse` to the differences at the end."""
    for claim in ("equivalent", "at_most_worse"):
        adjusted = corrected([item[f"p_{claim}"] for item in last], correction, missing)
        for item, p in zip(last, adjusted, strict=True):
            item[claim] = None if p is None or item["verdict"] in UNTESTED else p <= ALPHA


def corrected(p_values: Sequence[float | None], correction: str = "holm", missing: int = 0) -> list[float | None]:
    """p values after a correction, "holm" or "none"; None stays.

    Args:
        missing: How many hypotheses more belong to them, which have no results.
    """
    values = [math.nan if p is None else p for p in p_values]
    adjusted = holm([*values, *[math.nan] * missing]).tolist() if correction == "holm" else values
    return [None if math.isnan(p) else p for p in adjusted[: len(values)]]


def _verdict(item: Comparison, p: float | None, words: tuple[str, str]) -> str:
    if p is None:
        return "unknown"
    if p > ALPHA:
        return "not shown"
    return words[0] if item["low"] is not None and item["low"] > 0 else words[1]
